//! Users come and go all the time while Redis is killed, emptied and frozen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gim_proto::keys::BUCKETS;
use gim_proxy_sdk::testing::RedisServer;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::client::Client;
use crate::support::node::{NodeProcess, Spec};
use crate::support::traffic::People;
use crate::support::{eventually, http};

const USERS: usize = 40;
const ROUNDS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_while_redis_fails_is_on_record_exactly_while_connected() {
    let mut redis = RedisServer::start().await;
    let spec = Spec::new(&redis).set("session.membership_grace", "1s");
    let node = spec.start().await;
    let over = Arc::new(AtomicBool::new(false));
    let logins = Arc::new(AtomicUsize::new(0));
    let mut users = JoinSet::new();
    for user in 0..USERS {
        let (public, over, logins) = (node.public, Arc::clone(&over), Arc::clone(&logins));
        users.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                if let Ok(mut client) = Client::try_open(public, &path(user)).await {
                    logins.fetch_add(1, Ordering::SeqCst);
                    client.json().await;
                    match user % 3 {
                        0 => drop(client),
                        1 => client.close().await,
                        // It stays a while, and is replaced by itself.
                        _ => drop(tokio::spawn(async move {
                            sleep(Duration::from_millis(100)).await;
                            drop(client);
                        })),
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    for round in 0..ROUNDS {
        sleep(Duration::from_millis(700)).await;
        if round % 2 == 0 {
            redis.restart().await;
        } else {
            redis.freeze();
            sleep(Duration::from_secs(3)).await;
            redis.thaw();
        }
        let before = logins.load(Ordering::SeqCst);
        eventually("logins again", || async { (logins.load(Ordering::SeqCst) > before + USERS).then_some(()) }).await;
    }
    over.store(true, Ordering::SeqCst);
    users.join_all().await;
    let staying = everybody_comes(&node).await;
    for client in &staying {
        assert!(client.fence() > 0);
    }
    drop(staying);
    eventually("no record to be left", || async { (records(&redis, &spec).await == 0).then_some(()) }).await;
    eprintln!("{} logins while redis failed {ROUNDS} times, no record left", logins.load(Ordering::SeqCst));
}

fn path(user: usize) -> String {
    format!("/ws?uid={}&msg_code=1", People::uid(user))
}

/// Everybody connects, is the one on record and gets what is sent.
async fn everybody_comes(node: &NodeProcess) -> Vec<Client> {
    let mut clients = Vec::new();
    for user in 0..USERS {
        let uid = People::uid(user);
        let mut client = Client::user(node.public, &uid).await;
        http::push(node.admin, &json!({ "to_uid": uid, "data": { "user": user } })).await;
        client.expect_body(json!({ "user": user })).await;
        let (_, shown) = http::get(node.admin, &format!("/api/v1/users/{uid}")).await;
        assert_eq!((&shown["online"], shown["fence"].as_u64()), (&json!(true), Some(client.fence())), "{shown}");
        clients.push(client);
    }
    clients
}

/// Users on record, in all buckets.
async fn records(redis: &RedisServer, spec: &Spec) -> u64 {
    let mut pipe = redis::pipe();
    (0..BUCKETS).for_each(|bucket| {
        pipe.cmd("HLEN").arg(spec.keys().bucket(bucket));
    });
    redis.store().link("any").pipe::<Vec<u64>>(&pipe).await.unwrap().iter().sum()
}
