//! The JSON form of an entry: `msg` on the queue, and the bodies of HTTP.
//!
//! Owns the step between one JSON object and [`Fields`]: `data` is unquoted there, bytes are `raw_b64`, and what is empty
//! counts as absent. Values are carried over as text, never through a tree: numbers keep their digits, keys their order.

use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::fields::KNOWN;
use super::malformed::MalformedKind::{Name, NotJson, OutOfRange};
use super::{Fields, Malformed};

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));

impl Fields {
    /// Reads one JSON object with the fields of an entry.
    ///
    /// # Errors
    /// It is no JSON object, or a value has a type its field does not take.
    pub fn from_json(object: &[u8]) -> Result<Self, Malformed> {
        read(object, "entry")
    }

    /// Shows the fields as one JSON object, for people: `data` and lists as JSON if they parse, `raw` as `raw_b64`,
    /// everything else as text.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (name, value) in self.iter() {
            let (name, value) = show(name, value);
            object.insert(name.to_owned(), value);
        }
        Value::Object(object)
    }
}

/// Reads one JSON object; `whole` is the field to name when it is none.
pub(super) fn read(object: &[u8], whole: &str) -> Result<Fields, Malformed> {
    let not_json = |detail: String| Malformed::new(whole, NotJson, detail);
    let text = std::str::from_utf8(object).map_err(|error| not_json(error.to_string()))?;
    let members = serde_json::from_str::<Members<'_>>(text).map_err(|error| not_json(error.to_string()))?;
    let mut fields = Fields::new();
    // Under a mol, empty data is a value like any other: dropping it would change what the client gets.
    let has_mol = members.0.iter().any(|(name, value)| name == "mol" && !is_absent(value));
    for (name, value) in members.last_of_each() {
        if is_absent(value) && !(has_mol && name == "data") {
            continue;
        }
        let value = value_of(&name, value)?;
        fields.push(if name == "raw_b64" { "raw" } else { &name }, value);
    }
    Ok(fields)
}

/// Members of one JSON object in order, their values unread.
struct Members<'a>(Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    fn last_of_each(self) -> impl Iterator<Item = (String, &'a str)> {
        let mut seen = HashSet::with_capacity(self.0.len());
        let counts: Vec<bool> = self.0.iter().rev().map(|(name, _)| seen.insert(name.as_str())).collect();
        let members = self.0.into_iter().zip(counts.into_iter().rev());
        members.filter_map(|(member, counts)| counts.then_some(member))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

fn is_absent(value: &str) -> bool {
    let inside = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    matches!(value, "null" | "\"\"") || inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

fn value_of(name: &str, value: &str) -> Result<Bytes, Malformed> {
    match name {
        "data" => Ok(copy(value)),
        "raw_b64" => bytes_of(value),
        "raw" => Err(Malformed::new(name, OutOfRange, "JSON carries bytes as raw_b64")),
        "except_uid" => except_of(value),
        "to_uids" | "tgid_list" => either(name, value, '['),
        "msg" => either(name, value, '{'),
        "ttl_ms" | "deliver_at_ms" | "receipt" | "all" => number_of(name, value),
        name if KNOWN.contains(&name) => string_of(name, value).map(Bytes::from),
        _ => Ok(unknown_of(value)),
    }
}

fn bytes_of(value: &str) -> Result<Bytes, Malformed> {
    let text = string_of("raw_b64", value)?;
    let bytes = BASE64.decode(text);
    bytes.map(Bytes::from).map_err(|error| Malformed::new("raw_b64", OutOfRange, error.to_string()))
}

fn except_of(value: &str) -> Result<Bytes, Malformed> {
    let except = either("except_uid", value, '[')?;
    // A uid that begins like a list must not be taken for one.
    let misleading = except.starts_with(b"[") && !value.starts_with('[');
    Ok(if misleading { Bytes::from(format!("[{value}]")) } else { except })
}

/// A list or object as it is, or what is in a string.
fn either(name: &str, value: &str, opening: char) -> Result<Bytes, Malformed> {
    if value.starts_with(opening) { Ok(copy(value)) } else { string_of(name, value).map(Bytes::from) }
}

fn number_of(name: &str, value: &str) -> Result<Bytes, Malformed> {
    match value.starts_with('"') {
        true => string_of(name, value).map(Bytes::from),
        false if value.starts_with(['[', '{']) => Err(Malformed::new(name, OutOfRange, "is no number or flag")),
        false => Ok(copy(value)),
    }
}

fn string_of(name: &str, value: &str) -> Result<String, Malformed> {
    let kind = if matches!(name, "to_uid" | "tgid" | "id") { Name } else { OutOfRange };
    if !value.starts_with('"') {
        return Err(Malformed::new(name, kind, "is of another type than it should be"));
    }
    serde_json::from_str(value).map_err(|error| Malformed::new(name, kind, error.to_string()))
}

fn unknown_of(value: &str) -> Bytes {
    serde_json::from_str::<String>(value).map_or_else(|_| copy(value), Bytes::from)
}

fn copy(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

fn show<'a>(name: &'a str, value: &[u8]) -> (&'a str, Value) {
    let json = || serde_json::from_slice::<Value>(value).ok();
    let shown = match name {
        "raw" => return ("raw_b64", Value::String(BASE64.encode(value))),
        "data" => json(),
        "msg" => json().filter(Value::is_object),
        "to_uids" | "tgid_list" | "except_uid" => json().filter(Value::is_array),
        _ => None,
    };
    let text = || Value::String(String::from_utf8_lossy(value).into_owned());
    (name, shown.unwrap_or_else(text))
}
