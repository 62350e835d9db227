//! A look at the whole lane now and then: what it holds, what can be trimmed, and whether Redis has handed out entries
//! that nobody here knows of, such as those a frozen former owner read when it was thawed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gim_proto::EntryId;
use tokio::time::Instant;

use super::fetch::Reader;
use super::reply;
use super::scripts::{Args, SURVEY};
use super::shared::Shared;
use super::trouble::Trouble;

const EVERY: Duration = Duration::from_secs(1);
/// Entries settled that are trimmed without waiting for the next look.
const SETTLED: u64 = 10_000;
/// Entries trimmed at once, at most.
const TRIM: u64 = 50_000;

impl Reader {
    /// Looks at the lane if it is time.
    pub(super) async fn survey(&mut self, shared: &Arc<Shared>) -> Result<(), Trouble> {
        let settled = shared.settled.load(Ordering::Relaxed);
        if settled < SETTLED && self.surveyed.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        // Taken before Redis is asked: what is settled meanwhile can only make less pending there.
        let (known, lowest_known) = shared.outstanding().pending();
        // Also when nothing was settled lately: what pinned the stream may have gone since.
        let args = Args::default().with(TRIM);
        let answer = shared.fenced(&SURVEY, &args).await?;
        const WHAT: &str = "a survey";
        let [unread, scheduled, pending, lowest, vanished, _trimmed] = reply::exactly(answer, WHAT)?;
        shared.settled.fetch_sub(settled, Ordering::Relaxed);
        shared.set_unread(reply::number(&unread, WHAT)?);
        shared.set_scheduled(reply::number(&scheduled, WHAT)?);
        shared.tell_gone(reply::number(&vanished, WHAT)?, true, None);
        let lowest = EntryId::parse(&reply::text(lowest, WHAT)?).ok();
        let below = lowest.is_some_and(|lowest| lowest_known.is_none_or(|known| lowest < known));
        if below || reply::number(&pending, WHAT)? > known {
            self.stray();
        }
        self.surveyed = Some(Instant::now());
        Ok(())
    }

    // A drain on its way finds them anyway.
    fn stray(&mut self) {
        self.chores.drain |= self.drain.is_none();
    }
}
