//! `/sysinfo` and `/metrics`.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::http::{self, get};
use crate::support::node::{NAME, TestNode};

async fn sysinfo(node: &TestNode) -> Value {
    let (status, sysinfo) = get(node.admin, "/sysinfo").await;
    assert_eq!(status, 200, "{sysinfo}");
    sysinfo
}

/// The fields that GIM's operators know, which the node's own entry has too.
#[track_caller]
fn is_complete(sysinfo: &Value) {
    for field in ["numGoroutine", "cpuPercent", "memPercent", "numCPU"] {
        assert!(sysinfo[field].is_number(), "{field}: {sysinfo}");
    }
    for field in ["clientsLen", "tGroupLen"] {
        assert!(sysinfo["managerInfo"][field].is_u64(), "{field}: {sysinfo}");
    }
    for field in ["msgNum", "consumeNum", "freeCNum"] {
        assert!(sysinfo["subMsgList"][field].is_u64(), "{field}: {sysinfo}");
    }
    assert!(sysinfo["numGoroutine"].as_u64() > Some(0) && sysinfo["numCPU"].as_u64() > Some(0), "{sysinfo}");
    assert_eq!(sysinfo["name"], NAME);
    assert_eq!(sysinfo["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn sysinfo_has_the_fields_that_operators_know() {
    let node = TestNode::start().await;
    let found = sysinfo(&node).await;
    is_complete(&found);
    assert_eq!(found["nodeNum"], 1);
    assert_eq!(found["nodes_unreachable"], json!([]));
    let nodes = found["nodeMap"].as_array().expect("an array of nodes");
    assert_eq!(nodes.len(), 1);
    is_complete(&nodes[0]);
    let lanes = found["lanes"].as_array().expect("lanes");
    assert_eq!(lanes.len(), 1);
    for field in ["lag", "oldest_pending_ms"] {
        assert!(lanes[0][field].is_u64(), "{field}: {found}");
    }
    assert!(found["rss_bytes"].as_u64() > Some(1 << 20), "{found}");
    assert!(found["dependencies"].is_object(), "{found}");
}

#[tokio::test]
async fn sysinfo_counts_clients_and_groups() {
    let node = TestNode::start().await;
    let figures =
        |found: &Value| (found["managerInfo"]["clientsLen"].clone(), found["managerInfo"]["tGroupLen"].clone());
    assert_eq!(figures(&sysinfo(&node).await), (json!(0), json!(0)));
    let mut a = Client::user(node.public, "a").await;
    let mut b = Client::user(node.public, "b").await;
    a.join("g").await;
    b.join("g").await;
    b.join("h").await;
    let found = sysinfo(&node).await;
    assert_eq!(figures(&found), (json!(2), json!(2)), "{found}");
    assert_eq!(figures(&found["nodeMap"][0]), (json!(2), json!(2)));
    assert!(found["bytes_per_connection"].as_u64() > Some(0), "{found}");
    b.close().await;
    eventually("one client less", || async { (figures(&sysinfo(&node).await) == (json!(1), json!(1))).then_some(()) })
        .await;
}

/// The value of a metric with all its labels.
fn value(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().expect("a number")
}

/// The sum over all labels.
fn total(text: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn metrics(node: &TestNode) -> String {
    let response = http::respond("GET", node.admin, "/metrics", &[], b"").await;
    assert_eq!(response.status, 200);
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    response.text()
}

#[tokio::test]
async fn metrics_have_the_text_format() {
    let node = TestNode::start().await;
    let _client = Client::user(node.public, "u").await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": {} })).await;
    http::settled(node.admin).await;
    let text = metrics(&node).await;
    assert!(text.ends_with('\n'));
    let mut typed = std::collections::HashSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(matches!(kind, "counter" | "gauge" | "histogram" | "summary"), "{line}");
            assert!(typed.insert(name.to_owned()), "{name} is typed twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        let base = name.split('{').next().unwrap();
        assert!(base.starts_with("gim_"), "{line}");
        let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|end| base.strip_suffix(end));
        assert!(std::iter::once(base).chain(of_histogram).any(|name| typed.contains(name)), "{line} has no type");
        assert!(!line.contains("\"u\""), "a user in a label: {line}");
    }
}

#[tokio::test]
async fn metrics_move_with_what_happens() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    client.join("g").await;
    client.send_text("bad").await;
    client.expect_error("", 20_003).await;
    client.command("1", "no.such", json!({})).await;
    client.expect_error("1", 20_004).await;
    let before = metrics(&node).await;
    assert_eq!(value(&before, "gim_sessions"), 1.0);
    assert_eq!(value(&before, "gim_groups"), 1.0);
    assert_eq!(value(&before, "gim_logins_total"), 1.0);
    assert_eq!(value(&before, "gim_bad_frames_total"), 1.0);
    assert_eq!(value(&before, "gim_received_messages_total"), 3.0);
    assert_eq!(value(&before, "gim_phase"), 0.0);
    assert_eq!(total(&before, "gim_commands_total"), 2.0);
    assert_eq!(total(&before, "gim_closed_total"), 0.0);
    assert!(value(&before, "gim_received_bytes_total") > 0.0);

    http::push(node.admin, &json!([{ "to_uid": "u", "data": {} }, { "tgid": "g", "data": {} }])).await;
    client.expect_push().await;
    client.expect_push().await;
    Client::try_open(node.public, "/ws?uid=").await.err().expect("refused");
    client.close().await;
    crate::support::node::gone(&node, "u").await;
    eventually("the session's end to be counted", || async {
        let after = metrics(&node).await;
        (total(&after, "gim_closed_total") == 1.0 && value(&after, "gim_sessions") == 0.0).then_some(())
    })
    .await;
    let after = metrics(&node).await;
    assert_eq!(total(&after, "gim_logins_refused_total"), 1.0);
    assert_eq!(value(&after, "gim_logins_total"), 1.0);
    assert!(total(&after, "gim_http_requests_total") > total(&before, "gim_http_requests_total"));
    assert!(value(&after, "gim_accepted_total") > value(&before, "gim_accepted_total"));
}

#[tokio::test]
async fn nodes_of_one_process_count_for_themselves() {
    let one = TestNode::start().await;
    let other = TestNode::start().await;
    let _client = Client::user(one.public, "u").await;
    assert_eq!(value(&metrics(&one).await, "gim_sessions"), 1.0);
    assert_eq!(value(&metrics(&other).await, "gim_sessions"), 0.0);
    assert_eq!(value(&metrics(&other).await, "gim_logins_total"), 0.0);
}

#[tokio::test]
async fn the_nodes_are_listed() {
    let node = TestNode::start().await;
    let (status, nodes) = get(node.admin, "/api/v1/nodes").await;
    assert_eq!(status, 200);
    let nodes = nodes["nodes"].as_array().expect("an array");
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0]["id"], NAME);
    assert_eq!(nodes[0]["incarnation"].as_str().map(str::len), Some(26));
}
