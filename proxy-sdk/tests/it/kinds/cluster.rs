//! A cluster: each key at its master, slots that move, masters that go and come.

use std::net::TcpListener;
use std::time::Duration;

use gim_proxy_sdk::store::{RedisOptions, Store, StoreErrorKind};
use gim_proxy_sdk::testing::RedisCluster;
use tokio::time::Instant;

use super::contract::{self, Parties};
use super::ways::{all_ways_work, fred, fred_set, get, heals, keys, set};

#[tokio::test]
async fn every_way_leads_to_the_master_of_the_key() {
    let cluster = RedisCluster::start().await;
    all_ways_work(cluster.options()).await;
}

#[tokio::test]
async fn the_contract_holds_in_a_cluster() {
    let cluster = RedisCluster::start().await;
    contract::holds(&Parties::alike(&cluster.options())).await;
}

#[tokio::test]
async fn a_slot_that_moved_is_followed() {
    let cluster = RedisCluster::start().await;
    let store = Store::new(cluster.options());
    let (link, pool, fred) = (store.link("k"), store.pool("k"), fred(store.options()).await);
    link.query::<()>(&set("k", "1")).await.unwrap();
    drop(pool.connection().await.unwrap());
    fred_set(&fred, "k", "1").await.unwrap();

    cluster.move_slot_of("k").await;
    // At once: nothing took effect at the old master, so the link asks the new one by itself.
    link.query::<()>(&set("k", "2")).await.unwrap();
    let mut connection = pool.connection().await.unwrap();
    set("k", "3").exec_async(&mut *connection).await.unwrap();
    // The call that finds out fails without effect, the next one knows.
    let moved = fred_set(&fred, "k", "4").await.unwrap_err();
    assert_eq!(moved.kind, StoreErrorKind::Unavailable);
    fred_set(&fred, "k", "4").await.unwrap();
    let read: String = link.query(&get("k")).await.unwrap();
    assert_eq!(read, "4");
}

#[tokio::test]
async fn a_slot_on_the_move_holds_nobody_up_for_long() {
    let cluster = RedisCluster::start().await;
    let store = Store::new(cluster.options());
    let (link, fred) = (store.link("k"), fred(store.options()).await);
    let from = cluster.holder_of("k").await;
    let to = (from + 1) % 3;
    cluster.open_move("k", from, to).await;
    // The key is not there: the old master sends to the new one, for this once.
    let asked = link.query::<()>(&set("k", "1")).await.unwrap_err();
    assert_eq!((asked.kind, asked.is("ASK")), (StoreErrorKind::Unavailable, true));
    let asked = fred_set(&fred, "k", "1").await.unwrap_err();
    assert_eq!(asked.kind, StoreErrorKind::Unavailable);
    // Other keys are not held up.
    for key in keys() {
        fred_set(&fred, &key, "1").await.unwrap();
    }
    cluster.close_move("k", from, to).await;
    link.query::<()>(&set("k", "2")).await.unwrap();
    heals(async || fred_set(&fred, "k", "3").await).await;
}

#[tokio::test]
async fn a_lost_master_takes_only_its_own_keys_with_it() {
    let mut cluster = RedisCluster::start().await;
    let store = Store::new(cluster.options());
    let fred = fred(store.options()).await;
    let keys = keys();
    let links: Vec<_> = keys.iter().map(|key| store.link(&**key)).collect();
    for (key, link) in keys.iter().zip(&links) {
        link.query::<()>(&set(key, "1")).await.unwrap();
        fred_set(&fred, key, "1").await.unwrap();
    }
    let lost = cluster.holder_of(&keys[0]).await;
    cluster.stop(lost);
    for (key, link) in keys.iter().zip(&links) {
        if cluster.holder_of(key).await == lost {
            let error = link.query::<()>(&set(key, "2")).await.unwrap_err();
            assert!(matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown), "{error:?}");
        } else {
            link.query::<()>(&set(key, "2")).await.unwrap();
        }
    }
    cluster.restart(lost).await;
    for (key, link) in keys.iter().zip(&links) {
        heals(async || link.query::<()>(&set(key, "3")).await).await;
        heals(async || fred_set(&fred, key, "3").await).await;
    }
}

#[tokio::test]
async fn a_replica_that_took_over_is_found() {
    let mut cluster = RedisCluster::start_with(None, 1).await;
    let store = Store::new(cluster.options());
    let (link, pool, fred) = (store.link("k"), store.pool("k"), fred(store.options()).await);
    link.query::<()>(&set("k", "1")).await.unwrap();
    drop(pool.connection().await.unwrap());
    fred_set(&fred, "k", "1").await.unwrap();
    let lost = cluster.holder_of("k").await;
    cluster.stop(lost);
    cluster.failed_over("k", lost).await;
    heals(async || link.query::<()>(&set("k", "2")).await).await;
    heals(async || {
        let mut connection = pool.connection().await?;
        Ok(set("k", "3").exec_async(&mut *connection).await?)
    })
    .await;
    heals(async || fred_set(&fred, "k", "4").await).await;
}

#[tokio::test]
async fn seeds_that_hang_keep_nobody_out() {
    let cluster = RedisCluster::start().await;
    // They take connections and never say a word.
    let silent = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let silent = silent.each_ref().map(|seed| seed.local_addr().unwrap());
    let url = format!("redis-cluster://{},{},127.0.0.1:{}", silent[0], silent[1], cluster.port(0));
    let store = Store::new(RedisOptions::parse(&url).unwrap());
    let begun = Instant::now();
    store.link("k").query::<()>(&set("k", "1")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_cluster_is_reached_by_tls() {
    let cluster = RedisCluster::start_tls().await;
    all_ways_work(cluster.options()).await;
}
