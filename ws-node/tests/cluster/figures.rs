//! What operators see of a cluster, and how they empty one node.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::play::Play;
use crate::support::program::{Program, not_ready};
use crate::support::{eventually, http};

/// One second for all nodes together, and what a busy machine adds.
const IN_TIME: Duration = Duration::from_millis(1_500);
const SESSIONS: [usize; 3] = [5, 3, 2];

async fn sysinfo(node: &Program) -> (Value, Duration) {
    let begun = Instant::now();
    let (status, sysinfo) = http::get(node.admin, "/sysinfo").await;
    assert_eq!(status, 200);
    (sysinfo, begun.elapsed())
}

fn names(sysinfo: &Value) -> Vec<&str> {
    let nodes = sysinfo["nodeMap"].as_array().expect("a list of nodes");
    let mut names: Vec<&str> = nodes.iter().map(|node| node["name"].as_str().expect("a name")).collect();
    names.sort_unstable();
    names
}

fn sum(sysinfo: &Value, path: &str) -> u64 {
    let nodes = sysinfo["nodeMap"].as_array().expect("a list of nodes");
    nodes.iter().map(|node| node.pointer(path).and_then(Value::as_u64).expect("a figure")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_tells_the_figures_of_all_and_names_in_time_who_does_not_answer() {
    let cluster = Cluster::start(Spec::new(2), 3, 0).await;
    let mut clients = Vec::new();
    for (at, sessions) in SESSIONS.into_iter().enumerate() {
        for session in 0..sessions {
            let mut client = Client::user(cluster.nodes[at].public, &format!("u{at}-{session}")).await;
            client.join(&format!("g{at}")).await;
            clients.push(client);
        }
    }
    for node in &cluster.nodes {
        let (told, took) = sysinfo(node).await;
        assert_eq!((names(&told), &told["nodeNum"]), (vec!["n1", "n2", "n3"], &json!(3)));
        assert_eq!(told["nodeMap"][0]["name"], node.id, "who is asked comes first");
        assert_eq!(told["managerInfo"], json!({ "clientsLen": 10, "tGroupLen": 3 }), "{told}");
        for path in ["/numGoroutine", "/numCPU", "/managerInfo/clientsLen"] {
            assert_eq!(told.pointer(path).and_then(Value::as_u64), Some(sum(&told, path)), "{path} of {told}");
        }
        assert_eq!(told["nodes_unreachable"], json!([]));
        assert!(took < IN_TIME, "{took:?}");
    }

    cluster.nodes[2].freeze();
    let mut took = Vec::new();
    for node in &cluster.nodes[..2] {
        let (told, after) = sysinfo(node).await;
        assert_eq!((names(&told), &told["nodes_unreachable"]), (vec!["n1", "n2"], &json!(["n3"])), "{told}");
        assert_eq!((&told["nodeNum"], &told["managerInfo"]["clientsLen"]), (&json!(2), &json!(8)));
        assert!(after < IN_TIME, "{after:?}");
        took.push(after);
    }
    cluster.nodes[2].thaw();
    eventually("the thawed node to tell its figures", || async {
        (sysinfo(&cluster.nodes[0]).await.0["nodeNum"] == 3).then_some(())
    })
    .await;
    eprintln!("figures with one of three nodes frozen after {took:.1?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_emptied_from_another_one_and_its_users_move() {
    let spec = Spec::new(4).set("shutdown.hint_spread", "1s").set("session.close_timeout", "1s");
    let cluster = Cluster::start(spec, 3, 2).await;
    let (status, _) = http::post(cluster.nodes[0].admin, "/api/v1/nodes/nobody/drain", &json!({})).await;
    assert_eq!(status, 404);
    let mut play = Play::begin(cluster).await;
    let users = play.users_on(1);
    let drained = play
        .through("node 2 drained by node 1", &users, async |cluster| {
            let [n1, n2, n3] = &cluster.nodes[..] else { panic!("three nodes") };
            let (status, answer) = http::post(n1.admin, "/api/v1/nodes/n2/drain", &json!({})).await;
            assert_eq!((status, &answer["id"]), (202, &json!("n2")), "{answer}");
            not_ready(n2).await;
            let is_empty = async || n2.metric("gim_sessions", "").await < 0.5;
            eventually("no session to be left there", || async { is_empty().await.then_some(()) }).await;
            assert_eq!(Client::try_open(n2.public, "/ws?uid=late").await.err(), Some(503));
            assert!(n1.is_ready().await && n3.is_ready().await);
        })
        .await;
    assert!(drained.struck.worst() < Duration::from_secs(4), "{}", drained.struck);
    assert!(play.users_on(1).is_empty());
    play.judge("one node drained").await;
    for user in users {
        let end = play.recorders[user].log()[0].end.map(|(code, _)| code);
        assert_eq!(end, Some(1012));
    }
    crate::nodes::all_restored(&play.recorders);
}
