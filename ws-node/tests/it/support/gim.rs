//! The operators' command `gim`, run within the test's own process, or as the program it is.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use gim_proxy_sdk::cli::{DONE, run};
use serde_json::Value;

use super::node::TestNode;
use super::{beside, within};

/// How long the program may take where it measures for seconds.
const MEASURES: Duration = Duration::from_secs(120);

/// What one run of `gim` came to.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: u8,
    out: String,
    err: String,
}

impl Output {
    /// What a run that did what it should has said, without the last line feed.
    #[track_caller]
    pub(crate) fn expect_done(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (DONE, ""), "{self:?}");
        self.out.strip_suffix('\n').expect("a line ends")
    }

    /// What a run that did not has said, after its name.
    #[track_caller]
    pub(crate) fn expect_failed(&self, code: u8) -> &str {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:?}");
        let text = self.err.strip_suffix('\n').expect("a line ends");
        assert!(!text.contains('\n'), "more than a line: {text}");
        text.strip_prefix("gim: ").expect("the program is named")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.err, "", "{self:?}");
        serde_json::from_str(&self.out).expect("JSON")
    }

    /// What it printed, beside lines that say how it goes.
    #[track_caller]
    pub(crate) fn figures(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("JSON in {self:?}"))
    }

    /// The same as a table.
    pub(crate) fn table(&self) -> &str {
        &self.out
    }

    /// The same of a run that did what it should.
    #[track_caller]
    pub(crate) fn expect_table(&self) -> &str {
        assert_eq!(self.code, DONE, "{self:?}");
        &self.out
    }

    /// Lines of a table, their words.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Vec<&str>> {
        self.expect_done().lines().map(|line| line.split_whitespace().collect()).collect()
    }
}

/// Runs `gim` with the words of a line, asking this node.
pub(crate) async fn gim(node: &TestNode, line: &str) -> Output {
    gim_at(node.rpc, &line.split_whitespace().collect::<Vec<_>>()).await
}

/// The same with arguments that contain spaces, at any address.
pub(crate) async fn gim_at(addr: SocketAddr, arguments: &[&str]) -> Output {
    let node = format!("http://{addr}");
    // Before a subcommand the flag works as well as after it.
    let before = ["gim", "--node", &node, "--timeout", "10s"];
    let arguments = before.iter().chain(arguments).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = within("gim to end", run(arguments, &mut out, &mut err)).await;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Output { code, out: text(out), err: text(err) }
}

/// Runs the program with the words of a line: what starts itself again as a child cannot be run within this process.
pub(crate) async fn program(line: &str) -> Output {
    let mut command = tokio::process::Command::new(built());
    command.args(line.split_whitespace()).kill_on_drop(true);
    let ended = tokio::time::timeout(MEASURES, command.output()).await.expect("gim ends").expect("gim runs");
    let code = ended.status.code().and_then(|code| u8::try_from(code).ok()).expect("an exit code");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Output { code, out: text(ended.stdout), err: text(ended.stderr) }
}

/// The program itself.
fn built() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| beside::program("gim", &["proto", "proxy-sdk"]))
}
