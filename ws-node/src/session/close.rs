//! How a session ends: who ended it, with which code, and what its client is told.
//!
//! Owns the one way to a close frame. Everything after that frame (groups, directory, callbacks, the socket) is the
//! reader's, which [`Session::end`] wakes.

use std::time::Duration;

use gim_proto::codes::CloseCode;
use gim_proto::frame::{Dialect, Notice};
use gim_proto::websocket::{self, Opcode};

use super::Session;
use super::outbox::{Keep, Part};

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// The close code sent or received; 1006 when the connection ended without one.
    pub code: u16,
    /// The text that came with it.
    pub reason: String,
    /// Who ended it.
    pub by: Closer,
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closer {
    /// The client, or its network.
    Client,
    /// This node.
    Server,
}

/// A close frame's payload is at most 125 bytes, two of them the code.
const MOST_REASON: usize = 123;

impl Session {
    /// Ends the session: a notice on `/ws`, then the close frame, then nothing. False: it had ended before.
    pub fn close(&self, code: CloseCode, reason: &str) -> bool {
        self.end(code, reason, None, false)
    }

    /// Ends the session with a hint when to come back.
    pub(crate) fn close_with_hint(&self, code: CloseCode, reason: &str, after: Duration) -> bool {
        self.end(code, reason, Some(after), false)
    }

    pub(super) fn close_slow(&self) -> bool {
        self.end(CloseCode::SlowConsumer, "reads too slowly", None, true)
    }

    /// The client has not taken a byte for too long: no close frame will reach it either.
    pub(super) fn give_up(&self) {
        self.close_slow();
        self.0.outbox.shut();
        self.0.reader.wake();
    }

    fn end(&self, code: CloseCode, reason: &str, after: Option<Duration>, give_up: bool) -> bool {
        let reason = shorten(reason, MOST_REASON);
        let mut last = Vec::with_capacity(2);
        if self.0.encoding.dialect == Dialect::Ws {
            let after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            let mut text = Vec::with_capacity(128);
            let closing = Notice::Closing { code, reason: reason.to_owned(), after_ms };
            gim_proto::frame::notice(&mut text, &closing);
            last.push(fixed(self.0.encoding.opcode(), &text));
        }
        last.push(fixed(Opcode::Close, &close_payload(code.code(), reason)));
        self.remember_end(CloseReason { code: code.code(), reason: reason.to_owned(), by: Closer::Server });
        let Some(offer) = self.0.outbox.close(&self.0.core.settings.outbox, &last, give_up, |bytes| self.0.send(bytes))
        else {
            return false;
        };
        self.follow_up(offer);
        self.0.core.hub.users.remove(self);
        self.0.reader.wake();
        true
    }

    /// Answers the client's close frame.
    pub(super) fn answer_close(&self, code: Option<u16>) {
        let payload = code.map(|code| close_payload(code, "")).unwrap_or_default();
        let last = [fixed(Opcode::Close, &payload)];
        if let Some(offer) = self.0.outbox.close(&self.0.core.settings.outbox, &last, false, |bytes| self.0.send(bytes))
        {
            self.follow_up(offer);
        }
        self.0.core.hub.users.remove(self);
    }

    /// The first reason counts.
    pub(super) fn remember_end(&self, why: CloseReason) {
        self.0.aside().ending.get_or_insert_with(|| Box::new(why));
    }

    pub(super) fn ended_by(&self) -> Option<CloseReason> {
        self.0.aside().ending.as_deref().cloned()
    }
}

fn fixed(opcode: Opcode, payload: &[u8]) -> Part {
    Part::new(websocket::frame(opcode, payload), Keep::Always)
}

fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload
}

fn shorten(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
