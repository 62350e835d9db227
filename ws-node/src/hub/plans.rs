//! Which chunks go to a connection, and their bytes, joined once for all connections that get the same.
//!
//! A chunk is one message in the form one kind of recipient gets. A plan is a list of chunks, kept as a node of a tree
//! of lists: appending a chunk to the same list twice gives the same plan, so two groups with the same members lead to
//! one plan and one joined buffer.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use gim_proto::frame::{self, Dialect, MsgType};
use gim_proto::websocket::{self, Opcode};
use gim_proto::{Class, Payload};
use gim_proxy_sdk::delivery::Message;
use smallvec::SmallVec;

use crate::deflate::Deflate;
use crate::session::Encoding;
use crate::session::outbox::{Keep, Part};

/// Number of a chunk within a batch.
pub(super) type ChunkId = u32;
/// Number of a plan within a batch.
pub(super) type PlanId = u32;

/// The plan with nothing in it.
pub(super) const EMPTY: PlanId = 0;

/// One message in the form one kind of recipient gets.
struct Chunk {
    message: Arc<Message>,
    kind: MsgType,
    keep: Keep,
    /// Of each encoding that was asked for: of most chunks, one or two.
    encoded: SmallVec<[Encoded; 2]>,
}

impl Chunk {
    fn encoded(&self, which: u8) -> Option<&Encoded> {
        self.encoded.iter().find(|encoded| encoded.which == which)
    }
}

/// A frame among those of the round.
struct Encoded {
    /// Number of the encoding.
    which: u8,
    at: Range<usize>,
    /// The same for connections that cannot take it at once: made for the first of them, shared by all.
    shared: OnceCell<Bytes>,
}

/// What one connection gets, ready to write.
pub(super) struct Ready<'a> {
    /// All of it, for one write call.
    pub(super) joined: &'a [u8],
    plans: &'a Plans,
    plan: PlanId,
    encoding: Encoding,
}

impl Ready<'_> {
    /// The frames one by one, for a connection that has to wait for some.
    pub(super) fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> =
            self.plans.chunks_of(self.plan).filter_map(|id| self.plans.part(id, self.encoding)).collect();
        parts.reverse();
        parts
    }

    /// Whether it is more than one frame.
    pub(super) fn is_several(&self) -> bool {
        self.plans.plan(self.plan).is_some_and(|plan| plan.before != EMPTY)
    }
}

struct Plan {
    before: PlanId,
    chunk: ChunkId,
    /// Connections that still get exactly this. With the last of them its bytes go: where hardly two connections get
    /// the same, a round would otherwise hold a buffer for each.
    rows: u32,
    joined: Option<Box<PerEncoding<Box<[u8]>>>>,
}

/// What was made for connections of each encoding.
type PerEncoding<T> = [Option<T>; Encoding::COUNT];

/// See the module.
#[derive(Default)]
pub(super) struct Plans {
    chunks: Vec<Chunk>,
    plans: Vec<Plan>,
    /// The frames of all chunks, each encoding once: most go to one connection, and need no memory of their own.
    frames: Vec<u8>,
    /// The text of a frame that is being made.
    text: Vec<u8>,
    /// What is for one connection only, joined.
    scratch: Vec<u8>,
    /// The plan that holds a chunk alone, by chunk.
    alone: Vec<PlanId>,
    longer: HashMap<(PlanId, ChunkId), PlanId>,
    /// The last answer: members of a group mostly share their plan.
    last: Option<(PlanId, ChunkId, PlanId)>,
}

impl Plans {
    /// Forgets everything and keeps room for a round of usual size.
    pub(super) fn clear(&mut self) {
        const KEEP: usize = 4 * 1024;
        const KEEP_BYTES: usize = 64 * 1024;
        for buffer in [&mut self.frames, &mut self.text, &mut self.scratch] {
            buffer.clear();
            buffer.shrink_to(KEEP_BYTES);
        }
        self.chunks.clear();
        self.chunks.shrink_to(KEEP);
        self.plans.clear();
        self.plans.shrink_to(KEEP);
        self.alone.clear();
        self.alone.shrink_to(KEEP);
        self.longer.clear();
        self.longer.shrink_to(KEEP);
        self.last = None;
    }

    pub(super) fn add_chunk(
        &mut self,
        message: &Arc<Message>,
        kind: MsgType,
        collapse: impl Fn(&str) -> Arc<str>,
    ) -> ChunkId {
        let keep = match (message.class, &message.key) {
            (Class::Latest, Some(key)) => Keep::Latest(collapse(key)),
            _ => Keep::Live,
        };
        self.chunks.push(Chunk { message: Arc::clone(message), kind, keep, encoded: SmallVec::new() });
        self.alone.push(EMPTY);
        number(self.chunks.len() - 1)
    }

    /// Moves a connection from `before` to the plan that has `chunk` behind all of it.
    pub(super) fn append(&mut self, before: PlanId, chunk: ChunkId) -> PlanId {
        let plan = self.longer_by(before, chunk);
        self.leave(before);
        if let Some(plan) = self.plan_mut(plan) {
            plan.rows += 1;
        }
        plan
    }

    /// Takes note that one connection has what this plan holds.
    pub(super) fn leave(&mut self, plan: PlanId) {
        if let Some(plan) = self.plan_mut(plan) {
            plan.rows = plan.rows.saturating_sub(1);
            if plan.rows == 0 {
                plan.joined = None;
            }
        }
    }

    fn longer_by(&mut self, before: PlanId, chunk: ChunkId) -> PlanId {
        if let Some((last_before, last_chunk, plan)) = self.last
            && last_before == before
            && last_chunk == chunk
        {
            return plan;
        }
        let known = if before == EMPTY {
            self.alone.get(chunk as usize).copied().filter(|plan| *plan != EMPTY)
        } else {
            self.longer.get(&(before, chunk)).copied()
        };
        let plan = known.unwrap_or_else(|| self.new_plan(before, chunk));
        self.last = Some((before, chunk, plan));
        plan
    }

    fn new_plan(&mut self, before: PlanId, chunk: ChunkId) -> PlanId {
        self.plans.push(Plan { before, chunk, rows: 0, joined: None });
        // 0 is the plan with nothing in it, which is not stored.
        let plan = number(self.plans.len());
        if before == EMPTY {
            if let Some(alone) = self.alone.get_mut(chunk as usize) {
                *alone = plan;
            }
        } else {
            self.longer.insert((before, chunk), plan);
        }
        plan
    }

    /// The chunk that was appended last.
    pub(super) fn last_chunk(&self, plan: PlanId) -> Option<ChunkId> {
        self.plan(plan).map(|plan| plan.chunk)
    }

    /// The chunks of a plan, last first.
    pub(super) fn chunks_of(&self, mut plan: PlanId) -> impl Iterator<Item = ChunkId> + '_ {
        std::iter::from_fn(move || {
            let found = self.plan(plan)?;
            plan = found.before;
            Some(found.chunk)
        })
    }

    pub(super) fn message(&self, chunk: ChunkId) -> Option<&Message> {
        self.chunks.get(chunk as usize).map(|chunk| &*chunk.message)
    }

    /// The bytes of a plan for connections of one encoding.
    pub(super) fn ready(&mut self, plan: PlanId, encoding: Encoding, deflate: &Deflate) -> Ready<'_> {
        let which = usize::from(encoding.index());
        let (before, chunk, rows, is_joined) = match self.plan(plan) {
            Some(plan) => {
                let is_joined = plan.joined.as_ref().is_some_and(|joined| joined[which].is_some());
                (plan.before, plan.chunk, plan.rows, is_joined)
            }
            None => (EMPTY, ChunkId::MAX, 0, false),
        };
        if before == EMPTY {
            let at = self.encode(chunk, encoding, deflate);
            return Ready { joined: self.frames.get(at).unwrap_or_default(), plans: self, plan, encoding };
        }
        if !is_joined {
            self.join(plan, encoding, deflate);
            if rows > 1 {
                let joined = Box::from(self.scratch.as_slice());
                if let Some(plan) = self.plan_mut(plan) {
                    plan.joined.get_or_insert_default()[which] = Some(joined);
                }
            }
        }
        let kept = self.plan(plan).and_then(|plan| plan.joined.as_ref()?[which].as_deref());
        Ready { joined: kept.unwrap_or(&self.scratch), plans: self, plan, encoding }
    }

    /// Joins the frames of a plan in `scratch`.
    fn join(&mut self, plan: PlanId, encoding: Encoding, deflate: &Deflate) {
        let mut ids: Vec<ChunkId> = self.chunks_of(plan).collect();
        ids.reverse();
        self.scratch.clear();
        for id in ids {
            let at = self.encode(id, encoding, deflate);
            self.scratch.extend_from_slice(self.frames.get(at).unwrap_or_default());
        }
    }

    /// Makes the frame of a chunk, unless it is made. Returns where it is.
    fn encode(&mut self, chunk: ChunkId, encoding: Encoding, deflate: &Deflate) -> Range<usize> {
        let Self { chunks, frames, text, .. } = self;
        let Some(chunk) = chunks.get_mut(chunk as usize) else { return 0..0 };
        let which = encoding.index();
        if let Some(encoded) = chunk.encoded(which) {
            return encoded.at.clone();
        }
        let start = frames.len();
        let deflate = encoding.deflate.then_some(deflate);
        encode_into(frames, text, &chunk.message, chunk.kind, encoding, deflate);
        let at = start..frames.len();
        chunk.encoded.push(Encoded { which, at: at.clone(), shared: OnceCell::new() });
        at
    }

    fn part(&self, chunk: ChunkId, encoding: Encoding) -> Option<Part> {
        let chunk = self.chunks.get(chunk as usize)?;
        let Encoded { at, shared, .. } = chunk.encoded(encoding.index())?;
        let bytes = shared.get_or_init(|| Bytes::copy_from_slice(self.frames.get(at.clone()).unwrap_or_default()));
        Some(Part::new(bytes.clone(), chunk.keep.clone()))
    }

    fn plan(&self, plan: PlanId) -> Option<&Plan> {
        self.plans.get((plan as usize).checked_sub(1)?)
    }

    fn plan_mut(&mut self, plan: PlanId) -> Option<&mut Plan> {
        self.plans.get_mut((plan as usize).checked_sub(1)?)
    }
}

/// Encodes a message as one WebSocket frame for one connection, never compressed.
pub(crate) fn encode(message: &Message, kind: MsgType, encoding: Encoding) -> Bytes {
    let mut frame = Vec::new();
    encode_into(&mut frame, &mut Vec::new(), message, kind, encoding, None);
    Bytes::from(frame)
}

/// Appends a message as one WebSocket frame. `text` is room to work in.
fn encode_into(
    out: &mut Vec<u8>,
    text: &mut Vec<u8>,
    message: &Message,
    kind: MsgType,
    encoding: Encoding,
    deflate: Option<&Deflate>,
) {
    let (opcode, message) = match &message.payload {
        Payload::Raw(raw) => {
            let is_text = encoding.text && std::str::from_utf8(raw).is_ok();
            (if is_text { Opcode::Text } else { Opcode::Binary }, &raw[..])
        }
        Payload::Json(a) => {
            let id = (encoding.dialect == Dialect::Ws).then_some(&message.id);
            text.clear();
            frame::push(text, kind, id, None, a);
            (encoding.opcode(), &text[..])
        }
    };
    match deflate {
        Some(deflate) => deflate.write_frame(out, opcode, message),
        None => websocket::write_frame(out, opcode, message),
    }
}

/// A batch is bounded far below 2^32 chunks.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use gim_proto::MessageId;

    use super::*;

    const TEXT: Encoding = Encoding { dialect: Dialect::Acc, text: true, deflate: false };
    const DEFLATE: Deflate = Deflate::uncounted();

    fn chunk(plans: &mut Plans, a: &'static [u8]) -> ChunkId {
        let message = Message {
            id: MessageId::mint(),
            class: Class::Live,
            key: None,
            payload: Payload::Json(Bytes::from_static(a)),
            except: Vec::new(),
            expires_ms: None,
            receipt: false,
            traced: false,
        };
        plans.add_chunk(&Arc::new(message), MsgType::User, |key| Arc::from(key))
    }

    #[test]
    fn connections_that_get_the_same_share_one_buffer() {
        let mut plans = Plans::default();
        let (first, second) = (chunk(&mut plans, b"{}"), chunk(&mut plans, b"[]"));
        let ends: Vec<PlanId> = (0..3)
            .map(|_| {
                let plan = plans.append(EMPTY, first);
                plans.append(plan, second)
            })
            .collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]));
        let one = plans.ready(ends[0], TEXT, &DEFLATE).joined.as_ptr();
        let other = plans.ready(ends[1], TEXT, &DEFLATE);
        assert_eq!(one, other.joined.as_ptr());
        assert!(other.is_several());
        let parts = other.parts();
        assert_eq!(parts.len(), 2);
        assert_eq!(other.joined, [&parts[0].bytes[..], &parts[1].bytes].concat());
        let again = other.parts();
        assert_eq!(parts[0].bytes.as_ptr(), again[0].bytes.as_ptr(), "what waits is shared too");
        let alone = plans.append(EMPTY, second);
        let alone = plans.ready(alone, TEXT, &DEFLATE);
        assert_eq!(alone.joined, &parts[1].bytes[..]);
        assert!(!alone.is_several());
        assert_eq!(alone.parts()[0].bytes.as_ptr(), parts[1].bytes.as_ptr());
    }

    #[test]
    fn a_joined_buffer_lives_no_longer_than_the_last_connection_that_gets_it() {
        let mut plans = Plans::default();
        let (first, second) = (chunk(&mut plans, b"{}"), chunk(&mut plans, b"[]"));
        let mut end = EMPTY;
        for _ in 0..2 {
            let plan = plans.append(EMPTY, first);
            end = plans.append(plan, second);
        }
        let kept = |plans: &Plans| plans.plans.iter().filter(|plan| plan.joined.is_some()).count();
        plans.ready(end, TEXT, &DEFLATE);
        assert_eq!(kept(&plans), 1);
        plans.leave(end);
        assert_eq!(kept(&plans), 1, "another connection gets the same");
        plans.leave(end);
        assert_eq!(kept(&plans), 0);
        let one = plans.append(EMPTY, second);
        let only = plans.append(one, first);
        let ready = plans.ready(only, TEXT, &DEFLATE);
        assert_eq!(ready.joined, [&ready.parts()[0].bytes[..], &ready.parts()[1].bytes].concat());
        assert_eq!(kept(&plans), 0, "what one connection gets is not kept");
    }
}
