//! The number of lanes that everybody has to agree on.

use std::num::NonZeroU16;
use std::sync::LazyLock;

use ::redis::Script;
use gim_proto::Keys;

use crate::store::{Store, StoreError};

static AGREE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("agree.lua")));

/// Version of what is kept in Redis and how.
const SCHEMA: &str = "1";

/// Why a node may not start on this Redis.
#[derive(Debug, thiserror::Error)]
pub enum LanesError {
    /// Others have written there with another number of lanes: their targets are in other lanes.
    #[error("queue.lanes is {configured}, in redis are {found}")]
    Differ {
        /// The number asked for.
        configured: NonZeroU16,
        /// What Redis has.
        found: Box<str>,
    },
    /// Others have written there in another way.
    #[error("redis holds data of schema version {found}, this is version {SCHEMA}")]
    Schema {
        /// What Redis has.
        found: Box<str>,
    },
    /// Redis did not answer.
    #[error("the number of lanes could not be compared")]
    Store(#[from] StoreError),
}

/// Notes the number of lanes if nobody has yet, and otherwise compares it.
///
/// # Errors
/// It is another one. Or Redis did not answer: asking again is safe.
pub async fn agree_on_lanes(store: &Store, keys: &Keys, lanes: NonZeroU16) -> Result<(), LanesError> {
    let meta = keys.meta();
    let mut call = AGREE.key(&meta);
    call.arg(SCHEMA).arg(lanes.get());
    let (schema, found): (String, String) = store.link(meta.as_str()).script(&call).await?;
    if schema != SCHEMA {
        return Err(LanesError::Schema { found: schema.into() });
    }
    match found == lanes.to_string() {
        true => Ok(()),
        false => Err(LanesError::Differ { configured: lanes, found: found.into() }),
    }
}
