//! Behind Sentinel: found by name, and found again after a failover.

use std::time::Duration;

use gim_proxy_sdk::store::{Store, StoreErrorKind};
use gim_proxy_sdk::testing::SentinelSet;
use redis::cmd;

use super::contract::{self, Parties};
use super::ways::{all_ways_work, fred, fred_set, get, heals, port_of, set};

#[tokio::test]
async fn every_way_leads_to_the_master_that_sentinel_names() {
    let set = SentinelSet::start().await;
    all_ways_work(set.options()).await;
    let link = Store::new(set.options()).link("k");
    assert_eq!(port_of(&link).await, set.current_master().await);
}

#[tokio::test]
async fn the_contract_holds_behind_sentinel() {
    let servers = SentinelSet::start().await;
    contract::holds(&Parties::alike(&servers.options())).await;
}

#[tokio::test]
async fn every_way_finds_the_new_master_after_a_crash() {
    let mut servers = SentinelSet::start().await;
    let store = Store::new(servers.options());
    let (link, pool, fred) = (store.link("k"), store.pool("k"), fred(store.options()).await);
    link.query::<()>(&set("k", "1")).await.unwrap();
    drop(pool.connection().await.unwrap());
    fred_set(&fred, "k", "1").await.unwrap();

    let old = servers.stop_master().await;
    heals(async || link.query::<()>(&set("k", "2")).await).await;
    let new = servers.failed_over(old).await;
    assert_eq!(port_of(&link).await, new);
    heals(async || {
        let mut connection = pool.connection().await?;
        Ok(set("k", "3").exec_async(&mut *connection).await?)
    })
    .await;
    heals(async || fred_set(&fred, "k", "4").await).await;
    let read: String = store.link("k").query(&get("k")).await.unwrap();
    assert_eq!(read, "4");
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left_at_once() {
    let servers = SentinelSet::start().await;
    let store = Store::new(servers.options());
    let (link, pool, fred) = (store.link("k"), store.pool("k"), fred(store.options()).await);
    link.query::<()>(&set("k", "1")).await.unwrap();
    drop(pool.connection().await.unwrap());
    fred_set(&fred, "k", "1").await.unwrap();

    let new = servers.fail_over().await;
    heals(async || link.query::<()>(&set("k", "2")).await).await;
    assert_eq!(port_of(&link).await, new);
    heals(async || {
        let mut connection = pool.connection().await?;
        Ok(set("k", "3").exec_async(&mut *connection).await?)
    })
    .await;
    heals(async || fred_set(&fred, "k", "4").await).await;
}

#[tokio::test]
async fn a_blocked_read_ends_when_its_master_does() {
    let mut servers = SentinelSet::start().await;
    let store = Store::new(servers.options());
    let mut connection = store.connect("k", None).await.unwrap();
    let mut pop = cmd("BLPOP");
    pop.arg("k").arg(0);
    let reading = tokio::spawn(async move { pop.exec_async(&mut connection).await });
    servers.stop_master().await;
    let ended = tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap();
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_failover_is_found_though_a_sentinel_is_gone() {
    let mut servers = SentinelSet::start().await;
    let store = Store::new(servers.options());
    let (link, fred) = (store.link("k"), fred(store.options()).await);
    link.query::<()>(&set("k", "1")).await.unwrap();
    fred_set(&fred, "k", "1").await.unwrap();
    servers.stop_sentinel(0);
    servers.stop_master().await;
    heals(async || link.query::<()>(&set("k", "2")).await).await;
    heals(async || fred_set(&fred, "k", "3").await).await;
    all_ways_work(servers.options()).await;
}

// The directory's client does not pass this one: it asks the first sentinel that takes a connection.
#[tokio::test]
async fn a_failover_is_found_though_a_sentinel_hangs() {
    let mut servers = SentinelSet::start().await;
    let store = Store::new(servers.options());
    let link = store.link("k");
    link.query::<()>(&set("k", "1")).await.unwrap();
    servers.freeze_sentinel(0);
    store.link("k").query::<()>(&set("k", "1")).await.unwrap();
    servers.stop_master().await;
    heals(async || link.query::<()>(&set("k", "2")).await).await;
    servers.thaw_sentinel(0);
}

#[tokio::test]
async fn sentinels_and_servers_may_have_passwords_of_their_own() {
    let servers = SentinelSet::start().await;
    servers.tell_servers(&["ACL", "SETUSER", "app", "on", ">of-server", "~*", "+@all"]).await;
    servers
        .tell_servers(&["ACL", "SETUSER", "default", "resetkeys", "nocommands", "+replconf", "+psync", "+ping"])
        .await;
    servers.tell_sentinels(&["ACL", "SETUSER", "app", "on", ">of-sentinel", "+@all"]).await;
    let options = servers.options().username("app").password("of-server");
    let user = || Some("app".to_owned());
    let right = options.clone().sentinel_login(user(), Some("of-sentinel".to_owned()));
    all_ways_work(right).await;
    let wrong = options.sentinel_login(user(), Some("wrong".to_owned()));
    let error = Store::new(wrong).link("k").query::<()>(&set("k", "1")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    let wrong =
        servers.options().username("app").password("wrong").sentinel_login(user(), Some("of-sentinel".to_owned()));
    let error = Store::new(wrong).link("k").query::<()>(&set("k", "1")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_unavailable() {
    let servers = SentinelSet::start().await;
    let options = servers.options_of("other");
    let error = Store::new(options).link("k").query::<()>(&set("k", "1")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn sentinel_and_its_servers_are_reached_by_tls() {
    let mut servers = SentinelSet::start_tls().await;
    all_ways_work(servers.options()).await;
    let store = Store::new(servers.options());
    let (link, fred) = (store.link("k"), fred(store.options()).await);
    link.query::<()>(&set("k", "1")).await.unwrap();
    servers.stop_master().await;
    heals(async || link.query::<()>(&set("k", "2")).await).await;
    heals(async || fred_set(&fred, "k", "3").await).await;
}
