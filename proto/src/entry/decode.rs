//! From fields to an [`Entry`]: every rule that needs no clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fields::KNOWN;
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
        if fields.bytes() > MAX_ENTRY_BYTES {
            let detail = format!("has {} bytes, {MAX_ENTRY_BYTES} are allowed", fields.bytes());
            return Err(Malformed::new("entry", TooLarge, detail));
        }
        let Some(msg) = fields.get("msg") else {
            return read(fields);
        };
        if let Some((other, _)) = fields.iter().find(|(name, _)| *name != "msg" && KNOWN.contains(name)) {
            return Err(Malformed::new(other, Conflict, "is given beside msg"));
        }
        let inner = json::read(msg, "msg")?;
        if inner.get("msg").is_some() {
            return Err(Malformed::new("msg", Conflict, "is given within msg"));
        }
        read(&inner)
    }
}

fn read(fields: &Fields) -> Result<Entry, Malformed> {
    let entry = Entry {
        target: target::target(fields)?,
        except: target::except(fields)?,
        payload: payload::payload(fields)?,
        id: id(fields)?,
        class: class(fields)?,
        key: key(fields)?,
        ttl: integer(fields, "ttl_ms", 1)?.map(Duration::from_millis),
        deliver_at_ms: integer(fields, "deliver_at_ms", 0)?,
        priority: priority(fields)?,
        receipt: flag(fields, "receipt")?,
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

fn id(fields: &Fields) -> Result<Option<MessageId>, Malformed> {
    let Some(value) = fields.get("id") else {
        return Ok(None);
    };
    name(text(value, "id", Name)?, "id").map(Some)
}

fn class(fields: &Fields) -> Result<Class, Malformed> {
    match fields.get("class").map(Bytes::as_ref) {
        None | Some(b"live") => Ok(Class::Live),
        Some(b"latest") => Ok(Class::Latest),
        Some(b"durable") => Ok(Class::Durable),
        Some(_) => Err(Malformed::new("class", OutOfRange, "is not live, latest or durable")),
    }
}

fn priority(fields: &Fields) -> Result<Priority, Malformed> {
    match fields.get("priority").map(Bytes::as_ref) {
        None | Some(b"normal") => Ok(Priority::Normal),
        Some(b"high") => Ok(Priority::High),
        Some(b"low") => Ok(Priority::Low),
        Some(_) => Err(Malformed::new("priority", OutOfRange, "is not high, normal or low")),
    }
}

fn key(fields: &Fields) -> Result<Option<Arc<str>>, Malformed> {
    let Some(value) = fields.get("key") else {
        return Ok(None);
    };
    let key = text(value, "key", OutOfRange)?;
    if key.is_empty() || key.len() > MAX_KEY || key.chars().any(char::is_control) {
        return Err(Malformed::new("key", OutOfRange, "is not 1 to 128 bytes without control characters"));
    }
    Ok(Some(Arc::from(key)))
}

fn integer(fields: &Fields, field: &str, least: u64) -> Result<Option<u64>, Malformed> {
    let Some(value) = fields.get(field) else {
        return Ok(None);
    };
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    let number = number.filter(|number| (least..INTEGERS_BELOW).contains(number));
    let bad = || Malformed::new(field, OutOfRange, format!("is no integer from {least} to 2^53 - 1"));
    number.ok_or_else(bad).map(Some)
}

/// Reads a flag; absent is false.
pub(super) fn flag(fields: &Fields, field: &str) -> Result<bool, Malformed> {
    match fields.get(field).map(Bytes::as_ref) {
        None | Some(b"0" | b"false") => Ok(false),
        Some(b"1" | b"true") => Ok(true),
        Some(_) => Err(Malformed::new(field, OutOfRange, "is not 0, 1, true or false")),
    }
}

/// Reads a name of any kind.
pub(super) fn name<T: for<'a> TryFrom<&'a str, Error = NameError>>(text: &str, field: &str) -> Result<T, Malformed> {
    T::try_from(text).map_err(|error| Malformed::new(field, Name, error.to_string()))
}

/// Reads UTF-8; anything else is of the given kind.
pub(super) fn text<'a>(value: &'a Bytes, field: &str, kind: MalformedKind) -> Result<&'a str, Malformed> {
    std::str::from_utf8(value).map_err(|_| Malformed::new(field, kind, "is not utf-8"))
}
