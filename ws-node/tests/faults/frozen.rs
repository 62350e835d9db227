//! A run of the node stands still, another one takes its place, and the first goes on as if nothing had happened.

use std::collections::HashMap;
use std::time::Duration;

use gim_proxy_sdk::testing::RedisServer;
use tokio::time::{Instant, sleep};

use crate::support::lanes::Lanes;
use crate::support::node::Spec;
use crate::support::oracle::judge;
use crate::support::recorder::{Plan, Recorder, all_reach_the_end};
use crate::support::traffic::{People, Traffic};

const ROUNDS: usize = 4;
const BATCH: usize = 500;
const PER_SECOND: usize = 5_000;
const PEOPLE: People = People { users: 20, groups: 2 };
const FENCED: u16 = 4003;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_run_is_replaced_at_once_and_can_do_nothing_when_it_is_thawed() {
    let redis = RedisServer::start().await;
    let mut spec = Spec::new(&redis);
    let lanes = Lanes::new(&spec, &redis);
    let mut traffic = Traffic::new(PEOPLE, &spec, &redis);
    let mut node = spec.start().await;
    let mut recorders = Plan::once(PEOPLE, node.public).connect_all().await;
    for round in 0..ROUNDS {
        // Something is on its way when it stops, each time at another point.
        let moment = Duration::from_millis(7 + 13 * round as u64);
        let freezing = async {
            sleep(moment).await;
            node.freeze();
        };
        tokio::join!(traffic.produce(BATCH, BATCH / 10, PER_SECOND), freezing);
        let unsettled = lanes.progress().await[0].pending.len();
        let at_freeze = traffic.counts();
        let begun = Instant::now();
        spec = spec.elsewhere();
        let next = spec.start().await;
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "the place was taken after {took:?}");

        let newcomers = Plan::once(PEOPLE, next.public).connect_all().await;
        let at_login = traffic.counts();
        traffic.produce(BATCH, BATCH / 5, PER_SECOND).await;
        all_reach_the_end(&newcomers, PEOPLE, &traffic).await;
        let owner = lanes.owner(0).await;
        let before_thaw = pushes(&recorders);
        node.thaw();
        traffic.produce(BATCH, BATCH / 5, PER_SECOND).await;
        all_reach_the_end(&newcomers, PEOPLE, &traffic).await;
        assert_eq!(node.ended().await, Some(1), "{}", node.log());
        for recorder in &recorders {
            let end = recorder.ended().await;
            assert!(matches!(end, FENCED | 0), "a client of the thawed run was closed with {end}");
        }
        assert_eq!(lanes.owner(0).await, owner, "the lane changed hands");
        nothing_is_seen_beyond(&recorders, &at_freeze);
        begins_at_once(&newcomers, &at_login);
        lanes.settle().await;
        judge(&traffic, PEOPLE, &newcomers, &[]);
        let pushed: Vec<usize> =
            pushes(&recorders).iter().zip(&before_thaw).map(|(after, before)| after - before).collect();
        eprintln!(
            "frozen, round {round}: another run took over in {took:?}; unsettled then {unsettled}; pushes by the thawed \
             run {}; pushes by the other {}",
            pushed.iter().sum::<usize>(),
            pushes(&newcomers).iter().sum::<usize>()
        );
        // Each write is behind a look at the clock: only one that had looked when it was frozen may still be made. It is to
        // one client, and has all that a batch has for it.
        let written = pushed.iter().filter(|pushed| **pushed > 0).count();
        assert!(written <= 1, "pushes by a run without its place, per client: {pushed:?}");
        (node, recorders) = (next, newcomers);
    }
}

/// Beyond the leases of node and lanes.
const LONG: Duration = Duration::from_secs(11);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_nobody_replaced_goes_on_when_it_is_thawed_and_loses_nothing() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis).lanes(2);
    let lanes = Lanes::new(&spec, &redis);
    let node = spec.start().await;
    let recorders = Plan::once(PEOPLE, node.public).connect_all().await;
    let mut traffic = Traffic::new(PEOPLE, &spec, &redis);
    for span in [Duration::from_millis(700), LONG] {
        let freezing = async {
            sleep(Duration::from_millis(50)).await;
            node.freeze();
            sleep(span).await;
            node.thaw();
        };
        tokio::join!(traffic.produce(2 * BATCH, BATCH / 10, PER_SECOND), freezing);
        all_reach_the_end(&recorders, PEOPLE, &traffic).await;
    }
    lanes.settle().await;
    assert!(recorders.iter().all(Recorder::is_on_its_first_connection), "a client was closed");
    let counts = judge(&traffic, PEOPLE, &recorders, &[]);
    let incarnations = node.metric("gim_incarnations_total", "").await;
    eprintln!("frozen beyond its leases and not replaced: {counts}; incarnations {incarnations}");
    assert_eq!((counts.seen, counts.again, counts.late), (counts.due, 0, 0));
    assert_eq!(incarnations, 1);
}

/// How many messages each of them saw.
fn pushes(recorders: &[Recorder]) -> Vec<usize> {
    let of = |recorder: &Recorder| recorder.log()[0].seen.values().map(Vec::len).sum();
    recorders.iter().map(of).collect()
}

/// What was accepted after a run stood still must not come from it.
fn nothing_is_seen_beyond(recorders: &[Recorder], at_freeze: &HashMap<String, usize>) {
    for recorder in recorders {
        for (target, numbers) in &recorder.log()[0].seen {
            let last = *numbers.last().unwrap() as usize;
            assert!(last <= at_freeze[target], "u{} saw {last} of {target} from a frozen run", recorder.user);
        }
    }
}

/// What was accepted after a login arrives, all of it.
fn begins_at_once(recorders: &[Recorder], at_login: &HashMap<String, usize>) {
    for recorder in recorders {
        for target in PEOPLE.targets(recorder.user) {
            let first = recorder.log()[0].seen[&target][0] as usize;
            assert!(first <= at_login[&target] + 1, "u{} missed {target} before {first}", recorder.user);
        }
    }
}
