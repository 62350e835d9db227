//! Messages in fragments: put together, interrupted by control frames, refused when out of order.

use super::Echo;
use crate::support::raw::{BINARY, CONTINUATION, FIN, PONG, TEXT, frame, ping, text};

/// A message cut into fragments.
fn fragments(opcode: u8, parts: &[&[u8]]) -> Vec<u8> {
    let last = parts.len() - 1;
    let piece = |(at, part): (usize, &&[u8])| {
        let fin = if at == last { FIN } else { 0 };
        let opcode = if at == 0 { opcode } else { CONTINUATION };
        frame(fin | opcode, part)
    };
    parts.iter().enumerate().flat_map(piece).collect()
}

#[tokio::test]
async fn fragments_come_back_as_one_message() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&fragments(TEXT, &[b"frag", b"ment"])).await;
    client.expect(TEXT, b"fragment").await;
    client.send(&fragments(BINARY, &[&[0, 255], &[1, 254], &[2]])).await;
    client.expect(BINARY, &[0, 255, 1, 254, 2]).await;
}

#[tokio::test]
async fn many_fragments_come_back_as_one_message() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let bytes: Vec<[u8; 1]> = (b'a'..=b'z').cycle().take(1_000).map(|letter| [letter]).collect();
    let parts: Vec<&[u8]> = bytes.iter().map(<[u8; 1]>::as_slice).collect();
    client.send(&fragments(TEXT, &parts)).await;
    client.expect(TEXT, &parts.concat()).await;
}

#[tokio::test]
async fn empty_fragments_are_fragments() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let cases: [&[&[u8]]; 5] =
        [&[b"", b"", b""], &[b"", b"middle", b""], &[b"start", b"", b""], &[b"", b"", b"end"], &[b"a", b"", b"b"]];
    for parts in cases {
        client.send(&fragments(TEXT, parts)).await;
        client.expect(TEXT, &parts.concat()).await;
    }
}

#[tokio::test]
async fn control_frames_between_fragments_are_answered_at_once() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&frame(TEXT, b"one ")).await;
    client.send(&ping(b"first")).await;
    client.expect(PONG, b"first").await;
    client.send(&frame(CONTINUATION, b"two ")).await;
    client.send(&frame(FIN | PONG, b"unasked")).await;
    client.send(&ping(b"second")).await;
    client.expect(PONG, b"second").await;
    client.send(&frame(FIN | CONTINUATION, b"three")).await;
    client.expect(TEXT, b"one two three").await;
}

#[tokio::test]
async fn messages_follow_each_other_fragmented_or_not() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let bytes = [
        fragments(TEXT, &[b"a", b"b"]),
        text(b"c"),
        fragments(BINARY, &[b"d", b"e", b"f"]),
        fragments(TEXT, &[b"g", b"h"]),
    ];
    client.send(&bytes.concat()).await;
    client.expect(TEXT, b"ab").await;
    client.expect(TEXT, b"c").await;
    client.expect(BINARY, b"def").await;
    client.expect(TEXT, b"gh").await;
}

#[tokio::test]
async fn a_continuation_of_nothing_is_a_protocol_error() {
    let echo = Echo::start().await;
    let cases = [
        ("final", frame(FIN | CONTINUATION, b"lost")),
        ("not final", frame(CONTINUATION, b"lost")),
        ("empty", frame(FIN | CONTINUATION, b"")),
        ("not final, then more", [frame(CONTINUATION, b"lost"), text(b"x")].concat()),
    ];
    for (what, bytes) in cases {
        echo.refuses(what, &bytes, 1002).await;
    }
}

#[tokio::test]
async fn a_continuation_after_a_whole_message_is_a_protocol_error() {
    let echo = Echo::start().await;
    for before in [text(b"whole"), fragments(TEXT, &[b"who", b"le"])] {
        let mut client = echo.client().await;
        client.send(&before).await;
        client.expect(TEXT, b"whole").await;
        client.send(&frame(FIN | CONTINUATION, b"more")).await;
        client.expect_close(1002).await;
    }
}

#[tokio::test]
async fn a_new_message_inside_a_fragmented_one_is_a_protocol_error() {
    let echo = Echo::start().await;
    let cases = [
        ("text in text", [frame(TEXT, b"one"), text(b"two")].concat()),
        ("binary in text", [frame(TEXT, b"one"), frame(FIN | BINARY, b"two")].concat()),
        ("text in binary", [frame(BINARY, b"one"), text(b"two")].concat()),
        ("after a fragment", [frame(TEXT, b"one"), frame(CONTINUATION, b""), frame(TEXT, b"two")].concat()),
    ];
    for (what, bytes) in cases {
        echo.refuses(what, &bytes, 1002).await;
    }
}
