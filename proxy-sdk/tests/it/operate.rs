//! What operators ask of a node.

use gim_proto::EntryId;
use gim_proxy_sdk::queue::{LaneStats, Selection};
use gim_proxy_sdk::{ErrorKind, NodeClient};
use tonic::Status;

use crate::support::fake::{FakeNode, Script};
use crate::support::patient;

async fn started(script: Script) -> (FakeNode, NodeClient) {
    let node = FakeNode::start(script).await;
    let client = NodeClient::connect(&node.address(), patient()).await.unwrap();
    (node, client)
}

const fn id(ms: u64) -> EntryId {
    EntryId { ms, seq: 0 }
}

#[tokio::test]
async fn sysinfo_and_figures_of_lanes_are_read() {
    let (_node, client) = started(Script::default()).await;
    assert_eq!(client.sysinfo().await.unwrap(), serde_json::json!({ "nodeNum": 1 }));
    let lane = LaneStats { lane: 3, lag: 1, pending: 2, later: 4, dead: 5, oldest_pending_ms: 6, settled: 7 };
    assert_eq!(client.queue_stats().await.unwrap(), [lane]);
}

#[tokio::test]
async fn dead_letters_of_the_largest_size_are_listed_in_pages() {
    let (node, client) = started(Script { dead: 150, ..Script::default() }).await;
    let dead = client.dead(3, None, 100).await.unwrap();
    let ids: Vec<EntryId> = dead.letters.iter().map(|letter| letter.id).collect();
    assert_eq!((ids, dead.total), ((0..100).map(id).collect(), 150));
    assert!(dead.letters.iter().all(|letter| letter.fields.bytes() > gim_proto::MAX_ENTRY_BYTES));
    let expected = [
        r#"ListDeadRequest { lane: 3, after: "", limit: 64 }"#,
        r#"ListDeadRequest { lane: 3, after: "63-0", limit: 36 }"#,
    ];
    assert_eq!(node.script.seen()[1..], expected);
}

#[tokio::test]
async fn the_last_dead_letters_are_fewer_than_asked_for() {
    let (node, client) = started(Script { dead: 65, ..Script::default() }).await;
    let dead = client.dead(0, Some(id(62)), 1_000).await.unwrap();
    assert_eq!(dead.letters.iter().map(|letter| letter.id).collect::<Vec<_>>(), [id(63), id(64)]);
    assert_eq!(node.script.seen().len(), 2, "the handshake and one page");
    assert!(client.dead(0, Some(id(64)), 10).await.unwrap().letters.is_empty());
    let none = client.dead(0, None, 0).await.unwrap();
    assert_eq!((none.letters.len(), none.total), (0, 65));
}

#[tokio::test]
async fn chosen_dead_letters_are_put_back_or_deleted() {
    let (node, client) = started(Script::default()).await;
    assert_eq!(client.redrive(1, Selection::Ids(vec![id(5), id(6)])).await.unwrap(), 11);
    assert_eq!(client.purge(2, Selection::All).await.unwrap(), 12);
    let expected = [r#"SelectDeadRequest { lane: 1, ids: ["5-0", "6-0"] }"#, "SelectDeadRequest { lane: 2, ids: [] }"];
    assert_eq!(node.script.seen()[1..], expected);
}

#[tokio::test]
async fn no_dead_letters_chosen_are_not_all_of_them() {
    let (node, client) = started(Script::default()).await;
    assert_eq!(client.purge(0, Selection::Ids(Vec::new())).await.unwrap(), 0);
    assert_eq!(client.redrive(0, Selection::Ids(Vec::new())).await.unwrap(), 0);
    assert_eq!(node.script.seen().len(), 1, "the handshake");
}

#[tokio::test]
async fn a_lane_that_is_not_there_is_a_mistake_of_the_caller() {
    let failure = Some(Status::not_found("there is no lane 9"));
    let (_node, client) = started(Script { failure, ..Script::default() }).await;
    let error = client.dead(9, None, 1).await.unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::Invalid, "there is no lane 9"));
}
