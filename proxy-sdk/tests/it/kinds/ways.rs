//! What has to work over every way to every kind of Redis, and how long a test waits for a kind to mend.

use std::time::Duration;

use fred::interfaces::{ClientLike, LuaInterface};
use gim_proxy_sdk::store::{Link, RedisOptions, Store, StoreError, StoreErrorKind, fred_client};
use gim_proxy_sdk::testing::{DEADLINE, prefix};
use redis::{Cmd, Script, cmd};
use tokio::time::{Instant, sleep};

const ECHO: &str = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])";

pub(crate) fn set(key: &str, value: &str) -> Cmd {
    let mut set = cmd("SET");
    set.arg(key).arg(value);
    set
}

pub(crate) fn get(key: &str) -> Cmd {
    let mut get = cmd("GET");
    get.arg(key);
    get
}

/// Keys in slots all over a cluster, under a prefix of their own.
pub(crate) fn keys() -> Vec<String> {
    let prefix = prefix();
    (0..9).map(|number| format!("{prefix}:{number}")).collect()
}

/// Sets and gets by script over a link, a pool, a connection and fred, for keys in many slots.
pub(crate) async fn all_ways_work(options: RedisOptions) {
    let store = Store::new(options);
    let fred = fred(store.options()).await;
    for key in keys() {
        let script = Script::new(ECHO);
        let mut call = script.key(&key);
        let linked: String = store.link(&*key).script(call.arg("link")).await.unwrap();
        let mut connection = store.connect(&key, Some(store.options().deadline())).await.unwrap();
        let own: String = script.key(&key).arg("connection").invoke_async(&mut connection).await.unwrap();
        let pool = store.pool(&*key);
        let mut taken = pool.connection().await.unwrap();
        let pooled: String = script.key(&key).arg("pool").invoke_async(&mut *taken).await.unwrap();
        let by_fred: String = fred.eval(ECHO, vec![key.clone()], vec!["fred"]).await.unwrap();
        assert_eq!([&*linked, &*own, &*pooled, &*by_fred], ["link", "connection", "pool", "fred"]);
    }
    fred.quit().await.unwrap();
}

/// A fred client that is connected.
pub(crate) async fn fred(options: &RedisOptions) -> fred::clients::Client {
    let client = fred_client(options).unwrap();
    client.init().await.unwrap();
    client
}

/// Sets a key by fred.
pub(crate) async fn fred_set(client: &fred::clients::Client, key: &str, value: &str) -> Result<String, StoreError> {
    Ok(client.eval(ECHO, vec![key.to_owned()], vec![value.to_owned()]).await?)
}

/// Repeats a call until it succeeds. What comes before may only be what a caller repeats.
pub(crate) async fn heals<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let deadline = Instant::now() + DEADLINE * 2;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => {
                let passing = matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown);
                assert!(passing, "this does not heal: {error:?}");
                assert!(Instant::now() < deadline, "not healed in time: {error:?}");
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The port of the server that a link's calls go to.
pub(crate) async fn port_of(link: &Link) -> u16 {
    let mut get = cmd("CONFIG");
    get.arg("GET").arg("port");
    let (_, port): (String, u16) = link.query(&get).await.unwrap();
    port
}

/// Repeats a call until it fails as it should; meanwhile it may fail in passing.
pub(crate) async fn fails_as(call: impl AsyncFn() -> Result<(), StoreError>, kind: StoreErrorKind) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = call().await;
        if answer.as_ref().is_err_and(|error| error.kind == kind) {
            return;
        }
        assert!(Instant::now() < deadline, "did not fail as {kind:?}: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Repeats a call until it succeeds, whatever it failed with before.
pub(crate) async fn comes_back(call: impl AsyncFn() -> Result<(), StoreError>) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = call().await;
        if answer.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "did not come back: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
