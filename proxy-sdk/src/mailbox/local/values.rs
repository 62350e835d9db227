//! The last values of class `latest`, for newcomers.

use std::collections::HashMap;
use std::sync::Arc;

use gim_proto::EntryId;

use super::super::{Scope, Value};
use super::rows;
use crate::delivery::Message;
use crate::journal::{Change, Journal, JournalError, Kept, Owed};

/// See the module. Those of one scope are in the order they were written, the oldest first.
#[derive(Default)]
pub(super) struct Values {
    kept: HashMap<Scope, Vec<(EntryId, Arc<Message>)>>,
    owed: Owed,
}

impl Values {
    /// Takes up a value as the journal had it. Those of one scope come in any order.
    pub(super) fn restore(&mut self, scope: Scope, entry: EntryId, message: Arc<Message>) {
        let of_scope = self.kept.entry(scope).or_default();
        let at = of_scope.partition_point(|(other, _)| *other < entry);
        of_scope.insert(at, (entry, message));
    }

    pub(super) fn of(&self, scope: &Scope, now_ms: u64) -> Vec<Arc<Message>> {
        let of_scope = self.kept.get(scope).into_iter().flatten().map(|(_, message)| message);
        of_scope.filter(|message| message.expires_ms.is_none_or(|at| at > now_ms)).cloned().collect()
    }

    pub(super) fn keep(
        &mut self,
        values: &[Value],
        keys: usize,
        journal: Option<&dyn Journal>,
    ) -> Result<Option<Kept>, JournalError> {
        let mut noted = Vec::new();
        for value in values {
            for scope in &value.scopes {
                self.keep_one(scope, value, keys, &mut noted);
            }
        }
        self.submit(noted, journal)
    }

    fn keep_one(&mut self, scope: &Scope, value: &Value, keys: usize, noted: &mut Vec<Change>) {
        let of_scope = self.kept.entry(scope.clone()).or_default();
        match of_scope.iter().position(|(_, message)| message.key == value.message.key) {
            Some(at) if of_scope.get(at).is_some_and(|(entry, _)| *entry > value.entry) => return,
            Some(at) => drop(of_scope.remove(at)),
            None if of_scope.len() >= keys => noted.push(rows::delete_value(scope, &of_scope.remove(0).1)),
            None => {}
        }
        noted.push(rows::put_value(scope, value.entry, &value.message));
        of_scope.push((value.entry, Arc::clone(&value.message)));
    }

    /// Forgets values whose time is over, and those written before a time. Both Unix milliseconds.
    pub(super) fn sweep(
        &mut self,
        now_ms: u64,
        before_ms: u64,
        journal: Option<&dyn Journal>,
    ) -> Result<Option<Kept>, JournalError> {
        let mut noted = Vec::new();
        for (scope, of_scope) in &mut self.kept {
            let is_over = |entry: &EntryId, message: &Message| {
                entry.ms < before_ms || message.expires_ms.is_some_and(|at| at <= now_ms)
            };
            let gone = of_scope.extract_if(.., |(entry, message)| is_over(entry, message));
            noted.extend(gone.map(|(_, message)| rows::delete_value(scope, &message)));
        }
        self.kept.retain(|_, of_scope| !of_scope.is_empty());
        self.submit(noted, journal)
    }

    fn submit(&mut self, noted: Vec<Change>, journal: Option<&dyn Journal>) -> Result<Option<Kept>, JournalError> {
        journal.map(|journal| self.owed.submit(journal, noted)).transpose()
    }
}
