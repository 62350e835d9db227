//! The fields that mean something, each with the value that counts.
//!
//! Owns the step from fields in any order to a place for each. Copies nothing.

use bytes::Bytes;

use super::Fields;
use super::fields::KNOWN;

/// A field that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field(usize);

pub(super) const TO_UID: Field = Field::named("to_uid");
pub(super) const TO_UIDS: Field = Field::named("to_uids");
pub(super) const TGID: Field = Field::named("tgid");
pub(super) const TGID_LIST: Field = Field::named("tgid_list");
pub(super) const ALL: Field = Field::named("all");
pub(super) const EXCEPT_UID: Field = Field::named("except_uid");
pub(super) const DATA: Field = Field::named("data");
pub(super) const MOL: Field = Field::named("mol");
pub(super) const CTRL: Field = Field::named("ctrl");
pub(super) const RAW: Field = Field::named("raw");
pub(super) const ID: Field = Field::named("id");
pub(super) const CLASS: Field = Field::named("class");
pub(super) const KEY: Field = Field::named("key");
pub(super) const TTL_MS: Field = Field::named("ttl_ms");
pub(super) const DELIVER_AT_MS: Field = Field::named("deliver_at_ms");
pub(super) const PRIORITY: Field = Field::named("priority");
pub(super) const RECEIPT: Field = Field::named("receipt");
pub(super) const TRACEPARENT: Field = Field::named("traceparent");
pub(super) const MSG: Field = Field::named("msg");

impl Field {
    #[expect(clippy::panic, reason = "evaluated when it is compiled")]
    const fn named(name: &str) -> Self {
        let name = name.as_bytes();
        let mut at = 0;
        while at < KNOWN.len() {
            let known = KNOWN[at].as_bytes();
            let mut same = 0;
            while same < known.len() && same < name.len() && known[same] == name[same] {
                same += 1;
            }
            if same == known.len() && same == name.len() {
                return Self(at);
            }
            at += 1;
        }
        panic!("no such field")
    }

    pub(super) fn name(self) -> &'static str {
        KNOWN.get(self.0).copied().unwrap_or_default()
    }
}

/// A value that is not one's own.
#[derive(Clone, Copy)]
enum Value<'a> {
    Shared(&'a Bytes),
    Borrowed(&'a [u8]),
}

/// See the module.
pub(super) struct Known<'a> {
    values: [Option<Value<'a>>; KNOWN.len()],
    /// Makes bytes of their own of borrowed ones.
    keep: &'a dyn Fn(&[u8]) -> Bytes,
    /// Bytes of all names and values, of unknown fields too.
    pub(super) bytes: usize,
}

impl<'a> Known<'a> {
    pub(super) fn of_fields(fields: &'a Fields) -> Self {
        let pairs = fields.iter().map(|(name, value)| (name.as_bytes(), Value::Shared(value)));
        Self::of(pairs, &Bytes::copy_from_slice)
    }

    pub(super) fn of_pairs(pairs: &[(&'a [u8], &'a [u8])], keep: &'a dyn Fn(&[u8]) -> Bytes) -> Self {
        Self::of(pairs.iter().map(|(name, value)| (*name, Value::Borrowed(value))), keep)
    }

    fn of(pairs: impl Iterator<Item = (&'a [u8], Value<'a>)>, keep: &'a dyn Fn(&[u8]) -> Bytes) -> Self {
        let mut known = Self { values: [None; KNOWN.len()], keep, bytes: 0 };
        for (name, value) in pairs {
            known.bytes += name.len() + value.as_slice().len();
            let place = KNOWN.iter().position(|known| known.as_bytes() == name);
            // Of fields with the same name the last counts.
            if let Some(place) = place.and_then(|at| known.values.get_mut(at)) {
                *place = Some(value);
            }
        }
        known
    }

    /// Finds a value.
    pub(super) fn get(&self, field: Field) -> Option<&'a [u8]> {
        self.find(field).map(Value::as_slice)
    }

    /// Finds a value, to be kept.
    pub(super) fn keep(&self, field: Field) -> Option<Bytes> {
        self.find(field).map(|value| match value {
            Value::Shared(bytes) => bytes.clone(),
            Value::Borrowed(bytes) => (self.keep)(bytes),
        })
    }

    fn find(&self, field: Field) -> Option<Value<'a>> {
        self.values.get(field.0).copied().flatten()
    }
}

impl<'a> Value<'a> {
    fn as_slice(self) -> &'a [u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Borrowed(bytes) => bytes,
        }
    }
}
