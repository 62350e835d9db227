//! A text key that may be left empty: `""` is none.
//!
//! Owns that convention, for `#[serde(with = "optional")]`, so that the shipped file can show every key and an
//! environment that sets a variable to nothing means nothing. Never used for numbers or spans: those have `0`.

use serde::de::IntoDeserializer;
use serde::de::value::StringDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes the value, `""` for none.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str(""),
    }
}

/// Reads the value, none for `""`.
///
/// # Errors
/// When the value is no text, or not one that `T` allows.
pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: for<'text> Deserialize<'text>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let text: StringDeserializer<D::Error> = text.into_deserializer();
    T::deserialize(text).map(Some)
}
