//! Who may be the node of a name.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::http;
use crate::support::node::Spec;

/// Far above the 300 ms of the probe and far below any lease.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_node_is_taken_while_it_answers_and_free_at_once_when_it_does_not() {
    let mut cluster = Cluster::start(Spec::new(2), 2, 1).await;
    let mut before = Client::user(cluster.nodes[0].public, "u").await;
    before.join("g").await;
    let mut other = Client::user(cluster.nodes[1].public, "v").await;
    other.join("g").await;

    let mut rival = cluster.rival(0);
    rival.launch();
    assert_eq!(rival.ended().await, Some(1), "{}", rival.log());
    http::push(cluster.nodes[1].admin, &json!({ "to_uid": "u", "data": { "n": 1 } })).await;
    before.expect_body(json!({ "n": 1 })).await;

    // With nothing on its way: what was not answered for would come again.
    cluster.lanes().settle().await;
    // It stands still, and somebody else takes its name.
    cluster.nodes[0].freeze();
    let begun = Instant::now();
    let mut rival = cluster.rival(0);
    rival.start().await;
    let took = begun.elapsed();
    assert!(took < SOON, "{took:?}");
    let mut after = Client::connect(rival.public, &format!("/ws?uid=u&msg_code=1&session={}", before.session())).await;
    assert_eq!(after.welcome["groups"], json!(["g"]));
    let mut frozen = std::mem::replace(&mut cluster.nodes[0], rival);
    cluster.assembled().await;
    for (n, message) in [(2, json!({ "to_uid": "u" })), (3, json!({ "tgid": "g" }))] {
        let mut message = message;
        message["data"] = json!({ "n": n });
        http::push(cluster.nodes[1].admin, &message).await;
        after.expect_body(json!({ "n": n })).await;
    }
    other.expect_body(json!({ "n": 3 })).await;

    // It goes on, finds that it has lost its place, and ends without having done any more.
    frozen.thaw();
    assert_eq!(frozen.ended().await, Some(1), "{}", frozen.log());
    let mut seen = Vec::new();
    while let Some(message) = before.next().await {
        seen.push(message.to_string());
    }
    let pushed = seen.iter().filter(|frame| frame.contains(r#""n":"#)).count();
    assert_eq!(pushed, 0, "a run without its place pushed {seen:?}");
    cluster.agrees("u", "n1", after.fence()).await;
    http::push(cluster.nodes[1].admin, &json!({ "to_uid": "u", "data": { "n": 4 } })).await;
    after.expect_body(json!({ "n": 4 })).await;
    eprintln!("the name of a node that stood still was taken after {took:.1?}");
}
