//! One connection per uid, whatever happens at once.

use gim_proto::Uid;
use gim_proxy_sdk::directory::OnDuplicate;
use gim_proxy_sdk::{Outcome, RunProxy};
use serde_json::json;

use super::fates::{Fate, connect_at_once, fates};
use crate::support::client::Client;
use crate::support::node::TestNode;
use crate::support::{eventually, http, within};

const MANY: usize = 200;

async fn node(policy: OnDuplicate) -> TestNode {
    TestNode::start_with(|config| config.session.on_duplicate = policy).await
}

/// Two hundred at once, then a marker; returns what became of each, and how many were told to try again.
async fn contest(node: &TestNode) -> (Vec<Fate>, usize) {
    let (clients, refused) = connect_at_once(node.public, "u", MANY).await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "marker": true } })).await;
    (fates(clients).await, refused)
}

/// The one owner is the one the directory names, and it still receives.
async fn still_receives(node: &TestNode, mut owner: Client, fence: u64) {
    let (_, user) = http::get(node.admin, "/api/v1/users/u").await;
    assert_eq!((&user["online"], &user["fence"]), (&json!(true), &json!(fence)), "{user}");
    let sent = node.node.proxy().send_res_data_to_user(&Uid::parse("u").unwrap(), &json!({ "n": 1 })).await.unwrap();
    assert_eq!(sent.outcome, Outcome::Offered);
    owner.expect_body(json!({ "n": 1 })).await;
    owner.join("g").await;
    http::push(node.admin, &json!({ "tgid": "g", "data": { "n": 2 } })).await;
    owner.expect_body(json!({ "n": 2 })).await;
    owner.expect_silence().await;
    let (_, sysinfo) = http::get(node.admin, "/sysinfo").await;
    assert_eq!(sysinfo["managerInfo"]["clientsLen"], 1, "{sysinfo}");
}

fn take_owner(fates: &mut [Fate]) -> Option<(Client, u64)> {
    let mut owners = fates.iter_mut().filter_map(|fate| Some((fate.owner.take()?, fate.fence?)));
    let owner = owners.next();
    assert!(owners.next().is_none(), "two owners");
    owner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_the_last_claim_owns_the_uid_under_replace() {
    let node = node(OnDuplicate::Replace).await;
    let (mut fates, refused) = contest(&node).await;
    assert_eq!(refused, 0);
    let (owner, fence) = take_owner(&mut fates).expect("an owner");
    assert_eq!(Some(fence), fates.iter().filter_map(|fate| fate.fence).max(), "the owner has the highest fence");
    let mut fences: Vec<u64> = fates.iter().filter_map(|fate| fate.fence).collect();
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), MANY, "each claim has a fence of its own and a welcome that tells it");
    let replaced = fates.iter().filter(|fate| fate.close == Some(4501) && fate.notice == Some(4501)).count();
    assert_eq!(replaced, MANY - 1);
    still_receives(&node, owner, fence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_the_first_claim_owns_the_uid_under_reject() {
    let node = node(OnDuplicate::Reject).await;
    let (mut fates, refused) = contest(&node).await;
    assert_eq!(refused, 0);
    let (owner, fence) = take_owner(&mut fates).expect("an owner");
    assert_eq!(fates.iter().filter(|fate| fate.fence.is_some()).count(), 1, "one welcome");
    let rejected = fates.iter().filter(|fate| fate.close == Some(4504) && fate.notice == Some(4504)).count();
    assert_eq!(rejected, MANY - 1);
    still_receives(&node, owner, fence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_at_most_one_is_left_under_close_both() {
    let node = node(OnDuplicate::CloseBoth).await;
    let (mut fates, refused) = contest(&node).await;
    let owner = take_owner(&mut fates);
    let left = usize::from(owner.is_some());
    let closed = fates.iter().filter(|fate| fate.close == Some(4504) && fate.notice == Some(4504)).count();
    assert_eq!(closed, MANY - left - refused);
    let (owner, fence) = match owner {
        Some(owner) => owner,
        None => {
            // Both of the last pair went, as the policy asks: the next to come is served.
            let (_, user) = http::get(node.admin, "/api/v1/users/u").await;
            assert_eq!(user["online"], false, "a record without a session: {user}");
            let client = Client::user(node.public, "u").await;
            let fence = client.fence();
            (client, fence)
        }
    };
    still_receives(&node, owner, fence).await;
}

#[tokio::test]
async fn the_fence_rises_with_every_login_also_after_a_pause() {
    let node = node(OnDuplicate::Replace).await;
    let mut last = 0;
    for round in 0..20 {
        let client = Client::user(node.public, "u").await;
        assert!(client.fence() > last, "{} after {last}", client.fence());
        last = client.fence();
        if round % 2 == 0 {
            client.close().await;
        }
    }
}

#[tokio::test]
async fn under_reject_the_uid_is_free_once_its_owner_left() {
    let node = node(OnDuplicate::Reject).await;
    let owner = Client::user(node.public, "u").await;
    Client::open(node.public, "/ws?uid=u").await.expect_close(4504).await;
    owner.close().await;
    let mut next = eventually("the uid to be free", || async {
        let mut client = Client::try_open(node.public, "/ws?uid=u&msg_code=1").await.ok()?;
        (client.json().await["cmd"] == "gim.welcome").then_some(client)
    })
    .await;
    next.expect_silence().await;
}

#[tokio::test]
async fn the_policies_know_users_apart() {
    for policy in [OnDuplicate::Replace, OnDuplicate::Reject, OnDuplicate::CloseBoth] {
        let node = node(policy).await;
        let mut clients = Vec::new();
        for number in 0..20 {
            clients.push(Client::user(node.public, &format!("u{number}")).await);
        }
        for client in &mut clients {
            client.expect_silence().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_during_a_takeover_reaches_one_of_the_two_sessions_or_none_but_never_both() {
    let node = node(OnDuplicate::Replace).await;
    let mut older = Client::user(node.public, "u").await;
    for round in 0..30 {
        let body = json!({ "round": round });
        let posting = tokio::spawn({
            let (admin, message) = (node.admin, json!({ "to_uid": "u", "data": body }));
            async move {
                http::push(admin, &message).await;
                http::settled(admin).await;
            }
        });
        let mut newer = Client::user(node.public, "u").await;
        posting.await.unwrap();
        let mut seen = 0;
        let frame = older.json().await;
        if frame["response"]["a"] == body {
            seen += 1;
            older.expect_close(4501).await;
        } else {
            assert_eq!(frame["response"]["a"]["code"], 4501, "{frame}");
        }
        newer.command("probe", "gim.ping", json!({})).await;
        let frame = newer.json().await;
        if frame["response"]["a"] == body {
            seen += 1;
            newer.expect_reply("probe").await;
        }
        assert!(seen <= 1, "round {round}: both saw it");
        older = newer;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_offered_while_a_client_still_shakes_hands_reaches_it() {
    let node = node(OnDuplicate::Replace).await;
    let proxy = node.node.proxy();
    for round in 0..50 {
        let name = format!("u{round}");
        let uid = Uid::parse(&name).unwrap();
        let connecting = tokio::spawn(async move { Client::user(node.public, &name).await });
        let body = json!({ "round": round });
        within("the user to be online", async {
            while proxy.send_res_data_to_user(&uid, &body).await.unwrap().outcome != Outcome::Offered {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let mut client = connecting.await.unwrap();
        client.expect_body(body).await;
        client.expect_silence().await;
    }
}
