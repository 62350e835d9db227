//! Messages on their way down: every kind of target, by HTTP, by RPC and from inside the node.

mod batches;
mod direct;
mod duplicates;
mod kinds;
mod latest;
mod order;
mod refused;
mod rpc;
mod timing;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;

/// Accepts a message and waits for its outcome.
async fn push(node: &TestNode, message: Value) -> String {
    let ids = http::push(node.admin, &message).await;
    http::settled(node.admin).await;
    let [id] = &ids[..] else { panic!("one message, ids {ids:?}") };
    id.clone()
}

/// Connects users of these names, each in the groups that follow.
async fn users<const N: usize>(node: &TestNode, who: [(&str, &[&str]); N]) -> [Client; N] {
    let mut clients = Vec::new();
    for (uid, groups) in who {
        let mut client = Client::user(node.public, uid).await;
        for tgid in groups {
            client.join(tgid).await;
        }
        clients.push(client);
    }
    clients.try_into().unwrap_or_else(|_| unreachable!())
}

/// Sends a message and checks who gets it: each of these once, nobody else.
async fn reaches(node: &TestNode, mut message: Value, clients: &mut [Client], wanted: &[usize]) {
    message["data"] = json!({ "message": message.to_string() });
    push(node, message.clone()).await;
    for (at, client) in clients.iter_mut().enumerate() {
        if wanted.contains(&at) {
            client.expect_body(message["data"].clone()).await;
        }
        client.expect_silence().await;
    }
}
