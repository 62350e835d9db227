//! One redis-server of a set: with TLS or without, as server or as sentinel.
//!
//! Owns its process, folder and port, and a way to give it commands that no privilege of a test's own user limits.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::process::Process;
use super::tls::Certificates;
use super::{DEADLINE, free_port, prefix};

const PACKAGE: &str = "redis-server";

/// What one is started with, made from its port and folder.
pub(super) type Arguments<'a> = &'a dyn Fn(u16, &Path) -> Vec<OsString>;

/// See the module. Killed, and its folder deleted, when dropped.
#[derive(Debug)]
pub(super) struct Instance {
    port: u16,
    folder: PathBuf,
    arguments: Vec<OsString>,
    tls: Option<Certificates>,
    process: Process,
    frozen: AtomicBool,
}

impl Instance {
    /// Starts one and waits until it answers.
    pub(super) async fn start(arguments: Arguments<'_>, tls: Option<&Certificates>) -> Self {
        let mut log = String::new();
        // Somebody else may take the port between the look and the start: then another one is tried.
        for _ in 0..10 {
            let folder = std::env::temp_dir().join(format!("gim-redis-{}", prefix()));
            std::fs::create_dir_all(&folder).expect("a folder");
            let port = free_port();
            let arguments = arguments(port, &folder);
            let process = Process::start("redis-server", &arguments, &folder, PACKAGE);
            let mut instance =
                Self { port, folder, arguments, tls: tls.cloned(), process, frozen: AtomicBool::new(false) };
            if instance.answers().await {
                return instance;
            }
            log = std::fs::read_to_string(instance.folder.join("log")).unwrap_or_default();
        }
        panic!("redis-server does not start: {log}")
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn stop(&mut self) {
        self.process.kill();
    }

    pub(super) async fn restart(&mut self) {
        self.process.kill();
        self.process = Process::start("redis-server", &self.arguments, &self.folder, PACKAGE);
        assert!(self.answers().await, "redis-server does not start again");
    }

    pub(super) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
        self.process.signal(Signal::STOP);
    }

    pub(super) fn thaw(&self) {
        self.process.signal(Signal::CONT);
        self.frozen.store(false, Ordering::Relaxed);
    }

    /// Runs a command and returns what redis-cli prints, errors too. Nothing if it is frozen.
    pub(super) async fn ask(&self, arguments: &[&str]) -> String {
        if self.frozen.load(Ordering::Relaxed) {
            return String::new();
        }
        let mut cli = tokio::process::Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]);
        if let Some(tls) = &self.tls {
            cli.args(tls.cli_arguments());
        }
        let answer = cli.args(arguments).output().await.expect("redis-cli; as root: apt-get install -y redis-server");
        String::from_utf8_lossy(&answer.stdout).trim_end().to_owned()
    }

    /// Runs a command that must not fail.
    pub(super) async fn tell(&self, arguments: &[&str]) -> String {
        let answer = self.ask(arguments).await;
        let failed = answer.split_whitespace().next().is_some_and(is_error);
        assert!(!failed, "{arguments:?} on {}: {answer}", self.port);
        answer
    }

    /// Waits until it answers. False: it ended instead.
    async fn answers(&mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if self.process.has_ended() {
                return false;
            }
            if self.ask(&["ping"]).await.contains("PONG") {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.process.kill();
        // What cannot be deleted stays in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Tells whether an answer begins like an error: with a word in capitals that is no answer.
fn is_error(word: &str) -> bool {
    word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase()) && !matches!(word, "PONG" | "QUEUED" | "NOKEY")
}

/// Arguments of a server that keeps nothing on disk, followed by others.
pub(super) fn server(port: u16, folder: &Path, tls: Option<&Certificates>, further: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = match tls {
        None => words(&["--port", &port.to_string()]),
        Some(tls) => tls.server_arguments(port),
    };
    arguments.extend(words(&["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "1", "--dir"]));
    arguments.push(folder.as_os_str().to_owned());
    arguments.extend(words(further));
    arguments
}

pub(super) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Asks again and again until the answer is the one that is waited for.
///
/// # Panics
/// It was not within the deadline; `what` says what was waited for.
pub(super) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE * 2;
    while !reached().await {
        assert!(Instant::now() < deadline, "not reached in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
