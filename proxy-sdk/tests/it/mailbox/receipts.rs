//! What every mailbox does about messages that somebody wants receipts of: none leaves before that could be told.

use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::mailbox::{Acked, Arrival, MailboxBounds, Opened, Position, Post};

use super::world::{World, lane, message, post, post_of, promises};

promises! {
    what_goes_for_want_of_room_is_named_also_by_a_repeat,
    of_many_users_each_is_named_with_what_went,
    whoever_resumes_over_it_acknowledges_nothing_yet,
    what_is_named_is_not_acknowledged_and_of_this_epoch,
    what_is_overdue_is_named_until_it_was_told,
    a_page_names_what_is_over,
}

fn small(messages: usize) -> MailboxBounds {
    MailboxBounds { messages, ..MailboxBounds::default() }
}

/// The message `m<n>` of which receipts are wanted.
fn asks(n: u64, to: &[&str]) -> Post {
    post_of(n, Message { receipt: true, ..message(&format!("m{n}"), "{}") }, to)
}

/// And whose time is over.
fn over(n: u64, to: &[&str]) -> Post {
    let message = Message { receipt: true, expires_ms: Some(1), ..message(&format!("m{n}"), "{}") };
    post_of(n, message, to)
}

async fn what_goes_for_want_of_room_is_named_also_by_a_repeat<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(small(3)).await;
    assert!(world.trims(&lane(0), &[asks(1, &["a"]), post(2, &["a"]), asks(3, &["a"])]).await.is_empty());
    let last = [post(4, &["a"]), post(5, &["a"]), asks(6, &["a"])];
    assert_eq!(world.trims(&lane(0), &last).await, ["a:m1", "a:m3"]);
    assert_eq!(world.trims(&lane(0), &last).await, ["a:m1", "a:m3"], "whoever died before it was told comes again");
    assert_eq!(world.trims(&lane(0), &last[2..]).await, ["a:m3"], "each with what it had to make room for");
    assert!(world.trims(&lane(0), &[asks(1, &["a"])]).await.is_empty(), "it is known, and had room");
    assert_eq!(world.read("a", 3).await, ["m4@4", "m5@5", "m6@6"]);
    // Forgotten with the ids: such an entry does not come again.
    for n in 7..60 {
        world.trims(&lane(n), &[post(n, &["a"])]).await;
    }
    assert!(world.trims(&lane(59), &[post(59, &["a"])]).await.is_empty());
}

async fn of_many_users_each_is_named_with_what_went<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(small(1)).await;
    let names: Vec<String> = (0..200).map(|user| format!("u{user}")).collect();
    let to: Vec<&str> = names.iter().map(String::as_str).collect();
    world.append(&lane(0), &[asks(1, &to[..100]), post(2, &to[100..])]).await;
    let mut named = world.trims(&lane(0), &[post(3, &to)]).await;
    named.sort();
    let mut expected: Vec<String> = to[..100].iter().map(|name| format!("{name}:m1")).collect();
    expected.sort();
    assert_eq!(named, expected);
}

async fn whoever_resumes_over_it_acknowledges_nothing_yet<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.append(&lane(0), &[post(1, &["a"]), asks(2, &["a"]), post(3, &["a"]), asks(4, &["a"])]).await;
    let first = world.opens("a", 1, Arrival::Anew).await;
    let at = |offset| Position { epoch: first.epoch, offset };
    let before = Opened { acked: 1, ..first };
    assert_eq!(world.opens("a", 2, Arrival::Resumes(at(1))).await, before, "nobody asks after that");
    assert_eq!(world.opens("a", 3, Arrival::Resumes(at(3))).await, before);
    assert_eq!(world.wanted("a", first.epoch, 3).await, ["m2@2"]);
    assert_eq!(world.ack("a", 3, first.epoch, 3).await, Acked::Done);
    assert!(world.wanted("a", first.epoch, 3).await.is_empty());
    assert_eq!(world.opens("a", 4, Arrival::Resumes(at(3))).await, Opened { acked: 3, ..first });
    assert_eq!(world.wanted("a", first.epoch, 4).await, ["m4@4"]);
}

async fn what_is_named_is_not_acknowledged_and_of_this_epoch<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    assert!(world.wanted("a", 0, 9).await.is_empty(), "there is no mailbox");
    world.append(&lane(0), &[asks(1, &["a"]), over(2, &["a"]), post(3, &["a"])]).await;
    let epoch = world.opens("a", 1, Arrival::Anew).await.epoch;
    assert_eq!(world.wanted("a", epoch, 9).await, ["m1@1", "m2@2!"]);
    assert!(world.wanted("a", epoch + 1, 9).await.is_empty());
    assert_eq!(world.ack("a", 1, epoch, 1).await, Acked::Done);
    assert_eq!(world.wanted("a", epoch, 9).await, ["m2@2!"]);
    let many: Vec<Post> = (4..400).map(|n| asks(n, &["a"])).collect();
    world.append(&lane(0), &many).await;
    assert_eq!(world.wanted("a", epoch, 999).await.len(), 250, "the first of them");
}

async fn what_is_overdue_is_named_until_it_was_told<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    world.append(&lane(0), &[asks(1, &["a"]), over(2, &["a"]), post(3, &["a"]), over(4, &["a"])]).await;
    let overdue = world.overdue(&[]).await;
    let named: Vec<(&str, u64, &str)> =
        overdue.iter().map(|over| (over.uid.as_str(), over.offset, over.id.as_str())).collect();
    assert_eq!(named, [("a", 2, "m2"), ("a", 4, "m4")]);
    assert_eq!(world.overdue(&[]).await, overdue, "nobody has told it");
    assert!(world.overdue(&overdue).await.is_empty());
    assert_eq!(world.read("a", 0).await, ["m1@1", "2-2 expired", "m3@3", "4-4 expired"]);
    let epoch = world.opens("a", 1, Arrival::Anew).await.epoch;
    assert_eq!(world.wanted("a", epoch, 9).await, ["m1@1"]);
    assert_eq!(world.offsets(&lane(0), &[over(2, &["a"])]).await, [2], "it stays known");
    assert!(world.mailboxes().sweep(&overdue).await.unwrap().is_empty(), "what is gone is gone");
}

async fn a_page_names_what_is_over<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let plain = post_of(3, Message { expires_ms: Some(1), ..message("m3", "{}") }, &["a"]);
    // An id may be a number.
    let number = post_of(4, Message { receipt: true, expires_ms: Some(1), ..message("3", "{}") }, &["a"]);
    world.append(&lane(0), &[post(1, &["a"]), over(2, &["a"]), plain, number, asks(5, &["a"])]).await;
    let page = world.page("a", 0, 10, 10_000).await;
    let named: Vec<(u64, &str)> = page.over.iter().map(|(offset, id)| (*offset, id.as_str())).collect();
    assert_eq!(named, [(2, "m2"), (4, "3")]);
    assert_eq!(world.read("a", 0).await, ["m1@1", "2-4 expired", "m5@5"]);
}
