//! A user is followed on all nodes at once, and a message by asking any of them.

use std::ffi::OsString;
use std::io;
use std::sync::{Arc, Mutex};

use gim_proxy_sdk::cli;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::node::{Spec, TOKEN};
use crate::support::{eventually, http};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What `gim` has written so far.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shown {
    /// Waits until a node has told of an event.
    async fn tells(&self, node: &str, event: &str) {
        eventually(&format!("{node} to tell of {event}"), || async {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            lines.iter().any(|line| line["node"] == node && line["event"] == event).then_some(())
        })
        .await;
    }
}

async fn follow(etcd: String, prefix: String, token: String, mut shown: Shown) {
    let arguments = ["gim", "--etcd", &etcd, "--prefix", &prefix, "--token-file", &token];
    let further = ["trace", "--uid", "anna", "--json"];
    let arguments = arguments.iter().chain(&further).map(OsString::from);
    let code = cli::run(arguments, &mut shown, &mut io::stderr()).await;
    panic!("gim ended with {code}");
}

async fn happens(cluster: &mut Cluster, shown: &Shown) {
    shown.tells("n1", "following").await;
    shown.tells("n2", "following").await;
    let anna = Client::user(cluster.nodes[0].public, "anna").await;
    shown.tells("n1", "login").await;
    let mut anna_again = Client::user(cluster.nodes[1].public, "anna").await;
    shown.tells("n2", "login").await;
    anna.expect_close(4501).await;
    shown.tells("n1", "close").await;
    let message = json!({ "to_uid": "anna", "traceparent": SAMPLED, "data": {} });
    let id = http::push(cluster.nodes[0].admin, &message).await.remove(0);
    anna_again.expect_body(json!({})).await;
    shown.tells("n2", "offered").await;
    for node in &cluster.nodes {
        let path = format!("/api/v1/messages/{id}");
        let journey = eventually("the journey", || async {
            let (status, journey) = http::get(node.admin, &path).await;
            (status == 200).then_some(journey)
        })
        .await;
        assert_eq!((&journey["hops"][0]["hop"], &journey["hops"][0]["node"]), (&json!("accepted"), &json!("n1")));
    }
    cluster.new_node().start().await;
    shown.tells("n3", "following").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_followed_on_all_nodes_and_on_those_that_come() {
    let mut cluster = Cluster::start(Spec::new(2), 2, 1).await;
    let token = std::env::temp_dir().join(format!("gim-trace-token-{}", std::process::id()));
    std::fs::write(&token, TOKEN).unwrap();
    let (etcd, prefix, shown) = (cluster.etcd.endpoint(), cluster.spec.keys().prefix().to_owned(), Shown::default());
    tokio::select! {
        () = follow(etcd, prefix, token.display().to_string(), shown.clone()) => {}
        () = happens(&mut cluster, &shown) => {}
    }
    std::fs::remove_file(&token).unwrap();
}
