//! Batches against a real node: what they pass, and that repeats of them are answered.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use gim_proto::frame::MsgType;
use gim_proto::{Class, EntryId, MessageId, NodeId, Payload, SessionId, Tgid, Uid};
use gim_proxy_sdk::delivery::{Addressed, Message, Recipients};
use gim_proxy_sdk::directory::{Here, NodeRef};
use gim_proxy_sdk::ledger::{Log, Noted};
use gim_proxy_sdk::mailbox::{Appended, Post};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;
use crate::app::{Running, start};
use crate::config::{Config, LocalSection};
use crate::embed::Handlers;

const DEADLINE: Duration = Duration::from_secs(15);
const OFFERED: TargetReport = TargetReport::Done(Outcome::Offered);

struct World {
    running: Arc<Running>,
    intake: Intake,
}

impl World {
    async fn new(remembers: Remembers) -> Self {
        Self::with(remembers, Config::default()).await
    }

    async fn with(remembers: Remembers, config: Config) -> Self {
        let mut config = Config { local: LocalSection::in_memory(), ..config };
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        (config.listen.public, config.listen.admin, config.listen.rpc) = (free, free, free);
        let handlers = Handlers { deadline: config.session.handler_deadline, ..Handlers::default() };
        let running = start(config, handlers, None).await.unwrap();
        let intake = Intake::new(&running.core, remembers);
        Self { running, intake }
    }

    fn now(&self) -> Incarnation {
        self.running.core.node().incarnation
    }

    async fn connect(&self, uid: &str) -> Client {
        self.connect_by(&format!("uid={uid}")).await
    }

    async fn connect_by(&self, query: &str) -> Client {
        let url = format!("ws://{}/acc?{query}&msg_code=1", self.running.public);
        Client(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    /// As the directory would name the user.
    fn find(&self, uid: &str) -> Addressed {
        let session = self.running.core.hub.users.active(&Uid::parse(uid).unwrap()).unwrap();
        Addressed { uid: session.uid().clone(), session: session.id(), fence: session.fence() }
    }

    /// Which messages receipts call trimmed, in that order.
    async fn trimmed(&self) -> Vec<String> {
        let receipts = self.running.core.ledger.read(Log::Receipts, None, 1_000).await.unwrap();
        let field = |noted: &Noted, name: &str| {
            noted.fields.iter().find(|(of, _)| &**of == name).map(|(_, value)| value.to_string()).unwrap_or_default()
        };
        let trimmed = receipts.iter().filter(|noted| field(noted, "state") == "trimmed");
        trimmed.map(|noted| field(noted, "id")).collect()
    }

    async fn deliver(&self, batch: &Batch) -> Result<Vec<Report>, Declined> {
        self.intake.deliver(&self.now(), batch).await
    }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn expect(&mut self, text: &str) {
        let message = tokio::time::timeout(DEADLINE, self.0.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(message, tungstenite::Message::text(text));
    }
}

fn delivery(ms: u64, text: &'static str, to: Recipients) -> Delivery {
    let entry = EntryId { ms, seq: 0 };
    let (id, payload) = (MessageId::of_entry(0, entry), Payload::Raw(text.into()));
    let message = Message {
        id,
        class: Class::Live,
        key: None,
        payload,
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    };
    Delivery { entry: Some(entry), message: Arc::new(message), to }
}

fn batch(term: u64, deliveries: Vec<Delivery>) -> Batch {
    Batch { lane: Some(LaneOrigin { lane: 0, term, low_water: None }), deliveries }
}

#[tokio::test]
async fn a_repeat_is_answered_and_not_delivered_whoever_owns_the_lane_and_as_whom_the_node_lives() {
    let world = World::new(Remembers::Outcomes).await;
    let mut client = world.connect("a").await;
    let group = Recipients::Groups(vec![Tgid::parse("nobody").unwrap()]);
    let deliveries = vec![
        delivery(1, "one", Recipients::Sessions(vec![world.find("a")].into())),
        delivery(2, "two", Recipients::All),
        delivery(3, "three", group),
    ];
    let counts = |offered| Report::Count { offered, slow: 0 };
    let reports = vec![Report::Targets(vec![OFFERED].into()), counts(1), counts(0)];
    for term in [7, 7, 8] {
        assert_eq!(world.deliver(&batch(term, deliveries.clone())).await, Ok(reports.clone()));
    }
    let node = NodeRef { id: NodeId::parse("n").unwrap(), incarnation: Incarnation::mint() };
    world.running.core.live_on_as(Arc::new(node));
    assert_eq!(world.deliver(&batch(9, deliveries)).await, Ok(reports));
    let last = delivery(4, "last", Recipients::All);
    world.deliver(&batch(9, vec![last])).await.unwrap();
    for text in ["one", "two", "last"] {
        client.expect(text).await;
    }
    let rendered = world.running.core.metrics.render(world.running.core.snapshot(), &[]);
    assert!(rendered.contains("gim_outcomes_recalled_total 9"), "{rendered}");
}

#[tokio::test]
async fn only_who_has_no_outcome_yet_gets_a_repeat() {
    let world = World::new(Remembers::Outcomes).await;
    let mut a = world.connect("a").await;
    let ghost = Addressed { uid: Uid::parse("b").unwrap(), session: SessionId::mint(), ..world.find("a") };
    let of = |b| batch(1, vec![delivery(1, "one", Recipients::Sessions(vec![world.find("a"), b].into()))]);
    let answered = world.deliver(&of(ghost)).await;
    assert_eq!(answered, Ok(vec![Report::Targets(vec![OFFERED, TargetReport::NotOwner].into())]));
    let mut b = world.connect("b").await;
    let answered = world.deliver(&of(world.find("b"))).await;
    assert_eq!(answered, Ok(vec![Report::Targets(vec![OFFERED, OFFERED].into())]));
    world.deliver(&batch(1, vec![delivery(2, "two", Recipients::All)])).await.unwrap();
    for client in [&mut a, &mut b] {
        client.expect("one").await;
        client.expect("two").await;
    }
}

#[tokio::test]
async fn below_the_low_water_a_message_is_new_again() {
    let world = World::new(Remembers::Outcomes).await;
    let mut client = world.connect("a").await;
    let of = |ms, low| Batch {
        lane: Some(LaneOrigin { lane: 0, term: 1, low_water: Some(EntryId { ms: low, seq: 0 }) }),
        deliveries: vec![delivery(ms, "x", Recipients::All)],
    };
    for (ms, low) in [(1, 1), (2, 1), (1, 1), (3, 2), (1, 1)] {
        world.deliver(&of(ms, low)).await.unwrap();
    }
    world.deliver(&batch(1, vec![delivery(9, "last", Recipients::All)])).await.unwrap();
    for text in ["x", "x", "x", "x", "last"] {
        client.expect(text).await;
    }
}

#[tokio::test]
async fn where_nothing_is_remembered_a_repeat_is_delivered() {
    let world = World::new(Remembers::Nothing).await;
    let mut client = world.connect("a").await;
    for _ in 0..2 {
        world.deliver(&batch(1, vec![delivery(1, "one", Recipients::All)])).await.unwrap();
        client.expect("one").await;
    }
}

#[tokio::test]
async fn direct_sends_are_never_repeats() {
    let world = World::new(Remembers::Outcomes).await;
    let mut client = world.connect("a").await;
    let direct = Batch { lane: None, ..batch(0, vec![delivery(1, "now", Recipients::All)]) };
    for _ in 0..2 {
        world.deliver(&direct).await.unwrap();
        client.expect("now").await;
    }
}

#[tokio::test]
async fn what_does_not_belong_here_is_declined() {
    let world = World::new(Remembers::Outcomes).await;
    let mine = batch(5, vec![delivery(1, "x", Recipients::All)]);
    assert_eq!(world.intake.deliver(&Incarnation::mint(), &mine).await, Err(Declined::NotHere));
    let before = world.now();
    world.deliver(&mine).await.unwrap();
    let node = NodeRef { id: NodeId::parse("n").unwrap(), incarnation: Incarnation::mint() };
    world.running.core.live_on_as(Arc::new(node));
    assert!(world.intake.deliver(&before, &mine).await.is_ok(), "a former life is this process too");
    assert_eq!(world.deliver(&batch(4, Vec::new())).await, Err(Declined::Refused));
    let beyond = LaneOrigin { lane: MAX_LANES, term: 1, low_water: None };
    assert_eq!(world.deliver(&Batch { lane: Some(beyond), ..mine.clone() }).await, Err(Declined::NoSuchLane));
    // Another lane has terms of its own.
    let other = LaneOrigin { lane: 1, term: 1, low_water: None };
    assert!(world.deliver(&Batch { lane: Some(other), ..mine }).await.is_ok());
}

#[tokio::test]
async fn what_asks_for_it_is_told_when_it_is_written_and_acknowledged() {
    let world = World::new(Remembers::Nothing).await;
    let mut client = world.connect("a").await;
    let core = &world.running.core;
    let entry = EntryId { ms: 1, seq: 0 };
    let message = Arc::new(Message {
        class: Class::Durable,
        payload: Payload::Json("{}".into()),
        receipt: true,
        traced: true,
        ..Message::clone(&delivery(1, "", Recipients::All).message)
    });
    let to = vec![Uid::parse("a").unwrap()];
    let post = Post { entry, message: Arc::clone(&message), kind: MsgType::User, to, of: Arc::default() };
    let origin = LaneOrigin { lane: 0, term: 1, low_water: None };
    let appended = core.mailboxes.append(&origin, &[post]).await.unwrap().answers;
    let Appended::Stored(at) = appended[0][0] else { panic!("{appended:?}") };
    let to = Recipients::Stored { to: vec![world.find("a")].into(), at: vec![at] };
    let batch = Batch {
        lane: Some(origin),
        deliveries: vec![Delivery { entry: Some(entry), message: Arc::clone(&message), to }],
    };
    let stored = Report::Targets(vec![TargetReport::Done(Outcome::Stored)].into());
    assert_eq!(world.deliver(&batch).await, Ok(vec![stored]));
    client.expect(r#"{"seq":"","cmd":"","msgType":3,"id":"0-1-0","offset":1,"response":{"s":1,"a":{}}}"#).await;
    let states = tokio::time::timeout(DEADLINE, async {
        loop {
            let receipts = core.ledger.read(Log::Receipts, None, 10).await.unwrap();
            if receipts.len() == 2 {
                let state = |noted: &Noted| noted.fields.iter().find(|(name, _)| &**name == "state").unwrap().1.clone();
                return receipts.iter().map(state).collect::<Vec<_>>();
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(states.await.unwrap(), [Box::from("written"), Box::from("acked")]);
    let hops = core.ledger.journey(&message.id).await.unwrap();
    assert_eq!(hops.iter().map(|hop| &*hop.hop).collect::<Vec<_>>(), ["offered", "written", "acked"]);
}

#[tokio::test]
async fn what_was_trimmed_is_told_once_however_often_the_batch_comes() {
    let mut config = Config::default();
    config.mailbox.messages = 1;
    let world = World::with(Remembers::Nothing, config).await;
    let _client = world.connect_by("uid=a&ack=1").await;
    let tgid = Tgid::parse("g").unwrap();
    let session = world.running.core.hub.users.active(&Uid::parse("a").unwrap()).unwrap();
    assert!(session.join_group(&tgid).await.is_ok());
    let durable = |ms| {
        let of = delivery(ms, "", Recipients::Groups(vec![tgid.clone()]));
        let message = Message { class: Class::Durable, receipt: true, ..Message::clone(&of.message) };
        Delivery { message: Arc::new(Message { payload: Payload::Json("{}".into()), ..message }), ..of }
    };
    for _ in 0..3 {
        world.deliver(&batch(1, vec![durable(1), durable(2)])).await.unwrap();
        assert_eq!(world.trimmed().await, ["0-1-0"]);
    }
    // A loss of its own is told, also in a batch that has come in part.
    world.deliver(&batch(1, vec![durable(2), durable(3)])).await.unwrap();
    assert_eq!(world.trimmed().await, ["0-1-0", "0-2-0"]);
}

#[tokio::test]
async fn who_is_connected_is_named_in_the_order_asked() {
    let world = World::new(Remembers::Nothing).await;
    let core = &world.running.core;
    // More than are looked up under one set of locks.
    let names: Vec<String> = (0..150).map(|number| format!("u{number}")).collect();
    let mut clients = Vec::new();
    for name in names.iter().step_by(2) {
        clients.push(world.connect(name).await);
    }
    let uids: Vec<Uid> = names.iter().rev().map(|name| Uid::parse(name).unwrap()).collect();
    let owners = core.owners(&uids);
    assert_eq!(owners.len(), uids.len());
    for (uid, owner) in uids.iter().zip(owners) {
        let active = core.hub.users.active(uid).map(|session| (session.id(), session.fence()));
        assert_eq!(owner, active, "{uid}");
    }
    assert_eq!(core.owners(&uids).iter().flatten().count(), clients.len());
    assert!(core.owners(&[]).is_empty());
}

#[tokio::test]
async fn who_is_superseded_here_is_not_named_any_more_nor_anybody_before_all_is_recorded_anew() {
    let world = World::new(Remembers::Nothing).await;
    let core = &world.running.core;
    let uid = [Uid::parse("a").unwrap()];
    let _client = world.connect("a").await;
    let owner = core.owners(&uid);
    assert!(owner[0].is_some());
    let node = NodeRef { id: NodeId::parse("n").unwrap(), incarnation: Incarnation::mint() };
    core.live_on_as(Arc::new(node));
    assert_eq!(core.owners(&uid), [None], "somebody else may have it by now");
    core.is_recorded();
    assert_eq!(core.owners(&uid), owner);
    core.hub.users.active(&uid[0]).unwrap().supersede();
    assert_eq!(core.owners(&uid), [None], "its successor is about to become active");
}

#[tokio::test]
async fn a_second_connection_supersedes_the_first() {
    let world = World::new(Remembers::Nothing).await;
    let core = &world.running.core;
    let uid = [Uid::parse("a").unwrap()];
    let _first = world.connect("a").await;
    let before = core.owners(&uid)[0].unwrap();
    let held = core.hub.users.active(&uid[0]).unwrap();
    let _second = world.connect("a").await;
    let after = core.owners(&uid)[0].unwrap();
    assert!(after.1 > before.1 && after.0 != before.0);
    assert!(!held.owns_now());
}
