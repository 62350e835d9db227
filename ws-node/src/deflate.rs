//! Compression of messages, for clients that agreed on permessage-deflate (RFC 7692).
//!
//! Owns one compressor and one decompressor per thread that ever needed them; no connection has either. A message is
//! compressed when it is delivered, once for all who get the same bytes: compression costs per message, never per client.
//! So what is made for one session alone (replies, notices, what a mailbox or a login hands out again) is sent as it is.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use gim_proto::websocket::{self, DEFLATE_TAIL, Opcode};
use metrics::Counter;

/// Shorter messages are sent as they are. Below it the bytes saved are fewer than the headers of the packet they travel in
/// (docs/bench.md, "Compression").
const LEAST: usize = 256;

/// The lowest. The usual one takes twice the time for a message of 4 KiB and saves a twentieth more ("Compression").
const EFFORT: Compression = Compression::fast();

/// Room that one large message has grown is not kept for ever.
const KEEP: usize = 64 * 1024;

/// What is asked of the decompressor at once, in bytes.
const STEP: usize = 4 * 1024;

/// An empty last block (RFC 1951, section 3.2.4): whoever comes to it has read whole blocks.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];

/// Compresses, and counts what that saves.
#[derive(Clone)]
pub(crate) struct Deflate {
    pub(crate) messages: Counter,
    pub(crate) bytes_before: Counter,
    pub(crate) bytes_after: Counter,
}

/// Why a compressed message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    Malformed,
    /// It is longer than a message may be. It was not unpacked further than that.
    TooBig,
}

struct Deflater {
    compress: Compress,
    out: Vec<u8>,
}

thread_local! {
    static DEFLATER: RefCell<Deflater> = RefCell::new(Deflater { compress: Compress::new(EFFORT, false), out: Vec::new() });
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
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

    /// Hands on what becomes of bytes, if they are enough and become fewer: blocks that may stand behind others of the same
    /// message, without the four bytes that end every message.
    pub(crate) fn shrunk<T>(&self, plain: &[u8], take: impl FnOnce(Option<&[u8]>) -> T) -> T {
        if plain.len() < LEAST {
            return take(None);
        }
        DEFLATER.with_borrow_mut(|deflater| {
            let shrunk = deflater.shrink(plain);
            if let Some(shrunk) = shrunk {
                self.messages.increment(1);
                self.bytes_before.increment(plain.len() as u64);
                self.bytes_after.increment(shrunk.len() as u64);
            }
            let taken = take(shrunk);
            deflater.out.clear();
            deflater.out.shrink_to(KEEP);
            taken
        })
    }
}

impl Deflater {
    /// None: it does not become shorter.
    fn shrink(&mut self, plain: &[u8]) -> Option<&[u8]> {
        let Self { compress, out } = self;
        compress.reset();
        out.clear();
        out.reserve(plain.len());
        compress.compress_vec(plain, out, FlushCompress::Sync).ok()?;
        // With room left, all of it is out.
        let is_whole = compress.total_in() == plain.len() as u64 && out.len() < out.capacity();
        let shrunk = out.strip_suffix(&DEFLATE_TAIL).filter(|_| is_whole)?;
        (shrunk.len() < plain.len()).then_some(shrunk)
    }
}

/// Unpacks a message of a client, up to `most` bytes.
///
/// # Errors
/// It is not whole blocks of DEFLATE, or too long.
pub(crate) fn inflate(message: &[u8], most: usize) -> Result<Vec<u8>, InflateError> {
    let mut plain = Vec::new();
    if message.is_empty() {
        return Ok(plain);
    }
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        // What ends with a last block of its own is done (RFC 7692, section 7.2.3.4).
        let is_done = feed(inflater, message, &mut plain, most)?
            || (!feed(inflater, &DEFLATE_TAIL, &mut plain, most)? && feed(inflater, &LAST_BLOCK, &mut plain, most)?);
        if is_done { Ok(plain) } else { Err(InflateError::Malformed) }
    })
}

/// Unpacks more of a message, as far as it goes. True: a last block ended with the last of the bytes.
fn feed(inflater: &mut Decompress, mut bytes: &[u8], plain: &mut Vec<u8>, most: usize) -> Result<bool, InflateError> {
    loop {
        plain.reserve(STEP);
        let (read, written) = (inflater.total_in(), plain.len());
        let status =
            inflater.decompress_vec(bytes, plain, FlushDecompress::Sync).map_err(|_| InflateError::Malformed)?;
        if plain.len() > most {
            return Err(InflateError::TooBig);
        }
        let used = usize::try_from(inflater.total_in() - read).unwrap_or(usize::MAX);
        bytes = bytes.get(used..).unwrap_or_default();
        // A call may hand out what an earlier one has unpacked and read nothing, or read and hand out nothing.
        let has_moved = used > 0 || plain.len() > written;
        match status {
            Status::StreamEnd if bytes.is_empty() => return Ok(true),
            // Other blocks may follow one that says it is the last.
            Status::StreamEnd => inflater.reset(false),
            Status::Ok | Status::BufError if has_moved => {}
            Status::Ok | Status::BufError if bytes.is_empty() => return Ok(false),
            Status::Ok | Status::BufError => return Err(InflateError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
        // It unpacks 32 KiB at a time.
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
        // Behind a first part whose length is no power of two, what is unpacked at once and the room for it do not match.
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
        assert_eq!(inflate(&[0x00], 5).as_deref(), Ok(&b""[..]));
        assert_eq!(inflate(&[], 5).as_deref(), Ok(&b""[..]));
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
        for garbage in [&[0xFF; 40][..], &[0x07], &[0x00, 0x05, 0x00, 0x00, 0x00, 1, 2, 3, 4, 5], b"plain text"] {
            assert_eq!(inflate(garbage, 1 << 20), Err(InflateError::Malformed), "{garbage:x?}");
        }
    }

    #[test]
    fn a_little_that_becomes_very_much_is_unpacked_no_further_than_allowed() {
        let bomb = shrunk(&vec![0; 10_000_000]).unwrap();
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        assert_eq!(inflate(&bomb, 256 * 1024), Err(InflateError::TooBig));
        // Last blocks without end: each is a fresh start.
        let many = [0x03, 0x00].repeat(32_000);
        assert_eq!(inflate(&many, 10).as_deref(), Ok(&b""[..]));
    }
}
