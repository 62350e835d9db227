//! The floor of unicast: one thread reads lines and sends each to the socket it names. No runtime, no Redis, no routing.
//!
//! A line is `<number of the connection> <text>`; numbers count connections in the order in which they came. The text is
//! the frame's payload as it is. Owns no rule of the project.

use serde_json::json;

use crate::args::Place;
use crate::child::say;
use crate::sockets::{Sockets, Wakes};
use crate::{Result, events, process, ws};

/// What is read at once.
const CHUNK: usize = 65_536;

struct Relay {
    sockets: Sockets,
    chunk: Vec<u8>,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
}

pub(crate) fn serve(place: &Place) -> Result<()> {
    process::end_with_parent()?;
    process::pin(place.core)?;
    let mut relay = Relay { sockets: Sockets::bind()?, chunk: vec![0; CHUNK], rest: Vec::new() };
    say(&json!({ "address": relay.sockets.address()? }))?;
    let mut events = Vec::with_capacity(1_024);
    loop {
        events::wait(&relay.sockets.epoll, &mut events, None)?;
        for event in events.drain(..) {
            match Wakes::of(event.data.u64()) {
                Wakes::Listener => relay.sockets.accept()?,
                Wakes::Commands if !relay.read_lines()? => return Ok(()),
                Wakes::Commands | Wakes::Timer => {}
                Wakes::Connection(index) => relay.sockets.read(index),
            }
        }
    }
}

impl Relay {
    /// Sends what the lines say that are there. False: no more will come.
    fn read_lines(&mut self) -> Result<bool> {
        let count = rustix::io::read(std::io::stdin(), &mut self.chunk)?;
        if count == 0 {
            return Ok(false);
        }
        self.rest.extend_from_slice(&self.chunk[..count]);
        let mut used = 0;
        while let Some(length) = self.rest[used..].iter().position(|&byte| byte == b'\n') {
            let line = &self.rest[used..used + length];
            used += length + 1;
            send(&mut self.sockets, line)?;
        }
        self.rest.drain(..used);
        Ok(true)
    }
}

fn send(sockets: &mut Sockets, line: &[u8]) -> Result<()> {
    let space = line.iter().position(|&byte| byte == b' ').ok_or("a line names no connection")?;
    let index = std::str::from_utf8(&line[..space])?.parse()?;
    sockets.send_to(index, &ws::server_frame(ws::TEXT, &line[space + 1..]));
    Ok(())
}
