//! Redis stands still for a while without closing a connection: nobody knows what of the last calls took effect.

use std::time::Duration;

use gim_proxy_sdk::testing::RedisServer;
use tokio::time::sleep;

use crate::support::lanes::Lanes;
use crate::support::node::Spec;
use crate::support::oracle::judge;
use crate::support::recorder::{Plan, all_reach_the_end};
use crate::support::traffic::{People, Traffic};

/// Beyond a call's deadline, beyond a lane's lease, beyond a node's lease.
const SPANS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(7), Duration::from_secs(11)];
const ENTRIES: usize = 4_000;
const BATCH: usize = 200;
const PER_SECOND: usize = 4_000;
const PEOPLE: People = People { users: 30, groups: 3 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_costs_time_and_nothing_else() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis).lanes(2);
    let lanes = Lanes::new(&spec, &redis);
    let node = spec.start().await;
    let recorders = Plan::once(PEOPLE, node.public).connect_all().await;
    let mut traffic = Traffic::new(PEOPLE, &spec, &redis);
    for span in SPANS {
        let stalling = async {
            sleep(Duration::from_millis(333)).await;
            redis.freeze();
            sleep(span).await;
            redis.thaw();
        };
        tokio::join!(traffic.produce(ENTRIES, BATCH, PER_SECOND), stalling);
        all_reach_the_end(&recorders, PEOPLE, &traffic).await;
    }
    lanes.settle().await;
    assert!(recorders.iter().all(|recorder| recorder.is_on_its_first_connection()), "a client was closed");
    let counts = judge(&traffic, PEOPLE, &recorders, &[]);
    let duplicates = node.metric("gim_worker_outcomes_total", "duplicate").await;
    let incarnations = node.metric("gim_incarnations_total", "").await;
    eprintln!(
        "redis stood still for {SPANS:?}: {counts}; entries appended twice by the producer {duplicates}; \
         incarnations {incarnations}"
    );
    assert_eq!((counts.seen, counts.again, counts.late), (counts.due, 0, 0));
    assert_eq!(node.metric("gim_worker_outcomes_total", "offline").await, 0);
}
