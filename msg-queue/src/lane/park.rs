//! Long waits: a target whose retry is far off leaves the window with all that waits behind it, so that an old entry
//! never pins the source, and comes back in order.
//!
//! What is read for the target in the meantime follows the others, until the last that left is back. Users only: what one
//! node lacks of a group's messages stays, because the others go on with them.

use gim_proto::EntryId;

use super::keys::{Key, Parked};
use super::pending::{LegState, Pending};
use super::{Lane, Now};

impl Lane {
    /// Sends a key's messages back to the source until its retry is due. False: one of them has to stay, or others that
    /// were parked are not back yet.
    pub(super) fn park(&mut self, key: &Key, retry_at: u64, now: Now) -> bool {
        let wait_ms = retry_at.saturating_sub(now.steady_ms);
        let is_short = u128::from(wait_ms) <= self.limits.longest_wait.as_millis();
        if is_short || !matches!(key, Key::User(_)) || self.keys.parked(key).is_some() {
            return false;
        }
        let legs: Vec<EntryId> = self.keys.legs(key).collect();
        let (Some(first), Some(last)) = (legs.first().copied(), legs.last().copied()) else { return false };
        if !legs.iter().all(|entry_id| self.window.get(*entry_id).is_some_and(|pending| may_leave(pending, key))) {
            return false;
        }
        let due_ms = now.unix_ms.saturating_add(wait_ms);
        self.keys.park(key, Parked { due_ms, first, last });
        for entry_id in legs {
            self.keys.withdraw(key, entry_id);
            if let Some(pending) = self.forget(entry_id) {
                let attempts = pending.legs.iter().filter(|leg| !leg.is_finished()).map(|leg| leg.attempts).max();
                let rest = pending.rest();
                // Those of its users who are finished are so for good.
                self.tell(&pending);
                self.put_aside(entry_id, &pending.message, due_ms, attempts.unwrap_or(0), rest);
            }
        }
        true
    }

    /// Tells until when an entry has to wait behind messages that were parked. It becomes the last of them, for all of
    /// its keys: nothing read later passes it.
    pub(super) fn parked_before(&mut self, entry_id: EntryId, pending: &Pending) -> Option<u64> {
        self.keys.lowest_parked()?;
        let parked = pending.open_keys().filter_map(|key| self.keys.parked(&key));
        let due_ms = parked.filter(|parked| parked.last < entry_id).map(|parked| parked.due_ms).max()?;
        for key in pending.open_keys() {
            self.keys.park(&key, Parked { due_ms, first: entry_id, last: entry_id });
        }
        Some(due_ms)
    }

    /// Frees the keys of which this entry is the last that was parked.
    pub(super) fn unpark_behind(&mut self, entry_id: EntryId, pending: &Pending) {
        if self.keys.lowest_parked().is_none() {
            return;
        }
        for key in pending.open_keys() {
            if self.keys.parked(&key).is_some_and(|parked| parked.last == entry_id) {
                self.keys.unpark(&key);
            }
        }
    }
}

// This key is all it waits for, and nothing of it was given up: that has to become a dead letter.
fn may_leave(pending: &Pending, key: &Key) -> bool {
    let dead = pending.legs.iter().any(|leg| leg.state == LegState::Dead);
    let mut keys = pending.open_keys();
    !dead && keys.next().as_ref() == Some(key) && keys.next().is_none()
}
