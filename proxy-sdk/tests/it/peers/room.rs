//! Time and room: no batch outlives its deadline, and what comes of it is said truly.

use gim_proxy_sdk::ClientOptions;
use gim_proxy_sdk::delivery::Recipients;
use gim_proxy_sdk::peers::PeerErrorKind;
use tokio::time::Instant;

use super::{World, delivery, impatient, numbers, of_lane, patient, small};
use crate::support::line::Line;
use crate::support::{SHORT, within};

#[tokio::test]
async fn a_batch_that_is_not_answered_in_time_may_have_taken_effect() {
    let world = World::of(Line::silent(), impatient()).await;
    let start = Instant::now();
    let error = world.peers.deliver(&world.name, &small(1)).await.unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::Unknown, "{error:?}");
    assert!(start.elapsed() >= SHORT);
    assert_eq!(world.line().seen().len(), 1);
}

#[tokio::test]
async fn a_batch_that_never_got_its_turn_took_no_effect_and_never_will() {
    let world = World::of(Line::silent(), ClientOptions { in_flight: 1, ..impatient() }).await;
    let first = world.hand(small(1));
    world.line().came(1).await;
    let error = world.peers.deliver(&world.name, &small(2)).await.unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::Full, "{error:?}");
    assert_eq!(within("the first", first).await.unwrap(), Err(PeerErrorKind::Unknown));
    // Once there is room again, what was given up is passed over.
    world.line().gate.add_permits(2);
    let last = eventually_delivered(&world, 3).await;
    assert_eq!(last, [vec![1], vec![3]]);
}

/// Delivers until there is room, and tells what came.
async fn eventually_delivered(world: &World, number: u64) -> Vec<Vec<u64>> {
    let delivered = async { while world.peers.deliver(&world.name, &small(number)).await.is_err() {} };
    within("room", delivered).await;
    numbers(world.line())
}

#[tokio::test]
async fn an_answer_that_comes_too_late_makes_room_all_the_same() {
    let world = World::of(Line::silent(), ClientOptions { in_flight: 1, ..impatient() }).await;
    assert!(world.peers.deliver(&world.name, &small(1)).await.is_err());
    let stats = world.peers.stats();
    assert_eq!((stats[0].batches, stats[0].bytes), (1, ClientOptions::SMALLEST), "the node still has it");
    world.line().gate.add_permits(2);
    eventually_delivered(&world, 2).await;
    assert_eq!(world.peers.stats()[0].batches, 0);
}

#[tokio::test]
async fn as_many_batches_are_on_their_way_as_there_is_room_for() {
    let room = 4 * ClientOptions::SMALLEST;
    let world = World::of(Line::silent(), ClientOptions { in_flight: room, ..patient() }).await;
    let calls = world.hand_over((0..10).map(small));
    world.line().came(4).await;
    let stats = &world.peers.stats()[0];
    assert_eq!((stats.batches, stats.bytes), (4, room));
    world.line().gate.add_permits(10);
    for call in calls {
        within("its turn", call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_batch_above_all_room_goes_alone() {
    let world = World::of(Line::default(), ClientOptions { in_flight: 1, ..patient() }).await;
    let large = of_lane(vec![delivery(1, 1 << 20, Recipients::All)]);
    assert_eq!(world.peers.deliver(&world.name, &large).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_whose_owner_has_left_is_not_sent() {
    let world = World::of(Line::silent(), ClientOptions { in_flight: 1, ..patient() }).await;
    let first = world.hand(small(1));
    world.line().came(1).await;
    let given_up = tokio::time::timeout(SHORT, world.peers.deliver(&world.name, &small(2))).await;
    assert!(given_up.is_err());
    let third = world.hand(small(3));
    world.line().gate.add_permits(2);
    for call in [first, third] {
        within("the answers", call).await.unwrap().unwrap();
    }
    assert_eq!(numbers(world.line()), [[1], [3]]);
}
