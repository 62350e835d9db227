//! The load client: holds connections in one epoll loop, counts every frame and byte, and times every delivery.
//!
//! It never sends but what a client must (handshake, join, pong), and knows nothing of which server it talks to.

mod connection;
mod order;
mod tally;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use serde_json::json;

use self::connection::{Connection, Progress, Terms};
use self::tally::Tally;
use crate::args::Work;
use crate::child::{Child, Commands, say};
use crate::machine::Cores;
use crate::{Result, clock, events, process};

/// Logins under way at once: enough to keep a server busy, few enough for its accept queue.
const WINDOW: usize = 128;
/// How long all logins together may take. There may be 90,000, on a machine that others use, too.
const LOGIN_DEADLINE: Duration = Duration::from_secs(300);
/// How long to wait for what it says then.
pub(crate) const LOGIN: Duration = Duration::from_secs(310);
/// What is read at once, at most. A frame is smaller.
const READ: usize = 262_144;
/// What stands in for a connection in the event loop.
const COMMANDS: u64 = u64::MAX;

struct Load {
    epoll: OwnedFd,
    work: Work,
    /// Last byte of the source address 127.0.0.x: the next one is taken when the ports of one run out.
    source: u8,
    connections: Vec<Connection>,
    /// Those whose login is under way.
    opening: usize,
    /// Those that are in, and have not ended.
    ready: usize,
    /// The first thing that went wrong with a connection.
    trouble: Option<String>,
    buffer: Vec<u8>,
    tally: Tally,
}

/// Starts a load client, of one server or of several with commas between. What it says first is how many connections it holds, and what stopped it if not all.
pub(crate) fn start(server: &str, hold: usize, join: Option<&str>, cores: Cores) -> Result<Child> {
    start_from(0, server, hold, join, cores)
}

/// The same, for one of several load clients: its connections are numbered from `first` on.
pub(crate) fn start_from(first: usize, server: &str, hold: usize, join: Option<&str>, cores: Cores) -> Result<Child> {
    start_with(&[], first, server, hold, join, cores)
}

/// The same, for one that acknowledges what it gets.
pub(crate) fn start_acking(server: &str, hold: usize, join: Option<&str>, cores: Cores) -> Result<Child> {
    start_with(&["--ack"], 0, server, hold, join, cores)
}

fn start_with(
    flags: &[&str],
    first: usize,
    server: &str,
    hold: usize,
    join: Option<&str>,
    cores: Cores,
) -> Result<Child> {
    let (first, count) = (first.to_string(), hold.to_string());
    let mut arguments = ["--server", server, "--hold", &count, "--first", &first].map(str::to_owned).to_vec();
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    arguments.extend(join.iter().flat_map(|group| ["--join".to_owned(), (*group).to_owned()]));
    Child::start("load", cores.client, &arguments)
}

/// Waits until a load client has logged in. Tells how many connections it holds, one at least.
pub(crate) fn logged_in(load: &mut Child) -> Result<u64> {
    let login = load.hear(LOGIN)?;
    match login["connected"].as_u64().unwrap_or(0) {
        0 => Err(format!("nobody could connect: {}", login["trouble"]).into()),
        connected => Ok(connected),
    }
}

/// The child's main.
pub(crate) fn run(work: &Work) -> Result<()> {
    process::end_with_parent()?;
    process::pin(work.place.core)?;
    let mut load = Load::new(work)?;
    load.log_in()?;
    say(&json!({ "connected": load.ready, "trouble": load.trouble }))?;
    load.serve()
}

impl Load {
    fn new(work: &Work) -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            work: work.clone(),
            source: 1,
            connections: Vec::with_capacity(work.hold),
            opening: 0,
            ready: 0,
            trouble: None,
            buffer: vec![0; READ],
            tally: Tally::default(),
        })
    }

    /// Opens connections, [`WINDOW`] at a time, until all are there or one could not be opened. Those on their way
    /// then are waited for.
    fn log_in(&mut self) -> Result<()> {
        let deadline = clock::deadline(LOGIN_DEADLINE);
        let mut events = Vec::with_capacity(WINDOW);
        while clock::now() < deadline {
            while self.trouble.is_none() && self.connections.len() < self.work.hold && self.opening < WINDOW {
                if let Err(error) = self.open() {
                    self.trouble = Some(error.to_string());
                }
            }
            if self.opening == 0 {
                break;
            }
            events::wait(&self.epoll, &mut events, Some(deadline))?;
            for event in events.drain(..) {
                self.read(event.data.u64());
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let index = self.connections.len();
        let number = self.work.first + index;
        let server = self.work.server[index % self.work.server.len()];
        let socket = self.connect(&server)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        // `{}` in the name of a group stands for the number of the connection.
        let join = self.work.join.iter().map(|group| group.replace("{}", &number.to_string())).collect();
        let terms = Terms { join, acks: self.work.ack };
        self.connections.push(Connection::start(socket, number, server, terms)?);
        self.opening += 1;
        Ok(())
    }

    fn connect(&mut self, server: &SocketAddr) -> Result<OwnedFd> {
        loop {
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            if self.source > 1 {
                bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, self.source), 0))?;
            }
            match connect(&socket, server).map_err(std::io::Error::from) {
                Ok(()) => return Ok(socket),
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable && self.source < 250 => self.source += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Counts and answers until the parent goes.
    fn serve(&mut self) -> Result<()> {
        let commands_here = epoll::EventData::new_u64(COMMANDS);
        epoll::add(&self.epoll, std::io::stdin(), commands_here, epoll::EventFlags::IN)?;
        let mut commands = Commands::default();
        let mut events = Vec::with_capacity(1_024);
        loop {
            events::wait(&self.epoll, &mut events, self.tally.deadline())?;
            for event in events.drain(..) {
                match event.data.u64() {
                    COMMANDS => match commands.read()? {
                        Some(lines) => lines.iter().try_for_each(|line| self.tally.expect(line))?,
                        None => return Ok(()),
                    },
                    connection => self.read(connection),
                }
            }
            if let Some(report) = self.tally.finished() {
                say(&report)?;
            }
        }
    }

    fn read(&mut self, event: u64) {
        let Some(connection) = usize::try_from(event).ok().and_then(|index| self.connections.get_mut(index)) else {
            return;
        };
        match connection.read(&mut self.buffer, &mut self.tally) {
            Ok(Progress::Waits) => {}
            Ok(Progress::BecameReady) => {
                self.opening -= 1;
                self.ready += 1;
            }
            Err(error) => {
                // A socket with an error stays readable: without this it would be reported forever.
                let _ = epoll::delete(&self.epoll, connection.socket());
                match connection.is_ready() {
                    true => self.ready -= 1,
                    false => self.opening -= 1,
                }
                self.tally.ended += 1;
                self.trouble.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// The uid of connection `number`.
pub(crate) fn uid(number: usize) -> String {
    format!("bench-{number:06}")
}

/// The path and query of connection `number`: its own uid, text frames.
fn target(number: usize, server: SocketAddr) -> String {
    format!("GET /ws?uid={}&msg_code=1 HTTP/1.1\r\nHost: {server}\r\n", uid(number))
}
