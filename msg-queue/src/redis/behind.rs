//! Whether Redis knows less of the lane than was read of it.
//!
//! Owns the highest entry that was read, and the comparison with the last that Redis has given, whenever the lane was
//! taken or another run answers. What is above it is lost for certain; what was never read is not known to anybody here.

use std::collections::HashMap;

use ::redis::{Value, cmd};
use gim_proto::EntryId;
use gim_proxy_sdk::store::{LaneBehind, StoreErrorKind};

use super::decode::Read;
use super::reply;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::observe::Event;

/// Takes note of what was read.
pub(super) fn note(shared: &Shared, read: &[Read]) {
    if let Some(highest) = read.iter().map(|read| read.fetched.entry_id).max() {
        let mut seen = shared.seen();
        *seen = seen.max(highest);
    }
}

/// Compares, and tells what it finds once.
pub(super) async fn look(shared: &Shared) -> Result<(), Trouble> {
    let seen = *shared.seen();
    if seen == EntryId::default() {
        return Ok(());
    }
    let Some(last) = last_given(shared).await? else { return Ok(()) };
    if last < seen {
        *shared.seen() = last;
        shared.store.losses().lane_is_behind(LaneBehind { lane: shared.lane, seen, last });
        shared.tell(&Event::LaneBehind { seen, last });
    }
    Ok(())
}

/// None: this worker may not ask.
async fn last_given(shared: &Shared) -> Result<Option<EntryId>, Trouble> {
    const WHAT: &str = "a stream";
    let asked = shared.link.query(cmd("XINFO").arg("STREAM").arg(&shared.names.stream)).await;
    let mut stream: HashMap<String, Value> = match asked {
        Ok(stream) => stream,
        Err(error) if error.kind == StoreErrorKind::Denied => return Ok(None),
        // There is no such stream.
        Err(error) if error.kind == StoreErrorKind::Refused => return Ok(Some(EntryId::default())),
        Err(error) => return Err(error.into()),
    };
    let last = reply::text(stream.remove("last-generated-id").unwrap_or_default(), WHAT)?;
    EntryId::parse(&last).map(Some).map_err(|_| Trouble::Odd(WHAT))
}
