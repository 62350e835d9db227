//! The files of `deploy/` set keys that exist, to values that a node of a cluster takes; a build with a profile says what it
//! misses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command as Program;

use gim_ws_node::cli::{self, Command};

/// What stands in for values that whoever installs it fills in.
const SECRET: &str = "0123456789abcdef";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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

/// What `pgo.sh` asks for, and what it runs: a compiler of an LLVM that there is not, with tools of that and of another one, and a
/// cargo that fails. Written by a process of its own: what this one has open for writing another thread's child may not run.
const MACHINE: &str = r#"
for tool in dirname sed grep tr; do ln -s "$(command -v $tool)" .; done
place() { printf '#!/bin/sh\n%s\n' "$2" >"$1"; chmod +x "$1"; }
place rustc 'case "$1" in -vV) echo "host: a-b-c"; echo "LLVM version: 9999.1.2" ;; *) echo /nowhere ;; esac'
place llvm-profdata 'echo "  LLVM version 99990.1.2"'
place fitting 'echo "  LLVM version 9999.1.3"'
place cargo 'echo "cargo $1 runs" >&2; exit 3'
mkdir redis etcd
place redis/redis-server 'exit 1'
place etcd/etcd 'exit 1'
"#;

#[test]
fn a_build_with_a_profile_says_what_it_misses_before_it_builds() {
    let machine = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pgo");
    let _ = fs::remove_dir_all(&machine);
    fs::create_dir_all(&machine).unwrap();
    assert!(Program::new("sh").args(["-ec", MACHINE]).current_dir(&machine).status().unwrap().success());
    let (none, redis, both) = (&[""][..], &["", "redis"][..], &["", "redis", "etcd"][..]);
    for (argument, named, there, said) in [
        (Some("--agian"), Some("fitting"), both, "what --agian means is not known"),
        (None, None, both, "apt-get install -y --no-install-recommends llvm-9999"),
        (None, Some("llvm-profdata"), both, "is no llvm-profdata of LLVM 9999"),
        (None, Some("fitting"), none, "apt-get install -y redis-server"),
        (None, Some("fitting"), redis, "apt-get install -y etcd-server"),
        (None, Some("fitting"), both, "cargo metadata runs"),
    ] {
        let mut script = Program::new("/bin/sh");
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pgo.sh")).args(argument);
        script.env("PATH", std::env::join_paths(there.iter().map(|folder| machine.join(folder))).unwrap());
        match named {
            Some(named) => script.env("LLVM_PROFDATA", named),
            None => script.env_remove("LLVM_PROFDATA"),
        };
        let output = script.output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{errors}");
        assert!(errors.contains(said), "{said}: {errors}");
        assert_eq!(errors.contains("cargo"), said.contains("cargo"), "{said}: {errors}");
    }
}
