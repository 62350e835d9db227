use gim_proto::websocket::{
    ClosePayloadError, FramingError, Header, Opcode, frame, parse_close, parse_header, parse_header_with_deflate,
    unmask, write_deflated_header, write_header,
};

fn header(opcode: Opcode, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(&mut out, opcode, len);
    out
}

#[test]
fn server_headers_use_the_shortest_length() {
    let table: [(usize, &[u8]); 6] = [
        (0, &[0x82, 0]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xFF, 0xFF]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        (0x0102_0304, &[0x82, 127, 0, 0, 0, 0, 1, 2, 3, 4]),
    ];
    for (len, bytes) in table {
        assert_eq!(header(Opcode::Binary, len), bytes, "{len}");
    }
}

#[test]
fn whole_frames_are_final_and_unmasked() {
    assert_eq!(&frame(Opcode::Text, b"Hello")[..], [0x81, 5, b'H', b'e', b'l', b'l', b'o']);
    assert_eq!(&frame(Opcode::Ping, b"")[..], [0x89, 0]);
    assert_eq!(&frame(Opcode::Close, &[0x03, 0xE8])[..], [0x88, 2, 0x03, 0xE8]);
    let long = frame(Opcode::Binary, &[7; 300]);
    assert_eq!((long.len(), &long[..4]), (304, &[0x82, 126, 1, 44][..]));
}

#[test]
fn the_masked_hello_of_the_rfc_is_read() {
    let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let header = parse_header(&bytes).unwrap().unwrap();
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    assert_eq!(
        header,
        Header { fin: true, opcode: Opcode::Text, compressed: false, mask: Some(mask), len: 5, size: 6 }
    );
    unmask(&mut bytes[6..], mask, 0);
    assert_eq!(&bytes[6..], b"Hello");
}

#[test]
fn a_header_cut_short_asks_for_more() {
    let whole = [0x01, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
    for cut in 0..whole.len() {
        assert_eq!(parse_header(&whole[..cut]), Ok(None), "{cut}");
    }
    let header = parse_header(&whole).unwrap().unwrap();
    assert_eq!((header.fin, header.len, header.size, header.mask), (false, 65_536, 14, Some([1, 2, 3, 4])));
}

#[test]
fn a_compressed_message_is_told_where_that_was_agreed_on_and_nowhere_else() {
    let mut out = Vec::new();
    write_deflated_header(&mut out, Opcode::Text, 300);
    assert_eq!(out, [0xC1, 126, 1, 44]);
    let header = parse_header_with_deflate(&out).unwrap().unwrap();
    assert_eq!((header.fin, header.opcode, header.compressed, header.len), (true, Opcode::Text, true, 300));
    assert!(!parse_header_with_deflate(&[0x01, 0]).unwrap().unwrap().compressed);
    assert!(parse_header_with_deflate(&[0x42, 0]).unwrap().unwrap().compressed, "the first of several fragments");
    // A continuation, control frames, and the bits that mean nothing.
    for first in [0xC0, 0x40, 0xC8, 0xC9, 0xCA, 0xA1, 0x91, 0xF1] {
        assert_eq!(parse_header_with_deflate(&[first]), Err(FramingError::ReservedBits), "{first:x}");
    }
    assert_eq!(parse_header(&out), Err(FramingError::ReservedBits));
}

#[test]
fn broken_headers_are_refused_from_the_first_byte_that_shows_it() {
    let table: [(&[u8], FramingError); 15] = [
        (&[0xC1], FramingError::ReservedBits),
        (&[0xA1], FramingError::ReservedBits),
        (&[0x91], FramingError::ReservedBits),
        (&[0x83], FramingError::ReservedOpcode),
        (&[0x07], FramingError::ReservedOpcode),
        (&[0x8B], FramingError::ReservedOpcode),
        (&[0x8F], FramingError::ReservedOpcode),
        (&[0x08], FramingError::FragmentedControl),
        (&[0x09], FramingError::FragmentedControl),
        (&[0x89, 0x7E], FramingError::LongControl),
        (&[0x88, 0xFF], FramingError::LongControl),
        (&[0x81, 0xFE, 0, 125], FramingError::LengthNotMinimal),
        (&[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], FramingError::LengthNotMinimal),
        (&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], FramingError::LengthTooLarge),
        (&[0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], FramingError::LengthTooLarge),
    ];
    for (bytes, error) in table {
        assert_eq!(parse_header(bytes), Err(error), "{bytes:x?}");
    }
}

#[test]
fn every_opcode_is_read_as_written() {
    for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong] {
        let read = parse_header(&header(opcode, 3)).unwrap().unwrap();
        assert_eq!(read, Header { fin: true, opcode, compressed: false, mask: None, len: 3, size: 2 });
        assert_eq!(opcode.is_control(), matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong));
    }
}

#[test]
fn a_mask_goes_on_where_the_part_before_ended() {
    let mask = [1, 2, 3, 4];
    let plain: Vec<u8> = (0..100).collect();
    let mut whole = plain.clone();
    for (index, byte) in whole.iter_mut().enumerate() {
        *byte ^= mask[index % 4];
    }
    for cut in 0..=plain.len() {
        let mut parts = plain.clone();
        let (one, two) = parts.split_at_mut(cut);
        unmask(one, mask, 0);
        unmask(two, mask, cut);
        assert_eq!(parts, whole, "{cut}");
    }
    let mut far = plain;
    unmask(&mut far, mask, usize::MAX - 3);
    assert_eq!(far, whole);
}

#[test]
fn close_payloads_are_nothing_or_a_code_and_a_reason() {
    assert_eq!(parse_close(b""), Ok(None));
    assert_eq!(parse_close(&[0x03, 0xE8]), Ok(Some((1000, ""))));
    assert_eq!(parse_close(b"\x0f\xa1so long \xc3\xa9"), Ok(Some((4001, "so long é"))));
    assert_eq!(parse_close(&[3]), Err(ClosePayloadError::OneByte));
    assert_eq!(parse_close(b"\x03\xe8\xff"), Err(ClosePayloadError::Reason));
}

#[test]
fn close_codes_that_may_not_be_sent_are_refused() {
    let may = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    for code in may {
        assert_eq!(parse_close(&u16::to_be_bytes(code)), Ok(Some((code, ""))));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(parse_close(&u16::to_be_bytes(code)), Err(ClosePayloadError::Code(code)));
    }
}
