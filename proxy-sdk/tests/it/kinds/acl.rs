//! Passwords and ACL users: who gets in, and what a user who may do little can do.

use std::time::Duration;

use fred::interfaces::ClientLike;
use gim_proto::{Keys, NodeId};
use gim_proxy_sdk::lease::{LeaseError, LeaseOptions, NodeLease, RpcProbe};
use gim_proxy_sdk::store::{RedisOptions, Store, StoreError, StoreErrorKind, fred_client};
use gim_proxy_sdk::testing::{RedisCluster, RedisServer, SentinelSet, sentinel_users_of, users_of};
use redis::cmd;
use tokio::time::Instant;

use super::contract::{self, Parties};
use super::ways::{all_ways_work, comes_back, fails_as, fred, fred_set, set};

const DOCS: &str = include_str!("../../../../docs/redis.md");

async fn denied(options: RedisOptions) {
    let store = Store::new(options);
    let error = store.link("k").query::<()>(&set("k", "1")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    let error = by_pool(&store).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    let error = by_connection(&store).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    let error = match fred_client(store.options()).unwrap().init().await {
        // Without a password it is let in, to do nothing.
        Ok(_) => fred_set(&fred(store.options()).await, "k", "1").await.unwrap_err(),
        Err(error) => error.into(),
    };
    assert_eq!(error.kind, StoreErrorKind::Denied);
}

// Where no password is given the server takes the connection and denies the first command.
async fn by_pool(store: &Store) -> Result<(), StoreError> {
    let pool = store.pool("k");
    let mut connection = pool.connection().await?;
    Ok(set("k", "1").exec_async(&mut *connection).await?)
}

async fn by_connection(store: &Store) -> Result<(), StoreError> {
    let mut connection = store.connect("k", None).await?;
    Ok(set("k", "1").exec_async(&mut connection).await?)
}

#[tokio::test]
async fn a_password_opens_every_way() {
    let server = RedisServer::start_with(&["--requirepass", "p@ss:word/ 1"]).await;
    all_ways_work(server.options().password("p@ss:word/ 1")).await;
    let by_url = format!("redis://:p%40ss%3aword%2f%201@127.0.0.1:{}", server.port());
    all_ways_work(RedisOptions::parse(&by_url).unwrap()).await;
}

#[tokio::test]
async fn a_pool_tells_why_at_once() {
    let server = RedisServer::start_with(&["--requirepass", "right"]).await;
    let pool = Store::new(server.options().password("wrong")).pool("k");
    let begun = Instant::now();
    let error = pool.connection().await.map(drop).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_contract_holds_with_a_password() {
    let server = RedisServer::start_with(&["--requirepass", "right"]).await;
    contract::holds(&Parties::alike(&server.options().password("right"))).await;
}

#[tokio::test]
async fn the_users_of_the_documentation_may_do_what_they_have_to_and_no_more() {
    let server = RedisServer::start().await;
    for rules in users_of(DOCS) {
        server.set_user(&rules).await;
    }
    contract::holds(&Parties::documented(&server.options())).await;
    assert_eq!(server.denials().await, []);
    let others = "other:queue:0";
    for user in ["gim-node", "gim-worker", "gim-producer", "gim-xadd", "gim-subscriber", "gim-operator"] {
        let store = Store::new(server.options().username(user).password("secret"));
        for command in [cmd("FLUSHALL"), cmd("KEYS").arg("*").clone(), cmd("XLEN").arg(others).clone(), set("gim", "1")]
        {
            let error = store.link("k").query::<()>(&command).await.unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Denied, "{user}: {:?}", command.args_iter().collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn the_users_of_the_documentation_are_enough_behind_sentinel() {
    let servers = SentinelSet::start().await;
    for rules in users_of(DOCS) {
        let words: Vec<&str> = rules.split(' ').collect();
        servers.tell_servers(&[&["ACL", "SETUSER"], &words[..]].concat()).await;
    }
    for rules in sentinel_users_of(DOCS) {
        let words: Vec<&str> = rules.split(' ').collect();
        servers.tell_sentinels(&[&["ACL", "SETUSER"], &words[..]].concat()).await;
    }
    servers.tell_sentinels(&["ACL", "LOG", "RESET"]).await;
    let (user, password) = ("gim-finder".to_owned(), "secret".to_owned());
    let options = servers.options().sentinel_login(Some(user), Some(password));
    contract::holds(&Parties::documented(&options)).await;
}

#[tokio::test]
async fn a_node_that_may_not_tell_one_run_from_another_does_not_start() {
    let server = RedisServer::start().await;
    for rules in users_of(DOCS) {
        server.set_user(&rules).await;
    }
    server.set_user("gim-node -info").await;
    let store = Store::new(server.options().username("gim-node").password("secret"));
    let options = LeaseOptions::alone(NodeId::parse("n1").unwrap(), "127.0.0.1:1", "127.0.0.1:2");
    let taken = NodeLease::acquire(&store, &Keys::new("gim").unwrap(), options, &RpcProbe::default()).await;
    assert!(matches!(taken.err(), Some(LeaseError::Store(error)) if error.kind == StoreErrorKind::Denied));
}

#[tokio::test]
async fn the_users_of_the_documentation_are_enough_in_a_cluster() {
    let cluster = RedisCluster::start().await;
    for rules in users_of(DOCS) {
        let words: Vec<&str> = rules.split(' ').collect();
        cluster.tell_all(&[&["ACL", "SETUSER"], &words[..]].concat()).await;
    }
    contract::holds(&Parties::documented(&cluster.options())).await;
}

#[tokio::test]
async fn a_wrong_password_is_denied_on_every_way() {
    let server = RedisServer::start_with(&["--requirepass", "right"]).await;
    denied(server.options().password("wrong")).await;
    denied(server.options().username("nobody").password("right")).await;
    denied(server.options()).await;
}

#[tokio::test]
async fn a_user_reaches_what_it_may_and_is_denied_the_rest() {
    let server = RedisServer::start().await;
    server.set_user("app on >secret ~t-* +eval +evalsha +script|load +set +get +ping +client|id +info").await;
    let options = server.options().username("app").password("secret");
    all_ways_work(options.clone()).await;
    let store = Store::new(options);
    let link = store.link("t-k");
    let command = link.query::<()>(cmd("DEL").arg("t-k")).await.unwrap_err();
    assert_eq!((command.kind, command.is("NOPERM")), (StoreErrorKind::Denied, true));
    let key = link.query::<()>(&set("k", "1")).await.unwrap_err();
    assert_eq!(key.kind, StoreErrorKind::Denied);
    let fred = fred(store.options()).await;
    let key = fred_set(&fred, "k", "1").await.unwrap_err();
    assert_eq!(key.kind, StoreErrorKind::Denied);
    let denials = server.denials().await;
    assert!(denials.iter().any(|denial| denial.username == "app" && denial.object == "del"), "{denials:?}");
}

#[tokio::test]
async fn a_user_that_was_taken_away_is_denied_and_let_in_again_when_it_is_back() {
    let server = RedisServer::start().await;
    let rules = "app on >secret ~* +@all";
    server.set_user(rules).await;
    let store = Store::new(server.options().username("app").password("secret"));
    let (link, fred) = (store.link("k"), fred(store.options()).await);
    link.query::<()>(&set("k", "1")).await.unwrap();
    fred_set(&fred, "k", "1").await.unwrap();
    assert_eq!(server.tell(&["ACL", "DELUSER", "app"]).await, "1");
    fails_as(async || link.query::<()>(&set("k", "2")).await, StoreErrorKind::Denied).await;
    server.set_user(rules).await;
    comes_back(async || link.query::<()>(&set("k", "3")).await).await;
    comes_back(async || fred_set(&fred, "k", "4").await.map(drop)).await;
}
