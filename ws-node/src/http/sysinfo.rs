//! `/sysinfo`: the node in figures, in the shape that GIM's operators know.

use std::sync::Arc;

use gim_msg_queue::host;
use gim_proxy_sdk::queue::LaneStats;
use serde_json::{Value, json};

use crate::core::Core;

/// Field names as GIM has them, and what it lacks: lanes, memory per connection, states of dependencies. A queue that
/// does not answer leaves the lanes out and says so there.
pub(crate) async fn sysinfo(core: &Arc<Core>) -> Value {
    let stats = core.queue.stats().await;
    let queue = stats.as_ref().map_or("down", |_| "up");
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
    top
}

fn of_node(core: &Core, lanes: &[LaneStats]) -> Value {
    let snapshot = core.snapshot();
    let usage = host::usage();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    json!({
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
        "connections": snapshot.connections,
        "connections_bound": core.admission.connections(),
    })
}
