//! What Redis is asked about a consumer group, and its answers, unread.

use std::time::Duration;

use ::redis::{FromRedisValue, ParsingError, Value, cmd, from_redis_value, pipe};
use gim_proto::{EntryId, Fields};

use super::SubscriberOptions;
use crate::store::{Link, StoreError, StoreErrorKind};

/// Where a search for idle entries begins, and what it says when it is through.
pub(super) const FIRST: &str = "0-0";

/// Entries acknowledged at once.
const ACKS: usize = 1_000;

/// An entry of the stream.
pub(super) struct Raw {
    pub(super) id: EntryId,
    /// None: it was deleted, and only the consumer still knows of it.
    pub(super) fields: Option<Fields>,
}

impl FromRedisValue for Raw {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (id, flat): (String, Option<Vec<Vec<u8>>>) = from_redis_value(value)?;
        let id = EntryId::parse(&id).map_err(|error| error.to_string())?;
        Ok(Self { id, fields: flat.map(fields) })
    }
}

fn fields(flat: Vec<Vec<u8>>) -> Fields {
    let mut fields = Fields::new();
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        fields.push(&String::from_utf8_lossy(&name), value);
    }
    fields
}

/// Makes the group, and the stream if there is none. Both may be there.
pub(super) async fn make_group(link: &Link, key: &str, group: &str) -> Result<(), StoreError> {
    let mut make = cmd("XGROUP");
    make.arg("CREATE").arg(key).arg(group).arg("0").arg("MKSTREAM");
    match link.query::<()>(&make).await {
        Err(error) if !error.is("BUSYGROUP") => Err(error),
        _ => Ok(()),
    }
}

pub(super) async fn ack(link: &Link, key: &str, group: &str, ids: &[EntryId]) -> Result<(), StoreError> {
    for ids in ids.chunks(ACKS) {
        let mut ack = cmd("XACK");
        ack.arg(key).arg(group);
        ack.arg(ids.iter().map(ToString::to_string).collect::<Vec<_>>());
        link.query::<u64>(&ack).await?;
    }
    Ok(())
}

/// Takes over what was not acknowledged for long. Returns where to go on.
pub(super) async fn claim(
    link: &Link,
    key: &str,
    options: &SubscriberOptions,
    from: &str,
) -> Result<(String, Vec<Raw>), StoreError> {
    let mut claim = cmd("XAUTOCLAIM");
    claim.arg(key).arg(&options.group).arg(&options.consumer).arg(millis(options.claim_after)).arg(from);
    claim.arg("COUNT").arg(options.batch);
    // Redis 7 adds the ids of entries that were deleted; 6.2 leaves nil in their place.
    let mut answer: Vec<Value> = link.query(&claim).await?;
    answer.truncate(2);
    let (raw, cursor) = answer.pop().zip(answer.pop()).ok_or_else(corrupt)?;
    let raw: Vec<Option<Raw>> = from_redis_value(raw).map_err(|_| corrupt())?;
    let cursor = from_redis_value(cursor).map_err(|_| corrupt())?;
    Ok((cursor, raw.into_iter().flatten().collect()))
}

/// Counts how often each entry was handed out.
pub(super) async fn attempts(link: &Link, key: &str, group: &str, raw: &[Raw]) -> Result<Vec<u32>, StoreError> {
    let mut ask = pipe();
    for raw in raw {
        let id = raw.id.to_string();
        ask.cmd("XPENDING").arg(key).arg(group).arg(&id).arg(&id).arg(1);
    }
    let known: Vec<Vec<(String, String, u64, u32)>> = link.pipe(&ask).await?;
    Ok(known.iter().map(|known| known.first().map_or(1, |(.., attempts)| *attempts)).collect())
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn corrupt() -> StoreError {
    StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None }
}
