//! Reading answers as they come, without a map per entry: every value is moved, never copied.

use ::redis::Value;
use bytes::Bytes;
use gim_proto::{EntryId, Fields};
use gim_proxy_sdk::store::wire::{Parts, Reply};
use smallvec::SmallVec;

use super::decode::Read;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock::Clock;

/// Takes a list.
pub(super) fn list(value: Value, what: &'static str) -> Result<Vec<Value>, Trouble> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Nil => Ok(Vec::new()),
        _ => Err(Trouble::Odd(what)),
    }
}

/// Takes a list of so many.
pub(super) fn exactly<const N: usize>(value: Value, what: &'static str) -> Result<[Value; N], Trouble> {
    list(value, what)?.try_into().map_err(|_| Trouble::Odd(what))
}

/// Takes bytes.
pub(super) fn bytes(value: Value, what: &'static str) -> Result<Bytes, Trouble> {
    match value {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        Value::SimpleString(text) => Ok(Bytes::from(text)),
        _ => Err(Trouble::Odd(what)),
    }
}

/// Takes text.
pub(super) fn text(value: Value, what: &'static str) -> Result<String, Trouble> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| Trouble::Odd(what)),
        Value::SimpleString(text) => Ok(text),
        _ => Err(Trouble::Odd(what)),
    }
}

/// Takes a number, which may come as text.
pub(super) fn number(value: &Value, what: &'static str) -> Result<u64, Trouble> {
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(digits) => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
        _ => None,
    };
    number.ok_or(Trouble::Odd(what))
}

/// Takes an entry's id.
pub(super) fn entry_id(value: Value) -> Result<EntryId, Trouble> {
    const WHAT: &str = "an entry id";
    EntryId::parse(&text(value, WHAT)?).map_err(|_| Trouble::Odd(WHAT))
}

/// Takes an entry's fields. Names that are no UTF-8 keep what is.
pub(super) fn fields(value: Value) -> Result<Fields, Trouble> {
    const WHAT: &str = "the fields of an entry";
    let mut fields = Fields::new();
    let mut values = list(value, WHAT)?.into_iter();
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        let name = bytes(name, WHAT)?;
        fields.push(&String::from_utf8_lossy(&name), bytes(value, WHAT)?);
    }
    Ok(fields)
}

/// Takes the answers to reads of one stream, one behind the other.
pub(super) fn entries(shared: &Shared, replies: &[Reply]) -> Result<Vec<Read>, Trouble> {
    let now_ms = shared.clock.unix_ms();
    let take =
        |entry_id, reply: &Reply, pairs: &[Pair<'_>]| Read::of_pairs(shared.lane, now_ms, entry_id, reply, pairs);
    each_entry(replies, take).ok_or(Trouble::Odd("the entries of one stream"))
}

/// Name and value of a field.
pub(super) type Pair<'a> = (&'a [u8], &'a [u8]);

fn each_entry<T>(replies: &[Reply], mut take: impl FnMut(EntryId, &Reply, &[Pair<'_>]) -> T) -> Option<Vec<T>> {
    let mut streams = SmallVec::<[(&Reply, Parts<'_>, usize); 2]>::new();
    for reply in replies {
        let mut parts = reply.parts();
        let count = count(&mut parts)?;
        streams.push((reply, parts, count));
    }
    let mut entries = Vec::with_capacity(streams.iter().map(|(_, _, count)| count).sum());
    for (reply, mut parts, count) in streams {
        let mut pairs: SmallVec<[Pair<'_>; 8]> = SmallVec::new();
        for _ in 0..count {
            let (2, Some(id)) = (parts.list()?, parts.bytes()) else { return None };
            let entry_id = EntryId::of_bytes(id).ok()?;
            pairs.clear();
            for _ in 0..parts.list()? / 2 {
                pairs.push((parts.bytes()?, parts.bytes()?));
            }
            entries.push(take(entry_id, reply, &pairs));
        }
    }
    Some(entries)
}

// Answer: [[stream, [[id, [name, value, ...]], ...]]], or nothing at all.
fn count(parts: &mut Parts<'_>) -> Option<usize> {
    if parts.list()? == 0 {
        return Some(0);
    }
    let (2, Some(_stream)) = (parts.list()?, parts.bytes()) else { return None };
    parts.list()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Owned = (EntryId, Vec<(Vec<u8>, Vec<u8>)>);

    fn read(reply: &[u8]) -> Option<Vec<Owned>> {
        let owned = |entry_id, _: &Reply, pairs: &[Pair<'_>]| {
            (entry_id, pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
        };
        each_entry(&[Reply::parse(reply).unwrap()], owned)
    }

    #[test]
    fn a_read_is_understood() {
        let entries = read(
            b"*1\r\n*2\r\n$1\r\ns\r\n*2\r\n\
            *2\r\n$3\r\n5-0\r\n*4\r\n$6\r\nto_uid\r\n$1\r\n1\r\n$1\r\n\xff\r\n$2\r\n\xfe\xff\r\n\
            *2\r\n$3\r\n5-1\r\n*0\r\n",
        );
        let entries = entries.unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].0, EntryId { ms: 5, seq: 0 });
        assert_eq!(entries[0].1, [(b"to_uid".to_vec(), b"1".to_vec()), (b"\xff".to_vec(), b"\xfe\xff".to_vec())]);
        assert_eq!(entries[1], (EntryId { ms: 5, seq: 1 }, Vec::new()));
        let one = |id: &str| format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n{id}\r\n*0\r\n");
        let replies = [one("5-0"), "*-1\r\n".to_owned(), one("5-1")];
        let replies = replies.map(|reply| Reply::parse(reply.as_bytes()).unwrap());
        let ids = each_entry(&replies, |entry_id, _, _| entry_id.seq);
        assert_eq!(ids, Some(vec![0, 1]), "of all of them, in order");
        for nothing in [b"*-1\r\n".as_slice(), b"$-1\r\n", b"*0\r\n"] {
            assert_eq!(read(nothing), Some(Vec::new()));
        }
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        for odd in [
            b"+OK\r\n".as_slice(),
            b"*1\r\n:1\r\n",
            b"*1\r\n*1\r\n$1\r\ns\r\n",
            b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$1\r\nx\r\n*0\r\n",
            b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n5-0\r\n*2\r\n:1\r\n:2\r\n",
        ] {
            assert_eq!(read(odd), None, "{}", String::from_utf8_lossy(odd));
        }
    }
}
