//! The rows of mailboxes and of last values: their keys and values.
//!
//! A mailbox is a row of where it stands, one per message that is not acknowledged, and one per
//! message remembered, by its id, lane and entry. Never decides
//! what is kept.

use std::sync::Arc;

use bytes::Bytes;
use gim_proto::frame::MsgType;
use gim_proto::{Class, EntryId, MessageId, Payload, Tgid, Uid};

use super::super::Scope;
use super::super::state::{Known, Letter, Standing};
use crate::delivery::Message;
use crate::journal::{BadRow, Change, RowReader, RowWriter, Table};

const STANDING: u8 = 0;
const ID: u8 = 1;

/// A row of the table `Mailboxes`.
pub(super) enum Kept {
    /// Where it stands, and when it was used last, Unix milliseconds.
    Standing(Standing, u64),
    /// A message remembered, and its offset.
    Id(Known, u64),
}

pub(super) fn put_standing(uid: &Uid, standing: &Standing, used_ms: u64) -> Change {
    let Standing { epoch, last, acked, trimmed } = *standing;
    let value = [epoch, last, acked, trimmed, used_ms].into_iter().fold(RowWriter::default(), RowWriter::number);
    Change::put(Table::Mailboxes, standing_key(uid), value.end())
}

pub(super) fn delete_standing(uid: &Uid) -> Change {
    Change::delete(Table::Mailboxes, standing_key(uid))
}

pub(super) fn put_id(uid: &Uid, known: &Known, offset: u64) -> Change {
    Change::put(Table::Mailboxes, id_key(uid, known), RowWriter::default().number(offset).end())
}

pub(super) fn delete_id(uid: &Uid, known: &Known) -> Change {
    Change::delete(Table::Mailboxes, id_key(uid, known))
}

pub(super) fn mailbox((key, value): &(Bytes, Bytes)) -> Result<(Uid, Kept), BadRow> {
    let (mut key, mut row) = (RowReader::of(key), RowReader::of(value));
    let uid = uid(&mut key)?;
    let kept = match key.byte()? {
        STANDING => {
            let standing =
                Standing { epoch: row.number()?, last: row.number()?, acked: row.number()?, trimmed: row.number()? };
            Kept::Standing(standing, row.number()?)
        }
        ID => {
            let id = MessageId::parse(&key.text()?).map_err(|_| BadRow)?;
            Kept::Id(Known { id, lane: key.short()?, entry: entry(&mut key)? }, row.number()?)
        }
        _ => return Err(BadRow),
    };
    Ok((uid, kept))
}

pub(super) fn put_letter(uid: &Uid, letter: &Letter) -> Change {
    let kind = u8::from(letter.kind == MsgType::Group);
    let row = RowWriter::with_room(160).byte(kind).number(letter.at_ms);
    Change::put(Table::Letters, letter_key(uid, letter.offset), put_message(row, &letter.message))
}

pub(super) fn delete_letter(uid: &Uid, offset: u64) -> Change {
    Change::delete(Table::Letters, letter_key(uid, offset))
}

pub(super) fn letter((key, value): &(Bytes, Bytes)) -> Result<(Uid, Letter), BadRow> {
    let (mut key, mut row) = (RowReader::of(key), RowReader::of(value));
    let (uid, offset) = (uid(&mut key)?, key.number()?);
    let kind = if row.byte()? == 1 { MsgType::Group } else { MsgType::User };
    let at_ms = row.number()?;
    Ok((uid, Letter { offset, kind, message: Arc::new(message(row)?), at_ms }))
}

pub(super) fn put_value(scope: &Scope, entry: EntryId, message: &Message) -> Change {
    let row = RowWriter::with_room(160).number(entry.ms).number(entry.seq);
    Change::put(Table::Latest, value_key(scope, message.key.as_deref()), put_message(row, message))
}

pub(super) fn delete_value(scope: &Scope, message: &Message) -> Change {
    Change::delete(Table::Latest, value_key(scope, message.key.as_deref()))
}

pub(super) fn value((key, value): &(Bytes, Bytes)) -> Result<(Scope, EntryId, Arc<Message>), BadRow> {
    let (mut key, mut row) = (RowReader::of(key), RowReader::of(value));
    let scope = match key.byte()? {
        0 => Scope::User(uid(&mut key)?),
        1 => Scope::Group(Tgid::parse(&key.text()?).map_err(|_| BadRow)?),
        _ => return Err(BadRow),
    };
    Ok((scope, entry(&mut row)?, Arc::new(message(row)?)))
}

fn put_message(row: RowWriter, message: &Message) -> Bytes {
    let class = match message.class {
        Class::Live => 0,
        Class::Latest => 1,
        Class::Durable => 2,
    };
    let row = row.text(message.id.as_str()).byte(class).byte(message.key.is_some().into());
    let row = row.text(message.key.as_deref().unwrap_or_default()).number(message.expires_ms.unwrap_or(0));
    let row = row.byte(message.receipt.into()).byte(message.traced.into());
    let row = row.list(&message.except, |row, uid| row.text(uid.as_str()));
    match &message.payload {
        Payload::Json(bytes) => row.byte(0).rest(bytes),
        Payload::Raw(bytes) => row.byte(1).rest(bytes),
    }
}

fn message(mut row: RowReader) -> Result<Message, BadRow> {
    let id = MessageId::parse(&row.text()?).map_err(|_| BadRow)?;
    let class = match row.byte()? {
        0 => Class::Live,
        1 => Class::Latest,
        2 => Class::Durable,
        _ => return Err(BadRow),
    };
    let (has_key, key, expires_ms) = (row.byte()? == 1, row.text()?, row.number()?);
    let (receipt, traced) = (row.byte()? == 1, row.byte()? == 1);
    let except = row.list(uid)?;
    let payload = if row.byte()? == 0 { Payload::Json(row.rest()) } else { Payload::Raw(row.rest()) };
    let expires_ms = (expires_ms > 0).then_some(expires_ms);
    Ok(Message { id, class, key: has_key.then(|| key.into()), payload, except, expires_ms, receipt, traced })
}

fn entry(row: &mut RowReader) -> Result<EntryId, BadRow> {
    Ok(EntryId { ms: row.number()?, seq: row.number()? })
}

fn uid(row: &mut RowReader) -> Result<Uid, BadRow> {
    Uid::parse(&row.text()?).map_err(|_| BadRow)
}

fn standing_key(uid: &Uid) -> Bytes {
    RowWriter::default().text(uid.as_str()).byte(STANDING).end()
}

fn id_key(uid: &Uid, known: &Known) -> Bytes {
    let Known { id, lane, entry } = known;
    let row = RowWriter::default().text(uid.as_str()).byte(ID).text(id.as_str());
    row.short(*lane).number(entry.ms).number(entry.seq).end()
}

fn letter_key(uid: &Uid, offset: u64) -> Bytes {
    RowWriter::default().text(uid.as_str()).number(offset).end()
}

fn value_key(scope: &Scope, key: Option<&str>) -> Bytes {
    let row = match scope {
        Scope::User(uid) => RowWriter::default().byte(0).text(uid.as_str()),
        Scope::Group(tgid) => RowWriter::default().byte(1).text(tgid.as_str()),
    };
    row.text(key.unwrap_or_default()).end()
}
