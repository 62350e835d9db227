//! The files of `deploy/` set keys that exist, to values that a node of a cluster takes.

use std::collections::BTreeMap;
use std::path::Path;

use gim_ws_node::cli::{self, Command};

/// What stands in for values that whoever installs it fills in.
const SECRET: &str = "0123456789abcdef";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every `GIM_...` that a line sets, in the form of a compose file or of an environment file. Of several nodes the last.
fn variables(text: &str) -> BTreeMap<String, String> {
    let set = |line: &str| {
        let (name, value) = line.trim().split_once(['=', ':'])?;
        let value = value.trim().trim_matches('"');
        let is_open = value.is_empty() || value.starts_with("${");
        let value = if is_open { SECRET } else { value };
        name.starts_with("GIM_").then(|| (name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(set).collect()
}

fn is_taken(mut environment: BTreeMap<String, String>) {
    environment.insert("GIM_AUTH__MODE".to_owned(), "none".to_owned());
    assert!(environment.len() > 5, "{environment:?}");
    let read = cli::read(["ws-node", "--check-config"], environment);
    assert!(matches!(read, Ok(Command::Check)), "{read:?}");
}

#[test]
fn a_node_takes_what_the_compose_file_sets() {
    is_taken(variables(&read("compose.yaml")));
}

#[test]
fn a_node_takes_what_the_examples_for_its_unit_set() {
    let mut environment = variables(&read("systemd/gim.env.example"));
    environment.extend(variables(&read("systemd/node-n1.env.example")));
    environment.insert("GIM_MODE".to_owned(), "cluster".to_owned());
    environment.insert("GIM_NODE__ID".to_owned(), "n1".to_owned());
    is_taken(environment);
}
