//! A ledger that takes nothing for a while, though mailboxes do: nobody waits for it for long, and what was to be told is
//! told later, or counted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gim_proto::frame::MsgType;
use gim_proto::{Class, EntryId, MessageId, Payload, Uid};
use gim_proxy_sdk::delivery::{LaneOrigin, Message};
use gim_proxy_sdk::mailbox::{Appended, Position, Post};
use gim_proxy_sdk::testing::shared_redis;
use serde_json::json;
use tokio::time::Instant;

use crate::resp::Resp;
use crate::stage::Stage;
use crate::support::client::Client;
use crate::support::{eventually, http};

/// How long a login waits for the ledger, once, with what a busy machine adds.
const ONE_WAIT: Duration = Duration::from_millis(2_500);

impl Stage {
    /// Stores messages of which receipts are wanted. Returns where the last one is, and their ids.
    async fn store_asking(&self, users: &[String], count: u64, expires_ms: Option<u64>) -> (Position, Vec<String>) {
        let post = |ms| {
            let entry = EntryId { ms, seq: 0 };
            let message = Message {
                id: MessageId::of_entry(0, entry),
                class: Class::Durable,
                key: None,
                payload: Payload::Json(json!({ "n": ms }).to_string().into()),
                except: Vec::new(),
                expires_ms,
                receipt: true,
                traced: false,
            };
            let to = users.iter().map(|uid| Uid::parse(uid).unwrap()).collect();
            Post { entry, message: Arc::new(message), kind: MsgType::User, to, of: Arc::default() }
        };
        let posts: Vec<Post> = (1..=count).map(post).collect();
        let lane = LaneOrigin { lane: 0, term: 1, low_water: None };
        let appended = self.node.node.mailboxes().append(&lane, &posts).await.unwrap().answers;
        let Some(Appended::Stored(last)) = appended.last().and_then(|of_post| of_post.first()) else {
            panic!("{appended:?}")
        };
        (*last, posts.iter().map(|post| post.message.id.to_string()).collect())
    }

    /// From now on the ledger takes no receipts.
    async fn breaks_the_ledger(&mut self) {
        let receipts = self.keys.receipts();
        assert_eq!(self.redis.call(&["SET", &receipts, "no stream"]).await.text(), "OK");
    }

    async fn mends_the_ledger(&mut self) {
        let receipts = self.keys.receipts();
        self.redis.call(&["DEL", &receipts]).await;
    }

    /// Of whom or what (`target`, `id`) it was told that it came to this, in that order.
    async fn told(&self, state: &str, field: &str) -> Vec<String> {
        let (mut told, mut after) = (Vec::new(), "0-0".to_owned());
        loop {
            let path = format!("/api/v1/receipts?limit=1000&after={after}");
            let (_, found) = http::get(self.node.admin, &path).await;
            let page = found["receipts"].as_array().unwrap();
            let Some(last) = page.last() else { return told };
            after = last["entry"].as_str().unwrap().to_owned();
            let of_state = page.iter().filter(|noted| noted["fields"]["state"] == state);
            told.extend(of_state.map(|noted| noted["fields"][field].as_str().unwrap().to_owned()));
        }
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = http::respond("GET", self.node.admin, "/metrics", &[], b"").await.text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0)
    }

    async fn resumes(&self, uid: &str, at: Position) -> Client {
        let Position { epoch, offset } = at;
        Client::connect(self.node.public, &format!("/ws?uid={uid}&msg_code=1&epoch={epoch}&offset={offset}")).await
    }
}

#[tokio::test]
async fn who_resumes_waits_for_a_ledger_that_is_away_once_and_all_of_it_is_told_later() {
    let mut stage = Stage::start().await;
    // More than two looks into the mailbox.
    let (last, ids) = stage.store_asking(&["a".to_owned()], 600, None).await;
    stage.breaks_the_ledger().await;
    let begun = Instant::now();
    let mut client = stage.resumes("a", Position { offset: 599, ..last }).await;
    assert!(begun.elapsed() < ONE_WAIT, "{:?}", begun.elapsed());
    assert_eq!(client.expect_body(json!({ "n": 600 })).await.offset, Some(600), "the others count as acknowledged");
    // Of a client that is let in nothing depends on the ledger.
    client.ask("gim.ack", json!({ "offset": 600 })).await;
    stage.mends_the_ledger().await;
    eventually("everything to be told", || async { (stage.told("acked", "id").await.len() >= 600).then_some(()) })
        .await;
    assert_eq!(stage.told("acked", "id").await, ids, "each once, and in order");
    assert_eq!(stage.metric("gim_receipts_dropped_total").await, 0);
}

#[tokio::test]
async fn what_waits_for_a_ledger_that_is_away_has_a_bound_and_what_is_beyond_it_is_counted() {
    const MANY: u64 = 11_500;
    let mut stage = Stage::start_with(|config| config.mailbox.messages = 20_000).await;
    let (last, ids) = stage.store_asking(&["a".to_owned()], MANY, None).await;
    stage.breaks_the_ledger().await;
    let mut client = stage.resumes("a", last).await;
    client.command("silence", "gim.ping", serde_json::Value::Null).await;
    assert_eq!(client.json().await["seq"], "silence", "everything is acknowledged");
    let dropped = stage.metric("gim_receipts_dropped_total").await;
    assert!((1..MANY).contains(&dropped), "{dropped}");
    stage.mends_the_ledger().await;
    let rest = usize::try_from(MANY - dropped).unwrap();
    eventually("the rest to be told", || async { (stage.told("acked", "id").await.len() >= rest).then_some(()) }).await;
    let told = stage.told("acked", "id").await;
    assert_eq!(told, ids[..rest], "the first of them, each once");
    assert_eq!(stage.metric("gim_receipts_dropped_total").await, dropped);
}

#[tokio::test]
async fn what_is_overdue_stays_in_its_mailbox_until_the_ledger_has_taken_that() {
    // The round through the buckets begins anywhere: somebody is in each of them.
    const USERS: usize = 4_000;
    let mut stage = Stage::start().await;
    stage.breaks_the_ledger().await;
    let names: Vec<String> = (0..USERS).map(|n| format!("u{n}")).collect();
    stage.store_asking(&names, 1, Some(1)).await;
    let key = |name: &String| stage.keys.mailbox(&Uid::parse(name).unwrap());
    let mailboxes: Vec<String> = names.iter().map(key).collect();
    let exist: Vec<&str> = std::iter::once("EXISTS").chain(mailboxes.iter().map(String::as_str)).collect();
    eventually("a sweep", || async { (stage.metric("gim_mailbox_overdue").await > 0).then_some(()) }).await;
    // It waits for a second, and there is another one after it.
    let enough = stage.metric("gim_ledger_failures_total").await + 6;
    eventually("tries", || async { (stage.metric("gim_ledger_failures_total").await >= enough).then_some(()) }).await;
    assert_eq!(stage.redis.call(&exist).await.int(), USERS as i64, "nothing was told");
    assert_eq!(stage.metric("gim_receipts_dropped_total").await, 0);

    stage.mends_the_ledger().await;
    let told = eventually("a few to be told", || async {
        let told = stage.told("trimmed", "target").await;
        (told.len() > 100).then_some(told)
    })
    .await;
    eventually("them to leave", || async {
        let mut redis = Resp::connect(shared_redis().await.port()).await;
        (redis.call(&exist).await.int() < USERS as i64).then_some(())
    })
    .await;
    let mut gone = Vec::new();
    for (name, mailbox) in names.iter().zip(&mailboxes) {
        if stage.redis.call(&["EXISTS", mailbox]).await.int() == 0 {
            gone.push(name.clone());
        }
    }
    let told: HashSet<String> = stage.told("trimmed", "target").await.into_iter().chain(told).collect();
    assert!(!gone.is_empty() && gone.iter().all(|name| told.contains(name)), "{gone:?}");
    let mut client = Client::user(stage.node.public, &gone[0]).await;
    let gap = client.expect_notice("gim.gap").await;
    assert_eq!(gap, json!({ "from": 1, "to": 1, "reason": "expired" }), "nobody is given it");
}
