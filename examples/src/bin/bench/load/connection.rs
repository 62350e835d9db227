//! One connection of the load client: from the handshake to the frames.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::order::{Order, Placed};
use super::tally::Tally;
use crate::{Result, clock, message, ws};

pub(super) struct Connection {
    socket: OwnedFd,
    phase: Phase,
    /// The groups it has still to join, the next one last.
    join: Vec<String>,
    /// What came, of each series.
    order: Vec<Order>,
    /// Acknowledges what it gets.
    acks: bool,
    /// The highest offset read and not acknowledged. 0: none.
    read: u64,
    /// Bytes of a frame, or of the response head, whose end has not come yet. Empty nearly always.
    rest: Vec<u8>,
}

#[derive(PartialEq)]
enum Phase {
    Handshake,
    Joining,
    Ready,
}

/// What a connection does once it is in.
pub(super) struct Terms {
    /// The groups it joins.
    pub(super) join: Vec<String>,
    /// It acknowledges what it gets.
    pub(super) acks: bool,
}

pub(super) enum Progress {
    Waits,
    BecameReady,
}

impl Connection {
    /// Sends the handshake.
    pub(super) fn start(socket: OwnedFd, number: usize, server: SocketAddr, terms: Terms) -> Result<Self> {
        let request = format!(
            "{}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
            super::target(number, server),
            ws::KEY
        );
        let Terms { join, acks } = terms;
        let phase = Phase::Handshake;
        let connection = Self { socket, phase, join, order: Vec::new(), acks, read: 0, rest: Vec::new() };
        connection.send(request.as_bytes())?;
        Ok(connection)
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// It is in, with its group if it has one.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Reads once. Further bytes make the event loop call again.
    pub(super) fn read(&mut self, buffer: &mut [u8], tally: &mut Tally) -> Result<Progress> {
        // What came of a frame stands in front of what comes now.
        let rest = self.rest.len();
        let Some(free) = buffer.get_mut(rest..).filter(|free| !free.is_empty()) else {
            return Err("a frame is larger than what is read at once".into());
        };
        let count = match recv(&self.socket, free, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err("the server closed a connection".into()),
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => return Ok(Progress::Waits),
            Err(error) => return Err(error.into()),
        };
        tally.bytes += count as u64;
        let arrived = clock::now();
        let was_ready = self.is_ready();
        buffer[..rest].copy_from_slice(&self.rest);
        let all = &buffer[..rest + count];
        let used = self.take(all, arrived, tally)?;
        self.rest.clear();
        self.rest.extend_from_slice(&all[used..]);
        self.acknowledge()?;
        Ok(if self.is_ready() && !was_ready { Progress::BecameReady } else { Progress::Waits })
    }

    /// Takes what is complete and returns how many bytes that was.
    fn take(&mut self, bytes: &[u8], arrived: u64, tally: &mut Tally) -> Result<usize> {
        let mut used = 0;
        if self.phase == Phase::Handshake {
            let Some(end) = ws::head_end(bytes) else { return Ok(0) };
            self.upgraded(&bytes[..end])?;
            used = end;
        }
        while let Some(frame) = ws::first_frame(&bytes[used..]) {
            self.frame(&frame, arrived, tally)?;
            used += frame.size;
        }
        Ok(used)
    }

    fn upgraded(&mut self, head: &[u8]) -> Result<()> {
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let status = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
            return Err(format!("the server answered {:?}", String::from_utf8_lossy(status)).into());
        }
        self.join()
    }

    /// Joins the next group. There is none: it is in.
    fn join(&mut self) -> Result<()> {
        let Some(group) = self.join.pop() else {
            self.phase = Phase::Ready;
            return Ok(());
        };
        self.phase = Phase::Joining;
        let command = format!(r#"{{"seq":"join","cmd":"gim.join","data":{{"tgid":"{group}"}}}}"#);
        self.send(&ws::client_frame(ws::TEXT, command.as_bytes()))
    }

    fn frame(&mut self, frame: &ws::Frame<'_>, arrived: u64, tally: &mut Tally) -> Result<()> {
        match frame.opcode {
            ws::PING => return self.send(&ws::client_frame(ws::PONG, frame.payload)),
            ws::CLOSE => return Err("the server closed a connection".into()),
            _ => {}
        }
        if let Some(stamp) = tally.stamps.find(frame.payload) {
            tally.delivered(stamp.due, arrived, frame.size);
            tally.place(self.place(stamp)?);
            if self.acks {
                self.read = message::offset_in(frame.payload).unwrap_or(self.read);
            }
        } else if self.phase == Phase::Joining && frame.payload.starts_with(br#"{"seq":"join""#) {
            if !frame.payload.windows(6).any(|window| window == br#""s":1,"#) {
                return Err(format!("the join was refused: {}", String::from_utf8_lossy(frame.payload)).into());
            }
            return self.join();
        } else {
            tally.other += 1;
        }
        Ok(())
    }

    /// Tells where a message comes among those of its series.
    fn place(&mut self, stamp: message::Stamp) -> Result<Placed> {
        if self.order.len() <= stamp.series {
            self.order.resize_with(stamp.series + 1, Order::default);
        }
        self.order[stamp.series].take(stamp.number)
    }

    /// One acknowledgement for all that one read brought.
    fn acknowledge(&mut self) -> Result<()> {
        match std::mem::take(&mut self.read) {
            0 => Ok(()),
            offset => {
                let command = format!(r#"{{"seq":"","cmd":"gim.ack","data":{{"offset":{offset}}}}}"#);
                self.send(&ws::client_frame(ws::TEXT, command.as_bytes()))
            }
        }
    }

    /// Everything sent here is a few bytes on an idle socket: the kernel takes it whole or something is wrong.
    fn send(&self, bytes: &[u8]) -> Result<()> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL)? {
            count if count == bytes.len() => Ok(()),
            _ => Err("a socket took only a part of a few bytes".into()),
        }
    }
}
