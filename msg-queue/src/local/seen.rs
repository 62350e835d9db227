//! Message ids accepted lately: the idempotency window of a lane.

use std::collections::{HashSet, VecDeque};

use gim_proto::MessageId;

/// Ids in the order they were accepted.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: HashSet<MessageId>,
    order: VecDeque<(u64, MessageId)>,
}

impl Seen {
    /// Forgets ids accepted before a time, Unix milliseconds, and tells of each.
    pub(super) fn forget_before(&mut self, ms: u64, mut tell: impl FnMut(u64, &MessageId)) {
        while self.order.front().is_some_and(|(at, _)| *at < ms) {
            self.forget_oldest(&mut tell);
        }
    }

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.ids.contains(id)
    }

    /// Remembers an id. Returns how many others had to be forgotten to stay within the bound, and tells of each.
    pub(super) fn remember(
        &mut self,
        id: &MessageId,
        now_ms: u64,
        bound: u64,
        mut tell: impl FnMut(u64, &MessageId),
    ) -> u64 {
        if !self.ids.insert(id.clone()) {
            return 0;
        }
        self.order.push_back((now_ms, id.clone()));
        let surplus = (self.order.len() as u64).saturating_sub(bound);
        for _ in 0..surplus {
            self.forget_oldest(&mut tell);
        }
        surplus
    }

    /// Takes up an id as a store had it, one that is older than all others. Returns whether it was accepted again since.
    pub(super) fn restore(&mut self, id: &MessageId, at_ms: u64) -> bool {
        let is_new = self.ids.insert(id.clone());
        if is_new {
            self.order.push_front((at_ms, id.clone()));
        }
        !is_new
    }

    fn forget_oldest(&mut self, tell: &mut impl FnMut(u64, &MessageId)) {
        if let Some((at, id)) = self.order.pop_front() {
            self.ids.remove(&id);
            tell(at, &id);
        }
        // What a burst needed is given back once it is over.
        if self.order.capacity() > 1_024 && self.order.len() < self.order.capacity() / 8 {
            self.order.shrink_to(self.order.len() * 2);
            self.ids.shrink_to(self.ids.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> MessageId {
        MessageId::parse(&format!("m{number}")).unwrap()
    }

    fn nobody(_: u64, _: &MessageId) {}

    #[test]
    fn ids_are_forgotten_with_time_and_at_the_bound() {
        let mut seen = Seen::default();
        assert_eq!(seen.remember(&id(1), 10, 3, nobody), 0);
        assert_eq!(seen.remember(&id(1), 20, 3, nobody), 0);
        assert_eq!(seen.remember(&id(2), 20, 3, nobody), 0);
        let mut forgotten = Vec::new();
        seen.forget_before(20, |at, id| forgotten.push((at, id.clone())));
        assert_eq!(forgotten, [(10, id(1))]);
        assert!(!seen.contains(&id(1)));
        assert!(seen.contains(&id(2)));
        let forgotten: u64 = (3..8).map(|number| seen.remember(&id(number), 30, 3, nobody)).sum();
        assert_eq!(forgotten, 3);
        assert!(!seen.contains(&id(4)));
        assert!(seen.contains(&id(5)));
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut seen = Seen::default();
        for number in 0..100_000 {
            seen.remember(&id(number), u64::from(number), u64::MAX, nobody);
        }
        seen.forget_before(99_900, nobody);
        assert!(seen.contains(&id(99_950)));
        assert!(seen.order.capacity() < 2_000 && seen.ids.capacity() < 2_000);
    }
}
