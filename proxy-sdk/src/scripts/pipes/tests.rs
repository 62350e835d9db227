//! In a real cluster: slots that move, masters that go, hang and come back.

use gim_proto::slot_of;

use super::*;
use crate::store::{RedisOptions, Topology};
use crate::testing::{DEADLINE, RedisCluster};

/// For calls that are to be answered.
const LONG: Duration = Duration::from_secs(5);
/// For those that are not.
const SHORT: Duration = Duration::from_millis(300);

async fn opened(options: &RedisOptions) -> (Pipes, Keeper) {
    let Topology::Cluster { seeds } = options.topology() else { panic!("a cluster") };
    let pipes = Pipes::new(Store::new(options.clone()), seeds.clone());
    let keeper = pipes.open().await.unwrap();
    (pipes, keeper)
}

async fn set(pipes: &Pipes, key: &str, value: u64) -> Result<Value, StoreError> {
    set_within(pipes, key, value, LONG).await
}

async fn set_within(pipes: &Pipes, key: &str, value: u64, within: Duration) -> Result<Value, StoreError> {
    let write = |words: &mut Words<'_>| {
        words.command(3);
        words.word(b"SET");
        words.word(key.as_bytes());
        words.number(value);
    };
    pipes.call(slot_of(key), Instant::now() + within, write).await
}

/// Repeats a call until it succeeds. Meanwhile it fails as what a caller repeats.
async fn heals(pipes: &Pipes, key: &str) {
    let deadline = Instant::now() + DEADLINE * 2;
    while let Err(error) = set(pipes, key, 1).await {
        assert!(matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown), "{error:?}");
        assert!(Instant::now() < deadline, "not healed in time: {error:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn keys() -> impl Iterator<Item = String> {
    (0..30).map(|number| format!("key-{number}"))
}

/// All keys, each with whether it is at the master of `key-1`; and that master.
async fn beside_the_first(cluster: &RedisCluster) -> (usize, Vec<(String, bool)>) {
    let master = cluster.holder_of("key-1").await;
    let mut beside = Vec::new();
    for key in keys() {
        let is_there = cluster.holder_of(&key).await == master;
        beside.push((key, is_there));
    }
    (master, beside)
}

#[tokio::test]
async fn a_call_goes_to_the_master_of_its_slot_and_follows_a_slot_that_has_moved() {
    let cluster = RedisCluster::start().await;
    let (pipes, keeper) = opened(&cluster.options()).await;
    assert_eq!(pipes.0.read().members.len(), 3);
    for key in keys() {
        set(&pipes, &key, 1).await.unwrap();
    }
    assert!(!pipes.is_one(keys().map(|key| slot_of(&key))), "they are all over the cluster");

    cluster.move_slot_of("key-1").await;
    let error = set(&pipes, "key-1", 2).await.unwrap_err();
    assert!(error.is("MOVED") && error.kind == StoreErrorKind::Unavailable, "{error:?}");
    set(&pipes, "key-1", 2).await.unwrap();

    pipes.close(keeper).await;
    assert!(!pipes.is_up());
    assert_eq!(set(&pipes, "key-1", 3).await.unwrap_err().kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_slot_that_has_moved_to_a_stranger_is_found_by_asking() {
    let cluster = RedisCluster::start().await;
    let (pipes, _keeper) = opened(&cluster.options()).await;
    let from = cluster.holder_of("k").await;
    let to = cluster.port(cluster.move_slot_of("k").await);
    // As if that master had come to the cluster only now: whatever it has is thought to be where the slot was.
    let forgotten = {
        let mut map = pipes.0.write();
        let place = map.members.iter().position(|member| member.address.port == cluster.port(from)).unwrap();
        let ranges = [(0, 16_383, map.members[place].address.clone())];
        map.adopt(&ranges, Vec::new())
    };
    assert_eq!(forgotten.len(), 2);
    assert!(set(&pipes, "k", 1).await.unwrap_err().is("MOVED"));
    // By then it has been asked for.
    assert_eq!(pipes.0.home_of(slot_of("k")).unwrap().address.port, to);
    set(&pipes, "k", 2).await.unwrap();
}

#[tokio::test]
async fn a_master_that_is_lost_takes_only_its_own_slots_with_it_until_it_is_back() {
    let mut cluster = RedisCluster::start().await;
    let (pipes, _keeper) = opened(&cluster.options()).await;
    let (lost, keys) = beside_the_first(&cluster).await;
    cluster.stop(lost);
    for (key, is_lost) in keys {
        match (set(&pipes, &key, 1).await, is_lost) {
            (Ok(_), false) => {}
            (Err(error), true) => {
                assert!(matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown), "{error:?}");
            }
            (answer, is_lost) => panic!("{key}: {answer:?}, its master is lost: {is_lost}"),
        }
    }
    assert!(pipes.is_up());
    cluster.restart(lost).await;
    heals(&pipes, "key-1").await;
}

#[tokio::test]
async fn a_replica_that_took_over_is_found_and_the_lost_master_left() {
    let mut cluster = RedisCluster::start_with(None, 1).await;
    let (pipes, _keeper) = opened(&cluster.options()).await;
    let lost = cluster.holder_of("k").await;
    cluster.stop(lost);
    let next = cluster.failed_over("k", lost).await;
    heals(&pipes, "k").await;
    assert_eq!(pipes.0.home_of(slot_of("k")).unwrap().address.port, cluster.port(next));
    let members: Vec<u16> = pipes.0.read().members.iter().map(|member| member.address.port).collect();
    assert!(members.len() == 3 && !members.contains(&cluster.port(lost)), "{members:?}");
}

#[tokio::test]
async fn a_master_that_hangs_holds_up_nobody_elses_calls() {
    let cluster = RedisCluster::start().await;
    let (pipes, _keeper) = opened(&cluster.options()).await;
    let (hung, keys) = beside_the_first(&cluster).await;
    cluster.freeze(hung);
    let waits = set_within(&pipes, "key-1", 1, SHORT);
    let go_on = async {
        for (key, _) in keys.iter().filter(|(_, is_hung)| !is_hung) {
            set(&pipes, key, 1).await.unwrap();
        }
    };
    let (waited, ()) = tokio::join!(waits, go_on);
    assert_eq!(waited.unwrap_err().kind, StoreErrorKind::Unknown);
    cluster.thaw(hung);
    heals(&pipes, "key-1").await;
}

#[tokio::test]
async fn when_no_master_is_left_that_is_known_the_seeds_are_asked_until_others_are() {
    let cluster = RedisCluster::start().await;
    let (pipes, _keeper) = opened(&cluster.options()).await;
    // As if all of them had come back under other addresses.
    let gone = Address { host: "127.0.0.1".to_owned(), port: crate::testing::free_port() };
    let before = pipes.0.adopt(&[(0, 16_383, gone.clone())], PATIENCE).await;
    assert!(before.is_some(), "nobody is there");
    assert!(!pipes.is_up());
    let deadline = Instant::now() + DEADLINE;
    while !pipes.0.is_up() {
        assert!(Instant::now() < deadline, "nobody has asked");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(pipes.0.read().members.iter().all(|member| member.address != gone));
    set(&pipes, "k", 1).await.unwrap();
}

#[tokio::test]
async fn seeds_that_are_no_cluster_open_nothing() {
    let closed = crate::testing::free_port();
    let options = RedisOptions::parse(&format!("redis-cluster://127.0.0.1:{closed}")).unwrap();
    let Topology::Cluster { seeds } = options.topology() else { panic!("a cluster") };
    let pipes = Pipes::new(Store::new(options.clone()), seeds.clone());
    let error = pipes.open().await.err().unwrap();
    assert!(error.kind == StoreErrorKind::Unavailable && !pipes.is_up());
}
