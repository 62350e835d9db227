//! The floor: one thread, epoll, one `send()` of pre-encoded bytes per socket. No runtime, no routing, no queue.
//!
//! Owns no rule of the project. Whatever a node does per delivery beyond this is what the ratio shows.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use rustix::time::{timerfd_create, timerfd_settime};
use serde_json::json;

use crate::args::Place;
use crate::child::{Commands, say};
use crate::{Result, clock, events, message, process, ws};

const LISTENER: u64 = 0;
const COMMANDS: u64 = 1;
const TIMER: u64 = 2;
const FIRST_CONNECTION: u64 = 3;

struct Floor {
    epoll: OwnedFd,
    listener: TcpListener,
    timer: OwnedFd,
    connections: Vec<Option<Connection>>,
    plan: Plan,
}

struct Connection {
    socket: OwnedFd,
    /// The request head as far as it came; `None` once it was answered.
    head: Option<Vec<u8>>,
}

/// What is left to send, and when.
#[derive(Default)]
struct Plan {
    left: u64,
    next: u64,
    interval: u64,
    payload: usize,
    sent: u64,
    /// Sends that the kernel did not take in full.
    refused: u64,
}

pub(crate) fn serve(place: &Place) -> Result<()> {
    process::end_with_parent()?;
    process::pin(place.core)?;
    let mut floor = Floor::bind()?;
    say(&json!({ "address": floor.listener.local_addr()?.to_string() }))?;
    let mut commands = Commands::default();
    let mut events = Vec::with_capacity(1_024);
    loop {
        events::wait(&floor.epoll, &mut events, None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                LISTENER => floor.accept()?,
                TIMER => floor.tick()?,
                COMMANDS => match commands.read()? {
                    Some(lines) => lines.iter().try_for_each(|line| floor.obey(line))?,
                    None => return Ok(()),
                },
                connection => floor.read(connection),
            }
        }
    }
}

impl Floor {
    fn bind() -> Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let readable = epoll::EventFlags::IN;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), readable)?;
        epoll::add(&epoll, std::io::stdin(), epoll::EventData::new_u64(COMMANDS), readable)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), readable)?;
        Ok(Self { epoll, listener, timer, connections: Vec::new(), plan: Plan::default() })
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let socket = match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            sockopt::set_tcp_nodelay(&socket, true)?;
            let data = epoll::EventData::new_u64(FIRST_CONNECTION + self.connections.len() as u64);
            epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
            self.connections.push(Some(Connection { socket, head: Some(Vec::new()) }));
        }
    }

    /// Answers the handshake. What comes after it is read and thrown away.
    fn read(&mut self, event: u64) {
        let Ok(index) = usize::try_from(event - FIRST_CONNECTION) else { return };
        let Some(slot) = self.connections.get_mut(index) else { return };
        if slot.as_mut().is_some_and(|connection| !connection.read()) {
            *slot = None;
        }
    }

    /// `send <messages> <per second> <payload bytes>`
    fn obey(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["send", messages, rate, payload] = words[..] else {
            return Err(format!("the floor does not know {line:?}").into());
        };
        let interval = clock::interval(rate.parse()?);
        let next = clock::now() + interval;
        self.plan = Plan { left: messages.parse()?, next, interval, payload: payload.parse()?, ..Plan::default() };
        self.arm(next, interval)
    }

    fn arm(&self, first: u64, interval: u64) -> Result<()> {
        let times = Itimerspec { it_interval: clock::timespec(interval), it_value: clock::timespec(first) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &times)?;
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        let mut expirations = [0; 8];
        match rustix::io::read(&self.timer, &mut expirations) {
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for _ in 0..u64::from_ne_bytes(expirations).min(self.plan.left) {
            self.send();
        }
        if self.plan.left == 0 {
            self.arm(0, 0)?;
            say(&json!({ "sent": self.plan.sent, "refused": self.plan.refused }))?;
        }
        Ok(())
    }

    /// The loop that everything is compared with.
    fn send(&mut self) {
        let plan = &mut self.plan;
        // Stamped with the time it was due, so that lateness of this loop counts as latency.
        let frame = ws::server_frame(ws::TEXT, message::envelope(plan.next, plan.payload).as_bytes());
        plan.next += plan.interval;
        plan.left -= 1;
        for connection in self.connections.iter().flatten() {
            match send(&connection.socket, &frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) if count == frame.len() => plan.sent += 1,
                _ => plan.refused += 1,
            }
        }
    }
}

impl Connection {
    /// False: the connection is over.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 2_048];
        let count = match recv(&self.socket, &mut chunk, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return false,
            Ok((count, _)) => count,
            Err(error) => return error == Errno::AGAIN,
        };
        let Some(head) = &mut self.head else { return true };
        head.extend_from_slice(&chunk[..count]);
        if ws::head_end(head).is_none() {
            return head.len() < 8_192;
        }
        self.head = None;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            ws::ACCEPT
        );
        send(&self.socket, answer.as_bytes(), SendFlags::NOSIGNAL).is_ok_and(|count| count == answer.len())
    }
}
