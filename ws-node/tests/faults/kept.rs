//! Mode `local`: what got a 202 outlives the process, whatever ends it, and a store that cannot be trusted is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gim_proxy_sdk::testing::prefix;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::Client;
use crate::support::node::{NodeProcess, Spec};
use crate::support::{eventually, http, within};

const USERS: usize = 10;
const CLIENTS: usize = 6;
/// Answers of each client before each kill.
const PER_RUN: usize = 40;
const KILLS: usize = 3;

/// A folder for a store, gone with the test.
struct Store(PathBuf);

impl Store {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("gim-kept-{}", prefix())))
    }

    fn log(&self) -> PathBuf {
        let files = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "jnl")).max().unwrap()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unix_ms() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

fn scheduled(id: &str, user: usize, due_ms: u64) -> Value {
    json!({ "to_uid": format!("u{user}"), "id": id, "deliver_at_ms": due_ms, "data": { "id": id } })
}

/// Asks for messages to be accepted. None: nobody answered.
async fn post(admin: SocketAddr, messages: &Value) -> Option<u16> {
    let body = messages.to_string();
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let head =
        "POST /api/v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// A producer that repeats what was not answered until it is.
async fn produce(client: usize, admin: SocketAddr, due_ms: u64, answered: Arc<AtomicUsize>) -> Vec<String> {
    let mut ids = Vec::new();
    for batch in 0..PER_RUN * KILLS {
        let names: Vec<String> = (0..3).map(|n| format!("c{client}-{batch}-{n}")).collect();
        let user = |n: usize| (client + batch + n) % USERS;
        let messages: Vec<Value> = names.iter().enumerate().map(|(n, id)| scheduled(id, user(n), due_ms)).collect();
        let messages = Value::from(messages);
        eventually("a batch to be accepted", || async { (post(admin, &messages).await == Some(202)).then_some(()) })
            .await;
        answered.fetch_add(1, Ordering::SeqCst);
        ids.extend(names);
    }
    ids
}

/// The sum of a figure over the lanes.
async fn figure(node: &NodeProcess, name: &str) -> u64 {
    let (_, queue) = http::get(node.admin, "/api/v1/queue").await;
    queue["lanes"].as_array().unwrap().iter().map(|lane| lane[name].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_202_is_delivered_once_after_the_process_was_killed_in_the_middle() {
    let store = Store::new();
    // What a client on a busy machine did not read yet is not what is tested here.
    let spec = Spec::local(&store.0).set("session.outbox_frames", 100_000);
    let mut node = spec.start().await;
    let due_ms = unix_ms() + 25_000;
    let answered = Arc::new(AtomicUsize::new(0));
    let clients = (0..CLIENTS).map(|client| tokio::spawn(produce(client, node.admin, due_ms, Arc::clone(&answered))));
    let clients: Vec<_> = clients.collect();
    for kill in 1..=KILLS {
        let enough = kill * CLIENTS * PER_RUN / 2;
        eventually("enough to be accepted", || async { (answered.load(Ordering::SeqCst) >= enough).then_some(()) })
            .await;
        node.kill();
        node = spec.start().await;
    }
    let mut accepted = BTreeSet::new();
    for client in clients {
        accepted.extend(client.await.unwrap());
    }
    node.kill();
    node = spec.start().await;
    assert!(unix_ms() < due_ms, "the machine is too slow for this test");
    assert_eq!(figure(&node, "later").await, accepted.len() as u64);

    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut users = Vec::new();
    for user in 0..USERS {
        users.push((user, Client::user(node.public, &format!("u{user}")).await));
    }
    within("everything to be delivered", async {
        for (user, client) in &mut users {
            // What is due earlier comes earlier.
            let end = json!({ "to_uid": format!("u{user}"), "deliver_at_ms": due_ms + 1, "data": { "id": "end" } });
            http::push(node.admin, &end).await;
            loop {
                let push: Value = client.json().await;
                let id = push["response"]["a"]["id"].as_str().unwrap().to_owned();
                if id == "end" {
                    break;
                }
                *seen.entry(id).or_default() += 1;
            }
        }
    })
    .await;
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
    assert_eq!(seen.into_keys().collect::<BTreeSet<_>>(), accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_outlives_a_stop_in_good_order_under_every_policy() {
    for fsync in ["always", "interval", "never"] {
        let store = Store::new();
        let spec = Spec::local(&store.0).set("local.fsync", fsync);
        let mut node = spec.start().await;
        assert_eq!(post(node.admin, &scheduled("m", 0, unix_ms() + 600_000)).await, Some(202));
        node.stop();
        assert_eq!(node.ended().await, Some(0), "{fsync}: {}", node.log());
        let mut node = spec.start().await;
        assert_eq!(figure(&node, "later").await, 1, "{fsync}");
        assert_eq!(post(node.admin, &scheduled("m2", 0, unix_ms() + 600_000)).await, Some(202));
        node.kill();
        let node = spec.start().await;
        assert_eq!(figure(&node, "later").await, 2, "{fsync}: the end of the process loses nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_store_is_refused() {
    let store = Store::new();
    let spec = Spec::local(&store.0);
    let _node = spec.start().await;
    let (code, log) = spec.elsewhere().refused().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("another process has it"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_refused_and_left_as_it_is() {
    let store = Store::new();
    let spec = Spec::local(&store.0);
    let mut node = spec.start().await;
    for n in 0..30 {
        assert_eq!(post(node.admin, &scheduled(&format!("m{n}"), n, unix_ms() + 600_000)).await, Some(202));
    }
    node.kill();
    let log = store.log();
    let mut bytes = std::fs::read(&log).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes.truncate(written + 1);
    bytes[written / 2..written / 2 + 100].fill(0xFF);
    std::fs::write(&log, &bytes).unwrap();
    for _ in 0..2 {
        let (code, said) = spec.refused().await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("damaged") && said.contains(store.0.to_str().unwrap()), "{said}");
        assert!(std::fs::read(&log).unwrap() == bytes, "it was changed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_makes_the_node_not_ready_and_loses_nothing_accepted() {
    const ROOM: u64 = 256 * 1024;
    let store = Store::new();
    let spec = Spec::local(&store.0);
    let mut node = spec.start().await;
    let mut client = Client::user(node.public, "here").await;
    node.limit_files(Some(ROOM));
    let (mut accepted, mut refusal) = (0, None);
    let large = "x".repeat(10_000);
    while refusal.is_none() {
        let due_ms = unix_ms() + 600_000;
        let message = json!({ "to_uid": "away", "deliver_at_ms": due_ms, "data": { "text": large } });
        match post(node.admin, &message).await {
            Some(202) => accepted += 1,
            other => refusal = other,
        }
        assert!(accepted < 1_000);
    }
    assert!(matches!(refusal, Some(503 | 504)), "{refusal:?}");
    assert!(accepted > 0);
    let ready = http::respond("GET", node.admin, "/readyz", &[], b"").await;
    assert_eq!((ready.status, ready.json()["status"].clone()), (503, json!("store_failed")));
    assert_eq!(node.metric("gim_store_failures_total", "").await, 1);
    assert_eq!(node.metric("gim_store_up", "").await, 0);
    assert_eq!(node.log().matches("the disk does not take").count(), 1, "{}", node.log());
    assert_eq!(post(node.admin, &scheduled("m", 0, unix_ms())).await, Some(503));
    client.ask("gim.ping", json!({})).await;
    node.kill();

    let node = spec.start().await;
    assert_eq!(figure(&node, "later").await, accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_store_everything_is_lost_and_the_node_says_so() {
    let store = Store::new();
    let spec = Spec::local(&store.0).set("local.path", "none");
    let mut node = spec.start().await;
    assert!(node.log().contains("what is accepted is lost with this process"), "{}", node.log());
    assert_eq!(post(node.admin, &scheduled("m", 0, unix_ms() + 600_000)).await, Some(202));
    node.kill();
    let node = spec.start().await;
    assert_eq!(figure(&node, "later").await, 0);
    assert!(!store.0.exists());
    tokio::time::timeout(Duration::from_secs(5), http::get(node.admin, "/healthz")).await.unwrap();
}
