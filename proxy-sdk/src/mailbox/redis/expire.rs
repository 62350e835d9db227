//! What is overdue and receipts are wanted of: named first, forgotten when that was told.
//!
//! Owns the round through the buckets: some per call, and the users there whose time has come. Everything else that has passed
//! its time goes by itself, with the mailbox or with the acknowledgement.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use ::fred::types::Value as Answer;
use futures_util::future::join_all;
use gim_proto::keys::BUCKETS;
use gim_proto::{Uid, bucket_of};

use super::script::{DUE, EXPIRE};
use super::{MailboxErrorKind, RedisMailboxes, form};
use crate::mailbox::{MOST_SWEPT, MOST_WANTED, MailboxError, Overdue};

/// Buckets looked through in one call: all of them in about four minutes.
const BUCKETS_AT_ONCE: usize = 4;
/// Users of a bucket looked at in one call. If there are more the next call goes on with them.
const USERS: usize = 64;
/// Users looked at at the same time.
const AT_ONCE: usize = 16;

impl RedisMailboxes {
    pub(super) async fn sweep_some(&self, told: &[Overdue]) -> Result<Vec<Overdue>, MailboxError> {
        let mut users: BTreeMap<Uid, Vec<&Overdue>> = BTreeMap::new();
        for over in told {
            users.entry(over.uid.clone()).or_default().push(over);
        }
        let mut sweep = Sweep { mailboxes: self, overdue: Vec::new(), failed: None };
        // First what was told: who has nothing more is not among those that are due.
        sweep.look_at(&users.into_iter().collect::<Vec<_>>()).await;
        for _ in 0..BUCKETS_AT_ONCE {
            if sweep.is_over() || !sweep.look_through(self.swept.load(Ordering::Relaxed)).await {
                break;
            }
            self.swept.fetch_add(1, Ordering::Relaxed);
        }
        match sweep.failed {
            // What was named before is told all the same.
            Some(error) if sweep.overdue.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!(%error, "not everything was swept that is overdue");
                Ok(sweep.overdue)
            }
            None => Ok(sweep.overdue),
        }
    }

    async fn due(&self, bucket: u16) -> Result<Vec<Uid>, MailboxError> {
        let (key, most) = (self.keys.overdue_of(bucket), USERS.to_string());
        let due: Answer = self.calls.script(&DUE, &[&key], &[most], self.calls.give_up()).await?;
        let uid = |uid: Answer| uid.into_string().and_then(|uid| Uid::parse(&uid).ok());
        let due: Option<Vec<Uid>> = due.into_array().into_iter().map(uid).collect();
        due.ok_or(MailboxErrorKind::Corrupt.into())
    }

    async fn expire(&self, uid: &Uid, told: &[&Overdue], most: usize) -> Result<Vec<Overdue>, MailboxError> {
        let keys = [self.keys.overdue_of(bucket_of(uid)), self.keys.mailbox(uid), self.keys.mailbox_state(uid)];
        let mut args = vec![uid.as_str().to_owned(), self.age_ms(), most.to_string()];
        for Overdue { offset, id, .. } in told {
            args.extend([offset.to_string(), id.to_string()]);
        }
        let keys = keys.each_ref().map(String::as_str);
        let answer: Answer = self.calls.script(&EXPIRE, &keys, &args, self.calls.give_up()).await?;
        form::overdue(answer, uid).ok_or(MailboxErrorKind::Corrupt.into())
    }
}

/// What one call comes to.
struct Sweep<'a> {
    mailboxes: &'a RedisMailboxes,
    overdue: Vec<Overdue>,
    /// The first failure, of one user or of all.
    failed: Option<MailboxError>,
}

impl Sweep<'_> {
    fn is_over(&self) -> bool {
        self.overdue.len() >= MOST_SWEPT
    }

    /// Looks through the bucket whose turn it is. Returns whether it is the next one's now: where something of a page that
    /// is full was named, the rest follows when that is told.
    async fn look_through(&mut self, turn: usize) -> bool {
        let bucket = u16::try_from(turn % usize::from(BUCKETS)).unwrap_or(0);
        let due = match self.mailboxes.due(bucket).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, bucket, "who is overdue cannot be read");
                self.failed.get_or_insert(error);
                return true;
            }
        };
        let (is_full, before) = (due.len() == USERS, self.overdue.len());
        // Some may have been named a moment ago, with what was told.
        let is_named = |uid: &Uid| self.overdue.iter().any(|over| over.uid == *uid);
        let users: Vec<_> = due.into_iter().filter(|uid| !is_named(uid)).map(|uid| (uid, Vec::new())).collect();
        let some_named = is_full && users.len() < USERS;
        let is_done = self.look_at(&users).await;
        is_done && !(some_named || is_full && self.overdue.len() > before)
    }

    /// Looks at these users, as long as there is room for what is named. Returns whether at all of them. One that fails stops
    /// nobody else.
    async fn look_at(&mut self, users: &[(Uid, Vec<&Overdue>)]) -> bool {
        for some in users.chunks(AT_ONCE) {
            let room = MOST_SWEPT.saturating_sub(self.overdue.len());
            if room == 0 && some.iter().all(|(_, told)| told.is_empty()) {
                return false;
            }
            let most = (room / some.len()).clamp(1, MOST_WANTED);
            let looks = some.iter().map(|(uid, told)| self.mailboxes.expire(uid, told, most));
            for ((uid, _), named) in some.iter().zip(join_all(looks).await) {
                match named {
                    Ok(named) => self.overdue.extend(named),
                    Err(error) => {
                        tracing::debug!(%error, %uid, "what is overdue of a user cannot be read");
                        self.failed.get_or_insert(error);
                    }
                }
            }
        }
        true
    }
}
