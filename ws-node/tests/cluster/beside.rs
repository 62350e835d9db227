//! Programs of the release before beside those of this one, and the way from one to the other and back.

use gim_proxy_sdk::testing::RedisServer;
use serde_json::json;

use crate::everywhere::nothing_is_dead;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::http;
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

/// The release before knows nothing of mailboxes: it is sent nothing durable, and nothing else waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_durable_waits_for_a_node_that_knows_of_it_and_holds_up_nothing_else() {
    let redis = RedisServer::start().await;
    let cluster = Cluster::of(redis, Spec::new(4), &[Before, This], &[This]).await;
    let (before, now) = (&cluster.nodes[0], &cluster.nodes[1]);
    let mut client = Client::user(before.public, "u").await;
    client.join("g").await;
    for (to, name) in [("to_uid", "u"), ("tgid", "g")] {
        for (class, n) in [("durable", 1), ("live", 2)] {
            let message = json!({ to: name, "class": class, "data": { "to": name, "n": n } });
            let (status, answer) = http::post(now.admin, "/api/v1/messages", &message).await;
            assert_eq!(status, 202, "{answer}");
        }
        client.expect_body(json!({ "to": name, "n": 2 })).await;
    }
    client.expect_silence().await;
    cluster.lanes().settle().await;
    client.close().await;
    let mut client = Client::user(now.public, "u").await;
    let stored = client.expect_body(json!({ "to": "u", "n": 1 })).await;
    assert_eq!(stored.offset, Some(1));
    nothing_is_dead(&cluster.workers).await;
}
