//! The loader, on a configuration made for these tests.

use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Toy {
    name: String,
    node: ToyNode,
    door: Door,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ToyNode {
    id: String,
    size: ByteSize,
    #[serde(with = "duration::or_none")]
    ping: Option<Duration>,
    peers: Vec<String>,
    weights: Vec<u32>,
    count: u32,
    share: f64,
    awake: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Door {
    #[serde(with = "optional")]
    token: Option<Secret>,
    mode: Mode,
    target: LogTarget,
}

impl Default for ToyNode {
    fn default() -> Self {
        Self {
            id: "toy".to_owned(),
            size: ByteSize::kib(1),
            ping: Some(Duration::from_secs(25)),
            peers: vec!["a".to_owned()],
            weights: vec![1],
            count: 3,
            share: 0.5,
            awake: false,
        }
    }
}

/// A file that goes away with its test.
struct File(PathBuf);

impl File {
    fn with(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gim-config-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn sources(&self) -> Sources {
        Sources::new().file(&self.0)
    }

    fn origin(&self) -> Origin {
        Origin::File(self.0.clone())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn toy(sources: &Sources) -> Toy {
    load(sources).unwrap().value
}

fn refused(sources: &Sources) -> ConfigError {
    load::<Toy>(sources).unwrap_err()
}

fn variable(name: &str) -> Origin {
    Origin::Environment(name.to_owned())
}

#[test]
fn without_sources_there_are_defaults() {
    let loaded = load::<Toy>(&Sources::new()).unwrap();
    assert_eq!(loaded.value, Toy::default());
    assert_eq!(loaded.origin("node.count"), Origin::Default);
}

#[test]
fn flags_override_the_environment_and_that_the_file() {
    let file = File::with("name = \"file\"\n[node]\nid = \"file\"\ncount = 7\n");
    let sources = file.sources().environment([("GIM_NAME", "env"), ("GIM_NODE__ID", "env")]);
    let sources = sources.set("node.id=first").unwrap().set("node.id=flag").unwrap();
    let loaded = load::<Toy>(&sources).unwrap();
    assert_eq!(loaded.value.node.count, 7);
    assert_eq!(loaded.value.name, "env");
    assert_eq!(loaded.value.node.id, "flag");
    assert_eq!(loaded.origin("node.count"), file.origin());
    assert_eq!(loaded.origin("name"), variable("GIM_NAME"));
    assert_eq!(loaded.origin("node.id"), Origin::Flag("--set node.id".to_owned()));
    assert_eq!(loaded.value.node.size, ByteSize::kib(1), "the rest of a section keeps its defaults");
}

#[test]
fn a_text_becomes_what_its_key_asks_for() {
    let node = toy(&Sources::new().environment([
        ("GIM_NODE__ID", "123"),
        ("GIM_NODE__SIZE", "65536"),
        ("GIM_NODE__PING", "0"),
        ("GIM_NODE__PEERS", "one, two,3"),
        ("GIM_NODE__WEIGHTS", "4,5"),
        ("GIM_NODE__COUNT", "4_000"),
        ("GIM_NODE__SHARE", "2"),
        ("GIM_NODE__AWAKE", "true"),
    ]))
    .node;
    let expected = ToyNode {
        id: "123".to_owned(),
        size: ByteSize(65_536),
        ping: None,
        peers: ["one", "two", "3"].map(str::to_owned).to_vec(),
        weights: vec![4, 5],
        count: 4_000,
        share: 2.0,
        awake: true,
    };
    assert_eq!(node, expected);
}

#[test]
fn a_list_can_be_emptied_by_the_environment() {
    assert_eq!(toy(&Sources::new().environment([("GIM_NODE__PEERS", "")])).node.peers, Vec::<String>::new());
}

#[test]
fn an_empty_text_is_no_secret() {
    assert_eq!(toy(&Sources::new().environment([("GIM_DOOR__TOKEN", "")])).door.token, None);
}

#[test]
fn a_bad_value_is_refused_by_key_and_place() {
    let table = [
        ("node.size", "64kb"),
        ("node.ping", "25"),
        ("node.ping", "soon"),
        ("node.count", "-1"),
        ("node.count", "many"),
        ("node.count", "4294967296"),
        ("node.share", "half"),
        ("node.awake", "yes"),
        ("node.weights", "1,x"),
        ("door.mode", "toy"),
        ("door.target", "printer"),
        ("node", "5"),
    ];
    for (key, text) in table {
        let name = format!("GIM_{}", key.replace('.', "__").to_ascii_uppercase());
        let error = refused(&Sources::new().environment([(name.as_str(), text)]));
        assert_eq!(error.kind, ConfigErrorKind::Value, "{error}");
        assert_eq!(error.key.trim_end_matches(".1"), key, "{error}");
        assert_eq!(error.origin, variable(&name), "{error}");

        let error = refused(&Sources::new().set(&format!("{key}={text}")).unwrap());
        assert_eq!(error.origin, Origin::Flag(format!("--set {key}")), "{error}");
    }
}

#[test]
fn a_bad_value_in_a_file_is_refused_by_key_and_place() {
    let table = [
        ("node.size", "[node]\nsize = -1"),
        ("node.ping", "[node]\nping = 25"),
        ("node.id", "[node]\nid = 123"),
        ("node.count", "[node]\ncount = \"4\""),
        ("node.awake", "[node]\nawake = 1"),
        ("node.peers", "[node]\npeers = \"a,b\""),
        ("node.peers.1", "[node]\npeers = [\"a\", 2]"),
        ("node.ping", "[node]\nping = 1979-05-27"),
        ("door.target", "[door]\ntarget = 1"),
        ("door.mode", "[door]\nmode = \"toy\""),
        ("door.token", "[door.token]\nfile = \"x\""),
        ("node", "node = 1"),
        ("node", "[[node]]\nid = \"a\""),
    ];
    for (key, text) in table {
        let file = File::with(text);
        let error = refused(&file.sources());
        assert_eq!(error.kind, ConfigErrorKind::Value, "{text}: {error}");
        assert_eq!(error.key, key, "{text}: {error}");
        assert_eq!(error.origin, file.origin(), "{text}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let table = [
        ("node.cuont", Some("node.count")),
        ("node.Count", Some("node.count")),
        ("nod.ping", Some("node.ping")),
        ("ping", Some("node.ping")),
        ("door.ping", Some("node.ping")),
        ("node.zzzzzzzz", None),
        ("zzzzzzzz", None),
        ("node.count.more", None),
        ("", None),
    ];
    for (key, nearest) in table {
        let error = refused(&Sources::new().set(&format!("{key}=1")).unwrap());
        assert_eq!(error.key, key);
        match (&error.kind, nearest) {
            (ConfigErrorKind::UnknownKey { nearest: found }, Some(_)) => {
                assert_eq!(found.as_deref(), nearest, "{key}");
            }
            (ConfigErrorKind::UnknownKey { .. }, None) => {}
            (kind, _) => panic!("{key}: {kind:?}"),
        }
    }
}

#[test]
fn an_unknown_key_is_refused_wherever_it_is_set() {
    let file = File::with("[node]\ncuont = 1\n");
    let error = refused(&file.sources());
    assert_eq!((error.key.as_str(), &error.origin), ("node.cuont", &file.origin()));

    let file = File::with("[nodes.deep]\nx = 1\n");
    assert_eq!(refused(&file.sources()).key, "nodes.deep.x");

    let error = refused(&Sources::new().environment([("GIM_NODE__CUONT", "1")]));
    assert_eq!((error.key.as_str(), error.origin), ("node.cuont", variable("GIM_NODE__CUONT")));
}

#[test]
fn a_variable_in_another_spelling_is_refused() {
    let error = refused(&Sources::new().environment([("GIM_Node__Count", "1")]));
    assert_eq!(error.kind, ConfigErrorKind::UnknownKey { nearest: Some("node.count".to_owned()) });
}

#[test]
fn variables_of_others_are_ignored() {
    let injected = [
        "GIM_SERVICE_HOST",
        "GIM_SERVICE_PORT_PUBLIC",
        "GIM_PORT",
        "GIM_PORT_8080_TCP_ADDR",
        "GIM_REDIS_SERVICE_HOST",
        "GIM_REDIS_PORT",
        "GIM_REDIS_PORT_6379_TCP",
        "GIMLET",
        "NODE__COUNT",
        "PATH",
    ];
    let sources = Sources::new().environment(injected.map(|name| (name, "tcp://10.0.0.1:6379")));
    assert_eq!(toy(&sources), Toy::default());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_refused_only_if_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![0xff]);
    let error = refused(&Sources::new().environment([("GIM_NAME", bytes())]));
    assert_eq!((error.key.as_str(), error.kind), ("name", ConfigErrorKind::Value));
    let others = [(OsString::from("LANG"), bytes()), (bytes(), bytes())];
    assert_eq!(toy(&Sources::new().environment(others)), Toy::default());
}

#[test]
fn a_file_that_is_not_toml_is_refused_by_its_line() {
    let file = File::with("name = \"a\"\n[node]\nid = \"b\n");
    let error = refused(&file.sources());
    assert_eq!(error.kind, ConfigErrorKind::Syntax { line: 3 });
    assert_eq!(error.origin, file.origin());
}

#[test]
fn a_file_that_cannot_be_read_tells_why() {
    let error = refused(&Sources::new().file("/nowhere/gim.toml"));
    assert_eq!(error.kind, ConfigErrorKind::File);
    assert_eq!(error.origin, Origin::File("/nowhere/gim.toml".into()));
    assert!(error.source().is_some());
}

#[test]
fn a_secret_is_in_no_error_and_no_print() {
    const SECRET: &str = "8675309";
    let texts = [
        format!("[door]\ntoken = {SECRET}"),
        format!("[door]\ntoken = [{SECRET}]"),
        format!("[door]\ntoken = \"{SECRET}"),
        format!("[door]\ntoken = {SECRET} x"),
        format!("door = \"{SECRET}\""),
        format!("door = {SECRET}"),
        format!("[door]\ntokn = \"{SECRET}\""),
        format!("[door.token]\nvalue = \"{SECRET}\""),
        format!("[door]\ntarget = {SECRET}"),
    ];
    for text in texts {
        let error = refused(&File::with(&text).sources());
        assert!(!format!("{error} {error:?}").contains(SECRET), "{text}: {error}");
    }
    let error = Sources::new().set(&format!("door.token:{SECRET}")).err().unwrap();
    assert!(!error.to_string().contains(SECRET));

    let config = toy(&Sources::new().set(&format!("door.token={SECRET}")).unwrap());
    assert_eq!(config.door.token, Some(Secret::new(SECRET)));
    assert!(!format!("{config:?}{}", print(&config).unwrap()).contains(SECRET));
}

#[test]
fn a_senseless_value_is_blamed_on_who_set_it() {
    let check = |toy: &Toy| match toy.node.count {
        0..5 => Ok(()),
        _ => Err(Invalid::against("node.share", "node.count", "must not go together")),
    };
    let loaded = load::<Toy>(&Sources::new().environment([("GIM_NODE__COUNT", "9")])).unwrap();
    let error = loaded.validated(check).unwrap_err();
    assert_eq!((error.key.as_str(), error.kind), ("node.share", ConfigErrorKind::Senseless));
    assert_eq!(error.origin, variable("GIM_NODE__COUNT"));
    assert_eq!(load::<Toy>(&Sources::new()).unwrap().validated(check).unwrap(), Toy::default());
}

#[test]
fn what_is_printed_is_read_back() {
    let config = toy(&Sources::new().set("node.ping=90s").unwrap().set("node.peers=x,y").unwrap());
    let file = File::with(&print(&config).unwrap());
    assert_eq!(toy(&file.sources()), config);
}

#[test]
fn keys_of_another_program_are_passed_over_wherever_they_are_set() {
    let file = File::with("name = \"n\"\n[session]\nping = 25\n[door]\ntoken = [\"odd\"]\ntarget = \"file\"");
    let sources = file.sources().environment([("GIM_SESSION__PING", "x"), ("GIM_DOOR__TOKEN", "x")]);
    let sources = sources.set("session.on.slow=1").unwrap();
    let toy = load_beside::<Toy>(&sources, &["session", "door.token"]).unwrap().value;
    assert_eq!((toy.name.as_str(), toy.door.target, toy.door.token), ("n", LogTarget::File, None));
    let error = load_beside::<Toy>(&sources.set("sessions.ping=1").unwrap(), &["session", "door.token"]).unwrap_err();
    assert_eq!((error.key.as_str(), matches!(error.kind, ConfigErrorKind::UnknownKey { .. })), ("sessions.ping", true));
}
