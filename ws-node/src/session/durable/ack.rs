//! Acknowledgements of one session on their way to the store.
//!
//! Owns the rule for what may be acknowledged, and the one call under way: what is acknowledged meanwhile goes with the
//! next, the highest counts. Receipts are written before the mailbox forgets what they are of. Tries again while the store is away; a session that has ended gets a few tries more.

use std::time::Duration;

use gim_proxy_sdk::mailbox::{Ack, Acked, MailboxError, Position};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Session;
use super::cursor::Cursor;

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckAnswer {
    /// It is kept, or will be: the client did not ask.
    Done,
    /// It is above what this session was handed.
    TooHigh,
    /// It is of another epoch.
    OtherEpoch,
    /// The uid is somebody else's by now.
    Superseded,
    /// The store does not answer. It is tried again.
    Unavailable,
}

impl AckAnswer {
    /// All of them, for metrics.
    pub(crate) const ALL: [Self; 5] =
        [Self::Done, Self::TooHigh, Self::OtherEpoch, Self::Superseded, Self::Unavailable];

    /// The word in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::TooHigh => "too_high",
            Self::OtherEpoch => "other_epoch",
            Self::Superseded => "superseded",
            Self::Unavailable => "unavailable",
        }
    }
}

const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Tries after the session has ended.
const LAST_TRIES: u32 = 3;

impl Session {
    /// Acknowledges everything up to an offset. With `is_asked` it is kept when this returns.
    pub(crate) async fn ack(&self, offset: u64, epoch: Option<u64>, is_asked: bool) -> AckAnswer {
        let (answer, kept) = oneshot::channel();
        if let Some(known) = self.note_ack(offset, epoch, is_asked.then_some(answer)) {
            self.0.core.metrics.acked(self.uid(), known);
            return known;
        }
        if !is_asked {
            return AckAnswer::Done;
        }
        kept.await.unwrap_or(AckAnswer::Unavailable)
    }

    /// Returns the answer where it is known at once.
    fn note_ack(
        &self,
        offset: u64,
        epoch: Option<u64>,
        waiter: Option<oneshot::Sender<AckAnswer>>,
    ) -> Option<AckAnswer> {
        let mut stand = self.stand();
        let at = match &stand.cursor {
            Some(cursor) => cursor.position(),
            None if stand.is_open => stand.at,
            None => Position::default(),
        };
        if epoch.is_some_and(|epoch| epoch != at.epoch) {
            return Some(AckAnswer::OtherEpoch);
        }
        if offset > at.offset {
            return Some(AckAnswer::TooHigh);
        }
        let Some(cursor) = &mut stand.cursor else { return Some(AckAnswer::Done) };
        if offset <= cursor.acked {
            return Some(AckAnswer::Done);
        }
        cursor.waiter = waiter.map(|waiter| (offset, waiter));
        self.want_ack(cursor, offset);
        None
    }

    pub(super) fn want_ack(&self, cursor: &mut Cursor, offset: u64) {
        cursor.wanted = cursor.wanted.max(offset);
        if cursor.wanted > cursor.acked && !cursor.is_acking {
            cursor.is_acking = true;
            self.0.core.runtime.spawn(Box::pin(acknowledge(self.clone())));
        }
    }

    /// A pause that sessions do not end all at once.
    pub(super) fn spread(&self, pause: Duration) -> Duration {
        pause * (32 + self.0.slot % 32) / 64
    }

    /// None: everything is acknowledged that is to be.
    fn next_ack(&self) -> Option<Ack> {
        let mut stand = self.stand();
        let Some(cursor) = &mut stand.cursor else { return None };
        if cursor.wanted <= cursor.acked {
            cursor.is_acking = false;
            return None;
        }
        let upto = Position { epoch: cursor.epoch, offset: cursor.wanted };
        Some(Ack { uid: self.uid().clone(), fence: self.fence(), upto })
    }

    async fn send_ack(&self, ack: Ack) -> Result<(), MailboxError> {
        let upto = ack.upto;
        let answer = self.0.core.mailboxes.ack(&[ack]).await;
        let answer = answer.map(|answers| answers.first().copied().unwrap_or(Acked::Unknown));
        let mut stand = self.stand();
        let Some(cursor) = &mut stand.cursor else { return Ok(()) };
        let told = match &answer {
            Ok(Acked::Done) => AckAnswer::Done,
            Ok(Acked::Superseded) => AckAnswer::Superseded,
            Ok(Acked::Unknown) => AckAnswer::OtherEpoch,
            Err(_) => AckAnswer::Unavailable,
        };
        self.0.core.metrics.acked(self.uid(), told);
        let is_of_now = cursor.epoch == upto.epoch;
        let is_answered = |(offset, _): &(u64, _)| told != AckAnswer::Done || *offset <= upto.offset;
        if is_of_now && cursor.waiter.as_ref().is_some_and(is_answered) {
            // One that does not ask any more has ended.
            let _gone = cursor.waiter.take().map(|(_, waiter)| waiter.send(told));
        }
        if answer.is_ok() && is_of_now {
            // What nobody takes is not tried again: the client may.
            let known = cursor.acked.max(upto.offset);
            match told {
                AckAnswer::Done => cursor.acked = known,
                AckAnswer::OtherEpoch => {
                    cursor.wanted = cursor.acked;
                    cursor.doubt();
                    self.wake_pump(cursor);
                }
                AckAnswer::TooHigh | AckAnswer::Superseded | AckAnswer::Unavailable => cursor.wanted = cursor.acked,
            }
        }
        answer.map(|_| ())
    }

    /// Writes down what the client has acknowledged: that is so whatever becomes of the call.
    async fn tell_acked(&self, upto: Position) {
        let marks = match &mut self.stand().cursor {
            Some(cursor) if cursor.epoch == upto.epoch => cursor.marks.acked(upto.offset),
            Some(_) | None => return,
        };
        let ends: Vec<_> = marks.iter().map(|mark| mark.ends(self.uid())).collect();
        self.0.core.tell_ends(&ends).await;
    }
}

async fn acknowledge(session: Session) {
    let (mut late, mut pause) = (0, PAUSE);
    while let Some(ack) = session.next_ack() {
        session.tell_acked(ack.upto).await;
        if session.send_ack(ack).await.is_ok() {
            pause = PAUSE;
            continue;
        }
        late += u32::from(session.is_closing());
        if late >= LAST_TRIES {
            return;
        }
        sleep(session.spread(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
