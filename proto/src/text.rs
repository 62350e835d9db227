//! Texts as they are written: JSON values appended to a buffer, details of errors kept short.

use serde::Serialize;

const MAX_DETAIL: usize = 200;

/// Appends a value as compact JSON.
pub(crate) fn push_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let start = out.len();
    // Texts, numbers and the notices' plain structs always serialise, and a Vec always takes them.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Cuts what goes into logs and answers: a reader's error may quote all it was given.
pub(crate) fn brief(detail: &str) -> Box<str> {
    let mut end = detail.len().min(MAX_DETAIL);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    detail.get(..end).unwrap_or_default().into()
}
