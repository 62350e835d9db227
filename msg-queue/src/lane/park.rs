//! Long waits: a target whose retry is far off leaves the window with all that waits behind it, so that an old entry
//! never pins the source, and comes back in order.
//!
//! What is read for the target in the meantime follows the others, until the last that left is back.

use gim_proto::EntryId;

use super::keys::{Key, Parked};
use super::pending::Pending;
use super::{Lane, Now};

impl Lane {
    /// Sends a key's messages back to the source until its retry is due. False: one of them has to stay, because other
    /// legs of it are under way or it waits for several keys.
    pub(super) fn park(&mut self, key: &Key, retry_at: u64, now: Now) -> bool {
        let wait_ms = retry_at.saturating_sub(now.steady_ms);
        if u128::from(wait_ms) <= self.limits.longest_wait.as_millis() {
            return false;
        }
        let legs: Vec<EntryId> = self.keys.legs(key).collect();
        let Some(last) = legs.last().copied() else { return false };
        let can_leave = |entry_id| self.window.get(entry_id).is_some_and(|pending| only_key(pending).as_ref() == Some(key));
        if !legs.iter().all(can_leave) {
            return false;
        }
        let due_ms = now.unix_ms.saturating_add(wait_ms);
        self.keys.park(key, Parked { due_ms, last });
        for entry_id in legs {
            self.keys.withdraw(key, entry_id);
            if let Some(pending) = self.forget(entry_id) {
                let attempts = pending.legs.iter().filter(|leg| !leg.is_finished()).map(|leg| leg.attempts).max();
                let rest = pending.rest();
                self.put_aside(entry_id, pending.message.id.clone(), due_ms, attempts.unwrap_or(0), rest);
            }
        }
        true
    }

    /// Tells until when an entry has to wait behind messages that were parked. It becomes the last of them.
    pub(super) fn parked_before(&mut self, entry_id: EntryId, pending: &Pending) -> Option<u64> {
        let key = only_key(pending)?;
        let Parked { due_ms, last } = self.keys.parked(&key)?;
        if entry_id <= last {
            return None;
        }
        self.keys.park(&key, Parked { due_ms, last: entry_id });
        Some(due_ms)
    }

    /// Frees the keys of which this entry is the last that was parked.
    pub(super) fn unpark_behind(&mut self, entry_id: EntryId, pending: &Pending) {
        for key in pending.open_keys() {
            if self.keys.parked(&key).is_some_and(|parked| parked.last == entry_id) {
                self.keys.unpark(&key);
                self.candidates.extend(self.keys.legs(&key));
            }
        }
    }
}

// The one key a message still waits for.
fn only_key(pending: &Pending) -> Option<Key> {
    let mut keys = pending.open_keys();
    let key = keys.next()?;
    keys.next().is_none().then_some(key)
}
