//! What becomes of the directory when Redis fails it.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use gim_proto::SessionId;
use gim_proxy_sdk::directory::redis::{RedisDirectory, RedisDirectoryOptions};
use gim_proxy_sdk::directory::{
    Claim, ClaimRequest, Directory, DirectoryError, DirectoryErrorKind, Freshness, Held, OnDuplicate,
};
use gim_proxy_sdk::store::RedisOptions;
use gim_proxy_sdk::testing::RedisServer;
use tokio::time::Instant;

use super::wire::{State, Wire};
use super::world::{RedisWorld, World, eventually, tgid, uid};

const DEADLINE: Duration = Duration::from_millis(500);
/// What a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(5);

fn short(options: RedisOptions) -> RedisOptions {
    options.call_timeout(DEADLINE).connect_timeout(DEADLINE)
}

fn request(world: &RedisWorld, name: &str, resume: Option<SessionId>) -> ClaimRequest {
    let node = world.here().clone();
    ClaimRequest { uid: uid(name), node, session: SessionId::mint(), on_duplicate: OnDuplicate::Replace, resume }
}

async fn claim(world: &RedisWorld, name: &str) -> Result<Claim, DirectoryError> {
    let began = Instant::now();
    let claim = world.directory.claim(request(world, name, None)).await;
    assert!(began.elapsed() < DEADLINE + SLACK, "a call has a deadline");
    claim
}

async fn is_back(world: &RedisWorld) {
    eventually("the connection", async || claim(world, "probe").await.is_ok()).await;
}

#[tokio::test]
async fn while_redis_is_down_calls_fail_in_time_and_go_on_when_it_is_back() {
    let mut server = RedisServer::start().await;
    let world = RedisWorld::on(&server, short(server.options())).await;
    let (session, _, _) = world.connect("1", None).await;
    for _ in 0..2 {
        server.stop();
        let unavailable =
            async || claim(&world, "2").await.is_err_and(|error| error.kind == DirectoryErrorKind::Unavailable);
        eventually("the outage to be noticed", unavailable).await;
        let began = Instant::now();
        let uids = [uid("1")];
        let failed = world.directory.lookup(&uids, Freshness::Current).await.unwrap_err();
        assert_eq!(failed.kind, DirectoryErrorKind::Unavailable);
        let cached = world.directory.lookup(&uids, Freshness::Cached).await.unwrap().remove(0);
        assert_eq!(cached.unwrap().session, session.id, "what is known needs no redis");
        assert!(world.directory.holders(&[tgid("a")]).await.is_err());
        assert!(world.directory.sweep().await.is_err());
        assert!(began.elapsed() < DEADLINE + SLACK);
        server.restart().await;
        is_back(&world).await;
        assert_eq!(world.owner("1").await, None, "it kept nothing");
        let held = Held { uid: uid("1"), session: session.id, fence: session.fence, groups: Vec::new() };
        assert_eq!(world.directory.reassert(world.here(), &[held]).await.unwrap(), [true]);
    }
}

#[tokio::test]
async fn a_redis_that_is_not_there_at_first_is_an_error_in_time() {
    let mut server = RedisServer::start().await;
    let options = short(server.options());
    let world = RedisWorld::on(&server, options.clone()).await;
    server.stop();
    let began = Instant::now();
    let settings = RedisDirectoryOptions::new(world.keys.clone());
    let failed = RedisDirectory::connect(&options, world.live.clone(), settings).await;
    assert_eq!(failed.err().unwrap().kind, DirectoryErrorKind::Unavailable);
    assert!(began.elapsed() < 2 * DEADLINE + SLACK);
}

#[tokio::test]
async fn a_claim_that_was_given_up_takes_no_effect_afterwards() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, short(server.options())).await;
    let (first, _, _) = world.connect("1", None).await;
    world.directory.add_holder(&tgid("a"), world.here()).await.unwrap();
    server.freeze();
    let uids = [uid("1")];
    let (claimed, looked_up) = tokio::join!(claim(&world, "1"), world.directory.lookup(&uids, Freshness::Current));
    assert_eq!(claimed.unwrap_err().kind, DirectoryErrorKind::Timeout);
    assert_eq!(looked_up.unwrap_err().kind, DirectoryErrorKind::Timeout);
    assert!(world.directory.remove_holder(&tgid("a"), world.here()).await.is_err());
    server.thaw();
    is_back(&world).await;
    // The server has everything that was sent to it, and nobody answers for it any more.
    world.directory.sweep().await.unwrap();
    assert_eq!(world.owner("1").await.unwrap().session, first.id);
    assert!(late(&world).await, "it came, too late");
    assert_eq!(world.directory.holders(&[tgid("a")]).await.unwrap(), std::slice::from_ref(world.here()));
}

#[tokio::test]
async fn a_claim_that_took_effect_without_an_answer_is_taken_back() {
    let server = RedisServer::start().await;
    let wire = Wire::to(server.port()).await;
    let world = RedisWorld::on(&server, short(wire.options())).await;
    // The server knows the script from then on.
    is_back(&world).await;
    wire.set(State::Mute);
    assert_eq!(claim(&world, "1").await.unwrap_err().kind, DirectoryErrorKind::Timeout);
    assert!(world.record("1").await.is_some(), "it took effect");
    wire.set(State::Whole);
    is_back(&world).await;
    eventually("the record to go", async || {
        world.directory.sweep().await.unwrap();
        world.record("1").await.is_none()
    })
    .await;
    assert!(world.record("probe").await.is_some());
}

#[tokio::test]
async fn a_claim_that_its_caller_dropped_is_taken_back() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, short(server.options())).await;
    is_back(&world).await;
    // Sent, and no more.
    assert!(world.directory.claim(request(&world, "1", None)).now_or_never().is_none());
    eventually("the claim", async || world.record("1").await.is_some()).await;
    eventually("the record to go", async || {
        world.directory.sweep().await.unwrap();
        world.record("1").await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_release_that_could_not_be_made_is_made_later() {
    let server = RedisServer::start().await;
    let wire = Wire::to(server.port()).await;
    let world = RedisWorld::on(&server, short(wire.options())).await;
    let (gone, _, _) = world.connect("1", None).await;
    world.join("1", gone, "a").await;
    let (old, _, _) = world.connect("2", None).await;
    wire.set(State::Cut);
    for (name, session) in [("1", gone), ("2", old)] {
        let released = world.directory.release(&uid(name), session.id, session.fence, RedisWorld::GRACE * 30).await;
        assert!(released.is_err());
    }
    wire.set(State::Whole);
    is_back(&world).await;
    let (new, _, _) = world.connect("2", None).await;
    eventually("the record to go", async || {
        world.directory.sweep().await.unwrap();
        world.record("1").await.is_none()
    })
    .await;
    assert_eq!(world.owner("2").await.unwrap().session, new.id, "that is another session's");
    let (_, _, groups) = world.connect("1", Some(gone.id)).await;
    assert_eq!(groups, [tgid("a")], "the grace counts from then on");
}

#[tokio::test]
async fn scripts_that_redis_has_forgotten_are_sent_again() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, server.options()).await;
    for _ in 0..3 {
        let _: String = world.ask(&["SCRIPT", "FLUSH"]).await;
        let names: Vec<String> = (0..50).map(|user| user.to_string()).collect();
        join_all(names.iter().map(|name| world.connect(name, None))).await;
        let _: String = world.ask(&["SCRIPT", "FLUSH"]).await;
        let (session, _, _) = world.connect("1", None).await;
        assert!(world.join("1", session, "a").await);
        assert!(world.disconnect("1", session).await);
        world.directory.sweep().await.unwrap();
    }
}

#[tokio::test]
async fn an_emptied_redis_is_filled_again_by_those_who_hold() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, server.options()).await;
    let (session, _, _) = world.connect("1", None).await;
    let _: String = world.ask(&["FLUSHALL"]).await;
    assert_eq!(world.owner("1").await, None);
    assert!(!world.join("1", session, "a").await);
    let held = Held { uid: uid("1"), session: session.id, fence: session.fence, groups: vec![tgid("a")] };
    assert_eq!(world.directory.reassert(world.here(), &[held]).await.unwrap(), [true]);
    assert_eq!(world.owner("1").await.unwrap().session, session.id);
    let (next, previous, groups) = world.connect("1", Some(session.id)).await;
    assert!(next.fence > session.fence);
    assert_eq!((previous.unwrap().session, groups), (session.id, vec![tgid("a")]));
}

/// Calls that the server found to be too late.
async fn late(world: &RedisWorld) -> bool {
    world.ask::<String>(&["INFO", "errorstats"]).await.contains("errorstat_LATE:")
}

#[tokio::test]
async fn who_is_wrong_about_the_time_tries_again() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, short(server.options())).await;
    is_back(&world).await;
    assert!(!late(&world).await);
    // Redis' clock jumps: this side's stands still for longer than a call may take.
    tokio::time::pause();
    let began = std::time::SystemTime::now();
    while began.elapsed().unwrap() < DEADLINE + DEADLINE / 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    world.connect("1", None).await;
    assert!(late(&world).await);
}

#[tokio::test]
async fn a_full_redis_refuses_claims_and_lets_go() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, server.options()).await;
    let (session, _, _) = world.connect("1", None).await;
    world.join("1", session, "a").await;
    let _: String = world.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(claim(&world, "2").await.unwrap_err().kind, DirectoryErrorKind::Unavailable);
    assert_eq!(world.owner("1").await.unwrap().session, session.id);
    assert!(world.disconnect("1", session).await);
    let _: String = world.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let (_, _, groups) = world.connect("1", Some(session.id)).await;
    assert_eq!(groups, [tgid("a")]);
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_and_counted() {
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, short(server.options())).await;
    server.freeze();
    let nobody = [uid("1")];
    let answers = join_all((0..33_000).map(|_| world.directory.lookup(&nobody, Freshness::Current))).await;
    server.thaw();
    let refused = answers
        .iter()
        .filter(|answer| answer.as_ref().is_err_and(|error| error.kind == DirectoryErrorKind::Unavailable));
    let (refused, counted) = (refused.count(), world.directory.stats().refused);
    assert!(refused >= 33_000 - 32_768 && counted > 0 && counted <= refused as u64, "{refused} {counted}");
    let crowded = world.directory.crowded().unwrap();
    assert_eq!((crowded.waiting, crowded.under_way), (counted, 0), "by the bound of those that wait");
}

#[tokio::test]
async fn after_a_close_calls_fail() {
    let world = RedisWorld::new().await;
    world.directory.close().await;
    world.directory.close().await;
    assert_eq!(claim(&world, "1").await.unwrap_err().kind, DirectoryErrorKind::Unavailable);
}
