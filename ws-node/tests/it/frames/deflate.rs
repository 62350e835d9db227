//! permessage-deflate (RFC 7692): agreed on where both want it, compressed once for all who get the same, and nothing a client
//! packs hurts the node.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use gim_msg_queue::config::ByteSize;
use gim_ws_node::config::Config;
use serde_json::{Value, json};

use crate::support::http::{self, push};
use crate::support::node::TestNode;
use crate::support::raw::{BINARY, CONTINUATION, FIN, PING, PONG, Raw, TEXT, frame, ping, text, upgrade_head};

const RSV1: u8 = 0x40;

/// What ends every message and is not sent.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

fn deflating(config: &mut Config) {
    config.session.deflate = true;
    config.session.close_timeout = Duration::from_millis(200);
}

/// A message as a client packs it.
fn packed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.flush().unwrap();
    let bytes = encoder.get_ref().clone();
    let end = bytes.strip_suffix(&TAIL).expect("a flush ends with the tail").len();
    bytes[..end].to_vec()
}

/// A payload that is worth compressing.
fn long(about: &str) -> Value {
    json!({ "about": about, "text": "as long as a message has to be to be packed; ".repeat(20) })
}

/// What a head with this offer is answered as extensions.
async fn answered(node: &TestNode, offer: &str) -> Option<String> {
    let mut client = Raw::open(node.public).await;
    let head = upgrade_head("/acc?uid=offers&msg_code=1");
    client.send(format!("{}{offer}\r\n", head.strip_suffix("\r\n").unwrap()).as_bytes()).await;
    let answer = client.expect_101().await;
    answer.header("sec-websocket-extensions").map(str::to_owned)
}

#[tokio::test]
async fn nothing_is_agreed_on_unless_the_node_is_told_to() {
    let node = TestNode::echo().await;
    assert_eq!(answered(&node, "Sec-WebSocket-Extensions: permessage-deflate\r\n").await, None);
}

#[tokio::test]
async fn an_offer_is_accepted_in_any_line_and_one_that_cannot_be_kept_is_passed_over() {
    let node = TestNode::echo_with(deflating).await;
    let agreed = Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned());
    let header = "Sec-WebSocket-Extensions:";
    for good in [
        format!("{header} permessage-deflate\r\n"),
        format!("{header} permessage-deflate; client_max_window_bits\r\n"),
        format!("{header} permessage-deflate; server_max_window_bits=9, permessage-deflate\r\n"),
        format!("{header} x-other\r\nsec-websocket-extensions:permessage-deflate;client_no_context_takeover\r\n"),
    ] {
        assert_eq!(answered(&node, &good).await, agreed, "{good}");
    }
    for bad in [
        String::new(),
        format!("{header} x-other\r\n"),
        format!("{header} permessage-deflate; server_max_window_bits=9\r\n"),
        format!("{header} permessage-deflate; unheard_of\r\n"),
    ] {
        assert_eq!(answered(&node, &bad).await, None, "{bad}");
    }
}

#[tokio::test]
async fn a_push_to_a_group_is_compressed_once_for_all_who_agreed() {
    let node = TestNode::start_with(deflating).await;
    let mut plain = Raw::connect(node.public, "/ws?uid=plain&msg_code=1").await;
    let mut one = Raw::connect_deflating(node.public, "/ws?uid=one&msg_code=1").await;
    let mut other = Raw::connect_deflating(node.public, "/ws?uid=other&msg_code=1").await;
    let mut binary = Raw::connect_deflating(node.public, "/acc?uid=binary").await;
    for client in [&mut plain, &mut one, &mut other] {
        let welcome = client.frame().await;
        assert!(!welcome.compressed && welcome.text().contains("gim.welcome"));
    }

    push(node.admin, &json!({ "all": true, "data": long("first") })).await;
    push(node.admin, &json!({ "all": true, "data": { "short": 1 } })).await;
    push(node.admin, &json!({ "all": true, "data": long("last") })).await;

    for about in ["first", "", "last"] {
        let wanted = plain.frame().await;
        assert!(!wanted.compressed && wanted.opcode == TEXT);
        let (of_one, of_other) = (one.frame().await, other.frame().await);
        assert_eq!(of_one, of_other, "the same bytes for both");
        assert_eq!(of_one.unpacked(), wanted, "{about}");
        assert_eq!(of_one.compressed, !about.is_empty(), "a short one is left alone");
        let of_binary = binary.frame().await;
        assert_eq!(of_binary.compressed, !about.is_empty());
        assert_eq!(of_binary.opcode, BINARY);
        if of_one.compressed {
            assert!(of_one.payload.len() < wanted.payload.len() / 3);
            let a = serde_json::from_slice::<Value>(&of_binary.unpacked().payload).unwrap();
            assert_eq!(a["response"]["a"], long(about));
        }
    }

    // Two long messages, each as text with an id and in binary frames without one, whoever many get it.
    assert_eq!(http::metric(node.admin, "gim_deflate_messages_total").await, 4);
    assert_eq!(http::metric(node.admin, "gim_deflate_agreed_total").await, 3);
    let before = http::metric(node.admin, "gim_deflate_in_bytes_total").await;
    let after = http::metric(node.admin, "gim_deflate_out_bytes_total").await;
    assert!(before > 3 * 900 && after > 0 && after < before / 3, "{before} bytes became {after}");
}

#[tokio::test]
async fn a_durable_message_is_compressed_behind_a_head_of_its_session_and_comes_again_as_it_is() {
    let node = TestNode::start_with(deflating).await;
    let mut client = Raw::connect_deflating(node.public, "/ws?uid=anna&msg_code=1").await;
    assert!(client.frame().await.text().contains("gim.welcome"));
    push(node.admin, &json!({ "to_uid": "anna", "class": "durable", "data": long("kept") })).await;
    let first = client.frame().await;
    assert!(first.compressed);
    let message: Value = serde_json::from_slice(&first.unpacked().payload).unwrap();
    assert_eq!((&message["offset"], &message["response"]["a"]), (&json!(1), &long("kept")));

    // It was not acknowledged.
    let mut again = Raw::connect_deflating(node.public, "/ws?uid=anna&msg_code=1").await;
    assert!(again.frame().await.text().contains("gim.welcome"));
    let replayed = again.frame().await;
    assert!(!replayed.compressed, "it is read for this session alone");
    assert_eq!(replayed, first.unpacked());
}

#[tokio::test]
async fn a_client_may_compress_any_message_or_none_and_in_fragments() {
    let node = TestNode::echo_with(deflating).await;
    let mut client = Raw::connect_deflating(node.public, "/acc?uid=a&msg_code=1").await;
    let plain = "a text of \u{e4}\u{20ac} that repeats itself; ".repeat(50).into_bytes();
    let bytes = packed(&plain);
    assert!(bytes.len() < plain.len() / 2);
    client.send(&frame(FIN | RSV1 | TEXT, &bytes)).await;
    client.expect(TEXT, &plain).await;
    client.send(&text(b"as it is")).await;
    client.expect(TEXT, b"as it is").await;

    // The bit is on the first fragment alone; control frames go between, never compressed.
    let (start, end) = bytes.split_at(bytes.len() / 2);
    client.send(&[frame(RSV1 | BINARY, start), ping(b"between"), frame(FIN | CONTINUATION, end)].concat()).await;
    client.expect(PONG, b"between").await;
    client.expect(BINARY, &plain).await;
    client.send(&[frame(TEXT, b"not "), frame(FIN | CONTINUATION, b"packed")].concat()).await;
    client.expect(TEXT, b"not packed").await;

    for empty in [&[][..], &[0], &[1], &[2, 0], &[3, 0]] {
        client.send(&frame(FIN | RSV1 | TEXT, empty)).await;
        client.expect(TEXT, b"").await;
    }
    // Stored, in a last block, and in pieces of one byte.
    for hello in [&[0, 5, 0, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0][..], &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 7, 0, 0]]
    {
        client.send_chopped(&frame(FIN | RSV1 | TEXT, hello), &[1]).await;
        client.expect(TEXT, b"Hello").await;
    }
}

#[tokio::test]
async fn what_does_not_unpack_ends_its_connection_and_no_other() {
    let node = TestNode::echo_with(deflating).await;
    let mut other = Raw::connect_deflating(node.public, "/acc?uid=other&msg_code=1").await;
    let bomb = packed(&vec![b'x'; 20_000_000]);
    assert!(bomb.len() < 64 * 1024, "one frame");
    let cut = packed(&b"cut short ".repeat(100));
    let cases: [(&str, Vec<u8>, u16); 11] = [
        ("a bomb", frame(FIN | RSV1 | BINARY, &bomb), 1009),
        ("one byte too many", frame(FIN | RSV1 | BINARY, &packed(&[0; 256 * 1024 + 1])), 1009),
        ("garbage", frame(FIN | RSV1 | TEXT, &[0xFF; 100]), 1002),
        ("what refers to the message before", frame(FIN | RSV1 | TEXT, &[0xF2, 0, 0x11, 0, 0]), 1002),
        ("blocks of nothing", frame(FIN | RSV1 | TEXT, &[3, 0].repeat(30_000)), 1002),
        ("cut short", frame(FIN | RSV1 | TEXT, &cut[..cut.len() / 2]), 1002),
        ("no UTF-8 inside", frame(FIN | RSV1 | TEXT, &packed(&[b'a', 0xFF, b'b'])), 1007),
        ("the bit on a continuation", [frame(RSV1 | TEXT, b""), frame(FIN | RSV1 | CONTINUATION, b"")].concat(), 1002),
        ("the bit on a ping", frame(FIN | RSV1 | PING, b""), 1002),
        ("the bits that mean nothing", frame(FIN | 0x60 | TEXT, b""), 1002),
        (
            "fragments over the bound",
            [frame(RSV1 | BINARY, &[0; 60_000]), frame(CONTINUATION, &[0; 60_000]).repeat(4)].concat(),
            1009,
        ),
    ];
    for (number, (what, bytes, code)) in cases.into_iter().enumerate() {
        let mut client = Raw::connect_deflating(node.public, &format!("/acc?uid=u{number}&msg_code=1")).await;
        client.send_anyway(&bytes).await;
        assert_eq!(client.frame().await.close_code(), Some(code), "{what}");
        client.half_close().await;
        client.expect_end().await;
    }
    let mut stranger = Raw::connect(node.public, "/acc?uid=stranger&msg_code=1").await;
    stranger.send_anyway(&frame(FIN | RSV1 | TEXT, &packed(b"nobody agreed"))).await;
    assert_eq!(stranger.frame().await.close_code(), Some(1002), "without an offer");

    other.send(&frame(FIN | RSV1 | TEXT, &packed(b"undisturbed"))).await;
    other.expect(TEXT, b"undisturbed").await;
}

/// 20,000 letters that do not repeat themselves.
fn letters() -> String {
    let mut noise = 1_u64;
    std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"abcdefghijklmnopqrstuvwxyz012345"[usize::try_from(noise >> 59).unwrap()])
    })
    .take(20_000)
    .collect()
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_its_compressed_messages_whole_when_it_does() {
    // More than the kernel takes for a client that does not read.
    const MESSAGES: usize = 800;
    let node = TestNode::start_with(|config| {
        deflating(config);
        config.session.outbox_bytes = ByteSize::mib(64);
        config.mailbox.bytes = ByteSize::mib(64);
    })
    .await;
    let letters = letters();
    let data = |number: usize| json!({ "number": number, "text": letters });
    // Compressed as a whole, and behind a head of the session's own.
    for class in ["live", "durable"] {
        let mut client = Raw::connect_deflating(node.public, &format!("/acc?uid={class}&msg_code=1")).await;
        for number in 0..MESSAGES {
            push(node.admin, &json!({ "to_uid": class, "class": class, "data": data(number) })).await;
        }
        http::settled(node.admin).await;
        assert_eq!(http::metric(node.admin, "gim_outboxes_waiting").await, 1, "some of it waits");
        let mut compressed = 0;
        for number in 0..MESSAGES {
            let got = client.frame().await;
            compressed += usize::from(got.compressed);
            let message: Value = serde_json::from_slice(&got.unpacked().payload).unwrap();
            assert_eq!(message["response"]["a"], data(number), "{class}");
        }
        match class {
            "live" => assert_eq!(compressed, MESSAGES),
            // From where nothing more went out at once the mailbox was read, for this session alone.
            _ => assert!((2..MESSAGES).contains(&compressed), "{compressed}"),
        }
    }
}
