//! One node, or many: never both kinds on one prefix.

use std::sync::atomic::Ordering;

use gim_proto::NodeId;
use gim_proxy_sdk::lease::{LeaseError, LeaseState, node_alone};
use gim_proxy_sdk::testing::shared_redis;

use super::{Holder, World, next};

fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

#[tokio::test]
async fn nodes_of_a_cluster_live_side_by_side_each_under_its_own_name() {
    let world = World::on(shared_redis().await);
    let living = Holder::living();
    let (one, _) = world.join("n1", &living).await.unwrap();
    let (other, voided) = world.join("n2", &living).await.unwrap();
    assert_eq!((voided, living.asked.load(Ordering::SeqCst)), (Vec::new(), 0), "nobody is in the way");
    let refused = world.join("n1", &living).await.err().unwrap();
    assert!(matches!(&refused, LeaseError::Held { id, .. } if *id == self::id("n1")), "{refused}");
    let (next_one, voided) = world.join("n1", &Holder::default()).await.unwrap();
    assert!(voided.contains(&one.node().incarnation));
    next(&one, |state| *state == LeaseState::Lost).await;
    for lease in [&other, &next_one] {
        lease.guard().pass().await.unwrap();
    }
}

#[tokio::test]
async fn mode_redis_is_refused_while_any_node_of_a_cluster_lives() {
    let world = World::on(shared_redis().await);
    let nobody = Holder::default();
    let (first, _) = world.join("n1", &nobody).await.unwrap();
    let (second, _) = world.join("n2", &nobody).await.unwrap();
    first.release().await.unwrap();
    for name in ["n1", "n3"] {
        let refused = world.take(name, &Holder::living()).await.err().unwrap();
        assert!(matches!(&refused, LeaseError::NotAlone { id, .. } if *id == self::id("n2")), "{refused}");
        assert!(refused.to_string().contains("n2"), "{refused}");
    }
    let refused = world.take("n2", &Holder::living()).await.err().unwrap();
    assert!(matches!(refused, LeaseError::Held { .. }), "{refused}");
    second.guard().pass().await.unwrap();
    assert!(matches!(*second.state().borrow(), LeaseState::Held { .. }), "it has not noticed");
    second.release().await.unwrap();
    world.take("n3", &Holder::living()).await.unwrap();
}

#[tokio::test]
async fn a_cluster_is_refused_while_a_node_of_mode_redis_lives() {
    let world = World::on(shared_redis().await);
    let (alone, _) = world.take("n1", &Holder::default()).await.unwrap();
    let (found, record) = node_alone(&world.server.store(), &world.keys).await.unwrap().unwrap();
    assert_eq!((found, record.incarnation), (id("n1"), alone.node().incarnation));
    let refused = world.join("n2", &Holder::living()).await.err().unwrap();
    assert!(matches!(&refused, LeaseError::Alone { id, .. } if *id == self::id("n1")), "{refused}");
    assert!(refused.to_string().contains("n1") && refused.to_string().contains("`redis`"), "{refused}");
    let refused = world.join("n1", &Holder::living()).await.err().unwrap();
    assert!(matches!(refused, LeaseError::Held { .. }), "{refused}");
    alone.guard().pass().await.unwrap();
    assert!(matches!(*alone.state().borrow(), LeaseState::Held { .. }), "it has not noticed");
    alone.release().await.unwrap();
    assert_eq!(node_alone(&world.server.store(), &world.keys).await.unwrap(), None);
    world.join("n2", &Holder::living()).await.unwrap();
    assert_eq!(node_alone(&world.server.store(), &world.keys).await.unwrap(), None);
}

#[tokio::test]
async fn silent_nodes_of_the_other_mode_are_followed_and_learn_of_it() {
    let world = World::on(shared_redis().await);
    let nobody = Holder::default();
    let (one, _) = world.join("n1", &nobody).await.unwrap();
    let (two, _) = world.join("n2", &nobody).await.unwrap();
    let (alone, voided) = world.take("n1", &nobody).await.unwrap();
    for lease in [&one, &two] {
        assert!(voided.contains(&lease.node().incarnation));
        next(lease, |state| *state == LeaseState::Lost).await;
    }
    alone.guard().pass().await.unwrap();
    let (again, voided) = world.join("n2", &nobody).await.unwrap();
    assert!(voided.contains(&alone.node().incarnation));
    next(&alone, |state| *state == LeaseState::Lost).await;
    again.guard().pass().await.unwrap();
}

#[tokio::test]
async fn of_both_modes_that_start_at_once_one_remains() {
    for _ in 0..10 {
        let world = World::on(shared_redis().await);
        let living = Holder::living();
        let (alone, one, two) =
            tokio::join!(world.take("n1", &living), world.join("n2", &living), world.join("n3", &living));
        let alone = alone.map(|(lease, _)| lease).ok();
        let many: Vec<_> = [one, two].into_iter().filter_map(Result::ok).map(|(lease, _)| lease).collect();
        let named: String = world.ask(&["HGET", &world.keys.meta(), "node"]).await;
        if let Some(alone) = &alone
            && named == "*"
        {
            next(alone, |state| *state == LeaseState::Lost).await;
        }
        for lease in many.iter().filter(|_| named != "*") {
            next(lease, |state| *state == LeaseState::Lost).await;
        }
        let remains = alone.iter().chain(&many).filter(|lease| *lease.state().borrow() != LeaseState::Lost);
        assert!(remains.count() > 0, "somebody has it: {named}");
    }
}
