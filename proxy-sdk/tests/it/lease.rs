//! One node, one place: who takes it, who loses it, and what a node knows of it.

mod asserted;
mod modes;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gim_proto::{Keys, NodeId};
use gim_proxy_sdk::lease::{LeaseError, LeaseOptions, LeaseState, NodeLease, NodeRecord, Probe};
use gim_proxy_sdk::testing::{DEADLINE, RedisServer, prefix, shared_redis};
use redis::cmd;
use tokio::time::timeout;

/// Answers for the holder as it is told to.
#[derive(Default)]
struct Holder {
    lives: AtomicBool,
    asked: AtomicUsize,
}

impl Holder {
    fn living() -> Self {
        Self { lives: AtomicBool::new(true), ..Self::default() }
    }
}

#[async_trait]
impl Probe for Holder {
    async fn answers(&self, _record: &NodeRecord, _most: Duration) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.lives.load(Ordering::SeqCst)
    }
}

struct World<'a> {
    server: &'a RedisServer,
    keys: Keys,
}

impl<'a> World<'a> {
    fn on(server: &'a RedisServer) -> Self {
        Self { server, keys: Keys::new(&prefix()).unwrap() }
    }

    async fn take(&self, id: &str, holder: &Holder) -> Result<(NodeLease, Vec<gim_proto::Incarnation>), LeaseError> {
        self.take_as(LeaseOptions::alone(NodeId::parse(id).unwrap(), "127.0.0.1:1", "127.0.0.1:2"), holder).await
    }

    /// As one of many.
    async fn join(&self, id: &str, holder: &Holder) -> Result<(NodeLease, Vec<gim_proto::Incarnation>), LeaseError> {
        self.take_as(LeaseOptions::clustered(NodeId::parse(id).unwrap(), "127.0.0.1:1", "127.0.0.1:2"), holder).await
    }

    async fn take_as(
        &self,
        options: LeaseOptions,
        holder: &Holder,
    ) -> Result<(NodeLease, Vec<gim_proto::Incarnation>), LeaseError> {
        // Soon noticed, and never by chance too late.
        let options = LeaseOptions { renew: Duration::from_millis(50), ..options };
        NodeLease::acquire(&self.server.store(), &self.keys, options, holder).await
    }

    async fn ask<T: redis::FromRedisValue + Send>(&self, words: &[&str]) -> T {
        let (name, rest) = words.split_first().unwrap();
        self.server.store().link("k").query(cmd(name).arg(rest)).await.unwrap()
    }
}

async fn next(lease: &NodeLease, mut wanted: impl FnMut(&LeaseState) -> bool) -> LeaseState {
    let mut state = lease.state();
    timeout(DEADLINE, state.wait_for(|state| wanted(state))).await.unwrap().unwrap().clone()
}

#[tokio::test]
async fn a_place_is_held_until_it_is_given_back() {
    let world = World::on(shared_redis().await);
    let nobody = Holder::default();
    let (lease, voided) = world.take("n1", &nobody).await.unwrap();
    assert_eq!((voided, nobody.asked.load(Ordering::SeqCst)), (Vec::new(), 0));
    let incarnation = lease.node().incarnation;
    let registered: Option<String> = world.ask(&["HGET", &world.keys.meta(), &format!("run:{incarnation}")]).await;
    assert_eq!(registered.as_deref(), Some("n1"));
    let key = world.keys.node(&NodeId::parse("n1").unwrap());
    assert!(world.ask::<i64>(&["PTTL", &key]).await > 5_000);
    lease.guard().pass().await.unwrap();
    lease.release().await.unwrap();
    assert!(!world.ask::<bool>(&["EXISTS", &key]).await);
}

#[tokio::test]
async fn a_name_whose_holder_lives_is_refused() {
    let world = World::on(shared_redis().await);
    let (first, _) = world.take("n1", &Holder::default()).await.unwrap();
    let refused = world.take("n1", &Holder::living()).await.err().unwrap();
    assert!(matches!(refused, LeaseError::Held { .. }), "{refused}");
    first.guard().pass().await.unwrap();
}

#[tokio::test]
async fn a_name_whose_holder_is_silent_is_taken_and_the_holder_learns_of_it() {
    let world = World::on(shared_redis().await);
    let (first, _) = world.take("n1", &Holder::default()).await.unwrap();
    let (second, voided) = world.take("n1", &Holder::default()).await.unwrap();
    assert!(voided.contains(&first.node().incarnation));
    next(&first, |state| *state == LeaseState::Lost).await;
    assert!(first.guard().pass().await.is_err(), "it may not deliver any more");
    second.guard().pass().await.unwrap();
    first.release().await.unwrap();
    next(&second, |state| matches!(state, LeaseState::Held { .. })).await;
    let key = world.keys.node(&NodeId::parse("n1").unwrap());
    assert!(world.ask::<bool>(&["EXISTS", &key]).await, "what was lost is not given back");
}

#[tokio::test]
async fn a_second_node_is_refused_while_the_first_lives_and_follows_when_it_is_silent() {
    let world = World::on(shared_redis().await);
    let (first, _) = world.take("n1", &Holder::default()).await.unwrap();
    let refused = world.take("n2", &Holder::living()).await.err().unwrap();
    assert!(matches!(refused, LeaseError::NotAlone { .. }), "{refused}");
    let (second, voided) = world.take("n2", &Holder::default()).await.unwrap();
    assert!(voided.contains(&first.node().incarnation));
    next(&first, |state| *state == LeaseState::Lost).await;
    second.guard().pass().await.unwrap();
}

#[tokio::test]
async fn of_many_who_take_a_place_at_once_one_has_it() {
    let world = World::on(shared_redis().await);
    let nobody = Holder::default();
    let taken = futures_util::future::join_all((0..20).map(|_| world.take("n1", &nobody))).await;
    let leases: Vec<_> = taken.into_iter().filter_map(Result::ok).map(|(lease, _)| lease).collect();
    let key = world.keys.node(&NodeId::parse("n1").unwrap());
    let record: NodeRecord = serde_json::from_str(&world.ask::<String>(&["GET", &key]).await).unwrap();
    for lease in &leases {
        match lease.node().incarnation == record.incarnation {
            true => lease.guard().pass().await.unwrap(),
            false => assert_eq!(next(lease, |state| *state == LeaseState::Lost).await, LeaseState::Lost),
        }
    }
    assert!(leases.iter().any(|lease| lease.node().incarnation == record.incarnation));
}

#[tokio::test]
async fn a_redis_that_forgot_everything_makes_a_new_incarnation() {
    let mut server = RedisServer::start().await;
    let keys = Keys::new(&prefix()).unwrap();
    let options = LeaseOptions {
        renew: Duration::from_millis(50),
        ..LeaseOptions::alone(NodeId::parse("n1").unwrap(), "127.0.0.1:1", "127.0.0.1:2")
    };
    let (lease, _) = NodeLease::acquire(&server.store(), &keys, options, &Holder::default()).await.unwrap();
    let before = lease.node();
    let proof = lease.proof();
    let LeaseState::Held { runs, .. } = lease.state().borrow().clone() else { panic!("held") };
    proof.assert(proof.begin(), runs);
    proof.confirm(proof.begin()).await.unwrap();
    server.restart().await;
    let since = proof.begin();
    let state = next(&lease, |state| matches!(state, LeaseState::Held { node, .. } if *node != before)).await;
    assert!(proof.confirm(since).await.is_err(), "nothing is recorded in this run yet");
    let LeaseState::Held { node, runs } = state else { panic!("held") };
    let meanwhile = proof.begin();
    assert_eq!(lease.node(), node);
    assert_ne!(node.incarnation, before.incarnation);
    assert_eq!(lease.worker(), before.incarnation, "its lanes stay its own");
    proof.assert(since, runs.clone());
    assert!(!proof.is_asserted(), "what was recorded before counts for nothing");
    proof.assert(proof.begin(), runs);
    assert!(proof.confirm(since).await.is_err(), "what was read before counts for nothing");
    assert!(proof.confirm(meanwhile).await.is_err(), "nor does what was read while it was being recorded");
    proof.confirm(proof.begin()).await.unwrap();
    lease.guard().pass().await.unwrap();
}

#[tokio::test]
async fn a_lease_that_passed_while_nobody_renewed_it_is_taken_anew() {
    let world = World::on(shared_redis().await);
    let (lease, _) = world.take("n1", &Holder::default()).await.unwrap();
    let before = lease.node();
    let key = world.keys.node(&NodeId::parse("n1").unwrap());
    let _gone: i64 = world.ask(&["DEL", &key]).await;
    next(&lease, |state| matches!(state, LeaseState::Held { node, .. } if *node != before)).await;
    assert!(world.ask::<bool>(&["EXISTS", &key]).await);
}

#[tokio::test]
async fn while_redis_does_not_answer_the_lease_is_not_well_and_then_it_is() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let keys = Keys::new(&prefix()).unwrap();
    let options = LeaseOptions {
        renew: Duration::from_millis(50),
        ..LeaseOptions::alone(NodeId::parse("n1").unwrap(), "127.0.0.1:1", "127.0.0.1:2")
    };
    let (lease, _) = NodeLease::acquire(&server.store(), &keys, options, &Holder::default()).await.unwrap();
    let LeaseState::Held { runs, .. } = lease.state().borrow().clone() else { panic!("held") };
    lease.proof().assert(lease.proof().begin(), runs);
    let guard = lease.guard();
    assert!(guard.is_well());
    server.stop();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let unwell = async {
        while guard.is_well() {
            ticks.tick().await;
        }
    };
    timeout(DEADLINE, unwell).await.unwrap();
    server.restart().await;
    let before = lease.node();
    let state = next(&lease, |state| matches!(state, LeaseState::Held { node, .. } if *node != before)).await;
    let LeaseState::Held { runs, .. } = state else { panic!("held") };
    lease.proof().assert(lease.proof().begin(), runs);
    guard.pass().await.unwrap();
    assert!(guard.is_well());
}
