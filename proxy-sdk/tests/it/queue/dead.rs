//! Dead letters: looking at them, putting them back, deleting them.

use std::collections::BTreeMap;
use std::time::Duration;

use gim_proto::EntryId;
use redis::{Value, cmd};

use super::*;
use crate::support::within;

/// What the worker reads in `later:body`.
#[derive(Debug, PartialEq)]
struct Body {
    attempts: u32,
    rest: String,
    fields: Vec<(String, String)>,
}

fn unpack(mut bytes: &[u8]) -> Body {
    fn number(bytes: &mut &[u8]) -> u32 {
        let (head, rest) = bytes.split_first_chunk::<4>().unwrap();
        *bytes = rest;
        u32::from_be_bytes(*head)
    }
    fn text(bytes: &mut &[u8]) -> String {
        let length = number(bytes) as usize;
        let (text, rest) = bytes.split_at(length);
        *bytes = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }
    let mut body = Body { attempts: number(&mut bytes), rest: text(&mut bytes), fields: Vec::new() };
    while !bytes.is_empty() {
        body.fields.push((text(&mut bytes), text(&mut bytes)));
    }
    body
}

impl Outside {
    /// Buries an entry as the worker does. Returns the letter's id.
    async fn bury(&self, entry: &str, pairs: &[(&str, &str)]) -> EntryId {
        let key = self.keys.dead(0);
        let own = [
            ("gim_reason", "attempts"),
            ("gim_attempts", "10"),
            ("gim_error", "unreachable"),
            ("gim_entry", entry),
            ("gim_at_ms", "1700000000000"),
        ];
        let mut words = vec!["XADD", &key, "*"];
        words.extend(pairs.iter().chain(&own).flat_map(|(name, value)| [*name, *value]));
        EntryId::parse(&self.send::<String>(&words).await).unwrap()
    }

    async fn bury_some(&self, count: u64) -> Vec<EntryId> {
        let mut ids = Vec::new();
        for n in 1..=count {
            ids.push(self.bury(&format!("{n}-0"), &[("to_uid", "1"), ("data", "{}")]).await);
        }
        ids
    }

    async fn later(&self) -> BTreeMap<String, Body> {
        let bodies: BTreeMap<String, Vec<u8>> = self.send(&["HGETALL", &self.keys.later_body(0)]).await;
        bodies.into_iter().map(|(member, body)| (member, unpack(&body))).collect()
    }
}

fn member(entry: u64) -> String {
    format!("{entry:016x}-{:016x}", 0)
}

#[tokio::test]
async fn letters_come_in_pages_with_every_field() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let ids = outside.bury_some(100).await;
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = queue.dead(0, after, 45).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|letter| letter.id));
    }
    assert_eq!(seen, ids);
    let letter = queue.dead(0, None, 1).await.unwrap().remove(0);
    let fields: Vec<(&str, &[u8])> = letter.fields.iter().map(|(name, value)| (name, &value[..])).collect();
    assert_eq!(fields[..2], [("to_uid", &b"1"[..]), ("data", b"{}")]);
    assert_eq!(letter.fields.get("gim_entry").unwrap(), "1-0");
    assert!(queue.dead(0, None, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_page_of_large_letters_is_cut_short_and_goes_on_after_its_last() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let large = "x".repeat(250_000);
    for n in 1..=80 {
        outside.bury(&format!("{n}-0"), &[("to_uid", "1"), ("data", &large)]).await;
    }
    let page = queue.dead(0, None, 1_000).await.unwrap();
    let bytes: usize = page.iter().map(|letter| letter.fields.bytes()).sum();
    assert!(bytes < 24 << 20 && page.len() < 80, "{} letters", page.len());
    let more = queue.dead(0, Some(page.last().unwrap().id), 1_000).await.unwrap();
    assert_eq!(page.len() + more.len(), 80);
}

#[tokio::test]
async fn a_redriven_letter_waits_under_its_origin_id_for_the_targets_that_failed() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let origin = "1700000000000-17";
    let given = [("to_uids", r#"["1","2"]"#), ("data", r#"{"n":1}"#), ("id", "m"), ("own", "kept")];
    let mut with = given.to_vec();
    with.push(("gim_failed_targets", r#"["2"]"#));
    outside.bury(origin, &with).await;
    let before = outside.now_ms().await;
    assert_eq!(queue.redrive(0, Selection::All).await.unwrap(), 1);
    let member = format!("{:016x}-{:016x}", 1_700_000_000_000_u64, 17);
    let fields = given.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let body = Body { attempts: 0, rest: r#"{"users":["2"]}"#.to_owned(), fields };
    assert_eq!(outside.later().await, BTreeMap::from([(member.clone(), body)]));
    let score: f64 = outside.send(&["ZSCORE", &outside.keys.later(0), &member]).await;
    let due = (score + 1e15) as u64;
    assert!((before..=outside.now_ms().await).contains(&due), "{due}");
    assert_eq!(outside.length(&outside.keys.dead(0)).await, 0);
    let found = queue.stats().await.unwrap().remove(0);
    assert_eq!((found.lag, found.dead), (1, 0));
}

#[tokio::test]
async fn what_is_left_to_do_is_taken_from_the_letter_where_it_says_so() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let failed = ("gim_failed_targets", r#"["x"]"#);
    let msg = r#"{"to_uid":"x","data":{}}"#;
    let letters: [(&[(&str, &str)], &str); 7] = [
        (&[("tgid", "g"), ("gim_rest", r#"{"nodes_but":["01A"]}"#), failed], r#"{"nodes_but":["01A"]}"#),
        (&[("tgid", "g"), failed], ""),
        (&[("tgid", "g"), ("to_uid", "x"), failed], r#"{"users":["x"]}"#),
        (&[("msg", msg), failed], r#"{"users":["x"]}"#),
        (&[("msg", r#"{"tgid":"x","to_uid":null,"data":{}}"#), failed], ""),
        (&[("msg", "no json"), failed], ""),
        (&[("to_uid", "x"), ("gim_failed_targets", "[]")], ""),
    ];
    for (n, (fields, _)) in (1..).zip(&letters) {
        outside.bury(&format!("{n}-0"), fields).await;
    }
    assert_eq!(queue.redrive(0, Selection::All).await.unwrap(), 7);
    let later = outside.later().await;
    for (n, (fields, rest)) in (1..).zip(&letters) {
        assert_eq!(later[&member(n)].rest, *rest, "{fields:?}");
        assert!(later[&member(n)].fields.iter().all(|(name, _)| !name.starts_with("gim_")));
    }
}

#[tokio::test]
async fn letters_are_redriven_by_id_or_all_in_many_steps() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let ids = outside.bury_some(350).await;
    let some = Selection::Ids(vec![ids[3], EntryId { ms: 1, seq: 1 }, ids[5], ids[3]]);
    assert_eq!(queue.redrive(0, some.clone()).await.unwrap(), 2);
    assert_eq!(queue.redrive(0, some).await.unwrap(), 0);
    assert_eq!(outside.later().await.into_keys().collect::<Vec<_>>(), [member(4), member(6)]);
    assert_eq!(queue.redrive(0, Selection::All).await.unwrap(), 348);
    assert_eq!((outside.later().await.len(), outside.length(&outside.keys.dead(0)).await), (350, 0));
}

#[tokio::test]
async fn a_letter_that_cannot_go_back_stays_and_stops_no_other() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    outside.send::<String>(&["XADD", &outside.keys.dead(0), "*", "to_uid", "1"]).await;
    outside.bury("no entry", &[("to_uid", "1")]).await;
    outside.bury("7-0", &[("to_uid", "1")]).await;
    outside.send::<u64>(&["ZADD", &outside.keys.later(0), "5", &member(8)]).await;
    outside.bury("8-0", &[("to_uid", "1")]).await;
    assert_eq!(queue.redrive(0, Selection::All).await.unwrap(), 1);
    assert_eq!(outside.length(&outside.keys.dead(0)).await, 3);
    let score: f64 = outside.send(&["ZSCORE", &outside.keys.later(0), &member(8)]).await;
    assert!((score - 5.0).abs() < f64::EPSILON, "what waits keeps its time");
}

#[tokio::test]
async fn redrive_stops_at_the_bound_and_is_an_error_only_if_nothing_went() {
    let outside = Outside::shared().await;
    let queue = queue_with(&outside, 1, Bounds { later: 150, ..Bounds::default() });
    let ids = outside.bury_some(200).await;
    assert_eq!(queue.redrive(0, Selection::All).await.unwrap(), 150);
    for which in [Selection::All, Selection::Ids(vec![ids[199]])] {
        assert_eq!(queue.redrive(0, which).await.unwrap_err().kind, QueueErrorKind::Full);
    }
    assert_eq!(outside.length(&outside.keys.dead(0)).await, 50);
    assert_eq!(queue.redrive(0, Selection::Ids(vec![ids[0]])).await.unwrap(), 0, "it is not there any more");
}

#[tokio::test]
async fn letters_are_purged_by_id_or_all_of_them() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let ids = outside.bury_some(2_345).await;
    let some = Selection::Ids([&ids[..250], &ids[..1]].concat());
    assert_eq!(queue.purge(0, some.clone()).await.unwrap(), 250);
    assert_eq!(queue.purge(0, some).await.unwrap(), 0);
    assert_eq!(queue.purge(0, Selection::All).await.unwrap(), 2_095);
    assert_eq!(queue.purge(0, Selection::All).await.unwrap(), 0);
    assert_eq!(outside.length(&outside.keys.dead(0)).await, 0);
}

#[tokio::test]
async fn redriving_wakes_the_reader_that_holds_the_lease_in_this_run() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let queue = queue(&outside, 1);
    let key = outside.keys.queue(0);
    outside.send::<()>(&["XGROUP", "CREATE", &key, "gim", "0", "MKSTREAM"]).await;
    let mut reader = outside.store.connect(&key, None).await.unwrap();
    let client: u64 = cmd("CLIENT").arg("ID").query_async(&mut reader).await.unwrap();
    let info: redis::InfoDict = outside.send(&["INFO", "server"]).await;
    let run: String = info.get("run_id").unwrap();
    let lease = |run: String| {
        let (outside, client) = (outside.clone(), client.to_string());
        async move { outside.send::<u64>(&["HSET", &outside.keys.lease(0), "client", &client, "run", &run]).await }
    };
    let blocked = || async {
        let info: redis::InfoDict = outside.send(&["INFO", "clients"]).await;
        info.get::<u64>("blocked_clients").unwrap()
    };
    lease("another run".to_owned()).await;
    let reading = tokio::spawn(async move {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg("gim").arg("lane").arg("BLOCK").arg(60_000).arg("STREAMS").arg(&key).arg(">");
        read.query_async::<Value>(&mut reader).await.unwrap()
    });
    let asleep = async {
        while blocked().await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the reader to wait", asleep).await;
    outside.bury_some(1).await;
    assert_eq!(queue.redrive(0, Selection::All).await.unwrap(), 1);
    assert_eq!(blocked().await, 1, "the number may be somebody else's by now");
    lease(run).await;
    outside.bury("2-0", &[("to_uid", "1")]).await;
    assert_eq!(queue.redrive(0, Selection::All).await.unwrap(), 1);
    assert_eq!(within("the reader to wake", reading).await.unwrap(), Value::Nil);
}
