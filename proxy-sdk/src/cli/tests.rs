//! Command lines that need no node: questions, mistakes, and what is refused before anything is called.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};

use super::*;

struct Output {
    code: u8,
    out: String,
    err: String,
}

async fn gim(arguments: &[&str]) -> Output {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["gim"].iter().chain(arguments).map(OsString::from);
    let code = run(arguments, &mut out, &mut err).await;
    Output { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// An address where nobody listens: it was free a moment ago.
fn nowhere() -> String {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string()
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    Flags::command().debug_assert();
}

#[tokio::test]
async fn questions_about_the_program_are_answered() {
    for (arguments, part) in [
        (&["--version"][..], env!("CARGO_PKG_VERSION")),
        (&["--help"], "dead"),
        (&["push", "--help"], "--tgid-list"),
        (&["dead", "purge", "--help"], "--yes"),
        (&["bench", "soak", "--help"], "--cut-percent"),
    ] {
        let output = gim(arguments).await;
        assert_eq!((output.code, output.err.as_str()), (DONE, ""), "{arguments:?}");
        assert!(output.out.contains(part), "{}", output.out);
    }
}

#[tokio::test]
async fn mistakes_on_the_command_line_are_usage() {
    let mistakes = [
        "",
        "--json",
        "pull",
        "nodes --node https://127.0.0.1:1",
        "nodes --node",
        "nodes --timeout 0s",
        "nodes --timeout soon",
        "nodes --etcd etcd:2379",
        "nodes --etcd http://u:p@etcd:2379",
        "nodes --etcd http://etcd:2379 --node 127.0.0.1:1",
        "nodes --prefix gim --node 127.0.0.1:1",
        "nodes --etcd http://etcd:2379 --prefix a/b",
        "top --every 0s",
        "top --count 0",
        "top --once --count 2",
        "cancel",
        "cancel a/b",
        "cancel a --uid {",
        "drain",
        "drain a b",
        "drain a/b",
        "push",
        "push --to-uid 1",
        "push --data {}",
        "push --to-uid 1 --data {} --raw x",
        "push --to-uid 1 --raw x --raw-file y",
        "push --to-uid 1 --to-uids 2 --data {}",
        "push --to-uid 1 --all --data {}",
        "push --tgid 1 --tgid-list 2 --data {}",
        "push --tgid 1 --to-uids 2 --data {}",
        "push --all --tgid-list 2 --data {}",
        "push --to-uid 1 --raw x --mol m",
        "push --to-uid 1 --data {} --ctrl c",
        "push --to-uid 1 --data {} --at 1 --in 1s",
        "push --to-uid 1 --data {} --at tomorrow",
        "push --to-uid 1 --data {} --ttl long",
        "push --to-uid 1 --data {} --now --id x",
        "push --all --data {} --now",
        "push --to-uids 1,2 --data {} --now",
        "push --to-uid 1 --data {} --now --in 1s",
        "kick",
        "kick a{b",
        "kick 1 2",
        "join lobby",
        "leave",
        "queue 1",
        "dead",
        "dead list",
        "dead list --lane -1",
        "dead list --lane 65536",
        "dead list --lane 0 --limit 0",
        "dead list --lane 0 --after 5",
        "dead redrive --lane 0",
        "dead redrive --all",
        "dead redrive --lane 0 --all --id 1-1",
        "dead redrive --lane 0 --id 1",
        "dead purge --lane 0",
        "dead purge --lane 0 --yes",
        "dead purge --lane 0 --all",
        "bench",
        "bench storm",
        "bench fanout --url wss://a/ws",
        "bench fanout --url ws://a/acc",
        "bench fanout --http http://a:1 --redis redis://a",
        "bench fanout --http https://a:1",
        "bench fanout --sdk",
        "bench fanout --redis-password-file /a",
        "bench fanout --redis-username a",
        "bench fanout --window 0",
        "bench fanout --grace 0s",
        "bench fanout --rate many",
        "bench idle --rate 1",
    ];
    for mistake in mistakes {
        let output = gim(&mistake.split_whitespace().collect::<Vec<_>>()).await;
        assert_eq!((output.code, output.out.as_str()), (USAGE, ""), "{mistake}");
        let is_told = output.err.starts_with("error: ") || output.err.contains("Usage: gim");
        assert!(is_told, "{mistake}: {}", output.err);
    }
    assert_eq!(HashSet::from(mistakes).len(), mistakes.len());
}

#[tokio::test]
async fn a_malformed_message_is_refused_by_field_before_anything_is_called() {
    let node = nowhere();
    let thirty_one_days = "push --to-uid 1 --data {} --in 31days";
    for (line, field) in [
        ("push --to-uid a{b --data {}", "to_uid"),
        ("push --to-uids a,,b --data {}", "to_uids"),
        ("push --tgid a} --data {}", "tgid"),
        ("push --to-uid 1 --data {", "data"),
        ("push --to-uid 1 --data [1]", "data"),
        ("push --to-uid 1 --data {} --id a/b", "id"),
        ("push --to-uid 1 --data {} --class lively", "class"),
        ("push --to-uid 1 --data {} --class latest", "key"),
        ("push --to-uid 1 --raw x --class latest --key k", "raw"),
        ("push --all --data {} --class latest --key k", "class"),
        ("push --to-uid 1 --data {} --priority urgent", "priority"),
        ("push --to-uid 1 --data {} --ttl 0s", "ttl_ms"),
        (thirty_one_days, "deliver_at_ms"),
        ("push --to-uid 1 --data {} --now --except 2", "except_uid"),
        ("push --tgid 1 --data {} --now --except 2,3", "except_uid"),
    ] {
        let arguments: Vec<_> = line.split_whitespace().chain(["--node", &node]).collect();
        let output = gim(&arguments).await;
        assert_eq!((output.code, output.out.as_str()), (FAILED, ""), "{line}");
        assert!(output.err.starts_with(&format!("gim: {field}: ")), "{line}: {}", output.err);
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_is_named_with_the_cause() {
    let node = nowhere();
    let all = [
        "push --to-uid 1 --data {}",
        "kick 1",
        "join g 1",
        "nodes",
        "top",
        "drain a",
        "cancel a",
        "queue",
        "dead list --lane 0",
    ];
    for line in all {
        let arguments: Vec<_> = line.split_whitespace().chain(["--node", &node, "--json"]).collect();
        let output = gim(&arguments).await;
        assert_eq!((output.code, output.out.as_str()), (FAILED, ""), "{line}");
        let start = format!("gim: cannot reach the node at http://{node}: ");
        assert!(output.err.starts_with(&start) && output.err.contains("refused"), "{line}: {}", output.err);
        assert_eq!(output.err.lines().count(), 1, "{}", output.err);
    }
}

#[tokio::test]
async fn a_password_in_a_url_is_refused_and_not_repeated() {
    let output = gim(&["bench", "unicast", "--redis", "redis://me:hush@127.0.0.1:1"]).await;
    assert_eq!((output.code, output.out.as_str()), (USAGE, ""));
    let is_told = output.err.contains("--redis-password-file") && output.err.contains("GIM_REDIS__PASSWORD");
    assert!(is_told && !output.err.contains("hush"), "{}", output.err);
}

#[tokio::test]
async fn plain_xadd_goes_to_a_single_redis() {
    let output = gim(&["bench", "unicast", "--redis", "redis-cluster://a:1,b:2"]).await;
    assert_eq!((output.code, output.out.as_str()), (USAGE, ""));
    assert!(output.err.contains("add --sdk"), "{}", output.err);
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_named() {
    let etcd = format!("http://{}", nowhere());
    let output = gim(&["nodes", "--etcd", &etcd, "--timeout", "300ms"]).await;
    assert_eq!((output.code, output.out.as_str()), (FAILED, ""));
    assert_eq!(output.err, format!("gim: etcd does not answer at {etcd}\n"));
}

#[tokio::test]
async fn a_reader_that_stops_early_changes_no_exit_code() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let line = ["gim", "kick", "1", "--node", &nowhere()].map(OsString::from);
    assert_eq!(run(line, &mut Gone, &mut Gone).await, FAILED);
    let line = ["gim", "--help"].map(OsString::from);
    assert_eq!(run(line, &mut Gone, &mut Gone).await, DONE);
}
