//! Which losses a lane's batches have told of, so that a repeat does not tell them again.
//!
//! Owns what mailboxes name again with each repeat of the append that has trimmed it, for as long as that may come. At the
//! bound all of it is forgotten, and a repeat tells once more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use gim_proto::{EntryId, MessageId, Uid};

/// Losses remembered; about 32 B each.
const MOST: usize = 20_000;
/// So many are kept without a look at which of them may go.
const FEW: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Told {
    /// Of user and message: the last entry of the batch that told it.
    prints: HashMap<u64, EntryId>,
    look_at: usize,
}

impl Told {
    /// Whether a batch has told this loss that may come again. A message whose id was used before is another one.
    pub(super) fn knows(&self, uid: &Uid, id: &MessageId, low_water: Option<EntryId>) -> bool {
        !self.prints.is_empty() && self.prints.get(&print(uid, id)).is_some_and(|last| may_come_again(*last, low_water))
    }

    /// Remembers losses that a batch with this last entry has told. Below the low water no entry comes again.
    pub(super) fn remember<'a>(
        &mut self,
        losses: impl Iterator<Item = (&'a Uid, &'a MessageId)>,
        last: EntryId,
        low_water: Option<EntryId>,
    ) {
        self.prints.extend(losses.map(|(uid, id)| (print(uid, id), last)));
        if self.prints.len() < self.look_at.max(FEW) {
            return;
        }
        self.prints.retain(|_, last| may_come_again(*last, low_water));
        if self.prints.len() >= MOST {
            self.prints = HashMap::new();
        }
        self.look_at = (self.prints.len() * 2).min(MOST);
    }
}

/// Below the low water no entry comes again.
fn may_come_again(entry: EntryId, low_water: Option<EntryId>) -> bool {
    low_water.is_none_or(|low| entry >= low)
}

fn print(uid: &Uid, id: &MessageId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (uid, id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn id(number: u64) -> MessageId {
        MessageId::parse(&format!("m{number}")).unwrap()
    }

    fn remember(told: &mut Told, numbers: std::ops::Range<u64>, last: u64, low: Option<u64>) {
        let uid = Uid::parse("a").unwrap();
        let ids: Vec<_> = numbers.map(id).collect();
        told.remember(ids.iter().map(|id| (&uid, id)), entry(last), low.map(entry));
    }

    #[test]
    fn a_loss_is_known_until_what_has_told_it_does_not_come_again() {
        let (a, b) = (Uid::parse("a").unwrap(), Uid::parse("b").unwrap());
        let mut told = Told::default();
        assert!(!told.knows(&a, &id(1), None));
        remember(&mut told, 1..10, 7, Some(1));
        assert!(told.knows(&a, &id(1), Some(entry(7))) && !told.knows(&b, &id(1), None));
        assert!(!told.knows(&a, &id(1), Some(entry(8))), "it is the id of another message by now");
        remember(&mut told, 10..400, 8, Some(8));
        assert!(!told.knows(&a, &id(1), None) && told.knows(&a, &id(10), None));
    }

    #[test]
    fn at_the_bound_all_is_forgotten() {
        let a = Uid::parse("a").unwrap();
        let mut told = Told::default();
        for batch in 0..100 {
            remember(&mut told, batch * 1_000..(batch + 1) * 1_000, batch, None);
            assert!(told.prints.len() <= MOST);
        }
        remember(&mut told, 0..1, 100, None);
        assert!(told.knows(&a, &id(0), None));
    }
}
