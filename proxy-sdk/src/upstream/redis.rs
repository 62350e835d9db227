//! The road up over a Redis stream, a node's side.

use std::sync::LazyLock;
use std::time::Duration;

use ::redis::Script;
use async_trait::async_trait;
use gim_proto::{Keys, MessageId};
use tokio::time::timeout;

use super::{Command, Upstream, UpstreamError, UpstreamErrorKind};
use crate::store::{Link, Store, StoreError, StoreErrorKind};

static OFFER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("offer.lua")));

/// Commands that wait on the stream, at most, unless another bound is set.
pub const MOST_COMMANDS: u64 = 1_000_000;

/// How long an offer may take, connecting included.
const DEADLINE: Duration = Duration::from_secs(5);

/// Puts commands on the stream. Cheap to clone; connects when it is first used.
#[derive(Clone, Debug)]
pub struct RedisUpstream {
    link: Link,
    key: String,
    bound: u64,
}

impl RedisUpstream {
    /// Makes a way up. `bound`: commands that wait on the stream, at most; see [`MOST_COMMANDS`].
    #[must_use]
    pub fn new(store: &Store, keys: &Keys, bound: u64) -> Self {
        Self { link: store.link(keys.upstream()), key: keys.upstream(), bound }
    }
}

#[async_trait]
impl Upstream for RedisUpstream {
    async fn offer(&self, command: Command) -> Result<MessageId, UpstreamError> {
        let mut call = OFFER.key(&self.key);
        call.arg(self.bound);
        for (name, value) in command.fields() {
            call.arg(name).arg(&value[..]);
        }
        match timeout(DEADLINE, self.link.script::<String>(&call)).await {
            Ok(place) => place.map(|_| command.id).map_err(UpstreamError::from),
            Err(elapsed) => Err(UpstreamError { kind: UpstreamErrorKind::Timeout, source: Some(Box::new(elapsed)) }),
        }
    }
}

impl From<StoreError> for UpstreamError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            StoreErrorKind::Full => UpstreamErrorKind::Full,
            StoreErrorKind::Refused if error.is("COMMANDS") => UpstreamErrorKind::Full,
            StoreErrorKind::Unknown | StoreErrorKind::Corrupt => UpstreamErrorKind::Timeout,
            StoreErrorKind::Unavailable | StoreErrorKind::Denied | StoreErrorKind::Refused => {
                UpstreamErrorKind::Unavailable
            }
        };
        Self { kind, source: Some(Box::new(error)) }
    }
}
