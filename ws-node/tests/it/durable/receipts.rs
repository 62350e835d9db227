//! Receipts of durable messages on their way out of a mailbox: acknowledged by whatever counts as that, or gone unread.

use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::mailbox::Position;
use serde_json::{Value, json};

use super::{Sent, World, epoch, expect};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::http::get;

impl World {
    /// Stores messages of which receipts are wanted, and returns their ids.
    async fn store_asking(&self, uid: &str, range: impl IntoIterator<Item = u64>) -> Vec<String> {
        let mut ids = Vec::new();
        for n in range {
            let sent = self.message(n, |message| message.receipt = true);
            self.append(uid, &sent).await;
            ids.push(sent.message.id.to_string());
        }
        ids
    }

    /// What the receipts say, in order: the message, and `state`, or `state reason`.
    async fn all_told(&self) -> Vec<(String, String)> {
        let (mut all, mut after) = (Vec::new(), "0-0".to_owned());
        loop {
            let (_, found) = get(self.node.admin, &format!("/api/v1/receipts?limit=1000&after={after}")).await;
            let page = found["receipts"].as_array().unwrap();
            let Some(last) = page.last() else { return all };
            after = last["entry"].as_str().unwrap().to_owned();
            all.extend(page.iter().map(|noted| {
                let field = |name: &str| noted["fields"][name].as_str();
                let state = [field("state"), field("reason")].into_iter().flatten().collect::<Vec<_>>().join(" ");
                (field("id").unwrap().to_owned(), state)
            }));
        }
    }

    async fn told(&self, id: &str) -> Vec<String> {
        self.all_told().await.into_iter().filter(|(of, _)| of == id).map(|(_, state)| state).collect()
    }

    async fn told_at_last(&self, id: &str, wanted: &[&str]) {
        eventually(&format!("{wanted:?} of {id}"), || async { (self.told(id).await == wanted).then_some(()) }).await;
    }

    /// Waits until the journey of a message ends with this.
    async fn goes_as_far_as(&self, id: &str, hop: &str) {
        eventually(&format!("the journey of {id} as far as {hop}"), || async {
            let (_, found) = get(self.node.admin, &format!("/api/v1/messages/{id}")).await;
            let last = found["hops"].as_array().and_then(|hops| hops.last()?["hop"].as_str());
            (last == Some(hop)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_client_acknowledges_is_told_when_the_answer_is_there() {
    let world = World::new().await;
    let ids = world.store_asking("a", 1..=3).await;
    let (mut client, _) = world.connect("a").await;
    expect(&mut client, 1, 1..=3).await;
    client.ask("gim.ack", json!({ "offset": 2 })).await;
    assert_eq!(world.told(&ids[0]).await, ["written", "acked"]);
    assert_eq!(world.told(&ids[1]).await, ["written", "acked"]);
    assert_eq!(world.told(&ids[2]).await, ["written"]);
}

#[tokio::test]
async fn what_a_client_acknowledges_by_resuming_is_told_before_it_is_let_in() {
    let world = World::new().await;
    let ids = world.store_asking("a", 1..=3).await;
    world.store("a", [4]).await;
    let (mut client, _) = world.connect("a").await;
    expect(&mut client, 1, 1..=4).await;
    let known = epoch(&client);
    client.close().await;
    let mut again = world.resume("a", known, 2).await;
    assert_eq!(world.told(&ids[0]).await, ["written", "acked"]);
    assert_eq!(world.told(&ids[1]).await, ["written", "acked"]);
    assert!(!world.told(&ids[2]).await.contains(&"acked".to_owned()));
    world.goes_as_far_as(&ids[1], "acked").await;
    expect(&mut again, 3, 3..=4).await;
    let mut last = world.resume("a", known, 4).await;
    assert_eq!(world.told(&ids[2]).await.last().map(String::as_str), Some("acked"));
    last.command("silence", "gim.ping", Value::Null).await;
    assert_eq!(last.json().await["seq"], "silence", "everything is acknowledged");
}

#[tokio::test]
async fn who_resumes_with_more_than_one_look_names_has_each_of_it_told() {
    let world = World::new().await;
    let ids = world.store_asking("a", 1..=600).await;
    let known = epoch(&world.connect("a").await.0);
    world.resume("a", known, 599).await;
    let told = world.all_told().await;
    let acked: Vec<&String> = told.iter().filter(|(_, state)| state == "acked").map(|(id, _)| id).collect();
    assert_eq!(acked, ids[..599].iter().collect::<Vec<_>>(), "each once");
}

#[tokio::test]
async fn on_acc_what_is_written_is_told_as_acknowledged() {
    let world = World::new().await;
    let ids = world.store_asking("a", 1..=2).await;
    let mut old = Client::connect(world.node.public, "/acc?uid=a&msg_code=1").await;
    expect(&mut old, 1, 1..=2).await;
    for id in &ids {
        world.told_at_last(id, &["written", "acked"]).await;
    }
}

#[tokio::test]
async fn what_is_over_before_it_is_read_is_told_and_is_no_acknowledgement() {
    let world = World::new().await;
    let over = world.message(1, |message| *message = asks_in_vain(message));
    world.append("a", &over).await;
    world.store("a", [2]).await;
    let id = over.message.id.as_str();
    let (mut client, _) = world.connect("a").await;
    assert_eq!(client.expect_notice("gim.gap").await, json!({ "from": 1, "to": 1, "reason": "expired" }));
    expect(&mut client, 2, [2]).await;
    client.ask("gim.ack", json!({ "offset": 2 })).await;
    // By the acknowledgement, or by the sweep that came before it, or by both.
    eventually("that it expired", || async { (!world.told(id).await.is_empty()).then_some(()) }).await;
    assert!(world.told(id).await.iter().all(|state| state == "trimmed expired"));
}

#[tokio::test]
async fn what_went_over_while_its_client_was_away_is_told_when_it_resumes() {
    let world = World::new().await;
    let over = world.message(1, |message| *message = asks_in_vain(message));
    let Position { epoch, offset } = world.append("a", &over).await;
    world.resume("a", epoch, offset).await;
    assert!(world.told(over.message.id.as_str()).await.contains(&"trimmed expired".to_owned()));
}

fn asks_in_vain(message: &Message) -> Message {
    Message { receipt: true, expires_ms: Some(1), ..message.clone() }
}

#[tokio::test]
async fn what_a_full_mailbox_lets_go_is_told() {
    let world = World::with(|config| config.mailbox.messages = 2).await;
    let message = |n: u64| json!({ "to_uid": "a", "class": "durable", "receipt": "1", "data": { "n": n } });
    let ids = crate::support::http::push(world.node.admin, &json!([message(1), message(2), message(3)])).await;
    world.told_at_last(&ids[2], &["stored"]).await;
    let mut states = world.told(&ids[0]).await;
    states.sort();
    assert_eq!(states, ["stored", "trimmed full"]);
    let (mut client, _) = world.connect("a").await;
    assert_eq!(client.expect_notice("gim.gap").await, json!({ "from": 1, "to": 1, "reason": "trimmed" }));
    expect(&mut client, 2, 2..=3).await;
}

#[tokio::test]
async fn what_goes_because_the_node_stores_for_a_group_is_told() {
    let world = World::with(|config| config.mailbox.messages = 1).await;
    let (mut client, _) = world.connect("a").await;
    client.join("g").await;
    let first: Sent = world.message(1, |message| message.receipt = true);
    assert_eq!(world.fan(&["g"], &first).await, 1);
    assert_eq!(world.fan(&["g"], &world.message(2, |_| {})).await, 1);
    let states = world.told(first.message.id.as_str()).await;
    assert!(states.contains(&"trimmed full".to_owned()), "{states:?}");
}
