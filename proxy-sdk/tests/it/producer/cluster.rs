//! The same on a Redis Cluster, where each lane has a master of its own, and may change it.

use bytes::Bytes;
use gim_proto::{Keys, NodeId, SessionId};
use gim_proxy_sdk::queue::{Queue, RedisQueue, Selection};
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::testing::{RedisCluster, prefix};
use gim_proxy_sdk::upstream::{Command, RedisUpstream, Subscriber, SubscriberOptions, Upstream};
use redis::cmd;

use super::*;

const LANES: u16 = 8;

struct World {
    cluster: RedisCluster,
    store: Store,
    keys: Keys,
}

impl World {
    async fn start() -> Self {
        let cluster = RedisCluster::start().await;
        let store = Store::new(cluster.options());
        Self { cluster, store, keys: Keys::new(&prefix()).unwrap() }
    }

    fn queue(&self) -> RedisQueue {
        RedisQueue::new(&self.store, self.keys.clone(), lanes(LANES), Bounds::default())
    }

    /// Entries and dead letters of all lanes.
    async fn held(&self, queue: &RedisQueue) -> (u64, u64) {
        let stats = queue.stats().await.unwrap();
        (stats.iter().map(|lane| lane.lag).sum(), stats.iter().map(|lane| lane.dead).sum())
    }
}

#[tokio::test]
async fn every_lane_is_reached_also_after_its_slot_has_moved() {
    let world = World::start().await;
    agree_on_lanes(&world.store, &world.keys, lanes(LANES)).await.unwrap();
    let prefix = world.keys.prefix().to_owned();
    let options = ProducerOptions { prefix, ..ProducerOptions::default() };
    let producer = Producer::connect(world.cluster.options(), options).await.unwrap();
    let queue = world.queue();
    let call = |n: u32| (0..100).map(|uid| under(&format!("{n}-{uid}"), &uid.to_string())).collect::<Vec<_>>();
    producer.enqueue(call(0)).await.unwrap();
    assert_eq!(world.held(&queue).await, (100, 0));
    for lane in 0..LANES {
        world.cluster.move_slot_of(&world.keys.queue(lane)).await;
    }
    assert_eq!(producer.enqueue(call(0)).await.unwrap().len(), 100, "marks moved along");
    producer.enqueue(call(1)).await.unwrap();
    assert_eq!(world.held(&queue).await, (200, 0));
}

#[tokio::test]
async fn letters_go_back_where_they_came_from() {
    let world = World::start().await;
    let queue = world.queue();
    for lane in 0..LANES {
        let mut bury = cmd("XADD");
        bury.arg(world.keys.dead(lane)).arg("*").arg(&["to_uid", "1", "data", "{}", "gim_entry", "5-0"]);
        world.store.link(world.keys.dead(lane)).query::<String>(&bury).await.unwrap();
    }
    assert_eq!(world.held(&queue).await, (0, 8));
    for lane in 0..LANES {
        assert_eq!(queue.redrive(lane, Selection::All).await.unwrap(), 1);
    }
    assert_eq!(world.held(&queue).await, (8, 0));
}

#[tokio::test]
async fn commands_go_up_and_are_read_while_their_slot_moves() {
    let world = World::start().await;
    let upstream = RedisUpstream::new(&world.store, &world.keys, 1_000);
    let options = SubscriberOptions {
        prefix: world.keys.prefix().to_owned(),
        block: Duration::from_millis(50),
        ..SubscriberOptions::new("shop", "a")
    };
    let mut reader = Subscriber::connect(world.cluster.options(), options).await.unwrap();
    for seq in 0..3 {
        let command = Command {
            id: MessageId::mint(),
            uid: Uid::parse("42").unwrap(),
            session: SessionId::mint(),
            seq: seq.to_string(),
            cmd: "echo.up".to_owned(),
            data: Bytes::from_static(b"null"),
            node: NodeId::parse("n").unwrap(),
            at_ms: 1,
        };
        upstream.offer(command).await.unwrap();
        let reading = async {
            loop {
                match reader.next().await {
                    Ok(deliveries) if deliveries.is_empty() => {}
                    Ok(deliveries) => return deliveries,
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
        };
        let deliveries = crate::support::within("the command", reading).await;
        assert_eq!(deliveries[0].command.seq, seq.to_string());
        reader.ack(&[deliveries[0].id]).await.unwrap();
        world.cluster.move_slot_of(&world.keys.upstream()).await;
    }
}
