//! What went from mailboxes and was noted already, so that a message which is tried again and again does not have it written
//! each time.
//!
//! Owns the last of it, as many as matter to what is on its way. Of what came before nothing is known, and it is noted twice,
//! which does no harm.

use std::collections::{HashSet, VecDeque};

use gim_proto::{MessageId, Uid};

/// As many as one round is about.
const KNOWN: usize = 20_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Noted {
    known: HashSet<(Uid, MessageId)>,
    order: VecDeque<(Uid, MessageId)>,
}

impl Noted {
    /// Returns whether it was not known.
    pub(super) fn add(&mut self, trim: &(Uid, MessageId)) -> bool {
        if !self.known.insert(trim.clone()) {
            return false;
        }
        self.order.push_back(trim.clone());
        if self.order.len() > KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Nothing is on its way that could name any again.
    pub(super) fn forget(&mut self) {
        if !self.order.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_noted_once_among_the_last() {
        let trim = |n: usize| (Uid::parse("a").unwrap(), MessageId::parse(&format!("m{n}")).unwrap());
        let mut noted = Noted::default();
        assert!((0..KNOWN).all(|n| noted.add(&trim(n))));
        assert!((0..KNOWN).all(|n| !noted.add(&trim(n))));
        assert!(noted.add(&trim(KNOWN)));
        assert_eq!((noted.known.len(), noted.order.len()), (KNOWN, KNOWN));
        assert!(noted.add(&trim(0)), "the oldest made room");
        noted.forget();
        assert!(noted.add(&trim(KNOWN)));
    }
}
