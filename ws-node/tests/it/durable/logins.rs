//! What a client finds when it comes, and comes back.

use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::TargetReport;
use serde_json::json;

use super::{World, epoch, expect};
use crate::support::client::Client;
use crate::support::way::addressed;

#[tokio::test]
async fn what_came_while_a_user_was_away_comes_first_and_the_rest_follows() {
    let world = World::new().await;
    world.store("a", 1..=250).await;
    let (mut client, to) = world.connect("a").await;
    assert!(epoch(&client) > 0, "{}", client.welcome);
    assert_eq!(client.welcome["offset"], 250);
    world.push("a", &to, 251).await;
    world.push("a", &to, 252).await;
    expect(&mut client, 1, 1..=252).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn an_empty_mailbox_says_nothing() {
    let world = World::new().await;
    let (mut client, to) = world.connect("a").await;
    assert_eq!(client.welcome["offset"], 0);
    client.expect_silence().await;
    world.push("a", &to, 1).await;
    expect(&mut client, 1, [1]).await;
}

#[tokio::test]
async fn who_resumes_acknowledges_what_it_has_and_gets_the_rest() {
    let world = World::new().await;
    world.store("a", 1..=5).await;
    let (client, _) = world.connect("a").await;
    let epoch = epoch(&client);
    client.close().await;
    let mut resumed = world.resume("a", epoch, 3).await;
    assert_eq!((&resumed.welcome["epoch"], &resumed.welcome["offset"]), (&json!(epoch), &json!(5)));
    expect(&mut resumed, 4, [4, 5]).await;
    resumed.close().await;
    // It was an acknowledgement: who comes without saying anything begins behind it.
    let (mut anew, _) = world.connect("a").await;
    expect(&mut anew, 4, [4, 5]).await;
    anew.expect_silence().await;
    anew.close().await;
    let mut all = world.resume("a", epoch, 5).await;
    all.expect_silence().await;
}

#[tokio::test]
async fn who_resumes_from_what_the_mailbox_does_not_know_gets_a_reset_and_everything() {
    let world = World::new().await;
    world.store("a", 1..=3).await;
    let (client, _) = world.connect("a").await;
    let known = epoch(&client);
    client.close().await;
    let mut other = world.resume("a", known - 1, 2).await;
    let gap = other.expect_notice("gim.gap").await;
    assert_eq!(gap, json!({ "from": 1, "to": 3, "reason": "reset", "epoch": known }));
    expect(&mut other, 1, 1..=3).await;
    other.close().await;
    // Above what it ever had: something was lost, and the epoch rises.
    let mut beyond = world.resume("a", known, 9).await;
    let new = epoch(&beyond);
    assert!(new > known);
    let gap = beyond.expect_notice("gim.gap").await;
    assert_eq!(gap, json!({ "from": 1, "to": 3, "reason": "reset", "epoch": new }));
    expect(&mut beyond, 1, 1..=3).await;
    beyond.expect_silence().await;
}

#[tokio::test]
async fn a_place_without_an_epoch_is_none_and_one_that_is_no_number_is_refused() {
    let world = World::new().await;
    world.store("a", [1]).await;
    for path in ["offset=1", "epoch=0&offset=1", "epoch=&offset="] {
        let (mut client, _) = world.connect_by(&format!("/ws?uid=a&msg_code=1&{path}"), "a").await;
        expect(&mut client, 1, [1]).await;
        client.close().await;
    }
    for path in ["epoch=x", "epoch=-1", "epoch=1&offset=1.5", "epoch=1&offset=9007199254740992"] {
        let refused = Client::try_open(world.node.public, &format!("/ws?uid=a&{path}")).await;
        assert_eq!(refused.err(), Some(400), "{path}");
    }
}

#[tokio::test]
async fn hints_out_of_turn_repeated_and_in_one_batch_change_no_order() {
    let world = World::new().await;
    let (mut client, to) = world.connect("a").await;
    let mut sent = Vec::new();
    for n in 1..=6 {
        let message = world.message(n, |_| {});
        let at = world.append("a", &message).await;
        sent.push((message, at));
    }
    let pick = |which: &[usize]| which.iter().map(|index| (&sent[*index].0, sent[*index].1)).collect::<Vec<_>>();
    for batch in [&[1, 0][..], &[0, 1, 2], &[5, 2], &[3, 4, 5, 5]] {
        world.hint(&to, &pick(batch)).await;
    }
    expect(&mut client, 1, 1..=6).await;
    client.expect_silence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_and_goes_while_messages_are_sent_gets_each_once_in_order() {
    const ALL: u64 = 400;
    let world = World::new().await;
    let (is_here, mut here) = tokio::sync::watch::channel(None);
    // As a worker does: whoever is not found any more is looked up again.
    let sends = async {
        for n in 1..=ALL {
            let sent = world.message(n, |_| {});
            let at = world.append("a", &sent).await;
            loop {
                let to = here.wait_for(Option::is_some).await.unwrap().clone().unwrap();
                if world.hint(&to, &[(&sent, at)]).await == [TargetReport::Done(Outcome::Stored)] {
                    break;
                }
                here.changed().await.unwrap();
            }
        }
        std::future::pending::<()>().await;
    };
    let reads = async {
        let (mut known, mut seen) = (0, 0);
        while seen < ALL {
            let mut client = world.resume("a", known, seen).await;
            known = epoch(&client);
            is_here.send_replace(Some(addressed("a", &client)));
            let until = (seen + 37).min(ALL);
            expect(&mut client, seen + 1, seen + 1..=until).await;
            seen = until;
        }
    };
    tokio::select! {
        () = sends => {}
        () = reads => {}
    }
}
