//! The sockets of a floor: taken, greeted, written to. One `send()` each, nothing is kept of what the kernel refuses.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

use crate::{Result, ws};

const LISTENER: u64 = 0;
const COMMANDS: u64 = 1;
const TIMER: u64 = 2;
const FIRST_CONNECTION: u64 = 3;

/// Whom an event is for.
pub(crate) enum Wakes {
    Listener,
    Commands,
    Timer,
    Connection(usize),
}

pub(crate) struct Sockets {
    pub(crate) epoll: OwnedFd,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    pub(crate) sent: u64,
    /// Sends that the kernel did not take in full.
    pub(crate) refused: u64,
}

struct Connection {
    socket: OwnedFd,
    /// The request head as far as it came; `None` once it was answered.
    head: Option<Vec<u8>>,
}

impl Sockets {
    pub(crate) fn bind() -> Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let readable = epoll::EventFlags::IN;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), readable)?;
        epoll::add(&epoll, std::io::stdin(), epoll::EventData::new_u64(COMMANDS), readable)?;
        Ok(Self { epoll, listener, connections: Vec::new(), sent: 0, refused: 0 })
    }

    pub(crate) fn watch_timer(&self, timer: &OwnedFd) -> Result<()> {
        Ok(epoll::add(&self.epoll, timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?)
    }

    pub(crate) fn address(&self) -> Result<String> {
        Ok(self.listener.local_addr()?.to_string())
    }

    pub(crate) fn accept(&mut self) -> Result<()> {
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
    pub(crate) fn read(&mut self, index: usize) {
        let Some(slot) = self.connections.get_mut(index) else { return };
        if slot.as_mut().is_some_and(|connection| !connection.read()) {
            *slot = None;
        }
    }

    pub(crate) fn send_to(&mut self, index: usize, frame: &[u8]) {
        let socket = self.connections.get(index).and_then(Option::as_ref);
        match socket.is_some_and(|connection| connection.send(frame)) {
            true => self.sent += 1,
            false => self.refused += 1,
        }
    }

    pub(crate) fn send_to_all(&mut self, frame: &[u8]) {
        for connection in self.connections.iter().flatten() {
            match connection.send(frame) {
                true => self.sent += 1,
                false => self.refused += 1,
            }
        }
    }
}

impl Wakes {
    pub(crate) fn of(event: u64) -> Self {
        match event {
            LISTENER => Self::Listener,
            COMMANDS => Self::Commands,
            TIMER => Self::Timer,
            connection => Self::Connection(usize::try_from(connection - FIRST_CONNECTION).unwrap_or(usize::MAX)),
        }
    }
}

impl Connection {
    /// False: the kernel did not take all of it.
    fn send(&self, frame: &[u8]) -> bool {
        send(&self.socket, frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) == Ok(frame.len())
    }

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
