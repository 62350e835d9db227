//! Who comes and goes, written down for those who ask: never lost, at no cost where nobody asks.

use std::collections::HashMap;
use std::time::Duration;

use gim_proto::{Fence, SessionId, bucket_of};
use gim_proxy_sdk::directory::redis::RedisDirectory;
use gim_proxy_sdk::directory::{Claim, ClaimRequest, Directory, Held, NodeRef, OnDuplicate};
use gim_proxy_sdk::testing::RedisServer;

use super::world::{RedisWorld, World, eventually, uid};

/// One entry of the stream.
type Fields = HashMap<String, String>;

impl RedisWorld {
    async fn news(&self) -> Vec<Fields> {
        let entries: Vec<(String, Fields)> = self.ask(&["XRANGE", &self.keys.presence(), "-", "+"]).await;
        entries.into_iter().map(|(_, fields)| fields).collect()
    }

    /// State, fence and reason of all news of a user, once there are so many.
    async fn news_of(&self, name: &str, count: usize) -> Vec<(String, u64, String)> {
        let of = async || self.news().await.into_iter().filter(|news| news["uid"] == name).collect::<Vec<_>>();
        eventually("the news", async || of().await.len() >= count).await;
        let brief = |news: Fields| (news["state"].clone(), news["fence"].parse().unwrap(), news["reason"].clone());
        of().await.into_iter().map(brief).collect()
    }
}

async fn connect(directory: &RedisDirectory, name: &str, node: &NodeRef) -> (SessionId, Fence) {
    let session = SessionId::mint();
    let on_duplicate = OnDuplicate::Replace;
    let request = ClaimRequest { uid: uid(name), node: node.clone(), session, on_duplicate, resume: None };
    match directory.claim(request).await.unwrap() {
        Claim::Granted { fence, .. } => (session, fence),
        Claim::Taken { owner } => panic!("taken by {owner:?}"),
    }
}

#[tokio::test]
async fn who_comes_and_goes_is_written_down_with_the_fence() {
    let world = RedisWorld::new().await;
    let directory = world.telling().await;
    let (session, fence) = connect(&directory, "1", world.here()).await;
    assert!(directory.release(&uid("1"), session, fence, Duration::ZERO).await.unwrap());
    assert!(!directory.release(&uid("1"), session, fence, Duration::ZERO).await.unwrap(), "which is no news");
    let news = world.news_of("1", 2).await;
    let brief = |state: &str, reason: &str| (state.to_owned(), fence.0, reason.to_owned());
    assert_eq!(news, [brief("online", "login"), brief("offline", "closed")]);
    let all = world.news().await;
    assert_eq!((all[0]["node"].as_str(), &all[0]["session"]), (world.here().id.as_str(), &session.to_string()));
    assert!(all[0]["at_ms"].parse::<u64>().unwrap() <= all[1]["at_ms"].parse().unwrap());
    let list = world.keys.presence_of(bucket_of(&uid("1")));
    eventually("the list to be empty", async || !world.ask::<bool>(&["EXISTS", &list]).await).await;
    directory.close().await;
}

#[tokio::test]
async fn a_newcomer_is_online_with_the_higher_fence_and_the_superseded_one_is_no_news() {
    let world = RedisWorld::new().await;
    let directory = world.telling().await;
    let (old, first) = connect(&directory, "1", world.here()).await;
    let (new, second) = connect(&directory, "1", world.there()).await;
    assert!(!directory.release(&uid("1"), old, first, Duration::ZERO).await.unwrap());
    assert!(directory.release(&uid("1"), new, second, Duration::ZERO).await.unwrap());
    let news = world.news_of("1", 3).await;
    let states: Vec<(&str, u64)> = news.iter().map(|(state, fence, _)| (state.as_str(), *fence)).collect();
    assert_eq!(states, [("online", first.0), ("online", second.0), ("offline", second.0)]);
}

#[tokio::test]
async fn users_of_a_node_that_died_are_offline_with_their_fences_and_nobody_else_is() {
    let world = RedisWorld::new().await;
    let directory = world.telling().await;
    world.register(world.here()).await;
    world.register(world.there()).await;
    let mut lost = HashMap::new();
    for user in 0..50 {
        let name = format!("u{user}");
        lost.insert(name.clone(), connect(&directory, &name, world.there()).await.1);
    }
    connect(&directory, "stays", world.here()).await;
    let (_, moved) = connect(&directory, "u0", world.here()).await;
    assert!(moved > lost.remove("u0").unwrap());
    world.live.set(vec![world.here().clone()]);
    let swept = async || {
        directory.sweep().await.unwrap();
        !world.is_registered(world.there()).await
    };
    eventually("the sweep", swept).await;
    for (name, fence) in lost {
        let news = world.news_of(&name, 2).await;
        assert_eq!(news[1], ("offline".to_owned(), fence.0, "node_lost".to_owned()));
    }
    assert!(world.news_of("stays", 1).await.iter().all(|(state, ..)| state == "online"));
    assert!(world.news_of("u0", 2).await.iter().all(|(state, ..)| state == "online"));
}

#[tokio::test]
async fn what_a_process_left_behind_that_died_is_written_down_by_the_sweep_of_another() {
    let world = RedisWorld::new().await;
    let (late, just) = (uid("late"), uid("just"));
    // Noted in the step that made it so; its author died before it moved it.
    let left = |name: &str, at_ms: u128| format!("7 {} n9 offline closed {at_ms} {name}", SessionId::mint());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let _: i64 = world.ask(&["RPUSH", &world.keys.presence_of(bucket_of(&late)), &left("late", now - 10_000)]).await;
    let _: i64 = world.ask(&["RPUSH", &world.keys.presence_of(bucket_of(&just)), &left("just", now + 60_000)]).await;
    let directory = world.telling().await;
    for _ in 0..16 {
        directory.sweep().await.unwrap();
    }
    assert_eq!(world.news_of("late", 1).await, [("offline".to_owned(), 7, "closed".to_owned())]);
    assert_eq!(world.news().await.len(), 1, "its author may still be at the other");
}

#[tokio::test]
async fn one_that_comes_back_from_a_node_taken_for_dead_is_online_again() {
    let world = RedisWorld::new().await;
    let directory = world.telling().await;
    let (session, fence) = connect(&directory, "1", world.here()).await;
    let held = || Held { uid: uid("1"), session, fence, groups: Vec::new() };
    assert_eq!(directory.reassert(world.there(), &[held()]).await.unwrap(), [true], "which is no news");
    let _: i64 = world.ask(&["HDEL", &world.keys.user_bucket(&uid("1")), "1"]).await;
    assert_eq!(directory.reassert(world.here(), &[held()]).await.unwrap(), [true]);
    let news = world.news_of("1", 2).await;
    assert_eq!(news[1], ("online".to_owned(), fence.0, "returned".to_owned()));
    assert_eq!(news.len(), 2);
}

#[tokio::test]
async fn where_nobody_wants_to_know_nothing_is_asked_or_kept() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, server.options()).await;
    let (session, _, _) = world.connect("1", None).await;
    assert!(world.disconnect("1", session).await);
    let (_, _, _) = world.connect("1", None).await;
    for _ in 0..16 {
        world.directory.sweep().await.unwrap();
    }
    let stats: String = world.ask(&["INFO", "commandstats"]).await;
    for command in ["rpush", "lpop", "lindex", "lrange", "lrem", "llen", "xadd"] {
        assert!(!stats.contains(&format!("cmdstat_{command}:")), "{command}: {stats}");
    }
    let keys: Vec<String> = world.ask(&["KEYS", "*:p"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}
