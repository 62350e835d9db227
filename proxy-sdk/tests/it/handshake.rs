//! The version agreed on before the first call.

use gim_proto::Uid;
use gim_proxy_sdk::{ErrorKind, NodeClient, RunProxy};

use crate::support::fake::{FakeNode, Script};
use crate::support::patient;

#[tokio::test]
async fn connecting_tells_which_run_of_which_node_answers() {
    let node = FakeNode::start(Script::default()).await;
    let client = NodeClient::connect(&format!("http://{}", node.addr), patient()).await.unwrap();
    let hello = client.hello().await.unwrap();
    assert_eq!((hello.version, hello.node.id.as_str()), (1, "fake"));
    assert_eq!(hello.node.incarnation, node.script.incarnation);
}

#[tokio::test]
async fn one_handshake_serves_all_calls_of_a_connection() {
    let node = FakeNode::start(Script::default()).await;
    let client = NodeClient::lazy(&node.address(), patient()).unwrap();
    let uid = Uid::parse("42").unwrap();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (client, uid) = (client.clone(), uid.clone());
            tokio::spawn(async move { client.stop_user_client(&uid, "").await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().unwrap());
    }
    assert_eq!(node.script.handshakes(), 1);
    assert_eq!(node.script.seen().len(), 51);
}

#[tokio::test]
async fn a_node_of_a_later_version_is_not_called() {
    let node = FakeNode::start(Script { version: 3, ..Script::default() }).await;
    let client = NodeClient::lazy(&node.address(), patient()).unwrap();
    let error = client.sysinfo().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(!error.is_retryable());
    assert_eq!(node.script.seen().len(), node.script.handshakes());
    let error = NodeClient::connect(&node.address(), patient()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    for address in ["", "nowhere", "https://127.0.0.1:1"] {
        assert_eq!(NodeClient::connect(address, patient()).await.unwrap_err().kind, ErrorKind::Invalid, "{address:?}");
    }
}
