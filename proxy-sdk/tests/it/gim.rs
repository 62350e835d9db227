//! `gim` against nodes found in etcd, and nodes that others know.

use std::ffi::OsString;
use std::time::Duration;

use gim_proxy_sdk::cli::{DONE, FAILED, run};
use serde_json::{Value, json};

use crate::cluster::world::World;
use crate::support::fake::{FakeNode, Script};
use crate::support::within;

#[derive(Debug)]
struct Output {
    code: u8,
    out: String,
    err: String,
}

async fn gim(line: &str) -> Output {
    let arguments = ["gim", "--timeout", "10s"].into_iter().chain(line.split_whitespace()).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = within("gim to end", run(arguments, &mut out, &mut err)).await;
    Output { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// Two nodes, and a third that is registered and not there. Returns the flags that lead to them.
async fn cluster() -> (World, [FakeNode; 2], String) {
    let mut world = World::new().await;
    let nodes = [world.start("a", Script::default()).await, world.start("b", Script::default()).await];
    let gone = FakeNode::start(Script::default()).await.stop().await;
    world.register("c", &gone.to_string()).await;
    let flags = format!("--etcd {} --prefix {}", world.etcd.endpoint(), world.prefix);
    (world, nodes, flags)
}

/// What a node tells of itself and one other.
fn two_nodes(rpc: &str) -> String {
    let figures = json!({ "clientsLen": 3, "tGroupLen": 1 });
    let node = |name, rpc: Option<&str>| json!({ "name": name, "incarnation": "1", "phase": "running", "managerInfo": figures, "offered": 5, "rpc": rpc });
    json!({ "nodeMap": [node("a", None), node("b", Some(rpc))], "nodes_unreachable": ["c"] }).to_string()
}

#[tokio::test]
async fn any_registered_node_that_answers_is_asked() {
    let (_world, nodes, flags) = cluster().await;
    for _ in 0..6 {
        let output = gim(&format!("{flags} push --to-uid 42 --data {{}}")).await;
        assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (DONE, "0-0-0\n", ""));
    }
    assert_eq!(nodes.iter().map(|node| node.script.calls().len()).sum::<usize>(), 6);
}

#[tokio::test]
async fn a_cluster_without_nodes_says_so() {
    let world = World::new().await;
    let output = gim(&format!("queue --etcd {} --prefix {}", world.etcd.endpoint(), world.prefix)).await;
    assert_eq!((output.code, output.err.as_str()), (FAILED, "gim: no node of the cluster is registered\n"));
}

#[tokio::test]
async fn the_node_of_a_name_is_drained_and_no_other() {
    let (_world, nodes, flags) = cluster().await;
    let output = gim(&format!("{flags} drain b")).await;
    let report = "drained b: 5 closed, 2 cut at the deadline\n";
    assert_eq!((output.code, output.out.as_str()), (DONE, report), "{output:?}");
    let calls = nodes.each_ref().map(|node| node.script.calls());
    assert_eq!(calls, [vec![], vec!["DrainRequest".to_owned()]]);

    let output = gim(&format!("{flags} --json drain b")).await;
    let json: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(json, json!({ "node": "b", "clean": 5, "forced": 2 }));
}

#[tokio::test]
async fn a_node_that_cannot_be_drained_is_told_by_its_name() {
    let (mut world, nodes, flags) = cluster().await;
    let output = gim(&format!("{flags} drain d")).await;
    assert_eq!((output.code, output.err.as_str()), (FAILED, "gim: no node d is registered\n"));
    let output = gim(&format!("{flags} drain c")).await;
    assert!(output.code == FAILED && output.err.contains("cannot reach the node"), "{output:?}");

    // Somebody else has taken its address since.
    world.leave("c").await;
    world.register("c", &nodes[0].address()).await;
    let output = gim(&format!("{flags} drain c")).await;
    assert_eq!((output.code, output.err.as_str()), (FAILED, "gim: node a answers at the address of node c\n"));
    assert!(nodes.iter().all(|node| node.script.calls().is_empty()));
}

#[tokio::test]
async fn a_node_that_is_asked_leads_to_those_that_it_knows() {
    let other = FakeNode::start(Script { name: "b", ..Script::default() }).await;
    let asked = Script { name: "a", sysinfo: two_nodes(&other.address()), ..Script::default() };
    let asked = FakeNode::start(asked).await;
    let node = format!("--node {}", asked.address());

    let output = gim(&format!("{node} drain b")).await;
    assert_eq!((output.code, output.err.as_str()), (DONE, ""));
    assert_eq!(other.script.calls(), ["DrainRequest"]);
    let output = gim(&format!("{node} drain a")).await;
    assert_eq!(output.code, DONE, "{output:?}");
    assert_eq!(asked.script.calls().last().unwrap(), "DrainRequest");

    for (name, why) in [("c", "node c cannot be reached"), ("d", "the node that is asked knows no node d")] {
        let output = gim(&format!("{node} drain {name}")).await;
        assert_eq!((output.code, output.err), (FAILED, format!("gim: {why}\n")));
    }
}

#[tokio::test]
async fn top_shows_the_nodes_as_often_as_asked_for() {
    let asked = FakeNode::start(Script { sysinfo: two_nodes("127.0.0.1:1"), ..Script::default() }).await;
    let node = format!("--node {}", asked.address());
    let output = gim(&format!("{node} top --count 3 --every 20ms")).await;
    assert_eq!((output.code, output.err.as_str()), (DONE, ""));
    assert!(!output.out.contains('\u{1b}'), "what is kept holds no commands of a terminal");
    let looks: Vec<&str> = output.out.trim_end().split("\n\n").collect();
    assert_eq!(looks.len(), 3, "{}", output.out);
    let rows = |look: &str| -> Vec<Vec<String>> {
        look.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    assert!(looks[0].lines().next().unwrap().contains("2 nodes  1 unreachable  6 sessions"), "{}", looks[0]);
    assert_eq!(rows(looks[0])[2], ["a", "running", "3", "-", "1", "-", "-", "-", "-"]);
    assert_eq!(rows(looks[2])[2], ["a", "running", "3", "+0", "1", "0", "-", "-", "-"]);
    assert_eq!(rows(looks[2])[4][..3], ["c", "unreachable", "-"]);

    let output = gim(&format!("{node} --json top --once")).await;
    let json: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!((&json["nodes"][1]["sessions"], &json["nodes_unreachable"]), (&json!(3), &json!(["c"])));
}

#[tokio::test]
async fn top_goes_on_with_another_node_when_the_one_it_asked_is_gone() {
    let mut world = World::new().await;
    let script = || Script { sysinfo: two_nodes("127.0.0.1:1"), ..Script::default() };
    let first = world.start("a", script()).await;
    let second = world.start("b", script()).await;
    let line = format!("top --count 20 --every 20ms --etcd {} --prefix {}", world.etcd.endpoint(), world.prefix);
    let stopped = async {
        while first.script.calls().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        first.stop().await;
    };
    let (output, ()) = tokio::join!(gim(&line), within("the first node to be asked", stopped));
    assert_eq!(output.code, DONE, "{output:?}");
    // The look that was under way may have failed with the node.
    assert!(output.out.trim_end().split("\n\n").count() >= 19, "{output:?}");
    assert!(second.script.calls().len() >= 10);
}
