//! The producers shown in the docs: that they are what the docs say, and that the one in shell does it.
//!
//! The others need client libraries from registries; `make producers` runs them.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use gim_proto::{Target, Uid, lane_of};
use gim_proxy_sdk::testing::RedisServer;
use redis::cmd;
use redis::streams::StreamRangeReply;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_docs_show_the_producers_as_they_are() {
    let docs = std::fs::read_to_string(root().join("docs/producing.md")).unwrap();
    for file in ["shell/push.sh", "python/push.py", "node/push.mjs", "go/main.go", "java/Push.java"] {
        let program = std::fs::read_to_string(root().join("examples/producers").join(file)).unwrap();
        assert!(docs.contains(&format!("\n{program}```")), "docs/producing.md does not show {file}");
    }
}

#[tokio::test]
async fn redis_cli_alone_puts_an_entry_on_the_lane_of_its_user() {
    let server = RedisServer::start().await;
    let link = server.store().link("gim:meta");
    link.query::<()>(cmd("HSET").arg("gim:meta").arg("lanes").arg(4)).await.unwrap();
    for uid in ["42", "user-3", "überall"] {
        let push = root().join("examples/producers/shell/push.sh");
        let mut push = tokio::process::Command::new(push);
        push.args([server.url().as_str(), uid, "hello", "m-1"]);
        let done = push.output().await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let lane = lane_of(&Target::User(Uid::parse(uid).unwrap()), NonZeroU16::new(4).unwrap());
        let mut last = cmd("XREVRANGE");
        last.arg(format!("gim:queue:{lane}")).arg("+").arg("-").arg("COUNT").arg(1);
        let entries: StreamRangeReply = link.query(&last).await.unwrap();
        let entry = &entries.ids[0];
        let field = |name: &str| entry.get::<String>(name).unwrap();
        assert_eq!(["to_uid", "data", "id"].map(field), [uid, r#"{"text":"hello"}"#, "m-1"]);
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), entry.id);
    }
}
