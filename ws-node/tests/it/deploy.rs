//! The files of `deploy/` set keys that exist, to values that a node of a cluster takes; its scripts say what they miss.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command as Program, Output};

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

/// Runs `pgo.sh` beside a compiler of an LLVM that there is not, and an `llvm-profdata` of another one.
fn pgo(argument: Option<&str>, named: Option<&str>) -> Output {
    let folder = std::env::temp_dir().join(format!("gim-pgo-{}", gim_proxy_sdk::testing::prefix()));
    fs::create_dir_all(&folder).unwrap();
    let place = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let compiler = r#"case "$1" in -vV) printf 'host: a-b-c\nLLVM version: 9999.1.2\n' ;; *) echo /nowhere ;; esac"#;
    place("rustc", &format!("#!/bin/sh\n{compiler}\n"));
    place("llvm-profdata", "#!/bin/sh\necho '  LLVM version 999.1.2'\n");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut script = Program::new("sh");
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pgo.sh")).args(argument).env("PATH", path);
    match named {
        Some(named) => script.env("LLVM_PROFDATA", folder.join(named)),
        None => script.env_remove("LLVM_PROFDATA"),
    };
    let output = script.output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    output
}

#[test]
fn a_build_with_a_profile_says_what_it_misses_before_it_builds() {
    for (argument, named, said) in [
        (None, None, "apt-get install -y --no-install-recommends llvm-9999"),
        (None, Some("llvm-profdata"), "is no llvm-profdata of LLVM 9999"),
        (Some("--agian"), None, "what --agian means is not known"),
    ] {
        let output = pgo(argument, named);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(said), "{errors}");
        assert!(output.stdout.is_empty(), "{output:?}", output = output.stdout);
    }
}
