//! `gim nodes`: every node in figures, from the `/sysinfo` of the one that is asked.

use serde_json::{Value, json};

use super::answer::Answer;
use super::figures::Figures;
use super::table::{Table, show_bytes};
use crate::{Error, NodeClient};

pub(super) async fn run(client: &NodeClient) -> Result<Answer, Error> {
    answer(&client.sysinfo().await?)
}

fn answer(sysinfo: &Value) -> Result<Answer, Error> {
    let figures = Figures::read(sysinfo)?;
    let text = table(&figures).to_string();
    Ok(Answer::done(text, json!({ "nodes": figures.nodes, "nodes_unreachable": figures.unreachable })))
}

fn table(figures: &Figures) -> Table {
    let mut table = Table::new(&["NAME", "VERSION", "PHASE", "SESSIONS", "GROUPS", "RSS", "BYTES/CONNECTION"]);
    let text = |value: &Option<String>| value.clone().unwrap_or_else(none);
    let count = |value: Option<u64>| value.map_or_else(none, |value| value.to_string());
    for node in &figures.nodes {
        table.row([
            text(&node.name),
            text(&node.version),
            text(&node.phase),
            count(node.sessions),
            count(node.groups),
            node.rss_bytes.map_or_else(none, show_bytes),
            count(node.bytes_per_connection),
        ]);
    }
    for name in &figures.unreachable {
        table.row([name.clone(), none(), "unreachable".to_owned(), none(), none(), none(), none()]);
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
}
