//! What a group message costs, counted on the wire.

use std::collections::{HashMap, HashSet};

use gim_proto::rpc::delivery::To;
use serde_json::json;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::http;
use crate::support::node::Spec;

const MESSAGES: u64 = 100;
/// Members on each of the four nodes; nobody of the group is on the last.
const MEMBERS: [usize; 4] = [12, 5, 1, 0];
const TGID: &str = "g";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_message_costs_one_call_per_node_that_holds_members() {
    let cluster = Cluster::start(Spec::new(2), 4, 2).await;
    let mut clients: Vec<Client> = Vec::new();
    for (at, members) in MEMBERS.into_iter().enumerate() {
        for member in 0..members {
            let mut client = Client::user(cluster.nodes[at].public, &format!("m{at}-{member}")).await;
            client.join(TGID).await;
            clients.push(client);
        }
    }
    let mut stranger = Client::user(cluster.nodes[3].public, "stranger").await;
    http::settled(cluster.nodes[0].admin).await;
    cluster.nodes.iter().for_each(|node| drop(node.tap.batches()));
    let begun = Instant::now();
    let mut ids = Vec::new();
    for n in 1..=MESSAGES {
        let node = &cluster.nodes[usize::try_from(n).unwrap() % cluster.nodes.len()];
        ids.extend(http::push(node.admin, &json!({ "tgid": TGID, "data": { "n": n } })).await);
        // One after the other, so that no two share a call.
        for client in &mut clients {
            client.expect_body(json!({ "n": n })).await;
        }
    }
    http::settled(cluster.nodes[0].admin).await;
    stranger.expect_silence().await;

    let mut calls = Vec::new();
    for node in &cluster.nodes {
        let batches = node.tap.batches();
        let mut times: HashMap<&str, usize> = HashMap::new();
        for delivery in batches.iter().flat_map(|batch| &batch.deliveries) {
            let Some(To::Groups(groups)) = &delivery.to else { panic!("no message to a group: {delivery:?}") };
            assert_eq!(groups.tgids, [TGID]);
            *times.entry(&delivery.id).or_default() += 1;
        }
        assert!(times.values().all(|times| *times == 1), "{} was given a message twice: {times:?}", node.id);
        let given: HashSet<&str> = times.into_keys().collect();
        calls.push((batches.len(), given.len()));
    }
    eprintln!(
        "{MESSAGES} messages to a group on three of four nodes: calls and messages {calls:?}, {:.1?}",
        begun.elapsed()
    );
    let messages = ids.len();
    assert_eq!(calls, [(messages, messages), (messages, messages), (messages, messages), (0, 0)]);
}
