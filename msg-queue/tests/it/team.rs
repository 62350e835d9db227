//! Workers that share the lanes of one Redis, which come, go, are killed and lose Redis while entries flow.

mod ledger;
mod world;

use std::time::Duration;

use gim_msg_queue::observe::Event;
use gim_proto::Incarnation;
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::testing::{DEADLINE, RedisCluster, RedisServer};
use tokio::time::Instant;

use self::world::{LANES, World, all_lanes, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_alone_has_every_lane_and_gives_all_of_them_back() {
    let world = World::shared().await;
    let one = world.join("one");
    until("it owns them all", async || one.owned() == all_lanes()).await;
    assert_eq!(one.share(), all_lanes());
    assert_eq!(one.workers().len(), 1);
    let flow = world.flow();
    until("some arrived", async || world.ledger.arrived() > 100).await;
    let sent = flow.stop().await;
    until("all arrived", async || world.ledger.arrived() == sent).await;
    let report = one.drain(Instant::now() + DEADLINE).await;
    assert_eq!((report.settled, report.unsettled), (sent as u64, 0));
    assert_eq!(one.owned(), Vec::<u16>::new());
    assert_eq!(world.leases().await, 0, "every lane is free at once");
    assert_eq!(world.counted().await, 0, "nobody shares the lanes");
    assert_eq!(one.drain(Instant::now()).await.settled, 0, "there is nothing more to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_move_between_workers_that_come_and_go_and_every_target_keeps_its_order() {
    let world = World::shared().await;
    let one = world.join("one");
    until("the first owns them all", async || one.owned() == all_lanes()).await;
    let flow = world.flow();
    let two = world.join("two");
    until("two share them", async || world::owned(&[&one, &two]) == [4, 4]).await;
    let three = world.join("three");
    until("three share them", async || {
        let mut owned = world::owned(&[&one, &two, &three]);
        owned.sort_unstable();
        owned == [2, 3, 3]
    })
    .await;
    assert_eq!(world::union(&[&one, &two, &three]), all_lanes());
    let first = one.drain(Instant::now() + DEADLINE).await;
    until("two are left", async || world::owned(&[&two, &three]) == [4, 4]).await;
    let second = two.drain(Instant::now() + DEADLINE).await;
    until("one is left", async || three.owned() == all_lanes()).await;
    let sent = flow.stop().await;
    until("all arrived", async || world.ledger.arrived() == sent).await;
    let third = three.drain(Instant::now() + DEADLINE).await;
    assert_eq!(first.settled + second.settled + third.settled, sent as u64);
    assert_eq!((first.unsettled, second.unsettled, third.unsettled), (0, 0, 0));
    world.ledger.check_order();
    assert_eq!(world.ledger.repeats(), 0, "a lane that is handed over in good order repeats nothing");
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_of_a_worker_that_is_killed_are_anothers_within_their_lease_and_nothing_is_lost() {
    let world = World::shared().await;
    let (one, two) = (world.join("one"), world.join("two"));
    until("two share them", async || world::owned(&[&one, &two]) == [4, 4]).await;
    let flow = world.flow();
    until("some arrived", async || world.ledger.arrived() > 200).await;
    let killed = Instant::now();
    drop(one);
    until("the other owns them all", async || two.owned() == all_lanes()).await;
    // The lease, the worker's own, and a look at both.
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    let sent = flow.stop().await;
    until("all arrived", async || world.ledger.arrived() == sent).await;
    two.drain(Instant::now() + DEADLINE).await;
    world.ledger.check_order();
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_takes_the_lanes_of_a_run_that_it_knows_to_be_dead_at_once() {
    let world = World::shared().await;
    let run = Incarnation::mint();
    let dead = world.join_as("same", run, Vec::new());
    until("it owns them all", async || dead.owned() == all_lanes()).await;
    drop(dead);
    let begun = Instant::now();
    let next = world.join_as("same", Incarnation::mint(), vec![run]);
    until("the next run owns them all", async || next.owned() == all_lanes()).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(next.workers().len(), 1, "the dead run is counted no more");
    next.drain(Instant::now() + DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_lanes_stay_shared_as_they_are() {
    let server = RedisServer::start().await;
    let world = World::on(&server).await;
    let (one, two) = (world.join("one"), world.join("two"));
    until("two share them", async || world::owned(&[&one, &two]) == [4, 4]).await;
    let shares = (one.share(), two.share());
    let flow = world.flow();
    until("some arrived", async || world.ledger.arrived() > 200).await;
    server.freeze();
    let is_away = || world.heard.count(|event| matches!(event, Event::Paused { .. })) > 0;
    until("they found it away", async || is_away()).await;
    assert_eq!((one.share(), two.share()), shares);
    server.thaw();
    let before = world.ledger.arrived();
    until("entries flow again", async || world.ledger.arrived() > before + 200).await;
    until("two share them again", async || world::owned(&[&one, &two]) == [4, 4]).await;
    assert_eq!((one.share(), two.share()), shares);
    let sent = flow.stop().await;
    until("all arrived", async || world.ledger.arrived() >= sent).await;
    one.drain(Instant::now() + DEADLINE).await;
    two.drain(Instant::now() + DEADLINE).await;
    world.ledger.check_order();
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_lanes_again_after_redis_has_lost_everything() {
    let server = RedisServer::start().await;
    let world = World::on(&server).await;
    let (one, two) = (world.join("one"), world.join("two"));
    until("two share them", async || world::owned(&[&one, &two]) == [4, 4]).await;
    world.empty().await;
    until("both are counted again", async || world.counted().await == 2).await;
    until("two share them again", async || world::owned(&[&one, &two]) == [4, 4]).await;
    assert_eq!(world::union(&[&one, &two]), all_lanes());
    until("every lane has a lease", async || world.leases().await == usize::from(LANES)).await;
    let flow = world.flow();
    until("entries flow", async || world.ledger.arrived() > 100).await;
    flow.stop().await;
    one.drain(Instant::now() + DEADLINE).await;
    two.drain(Instant::now() + DEADLINE).await;
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_lanes_of_a_redis_cluster() {
    let cluster = RedisCluster::start().await;
    let world = World::over(Store::new(cluster.options())).await;
    let (one, two) = (world.join("one"), world.join("two"));
    until("two share them", async || world::owned(&[&one, &two]) == [4, 4]).await;
    let flow = world.flow();
    until("some arrived", async || world.ledger.arrived() > 100).await;
    one.drain(Instant::now() + DEADLINE).await;
    until("one is left", async || two.owned() == all_lanes()).await;
    let sent = flow.stop().await;
    until("all arrived", async || world.ledger.arrived() == sent).await;
    two.drain(Instant::now() + DEADLINE).await;
    world.ledger.check_order();
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
}
