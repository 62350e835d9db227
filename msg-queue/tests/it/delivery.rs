//! Who gets what, in which order, and what becomes of it.

use std::collections::HashMap;

use gim_msg_queue::observe::Event;
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Recipients, TargetReport};
use gim_proxy_sdk::queue::{Queue, Selection};

use crate::durable::joins_durably;
use crate::support::{Nodes, Plan, World, entry, lanes, node, reports, taken_as, to, to_users, uid};

#[tokio::test(start_paused = true)]
async fn ten_thousand_messages_arrive_once_and_in_order() {
    let world = World::start(Nodes::willing());
    let users: Vec<String> = (0..50).map(|n| format!("u{n}")).collect();
    let groups: Vec<String> = (0..5).map(|n| format!("g{n}")).collect();
    world.connect(&users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for group in &groups {
        world.holds(group, &world.home).await;
    }
    let mut expected: HashMap<String, Vec<usize>> = HashMap::new();
    for call in 0..100 {
        let entries = (call * 100..call * 100 + 100).map(|number| {
            let (name, target) = match number % 7 {
                0 => ("tgid", &groups[number % groups.len()]),
                _ => ("to_uid", &users[number % users.len()]),
            };
            expected.entry(target.clone()).or_default().push(number);
            entry(number, &[(name, target.as_str())])
        });
        let entries = entries.collect();
        world.put(entries).await;
        tokio::task::yield_now().await;
    }
    world.settled(10_000).await;
    for (target, numbers) in &expected {
        assert_eq!(&world.nodes.numbers(target), numbers, "{target}");
    }
    assert_eq!(world.nodes.took().len(), 10_000);
    assert_eq!(world.outcomes(Outcome::Offered), 10_000);
    assert!(world.nodes.batches().len() < 1_000, "batches: {}", world.nodes.batches().len());
    assert_eq!(world.stats().await.settled, 10_000);
}

#[tokio::test(start_paused = true)]
async fn users_who_are_not_there_are_an_outcome_and_no_delivery() {
    let world = World::start(Nodes::willing());
    world.connect(&["here"]).await;
    world
        .put(vec![to(1, "gone"), entry(2, &[("to_uids", r#"["here","gone"]"#)]), entry(3, &[("tgid", "empty")])])
        .await;
    world.settled(3).await;
    assert_eq!((world.outcomes(Outcome::Offline), world.outcomes(Outcome::Offered)), (3, 1));
    assert_eq!(world.nodes.took().len(), 1);
    assert!(world.dead().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_node_says_is_the_outcome() {
    let world = World::start(Nodes::scripted(|_, batch| {
        let report = |uid: &str| match uid {
            "slow" => TargetReport::Done(Outcome::Slow),
            "stranger" => TargetReport::Done(Outcome::NotMember),
            _ => TargetReport::Done(Outcome::Offered),
        };
        Ok(batch.deliveries.iter().map(|delivery| to_users(delivery, report)).collect())
    }));
    world.connect(&["slow", "stranger", "1"]).await;
    let to_member = entry(2, &[("tgid", "g"), ("to_uid", "stranger")]);
    world.put(vec![to(1, "slow"), to_member, to(3, "1")]).await;
    world.settled(3).await;
    for outcome in [Outcome::Slow, Outcome::NotMember, Outcome::Offered] {
        assert_eq!(world.outcomes(outcome), 1, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_one_delivery_per_node_however_many_groups_are_named() {
    let world = World::start(Nodes::scripted(|_, batch| {
        let all = batch.deliveries.iter().all(|delivery| matches!(delivery.to, Recipients::Groups(_)));
        assert!(all);
        Ok(reports(batch))
    }));
    let other = node("other");
    for (group, node) in [("a", &world.home), ("b", &world.home), ("b", &other), ("c", &other)] {
        world.holds(group, node).await;
    }
    world.put(vec![entry(1, &[("tgid_list", r#"["a","b","c"]"#)]), entry(2, &[("tgid", "a")])]).await;
    world.settled(2).await;
    let mut took: Vec<_> = world.nodes.took().into_iter().map(|took| (took.node, took.number)).collect();
    took.sort();
    assert_eq!(took, [("home".to_owned(), 1), ("home".to_owned(), 2), ("other".to_owned(), 1)]);
    assert_eq!(world.outcomes(Outcome::Offered), 2);
}

#[tokio::test(start_paused = true)]
async fn all_goes_to_every_node_and_a_member_only_through_its_group() {
    let world = World::start(Nodes::scripted(|_, batch| {
        for delivery in &batch.deliveries {
            if let Recipients::Member { to, of } = &delivery.to {
                assert_eq!((to.uid.as_str(), of.len()), ("1", 2));
            }
        }
        Ok(reports(batch))
    }));
    world.connect(&["1"]).await;
    let member = entry(2, &[("tgid_list", r#"["a","b"]"#), ("to_uid", "1")]);
    world.put(vec![entry(1, &[("all", "1")]), member]).await;
    world.settled(2).await;
    assert_eq!((world.nodes.numbers("all"), world.nodes.numbers("1")), (vec![1], vec![2]));
}

#[tokio::test(start_paused = true)]
async fn users_of_many_lanes_each_get_a_message_once_and_in_order() {
    let world = World::with(Plan { queue: lanes(4), ..Plan::default() }, Nodes::willing());
    let users: Vec<String> = (0..200).map(|n| format!("u{n}")).collect();
    world.connect(&users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let list = serde_json::to_string(&users).unwrap();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.extend(world.put(vec![entry(number, &[("to_uids", &list)])]).await);
    }
    world.settled(80).await;
    for user in &users {
        assert_eq!(world.nodes.numbers(user), (0..20).collect::<Vec<_>>(), "{user}");
    }
    assert!(world.nodes.took().iter().all(|took| took.id == ids[took.number]));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_moved_is_looked_up_again_once_at_once_and_at_no_cost() {
    let (home, other) = (node("old"), node("new"));
    let world = World::start(
        Nodes::scripted(|node, batch| {
            let moved =
                if node.id.as_str() == "old" { TargetReport::NotOwner } else { TargetReport::Done(Outcome::Offered) };
            Ok(batch.deliveries.iter().map(|delivery| to_users(delivery, |_| moved)).collect())
        })
        .shut(),
    );
    world.connect_at("1", &home).await;
    world.put((0..5).map(|number| to(number, "1")).collect()).await;
    world.until(|stats| stats.pending == 5).await;
    world.connect_at("1", &other).await;
    world.nodes.open(100);
    world.settled(5).await;
    assert_eq!(world.nodes.numbers("1"), [0, 1, 2, 3, 4]);
    assert_eq!(world.directory.lookups(), 2);
    assert_eq!(world.count(|event| matches!(event, Event::Rerouted { .. })), 5);
    assert_eq!(world.count(|event| matches!(event, Event::Retry { .. })), 0);
}

#[tokio::test(start_paused = true)]
async fn of_several_users_over_two_nodes_each_that_moved_is_found_where_it_is() {
    for class in ["live", "durable"] {
        let home = node("home");
        let there = node("there");
        let moved = ["1", "2", "m"];
        let world = World::start(
            Nodes::scripted({
                let home = home.id.clone();
                move |at, batch| {
                    let report = |delivery| {
                        let gone = |uid: &str| at.id == home && moved.contains(&uid);
                        to_users(delivery, |uid| if gone(uid) { TargetReport::NotOwner } else { taken_as(delivery) })
                    };
                    Ok(batch.deliveries.iter().map(report).collect())
                }
            })
            .shut(),
        );
        world.connect(&["1", "2", "4", "m"]).await;
        world.connect_at("3", &there).await;
        let all = entry(7, &[("to_uids", r#"["1","2","3","4"]"#), ("class", class)]);
        let member = entry(8, &[("to_uid", "m"), ("tgid", "g"), ("class", class)]);
        if class == "durable" {
            joins_durably(&world, "m", "g").await;
        }
        world.put(vec![all, member]).await;
        world.until(|stats| stats.pending == 2).await;
        for uid in moved {
            world.connect_at(uid, &there).await;
        }
        world.nodes.open(100);
        world.settled(2).await;
        for uid in ["1", "2", "3"] {
            assert_eq!(world.nodes.numbers_at("there", uid), [7], "{class} {uid}");
        }
        assert_eq!(world.nodes.numbers_at("home", "4"), [7], "{class}");
        assert_eq!(world.nodes.numbers_at("there", "m"), [8], "{class}");
        assert_eq!(world.nodes.took().len(), 5, "{class}: once each");
        assert_eq!(world.count(|event| matches!(event, Event::Rerouted { .. })), 2, "{class}");
        assert_eq!(world.count(|event| matches!(event, Event::Retry { .. })), 0, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_twice_denies_a_session_is_tried_again_later() {
    let mut denials = 4;
    let world = World::start(Nodes::scripted(move |_, batch| {
        denials -= i32::from(denials > 0);
        let report = if denials > 0 { TargetReport::NotOwner } else { TargetReport::Done(Outcome::Offered) };
        Ok(batch.deliveries.iter().map(|delivery| to_users(delivery, |_| report)).collect())
    }));
    world.connect(&["1"]).await;
    world.put(vec![to(1, "1")]).await;
    world.settled(1).await;
    assert_eq!(world.count(|event| matches!(event, Event::Retry { attempts: 1, .. })), 1);
    assert_eq!(world.nodes.numbers("1"), [1]);
}

#[tokio::test(start_paused = true)]
async fn after_all_attempts_a_message_is_dead_and_redriven_for_the_targets_that_failed() {
    let world = World::start(Nodes::scripted({
        let mut batches = 0;
        move |_, batch| {
            batches += 1;
            // "2" is reached once the thirty attempts are over.
            let report = |uid: &str| match uid {
                "2" if batches <= 60 => TargetReport::NotOwner,
                _ => TargetReport::Done(Outcome::Offered),
            };
            Ok(batch.deliveries.iter().map(|delivery| to_users(delivery, report)).collect())
        }
    }));
    world.connect(&["1", "2", "3"]).await;
    let id = world.put(vec![entry(7, &[("to_uids", r#"["1","2","3"]"#), ("id", "mine")])]).await.remove(0);
    world.settled(1).await;
    let letter = world.dead().await.remove(0);
    let said = |name: &str| String::from_utf8(letter.fields.get(name).unwrap().to_vec()).unwrap();
    assert_eq!(said("gim_reason"), "attempts");
    assert_eq!(said("gim_attempts"), "30");
    assert_eq!(said("gim_error"), "not_owner");
    assert_eq!(said("gim_failed_targets"), r#"["2"]"#);
    assert_eq!(world.count(|event| matches!(event, Event::Retry { .. })), 29);

    assert_eq!(world.queue.redrive(0, Selection::All).await.unwrap(), 1);
    world.settled(2).await;
    assert_eq!((world.nodes.numbers("1"), world.nodes.numbers("2")), (vec![7], vec![7]));
    assert!(world.nodes.took().iter().all(|took| took.id == id));
    assert!(world.dead().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_id_is_delivered_once() {
    let world = World::start(Nodes::willing());
    world.connect(&["1"]).await;
    for _ in 0..3 {
        let ids = world.put(vec![entry(1, &[("to_uid", "1"), ("id", "mine")])]).await;
        assert_eq!(ids[0].as_str(), "mine");
    }
    world.put(vec![to(2, "1")]).await;
    world.settled(2).await;
    assert_eq!(world.nodes.numbers("1"), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_excepted_user_gets_nothing_and_counts_nowhere() {
    let world = World::start(Nodes::scripted(|_, batch| {
        assert!(batch.deliveries.iter().all(|delivery| delivery.message.except == [uid("2")]));
        Ok(reports(batch))
    }));
    world.connect(&["1", "2"]).await;
    world.holds("g", &world.home).await;
    let except = ("except_uid", "2");
    world.put(vec![entry(1, &[("to_uids", r#"["1","2"]"#), except]), entry(2, &[("tgid", "g"), except])]).await;
    world.settled(2).await;
    assert_eq!(
        (world.nodes.numbers("1"), world.nodes.numbers("2"), world.nodes.numbers("g")),
        (vec![1], vec![], vec![2])
    );
    assert_eq!(world.outcomes(Outcome::Offered), 2);
}
