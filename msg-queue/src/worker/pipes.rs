//! What is on its way to each node and what waits to go there next.
//!
//! One batch per node is on its way; what comes in the meantime goes together in the next one. A node that does not
//! answer therefore holds up nobody but itself.

use std::time::Duration;

use gim_proto::{Class, Payload};
use gim_proxy_sdk::delivery::Delivery;
use gim_proxy_sdk::directory::NodeRef;
use hashbrown::HashMap;
use tokio::time::Instant;

use super::pause::Pause;
use crate::backoff::{Backoff, Jitter};
use crate::route::{Parcels, Receipt};

/// Deliveries in one batch, at most.
const BATCH: usize = 1_000;
/// Bytes of payload in one batch, at most, unless one delivery has more: each batch has a deadline and an answer of its own.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Durable messages to groups in one batch, at most: the node finds a mailbox for each member there.
const BATCH_FANS: usize = 16;
/// A node that takes longer than this for a batch is not waited for.
const PATIENCE: Duration = Duration::from_millis(100);
/// A node that takes nothing right now is asked again at least this often.
const ASK: Duration = Duration::from_secs(1);
/// Beyond this number, nodes nothing is sent to are forgotten.
const REMEMBERED: usize = 256;

#[derive(Debug, Default)]
struct Pipe {
    waiting: Parcels,
    busy_since: Option<Instant>,
    /// The node takes nothing right now.
    pause: Pause,
}

/// The pipes to all nodes known to this lane.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    nodes: HashMap<NodeRef, Pipe>,
}

impl Pipes {
    /// Tells whether more should be routed. While all nodes known are busy it is better to let messages gather in the
    /// lane, where priority counts; but not for long, because they may be for a node that is not known yet.
    pub(super) fn may_flow(&self, now: Instant) -> bool {
        self.may_flow_at(now).is_none()
    }

    /// Tells until when nothing should be routed, unless a node answers before. None: something may be.
    pub(super) fn may_flow_at(&self, now: Instant) -> Option<Instant> {
        let free_at = |pipe: &Pipe| pipe.busy_since.map_or(now, |since| since + PATIENCE);
        self.nodes.values().map(free_at).min().filter(|at| *at > now)
    }

    /// Tells whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.nodes.values().all(|pipe| pipe.busy_since.is_none() && pipe.waiting.is_empty())
    }

    /// Appends what a node gets. Returns the next batch, if it may go now.
    pub(super) fn push(&mut self, node: &NodeRef, parcels: Parcels) -> Option<Parcels> {
        let pipe = match self.nodes.get_mut(node) {
            Some(pipe) => pipe,
            None => {
                self.forget_idle();
                self.nodes.entry(node.clone()).or_default()
            }
        };
        if pipe.waiting.is_empty() {
            pipe.waiting = parcels;
        } else {
            pipe.waiting.append(parcels);
        }
        pipe.next()
    }

    /// Takes out what waits to go to a node. After a batch that failed it must not go ahead of what was in that.
    pub(super) fn take_waiting(&mut self, node: &NodeRef) -> Parcels {
        self.nodes.get_mut(node).map(|pipe| std::mem::take(&mut pipe.waiting)).unwrap_or_default()
    }

    /// Takes note that a node takes nothing right now. Returns for how long nothing is sent to it.
    pub(super) fn suspend(&mut self, node: &NodeRef, backoff: &Backoff, jitter: &mut Jitter) -> Duration {
        let backoff = Backoff { first: backoff.first.min(ASK), max: backoff.max.min(ASK) };
        let pipe = self.nodes.entry(node.clone()).or_default();
        pipe.pause.begin(Instant::now(), &backoff, jitter)
    }

    /// Takes note that a node has taken something.
    pub(super) fn resume(&mut self, node: &NodeRef) {
        if let Some(pipe) = self.nodes.get_mut(node) {
            pipe.pause.end();
        }
    }

    /// Tells for how long nothing is sent to a node. None: something may be.
    pub(super) fn suspended(&self, node: &NodeRef) -> Option<Duration> {
        let now = Instant::now();
        let until = self.nodes.get(node)?.pause.until().filter(|until| *until > now)?;
        // Never less than what the lane can tell apart.
        Some(until - now + Duration::from_millis(1))
    }

    /// Takes note that a node's batch has ended. Returns the next one, if something waits.
    pub(super) fn ended(&mut self, node: &NodeRef) -> Option<Parcels> {
        let pipe = self.nodes.get_mut(node)?;
        pipe.busy_since = None;
        pipe.next()
    }

    fn forget_idle(&mut self) {
        if self.nodes.len() >= REMEMBERED {
            self.nodes.retain(|_, pipe| pipe.busy_since.is_some() || pipe.pause.is_on(Instant::now()));
        }
    }
}

impl Pipe {
    fn next(&mut self) -> Option<Parcels> {
        if self.busy_since.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.busy_since = Some(Instant::now());
        let count = self.batch();
        if self.waiting.len() <= count {
            return Some(std::mem::take(&mut self.waiting));
        }
        let rest = self.waiting.split_off(count);
        Some(std::mem::replace(&mut self.waiting, rest))
    }

    /// Counts what of the waiting goes in one batch: at least one.
    fn batch(&self) -> usize {
        let (mut bytes, mut fans) = (0, 0);
        let fits = |(delivery, receipt): &(&Delivery, &Receipt)| {
            let (Payload::Json(payload) | Payload::Raw(payload)) = &delivery.message.payload;
            bytes += payload.len();
            fans += usize::from(receipt.is_fan() && delivery.message.class == Class::Durable);
            bytes <= BATCH_BYTES && fans <= BATCH_FANS
        };
        self.waiting.iter().take(BATCH).take_while(fits).count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use gim_proto::{Class, EntryId, Incarnation, MessageId, NodeId};
    use gim_proxy_sdk::delivery::{Message, Recipients};
    use tokio::time::advance;

    use super::*;
    use crate::route::ReceiptLegs;

    fn node(name: &str) -> NodeRef {
        NodeRef { id: NodeId::parse(name).unwrap(), incarnation: Incarnation::mint() }
    }

    fn parcels(seqs: std::ops::Range<u64>) -> Parcels {
        let payload = Payload::Json(Bytes::from_static(b"{}"));
        let id = MessageId::mint();
        let message = Arc::new(Message {
            id,
            class: Class::Live,
            key: None,
            payload,
            except: Vec::new(),
            expires_ms: None,
            receipt: false,
            traced: false,
        });
        let entry_id = |seq| EntryId { ms: 0, seq };
        let delivery =
            |seq| Delivery { entry: Some(entry_id(seq)), message: Arc::clone(&message), to: Recipients::All };
        let receipt = |seq| Receipt { entry_id: entry_id(seq), again: false, legs: ReceiptLegs::Fan };
        Parcels { deliveries: seqs.clone().map(delivery).collect(), receipts: seqs.map(receipt).collect() }
    }

    fn span(batch: Option<Parcels>) -> Option<(u64, u64)> {
        let batch = batch?;
        assert!(batch.receipts.is_sorted_by_key(|receipt| receipt.entry_id));
        assert!(
            batch
                .deliveries
                .iter()
                .map(|delivery| delivery.entry)
                .eq(batch.receipts.iter().map(|one| Some(one.entry_id)))
        );
        Some((batch.receipts.first()?.entry_id.seq, batch.receipts.last()?.entry_id.seq))
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_a_batch_is_under_way_goes_together_in_the_next_ones() {
        let mut pipes = Pipes::default();
        let node = node("n1");
        assert_eq!(span(pipes.push(&node, parcels(0..3))), Some((0, 2)));
        assert_eq!(span(pipes.push(&node, parcels(3..900))), None);
        assert_eq!(span(pipes.push(&node, parcels(900..1_500))), None);
        assert_eq!(span(pipes.ended(&node)), Some((3, 1_002)));
        assert_eq!(span(pipes.ended(&node)), Some((1_003, 1_499)));
        assert!(!pipes.is_idle());
        assert_eq!(span(pipes.ended(&node)), None);
        assert!(pipes.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn routing_goes_on_while_one_node_is_free_or_none_answers_for_long() {
        let mut pipes = Pipes::default();
        let (first, second) = (node("n1"), node("n2"));
        assert!(pipes.may_flow(Instant::now()));
        pipes.push(&first, parcels(0..1));
        assert!(!pipes.may_flow(Instant::now()));
        advance(PATIENCE - Duration::from_millis(1)).await;
        assert!(!pipes.may_flow(Instant::now()));
        advance(Duration::from_millis(1)).await;
        assert!(pipes.may_flow(Instant::now()));
        pipes.push(&second, parcels(1..2));
        pipes.ended(&first);
        assert!(pipes.may_flow(Instant::now()));
        pipes.push(&first, parcels(2..3));
        assert!(!pipes.may_flow(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_takes_nothing_is_asked_again_soon_and_others_are_not_held_up() {
        let mut pipes = Pipes::default();
        let mut jitter = Jitter::seeded(3);
        let (first, second) = (node("n1"), node("n2"));
        for _ in 0..20 {
            let wait = pipes.suspend(&first, &Backoff::default(), &mut jitter);
            assert!(wait <= ASK);
            let told = pipes.suspended(&first).unwrap();
            assert!(told > wait, "no sooner than it may be asked");
            assert_eq!(pipes.suspended(&second), None);
            assert!(pipes.may_flow(Instant::now()));
            advance(told).await;
            assert_eq!(pipes.suspended(&first), None);
        }
        pipes.suspend(&first, &Backoff::default(), &mut jitter);
        pipes.resume(&first);
        assert_eq!(pipes.suspended(&first), None);
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_nothing_is_sent_to_are_forgotten_and_busy_ones_are_not() {
        let mut pipes = Pipes::default();
        let busy = node("busy");
        pipes.push(&busy, parcels(0..1));
        for number in 0..2 * REMEMBERED {
            let node = node(&format!("n{number}"));
            pipes.push(&node, parcels(0..1));
            pipes.ended(&node);
        }
        assert!(pipes.nodes.len() <= REMEMBERED);
        assert!(pipes.nodes.contains_key(&busy));
    }
}
