//! One connection per uid, when very many want it and when its node dies.

use std::sync::Arc;
use std::time::Duration;

use gim_proto::keys::BUCKETS;
use gim_proto::{Keys, Uid};
use gim_proxy_sdk::testing::RedisServer;
use redis::cmd;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::node::{NodeProcess, Spec};
use crate::support::traffic::People;
use crate::support::{eventually, http};

const MANY: usize = 200;
const OTHERS: usize = 60;
/// Of the others, so many come back after the node died.
const RETURNING: usize = 10;

/// What a client saw on its connection.
#[derive(Default)]
struct Fate {
    session: String,
    fence: u64,
    pushes: Vec<Value>,
    close: Option<u16>,
    /// Itself, if it is still connected.
    client: Option<Client>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_at_once_one_is_left_and_its_node_s_death_leaves_no_ghost() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis);
    let mut node = spec.start().await;
    let others = connect(&node, 0..OTHERS).await;
    let fates = contest(&node).await;

    let owners: Vec<&Fate> = fates.iter().filter(|fate| fate.client.is_some()).collect();
    let replaced = fates.iter().filter(|fate| fate.close == Some(4501)).count();
    eprintln!("{MANY} at once: {} left, {replaced} replaced", owners.len());
    assert_eq!((owners.len(), replaced), (1, MANY - 1));
    assert_eq!(owners[0].pushes, [json!({ "after": true })], "the one left gets what comes next");
    assert!(fates.iter().all(|fate| fate.fence <= owners[0].fence), "the highest fence is left");
    let record = record(&redis, &spec.keys(), "u").await.unwrap();
    let words: Vec<&str> = record.split(' ').collect();
    assert_eq!((words[1], words[2]), (owners[0].fence.to_string().as_str(), owners[0].session.as_str()), "{record}");

    node.kill();
    drop(others);
    node = spec.start().await;
    // The first try counts.
    let again = Client::user(node.public, "u").await;
    assert!(again.fence() > owners[0].fence);
    let back = connect(&node, 0..RETURNING).await;
    for user in 0..OTHERS {
        let (_, shown) = http::get(node.admin, &format!("/api/v1/users/{}", People::uid(user))).await;
        assert_eq!(shown["online"], user < RETURNING, "{shown}");
    }
    let swept = tokio::time::Instant::now();
    eventually("the records of the dead run to be swept", || async {
        (records(&redis, &spec.keys()).await == RETURNING as u64 + 1).then_some(())
    })
    .await;
    eprintln!("swept {} records within {:?}", OTHERS - RETURNING, swept.elapsed());
    drop((again, back));
}

async fn connect(node: &NodeProcess, users: std::ops::Range<usize>) -> Vec<Client> {
    let mut clients = Vec::new();
    for user in users {
        clients.push(Client::user(node.public, &People::uid(user)).await);
    }
    clients
}

/// All connect at once. A third reads all the time, a third begins to read late, a third reads only at the very end.
async fn contest(node: &NodeProcess) -> Vec<Fate> {
    let all_connected = Arc::new(tokio::sync::Barrier::new(MANY + 1));
    let the_end = Arc::new(Notify::new());
    let mut clients = JoinSet::new();
    for at in 0..MANY {
        let (all_connected, the_end) = (Arc::clone(&all_connected), Arc::clone(&the_end));
        let public = node.public;
        clients.spawn(async move {
            let end = the_end.notified();
            tokio::pin!(end);
            end.as_mut().enable();
            let client = Client::open(public, "/ws?uid=u&msg_code=1").await;
            if at % 3 == 1 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            if at % 3 == 2 {
                all_connected.wait().await;
                end.await;
                return read(client, std::future::ready(())).await;
            }
            let reading = tokio::spawn(read(client, {
                let the_end = Arc::clone(&the_end);
                async move { the_end.notified().await }
            }));
            all_connected.wait().await;
            reading.await.unwrap()
        });
    }
    all_connected.wait().await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "after": true } })).await;
    eventually("only one session to be left", || async {
        let (_, sysinfo) = http::get(node.admin, "/sysinfo").await;
        (sysinfo["managerInfo"]["clientsLen"] == OTHERS + 1).then_some(())
    })
    .await;
    http::settled(node.admin).await;
    the_end.notify_waiters();
    clients.join_all().await
}

/// Notes everything up to the connection's end, or until the end has come and nothing more is there.
async fn read(mut client: Client, end: impl Future<Output = ()>) -> Fate {
    let mut fate = Fate::default();
    tokio::pin!(end);
    loop {
        let message = tokio::select! {
            biased;
            message = client.next() => message,
            () = &mut end => break,
        };
        if !fate.take(message) {
            return fate;
        }
    }
    // What was sent before the end is there or on its way.
    while let Ok(message) = tokio::time::timeout(Duration::from_millis(500), client.next()).await {
        if !fate.take(message) {
            return fate;
        }
    }
    fate.client = Some(client);
    fate
}

impl Fate {
    /// False: the connection has ended.
    fn take(&mut self, message: Option<Message>) -> bool {
        match message {
            Some(Message::Close(close)) => self.close = close.map(|close| u16::from(close.code)),
            None => return false,
            Some(message) => {
                let frame: Value = serde_json::from_slice(&message.into_data()).unwrap();
                let a = &frame["response"]["a"];
                if frame["cmd"] == "gim.welcome" {
                    a["session"].as_str().unwrap().clone_into(&mut self.session);
                    self.fence = a["fence"].as_u64().unwrap();
                } else if frame["msgType"] == 3 {
                    self.pushes.push(a.clone());
                }
            }
        }
        true
    }
}

async fn record(redis: &RedisServer, keys: &Keys, uid: &str) -> Option<String> {
    let uid = Uid::parse(uid).unwrap();
    redis.store().link("any").query(cmd("HGET").arg(keys.user_bucket(&uid)).arg(uid.as_str())).await.unwrap()
}

/// Users on record, in all buckets.
async fn records(redis: &RedisServer, keys: &Keys) -> u64 {
    let mut pipe = redis::pipe();
    (0..BUCKETS).for_each(|bucket| {
        pipe.cmd("HLEN").arg(keys.bucket(bucket));
    });
    redis.store().link("any").pipe::<Vec<u64>>(&pipe).await.unwrap().iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_on_a_dead_node_keeps_nobody_out_whatever_the_policy() {
    let redis = RedisServer::start().await;
    for policy in ["reject", "close_both"] {
        let spec = Spec::new(&redis).set("session.on_duplicate", policy);
        let mut node = spec.start().await;
        let first = Client::user(node.public, "u").await;
        Client::open(node.public, "/ws?uid=other&msg_code=1").await;
        node.kill();
        node = spec.start().await;
        let mut second = Client::user(node.public, "u").await;
        assert!(second.fence() > first.fence());
        http::push(node.admin, &json!({ "to_uid": "u", "data": { "n": 1 } })).await;
        second.expect_body(json!({ "n": 1 })).await;
    }
}
