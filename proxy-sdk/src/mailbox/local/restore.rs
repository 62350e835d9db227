//! How mailboxes begin with what a journal has kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use gim_proto::Uid;

use super::super::MailboxBounds;
use super::super::state::{Known, Letter, Mailbox, Standing};
use super::rows::{self, Kept};
use super::shards::Held;
use super::{IsMember, LocalMailboxes, lock};
use crate::journal::{BadRow, Journal};

/// What a journal has kept, each in the order of its keys.
#[derive(Clone, Debug, Default)]
pub struct MailRows {
    /// Table `Letters`.
    pub letters: Vec<(Bytes, Bytes)>,
    /// Table `Mailboxes`.
    pub mailboxes: Vec<(Bytes, Bytes)>,
    /// Table `Latest`.
    pub latest: Vec<(Bytes, Bytes)>,
}

#[derive(Default)]
struct Found {
    standing: Option<(Standing, u64)>,
    letters: VecDeque<Letter>,
    ids: HashMap<Known, u64>,
}

impl LocalMailboxes {
    /// Makes mailboxes of what a journal has kept, and has everything kept there from now on.
    ///
    /// # Errors
    /// A row is not what this version writes.
    pub fn restored(
        bounds: MailboxBounds,
        is_member: IsMember,
        journal: Arc<dyn Journal>,
        kept: &MailRows,
    ) -> Result<Self, BadRow> {
        let mailboxes = Self { journal: Some(journal), ..Self::new(bounds, is_member) };
        for (uid, found) in found(kept)? {
            let held = found.held()?;
            let weight = mailboxes.of(&uid).restore(uid.clone(), held);
            mailboxes.bytes.fetch_add(weight as u64, Ordering::Relaxed);
        }
        for row in &kept.latest {
            let (scope, entry, message) = rows::value(row)?;
            lock(&mailboxes.values).restore(scope, entry, message);
        }
        Ok(mailboxes)
    }
}

fn found(kept: &MailRows) -> Result<HashMap<Uid, Found>, BadRow> {
    let mut found: HashMap<Uid, Found> = HashMap::new();
    for row in &kept.mailboxes {
        let (uid, kept) = rows::mailbox(row)?;
        let of_uid = found.entry(uid).or_default();
        match kept {
            Kept::Standing(standing, used_ms) => of_uid.standing = Some((standing, used_ms)),
            Kept::Id(known, offset) => drop(of_uid.ids.insert(known, offset)),
        }
    }
    for row in &kept.letters {
        let (uid, letter) = rows::letter(row)?;
        found.entry(uid).or_default().letters.push_back(letter);
    }
    Ok(found)
}

impl Found {
    /// Every change of a mailbox is kept whole: letters and ids without a standing are not what was written.
    fn held(self) -> Result<Held, BadRow> {
        let (standing, used_ms) = self.standing.ok_or(BadRow)?;
        Ok(Held { mailbox: Mailbox::restored(standing, self.letters, self.ids), used_ms, told_ms: used_ms })
    }
}
