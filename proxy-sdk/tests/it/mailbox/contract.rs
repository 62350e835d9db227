//! What every mailbox promises: each sentence is tried on those in memory, on those in Redis and on those in a Redis
//! Cluster, where a script that touched two slots would fail.

use std::time::Duration;

use bytes::Bytes;
use gim_proto::frame::MsgType;
use gim_proto::{MessageId, Payload};
use gim_proxy_sdk::delivery::{LaneOrigin, Message};
use gim_proxy_sdk::mailbox::{Acked, Appended, Arrival, Item, MailboxBounds, Opened, Page, Position, Post};

use super::world::{World, lane, message, post, post_of, promises, tgid, uid};

promises! {
    messages_are_numbered_per_mailbox_in_their_order,
    one_message_reaches_users_of_all_buckets,
    a_message_that_comes_again_keeps_its_number,
    an_id_of_another_entry_or_lane_is_another_message,
    a_repeat_is_known_also_once_its_user_has_left_the_group,
    ids_below_the_low_water_are_forgotten_and_no_others,
    a_message_reads_as_it_was_written,
    a_mailbox_of_nobody_reads_as_none,
    at_the_bound_of_messages_the_oldest_go,
    at_the_bound_of_bytes_the_oldest_go_and_one_stays,
    what_was_acknowledged_leaves_its_room,
    what_has_passed_its_time_is_a_gap,
    only_members_of_the_groups_named_get_it,
    a_page_ends_at_its_bounds_and_has_one_message_at_least,
    whoever_comes_anew_begins_behind_the_last_acknowledgement,
    whoever_resumes_acknowledges_and_whoever_survives_does_not,
    what_a_client_has_of_another_epoch_is_of_no_use,
    where_somebody_saw_more_the_epoch_rises,
    a_superseded_session_acknowledges_nothing,
    what_never_was_is_not_acknowledged,
    a_message_taken_back_is_a_gap_and_does_not_come_again,
    a_message_whose_id_is_forgotten_can_be_taken_back,
    of_several_with_one_id_the_last_is_taken_back_and_none_comes_again,
}

fn small(messages: usize, bytes: usize) -> MailboxBounds {
    MailboxBounds { messages, bytes, ..MailboxBounds::default() }
}

fn posts(numbers: std::ops::RangeInclusive<u64>, to: &[&str]) -> Vec<Post> {
    numbers.map(|n| post(n, to)).collect()
}

async fn messages_are_numbered_per_mailbox_in_their_order<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(small(10_000, 64 << 20)).await;
    // More for one user than one call takes.
    let mut all = posts(1..=600, &["a"]);
    all.extend([
        post(601, &["b", "a"]),
        post(602, &["b"]),
        post_of(603, message("m603", &"x".repeat(3 << 20)), &["a"]),
    ]);
    let mut expected: Vec<u64> = (1..=600).collect();
    expected.extend([1, 601, 2, 602]);
    assert_eq!(world.offsets(&lane(0), &all).await, expected);
    let read: Vec<String> = (1..=601).map(|n| format!("m{n}@{n}")).chain(["m603@602".into()]).collect();
    assert_eq!(world.read("a", 0).await, read);
    assert_eq!(world.read("b", 0).await, ["m601@1", "m602@2"]);
    assert!(world.append(&lane(0), &[]).await.is_empty());
}

async fn one_message_reaches_users_of_all_buckets<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let names: Vec<String> = (0..3_000).map(|user| format!("u{user}")).collect();
    let to: Vec<&str> = names.iter().map(String::as_str).collect();
    let payload = "x".repeat(1_000);
    for n in 1..=2 {
        let appended = world.append(&lane(0), &[post_of(n, message(&format!("m{n}"), &payload), &to)]).await;
        assert_eq!(appended.first().unwrap().len(), to.len());
        let is_there = |one: &Appended| matches!(one, Appended::Stored(at) if at.offset == n && at.epoch > 0);
        assert!(appended.iter().flatten().all(is_there));
    }
    assert_eq!(world.read("u2999", 0).await, ["m1@1", "m2@2"]);
}

async fn a_message_that_comes_again_keeps_its_number<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let all = posts(1..=3, &["a"]);
    let first = world.append(&lane(0), &all).await;
    assert_eq!(world.append(&lane(0), &all[1..]).await, first[1..]);
    let Appended::Stored(at) = first[1][0] else { panic!("it is there") };
    world.opens("a", 1, Arrival::Resumes(at)).await;
    assert_eq!(world.append(&lane(1), &all).await, first, "also once it is acknowledged");
    assert_eq!(world.read("a", 0).await, ["m3@3"]);
}

async fn an_id_of_another_entry_or_lane_is_another_message<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let again = |n: u64| post_of(n, message("same", "{}"), &["a"]);
    assert_eq!(world.offsets(&lane(0), &[again(1), again(2), again(1), again(2)]).await, [1, 2, 1, 2]);
    let other = LaneOrigin { lane: 4, ..lane(0) };
    assert_eq!(world.offsets(&other, &[again(2), again(2)]).await, [3, 3]);
    assert_eq!(world.offsets(&lane(0), &[again(2), again(1)]).await, [2, 1], "the later have not undone the earlier");
    let epoch = world.opens("a", 1, Arrival::Anew).await.epoch;
    assert_eq!(world.ack("a", 1, epoch, 3).await, Acked::Done);
    assert_eq!(world.offsets(&lane(0), &[again(1), again(2)]).await, [1, 2], "also once they are acknowledged");
    assert_eq!(world.offsets(&other, &[again(2), again(1)]).await, [3, 4]);
    // Those of lane 3 below its low water are forgotten, the others under the same id are not.
    world.offsets(&LaneOrigin { low_water: None, ..lane(0) }, &posts(10..=100, &["a"])).await;
    assert_eq!(world.offsets(&lane(2), &posts(101..=101, &["a"])).await, [96]);
    assert_eq!(world.offsets(&lane(2), &[again(2), again(1)]).await, [2, 97]);
    assert_eq!(world.offsets(&other, &[again(2), again(1)]).await, [3, 4]);
}

async fn a_repeat_is_known_also_once_its_user_has_left_the_group<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.joins("a", "g", "durable").await;
    let of = |n: u64| Post { of: [tgid("g")].into(), ..post(n, &["a"]) };
    let first = world.append(&lane(0), &[of(1)]).await;
    world.leaves("a", "g").await;
    assert_eq!(world.append(&lane(0), &[of(1)]).await, first, "it is there");
    assert_eq!(world.offsets(&lane(0), &[of(2), of(1)]).await, [0, 1]);
    let epoch = world.opens("a", 1, Arrival::Anew).await.epoch;
    assert_eq!(world.ack("a", 1, epoch, 1).await, Acked::Done);
    assert_eq!(world.append(&lane(0), &[of(1)]).await, first, "it was, and is acknowledged");
    assert_eq!(world.offsets(&LaneOrigin { lane: 4, ..lane(0) }, &[of(1)]).await, [0], "that is another message");
    assert!(world.read("a", 0).await.is_empty());
}

async fn ids_below_the_low_water_are_forgotten_and_no_others<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let other = LaneOrigin { lane: 4, ..lane(0) };
    world.offsets(&other, &[post_of(5, message("other", "{}"), &["a"])]).await;
    let without = LaneOrigin { low_water: None, ..lane(0) };
    world.offsets(&without, &posts(1..=100, &["a"])).await;
    assert_eq!(world.offsets(&without, &posts(1..=1, &["a"])).await, [2], "nothing is forgotten without a low water");
    assert_eq!(world.offsets(&lane(90), &posts(101..=101, &["a"])).await, [102]);
    assert_eq!(world.offsets(&lane(90), &posts(90..=101, &["a"])).await, (91..=102).collect::<Vec<_>>());
    assert_eq!(world.offsets(&lane(90), &posts(89..=89, &["a"])).await, [103], "it was forgotten");
    assert_eq!(world.offsets(&other, &[post_of(5, message("other", "{}"), &["a"])]).await, [1], "that is another lane");
}

async fn a_message_reads_as_it_was_written<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let payload = Payload::Raw(Bytes::from_static(b"\0\xff\r\n\"message\" \x80"));
    let plain = message("plain", "{}");
    let rich =
        Message { payload, expires_ms: Some((1 << 53) - 1), receipt: true, traced: true, ..message("a.b:c_d-e", "") };
    let group = Post { kind: MsgType::Group, ..post_of(2, rich.clone(), &["message"]) };
    world.append(&lane(0), &[post_of(1, plain.clone(), &["message"]), group]).await;
    let page = world.page("message", 0, 10, 10_000).await;
    let [Item::Letter { kind: first, message: one, .. }, Item::Letter { kind: second, message: two, .. }] =
        page.items.as_slice()
    else {
        panic!("two letters: {page:?}")
    };
    assert_eq!((*first, *second), (MsgType::User, MsgType::Group));
    for (read, written) in [(one, &plain), (two, &rich)] {
        assert_eq!((&read.id, read.class, &read.payload), (&written.id, written.class, &written.payload));
        assert_eq!((read.expires_ms, read.receipt, read.traced), (written.expires_ms, written.receipt, written.traced));
    }
}

async fn a_mailbox_of_nobody_reads_as_none<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let Page { epoch, last, items, .. } = world.page("a", 0, 10, 10_000).await;
    assert_eq!((epoch, last, items.len()), (0, 0, 0));
    assert_eq!(world.ack("a", 1, 0, 0).await, Acked::Unknown);
    assert!(!world.mailboxes().cancel(&uid("a"), &MessageId::parse("m1").unwrap()).await.unwrap());
    let opened = world.opens("a", 1, Arrival::Anew).await;
    assert_eq!((opened.last, opened.acked, opened.is_reset), (0, 0, false));
    assert!(opened.epoch > 1_600_000_000_000_000 && opened.epoch < 1 << 53);
    assert_eq!(world.opens("a", 2, Arrival::Anew).await, opened, "it is the same one from then on");
}

async fn at_the_bound_of_messages_the_oldest_go<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(small(3, 1 << 20)).await;
    assert_eq!(world.offsets(&lane(0), &posts(1..=5, &["a"])).await, [1, 2, 3, 4, 5]);
    assert_eq!(world.read("a", 0).await, ["1-2 trimmed", "m3@3", "m4@4", "m5@5"]);
    assert_eq!(world.read("a", 1).await, ["2-2 trimmed", "m3@3", "m4@4", "m5@5"]);
    assert_eq!(world.read("a", 4).await, ["m5@5"]);
}

async fn at_the_bound_of_bytes_the_oldest_go_and_one_stays<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(small(100, 100)).await;
    let of = |n: u64, bytes: usize| post_of(n, message(&format!("m{n}"), &"x".repeat(bytes)), &["a"]);
    world.append(&lane(0), &[of(1, 40), of(2, 40), of(3, 20)]).await;
    assert_eq!(world.read("a", 0).await, ["m1@1", "m2@2", "m3@3"]);
    world.append(&lane(0), &[of(4, 1)]).await;
    assert_eq!(world.read("a", 0).await, ["1-1 trimmed", "m2@2", "m3@3", "m4@4"]);
    world.append(&lane(0), &[of(5, 101)]).await;
    assert_eq!(world.read("a", 0).await, ["1-4 trimmed", "m5@5"]);
}

async fn what_was_acknowledged_leaves_its_room<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(small(100, 100)).await;
    let of = |n: u64, bytes: usize| post_of(n, message(&format!("m{n}"), &"x".repeat(bytes)), &["a"]);
    let Opened { epoch, .. } = world.opens("a", 1, Arrival::Anew).await;
    world.append(&lane(0), &[of(1, 30), of(2, 30), of(3, 30)]).await;
    assert_eq!(world.ack("a", 1, epoch, 1).await, Acked::Done);
    assert_eq!(world.ack("a", 1, epoch, 1).await, Acked::Done);
    world.append(&lane(0), &[of(4, 40)]).await;
    assert_eq!(world.read("a", 0).await, ["m2@2", "m3@3", "m4@4"]);
    assert_eq!(world.ack("a", 1, epoch, 4).await, Acked::Done);
    world.append(&lane(0), &[of(5, 50), of(6, 50)]).await;
    assert_eq!(world.read("a", 0).await, ["m5@5", "m6@6"]);
}

async fn what_has_passed_its_time_is_a_gap<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(small(4, 1 << 20)).await;
    let over = |n: u64| post_of(n, Message { expires_ms: Some(1), ..message(&format!("m{n}"), "{}") }, &["a"]);
    world.append(&lane(0), &[post(1, &["a"]), post(2, &["a"]), over(3), over(4), post(5, &["a"]), over(6)]).await;
    assert_eq!(world.read("a", 0).await, ["1-2 trimmed", "3-4 expired", "m5@5", "6-6 expired"]);
    let ages = make(MailboxBounds { age: Duration::ZERO, ..MailboxBounds::default() }).await;
    ages.append(&lane(0), &posts(1..=40, &["a"])).await;
    assert_eq!(ages.read("a", 0).await, ["1-40 expired"]);
}

async fn only_members_of_the_groups_named_get_it<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.joins("a", "g1", "temporary").await;
    world.joins("b", "g2", "durable").await;
    let of = |n: u64, groups: &[&str]| Post {
        of: groups.iter().map(|group| tgid(group)).collect(),
        ..post(n, &["a", "b", "c"])
    };
    assert_eq!(world.offsets(&lane(0), &[of(1, &["g1"]), of(2, &["g0", "g2"])]).await, [1, 0, 0, 0, 1, 0]);
    assert_eq!(world.offsets(&lane(0), &[of(3, &["g1", "g2"]), of(4, &[])]).await, [2, 2, 0, 3, 3, 1]);
    assert_eq!(world.read("c", 0).await, ["m4@1"]);
}

async fn a_page_ends_at_its_bounds_and_has_one_message_at_least<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let of = |n: u64| post_of(n, message(&format!("m{n}"), &"x".repeat(10)), &["a"]);
    world.append(&lane(0), &(1..=50).map(of).collect::<Vec<_>>()).await;
    let page = async |after, messages, bytes| super::world::shown(&world.page("a", after, messages, bytes).await);
    assert_eq!(page(0, 2, 1_000).await, ["m1@1", "m2@2"]);
    assert_eq!(page(2, 10, 39).await, ["m3@3", "m4@4", "m5@5"]);
    assert_eq!(page(0, 10, 1).await, ["m1@1"]);
    assert_eq!(page(49, 10, 1).await, ["m50@50"]);
    assert!(page(50, 10, 1_000).await.is_empty());
    assert!(page(u64::MAX, 10, 1_000).await.is_empty());
    assert_eq!(page(0, 40, 1_000).await.len(), 40, "more than is looked at in one go");
}

async fn whoever_comes_anew_begins_behind_the_last_acknowledgement<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.append(&lane(0), &posts(1..=3, &["a"])).await;
    let first = world.opens("a", 1, Arrival::Anew).await;
    assert_eq!((first.last, first.acked), (3, 0));
    assert_eq!(world.ack("a", 1, first.epoch, 2).await, Acked::Done);
    let second = world.opens("a", 2, Arrival::Anew).await;
    assert_eq!(second, Opened { acked: 2, ..first });
    assert_eq!(world.read("a", 0).await, ["m3@3"], "what is acknowledged is gone, without a gap");
}

async fn whoever_resumes_acknowledges_and_whoever_survives_does_not<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.append(&lane(0), &posts(1..=3, &["a"])).await;
    let first = world.opens("a", 1, Arrival::Anew).await;
    let at = Position { epoch: first.epoch, offset: 2 };
    assert_eq!(world.opens("a", 1, Arrival::Survives(at)).await, first);
    assert_eq!(world.opens("a", 2, Arrival::Resumes(at)).await, Opened { acked: 2, ..first });
    let before = Position { offset: 1, ..at };
    assert_eq!(world.opens("a", 3, Arrival::Resumes(before)).await, Opened { acked: 2, ..first }, "it never falls");
}

async fn what_a_client_has_of_another_epoch_is_of_no_use<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.append(&lane(0), &posts(1..=3, &["a"])).await;
    let first = world.opens("a", 1, Arrival::Anew).await;
    let expected = Opened { is_reset: true, ..first };
    for epoch in [1, first.epoch + 1, u64::MAX] {
        let at = Position { epoch, offset: 2 };
        assert_eq!(world.opens("a", 2, Arrival::Resumes(at)).await, expected);
        assert_eq!(world.opens("a", 3, Arrival::Survives(at)).await, expected);
    }
    let fresh = world.opens("b", 1, Arrival::Resumes(Position { epoch: 1, offset: 7 })).await;
    assert_eq!((fresh.last, fresh.acked, fresh.is_reset), (0, 0, true));
}

async fn where_somebody_saw_more_the_epoch_rises<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.append(&lane(0), &posts(1..=3, &["a"])).await;
    let mut epoch = world.opens("a", 1, Arrival::Anew).await.epoch;
    for arrival in [Arrival::Survives, Arrival::Resumes] {
        let opened = world.opens("a", 2, arrival(Position { epoch, offset: 4 })).await;
        assert!(opened.epoch > epoch);
        assert_eq!((opened.last, opened.acked, opened.is_reset), (3, 0, true));
        assert_eq!(world.ack("a", 2, epoch, 1).await, Acked::Unknown);
        epoch = opened.epoch;
    }
    let page = world.page("a", 0, 10, 1_000).await;
    assert_eq!((page.epoch, page.items.len()), (epoch, 3), "nothing that is there is lost");
    let next = world.append(&lane(0), &[post(4, &["a"])]).await;
    assert_eq!(next, [[Appended::Stored(Position { epoch, offset: 4 })]]);
}

async fn a_superseded_session_acknowledges_nothing<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.append(&lane(0), &posts(1..=3, &["a"])).await;
    let first = world.opens("a", 5, Arrival::Anew).await;
    let at = Position { epoch: first.epoch, offset: 2 };
    for seen in [at, Position { offset: 9, ..at }] {
        let opened = world.mailboxes().open(&uid("a"), gim_proto::Fence(4), Arrival::Resumes(seen)).await.unwrap();
        assert_eq!((opened.epoch, opened.acked, opened.is_reset), (first.epoch, 0, seen.offset == 9));
    }
    assert_eq!(world.ack("a", 4, first.epoch, 2).await, Acked::Superseded);
    assert_eq!(world.read("a", 0).await.len(), 3);
    assert_eq!(world.ack("a", 5, first.epoch, 2).await, Acked::Done);
}

async fn what_never_was_is_not_acknowledged<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.append(&lane(0), &posts(1..=3, &["a"])).await;
    let Opened { epoch, .. } = world.opens("a", 1, Arrival::Anew).await;
    assert_eq!(world.ack("a", 1, epoch, 4).await, Acked::Unknown);
    assert_eq!(world.ack("a", 1, epoch - 1, 1).await, Acked::Unknown);
    assert_eq!(world.ack("a", 1, epoch, u64::MAX).await, Acked::Unknown);
    assert_eq!(world.read("a", 0).await.len(), 3);
    assert!(world.mailboxes().ack(&[]).await.unwrap().is_empty());
}

async fn a_message_taken_back_is_a_gap_and_does_not_come_again<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(small(100, 30)).await;
    let of = |n: u64| post_of(n, message(&format!("m{n}"), "0123456789"), &["a"]);
    world.append(&lane(0), &[of(1), of(2), of(3)]).await;
    let cancel = async |id: &str| world.mailboxes().cancel(&uid("a"), &MessageId::parse(id).unwrap()).await.unwrap();
    assert!(cancel("m2").await);
    assert!(!cancel("m2").await);
    assert!(!cancel("m9").await);
    assert_eq!(world.read("a", 0).await, ["m1@1", "2-2 expired", "m3@3"]);
    assert_eq!(world.offsets(&lane(0), &[of(2), of(4)]).await, [2, 4]);
    assert_eq!(world.read("a", 0).await, ["m1@1", "2-2 expired", "m3@3", "m4@4"], "its room is free again");
}

async fn a_message_whose_id_is_forgotten_can_be_taken_back<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.offsets(&lane(0), &posts(1..=40, &["a"])).await;
    world.offsets(&lane(41), &posts(41..=41, &["a"])).await;
    let cancel = async |id: &str| world.mailboxes().cancel(&uid("a"), &MessageId::parse(id).unwrap()).await.unwrap();
    assert!(cancel("m2").await && cancel("m40").await);
    assert!(!cancel("m2").await);
    assert_eq!(world.page("a", 0, 100, 10_000).await.items.len(), 41);
    assert_eq!(world.read("a", 38).await, ["m39@39", "40-40 expired", "m41@41"]);
}

async fn of_several_with_one_id_the_last_is_taken_back_and_none_comes_again<W: World>(
    make: impl AsyncFn(MailboxBounds) -> W,
) {
    let world = make(MailboxBounds::default()).await;
    let again = |n: u64| post_of(n, message("same", "{}"), &["a"]);
    let other = LaneOrigin { lane: 4, ..lane(0) };
    assert_eq!(world.offsets(&other, &[again(1)]).await, [1]);
    assert_eq!(world.offsets(&lane(0), &[again(1), post(2, &["a"]), again(3)]).await, [2, 3, 4]);
    let cancel = async || world.mailboxes().cancel(&uid("a"), &MessageId::parse("same").unwrap()).await.unwrap();
    assert!(cancel().await);
    assert_eq!(world.read("a", 0).await, ["same@1", "same@2", "m2@3", "4-4 expired"]);
    assert!(cancel().await && cancel().await && !cancel().await);
    assert_eq!(world.offsets(&lane(0), &[again(3), again(1)]).await, [4, 2]);
    assert_eq!(world.offsets(&other, &[again(1)]).await, [1]);
    assert_eq!(world.read("a", 0).await, ["1-2 expired", "m2@3", "4-4 expired"]);
}
