//! What the node itself knows of messages on their way to clients: written, acknowledged, gone without either.
//!
//! Owns the way of those receipts to the ledger: one bounded queue and one task, which tries again while the ledger is
//! away. At the bound receipts are dropped and counted. What a mailbox is about to forget waits until it is written, though
//! not for long: a ledger without room must not keep acknowledgements from making some. Costs nothing for messages that ask
//! for none.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gim_proto::{MessageId, Uid};
use gim_proxy_sdk::ledger::{Hop, Receipt, ReceiptState};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::core::Core;

/// Receipts that wait.
const QUEUED: usize = 10_000;
/// Receipts written in one call.
const BATCH: usize = 500;
/// Pause between two tries of what the ledger did not answer.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the last ones may take when the node stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long is waited until a receipt is written. Then it is left to the queue.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What a message asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    pub(crate) receipt: bool,
    pub(crate) traced: bool,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The session's outbox took it.
    Offered,
    /// The kernel has its bytes.
    Written,
    /// The client said so.
    Acked,
    /// Its time was over before the client had acknowledged it.
    Expired,
    /// Its mailbox was full.
    Trimmed,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Written => "written",
            Self::Acked => "acked",
            Self::Expired => "expired",
            Self::Trimmed => "trimmed",
        }
    }

    const fn state(self) -> Option<ReceiptState> {
        match self {
            Self::Offered => None,
            Self::Written => Some(ReceiptState::Written),
            Self::Acked => Some(ReceiptState::Acked),
            Self::Expired | Self::Trimmed => Some(ReceiptState::Trimmed),
        }
    }

    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Offered | Self::Written | Self::Acked => None,
            Self::Expired => Some("expired"),
            Self::Trimmed => Some("full"),
        }
    }
}

/// How a message ends for a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) uid: &'a Uid,
    pub(crate) id: &'a MessageId,
    pub(crate) flags: Flags,
    pub(crate) step: Step,
}

impl<'a> End<'a> {
    /// Of one that receipts are wanted of: it has a journey, too.
    pub(crate) const fn wanted(uid: &'a Uid, id: &'a MessageId, step: Step) -> Self {
        Self { uid, id, flags: Flags { receipt: true, traced: true }, step }
    }
}

/// A receipt that waits, and whom to tell when it is written.
struct Queued {
    receipt: Receipt,
    told: Option<oneshot::Sender<()>>,
}

/// See the module.
pub(crate) struct Receipts {
    sender: mpsc::Sender<Queued>,
    receiver: Mutex<Option<mpsc::Receiver<Queued>>>,
}

impl Default for Receipts {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUED);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

/// What is taken out of the queue and not written.
#[derive(Default)]
struct Batch {
    queued: Vec<Queued>,
    receipts: Vec<Receipt>,
    told: Vec<oneshot::Sender<()>>,
}

impl Core {
    /// Writes down how far a message has come with a user, when there is time.
    pub(crate) fn tell_step(&self, uid: &Uid, id: &MessageId, flags: Flags, step: Step) {
        self.queue_step(uid, id, flags, step, None);
    }

    /// Writes down how far messages have come. Returns whether all their receipts are written: within a second.
    pub(crate) async fn tell_ends(&self, ends: &[End<'_>]) -> bool {
        // Written in their order: the last one that is written at all tells of all.
        let Some(last) = ends.iter().rposition(|end| end.flags.receipt) else {
            ends.iter().for_each(|End { uid, id, flags, step }| self.tell_step(uid, id, *flags, *step));
            return true;
        };
        let (told, written) = oneshot::channel();
        let (mut told, mut is_queued) = (Some(told), true);
        for (at, End { uid, id, flags, step }) in ends.iter().enumerate() {
            is_queued &= self.queue_step(uid, id, *flags, *step, told.take_if(|_| at == last));
        }
        matches!(timeout(PATIENCE, written).await, Ok(Ok(()))) && is_queued
    }

    /// Tells whether so many receipts wait that what can be told later should be.
    pub(crate) fn has_many_receipts(&self) -> bool {
        self.receipts.sender.capacity() < QUEUED / 4 * 3
    }

    /// Returns false if there was no room.
    fn queue_step(
        &self,
        uid: &Uid,
        id: &MessageId,
        flags: Flags,
        step: Step,
        told: Option<oneshot::Sender<()>>,
    ) -> bool {
        let node = || Box::from(self.node().id.as_str());
        if flags.traced {
            let at_us = self.clock.unix_ms().saturating_mul(1_000);
            let target = Some(Box::from(uid.as_str()));
            let hop = Hop { id: id.clone(), hop: step.as_str().into(), target, detail: None, node: node(), at_us };
            self.ledger.note(vec![hop]);
        }
        let Some(state) = step.state().filter(|_| flags.receipt) else {
            // Nothing is to be written: who waits need not.
            let _gone = told.map(|told| told.send(()));
            return true;
        };
        let (target, at_ms, reason) = (Box::from(uid.as_str()), self.clock.unix_ms(), step.reason().map(Box::from));
        let receipt = Receipt { id: id.clone(), target, state, reason, node: node(), at_ms };
        let is_queued = self.receipts.sender.try_send(Queued { receipt, told }).is_ok();
        if !is_queued {
            self.metrics.receipts_dropped.increment(1);
        }
        is_queued
    }

    /// Writes receipts down until the node stops, and then what is left.
    pub(crate) async fn write_receipts(&self, stop: CancellationToken) {
        let taken = self.receipts.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = taken else { return };
        let mut batch = Batch::default();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.write_all(&mut receiver, &mut batch) => return,
        }
        receiver.close();
        if timeout(GOODBYE, self.write_all(&mut receiver, &mut batch)).await.is_err() {
            self.metrics.receipts_dropped.increment((batch.receipts.len() + receiver.len()) as u64);
        }
    }

    async fn write_all(&self, receiver: &mut mpsc::Receiver<Queued>, batch: &mut Batch) {
        while !batch.receipts.is_empty() || receiver.recv_many(&mut batch.queued, BATCH).await > 0 {
            for Queued { receipt, told } in batch.queued.drain(..) {
                batch.receipts.push(receipt);
                batch.told.extend(told);
            }
            while let Err(error) = self.ledger.receipts(&batch.receipts).await {
                tracing::debug!(%error, "receipts are not written yet");
                sleep(AGAIN).await;
            }
            batch.receipts.clear();
            for told in batch.told.drain(..) {
                // One that does not wait any more has left it to the queue.
                let _gone = told.send(());
            }
        }
    }
}
