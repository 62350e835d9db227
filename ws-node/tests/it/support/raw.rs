//! A WebSocket client made of bytes: it sends what a test builds by hand and shows what comes, frame by frame.
//!
//! Never repairs, answers or hides anything: no pong, no close, no reassembly.

use std::io::Read;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::http::{Response, parse_head};
use super::within;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// The key of RFC 6455, section 1.3, and the answer it must get.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A masked frame whose first byte is given as it is.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len(), true);
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The same without the mask that a client owes.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len(), false);
    bytes.extend_from_slice(payload);
    bytes
}

/// A masked frame with the length field written by the caller: the 7 bits and what follows them.
pub(crate) fn frame_with_length(first: u8, seven: u8, extended: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | seven];
    bytes.extend_from_slice(extended);
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    frame(FIN | TEXT, payload)
}

pub(crate) fn binary(payload: &[u8]) -> Vec<u8> {
    frame(FIN | BINARY, payload)
}

pub(crate) fn ping(payload: &[u8]) -> Vec<u8> {
    frame(FIN | PING, payload)
}

pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn head(first: u8, length: usize, masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(mask | u8::try_from(length).unwrap()),
        126..=65_535 => {
            bytes.push(mask | 126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend_from_slice(&u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes
}

/// One frame of the server, seen to be whole, unmasked, without reserved bits nobody agreed on and with the shortest length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) opcode: u8,
    /// As it came: of a compressed one, before it is unpacked.
    pub(crate) payload: Vec<u8>,
    pub(crate) compressed: bool,
}

impl RawFrame {
    pub(crate) fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { opcode, payload: payload.into(), compressed: false }
    }

    /// The same frame as it would be without compression, by a decompressor that is not the node's.
    pub(crate) fn unpacked(&self) -> Self {
        if !self.compressed {
            return self.clone();
        }
        let whole = [&self.payload[..], &[0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF]].concat();
        let mut payload = Vec::new();
        flate2::read::DeflateDecoder::new(&whole[..]).read_to_end(&mut payload).expect("whole blocks");
        Self::new(self.opcode, payload)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("the payload is UTF-8")
    }

    /// The code of a close frame, none if it is empty.
    #[track_caller]
    pub(crate) fn close_code(&self) -> Option<u16> {
        assert_eq!(self.opcode, CLOSE, "not a close frame: {self:?}");
        let code = self.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        assert_eq!(code.is_none(), self.payload.is_empty(), "half a code: {self:?}");
        code
    }
}

/// A connection, and what was read of it and not looked at.
pub(crate) struct Raw {
    stream: TcpStream,
    seen: Vec<u8>,
    /// permessage-deflate was agreed on.
    deflates: bool,
}

/// The head of a handshake that must succeed.
pub(crate) fn upgrade_head(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

impl Raw {
    /// Connects and shakes hands.
    pub(crate) async fn connect(addr: SocketAddr, path: &str) -> Self {
        Self::open(addr).await.upgraded(path).await
    }

    /// The same as a client that offers permessage-deflate, which must be accepted.
    pub(crate) async fn connect_deflating(addr: SocketAddr, path: &str) -> Self {
        let mut raw = Self::open(addr).await;
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
        let head = upgrade_head(path);
        raw.send(format!("{}{offer}", head.strip_suffix("\r\n").expect("an empty line")).as_bytes()).await;
        let answer = raw.expect_101().await;
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(answer.header("sec-websocket-extensions"), Some(agreed));
        raw.deflates = true;
        raw
    }

    /// The same with a receive buffer so small that a client who does not read is noticed soon.
    pub(crate) async fn connect_narrow(addr: SocketAddr, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("a small buffer");
        let stream = socket.connect(addr).await.expect("the listener accepts");
        Self { stream, seen: Vec::new(), deflates: false }.upgraded(path).await
    }

    /// Connects and says nothing yet.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the listener accepts");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, seen: Vec::new(), deflates: false }
    }

    async fn upgraded(mut self, path: &str) -> Self {
        self.send(upgrade_head(path).as_bytes()).await;
        let answer = self.expect_101().await;
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        self
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("the node to read", self.stream.write_all(bytes)).await.expect("the connection stands");
    }

    /// Sends what the node may already refuse to read.
    pub(crate) async fn send_anyway(&mut self, bytes: &[u8]) {
        let _ = within("the node to read or close", self.stream.write_all(bytes)).await;
    }

    /// Sends in pieces of the given sizes, over and over, each flushed by itself.
    pub(crate) async fn send_chopped(&mut self, bytes: &[u8], sizes: &[usize]) {
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            let (piece, others) = rest.split_at(rest.len().min(*size));
            self.send(piece).await;
            // Lets the node see the piece before the next one comes.
            tokio::task::yield_now().await;
            rest = others;
            if rest.is_empty() {
                break;
            }
        }
    }

    /// The answer to the handshake.
    pub(crate) async fn expect_101(&mut self) -> Response {
        within("the answer to the handshake", async {
            loop {
                if let Some((response, size)) = parse_head(&self.seen) {
                    let rest = String::from_utf8_lossy(&self.seen[size..]).into_owned();
                    assert_eq!(response.status, 101, "refused: {rest}");
                    self.seen.drain(..size);
                    return response;
                }
                assert!(self.read_more().await, "closed during the handshake");
            }
        })
        .await
    }

    /// The next frame, whatever it is.
    pub(crate) async fn frame(&mut self) -> RawFrame {
        within("a frame of the server", async {
            self.frame_or_end().await.expect("the node closed the connection without another frame")
        })
        .await
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, opcode: u8, payload: &[u8]) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        let wanted = RawFrame::new(opcode, payload);
        async move {
            let found = self.frame().await;
            assert!(found == wanted, "{at}: wanted {}, got {}", shown(&wanted), shown(&found));
        }
    }

    /// Waits for the close frame with this code, answers it, and for the end of the connection.
    #[track_caller]
    pub(crate) fn expect_close(mut self, code: u16) -> impl Future<Output = String> {
        let at = std::panic::Location::caller();
        async move {
            let found = self.frame().await;
            assert_eq!(found.opcode, CLOSE, "{at}: wanted close {code}, got {}", shown(&found));
            assert_eq!(found.close_code(), Some(code), "{at}: {}", shown(&found));
            self.send_anyway(&close(code, b"")).await;
            self.half_close().await;
            self.expect_end().await;
            String::from_utf8(found.payload[2..].to_vec()).expect("a reason is UTF-8")
        }
    }

    /// Waits for the end of the connection; a frame before it is a failure.
    pub(crate) async fn expect_end(mut self) {
        within("the node to end the connection", async {
            if let Some(frame) = self.frame_or_end().await {
                panic!("wanted the end of the connection, got {}", shown(&frame));
            }
        })
        .await;
    }

    /// The next frame, none at the end of the connection.
    pub(crate) async fn frame_or_end(&mut self) -> Option<RawFrame> {
        loop {
            if let Some((frame, size)) = parse_frame(&self.seen, self.deflates) {
                self.seen.drain(..size);
                return Some(frame);
            }
            if !self.read_more().await {
                assert!(self.seen.is_empty(), "half a frame at the end: {:?}", self.seen);
                return None;
            }
        }
    }

    /// The same for a connection that may be cut in the middle of a frame.
    pub(crate) async fn frame_or_cut(&mut self) -> Option<RawFrame> {
        loop {
            if let Some((frame, size)) = parse_frame(&self.seen, self.deflates) {
                self.seen.drain(..size);
                return Some(frame);
            }
            if !self.read_more().await {
                return None;
            }
        }
    }

    /// Ends the client's half without a close frame.
    pub(crate) async fn half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    async fn read_more(&mut self) -> bool {
        self.seen.reserve(16 * 1024);
        match self.stream.read_buf(&mut self.seen).await {
            Ok(read) => read > 0,
            // A reset is an end too: bytes of ours may have been on their way.
            Err(_) => false,
        }
    }
}

fn parse_frame(seen: &[u8], deflates: bool) -> Option<(RawFrame, usize)> {
    let (&[first, second], rest) = seen.split_first_chunk()?;
    let compressed = deflates && first & 0x40 != 0;
    assert_eq!(first & if compressed { 0x30 } else { 0x70 }, 0, "reserved bits of a server frame");
    assert_eq!(first & FIN, FIN, "the server fragments");
    assert_eq!(second & 0x80, 0, "a masked server frame");
    let (length, start) = match second {
        126 => {
            let length = u64::from(u16::from_be_bytes(*rest.first_chunk()?));
            assert!(length > 125, "length {length} takes too many bytes");
            (length, 4)
        }
        127 => {
            let length = u64::from_be_bytes(*rest.first_chunk()?);
            assert!(length > 65_535, "length {length} takes too many bytes");
            (length, 10)
        }
        short => (u64::from(short), 2),
    };
    let end = start + usize::try_from(length).unwrap();
    let payload = seen.get(start..end)?;
    Some((RawFrame { compressed, ..RawFrame::new(first & 0x0F, payload) }, end))
}

fn shown(frame: &RawFrame) -> String {
    let payload = &frame.payload;
    let start = String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned();
    format!("opcode {} with {} bytes {start:?}", frame.opcode, payload.len())
}
