//! Dead letters of a lane: reading and deleting them.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, RedisResult, cmd};
use gim_proto::{EntryId, Fields};

use super::Lane;
use crate::queue::{DeadLetter, Selection};
use crate::store::{StoreError, StoreErrorKind};

/// Letters read at once: 8 MiB of them at most.
const PAGE: usize = 32;
/// Letters of one answer hold about so many bytes at most, so that it can be sent on.
const MOST_BYTES: usize = 8 << 20;
/// Letters deleted at once, by id, and otherwise.
const IDS: usize = 100;
const TRIMMED: usize = 1_000;

/// An entry of a stream, as Redis writes it.
type Raw = (String, Vec<Vec<u8>>);

impl Lane<'_> {
    pub(super) async fn dead(self, mut after: Option<EntryId>, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let mut connection = self.connection().await?;
        let mut letters = Vec::new();
        let mut bytes = 0;
        while letters.len() < limit && bytes < MOST_BYTES {
            let count = PAGE.min(limit - letters.len());
            let page: Vec<Raw> = self.after(after, count).query_async(&mut *connection).await?;
            let is_last = page.len() < count;
            for raw in page {
                let letter = letter(raw)?;
                bytes += letter.fields.bytes();
                after = Some(letter.id);
                letters.push(letter);
            }
            if is_last {
                break;
            }
        }
        Ok(letters)
    }

    fn after(&self, after: Option<EntryId>, count: usize) -> Cmd {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut page = cmd("XRANGE");
        page.arg(self.queue.keys.dead(self.lane)).arg(from).arg("+").arg("COUNT").arg(count);
        page
    }

    /// Finds the youngest letter.
    pub(super) async fn youngest(&self, connection: &mut MultiplexedConnection) -> Result<Option<EntryId>, StoreError> {
        let mut last = cmd("XREVRANGE");
        last.arg(self.queue.keys.dead(self.lane)).arg("+").arg("-").arg("COUNT").arg(1);
        let mut last: Vec<Raw> = last.query_async(connection).await?;
        last.pop().map(|(id, _)| entry_id(&id)).transpose()
    }

    pub(super) async fn purge(self, which: Selection) -> Result<u64, StoreError> {
        let mut connection = self.connection().await?;
        match which {
            Selection::All => match self.youngest(&mut connection).await? {
                Some(last) => Ok(self.trim(&mut connection, last).await?),
                None => Ok(0),
            },
            Selection::Ids(ids) => Ok(self.delete(&mut connection, &ids).await?),
        }
    }

    // What comes meanwhile is younger than `last` and stays.
    async fn trim(&self, connection: &mut MultiplexedConnection, last: EntryId) -> RedisResult<u64> {
        let least = EntryId { seq: last.seq.saturating_add(1), ..last }.to_string();
        let mut trim = cmd("XTRIM");
        trim.arg(self.queue.keys.dead(self.lane)).arg("MINID");
        let mut some = trim.clone();
        some.arg("~").arg(&least).arg("LIMIT").arg(TRIMMED);
        trim.arg("=").arg(&least);
        let mut purged = 0;
        loop {
            match some.query_async::<u64>(connection).await? {
                0 => return Ok(purged + trim.query_async::<u64>(connection).await?),
                more => purged += more,
            }
        }
    }

    async fn delete(&self, connection: &mut MultiplexedConnection, ids: &[EntryId]) -> RedisResult<u64> {
        let mut purged = 0;
        for ids in ids.chunks(IDS) {
            let mut delete = cmd("XDEL");
            delete.arg(self.queue.keys.dead(self.lane));
            delete.arg(ids.iter().map(ToString::to_string).collect::<Vec<_>>());
            purged += delete.query_async::<u64>(connection).await?;
        }
        Ok(purged)
    }
}

fn letter((id, flat): Raw) -> Result<DeadLetter, StoreError> {
    let mut fields = Fields::new();
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        fields.push(&String::from_utf8_lossy(&name), value);
    }
    Ok(DeadLetter { id: entry_id(&id)?, fields })
}

fn entry_id(id: &str) -> Result<EntryId, StoreError> {
    EntryId::parse(id).map_err(|error| StoreError {
        kind: StoreErrorKind::Corrupt,
        code: None,
        source: Some(Box::new(error)),
    })
}
