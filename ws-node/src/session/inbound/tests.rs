use super::*;

const BOUNDS: InboundBounds = InboundBounds { frame: 1_000, message: 2_000, deflate: false };
const DEFLATE: InboundBounds = InboundBounds { deflate: true, ..BOUNDS };

fn client_frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![opcode | if fin { 0x80 } else { 0 }];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn text(text: &str) -> Event {
    Event::Message(Frame::Text(Bytes::copy_from_slice(text.as_bytes())))
}

/// Feeds bytes in pieces of `step` and collects every event.
fn events(bytes: &[u8], step: usize) -> Vec<Event> {
    events_within(BOUNDS, bytes, step)
}

fn events_within(bounds: InboundBounds, bytes: &[u8], step: usize) -> Vec<Event> {
    let mut inbound = Inbound::default();
    let mut events = Vec::new();
    for piece in bytes.chunks(step) {
        let mut next = inbound.read(&mut piece.to_vec(), bounds);
        while let Some(event) = next {
            let ends = matches!(event, Event::Violation(..));
            events.push(event);
            if ends {
                return events;
            }
            next = inbound.next_kept(bounds);
        }
    }
    events
}

#[test]
fn messages_come_out_the_same_however_the_stream_is_cut() {
    let mut bytes = client_frame(true, 1, b"one");
    bytes.extend(client_frame(false, 1, "t\u{e4}".as_bytes()));
    bytes.extend(client_frame(true, 9, b"ping"));
    bytes.extend(client_frame(true, 0, b"wo"));
    bytes.extend(client_frame(true, 2, &[0xff; 300]));
    let expect = vec![
        text("one"),
        Event::Ping(Bytes::from_static(b"ping")),
        text("t\u{e4}wo"),
        Event::Message(Frame::Binary(Bytes::from(vec![0xff; 300]))),
    ];
    for step in [1, 2, 3, 7, 64, bytes.len()] {
        assert_eq!(events(&bytes, step), expect, "in pieces of {step}");
    }
}

#[test]
fn a_connection_between_messages_holds_no_memory() {
    let mut inbound = Inbound::default();
    let mut bytes = client_frame(true, 1, &[b'a'; 500]);
    let (first, second) = bytes.split_at_mut(100);
    assert_eq!(inbound.read(first, BOUNDS), None);
    assert!(inbound.buffer.capacity() > 0);
    assert!(inbound.read(second, BOUNDS).is_some());
    assert_eq!(inbound.buffer.capacity(), 0);
    assert!(inbound.message.is_none());
}

#[test]
fn bounds_are_checked_before_the_payload_comes() {
    let mut header = client_frame(true, 2, &[0; 1_001]);
    header.truncate(8);
    assert!(matches!(events(&header, 8)[..], [Event::Violation(CloseCode::TooBig, _)]));
    let mut fragments = client_frame(false, 2, &[0; 1_000]);
    fragments.extend(client_frame(false, 0, &[0; 1_000]));
    fragments.extend(client_frame(true, 0, &[0; 1]));
    assert!(matches!(events(&fragments, 4_096)[..], [Event::Violation(CloseCode::TooBig, _)]));
}

#[test]
fn text_that_cannot_become_utf8_is_refused_at_its_fragment() {
    let mut good = client_frame(false, 1, &[0xe2, 0x82]);
    good.extend(client_frame(true, 0, &[0xac]));
    assert_eq!(events(&good, 3), [text("\u{20ac}")]);
    let bad = client_frame(false, 1, &[0xc0, 0xaf]);
    assert!(matches!(events(&bad, 64)[..], [Event::Violation(CloseCode::BadUtf8, _)]));
    let cut = client_frame(true, 1, &[0xe2, 0x82]);
    assert!(matches!(events(&cut, 64)[..], [Event::Violation(CloseCode::BadUtf8, _)]));
}

#[test]
fn frames_out_of_place_break_the_protocol() {
    let unmasked = [0x81, 1, b'a'];
    assert!(matches!(events(&unmasked, 8)[..], [Event::Violation(CloseCode::ProtocolError, _)]));
    let lone = client_frame(true, 0, b"x");
    assert!(matches!(events(&lone, 64)[..], [Event::Violation(CloseCode::ProtocolError, _)]));
    let mut nested = client_frame(false, 1, b"x");
    nested.extend(client_frame(true, 2, b"y"));
    assert!(matches!(events(&nested, 64)[..], [Event::Violation(CloseCode::ProtocolError, _)]));
}

#[test]
fn a_compressed_message_comes_out_the_same_however_the_stream_is_cut() {
    // RFC 7692, section 7.2.3.1: "Hello", whole, and in two fragments with a ping between.
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let mut bytes = client_frame(true, 0x41, &hello);
    bytes.extend(client_frame(false, 0x42, &hello[..3]));
    bytes.extend(client_frame(true, 9, b"ping"));
    bytes.extend(client_frame(true, 0, &hello[3..]));
    bytes.extend(client_frame(true, 1, b"plain"));
    let expect = vec![
        text("Hello"),
        Event::Ping(Bytes::from_static(b"ping")),
        Event::Message(Frame::Binary(Bytes::from_static(b"Hello"))),
        text("plain"),
    ];
    for step in [1, 2, 3, 7, bytes.len()] {
        assert_eq!(events_within(DEFLATE, &bytes, step), expect, "in pieces of {step}");
    }
    assert!(matches!(events(&bytes, 64)[..], [Event::Violation(CloseCode::ProtocolError, _)]), "nobody agreed");
}

#[test]
fn a_compressed_message_has_the_bound_of_what_it_becomes() {
    let packed =
        crate::deflate::Deflate::uncounted().shrunk(&[b'x'; 500], |packed| packed.map(<[u8]>::to_vec)).unwrap();
    assert!(packed.len() < 50);
    let within = |len| InboundBounds { message: len, ..DEFLATE };
    let bytes = client_frame(true, 0x41, &packed);
    assert_eq!(events_within(within(500), &bytes, 64), [text(&"x".repeat(500))]);
    assert!(matches!(events_within(within(499), &bytes, 64)[..], [Event::Violation(CloseCode::TooBig, _)]));
    let garbage = client_frame(true, 0x41, &[0xFF; 10]);
    assert!(matches!(events_within(DEFLATE, &garbage, 64)[..], [Event::Violation(CloseCode::ProtocolError, _)]));
}
