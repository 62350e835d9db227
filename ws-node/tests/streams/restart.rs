//! A node that ends and starts again over the same keys.

use gim_proto::Incarnation;
use serde_json::{Value, json};

use crate::stage::{Stage, xadd};
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::unix_ms;
use crate::support::within;

/// A stage whose node has stopped in order; the keys stay.
async fn stopped(mut stage: Stage) -> Stage {
    within("the stop", stage.node.node.shutdown()).await;
    assert_eq!(stage.redis.call(&["EXISTS", &stage.keys.lease(0)]).await.int(), 0, "the lane was given back");
    stage
}

impl Stage {
    /// Has somebody living own the lane, so that clients come before their messages do.
    pub(crate) async fn hold_lane(&mut self) {
        let lease = self.keys.lease(0);
        let owner = Incarnation::mint().to_string();
        self.redis.call(&["HSET", &lease, "owner", &owner, "term", "1"]).await;
        self.redis.call(&["PEXPIRE", &lease, "60000"]).await;
    }

    pub(crate) async fn free_lane(&mut self) {
        let lease = self.keys.lease(0);
        assert_eq!(self.redis.call(&["DEL", &lease]).await.int(), 1);
    }

    /// Starts a node over the same keys.
    pub(crate) async fn again(self) -> Self {
        Self::over(self.keys.prefix(), |_| {}, |builder| builder).await
    }

    /// Puts entries to the user `u` on lane 0, numbered.
    pub(crate) async fn fill(&mut self, range: std::ops::Range<u64>) {
        let mut bytes = Vec::new();
        for n in range.clone() {
            let data = json!({ "n": n }).to_string();
            xadd(&mut bytes, &self.keys.queue(0), "*", &[("to_uid", "u"), ("data", data.as_str())]);
        }
        self.redis.send(&bytes).await;
        for _ in range {
            self.redis.reply().await;
        }
    }
}

async fn gets(client: &mut Client, range: std::ops::Range<u64>) {
    for n in range {
        client.expect_body(json!({ "n": n })).await;
    }
}

#[tokio::test]
async fn what_was_put_on_while_the_node_was_away_is_delivered() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    stage.fill(0..10).await;
    gets(&mut client, 0..10).await;
    stage.settled().await;
    stage = stopped(stage).await;
    stage.fill(10..500).await;
    stage.hold_lane().await;
    let mut stage = stage.again().await;
    let mut client = stage.user("u", &[]).await;
    http::reached(stage.node.admin, "lag", 490).await;
    stage.free_lane().await;
    gets(&mut client, 10..500).await;
    stage.settled().await;
    client.expect_silence().await;
}

#[tokio::test]
async fn entries_from_before_the_first_node_are_delivered() {
    let stage = Stage::start().await;
    let mut stage = stopped(stage).await;
    let stream = stage.keys.queue(0);
    // As if no node had ever been there: no group either.
    stage.redis.call(&["DEL", &stream]).await;
    stage.fill(0..50).await;
    stage.hold_lane().await;
    let mut stage = stage.again().await;
    let mut client = stage.user("u", &[]).await;
    stage.free_lane().await;
    gets(&mut client, 0..50).await;
}

#[tokio::test]
async fn what_an_earlier_reader_took_and_did_not_settle_comes_first() {
    let mut stage = stopped(Stage::start().await).await;
    stage.fill(0..20).await;
    let stream = stage.keys.queue(0);
    let read = stage.redis.line(&format!("XREADGROUP GROUP gim lane COUNT 12 STREAMS {stream} >")).await;
    assert_eq!(read.array().pop().unwrap().array().pop().unwrap().array().len(), 12);
    stage.hold_lane().await;
    let mut stage = stage.again().await;
    let mut client = stage.user("u", &[]).await;
    let (_, queue) = http::get(stage.node.admin, "/api/v1/queue").await;
    assert_eq!((&queue["lanes"][0]["pending"], &queue["lanes"][0]["lag"]), (&json!(12), &json!(8)), "{queue}");
    stage.free_lane().await;
    gets(&mut client, 0..20).await;
    stage.settled().await;
    client.expect_silence().await;
}

#[tokio::test]
async fn schedules_survive_and_come_at_their_time_under_their_id() {
    let mut stage = Stage::start().await;
    let now = unix_ms();
    let mut ids = Vec::new();
    for (n, wait) in [(0, 3_000), (1, 2_500), (2, 2_750)] {
        let (due, data) = ((now + wait).to_string(), json!({ "n": n }).to_string());
        let fields = [("to_uid", "u"), ("deliver_at_ms", due.as_str()), ("data", data.as_str())];
        ids.push(Some(format!("0-{}", stage.add(0, &fields).await)));
    }
    http::reached(stage.node.admin, "later", 3).await;
    let mut stage = stopped(stage).await;
    stage.hold_lane().await;
    let mut stage = stage.again().await;
    let mut client = stage.user("u", &[]).await;
    stage.free_lane().await;
    for (n, wait) in [(1, 2_500), (2, 2_750), (0, 3_000)] {
        assert_eq!(client.expect_body(json!({ "n": n })).await.id, ids[n]);
        assert!(unix_ms() >= now + wait, "{n} came too early");
    }
}

#[tokio::test]
async fn a_schedule_that_fell_due_meanwhile_comes_when_the_node_is_back() {
    let mut stage = Stage::start().await;
    let due = unix_ms() + 2_000;
    let id = stage.add(0, &[("to_uid", "u"), ("deliver_at_ms", &due.to_string()), ("data", "{}")]).await;
    http::reached(stage.node.admin, "later", 1).await;
    stage = stopped(stage).await;
    stage.hold_lane().await;
    let mut stage = stage.again().await;
    let mut client = stage.user("u", &[]).await;
    http::reached(stage.node.admin, "lag", 1).await;
    assert!(unix_ms() >= due, "what is due counts as lag, nothing else does");
    stage.free_lane().await;
    assert_eq!(client.expect_body(json!({})).await.id, Some(format!("0-{id}")));
}

#[tokio::test]
async fn an_id_is_remembered_across_a_restart() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    stage.add(0, &[("to_uid", "u"), ("id", "x"), ("data", r#"{"n":1}"#)]).await;
    client.expect_body(json!({ "n": 1 })).await;
    stage.settled().await;
    let mut stage = stopped(stage).await.again().await;
    let mut client = stage.user("u", &[]).await;
    stage.add(0, &[("to_uid", "u"), ("id", "x"), ("data", r#"{"n":2}"#)]).await;
    stage.settled().await;
    client.expect_silence().await;
    assert_eq!(stage.outcomes("duplicate").await, 1);
}

/// The groups of a client who was in `g` and `h`, and comes back with or without its session.
async fn after_a_restart(stage: Stage, session: Option<&str>) -> (Stage, Client, Value) {
    let stage = stopped(stage).await.again().await;
    let session = session.map(|session| format!("&session={session}")).unwrap_or_default();
    let client = Client::connect(stage.node.public, &format!("/ws?uid=u&msg_code=1{session}")).await;
    let groups = client.welcome["groups"].clone();
    (stage, client, groups)
}

#[tokio::test]
async fn a_client_that_names_its_session_has_its_groups_again() {
    let stage = Stage::start().await;
    let client = stage.user("u", &["g", "h"]).await;
    let session = client.session().to_owned();
    let (mut stage, mut client, groups) = after_a_restart(stage, Some(&session)).await;
    let mut names: Vec<&str> = groups.as_array().unwrap().iter().map(|group| group.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["g", "h"]);
    for tgid in ["g", "h"] {
        stage.add(0, &[("tgid", tgid), ("data", &json!({ "to": tgid }).to_string())]).await;
        client.expect_body(json!({ "to": tgid })).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_has_none() {
    let stage = Stage::start().await;
    let _client = stage.user("u", &["g", "h"]).await;
    let (mut stage, mut client, groups) = after_a_restart(stage, None).await;
    assert_eq!(groups, json!([]));
    stage.add(0, &[("tgid", "g"), ("data", "{}")]).await;
    stage.settled().await;
    client.expect_silence().await;
}

#[tokio::test]
async fn after_the_grace_the_groups_are_over() {
    let grace = std::time::Duration::from_millis(200);
    let stage = Stage::start_with(|config| config.session.membership_grace = grace).await;
    let client = stage.user("u", &["g"]).await;
    let session = client.session().to_owned();
    let mut stage = stopped(stage).await;
    let groups = stage.keys.user_groups(&"u".parse().unwrap());
    within("the groups to expire", async { while stage.redis.call(&["EXISTS", &groups]).await.int() > 0 {} }).await;
    let stage = stage.again().await;
    let path = format!("/ws?uid=u&msg_code=1&session={session}");
    assert_eq!(Client::connect(stage.node.public, &path).await.welcome["groups"], json!([]));
}
