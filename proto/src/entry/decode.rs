//! From fields to an [`Entry`]: every rule that needs no clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fields::KNOWN;
use super::known::{self, Field, Known};
use super::malformed::MalformedKind::{Conflict, Missing, Name, OutOfRange, TooLarge};
use super::{
    Class, Entry, Fields, MAX_ENTRY_BYTES, Malformed, MalformedKind, Payload, Priority, Target, json, payload, target,
    trace,
};
use crate::names::{MessageId, NameError};

// Languages that keep numbers as doubles read every integer below this one exactly.
const INTEGERS_BELOW: u64 = 1 << 53;
const MAX_KEY: usize = 128;

impl Entry {
    /// Reads an entry from its plain fields, or from `msg` alone.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    pub fn decode(fields: &Fields) -> Result<Self, Malformed> {
        let unknown = || fields.iter().map(|(name, _)| name).find(|name| *name != "msg" && KNOWN.contains(name));
        decode(&Known::of_fields(fields), unknown)
    }

    /// Reads the same from names and values where they are. `keep` makes of a value what outlives it.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    pub fn decode_pairs(pairs: &[(&[u8], &[u8])], keep: &dyn Fn(&[u8]) -> Bytes) -> Result<Self, Malformed> {
        let names = || pairs.iter().filter_map(|(name, _)| std::str::from_utf8(name).ok());
        decode(&Known::of_pairs(pairs, keep), || names().find(|name| *name != "msg" && KNOWN.contains(name)))
    }
}

fn decode<'a>(fields: &Known<'_>, beside_msg: impl Fn() -> Option<&'a str>) -> Result<Entry, Malformed> {
    if fields.bytes > MAX_ENTRY_BYTES {
        let detail = format!("has {} bytes, {MAX_ENTRY_BYTES} are allowed", fields.bytes);
        return Err(Malformed::new("entry", TooLarge, detail));
    }
    let Some(msg) = fields.get(known::MSG) else {
        return read(fields);
    };
    if let Some(other) = beside_msg() {
        return Err(Malformed::new(other, Conflict, "is given beside msg"));
    }
    let inner = json::read(msg, "msg")?;
    let inner = Known::of_fields(&inner);
    if inner.get(known::MSG).is_some() {
        return Err(Malformed::new("msg", Conflict, "is given within msg"));
    }
    read(&inner)
}

fn read(fields: &Known<'_>) -> Result<Entry, Malformed> {
    let entry = Entry {
        target: target::target(fields)?,
        except: target::except(fields)?,
        payload: payload::payload(fields)?,
        id: id(fields)?,
        class: class(fields)?,
        key: key(fields)?,
        ttl: integer(fields, known::TTL_MS, 1)?.map(Duration::from_millis),
        deliver_at_ms: integer(fields, known::DELIVER_AT_MS, 0)?,
        priority: priority(fields)?,
        receipt: flag(fields, known::RECEIPT)?,
        traceparent: trace::traceparent(fields),
    };
    check_class(&entry)?;
    Ok(entry)
}

fn check_class(entry: &Entry) -> Result<(), Malformed> {
    if entry.class == Class::Live {
        return Ok(());
    }
    if matches!(entry.payload, Payload::Raw(_)) {
        return Err(Malformed::new("raw", Conflict, "goes with class live only"));
    }
    if entry.target == Target::All {
        return Err(Malformed::new("class", Conflict, "all goes with class live only"));
    }
    if entry.class == Class::Latest && entry.key.is_none() {
        return Err(Malformed::new("key", Missing, "class latest needs a key"));
    }
    Ok(())
}

fn id(fields: &Known<'_>) -> Result<Option<MessageId>, Malformed> {
    let Some(value) = fields.get(known::ID) else {
        return Ok(None);
    };
    name(text(value, "id", Name)?, "id").map(Some)
}

fn class(fields: &Known<'_>) -> Result<Class, Malformed> {
    match fields.get(known::CLASS) {
        None | Some(b"live") => Ok(Class::Live),
        Some(b"latest") => Ok(Class::Latest),
        Some(b"durable") => Ok(Class::Durable),
        Some(_) => Err(Malformed::new("class", OutOfRange, "is not live, latest or durable")),
    }
}

fn priority(fields: &Known<'_>) -> Result<Priority, Malformed> {
    match fields.get(known::PRIORITY) {
        None | Some(b"normal") => Ok(Priority::Normal),
        Some(b"high") => Ok(Priority::High),
        Some(b"low") => Ok(Priority::Low),
        Some(_) => Err(Malformed::new("priority", OutOfRange, "is not high, normal or low")),
    }
}

fn key(fields: &Known<'_>) -> Result<Option<Arc<str>>, Malformed> {
    let Some(value) = fields.get(known::KEY) else {
        return Ok(None);
    };
    let key = text(value, "key", OutOfRange)?;
    if key.is_empty() || key.len() > MAX_KEY || key.chars().any(char::is_control) {
        return Err(Malformed::new("key", OutOfRange, "is not 1 to 128 bytes without control characters"));
    }
    Ok(Some(Arc::from(key)))
}

fn integer(fields: &Known<'_>, field: Field, least: u64) -> Result<Option<u64>, Malformed> {
    let Some(value) = fields.get(field) else {
        return Ok(None);
    };
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    let number = number.filter(|number| (least..INTEGERS_BELOW).contains(number));
    let bad = || Malformed::new(field.name(), OutOfRange, format!("is no integer from {least} to 2^53 - 1"));
    number.ok_or_else(bad).map(Some)
}

/// Reads a flag; absent is false.
pub(super) fn flag(fields: &Known<'_>, field: Field) -> Result<bool, Malformed> {
    match fields.get(field) {
        None | Some(b"0" | b"false") => Ok(false),
        Some(b"1" | b"true") => Ok(true),
        Some(_) => Err(Malformed::new(field.name(), OutOfRange, "is not 0, 1, true or false")),
    }
}

/// Reads a name of any kind.
pub(super) fn name<T: for<'a> TryFrom<&'a str, Error = NameError>>(text: &str, field: &str) -> Result<T, Malformed> {
    T::try_from(text).map_err(|error| Malformed::new(field, Name, error.to_string()))
}

/// Reads UTF-8; anything else is of the given kind.
pub(super) fn text<'a>(value: &'a [u8], field: &str, kind: MalformedKind) -> Result<&'a str, Malformed> {
    std::str::from_utf8(value).map_err(|_| Malformed::new(field, kind, "is not utf-8"))
}
