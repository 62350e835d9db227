//! What becomes of mailboxes when Redis fails them.

use std::collections::HashSet;
use std::time::Duration;

use gim_proto::{Fence, bucket_of};
use gim_proxy_sdk::delivery::{LaneOrigin, Message};
use gim_proxy_sdk::mailbox::{
    Acked, Appended, Arrival, MailboxBounds, MailboxErrorKind, Mailboxes, Opened, Overdue, Position, Post,
    RedisMailboxes, Scope,
};
use gim_proxy_sdk::store::RedisOptions;
use gim_proxy_sdk::testing::RedisServer;

use super::world::{RedisWorld, World, lane, message, post, post_of, tgid, uid};
use crate::directory::world::eventually;

fn short(options: RedisOptions) -> RedisOptions {
    const DEADLINE: Duration = Duration::from_millis(500);
    options.call_timeout(DEADLINE).connect_timeout(DEADLINE)
}

#[tokio::test]
async fn a_full_redis_refuses_messages_and_takes_acknowledgements() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, MailboxBounds::default()).await;
    world.append(&lane(0), &[post(1, &["a"]), post(2, &["a"]), post(3, &["a"])]).await;
    let opened = world.opens("a", 1, Arrival::Anew).await;
    let _: String = world.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // Neither a new mailbox nor one whose ids are due to be forgotten.
    let all: Vec<_> = (4..=40).map(|n| post(n, &["a", "b"])).collect();
    for posts in [all.as_slice(), &[post(4, &["b"])], &[post(4, &["a"])]] {
        let refused = world.mailboxes.append(&lane(50), posts).await.unwrap_err();
        assert_eq!(refused.kind, MailboxErrorKind::Unavailable, "{:?}", refused.source);
    }
    assert_eq!(world.read("a", 0).await, ["m1@1", "m2@2", "m3@3"]);
    let again = world.append(&lane(0), &[post(1, &["a"])]).await;
    assert!(matches!(again[0][0], Appended::Stored(at) if at.offset == 1), "what is there already needs no room");
    assert!(world.mailboxes.open(&uid("b"), Fence(1), Arrival::Anew).await.is_err());
    let at = Position { epoch: opened.epoch, offset: 1 };
    assert_eq!(world.mailboxes.open(&uid("a"), Fence(1), Arrival::Resumes(at)).await.unwrap().acked, 1);
    assert_eq!(world.mailboxes.open(&uid("a"), Fence(2), Arrival::Anew).await.unwrap().acked, 1);
    assert_eq!(world.ack("a", 1, opened.epoch, 2).await, Acked::Superseded);
    assert_eq!(world.ack("a", 2, opened.epoch, 2).await, Acked::Done);
    assert!(world.mailboxes.cancel(&uid("a"), &post(3, &["a"]).message.id).await.unwrap());
    let _: String = world.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(world.offsets(&lane(0), &[post(4, &["a"])]).await, [4]);
}

#[tokio::test]
async fn while_redis_is_down_calls_fail_in_time_and_go_on_when_it_is_back() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let options = short(server.options());
    let world = RedisWorld::with(options.clone(), MailboxBounds::default()).await;
    let first = world.append(&lane(0), &[post(1, &["a"])]).await;
    server.stop();
    eventually("the outage to be noticed", async || {
        let failed = world.mailboxes.append(&lane(0), &[post(2, &["a"])]).await;
        failed.is_err_and(|error| error.kind == MailboxErrorKind::Unavailable)
    })
    .await;
    assert!(world.mailboxes.kept(&Scope::User(uid("a"))).await.is_err());
    assert!(RedisMailboxes::connect(&options, world.keys.clone(), MailboxBounds::default()).await.is_err());
    server.restart().await;
    let posts = [post(1, &["a"]), post(2, &["a"])];
    eventually("the connection", async || world.mailboxes.append(&lane(0), &posts).await.is_ok()).await;
    assert_eq!(world.append(&lane(0), &posts).await[0], first[0]);
    assert_eq!(world.read("a", 0).await, ["m1@1", "m2@2"]);
    world.mailboxes.close().await;
    assert!(world.mailboxes.append(&lane(0), &posts).await.is_err());
}

#[tokio::test]
async fn an_append_that_was_given_up_takes_no_effect_afterwards() {
    let server = RedisServer::start().await;
    let world = RedisWorld::with(short(server.options()), MailboxBounds::default()).await;
    world.append(&lane(0), &[post(1, &["a"])]).await;
    server.freeze();
    let failed = world.mailboxes.append(&lane(0), &[post(2, &["a"])]).await.unwrap_err();
    assert_eq!(failed.kind, MailboxErrorKind::Timeout);
    server.thaw();
    eventually("the connection", async || world.mailboxes.append(&lane(0), &[post(3, &["a"])]).await.is_ok()).await;
    assert_eq!(world.read("a", 0).await, ["m1@1", "m3@2"]);
}

#[tokio::test]
async fn a_mailbox_that_lost_its_state_begins_anew() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, MailboxBounds::default()).await;
    world.append(&lane(0), &[post(1, &["a"]), post(2, &["a"])]).await;
    let before = world.opens("a", 1, Arrival::Anew).await;
    let _: i64 = world.ask(&["DEL", &world.keys.mailbox_state(&uid("a"))]).await;
    assert_eq!(world.offsets(&lane(0), &[post(1, &["a"])]).await, [1], "what was there of it is gone");
    let seen = Position { epoch: before.epoch, offset: 2 };
    let after = world.opens("a", 1, Arrival::Survives(seen)).await;
    assert_eq!((after.last, after.acked, after.is_reset), (1, 0, true));
    assert!(after.epoch > before.epoch);
}

#[tokio::test]
async fn a_mailbox_that_is_none_stops_nobody() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, MailboxBounds::default()).await;
    let _: String = world.ask(&["SET", &world.keys.mailbox(&uid("a")), "x"]).await;
    let _: String = world.ask(&["SET", &world.keys.mailbox_state(&uid("b")), "x"]).await;
    let _: String = world.ask(&["XADD", &world.keys.mailbox(&uid("c")), "9-0", "x", "y"]).await;
    let _: i64 = world.ask(&["HSET", &world.keys.mailbox_state(&uid("c")), "epoch", "5", "last", "1"]).await;
    let to = ["a", "b", "c", "d"];
    assert_eq!(world.offsets(&lane(0), &[post(1, &to), post(2, &to)]).await, [1, 1, 1, 1, 2, 2, 2, 2]);
    for name in to {
        assert_eq!(world.read(name, 0).await, ["m1@1", "m2@2"]);
    }
}

#[tokio::test]
async fn who_is_to_be_looked_at_may_be_anything_and_costs_no_mailbox() {
    let world = RedisWorld::new(MailboxBounds::default()).await;
    let due = world.keys.overdue_of(bucket_of(&uid("a")));
    let asks = |n: u64| post_of(n, Message { receipt: true, ..message(&format!("m{n}"), "{}") }, &["a"]);
    let before = world.append(&lane(0), &[asks(1)]).await;
    let _: String = world.ask(&["SET", &due, "x"]).await;
    assert_eq!(world.offsets(&lane(0), &[asks(2)]).await, [2]);
    assert_eq!(world.append(&lane(0), &[asks(1)]).await, before, "it is the same mailbox");
    assert_eq!(world.read("a", 0).await, ["m1@1", "m2@2"]);
    assert_eq!(world.ask::<String>(&["TYPE", &due]).await, "zset", "and it is looked at");
}

/// Names of users in a bucket, the first of them.
fn in_bucket(bucket: u16, most: usize) -> Vec<String> {
    let all = (0_u32..).map(|n| format!("u{n}"));
    all.filter(|name| bucket_of(&uid(name)) == bucket).take(most).collect()
}

fn overdue(n: u64, to: &[String]) -> Post {
    let message = Message { receipt: true, expires_ms: Some(1), ..message(&format!("m{n}"), "{}") };
    post_of(n, message, &to.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn of_a_mailbox_that_is_none_nothing_is_overdue_and_others_of_its_bucket_are_named() {
    let world = RedisWorld::new(MailboxBounds::default()).await;
    let names = in_bucket(7, 40);
    world.append(&lane(0), &[overdue(1, &names)]).await;
    let due = world.keys.overdue_of(7);
    for broken in &names[..20] {
        let _: i64 = world.ask(&["DEL", &world.keys.mailbox_state(&uid(broken))]).await;
        let _: String = world.ask(&["SET", &world.keys.mailbox_state(&uid(broken)), "x"]).await;
        let _: i64 = world.ask(&["ZADD", &due, "0", broken]).await;
    }
    assert_eq!(world.overdue(&[]).await.len(), 20);
    assert_eq!(world.ask::<i64>(&["ZCARD", &due]).await, 20);
}

#[tokio::test]
async fn whoever_is_overdue_is_named_within_a_round_however_many_are_in_one_bucket() {
    let world = RedisWorld::new(MailboxBounds::default()).await;
    let (many, one) = (in_bucket(8, 200), in_bucket(9, 1));
    world.append(&lane(0), &[overdue(1, &many), overdue(2, &one)]).await;
    let (mut named, mut told) = (HashSet::new(), Vec::new());
    for _ in 0..300 {
        told = world.mailboxes.sweep(&told).await.unwrap();
        named.extend(told.iter().map(|over| over.uid.as_str().to_owned()));
    }
    assert_eq!(named.len(), 201);
    for bucket in [8, 9] {
        assert_eq!(world.ask::<i64>(&["EXISTS", &world.keys.overdue_of(bucket)]).await, 0, "it was told and is gone");
    }
}

#[tokio::test]
async fn while_redis_is_down_nothing_overdue_is_forgotten_and_a_sweep_goes_on_when_it_is_back() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let world = RedisWorld::with(short(server.options()), MailboxBounds::default()).await;
    let names = in_bucket(0, 3);
    world.append(&lane(0), &[overdue(1, &names), overdue(2, &names)]).await;
    let named = world.overdue(&[]).await;
    assert_eq!(named.len(), 6);
    server.freeze();
    let failed = world.mailboxes.sweep(&named).await.unwrap_err();
    assert!(matches!(failed.kind, MailboxErrorKind::Timeout | MailboxErrorKind::Unavailable), "{:?}", failed.kind);
    server.thaw();
    server.stop();
    eventually("the outage to be noticed", async || {
        world.mailboxes.sweep(&named).await.is_err_and(|error| error.kind == MailboxErrorKind::Unavailable)
    })
    .await;
    server.restart().await;
    eventually("the connection", async || world.mailboxes.sweep(&[]).await.is_ok()).await;
    // Whether the call that was not answered took effect nobody knows: it may be repeated.
    world.mailboxes.sweep(&named).await.unwrap();
    for name in &names {
        assert_eq!(world.read(name, 0).await, ["1-2 expired"]);
    }
    assert!(world.overdue(&[]).await.is_empty());
    assert_eq!(world.ask::<i64>(&["EXISTS", &world.keys.overdue_of(0)]).await, 0);
}

#[tokio::test]
async fn one_user_whose_sweep_fails_stops_no_other_and_is_named_when_it_can_be() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, MailboxBounds::default()).await;
    let names = in_bucket(0, 2);
    let (mailbox, state) = (world.keys.mailbox(&uid(&names[0])), world.keys.mailbox_state(&uid(&names[0])));
    world.append(&lane(0), &[overdue(1, &names)]).await;
    // A letter whose id is none.
    let fields = ["id", "", "kind", "3", "at", "1", "until", "1", "flags", "2", "payload", ""];
    let _: String = world.ask(&[&["XADD", &mailbox, "2-0"], &fields[..]].concat()).await;
    let _: i64 = world.ask(&["HSET", &state, "last", "2", "wanted", "2"]).await;
    let users = |named: &[Overdue]| named.iter().map(|over| over.uid.to_string()).collect::<Vec<_>>();
    let named = world.overdue(&[]).await;
    assert_eq!(users(&named), names[1..]);
    // With nothing else to be named the failure is what a sweep has to tell.
    let mut failed = world.mailboxes.sweep(&named).await.err();
    for _ in 0..1_024 {
        failed = failed.or(world.mailboxes.sweep(&[]).await.err());
    }
    assert_eq!(failed.map(|error| error.kind), Some(MailboxErrorKind::Corrupt));
    assert_eq!(world.read(&names[1], 0).await, ["1-1 expired"]);
    let _: i64 = world.ask(&["XDEL", &mailbox, "2-0"]).await;
    assert_eq!(users(&world.overdue(&[]).await), names[..1]);
}

#[tokio::test]
async fn a_full_redis_forgets_what_was_told_and_nothing_else() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, MailboxBounds::default()).await;
    let names = in_bucket(0, 2);
    world.append(&lane(0), &[overdue(1, &names), overdue(2, &names)]).await;
    let named = world.overdue(&[]).await;
    assert_eq!(named.len(), 4);
    let _: String = world.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let (told, untold): (Vec<_>, Vec<_>) = named.into_iter().partition(|over| over.offset == 1);
    assert_eq!(world.mailboxes.sweep(&told).await.unwrap(), untold, "these are named again");
    for name in &names {
        assert_eq!(world.ask::<i64>(&["XLEN", &world.keys.mailbox(&uid(name))]).await, 1);
    }
    // Told of another message than the one that is there: it stays.
    let other = Overdue { id: told[0].id.clone(), ..untold[0].clone() };
    assert_eq!(world.mailboxes.sweep(&[other]).await.unwrap()[..1], untold[..1]);
    world.mailboxes.sweep(&untold).await.unwrap();
    assert_eq!(world.ask::<i64>(&["EXISTS", &world.keys.overdue_of(0)]).await, 0);
}

#[tokio::test]
async fn groups_that_cannot_be_read_have_no_members_and_cost_no_mailbox() {
    let world = RedisWorld::new(MailboxBounds::default()).await;
    world.joins("b", "g", "temporary").await;
    world.joins("b", " until", "soon").await;
    let _: String = world.ask(&["SET", &world.keys.user_groups(&uid("a")), "x"]).await;
    let to = ["a", "b"];
    let before = world.append(&lane(0), &[post(1, &to)]).await;
    let of = |n: u64| Post { of: [tgid("g")].into(), ..post(n, &to) };
    assert_eq!(world.offsets(&lane(0), &[of(2), post(3, &to), of(1)]).await, [0, 0, 2, 2, 1, 1]);
    assert_eq!(world.append(&lane(0), &[post(1, &to)]).await, before, "it is the same mailbox");
    for name in to {
        assert_eq!(world.read(name, 0).await, ["m1@1", "m3@2"]);
    }
}

#[tokio::test]
async fn who_opened_and_who_is_on_record_both_supersede() {
    let world = RedisWorld::new(MailboxBounds::default()).await;
    world.append(&lane(0), &[post(1, &["a"]), post(2, &["a"])]).await;
    let epoch = world.opens("a", 5, Arrival::Anew).await.epoch;
    let resumes = async |fence: u64, offset: u64| {
        let arrival = Arrival::Resumes(Position { epoch, offset });
        world.mailboxes.open(&uid("a"), Fence(fence), arrival).await.unwrap()
    };
    // A record that is gone, as when the owner has released the uid, makes no former owner of any use.
    let _: i64 = world.ask(&["DEL", &world.keys.user_bucket(&uid("a"))]).await;
    assert_eq!(world.ack("a", 4, epoch, 2).await, Acked::Superseded);
    assert_eq!(resumes(4, 2).await.acked, 0);
    let beyond = resumes(4, 9).await;
    assert_eq!((beyond.epoch, beyond.is_reset), (epoch, true));
    assert_eq!(world.ack("a", 5, epoch, 1).await, Acked::Done);
    // Nor need the next owner have come to its mailbox yet.
    world.claims("a", 6).await;
    assert_eq!(world.ack("a", 5, epoch, 2).await, Acked::Superseded);
    assert_eq!(resumes(5, 2).await.acked, 1);
    assert_eq!(resumes(6, 2).await.acked, 2);
}

#[tokio::test]
async fn mailboxes_go_by_themselves_a_day_after_their_messages() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    let world = RedisWorld::new(MailboxBounds::default()).await;
    world.append(&lane(0), &[post(1, &["a"])]).await;
    world.opens("b", 1, Arrival::Anew).await;
    let left = async |key: String| world.ask::<i64>(&["PTTL", &key]).await;
    let (a, b) = (uid("a"), uid("b"));
    for key in
        [world.keys.mailbox(&a), world.keys.mailbox_ids(&a), world.keys.mailbox_state(&a), world.keys.mailbox_state(&b)]
    {
        assert!((7 * DAY_MS..=8 * DAY_MS).contains(&left(key).await));
    }
    let _: i64 = world.ask(&["PERSIST", &world.keys.mailbox(&a)]).await;
    let Opened { epoch, .. } = world.opens("a", 1, Arrival::Anew).await;
    assert!(left(world.keys.mailbox(&a)).await > 0);
    world.ack("a", 1, epoch, 1).await;
    assert_eq!(left(world.keys.mailbox(&a)).await, -2, "an empty one takes no room");
}

#[tokio::test]
async fn what_goes_for_want_of_room_is_counted() {
    let world = RedisWorld::new(MailboxBounds { messages: 2, ..MailboxBounds::default() }).await;
    let all: Vec<_> = (1..=5).map(|n| post_of(n, message(&format!("m{n}"), "{}"), &["a", "b"])).collect();
    world.append(&lane(0), &all).await;
    assert_eq!(world.mailboxes.stats().trimmed, 6);
}

#[tokio::test]
async fn an_owner_of_a_lane_that_was_frozen_appends_nothing_anew_once_a_later_one_has() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, MailboxBounds::default()).await;
    let before = LaneOrigin { term: 7, ..lane(1) };
    let after = LaneOrigin { term: 8, ..lane(100) };
    world.append(&before, &[post(1, &["a"])]).await;
    // The later owner goes on, all is acknowledged, and the ids below its low water are forgotten.
    let later: Vec<_> = (100..=140).map(|n| post(n, &["a"])).collect();
    world.append(&after, &later).await;
    let epoch = world.opens("a", 1, Arrival::Anew).await.epoch;
    assert_eq!(world.ack("a", 1, epoch, 42).await, Acked::Done);
    let refused = world.mailboxes.append(&before, &[post(1, &["a"])]).await.unwrap_err();
    assert_eq!(refused.kind, MailboxErrorKind::Stale, "{:?}", refused.source);
    assert!(world.read("a", 0).await.is_empty());
    // Of another lane it knows nothing.
    assert_eq!(world.offsets(&LaneOrigin { lane: 9, ..before }, &[post(1, &["a"])]).await, [43]);
}
