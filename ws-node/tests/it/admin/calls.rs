//! The RPC listener's door, and what stands before it: health, and behind it reflection.

use gim_proto::NodeId;
use gim_proto::rpc::node_client::NodeClient as Node;
use gim_proto::rpc::queue_client::QueueClient;
use gim_proto::rpc::{DrainRequest, HelloRequest, QueueStatsRequest};
use gim_proxy_sdk::{ClientOptions, ErrorKind, NodeClient};
use gim_ws_node::config::Secret;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::gim::gim_at;
use crate::support::node::TestNode;
use crate::support::within;

const TOKEN: &str = "0123456789abcdef";

async fn guarded() -> TestNode {
    TestNode::start_with(|config| config.rpc.token = Some(Secret::new(TOKEN))).await
}

async fn channel(node: &TestNode) -> Channel {
    Channel::from_shared(format!("http://{}", node.rpc)).unwrap().connect().await.unwrap()
}

fn showing(token: Option<&str>) -> ClientOptions {
    ClientOptions { token: token.map(Into::into), ..ClientOptions::default() }
}

async fn health(node: &TestNode, service: &str) -> Result<ServingStatus, Code> {
    let mut health = HealthClient::new(channel(node).await);
    let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

/// Names the services that reflection tells of.
async fn services(node: &TestNode, token: Option<&str>) -> Result<Vec<String>, Status> {
    let list = MessageRequest::ListServices(String::new());
    let question = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut request = tonic::Request::new(futures_util::stream::iter([question]));
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut client = ServerReflectionClient::new(channel(node).await);
    let mut answers = client.server_reflection_info(request).await?.into_inner();
    match within("the services", answers.message()).await?.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => Ok(list.service.into_iter().map(|it| it.name).collect()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn with_a_token_nobody_calls_without_it() {
    let node = guarded().await;
    for token in [None, Some(""), Some("0123456789abcdeX"), Some("0123456789abcde"), Some("0123456789abcdef0")] {
        let client = NodeClient::lazy(&node.rpc.to_string(), showing(token)).unwrap();
        let error = client.hello().await.unwrap_err();
        assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Invalid, false), "{token:?}: {error}");
    }
    let code = |status: Status| status.code();
    let mut nobody = Node::new(channel(&node).await);
    assert_eq!(nobody.drain(DrainRequest {}).await.map_err(code).err(), Some(Code::Unauthenticated));
    let empty = futures_util::stream::empty();
    assert_eq!(nobody.deliver(empty).await.map_err(code).err(), Some(Code::Unauthenticated));
    let mut queue = QueueClient::new(channel(&node).await);
    assert_eq!(queue.stats(QueueStatsRequest {}).await.map_err(code).err(), Some(Code::Unauthenticated));
    assert_eq!(services(&node, None).await.map_err(code).err(), Some(Code::Unauthenticated));
    let client = NodeClient::connect(&node.rpc.to_string(), showing(Some(TOKEN))).await.unwrap();
    assert!(client.sysinfo().await.is_ok());
    let metrics = crate::support::http::exchange(node.admin, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(metrics.text().contains("gim_rpc_refused_total 9"), "{}", metrics.text());
}

#[tokio::test]
async fn the_command_shows_the_token_of_a_file() {
    let node = guarded().await;
    let file = std::env::temp_dir().join(format!("gim-calls-{}", node.rpc.port()));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    gim_at(node.rpc, &["--token-file", file.to_str().unwrap(), "nodes"]).await.expect_done();
    std::fs::remove_file(&file).unwrap();
    gim_at(node.rpc, &["nodes"]).await.expect_failed(1);
    gim_at(node.rpc, &["--token-file", file.to_str().unwrap(), "nodes"]).await.expect_failed(1);
}

#[tokio::test]
async fn health_is_open_and_follows_the_phase() {
    let node = guarded().await;
    for service in ["", "gim.v1.Node"] {
        assert_eq!(health(&node, service).await, Ok(ServingStatus::Serving), "{service:?}");
    }
    assert_eq!(health(&node, "gim.v1.Other").await, Err(Code::NotFound));
    let mut watching = HealthClient::new(channel(&node).await);
    let watch = watching.watch(HealthCheckRequest { service: "gim.v1.Node".to_owned() });
    let mut watched = watch.await.unwrap().into_inner();
    let mut next = async || within("a change", watched.message()).await.unwrap().map(|answer| answer.status());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    let client = NodeClient::lazy(&node.rpc.to_string(), showing(Some(TOKEN))).unwrap();
    client.drain().await.unwrap();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(health(&node, "").await, Ok(ServingStatus::NotServing));
    within("the shutdown", node.node.shutdown()).await;
    assert_eq!(next().await, None, "who watches does not keep the listener from closing");
}

#[tokio::test]
async fn reflection_tells_the_contract() {
    let open = TestNode::start().await;
    let guarded = guarded().await;
    for (node, token) in [(&open, None), (&guarded, Some(TOKEN))] {
        let services = services(node, token).await.unwrap();
        for service in ["gim.v1.Node", "gim.v1.Queue", "grpc.health.v1.Health"] {
            assert!(services.iter().any(|name| name == service), "{services:?}");
        }
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let node = TestNode::start().await;
    let mut anybody = Node::new(channel(&node).await);
    let hello = anybody.hello(HelloRequest { min_version: 1, max_version: 1 }).await.unwrap().into_inner();
    assert!(NodeId::parse(&hello.node).is_ok());
    NodeClient::connect(&node.rpc.to_string(), showing(Some(TOKEN))).await.unwrap();
}
