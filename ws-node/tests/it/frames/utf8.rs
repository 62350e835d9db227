//! Text is UTF-8: valid text comes back whatever it is cut into, anything else is closed with 1007.

use super::Echo;
use crate::support::raw::{BINARY, CONTINUATION, FIN, PONG, TEXT, binary, frame, ping, text};

const VALID: [&str; 9] = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\u{0}",
    "\u{7F}\u{80}\u{7FF}\u{800}",
    "\u{D7FF}\u{E000}",
    "\u{FFFD}\u{FFFE}\u{FFFF}",
    "\u{10000}\u{1F600}\u{10FFFF}",
    "日本語テキスト",
    "\u{FEFF}with a mark",
];

const INVALID: [(&str, &[u8]); 18] = [
    ("a lone continuation byte", b"\x80"),
    ("two of them", b"\xBF\xBF"),
    ("a start byte without an end", b"\xC3"),
    ("a start byte before ASCII", b"\xC3a"),
    ("three bytes cut after two", b"\xE2\x82"),
    ("four bytes cut after three", b"\xF0\x9F\x98"),
    ("an overlong slash in two bytes", b"\xC0\xAF"),
    ("an overlong DEL in two bytes", b"\xC1\xBF"),
    ("an overlong slash in three bytes", b"\xE0\x80\xAF"),
    ("an overlong 7FF in three bytes", b"\xE0\x9F\xBF"),
    ("an overlong slash in four bytes", b"\xF0\x80\x80\xAF"),
    ("an overlong FFFF in four bytes", b"\xF0\x8F\xBF\xBF"),
    ("a low surrogate", b"\xED\xB0\x80"),
    ("a high surrogate", b"\xED\xA0\x80"),
    ("a pair of surrogates", b"\xED\xA0\xBD\xED\xB8\x80"),
    ("above 10FFFF", b"\xF4\x90\x80\x80"),
    ("five bytes", b"\xF8\x88\x80\x80\x80"),
    ("FE and FF", b"\xFE\xFF"),
];

#[tokio::test]
async fn valid_text_comes_back() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    for valid in VALID {
        client.send(&text(valid.as_bytes())).await;
        client.expect(TEXT, valid.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_code_point_may_be_split_between_fragments_anywhere() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    for valid in VALID {
        let bytes = valid.as_bytes();
        for cut in 0..=bytes.len() {
            let (start, end) = bytes.split_at(cut);
            client.send(&[frame(TEXT, start), frame(FIN | CONTINUATION, end)].concat()).await;
            client.expect(TEXT, bytes).await;
        }
    }
}

#[tokio::test]
async fn a_code_point_may_be_split_into_single_bytes_with_pings_between() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let bytes = "ß€😀".as_bytes();
    let mut sent = frame(TEXT, b"");
    for byte in bytes {
        sent.extend(frame(CONTINUATION, &[*byte]));
        sent.extend(ping(b"between"));
    }
    sent.extend(frame(FIN | CONTINUATION, b""));
    client.send(&sent).await;
    for _ in bytes {
        client.expect(PONG, b"between").await;
    }
    client.expect(TEXT, bytes).await;
}

#[tokio::test]
async fn invalid_text_is_refused() {
    let echo = Echo::start().await;
    for (what, invalid) in INVALID {
        echo.refuses(what, &text(invalid), 1007).await;
        let within = [b"start ".as_slice(), invalid, b" end"].concat();
        echo.refuses(what, &text(&within), 1007).await;
    }
}

#[tokio::test]
async fn invalid_text_in_any_fragment_is_refused() {
    let echo = Echo::start().await;
    for (what, invalid) in INVALID {
        let first = [frame(TEXT, invalid), frame(CONTINUATION, b"!"), frame(FIN | CONTINUATION, b"!")].concat();
        let middle = [frame(TEXT, b"!"), frame(CONTINUATION, invalid), frame(FIN | CONTINUATION, b"!")].concat();
        let last = [frame(TEXT, b"!"), frame(CONTINUATION, b"!"), frame(FIN | CONTINUATION, invalid)].concat();
        for bytes in [first, middle, last] {
            echo.refuses(what, &bytes, 1007).await;
        }
    }
}

#[tokio::test]
async fn text_that_ends_inside_a_code_point_is_refused() {
    let echo = Echo::start().await;
    let euro = "€".as_bytes();
    let bytes = [frame(TEXT, &euro[..1]), frame(FIN | CONTINUATION, &euro[1..2])].concat();
    echo.refuses("two of three bytes", &bytes, 1007).await;
    let bytes = [frame(TEXT, &euro[..2]), frame(FIN | CONTINUATION, b"")].concat();
    echo.refuses("an empty last fragment", &bytes, 1007).await;
}

#[tokio::test]
async fn binary_need_not_be_text() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    for (_, invalid) in INVALID {
        client.send(&binary(invalid)).await;
        client.expect(BINARY, invalid).await;
    }
}
