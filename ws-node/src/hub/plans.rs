//! Which chunks go to a connection, and their bytes, joined once for all connections that get the same.
//!
//! A chunk is one message in the form one kind of recipient gets. A plan is a list of chunks, kept as a node of a tree
//! of lists: appending a chunk to the same list twice gives the same plan, so two groups with the same members lead to
//! one plan and one joined buffer.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gim_proto::frame::{self, Dialect, MsgType};
use gim_proto::websocket::{self, Opcode};
use gim_proto::{Class, Payload};
use gim_proxy_sdk::delivery::Message;

use crate::session::Encoding;
use crate::session::outbox::{Keep, Part};

/// Number of a chunk within a batch.
pub(super) type ChunkId = u32;
/// Number of a plan within a batch.
pub(super) type PlanId = u32;

/// The plan with nothing in it.
pub(super) const EMPTY: PlanId = 0;

/// One message in the form one kind of recipient gets.
pub(super) struct Chunk {
    message: Arc<Message>,
    kind: MsgType,
    keep: Keep,
    encoded: [Option<Bytes>; Encoding::COUNT],
}

/// What one connection gets, ready to write.
#[derive(Clone, Default)]
pub(super) struct Ready {
    pub(super) joined: Bytes,
    pub(super) parts: Arc<[Part]>,
}

struct Plan {
    before: PlanId,
    chunk: ChunkId,
    /// Connections that still get exactly this. With the last of them its bytes go: where hardly two connections get
    /// the same, a round would otherwise hold a buffer for each.
    rows: u32,
    ready: Option<Box<[Option<Ready>; Encoding::COUNT]>>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Plans {
    chunks: Vec<Chunk>,
    plans: Vec<Plan>,
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
        self.chunks.push(Chunk {
            message: Arc::clone(message),
            kind,
            keep,
            encoded: [const { None }; Encoding::COUNT],
        });
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
                plan.ready = None;
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
        self.plans.push(Plan { before, chunk, rows: 0, ready: None });
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
    pub(super) fn ready(&mut self, plan: PlanId, encoding: Encoding) -> Ready {
        let known = self.plan(plan).and_then(|plan| plan.ready.as_ref()?[encoding.index()].clone());
        known.unwrap_or_else(|| self.make_ready(plan, encoding))
    }

    fn make_ready(&mut self, plan: PlanId, encoding: Encoding) -> Ready {
        let mut ids: Vec<ChunkId> = self.chunks_of(plan).collect();
        ids.reverse();
        let parts: Arc<[Part]> = ids.iter().filter_map(|id| self.part(*id, encoding)).collect();
        let joined = match &parts[..] {
            [only] => only.bytes.clone(),
            many => join(many),
        };
        let ready = Ready { joined, parts };
        if let Some(plan) = self.plan_mut(plan).filter(|plan| plan.rows > 1) {
            plan.ready.get_or_insert_default()[encoding.index()] = Some(ready.clone());
        }
        ready
    }

    fn part(&mut self, chunk: ChunkId, encoding: Encoding) -> Option<Part> {
        let chunk = self.chunks.get_mut(chunk as usize)?;
        let Chunk { message, kind, keep, encoded } = chunk;
        let bytes = encoded[encoding.index()].get_or_insert_with(|| encode(message, *kind, encoding));
        Some(Part::new(bytes.clone(), keep.clone()))
    }

    fn plan(&self, plan: PlanId) -> Option<&Plan> {
        self.plans.get((plan as usize).checked_sub(1)?)
    }

    fn plan_mut(&mut self, plan: PlanId) -> Option<&mut Plan> {
        self.plans.get_mut((plan as usize).checked_sub(1)?)
    }
}

/// Encodes a message as one WebSocket frame.
pub(crate) fn encode(message: &Message, kind: MsgType, encoding: Encoding) -> Bytes {
    match &message.payload {
        Payload::Raw(raw) => {
            let text = encoding.text && std::str::from_utf8(raw).is_ok();
            websocket::frame(if text { Opcode::Text } else { Opcode::Binary }, raw)
        }
        Payload::Json(a) => {
            let id = (encoding.dialect == Dialect::Ws).then_some(&message.id);
            let mut text = Vec::with_capacity(a.len() + 128);
            frame::push(&mut text, kind, id, None, a);
            websocket::frame(encoding.opcode(), &text)
        }
    }
}

fn join(parts: &[Part]) -> Bytes {
    let mut joined = BytesMut::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
    for part in parts {
        joined.extend_from_slice(&part.bytes);
    }
    joined.freeze()
}

/// A batch is bounded far below 2^32 chunks.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use gim_proto::MessageId;

    use super::*;

    const TEXT: Encoding = Encoding { dialect: Dialect::Acc, text: true };

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
        let (one, other) = (plans.ready(ends[0], TEXT), plans.ready(ends[1], TEXT));
        assert_eq!(one.joined.as_ptr(), other.joined.as_ptr());
        assert_eq!(one.parts.len(), 2);
        assert_eq!(one.joined.len(), one.parts.iter().map(|part| part.bytes.len()).sum::<usize>());
        let alone = plans.append(EMPTY, second);
        assert_eq!(plans.ready(alone, TEXT).joined, one.parts[1].bytes);
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
        let kept = |plans: &Plans| plans.plans.iter().filter(|plan| plan.ready.is_some()).count();
        plans.ready(end, TEXT);
        assert_eq!(kept(&plans), 1);
        plans.leave(end);
        assert_eq!(kept(&plans), 1, "another connection gets the same");
        plans.leave(end);
        assert_eq!(kept(&plans), 0);
        let alone = plans.append(EMPTY, second);
        plans.ready(alone, TEXT);
        assert_eq!(kept(&plans), 0, "what one connection gets is not kept");
    }
}
