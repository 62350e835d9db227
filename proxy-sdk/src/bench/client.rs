//! A load client: a process that holds connections in one epoll loop, counts every frame and byte, and times every
//! delivery.
//!
//! It never sends but what a client must (handshake, join, pong, acknowledgement), and knows nothing of which server it
//! talks to. Its parent tells it when a turn begins and ends, and may have it cut connections, which come back by
//! themselves. [`Clients`] is the parent's side.

mod clients;
mod connection;
mod order;
mod sockets;
mod tally;
mod work;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll;
use serde_json::json;

use self::connection::{Connection, Progress};
use self::sockets::Sockets;
use self::tally::{Tally, busy_between, moment};
use super::child::{Commands, say};
use super::report::Logins;
use super::{Result, clock, events, process};

pub use self::clients::{Clients, Count};
pub use self::work::Work;

/// How long all logins together may take.
const LOGINS: Duration = Duration::from_secs(300);
/// How long a client waits before it comes back after a cut, at most: up to this, by chance.
const COMES_BACK: u64 = 100_000_000;
const SECOND: u64 = 1_000_000_000;
/// What is read at once, at most. A frame is smaller.
const READ: usize = 262_144;
/// What stands in for a connection in the event loop.
const COMMANDS: u64 = u64::MAX;

struct Client {
    epoll: OwnedFd,
    work: Work,
    sockets: Sockets,
    connections: Vec<Connection>,
    /// Who sets out when. None of them has a socket.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// Those whose login is under way.
    opening: usize,
    /// Those that are in, and have not ended.
    ready: usize,
    logins: Logins,
    cuts: Option<Cuts>,
    buffer: Vec<u8>,
    tally: Tally,
}

/// Whose turn it is to be cut, and when the next one is.
struct Cuts {
    next: u64,
    every: u64,
    turn: usize,
}

/// Does what a load client does until its parent goes.
///
/// # Errors
/// The kernel's, or a command that is none.
pub fn run(work: &Work) -> Result<()> {
    process::end_with_parent()?;
    process::raise_open_files()?;
    process::pin(work.core)?;
    let mut client = Client::new(work)?;
    client.log_in()?;
    say(&serde_json::to_value(&client.logins)?)?;
    client.serve()
}

impl Client {
    fn new(work: &Work) -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sockets: Sockets::new(&work.url)?,
            work: work.clone(),
            connections: Vec::with_capacity(work.hold),
            waiting: BinaryHeap::new(),
            opening: 0,
            ready: 0,
            logins: Logins::default(),
            cuts: None,
            buffer: vec![0; READ],
            tally: Tally::default(),
        })
    }

    /// Opens connections, as many at a time as the window says, until all are there or one could not be opened. Those on
    /// their way then are waited for.
    fn log_in(&mut self) -> Result<()> {
        let began = moment();
        let deadline = clock::deadline(LOGINS);
        let mut events = Vec::with_capacity(1_024);
        while clock::now() < deadline {
            while self.logins.trouble.is_none()
                && self.connections.len() < self.work.hold
                && self.opening + self.waiting.len() < self.work.window.max(1)
            {
                let index = self.connections.len();
                self.connections.push(Connection::new(self.work.first + index));
                self.set_out(index);
            }
            if self.opening == 0 && self.waiting.is_empty() {
                break;
            }
            self.step(&mut events, Some(deadline))?;
        }
        if self.ready < self.work.hold {
            self.logins.trouble.get_or_insert_with(|| "not all were in after five minutes".to_owned());
        }
        self.logins.connected = self.ready as u64;
        self.logins.seconds = clock::now().saturating_sub(began.0) as f64 / 1e9;
        self.logins.busy = busy_between(began, moment());
        Ok(())
    }

    /// Waits for something to happen, and does what it asks for. True: the parent has something to say.
    fn step(&mut self, events: &mut Vec<epoll::Event>, deadline: Option<u64>) -> Result<bool> {
        let next_out = self.waiting.peek().map(|Reverse((moment, _))| *moment);
        let next_cut = self.cuts.as_ref().map(|cuts| cuts.next);
        events::wait(&self.epoll, events, [deadline, next_out, next_cut].into_iter().flatten().min())?;
        let began = clock::now();
        let mut has_commands = false;
        for event in events.drain(..) {
            match event.data.u64() {
                COMMANDS => has_commands = true,
                connection => self.turn_to(connection),
            }
        }
        self.on_time(began);
        self.tally.step(began);
        Ok(has_commands)
    }

    /// Does what is due by the clock.
    fn on_time(&mut self, now: u64) {
        while let Some(&Reverse((moment, index))) = self.waiting.peek()
            && moment <= now
        {
            self.waiting.pop();
            self.set_out(index);
        }
        if let Some(cuts) = &mut self.cuts
            && cuts.next <= now
        {
            let index = cuts.turn % self.connections.len().max(1);
            cuts.turn += 1;
            // What could not be done in time is not made up for: cuts are no load to be measured by.
            cuts.next = now.max(cuts.next) + cuts.every;
            self.cut(index, now);
        }
    }

    /// Cuts a connection as a network does: without a word.
    fn cut(&mut self, index: usize, now: u64) {
        let Some(connection) = self.connections.get_mut(index).filter(|connection| connection.is_ready()) else {
            return;
        };
        connection.cut();
        self.ready -= 1;
        self.tally.counted.cut += 1;
        self.waiting.push(Reverse((now + clock::jitter(COMES_BACK), index)));
    }

    fn set_out(&mut self, index: usize) {
        self.opening += 1;
        if let Err(error) = self.open(index) {
            self.lost(index, &*error);
        }
    }

    fn open(&mut self, index: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let socket = self.sockets.connect(connection.number)?;
        // Writable is what it becomes when it is connected.
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::OUT)?;
        connection.set_out(socket);
        Ok(())
    }

    /// Counts and answers until the parent goes.
    fn serve(&mut self) -> Result<()> {
        let commands_here = epoll::EventData::new_u64(COMMANDS);
        epoll::add(&self.epoll, std::io::stdin(), commands_here, epoll::EventFlags::IN)?;
        let mut commands = Commands::default();
        let mut events = Vec::with_capacity(1_024);
        loop {
            if self.step(&mut events, None)? {
                match commands.read()? {
                    Some(lines) => lines.iter().try_for_each(|line| self.obey(line))?,
                    None => return Ok(()),
                }
            }
        }
    }

    /// `begin`, `count`, `end`, `cut <every so many nanoseconds>`, `spare`.
    fn obey(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["begin"] => {
                self.tally.begin();
                say(&json!({}))
            }
            ["count"] => {
                let arrived = self.tally.arrived();
                say(&json!({ "arrived": arrived, "ended": self.tally.counted.ended, "ready": self.ready }))
            }
            ["end"] => {
                let mut report = self.tally.end();
                report.trouble = self.logins.trouble.take();
                say(&serde_json::to_value(&report)?)
            }
            ["cut", every] => {
                let every: u64 = every.parse()?;
                self.cuts = Some(Cuts { next: clock::now() + every, every, turn: 0 });
                say(&json!({}))
            }
            ["spare"] => {
                self.cuts = None;
                say(&json!({}))
            }
            _ => Err(format!("the load client does not know {line:?}").into()),
        }
    }

    /// Something happened at a connection.
    fn turn_to(&mut self, event: u64) {
        let Ok(index) = usize::try_from(event) else { return };
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.is_connecting() {
            let connected = connection.connected(&self.work).and_then(|()| self.listen(index));
            if let Err(error) = connected {
                self.lost(index, &*error);
            }
            return;
        }
        match connection.read(&mut self.buffer, &mut self.tally, &self.work) {
            Ok(Progress::Waits) => {}
            Ok(Progress::BecameReady) => {
                self.opening -= 1;
                self.ready += 1;
                self.logins.latency.record(clock::now().saturating_sub(connection.began) / 1_000);
            }
            Ok(Progress::PutOff(seconds)) => {
                connection.cut();
                self.opening -= 1;
                self.logins.put_off += 1;
                // Spread over a second more: those put off together should not come back together.
                self.waiting.push(Reverse((clock::now() + seconds * SECOND + clock::jitter(SECOND), index)));
            }
            Err(error) => self.lost(index, &*error),
        }
    }

    /// From now on it reads.
    fn listen(&self, index: usize) -> Result<()> {
        if let Some(socket) = self.connections.get(index).and_then(Connection::socket) {
            epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// A connection is over, though nobody here wanted that.
    fn lost(&mut self, index: usize, error: &(dyn std::error::Error + Send + Sync)) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        match connection.is_ready() {
            true => self.ready -= 1,
            false => self.opening -= 1,
        }
        connection.cut();
        self.tally.counted.ended += 1;
        self.logins.trouble.get_or_insert_with(|| error.to_string());
    }
}
