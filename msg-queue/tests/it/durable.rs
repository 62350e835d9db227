//! Durable messages on their way into mailboxes: once, in order, and before anybody is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gim_msg_queue::config::WorkerSection;
use gim_msg_queue::deliver::DeliverErrorKind;
use gim_msg_queue::observe::{Event, Step};
use gim_proto::frame::MsgType;
use gim_proto::{EntryId, Payload, Tgid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Message, Recipients, Report, TargetReport};
use gim_proxy_sdk::directory::Directory;
use gim_proxy_sdk::mailbox::{Mailboxes, Scope};

use crate::support::{
    Flakiness, Nodes, Plan, ShakyMailboxes, World, entry, node, reports, taken_as, to, to_users, uid,
};

const DURABLE: (&str, &str) = ("class", "durable");

fn durable(number: usize, name: &str) -> gim_proto::Fields {
    entry(number, &[("to_uid", name), DURABLE])
}

fn with(mailboxes: &Arc<ShakyMailboxes>) -> Plan {
    Plan { mailboxes: Some(Arc::clone(mailboxes) as Arc<dyn Mailboxes>), ..Plan::default() }
}

fn number(message: &Message) -> usize {
    let (Payload::Json(bytes) | Payload::Raw(bytes)) = &message.payload;
    let digits: String = String::from_utf8_lossy(bytes).chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

async fn numbers(mailboxes: &ShakyMailboxes, name: &str) -> Vec<usize> {
    mailboxes.letters(name).await.iter().map(|(_, message)| number(message)).collect()
}

pub(crate) async fn joins_durably(world: &World, name: &str, group: &str) {
    assert!(world.directory.inner.join_durably(&uid(name), &Tgid::parse(group).unwrap(), 1_000_000).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_is_offline_has_it_stored_and_who_is_online_is_told_where() {
    let mailboxes = ShakyMailboxes::willing();
    let world = World::with(
        with(&mailboxes),
        Nodes::scripted(|_, batch| {
            for delivery in &batch.deliveries {
                let Recipients::Stored { to, at } = &delivery.to else { panic!("no hint") };
                assert_eq!((to.len(), at.len(), at[0].offset), (1, 1, 1));
            }
            Ok(reports(batch))
        }),
    );
    world.connect(&["on"]).await;
    world.put(vec![entry(1, &[("to_uids", r#"["on","off"]"#), DURABLE])]).await;
    world.settled(1).await;
    assert_eq!((numbers(&mailboxes, "on").await, numbers(&mailboxes, "off").await), (vec![1], vec![1]));
    assert_eq!(world.nodes.numbers("on"), [1]);
    assert_eq!(world.outcomes(Outcome::Stored), 2);
}

#[tokio::test(start_paused = true)]
async fn only_members_of_a_group_named_with_a_user_get_it() {
    let mailboxes = ShakyMailboxes::with(|_| None, &["stranger"]);
    let world = World::with(with(&mailboxes), Nodes::willing());
    world.connect(&["stranger"]).await;
    let to_member = |number, name| entry(number, &[("tgid", "g"), ("to_uid", name), DURABLE]);
    world.put(vec![to_member(1, "stranger"), to_member(2, "member")]).await;
    world.settled(2).await;
    assert_eq!((world.outcomes(Outcome::NotMember), world.outcomes(Outcome::Stored)), (1, 1));
    assert!(numbers(&mailboxes, "stranger").await.is_empty());
    assert_eq!(numbers(&mailboxes, "member").await, [2]);
    assert!(world.nodes.batches().is_empty());
    assert!(mailboxes.calls().iter().flat_map(|(_, posts)| posts).all(|post| post.of.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn durable_members_have_a_groups_message_before_the_nodes_are_told() {
    let mailboxes = ShakyMailboxes::willing();
    let world = World::with(with(&mailboxes), Nodes::willing());
    for name in ["1", "2", "3"] {
        joins_durably(&world, name, "g").await;
    }
    world.holds("g", &world.home).await;
    world.put(vec![entry(1, &[("tgid_list", r#"["g","h"]"#), ("except_uid", "2"), DURABLE])]).await;
    world.settled(1).await;
    for (name, expected) in [("1", 1), ("2", 0), ("3", 1)] {
        let letters = mailboxes.letters(name).await;
        assert_eq!(letters.iter().filter(|(kind, _)| *kind == MsgType::Group).count(), expected, "{name}");
    }
    assert_eq!(world.nodes.numbers("g+h"), [1]);
    assert_eq!(world.outcomes(Outcome::Stored), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_without_members_anywhere_is_offline() {
    let mailboxes = ShakyMailboxes::willing();
    let world = World::with(
        with(&mailboxes),
        Nodes::scripted(|_, batch| {
            Ok(batch.deliveries.iter().map(|_| Report::Count { offered: 0, slow: 0 }).collect())
        }),
    );
    world.holds("held", &world.home).await;
    let to_group = |number, group| entry(number, &[("tgid", group), DURABLE]);
    world.put(vec![to_group(1, "empty"), to_group(2, "held")]).await;
    world.settled(2).await;
    assert_eq!(world.outcomes(Outcome::Offline), 2);
    assert!(mailboxes.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_large_group_is_stored_in_pages_and_others_go_on_between_its_messages() {
    let mailboxes = ShakyMailboxes::willing();
    let world = World::with(with(&mailboxes), Nodes::willing().shut());
    for member in 0..25_000 {
        joins_durably(&world, &format!("m{member}"), "g").await;
    }
    world.connect(&["1"]).await;
    let mut entries: Vec<_> = (0..4).map(|number| entry(number, &[("tgid", "g"), DURABLE])).collect();
    entries.push(entry(9, &[("to_uid", "1"), ("priority", "high")]));
    entries.push(to(10, "1"));
    world.nodes.open(100);
    world.put(entries).await;
    world.settled(6).await;
    assert_eq!(numbers(&mailboxes, "m24999").await, [0, 1, 2, 3]);
    assert_eq!(mailboxes.calls().len(), 4 * 25, "pages of a thousand");
    assert_eq!(world.nodes.numbers("1"), [9, 10]);
}

#[tokio::test(start_paused = true)]
async fn while_mailboxes_do_not_answer_the_lane_waits_and_counts_no_attempt() {
    let mut failures = 50;
    let mailboxes = ShakyMailboxes::new(move |_| {
        failures -= i32::from(failures > 0);
        (failures > 0).then_some(0)
    });
    let world = World::with(with(&mailboxes), Nodes::willing());
    world.connect(&["1"]).await;
    world.put((0..5).map(|number| durable(number, "1")).chain([to(5, "2")]).collect()).await;
    world.settled(6).await;
    let pauses = world.count(|event| matches!(event, Event::Paused { step: Step::Store, .. }));
    assert!(pauses >= 49, "{pauses}");
    assert_eq!(world.count(|event| matches!(event, Event::Retry { .. })), 0);
    assert_eq!(numbers(&mailboxes, "1").await, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_the_middle_of_a_round_keeps_what_is_stored_and_repeats_the_rest() {
    let mut calls = 0;
    let mailboxes = ShakyMailboxes::new(move |_| {
        calls += 1;
        (calls % 2 == 0).then_some(0)
    });
    let world = World::with(with(&mailboxes), Nodes::willing());
    let users: Vec<String> = (0..600).map(|n| format!("u{n}")).collect();
    let list = serde_json::to_string(&users).unwrap();
    world.put((0..5).map(|number| entry(number, &[("to_uids", &list), DURABLE])).collect()).await;
    world.settled(5).await;
    for user in &users {
        assert_eq!(numbers(&mailboxes, user).await, [0, 1, 2, 3, 4]);
    }
    assert_eq!(mailboxes.calls().len(), 9, "no page is stored twice that was known to be stored");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_told_leaves_no_dead_letter() {
    let mailboxes = ShakyMailboxes::willing();
    let world = World::with(with(&mailboxes), Nodes::scripted(|_, _| Err(DeliverErrorKind::Unreachable)));
    world.connect(&["1"]).await;
    world.put(vec![durable(1, "1"), to(2, "1")]).await;
    world.settled(2).await;
    assert_eq!(world.outcomes(Outcome::Stored), 1);
    assert_eq!(world.dead().await.len(), 1, "the other one is live");
    assert_eq!(numbers(&mailboxes, "1").await, [1]);
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_not_stored() {
    let mailboxes = ShakyMailboxes::new({
        let mut calls = 0;
        move |_| {
            calls += 1;
            (calls < 20).then_some(0)
        }
    });
    let world = World::with(with(&mailboxes), Nodes::willing());
    world.put(vec![entry(1, &[("to_uid", "1"), DURABLE, ("ttl_ms", "1000")]), durable(2, "1")]).await;
    world.settled(2).await;
    assert_eq!((world.outcomes(Outcome::Expired), world.outcomes(Outcome::Stored)), (1, 1));
    assert_eq!(numbers(&mailboxes, "1").await, [2]);
}

#[tokio::test(start_paused = true)]
async fn last_values_are_kept_before_they_are_routed() {
    let mut failures = 3;
    let mailboxes = ShakyMailboxes::new(move |_| {
        failures -= i32::from(failures > 0);
        (failures > 0).then_some(0)
    });
    let world = World::with(with(&mailboxes), Nodes::willing());
    world.connect(&["1"]).await;
    let latest = |number, name, value| entry(number, &[(name, value), ("class", "latest"), ("key", "k")]);
    let member = entry(4, &[("tgid", "g"), ("to_uid", "1"), ("class", "latest"), ("key", "m")]);
    world
        .put(vec![
            latest(1, "to_uids", r#"["1","2"]"#),
            latest(2, "to_uid", "1"),
            latest(3, "tgid_list", r#"["a","b"]"#),
            member,
            to(5, "1"),
        ])
        .await;
    world.settled(5).await;
    let group = |name| Scope::Group(Tgid::parse(name).unwrap());
    let kept = async |scope| mailboxes.kept(&scope).await.unwrap().iter().map(|it| number(it)).collect::<Vec<_>>();
    // What is only for a member of a group is nothing for whoever connects later.
    assert_eq!(kept(Scope::User(uid("1"))).await, [2]);
    assert_eq!(kept(Scope::User(uid("2"))).await, [1]);
    assert_eq!((kept(group("a")).await, kept(group("b")).await, kept(group("g")).await), (vec![3], vec![3], vec![]));
    assert_eq!(mailboxes.values().len(), 3);
    assert_eq!(world.nodes.numbers("1"), [1, 2, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn who_joined_in_between_gets_no_earlier_message_behind_a_later_one() {
    let mailboxes = ShakyMailboxes::willing();
    let works = Arc::new(AtomicBool::new(false));
    let does_it = Arc::clone(&works);
    let world = World::with(
        with(&mailboxes),
        Nodes::scripted(move |node, batch| match node.id.as_str() == "home" || does_it.load(Ordering::Relaxed) {
            true => Ok(reports(batch)),
            false => Err(DeliverErrorKind::Unreachable),
        }),
    );
    world.holds("g", &node("far")).await;
    joins_durably(&world, "1", "g").await;
    let to_group = |number| entry(number, &[("tgid", "g"), DURABLE]);
    world.put(vec![to_group(1)]).await;
    world.until(|stats| stats.pending == 1).await;
    while mailboxes.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    joins_durably(&world, "2", "g").await;
    world.put(vec![to_group(2)]).await;
    while mailboxes.calls().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    works.store(true, Ordering::Relaxed);
    world.settled(2).await;
    assert_eq!((numbers(&mailboxes, "1").await, numbers(&mailboxes, "2").await), (vec![1, 2], vec![2]));
}

/// Everything at once: appends that fail before, after and in the middle of their effect, nodes that do not answer or do
/// not hold whom they are named for, settlements that are lost, a lane that begins anew, several targets and priorities.
#[tokio::test(start_paused = true)]
async fn whatever_fails_each_mailbox_has_each_message_once_and_in_order() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut fates = Dice(seed + 1_000);
        let mut moods = Dice(seed + 2_000);
        let mailboxes = ShakyMailboxes::new(move |posts| match fates.of(4) {
            0 => Some(fates.of(posts as u64 + 1) as usize),
            _ => None,
        });
        let plan = Plan {
            source: Some(Flakiness { settles: 3, ..Flakiness::default() }),
            directory_failures: 3,
            directory_panics: usize::from(seed % 4 == 0),
            worker: WorkerSection { attempts: 6, read_batch: 20, ..WorkerSection::default() },
            ..with(&mailboxes)
        };
        let world = World::with(
            plan,
            Nodes::scripted(move |_, batch| match moods.of(6) {
                0 => Err(DeliverErrorKind::Unreachable),
                1 => Err(DeliverErrorKind::Unknown),
                2 => Err(DeliverErrorKind::Suspended),
                mood => Ok(batch
                    .deliveries
                    .iter()
                    .map(|delivery| {
                        let moved = mood == 3 && moods.of(3) == 0;
                        to_users(delivery, |_| if moved { TargetReport::NotOwner } else { taken_as(delivery) })
                    })
                    .collect()),
            }),
        );
        let users = ["u0", "u1", "u2", "u3", "u4"];
        world.connect(&users[..3]).await;
        world.holds("g", &world.home).await;
        for name in ["u1", "u4", "m"] {
            joins_durably(&world, name, "g").await;
        }
        let mut expected: HashMap<(&str, MsgType), Vec<usize>> = HashMap::new();
        for number in 0..120 {
            let priority = ["normal", "high", "low"][dice.of(3) as usize];
            let fields = match dice.of(5) {
                0 => {
                    for name in ["u1", "u4", "m"] {
                        expected.entry((name, MsgType::Group)).or_default().push(number);
                    }
                    entry(number, &[("tgid", "g"), DURABLE, ("priority", priority)])
                }
                1 => {
                    let list: Vec<&str> = users.into_iter().filter(|_| dice.of(2) == 0).chain(["x"]).collect();
                    for name in &list {
                        expected.entry((name, MsgType::User)).or_default().push(number);
                    }
                    let list = serde_json::to_string(&list).unwrap();
                    entry(number, &[("to_uids", &list), DURABLE, ("priority", priority)])
                }
                2 => entry(number, &[("to_uid", users[dice.of(5) as usize]), ("priority", priority)]),
                _ => {
                    let name = users[dice.of(5) as usize];
                    expected.entry((name, MsgType::User)).or_default().push(number);
                    entry(number, &[("to_uid", name), DURABLE, ("priority", priority)])
                }
            };
            world.put(vec![fields]).await;
            if dice.of(4) == 0 {
                tokio::time::sleep(Duration::from_millis(dice.of(300))).await;
            }
        }
        world.settled(120).await;
        for ((name, kind), numbers) in expected {
            let letters = mailboxes.letters(name).await;
            let of_kind = letters.iter().filter(|(of, _)| *of == kind).map(|(_, message)| number(message));
            assert_eq!(of_kind.collect::<Vec<_>>(), numbers, "{name} with seed {seed}");
        }
        in_order_at_every_try(&mailboxes);
    }
}

/// Of one target no message is asked to be stored for the first time after a later one.
fn in_order_at_every_try(mailboxes: &ShakyMailboxes) {
    let mut first: BTreeMap<(String, u8), Vec<EntryId>> = BTreeMap::new();
    for (_, posts) in mailboxes.calls() {
        for post in posts {
            for uid in &post.to {
                let of = first.entry((uid.to_string(), post.kind as u8)).or_default();
                if !of.contains(&post.entry) {
                    of.push(post.entry);
                }
            }
        }
    }
    assert!(first.values().all(|entries| entries.is_sorted()));
}

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn of(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
