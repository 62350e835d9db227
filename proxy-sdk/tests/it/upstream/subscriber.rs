//! Reading commands: each at least once, in order, until it is acknowledged.

use std::time::Duration;

use gim_proto::EntryId;
use gim_proxy_sdk::upstream::{Delivery, Subscriber, SubscriberOptions};
use tokio::time::{sleep, timeout};

use super::*;
use crate::support::within;

fn options(outside: &Outside, group: &str, consumer: &str) -> SubscriberOptions {
    SubscriberOptions {
        prefix: outside.keys.prefix().to_owned(),
        block: Duration::from_millis(100),
        ..SubscriberOptions::new(group, consumer)
    }
}

async fn connect(outside: &Outside, options: SubscriberOptions) -> Subscriber {
    Subscriber::connect(outside.store.options().clone(), options).await.unwrap()
}

async fn subscriber(outside: &Outside, group: &str, consumer: &str) -> Subscriber {
    connect(outside, options(outside, group, consumer)).await
}

async fn offer_some(outside: &Outside, seqs: std::ops::Range<u32>) {
    let upstream = upstream(outside, MOST_COMMANDS);
    for seq in seqs {
        offer(&upstream, seq).await.unwrap();
    }
}

/// Reads until something comes.
async fn some(subscriber: &mut Subscriber) -> Vec<Delivery> {
    let reading = async {
        loop {
            match subscriber.next().await {
                Ok(deliveries) if !deliveries.is_empty() => return deliveries,
                Ok(_) => {}
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        }
    };
    within("a command to come", reading).await
}

fn seqs(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.command.seq.as_str()).collect()
}

fn ids(deliveries: &[Delivery]) -> Vec<EntryId> {
    deliveries.iter().map(|delivery| delivery.id).collect()
}

async fn kept(outside: &Outside) -> u64 {
    outside.length(&outside.keys.upstream()).await
}

#[tokio::test]
async fn commands_come_in_order_and_once_acknowledged_never_again() {
    let outside = Outside::shared().await;
    offer_some(&outside, 0..250).await;
    let mut reader = subscriber(&outside, "shop", "a").await;
    let mut seen = Vec::new();
    while seen.len() < 250 {
        let deliveries = some(&mut reader).await;
        assert!(deliveries.len() <= 100 && deliveries.iter().all(|delivery| delivery.attempts == 1));
        seen.extend(deliveries.iter().map(|delivery| delivery.command.seq.clone()));
        reader.ack(&ids(&deliveries)).await.unwrap();
    }
    assert_eq!(seen, (0..250).map(|seq: u32| seq.to_string()).collect::<Vec<_>>());
    assert!(reader.next().await.unwrap().is_empty());
    drop(reader);
    assert!(subscriber(&outside, "shop", "a").await.next().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_delivery_is_the_command_as_it_was_offered() {
    let outside = Outside::shared().await;
    let mut reader = subscriber(&outside, "shop", "a").await;
    let command = command(3);
    upstream(&outside, MOST_COMMANDS).offer(command.clone()).await.unwrap();
    assert_eq!(some(&mut reader).await[0].command, command);
}

#[tokio::test]
async fn what_a_consumer_had_not_acknowledged_comes_first_when_it_is_back() {
    let outside = Outside::shared().await;
    let mut first = subscriber(&outside, "shop", "a").await;
    offer_some(&outside, 0..5).await;
    let deliveries = some(&mut first).await;
    first.ack(&ids(&deliveries[1..3])).await.unwrap();
    drop(first);
    offer_some(&outside, 5..7).await;
    let mut again = subscriber(&outside, "shop", "a").await;
    let deliveries = some(&mut again).await;
    assert_eq!(seqs(&deliveries), ["0", "3", "4"]);
    assert!(deliveries.iter().all(|delivery| delivery.attempts == 2), "{deliveries:?}");
    let deliveries = some(&mut again).await;
    assert_eq!((seqs(&deliveries), deliveries[0].attempts), (vec!["5", "6"], 1));
}

#[tokio::test]
async fn what_a_lost_consumer_left_behind_comes_to_another_one() {
    let outside = Outside::shared().await;
    let mut lost = subscriber(&outside, "shop", "a").await;
    offer_some(&outside, 0..3).await;
    assert_eq!(some(&mut lost).await.len(), 3);
    drop(lost);
    let claim_after = Duration::from_millis(200);
    let mut other = connect(&outside, SubscriberOptions { claim_after, ..options(&outside, "shop", "b") }).await;
    let deliveries = some(&mut other).await;
    assert_eq!(seqs(&deliveries), ["0", "1", "2"]);
    assert!(deliveries.iter().all(|delivery| delivery.attempts == 2), "{deliveries:?}");
    other.ack(&ids(&deliveries)).await.unwrap();
    assert_eq!(kept(&outside).await, 0);
}

#[tokio::test]
async fn a_read_that_is_dropped_loses_nothing_and_brings_nothing_twice() {
    let outside = Outside::shared().await;
    let patient = SubscriberOptions { block: Duration::from_secs(10), ..options(&outside, "shop", "a") };
    let mut reader = connect(&outside, patient).await;
    let offering = tokio::spawn({
        let outside = outside.clone();
        async move {
            let upstream = upstream(&outside, MOST_COMMANDS);
            for seq in 0..200 {
                offer(&upstream, seq).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let mut seen: Vec<u32> = Vec::new();
    let reading = async {
        let mut patience_ms = (0..).map(|n| [0, 1, 2, 3, 5, 30][n % 6]);
        while seen.len() < 200 {
            let patience = Duration::from_millis(patience_ms.next().unwrap());
            if let Ok(deliveries) = timeout(patience, reader.next()).await {
                seen.extend(deliveries.unwrap().iter().map(|delivery| delivery.command.seq.parse::<u32>().unwrap()));
            }
        }
    };
    within("all commands", reading).await;
    offering.await.unwrap();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_group_gets_everything_and_nothing_goes_before_all_have_acknowledged_it() {
    let outside = Outside::shared().await;
    let mut shop = subscriber(&outside, "shop", "a").await;
    let mut audit = subscriber(&outside, "audit", "a").await;
    offer_some(&outside, 0..4).await;
    let sold = some(&mut shop).await;
    shop.ack(&ids(&sold)).await.unwrap();
    assert_eq!(kept(&outside).await, 4);
    let audited = some(&mut audit).await;
    assert_eq!(seqs(&audited), seqs(&sold));
    audit.ack(&ids(&audited[..1])).await.unwrap();
    assert_eq!(kept(&outside).await, 3);
    // Not more often than once a second, so the rest goes with a later call.
    audit.ack(&ids(&audited[2..])).await.unwrap();
    audit.close().await;
    assert_eq!(kept(&outside).await, 3, "what is not acknowledged keeps what follows");
    let mut audit = subscriber(&outside, "audit", "a").await;
    assert_eq!(seqs(&some(&mut audit).await), ["1"]);
    audit.ack(&ids(&audited[1..2])).await.unwrap();
    assert_eq!(kept(&outside).await, 0);
}

#[tokio::test]
async fn what_is_acknowledged_is_deleted_soon_also_when_no_more_comes() {
    let outside = Outside::shared().await;
    let mut reader = subscriber(&outside, "shop", "a").await;
    offer_some(&outside, 0..4).await;
    let deliveries = some(&mut reader).await;
    for delivery in &deliveries {
        reader.ack(&[delivery.id]).await.unwrap();
    }
    assert_eq!(kept(&outside).await, 3);
    let reading = async {
        while kept(&outside).await > 0 {
            reader.next().await.unwrap();
        }
    };
    within("the rest to be deleted", reading).await;
}

#[tokio::test]
async fn an_entry_that_is_no_command_is_passed_over() {
    let outside = Outside::shared().await;
    let key = outside.keys.upstream();
    let mut reader = subscriber(&outside, "shop", "a").await;
    outside.send::<String>(&["XADD", &key, "*", "uid", "not a command"]).await;
    offer_some(&outside, 0..1).await;
    assert_eq!(seqs(&some(&mut reader).await), ["0"]);
    let pending: (u64, String, String, redis::Value) = outside.send(&["XPENDING", &key, "shop"]).await;
    assert_eq!(pending.0, 1);
}

#[tokio::test]
async fn a_redis_that_goes_and_comes_back_empty_or_not_is_read_on() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let outside = Outside::of(&server).await;
    let mut reader = subscriber(&outside, "shop", "a").await;
    offer_some(&outside, 0..2).await;
    let before = some(&mut reader).await;
    server.stop();
    assert!(reader.next().await.unwrap_err().is_retryable());
    assert!(reader.ack(&ids(&before)).await.unwrap_err().is_retryable());
    server.restart().await;
    let outside = Outside { keys: outside.keys.clone(), ..Outside::of(&server).await };
    offer_some(&outside, 2..3).await;
    assert_eq!(seqs(&some(&mut reader).await), ["2"]);
    reader.ack(&ids(&before)).await.unwrap();
    server.stop();
    server.forget();
    server.restart().await;
    let outside = Outside { keys: outside.keys.clone(), ..Outside::of(&server).await };
    offer_some(&outside, 3..4).await;
    assert_eq!(seqs(&some(&mut reader).await), ["3"], "the group is made anew");
}

#[tokio::test]
async fn a_read_that_times_out_loses_nothing() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let redis = server.options().call_timeout(Duration::from_millis(200));
    let mut reader = Subscriber::connect(redis, options(&outside, "shop", "a")).await.unwrap();
    assert!(reader.next().await.unwrap().is_empty());
    server.freeze();
    let upstream = upstream(&outside, MOST_COMMANDS);
    let offering = tokio::spawn(async move { offer(&upstream, 0).await });
    assert!(reader.next().await.unwrap_err().is_retryable());
    server.thaw();
    offering.await.unwrap().unwrap();
    assert_eq!(seqs(&some(&mut reader).await), ["0"]);
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let outside = Outside::shared().await;
    let good = options(&outside, "shop", "a");
    for bad in [
        SubscriberOptions { group: String::new(), ..good.clone() },
        SubscriberOptions { consumer: String::new(), ..good.clone() },
        SubscriberOptions { batch: 0, ..good.clone() },
        SubscriberOptions { block: Duration::ZERO, ..good.clone() },
        SubscriberOptions { prefix: "no prefix".to_owned(), ..good },
    ] {
        let error = Subscriber::connect(outside.store.options().clone(), bad).await.err().unwrap();
        assert_eq!(error.kind, gim_proxy_sdk::ErrorKind::Invalid);
    }
}
