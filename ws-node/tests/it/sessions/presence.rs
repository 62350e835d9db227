//! Who comes and goes, as it is written down for others: in every mode, under the fence of each session.

use serde_json::Value;

use crate::support::client::Client;
use crate::support::node::{TestNode, gone};
use crate::support::{eventually, http};

/// State, fence and reason of each news about a user, oldest first, once there are so many.
async fn news(node: &TestNode, uid: &str, count: usize) -> Vec<(String, u64, String)> {
    eventually("the news to be written down", || async {
        let (status, read) = http::get(node.admin, "/api/v1/presence").await;
        assert_eq!(status, 200, "{read}");
        let fields = read["presence"].as_array().into_iter().flatten().map(|entry| &entry["fields"]);
        let text = |fields: &Value, name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        let of_user = fields.filter(|fields| fields["uid"] == uid);
        let found: Vec<_> = of_user
            .map(|fields| (text(fields, "state"), text(fields, "fence").parse().unwrap(), text(fields, "reason")))
            .collect();
        (found.len() >= count).then_some(found)
    })
    .await
}

#[tokio::test]
async fn who_comes_and_goes_is_written_down_under_the_fence_of_the_session() {
    let node = TestNode::start_with(|config| config.ledger.presence = true).await;
    let first = Client::user(node.public, "a").await;
    let second = Client::user(node.public, "a").await;
    let fences = (first.fence(), second.fence());
    assert!(fences.0 < fences.1);
    second.close().await;
    gone(&node, "a").await;
    let all = news(&node, "a", 3).await;
    let last = all.iter().max_by_key(|(state, fence, _)| (*fence, state == "offline")).unwrap();
    assert_eq!((last.0.as_str(), last.1), ("offline", fences.1), "{all:?}");
    for fence in [fences.0, fences.1] {
        assert!(
            all.iter().any(|(state, of, reason)| state == "online" && *of == fence && reason == "login"),
            "{all:?}"
        );
    }
    eventually("the news to be counted", || async {
        let metrics = http::respond("GET", node.admin, "/metrics", &[], b"").await.text();
        let counted = metrics.lines().find_map(|line| line.strip_prefix("gim_presence_written_total "));
        counted.and_then(|count| count.parse::<usize>().ok()).filter(|count| *count >= all.len())
    })
    .await;
}

#[tokio::test]
async fn nobody_is_written_down_where_nobody_asks() {
    let node = TestNode::start().await;
    let client = Client::user(node.public, "a").await;
    client.close().await;
    gone(&node, "a").await;
    let (_, read) = http::get(node.admin, "/api/v1/presence").await;
    assert_eq!(read["presence"], serde_json::json!([]), "{read}");
}
