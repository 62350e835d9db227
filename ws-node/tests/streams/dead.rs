//! Dead letters, as operators handle them over HTTP and with `gim dead`.

use gim_proto::{SessionId, Uid};
use gim_ws_node::config::Config;
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::support::client::Client;
use crate::support::gim::gim;
use crate::support::http::{self, get, post, request};
use crate::support::node::NAME;

const ONE_ATTEMPT: fn(&mut Config) = |config| config.worker.attempts = 1;

impl Stage {
    /// Has the directory name a session of this user that the node does not hold.
    pub(crate) async fn haunt(&mut self, uid: &str) {
        let node = self.keys.node(&NAME.parse().unwrap());
        let node: Value = serde_json::from_str(&self.redis.call(&["GET", &node]).await.text()).unwrap();
        let incarnation = node["incarnation"].as_str().expect("who the node is");
        let record = format!("1 1763000000000000 {} {incarnation} {NAME}", SessionId::mint());
        let bucket = self.keys.user_bucket(&Uid::parse(uid).unwrap());
        self.redis.call(&["HSET", &bucket, uid, &record]).await;
    }

    /// An entry of which one target failed: the letter's id and the message's.
    async fn bury(&mut self, fields: &[(&str, &str)]) -> (String, String) {
        let before = self.letters(0).await.len();
        let place = self.add(0, fields).await;
        self.settled().await;
        let mut letters = self.letters(0).await;
        assert_eq!(letters.len(), before + 1, "{fields:?}");
        (letters.pop().unwrap().id, format!("0-{place}"))
    }
}

#[tokio::test]
async fn a_target_that_fails_makes_a_letter_and_the_others_are_served() {
    let mut stage = Stage::start_with(ONE_ATTEMPT).await;
    let mut client = stage.user("real", &[]).await;
    stage.haunt("ghost").await;
    let fields = [("to_uids", r#"["real","ghost","nobody"]"#), ("own", "kept"), ("data", r#"{"n":1}"#)];
    let (id, message) = stage.bury(&fields).await;
    client.expect_body(json!({ "n": 1 })).await;
    let (status, dead) = get(stage.node.admin, "/api/v1/dead/0").await;
    assert_eq!(status, 200, "{dead}");
    let letter = &dead["dead"][0];
    assert_eq!((dead["dead"].as_array().unwrap().len(), &letter["id"]), (1, &json!(id)));
    let entry = &letter["entry"];
    assert_eq!(entry["to_uids"], json!(["real", "ghost", "nobody"]));
    assert_eq!((&entry["own"], &entry["data"]), (&json!("kept"), &json!({ "n": 1 })));
    assert_eq!((&entry["gim_reason"], &entry["gim_attempts"]), (&json!("attempts"), &json!("1")));
    assert_eq!(entry["gim_failed_targets"], json!(r#"["ghost"]"#));
    assert_eq!(json!(format!("0-{}", entry["gim_entry"].as_str().unwrap())), json!(message));
}

#[tokio::test]
async fn a_redrive_goes_to_the_failed_targets_alone_under_the_same_id() {
    let mut stage = Stage::start_with(ONE_ATTEMPT).await;
    let mut real = stage.user("real", &[]).await;
    stage.haunt("ghost").await;
    let fields = [("to_uids", r#"["real","ghost"]"#), ("data", r#"{"n":1}"#)];
    let (_, message) = stage.bury(&fields).await;
    real.expect_body(json!({ "n": 1 })).await;
    // The one that was missing is there by now.
    let mut ghost = stage.user("ghost", &[]).await;
    let (status, redriven) = post(stage.node.admin, "/api/v1/dead/0/redrive", &json!({})).await;
    assert_eq!((status, &redriven["redriven"]), (200, &json!(1)), "{redriven}");
    assert_eq!(ghost.expect_body(json!({ "n": 1 })).await.id, Some(message));
    stage.settled().await;
    real.expect_silence().await;
    ghost.expect_silence().await;
    assert_eq!(get(stage.node.admin, "/api/v1/dead/0").await.1["dead"], json!([]));
}

#[tokio::test]
async fn a_redrive_of_an_entry_with_an_id_of_its_own_is_no_duplicate() {
    let mut stage = Stage::start_with(ONE_ATTEMPT).await;
    stage.haunt("ghost").await;
    stage.bury(&[("to_uid", "ghost"), ("id", "order-7"), ("data", r#"{"n":1}"#)]).await;
    let mut ghost = stage.user("ghost", &[]).await;
    post(stage.node.admin, "/api/v1/dead/0/redrive", &json!({})).await;
    assert_eq!(ghost.expect_body(json!({ "n": 1 })).await.id.as_deref(), Some("order-7"));
    stage.settled().await;
    assert_eq!(stage.outcomes("duplicate").await, 0);
}

#[tokio::test]
async fn what_fails_again_is_a_letter_again_and_names_its_origin() {
    let mut stage = Stage::start_with(ONE_ATTEMPT).await;
    stage.haunt("ghost").await;
    let (_, message) = stage.bury(&[("msg", r#"{"to_uid":"ghost","data":{"n":1}}"#)]).await;
    for _ in 0..3 {
        assert_eq!(post(stage.node.admin, "/api/v1/dead/0/redrive", &json!({})).await.1["redriven"], 1);
        http::reached(stage.node.admin, "dead", 1).await;
        let letters = stage.letters(0).await;
        assert_eq!(format!("0-{}", letters[0].text("gim_entry")), message);
        assert_eq!(letters[0].failed_targets(), json!(["ghost"]));
        assert_eq!(letters[0].text("gim_attempts"), "1", "a redrive begins anew");
    }
    let mut ghost = stage.user("ghost", &[]).await;
    post(stage.node.admin, "/api/v1/dead/0/redrive", &json!({})).await;
    assert_eq!(ghost.expect_body(json!({ "n": 1 })).await.id, Some(message));
}

#[tokio::test]
async fn some_letters_are_put_back_or_deleted_by_their_ids() {
    let mut stage = Stage::start_with(ONE_ATTEMPT).await;
    stage.haunt("ghost").await;
    let mut letters = Vec::new();
    for n in 0..4 {
        let data = json!({ "n": n }).to_string();
        letters.push(stage.bury(&[("to_uid", "ghost"), ("data", data.as_str())]).await.0);
    }
    let mut ghost = stage.user("ghost", &[]).await;
    let some = json!({ "ids": [letters[2], letters[0], "5-5"] });
    let (_, redriven) = post(stage.node.admin, "/api/v1/dead/0/redrive", &some).await;
    assert_eq!(redriven["redriven"], 2, "{redriven}");
    let mut found = [ghost.expect_push().await.a, ghost.expect_push().await.a].map(|a| a["n"].as_u64());
    found.sort_unstable();
    assert_eq!(found, [Some(0), Some(2)]);
    let (_, purged) =
        request("DELETE", stage.node.admin, "/api/v1/dead/0", Some(&json!({ "ids": [letters[1]] }))).await;
    assert_eq!(purged["purged"], 1, "{purged}");
    let (_, dead) = get(stage.node.admin, "/api/v1/dead/0").await;
    let left: Vec<&Value> = dead["dead"].as_array().unwrap().iter().map(|letter| &letter["id"]).collect();
    assert_eq!(left, [&json!(letters[3])]);
    assert_eq!(request("DELETE", stage.node.admin, "/api/v1/dead/0", None).await.1["purged"], 1);
    assert_eq!(get(stage.node.admin, "/api/v1/dead/0").await.1["dead"], json!([]));
    stage.settled().await;
    ghost.expect_silence().await;
}

#[tokio::test]
async fn letters_are_listed_in_pages_the_oldest_first() {
    let mut stage = Stage::start().await;
    for n in 0..25 {
        stage.add(0, &[("bad", n.to_string())]).await;
    }
    stage.settled().await;
    let (mut seen, mut after) = (Vec::new(), "0-0".to_owned());
    loop {
        let path = format!("/api/v1/dead/0?limit=10&after={after}");
        let (_, page) = get(stage.node.admin, &path).await;
        let letters = page["dead"].as_array().unwrap();
        let Some(last) = letters.last() else { break };
        assert!(letters.len() <= 10);
        after = last["id"].as_str().unwrap().to_owned();
        seen.extend(letters.iter().map(|letter| letter["entry"]["bad"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, (0..25).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn bytes_that_are_no_text_can_be_listed() {
    let mut stage = Stage::start().await;
    stage.add(0, &[(&b"raw"[..], &b"\x00\xff"[..]), (b"\xfe", b"\xff")]).await;
    stage.settled().await;
    let (status, dead) = get(stage.node.admin, "/api/v1/dead/0").await;
    assert_eq!((status, &dead["dead"][0]["entry"]["raw_b64"]), (200, &json!("AP8=")), "{dead}");
    gim(&stage.node, "dead list --lane 0").await.expect_done();
}

#[tokio::test]
async fn a_redrive_of_a_malformed_letter_makes_it_one_again() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    let (_, message) = stage.bury(&[("to_uid", "u"), ("data", "bad")]).await;
    assert_eq!(post(stage.node.admin, "/api/v1/dead/0/redrive", &json!({})).await.1["redriven"], 1);
    http::reached(stage.node.admin, "dead", 1).await;
    let letters = stage.letters(0).await;
    assert_eq!(format!("0-{}", letters[0].text("gim_entry")), message);
    assert_eq!((letters[0].text("gim_reason"), letters[0].text("gim_attempts")), ("malformed", "1"));
    client.expect_silence().await;
}

/// A node with two letters of the user `ghost`, who is there by now.
async fn two_letters() -> (Stage, Client, [String; 2]) {
    let mut stage = Stage::start_with(ONE_ATTEMPT).await;
    stage.haunt("ghost").await;
    let one = stage.bury(&[("to_uid", "ghost"), ("data", r#"{"n":1}"#)]).await.0;
    let two = stage.bury(&[("to_uid", "ghost"), ("data", r#"{"n":2}"#)]).await.0;
    let ghost = stage.user("ghost", &[]).await;
    (stage, ghost, [one, two])
}

#[tokio::test]
async fn the_command_lists_what_is_dead() {
    let (stage, _ghost, [one, two]) = two_letters().await;
    let json = gim(&stage.node, "dead list --lane 0 --json").await.json();
    assert_eq!(json["total"], 2);
    let found = json["dead"].as_array().unwrap();
    assert_eq!((&found[0]["id"], &found[1]["id"]), (&json!(one), &json!(two)), "{json}");
    let output = gim(&stage.node, "dead list --lane 0").await;
    let text = output.expect_done();
    assert!(text.contains("attempts") && text.contains("ghost") && text.contains(&one), "{text}");
    assert!(text.ends_with("2 of 2 dead letters in lane 0"), "{text}");
    let rest = gim(&stage.node, &format!("dead list --lane 0 --after {one} --json")).await.json();
    assert_eq!(rest["dead"].as_array().map(Vec::len), Some(1), "{rest}");
}

#[tokio::test]
async fn the_command_puts_back_and_deletes() {
    let (stage, mut ghost, [one, _]) = two_letters().await;
    let redriven = gim(&stage.node, &format!("dead redrive --lane 0 --id {one}")).await;
    assert_eq!(redriven.expect_done(), "redriven 1");
    ghost.expect_body(json!({ "n": 1 })).await;
    assert_eq!(gim(&stage.node, "dead purge --lane 0 --all --yes").await.expect_done(), "purged 1");
    assert_eq!(gim(&stage.node, "dead redrive --lane 0 --all").await.expect_done(), "redriven 0");
    stage.settled().await;
    ghost.expect_silence().await;
}

#[tokio::test]
async fn the_oldest_letters_go_at_the_bound() {
    let mut stage = Stage::start_with(|config| config.queue.dead_letters = 5).await;
    for n in 0..12 {
        stage.add(0, &[("bad", n.to_string())]).await;
    }
    stage.settled().await;
    let letters = stage.letters(0).await;
    assert_eq!(letters.iter().map(|letter| letter.text("bad")).collect::<Vec<_>>(), ["7", "8", "9", "10", "11"]);
}
