//! A durable message on its way to sessions, and the frames it becomes.
//!
//! Owns the form of a durable frame: a small head of the session's own, with the offset, before bytes that all share. One
//! buffer per thread holds what one write takes.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use gim_proto::Payload;
use gim_proto::frame::{self, MsgType};
use gim_proto::websocket::{self, Opcode};
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::mailbox::Position;

use super::super::Encoding;
use super::super::outbox::{Keep, Offer, Part};
use crate::receipts::Flags;

/// A message, as all its recipients share it.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(super) message: Arc<Message>,
    kind: MsgType,
    body: Bytes,
    /// Of its id, to tell it from another.
    pub(super) print: u64,
}

/// That a message is in a session's mailbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    /// Where.
    pub(crate) at: Position,
    /// Index of what, among the letters that come with it.
    pub(crate) letter: u32,
}

impl Hint {
    pub(crate) const fn new(at: Position, letter: u32) -> Self {
        Self { at, letter }
    }
}

impl Letter {
    pub(crate) fn new(message: &Arc<Message>, kind: MsgType) -> Self {
        let body = match &message.payload {
            Payload::Json(a) => {
                let mut body = Vec::with_capacity(a.len() + 32);
                frame::push_body(&mut body, a);
                body.into()
            }
            Payload::Raw(raw) => raw.clone(),
        };
        let mut hasher = DefaultHasher::new();
        message.id.hash(&mut hasher);
        Self { message: Arc::clone(message), kind, body, print: hasher.finish() }
    }

    /// Bytes of it that are shared.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    pub(super) fn flags(&self) -> Flags {
        Flags { receipt: self.message.receipt, traced: self.message.traced }
    }

    /// Appends the session's own part of the frame. `text` is room for it.
    fn write_head(&self, out: &mut Vec<u8>, encoding: Encoding, offset: u64, text: &mut Vec<u8>) {
        text.clear();
        let opcode = match &self.message.payload {
            Payload::Json(_) => {
                frame::push_head(text, self.kind, Some(&self.message.id), Some(offset));
                encoding.opcode()
            }
            Payload::Raw(raw) if encoding.text && std::str::from_utf8(raw).is_ok() => Opcode::Text,
            Payload::Raw(_) => Opcode::Binary,
        };
        websocket::write_header(out, opcode, text.len() + self.body.len());
        out.extend_from_slice(text);
    }
}

/// One frame of what a session is handed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Frame<'a> {
    /// A message at its offset.
    Letter(u64, &'a Letter),
    /// The text of a notice.
    Notice(&'a [u8]),
}

impl Frame<'_> {
    fn write(self, out: &mut Vec<u8>, encoding: Encoding, text: &mut Vec<u8>) {
        match self {
            Frame::Letter(offset, letter) => {
                letter.write_head(out, encoding, offset, text);
                out.extend_from_slice(&letter.body);
            }
            Frame::Notice(notice) => {
                websocket::write_header(out, encoding.opcode(), notice.len());
                out.extend_from_slice(notice);
            }
        }
    }

    /// The same, to wait in an outbox.
    pub(super) fn part(self, encoding: Encoding) -> Part {
        let mut head = Vec::with_capacity(160);
        let bytes = match self {
            Frame::Letter(offset, letter) => {
                letter.write_head(&mut head, encoding, offset, &mut Vec::with_capacity(128));
                letter.body.clone()
            }
            Frame::Notice(notice) => {
                websocket::write_header(&mut head, encoding.opcode(), notice.len());
                Bytes::copy_from_slice(notice)
            }
        };
        Part { head: Bytes::from(head), bytes, keep: Keep::Durable }
    }
}

#[derive(Default)]
struct Scratch {
    joined: Vec<u8>,
    text: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Joins frames in the buffer of this thread.
pub(super) fn join<'a, I: Iterator<Item = Frame<'a>> + Clone>(
    encoding: Encoding,
    frames: I,
    offer: impl FnOnce(&[u8], I) -> Offer,
) -> Offer {
    /// A buffer that one large page has grown is not kept for ever.
    const KEEP: usize = 64 * 1024;
    SCRATCH.with_borrow_mut(|Scratch { joined, text }| {
        joined.clear();
        for frame in frames.clone() {
            frame.write(joined, encoding, text);
        }
        let offer = offer(joined, frames);
        joined.clear();
        joined.shrink_to(KEEP);
        offer
    })
}

#[cfg(test)]
pub(super) mod tests {
    use gim_proto::frame::Dialect;
    use gim_proto::{Class, MessageId};

    use super::*;

    pub(in super::super) fn letter(id: &MessageId) -> Letter {
        let message = Message {
            id: id.clone(),
            class: Class::Durable,
            key: None,
            payload: Payload::Json(Bytes::from_static(br#"{"n":1}"#)),
            except: Vec::new(),
            expires_ms: None,
            receipt: false,
            traced: false,
        };
        Letter::new(&Arc::new(message), MsgType::User)
    }

    #[test]
    fn a_frame_is_the_same_whether_it_is_written_at_once_or_waits() {
        let letter = letter(&MessageId::parse("m").unwrap());
        let encoding = Encoding { dialect: Dialect::Acc, text: true };
        let frame = Frame::Letter(12, &letter);
        let part = frame.part(encoding);
        let whole = [part.head, part.bytes].concat();
        let text = br#"{"seq":"","cmd":"","msgType":3,"id":"m","offset":12,"response":{"s":1,"a":{"n":1}}}"#;
        assert_eq!(whole, websocket::frame(Opcode::Text, text));
        join(encoding, [frame].into_iter(), |joined, _| {
            assert_eq!(joined, whole);
            Offer::Taken
        });
    }
}
