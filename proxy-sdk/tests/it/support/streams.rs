//! Looking at a Redis from outside: what is there is read as Redis writes it.

use std::time::Duration;

use gim_proto::{Fields, Keys};
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::testing::{RedisServer, prefix, shared_redis};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, cmd};

/// One entry of a stream: its id, then names and values.
pub(crate) type Raw = (String, Vec<String>);

/// A Redis, a prefix that nobody else uses, and a connection of the test's own.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) store: Store,
    pub(crate) keys: Keys,
    pub(crate) connection: MultiplexedConnection,
}

impl Outside {
    pub(crate) async fn shared() -> Self {
        Self::of(shared_redis().await).await
    }

    pub(crate) async fn of(server: &RedisServer) -> Self {
        let (store, keys) = (server.store(), Keys::new(&prefix()).unwrap());
        let connection = store.connect("any", Some(Duration::from_secs(15))).await.unwrap();
        Self { store, keys, connection }
    }

    /// Sends one command, words and all.
    pub(crate) async fn send<T: FromRedisValue + Send>(&self, words: &[&str]) -> T {
        self.try_send(words).await.unwrap()
    }

    pub(crate) async fn try_send<T: FromRedisValue + Send>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let (name, arguments) = words.split_first().unwrap();
        cmd(name).arg(arguments).query_async(&mut self.connection.clone()).await
    }

    pub(crate) async fn stream(&self, key: &str) -> Vec<Raw> {
        self.send(&["XRANGE", key, "-", "+"]).await
    }

    pub(crate) async fn length(&self, key: &str) -> u64 {
        self.send(&["XLEN", key]).await
    }

    /// What the clock of this Redis says, Unix milliseconds.
    pub(crate) async fn now_ms(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.send(&["TIME"]).await;
        seconds * 1_000 + micros / 1_000
    }
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// An entry for a user.
pub(crate) fn to(uid: &str) -> Fields {
    fields(&[("to_uid", uid), ("data", "{}")])
}

/// The same under an id of the producer.
pub(crate) fn under(id: &str, uid: &str) -> Fields {
    fields(&[("to_uid", uid), ("data", "{}"), ("id", id)])
}
