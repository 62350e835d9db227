//! Identifiers that processes mint: sessions, runs of processes, fences, entries, messages without a producer's id.
//!
//! Owns their one spelling each: a text that parses prints as itself. Never compares times: an order between two ids is
//! the order of their numbers.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::names::{MessageId, NameError, NameErrorKind};

/// Room for the text of a session or an incarnation.
pub type UlidText = [u8; ulid::ULID_LEN];

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// Makes one that nobody else has.
            #[must_use]
            pub fn mint() -> Self {
                Self(Ulid::new())
            }

            /// Writes what [`Display`](fmt::Display) prints, without memory of its own.
            #[must_use]
            pub fn write<'a>(&self, text: &'a mut UlidText) -> &'a str {
                self.0.array_to_str(text)
            }
        }

        text_id!($name, |text| parse_ulid($what, text).map(Self), |id, serializer| {
            serializer.serialize_str(id.write(&mut UlidText::default()))
        });

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.write(&mut UlidText::default()))
            }
        }
    };
}

macro_rules! text_id {
    ($name:ident, |$text:ident| $parse:expr, |$id:ident, $serializer:ident| $serialize:expr) => {
        impl $name {
            /// Reads what [`Display`](fmt::Display) writes, and nothing else.
            ///
            /// # Errors
            /// Says from which byte on it is something else.
            pub fn parse($text: &str) -> Result<Self, NameError> {
                $parse
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, $serializer: S) -> Result<S::Ok, S::Error> {
                let $id = self;
                $serialize
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(D::Error::custom)
            }
        }
    };
}

ulid_id! {
    /// One authenticated connection, from its claim to its end. 26 characters (ULID).
    SessionId, "session"
}
ulid_id! {
    /// One run of a node or worker process, or what follows a lost lease. 26 characters (ULID).
    Incarnation, "incarnation"
}

/// An entry's place in its stream, `<ms>-<seq>`, as Redis numbers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Unix milliseconds on the clock of the stream.
    pub ms: u64,
    /// Counts entries of one millisecond.
    pub seq: u64,
}

text_id!(EntryId, |text| Self::of_bytes(text.as_bytes()), |id, serializer| serializer.collect_str(id));

impl EntryId {
    /// The same as [`parse`](Self::parse), for what nobody has looked at yet whether it is a text.
    ///
    /// # Errors
    /// Says from which byte on it is something else.
    pub fn of_bytes(text: &[u8]) -> Result<Self, NameError> {
        let fail = |kind| NameError { what: "entry id", kind };
        if text.is_empty() {
            return Err(fail(NameErrorKind::Empty));
        }
        let (ms, dash) = decimal(text).ok_or(fail(NameErrorKind::Character { at: 0 }))?;
        let seq = text.get(dash..).and_then(|rest| rest.strip_prefix(b"-"));
        let seq = seq.and_then(|seq| decimal(seq).filter(|(_, end)| *end == seq.len()));
        let (seq, _) = seq.ok_or(fail(NameErrorKind::Character { at: dash }))?;
        Ok(Self { ms, seq })
    }

    /// Appends what [`Display`](fmt::Display) prints.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.digits().as_bytes());
    }

    fn digits(self) -> Digits {
        let mut digits = Digits::default();
        digits.number(self.ms);
        digits.byte(b'-');
        digits.number(self.seq);
        digits
    }
}

impl fmt::Display for EntryId {
    // By hand: there are several per entry, and the formatting of numbers is felt.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.digits().as_str())
    }
}

/// Numbers with signs between them, as text on the stack.
#[derive(Debug)]
pub(crate) struct Digits {
    bytes: [u8; Self::MOST],
    length: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self { bytes: [0; Self::MOST], length: 0 }
    }
}

impl Digits {
    /// A lane and an entry id, with the signs.
    const MOST: usize = 5 + 1 + 20 + 1 + 20;

    pub(crate) fn of(number: u16) -> Self {
        let mut digits = Self::default();
        digits.number(u64::from(number));
        digits
    }

    pub(crate) fn number(&mut self, number: u64) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number).as_bytes();
        if let Some(place) = self.bytes.get_mut(self.length..self.length + digits.len()) {
            place.copy_from_slice(digits);
            self.length += digits.len();
        }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Number of a uid's ownership: of two owners the later has the higher one. 0: none yet. Below 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl MessageId {
    /// Makes an id that no other message has (ULID).
    #[must_use]
    pub fn mint() -> Self {
        Self::of_text(&Ulid::new().to_string())
    }

    /// Names the message of an entry whose producer gave no id: `<lane>-<ms>-<seq>`, the same on every redelivery.
    #[must_use]
    pub fn of_entry(lane: u16, entry: EntryId) -> Self {
        let mut digits = Digits::default();
        digits.number(u64::from(lane));
        digits.byte(b'-');
        digits.number(entry.ms);
        digits.byte(b'-');
        digits.number(entry.seq);
        Self::of_text(digits.as_str())
    }

    /// Tells the entry of this lane whose id it is, if it has the form of [`of_entry`](Self::of_entry).
    #[must_use]
    pub fn entry_of(&self, lane: u16) -> Option<EntryId> {
        let (of_lane, entry) = self.as_str().split_once('-')?;
        EntryId::parse(entry).ok().filter(|_| of_lane == lane.to_string())
    }
}

fn parse_ulid(what: &'static str, text: &str) -> Result<Ulid, NameError> {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let fail = |kind| Err(NameError { what, kind });
    if text.is_empty() {
        return fail(NameErrorKind::Empty);
    }
    if text.len() > ulid::ULID_LEN {
        return fail(NameErrorKind::TooLong { max: ulid::ULID_LEN });
    }
    // 26 characters of 5 bits are 130: a first one above 7 would overflow.
    let odd = |(at, byte): (usize, u8)| (!ALPHABET.contains(&byte) || (at == 0 && byte > b'7')).then_some(at);
    if let Some(at) = text.bytes().enumerate().find_map(odd) {
        return fail(NameErrorKind::Character { at });
    }
    Ulid::from_string(text).or_else(|_| fail(NameErrorKind::Character { at: text.len() }))
}

/// Reads the number at the beginning, and where it ends. One spelling per number: no sign, no leading zero.
fn decimal(text: &[u8]) -> Option<(u64, usize)> {
    let mut number: u64 = 0;
    let mut end = 0;
    while let Some(digit) = text.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
        end += 1;
    }
    let padded = end > 1 && text.starts_with(b"0");
    (end > 0 && !padded).then_some((number, end))
}
