//! The whole of it, short: everything that is kept in Redis, by everybody who may have a user of its own there.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use gim_proto::{Class, EntryId, Fence, Fields, Incarnation, Keys, MessageId, NodeId, SessionId, Tgid, Uid};
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::directory::redis::{LiveNodes, RedisDirectory, RedisDirectoryOptions};
use gim_proxy_sdk::directory::{Claim, ClaimRequest, Directory, Freshness, Held, NodeRef, OnDuplicate};
use gim_proxy_sdk::lease::{LeaseOptions, NodeLease, RpcProbe};
use gim_proxy_sdk::mailbox::{
    Ack, Acked, Arrival, MailboxBounds, Mailboxes, Opened, PageBounds, Position, RedisMailboxes, Scope, Value,
};
use gim_proxy_sdk::producer::{Bounds, Producer, ProducerOptions};
use gim_proxy_sdk::queue::{Queue, RedisQueue, Selection, agree_on_lanes};
use gim_proxy_sdk::store::{RedisOptions, Store};
use gim_proxy_sdk::testing::prefix;
use gim_proxy_sdk::upstream::{Command, MOST_COMMANDS, RedisUpstream, Subscriber, SubscriberOptions, Upstream};
use redis::{Cmd, FromRedisValue, cmd};

use crate::mailbox::world::{entry, lane, message, post};
use crate::support::streams::{fields, to, under};
use crate::support::within;

const LANES: NonZeroU16 = NonZeroU16::new(4).unwrap();
const USERS: usize = 24;

/// Everybody who takes part, each with a way of its own into one Redis.
pub(crate) struct Parties {
    pub(crate) keys: Keys,
    pub(crate) node: RedisOptions,
    pub(crate) worker: RedisOptions,
    pub(crate) producer: RedisOptions,
    pub(crate) adder: RedisOptions,
    pub(crate) subscriber: RedisOptions,
    pub(crate) operator: RedisOptions,
    /// The test's own way, which may do everything.
    pub(crate) raw: Store,
}

impl Parties {
    /// All by the same way, under a prefix that nobody else uses.
    pub(crate) fn alike(options: &RedisOptions) -> Self {
        let party = || options.clone();
        Self {
            keys: Keys::new(&prefix()).unwrap(),
            node: party(),
            worker: party(),
            producer: party(),
            adder: party(),
            subscriber: party(),
            operator: party(),
            raw: Store::new(party()),
        }
    }

    /// Each as a user of the documentation, under the prefix that it is about.
    pub(crate) fn documented(options: &RedisOptions) -> Self {
        let party = |user: &str| options.clone().username(user).password("secret");
        Self {
            keys: Keys::new("gim").unwrap(),
            node: party("gim-node"),
            worker: party("gim-worker"),
            producer: party("gim-producer"),
            adder: party("gim-xadd"),
            subscriber: party("gim-subscriber"),
            operator: party("gim-operator"),
            raw: Store::new(options.clone()),
        }
    }

    async fn ask<T: FromRedisValue + Send>(&self, key: &str, command: &Cmd) -> T {
        self.raw.link(key).query(command).await.unwrap()
    }
}

/// Runs it.
pub(crate) async fn holds(parties: &Parties) {
    let place = Place::take(parties).await;
    place.users_come_and_go().await;
    place.the_dead_are_swept().await;
    place.a_worker_finds_users_and_groups().await;
    place.messages_are_kept_for_users().await;
    place.entries_are_queued_by_everybody_who_may().await;
    place.dead_letters_come_back_or_go().await;
    place.commands_go_up().await;
    place.members_stay_and_go().await;
    place.an_operator_sees_everything().await;
    place.lease.release().await.unwrap();
    place.directory.close().await;
}

struct Place<'a> {
    parties: &'a Parties,
    keys: &'a Keys,
    lease: NodeLease,
    here: NodeRef,
    live: LiveNodes,
    directory: Arc<RedisDirectory>,
    queue: RedisQueue,
}

async fn directory(options: &RedisOptions, keys: &Keys, live: &LiveNodes) -> Arc<RedisDirectory> {
    let settings = RedisDirectoryOptions {
        grace: Duration::from_secs(1),
        presence: Some(10_000),
        ..RedisDirectoryOptions::new(keys.clone())
    };
    RedisDirectory::connect(options, live.clone(), settings).await.unwrap()
}

fn uids() -> Vec<Uid> {
    (0..USERS).map(|user| Uid::parse(&format!("u{user}")).unwrap()).collect()
}

fn tgid() -> Tgid {
    Tgid::parse("lobby").unwrap()
}

impl<'a> Place<'a> {
    async fn take(parties: &'a Parties) -> Self {
        let (keys, store) = (&parties.keys, Store::new(parties.node.clone()));
        agree_on_lanes(&store, keys, LANES).await.unwrap();
        let options = LeaseOptions::alone(NodeId::parse("n1").unwrap(), "127.0.0.1:1", "127.0.0.1:2");
        let (lease, voided) = NodeLease::acquire(&store, keys, options, &RpcProbe::default()).await.unwrap();
        assert!(voided.is_empty(), "{voided:?}");
        let (here, live) = (NodeRef::clone(&lease.node()), LiveNodes::new());
        live.set(vec![here.clone()]);
        let directory = directory(&parties.node, keys, &live).await;
        let queue = RedisQueue::new(&store, keys.clone(), LANES, Bounds::default());
        Self { parties, keys, lease, here, live, directory, queue }
    }

    async fn claim(&self, uid: &Uid, node: &NodeRef) -> Held {
        let session = SessionId::mint();
        let (uid, node, on_duplicate) = (uid.clone(), node.clone(), OnDuplicate::Replace);
        let request = ClaimRequest { uid: uid.clone(), node, session, on_duplicate, resume: None };
        match self.directory.claim(request).await.unwrap() {
            Claim::Granted { fence, .. } => Held { uid, session, fence, groups: vec![tgid()] },
            Claim::Taken { owner } => panic!("taken by {owner:?}"),
        }
    }

    async fn come(&self, node: &NodeRef) -> Vec<Held> {
        let held = join_all(uids().iter().map(|uid| async move { self.claim(uid, node).await })).await;
        self.directory.add_holder(&tgid(), node).await.unwrap();
        for Held { uid, session, fence, .. } in &held {
            assert!(self.directory.record_join(uid, *session, *fence, &tgid()).await.unwrap());
        }
        held
    }

    async fn users_come_and_go(&self) {
        let held = self.come(&self.here).await;
        let owners = self.directory.lookup(&uids(), Freshness::Current).await.unwrap();
        assert!(owners.iter().zip(&held).all(|(owner, held)| owner.as_ref().unwrap().session == held.session));
        let again = self.directory.reassert(&self.here, &held).await.unwrap();
        assert_eq!(again, vec![true; USERS]);
        let Held { uid, session, fence, .. } = &held[0];
        assert!(self.directory.record_leave(uid, *session, *fence, &tgid()).await.unwrap());
        let grace = Duration::from_secs(1);
        assert!(self.directory.release(uid, *session, *fence, grace).await.unwrap());
        assert_eq!(self.directory.lookup(std::slice::from_ref(uid), Freshness::Current).await.unwrap(), [None]);
        self.claim(uid, &self.here).await;
    }

    async fn members_stay_and_go(&self) {
        let (uid, group) = (&uids()[0], Tgid::parse("kept").unwrap());
        assert!(self.directory.join_durably(uid, &group, 1).await.unwrap());
        assert!(!self.directory.join_durably(&uids()[1], &group, 1).await.unwrap());
        assert_eq!(
            self.directory.durable_members(std::slice::from_ref(&group)).await.unwrap(),
            std::slice::from_ref(uid)
        );
        assert_eq!(self.directory.count_durable(&group).await.unwrap(), 1);
        let held = self.claim(uid, &self.here).await;
        assert!(self.directory.record_join(uid, held.session, held.fence, &tgid()).await.unwrap());
        assert!(self.directory.leave_durably(uid, &group).await.unwrap());
        assert!(self.directory.release(uid, held.session, held.fence, Duration::ZERO).await.unwrap());
        let moved = async {
            while self.directory.news().written < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("who came and went to be written down", moved).await;
    }

    async fn the_dead_are_swept(&self) {
        let dead = NodeRef { id: NodeId::parse("n2").unwrap(), incarnation: Incarnation::mint() };
        let run = format!("run:{}", dead.incarnation);
        let mut register = cmd("HSET");
        register.arg(self.keys.meta()).arg(&run).arg(dead.id.as_str());
        self.parties.ask::<()>(&self.keys.meta(), &register).await;
        self.live.set(vec![self.here.clone(), dead.clone()]);
        self.come(&dead).await;
        self.live.set(vec![self.here.clone()]);
        let mut registered = cmd("HEXISTS");
        registered.arg(self.keys.meta()).arg(&run);
        let sweeping = async {
            while self.parties.ask::<bool>(&self.keys.meta(), &registered).await {
                self.directory.sweep().await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the dead to be swept", sweeping).await;
        assert_eq!(self.directory.stats().swept, USERS as u64);
        self.come(&self.here).await;
    }

    async fn a_worker_finds_users_and_groups(&self) {
        let directory = directory(&self.parties.worker, self.keys, &self.live).await;
        let owners = directory.lookup(&uids(), Freshness::Current).await.unwrap();
        assert!(owners.iter().all(Option::is_some));
        assert_eq!(directory.holders(&[tgid()]).await.unwrap(), std::slice::from_ref(&self.here));
        directory.close().await;
        self.directory.remove_holder(&tgid(), &self.here).await.unwrap();
        assert_eq!(self.directory.holders(&[tgid()]).await.unwrap(), []);
    }

    async fn messages_are_kept_for_users(&self) {
        let bounds = MailboxBounds { messages: 2, latest_keys: 1, ..MailboxBounds::default() };
        let worker = RedisMailboxes::connect(&self.parties.worker, self.keys.clone(), bounds).await.unwrap();
        let node = RedisMailboxes::connect(&self.parties.node, self.keys.clone(), bounds).await.unwrap();
        let names: Vec<String> = uids().iter().map(ToString::to_string).collect();
        let to: Vec<&str> = names.iter().map(String::as_str).collect();
        // Enough for ids to be forgotten and letters to go.
        let posts: Vec<_> = (1..=40).map(|n| post(n, &to)).collect();
        worker.append(&lane(0), &posts).await.unwrap();
        node.append(&lane(40), &[post(41, &to)]).await.unwrap();
        for key in ["k1", "k2"] {
            let scopes = vec![Scope::User(uids().remove(0)), Scope::Group(tgid())];
            let latest = Message { class: Class::Latest, key: Some(key.into()), ..message(key, "{}") };
            worker.keep(&[Value { entry: entry(1), message: Arc::new(latest), scopes }]).await.unwrap();
        }
        assert_eq!(node.kept(&Scope::Group(tgid())).await.unwrap().len(), 1);
        for uid in uids() {
            let Opened { epoch, last, .. } = node.open(&uid, Fence(1), Arrival::Anew).await.unwrap();
            assert_eq!(last, 41);
            let page = PageBounds { messages: 10, bytes: 1_000 };
            assert_eq!(node.read(&uid, Position::default(), page).await.unwrap().items.len(), 3);
            let acks = [40, 41].map(|offset| Ack {
                uid: uid.clone(),
                fence: Fence(u64::MAX >> 12),
                upto: Position { epoch, offset },
            });
            assert_eq!(node.ack(&acks[..1]).await.unwrap(), [Acked::Done]);
            assert!(!node.cancel(&uid, &MessageId::parse("m1").unwrap()).await.unwrap());
            assert!(node.cancel(&uid, &MessageId::parse("m41").unwrap()).await.unwrap());
            assert_eq!(node.ack(&acks[1..]).await.unwrap(), [Acked::Done]);
        }
        worker.close().await;
        node.close().await;
    }

    async fn entries_are_queued_by_everybody_who_may(&self) {
        let options = ProducerOptions { prefix: self.keys.prefix().to_owned(), ..ProducerOptions::default() };
        let producer = Producer::connect(self.parties.producer.clone(), options).await.unwrap();
        let entries: Vec<Fields> = uids().iter().map(|uid| to(uid.as_str())).chain([under("x", "u1")]).collect();
        let ids = producer.enqueue(entries).await.unwrap();
        assert_eq!(producer.enqueue_one(under("x", "u1")).await.unwrap(), ids[USERS]);
        let hour = (std::time::SystemTime::now() + Duration::from_hours(1)).duration_since(std::time::UNIX_EPOCH);
        let due = hour.unwrap().as_millis().to_string();
        producer.enqueue_one(fields(&[("to_uid", "u1"), ("data", "{}"), ("deliver_at_ms", &due)])).await.unwrap();
        let adder = Store::new(self.parties.adder.clone());
        let add = |lane| {
            let mut add = cmd("XADD");
            add.arg(self.keys.queue(lane)).arg("*").arg("to_uid").arg("u1").arg("data").arg("{}");
            add
        };
        let added = (0..LANES.get()).map(|lane| {
            let (link, add) = (adder.link(self.keys.queue(lane)), add(lane));
            async move { link.query::<String>(&add).await }
        });
        try_join_all(added).await.unwrap();
        self.queue.enqueue(vec![to("u2")]).await.unwrap();
        let stats = self.queue.stats().await.unwrap();
        assert_eq!(stats.iter().map(|lane| lane.lag).sum::<u64>(), USERS as u64 + 3 + u64::from(LANES.get()));
    }

    async fn dead_letters_come_back_or_go(&self) {
        for lane in 0..LANES.get() {
            let key = self.keys.dead(lane);
            for seq in 1..=3 {
                let mut bury = cmd("XADD");
                bury.arg(&key).arg("*").arg("to_uid").arg("u1").arg("data").arg("{}").arg("gim_reason").arg("attempts");
                bury.arg("gim_entry").arg(format!("5-{seq}")).arg("gim_failed_targets").arg(r#"["u1"]"#);
                self.parties.ask::<String>(&key, &bury).await;
            }
            let letters = self.queue.dead(lane, None, 10).await.unwrap();
            let first: EntryId = letters[0].id;
            assert_eq!(letters.len(), 3);
            assert_eq!(self.queue.redrive(lane, Selection::Ids(vec![first])).await.unwrap(), 1);
            assert_eq!(self.queue.purge(lane, Selection::Ids(vec![letters[1].id])).await.unwrap(), 1);
            assert_eq!(self.queue.purge(lane, Selection::All).await.unwrap(), 1);
        }
    }

    async fn commands_go_up(&self) {
        let upstream = RedisUpstream::new(&Store::new(self.parties.node.clone()), self.keys, MOST_COMMANDS);
        let options = SubscriberOptions {
            prefix: self.keys.prefix().to_owned(),
            block: Duration::from_millis(100),
            ..SubscriberOptions::new("shop", "a")
        };
        let mut subscriber = Subscriber::connect(self.parties.subscriber.clone(), options).await.unwrap();
        let offered = upstream.offer(self.command()).await.unwrap();
        let reading = async {
            loop {
                let deliveries = subscriber.next().await.unwrap();
                if !deliveries.is_empty() {
                    return deliveries;
                }
            }
        };
        let deliveries = within("a command", reading).await;
        assert_eq!(deliveries[0].command.id, offered);
        subscriber.ack(&[deliveries[0].id]).await.unwrap();
        subscriber.close().await;
    }

    fn command(&self) -> Command {
        Command {
            id: MessageId::mint(),
            uid: uids().remove(0),
            session: SessionId::mint(),
            seq: "1".to_owned(),
            cmd: "echo.up".to_owned(),
            data: Bytes::from_static(b"{}"),
            node: self.here.id.clone(),
            at_ms: 1_700_000_000_000,
        }
    }

    async fn an_operator_sees_everything(&self) {
        let store = Store::new(self.parties.operator.clone());
        let (queue, upstream, meta) = (self.keys.queue(0), self.keys.upstream(), self.keys.meta());
        let (bucket, groups) = (self.keys.user_bucket(&uids()[0]), self.keys.user_groups(&uids()[0]));
        let (node, later, dead) = (self.keys.node(&self.here.id), self.keys.later(0), self.keys.dead(0));
        let looks: [(&str, &[&str]); 12] = [
            (&meta, &["HGETALL", &meta]),
            (&node, &["GET", &node]),
            (&node, &["PTTL", &node]),
            (&bucket, &["HGET", &bucket, "u0"]),
            (&groups, &["HGETALL", &groups]),
            (&queue, &["XLEN", &queue]),
            (&queue, &["XRANGE", &queue, "-", "+", "COUNT", "1"]),
            (&queue, &["XINFO", "STREAM", &queue]),
            (&later, &["ZRANGE", &later, "0", "9", "WITHSCORES"]),
            (&dead, &["XREVRANGE", &dead, "+", "-", "COUNT", "1"]),
            (&upstream, &["XPENDING", &upstream, "shop"]),
            (&queue, &["INFO", "memory"]),
        ];
        for (key, words) in looks {
            store.link(key).query::<redis::Value>(cmd(words[0]).arg(&words[1..])).await.unwrap();
        }
    }
}
