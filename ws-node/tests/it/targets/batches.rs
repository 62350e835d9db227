//! Batches of workers and of other nodes, by the stream that they use.

use std::sync::Arc;

use futures_util::stream;
use gim_msg_queue::config::ByteSize;
use gim_proto::rpc::node_client::NodeClient;
use gim_proto::rpc::{self, Body, DeliverRequest, DeliverResponse, DeliverVerdict, EntryPosition, MessageClass, body};
use gim_proto::{Class, EntryId, Fence, Incarnation, MessageId, Payload, SessionId, Tgid, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Addressed, Batch, Delivery, Message, Recipients, Report, TargetReport};
use gim_proxy_sdk::peers::{PeerErrorKind, Stop};
use gim_ws_node::config::OnSlow;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Streaming};

use super::users;
use crate::support::client::Client;
use crate::support::node::{TestNode, gone};
use crate::support::raw;
use crate::support::way::{Way, addressed, hello, of_lane};
use crate::support::{DEADLINE, within};

const OFFERED: TargetReport = TargetReport::Done(Outcome::Offered);

/// A sender that waits for so long is not read.
const SHORT: Duration = Duration::from_millis(300);

fn delivery(number: u64, to: Recipients) -> Delivery {
    let message = Message {
        id: MessageId::of_entry(0, EntryId { ms: number, seq: 0 }),
        class: Class::Live,
        key: None,
        payload: Payload::Json(json!({ "n": number }).to_string().into()),
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    };
    Delivery { entry: Some(EntryId { ms: number, seq: 0 }), message: Arc::new(message), to }
}

#[tokio::test]
async fn a_batch_of_another_process_reaches_its_sessions_and_tells_what_became_of_it() {
    let node = TestNode::start().await;
    let way = Way::to(&node).await;
    let [mut a, mut b] = users(&node, [("a", &["g"]), ("b", &[])]).await;
    let (to_a, to_b) = (addressed("a", &a), addressed("b", &b));
    let stale = Addressed { fence: Fence(to_a.fence.0 + 1), ..to_a.clone() };
    let g = vec![Tgid::parse("g").unwrap()];
    let reports = way.deliver(of_lane(
        0,
        1,
        vec![
            delivery(1, Recipients::Sessions(vec![to_a.clone(), to_b.clone()].into())),
            delivery(2, Recipients::Groups(g.clone())),
            delivery(3, Recipients::Member { to: to_b, of: g }),
            delivery(4, Recipients::All),
            delivery(5, Recipients::Sessions(vec![stale].into())),
        ],
    ));
    let not_member = Report::Targets(vec![TargetReport::Done(Outcome::NotMember)].into());
    let wanted = vec![
        Report::Targets(vec![OFFERED; 2].into()),
        Report::Count { offered: 1, slow: 0 },
        not_member,
        Report::Count { offered: 2, slow: 0 },
        Report::Targets(vec![TargetReport::NotOwner].into()),
    ];
    assert_eq!(reports.await, Ok(wanted));
    for (client, numbers) in [(&mut a, &[1, 2, 4][..]), (&mut b, &[1, 4])] {
        for number in numbers {
            let push = client.expect_body(json!({ "n": number })).await;
            assert_eq!(push.id, Some(format!("0-{number}-0")));
        }
        client.expect_silence().await;
    }
}

/// A round that is one message to all of one group is written by the list of its members, any other by a table of connections:
/// what comes first, what behind it, and who is in both.
#[tokio::test]
async fn whatever_is_in_a_round_beside_a_group_everybody_has_his_own_once_and_in_order() {
    let node = TestNode::start().await;
    let way = Way::to(&node).await;
    let mut clients = users(&node, [("a", &["g", "h"]), ("b", &["g"]), ("c", &["h"]), ("d", &[])]).await;
    let of = |groups: &[&str]| Recipients::Groups(groups.iter().map(|tgid| Tgid::parse(tgid).unwrap()).collect());
    let [to_a, to_b, .., to_d] = std::array::from_fn::<_, 4, _>(|at| addressed(["a", "b", "c", "d"][at], &clients[at]));
    let to = |one: &Addressed| Recipients::Sessions(vec![one.clone()].into());
    // To whom, except whom, and who gets it.
    let rounds: Vec<Vec<(Recipients, &str, &str)>> = vec![
        vec![(of(&["g"]), "", "ab")],
        vec![(of(&["g"]), "", "ab"), (to(&to_a), "", "a"), (to(&to_d), "", "d")],
        vec![(to(&to_b), "", "b"), (of(&["g"]), "", "ab")],
        vec![(of(&["g"]), "", "ab"), (of(&["g"]), "", "ab"), (of(&["g"]), "", "ab")],
        vec![(of(&["g"]), "", "ab"), (of(&["h"]), "", "ac")],
        vec![(of(&["g", "h"]), "", "abc")],
        vec![(of(&["nobody"]), "", ""), (of(&["h"]), "", "ac")],
        vec![(of(&["nobody", "g"]), "", "ab")],
        vec![(of(&["g"]), "b", "a"), (of(&["g"]), "", "ab")],
        vec![(of(&["g"]), "", "ab"), (of(&["g"]), "a", "b")],
        vec![(Recipients::All, "", "abcd"), (of(&["h"]), "", "ac")],
        vec![(of(&["h"]), "", "ac"), (Recipients::All, "c", "abd")],
    ];
    let mut number = 0;
    for (at, round) in rounds.into_iter().enumerate() {
        let (mut deliveries, mut wanted) = (Vec::new(), Vec::new());
        let mut each: [Vec<u64>; 4] = std::array::from_fn(|_| Vec::new());
        for (to, except, whom) in round {
            number += 1;
            wanted.push(match &to {
                Recipients::Sessions(_) => Report::Targets(vec![OFFERED].into()),
                _ => Report::Count { offered: whom.len() as u64, slow: 0 },
            });
            let mut delivery = delivery(number, to);
            let except = except.chars().map(|uid| Uid::parse(&uid.to_string()).unwrap());
            Arc::get_mut(&mut delivery.message).unwrap().except = except.collect();
            deliveries.push(delivery);
            for (_, numbers) in ["a", "b", "c", "d"].into_iter().zip(&mut each).filter(|(uid, _)| whom.contains(*uid)) {
                numbers.push(number);
            }
        }
        assert_eq!(way.deliver(of_lane(0, 1, deliveries)).await, Ok(wanted), "round {at}");
        for (client, numbers) in clients.iter_mut().zip(each) {
            for number in numbers {
                let push = client.expect_body(json!({ "n": number })).await;
                assert_eq!(push.id, Some(format!("0-{number}-0")), "round {at}");
            }
        }
    }
    for client in &mut clients {
        client.expect_silence().await;
    }
}

/// More members than are touched ahead and than are written to in one turn, in text and in binary by turns.
#[tokio::test]
async fn a_group_of_many_gets_what_is_for_it_each_by_its_own_encoding() {
    const MEMBERS: usize = 300;
    let node = TestNode::start().await;
    let way = Way::to(&node).await;
    let mut clients = Vec::with_capacity(MEMBERS);
    for at in 0..MEMBERS {
        let text = if at % 2 == 0 { "&msg_code=1" } else { "" };
        let mut client = Client::connect(node.public, &format!("/ws?uid=u{at}{text}")).await;
        client.join("g").await;
        clients.push(client);
    }
    let g = Recipients::Groups(vec![Tgid::parse("g").unwrap()]);
    for number in 1..=2 {
        let wanted = Report::Count { offered: MEMBERS as u64, slow: 0 };
        assert_eq!(way.deliver(of_lane(0, 1, vec![delivery(number, g.clone())])).await, Ok(vec![wanted]));
        for (at, client) in clients.iter_mut().enumerate() {
            let message = client.next().await.unwrap();
            assert_eq!(message.is_text(), at % 2 == 0, "{message:?}");
            let push: serde_json::Value = serde_json::from_slice(&message.into_data()).unwrap();
            assert_eq!(
                (&push["id"], &push["response"]["a"]),
                (&json!(format!("0-{number}-0")), &json!({ "n": number }))
            );
        }
    }
}

/// Of a group's members one reads nothing and is ended for it: it is slow once and counted no more, and nobody else misses
/// anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_group_who_is_too_slow_counts_as_slow_once_and_who_has_ended_not_at_all() {
    /// More than a round takes, so that each message of a batch has one of its own.
    const LARGE: usize = 300_000;
    let node = TestNode::start_with(|config| {
        config.session.on_slow = OnSlow::Close;
        config.session.outbox_bytes = ByteSize::mib(1);
        config.session.close_timeout = DEADLINE;
        config.session.write_progress = DEADLINE;
    })
    .await;
    let way = Way::to(&node).await;
    let [mut quick, mut other] = users(&node, [("quick", &["g"]), ("other", &["g"])]).await;
    let mut slow = raw::Raw::connect_narrow(node.public, "/acc?uid=slow&msg_code=1").await;
    slow.send(&raw::text(br#"{"seq":"1","cmd":"gim.join","data":{"tgid":"g"}}"#)).await;
    slow.frame().await;
    let large = |number: u64| {
        let mut large = delivery(number, Recipients::Groups(vec![Tgid::parse("g").unwrap()]));
        let data = json!({ "n": number, "filling": ".".repeat(LARGE) });
        Arc::get_mut(&mut large.message).unwrap().payload = Payload::Json(data.to_string().into());
        large
    };
    let mut counts = Vec::new();
    // More than the buffers of any socket take here.
    for number in (1..).step_by(2).take(64) {
        let reports = way.deliver(of_lane(0, 1, vec![large(number), large(number + 1)])).await.unwrap();
        for report in reports {
            let Report::Count { offered, slow } = report else { panic!("{report:?} of a group") };
            counts.push((offered, slow));
        }
        for number in [number, number + 1] {
            for client in [&mut quick, &mut other] {
                assert_eq!(client.json().await["response"]["a"]["n"], number);
            }
        }
        if counts.last() == Some(&(2, 0)) {
            break;
        }
    }
    let taken = counts.iter().take_while(|count| **count == (3, 0)).count();
    assert!(taken > 0, "{counts:?}");
    assert_eq!(counts.get(taken), Some(&(2, 1)), "{counts:?}");
    assert!(counts.len() > taken + 1 && counts[taken + 1..].iter().all(|count| *count == (2, 0)), "{counts:?}");
    gone(&node, "slow").await;
}

#[tokio::test]
async fn batches_keep_their_order_and_lanes_their_terms() {
    let node = TestNode::start().await;
    let way = Way::to(&node).await;
    let [mut a] = users(&node, [("a", &[])]).await;
    let to = || Recipients::Sessions(vec![addressed("a", &a)].into());
    let batches = (0..50).map(|number| way.deliver(of_lane(0, 5, vec![delivery(number, to())])));
    for answer in within("the answers", futures_util::future::join_all(batches.collect::<Vec<_>>())).await {
        assert_eq!(answer, Ok(vec![Report::Targets(vec![OFFERED].into())]));
    }
    assert_eq!(way.deliver(of_lane(0, 4, vec![delivery(90, to())])).await, Err(PeerErrorKind::Refused));
    assert!(way.deliver(of_lane(1, 4, vec![delivery(91, to())])).await.is_ok(), "another lane, other terms");
    let direct = Batch { lane: None, deliveries: vec![delivery(92, to())] };
    assert!(way.deliver(direct).await.is_ok());
    for number in (0..50).chain([91, 92]) {
        a.expect_body(json!({ "n": number })).await;
    }
    a.expect_silence().await;
}

#[tokio::test]
async fn a_session_that_another_node_names_is_told_to_end_and_no_other() {
    let node = TestNode::start().await;
    let way = Way::to(&node).await;
    let [a, b] = users(&node, [("a", &[]), ("b", &[])]).await;
    let (to_a, to_b) = (addressed("a", &a), addressed("b", &b));
    let strangers = [
        Addressed { session: SessionId::mint(), ..to_a.clone() },
        Addressed { fence: Fence(to_a.fence.0 + 1), ..to_a.clone() },
        Addressed { uid: to_b.uid.clone(), ..to_a.clone() },
    ];
    for stranger in strangers {
        assert!(!way.stop(&stranger, Stop::Replaced).await, "{stranger:?}");
    }
    assert!(way.stop(&to_a, Stop::Ask).await);
    assert!(way.stop(&to_a, Stop::Replaced).await);
    assert_eq!(a.expect_close(4501).await, "replaced by a newer connection");
    for stop in [Stop::Ask, Stop::Replaced, Stop::AlreadyConnected] {
        assert!(!way.stop(&to_a, stop).await, "it is on its way out");
    }
    assert!(way.stop(&to_b, Stop::AlreadyConnected).await);
    assert_eq!(b.expect_close(4504).await, "connected from elsewhere");
}

#[tokio::test]
async fn a_question_about_a_session_that_cannot_be_read_is_refused() {
    let node = TestNode::start().await;
    let mut rpc = NodeClient::connect(format!("http://{}", node.rpc)).await.unwrap();
    let session = SessionId::mint().to_string();
    let session = rpc::Addressed { uid: "a".into(), session, fence: 1, epoch: 0, offset: 0 };
    let wrong = [
        rpc::StopSessionRequest { session: None, mode: 1 },
        rpc::StopSessionRequest { session: Some(session.clone()), mode: 0 },
        rpc::StopSessionRequest { session: Some(session.clone()), mode: 9 },
        rpc::StopSessionRequest { session: Some(rpc::Addressed { uid: "a b".into(), ..session.clone() }), mode: 1 },
        rpc::StopSessionRequest { session: Some(rpc::Addressed { session: "x".into(), ..session }), mode: 1 },
    ];
    for request in wrong {
        assert_eq!(rpc.stop_session(request.clone()).await.unwrap_err().code(), Code::InvalidArgument, "{request:?}");
    }
}

/// A stream of which every byte is the test's.
struct Raw {
    run: String,
    requests: mpsc::Sender<DeliverRequest>,
    answers: Streaming<DeliverResponse>,
}

impl Raw {
    async fn open(node: &TestNode) -> Self {
        let run = hello(node).await.incarnation;
        let (requests, answers) = open(node, Some("1")).await.unwrap();
        Self { run, requests, answers }
    }

    async fn open_by(node: &TestNode, way: Endpoint) -> Self {
        let run = hello(node).await.incarnation;
        let (requests, answers) = open_on(way.connect().await.unwrap(), Some("1")).await.unwrap();
        Self { run, requests, answers }
    }

    /// A batch to a user that is nobody's.
    fn batch(&self, number: u64) -> DeliverRequest {
        let session = SessionId::mint().to_string();
        let session = rpc::Addressed { uid: "a".into(), session, fence: 1, epoch: 0, offset: 0 };
        let delivery = rpc::Delivery {
            id: "m".into(),
            entry: Some(EntryPosition { ms: 1, seq: 1 }),
            class: MessageClass::Live.into(),
            body: Some(Body { body: Some(body::Body::Raw("x".into())) }),
            to: Some(rpc::delivery::To::Sessions(rpc::Sessions { sessions: vec![session] })),
            ..rpc::Delivery::default()
        };
        let lane = Some(rpc::LaneOrigin { lane: 0, term: 1, low_water: None });
        DeliverRequest { number, incarnation: self.run.clone(), lane, deliveries: vec![delivery] }
    }

    async fn ask(&mut self, request: DeliverRequest) -> DeliverResponse {
        self.requests.send(request).await.unwrap();
        within("the answer", self.answers.message()).await.unwrap().unwrap()
    }
}

type Line = (mpsc::Sender<DeliverRequest>, Streaming<DeliverResponse>);

async fn open(node: &TestNode, version: Option<&str>) -> Result<Line, Code> {
    open_on(Channel::from_shared(format!("http://{}", node.rpc)).unwrap().connect().await.unwrap(), version).await
}

async fn open_on(channel: Channel, version: Option<&str>) -> Result<Line, Code> {
    let mut rpc = NodeClient::new(channel);
    let (requests, mut outgoing) = mpsc::channel(16);
    let mut request = Request::new(stream::poll_fn(move |context| outgoing.poll_recv(context)));
    if let Some(version) = version {
        request.metadata_mut().insert(rpc::VERSION_KEY, MetadataValue::try_from(version).unwrap());
    }
    let answers = rpc.deliver(request).await.map_err(|status| status.code())?.into_inner();
    Ok((requests, answers))
}

#[tokio::test]
async fn a_stream_of_no_version_in_common_is_refused() {
    let node = TestNode::start().await;
    for version in [None, Some("0"), Some("3"), Some("one")] {
        assert_eq!(open(&node, version).await.err(), Some(Code::FailedPrecondition), "{version:?}");
    }
}

#[tokio::test]
async fn a_malformed_batch_costs_itself_alone() {
    let node = TestNode::start().await;
    let mut raw = Raw::open(&node).await;
    let spoil = |change: fn(&mut DeliverRequest)| {
        let mut batch = raw.batch(7);
        change(&mut batch);
        batch
    };
    let wrong = [
        spoil(|batch| batch.incarnation = "me".into()),
        spoil(|batch| batch.lane.as_mut().unwrap().lane = 64),
        spoil(|batch| batch.lane.as_mut().unwrap().lane = 1 << 16),
        spoil(|batch| batch.deliveries[0].id = String::new()),
        spoil(|batch| batch.deliveries[0].class = 0),
        spoil(|batch| batch.deliveries[0].class = 99),
        spoil(|batch| batch.deliveries[0].body = None),
        spoil(|batch| batch.deliveries[0].body = Some(Body { body: None })),
        spoil(|batch| batch.deliveries[0].except = vec![String::new()]),
        spoil(|batch| batch.deliveries[0].to = None),
        spoil(|batch| batch.deliveries[0].to = Some(rpc::delivery::To::All(false))),
        spoil(|batch| batch.deliveries[0].to = Some(rpc::delivery::To::Member(rpc::Member::default()))),
        spoil(|batch| {
            let tgids = vec!["g{".to_owned()];
            batch.deliveries[0].to = Some(rpc::delivery::To::Groups(rpc::Groups { tgids }));
        }),
        spoil(|batch| batch.deliveries = vec![batch.deliveries[0].clone(); 1_001]),
    ];
    for (at, request) in wrong.into_iter().enumerate() {
        let answer = raw.ask(request).await;
        assert_eq!((answer.number, answer.verdict()), (7, DeliverVerdict::Malformed), "case {at}: {answer:?}");
        assert!(!answer.detail.is_empty() && answer.reports.is_empty(), "case {at}: {answer:?}");
        let answer = raw.ask(raw.batch(8)).await;
        assert_eq!((answer.number, answer.verdict(), answer.reports.len()), (8, DeliverVerdict::Done, 1));
    }
}

#[tokio::test]
async fn a_batch_for_another_run_is_not_taken() {
    let node = TestNode::start().await;
    let mut raw = Raw::open(&node).await;
    let stray = DeliverRequest { incarnation: Incarnation::mint().to_string(), ..raw.batch(3) };
    let answer = raw.ask(stray).await;
    assert_eq!((answer.number, answer.verdict()), (3, DeliverVerdict::NotHere));
}

#[tokio::test]
async fn who_does_not_read_answers_is_not_read_either_and_disturbs_nobody() {
    let node = TestNode::start().await;
    let narrow = Endpoint::from_shared(format!("http://{}", node.rpc)).unwrap().initial_stream_window_size(16 * 1024);
    let mut raw = Raw::open_by(&node, narrow).await;
    let Some(rpc::delivery::To::Sessions(one)) = raw.batch(0).deliveries[0].to.clone() else { unreachable!() };
    let many = rpc::Sessions { sessions: vec![one.sessions[0].clone(); 50] };
    // What the node answers ahead is bounded, and what the connection holds: then nothing is taken any more.
    let mut sent = 0;
    loop {
        let mut batch = raw.batch(sent);
        batch.deliveries[0].to = Some(rpc::delivery::To::Sessions(many.clone()));
        match timeout(SHORT, raw.requests.send(batch)).await {
            Ok(taken) => taken.unwrap(),
            Err(_) => break,
        }
        sent += 1;
        assert!(sent < 100_000, "it is read all the same");
    }
    let way = Way::to(&node).await;
    let [a] = users(&node, [("a", &[])]).await;
    let to = Recipients::Sessions(vec![addressed("a", &a)].into());
    assert!(way.deliver(of_lane(1, 1, vec![delivery(1, to)])).await.is_ok(), "after {sent}");
    let answer = within("the first answer", raw.answers.message()).await.unwrap().unwrap();
    assert_eq!(answer.number, 0);
}

#[tokio::test]
async fn a_node_that_stops_ends_its_streams() {
    let node = TestNode::start().await;
    let mut raw = Raw::open(&node).await;
    raw.ask(raw.batch(1)).await;
    let start = tokio::time::Instant::now();
    let report = within("the shutdown", node.node.shutdown()).await;
    assert_eq!((report.forced, report.unsettled), (0, 0));
    assert!(matches!(within("the end", raw.answers.message()).await, Ok(None)));
    assert!(start.elapsed() < DEADLINE / 2, "{:?}", start.elapsed());
}
