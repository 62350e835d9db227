//! Batches that are too large for one message.

use gim_proto::MAX_ENTRY_BYTES;
use gim_proto::rpc::{DeliverVerdict, TargetOutcome};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Delivery, Recipients, Report, TargetReport};
use gim_proxy_sdk::peers::PeerErrorKind;

use super::{World, delivery, numbers, of_lane, patient, session_of};
use crate::support::line::{Line, offered, reporting, verdict};

/// Seven of them are one request.
fn large(number: u64, users: &[&str]) -> Delivery {
    delivery(number, MAX_ENTRY_BYTES, Recipients::Sessions(users.iter().map(|name| session_of(name)).collect()))
}

const OFFERED: TargetReport = TargetReport::Done(Outcome::Offered);
const NOT_OWNER: TargetReport = TargetReport::NotOwner;

#[tokio::test]
async fn a_large_batch_goes_in_parts_in_order() {
    let world = World::of(Line::default(), patient()).await;
    let batch = of_lane((0..20).map(|number| large(number, &["42"])).collect());
    let reports = world.peers.deliver(&world.name, &batch).await.unwrap();
    assert_eq!(reports, vec![Report::Targets(vec![OFFERED].into()); 20]);
    let parts = numbers(world.line());
    assert_eq!(parts.concat(), (0..20).collect::<Vec<_>>());
    assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 6]);
    assert!(world.line().seen().iter().all(|request| request.lane.is_some()));
}

#[tokio::test]
async fn a_batch_of_many_messages_goes_a_thousand_at_a_time() {
    let world = World::of(Line::default(), patient()).await;
    let batch = of_lane((0..2_001).map(|number| delivery(number, 1, Recipients::All)).collect());
    assert_eq!(world.peers.deliver(&world.name, &batch).await.unwrap().len(), 2_001);
    assert_eq!(numbers(world.line()).iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 1]);
}

#[tokio::test]
async fn who_is_refused_in_one_part_is_not_served_in_a_later_one() {
    let line = Line::answering(|request| {
        Ok(reporting(request, |uid| if uid == "gone" { TargetOutcome::NotOwner } else { TargetOutcome::Offered }))
    });
    let world = World::of(line, patient()).await;
    let mut deliveries: Vec<Delivery> = (0..7).map(|number| large(number, &["gone"])).collect();
    deliveries.push(large(7, &["gone", "42"]));
    deliveries.push(large(8, &["gone"]));
    let reports = world.peers.deliver(&world.name, &of_lane(deliveries)).await.unwrap();
    assert_eq!(reports[7], Report::Targets(vec![NOT_OWNER, OFFERED].into()));
    assert_eq!(reports[8], Report::Targets(vec![NOT_OWNER].into()));
    let [first, second] = &world.line().seen()[..] else { panic!("two parts") };
    assert_eq!((first.deliveries.len(), second.deliveries.len()), (7, 1));
    let names = format!("{:?}", second.deliveries[0].to);
    assert!(names.contains("\"42\"") && !names.contains("gone"), "{names}");
}

#[tokio::test]
async fn when_a_later_part_fails_the_batch_may_have_taken_effect() {
    let cases = [
        (DeliverVerdict::NotHere, PeerErrorKind::Unknown),
        (DeliverVerdict::Malformed, PeerErrorKind::Unknown),
        (DeliverVerdict::Refused, PeerErrorKind::Refused),
        (DeliverVerdict::Suspended, PeerErrorKind::Suspended),
    ];
    for (said, kind) in cases {
        let line = Line::answering(move |request| match request.deliveries[0].entry.unwrap().ms {
            0 => Ok(offered(request)),
            _ => Ok(verdict(request, said)),
        });
        let world = World::of(line, patient()).await;
        let batch = of_lane((0..20).map(|number| large(number, &["42"])).collect());
        assert_eq!(world.peers.deliver(&world.name, &batch).await.unwrap_err().kind, kind, "{said:?}");
        assert_eq!(world.line().seen().len(), 2, "nothing after what failed");
    }
}
