//! Looks that are made up, one second or two apart.

use tokio::time::Instant;

use super::*;

fn node(name: &str, run: &str, sessions: u64, offered: Option<u64>) -> Value {
    json!({
        "name": name, "incarnation": run, "phase": "running", "cpuPercent": 12.34, "offered": offered,
        "managerInfo": { "clientsLen": sessions, "tGroupLen": 2 },
    })
}

fn look(at: Instant, nodes: &[Value]) -> Look {
    let lanes = json!([{ "lag": 3, "pending": 1, "dead": 2 }]);
    let told = json!({
        "nodeMap": nodes, "nodes_unreachable": ["x"], "lanes": lanes, "dependencies": { "etcd": "up" },
    });
    Look { figures: Figures::read(&told).unwrap(), at }
}

fn words(table: &Table) -> Vec<Vec<String>> {
    table.to_string().lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn rates_are_what_has_changed_in_a_second() {
    let start = Instant::now();
    let before = look(start, &[node("a", "1", 10, Some(100)), node("b", "1", 10, Some(100))]);
    let now = look(start + Duration::from_secs(2), &[node("a", "1", 14, Some(500)), node("b", "1", 4, Some(100))]);
    let change = Change::between(Some(&before), &now);
    let rows = words(&change.table());
    assert_eq!(rows[1], ["a", "running", "14", "+2", "2", "200", "12.3", "-", "-"]);
    assert_eq!(rows[2], ["b", "running", "4", "-3", "2", "0", "12.3", "-", "-"]);
    assert_eq!(rows[3], ["x", "unreachable", "-", "-", "-", "-", "-", "-", "-"]);
    let json = change.to_json(5);
    assert_eq!((&json["nodes"][0]["offered_per_second"], &json["at_ms"]), (&json!(200.0), &json!(5)));
    assert_eq!(json["nodes_unreachable"], json!(["x"]));
}

#[tokio::test]
async fn a_first_look_another_run_and_a_silent_node_have_no_rates() {
    let start = Instant::now();
    let before = look(start, &[node("a", "1", 10, Some(100)), node("b", "1", 10, None)]);
    let first = Change::between(None, &before);
    assert_eq!(words(&first.table())[1][3], "-");
    let now = look(
        start + Duration::from_secs(1),
        &[node("a", "2", 3, Some(5)), node("b", "1", 10, None), node("c", "1", 1, Some(1))],
    );
    let rows = words(&Change::between(Some(&before), &now).table());
    assert_eq!((rows[1][3].as_str(), rows[1][5].as_str()), ("-", "-"), "another run");
    assert_eq!((rows[2][3].as_str(), rows[2][5].as_str()), ("+0", "-"), "a version that does not tell");
    assert_eq!(rows[3][3], "-", "a node that was not there");
}

#[tokio::test]
async fn one_line_tells_of_all() {
    let now = look(Instant::now(), &[node("a", "1", 10, None), node("b", "1", 5, None)]);
    let line = Change::between(None, &now).headline(1_893_456_000_000);
    let expected = "2030-01-01T00:00:00Z  2 nodes  1 unreachable  15 sessions  queue: 4 waiting, 2 dead  etcd up";
    assert_eq!(line, expected);
}
