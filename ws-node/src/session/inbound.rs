//! From bytes to messages: WebSocket framing of one connection's read half.
//!
//! Owns what of a frame or a fragmented message has arrived, and nothing while none has. It never touches the socket
//! and never answers: the reader does both.

use std::ops::Range;

use bytes::Bytes;
use gim_proto::codes::CloseCode;
use gim_proto::websocket::{self, FramingError, Header, Opcode};

use crate::deflate::{InflateError, inflate};
use crate::embed::Frame;

/// Bounds of what a client may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InboundBounds {
    /// Largest payload of one frame, in bytes.
    pub(crate) frame: u64,
    /// Largest message over all its fragments, in bytes, as it is sent and as it is unpacked.
    pub(crate) message: usize,
    /// Messages may be compressed: permessage-deflate was agreed on.
    pub(crate) deflate: bool,
}

/// What a frame, or the last frame of a message, came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A whole message.
    Message(Frame),
    /// A ping, to be answered with the same payload.
    Ping(Bytes),
    /// The client closes, with the code and reason it gave.
    Close(Option<(u16, String)>),
    /// The client broke the protocol or a bound.
    Violation(CloseCode, &'static str),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Bytes that came and are not consumed. Empty between messages.
    buffer: Vec<u8>,
    /// Where in it the unconsumed bytes begin.
    start: usize,
    message: Option<Box<Assembly>>,
}

/// A fragmented message, as far as it has come.
#[derive(Debug)]
struct Assembly {
    text: bool,
    compressed: bool,
    data: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    checked: usize,
}

impl Inbound {
    /// Starts with what came behind the request head.
    pub(super) fn with_leftover(leftover: Vec<u8>) -> Self {
        Self { buffer: leftover, start: 0, message: None }
    }

    /// Whether nothing has come in part.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.message.is_none()
    }

    /// Takes the next event out of what was kept.
    pub(super) fn next_kept(&mut self, bounds: InboundBounds) -> Option<Event> {
        if self.buffer.is_empty() {
            return None;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let start = std::mem::take(&mut self.start);
        let (used, event) = self.parse(buffer.get_mut(start..).unwrap_or_default(), bounds);
        if start + used < buffer.len() {
            self.start = start + used;
            self.buffer = buffer;
        }
        event
    }

    /// Takes the next event out of bytes just read; what is behind it is kept.
    pub(super) fn read(&mut self, bytes: &mut [u8], bounds: InboundBounds) -> Option<Event> {
        if !self.buffer.is_empty() {
            // Only here, and not after each of many small frames: moving the rest forward costs as much as it is long.
            self.buffer.drain(..std::mem::take(&mut self.start));
            self.buffer.extend_from_slice(bytes);
            return self.next_kept(bounds);
        }
        let (used, event) = self.parse(bytes, bounds);
        self.buffer.extend_from_slice(bytes.get(used..).unwrap_or_default());
        event
    }

    /// Parses frames until one makes an event. Returns how many bytes are done with.
    fn parse(&mut self, bytes: &mut [u8], bounds: InboundBounds) -> (usize, Option<Event>) {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            let header = match header(rest, bounds) {
                Ok(Some(header)) => header,
                Ok(None) => return (used, None),
                Err(_) => return (bytes.len(), violation("the frame breaks the WebSocket protocol")),
            };
            let Some(mask) = header.mask else {
                return (bytes.len(), violation("client frames must be masked"));
            };
            if let Some(event) = self.refuse(&header, bounds) {
                return (bytes.len(), Some(event));
            }
            let Some(range) = payload_range(used, &header, bytes.len()) else {
                return (used, None);
            };
            used = range.end;
            let payload = bytes.get_mut(range).unwrap_or_default();
            websocket::unmask(payload, mask, 0);
            if let Some(event) = self.take(&header, payload, bounds) {
                return (used, Some(event));
            }
        }
    }

    /// What is wrong with a frame before its payload has come.
    fn refuse(&self, header: &Header, bounds: InboundBounds) -> Option<Event> {
        if header.len > bounds.frame {
            return Some(Event::Violation(CloseCode::TooBig, "the frame is too big"));
        }
        let in_message = self.message.is_some();
        match header.opcode {
            Opcode::Continuation if !in_message => violation("a continuation of nothing"),
            Opcode::Text | Opcode::Binary if in_message => violation("a new message inside a fragmented one"),
            _ => None,
        }
    }

    fn take(&mut self, header: &Header, payload: &[u8], bounds: InboundBounds) -> Option<Event> {
        match header.opcode {
            Opcode::Pong => None,
            Opcode::Ping => Some(Event::Ping(Bytes::copy_from_slice(payload))),
            Opcode::Close => Some(close_event(payload)),
            Opcode::Text | Opcode::Binary if header.fin => {
                if payload.len() > bounds.message {
                    return too_big();
                }
                let text = header.opcode == Opcode::Text;
                if header.compressed {
                    unpacked(text, payload, bounds)
                } else {
                    whole(text, Bytes::copy_from_slice(payload))
                }
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.assemble(header, payload, bounds),
        }
    }

    fn assemble(&mut self, header: &Header, payload: &[u8], bounds: InboundBounds) -> Option<Event> {
        let (text, compressed) = (header.opcode == Opcode::Text, header.compressed);
        let message =
            self.message.get_or_insert_with(|| Box::new(Assembly { text, compressed, data: Vec::new(), checked: 0 }));
        if message.data.len() + payload.len() > bounds.message {
            self.message = None;
            return too_big();
        }
        message.data.extend_from_slice(payload);
        if message.text && !message.compressed && !message.is_utf8_so_far() {
            self.message = None;
            return bad_utf8();
        }
        if !header.fin {
            return None;
        }
        let Assembly { text, compressed, data, .. } = *self.message.take()?;
        if compressed { unpacked(text, &data, bounds) } else { whole(text, Bytes::from(data)) }
    }
}

impl Assembly {
    fn is_utf8_so_far(&mut self) -> bool {
        let unchecked = self.data.get(self.checked..).unwrap_or_default();
        match std::str::from_utf8(unchecked) {
            Ok(_) => {
                self.checked = self.data.len();
                true
            }
            Err(error) => {
                self.checked += error.valid_up_to();
                // None: the text may go on inside a character.
                error.error_len().is_none()
            }
        }
    }
}

fn header(bytes: &[u8], bounds: InboundBounds) -> Result<Option<Header>, FramingError> {
    if bounds.deflate { websocket::parse_header_with_deflate(bytes) } else { websocket::parse_header(bytes) }
}

fn payload_range(used: usize, header: &Header, available: usize) -> Option<Range<usize>> {
    let start = used + header.size;
    let end = start.checked_add(usize::try_from(header.len).ok()?)?;
    (end <= available).then_some(start..end)
}

fn whole(text: bool, bytes: Bytes) -> Option<Event> {
    if !text {
        return Some(Event::Message(Frame::Binary(bytes)));
    }
    if std::str::from_utf8(&bytes).is_err() {
        return bad_utf8();
    }
    Some(Event::Message(Frame::Text(bytes)))
}

fn unpacked(text: bool, packed: &[u8], bounds: InboundBounds) -> Option<Event> {
    match inflate(packed, bounds.message) {
        // Without the room that was left of it.
        Ok(plain) => whole(text, Bytes::from(plain.into_boxed_slice())),
        Err(InflateError::TooBig) => too_big(),
        Err(InflateError::Malformed) => violation("the compressed message is malformed"),
    }
}

fn close_event(payload: &[u8]) -> Event {
    use websocket::ClosePayloadError as Error;
    match websocket::parse_close(payload) {
        Ok(close) => Event::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        Err(Error::Reason) => Event::Violation(CloseCode::BadUtf8, "the close reason is not UTF-8"),
        Err(_) => Event::Violation(CloseCode::ProtocolError, "the close frame is malformed"),
    }
}

fn violation(what: &'static str) -> Option<Event> {
    Some(Event::Violation(CloseCode::ProtocolError, what))
}

fn too_big() -> Option<Event> {
    Some(Event::Violation(CloseCode::TooBig, "the message is too big"))
}

fn bad_utf8() -> Option<Event> {
    Some(Event::Violation(CloseCode::BadUtf8, "the text is not UTF-8"))
}

#[cfg(test)]
mod tests;
