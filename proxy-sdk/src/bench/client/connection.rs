//! One connection of a load client: from the handshake to the frames, and again after a cut.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

use super::Work;
use super::order::{Order, Placed};
use super::tally::Tally;
use crate::bench::{Result, clock, message, ws};

/// The bytes of an answer's head, at most.
const LONGEST_HEAD: usize = 8_192;

pub(super) struct Connection {
    /// None: it was cut, or has to come back later.
    socket: Option<OwnedFd>,
    phase: Phase,
    /// Its place among the connections of all load clients.
    pub(super) number: usize,
    /// When it first set out.
    pub(super) began: u64,
    /// The groups joined so far.
    joined: usize,
    /// What came, of each series.
    order: Vec<Order>,
    mailbox: Mailbox,
    /// Bytes of a frame, or of the response head, whose end has not come yet. Empty nearly always.
    rest: Vec<u8>,
}

/// How far it has its durable messages.
#[derive(Default)]
struct Mailbox {
    epoch: u64,
    /// The highest offset read.
    offset: u64,
    /// It was read and not acknowledged.
    is_owed: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Connecting,
    Handshake,
    Joining,
    Ready,
}

pub(super) enum Progress {
    Waits,
    BecameReady,
    /// The server said to come back after so many seconds.
    PutOff(u64),
}

impl Connection {
    pub(super) fn new(number: usize) -> Self {
        Self {
            socket: None,
            phase: Phase::Connecting,
            number,
            began: clock::now(),
            joined: 0,
            order: Vec::new(),
            mailbox: Mailbox::default(),
            rest: Vec::new(),
        }
    }

    /// Begins with a socket whose connection is being made.
    pub(super) fn set_out(&mut self, socket: OwnedFd) {
        self.socket = Some(socket);
        self.phase = Phase::Connecting;
        self.joined = 0;
        self.rest.clear();
    }

    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// It is in, with its groups if it has some.
    pub(super) fn is_ready(&self) -> bool {
        self.socket.is_some() && self.phase == Phase::Ready
    }

    /// Its connection is being made.
    pub(super) fn is_connecting(&self) -> bool {
        self.socket.is_some() && self.phase == Phase::Connecting
    }

    /// Closes it.
    pub(super) fn cut(&mut self) {
        self.socket = None;
        self.phase = Phase::Connecting;
    }

    /// The connection is made, or could not be: sends the handshake.
    pub(super) fn connected(&mut self, work: &Work) -> Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        sockopt::socket_error(socket)??;
        let url = work.url_of(self.number)?;
        let Mailbox { epoch, offset, .. } = self.mailbox;
        // Whoever comes back says what it has: nothing of that is sent again.
        let further = if epoch > 0 { format!("epoch={epoch}&offset={offset}") } else { String::new() };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {}\r\n\r\n",
            url.target(&work.uid(self.number), &further),
            url.host,
            ws::KEY
        );
        self.phase = Phase::Handshake;
        self.send(request.as_bytes())
    }

    /// Reads once. Further bytes make the event loop call again.
    pub(super) fn read(&mut self, buffer: &mut [u8], tally: &mut Tally, work: &Work) -> Result<Progress> {
        let Some(socket) = &self.socket else { return Ok(Progress::Waits) };
        // What came of a frame stands in front of what comes now.
        let rest = self.rest.len();
        let Some(free) = buffer.get_mut(rest..).filter(|free| !free.is_empty()) else {
            return Err("a frame is larger than what is read at once".into());
        };
        let count = match recv(socket, free, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err("the server closed a connection".into()),
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => return Ok(Progress::Waits),
            Err(error) => return Err(error.into()),
        };
        tally.counted.bytes += count as u64;
        buffer[..rest].copy_from_slice(&self.rest);
        let all = &buffer[..rest + count];
        let was_ready = self.is_ready();
        let mut used = 0;
        if self.phase == Phase::Handshake {
            match ws::head_end(all) {
                None if all.len() > LONGEST_HEAD => return Err("the server answers with an endless head".into()),
                None => {}
                Some(end) => match later(&all[..end])? {
                    Some(seconds) => return Ok(Progress::PutOff(seconds)),
                    None => {
                        used = end;
                        self.join(work)?;
                    }
                },
            }
        }
        if self.phase != Phase::Handshake {
            used += self.take(&all[used..], tally, work)?;
        }
        self.rest.clear();
        self.rest.extend_from_slice(&all[used..]);
        if work.ack {
            self.acknowledge()?;
        }
        Ok(if self.is_ready() && !was_ready { Progress::BecameReady } else { Progress::Waits })
    }

    /// Takes frames that are complete and returns how many bytes that was.
    fn take(&mut self, bytes: &[u8], tally: &mut Tally, work: &Work) -> Result<usize> {
        let arrived = clock::now();
        let mut used = 0;
        while let Some(frame) = ws::first_frame(&bytes[used..]) {
            self.frame(&frame, arrived, tally, work)?;
            used += frame.size;
        }
        Ok(used)
    }

    /// Joins the next group. There is none: it is in.
    fn join(&mut self, work: &Work) -> Result<()> {
        let Some(group) = work.join.get(self.joined) else {
            self.phase = Phase::Ready;
            return Ok(());
        };
        self.phase = Phase::Joining;
        // `{}` in the name of a group stands for the number of the connection.
        let group = serde_json::Value::from(group.replace("{}", &self.number.to_string()));
        let command = format!(r#"{{"seq":"join","cmd":"gim.join","data":{{"tgid":{group}}}}}"#);
        self.send(&ws::client_frame(ws::TEXT, command.as_bytes()))
    }

    fn frame(&mut self, frame: &ws::Frame<'_>, arrived: u64, tally: &mut Tally, work: &Work) -> Result<()> {
        match frame.opcode {
            ws::PING => return self.send(&ws::client_frame(ws::PONG, frame.payload)),
            ws::CLOSE => {
                let code = frame.payload.get(..2).and_then(|code| code.try_into().ok()).map(u16::from_be_bytes);
                return Err(format!("the server closed a connection with code {}", code.unwrap_or(1005)).into());
            }
            _ => {}
        }
        if let Some(stamp) = tally.stamps.find(frame.payload) {
            tally.delivered(stamp.due, arrived, frame.size);
            tally.place(self.place(stamp)?);
            if work.ack
                && let Some(offset) = message::offset_in(frame.payload)
            {
                self.mailbox.offset = offset;
                self.mailbox.is_owed = true;
            }
        } else if self.phase == Phase::Joining && frame.payload.starts_with(br#"{"seq":"join""#) {
            if !frame.payload.windows(6).any(|window| window == br#""s":1,"#) {
                return Err(format!("the join was refused: {}", String::from_utf8_lossy(frame.payload)).into());
            }
            self.joined += 1;
            return self.join(work);
        } else {
            if work.ack && frame.payload.windows(11).any(|window| window == b"gim.welcome") {
                self.mailbox.epoch = message::epoch_in(frame.payload).unwrap_or(0);
            }
            tally.counted.other += 1;
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
        if !std::mem::take(&mut self.mailbox.is_owed) {
            return Ok(());
        }
        let command = format!(r#"{{"seq":"","cmd":"gim.ack","data":{{"offset":{}}}}}"#, self.mailbox.offset);
        self.send(&ws::client_frame(ws::TEXT, command.as_bytes()))
    }

    /// Everything sent here is a few bytes on an idle socket: the kernel takes it whole or something is wrong.
    fn send(&self, bytes: &[u8]) -> Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        match send(socket, bytes, SendFlags::NOSIGNAL)? {
            count if count == bytes.len() => Ok(()),
            _ => Err("a socket took only a part of a few bytes".into()),
        }
    }
}

/// Reads the head of an answer: seconds after which to come back, or nothing where the handshake is done.
fn later(head: &[u8]) -> Result<Option<u64>> {
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    let after = lines.find_map(|line| line.strip_prefix("retry-after:")?.trim().parse().ok());
    match (status.get(9..12), after) {
        (Some("503" | "429"), Some(seconds)) => Ok(Some(seconds)),
        _ => Err(format!("the server answered {status:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_to_come_back() {
        assert_eq!(later(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap(), None);
        assert_eq!(later(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n").unwrap(), Some(3));
        assert_eq!(later(b"HTTP/1.1 429 x\r\nretry-after: 1\r\n\r\n").unwrap(), Some(1));
        for refused in
            [&b"HTTP/1.1 401 Unauthorized\r\nRetry-After: 3\r\n\r\n"[..], b"HTTP/1.1 503 x\r\n\r\n", b"nonsense"]
        {
            assert!(later(refused).is_err());
        }
    }
}
