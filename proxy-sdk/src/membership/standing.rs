//! Whether what is missing in Redis was never there. Pure.
//!
//! Owns who has to be waited for. A node that is not on the records of a Redis that has just come back, empty or with
//! older data, may live all the same and be about to say so; the same goes after a pause in which leases passed because
//! nobody could renew them. So Redis first has to answer for as long as a lease lasts, without a break and in the same
//! runs: until then whoever lived, or is named by others, is waited for, and afterwards whoever is not there is dead.
//! Whoever is there is waited for until it has recorded what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gim_proto::{Incarnation, NodeId};

use super::MembershipOptions;
use super::look::{Found, Sight};
use crate::store::Runs;

/// Whom everybody waits for. Nobody: what is missing was never there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// Nodes that have not recorded what they hold, or are missing and may live.
    pub nodes: Vec<NodeId>,
    /// It is not known yet which nodes there are.
    pub names: bool,
}

impl Awaited {
    /// Tells whether nobody is waited for.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.nodes.is_empty() && !self.names
    }
}

/// What a verdict stands on.
#[derive(Debug)]
pub(super) struct Ground {
    /// Who lived, until it is sure that it does not any more. As many as lived at once, and who came meanwhile.
    known: BTreeSet<NodeId>,
    /// Who was there at the last look.
    there: BTreeMap<NodeId, Incarnation>,
    runs: Option<Runs>,
    /// Since when Redis has answered without a break, in these runs.
    since_ms: u64,
    /// When the last look began.
    looked_ms: u64,
    /// How long whoever lives has time to say so.
    patience_ms: u64,
    /// A pause in which no lease passes that was being renewed.
    pause_ms: u64,
}

impl Ground {
    pub(super) fn new(options: &MembershipOptions) -> Self {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            known: BTreeSet::new(),
            there: BTreeMap::new(),
            runs: None,
            since_ms: 0,
            looked_ms: 0,
            patience_ms: millis(options.ttl + options.margin),
            pause_ms: millis(options.ttl / 2),
        }
    }

    /// Names who lived when last seen, or may live still.
    pub(super) fn known(&self) -> &BTreeSet<NodeId> {
        &self.known
    }

    /// Takes note of a look, and of whom others name, if that is known yet.
    pub(super) fn judge(&mut self, sight: &Sight, named: Option<&[NodeId]>) -> Awaited {
        if self.is_broken(sight) {
            self.since_ms = sight.ended_ms;
        }
        self.runs = Some(sight.runs.clone());
        self.looked_ms = sight.begun_ms;
        let records = sight.found.iter().filter_map(|(id, found)| Some((id.clone(), found.record()?.incarnation)));
        self.there = records.collect();
        let is_settled = sight.begun_ms.saturating_sub(self.since_ms) >= self.patience_ms;
        self.known.extend(sight.found.keys().cloned());
        if is_settled {
            self.known.retain(|id| sight.found.contains_key(id));
        }
        let name = sight.runs.name();
        let unasserted = sight.found.iter().filter(|(_, found)| !has_asserted(found, &name)).map(|(id, _)| id);
        let mut nodes: BTreeSet<NodeId> = unasserted.cloned().collect();
        if !is_settled {
            let expected = named.unwrap_or_default().iter().chain(&self.known);
            nodes.extend(expected.filter(|id| !sight.found.contains_key(*id)).cloned());
        }
        let nodes = nodes.into_iter().collect();
        Awaited { nodes, names: named.is_none() && !is_settled }
    }

    // Other runs; or nobody looked, or was answered, for so long that leases may have passed meanwhile; or somebody is
    // gone without a trace, which is how a Redis looks that was emptied while it ran.
    fn is_broken(&self, sight: &Sight) -> bool {
        let is_gone = |(id, incarnation): (&NodeId, &Incarnation)| {
            !sight.found.contains_key(id) && !sight.registered.contains(incarnation)
        };
        self.runs.as_ref() != Some(&sight.runs)
            || sight.begun_ms.saturating_sub(self.looked_ms) > self.pause_ms
            || self.there.iter().any(is_gone)
    }
}

fn has_asserted(found: &Found, runs: &str) -> bool {
    found.record().is_some_and(|record| record.asserted.as_deref() == Some(runs))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use gim_proto::Keys;
    use serde_json::json;

    use super::*;
    use crate::lease::{NodeRecord, RecordError};

    const SETTLED: u64 = 12_000;

    /// A Redis at one moment, and who is there.
    struct Moment {
        ground: Ground,
        now_ms: u64,
        runs: Runs,
        found: BTreeMap<NodeId, (Incarnation, Option<String>)>,
        registered: HashSet<Incarnation>,
    }

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn record(run: Incarnation, asserted: Option<&str>) -> Found {
        let text = json!({
            "incarnation": run, "worker": run, "rpc": "", "public": "", "version": "", "started_ms": 1, "asserted": asserted
        });
        Found::Record(NodeRecord::read(text.to_string().as_bytes()).unwrap())
    }

    impl Moment {
        fn new() -> Self {
            let options = MembershipOptions::new(Keys::new("gim").unwrap());
            let (found, registered) = (BTreeMap::new(), HashSet::new());
            Self { ground: Ground::new(&options), now_ms: 1_000_000, runs: Runs::of("a"), found, registered }
        }

        fn comes(&mut self, name: &str, asserted: bool) {
            let run = Incarnation::mint();
            self.registered.insert(run);
            self.found.insert(id(name), (run, asserted.then(|| self.runs.name())));
        }

        fn asserts(&mut self, name: &str) {
            let asserted = Some(self.runs.name());
            self.found.get_mut(&id(name)).unwrap().1 = asserted;
        }

        /// Its lease ends.
        fn goes(&mut self, name: &str) {
            self.found.remove(&id(name));
        }

        fn comes_back_empty(&mut self, run: &str) {
            self.runs = Runs::of(run);
            self.found.clear();
            self.registered.clear();
        }

        fn look(&mut self) -> Vec<String> {
            self.look_with(Some(&[])).nodes.iter().map(ToString::to_string).collect()
        }

        fn look_with(&mut self, named: Option<&[NodeId]>) -> Awaited {
            let found = self.found.iter().map(|(id, (run, asserted))| (id.clone(), record(*run, asserted.as_deref())));
            let found = found.collect();
            self.judge(found, named)
        }

        fn judge(&mut self, found: BTreeMap<NodeId, Found>, named: Option<&[NodeId]>) -> Awaited {
            let (runs, registered) = (self.runs.clone(), self.registered.clone());
            let sight = Sight { begun_ms: self.now_ms, ended_ms: self.now_ms + 1, runs, registered, found };
            self.ground.judge(&sight, named)
        }

        /// Looks every second.
        fn passes(&mut self, ms: u64) -> Vec<String> {
            let end = self.now_ms + ms;
            while self.now_ms + 1_000 <= end {
                self.now_ms += 1_000;
                self.look();
            }
            self.now_ms = end;
            self.look()
        }
    }

    #[test]
    fn whose_lease_ends_while_redis_answers_is_not_waited_for() {
        let mut moment = Moment::new();
        for name in ["n1", "n2"] {
            moment.comes(name, true);
        }
        assert!(moment.look().is_empty() && moment.passes(SETTLED + 1).is_empty());
        moment.goes("n2");
        assert!(moment.passes(1_000).is_empty());
        moment.comes("n2", false);
        assert_eq!(moment.passes(1_000), ["n2"], "it holds more than it has said");
        moment.asserts("n2");
        assert!(moment.look().is_empty());
    }

    #[test]
    fn whoever_lived_in_the_former_runs_is_waited_for_as_long_as_a_lease() {
        let mut moment = Moment::new();
        for name in ["n1", "n2", "n3"] {
            moment.comes(name, true);
        }
        assert!(moment.passes(SETTLED * 2).is_empty());
        // An hour in which nobody was answered.
        moment.now_ms += 3_600_000;
        moment.comes_back_empty("b");
        assert_eq!(moment.look(), ["n1", "n2", "n3"]);
        moment.comes("n1", false);
        moment.comes("n2", true);
        assert_eq!(moment.passes(2_000), ["n1", "n3"]);
        moment.asserts("n1");
        assert_eq!(moment.passes(SETTLED - 2_000), ["n3"]);
        assert!(moment.passes(1).is_empty(), "it had its time");
        // The same once more, and now nobody has heard of it.
        moment.comes_back_empty("c");
        assert_eq!(moment.look(), ["n1", "n2"]);
    }

    #[test]
    fn what_was_asserted_in_other_runs_counts_for_nothing() {
        let mut moment = Moment::new();
        moment.comes("n1", true);
        assert!(moment.passes(SETTLED * 2).is_empty());
        // A replica took over: the record is there, and what it says is of before.
        moment.runs = Runs::of("b");
        assert_eq!(moment.passes(SETTLED * 2), ["n1"]);
    }

    #[test]
    fn a_pause_in_which_leases_pass_begins_the_wait_anew_and_a_short_one_does_not() {
        let mut moment = Moment::new();
        moment.comes("n1", true);
        assert!(moment.passes(SETTLED * 2).is_empty());
        moment.now_ms += 5_000;
        moment.goes("n1");
        assert!(moment.look().is_empty(), "it could have renewed its lease before and after");
        moment.comes("n2", true);
        assert!(moment.look().is_empty());
        moment.now_ms += 5_001;
        moment.goes("n2");
        assert_eq!(moment.look(), ["n2"]);
        assert_eq!(moment.passes(SETTLED), ["n2"]);
        assert!(moment.passes(1).is_empty());
    }

    #[test]
    fn a_redis_that_was_emptied_while_it_ran_is_one_that_came_back_empty() {
        let mut moment = Moment::new();
        moment.comes("n1", true);
        assert!(moment.passes(SETTLED * 2).is_empty());
        moment.comes_back_empty("a");
        assert_eq!(moment.passes(1_000), ["n1"]);
        moment.comes("n1", true);
        assert!(moment.passes(1_000).is_empty());
    }

    #[test]
    fn whoever_others_name_is_waited_for_and_a_list_that_is_not_there_yet_too() {
        let mut moment = Moment::new();
        let named = [id("n9")];
        assert_eq!(moment.look_with(Some(&named)).nodes, named);
        assert!(moment.look_with(None).names, "who knows who is missing");
        moment.passes(SETTLED + 1);
        assert!(moment.look_with(Some(&named)).is_nobody() && moment.look_with(None).is_nobody());
    }

    #[test]
    fn somebody_whose_record_is_not_read_is_waited_for() {
        let mut moment = Moment::new();
        moment.passes(SETTLED * 2);
        let found = BTreeMap::from([(id("n1"), Found::Unreadable(RecordError::Newer(7)))]);
        assert_eq!(moment.judge(found, Some(&[])).nodes, [id("n1")]);
        assert!(moment.look().is_empty());
    }
}
