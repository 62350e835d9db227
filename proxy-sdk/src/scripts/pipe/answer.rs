//! Replies on their way to who asked.

use ::fred::bytes_utils::Str;
use ::fred::types::Value;
use tokio::sync::oneshot;

use crate::store::wire::{Part, Parts, Reply};
use crate::store::{StoreError, StoreErrorKind};

/// Lists within lists, at most: as deep as our scripts answer, and more.
const DEPTH: usize = 8;

/// Who waits for replies.
pub(super) enum Caller {
    One(oneshot::Sender<Result<Value, StoreError>>),
    Many {
        to: oneshot::Sender<Result<Vec<Value>, StoreError>>,
        got: Vec<Value>,
        first: Option<StoreError>,
        left: usize,
    },
    /// Nobody any more, for so many.
    Nobody {
        left: usize,
    },
}

impl Caller {
    pub(super) const fn one(to: oneshot::Sender<Result<Value, StoreError>>) -> Self {
        Self::One(to)
    }

    pub(super) fn many(to: oneshot::Sender<Result<Vec<Value>, StoreError>>, commands: usize) -> Self {
        Self::Many { to, got: Vec::with_capacity(commands), first: None, left: commands }
    }

    /// Takes a reply. None: it was the last one, and the caller has been told.
    pub(super) fn take(self, reply: &Reply) -> Option<Self> {
        match self {
            Self::One(to) => {
                // Who does not wait any more does not hear it.
                let _ = to.send(read(reply));
                None
            }
            Self::Many { to, mut got, mut first, left } => {
                match read(reply) {
                    Ok(value) => got.push(value),
                    Err(error) => first = first.or(Some(error)),
                }
                if left > 1 {
                    return Some(Self::Many { to, got, first, left: left - 1 });
                }
                let _ = to.send(first.map_or(Ok(got), Err));
                None
            }
            Self::Nobody { left } => (left > 1).then(|| Self::Nobody { left: left - 1 }),
        }
    }

    pub(super) fn fail(self, error: impl FnOnce() -> StoreError) {
        match self {
            Self::One(to) => drop(to.send(Err(error()))),
            Self::Many { to, .. } => drop(to.send(Err(error()))),
            Self::Nobody { .. } => {}
        }
    }

    /// Tells that it is given up. False: nobody was waiting.
    pub(super) fn give_up(&mut self) -> bool {
        let left = match self {
            Self::One(_) => 1,
            Self::Many { left, .. } => *left,
            Self::Nobody { .. } => return false,
        };
        std::mem::replace(self, Self::Nobody { left }).fail(StoreError::unanswered);
        true
    }
}

fn read(reply: &Reply) -> Result<Value, StoreError> {
    let mut parts = reply.parts();
    match parts.clone().next() {
        Some(Part::Error(text)) => Err(StoreError::of_server(text)),
        _ => value(reply, &mut parts, DEPTH).ok_or(StoreError {
            kind: StoreErrorKind::Corrupt,
            code: None,
            source: None,
        }),
    }
}

fn value(reply: &Reply, parts: &mut Parts<'_>, depth: usize) -> Option<Value> {
    Some(match parts.next()? {
        Part::Number(number) => Value::Integer(number),
        Part::Nil => Value::Null,
        Part::Bytes(bytes) => match Str::from_inner(reply.keep(bytes)) {
            Ok(text) => Value::String(text),
            Err(error) => Value::Bytes(error.into_inner()),
        },
        Part::List(length) if depth > 0 => {
            // A list that is longer than what is left of the reply was refused when it was read.
            let mut values = Vec::with_capacity(length);
            for _ in 0..length {
                values.push(value(reply, parts, depth - 1)?);
            }
            Value::Array(values)
        }
        Part::List(_) | Part::Error(_) => return None,
    })
}
