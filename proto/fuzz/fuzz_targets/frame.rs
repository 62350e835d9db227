//! Bytes of a client, raw and as frames that are nearly right, into everything that reads them.

#![no_main]

use arbitrary::Arbitrary;
use gim_proto::ErrorCode;
use gim_proto::frame::{self, ClientFrame, Dialect, MAX_CMD, MAX_SEQ, MsgType};
use gim_proto::websocket::{Opcode, parse_close, parse_header, unmask, write_header};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Raw(&'a [u8]),
    Frame { seq: &'a str, cmd: &'a str, data: &'a [u8] },
    Masked { mask: [u8; 4], offset: usize, payload: Vec<u8> },
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Raw(bytes) => raw(bytes),
    Input::Frame { seq, cmd, data } => written(seq, cmd, data),
    Input::Masked { mask, offset, payload } => masked(mask, offset, payload),
});

fn raw(bytes: &[u8]) {
    match ClientFrame::decode(bytes) {
        Ok(frame) => assert!(frame.seq.len() <= MAX_SEQ && frame.cmd.len() <= MAX_CMD),
        Err(error) => {
            assert!(matches!(error.code, ErrorCode::JsonError | ErrorCode::ParamsError));
            assert!(error.seq.len() <= MAX_SEQ && error.cmd.len() <= MAX_CMD);
        }
    }
    if let Ok(Some(header)) = parse_header(bytes) {
        assert!((2..=14).contains(&header.size) && header.size <= bytes.len());
        assert!(!header.opcode.is_control() || (header.fin && header.len <= 125));
        if header.fin && header.mask.is_none() {
            let mut again = Vec::new();
            write_header(&mut again, header.opcode, header.len as usize);
            assert_eq!(again, &bytes[..header.size]);
        }
    }
    if let Ok(Some((code, reason))) = parse_close(bytes) {
        assert_eq!(reason.len() + 2, bytes.len());
        assert!((1000..5000).contains(&code));
    }
}

fn written(seq: &str, cmd: &str, data: &[u8]) {
    let words = |word: &str| serde_json::to_string(word).unwrap_or_default();
    let mut bytes = format!("{{\"seq\":{},\"cmd\":{},\"data\":", words(seq), words(cmd)).into_bytes();
    bytes.extend_from_slice(data);
    bytes.push(b'}');
    raw(&bytes);
    let mut out = Vec::new();
    frame::error(&mut out, Dialect::Acc, seq, cmd, ErrorCode::JsonError, cmd);
    let parsed: Value = serde_json::from_slice(&out).expect("an error is JSON");
    assert_eq!((parsed["seq"].as_str(), parsed["cmd"].as_str()), (Some(seq), Some(cmd)));
    out.clear();
    frame::push(&mut out, MsgType::User, None, Some(1), b"{}");
    assert!(serde_json::from_slice::<Value>(&out).is_ok());
}

fn masked(mask: [u8; 4], offset: usize, payload: Vec<u8>) {
    let mut bytes = payload.clone();
    unmask(&mut bytes, mask, offset);
    for (at, (byte, plain)) in bytes.iter().zip(&payload).enumerate() {
        assert_eq!(*byte, plain ^ mask[(at % 4 + offset % 4) % 4]);
    }
    unmask(&mut bytes, mask, offset);
    assert_eq!(bytes, payload);
    let mut header = Vec::new();
    write_header(&mut header, Opcode::Binary, payload.len());
    assert_eq!(parse_header(&header).ok().flatten().map(|header| header.len), Some(payload.len() as u64));
}
