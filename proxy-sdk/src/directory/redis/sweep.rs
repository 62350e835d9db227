//! Forgetting nodes that died: their users' records, their names in the index of groups, and at last their registration.
//!
//! Owns the order and the bounds of a step. One step a second at most does about 256 buckets of one dead run; the next
//! goes on where it stopped. A run is dead once it has not been in the view of the living for a second and its lease
//! does not name it; dead runs never come back, so that the verdict is kept. Several processes may sweep the same run,
//! and in a cluster take turns.

mod verdict;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;

use ::fred::types::Value;
use futures_util::future::join_all;
use gim_proto::keys::BUCKETS;
use gim_proto::{Incarnation, NodeId, Tgid};
use tokio::time::Instant;

use self::verdict::Verdicts;
use super::leftovers::Owned;
use super::script::SWEEP;
use super::{RedisDirectory, text};
use crate::directory::{DirectoryError, DirectoryErrorKind};
use crate::members::View;
use crate::scripts::Command;

/// Buckets that are swept at the same time, and how often in one step.
const BUCKETS_AT_ONCE: usize = 64;
const TIMES: usize = 4;
/// Users of one bucket in one go; about 10 us of Redis each.
const USERS: &str = "100";
/// Groups of one bucket after which it is another one's turn.
const GROUPS: &str = "2000";
/// Leftovers of each kind put right in one step, and of those at the same time.
const LEFTOVERS: usize = 1_000;
const LEFTOVERS_AT_ONCE: usize = 250;
/// How long a process that does not go on keeps others from sweeping. In ms.
const TURN_MS: &str = "5000";

/// What one step leaves to the next.
#[derive(Default)]
pub(super) struct Progress {
    verdicts: Verdicts,
    walk: Option<Walk>,
}

/// A way through all buckets, for one dead run.
struct Walk {
    incarnation: Incarnation,
    left: VecDeque<u16>,
    /// Records deleted on this way. One without any is the last.
    found: u64,
    /// Groups whose index still names it.
    groups: HashSet<Tgid>,
}

impl Walk {
    fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, left: (0..BUCKETS).collect(), found: 0, groups: HashSet::new() }
    }
}

impl RedisDirectory {
    pub(super) async fn sweep_step(&self) -> Result<(), DirectoryError> {
        // Another step that takes long is still at it.
        let Ok(mut progress) = self.progress.try_lock() else { return Ok(()) };
        self.calls.set_clock().await?;
        self.release_leftovers().await?;
        self.finish_changes().await;
        self.news.look().await?;
        let view = self.live.view();
        if !view.is_known() {
            return Ok(());
        }
        // First the names, then who is registered: who is named has been registered before.
        let named = self.leftovers.take_named(LEFTOVERS);
        let judged = self.judge(&mut progress.verdicts, &view).await;
        let runs = match judged {
            Ok(runs) => runs,
            Err(error) => {
                named.iter().for_each(|(tgid, incarnation)| self.leftovers.named(tgid, *incarnation));
                return Err(error);
            }
        };
        self.remove_names(named, &runs, &progress.verdicts.dead, &view).await?;
        if progress.verdicts.dead.is_empty() || !self.has_turn().await? {
            return Ok(());
        }
        self.walk_on(&mut progress, &runs).await
    }

    /// Whether to walk. Where many processes sweep one does so at a time, for as long as it goes on: another one would do
    /// no harm and be of no use.
    async fn has_turn(&self) -> Result<bool, DirectoryError> {
        if self.options.judge.is_none() {
            return Ok(true);
        }
        let (key, me) = (self.keys.sweeper(), self.sweeper.to_string());
        let take = [key.clone(), me.clone(), "NX".to_owned(), "PX".to_owned(), TURN_MS.to_owned()];
        let answers = self.calls.together(vec![Command::new("SET", take), Command::new("GET", [key.clone()])]).await?;
        let (taken, holder) = (answers.first(), answers.get(1).and_then(text));
        if holder != Some(&me) {
            return Ok(false);
        }
        if taken.is_some_and(Value::is_null) {
            self.calls.together(vec![Command::new("PEXPIRE", [key, TURN_MS.to_owned()])]).await?;
        }
        Ok(true)
    }

    /// Releases what could not be released when it should have been.
    async fn release_leftovers(&self) -> Result<(), DirectoryError> {
        let owned = self.leftovers.take_owned(LEFTOVERS, Instant::now());
        let mut failed = Ok(());
        for some in owned.chunks(LEFTOVERS_AT_ONCE) {
            let released = join_all(some.iter().map(|owned| {
                let Owned { uid, session, grace, .. } = owned;
                self.release_until(uid, *session, "", *grace, self.calls.give_up())
            }));
            for (owned, released) in some.iter().zip(released.await) {
                match released {
                    Ok(_) => {}
                    Err(error) if error.kind == DirectoryErrorKind::Corrupt => {
                        tracing::error!(uid = %owned.uid, "the user's record is not what this version writes; left alone");
                    }
                    Err(error) => {
                        self.leftovers.owned(owned.clone());
                        failed = Err(error);
                    }
                }
            }
        }
        failed
    }

    /// Finishes changes of durable memberships that broke off. One that cannot be finished yet has been put back.
    async fn finish_changes(&self) {
        let changes = self.leftovers.take_changed(LEFTOVERS);
        for some in changes.chunks(LEFTOVERS_AT_ONCE) {
            let finished = join_all(some.iter().map(|(uid, tgid)| self.finish_found(uid, std::slice::from_ref(tgid))));
            finished.await;
        }
    }

    // One that is neither registered nor alive has been swept. One that is only not in the view may have just begun.
    async fn remove_names(
        &self,
        named: Vec<(Tgid, Incarnation)>,
        runs: &HashMap<Incarnation, NodeId>,
        dead: &BTreeSet<Incarnation>,
        view: &View,
    ) -> Result<(), DirectoryError> {
        let absent = named.into_iter().filter(|(_, incarnation)| view.find(incarnation).is_none());
        let (over, unsure): (Vec<_>, Vec<_>) =
            absent.partition(|(_, incarnation)| dead.contains(incarnation) || !runs.contains_key(incarnation));
        unsure.iter().for_each(|(tgid, incarnation)| self.leftovers.named(tgid, *incarnation));
        let removed = self.remove_holders(over.iter().map(|(tgid, incarnation)| (tgid, *incarnation))).await;
        if removed.is_err() {
            over.iter().for_each(|(tgid, incarnation)| self.leftovers.named(tgid, *incarnation));
        }
        removed
    }

    async fn remove_holders<'a>(
        &self,
        names: impl Iterator<Item = (&'a Tgid, Incarnation)>,
    ) -> Result<(), DirectoryError> {
        let command = |(tgid, incarnation): (&Tgid, Incarnation)| {
            Command::new("SREM", [self.keys.group(tgid), incarnation.to_string()])
        };
        self.calls.together(names.map(command).collect()).await.map(|_counts| ())
    }

    async fn walk_on(
        &self,
        progress: &mut Progress,
        runs: &HashMap<Incarnation, NodeId>,
    ) -> Result<(), DirectoryError> {
        let Progress { verdicts: Verdicts { dead, .. }, walk } = progress;
        if walk.as_ref().is_none_or(|walk| !dead.contains(&walk.incarnation)) {
            *walk = dead.first().copied().map(Walk::new);
        }
        let Some(walk) = walk else { return Ok(()) };
        for _ in 0..TIMES {
            self.step(walk).await?;
        }
        if !walk.left.is_empty() {
            return Ok(());
        }
        let incarnation = walk.incarnation;
        if walk.found > 0 {
            // Somebody who did not know of its end yet may have written behind us.
            *walk = Walk::new(incarnation);
            return Ok(());
        }
        // One that took its key only after the verdict lives: it stays registered.
        let node = runs.get(&incarnation).map(|node| (incarnation, node));
        if !self.without_lease(node.into_iter().collect()).await?.is_empty() {
            let field = format!("run:{incarnation}");
            self.calls.together(vec![Command::new("HDEL", [self.keys.meta(), field])]).await?;
            tracing::info!(%incarnation, "the records of a node's run are swept");
        }
        dead.remove(&incarnation);
        progress.walk = None;
        Ok(())
    }

    async fn step(&self, walk: &mut Walk) -> Result<(), DirectoryError> {
        let some = walk.left.len().min(BUCKETS_AT_ONCE);
        let buckets: Vec<u16> = walk.left.drain(..some).collect();
        let answers = join_all(buckets.iter().map(|bucket| self.sweep_bucket(*bucket, walk.incarnation))).await;
        let mut failed = Ok(());
        for (bucket, answer) in buckets.into_iter().zip(answers) {
            match answer {
                Ok((swept, left, tgids)) => {
                    walk.found += swept;
                    self.swept.fetch_add(swept, Ordering::Relaxed);
                    walk.groups.extend(tgids);
                    if left > 0 {
                        walk.left.push_back(bucket);
                    }
                }
                Err(error) if error.kind == DirectoryErrorKind::Corrupt => {
                    tracing::error!(bucket, "the bucket's records are not what this version writes; left alone");
                }
                Err(error) => {
                    walk.left.push_back(bucket);
                    failed = Err(error);
                }
            }
        }
        failed?;
        self.remove_holders(walk.groups.iter().map(|tgid| (tgid, walk.incarnation))).await?;
        walk.groups.clear();
        Ok(())
    }

    /// Records deleted, users left, and groups of those deleted.
    async fn sweep_bucket(
        &self,
        bucket: u16,
        incarnation: Incarnation,
    ) -> Result<(u64, u64, Vec<Tgid>), DirectoryError> {
        let (records, at) = (self.keys.bucket(bucket), self.keys.users_at(bucket, &incarnation));
        let (name, grace) = (incarnation.to_string(), self.options.grace.as_millis().to_string());
        let args = [name.as_str(), &grace, USERS, GROUPS, self.news.bound()];
        let answer = self.calls.script::<Value>(&SWEEP, &[&records, &at], &args, self.calls.give_up()).await;
        self.news.noted_in(bucket);
        let answer = answer?;
        let (swept, left, tgids): (u64, u64, Value) = answer.convert().map_err(|_| DirectoryError::corrupt())?;
        let tgids = tgids.into_array();
        Ok((swept, left, tgids.iter().filter_map(|tgid| Tgid::parse(text(tgid)?).ok()).collect()))
    }
}
