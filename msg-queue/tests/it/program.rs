//! The program `msg-queue` as a process of its own, started as an operator does, with a real Redis and a real etcd.

mod process;

use std::time::Duration;

use gim_proxy_sdk::testing::{EtcdServer, RedisServer, free_port, shared_etcd, shared_redis, users_of};
use rustix::process::Signal;
use tokio::time::Instant;

use self::process::{Spec, eventually};

const DOCS: &str = include_str!("../../../docs/redis.md");

#[tokio::test]
async fn a_configuration_that_cannot_be_used_ends_it_with_64_and_a_sentence() {
    let spec = Spec::new(shared_redis().await, shared_etcd().await);
    for (settings, sentence) in [
        (vec!["mode=redis"], "mode: must be `cluster` for msg-queue"),
        (vec!["queue.lanes=0"], "queue.lanes: "),
        (vec!["listen.pubic=127.0.0.1:1"], "listen.pubic: no such key"),
        (vec!["listen.admin=0.0.0.0:0"], "must be a loopback address unless admin.token is set"),
        (vec!["etcd.endpoints=nowhere"], "etcd.endpoints: "),
    ] {
        let (code, said) = spec.clone().sets(&settings).refused().await;
        assert_eq!(code, Some(64), "{settings:?}: {said}");
        assert!(said.contains(sentence), "{settings:?}: {said}");
    }
}

#[tokio::test]
async fn another_number_of_lanes_than_redis_has_ends_it_with_64() {
    let spec = Spec::new(shared_redis().await, shared_etcd().await);
    let _first = spec.start().await;
    let (code, said) = spec.other("w2").sets(&["queue.lanes=3"]).refused().await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("queue.lanes: must be as in redis"), "{said}");
}

#[tokio::test]
async fn an_address_that_is_taken_ends_it_with_1() {
    let spec = Spec::new(shared_redis().await, shared_etcd().await);
    let _first = spec.start().await;
    let (code, said) = spec.refused().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("listen.admin: cannot listen on 127.0.0.1"), "{said}");
}

#[tokio::test]
async fn it_owns_the_lanes_says_so_and_gives_them_back_when_it_is_terminated() {
    let spec = Spec::new(shared_redis().await, shared_etcd().await);
    let mut worker = spec.start().await;
    assert_eq!(worker.ask("/healthz").await.0, 200);
    let info = eventually("it owns every lane", async || {
        let info = worker.sysinfo().await;
        (info["lanes_owned"] == serde_json::json!([0, 1, 2, 3])).then_some(info)
    })
    .await;
    assert_eq!((&info["name"], &info["phase"]), (&"w1".into(), &"running".into()), "{info}");
    assert_eq!(info["lanes"].as_array().unwrap().len(), 4, "{info}");
    assert_eq!(info["workers"][0]["incarnation"], info["incarnation"], "{info}");
    assert_eq!(info["dependencies"]["etcd"], "up", "{info}");
    assert!(info["rss_bytes"].as_u64().unwrap() > 1 << 20, "{info}");
    let (_, metrics) = worker.ask("/metrics").await;
    for line in ["gim_worker_lanes_owned 4", "gim_worker_team 1", "gim_redis_up 1", "gim_build_info{version="] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert_eq!(worker.ask("/nowhere").await.0, 404);
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, Some(0), "{}", worker.log());
    assert_eq!((spec.leases().await, spec.workers().await), (0, 0), "everything is given back");
    assert!(worker.log().contains("worker stopped"), "{}", worker.log());
}

#[tokio::test]
async fn an_entry_for_somebody_who_is_nowhere_is_settled() {
    let spec = Spec::new(shared_redis().await, shared_etcd().await);
    let worker = spec.start().await;
    spec.enqueue("nobody").await;
    eventually("it is settled", async || {
        let info = worker.sysinfo().await;
        let lanes = info["lanes"].as_array().unwrap();
        let settled: u64 = lanes.iter().filter_map(|lane| lane["settled"].as_u64()).sum();
        (settled == 1 && lanes.iter().all(|lane| lane["lag"] == 0 && lane["pending"] == 0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn lanes_of_a_process_that_is_killed_or_frozen_are_anothers_within_seconds() {
    let spec = Spec::new(shared_redis().await, shared_etcd().await);
    let mut first = spec.start().await;
    let second = spec.other("w2").start().await;
    eventually("two share the lanes", async || {
        let (one, two) = (first.owned().await, second.owned().await);
        (one.len() == 2 && two.len() == 2).then_some(())
    })
    .await;
    let begun = Instant::now();
    second.signal(Signal::STOP);
    eventually("the first owns them all", async || (first.owned().await.len() == 4).then_some(())).await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    second.signal(Signal::CONT);
    eventually("two share the lanes again", async || {
        let (one, two) = (first.owned().await, second.owned().await);
        (one.len() == 2 && two.len() == 2).then_some(())
    })
    .await;
    first.kill();
    eventually("the second owns them all", async || (second.owned().await.len() == 4).then_some(())).await;
}

#[tokio::test]
async fn it_is_not_ready_while_redis_is_away_and_goes_on_by_itself() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis, shared_etcd().await);
    let worker = spec.start().await;
    redis.freeze();
    let (status, body) = worker.ask("/readyz").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("redis_unavailable"), "{body}");
    assert_eq!(worker.ask("/healthz").await.0, 200);
    assert!(worker.ask("/metrics").await.1.contains("gim_redis_up 0"));
    redis.thaw();
    eventually("it is ready again", async || (worker.ask("/readyz").await.0 == 200).then_some(())).await;
}

#[tokio::test]
async fn without_etcd_it_runs_and_nobody_is_offline_before_etcd_was_heard() {
    let redis = shared_redis().await;
    let mut etcd = EtcdServer::start().await;
    etcd.stop();
    let spec = Spec::new(redis, &etcd);
    let worker = spec.start().await;
    assert_eq!(worker.sysinfo().await["dependencies"]["etcd"], "down");
    spec.enqueue("nobody").await;
    eventually("the entry is read", async || {
        let info = worker.sysinfo().await;
        info["lanes"].as_array().unwrap().iter().any(|lane| lane["pending"] == 1).then_some(())
    })
    .await;
    etcd.restart().await;
    eventually("the entry is settled", async || {
        let info = worker.sysinfo().await;
        let lanes = info["lanes"].as_array().unwrap();
        (lanes.len() == 4 && lanes.iter().all(|lane| lane["pending"] == 0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn terminated_while_it_waits_for_redis_it_ends_at_once() {
    let etcd = shared_etcd().await;
    let spec = Spec::at(&format!("redis://127.0.0.1:{}", free_port()), etcd);
    let mut worker = spec.launch();
    eventually("it waits for redis", async || worker.log().contains("does not answer yet").then_some(())).await;
    let begun = Instant::now();
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, Some(0), "{}", worker.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn without_the_token_only_probes_are_answered() {
    let spec = Spec::new(shared_redis().await, shared_etcd().await).sets(&["admin.token=correct-horse-battery"]);
    let worker = spec.start().await;
    assert_eq!(worker.ask("/healthz").await.0, 200);
    for path in ["/sysinfo", "/metrics", "/nowhere"] {
        assert_eq!(worker.ask(path).await.0, 401, "{path}");
    }
    let (status, body) = worker.ask_with("/sysinfo", "authorization: Bearer correct-horse-battery\r\n").await;
    assert_eq!(status, 200, "{body}");
    assert!(!worker.log().contains("correct-horse"), "{}", worker.log());
}

#[tokio::test]
async fn the_user_of_the_documentation_may_do_all_of_it() {
    let redis = RedisServer::start().await;
    for rules in users_of(DOCS) {
        redis.set_user(&rules).await;
    }
    let login = ["redis.username=gim-worker", "redis.password=secret"];
    let spec = Spec::new(&redis, shared_etcd().await).prefixed("gim").sets(&login);
    let mut worker = spec.start().await;
    spec.enqueue("nobody").await;
    eventually("it is settled", async || {
        let info = worker.sysinfo().await;
        info["lanes"].as_array().unwrap().iter().any(|lane| lane["settled"] == 1).then_some(())
    })
    .await;
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, Some(0), "{}", worker.log());
    assert_eq!(redis.denials().await, []);
}
