//! Frames a client sends: `{"seq":str,"cmd":str,"data":object?}`.
//!
//! Owns reading them, and what can still be echoed when one cannot be read. Unknown members are passed over, of members
//! with the same name the last counts, and null counts as absent.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::codes::ErrorCode;
use crate::text::brief;

/// Bytes of `seq`, at most.
pub const MAX_SEQ: usize = 256;
/// Bytes of `cmd`, at most.
pub const MAX_CMD: usize = 128;

/// A client's command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientFrame {
    /// Echoed in the reply. Up to 256 bytes, `""` if absent.
    pub seq: String,
    /// What to do. Up to 128 bytes, `""` if absent.
    pub cmd: String,
    /// With what.
    pub data: Option<Map<String, Value>>,
}

/// Why a client's frame was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct FrameError {
    /// [`ErrorCode::JsonError`] or [`ErrorCode::ParamsError`].
    pub code: ErrorCode,
    /// `seq`, if it could be read and is within its bound; else `""`.
    pub seq: String,
    /// `cmd`, if it could be read and is within its bound; else `""`.
    pub cmd: String,
    /// What is wrong, for people.
    pub detail: Box<str>,
}

impl ClientFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// `JsonError`: no JSON object, or `seq` or `cmd` is no text. `ParamsError`: one of them is too long, or `data` is no
    /// object.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut members = Members::default();
        let json = members.read(bytes);
        let seq = word("seq", members.seq, MAX_SEQ);
        let cmd = word("cmd", members.cmd, MAX_CMD);
        let data = object(members.data);
        match (json, seq, cmd, data) {
            (Ok(()), Ok(seq), Ok(cmd), Ok(data)) => Ok(Self { seq, cmd, data }),
            (json, seq, cmd, data) => {
                let (seq, seq_wrong) = echo(seq);
                let (cmd, cmd_wrong) = echo(cmd);
                let wrong = [json.err(), seq_wrong, cmd_wrong, data.err()].into_iter().flatten();
                // What is no JSON frame at all goes before what is one with bad parameters.
                let wrong = wrong.min_by_key(|wrong| wrong.code != ErrorCode::JsonError);
                let Wrong { code, detail } = wrong.unwrap_or_else(|| json_error("is no frame"));
                Err(FrameError { code, seq, cmd, detail })
            }
        }
    }
}

struct Wrong {
    code: ErrorCode,
    detail: Box<str>,
}

fn json_error(detail: impl AsRef<str>) -> Wrong {
    Wrong { code: ErrorCode::JsonError, detail: brief(detail.as_ref()) }
}

fn params_error(detail: impl AsRef<str>) -> Wrong {
    Wrong { code: ErrorCode::ParamsError, detail: brief(detail.as_ref()) }
}

fn word(name: &str, value: Option<Value>, max: usize) -> Result<String, Wrong> {
    match value {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) if text.len() <= max => Ok(text),
        Some(Value::String(_)) => Err(params_error(format!("{name} is longer than {max} bytes"))),
        Some(_) => Err(json_error(format!("{name} is no text"))),
    }
}

fn object(value: Option<Value>) -> Result<Option<Map<String, Value>>, Wrong> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(params_error("data is no object")),
    }
}

fn echo(word: Result<String, Wrong>) -> (String, Option<Wrong>) {
    match word {
        Ok(word) => (word, None),
        Err(wrong) => (String::new(), Some(wrong)),
    }
}

/// What was read, also when the rest could not be.
#[derive(Default)]
struct Members {
    seq: Option<Value>,
    cmd: Option<Value>,
    data: Option<Value>,
}

impl Members {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        self.deserialize(&mut json).and_then(|()| json.end()).map_err(|error| json_error(error.to_string()))?;
        // Members that are passed over are not checked by the reader.
        std::str::from_utf8(bytes).map(|_| ()).map_err(|error| json_error(error.to_string()))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Seq,
    Cmd,
    Data,
    #[serde(other)]
    Unknown,
}

impl<'de> DeserializeSeed<'de> for &mut Members {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Members {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key()? {
            match name {
                Name::Seq => self.seq = Some(map.next_value()?),
                Name::Cmd => self.cmd = Some(map.next_value()?),
                Name::Data => self.data = Some(map.next_value()?),
                Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
