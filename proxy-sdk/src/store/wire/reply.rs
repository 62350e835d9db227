//! A reply, and a walk through its parts.

use bytes::Bytes;

use super::scan::{Progress, Scan, Token};
use crate::store::StoreError;

/// A part that is kept beyond its reply shares the memory of it only where that is not so many times larger: a message
/// that waits must not hold what a thousand others came in.
const PINNED: usize = 4;

/// One reply, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: Bytes,
    tokens: Vec<Token>,
    /// Bytes of memory that whoever shares a part holds, at most.
    held: usize,
}

/// A part of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A list of so many parts, which follow.
    List(usize),
    /// Bytes or text.
    Bytes(&'a [u8]),
    /// What the server refused, as it says it.
    Error(&'a [u8]),
    /// A number.
    Number(i64),
    /// Nothing.
    Nil,
}

impl Reply {
    pub(super) const fn new(bytes: Bytes, tokens: Vec<Token>, held: usize) -> Self {
        Self { bytes, tokens, held }
    }

    /// Reads a reply that is there as a whole. None: it is none, or not whole, or there is more.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut scan = Scan::default();
        let progress = scan.advance(bytes).ok()?;
        let is_whole = progress == Progress::Whole { bytes: bytes.len() };
        is_whole.then(|| Self::new(Bytes::copy_from_slice(bytes), scan.take(), bytes.len()))
    }

    /// Hands back the reply, unless the server refused the command.
    ///
    /// # Errors
    /// What the server said.
    pub fn ok(self) -> Result<Self, StoreError> {
        match self.parts().next() {
            Some(Part::Error(text)) => Err(StoreError::of_server(text)),
            _ => Ok(self),
        }
    }

    /// Walks through the parts, in the order they came.
    #[must_use]
    pub fn parts(&self) -> Parts<'_> {
        Parts { reply: self, rest: self.tokens.iter() }
    }

    /// Keeps a part of this reply, or of one of its parts, beyond it: shared, or copied where sharing it would hold many
    /// times its size.
    #[must_use]
    pub fn keep(&self, part: &[u8]) -> Bytes {
        match part.len().saturating_mul(PINNED) >= self.held {
            true => self.bytes.slice_ref(part),
            false => Bytes::copy_from_slice(part),
        }
    }

    fn slice(&self, at: u32, length: u32) -> &[u8] {
        let (at, length) = (at as usize, length as usize);
        self.bytes.get(at..at + length).unwrap_or_default()
    }
}

/// A walk through the parts of a reply: a list first, then what is in it. What has another form than the caller expects is
/// `None`.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    reply: &'a Reply,
    rest: std::slice::Iter<'a, Token>,
}

impl<'a> Parts<'a> {
    /// Takes a list. Returns how many parts are in it, which follow; nothing at all is a list of none.
    pub fn list(&mut self) -> Option<usize> {
        match self.next()? {
            Part::List(parts) => Some(parts),
            Part::Nil => Some(0),
            _ => None,
        }
    }

    /// Takes bytes or text.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        match self.next()? {
            Part::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Takes a number.
    pub fn number(&mut self) -> Option<i64> {
        match self.next()? {
            Part::Number(number) => Some(number),
            _ => None,
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        Some(match *self.rest.next()? {
            Token::List(parts) => Part::List(parts as usize),
            Token::Bytes { at, length } => Part::Bytes(self.reply.slice(at, length)),
            Token::Error { at, length } => Part::Error(self.reply.slice(at, length)),
            Token::Number(number) => Part::Number(number),
            Token::Nil => Part::Nil,
        })
    }
}
