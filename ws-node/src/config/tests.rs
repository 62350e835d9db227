//! The schema of a node: the shipped file and the rules between keys.

use std::path::{Path, PathBuf};

use gim_msg_queue::config::print;

use super::*;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("gim.toml")
}

fn refused(assignments: &[&str]) -> ConfigError {
    let sources = assignments.iter().fold(Sources::new(), |sources, text| sources.set(text).unwrap());
    Config::load(&sources).unwrap_err()
}

fn accepted(assignments: &[&str]) -> Config {
    let sources = assignments.iter().fold(Sources::new(), |sources, text| sources.set(text).unwrap());
    Config::load(&sources).unwrap()
}

#[test]
fn the_default_is_valid() {
    assert_eq!(Config::default().validate(), Ok(()));
}

#[test]
fn the_shipped_file_is_the_default() {
    assert_eq!(Config::load(&Sources::new().file(shipped())).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_holds_every_key() {
    let loaded = shared::load::<Config>(&Sources::new().file(shipped())).unwrap();
    let keys = keys_of(&print(&Config::default()).unwrap());
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        assert_eq!(loaded.origin(&key), Origin::File(shipped()), "{key}");
    }
}

/// Lists the dotted keys of a printed configuration.
fn keys_of(toml: &str) -> Vec<String> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in toml.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((name, _)) = line.split_once(" = ") {
            keys.push(format!("{section}{name}"));
        }
    }
    keys
}

#[test]
fn what_is_printed_is_read_back() {
    let folder = std::env::temp_dir().join(format!("gim-ws-node-print-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("printed.toml");
    let config = accepted(&["session.ping=0", "session.outbox_bytes=1536", "node.id=n1", "queue.lanes=8"]);
    std::fs::write(&path, print(&config).unwrap()).unwrap();
    let read = Config::load(&Sources::new().file(&path));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(read.unwrap(), config);
}

#[test]
fn a_value_out_of_bounds_is_refused_by_its_key() {
    let table = [
        ("node.advertise_rpc", "http://a:1"),
        ("node.advertise_rpc", "a"),
        ("node.advertise_public", "a:0"),
        ("mode", "toy"),
        ("prefix", "not a prefix"),
        ("node.id", "not a name"),
        ("node.threads", "5000"),
        ("node.threads", "-1"),
        ("listen.public", "8080"),
        ("listen.public", "localhost:8080"),
        ("listen.admin", "127.0.0.1:99999"),
        ("listen.rpc", "127.0.0.1:8081"),
        ("listen.admin", "127.0.0.1:8080"),
        ("admin.token", "two words"),
        ("rpc.token", "too short"),
        ("session.on_duplicate", "both"),
        ("session.on_slow", "1"),
        ("session.ping", "25"),
        ("session.ping", "60s"),
        ("session.keep_time", "2d"),
        ("session.handler_deadline", "0"),
        ("session.outbox_bytes", "0"),
        ("session.outbox_bytes", "1MB"),
        ("session.outbox_frames", "0"),
        ("session.write_progress", "0"),
        ("session.bad_frames_per_minute", "0"),
        ("session.groups", "many"),
        ("session.joins_per_second", "5000000000"),
        ("session.membership_grace", "-1s"),
        ("session.close_timeout", "0s"),
        ("session.frame_bytes", "64"),
        ("session.message_bytes", "63KiB"),
        ("limits.handshake", "0"),
        ("limits.request_head", "10"),
        ("limits.request_headers", "0"),
        ("limits.logins_per_second", "1000001"),
        ("limits.login_burst", "1000001"),
        ("limits.logins_at_once", "0"),
        ("limits.logins_waiting", "10000001"),
        ("limits.page", "yes"),
        ("auth.mode", "token"),
        ("queue.lanes", "0"),
        ("queue.lanes", "65"),
        ("queue.lanes", "70000"),
        ("queue.entries", "0"),
        ("queue.idempotency_window", "0"),
        ("queue.schedule_ahead", "31d"),
        ("worker.embedded", "1"),
        ("worker.read_batch", "0"),
        ("worker.unsettled_bytes", "1KiB"),
        ("worker.attempts", "0"),
        ("worker.backoff_first", "0"),
        ("worker.backoff_max", "50ms"),
        ("log.target", "syslog"),
        ("log.level", "info,=loud="),
        ("log.file_prefix", "a/b"),
        ("log.keep_files", "0"),
        ("log.buffer_lines", "0"),
        ("redis.url", "127.0.0.1:6379"),
        ("redis.url", "redis://user:password@127.0.0.1"),
        ("redis.tls_cert", "cert.pem"),
        ("redis.call_timeout", "1ms"),
        ("redis.lookup_cache", "0"),
        ("upstream.enabled", "true"),
        ("upstream.entries", "0"),
        ("shutdown.deadline", "0"),
        ("shutdown.drain_rate", "0"),
        ("shutdown.drain_over", "31s"),
    ];
    for (key, value) in table {
        let error = refused(&[&format!("{key}={value}")]);
        assert_eq!(error.key, key, "{key}={value}: {error}");
        assert_eq!(error.origin, Origin::Flag(format!("--set {key}")), "{key}={value}: {error}");
        assert!(!error.allowed.is_empty());
    }
}

#[test]
fn zero_switches_off_what_can_be_switched_off() {
    let config = accepted(&[
        "session.ping=0",
        "session.keep_time=0",
        "session.membership_grace=0",
        "session.joins_per_second=0",
        "limits.connections=0",
        "shutdown.hint_spread=0",
    ]);
    assert_eq!(config.session.ping, None);
    assert_eq!(config.session.keep_time, None);
    assert!(config.session.membership_grace.is_zero());
}

#[test]
fn a_burst_of_logins_is_no_smaller_than_their_rate() {
    let error = refused(&["limits.logins_per_second=100", "limits.login_burst=99"]);
    assert_eq!((error.key.as_str(), error.kind), ("limits.login_burst", ConfigErrorKind::Senseless));
    assert_eq!(accepted(&["limits.logins_per_second=100"]).limits.burst(), 100);
    assert_eq!(accepted(&["limits.logins_per_second=100", "limits.login_burst=500"]).limits.burst(), 500);
}

#[test]
fn a_ping_without_an_idle_limit_may_be_rare() {
    assert!(accepted(&["session.ping=1h", "session.keep_time=0"]).session.ping.is_some());
}

#[test]
fn the_default_that_contradicts_a_set_key_is_not_blamed() {
    let error = refused(&["session.keep_time=20s"]);
    assert_eq!(error.kind, ConfigErrorKind::Senseless);
    assert_eq!(error.key, "session.ping");
    assert_eq!(error.origin, Origin::Flag("--set session.keep_time".to_owned()));
}

#[test]
fn the_admin_listener_leaves_loopback_only_with_a_token() {
    let open = "listen.admin=0.0.0.0:8081";
    let error = refused(&[open]);
    assert_eq!((error.key.as_str(), error.kind), ("listen.admin", ConfigErrorKind::Senseless));
    assert_eq!(refused(&[open, "admin.token="]).key, "listen.admin");
    for short in ["***", "fifteen-letters"] {
        assert_eq!(refused(&[open, &format!("admin.token={short}")]).key, "admin.token");
    }
    let config = accepted(&[open, "admin.token=correct-horse-battery"]);
    assert_eq!(config.admin.token, Some(Secret::new("correct-horse-battery")));
}

#[test]
fn the_rpc_listener_stays_on_loopback_in_mode_local() {
    for address in ["0.0.0.0:8091", "[::]:8091", "192.0.2.1:8091"] {
        assert_eq!(refused(&[&format!("listen.rpc={address}")]).key, "listen.rpc", "{address}");
    }
    assert!(accepted(&["listen.rpc=[::1]:0"]).listen.rpc.ip().is_loopback());
}

#[test]
fn any_number_of_listeners_may_take_a_free_port() {
    let config = accepted(&["listen.public=127.0.0.1:0", "listen.admin=127.0.0.1:0", "listen.rpc=127.0.0.1:0"]);
    assert_eq!([config.listen.public.port(), config.listen.admin.port(), config.listen.rpc.port()], [0; 3]);
}

#[test]
fn a_node_is_named_by_its_id_or_by_host_and_port() {
    let name = |config: Config, host| config.node.name(host, 8091);
    assert_eq!(name(accepted(&["node.id=123"]), "box").unwrap().as_str(), "123");
    assert_eq!(name(Config::default(), "box").unwrap().as_str(), "box-8091");
    assert_eq!(name(Config::default(), "no host").unwrap_err().key, "node.id");
}

#[test]
fn beyond_local_it_must_be_said_that_everybody_is_believed() {
    let error = refused(&["mode=redis"]);
    assert_eq!((error.key.as_str(), error.origin), ("auth.mode", Origin::Flag("--set mode".to_owned())));
    let config = accepted(&["mode=redis", "auth.mode=none", "upstream.enabled=true"]);
    assert_eq!(config.mode, Mode::Redis);
}

#[test]
fn in_mode_redis_the_worker_is_inside_and_rpc_stays_on_this_machine() {
    let redis = |more| refused(&["mode=redis", "auth.mode=none", more]).key;
    assert_eq!(redis("worker.embedded=false"), "worker.embedded");
    assert_eq!(redis("listen.rpc=0.0.0.0:8091"), "listen.rpc");
}

#[test]
fn a_node_of_a_cluster_says_where_it_is_reached_and_listens_there() {
    let cluster =
        ["mode=cluster", "auth.mode=none", "rpc.token=correct-horse-battery", "node.advertise_rpc=10.0.0.7:8091"];
    assert_eq!(refused(&cluster[..3]).key, "node.advertise_rpc");
    let without_token = [cluster[0], cluster[1], cluster[3]];
    assert_eq!(refused(&without_token).key, "listen.rpc");
    let on_this_machine = ["listen.rpc=127.0.0.1:8091", "node.advertise_rpc=127.0.0.1:8091"];
    assert!(accepted(&[&without_token[..], &on_this_machine].concat()).rpc.token.is_none());
    assert_eq!(refused(&[&cluster[..], &on_this_machine[..1]].concat()).key, "listen.rpc");
    let config = accepted(&cluster);
    assert_eq!(config.listen.rpc.to_string(), "0.0.0.0:8091");
    assert!(!config.worker.embedded);
    let config = accepted(&[&cluster[..], &["worker.embedded=true"], &on_this_machine].concat());
    assert!(config.worker.embedded && config.listen.rpc.ip().is_loopback());
}
