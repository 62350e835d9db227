//! Programs of the release before beside those of this one, and the way from one to the other and back.

use gim_proxy_sdk::testing::RedisServer;

use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::oracle::Counts;
use crate::support::play::Play;
use crate::support::program::Release::{self, Before, This};

const RESTARTING: u16 = 1012;

/// Stops a node or a worker as an operator does, and starts it as another release.
async fn exchange(play: &mut Play, is_node: bool, at: usize, release: Release) {
    let users = if is_node { play.users_on(at) } else { Vec::new() };
    let what = format!("{} {} is of {release:?} now", if is_node { "node" } else { "worker" }, at + 1);
    play.through(&what, &users, async |cluster| {
        let program = if is_node { &mut cluster.nodes[at] } else { &mut cluster.workers[at] };
        program.stop();
        let code = program.ended().await;
        assert_eq!(code, Some(0), "{}", program.log());
        program.release = release;
        program.start().await;
        cluster.assembled().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_and_workers_of_two_releases_work_side_by_side_and_are_exchanged_one_by_one() {
    let spec = Spec::new(4).set("shutdown.hint_spread", "1s").set("session.close_timeout", "1s");
    let redis = RedisServer::start().await;
    let cluster = Cluster::of(redis, spec, &[Before, This, Before], &[Before, This]).await;
    let mut play = Play::begin(cluster).await;
    play.through("two releases side by side", &[], async |_| {}).await;
    // Forward, and one step back again.
    exchange(&mut play, true, 0, This).await;
    exchange(&mut play, false, 0, This).await;
    exchange(&mut play, true, 1, Before).await;
    let counts: Counts = play.judge("two releases").await.into_iter().sum();
    for recorder in &play.recorders {
        for connection in recorder.log().iter() {
            let Some((code, _)) = connection.end else { continue };
            assert_eq!(code, RESTARTING, "u{} was closed with {code}", recorder.user);
        }
    }
    assert_eq!((counts.superseded, counts.late), (0, 0));
}
