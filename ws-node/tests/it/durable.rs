//! Durable messages: from mailboxes to clients, in order, each once, until they are acknowledged.

mod acks;
mod gaps;
mod groups;
mod latest;
mod logins;
mod messages;
mod receipts;
mod room;
mod slow;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gim_proto::frame::MsgType;
use gim_proto::{Class, EntryId, MessageId, Payload, Tgid, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Addressed, Delivery, LaneOrigin, Message, Recipients, Report, TargetReport};
use gim_proxy_sdk::mailbox::{Appended, Position, Post};
use gim_ws_node::config::Config;
use serde_json::json;

use crate::support::client::Client;
use crate::support::node::TestNode;
use crate::support::way::{Way, addressed, of_lane};
use crate::support::{http, within};

/// A node, and a worker's side of it.
struct World {
    node: TestNode,
    way: Way,
    next: AtomicU64,
}

/// A message as a worker has it.
struct Sent {
    entry: EntryId,
    message: Arc<Message>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(tune: impl FnOnce(&mut Config)) -> Self {
        let node = TestNode::start_with(tune).await;
        let way = Way::to(&node).await;
        Self { node, way, next: AtomicU64::new(1) }
    }

    /// Mints the message `{"n": n}`, and lets the caller change it.
    fn message(&self, n: u64, change: impl FnOnce(&mut Message)) -> Sent {
        let entry = EntryId { ms: self.next.fetch_add(1, Ordering::SeqCst), seq: 0 };
        let mut message = Message {
            id: MessageId::of_entry(0, entry),
            class: Class::Durable,
            key: None,
            payload: Payload::Json(json!({ "n": n }).to_string().into()),
            except: Vec::new(),
            expires_ms: None,
            receipt: false,
            traced: false,
        };
        change(&mut message);
        Sent { entry, message: Arc::new(message) }
    }

    /// Puts a message into a user's mailbox.
    async fn append(&self, uid: &str, sent: &Sent) -> Position {
        let post = Post {
            entry: sent.entry,
            message: Arc::clone(&sent.message),
            kind: MsgType::User,
            to: vec![Uid::parse(uid).unwrap()],
            of: Arc::default(),
        };
        let lane = LaneOrigin { lane: 0, term: 1, low_water: None };
        let appended = within("the mailbox", self.node.node.mailboxes().append(&lane, &[post])).await.unwrap().answers;
        let Appended::Stored(at) = appended[0][0] else { panic!("{appended:?}") };
        at
    }

    /// Stores the messages `n` of a range for somebody who is away.
    async fn store(&self, uid: &str, range: impl IntoIterator<Item = u64>) {
        for n in range {
            self.append(uid, &self.message(n, |_| {})).await;
        }
    }

    /// Stores a message for a connected user, and tells the node.
    async fn push(&self, uid: &str, to: &Addressed, n: u64) -> Position {
        let sent = self.message(n, |_| {});
        let at = self.append(uid, &sent).await;
        assert_eq!(self.hint(to, &[(&sent, at)]).await, [TargetReport::Done(Outcome::Stored)]);
        at
    }

    /// Tells the node of messages in one session's mailbox, in one batch.
    async fn hint(&self, to: &Addressed, what: &[(&Sent, Position)]) -> Vec<TargetReport> {
        let deliveries = what.iter().map(|(sent, at)| Delivery {
            entry: Some(sent.entry),
            message: Arc::clone(&sent.message),
            to: Recipients::Stored { to: vec![to.clone()].into(), at: vec![*at] },
        });
        let reports = self.way.deliver(of_lane(0, 1, deliveries.collect())).await.unwrap();
        reports
            .into_iter()
            .flat_map(|report| match report {
                Report::Targets(targets) => targets,
                Report::Count { .. } => panic!("a count for a user"),
            })
            .collect()
    }

    /// Delivers to groups, as a worker does. Returns for how many sessions it was stored.
    async fn fan(&self, tgids: &[&str], sent: &Sent) -> u64 {
        let to = Recipients::Groups(tgids.iter().map(|tgid| Tgid::parse(tgid).unwrap()).collect());
        let delivery = Delivery { entry: Some(sent.entry), message: Arc::clone(&sent.message), to };
        match &self.way.deliver(of_lane(0, 1, vec![delivery])).await.unwrap()[..] {
            [Report::Count { offered, slow: 0 }] => *offered,
            other => panic!("{other:?}"),
        }
    }

    async fn connect(&self, uid: &str) -> (Client, Addressed) {
        self.connect_by(&format!("/ws?uid={uid}&msg_code=1"), uid).await
    }

    /// Connects by `/ws`, and tells as whom.
    async fn connect_by(&self, path: &str, uid: &str) -> (Client, Addressed) {
        let client = Client::connect(self.node.public, path).await;
        let to = addressed(uid, &client);
        (client, to)
    }

    async fn resume(&self, uid: &str, epoch: u64, offset: u64) -> Client {
        let path = format!("/ws?uid={uid}&msg_code=1&epoch={epoch}&offset={offset}");
        Client::connect(self.node.public, &path).await
    }

    /// A figure of `/metrics`.
    async fn metric(&self, name: &str) -> f64 {
        let metrics = http::respond("GET", self.node.admin, "/metrics", &[], b"").await.text();
        let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or_else(|| panic!("{name} in {metrics}"))
    }
}

/// The next pushes must be the messages of these numbers, at offsets that follow each other from the first.
async fn expect(client: &mut Client, first: u64, numbers: impl IntoIterator<Item = u64>) {
    for (n, offset) in numbers.into_iter().zip(first..) {
        let push = client.expect_body(json!({ "n": n })).await;
        assert_eq!((push.offset, push.msg_type), (Some(offset), 3), "{push:?}");
        assert!(push.id.is_some());
    }
}

fn epoch(client: &Client) -> u64 {
    client.welcome["epoch"].as_u64().unwrap()
}
