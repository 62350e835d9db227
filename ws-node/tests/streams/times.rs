//! Entries with a time: ttl counts from the entry's id, or from when it is due; schedules come in their order.

use serde_json::{Value, json};

use crate::stage::Stage;
use crate::support::http;
use crate::support::node::unix_ms;

const MONTH: u64 = 30 * 24 * 60 * 60 * 1_000;

#[tokio::test]
async fn ttl_counts_from_the_id_that_the_entry_has() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &["g"]).await;
    let old = unix_ms() - 60_000;
    let mut wanted = Vec::new();
    for (n, (ttl, comes)) in [("1", false), ("59000", false), ("600000", true), ("1000", false)].into_iter().enumerate()
    {
        for (m, target) in
            [("to_uid", "u"), ("to_uids", r#"["u"]"#), ("tgid", "g"), ("all", "1")].into_iter().enumerate()
        {
            let body = json!({ "ttl": ttl, "target": target.0 });
            let id = format!("{}-{m}", old + n as u64);
            stage.add_as(0, &id, &[target, ("ttl_ms", ttl), ("data", &body.to_string())]).await;
            wanted.extend(comes.then_some(body));
        }
    }
    for body in wanted {
        client.expect_body(body).await;
    }
    stage.settled().await;
    client.expect_silence().await;
    assert_eq!((stage.outcomes("expired").await, stage.outcomes("offered").await), (12, 4));
    assert!(stage.letters(0).await.is_empty(), "expiry is an outcome");
}

#[tokio::test]
async fn with_a_due_time_ttl_counts_from_there() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    let old = unix_ms() - 60_000;
    let recent = (old + 59_000).to_string();
    for (n, (due, ttl)) in [(recent.as_str(), "30000"), (recent.as_str(), "1"), ("0", "1000")].into_iter().enumerate() {
        let data = json!({ "n": n }).to_string();
        let fields = [("to_uid", "u"), ("deliver_at_ms", due), ("ttl_ms", ttl), ("data", &data)];
        stage.add_as(0, &format!("{old}-{n}"), &fields).await;
    }
    client.expect_body(json!({ "n": 0 })).await;
    stage.settled().await;
    client.expect_silence().await;
    assert_eq!(stage.outcomes("expired").await, 2);
}

#[tokio::test]
async fn schedules_come_at_their_time_in_its_order_and_under_their_id() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &["g"]).await;
    let now = unix_ms();
    let waits = [2_300, 1_900, 2_200, 2_000, 2_100, 1_900];
    let mut ids = Vec::new();
    for (n, wait) in waits.into_iter().enumerate() {
        let target = if n % 2 == 0 { ("to_uid", "u") } else { ("tgid", "g") };
        let (due, data) = ((now + wait).to_string(), json!({ "n": n }).to_string());
        let id = stage.add(0, &[target, ("deliver_at_ms", due.as_str()), ("data", data.as_str())]).await;
        ids.push(format!("0-{id}"));
    }
    stage.add(0, &[("to_uid", "u"), ("data", r#"{"n":"now"}"#)]).await;
    client.expect_body(json!({ "n": "now" })).await;
    http::reached(stage.node.admin, "later", 6).await;
    // What waits for its time does not stay on the stream.
    assert_eq!(stage.redis.call(&["ZCARD", &stage.keys.later(0)]).await.int(), 6);
    // Of two with the same time the one put on first comes first.
    for n in [1, 5, 3, 4, 2, 0] {
        let push = client.expect_body(json!({ "n": n })).await;
        assert!(unix_ms() >= now + waits[n], "{n} came too early");
        assert_eq!(push.id.as_ref(), Some(&ids[n]));
    }
    stage.settled().await;
    assert_eq!(stage.redis.call(&["EXISTS", &stage.keys.later(0), &stage.keys.later_body(0)]).await.int(), 0);
}

#[tokio::test]
async fn a_schedule_up_to_thirty_days_ahead_waits() {
    let mut stage = Stage::start().await;
    let due = (unix_ms() + MONTH - 60_000).to_string();
    stage.add(0, &[("all", "1"), ("deliver_at_ms", &due), ("data", "{}")]).await;
    http::reached(stage.node.admin, "later", 1).await;
    assert!(stage.letters(0).await.is_empty());
}

#[tokio::test]
async fn an_urgent_entry_of_another_target_does_not_change_the_order_of_one() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &["g"]).await;
    let priorities = ["low", "high", "normal"];
    let mut bytes = Vec::new();
    for n in 0..900 {
        let target = if n % 2 == 0 { ("to_uid", "u") } else { ("tgid", "g") };
        let data = json!({ "target": target.1, "n": n }).to_string();
        let fields = [target, ("priority", priorities[n % 3]), ("data", data.as_str())];
        crate::stage::xadd(&mut bytes, &stage.keys.queue(0), "*", &fields);
    }
    stage.redis.send(&bytes).await;
    let mut last: std::collections::HashMap<(String, u64), u64> = std::collections::HashMap::new();
    for _ in 0..900 {
        let found: Value = client.expect_push().await.a;
        let (target, n) = (found["target"].as_str().unwrap().to_owned(), found["n"].as_u64().unwrap());
        let before = last.insert((target, n % 3), n);
        assert!(before.is_none_or(|before| before < n), "{before:?} came before {n}");
    }
    client.expect_silence().await;
}
