//! Look-ups in Redis: few round trips, and what the cache may and may not do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use gim_proto::{Fence, Keys, SessionId, Uid};
use gim_proxy_sdk::directory::redis::{LiveNodes, RedisDirectory, RedisDirectoryOptions};
use gim_proxy_sdk::directory::{
    ClaimRequest, Directory, DirectoryErrorKind, Freshness, Here, NodeRef, OnDuplicate, Owner,
};
use gim_proxy_sdk::testing::{RedisServer, prefix, shared_redis};

use super::world::{RedisWorld, Session, World, node, uid};

async fn cached(directory: &RedisDirectory, name: &str) -> Option<Owner> {
    directory.lookup(&[uid(name)], Freshness::Cached).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_stale_owner_is_never_named_to_who_asks_for_the_current_one() {
    let world = RedisWorld::new().await;
    let reader = world.another().await;
    let (first, _, _) = world.connect("1", None).await;
    assert_eq!(cached(&reader, "1").await.unwrap().session, first.id);
    let (second, _, _) = world.connect_at("1", world.there(), None).await;
    assert_eq!(cached(&reader, "1").await.unwrap().session, first.id, "nobody has told it");
    let current = reader.lookup(&[uid("1")], Freshness::Current).await.unwrap().remove(0);
    assert_eq!(current.unwrap().session, second.id);
    assert_eq!(cached(&reader, "1").await.unwrap().session, second.id, "now it knows");
    world.disconnect("1", second).await;
    assert_eq!(reader.lookup(&[uid("1")], Freshness::Current).await.unwrap(), [None]);
    assert_eq!(cached(&reader, "1").await, None);
}

#[tokio::test]
async fn what_a_process_does_itself_it_knows_at_once() {
    let world = RedisWorld::new().await;
    let (first, _, _) = world.connect("1", None).await;
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, first.id);
    let (second, _, _) = world.connect("1", None).await;
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, second.id);
    world.disconnect("1", first).await;
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, second.id, "that was another one's");
    world.disconnect("1", second).await;
    assert_eq!(cached(&world.directory, "1").await, None);
    assert_eq!(world.directory.stats().misses, 1);
}

/// The sessions of a process.
struct Sessions {
    node: Arc<NodeRef>,
    held: Mutex<HashMap<Uid, (SessionId, Fence)>>,
}

impl Sessions {
    /// Has the world's directory ask for them first.
    fn of(world: &RedisWorld) -> Arc<Self> {
        let sessions = Arc::new(Self { node: Arc::new(world.here().clone()), held: Mutex::default() });
        let asked: Arc<dyn Here> = sessions.clone();
        world.directory.ask_first(Arc::downgrade(&asked));
        sessions
    }

    fn hold(&self, name: &str, session: Session) {
        self.held.lock().unwrap().insert(uid(name), (session.id, session.fence));
    }
}

impl Here for Sessions {
    fn node(&self) -> Arc<NodeRef> {
        Arc::clone(&self.node)
    }

    fn owners(&self, uids: &[Uid]) -> Vec<Option<(SessionId, Fence)>> {
        let held = self.held.lock().unwrap();
        uids.iter().map(|uid| held.get(uid).copied()).collect()
    }
}

#[tokio::test]
async fn who_is_here_is_named_without_asking_redis_and_others_beside_it_in_order() {
    let world = RedisWorld::new().await;
    let sessions = Sessions::of(&world);
    let (here, _, _) = world.connect("here", None).await;
    sessions.hold("here", here);
    let (there, _, _) = world.connect_at("there", world.there(), None).await;
    let uids = ["there", "here", "nowhere", "here"].map(uid);
    for misses in [2, 3] {
        let owners = world.directory.lookup(&uids, Freshness::Cached).await.unwrap();
        let found: Vec<_> =
            owners.iter().map(|owner| owner.as_ref().map(|owner| (owner.session, owner.fence))).collect();
        let here = Some((here.id, here.fence));
        assert_eq!(found, [Some((there.id, there.fence)), here, None, here]);
        assert_eq!(owners[1].as_ref().unwrap().node, *world.here());
        // The one elsewhere is remembered, nobody's absence is.
        assert_eq!(world.directory.stats().misses, misses);
    }
}

#[tokio::test]
async fn who_is_here_is_not_remembered_beside_that() {
    let world = RedisWorld::new().await;
    let sessions = Sessions::of(&world);
    let (session, _, _) = world.connect("1", None).await;
    for misses in [1, 2] {
        assert_eq!(cached(&world.directory, "1").await.unwrap().session, session.id, "recorded, not active here yet");
        assert_eq!(world.directory.stats().misses, misses);
    }
    let current = world.directory.lookup(&[uid("1")], Freshness::Current).await.unwrap().remove(0);
    assert_eq!(current.unwrap().session, session.id);
    sessions.hold("1", session);
    world.disconnect("1", session).await;
    sessions.held.lock().unwrap().clear();
    assert_eq!(cached(&world.directory, "1").await, None);
}

#[tokio::test]
async fn whoever_comes_here_from_elsewhere_is_remembered_nowhere_else() {
    let world = RedisWorld::new().await;
    let sessions = Sessions::of(&world);
    let (there, _, _) = world.connect_at("1", world.there(), None).await;
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, there.id);
    let (here, _, _) = world.connect("1", None).await;
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, here.id, "from its grant on, active or not");
    sessions.hold("1", here);
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, here.id);
    sessions.held.lock().unwrap().clear();
    world.disconnect("1", here).await;
    assert_eq!(cached(&world.directory, "1").await, None);
}

#[tokio::test]
async fn who_is_here_is_looked_up_all_the_same_when_the_current_owner_is_asked_for() {
    let world = RedisWorld::new().await;
    let sessions = Sessions::of(&world);
    let (session, _, _) = world.connect("1", None).await;
    sessions.hold("1", session);
    let (successor, _, _) = world.connect_at("1", world.there(), None).await;
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, session.id, "nobody has told it");
    let current = world.directory.lookup(&[uid("1")], Freshness::Current).await.unwrap().remove(0);
    assert_eq!(current.unwrap().session, successor.id);
    sessions.held.lock().unwrap().clear();
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, successor.id);
}

#[tokio::test]
async fn a_process_that_has_lost_its_place_is_not_asked() {
    let world = RedisWorld::new().await;
    let sessions = Sessions::of(&world);
    let (session, _, _) = world.connect("1", None).await;
    sessions.hold("1", session);
    world.live.set(vec![world.there().clone()]);
    assert_eq!(cached(&world.directory, "1").await, None);
    let (successor, _, _) = world.connect_at("1", world.there(), None).await;
    assert_eq!(cached(&world.directory, "1").await.unwrap().session, successor.id);
}

#[tokio::test]
async fn an_owner_on_a_dead_node_is_offline_in_the_cache_too() {
    let world = RedisWorld::new().await;
    world.connect_at("1", world.there(), None).await;
    assert!(cached(&world.directory, "1").await.is_some());
    world.live.set(vec![world.here().clone()]);
    assert_eq!(cached(&world.directory, "1").await, None);
    assert_eq!(world.owner("1").await, None);
}

#[tokio::test]
async fn offline_is_never_remembered() {
    let world = RedisWorld::new().await;
    let reader = world.another().await;
    assert_eq!(cached(&reader, "1").await, None);
    let (session, _, _) = world.connect("1", None).await;
    assert_eq!(cached(&reader, "1").await.unwrap().session, session.id);
}

#[tokio::test]
async fn nobody_is_offline_before_it_is_known_who_lives() {
    let world = RedisWorld::new().await;
    world.connect("1", None).await;
    let settings = RedisDirectoryOptions::new(world.keys.clone());
    let unknowing = RedisDirectory::connect(&shared_redis().await.options(), LiveNodes::new(), settings).await.unwrap();
    for freshness in [Freshness::Cached, Freshness::Current] {
        let answer = unknowing.lookup(&[uid("1")], freshness).await;
        assert_eq!(answer.unwrap_err().kind, DirectoryErrorKind::Unavailable);
    }
    assert_eq!(unknowing.nodes().await.unwrap_err().kind, DirectoryErrorKind::Unavailable);
    unknowing.sweep().await.unwrap();
    assert!(world.owner("1").await.is_some());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_its_own_user_only() {
    let world = RedisWorld::new().await;
    let (session, _, _) = world.connect("1", None).await;
    let _: i64 = world.ask(&["HSET", &world.keys.user_bucket(&uid("2")), "2", "2 x"]).await;
    let owners = world.directory.lookup(&[uid("2"), uid("1")], Freshness::Current).await.unwrap();
    assert_eq!(
        owners.iter().map(|owner| owner.as_ref().map(|owner| owner.session)).collect::<Vec<_>>(),
        [None, Some(session.id)]
    );
    let request = ClaimRequest {
        uid: uid("2"),
        node: world.here().clone(),
        session: session.id,
        on_duplicate: OnDuplicate::Replace,
        resume: None,
    };
    assert_eq!(world.directory.claim(request).await.unwrap_err().kind, DirectoryErrorKind::Corrupt);
}

#[tokio::test]
async fn two_thousand_look_ups_take_one_command_per_bucket() {
    // The server's own counts: nobody else may ask it meanwhile.
    let server = RedisServer::start().await;
    let world = RedisWorld::on(&server, server.options()).await;
    let names: Vec<String> = (0..2_000).map(|user| format!("u{user}")).collect();
    join_all(names.iter().map(|name| world.connect(name, None))).await;
    let uids: Vec<Uid> = names.iter().map(|name| uid(name)).collect();
    let reader = world.another().await;
    let before = counts(&world).await;
    let owners = reader.lookup(&uids, Freshness::Cached).await.unwrap();
    assert!(owners.iter().all(Option::is_some));
    let after = counts(&world).await;
    let commands = after - before;
    assert!(commands <= 1_024, "one command per bucket, not {commands}");
    let again = reader.lookup(&uids, Freshness::Cached).await.unwrap();
    assert_eq!(again, owners);
    assert_eq!(counts(&world).await, after, "not asked again");
    assert_eq!(reader.stats().hits, 2_000);
}

/// HMGETs run.
async fn counts(world: &RedisWorld) -> u64 {
    let info: String = world.ask(&["INFO", "everything"]).await;
    let lines: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
    let hmget = lines
        .get("cmdstat_hmget")
        .map_or("0", |line| line.split(',').find_map(|part| part.strip_prefix("calls=")).unwrap());
    hmget.parse().unwrap()
}

#[test]
fn who_lives_is_what_was_said_last() {
    let live = LiveNodes::new();
    let (one, other): (NodeRef, NodeRef) = (node("n1"), node("n2"));
    assert!(!live.view().is_known() && !live.is_live(&one.incarnation));
    live.set(vec![one.clone(), other.clone()]);
    assert!(live.view().members().iter().map(|member| &member.node).eq([&one, &other]));
    let shared = live.clone();
    shared.set(vec![other.clone()]);
    assert_eq!((live.find(&one.incarnation), live.find(&other.incarnation)), (None, Some(other)));
}

#[tokio::test]
async fn prefixes_do_not_see_each_other() {
    let world = RedisWorld::new().await;
    world.connect("1", None).await;
    let settings = RedisDirectoryOptions::new(Keys::new(&prefix()).unwrap());
    let options = shared_redis().await.options();
    let other = RedisDirectory::connect(&options, world.live.clone(), settings).await.unwrap();
    assert_eq!(other.lookup(&[uid("1")], Freshness::Current).await.unwrap(), [None]);
}
