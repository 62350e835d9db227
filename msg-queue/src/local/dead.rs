//! Dead letters of a lane: bounded, the oldest go first.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use gim_proto::EntryId;
use gim_proxy_sdk::queue::{DeadLetter, Selection};

use super::lane::{Slot, next_id};
use super::packed::unpack;
use crate::config::QueueSection;
use crate::source::Death;

/// Dead letters, oldest first.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    letters: VecDeque<Letter>,
    bytes: u64,
    last: EntryId,
}

/// An entry that died and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) id: EntryId,
    pub(super) at_ms: u64,
    pub(super) death: Death,
    pub(super) slot: Slot,
}

impl DeadLetters {
    pub(super) fn len(&self) -> u64 {
        self.letters.len() as u64
    }

    /// Keeps an entry. Returns the others that went to stay within the bounds, and the newcomer if it has stayed.
    pub(super) fn bury(
        &mut self,
        mut slot: Slot,
        death: &Death,
        now_ms: u64,
        section: &QueueSection,
    ) -> (Vec<EntryId>, Option<&Letter>) {
        self.last = next_id(self.last, now_ms);
        slot.rest = death.rest.clone().map(Box::new);
        self.add(Letter { id: self.last, at_ms: now_ms, death: death.clone(), slot });
        let mut dropped = Vec::new();
        while self.len() > section.dead_letters || self.bytes > section.bytes.as_u64() {
            let Some(oldest) = self.letters.pop_front() else { break };
            self.bytes -= oldest.slot.bytes();
            dropped.push(oldest.id);
        }
        (dropped, self.letters.back())
    }

    /// Takes up a letter that is younger than all others.
    pub(super) fn add(&mut self, letter: Letter) {
        self.last = self.last.max(letter.id);
        self.bytes += letter.slot.bytes();
        self.letters.push_back(letter);
    }

    pub(super) fn list(&self, after: Option<EntryId>, limit: usize) -> Vec<DeadLetter> {
        let from = after.map_or(0, |after| self.letters.partition_point(|letter| letter.id <= after));
        self.letters.iter().skip(from).take(limit).map(Letter::show).collect()
    }

    /// Tells whether a letter is selected.
    pub(super) fn holds(&self, which: &Selection) -> bool {
        match which {
            Selection::All => !self.letters.is_empty(),
            Selection::Ids(ids) => self.letters.iter().any(|letter| ids.contains(&letter.id)),
        }
    }

    /// Takes out the letters selected, oldest first, until the next would be beyond `most` letters or `bytes`.
    pub(super) fn take(&mut self, which: &Selection, most: usize, bytes: u64) -> Vec<Letter> {
        let wanted: Option<HashSet<EntryId>> = match which {
            Selection::All => None,
            Selection::Ids(ids) => Some(ids.iter().copied().collect()),
        };
        let mut taken = Vec::new();
        let mut left = Some(bytes);
        for letter in std::mem::take(&mut self.letters) {
            let is_wanted = wanted.as_ref().is_none_or(|wanted| wanted.contains(&letter.id));
            if is_wanted {
                left = left.filter(|_| taken.len() < most).and_then(|left| left.checked_sub(letter.slot.bytes()));
            }
            if is_wanted && left.is_some() {
                self.bytes -= letter.slot.bytes();
                taken.push(letter);
            } else {
                self.letters.push_back(letter);
            }
        }
        taken
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
