//! Where a reply ends, and what is where in it: RESP2, looked at once however it comes in.
//!
//! Owns no bytes. A nested list is no recursion here: a list only says how many parts follow.

/// Bytes of one line, at most: of a length, a number, a status or an error.
const MOST_LINE: usize = 64 << 10;
/// Parts of a reply, at most: 16 bytes each.
const MOST_PARTS: usize = 8 << 20;
/// Parts for which there is room beforehand, at most.
const KEPT_PARTS: usize = 32 << 10;

/// A part of a reply. Positions are in the reply's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A list of so many parts, which follow.
    List(u32),
    /// Bytes, or the text of a status.
    Bytes {
        at: u32,
        length: u32,
    },
    Error {
        at: u32,
        length: u32,
    },
    Number(i64),
    Nil,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The reply has so many bytes.
    Whole { bytes: usize },
    /// It has at least so many, more than there are.
    Needs { bytes: usize },
}

/// This is no RESP2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Everything before it was looked at.
    at: usize,
    /// Parts still to come, once one has come.
    left: usize,
    tokens: Vec<Token>,
    /// Parts that a reply may have again: large ones come by turns with small ones.
    room: usize,
}

impl Scan {
    /// Goes on with all bytes that have come of a reply so far, and perhaps more behind it.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<Progress, Malformed> {
        while self.left > 0 || self.tokens.is_empty() {
            let Some(rest) = input.get(self.at..).filter(|rest| !rest.is_empty()) else {
                return Ok(Progress::Needs { bytes: self.at + 1 });
            };
            let found = match counted(rest) {
                Some((b'*', parts, head)) => Some((Token::List(parts), head)),
                Some((b'$', length, head)) => Some(self.bytes(head, length)?),
                _ => self.any(rest)?,
            };
            let Some((token, length)) = found else { return Ok(Progress::Needs { bytes: input.len() + 1 }) };
            match rest.get(..length) {
                None => return Ok(Progress::Needs { bytes: self.at + length }),
                Some(whole) if !whole.ends_with(b"\r\n") => return Err(Malformed),
                Some(_) => {}
            }
            self.take_up(token)?;
            self.at += length;
        }
        Ok(Progress::Whole { bytes: self.at })
    }

    /// Hands over what was found of a whole reply, and begins anew.
    pub(super) fn take(&mut self) -> Vec<Token> {
        self.room = self.tokens.len().max(self.room - self.room / 8);
        let next = Vec::with_capacity(self.room.min(KEPT_PARTS));
        (self.at, self.left) = (0, 0);
        std::mem::replace(&mut self.tokens, next)
    }

    /// Reads the line of a part of any kind. None: it is not whole yet.
    fn any(&self, rest: &[u8]) -> Result<Option<(Token, usize)>, Malformed> {
        let Some(line) = line(rest)? else { return Ok(None) };
        let (kind, text) = line.split_first().ok_or(Malformed)?;
        let head = line.len() + 2;
        let token = match kind {
            b'*' => count(text)?.map_or(Token::Nil, Token::List),
            b'$' => match count(text)? {
                None => Token::Nil,
                Some(length) => return self.bytes(head, length).map(Some),
            },
            b':' => Token::Number(number(text)?),
            b'+' => Token::Bytes { at: place(self.at + 1)?, length: place(text.len())? },
            b'-' => Token::Error { at: place(self.at + 1)?, length: place(text.len())? },
            _ => return Err(Malformed),
        };
        Ok(Some((token, head)))
    }

    /// So many bytes behind their head, and what ends them.
    fn bytes(&self, head: usize, length: u32) -> Result<(Token, usize), Malformed> {
        Ok((Token::Bytes { at: place(self.at + head)?, length }, head + length as usize + 2))
    }

    fn take_up(&mut self, token: Token) -> Result<(), Malformed> {
        self.left = self.left.max(usize::from(self.tokens.is_empty())) - 1;
        if let Token::List(parts) = token {
            self.left = self.left.checked_add(parts as usize).ok_or(Malformed)?;
        }
        if self.tokens.len() >= MOST_PARTS {
            return Err(Malformed);
        }
        self.tokens.push(token);
        Ok(())
    }
}

/// A number of so many digits cannot overflow.
const FEW_DIGITS: usize = 8;

/// Reads the kind of a part, a number of few digits, and how long the line is, if there is nothing else in it: nearly every
/// line that counts what follows is of that form.
fn counted(input: &[u8]) -> Option<(u8, u32, usize)> {
    let (kind, text) = input.split_first()?;
    let mut number = 0;
    for (digits, byte) in text.iter().take(FEW_DIGITS + 1).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit >= 10 || digits == FEW_DIGITS {
            let ends = digits > 0 && text.get(digits..digits + 2) == Some(b"\r\n");
            return ends.then_some((*kind, number, digits + 3));
        }
        number = number * 10 + u32::from(digit);
    }
    None
}

/// Finds the line that comes first, without what ends it. None: it is not whole yet.
fn line(input: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let within = input.get(..MOST_LINE).unwrap_or(input);
    let Some(end) = within.iter().position(|byte| *byte == b'\r') else {
        return if input.len() > MOST_LINE { Err(Malformed) } else { Ok(None) };
    };
    match input.get(end + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(input.get(..end)),
        Some(_) => Err(Malformed),
    }
}

/// Reads how many there are of something. None: -1, for nothing at all.
fn count(text: &[u8]) -> Result<Option<u32>, Malformed> {
    match number(text)? {
        -1 => Ok(None),
        number => u32::try_from(number).map(Some).map_err(|_| Malformed),
    }
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() {
        return Err(Malformed);
    }
    let add = |number: i64, byte: &u8| {
        let digit = i64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        number.checked_mul(10)?.checked_add(if negative { -digit } else { digit })
    };
    digits.iter().try_fold(0, add).ok_or(Malformed)
}

fn place(at: usize) -> Result<u32, Malformed> {
    u32::try_from(at).map_err(|_| Malformed)
}
