//! Look-ups: who owns which uids.
//!
//! Owns the way from uids to one command per bucket and back, in the order asked. Changes nothing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use ::fred::types::Value;
use gim_proto::{Uid, bucket_of};

use super::record::Record;
use super::{RedisDirectory, text};
use crate::directory::{DirectoryError, Here, NodeRef, Owner};
use crate::scripts::Command;

impl RedisDirectory {
    pub(super) async fn look_up_cached(&self, uids: &[Uid]) -> Result<Vec<Option<Owner>>, DirectoryError> {
        let view = self.view()?;
        let here = self.here();
        // One that has lost its place is not asked: its users may be anywhere.
        let here = here.as_deref().map(|here| (here, here.node()));
        let here = here.filter(|(_, node)| view.find(&node.incarnation).is_some());
        let mut owners: Vec<Option<Owner>> = match here {
            None => uids.iter().map(|uid| self.owners.find(uid, &view)).collect(),
            Some((here, node)) => {
                let here = here.owners(uids).into_iter().zip(uids);
                let own = |(session, fence)| Owner { node: NodeRef::clone(&node), session, fence };
                here.map(|(held, uid)| held.map(own).or_else(|| self.owners.find(uid, &view))).collect()
            }
        };
        let unknown = uids.iter().zip(&owners).filter(|(_, owner)| owner.is_none());
        let unknown: Vec<Uid> = unknown.map(|(uid, _)| uid.clone()).collect();
        self.hits.fetch_add((uids.len() - unknown.len()) as u64, Ordering::Relaxed);
        if unknown.is_empty() {
            return Ok(owners);
        }
        let found = self.look_up(&unknown).await?;
        let own = self.here().map(|here| here.node());
        let gaps = owners.iter_mut().filter(|owner| owner.is_none());
        for (gap, (uid, owner)) in gaps.zip(unknown.iter().zip(found)) {
            if let Some(owner) = owner.as_ref().filter(|owner| own.as_deref() != Some(&owner.node)) {
                self.owners.fill(uid, owner.clone());
            }
            *gap = owner;
        }
        Ok(owners)
    }

    pub(super) async fn look_up_current(&self, uids: &[Uid]) -> Result<Vec<Option<Owner>>, DirectoryError> {
        let owners = self.look_up(uids).await?;
        let own = self.here().map(|here| here.node());
        for (uid, owner) in uids.iter().zip(&owners) {
            self.owners.correct(uid, owner.as_ref().filter(|owner| own.as_deref() != Some(&owner.node)));
        }
        Ok(owners)
    }

    /// The sessions of this process, if they are asked.
    fn here(&self) -> Option<Arc<dyn Here>> {
        self.here.get().and_then(Weak::upgrade)
    }

    /// One command per bucket, all in one go.
    async fn look_up(&self, uids: &[Uid]) -> Result<Vec<Option<Owner>>, DirectoryError> {
        let since = self.begin();
        let before = self.view()?;
        self.misses.fetch_add(uids.len() as u64, Ordering::Relaxed);
        let mut order: Vec<(u16, usize)> = uids.iter().enumerate().map(|(at, uid)| (bucket_of(uid), at)).collect();
        order.sort_unstable();
        let buckets: Vec<&[(u16, usize)]> = order.chunk_by(|one, other| one.0 == other.0).collect();
        let command = |users: &&[(u16, usize)]| {
            let bucket = users.iter().map(|(bucket, _)| self.keys.bucket(*bucket)).take(1);
            let fields = users.iter().filter_map(|(_, at)| uids.get(*at)).map(|uid| uid.as_str().to_owned());
            Command::new("HMGET", bucket.chain(fields))
        };
        let answers = self.calls.together(buckets.iter().map(command).collect()).await?;
        let mut records: Vec<Option<Record>> = vec![None; uids.len()];
        for (users, answer) in buckets.iter().zip(answers) {
            for ((_, at), value) in users.iter().zip(answer.into_array()) {
                if let (Some(record), Some(uid)) = (records.get_mut(*at), uids.get(*at)) {
                    *record = read(uid, &value);
                }
            }
        }
        let view = self.view_with(before, records.iter().flatten().map(|record| record.incarnation)).await?;
        let owners: Vec<_> = records.iter().map(|record| record.as_ref()?.owner(&view)).collect();
        if owners.iter().any(Option::is_none) {
            self.confirm(since).await?;
        }
        Ok(owners)
    }
}

// What cannot be read stops its own user (who cannot log in) and nobody else.
fn read(uid: &Uid, value: &Value) -> Option<Record> {
    if value.is_null() {
        return None;
    }
    let record = text(value).and_then(Record::parse);
    if record.is_none() {
        tracing::error!(%uid, "the user's record is not what this version writes; taken for offline");
    }
    record
}
