//! Names that travel: users, groups, nodes, messages.
//!
//! Owns the rule each of them must keep, so that a value of these types is safe inside a key, a path and a log line.
//! Never looks anything up. Names are cheap to clone: short ones are copied, long ones shared.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not the name it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {kind}")]
pub struct NameError {
    /// What was being read: `uid`, `tgid`, `node id`, ...
    pub what: &'static str,
    /// What is wrong with it.
    pub kind: NameErrorKind,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameErrorKind {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// It has more bytes than allowed.
    #[error("is longer than {max} bytes")]
    TooLong {
        /// The bound, in bytes.
        max: usize,
    },
    /// A character is not allowed, or one is missing.
    #[error("is not acceptable from byte {at} on")]
    Character {
        /// Where, in bytes from 0.
        at: usize,
    },
}

const MAX_NAME: usize = 128;
const MAX_NODE_ID: usize = 64;
const MAX_PREFIX: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident($text:ty), $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($text);

        impl $name {
            /// Checks a text against the rule of this name.
            ///
            /// # Errors
            /// Says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameErrorKind> = $check;
                check(text).map_err(|kind| NameError { what: $what, kind })?;
                Ok(Self(<$text>::from(text)))
            }

            /// Shows the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
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

name! {
    /// A user: 1 to 128 bytes of UTF-8 without control characters, white space, `{` or `}`.
    Uid(Short<38>), "uid", check_name
}
name! {
    /// A group: 1 to 128 bytes of UTF-8 without control characters, white space, `{` or `}`.
    Tgid(Arc<str>), "tgid", check_name
}
name! {
    /// A node: 1 to 64 of `[A-Za-z0-9._:-]`.
    NodeId(Arc<str>), "node id", |text| check_token(text, MAX_NODE_ID)
}
name! {
    /// A message: 1 to 128 of `[A-Za-z0-9._:-]`.
    MessageId(Short<30>), "message id", |text| check_token(text, MAX_NAME)
}

impl MessageId {
    /// Takes a text that keeps the rule by how it was made.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(Short::from(text))
    }

    /// The same as [`as_str`](Self::as_str), unchecked whether it is a text.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A text that needs no memory of its own while it has at most so many bytes: for message ids as many as those have that
/// entries and processes give, for users enough for a UUID in its usual form.
#[derive(Clone)]
enum Short<const MOST: usize> {
    /// What is behind the text is 0.
    Here {
        length: u8,
        bytes: [u8; MOST],
    },
    Shared(Arc<str>),
}

impl<const MOST: usize> Short<MOST> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Here { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Shared(text) => text.as_bytes(),
        }
    }
}

impl<const MOST: usize> From<&str> for Short<MOST> {
    fn from(text: &str) -> Self {
        let mut bytes = [0; MOST];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Here { length, bytes }
            }
            _ => Self::Shared(Arc::from(text)),
        }
    }
}

impl<const MOST: usize> Deref for Short<MOST> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            // It was a text when it was put there.
            Self::Here { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Shared(text) => text,
        }
    }
}

impl<const MOST: usize> fmt::Debug for Short<MOST> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

// How texts compare is how their bytes do, and those need no check.
impl<const MOST: usize> PartialEq for Short<MOST> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here { length, bytes }, Self::Here { length: others, bytes: other }) => {
                length == others && bytes == other
            }
            _ => self.as_bytes() == other.as_bytes(),
        }
    }
}

impl<const MOST: usize> Eq for Short<MOST> {}

impl<const MOST: usize> PartialOrd for Short<MOST> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const MOST: usize> Ord for Short<MOST> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl<const MOST: usize> Hash for Short<MOST> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// What keys begin with: 1 to 64 of `[A-Za-z0-9._:-]`.
pub(crate) fn check_prefix(text: &str) -> Result<(), NameError> {
    check_token(text, MAX_PREFIX).map_err(|kind| NameError { what: "prefix", kind })
}

// Braces would change the slot of a key on Redis Cluster.
fn check_name(text: &str) -> Result<(), NameErrorKind> {
    check(text, MAX_NAME, |c| !c.is_control() && !c.is_whitespace() && c != '{' && c != '}')
}

fn check_token(text: &str, max: usize) -> Result<(), NameErrorKind> {
    check(text, max, |c| u8::try_from(c).is_ok_and(is_token))
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')
}

/// What is allowed in every name: most have nothing else, and are looked at by bytes.
const TOKEN: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        allowed[byte as usize] = is_token(byte);
        byte += 1;
    }
    allowed
};

fn check(text: &str, max: usize, allowed: impl Fn(char) -> bool) -> Result<(), NameErrorKind> {
    if text.is_empty() {
        return Err(NameErrorKind::Empty);
    }
    if text.len() > max {
        return Err(NameErrorKind::TooLong { max });
    }
    if text.bytes().all(|byte| TOKEN[usize::from(byte)]) {
        return Ok(());
    }
    match text.char_indices().find(|&(_, c)| !allowed(c)) {
        Some((at, _)) => Err(NameErrorKind::Character { at }),
        None => Ok(()),
    }
}
