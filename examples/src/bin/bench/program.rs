//! A program that was built beside this one, as it is shipped, started with flags. Ready before anybody gets it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gim_proxy_sdk::testing::Process;
use rustix::process::Signal;

use crate::machine::Cores;
use crate::post::Poster;
use crate::{Result, clock, process};

const START: Duration = Duration::from_secs(20);
/// Above `shutdown.deadline`, which is 30 s unless it is set.
const END: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);

pub(crate) struct Program {
    process: Process,
    /// The line of its log that says that it runs, and with which addresses.
    told: String,
    pub(crate) admin: SocketAddr,
}

impl Program {
    /// Starts one on the server's core, with its files in a new folder, and waits until it is ready. `runs` is what its
    /// log says then.
    pub(crate) fn start(name: &str, settings: &[&str], folder: &Path, runs: &str, cores: Cores) -> Result<Self> {
        let program = path(name)?;
        fs::create_dir_all(folder)?;
        let arguments = settings.iter().flat_map(|&setting| ["--set", setting]);
        // A child inherits the core of whoever starts it.
        process::pin(cores.server)?;
        let mut process = Process::start(&program, arguments, folder, name);
        process::pin(cores.client)?;
        let told = told(&mut process, name, &folder.join("log"), runs)?;
        let admin = field(&told, "admin=")?.parse()?;
        ready(name, admin)?;
        Ok(Self { process, told, admin })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it as an operator does, by SIGTERM, and waits until it has.
    pub(crate) fn end(mut self) -> Result<()> {
        let pid = self.pid();
        self.process.signal(Signal::TERM);
        let deadline = clock::deadline(END);
        while !self.process.has_ended() {
            if clock::now() > deadline {
                return Err(format!("process {pid} does not end").into());
            }
            clock::sleep(POLL);
        }
        match self.process.exit_code() {
            Some(0) => Ok(()),
            code => Err(format!("process {pid} ended with {code:?}, not with 0").into()),
        }
    }

    /// What it says about itself, such as `public=`.
    pub(crate) fn told(&self, key: &str) -> Result<String> {
        field(&self.told, key).map(str::to_owned)
    }
}

fn path(name: &str) -> Result<String> {
    let program: PathBuf = std::env::current_exe()?.with_file_name(name);
    match program.exists() {
        true => Ok(program.to_string_lossy().into_owned()),
        false => Err(format!("{} is missing: build it with the bench, as make bench does", program.display()).into()),
    }
}

fn told(process: &mut Process, name: &str, log: &Path, runs: &str) -> Result<String> {
    let deadline = clock::deadline(START);
    loop {
        let text = fs::read_to_string(log)?;
        if let Some(line) = text.lines().find(|line| line.contains(runs)) {
            return Ok(line.to_owned());
        }
        if process.has_ended() || clock::now() > deadline {
            return Err(format!("{name} did not start: {text}").into());
        }
        clock::sleep(POLL);
    }
}

fn field<'a>(line: &'a str, key: &str) -> Result<&'a str> {
    Ok(line.split(' ').find_map(|word| word.strip_prefix(key)).ok_or("no address")?)
}

fn ready(name: &str, admin: SocketAddr) -> Result<()> {
    let deadline = clock::deadline(START);
    let mut poster = Poster::connect(admin)?;
    while !poster.is_ready()? {
        if clock::now() > deadline {
            return Err(format!("{name} does not get ready").into());
        }
        clock::sleep(POLL);
    }
    Ok(())
}
