//! Nodes that are not there, are somebody else, break off, or stand still.

use std::time::Duration;

use gim_proto::Incarnation;
use gim_proto::rpc::{DeliverResponse, DeliverVerdict, DeliveryReport};
use gim_proxy_sdk::directory::Owner;
use gim_proxy_sdk::peers::{PeerErrorKind, Peers, Stop};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::Status;

use super::{World, impatient, member, name, numbers, patient, session_of, small, watchful};
use crate::support::fake::{FakeNode, Script};
use crate::support::line::{Line, offered, verdict};
use crate::support::relay::Relay;
use crate::support::{SHORT, within};

async fn kind(world: &World, number: u64) -> Result<(), PeerErrorKind> {
    let outcome = within("the outcome", world.peers.deliver(&world.name, &small(number))).await;
    outcome.map(|_| ()).map_err(|error| error.kind)
}

#[tokio::test]
async fn what_the_node_says_is_told() {
    let cases = [
        (DeliverVerdict::Refused, PeerErrorKind::Refused),
        (DeliverVerdict::Suspended, PeerErrorKind::Suspended),
        (DeliverVerdict::NotHere, PeerErrorKind::Unreachable),
        (DeliverVerdict::Malformed, PeerErrorKind::Unreachable),
        (DeliverVerdict::Unspecified, PeerErrorKind::Unknown),
    ];
    for (said, expected) in cases {
        let world = World::of(Line::answering(move |request| Ok(verdict(request, said))), patient()).await;
        assert_eq!(kind(&world, 1).await, Err(expected), "{said:?}");
        assert!(world.peers.stats()[0].is_connected, "an answer breaks nothing");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_none() {
    let misfits: [fn(DeliverResponse) -> DeliverResponse; 4] = [
        |answer| DeliverResponse { reports: Vec::new(), ..answer },
        |answer| DeliverResponse { reports: [answer.reports.clone(), answer.reports].concat(), ..answer },
        |answer| DeliverResponse { reports: vec![DeliveryReport::default()], ..answer },
        |mut answer| {
            answer.reports[0].targets = vec![99];
            answer
        },
    ];
    for misfit in misfits {
        let world = World::of(Line::answering(move |request| Ok(misfit(offered(request)))), patient()).await;
        assert_eq!(kind(&world, 1).await, Err(PeerErrorKind::Unknown));
    }
}

#[tokio::test]
async fn whoever_is_not_in_the_view_is_not_called() {
    let world = World::of(Line::default(), patient()).await;
    let strangers = [name(Incarnation::mint()), name(world.name.incarnation)];
    world.live.set([member(&name(Incarnation::mint()), &world.node.address())]);
    for stranger in strangers {
        let error = world.peers.deliver(&stranger, &small(1)).await.unwrap_err();
        assert_eq!(error.kind, PeerErrorKind::Unreachable);
        assert!(world.peers.client(&stranger).is_err());
    }
    // A member without an address is this process.
    world.live.set([member(&world.name, "")]);
    assert_eq!(kind(&world, 1).await, Err(PeerErrorKind::Unreachable));
    assert!(world.node.script.seen().is_empty());
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_is_unreachable_and_found_again_when_it_is_there() {
    let world = World::of(Line::default(), patient()).await;
    let incarnation = world.name.incarnation;
    let World { node, name, live, peers } = world;
    let address = node.stop().await;
    let error = within("the refusal", peers.deliver(&name, &small(1))).await.unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
    let node = FakeNode::start_at(address, Script { incarnation, ..Script::default() }).await;
    let world = World { node, name, live, peers };
    within("the way back", async { while Box::pin(kind(&world, 2)).await.is_err() {} }).await;
    assert_eq!(numbers(world.line()), [[2]]);
}

#[tokio::test]
async fn a_node_that_accepts_and_stays_silent_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::of(Line::default(), impatient()).await;
    world.live.set([member(&world.name, &listener.local_addr().unwrap().to_string())]);
    assert_eq!(kind(&world, 1).await, Err(PeerErrorKind::Unreachable));
}

#[tokio::test]
async fn another_run_another_version_and_a_closed_door_are_not_given_batches() {
    let another = Script { incarnation: Incarnation::mint(), ..Script::default() };
    let later = Script { version: 3, ..Script::default() };
    let closed = Script { failure: Some(Status::unauthenticated("no")), ..Script::default() };
    for script in [another, later, closed] {
        let mut world = World::with(script, patient()).await;
        if world.node.script.version == 1 && world.node.script.failure.is_none() {
            world.name = name(Incarnation::mint());
            world.live.set([member(&world.name, &world.node.address())]);
        }
        assert_eq!(kind(&world, 1).await, Err(PeerErrorKind::Unreachable));
        assert!(world.line().seen().is_empty());
    }
}

#[tokio::test]
async fn all_that_a_broken_stream_took_with_it_is_unknown_and_the_next_shakes_hands_again() {
    let line = Line::answering(|request| match request.number {
        3 => Err(Status::internal("breaks")),
        _ => Ok(offered(request)),
    });
    let world = World::of(Line { reversed: 3, ..line }, patient()).await;
    let calls = world.hand_over((1..=3).map(small));
    for call in calls {
        assert_eq!(within("the end", call).await.unwrap(), Err(PeerErrorKind::Unknown));
    }
    let calls = world.hand_over((4..=5).map(small));
    world.line().came(5).await;
    assert_eq!(world.node.script.handshakes(), 2);
    assert_eq!(world.peers.stats()[0].reconnects, 1);
    assert_eq!(numbers(world.line()), [[1], [2], [3], [4], [5]], "nothing is sent twice");
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_node_that_stands_still_is_found_out_before_the_deadline() {
    let world = World::of(Line::default(), watchful(patient())).await;
    let relay = Relay::to(world.node.addr).await;
    world.live.set([member(&world.name, &relay.addr.to_string())]);
    assert_eq!(kind(&world, 1).await, Ok(()));
    relay.freeze();
    let sent = world.hand(small(2));
    let start = tokio::time::Instant::now();
    assert_eq!(within("the end", sent).await.unwrap(), Err(PeerErrorKind::Unknown));
    assert!(start.elapsed() < patient().deadline / 2);
    relay.thaw();
    within("the way back", async { while Box::pin(kind(&world, 3)).await.is_err() {} }).await;
    assert_eq!(world.peers.stats()[0].reconnects, 1);
}

#[tokio::test]
async fn who_leaves_the_view_is_dropped_with_what_is_unanswered() {
    let world = World::of(Line::silent(), patient()).await;
    let call = world.hand(small(1));
    world.line().standing(1).await;
    world.line().came(1).await;
    let other = name(Incarnation::mint());
    world.live.set([member(&other, &world.node.address())]);
    assert_eq!(within("the end", call).await.unwrap(), Err(PeerErrorKind::Unknown));
    world.line().standing(0).await;
    // Who comes back is called again, though the table has not been looked at meanwhile.
    world.line().gate.add_permits(2);
    world.live.set([member(&world.name, &world.node.address())]);
    assert_eq!(kind(&world, 2).await, Ok(()));
}

#[tokio::test]
async fn the_table_is_no_larger_than_the_view() {
    let world = World::of(Line::default(), patient()).await;
    for number in 0..20 {
        let passing = name(Incarnation::mint());
        world.live.set([member(&world.name, &world.node.address()), member(&passing, "127.0.0.1:1")]);
        assert_eq!(kind(&world, number).await, Ok(()));
        assert!(world.peers.client(&passing).is_ok());
        assert!(world.peers.stats().len() <= 2);
    }
}

#[tokio::test]
async fn the_last_handle_takes_the_streams_with_it() {
    let world = World::of(Line::default(), patient()).await;
    assert_eq!(kind(&world, 1).await, Ok(()));
    world.line().standing(1).await;
    let World { node, peers, .. } = world;
    drop(peers);
    node.script.line.standing(0).await;
}

#[tokio::test]
async fn a_question_about_a_session_says_whether_it_may_have_been_heard() {
    let session = session_of("42");
    let ask = async |peers: &Peers, world: &World, most: Duration| {
        let owner = Owner { node: world.name.clone(), session: session.session, fence: session.fence };
        let answer = peers.stop(&session.uid, &owner, Stop::Replaced, most).await;
        answer.map_err(|error| error.kind)
    };
    let silent = World::with(Script { gate: Semaphore::new(0), ..Script::default() }, patient()).await;
    assert_eq!(ask(&silent.peers, &silent, SHORT).await, Err(PeerErrorKind::Unknown));
    let closed = Script { failure: Some(Status::unauthenticated("no")), ..Script::default() };
    let closed = World::with(closed, patient()).await;
    assert_eq!(ask(&closed.peers, &closed, patient().deadline).await, Err(PeerErrorKind::Unreachable));
    let nowhere = World::of(Line::default(), patient()).await;
    nowhere.live.set([member(&nowhere.name, "127.0.0.1:1")]);
    assert_eq!(ask(&nowhere.peers, &nowhere, patient().deadline).await, Err(PeerErrorKind::Unreachable));
    nowhere.live.set([member(&name(Incarnation::mint()), "127.0.0.1:1")]);
    assert_eq!(ask(&nowhere.peers, &nowhere, patient().deadline).await, Err(PeerErrorKind::Unreachable));
}
