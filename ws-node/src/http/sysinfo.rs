//! `/sysinfo`: this node, or all nodes, in figures, in the shape that GIM's operators know.
//!
//! Owns the shape. Nodes elsewhere are asked side by side with one deadline; who does not answer is named as such.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use gim_msg_queue::host;
use gim_proxy_sdk::members::Member;
use gim_proxy_sdk::queue::LaneStats;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use crate::core::Core;

/// How long the other nodes have, together.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long the queue has: no longer than leaves time for an answer to whoever asked.
const QUEUE: Duration = Duration::from_millis(400);
/// Nodes asked side by side.
const AT_ONCE: usize = 64;
/// What stands at the top as a sum over all nodes. The figures of the queue are everybody's and count once.
const SUMS: [(&str, &[&str]); 3] =
    [("numGoroutine", &[]), ("numCPU", &[]), ("managerInfo", &["clientsLen", "tGroupLen"])];

/// Tells of this node alone: field names as GIM has them, and what it lacks: lanes, memory per connection, states of
/// dependencies. A queue that does not answer leaves the lanes out and says so there.
pub(crate) async fn alone(core: &Arc<Core>) -> Value {
    let stats = timeout(QUEUE, core.queue.stats()).await.ok().and_then(Result::ok);
    let queue = if stats.is_some() { "up" } else { "down" };
    let lanes = stats.unwrap_or_default();
    let mut node = of_node(core, &lanes);
    let mut top = node.clone();
    node["phase"] = core.phase().as_str().into();
    top["nodeNum"] = 1.into();
    top["nodeMap"] = json!([node]);
    top["nodes_unreachable"] = json!([]);
    top["lanes"] = json!(lanes);
    top["dependencies"] = match core.redis_is_well() {
        None => json!({ "directory": "in_process", "queue": "in_process" }),
        Some(well) => json!({ "directory": if well { "up" } else { "down" }, "queue": queue }),
    };
    if let Some(cluster) = core.cluster() {
        top["dependencies"]["etcd"] = if cluster.etcd_is_well { "up" } else { "down" }.into();
    }
    top
}

/// Tells of all nodes: this one first, the others as they answer, in the order of their names.
pub(crate) async fn sysinfo(core: &Arc<Core>) -> Value {
    let others = others(core);
    let end = Instant::now() + DEADLINE;
    let asked = stream::iter(others).map(|member| async move {
        let answer = timeout_at(end, ask(core, &member)).await.ok().flatten();
        (member, answer)
    });
    let (mut top, answers): (Value, Vec<_>) = tokio::join!(alone(core), asked.buffered(AT_ONCE).collect());
    let mut unreachable = Vec::new();
    for (member, answer) in answers {
        match answer {
            Some(node) => add(&mut top, node),
            None => unreachable.push(member.node.id.to_string()),
        }
    }
    top["nodes_unreachable"] = json!(unreachable);
    top
}

/// The other living nodes, by name.
pub(super) fn others(core: &Core) -> Vec<Member> {
    let Some(live) = &core.live else { return Vec::new() };
    let view = live.view();
    let mut others: Vec<_> =
        view.members().iter().filter(|member| !core.has_lived_as(&member.node.incarnation)).cloned().collect();
    others.sort_by(|one, other| one.node.id.as_str().cmp(other.node.id.as_str()));
    others
}

/// What a node says of itself in the list of nodes.
async fn ask(core: &Core, member: &Member) -> Option<Value> {
    let client = core.peers.as_ref()?.client(&member.node).ok()?;
    let mut sysinfo = match client.sysinfo_alone().await {
        Ok(sysinfo) => sysinfo,
        Err(error) => {
            tracing::debug!(node = %member.node.id, error = %error, "the node does not tell its figures");
            return None;
        }
    };
    let mut node = sysinfo["nodeMap"].get_mut(0)?.take();
    // The way to it, for whoever has asked this one.
    node.as_object_mut()?.insert("rpc".to_owned(), json!(*member.rpc));
    Some(node)
}

/// Adds a node to the list and to the sums.
fn add(top: &mut Value, node: Value) {
    for (field, parts) in SUMS {
        if parts.is_empty() {
            top[field] = plus(&top[field], &node[field]);
        }
        for part in parts {
            top[field][*part] = plus(&top[field][*part], &node[field][*part]);
        }
    }
    if let Some(nodes) = top["nodeMap"].as_array_mut() {
        nodes.push(node);
        top["nodeNum"] = nodes.len().into();
    }
}

fn plus(one: &Value, other: &Value) -> Value {
    (one.as_u64().unwrap_or(0) + other.as_u64().unwrap_or(0)).into()
}

fn of_node(core: &Core, lanes: &[LaneStats]) -> Value {
    let snapshot = core.snapshot();
    let usage = host::usage();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut node = json!({
        "numGoroutine": tasks,
        "cpuPercent": usage.cpu_percent,
        "memPercent": usage.memory_percent,
        "numCPU": usage.cores,
        "managerInfo": { "clientsLen": snapshot.sessions, "tGroupLen": snapshot.groups },
        "subMsgList": {
            "msgNum": lanes.iter().map(|lane| lane.lag + lane.pending).sum::<u64>(),
            "consumeNum": lanes.len(),
            "freeCNum": lanes.iter().filter(|lane| lane.lag + lane.pending == 0).count(),
        },
        "name": core.node().id,
        "incarnation": core.node().incarnation.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "rss_bytes": snapshot.resident_bytes,
        "bytes_per_connection": snapshot.resident_bytes.checked_div(snapshot.connections),
        "offered": core.metrics.offered_so_far(),
        "connections": snapshot.connections,
        "connections_bound": core.admission.connections(),
        "logins": {
            "under_way": snapshot.logins.under_way,
            "at_once": snapshot.logins.at_once,
            "waiting": snapshot.logins.waiting,
            "waiting_bound": snapshot.logins.most_waiting,
            "backlog_ms": snapshot.logins.backlog_ms,
            "put_off": snapshot.logins.put_off.iter().sum::<u64>(),
        },
    });
    if let Some(redis) = core.redis() {
        node["redis"] = json!({ "runs": redis.losses().runs(), "possible_loss": redis.losses().all() });
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_added_up_and_the_queue_is_counted_once() {
        let node = |clients| {
            json!({
                "numGoroutine": 10, "numCPU": 2, "managerInfo": { "clientsLen": clients, "tGroupLen": 1 },
                "subMsgList": { "msgNum": 5, "consumeNum": 1, "freeCNum": 0 }, "name": "n",
            })
        };
        let mut top = node(3);
        top["nodeMap"] = json!([node(3)]);
        add(&mut top, node(4));
        assert_eq!((&top["numGoroutine"], &top["numCPU"], &top["nodeNum"]), (&json!(20), &json!(4), &json!(2)));
        assert_eq!(top["managerInfo"], json!({ "clientsLen": 7, "tGroupLen": 2 }));
        assert_eq!(top["subMsgList"]["msgNum"], 5);
        assert_eq!(top["nodeMap"][1]["managerInfo"]["clientsLen"], 4);
    }
}
