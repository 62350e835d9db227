//! Settling entries: for good, until a later time, or as dead letters.
//!
//! All that are settled for good take one call. The others move inside Redis, with all their fields. Every call may be
//! repeated: it acts only on what is handed out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::redis::Value;
use gim_proto::EntryId;

use super::aside::{member, score_aside, score_planned};
use super::decode::show_rest;
use super::outstanding::{Held, Origin};
use super::reply;
use super::scripts::{ACK, ASIDE, Args, BURY};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::observe::Event;
use crate::source::{Death, Rest, Settlement};

/// Entries moved by one call, at most: Redis does nothing else meanwhile.
const MOST_MOVED: usize = 500;
/// Bytes moved by one call, about.
const MOST_BYTES: usize = 4 << 20;

/// The arguments of calls that move entries, a bounded number in each.
struct Calls {
    first: Vec<String>,
    /// And how many entries each moves.
    calls: Vec<(Args, usize)>,
    bytes: usize,
}

impl Shared {
    /// `run`: the run of Redis that it has to be.
    pub(super) async fn settle(
        self: &Arc<Self>,
        batch: &[(EntryId, Settlement)],
        run: Option<u64>,
    ) -> Result<(), Trouble> {
        self.ack(batch, run).await?;
        let soonest = self.put_aside(batch, run).await?;
        self.bury(batch, run).await?;
        // All at once: a batch that failed half way is repeated whole, and nothing of it may be handed out in between.
        self.are_settled(batch.iter().map(|(entry_id, _)| *entry_id).collect());
        if soonest.is_some_and(|soonest| self.wake.is_due_at(soonest)) {
            self.ring();
        }
        Ok(())
    }

    async fn ack(&self, batch: &[(EntryId, Settlement)], run: Option<u64>) -> Result<(), Trouble> {
        let mut acked: Vec<(EntryId, Option<Origin>)> = Vec::with_capacity(batch.len());
        {
            let outstanding = self.outstanding();
            let of_batch = batch.iter().filter(|(_, how)| matches!(how, Settlement::Ack));
            acked
                .extend(of_batch.map(|(entry_id, _)| (*entry_id, outstanding.find(*entry_id).map(|held| held.origin))));
        }
        if acked.is_empty() {
            return Ok(());
        }
        // One that is not known was settled before, or read before a panic: it is wherever it is.
        let of =
            |not: Origin| acked.iter().filter(move |(_, origin)| *origin != Some(not)).map(|(entry_id, _)| *entry_id);
        let mut args = Args::with_room(acked.len()).with(of(Origin::Later).count());
        of(Origin::Later).for_each(|entry_id| args.push_id(entry_id));
        of(Origin::Stream).for_each(|entry_id| args.push(member(entry_id)));
        // What is settled otherwise is not to wait for a read that these ride with.
        if acked.len() == batch.len()
            && let Some(command) = self.written(&ACK, &args, run)?
            && self.ride.along(command, self.store.options().deadline()).await?
        {
            return Ok(());
        }
        self.fenced_in::<Value>(run, &ACK, &args).await?;
        Ok(())
    }

    /// Tells when the first of them is due.
    async fn put_aside(&self, batch: &[(EntryId, Settlement)], run: Option<u64>) -> Result<Option<u64>, Trouble> {
        let mut calls = Calls::new(&[]);
        let mut soonest = u64::MAX;
        for (entry_id, how) in batch {
            let Settlement::Later { due_ms, attempts, rest } = how else { continue };
            let held = self.outstanding().find(*entry_id);
            let (due_ms, score) = self.when(*due_ms, *attempts, rest.as_ref(), held);
            soonest = soonest.min(due_ms);
            let args = [score.to_string(), attempts.to_string(), show_rest(rest.as_ref())];
            calls.push(*entry_id, held, args);
        }
        for (args, _) in calls.calls {
            let gone = reply::list(self.fenced_in(run, &ASIDE, &args).await?, "entries that are gone")?;
            let count = gone.len() as u64;
            self.tell_gone(count, false, gone.into_iter().next().map(reply::entry_id).transpose()?);
        }
        Ok(Some(soonest).filter(|soonest| *soonest < u64::MAX))
    }

    /// Tells when an entry that is put aside is due, and its score: a schedule that was never tried keeps its time, also
    /// for another owner.
    fn when(&self, due_ms: u64, attempts: u32, rest: Option<&Rest>, held: Option<Held>) -> (u64, i64) {
        let planned_ms = held.and_then(|held| held.planned_ms);
        if planned_ms == Some(due_ms) && attempts == 0 && rest.is_none() {
            return (due_ms, score_planned(due_ms));
        }
        (due_ms, score_aside(due_ms))
    }

    async fn bury(&self, batch: &[(EntryId, Settlement)], run: Option<u64>) -> Result<(), Trouble> {
        let mut calls = Calls::new(&[self.section.dead_letters.to_string()]);
        for (entry_id, how) in batch {
            let Settlement::Dead(death) = how else { continue };
            let Death { reason, attempts, error, failed_targets, rest } = &**death;
            let targets: Vec<&str> = failed_targets.iter().map(AsRef::as_ref).collect();
            let targets = serde_json::Value::from(targets).to_string();
            let (reason, attempts) = (reason.as_str().to_owned(), attempts.to_string());
            let args = [reason, attempts, error.to_string(), targets, show_rest(rest.as_ref())];
            calls.push(*entry_id, self.outstanding().find(*entry_id), args);
        }
        for (args, _) in calls.calls {
            let letters: u64 = self.fenced_in(run, &BURY, &args).await?;
            if letters > 0 {
                self.tell(&Event::DeadLettersDropped { letters });
            }
        }
        Ok(())
    }

    fn are_settled(&self, entries: Vec<EntryId>) {
        self.settled.fetch_add(entries.len() as u64, Ordering::Relaxed);
        if self.outstanding().settled(entries) {
            self.chores().recall = true;
        }
    }
}

impl Calls {
    /// Takes the arguments that every call begins with.
    fn new(first: &[String]) -> Self {
        Self { first: first.to_vec(), calls: Vec::new(), bytes: 0 }
    }

    fn push<const N: usize>(&mut self, entry_id: EntryId, held: Option<Held>, args: [String; N]) {
        self.bytes += held.map_or(0, |held| held.size) + args.iter().map(String::len).sum::<usize>();
        let is_full = |entries: usize| entries >= MOST_MOVED || self.bytes > MOST_BYTES;
        if self.calls.last().is_none_or(|(_, entries)| is_full(*entries)) {
            let args = self.first.iter().fold(Args::default(), |args, first| args.with(first));
            self.calls.push((args, 0));
            self.bytes = 0;
        }
        if let Some((call, entries)) = self.calls.last_mut() {
            call.push_id(entry_id);
            call.push(member(entry_id));
            args.into_iter().for_each(|arg| call.push(arg));
            *entries += 1;
        }
    }
}
