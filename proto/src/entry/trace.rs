//! The W3C trace context of an entry. A bad one loses the trace, not the message.

use std::sync::Arc;

use super::known::{self, Known};

/// Reads `traceparent`, if it has the shape the W3C gave it.
pub(super) fn traceparent(fields: &Known<'_>) -> Option<Arc<str>> {
    let text = std::str::from_utf8(fields.get(known::TRACEPARENT)?).ok()?;
    is_traceparent(text).then(|| Arc::from(text))
}

// `<version>-<trace id>-<parent id>-<flags>`; versions above 00 may append parts, ff is none.
fn is_traceparent(text: &str) -> bool {
    let mut parts = text.splitn(5, '-');
    let mut hex = |len| parts.next().filter(|part| part.len() == len && part.bytes().all(is_hex));
    let (Some(version), Some(trace), Some(parent), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else {
        return false;
    };
    let more = parts.next();
    version != "ff" && (version != "00" || more.is_none()) && text.len() <= 256 && !is_zero(trace) && !is_zero(parent)
}

fn is_zero(part: &str) -> bool {
    part.bytes().all(|byte| byte == b'0')
}

const fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
