//! Headers of frames: the bytes before a payload.

use super::Opcode;

/// Bytes of the longest header a server writes.
pub(super) const MOST: usize = 10;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// The first of the reserved bits: the message is compressed (RFC 7692, section 6).
const COMPRESSED: u8 = 0x40;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The message that begins with this frame is compressed. Only with [`parse_header_with_deflate`].
    pub compressed: bool,
    /// The mask of the payload. Every client frame has one, no server frame does.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload, below 2^63.
    pub len: u64,
    /// Bytes of the header itself, 2 to 14.
    pub size: usize,
}

/// What breaks RFC 6455 in a header. Each ends the connection with 1002.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FramingError {
    /// A reserved bit is set, and no extension was agreed on that has a meaning for it here.
    #[error("reserved bits are set")]
    ReservedBits,
    /// The opcode has no meaning.
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// A control frame is not final.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame has more than 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// The length is written with more bytes than it needs.
    #[error("the length is not in its shortest form")]
    LengthNotMinimal,
    /// The length has its highest bit set.
    #[error("the length is above 2^63")]
    LengthTooLarge,
}

/// Reads a header, no extension being agreed on. `None`: more bytes are needed.
///
/// # Errors
/// Names what breaks the protocol, from the first byte that shows it.
pub fn parse_header(bytes: &[u8]) -> Result<Option<Header>, FramingError> {
    parse::<0>(bytes)
}

/// Reads a header where permessage-deflate was agreed on. `None`: more bytes are needed.
///
/// # Errors
/// Names what breaks the protocol, from the first byte that shows it.
pub fn parse_header_with_deflate(bytes: &[u8]) -> Result<Option<Header>, FramingError> {
    parse::<COMPRESSED>(bytes)
}

/// `AGREED`: the reserved bits that have a meaning at the beginning of a message.
fn parse<const AGREED: u8>(bytes: &[u8]) -> Result<Option<Header>, FramingError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let (fin, opcode, compressed) = parse_first::<AGREED>(first)?;
    let Some((&second, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let short = second & LENGTH;
    if opcode.is_control() && short >= TWO_BYTES {
        return Err(FramingError::LongControl);
    }
    let Some((len, rest)) = parse_length(short, rest)? else {
        return Ok(None);
    };
    let (mask, rest) = if second & MASKED == 0 {
        (None, rest)
    } else {
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        (Some(*mask), rest)
    };
    Ok(Some(Header { fin, opcode, compressed, mask, len, size: bytes.len() - rest.len() }))
}

/// Writes the header of a server frame: final, unmasked.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    out.push(FIN | opcode as u8);
    write_length(out, len);
}

/// The same for a compressed message (RFC 7692, section 6). `len`: of what is sent of it.
pub fn write_deflated_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    out.push(FIN | COMPRESSED | opcode as u8);
    write_length(out, len);
}

fn write_length(out: &mut Vec<u8>, len: usize) {
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < TWO_BYTES => out.push(len),
        (_, Ok(len)) => {
            out.push(TWO_BYTES);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(EIGHT_BYTES);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

fn parse_first<const AGREED: u8>(byte: u8) -> Result<(bool, Opcode, bool), FramingError> {
    if byte & RESERVED & !AGREED != 0 {
        return Err(FramingError::ReservedBits);
    }
    let compressed = byte & AGREED != 0;
    let opcode = Opcode::from_bits(byte & OPCODE).ok_or(FramingError::ReservedOpcode)?;
    let fin = byte & FIN != 0;
    if opcode.is_control() && !fin {
        return Err(FramingError::FragmentedControl);
    }
    if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(FramingError::ReservedBits);
    }
    Ok((fin, opcode, compressed))
}

fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, FramingError> {
    let (len, least, rest) = match short {
        TWO_BYTES => {
            let Some((len, rest)) = rest.split_first_chunk::<2>() else {
                return Ok(None);
            };
            (u64::from(u16::from_be_bytes(*len)), u64::from(TWO_BYTES), rest)
        }
        EIGHT_BYTES => {
            let Some((len, rest)) = rest.split_first_chunk::<8>() else {
                return Ok(None);
            };
            (u64::from_be_bytes(*len), u64::from(u16::MAX) + 1, rest)
        }
        short => (u64::from(short), 0, rest),
    };
    if len > i64::MAX as u64 {
        return Err(FramingError::LengthTooLarge);
    }
    if len < least {
        return Err(FramingError::LengthNotMinimal);
    }
    Ok(Some((len, rest)))
}
