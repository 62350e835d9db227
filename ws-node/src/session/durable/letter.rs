//! A durable message on its way to sessions, and the frames it becomes.
//!
//! Owns the form of a durable frame: a small head of the session's own, with the offset, before bytes that all share. One
//! buffer per thread holds what one write takes.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gim_proto::Payload;
use gim_proto::frame::{self, MsgType};
use gim_proto::websocket::{self, Opcode, STORED_HEADER};
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::mailbox::Position;

use super::super::Encoding;
use super::super::outbox::{Keep, Offer, Part};
use crate::deflate::Deflate;
use crate::receipts::Flags;

/// A message, as all its recipients share it.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(super) message: Arc<Message>,
    kind: MsgType,
    body: Bytes,
    /// The body compressed, made for the first who may have it. None in it: it stays as it is.
    deflated: OnceLock<Option<Bytes>>,
    /// Of its id, to tell it from another.
    pub(super) print: u64,
}

/// How one session gets letters.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    pub(super) encoding: Encoding,
    pub(super) deflate: &'a Deflate,
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
        Self { message: Arc::clone(message), kind, body, deflated: OnceLock::new(), print: hasher.finish() }
    }

    /// One that a single session has read, and that is not worth compressing for it.
    pub(super) fn for_one(message: &Arc<Message>, kind: MsgType) -> Self {
        Self { deflated: OnceLock::from(None), ..Self::new(message, kind) }
    }

    /// Bytes of it that are shared.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    pub(super) fn flags(&self) -> Flags {
        Flags { receipt: self.message.receipt, traced: self.message.traced }
    }

    /// The body compressed by itself, if it may and does become shorter.
    fn deflated(&self, form: Form<'_>) -> Option<&Bytes> {
        let shrink = || form.deflate.shrunk(&self.body, |shrunk| shrunk.map(Bytes::copy_from_slice));
        form.encoding.deflate.then(|| self.deflated.get_or_init(shrink).as_ref())?
    }

    /// Appends the session's own part of the frame. Returns what follows it. `text` is room for it.
    fn write_head(&self, out: &mut Vec<u8>, form: Form<'_>, offset: u64, text: &mut Vec<u8>) -> &Bytes {
        let encoding = form.encoding;
        text.clear();
        let opcode = match &self.message.payload {
            Payload::Json(_) => {
                frame::push_head(text, self.kind, Some(&self.message.id), Some(offset));
                encoding.opcode()
            }
            Payload::Raw(raw) if encoding.text && std::str::from_utf8(raw).is_ok() => Opcode::Text,
            Payload::Raw(_) => Opcode::Binary,
        };
        // In a compressed message the head is a block of its own, as it is: it is small and this session's alone.
        let body = match (self.deflated(form), u16::try_from(text.len())) {
            (Some(deflated), Ok(0)) => {
                websocket::write_deflated_header(out, opcode, deflated.len());
                deflated
            }
            (Some(deflated), Ok(len)) => {
                websocket::write_deflated_header(out, opcode, STORED_HEADER + text.len() + deflated.len());
                websocket::write_stored_header(out, len);
                deflated
            }
            _ => {
                websocket::write_header(out, opcode, text.len() + self.body.len());
                &self.body
            }
        };
        out.extend_from_slice(text);
        body
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
    fn write(self, out: &mut Vec<u8>, form: Form<'_>, text: &mut Vec<u8>) {
        match self {
            Frame::Letter(offset, letter) => {
                let body = letter.write_head(out, form, offset, text);
                out.extend_from_slice(body);
            }
            Frame::Notice(notice) => {
                websocket::write_header(out, form.encoding.opcode(), notice.len());
                out.extend_from_slice(notice);
            }
        }
    }

    /// The same, to wait in an outbox.
    pub(super) fn part(self, form: Form<'_>) -> Part {
        let mut head = Vec::with_capacity(160);
        let bytes = match self {
            Frame::Letter(offset, letter) => {
                letter.write_head(&mut head, form, offset, &mut Vec::with_capacity(128)).clone()
            }
            Frame::Notice(notice) => {
                websocket::write_header(&mut head, form.encoding.opcode(), notice.len());
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
    form: Form<'_>,
    frames: I,
    offer: impl FnOnce(&[u8], I) -> Offer,
) -> Offer {
    /// A buffer that one large page has grown is not kept for ever.
    const KEEP: usize = 64 * 1024;
    SCRATCH.with_borrow_mut(|Scratch { joined, text }| {
        joined.clear();
        for frame in frames.clone() {
            frame.write(joined, form, text);
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
        letter_with(id, Payload::Json(Bytes::from_static(br#"{"n":1}"#)))
    }

    fn letter_with(id: &MessageId, payload: Payload) -> Letter {
        let message = Message {
            id: id.clone(),
            class: Class::Durable,
            key: None,
            payload,
            except: Vec::new(),
            expires_ms: None,
            receipt: false,
            traced: false,
        };
        Letter::new(&Arc::new(message), MsgType::User)
    }

    const TEXT: Encoding = Encoding { dialect: Dialect::Acc, text: true, deflate: false };
    const DEFLATE: Deflate = Deflate::uncounted();

    /// The bytes of a frame, which are the same whether they are written at once or wait.
    fn written(letter: &Letter, offset: u64, deflate: bool) -> Vec<u8> {
        let form = Form { encoding: Encoding { deflate, ..TEXT }, deflate: &DEFLATE };
        let frame = Frame::Letter(offset, letter);
        let part = frame.part(form);
        let whole = [part.head, part.bytes].concat();
        join(form, [frame].into_iter(), |joined, _| {
            assert_eq!(joined, whole);
            Offer::Taken
        });
        whole
    }

    #[test]
    fn a_frame_is_the_same_whether_it_is_written_at_once_or_waits() {
        let letter = letter(&MessageId::parse("m").unwrap());
        let text = br#"{"seq":"","cmd":"","msgType":3,"id":"m","offset":12,"response":{"s":1,"a":{"n":1}}}"#;
        assert_eq!(written(&letter, 12, false), websocket::frame(Opcode::Text, text));
        assert_eq!(written(&letter, 12, true), websocket::frame(Opcode::Text, text), "too short to be compressed");
    }

    #[test]
    fn sessions_with_offsets_of_their_own_share_what_was_compressed_once() {
        let long = format!("{{\"text\":\"{}\"}}", "as long as it has to be ".repeat(40));
        let letter = letter_with(&MessageId::parse("m").unwrap(), Payload::Json(Bytes::from(long)));
        for offset in [1, 4_000_000_000] {
            let (plain, packed) = (written(&letter, offset, false), written(&letter, offset, true));
            assert!(packed.len() < plain.len() / 3, "{} of {}", packed.len(), plain.len());
            let header = websocket::parse_header_with_deflate(&packed).unwrap().unwrap();
            assert!(header.compressed && header.fin && header.opcode == Opcode::Text);
            let unpacked = crate::deflate::inflate(&packed[header.size..], 1 << 16).unwrap();
            assert_eq!(websocket::frame(Opcode::Text, &unpacked), plain);
        }
        let form = Form { encoding: Encoding { deflate: true, ..TEXT }, deflate: &DEFLATE };
        let (one, other) = (Frame::Letter(1, &letter).part(form), Frame::Letter(2, &letter).part(form));
        assert_eq!(one.bytes.as_ptr(), other.bytes.as_ptr());
        let alone = Letter::for_one(&letter.message, MsgType::User);
        assert_eq!(written(&alone, 1, true), written(&letter, 1, false), "it is read for one");
    }

    #[test]
    fn raw_bytes_have_no_head_to_store() {
        let letter = letter_with(&MessageId::parse("m").unwrap(), Payload::Raw(Bytes::from(vec![7; 2_000])));
        let packed = written(&letter, 1, true);
        let header = websocket::parse_header_with_deflate(&packed).unwrap().unwrap();
        assert!(header.compressed && packed.len() < 100);
        assert_eq!(crate::deflate::inflate(&packed[header.size..], 2_000).unwrap(), vec![7; 2_000]);
    }
}
