//! Entries of the stream that were handed out before, and that nobody here knows of: they come again, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use gim_proto::EntryId;

use super::decode::Read;
use super::fetch::Reader;
use super::reply;
use super::scripts::{Args, CLAIM};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::source::Room;

/// Pending entries listed at once.
const PAGE: usize = 1_000;

/// How far a drain has come.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// Everything up to here was listed.
    listed_to: Option<EntryId>,
    /// Listed and not claimed yet, with how often each was delivered. Kept when a claim fails: repeated with the same
    /// counts, it counts once.
    listed: VecDeque<(EntryId, u32)>,
    is_last_page: bool,
}

impl Reader {
    /// Reads what is pending and not outstanding, if there may be some.
    pub(super) async fn pending(&mut self, shared: &Arc<Shared>, room: Room) -> Result<Vec<Read>, Trouble> {
        if std::mem::take(&mut self.chores.drain) {
            self.drain = Some(Drain::default());
        }
        while let Some(drain) = &mut self.drain {
            if !drain.listed.is_empty() {
                let read = drain.claim(shared, room).await?;
                if !read.is_empty() {
                    return Ok(read);
                }
            } else if drain.is_last_page {
                self.drain = None;
            } else {
                drain.list(shared).await?;
            }
        }
        Ok(Vec::new())
    }
}

impl Drain {
    async fn list(&mut self, shared: &Shared) -> Result<(), Trouble> {
        // Of every consumer: there is but one, and what somebody took by hand would stay with him for ever.
        let from = self.listed_to.map_or_else(|| "-".to_owned(), |entry_id| format!("({entry_id}"));
        let mut list = ::redis::cmd("XPENDING");
        list.arg(&shared.names.stream).arg("gim").arg(from).arg("+").arg(PAGE);
        let page = reply::list(shared.link.query(&list).await?, "pending entries")?;
        self.is_last_page = page.len() < PAGE;
        for entry in page {
            let [entry_id, _, _, deliveries] = reply::exactly(entry, "a pending entry")?;
            let entry_id = reply::entry_id(entry_id)?;
            self.listed_to = Some(entry_id);
            if !shared.outstanding().contains(entry_id) {
                let deliveries = reply::number(&deliveries, "deliveries")?;
                self.listed.push_back((entry_id, u32::try_from(deliveries).unwrap_or(u32::MAX)));
            }
        }
        Ok(())
    }

    async fn claim(&mut self, shared: &Shared, room: Room) -> Result<Vec<Read>, Trouble> {
        let mut args = Args::default().with(room.bytes);
        for (entry_id, deliveries) in self.listed.iter().take(room.entries.min(PAGE)) {
            args.push(entry_id);
            args.push(deliveries);
        }
        let [dealt, out, gone] = reply::exactly(shared.fenced(&CLAIM, &args).await?, "claimed entries")?;
        let mut read = Vec::new();
        let mut out = reply::list(out, "claimed entries")?.into_iter();
        while let (Some(id), Some(deliveries), Some(fields)) = (out.next(), out.next(), out.next()) {
            let attempts = u32::try_from(reply::number(&deliveries, "deliveries")?).unwrap_or(u32::MAX);
            read.push(Read::of_stream(shared, reply::entry_id(id)?, &reply::fields(fields)?, attempts));
        }
        let dealt = usize::try_from(reply::number(&dealt, "a count")?).unwrap_or(usize::MAX);
        self.listed.drain(..dealt.min(self.listed.len()));
        let gone = reply::list(gone, "entries that are gone")?;
        let entries = gone.len() as u64;
        let first = gone.into_iter().next().map(reply::entry_id).transpose()?;
        shared.tell_gone(entries, false, first);
        Ok(read)
    }
}
