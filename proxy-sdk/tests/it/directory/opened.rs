//! Mailboxes that are opened with the claim.

use std::sync::Arc;

use bytes::Bytes;
use gim_proto::{Class, EntryId, Fence, MessageId, Payload, SessionId};
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::directory::redis::RedisDirectory;
use gim_proxy_sdk::directory::{Claim, ClaimRequest, Directory, DirectoryErrorKind, Found, OnDuplicate};
use gim_proxy_sdk::mailbox::{Arrival, MailboxBounds, Mailboxes, RedisMailboxes, Scope, Value};

use super::world::{RedisWorld, World, tgid, uid};

async fn opening(world: &RedisWorld) -> (Arc<RedisDirectory>, Arc<RedisMailboxes>) {
    let bounds = MailboxBounds::default();
    let directory = world.opening(bounds.kept()).await;
    let mailboxes = RedisMailboxes::beside(&directory, bounds);
    (directory, mailboxes)
}

async fn claim(world: &RedisWorld, directory: &RedisDirectory, name: &str) -> (SessionId, Fence, Option<Found>) {
    let session = SessionId::mint();
    let (node, on_duplicate) = (world.here().clone(), OnDuplicate::Replace);
    let request = ClaimRequest { uid: uid(name), node, session, on_duplicate, resume: None };
    match directory.claim_and_open(request).await.unwrap() {
        (Claim::Granted { fence, .. }, found) => (session, fence, found),
        (Claim::Taken { .. }, _) => panic!("replace is always granted"),
    }
}

fn latest(id: &str) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::parse(id).unwrap(),
        class: Class::Latest,
        key: Some("k".into()),
        payload: Payload::Json(Bytes::from_static(b"{}")),
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    })
}

async fn a_claim_finds_the_mailbox_and_the_values(world: &RedisWorld) {
    let (directory, mailboxes) = opening(world).await;
    let (_, fence, found) = claim(world, &directory, "1").await;
    let found = found.unwrap();
    assert_eq!((found.opened.last, found.opened.acked, found.opened.is_reset), (0, 0, false));
    assert!(found.values.is_empty());
    let again = mailboxes.open(&uid("1"), fence, Arrival::Anew).await.unwrap();
    assert_eq!(again, found.opened, "it is there, and the same");
    let state = world.keys.mailbox_state(&uid("1"));
    let left: i64 = world.ask(&["PTTL", &state]).await;
    assert!(left > 0, "it goes by itself");
    let stored: u64 = world.ask(&["HGET", &state, "fence"]).await;
    assert_eq!(stored, fence.0, "who was before acknowledges nothing");

    let value = Value { entry: EntryId { ms: 1, seq: 0 }, message: latest("v"), scopes: vec![Scope::User(uid("1"))] };
    mailboxes.keep(&[value]).await.unwrap();
    let (_, later, found) = claim(world, &directory, "1").await;
    let found = found.unwrap();
    assert_eq!((found.opened, later > fence), (again, true));
    assert_eq!(found.values.iter().map(|value| value.id.as_str()).collect::<Vec<_>>(), ["v"]);
}

#[tokio::test]
async fn with_the_claim_the_mailbox_and_the_last_values_are_found() {
    a_claim_finds_the_mailbox_and_the_values(&RedisWorld::new().await).await;
}

#[tokio::test]
async fn in_a_cluster_they_are_found_too() {
    a_claim_finds_the_mailbox_and_the_values(&RedisWorld::in_cluster().await).await;
}

#[tokio::test]
async fn who_comes_back_to_a_group_opens_the_mailbox_once_it_is_in_there() {
    let world = RedisWorld::new().await;
    let (directory, _) = opening(&world).await;
    assert!(directory.join_durably(&uid("2"), &tgid("a"), 10).await.unwrap());
    let (_, _, found) = claim(&world, &directory, "2").await;
    assert!(found.is_none());
    let there: bool = world.ask(&["EXISTS", &world.keys.mailbox_state(&uid("2"))]).await;
    assert!(!there, "what is sent to the group before it is back there must find it closed");
}

#[tokio::test]
async fn what_is_no_mailbox_lets_nobody_in_and_leaves_who_was_there() {
    let world = RedisWorld::new().await;
    let (directory, _) = opening(&world).await;
    let (session, ..) = claim(&world, &directory, "3").await;
    let state = world.keys.mailbox_state(&uid("3"));
    let _: i64 = world.ask(&["DEL", &state]).await;
    let _: String = world.ask(&["SET", &state, "no mailbox"]).await;
    let (node, on_duplicate) = (world.here().clone(), OnDuplicate::Replace);
    let request = ClaimRequest { uid: uid("3"), node, session: SessionId::mint(), on_duplicate, resume: None };
    let failed = directory.claim_and_open(request).await.unwrap_err();
    assert_eq!(failed.kind, DirectoryErrorKind::Corrupt);
    assert_eq!(world.owner("3").await.unwrap().session, session);
}
