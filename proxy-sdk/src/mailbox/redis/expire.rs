//! What is overdue and receipts are wanted of: named first, forgotten when that was told.
//!
//! Owns the round through the buckets: one per call, and the users there whose time has come. Everything else that has passed
//! its time goes by itself, with the mailbox or with the acknowledgement.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use ::fred::types::Value as Answer;
use gim_proto::keys::BUCKETS;
use gim_proto::{Uid, bucket_of};

use super::script::{DUE, EXPIRE};
use super::{MailboxErrorKind, RedisMailboxes, form};
use crate::mailbox::{MOST_WANTED, MailboxError, Overdue};

/// Users looked at in one call. The others follow when it is the turn of their bucket again.
const USERS: usize = 16;

impl RedisMailboxes {
    pub(super) async fn sweep_some(&self, told: &[Overdue]) -> Result<Vec<Overdue>, MailboxError> {
        let mut users: BTreeMap<Uid, Vec<&Overdue>> = BTreeMap::new();
        for over in told {
            users.entry(over.uid.clone()).or_default().push(over);
        }
        let bucket = u16::try_from(self.swept.fetch_add(1, Ordering::Relaxed) % usize::from(BUCKETS)).unwrap_or(0);
        let most = USERS.saturating_sub(users.len()).to_string();
        let due: Answer =
            self.calls.script(&DUE, &[&self.keys.overdue_of(bucket)], &[most], self.calls.give_up()).await?;
        for uid in due.into_array() {
            let uid = uid.into_string().and_then(|uid| Uid::parse(&uid).ok()).ok_or(MailboxErrorKind::Corrupt)?;
            users.entry(uid).or_default();
        }
        let mut overdue = Vec::new();
        for (uid, told) in users {
            overdue.extend(self.expire(&uid, &told).await?);
        }
        Ok(overdue)
    }

    async fn expire(&self, uid: &Uid, told: &[&Overdue]) -> Result<Vec<Overdue>, MailboxError> {
        let keys = [self.keys.overdue_of(bucket_of(uid)), self.keys.mailbox(uid), self.keys.mailbox_state(uid)];
        let mut args = vec![uid.as_str().to_owned(), self.age_ms(), MOST_WANTED.to_string()];
        for Overdue { offset, id, .. } in told {
            args.extend([offset.to_string(), id.to_string()]);
        }
        let keys = keys.each_ref().map(String::as_str);
        let answer: Answer = self.calls.script(&EXPIRE, &keys, &args, self.calls.give_up()).await?;
        form::overdue(answer, uid).ok_or(MailboxErrorKind::Corrupt.into())
    }
}
