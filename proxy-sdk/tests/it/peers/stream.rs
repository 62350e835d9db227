//! What travels, and in which order.

use gim_proto::rpc::{self, TargetOutcome, body, delivery as wire};
use gim_proto::{Class, Payload, Tgid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Batch, Delivery, Message, Recipients, Report, TargetReport};
use gim_proxy_sdk::directory::Owner;
use gim_proxy_sdk::peers::Stop;

use super::{World, delivery, numbers, of_lane, patient, session_of, small, uid};
use crate::support::fake::Script;
use crate::support::line::{Line, reporting};
use crate::support::within;

const OFFERED: TargetReport = TargetReport::Done(Outcome::Offered);

fn tgids() -> Vec<Tgid> {
    vec![Tgid::parse("g").unwrap(), Tgid::parse("h").unwrap()]
}

#[tokio::test]
async fn every_kind_of_recipient_has_its_report() {
    let line = Line::answering(|request| {
        Ok(reporting(request, |uid| match uid {
            "gone" => TargetOutcome::NotOwner,
            "slow" => TargetOutcome::Slow,
            "stranger" => TargetOutcome::NotMember,
            _ => TargetOutcome::Offered,
        }))
    });
    let world = World::of(line, patient()).await;
    let all = vec![session_of("42"), session_of("gone"), session_of("slow")];
    let batch = of_lane(vec![
        delivery(1, 5, Recipients::Sessions(all.into())),
        delivery(2, 5, Recipients::Member { to: session_of("stranger"), of: tgids() }),
        delivery(3, 5, Recipients::Groups(tgids())),
        delivery(4, 5, Recipients::All),
    ]);
    let reports = world.peers.deliver(&world.name, &batch).await.unwrap();
    let counts = Report::Count { offered: 7, slow: 1 };
    let targets = vec![OFFERED, TargetReport::NotOwner, TargetReport::Done(Outcome::Slow)];
    let member = Report::Targets(vec![TargetReport::Done(Outcome::NotMember)].into());
    assert_eq!(reports, [Report::Targets(targets.into()), member, counts.clone(), counts]);
}

#[tokio::test]
async fn what_is_sent_is_what_the_contract_says() {
    let world = World::of(Line::default(), patient()).await;
    let plain = delivery(8, 5, Recipients::Member { to: session_of("42"), of: tgids() });
    let message = Message {
        class: Class::Latest,
        key: Some("k".into()),
        payload: Payload::Json("{}".into()),
        except: vec![uid("7")],
        ..Message::clone(&plain.message)
    };
    let batch = of_lane(vec![Delivery { message: message.into(), ..plain }]);
    world.peers.deliver(&world.name, &batch).await.unwrap();
    let direct = Batch { lane: None, deliveries: vec![Delivery { entry: None, ..delivery(1, 1, Recipients::All) }] };
    world.peers.deliver(&world.name, &direct).await.unwrap();

    let [first, second] = &world.line().seen()[..] else { panic!("two batches") };
    assert_eq!(first.incarnation, world.name.incarnation.to_string());
    let low_water = Some(rpc::EntryPosition { ms: 1, seq: 2 });
    assert_eq!(first.lane, Some(rpc::LaneOrigin { lane: 3, term: 9, low_water }));
    let sent = &first.deliveries[0];
    assert_eq!((sent.id.as_str(), sent.key.as_str(), sent.class()), ("3-8-0", "k", rpc::MessageClass::Latest));
    assert_eq!((sent.entry, &sent.except), (Some(rpc::EntryPosition { ms: 8, seq: 0 }), &vec!["7".to_owned()]));
    assert_eq!(sent.body.clone().unwrap().body, Some(body::Body::Response("{}".into())));
    let Some(wire::To::Member(member)) = &sent.to else { panic!("{:?}", sent.to) };
    assert_eq!((member.to.as_ref().unwrap().fence, &member.tgids), (5, &vec!["g".to_owned(), "h".to_owned()]));
    assert_eq!((second.lane, second.deliveries[0].entry), (None, None));
    assert_eq!(second.deliveries[0].to, Some(wire::To::All(true)));
}

#[tokio::test]
async fn batches_go_in_order_on_one_stream_after_one_handshake() {
    let world = World::of(Line::default(), patient()).await;
    // Polled in order on one task.
    let batches: Vec<Batch> = (0..100).map(small).collect();
    let calls = batches.iter().map(|batch| world.peers.deliver(&world.name, batch));
    let answers = within("the answers", futures_util::future::join_all(calls)).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(numbers(world.line()).concat(), (0..100).collect::<Vec<_>>());
    assert_eq!((world.line().opened.lock().unwrap().len(), world.node.script.handshakes()), (1, 1));
    let stats = &world.peers.stats()[0];
    assert_eq!((stats.is_connected, stats.batches, stats.bytes, stats.reconnects), (true, 0, 0, 0));
}

#[tokio::test]
async fn answers_are_known_by_their_number_in_whatever_order_they_come() {
    let world = World::of(Line { reversed: 10, ..Line::default() }, patient()).await;
    let sizes: Vec<usize> = (1..=10).collect();
    let batches = sizes.iter().map(|size| of_lane(vec![delivery(1, 1, Recipients::All); *size]));
    let calls = world.hand_over(batches.collect::<Vec<_>>());
    for (call, size) in calls.into_iter().zip(sizes) {
        assert_eq!(within("the answer", call).await.unwrap().unwrap().len(), size);
    }
}

#[tokio::test]
async fn an_empty_batch_is_done_without_a_call() {
    let world = World::of(Line::default(), patient()).await;
    assert!(world.peers.deliver(&world.name, &of_lane(Vec::new())).await.unwrap().is_empty());
    assert!(world.node.script.seen().is_empty());
}

#[tokio::test]
async fn the_token_is_shown_with_the_handshake_the_stream_and_every_call() {
    let options = gim_proxy_sdk::ClientOptions { token: Some("0123456789abcdef".into()), ..patient() };
    let world = World::of(Line::default(), options).await;
    world.peers.deliver(&world.name, &small(1)).await.unwrap();
    let client = world.peers.client(&world.name).unwrap();
    client.sysinfo_alone().await.unwrap();
    let opened = world.line().opened.lock().unwrap()[0].clone();
    let shown = "Bearer 0123456789abcdef";
    assert_eq!(opened.get("authorization").map(String::as_str), Some(shown));
    assert_eq!(opened.get(rpc::VERSION_KEY).map(String::as_str), Some("1"));
    assert_eq!(world.node.script.tokens(), vec![Some(shown.to_owned()); 2], "the handshake and the call");
    assert_eq!(world.node.script.handshakes(), 1, "calls share the connection of the batches");
}

#[tokio::test]
async fn a_question_about_a_session_names_it_and_what_is_to_become_of_it() {
    for held in [true, false] {
        let world = World::with(Script { held, ..Script::default() }, patient()).await;
        let session = session_of("42");
        let owner = Owner { node: world.name.clone(), session: session.session, fence: session.fence };
        for (stop, mode) in
            [(Stop::Ask, "Ask"), (Stop::Replaced, "Replaced"), (Stop::AlreadyConnected, "AlreadyConnected")]
        {
            let answer = world.peers.stop(&session.uid, &owner, stop, crate::support::LONG).await.unwrap();
            assert_eq!(answer, held);
            let asked = world.node.script.seen().pop().unwrap();
            assert!(asked.contains(mode) && asked.contains(&session.session.to_string()), "{asked}");
            assert!(asked.contains("fence: 5") && asked.contains("\"42\""), "{asked}");
        }
    }
}
