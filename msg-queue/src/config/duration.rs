//! Spans of time as people write them: `"25s"`, `"300ms"`, `"10m"`, `"30d"`; `"0"` is no time at all.
//!
//! Owns the text form, for `#[serde(with = "duration")]`; [`or_none`] is the form for a field in which zero means
//! that there is no such limit. Never takes a bare number: nobody could tell seconds from milliseconds.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserializer, Serializer};

const ALLOWED: &str =
    "must be a span of time with its unit, such as \"300ms\", \"25s\", \"10m\", \"12h\", \"30d\", or \"0\"";

/// Reads a span.
///
/// # Errors
/// When the text is no span, or a number other than 0 has no unit.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    match text.trim() {
        "0" => Ok(Duration::ZERO),
        text => humantime::parse_duration(text).map_err(|_| ALLOWED),
    }
}

/// Writes a span so that [`parse`] reads it back.
#[must_use]
pub fn render(span: Duration) -> String {
    match span {
        Duration::ZERO => "0".to_owned(),
        span => humantime::format_duration(span).to_string(),
    }
}

/// Writes a span.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&render(*span))
}

/// Reads a span.
///
/// # Errors
/// When the value is no span.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(SpanVisitor)
}

/// The form for a field in which `"0"` means none.
pub mod or_none {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    /// Writes a span, `"0"` for none.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(&span.unwrap_or_default(), serializer)
    }

    /// Reads a span, none for `"0"`.
    ///
    /// # Errors
    /// When the value is no span.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(|span| Some(span).filter(|span| !span.is_zero()))
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span of time such as \"25s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
        match number {
            0 => Ok(Duration::ZERO),
            _ => Err(E::custom(ALLOWED)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
        match number {
            0 => Ok(Duration::ZERO),
            _ => Err(E::custom(ALLOWED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_read_with_their_unit() {
        let table = [
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("300ms", Duration::from_millis(300)),
            ("25s", Duration::from_secs(25)),
            ("10m", Duration::from_mins(10)),
            ("1m 30s", Duration::from_secs(90)),
            ("30d", Duration::from_hours(30 * 24)),
        ];
        for (text, span) in table {
            assert_eq!(parse(text), Ok(span), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_span_is_refused() {
        for text in ["", "25", "-1s", "s", "25 parsecs", "1.5.2s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_span_is_read_back_as_it_was_written(seconds in 0..1_u64 << 40, nanos in 0..1_000_000_000_u32) {
            let span = Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&render(span)), Ok(span));
        }
    }
}
