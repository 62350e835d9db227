//! All nodes are restarted, one after the other, with their clients connected.

use std::time::Duration;

use tokio::time::Instant;

use crate::nodes::all_restored;
use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::oracle::Counts;
use crate::support::play::Play;

const RESTARTING: u16 = 1012;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_sends_everybody_elsewhere_with_a_hint_and_their_groups() {
    let spec = Spec::new(4).set("shutdown.hint_spread", "1s").set("session.close_timeout", "1s");
    let cluster = Cluster::start(spec, 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let mut moves = 0;
    for round in 0..3 {
        let users = play.users_on(round);
        moves += users.len();
        let what = format!("node {} restarted with {} users", round + 1, users.len());
        let restarted = play
            .through(&what, &users, async |cluster| {
                let begun = Instant::now();
                let node = &mut cluster.nodes[round];
                node.stop();
                let code = node.ended().await;
                assert_eq!(code, Some(0), "{}", node.log());
                eprintln!("  it had stopped after {:.1?}", begun.elapsed());
                node.start().await;
                cluster.assembled().await;
            })
            .await;
        // The hint, and then nothing that would have to be waited for.
        assert!(restarted.struck.worst() < Duration::from_secs(4), "{}", restarted.struck);
        assert!(restarted.others < Duration::from_secs(2), "others waited {:?}", restarted.others);
    }
    let counts: Counts = play.judge("rolling restart").await.into_iter().sum();
    let mut hints = Vec::new();
    for recorder in &play.recorders {
        for connection in recorder.log().iter() {
            let Some((code, _)) = connection.end else { continue };
            assert_eq!(code, RESTARTING, "u{} was closed with {code}", recorder.user);
            hints.push(connection.hint.expect("the notice before the close has a hint"));
        }
    }
    assert_eq!(hints.len(), moves, "everybody moved when their node stopped and never else");
    assert!(hints.iter().all(|hint| *hint <= 1_100), "{hints:?}");
    assert_eq!(counts.superseded, 0);
    all_restored(&play.recorders);
}
