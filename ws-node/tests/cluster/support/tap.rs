//! Reads the batches on their way to a node off the wire: HTTP/2 frames, gRPC messages, `DeliverRequest`s.
//!
//! Owns what was seen since it was last asked. Whoever counts calls here believes no process's own figures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gim_proto::rpc::DeliverRequest;
use prost::Message;

const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const FRAME_HEAD: usize = 9;
const MESSAGE_HEAD: usize = 5;
const DATA: u8 = 0;
const RESET: u8 = 3;
const END_OF_STREAM: u8 = 1;
const PADDED: u8 = 8;

/// What went over the connections of one link.
#[derive(Default)]
pub(crate) struct Tap(Mutex<Vec<DeliverRequest>>);

impl Tap {
    /// Takes what was seen so far.
    pub(crate) fn batches(&self) -> Vec<DeliverRequest> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// One connection's bytes.
pub(crate) struct Parser {
    tap: Arc<Tap>,
    bytes: Vec<u8>,
    has_begun: bool,
    streams: HashMap<u32, Vec<u8>>,
}

impl Parser {
    pub(crate) fn new(tap: Arc<Tap>) -> Self {
        Self { tap, bytes: Vec::new(), has_begun: false, streams: HashMap::new() }
    }

    pub(crate) fn take(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        if !self.has_begun {
            if self.bytes.len() < PREFACE {
                return;
            }
            self.bytes.drain(..PREFACE);
            self.has_begun = true;
        }
        while let Some(frame) = self.frame() {
            self.read(&frame);
        }
    }

    fn frame(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(*self.bytes.first()?) << 16
            | usize::from(*self.bytes.get(1)?) << 8
            | usize::from(*self.bytes.get(2)?);
        let whole = FRAME_HEAD + length;
        (self.bytes.len() >= whole).then(|| self.bytes.drain(..whole).collect())
    }

    fn read(&mut self, frame: &[u8]) {
        let (kind, flags) = (frame[3], frame[4]);
        let stream = u32::from_be_bytes([frame[5] & 0x7f, frame[6], frame[7], frame[8]]);
        if kind == DATA {
            let mut data = &frame[FRAME_HEAD..];
            if flags & PADDED != 0 {
                data = &data[1..data.len() - usize::from(data[0])];
            }
            self.streams.entry(stream).or_default().extend_from_slice(data);
            self.messages(stream);
        }
        if kind == RESET || kind == DATA && flags & END_OF_STREAM != 0 {
            self.streams.remove(&stream);
        }
    }

    fn messages(&mut self, stream: u32) {
        let Some(bytes) = self.streams.get_mut(&stream) else { return };
        while let Some(head) = bytes.first_chunk::<MESSAGE_HEAD>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if bytes.len() < MESSAGE_HEAD + length {
                return;
            }
            assert_eq!(head[0], 0, "a compressed message, which this reader does not know");
            let message: Vec<u8> = bytes.drain(..MESSAGE_HEAD + length).skip(MESSAGE_HEAD).collect();
            // The requests of other calls are none, or have nothing to deliver.
            if let Ok(batch) = DeliverRequest::decode(&message[..])
                && !batch.deliveries.is_empty()
            {
                self.tap.0.lock().unwrap().push(batch);
            }
        }
    }
}
