//! Nodes of the release before are sent nothing that they would call malformed.

use gim_proto::rpc::{self, MessageClass};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Delivery, Report, TargetReport};
use gim_proxy_sdk::mailbox::Position;

use super::*;

fn durable(number: u64, to: Recipients) -> Delivery {
    let live = delivery(number, 10, to);
    let message = Message { class: Class::Durable, ..Message::clone(&live.message) };
    Delivery { message: Arc::new(message), ..live }
}

fn hint(number: u64) -> Delivery {
    let to = vec![session_of("1"), session_of("2")];
    let at = [3, 4].map(|offset| Position { epoch: 7, offset }).to_vec();
    durable(number, Recipients::Stored { to: to.into(), at })
}

fn group(number: u64) -> Delivery {
    durable(number, Recipients::Groups(vec![gim_proto::Tgid::parse("g").unwrap()]))
}

async fn world(version: u32) -> World {
    World::with(Script { version, ..Script::default() }, patient()).await
}

#[tokio::test]
async fn durable_messages_are_held_back_from_a_node_that_does_not_know_them_and_live_ones_go_on() {
    let world = world(1).await;
    let live = delivery(3, 10, Recipients::Sessions(vec![session_of("1")].into()));
    let reports = world.peers.deliver(&world.name, &of_lane(vec![hint(1), group(2), live])).await.unwrap();
    let stored = TargetReport::Done(Outcome::Stored);
    let offered = TargetReport::Done(Outcome::Offered);
    assert_eq!(
        reports,
        [
            Report::Targets(vec![stored; 2].into()),
            Report::Count { offered: 0, slow: 0 },
            Report::Targets(vec![offered].into())
        ]
    );
    assert_eq!(numbers(world.line()), [[3]]);
    let reports = world.peers.deliver(&world.name, &of_lane(vec![group(4)])).await.unwrap();
    assert_eq!(reports, [Report::Count { offered: 0, slow: 0 }]);
    assert_eq!(numbers(world.line()), [[3]], "nothing is left to ask");
    let opened = world.line().opened.lock().unwrap()[0].clone();
    assert_eq!(opened.get(rpc::VERSION_KEY).map(String::as_str), Some("1"));
}

#[tokio::test]
async fn a_node_that_knows_durable_messages_is_told_where_they_are() {
    let world = world(2).await;
    world.peers.deliver(&world.name, &of_lane(vec![hint(1), group(2)])).await.unwrap();
    let seen = world.line().seen().remove(0);
    assert!(seen.deliveries.iter().all(|delivery| delivery.class() == MessageClass::Durable));
    let Some(rpc::delivery::To::Sessions(sessions)) = &seen.deliveries[0].to else { panic!("no sessions") };
    let at: Vec<_> = sessions.sessions.iter().map(|to| (to.epoch, to.offset)).collect();
    assert_eq!(at, [(7, 3), (7, 4)]);
    let opened = world.line().opened.lock().unwrap()[0].clone();
    assert_eq!(opened.get(rpc::VERSION_KEY).map(String::as_str), Some("2"), "the one that was agreed on");
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_unreachable_for_durable_messages_too() {
    let world = world(2).await;
    world.live.set([member(&world.name, "127.0.0.1:1")]);
    let failed = world.peers.deliver(&world.name, &of_lane(vec![hint(1)])).await.unwrap_err();
    assert_eq!(failed.kind, gim_proxy_sdk::peers::PeerErrorKind::Unreachable);
}
