//! Frames of a WebSocket (RFC 6455, and 7692 for compressed messages), as bytes in and bytes out.
//!
//! Owns headers, masks, close payloads and the words of the extension. Never reads a socket, never joins fragments, never
//! checks the UTF-8 of a message: that takes the state of a connection.

mod close;
mod deflate;
mod header;

use bytes::Bytes;

pub use close::{ClosePayloadError, parse_close};
pub use deflate::{DEFLATE_ACCEPTED, DEFLATE_TAIL, STORED_HEADER, offers_deflate, write_stored_header};
pub use header::{FramingError, Header, parse_header, parse_header_with_deflate, write_deflated_header, write_header};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// The start of a text message.
    Text = 1,
    /// The start of a binary message.
    Binary = 2,
    /// The last frame.
    Close = 8,
    /// A question for a [`Pong`](Self::Pong).
    Ping = 9,
    /// The answer to a [`Ping`](Self::Ping).
    Pong = 10,
}

impl Opcode {
    /// Tells whether the frame is about the connection: never fragmented, at most 125 bytes.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// Puts a mask on a payload or takes it off. `offset`: bytes of the frame's payload before this part.
pub fn unmask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// Makes a whole server frame: final, unmasked.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(header::MOST + payload.len());
    write_frame(&mut out, opcode, payload);
    Bytes::from(out)
}

/// Appends a whole server frame: final, unmasked.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}
