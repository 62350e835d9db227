//! What the order of a lane costs per message: from what was read to what is settled, without any store or node.
//! The inputs are the same in every run.
#![expect(clippy::unwrap_used, reason = "a bench that meets the unexpected fails loudly")]

use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gim_msg_queue::backoff::{Backoff, Jitter};
use gim_msg_queue::config::WorkerSection;
use gim_msg_queue::deliver::Failure;
use gim_msg_queue::lane::{Aim, Answer, Lane, LegId, Limits, Now, Verdict};
use gim_msg_queue::settle::{Attempt, Decision, Persistence, decide};
use gim_msg_queue::source::Fetched;
use gim_proto::{Entry, EntryId, Fields, Incarnation, MessageId};
use gim_proxy_sdk::Outcome;

fn main() {
    divan::main();
}

const NOW: Now = Now { unix_ms: 1_000_000, steady_ms: 0 };
/// Messages read in one go, and taken.
const BATCH: usize = 1_000;

fn lane() -> Lane {
    Lane::new(Limits::from(&WorkerSection::default()), Jitter::seeded(1))
}

fn fetched(seq: usize, target: &str, value: &str) -> Fetched {
    let mut fields = Fields::default();
    fields.push("data", "{}");
    fields.push(target, value.to_owned());
    let entry_id = EntryId { ms: NOW.unix_ms, seq: seq as u64 };
    let body = Entry::decode(&fields);
    let message_id = MessageId::of_entry(0, entry_id);
    Fetched { entry_id, message_id, size: 100, attempts: 0, rest: None, duplicate: false, body }
}

/// Does all that can be done, each leg by `verdict`, and returns how many rounds it took.
fn deliver(lane: &mut Lane, now: Now, verdict: Verdict) -> usize {
    let mut rounds = 0;
    while lane.has_ready(now) {
        rounds += 1;
        for job in lane.take_ready(now, BATCH) {
            let Aim::Users { legs, .. } = job.aim else { continue };
            for (leg, _) in legs {
                lane.complete(LegId { entry_id: job.entry_id, leg }, verdict, now);
            }
        }
    }
    rounds
}

/// A thousand messages to so many users: admitted, taken in the order of each, done, settled.
#[divan::bench(args = [1, 10, 1_000])]
fn unicast(bencher: Bencher<'_, '_>, users: usize) {
    let uid = |seq: usize| format!("user-{}", seq % users);
    let all: Vec<Fetched> = (0..BATCH).map(|seq| fetched(seq, "to_uid", &uid(seq))).collect();
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| (lane(), all.clone())).bench_local_values(
        |(mut lane, all)| {
            all.into_iter().for_each(|one| lane.admit(one, NOW));
            black_box(deliver(&mut lane, NOW, Verdict::Done(Outcome::Offered)));
            assert_eq!((lane.take_settlements().len(), lane.messages()), (BATCH, 0));
            lane
        },
    );
}

/// The same where each fails once and is tried again.
#[divan::bench]
fn unicast_with_a_retry(bencher: Bencher<'_, '_>) {
    let all: Vec<Fetched> = (0..BATCH).map(|seq| fetched(seq, "to_uid", &format!("user-{seq}"))).collect();
    let later = Now { unix_ms: NOW.unix_ms + 60_000, steady_ms: 60_000 };
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| (lane(), all.clone())).bench_local_values(
        |(mut lane, all)| {
            all.into_iter().for_each(|one| lane.admit(one, NOW));
            deliver(&mut lane, NOW, Verdict::Failed(Failure::Unreachable));
            assert_eq!(lane.messages(), BATCH);
            deliver(&mut lane, later, Verdict::Done(Outcome::Offered));
            assert_eq!((lane.take_settlements().len(), lane.messages()), (BATCH, 0));
            lane
        },
    );
}

/// A thousand messages to a group that has members on so many nodes.
#[divan::bench(args = [1, 5])]
fn group(bencher: Bencher<'_, '_>, nodes: usize) {
    let nodes: Vec<Incarnation> = (0..nodes).map(|_| Incarnation::mint()).collect();
    let all: Vec<Fetched> = (0..BATCH).map(|seq| fetched(seq, "tgid", "lobby")).collect();
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| (lane(), all.clone())).bench_local_values(
        |(mut lane, all)| {
            all.into_iter().for_each(|one| lane.admit(one, NOW));
            while lane.has_ready(NOW) {
                for job in lane.take_ready(NOW, BATCH) {
                    let held = lane.fan_out(job.entry_id, &nodes, NOW);
                    assert!(held.is_empty());
                    for node in &nodes {
                        lane.answered(job.entry_id, *node, Answer::Count { offered: 5_000, slow: 0 }, NOW);
                    }
                }
            }
            assert_eq!((lane.take_settlements().len(), lane.messages()), (BATCH, 0));
            lane
        },
    );
}

/// What becomes of a message after an attempt.
#[divan::bench]
fn decision(bencher: Bencher<'_, '_>) {
    let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(2) };
    let persistence = Persistence { attempts: 30, backoff };
    let mut jitter = Jitter::seeded(1);
    bencher.counter(ItemsCount::new(30_usize)).bench_local(|| {
        let tried = (1..=30).map(|attempt| decide(Attempt::Failed, black_box(attempt), &persistence, &mut jitter));
        let retried = tried.filter(|decision| matches!(decision, Decision::Retry { .. })).count();
        assert_eq!(retried, 29);
    });
}

/// What the lane is told of each entry that was read: checked before anything is measured.
#[divan::bench]
fn admission(bencher: Bencher<'_, '_>) {
    let all: Vec<Fetched> = (0..BATCH).map(|seq| fetched(seq, "to_uid", &format!("user-{seq}"))).collect();
    let first = all.first().unwrap().entry_id;
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| (lane(), all.clone())).bench_local_values(
        |(mut lane, all)| {
            all.into_iter().for_each(|one| lane.admit(one, NOW));
            assert_eq!((lane.messages(), lane.low_water()), (BATCH, Some(first)));
            lane
        },
    );
}
