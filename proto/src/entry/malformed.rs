//! What is wrong with an entry, and why entries die.

use std::fmt;

use crate::text::brief;

/// Which field of an entry breaks which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field; `entry` when it is about the whole.
    pub field: Box<str>,
    /// The rule, for decisions.
    pub kind: MalformedKind,
    /// What is wrong, for people.
    pub detail: Box<str>,
}

/// Which rule an entry breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MalformedKind {
    /// It names nobody.
    NoTarget,
    /// It names targets that exclude each other.
    TwoTargets,
    /// What should be JSON is not.
    NotJson,
    /// A uid, tgid or message id breaks the rule for names.
    Name,
    /// A value is none of those allowed.
    OutOfRange,
    /// Two fields exclude each other.
    Conflict,
    /// A field that must be there is not.
    Missing,
    /// The entry has too many bytes.
    TooLarge,
    /// A list has too many entries.
    TooMany,
}

impl Malformed {
    pub(super) fn new(field: &str, kind: MalformedKind, detail: impl AsRef<str>) -> Self {
        Self { field: field.into(), kind, detail: brief(detail.as_ref()) }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.detail)
    }
}

impl std::error::Error for Malformed {}

/// Why an entry became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// It breaks a rule of the wire.
    Malformed,
    /// It has more than [`MAX_ENTRY_BYTES`](super::MAX_ENTRY_BYTES).
    TooLarge,
    /// It failed as often as it may be tried.
    Attempts,
    /// It asks for what this mode does not do.
    Unsupported,
}

impl DeadReason {
    /// Tells the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Attempts => "attempts",
            Self::Unsupported => "unsupported",
        }
    }
}

impl From<MalformedKind> for DeadReason {
    fn from(kind: MalformedKind) -> Self {
        match kind {
            MalformedKind::TooLarge => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}
