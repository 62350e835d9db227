//! Durable membership: the user's side, the group's side, and who a group's durable members are.
//!
//! Owns the order. A change is written to the user's groups first, then to the group's set, which lie in two slots, and
//! then said to be finished. Whatever it breaks off at is found at the user's side: by the next change of the same
//! membership, by the sweep of this process if it lives, else by whoever claims the uid next.

use std::collections::HashSet;
use std::time::Duration;

use ::fred::types::Value;
use futures_util::future::{join_all, try_join_all};
use gim_proto::{SessionId, Tgid, Uid};
use tokio::time::Instant;

use super::script::{CHANGE_BEGIN, CHANGE_END, CHANGE_GROUP};
use super::{RedisDirectory, text};
use crate::directory::DirectoryError;
use crate::scripts::Command;

/// Members of a group in one page, and groups asked for at the same time.
const PAGE: &str = "1000";
const AT_ONCE: usize = 64;
/// Ways through a set that changes its server meanwhile.
const WAYS: usize = 3;
/// Pause before asking whether another change of the same membership is over.
const PAUSE: Duration = Duration::from_millis(20);

/// What a membership is to become.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// Durable, if the group has fewer members than this.
    Member(usize),
    /// None.
    Left,
    /// What a change that was not finished wanted.
    Finished,
}

/// What the user's side says to a change.
enum Begun {
    Busy,
    Nothing,
    Goes { state: Box<str>, most: Box<str> },
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    /// It was so already.
    Not,
    Done,
    /// The group is full.
    Full,
}

impl RedisDirectory {
    pub(super) async fn durable_join(&self, uid: &Uid, tgid: &Tgid, most: usize) -> Result<bool, DirectoryError> {
        Ok(self.change(uid, tgid, Want::Member(most)).await? != Changed::Full)
    }

    pub(super) async fn durable_leave(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, DirectoryError> {
        Ok(self.change(uid, tgid, Want::Left).await? == Changed::Done)
    }

    /// Finishes what somebody began who may be gone.
    pub(super) async fn finish_change(&self, uid: &Uid, tgid: &Tgid) -> Result<(), DirectoryError> {
        self.change(uid, tgid, Want::Finished).await.map(|_changed| ())
    }

    /// Finishes what was found at a login. What cannot be finished yet is left to the sweep.
    pub(super) async fn finish_found(&self, uid: &Uid, tgids: &[Tgid]) {
        let finish = async |tgid: &Tgid| {
            // One that is not finished by this stays in doubt.
            if let Err(error) = self.change_once(uid, tgid, Want::Finished, self.calls.give_up()).await {
                tracing::debug!(%uid, %tgid, %error, "a change of a durable membership is finished later");
            }
        };
        join_all(tgids.iter().map(finish)).await;
    }

    async fn change(&self, uid: &Uid, tgid: &Tgid, want: Want) -> Result<Changed, DirectoryError> {
        let give_up = self.calls.give_up();
        loop {
            match self.change_once(uid, tgid, want, give_up).await? {
                Some(changed) => return Ok(changed),
                // Another change is under way, or was, by somebody who is gone: it is waited for in both cases.
                None if Instant::now() + PAUSE < give_up => tokio::time::sleep(PAUSE).await,
                None => return Err(DirectoryError::unavailable()),
            }
        }
    }

    /// None: another change may still take effect.
    async fn change_once(
        &self,
        uid: &Uid,
        tgid: &Tgid,
        want: Want,
        give_up: Instant,
    ) -> Result<Option<Changed>, DirectoryError> {
        let who = SessionId::mint().to_string();
        // Also if this is given up half way.
        let doubt = self.leftovers.doubt_change(uid, tgid);
        let (state, most) = match self.begin_change(uid, tgid, &who, want, give_up).await? {
            Begun::Busy => {
                if !matches!(want, Want::Finished) {
                    doubt.settled();
                }
                return Ok(None);
            }
            Begun::Nothing => {
                doubt.settled();
                return Ok(Some(Changed::Not));
            }
            Begun::Goes { state, most } => (state, most),
        };
        let group = self.keys.group_durable(tgid);
        let args = [uid.as_str(), &state, &most];
        let done: i64 = self.calls.script(&CHANGE_GROUP, &[&group], &args, give_up).await?;
        let [bucket, groups] = [self.keys.user_bucket(uid), self.keys.user_groups(uid)];
        let args = [tgid.as_str(), &who, if done == 1 { "1" } else { "0" }];
        let _ended: i64 = self.calls.script(&CHANGE_END, &[&bucket, &groups], &args, give_up).await?;
        doubt.settled();
        Ok(Some(if done == 1 { Changed::Done } else { Changed::Full }))
    }

    async fn begin_change(
        &self,
        uid: &Uid,
        tgid: &Tgid,
        who: &str,
        want: Want,
        give_up: Instant,
    ) -> Result<Begun, DirectoryError> {
        let [bucket, groups] = [self.keys.user_bucket(uid), self.keys.user_groups(uid)];
        let (want, most) = match want {
            Want::Member(most) => ("durable", most),
            Want::Left => ("leaving", 0),
            Want::Finished => ("", 0),
        };
        let most = most.to_string();
        let args = [tgid.as_str(), who, want, &most];
        let answer: Value = self.calls.script(&CHANGE_BEGIN, &[&bucket, &groups], &args, give_up).await?;
        begun(answer).ok_or_else(DirectoryError::corrupt)
    }

    pub(super) async fn durable_members_of(&self, tgids: &[Tgid]) -> Result<Vec<Uid>, DirectoryError> {
        let since = self.begin();
        let mut members = HashSet::new();
        for some in tgids.chunks(AT_ONCE) {
            for group in try_join_all(some.iter().map(|tgid| self.members(tgid))).await? {
                members.extend(group);
            }
        }
        // A member that is missing never shows.
        self.confirm(since).await?;
        Ok(members.into_iter().collect())
    }

    /// Most groups are one page. Of more, a member that was there all the time is on one of them, unless another server
    /// took the set over meanwhile, which goes through it in another order: then there are fewer than the set had. Who joins
    /// or leaves meanwhile may be among them or not.
    async fn members(&self, tgid: &Tgid) -> Result<HashSet<Uid>, DirectoryError> {
        let key = self.keys.group_durable(tgid);
        for _ in 0..WAYS {
            let before = self.count(&key).await?;
            let (members, pages) = self.way_through(&key).await?;
            if pages == 1 || before.min(self.count(&key).await?) <= members.len() {
                return Ok(members.iter().filter_map(|uid| readable(tgid, uid)).collect());
            }
        }
        Err(DirectoryError::unavailable())
    }

    async fn way_through(&self, key: &str) -> Result<(HashSet<String>, usize), DirectoryError> {
        let (mut members, mut pages, mut cursor) = (HashSet::new(), 0, "0".to_owned());
        loop {
            let page = [key.to_owned(), cursor, "COUNT".to_owned(), PAGE.to_owned()];
            let answers = self.calls.together(vec![Command::new("SSCAN", page)]).await?;
            let page = answers.into_iter().next().and_then(|answer| answer.convert::<(String, Vec<String>)>().ok());
            let (next, some) = page.ok_or_else(DirectoryError::corrupt)?;
            members.extend(some);
            pages += 1;
            if next == "0" {
                return Ok((members, pages));
            }
            cursor = next;
        }
    }

    pub(super) async fn count(&self, key: &str) -> Result<usize, DirectoryError> {
        let answers = self.calls.together(vec![Command::new("SCARD", [key.to_owned()])]).await?;
        answers.into_iter().next().and_then(|count| count.convert().ok()).ok_or_else(DirectoryError::corrupt)
    }
}

/// What is no uid was written by somebody else, and keeps nobody from their messages.
fn readable(tgid: &Tgid, uid: &str) -> Option<Uid> {
    let read = Uid::parse(uid);
    if let Err(error) = &read {
        tracing::warn!(%tgid, %error, "a durable member cannot be read");
    }
    read.ok()
}

fn begun(answer: Value) -> Option<Begun> {
    let parts = answer.into_array();
    match text(parts.first()?)? {
        "busy" => Some(Begun::Busy),
        "nothing" => Some(Begun::Nothing),
        _ => Some(Begun::Goes { state: text(parts.get(1)?)?.into(), most: text(parts.get(2)?)?.into() }),
    }
}
