//! As much of RFC 6455 as a floor and a load client need.
//!
//! Not the project's own codec: what measures a program should not share its mistakes.

/// The key every load connection sends, from RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server answers to that key. The floor knows no other client, so it needs no SHA-1.
pub const ACCEPT: &str = "s3pPLBMiTxaQ9kYGzzhZRbK+xOo=";

/// Opcode of text.
pub const TEXT: u8 = 0x1;
/// Opcode of a close.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping.
pub const PING: u8 = 0x9;
/// Opcode of a pong.
pub const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// One frame of a server, as it stands at the front of some bytes.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What it is.
    pub opcode: u8,
    /// Its bytes.
    pub payload: &'a [u8],
    /// Header and payload.
    pub size: usize,
}

/// Reads the frame at the front. `None`: it is not there in full yet.
#[must_use]
pub fn first_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (head, length): (usize, usize) = match second & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let size = head.checked_add(length)?;
    Some(Frame { opcode: first & 0x0F, payload: bytes.get(head..size)?, size })
}

/// Writes a server's frame, unmasked.
#[must_use]
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, 0, &[], payload)
}

/// Writes a client's frame. The mask is zero: valid, and the payload stays as it is.
#[must_use]
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, MASKED, &[0; 4], payload)
}

fn frame(opcode: u8, masked: u8, mask: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(14 + payload.len());
    out.push(FIN | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask);
    out.extend_from_slice(payload);
    out
}

/// Where a request or response head ends, behind its empty line.
#[must_use]
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_each_length_form_is_read_back() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let bytes = server_frame(TEXT, &payload);
            let frame = first_frame(&bytes).unwrap();
            assert_eq!((frame.opcode, frame.size), (TEXT, bytes.len()));
            assert!(frame.payload == payload, "{length} bytes came back different");
        }
    }

    #[test]
    fn a_frame_cut_short_is_not_there_yet() {
        let bytes = server_frame(TEXT, &[b'x'; 300]);
        assert!((0..bytes.len()).all(|end| first_frame(&bytes[..end]).is_none()));
    }
}
