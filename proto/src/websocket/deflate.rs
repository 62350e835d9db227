//! permessage-deflate (RFC 7692): which offers of a client are accepted, and what lies around what was compressed.
//!
//! Owns the words and the bytes of the extension, not the compression. No side keeps anything from one message to the
//! next: what was compressed once is good for every connection that agreed, and a silent connection needs no window.

/// Name of the extension.
const NAME: &str = "permessage-deflate";

/// What a server answers to an offer it accepts, as value of `Sec-WebSocket-Extensions` (RFC 7692, section 7.1).
pub const DEFLATE_ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What ends every message before compression is done with it, and is not sent (RFC 7692, section 7.2.1).
pub const DEFLATE_TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Bytes of [`write_stored_header`].
pub const STORED_HEADER: usize = 5;

/// Tells whether a value of `Sec-WebSocket-Extensions` offers permessage-deflate in a form that [`DEFLATE_ACCEPTED`] answers.
///
/// An offer that says how large the server's window may be is none: what is compressed for all has the usual one, of 32 KiB. Nor
/// is one with a parameter that is unknown, comes twice or has a value it must not have. A client may make several.
#[must_use]
pub fn offers_deflate(extensions: &str) -> bool {
    outside_quotes(extensions, ',').any(is_acceptable)
}

fn is_acceptable(offer: &str) -> bool {
    let mut parts = outside_quotes(offer, ';').map(str::trim);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
        return false;
    }
    let mut seen = 0_u8;
    parts.all(|parameter| {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (parameter, None),
        };
        let bit = match (name.to_ascii_lowercase().as_str(), value) {
            ("server_no_context_takeover", None) => 1,
            ("client_no_context_takeover", None) => 2,
            // Whatever window the client has, it says by itself how far back it refers.
            ("client_max_window_bits", None) => 4,
            ("client_max_window_bits", Some(bits)) if is_window(bits) => 4,
            _ => return false,
        };
        let is_new = seen & bit == 0;
        seen |= bit;
        is_new
    })
}

fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |letter| {
        is_quoted ^= letter == '"';
        letter == separator && !is_quoted
    })
}

/// 8 to 15, without leading zeros.
fn is_window(bits: &str) -> bool {
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Appends what stands before bytes that are taken into a compressed message as they are: a stored block of DEFLATE that is
/// not the last (RFC 1951, section 3.2.4), at the beginning of a byte. What follows it may have been compressed by itself.
pub fn write_stored_header(out: &mut Vec<u8>, len: u16) {
    // Not the last, stored, and the rest of the byte unused.
    out.push(0);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_offer_is_accepted() {
        for offer in [
            // Chromium and Firefox.
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "PerMessage-Deflate;Client_Max_Window_Bits = 12",
            "permessage-deflate; client_max_window_bits=\"10\"",
            // The first is declined, the second is what it falls back to.
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            assert!(offers_deflate(offer), "{offer}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate-2",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=15",
            "x-other; word=\"a, permessage-deflate; client_max_window_bits, b\"",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=016",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; unknown",
            "permessage-deflate;",
        ] {
            assert!(!offers_deflate(offer), "{offer}");
        }
    }

    #[test]
    fn a_stored_block_is_that_of_the_standard() {
        // RFC 7692, section 7.2.3.3.
        let mut out = Vec::new();
        write_stored_header(&mut out, 5);
        assert_eq!(out, [0, 5, 0, 0xFA, 0xFF]);
        assert_eq!(out.len(), STORED_HEADER);
    }
}
