//! What `/sysinfo` tells of the nodes, as far as the command shows it.
//!
//! Owns the reading. What the version of a node does not tell is absent, and never a mistake.

use serde::Serialize;
use serde_json::Value;

use crate::{Error, ErrorKind};

/// All nodes, as one of them has told.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) nodes: Vec<NodeFigures>,
    /// The names of those that did not answer.
    pub(super) unreachable: Vec<String>,
    /// Entries that are not settled and not waiting for their time, and dead letters.
    pub(super) backlog: u64,
    pub(super) dead: u64,
    /// What the node that was asked stands on, and how it does: `up`, `down`, `in_process`.
    pub(super) dependencies: Vec<(String, String)>,
}

/// One node.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct NodeFigures {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) phase: Option<String>,
    pub(super) sessions: Option<u64>,
    pub(super) groups: Option<u64>,
    pub(super) rss_bytes: Option<u64>,
    pub(super) bytes_per_connection: Option<u64>,
    /// Percent of one core.
    pub(super) cpu_percent: Option<f64>,
    /// Sessions that took a message, since the process started.
    pub(super) offered: Option<u64>,
    /// The run that counts.
    #[serde(skip)]
    pub(super) incarnation: Option<String>,
}

impl Figures {
    /// # Errors
    /// It names no nodes at all.
    pub(super) fn read(sysinfo: &Value) -> Result<Self, Error> {
        let nodes = sysinfo["nodeMap"]
            .as_array()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the node's sysinfo names no nodes"))?;
        let list = |field: &str| sysinfo[field].as_array().map(Vec::as_slice).unwrap_or_default();
        let sum = |field: &str| list("lanes").iter().filter_map(|lane| lane[field].as_u64()).sum::<u64>();
        let dependencies = sysinfo["dependencies"].as_object();
        let mut nodes: Vec<NodeFigures> = nodes.iter().map(NodeFigures::read).collect();
        // The node that is asked names itself first, and the next time another one may be asked.
        nodes.sort_by_key(|node| (node.name.is_none(), node.name.clone()));
        Ok(Self {
            nodes,
            unreachable: list("nodes_unreachable").iter().map(word).collect(),
            backlog: sum("lag").saturating_add(sum("pending")),
            dead: sum("dead"),
            dependencies: dependencies
                .map(|all| all.iter().map(|(name, state)| (name.clone(), word(state))).collect())
                .unwrap_or_default(),
        })
    }
}

impl NodeFigures {
    fn read(node: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let manager = &node["managerInfo"];
        Self {
            name: text(&node["name"]),
            version: text(&node["version"]),
            phase: text(&node["phase"]),
            sessions: manager["clientsLen"].as_u64(),
            groups: manager["tGroupLen"].as_u64(),
            rss_bytes: node["rss_bytes"].as_u64(),
            bytes_per_connection: node["bytes_per_connection"].as_u64(),
            cpu_percent: node["cpuPercent"].as_f64(),
            offered: node["offered"].as_u64(),
            incarnation: text(&node["incarnation"]),
        }
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sysinfo_without_nodes_is_an_error() {
        for sysinfo in [json!({}), json!([]), json!({ "nodeMap": {} })] {
            let kind = Figures::read(&sysinfo).map(|_| ()).map_err(|error| error.kind);
            assert_eq!(kind, Err(ErrorKind::Internal), "{sysinfo}");
        }
    }

    #[test]
    fn nodes_keep_their_order_whichever_is_asked() {
        let told = json!({ "nodeMap": [{ "name": "b" }, {}, { "name": "a" }] });
        let names: Vec<_> = Figures::read(&told).unwrap().nodes.into_iter().map(|node| node.name).collect();
        assert_eq!(names, [Some("a".to_owned()), Some("b".to_owned()), None]);
    }

    #[test]
    fn the_queue_and_what_the_node_stands_on_are_read() {
        let told = json!({
            "nodeMap": [],
            "lanes": [{ "lag": 1, "pending": 2, "later": 4, "dead": 8 }, { "lag": 16, "dead": 32 }],
            "dependencies": { "etcd": "down", "queue": "up" },
        });
        let figures = Figures::read(&told).unwrap();
        assert_eq!((figures.backlog, figures.dead), (19, 40));
        let states = [("etcd", "down"), ("queue", "up")].map(|(name, state)| (name.to_owned(), state.to_owned()));
        assert_eq!(figures.dependencies, states);
    }
}
