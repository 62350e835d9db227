//! A producer's id counts once within its lane, whatever road each entry took.

use serde_json::json;

use crate::stage::Stage;
use crate::support::http;

fn entry(id: &str, n: u64) -> [(String, String); 3] {
    let data = json!({ "n": n }).to_string();
    [("to_uid", "u"), ("id", id), ("data", &data)].map(|(name, value)| (name.to_owned(), value.to_owned()))
}

async fn post(stage: &Stage, id: &str, n: u64) {
    let message = json!({ "to_uid": "u", "id": id, "data": { "n": n } });
    assert_eq!(http::push(stage.node.admin, &message).await, [id]);
}

#[tokio::test]
async fn the_second_entry_with_an_id_comes_to_the_outcome_duplicate() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    for n in 0..3 {
        stage.add(0, &entry("same", n)).await;
    }
    stage.add(0, &entry("other", 9)).await;
    assert_eq!(client.expect_body(json!({ "n": 0 })).await.id.as_deref(), Some("same"));
    client.expect_body(json!({ "n": 9 })).await;
    stage.settled().await;
    client.expect_silence().await;
    assert_eq!((stage.outcomes("duplicate").await, stage.outcomes("offered").await), (2, 2));
    assert!(stage.letters(0).await.is_empty(), "a duplicate is no dead letter");
}

#[tokio::test]
async fn an_entry_by_hand_after_one_by_http_is_a_duplicate() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    post(&stage, "x", 1).await;
    stage.add(0, &entry("x", 2)).await;
    client.expect_body(json!({ "n": 1 })).await;
    stage.settled().await;
    client.expect_silence().await;
    assert_eq!(stage.outcomes("duplicate").await, 1);
}

#[tokio::test]
async fn an_entry_by_http_after_one_by_hand_has_no_effect() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    let place = stage.add(0, &entry("x", 1)).await;
    client.expect_body(json!({ "n": 1 })).await;
    let mark = stage.keys.idempotency(0, &"x".parse().unwrap());
    assert_eq!(stage.redis.call(&["GET", &mark]).await.text(), place, "the id is noted with its entry");
    assert!((1..=600_000).contains(&stage.redis.call(&["PTTL", &mark]).await.int()), "for the window");
    post(&stage, "x", 2).await;
    stage.settled().await;
    client.expect_silence().await;
    // It was not even put on the stream.
    assert_eq!(stage.outcomes("duplicate").await, 0);
}

#[tokio::test]
async fn by_both_roads_at_once_it_is_delivered_once() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    for round in 0..50 {
        let id = format!("round-{round}");
        let message = json!({ "to_uid": "u", "id": id, "data": { "n": round } });
        let posted = tokio::spawn(http::push(stage.node.admin, &message));
        stage.add(0, &entry(&id, round)).await;
        assert_eq!(posted.await.unwrap(), [id]);
        client.expect_body(json!({ "n": round })).await;
    }
    stage.settled().await;
    client.expect_silence().await;
    assert_eq!(stage.outcomes("offered").await, 50);
}

#[tokio::test]
async fn an_id_within_msg_counts_as_any_other() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    stage.add(0, &entry("x", 1)).await;
    stage.add(0, &[("msg", json!({ "to_uid": "u", "id": "x", "data": { "n": 2 } }).to_string())]).await;
    client.expect_body(json!({ "n": 1 })).await;
    stage.settled().await;
    client.expect_silence().await;
    assert_eq!(stage.outcomes("duplicate").await, 1);
}

#[tokio::test]
async fn an_id_counts_within_its_lane() {
    let mut stage = Stage::start_with(|config| config.queue.lanes = 2.try_into().unwrap()).await;
    let mut client = stage.user("u", &[]).await;
    for lane in 0..2 {
        stage.add(lane, &entry("x", lane.into())).await;
        client.expect_body(json!({ "n": lane })).await;
    }
}

#[tokio::test]
async fn after_its_window_an_id_is_new() {
    let mut stage =
        Stage::start_with(|config| config.queue.idempotency_window = std::time::Duration::from_secs(1)).await;
    let mut client = stage.user("u", &[]).await;
    stage.add(0, &entry("x", 1)).await;
    client.expect_body(json!({ "n": 1 })).await;
    let mark = stage.keys.idempotency(0, &"x".parse().unwrap());
    let mut gone = false;
    while !gone {
        gone = stage.redis.call(&["EXISTS", &mark]).await.int() == 0;
    }
    stage.add(0, &entry("x", 2)).await;
    client.expect_body(json!({ "n": 2 })).await;
}

#[tokio::test]
async fn a_repeat_of_a_schedule_is_a_duplicate_before_and_after_its_time() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    let due = (crate::support::node::unix_ms() + 1_500).to_string();
    let mut scheduled = entry("x", 1).to_vec();
    scheduled.push(("deliver_at_ms".to_owned(), due));
    stage.add(0, &scheduled).await;
    http::reached(stage.node.admin, "later", 1).await;
    stage.add(0, &entry("x", 2)).await;
    client.expect_body(json!({ "n": 1 })).await;
    stage.add(0, &entry("x", 3)).await;
    post(&stage, "x", 4).await;
    stage.settled().await;
    client.expect_silence().await;
    assert_eq!(stage.outcomes("duplicate").await, 2);
}
