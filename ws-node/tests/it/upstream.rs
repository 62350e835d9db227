//! Where commands go that nobody here handles, in each mode. What stands on the stream is the program `streams`' affair.

use gim_ws_node::{Node, StartError};
use serde_json::json;

use crate::support::client::Client;
use crate::support::mode;
use crate::support::node::{TestNode, config};

#[tokio::test]
async fn only_a_mode_with_streams_takes_commands_up() {
    let mut config = config();
    mode::prepare(&mut config).await;
    config.upstream.enabled = true;
    let started = Node::builder(config).start().await;
    if !mode::is_redis() {
        let refused = started.err().expect("there is no stream to put commands on");
        assert!(matches!(&refused, StartError::Config(_)), "{refused:?}");
        assert!(refused.to_string().contains("upstream.enabled"), "{refused}");
        return;
    }
    let node = started.expect("the node starts");
    let mut client = Client::user(node.public_addr(), "u").await;
    assert!(client.ask("echo.up", json!({})).await["id"].is_string());
}

#[tokio::test]
async fn unless_enabled_no_mode_does() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    client.command("1", "echo.up", json!({})).await;
    client.expect_error("1", 20_004).await;
}
