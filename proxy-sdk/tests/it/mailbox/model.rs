//! Mailboxes in Redis agree with the rules as a value, whatever is asked of them in whatever order.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gim_proto::frame::MsgType;
use gim_proto::{Fence, MessageId, Payload};
use gim_proxy_sdk::delivery::{LaneOrigin, Message};
use gim_proxy_sdk::mailbox::state::{Known, Mailbox};
use gim_proxy_sdk::mailbox::{
    Ack, Appended, Arrival, Item, MailboxBounds, Mailboxes, Page, PageBounds, Position, Post,
};
use proptest::prelude::*;

use super::world::{RedisWorld, entry, message, uid};

const BOUNDS: MailboxBounds = MailboxBounds { messages: 12, bytes: 300, age: Duration::from_hours(1), latest_keys: 3 };

#[derive(Clone, Debug)]
struct Sent {
    lane: u16,
    entry: u64,
    id: u64,
    bytes: usize,
    is_over: bool,
    receipt: bool,
}

#[derive(Clone, Debug)]
enum Op {
    Append {
        sent: Vec<Sent>,
        /// None now and then.
        low_water: Option<u64>,
    },
    Open {
        how: u8,
        is_of_epoch: bool,
        offset: u64,
        fence: u64,
    },
    Ack {
        is_of_epoch: bool,
        offset: u64,
        fence: u64,
    },
    Cancel {
        id: u64,
    },
    Read {
        after: u64,
        messages: usize,
        bytes: usize,
    },
}

/// Few entries of two lanes, again and again: each mostly with an id of its own number, which the other lane's has too, or
/// with one of three that all of them share.
fn sent() -> impl Strategy<Value = Sent> {
    let id = prop_oneof![2 => Just(None), 1 => (0..3_u64).prop_map(Some)];
    (0..2_u16, 0..30_u64, id, 0..70_usize, prop::bool::weighted(0.2), prop::bool::weighted(0.3)).prop_map(
        |(lane, entry, id, bytes, is_over, receipt)| Sent {
            lane,
            entry,
            id: id.unwrap_or(entry),
            bytes,
            is_over,
            receipt,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (prop::collection::vec(sent(), 1..12), prop::option::weighted(0.8, 0..35_u64))
            .prop_map(|(sent, low_water)| Op::Append { sent, low_water }),
        1 => (0..3_u8, any::<bool>(), 0..60_u64, 0..4_u64)
            .prop_map(|(how, is_of_epoch, offset, fence)| Op::Open { how, is_of_epoch, offset, fence }),
        1 => (prop::bool::weighted(0.8), 0..60_u64, 0..4_u64)
            .prop_map(|(is_of_epoch, offset, fence)| Op::Ack { is_of_epoch, offset, fence }),
        1 => prop_oneof![0..3_u64, 0..30_u64].prop_map(|id| Op::Cancel { id }),
        2 => (0..60_u64, 0..8_usize, 0..300_usize)
            .prop_map(|(after, messages, bytes)| Op::Read { after, messages, bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn a_mailbox_in_redis_agrees_with_its_rules_as_a_value(ops in prop::collection::vec(op(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = RedisWorld::new(BOUNDS).await;
            let mut both = Both { model: None, epochs: (0, 0), world };
            for op in ops {
                both.step(op).await;
                both.reads(0, 100, 10_000).await;
            }
            both.world.mailboxes.close().await;
        });
    }
}

struct Both {
    world: RedisWorld,
    model: Option<Mailbox>,
    /// What the epochs are in Redis and in the model: they begin at different times.
    epochs: (u64, u64),
}

impl Both {
    fn model(&mut self) -> &mut Mailbox {
        self.model.get_or_insert_with(|| Mailbox::new(now_us()))
    }

    fn epochs_are(&mut self, redis: u64) {
        let model = self.model().epoch();
        if self.epochs == (0, 0) {
            self.epochs = (redis, model);
        }
        assert_eq!(redis != self.epochs.0, model != self.epochs.1, "the epoch rises in both");
        assert!(redis >= self.epochs.0);
        self.epochs = (redis, model);
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Append { sent, low_water } => {
                for lane in 0..2 {
                    let of_lane: Vec<&Sent> = sent.iter().filter(|sent| sent.lane == lane).collect();
                    self.appends(LaneOrigin { lane, term: 1, low_water: low_water.map(entry) }, &of_lane).await;
                }
            }
            Op::Open { how, is_of_epoch, offset, fence } => {
                // Nobody is on record: what compares is who opened it.
                let fence = Fence(fence);
                let seen = |epoch| {
                    let seen = Position { epoch: if is_of_epoch { epoch } else { 7 }, offset };
                    [Arrival::Anew, Arrival::Resumes(seen), Arrival::Survives(seen)][usize::from(how)]
                };
                let redis = self.world.mailboxes.open(&uid("u"), fence, seen(self.epochs.0)).await.unwrap();
                let arrival = seen(self.epochs.1);
                let model = self.model().open(fence, arrival, now_us());
                assert_eq!((redis.last, redis.acked, redis.is_reset), (model.last, model.acked, model.is_reset));
                self.epochs_are(redis.epoch);
            }
            Op::Ack { is_of_epoch, offset, fence } => {
                let fence = Fence(fence);
                let upto = |epoch| Position { epoch: if is_of_epoch { epoch } else { 7 }, offset };
                let ack = Ack { uid: uid("u"), fence, upto: upto(self.epochs.0) };
                let redis = self.world.mailboxes.ack(&[ack]).await.unwrap().remove(0);
                if let Some(model) = &mut self.model {
                    assert_eq!(redis, model.ack(fence, upto(self.epochs.1)));
                }
            }
            Op::Cancel { id } => {
                let id = MessageId::parse(&format!("m{id}")).unwrap();
                let redis = self.world.mailboxes.cancel(&uid("u"), &id).await.unwrap();
                assert_eq!(redis, self.model.as_mut().is_some_and(|model| model.cancel(&id).is_some()));
            }
            Op::Read { after, messages, bytes } => self.reads(after, messages, bytes).await,
        }
    }

    async fn appends(&mut self, lane: LaneOrigin, sent: &[&Sent]) {
        let posts: Vec<Post> = sent
            .iter()
            .map(|sent| Post {
                entry: entry(sent.entry),
                message: Arc::new(Message {
                    payload: Payload::Json(Bytes::from("x".repeat(sent.bytes))),
                    expires_ms: sent.is_over.then_some(1),
                    receipt: sent.receipt,
                    ..message(&format!("m{}", sent.id), "")
                }),
                kind: if sent.bytes % 2 == 0 { MsgType::User } else { MsgType::Group },
                to: vec![uid("u")],
                of: Arc::default(),
            })
            .collect();
        let redis = self.world.mailboxes.append(&lane, &posts).await.unwrap();
        let mut trimmed = Vec::new();
        for (redis, post) in redis.answers.into_iter().flatten().zip(&posts) {
            let Appended::Stored(redis) = redis else { panic!("no group is named") };
            let model = self.model().append(&lane, post.entry, &post.message, post.kind, now_us() / 1_000, &BOUNDS);
            assert_eq!(redis.offset, model.offset);
            self.epochs_are(redis.epoch);
            let by = Known { id: post.message.id.clone(), lane: lane.lane, entry: post.entry };
            trimmed.extend(self.model().trimmed_by(&by).iter().map(|id| (uid("u"), id.clone())));
        }
        assert_eq!(redis.trimmed, trimmed);
        if self.model.is_some() {
            self.wants().await;
        }
    }

    async fn wants(&mut self) {
        let upto = |epoch| Position { epoch, offset: u64::MAX >> 12 };
        let redis = self.world.mailboxes.wanted(&uid("u"), upto(self.epochs.0)).await.unwrap();
        let epoch = self.epochs.1;
        assert_eq!(redis, self.model().wanted(upto(epoch), now_us() / 1_000, &BOUNDS));
    }

    async fn reads(&self, after: u64, messages: usize, bytes: usize) {
        let bounds = PageBounds { messages, bytes };
        let redis = self.world.mailboxes.read(&uid("u"), Position { epoch: 0, offset: after }, bounds).await.unwrap();
        let model = self.model.as_ref().map(|model| model.read(after, bounds, now_us() / 1_000, &BOUNDS));
        let model = model.unwrap_or_default();
        assert_eq!((redis.last, items(&redis), &redis.over), (model.last, items(&model), &model.over));
    }
}

fn items(page: &Page) -> Vec<String> {
    let item = |item: &Item| match item {
        Item::Letter { offset, kind, message } => format!("{offset} {kind:?} {} {:?}", message.id, message.payload),
        gap @ Item::Gap { .. } => format!("{gap:?}"),
    };
    page.items.iter().map(item).collect()
}

fn now_us() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}
