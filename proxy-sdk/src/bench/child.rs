//! A child process and the lines spoken with it: commands go in, one JSON value per line comes out.
//!
//! A child that is dropped is killed. A child whose standard input ends, ends.

use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::Value;

use super::{Result, clock};

/// See the module.
#[derive(Debug)]
pub struct Child {
    role: String,
    process: std::process::Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    heard: Vec<u8>,
}

impl Child {
    /// Starts this same binary in another role: the words of a hidden subcommand.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(role: &[&str], core: Option<usize>, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(role).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        let mut process = command.spawn()?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(Self { role: role.join(" "), process, stdin, stdout, heard: Vec::new() }),
            _ => Err("a child was started without pipes".into()),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Says one line to it.
    ///
    /// # Errors
    /// It is gone.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        self.write(format!("{line}\n").as_bytes())
    }

    /// Hands it whole lines at once.
    ///
    /// # Errors
    /// It is gone.
    pub fn write(&mut self, lines: &[u8]) -> Result<()> {
        self.stdin.write_all(lines)?;
        Ok(self.stdin.flush()?)
    }

    /// Waits for the child's next line.
    ///
    /// # Errors
    /// It says nothing in time, it ended, or what it says is no JSON.
    pub fn hear(&mut self, within: Duration) -> Result<Value> {
        let deadline = clock::deadline(within);
        let mut looked = 0;
        loop {
            if let Some(end) = self.heard[looked..].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=looked + end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            looked = self.heard.len();
            self.read(deadline)?;
        }
    }

    /// Reads what comes next, or nothing after an interruption.
    fn read(&mut self, deadline: u64) -> Result<()> {
        let mut wait = [PollFd::new(&self.stdout, PollFlags::IN)];
        match poll(&mut wait, Some(&clock::remaining(deadline))) {
            Ok(0) => return Err(format!("{}: no answer in time", self.role).into()),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut chunk = [0; 16_384];
        match self.stdout.read(&mut chunk)? {
            0 => Err(format!("{}: ended early, {}", self.role, self.process.wait()?).into()),
            count => {
                self.heard.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        // Reaped, so that its sockets are gone when the next child starts.
        let _ = self.process.wait();
    }
}

/// The child's side: lines from its parent, read when the event loop says that some are there.
#[derive(Debug, Default)]
pub struct Commands {
    rest: Vec<u8>,
}

impl Commands {
    /// Reads what is there. `None`: the parent is gone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&mut self) -> Result<Option<Vec<String>>> {
        let mut chunk = [0; 1_024];
        let count = rustix::io::read(std::io::stdin(), &mut chunk)?;
        if count == 0 {
            return Ok(None);
        }
        self.rest.extend_from_slice(&chunk[..count]);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim().to_owned());
        }
        Ok(Some(lines))
    }
}

/// Says one line to the parent. Standard output of a child is a pipe, which is not flushed by itself.
///
/// # Errors
/// The parent is gone.
pub fn say(line: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
