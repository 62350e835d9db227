//! Compression of messages, for clients that agreed on permessage-deflate (RFC 7692).
//!
//! Owns one compressor and one decompressor per thread that ever needed them; no connection has either. A message is
//! compressed when it is delivered, once for all who get the same bytes: compression costs per message, never per client.
//! So what is made for one session alone (replies, notices, what a mailbox or a login hands out again) is sent as it is.

use std::cell::RefCell;

use gim_proto::websocket::{self, DEFLATE_TAIL, Opcode, STORED_HEADER};
use metrics::Counter;
use miniz_oxide::DataFormat;
use miniz_oxide::deflate::CompressionLevel;
use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// Shorter messages are sent as they are. Below it the bytes saved are fewer than the headers of the packet they travel in
/// (docs/bench.md, "Compression").
const LEAST: usize = 256;

/// The usual level takes twice the time for a message of 4 KiB and saves a twentieth more (docs/bench.md, "Compression").
const LEVEL: CompressionLevel = CompressionLevel::BestSpeed;

/// Room that one large message has grown is not kept for ever.
const KEEP: usize = 64 * 1024;

/// An empty last block (RFC 1951, section 3.2.4): whoever comes to it has read whole blocks.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];

/// Blocks a message may be in: so many, and one more for so many bytes of it. Compressors make one per some thousand bytes
/// and one or two per flush. Each costs the tables it is read by, even one with nothing in it.
const BLOCKS: usize = 256;
const BYTES_PER_BLOCK: usize = 64;

/// Compresses, and counts what that saves.
#[derive(Clone)]
pub(crate) struct Deflate {
    /// Messages that were long enough to try.
    pub(crate) messages: Counter,
    pub(crate) bytes_before: Counter,
    /// Of what did not become shorter, as many as before.
    pub(crate) bytes_after: Counter,
}

/// Why a compressed message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// It is not whole blocks, or in more of them than anybody would make.
    Malformed,
    /// It is longer than a message may be. It was not unpacked further than that.
    TooBig,
}

struct Deflater {
    compressor: CompressorOxide,
    /// As long as the longest message so far, up to a bound: what is in it counts no more.
    out: Vec<u8>,
}

thread_local! {
    static DEFLATER: RefCell<Deflater> = RefCell::new(Deflater {
        compressor: CompressorOxide::with_format_and_level(DataFormat::Raw, LEVEL),
        out: Vec::new(),
    });
    static INFLATER: RefCell<DecompressorOxide> = RefCell::new(DecompressorOxide::new());
}

impl Deflate {
    /// One that nobody reads the figures of.
    #[cfg(any(test, feature = "measure"))]
    pub(crate) const fn uncounted() -> Self {
        Self { messages: Counter::noop(), bytes_before: Counter::noop(), bytes_after: Counter::noop() }
    }

    /// Appends a message as one frame, compressed if it is long enough and that makes it shorter.
    pub(crate) fn write_frame(&self, out: &mut Vec<u8>, opcode: Opcode, message: &[u8]) {
        self.shrunk(message, |shrunk| match shrunk {
            Some(shrunk) => {
                websocket::write_deflated_header(out, opcode, shrunk.len());
                out.extend_from_slice(shrunk);
            }
            None => websocket::write_frame(out, opcode, message),
        });
    }

    /// Hands on what becomes of bytes, if they are enough and become fewer, also behind a stored head: blocks that may stand
    /// behind others of the same message, without the four bytes that end every message.
    pub(crate) fn shrunk<T>(&self, plain: &[u8], take: impl FnOnce(Option<&[u8]>) -> T) -> T {
        if plain.len() < LEAST {
            return take(None);
        }
        DEFLATER.with_borrow_mut(|deflater| {
            let shrunk = deflater.shrink(plain);
            self.messages.increment(1);
            self.bytes_before.increment(plain.len() as u64);
            self.bytes_after.increment(shrunk.map_or(plain.len(), <[u8]>::len) as u64);
            let taken = take(shrunk);
            deflater.out.truncate(KEEP);
            deflater.out.shrink_to(KEEP);
            taken
        })
    }
}

impl Deflater {
    /// None: it does not become shorter.
    fn shrink(&mut self, plain: &[u8]) -> Option<&[u8]> {
        let Self { compressor, out } = self;
        let room = plain.len().checked_sub(STORED_HEADER)?;
        if out.len() < room {
            out.resize(room, 0);
        }
        compressor.reset();
        let (status, read, written) = compress(compressor, plain, out.get_mut(..room)?, TDEFLFlush::Sync);
        // With room left, all of it is out.
        let is_whole = status == TDEFLStatus::Okay && read == plain.len() && written < room;
        out.get(..written).filter(|_| is_whole)?.strip_suffix(&DEFLATE_TAIL)
    }
}

/// Unpacks a message of a client, up to `most` bytes.
///
/// # Errors
/// It is not whole blocks of DEFLATE, or too long.
pub(crate) fn inflate(message: &[u8], most: usize) -> Result<Vec<u8>, InflateError> {
    const FLAGS: u32 =
        TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    if message.is_empty() {
        return Ok(Vec::new());
    }
    let whole = [message, &DEFLATE_TAIL, &LAST_BLOCK].concat();
    let (mut rest, mut plain, mut written) = (&whole[..], Vec::new(), 0);
    let mut blocks = BLOCKS + message.len() / BYTES_PER_BLOCK;
    grow(&mut plain, message.len().saturating_mul(4), most);
    INFLATER.with_borrow_mut(|inflater| {
        inflater.init();
        loop {
            // The output does not wrap: what refers to before the message is refused, and nothing is there of another.
            let (status, read, more) = decompress(inflater, rest, &mut plain, written, FLAGS);
            rest = rest.get(read..).unwrap_or_default();
            written += more;
            if written > most {
                return Err(InflateError::TooBig);
            }
            match status {
                TINFLStatus::HasMoreOutput if written == plain.len() => {
                    grow(&mut plain, written.saturating_mul(2), most);
                }
                // Its own last block, one that ended with what is not sent of a message, or the one behind that.
                TINFLStatus::Done
                    if [LAST_BLOCK.len() + DEFLATE_TAIL.len(), LAST_BLOCK.len(), 0].contains(&rest.len()) =>
                {
                    plain.truncate(written);
                    return Ok(plain);
                }
                // Other blocks may follow one that says it is the last (RFC 7692, section 7.2.3.4).
                TINFLStatus::Done | TINFLStatus::BlockBoundary if blocks > 0 => {
                    blocks -= 1;
                    if status == TINFLStatus::Done {
                        inflater.init();
                    }
                }
                _ => return Err(InflateError::Malformed),
            }
        }
    })
}

/// Makes room for so many bytes, but for no more than one too many.
fn grow(plain: &mut Vec<u8>, len: usize, most: usize) {
    const LEAST: usize = 64;
    let len = len.clamp(LEAST, most.saturating_add(1).max(LEAST));
    plain.reserve_exact(len.saturating_sub(plain.len()));
    plain.resize(len, 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;

    use super::*;

    fn shrunk(plain: &[u8]) -> Option<Vec<u8>> {
        Deflate::uncounted().shrunk(plain, |shrunk| shrunk.map(<[u8]>::to_vec))
    }

    fn json(len: usize) -> Vec<u8> {
        (0..).flat_map(|n: u32| format!("{{\"number\":{n}}},").into_bytes()).take(len).collect()
    }

    #[test]
    fn what_is_compressed_comes_out_as_it_was() {
        for len in [LEAST, LEAST + 1, 1_000, 10_000, 100_000, 1_000_000] {
            let plain = json(len);
            let packed = shrunk(&plain).expect("JSON shrinks");
            assert!(packed.len() < len / 2, "{len} bytes became {}", packed.len());
            assert_eq!(inflate(&packed, len).as_deref(), Ok(&plain[..]));
            assert_eq!(inflate(&packed, len - 1), Err(InflateError::TooBig));
        }
    }

    #[test]
    fn every_length_comes_out_wherever_the_decompressor_pauses() {
        // It pauses where a block ends, and where the room does.
        for len in (1..150_000).step_by(3_989) {
            for plain in [json(len), vec![b'x'; len]] {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(&plain).unwrap();
                encoder.flush().unwrap();
                let flushed = encoder.get_ref().strip_suffix(&DEFLATE_TAIL).unwrap().to_vec();
                let ended = encoder.finish().unwrap();
                for packed in [ended, flushed] {
                    assert_eq!(inflate(&packed, len).as_deref(), Ok(&plain[..]), "{len}");
                    assert_eq!(inflate(&packed, len - 1), Err(InflateError::TooBig), "{len}");
                }
            }
        }
    }

    #[test]
    fn what_an_earlier_call_has_unpacked_comes_out_later() {
        // The second goes on where the first ended, in whatever room is left.
        let ended = |plain: &[u8]| {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        };
        let (first, second) = (json(5_000), json(100_000));
        let packed = [ended(&first), ended(&second)].concat();
        assert_eq!(inflate(&packed, 105_000).unwrap(), [first, second].concat());
    }

    #[test]
    fn what_is_short_or_does_not_shrink_is_left_alone() {
        assert_eq!(shrunk(&json(LEAST - 1)), None);
        let mut random = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random.to_be_bytes()[0]
        })
        .take(100_000)
        .collect();
        for len in [LEAST, 1_000, 100_000] {
            assert_eq!(shrunk(&noise[..len]), None, "{len}");
        }
    }

    #[test]
    fn one_message_leaves_nothing_behind_for_the_next() {
        let plain = json(5_000);
        let first = shrunk(&plain);
        assert!(first.is_some());
        assert_eq!(shrunk(&plain), first);
    }

    #[test]
    fn a_stored_head_and_a_body_compressed_by_itself_are_one_message() {
        let (head, body) = (b"the head, as it is; ", json(3_000));
        let mut message = Vec::new();
        websocket::write_stored_header(&mut message, head.len().try_into().unwrap());
        message.extend_from_slice(head);
        message.extend_from_slice(&shrunk(&body).unwrap());
        assert_eq!(inflate(&message, 1 << 20).unwrap(), [&head[..], &body].concat());
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        // RFC 7692, sections 7.2.3.1, 7.2.3.3, 7.2.3.4, 7.2.3.5, and 7.2.3.6.
        let examples: [&[u8]; 5] = [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
            // Some end with a last block and add nothing to it.
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
        ];
        for example in examples {
            assert_eq!(inflate(example, 5).as_deref(), Ok(&b"Hello"[..]), "{example:x?}");
        }
        // Nothing, in blocks that are stored, fixed, or both the last and stored.
        for empty in [&[][..], &[0x00], &[0x02, 0x00], &[0x01], &[0x03, 0x00]] {
            assert_eq!(inflate(empty, 5).as_deref(), Ok(&b""[..]), "{empty:x?}");
        }
    }

    #[test]
    fn what_is_cut_short_or_garbage_is_malformed() {
        let whole = shrunk(&json(2_000)).unwrap();
        for cut in 1..whole.len() {
            let inflated = inflate(&whole[..cut], 1 << 20);
            assert!(inflated != Ok(json(2_000)), "cut at {cut} it is whole");
            // Where a block ends nobody can tell; anywhere else it must be noticed.
            if let Ok(plain) = inflated {
                assert!(json(2_000).starts_with(&plain), "cut at {cut}: garbage");
            }
        }
        let garbage: [&[u8]; 5] = [
            &[0xFF; 40],
            &[0x07],
            &[0x00, 0x05, 0x00, 0x00, 0x00, 1, 2, 3, 4, 5],
            b"plain text",
            // The second "Hello" of RFC 7692, section 7.2.3.2: it refers to the message before.
            &[0xF2, 0x00, 0x11, 0x00, 0x00],
        ];
        for garbage in garbage {
            assert_eq!(inflate(garbage, 1 << 20), Err(InflateError::Malformed), "{garbage:x?}");
        }
    }

    #[test]
    fn a_little_that_becomes_very_much_is_unpacked_no_further_than_allowed() {
        let bomb = shrunk(&vec![0; 10_000_000]).unwrap();
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        assert_eq!(inflate(&bomb, 256 * 1024), Err(InflateError::TooBig));
        let mut plain = Vec::new();
        grow(&mut plain, usize::MAX, 256 * 1024);
        assert_eq!((plain.len(), plain.capacity()), (256 * 1024 + 1, 256 * 1024 + 1));
    }

    #[test]
    fn nobody_keeps_a_thread_busy_with_blocks_of_nothing() {
        // Last blocks, and others: each has its tables to be made.
        for (empty, end) in [(&[0x03, 0x00][..], &[0x03, 0x00][..]), (&[0x02, 0, 0, 0, 0xFF, 0xFF], &[0x02, 0])] {
            let few = [&empty.repeat(BLOCKS / 2 - 1), end].concat();
            assert_eq!(inflate(&few, 10).as_deref(), Ok(&b""[..]));
            let many = [&empty.repeat(2 * BLOCKS), end].concat();
            assert_eq!(inflate(&many, 10), Err(InflateError::Malformed));
        }
    }
}
