//! Reaching a real Redis: what errors mean, and that a link mends itself.

use std::time::Duration;

use gim_proxy_sdk::store::{RedisOptions, Store, StoreErrorKind};
use gim_proxy_sdk::testing::{RedisServer, prefix, shared_redis};
use redis::{Script, cmd};

fn set(key: &str, value: &str) -> redis::Cmd {
    let mut set = cmd("SET");
    set.arg(key).arg(value);
    set
}

#[tokio::test]
async fn calls_on_one_link_go_over_one_connection() {
    let server = RedisServer::start().await;
    let link = server.store().link("k");
    let ids = futures_util::future::join_all((0..50).map(|_| async {
        let mut id = cmd("CLIENT");
        id.arg("ID");
        link.query::<u64>(&id).await.unwrap()
    }))
    .await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn a_link_outlives_its_server() {
    let mut server = RedisServer::start().await;
    let link = server.store().link("k");
    link.query::<()>(&set("k", "1")).await.unwrap();
    server.stop();
    let broken = link.query::<()>(&set("k", "2")).await.unwrap_err();
    assert!(matches!(broken.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown), "{broken:?}");
    let refused = link.query::<()>(&set("k", "2")).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Unavailable);
    server.restart().await;
    link.query::<()>(&set("k", "3")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_leaves_the_effect_unknown() {
    let server = RedisServer::start().await;
    let store = Store::new(server.options().call_timeout(Duration::from_millis(100)));
    let link = store.link("k");
    link.query::<()>(&set("k", "1")).await.unwrap();
    server.freeze();
    let error = link.query::<()>(&set("k", "2")).await.unwrap_err();
    server.thaw();
    assert_eq!(error.kind, StoreErrorKind::Unknown);
    link.query::<()>(&set("k", "3")).await.unwrap();
}

#[tokio::test]
async fn errors_of_the_server_are_told_apart() {
    let server = shared_redis().await;
    let link = server.store().link("k");
    let own = Script::new("return redis.error_reply('LOSTTERM somebody else')");
    let error = link.script::<()>(&own.prepare_invoke()).await.unwrap_err();
    assert_eq!((error.kind, error.is("LOSTTERM")), (StoreErrorKind::Refused, true));
    let text = link.query::<u64>(cmd("ECHO").arg("text")).await.unwrap_err();
    assert_eq!(text.kind, StoreErrorKind::Corrupt);
    let key = prefix();
    link.query::<()>(&set(&key, "1")).await.unwrap();
    let wrong = link.query::<()>(cmd("LPUSH").arg(&key).arg("1")).await.unwrap_err();
    assert_eq!((wrong.kind, wrong.is("WRONGTYPE")), (StoreErrorKind::Refused, true));
}

#[tokio::test]
async fn a_full_server_and_a_wrong_password_have_names_of_their_own() {
    let server = RedisServer::start_with(&["--requirepass", "right", "--maxmemory", "1mb"]).await;
    let denied = Store::new(server.options().password("wrong")).link("k");
    assert_eq!(denied.query::<()>(&set("k", "1")).await.unwrap_err().kind, StoreErrorKind::Denied);
    let full = Store::new(server.options().password("right")).link("k");
    let large = "x".repeat(600_000);
    let mut last = Ok(());
    for number in 0..10 {
        last = full.query::<()>(&set(&number.to_string(), &large)).await;
    }
    assert_eq!(last.unwrap_err().kind, StoreErrorKind::Full);
}

#[tokio::test]
async fn a_pool_replaces_connections_that_were_killed() {
    let server = RedisServer::start().await;
    let pool = server.store().pool("k");
    let first: u64 = {
        let mut connection = pool.connection().await.unwrap();
        cmd("CLIENT").arg("ID").query_async(&mut *connection).await.unwrap()
    };
    let killed: u64 = server.store().link("k").query(cmd("CLIENT").arg("KILL").arg("ID").arg(first)).await.unwrap();
    assert_eq!(killed, 1);
    let mut connection = pool.connection().await.unwrap();
    let second: u64 = cmd("CLIENT").arg("ID").query_async(&mut *connection).await.unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn nobody_there_is_told_within_the_deadline() {
    let options = RedisOptions::parse("redis://127.0.0.1:1").unwrap();
    let link = Store::new(options).link("k");
    let error = link.query::<()>(&set("k", "1")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn callers_who_wait_for_one_connection_fail_together() {
    // Takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = RedisOptions::parse(&format!("redis://{}", silent.local_addr().unwrap())).unwrap();
    let link = Store::new(options.connect_timeout(Duration::from_millis(300))).link("k");
    let begun = tokio::time::Instant::now();
    let answers = futures_util::future::join_all((0..50).map(|_| async { link.query::<()>(&cmd("PING")).await })).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(|e| e.kind == StoreErrorKind::Unavailable)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
