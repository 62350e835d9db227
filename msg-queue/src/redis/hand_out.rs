//! The last step of a read: message ids are noted, and the entries are outstanding from then on.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Value;
use gim_proto::EntryId;

use super::decode::Read;
use super::fetch::Reader;
use super::reply;
use super::scripts::{Args, MARK};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::source::Fetched;

/// Ids noted in one call.
const AT_ONCE: usize = 500;

impl Reader {
    /// Hands over what was read. If it fails, everything is still there for the next time.
    pub(super) async fn hand_out(&mut self, shared: &Arc<Shared>) -> Result<Vec<Fetched>, Trouble> {
        while let Some(first) = self.read.iter().position(|read| !read.marked) {
            mark(shared, self.read.get_mut(first..).unwrap_or_default()).await?;
        }
        let mut outstanding = shared.outstanding();
        let mut handed_out = std::mem::take(&mut self.read);
        handed_out.retain(|read| outstanding.hold(read.fetched.entry_id, read.held()));
        Ok(handed_out.into_iter().map(|read| read.fetched).collect())
    }
}

async fn mark(shared: &Shared, read: &mut [Read]) -> Result<(), Trouble> {
    let mut unmarked: Vec<&mut Read> = read.iter_mut().filter(|read| !read.marked).take(AT_ONCE).collect();
    let ids = unmarked.iter().map(|read| shared.keys.idempotency(shared.lane, &read.fetched.message_id));
    let ids: Vec<String> = ids.collect();
    let keys: Vec<&str> = std::iter::once(&shared.names.lease).chain(&ids).map(String::as_str).collect();
    let mut args = Args::default();
    for read in &unmarked {
        args.push(read.fetched.entry_id);
        args.push(shared.section.idempotency_window.as_millis() + u128::from(wait_ms(shared, &read.fetched)));
    }
    let answers: Value = shared.fenced_on(&MARK, &keys, &args).await?;
    let answers = reply::list(answers, "marks")?;
    if answers.len() != unmarked.len() {
        return Err(Trouble::Odd("marks"));
    }
    let window = shared.section.idempotency_window;
    for (read, other) in unmarked.iter_mut().zip(answers) {
        let other = EntryId::parse(&reply::text(other, "a mark")?).ok();
        read.fetched.duplicate = other.is_some_and(|other| repeats(read.fetched.entry_id, other, window));
        read.marked = true;
    }
    Ok(())
}

/// Tells how long an entry has to wait for its time: until then, too, its id is known.
fn wait_ms(shared: &Shared, fetched: &Fetched) -> u64 {
    let due_ms = fetched.body.as_ref().ok().and_then(|entry| entry.deliver_at_ms).unwrap_or_default();
    due_ms.saturating_sub(shared.clock.unix_ms())
}

/// Whether an entry is a repeat of the one that its id is noted with. Of two within a window the noted one is delivered,
/// also if it came later: a producer that notes and appends at once may be ahead of the reader. One that came after the
/// window is a message of its own, and its mark says nothing about an earlier entry that is read again.
fn repeats(entry_id: EntryId, noted: EntryId, window: Duration) -> bool {
    noted < entry_id || u128::from(noted.ms.saturating_sub(entry_id.ms)) < window.as_millis()
}
