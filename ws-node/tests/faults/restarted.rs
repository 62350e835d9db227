//! Redis is killed and comes back with its data, while clients stay connected and messages go on.

use gim_proxy_sdk::testing::RedisServer;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::lanes::Lanes;
use crate::support::node::Spec;
use crate::support::oracle::judge;
use crate::support::recorder::{Plan, all_reach_the_end};
use crate::support::traffic::{People, Traffic};

const ENTRIES: usize = 20_000;
const BATCH: usize = 200;
const PER_SECOND: usize = 2_000;
const RESTARTS: usize = 3;
const PEOPLE: People = People { users: 50, groups: 5 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_with_its_data_loses_no_entry_and_no_client() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let spec = Spec::new(&redis);
    let lanes = Lanes::new(&spec, &redis);
    let node = spec.start().await;
    let recorders = Plan::once(PEOPLE, node.public).connect_all().await;
    let mut traffic = Traffic::new(PEOPLE, &spec, &redis);
    for restart in 1..=RESTARTS {
        let restarting = async {
            let moment = std::time::Duration::from_millis(631) * u32::try_from(restart).unwrap();
            tokio::time::sleep(moment).await;
            redis.stop();
            if restart % 2 == 0 {
                refused(node.public).await;
            }
            redis.restart().await;
        };
        tokio::join!(traffic.produce(ENTRIES / RESTARTS, BATCH, PER_SECOND), restarting);
    }
    all_reach_the_end(&recorders, PEOPLE, &traffic).await;
    lanes.settle().await;
    assert!(recorders.iter().all(|recorder| recorder.is_on_its_first_connection()), "a client was closed");
    let counts = judge(&traffic, PEOPLE, &recorders, &[]);
    let duplicates = node.metric("gim_worker_outcomes_total", "duplicate").await;
    let incarnations = node.metric("gim_incarnations_total", "").await;
    eprintln!(
        "redis restarted {RESTARTS} times with its data: {counts}; entries appended twice by the producer {duplicates}; \
         incarnations {incarnations}"
    );
    assert_eq!((counts.seen, counts.again, counts.late), (counts.due, 0, 0));
    assert_eq!(node.metric("gim_worker_outcomes_total", "offline").await, 0);
    assert_eq!(incarnations, RESTARTS as u64);
}

/// Waits until logins are refused.
async fn refused(public: std::net::SocketAddr) {
    eventually("logins to be refused", || async {
        let status = Client::try_open(public, "/ws?uid=late").await.err()?;
        assert_eq!(status, 503);
        Some(())
    })
    .await;
}
