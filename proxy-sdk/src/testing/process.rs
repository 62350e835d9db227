//! A child process that outlives neither its handle nor this process.
//!
//! Owns the child and its watch: a shell that reads from a pipe this process holds. However this process ends, the pipe
//! closes, and the shell kills the child and deletes its folder.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    watch: Child,
}

const WATCH: &str = r#"read -r _; kill -9 "$0" 2>/dev/null; rm -rf "$1""#;

impl Process {
    /// Starts a program that keeps its files, and the file `log` with its output, in a folder.
    ///
    /// # Panics
    /// The program is not there; `package` is the Debian package that has it.
    pub fn start<A: AsRef<OsStr>>(
        program: &str,
        arguments: impl IntoIterator<Item = A>,
        folder: &Path,
        package: &str,
    ) -> Self {
        let log = std::fs::File::create(folder.join("log")).expect("a log file");
        let errors = log.try_clone().expect("the same file");
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        match child {
            Ok(child) => Self { watch: watch(child.id(), folder), child },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                panic!("{program} is not installed; as root: apt-get install -y {package}")
            }
            Err(error) => panic!("{program} does not start: {error}"),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process runs");
    }

    /// Tells whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Tells with which code it ended. None: it runs, or a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().expect("a child").and_then(|status| status.code())
    }

    /// Ends it at once and waits until it is gone.
    pub fn kill(&mut self) {
        // First the watch: the process id may be somebody else's afterwards. An error means that it has ended by itself.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch(pid: u32, folder: &Path) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", WATCH, &pid.to_string()]).arg(folder);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell")
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
