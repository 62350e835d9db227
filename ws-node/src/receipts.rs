//! What the node itself knows of messages on their way to clients: written, acknowledged.
//!
//! Owns the way of those receipts to the ledger: one bounded queue and one task, which tries again while the ledger is
//! away. At the bound receipts are dropped and counted. Costs nothing for messages that ask for none.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gim_proto::{MessageId, Uid};
use gim_proxy_sdk::ledger::{Hop, Receipt, ReceiptState};
use tokio::sync::mpsc;
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
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Written => "written",
            Self::Acked => "acked",
        }
    }

    const fn state(self) -> Option<ReceiptState> {
        match self {
            Self::Offered => None,
            Self::Written => Some(ReceiptState::Written),
            Self::Acked => Some(ReceiptState::Acked),
        }
    }
}

/// See the module.
pub(crate) struct Receipts {
    sender: mpsc::Sender<Receipt>,
    receiver: Mutex<Option<mpsc::Receiver<Receipt>>>,
}

impl Default for Receipts {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUED);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Core {
    /// Writes down how far a message has come with a user, when there is time.
    pub(crate) fn tell_step(&self, uid: &Uid, id: &MessageId, flags: Flags, step: Step) {
        let node = || Box::from(self.node().id.as_str());
        if flags.traced {
            let at_us = self.clock.unix_ms().saturating_mul(1_000);
            let target = Some(Box::from(uid.as_str()));
            let hop = Hop { id: id.clone(), hop: step.as_str().into(), target, detail: None, node: node(), at_us };
            self.ledger.note(vec![hop]);
        }
        if let Some(state) = step.state().filter(|_| flags.receipt) {
            let (target, at_ms) = (Box::from(uid.as_str()), self.clock.unix_ms());
            let receipt = Receipt { id: id.clone(), target, state, reason: None, node: node(), at_ms };
            if self.receipts.sender.try_send(receipt).is_err() {
                self.metrics.receipts_dropped.increment(1);
            }
        }
    }

    /// Writes receipts down until the node stops, and then what is left.
    pub(crate) async fn write_receipts(&self, stop: CancellationToken) {
        let taken = self.receipts.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = taken else { return };
        let mut batch = Vec::new();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.write_all(&mut receiver, &mut batch) => return,
        }
        receiver.close();
        if timeout(GOODBYE, self.write_all(&mut receiver, &mut batch)).await.is_err() {
            self.metrics.receipts_dropped.increment((batch.len() + receiver.len()) as u64);
        }
    }

    /// `batch`: what was taken out and is not written.
    async fn write_all(&self, receiver: &mut mpsc::Receiver<Receipt>, batch: &mut Vec<Receipt>) {
        while !batch.is_empty() || receiver.recv_many(batch, BATCH).await > 0 {
            while let Err(error) = self.ledger.receipts(batch).await {
                tracing::debug!(%error, "receipts are not written yet");
                sleep(AGAIN).await;
            }
            batch.clear();
        }
    }
}
