//! What one round of deliveries holds for each connection, gathered before the first byte is written.
//!
//! Owns the table connection -> plan of one round. However many messages of a round are for a connection, it gets them
//! in one write call. The table is reused from round to round; [`Spare`] keeps those not in use. A round that is one message
//! to all members of one group does without.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use gim_proto::Uid;
use gim_proto::frame::MsgType;
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::lease::{Guard, Unproven};

use super::Member;
use super::index::Index;
use super::plans::{ChunkId, EMPTY, PlanId, Plans, number};
use crate::core::Core;
use crate::session::Session;
use crate::session::outbox::Offer;

/// How many writes follow each other before other tasks of this thread get their turn.
const WRITES_PER_TURN: usize = 256;

/// Connections that are touched before the first of them is written to: more than the processor waits for at once, and
/// few enough to be in its cache still when their turn comes.
const TOUCHED: usize = 16;

/// See the module.
#[derive(Default)]
pub(crate) struct Gather {
    plans: Plans,
    rows: Vec<Row>,
    index: Index,
    /// While the round is one chunk for one crowd, it is here and there are no rows.
    sole: Option<Sole>,
    /// Whom rows stand for that were not gathered one by one.
    crowds: Vec<Arc<[Member]>>,
    bytes: usize,
    /// Somebody will ask for the results of chunks, not of rows alone.
    counts: bool,
    results: Vec<ChunkResult>,
}

/// One chunk for all of a crowd: who they are is a list already.
struct Sole {
    members: Arc<[Member]>,
    chunk: ChunkId,
}

struct Row {
    who: Who,
    plan: PlanId,
    taken: Option<bool>,
}

/// Whose row it is. A handle is counted in memory of its session, which is rarely in the processor's cache: members have
/// none of their own here, the handles of their crowd are kept instead.
enum Who {
    One(Session),
    Of {
        crowd: u32,
        member: u32,
    },
    /// It was one, and was written to: its handle was given back while its memory was at hand. Its slot may be somebody
    /// else's from then on, so nothing is added to a round that is written.
    Written,
}

impl Who {
    fn session<'a>(&'a self, crowds: &'a [Arc<[Member]>]) -> Option<&'a Session> {
        match self {
            Self::One(session) => Some(session),
            Self::Of { crowd, member } => Some(&crowds.get(*crowd as usize)?.get(*member as usize)?.session),
            Self::Written => None,
        }
    }

    fn touch(&self, crowds: &[Arc<[Member]>]) {
        match (self, self.session(crowds)) {
            (Self::One(session), _) => session.touch(),
            (_, Some(member)) => member.touch_member(),
            (_, None) => {}
        }
    }
}

/// What became of a chunk over all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkResult {
    pub(crate) offered: u64,
    pub(crate) slow: u64,
}

impl ChunkResult {
    const fn count(&mut self, taken: Option<bool>) {
        match taken {
            Some(true) => self.offered += 1,
            Some(false) => self.slow += 1,
            None => {}
        }
    }
}

/// When the next write may be.
struct Pace<'a> {
    guard: Option<&'a Guard>,
    writes: usize,
}

impl Pace<'_> {
    /// Waits until the guard lets it pass.
    async fn pass(&self) -> Result<(), Unproven> {
        match self.guard.filter(|guard| !guard.is_proven()) {
            Some(guard) => guard.wait().await,
            None => Ok(()),
        }
    }

    /// Counts a write, and lets others have their turn after many.
    async fn wrote(&mut self) {
        self.writes += 1;
        if self.writes.is_multiple_of(WRITES_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
}

impl Gather {
    /// Bytes of the chunks added in this round, each counted once.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sole.is_none()
    }

    pub(super) fn add_chunk(&mut self, message: &Arc<Message>, kind: MsgType, scope: &str) -> ChunkId {
        self.bytes += match &message.payload {
            gim_proto::Payload::Json(bytes) | gim_proto::Payload::Raw(bytes) => bytes.len() + 128,
        };
        self.plans.add_chunk(message, kind, |key| super::collapse_key(scope, key))
    }

    /// Gives a chunk to a connection, once. Returns the connection's row.
    pub(super) fn add(&mut self, session: Session, chunk: ChunkId) -> usize {
        self.expand();
        self.add_row(session.0.slot, chunk, || Who::One(session))
    }

    /// Gives a chunk to all of these but some.
    pub(super) fn add_members(&mut self, members: Arc<[Member]>, except: &HashSet<&Uid>, chunk: ChunkId) {
        if self.is_empty() && except.is_empty() {
            self.sole = (!members.is_empty()).then_some(Sole { members, chunk });
            return;
        }
        self.expand();
        self.add_rows(members, except, chunk);
    }

    /// Gives rows to the members of a sole crowd, because something else comes.
    fn expand(&mut self) {
        if let Some(Sole { members, chunk }) = self.sole.take() {
            self.add_rows(members, &HashSet::new(), chunk);
        }
    }

    fn add_rows(&mut self, members: Arc<[Member]>, except: &HashSet<&Uid>, chunk: ChunkId) {
        let (crowd, rows) = (number(self.crowds.len()), self.rows.len());
        self.rows.reserve(members.len());
        for (at, member) in members.iter().enumerate() {
            if except.is_empty() || !except.contains(member.session.uid()) {
                self.add_row(member.slot, chunk, || Who::Of { crowd, member: number(at) });
            }
        }
        // The next message to the same members adds no row, and nothing names this list then.
        if self.rows.len() > rows {
            self.crowds.push(members);
        }
    }

    fn add_row(&mut self, slot: u32, chunk: ChunkId, who: impl FnOnce() -> Who) -> usize {
        let Some(row) = self.index.find(slot) else {
            let plan = self.plans.append(EMPTY, chunk);
            self.index.push(slot);
            self.rows.push(Row { who: who(), plan, taken: None });
            return self.rows.len() - 1;
        };
        debug_assert!(!matches!(self.rows[row].who, Who::Written));
        let plan = self.rows[row].plan;
        if self.plans.last_chunk(plan) != Some(chunk) {
            self.rows[row].plan = self.plans.append(plan, chunk);
        }
        row
    }

    /// Offers every connection what was gathered for it, in one call each, as long as the guard lets it.
    pub(super) async fn write(&mut self, guard: Option<&Guard>) -> Result<(), Unproven> {
        let pace = Pace { guard, writes: 0 };
        match self.sole.take() {
            Some(sole) => self.write_sole(sole, pace).await,
            None => self.write_rows(pace).await,
        }
    }

    async fn write_sole(&mut self, sole: Sole, mut pace: Pace<'_>) -> Result<(), Unproven> {
        let Sole { members, chunk } = sole;
        let Some(core) = members.first().map(|first| first.session.core()) else { return Ok(()) };
        let plan = self.plans.append(EMPTY, chunk);
        let mut result = ChunkResult::default();
        for some in members.chunks(TOUCHED) {
            some.iter().for_each(|member| member.session.touch_member());
            for Member { session, .. } in some {
                pace.pass().await?;
                result.count(offer(core, session, plan, &mut self.plans));
                pace.wrote().await;
            }
        }
        *result_of(&mut self.results, chunk) = result;
        Ok(())
    }

    async fn write_rows(&mut self, mut pace: Pace<'_>) -> Result<(), Unproven> {
        let Self { plans, rows, crowds, .. } = self;
        let first = rows.first().and_then(|row| row.who.session(crowds));
        let Some(core) = first.map(|first| Arc::clone(first.core())) else { return Ok(()) };
        for some in rows.chunks_mut(TOUCHED) {
            some.iter().for_each(|row| row.who.touch(crowds));
            for row in some {
                let Some(session) = row.who.session(crowds) else { continue };
                pace.pass().await?;
                row.taken = offer(&core, session, row.plan, plans);
                plans.leave(row.plan);
                if matches!(row.who, Who::One(_)) {
                    row.who = Who::Written;
                }
                pace.wrote().await;
            }
        }
        if self.counts {
            self.count();
        }
        Ok(())
    }

    /// Whether the connection of a row took what was for it. `None`: it had ended.
    pub(super) fn taken(&self, row: usize) -> Option<bool> {
        self.rows.get(row).and_then(|row| row.taken)
    }

    /// Has the round count what becomes of chunks: their [results](Self::result) are known afterwards.
    pub(super) const fn count_chunks(&mut self) {
        self.counts = true;
    }

    pub(super) fn result(&self, chunk: ChunkId) -> ChunkResult {
        self.results.get(chunk as usize).copied().unwrap_or_default()
    }

    /// Counts per plan first: most connections share theirs, and a plan may hold many chunks.
    fn count(&mut self) {
        let mut per_plan: Vec<ChunkResult> = Vec::new();
        for row in &self.rows {
            let plan = row.plan as usize;
            if per_plan.len() <= plan {
                per_plan.resize(plan + 1, ChunkResult::default());
            }
            per_plan[plan].count(row.taken);
        }
        for (plan, counted) in per_plan.iter().enumerate().filter(|(_, counted)| **counted != ChunkResult::default()) {
            let plan = u32::try_from(plan).unwrap_or(EMPTY);
            for chunk in self.plans.chunks_of(plan) {
                let result = result_of(&mut self.results, chunk);
                result.offered += counted.offered;
                result.slow += counted.slow;
            }
        }
    }

    /// Forgets the round, keeps the table.
    pub(super) fn clear(&mut self) {
        // A table that one large batch has grown is not kept for ever.
        const KEEP_ROWS: usize = 16 * 1024;
        self.rows.clear();
        self.rows.shrink_to(KEEP_ROWS);
        self.index.clear();
        self.sole = None;
        self.crowds.clear();
        self.crowds.shrink_to(KEEP_ROWS);
        self.results.clear();
        self.results.shrink_to(KEEP_ROWS);
        self.plans.clear();
        self.bytes = 0;
        self.counts = false;
    }
}

fn result_of(results: &mut Vec<ChunkResult>, chunk: ChunkId) -> &mut ChunkResult {
    let chunk = chunk as usize;
    if results.len() <= chunk {
        results.resize(chunk + 1, ChunkResult::default());
    }
    &mut results[chunk]
}

/// Offers a connection all that is for it, in one call. `None`: it had ended. `core` is that of all sessions of a round.
fn offer(core: &Core, session: &Session, plan: PlanId, plans: &mut Plans) -> Option<bool> {
    let ready = plans.ready(plan, session.0.encoding, &core.metrics.deflate);
    let taken = match session.offer(core, ready.joined, || ready.parts()) {
        Offer::Taken | Offer::Waiting => Some(true),
        // Of several messages at least one was kept, and nobody counts them one by one for a slow client.
        Offer::Dropped => Some(ready.is_several()),
        Offer::Overflow => Some(false),
        Offer::Closed => None,
    };
    if core.followers.count() > 0 {
        tell(session, plan, taken, plans);
    }
    taken
}

/// Tells whoever follows the user of this connection.
fn tell(session: &Session, plan: PlanId, taken: Option<bool>, plans: &Plans) {
    let outcome = match taken {
        Some(true) => "offered",
        Some(false) => "slow",
        None => "the session had ended",
    };
    let mut chunks: Vec<ChunkId> = plans.chunks_of(plan).collect();
    chunks.reverse();
    for chunk in chunks {
        if let Some(message) = plans.message(chunk) {
            session.tell_message("offered", &message.id, || format!("{}: {outcome}", message.class.as_str()));
        }
    }
}

/// Tables not in use, at most as many as rounds that ran at once.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<Gather>>);

impl Spare {
    /// Tables kept beyond this are dropped.
    const MOST: usize = 8;

    pub(super) fn take(&self) -> Gather {
        let mut gather = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        gather.clear();
        gather
    }

    pub(super) fn give_back(&self, mut gather: Gather) {
        gather.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < Self::MOST {
            spare.push(gather);
        }
    }
}
