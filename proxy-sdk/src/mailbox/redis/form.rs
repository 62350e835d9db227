//! Messages as they stand in Redis, and the answers of scripts.
//!
//! Owns what is written of a message and how it is read again (docs/wire.md, section 8). `None` everywhere: it is not what
//! this version writes.

use std::sync::Arc;

use ::fred::types::Value as Answer;
use bytes::{BufMut, Bytes, BytesMut};
use gim_proto::frame::MsgType;
use gim_proto::{Class, MessageId, Payload, Uid};

use crate::delivery::Message;
use crate::mailbox::page::Draft;
use crate::mailbox::{Overdue, Page, Wanted};

const RAW: u64 = 1;
const RECEIPT: u64 = 2;
const TRACED: u64 = 4;

/// What is to be known of a message beside its names and its payload, as a sum.
pub(super) fn flags(message: &Message) -> u64 {
    let raw = if matches!(message.payload, Payload::Raw(_)) { RAW } else { 0 };
    raw | if message.receipt { RECEIPT } else { 0 } | if message.traced { TRACED } else { 0 }
}

/// Its payload.
pub(super) fn bytes(message: &Message) -> &Bytes {
    let (Payload::Json(bytes) | Payload::Raw(bytes)) = &message.payload;
    bytes
}

/// A value of class `latest`: `<until> <flags> <id>`, then ` <uid>` of each who does not get it, a line feed, the payload.
pub(super) fn pack(message: &Message) -> Bytes {
    let mut head = format!("{} {} {}", message.expires_ms.unwrap_or_default(), flags(message), message.id);
    message.except.iter().for_each(|uid| head.extend([" ", uid.as_str()]));
    let payload = bytes(message);
    let mut packed = BytesMut::with_capacity(head.len() + 1 + payload.len());
    packed.put_slice(head.as_bytes());
    packed.put_u8(b'\n');
    packed.put_slice(payload);
    packed.freeze()
}

/// Reads what [`pack`] has written.
pub(super) fn unpack(key: &str, packed: &Bytes) -> Option<Message> {
    let end = packed.iter().position(|byte| *byte == b'\n')?;
    let mut words = std::str::from_utf8(packed.get(..end)?).ok()?.split(' ');
    let (until, flags, id) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    let except = words.map(|uid| Uid::parse(uid).ok()).collect::<Option<_>>()?;
    let message = message(Class::Latest, id, until, flags, packed.slice(end + 1..))?;
    Some(Message { key: Some(key.into()), except, ..message })
}

/// Reads the answer to a read.
pub(super) fn page(answer: Answer, after: u64) -> Option<Page> {
    let mut parts = answer.into_array().into_iter();
    let epoch = parts.next()?.as_u64()?;
    if epoch == 0 {
        return Some(Page::default());
    }
    let mut number = || parts.next()?.as_u64();
    let (last, acked, trimmed, is_more) = (number()?, number()?, number()?, number()? == 1);
    let mut draft = Draft::new(epoch, last, trimmed, after.max(acked));
    for letter in parts {
        let mut fields = letter.into_array().into_iter();
        let offset = fields.next()?.as_u64()?;
        let Some(kind) = fields.next() else {
            draft.over(offset, None);
            continue;
        };
        if fields.len() == 0 {
            draft.over(offset, Some(MessageId::parse(&kind.into_string()?).ok()?));
            continue;
        }
        match letter_of(&kind, fields) {
            Some((kind, message)) => draft.letter(offset, kind, Arc::new(message)),
            None => {
                // What nobody can read keeps nobody from what follows.
                tracing::warn!(offset, "a durable message cannot be read; to its client it is a gap");
                draft.over(offset, None);
            }
        }
    }
    Some(if is_more { draft.broken_off() } else { draft.finish() })
}

fn letter_of(kind: &Answer, mut fields: impl Iterator<Item = Answer>) -> Option<(MsgType, Message)> {
    let kind = if kind.as_u64()? == MsgType::Group as u64 { MsgType::Group } else { MsgType::User };
    let id = fields.next()?.into_string()?;
    let (until, flags) = (fields.next()?.as_u64()?, fields.next()?.as_u64()?);
    let payload = fields.next()?.into_bytes()?;
    Some((kind, message(Class::Durable, &id, until, flags, payload)?))
}

/// Reads messages of which receipts are wanted: of each an offset, an id, and one number more.
pub(super) fn wanted(answer: Answer) -> Option<Vec<Wanted>> {
    let mut words = answer.into_array().into_iter();
    let mut wanted = Vec::with_capacity(words.len() / 3);
    while let Some(offset) = words.next() {
        let id = MessageId::parse(&words.next()?.into_string()?).ok()?;
        wanted.push(Wanted { offset: offset.as_u64()?, id, is_over: words.next()?.as_u64()? == 1 });
    }
    Some(wanted)
}

/// Reads offsets and ids.
pub(super) fn overdue(answer: Answer, uid: &Uid) -> Option<Vec<Overdue>> {
    let mut words = answer.into_array().into_iter();
    let mut overdue = Vec::with_capacity(words.len() / 2);
    while let Some(offset) = words.next() {
        let id = MessageId::parse(&words.next()?.into_string()?).ok()?;
        overdue.push(Overdue { uid: uid.clone(), offset: offset.as_u64()?, id });
    }
    Some(overdue)
}

/// Reads so many numbers.
pub(crate) fn numbers<const N: usize>(answer: Answer) -> Option<[u64; N]> {
    let numbers: Option<Vec<u64>> = answer.into_array().iter().map(Answer::as_u64).collect();
    numbers?.try_into().ok()
}

fn message(class: Class, id: &str, until: u64, flags: u64, payload: Bytes) -> Option<Message> {
    Some(Message {
        id: MessageId::parse(id).ok()?,
        class,
        key: None,
        payload: if flags & RAW == 0 { Payload::Json(payload) } else { Payload::Raw(payload) },
        except: Vec::new(),
        expires_ms: (until > 0).then_some(until),
        receipt: flags & RECEIPT > 0,
        traced: flags & TRACED > 0,
    })
}
