//! What the client gets: JSON, checked and compacted without building a tree, or bytes.
//!
//! From here on a payload is opaque: frames take it in as it is, so what leaves this module must be whole.

use bytes::Bytes;
use memchr::memchr2;
use serde::de::IgnoredAny;

use super::decode::text;
use super::known::{self, Field, Known};
use super::malformed::MalformedKind::{Conflict, Missing, NotJson, OutOfRange};
use super::{Malformed, Payload};
use crate::text::push_json;

/// How deep `data` may nest. A frame around it stays below 128, where common JSON readers stop.
pub const MAX_DEPTH: usize = 100;
const MAX_WORD: usize = 128;

/// Reads `raw`, or `data` with its `mol` and `ctrl`.
pub(super) fn payload(fields: &Known<'_>) -> Result<Payload, Malformed> {
    let mol = word(fields, known::MOL)?;
    let ctrl = word(fields, known::CTRL)?;
    if ctrl.is_some() && mol.is_none() {
        return Err(Malformed::new("ctrl", Conflict, "is given without mol"));
    }
    match (fields.get(known::RAW), fields.get(known::DATA)) {
        (Some(_), Some(_)) => Err(Malformed::new("raw", Conflict, "is given beside data")),
        (None, None) => Err(Malformed::new("data", Missing, "neither data nor raw is given")),
        (Some(_), None) if mol.is_some() => Err(Malformed::new("mol", Conflict, "is given beside raw")),
        (Some(_), None) => Ok(Payload::Raw(fields.keep(known::RAW).unwrap_or_default())),
        (None, Some(data)) => {
            let wrapped = json(data, mol, ctrl)?;
            Ok(Payload::Json(wrapped.unwrap_or_else(|| fields.keep(known::DATA).unwrap_or_default())))
        }
    }
}

fn word<'a>(fields: &Known<'a>, field: Field) -> Result<Option<&'a str>, Malformed> {
    let Some(value) = fields.get(field) else {
        return Ok(None);
    };
    let word = text(value, field.name(), OutOfRange)?;
    if word.is_empty() || word.len() > MAX_WORD {
        return Err(Malformed::new(field.name(), OutOfRange, "is not 1 to 128 bytes"));
    }
    Ok(Some(word))
}

/// Makes of `data` what the client gets. None: it is that as it is.
fn json(data: &[u8], mol: Option<&str>, ctrl: Option<&str>) -> Result<Option<Bytes>, Malformed> {
    let text = text(data, "data", NotJson)?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| Malformed::new("data", NotJson, error.to_string()))?;
    let shape = Shape::of(text);
    if shape.is_too_deep {
        return Err(Malformed::new("data", NotJson, format!("nests deeper than {MAX_DEPTH}")));
    }
    if mol.is_none() && !text.trim_ascii_start().starts_with('{') {
        return Err(Malformed::new("data", OutOfRange, "is no object, and no mol is given"));
    }
    if mol.is_none() && !shape.has_space {
        return Ok(None);
    }
    Ok(Some(wrap(text, &shape, &[mol, ctrl])))
}

fn wrap(data: &str, shape: &Shape, words: &[Option<&str>]) -> Bytes {
    let words = words.iter().flatten();
    let mut out = Vec::with_capacity(data.len() + words.clone().map(|word| word.len() + 8).sum::<usize>());
    for word in words.clone() {
        out.push(b'{');
        push_json(&mut out, word);
        out.push(b':');
    }
    if shape.has_space {
        push_compact(&mut out, data.as_bytes());
    } else {
        out.extend_from_slice(data.as_bytes());
    }
    out.extend(words.map(|_| b'}'));
    Bytes::from(out)
}

/// What valid JSON looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    is_too_deep: bool,
    has_space: bool,
}

impl Shape {
    fn of(json: &str) -> Self {
        // Without any space, and with little that is opened, texts included, counts tell as much as a walk: of many bytes at once.
        let counts = json.as_bytes().chunks(BLOCK).map(count);
        let (spaces, opened) = counts.fold((0, 0), |all, block| (all.0 + block.0, all.1 + block.1));
        match spaces == 0 && opened <= MAX_DEPTH {
            true => Self { is_too_deep: false, has_space: false },
            false => Self::by_walk(json),
        }
    }

    fn by_walk(json: &str) -> Self {
        let mut shape = Self { is_too_deep: false, has_space: false };
        let mut open: usize = 0;
        let mut bytes = json.as_bytes().iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => bytes = behind_text(bytes.as_slice()).iter(),
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.saturating_sub(1),
                byte => shape.has_space |= is_space(*byte),
            }
            shape.is_too_deep |= open > MAX_DEPTH;
        }
        shape
    }
}

/// So many bytes are counted by one byte, and many such at once.
const BLOCK: usize = u8::MAX as usize;

/// Counts spaces, and what opens something, within texts or not.
fn count(block: &[u8]) -> (usize, usize) {
    let (mut spaces, mut opened) = (0_u8, 0_u8);
    for byte in block {
        spaces += u8::from(is_space(*byte));
        opened += u8::from(matches!(byte, b'{' | b'['));
    }
    (spaces.into(), opened.into())
}

/// What is behind the text that valid JSON is in. Most of a payload is texts, and most texts have no escapes.
fn behind_text(json: &[u8]) -> &[u8] {
    let mut rest = json;
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        let is_escape = rest.get(at) == Some(&b'\\');
        rest = rest.get(at + 1 + usize::from(is_escape)..).unwrap_or_default();
        if !is_escape {
            return rest;
        }
    }
    &[]
}

/// Appends valid JSON without the space between its parts.
fn push_compact(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some((&byte, others)) = rest.split_first() {
        let behind = if byte == b'"' { behind_text(others) } else { others };
        if !is_space(byte) {
            out.extend_from_slice(rest.get(..rest.len() - behind.len()).unwrap_or_default());
        }
        rest = behind;
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_tell_no_more_than_a_walk(parts in prop::collection::vec(r#"\{|\[|\}|"[a-z\[ ]{0,9}"|[a-z]{1,300}"#, 0..250)) {
            let text = parts.concat();
            prop_assert_eq!(Shape::of(&text), Shape::by_walk(&text));
        }
    }

    #[test]
    fn what_nests_too_deep_is_seen_without_a_space() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!Shape::of(&nested(MAX_DEPTH)).is_too_deep);
        assert!(Shape::of(&nested(MAX_DEPTH + 1)).is_too_deep);
        assert!(!Shape::of(&format!("{{\"a\":\"{}\"}}", "{".repeat(1_000))).is_too_deep, "only texts");
    }
}
