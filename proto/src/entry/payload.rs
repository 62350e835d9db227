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
    if shape.depth > MAX_DEPTH {
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
struct Shape {
    depth: usize,
    has_space: bool,
}

impl Shape {
    fn of(json: &str) -> Self {
        let mut shape = Self { depth: 0, has_space: false };
        let mut open: usize = 0;
        let mut bytes = json.as_bytes().iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => bytes = behind_text(bytes.as_slice()).iter(),
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.saturating_sub(1),
                byte => shape.has_space |= is_space(*byte),
            }
            shape.depth = shape.depth.max(open);
        }
        shape
    }
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
