//! Last values for newcomers, by every adapter.

use std::sync::Arc;

use gim_proto::Class;
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::mailbox::{MailboxBounds, Scope, Value};

use super::world::{World, entry, message, promises, tgid, uid};

promises! {
    the_last_value_of_each_key_is_kept_oldest_first,
    a_lower_entry_changes_nothing,
    a_value_for_several_is_kept_for_each,
    at_the_bound_of_keys_the_one_not_written_for_longest_goes,
    a_value_whose_time_has_passed_is_not_shown,
    a_value_reads_as_it_was_written,
}

fn latest(key: &str, id: &str) -> Message {
    Message { class: Class::Latest, key: Some(key.into()), ..message(id, "{\"a\":\"b\\n c\"}") }
}

fn value(ms: u64, message: Message, scopes: &[Scope]) -> Value {
    Value { entry: entry(ms), message: Arc::new(message), scopes: scopes.to_vec() }
}

fn of(name: &str) -> Scope {
    Scope::User(uid(name))
}

async fn kept(world: &impl World, scope: &Scope) -> Vec<String> {
    world.mailboxes().kept(scope).await.unwrap().iter().map(|message| message.id.to_string()).collect()
}

async fn keep(world: &impl World, values: &[Value]) {
    world.mailboxes().keep(values).await.unwrap();
}

async fn the_last_value_of_each_key_is_kept_oldest_first<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    assert!(kept(&world, &of("a")).await.is_empty());
    let to = [of("a")];
    keep(&world, &[value(1, latest("k1", "m1"), &to), value(2, latest("k 2", "m2"), &to)]).await;
    keep(&world, &[value(3, latest("message", "m3"), &to), value(4, latest("k1", "m4"), &to)]).await;
    assert_eq!(kept(&world, &of("a")).await, ["m2", "m3", "m4"]);
    assert!(kept(&world, &of("b")).await.is_empty());
    keep(&world, &[]).await;
}

async fn a_lower_entry_changes_nothing<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let to = [of("a")];
    keep(&world, &[value(9, latest("k1", "m9"), &to), value(10, latest("k2", "m10"), &to)]).await;
    keep(&world, &[value(8, latest("k1", "m8"), &to), value(2, latest("k2", "m2"), &to)]).await;
    assert_eq!(kept(&world, &of("a")).await, ["m9", "m10"]);
}

async fn a_value_for_several_is_kept_for_each<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let scopes: Vec<Scope> =
        (0..200).map(|n| if n % 2 == 0 { of(&format!("{n}")) } else { Scope::Group(tgid(&format!("{n}"))) }).collect();
    keep(&world, &[value(1, latest("k", "m1"), &scopes)]).await;
    for scope in &scopes {
        assert_eq!(kept(&world, scope).await, ["m1"]);
    }
    assert!(kept(&world, &of("1")).await.is_empty(), "that is a group's");
}

async fn at_the_bound_of_keys_the_one_not_written_for_longest_goes<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds { latest_keys: 3, ..MailboxBounds::default() }).await;
    for (ms, key) in ["k1", "k2", "k3", "k1", "k4", "k5"].iter().enumerate() {
        keep(&world, &[value(ms as u64, latest(key, &format!("{key}-{ms}")), &[of("a")])]).await;
    }
    assert_eq!(kept(&world, &of("a")).await, ["k1-3", "k4-4", "k5-5"]);
}

async fn a_value_whose_time_has_passed_is_not_shown<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let with = |id: &str, expires_ms| Message { expires_ms: Some(expires_ms), ..latest(id, id) };
    keep(&world, &[value(1, with("m1", 1), &[of("a")]), value(2, with("m2", 1 << 52), &[of("a")])]).await;
    assert_eq!(kept(&world, &of("a")).await, ["m2"]);
}

async fn a_value_reads_as_it_was_written<W: World>(make: impl AsyncFn(MailboxBounds) -> W) {
    let world = make(MailboxBounds::default()).await;
    let written =
        Message { except: vec![uid("x"), uid("y")], expires_ms: Some(1 << 52), receipt: true, ..latest("k", "m1") };
    keep(&world, &[value(1, written.clone(), &[of("a")])]).await;
    let read = world.mailboxes().kept(&of("a")).await.unwrap().remove(0);
    assert_eq!(
        (&read.id, read.class, &read.key, &read.payload),
        (&written.id, written.class, &written.key, &written.payload)
    );
    assert_eq!(
        (&read.except, read.expires_ms, read.receipt, read.traced),
        (&written.except, written.expires_ms, true, false)
    );
}
