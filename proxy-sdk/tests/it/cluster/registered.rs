//! Who is asked follows who is registered.

use gim_proxy_sdk::etcd::EtcdOptions;
use gim_proxy_sdk::testing::free_port;
use gim_proxy_sdk::{ClusterClient, ErrorKind};

use super::world::{World, id, knows, send};
use crate::support::fake::Script;
use crate::support::{impatient, patient};

#[tokio::test]
async fn a_node_that_registers_later_is_used() {
    let mut world = World::new().await;
    let client = world.connect(patient()).await;
    let error = send(&client).await.unwrap_err();
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (ErrorKind::Unavailable, "no node of the cluster is registered",)
    );
    let first = world.start("a", Script::default()).await;
    knows(&client, &["a"]).await;
    send(&client).await.unwrap();
    let second = world.start("b", Script::default()).await;
    knows(&client, &["a", "b"]).await;
    send(&client).await.unwrap();
    send(&client).await.unwrap();
    assert_eq!((first.script.calls().len(), second.script.calls().len()), (2, 1));
}

#[tokio::test]
async fn a_node_that_has_left_is_not_asked() {
    let mut world = World::new().await;
    let gone = world.start("a", Script::default()).await;
    let node = world.start("b", Script::default()).await;
    world.leave("a").await;
    let client = world.client(&["b"]).await;
    for _ in 0..4 {
        send(&client).await.unwrap();
    }
    assert_eq!((gone.script.seen().len(), node.script.calls().len()), (0, 4));
}

#[tokio::test]
async fn a_node_that_comes_back_elsewhere_is_found_there() {
    let mut world = World::new().await;
    let node = world.start("a", Script::default()).await;
    let client = world.client(&["a"]).await;
    send(&client).await.unwrap();
    world.leave("a").await;
    knows(&client, &[]).await;
    node.stop().await;
    let node = world.start("a", Script::default()).await;
    knows(&client, &["a"]).await;
    send(&client).await.unwrap();
    assert_eq!(node.script.calls().len(), 1);
}

#[tokio::test]
async fn without_etcd_the_nodes_known_last_go_on_being_asked() {
    let mut world = World::new().await;
    let nodes = [world.start("a", Script::default()).await, world.start("b", Script::default()).await];
    let client = world.client(&["a", "b"]).await;
    world.etcd.stop();
    for _ in 0..6 {
        send(&client).await.unwrap();
    }
    assert_eq!(client.nodes(), [id("a"), id("b")]);
    assert!(nodes.iter().all(|node| node.script.calls().len() == 3));
}

#[tokio::test]
async fn any_node_that_answers_is_found_and_one_by_its_name() {
    let mut world = World::new().await;
    world.register("a", &format!("127.0.0.1:{}", free_port())).await;
    let _node = world.start("b", Script::default()).await;
    let client = world.client(&["a", "b"]).await;
    for _ in 0..3 {
        assert_eq!(client.any().await.unwrap().hello().await.unwrap().node.id, id("b"));
    }
    assert_eq!(client.node(&id("b")).unwrap().hello().await.unwrap().node.id, id("b"));
    assert_eq!(client.node(&id("c")).unwrap_err().kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_told_at_once_and_by_its_address() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let error = ClusterClient::connect(&EtcdOptions::new([&endpoint]), "gim", impatient()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().contains(&endpoint), "{error}");
}

#[tokio::test]
async fn endpoints_and_prefixes_that_are_none_are_refused() {
    for (endpoint, prefix) in [("etcd:2379", "gim"), ("http://127.0.0.1:2379", ""), ("http://127.0.0.1:2379", "a b")] {
        let connected = ClusterClient::connect(&EtcdOptions::new([endpoint]), prefix, impatient()).await;
        assert_eq!(connected.unwrap_err().kind, ErrorKind::Invalid, "{endpoint} {prefix}");
    }
}
