//! Dead letters of a lane: bounded, the oldest go first.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use gim_proto::EntryId;
use gim_proxy_sdk::queue::{DeadLetter, Selection};

use super::lane::{Slot, next_id};
use super::packed::unpack;
use crate::source::Death;

/// Dead letters, oldest first.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    letters: VecDeque<Letter>,
    last: EntryId,
}

/// An entry that died and how.
#[derive(Debug)]
pub(super) struct Letter {
    id: EntryId,
    at_ms: u64,
    death: Death,
    pub(super) slot: Slot,
}

impl DeadLetters {
    pub(super) fn len(&self) -> u64 {
        self.letters.len() as u64
    }

    /// Keeps an entry. Returns how many others went to stay within the bound.
    pub(super) fn bury(&mut self, mut slot: Slot, death: &Death, now_ms: u64, bound: u64) -> u64 {
        self.last = next_id(self.last, now_ms);
        slot.rest = death.rest.clone().map(Box::new);
        self.letters.push_back(Letter { id: self.last, at_ms: now_ms, death: death.clone(), slot });
        let surplus = self.len().saturating_sub(bound);
        for _ in 0..surplus {
            self.letters.pop_front();
        }
        surplus
    }

    pub(super) fn list(&self, after: Option<EntryId>, limit: usize) -> Vec<DeadLetter> {
        let from = after.map_or(0, |after| self.letters.partition_point(|letter| letter.id <= after));
        self.letters.iter().skip(from).take(limit).map(Letter::show).collect()
    }

    /// Takes out at most so many of the letters selected, oldest first.
    pub(super) fn take(&mut self, which: &Selection, most: usize) -> Vec<Letter> {
        match which {
            Selection::All => {
                let most = most.min(self.letters.len());
                self.letters.drain(..most).collect()
            }
            Selection::Ids(ids) => {
                let ids: HashSet<EntryId> = ids.iter().copied().collect();
                let mut taken = Vec::new();
                let letters = std::mem::take(&mut self.letters);
                for letter in letters {
                    if taken.len() < most && ids.contains(&letter.id) {
                        taken.push(letter);
                    } else {
                        self.letters.push_back(letter);
                    }
                }
                taken
            }
        }
    }
}

impl Letter {
    fn show(&self) -> DeadLetter {
        let mut fields = unpack(self.slot.packed.clone());
        let Death { reason, attempts, error, failed_targets, .. } = &self.death;
        fields.set("gim_reason", reason.as_str());
        fields.set("gim_attempts", attempts.to_string());
        fields.set("gim_error", Bytes::copy_from_slice(error.as_bytes()));
        fields.set("gim_entry", self.slot.entry_id.to_string());
        fields.set("gim_at_ms", self.at_ms.to_string());
        fields.set("gim_failed_targets", json_list(failed_targets));
        DeadLetter { id: self.id, fields }
    }
}

fn json_list(names: &[Box<str>]) -> String {
    serde_json::Value::from(names.iter().map(|name| name.as_ref()).collect::<Vec<&str>>()).to_string()
}
