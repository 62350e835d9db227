//! Taking a message back that was not read.

use gim_proto::{Entry, EntryId, MessageId};
use gim_proxy_sdk::queue::Cancelled;

use super::lane::{LaneState, Slot};
use super::packed::unpack;
use super::rows;

impl LaneState {
    /// Takes a message out that waits to be read or for its time, unless it was tried before. `entry`: the one that its id
    /// names. Looks through all that waits.
    pub(super) fn cancel(&mut self, id: &MessageId, entry: Option<EntryId>) -> Cancelled {
        let is_it = |slot: &Slot| match entry {
            Some(entry) => slot.entry_id == entry,
            None => carries(slot, id),
        };
        let is_free = |slot: &Slot| slot.attempts == 0 && !slot.aside && is_it(slot);
        let scheduled = self.later.extract_if(.., |_, slot| is_free(slot)).next().map(|(_, slot)| slot);
        let taken =
            scheduled.or_else(|| take_from(&mut self.due, is_free)).or_else(|| take_from(&mut self.fresh, is_free));
        if let Some(slot) = taken {
            self.bytes -= slot.bytes();
            self.log.note(|lane| rows::delete_entry(lane, slot.entry_id));
            return Cancelled::Done(vec![unpack(slot.packed)]);
        }
        let known = self.pending.values().chain(self.later.values()).chain(&self.due).any(is_it);
        // An id that was accepted and is nowhere has its outcome. So has an entry that could have been accepted here.
        let was_here = match entry {
            Some(entry) => entry <= self.last && entry.ms > 0,
            None => self.seen.contains(id),
        };
        if known || was_here { Cancelled::TooLate } else { Cancelled::Unknown }
    }
}

fn take_from(queue: &mut std::collections::VecDeque<Slot>, which: impl Fn(&Slot) -> bool) -> Option<Slot> {
    let at = queue.iter().position(which)?;
    queue.remove(at)
}

fn carries(slot: &Slot, id: &MessageId) -> bool {
    let wanted = id.as_str().as_bytes();
    // Nearly all others are told apart without being unpacked.
    slot.packed.windows(wanted.len()).any(|part| part == wanted)
        && Entry::decode(&unpack(slot.packed.clone())).is_ok_and(|entry| entry.id.as_ref() == Some(id))
}
