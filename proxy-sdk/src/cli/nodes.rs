//! `gim nodes`: every node in figures, from the `/sysinfo` of the one that is asked.

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::table::{Table, show_bytes};
use crate::{Error, ErrorKind, NodeClient};

pub(super) async fn run(client: &NodeClient) -> Result<Answer, Error> {
    answer(&client.sysinfo().await?)
}

/// What is shown of a node. What its version does not tell is absent.
#[derive(Debug, Serialize)]
struct Row {
    name: Option<String>,
    version: Option<String>,
    phase: Option<String>,
    sessions: Option<u64>,
    groups: Option<u64>,
    rss_bytes: Option<u64>,
    bytes_per_connection: Option<u64>,
}

impl Row {
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
        }
    }
}

fn answer(sysinfo: &Value) -> Result<Answer, Error> {
    let nodes = sysinfo["nodeMap"]
        .as_array()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the node's sysinfo names no nodes"))?;
    let rows: Vec<Row> = nodes.iter().map(Row::read).collect();
    let unreachable = sysinfo["nodes_unreachable"].as_array().cloned().unwrap_or_default();
    let text = table(&rows, &unreachable).to_string();
    Ok(Answer::done(text, json!({ "nodes": rows, "nodes_unreachable": unreachable })))
}

fn table(rows: &[Row], unreachable: &[Value]) -> Table {
    let mut table = Table::new(&["NAME", "VERSION", "PHASE", "SESSIONS", "GROUPS", "RSS", "BYTES/CONNECTION"]);
    let text = |value: &Option<String>| value.clone().unwrap_or_else(none);
    let count = |value: Option<u64>| value.map_or_else(none, |value| value.to_string());
    for row in rows {
        table.row([
            text(&row.name),
            text(&row.version),
            text(&row.phase),
            count(row.sessions),
            count(row.groups),
            row.rss_bytes.map_or_else(none, show_bytes),
            count(row.bytes_per_connection),
        ]);
    }
    for node in unreachable {
        let name = node.as_str().map_or_else(|| node.to_string(), str::to_owned);
        table.row([name, none(), "unreachable".to_owned(), none(), none(), none(), none()]);
    }
    table
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_row_and_what_it_does_not_tell_is_a_dash() {
        let told = json!({
            "name": "a", "version": "0.1.0", "phase": "running", "rss_bytes": 2_097_152, "bytes_per_connection": null,
            "managerInfo": { "clientsLen": 3, "tGroupLen": 1 },
        });
        let answer = answer(&json!({ "nodeMap": [told, {}], "nodes_unreachable": ["b"] })).unwrap();
        let rows: Vec<Vec<&str>> = answer.text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["a", "0.1.0", "running", "3", "1", "2.0", "MiB", "-"]);
        assert_eq!(rows[2], ["-"; 7]);
        assert_eq!(rows[3], ["b", "-", "unreachable", "-", "-", "-", "-"]);
        assert_eq!(answer.json["nodes"][0]["sessions"], 3);
        assert_eq!(answer.json["nodes"][0]["bytes_per_connection"], Value::Null);
        assert_eq!(answer.json["nodes_unreachable"], json!(["b"]));
    }

    #[test]
    fn a_sysinfo_without_nodes_is_an_error() {
        for sysinfo in [json!({}), json!([]), json!({ "nodeMap": {} })] {
            assert_eq!(answer(&sysinfo).map(|_| ()).map_err(|error| error.kind), Err(ErrorKind::Internal), "{sysinfo}");
        }
    }
}
