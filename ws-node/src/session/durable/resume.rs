//! How a session opens its mailbox, and what its client acknowledges by resuming.
//!
//! Owns the order: receipts of what the client has are written, then the mailbox forgets it. A crash in between has the client
//! resume from there once more, and the receipts twice. Costs one call where nobody asked for receipts.

use gim_proxy_sdk::mailbox::{Ack, Acked, Arrival, MOST_WANTED, MailboxError, Opened, Position, Wanted};
use tokio::time::Instant;

use super::Session;
use crate::receipts::{End, PATIENCE, Step};

impl Session {
    /// Opens the user's mailbox for this session, which owns the uid.
    pub(crate) async fn open_mailbox(&self, arrival: Arrival) -> Result<Opened, MailboxError> {
        let opened = self.0.core.mailboxes.open(self.uid(), self.fence(), arrival).await?;
        match arrival {
            Arrival::Resumes(seen) if !opened.is_reset && opened.acked < seen.offset => {
                self.acknowledge_seen(opened, seen).await
            }
            Arrival::Anew | Arrival::Resumes(_) | Arrival::Survives(_) => Ok(opened),
        }
    }

    async fn acknowledge_seen(&self, opened: Opened, seen: Position) -> Result<Opened, MailboxError> {
        let core = &self.0.core;
        let (since, mut is_patient) = (Instant::now(), true);
        loop {
            let wanted = core.mailboxes.wanted(self.uid(), seen).await?;
            // What follows the last one named is looked at when that is gone.
            let last = wanted.get(MOST_WANTED - 1).map_or(seen.offset, |last| last.offset);
            let ends: Vec<_> = wanted.iter().map(|wanted| End::wanted(self.uid(), &wanted.id, step(wanted))).collect();
            if is_patient {
                // Others wait for this login's turn: a ledger that is slow or away is waited for once, and the rest is left
                // to the queue.
                is_patient = core.tell_ends(&ends).await && since.elapsed() < PATIENCE;
            } else {
                ends.iter().for_each(|End { uid, id, flags, step }| core.tell_step(uid, id, *flags, *step));
            }
            let upto = Position { offset: last, ..seen };
            let ack = Ack { uid: self.uid().clone(), fence: self.fence(), upto };
            let acked = core.mailboxes.ack(&[ack]).await?;
            if acked != [Acked::Done] {
                // It is somebody else's by now.
                return Ok(opened);
            }
            if last == seen.offset {
                return Ok(Opened { acked: last, ..opened });
            }
        }
    }
}

/// Of one whose time is over nobody knows whether it was given to the client before, or announced as gone.
const fn step(wanted: &Wanted) -> Step {
    if wanted.is_over { Step::Expired } else { Step::Acked }
}
