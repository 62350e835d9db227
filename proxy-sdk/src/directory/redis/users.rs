//! Users: who comes to own a uid, and the groups recorded with it.
//!
//! Owns the calls that change a user's record. The rules are in the scripts, where they are one step; here is what only
//! this side knows, namely which incarnations live. What few calls come to is boxed: all others would have room for it.

use std::sync::Arc;
use std::time::Duration;

use ::fred::types::Value;
use futures_util::future::try_join_all;
use gim_proto::{Fence, SessionId, Tgid, Uid, UlidText};
use tokio::time::Instant;

use super::leftovers::Owned;
use super::record::Record;
use super::script::{CLAIM, JOIN, LEAVE, REASSERT, RELEASE};
use super::{RedisDirectory, text};
use crate::directory::{
    Claim, ClaimRequest, DirectoryError, DirectoryErrorKind, Found, Held, NodeRef, OnDuplicate, Owner,
};
use crate::mailbox::Opened;
use crate::mailbox::redis::{kept, numbers};
use crate::members::View;
use crate::scripts::Script;

/// Claims until the record in the way, whose node is dead, is the one that was looked at.
const CLAIMS: usize = 4;
/// Ownerships that are recorded anew at the same time.
const REASSERT_AT_ONCE: usize = 256;

/// What a script says to a join or leave that is about a durable membership.
const DURABLE: i64 = 2;

/// What the script says to a claim.
enum Answer {
    Granted { fence: Fence, previous: Option<Owner>, groups: Vec<Tgid>, changes: Vec<Tgid>, found: Option<Found> },
    Taken { record: Box<str> },
}

impl RedisDirectory {
    /// `opens`: the mailbox, too.
    pub(super) async fn claim_uid(
        &self,
        request: &ClaimRequest,
        opens: bool,
    ) -> Result<(Claim, Option<Found>), DirectoryError> {
        let after = self.calls.give_up();
        let ClaimRequest { uid, session, .. } = request;
        let owned = Owned { uid: uid.clone(), session: *session, grace: self.options.grace, after };
        let doubt = self.leftovers.doubt(owned);
        let claimed = self.claim_until(request, opens, after).await;
        // Without an answer it may have been granted, and nobody will release it.
        if !matches!(claimed, Err(DirectoryError { kind: DirectoryErrorKind::Timeout, .. })) {
            doubt.settled();
        }
        claimed
    }

    async fn claim_until(
        &self,
        request: &ClaimRequest,
        opens: bool,
        give_up: Instant,
    ) -> Result<(Claim, Option<Found>), DirectoryError> {
        let mut dead: Box<str> = Box::default();
        for _ in 0..CLAIMS {
            // Before anything is claimed: without a view, a record that is in the way could not be judged.
            let view = self.view()?;
            if request.on_duplicate != OnDuplicate::Replace && !self.is_asserted() {
                // Whoever keeps the uid by this policy may not be on the records again yet.
                return Err(DirectoryError::unavailable());
            }
            match self.claim_once(request, opens, &dead, give_up).await? {
                Answer::Granted { fence, previous, groups, changes, found } => {
                    self.news.noted(&request.uid);
                    if !changes.is_empty() {
                        Box::pin(self.finish_found(&request.uid, &changes)).await;
                    }
                    let previous = match previous {
                        None => None,
                        Some(previous) => Box::pin(self.previous(previous, &groups, view)).await,
                    };
                    self.remember_own(&request.uid, &request.node, request.session, fence);
                    return Ok((Claim::Granted { fence, previous, groups }, found));
                }
                Answer::Taken { record } => {
                    let keeper = Record::parse(&record).ok_or_else(DirectoryError::corrupt)?;
                    let view = Box::pin(self.view_with(view, std::iter::once(keeper.incarnation))).await?;
                    let owner = keeper.owner(&view);
                    if let Some(owner) = owner {
                        return Ok((Claim::Taken { owner }, None));
                    }
                    dead = record;
                }
            }
        }
        // Somebody else claims as often as we do, and dies each time.
        Err(DirectoryError::unavailable())
    }

    async fn claim_once(
        &self,
        request: &ClaimRequest,
        opens: bool,
        dead: &str,
        give_up: Instant,
    ) -> Result<Answer, DirectoryError> {
        let ClaimRequest { uid, node, session, on_duplicate, resume } = request;
        let policy = if *on_duplicate == OnDuplicate::Replace { "replace" } else { "keep" };
        let mut texts = [UlidText::default(); 3];
        let [ours, run, before] = &mut texts;
        let (session, incarnation) = (session.write(ours), node.incarnation.write(run));
        let resume = resume.as_ref().map_or("", |session| session.write(before));
        let keys = self.keys.user(uid);
        let (groups, at) = (keys.groups(), keys.at(incarnation));
        let bound = self.news.bound();
        let args = [uid.as_str(), session, incarnation, node.id.as_str(), policy, resume, dead, bound];
        let answer: Value = match self.kept_ms.as_deref().filter(|_| opens) {
            None => self.calls.script(&CLAIM, &[keys.bucket(), &groups, &at], &args, give_up).await?,
            Some(kept_ms) => {
                let (stream, ids) = (keys.mailbox(), keys.mailbox_ids());
                let (state, values) = (keys.mailbox_state(), keys.latest());
                let keys = [keys.bucket(), &groups, &at, &stream, &ids, &state, &values];
                let [uid, session, incarnation, node, policy, resume, dead, bound] = args;
                let args = [uid, session, incarnation, node, policy, resume, dead, bound, kept_ms];
                self.calls.script(&CLAIM, &keys, &args, give_up).await?
            }
        };
        claimed(answer).ok_or_else(DirectoryError::corrupt)
    }

    /// The session that has to end, if its node may live. The claim stands, whatever is known of that.
    async fn previous(&self, owner: Owner, groups: &[Tgid], view: Arc<View>) -> Option<Owner> {
        let incarnation = owner.node.incarnation;
        // Where nobody can tell, it may live.
        let Ok(view) = self.view_with(view, std::iter::once(incarnation)).await else { return Some(owner) };
        if view.find(&incarnation).is_some() {
            return Some(owner);
        }
        // The groups' entries of a node that died stay until somebody is sure that it did. Its user has left it now, so
        // that a sweep would not learn of them.
        groups.iter().for_each(|tgid| self.leftovers.named(tgid, incarnation));
        None
    }

    pub(super) async fn release_uid(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        grace: Duration,
    ) -> Result<bool, DirectoryError> {
        self.owners.forget(uid, session);
        let after = self.calls.give_up();
        // The session is gone, whatever becomes of this.
        let doubt = self.leftovers.doubt(Owned { uid: uid.clone(), session, grace, after });
        let released = self.release_until(uid, session, &fence.to_string(), grace, after).await?;
        doubt.settled();
        Ok(released)
    }

    /// `fence`: empty for whatever fence the session has.
    pub(super) async fn release_until(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: &str,
        grace: Duration,
        give_up: Instant,
    ) -> Result<bool, DirectoryError> {
        let keys = self.keys.user(uid);
        let (mut text, grace) = (UlidText::default(), grace.as_millis().to_string());
        let args = [uid.as_str(), session.write(&mut text), fence, &grace, self.news.bound()];
        let released = self.calls.script::<i64>(&RELEASE, &[keys.bucket(), &keys.groups()], &args, give_up).await;
        // Also without an answer: it may have taken effect.
        self.news.noted(uid);
        Ok(released? == 1)
    }

    pub(super) async fn join_recorded(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError> {
        loop {
            match self.record(&JOIN, uid, session, fence, tgid).await? {
                // A durable membership of before is being ended. The new one is another.
                DURABLE => Box::pin(self.finish_change(uid, tgid)).await?,
                recorded => return Ok(recorded == 1),
            }
        }
    }

    pub(super) async fn leave_recorded(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError> {
        match self.record(&LEAVE, uid, session, fence, tgid).await? {
            DURABLE => Box::pin(self.durable_leave(uid, tgid)).await.map(|_was_member| true),
            recorded => Ok(recorded == 1),
        }
    }

    async fn record(
        &self,
        script: &Script,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<i64, DirectoryError> {
        let keys = self.keys.user(uid);
        let (mut text, fence) = (UlidText::default(), fence.to_string());
        let args = [uid.as_str(), session.write(&mut text), &fence, tgid.as_str()];
        self.calls.script(script, &[keys.bucket(), &keys.groups()], &args, self.calls.give_up()).await
    }

    pub(super) async fn reassert_all(&self, node: &NodeRef, sessions: &[Held]) -> Result<Vec<bool>, DirectoryError> {
        let mut held = Vec::with_capacity(sessions.len());
        for some in sessions.chunks(REASSERT_AT_ONCE) {
            held.extend(try_join_all(some.iter().map(|session| self.reassert_one(node, session))).await?);
        }
        Ok(held)
    }

    async fn reassert_one(&self, node: &NodeRef, held: &Held) -> Result<bool, DirectoryError> {
        let Held { uid, session, fence, groups: joined } = held;
        let keys = self.keys.user(uid);
        let owner = [session.to_string(), fence.to_string(), node.incarnation.to_string()];
        let [_, _, run] = &owner;
        let args = [uid.as_str()]
            .into_iter()
            .chain(owner.iter().map(String::as_str))
            .chain([node.id.as_str(), self.news.bound()]);
        let args: Vec<&str> = args.chain(joined.iter().map(Tgid::as_str)).collect();
        let (groups, at) = (keys.groups(), keys.at(run));
        let keys = [keys.bucket(), &groups, &at];
        let holds = match self.calls.script::<i64>(&REASSERT, &keys, &args, self.calls.give_up()).await {
            Ok(holds) => holds,
            // It stops its own user, whom nobody finds, and nobody else: everybody waits for the rest of this.
            Err(error) if error.kind == DirectoryErrorKind::Corrupt => {
                tracing::error!(%uid, "the user's record is not what this version writes; its session is not recorded");
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        match holds {
            1 => {
                self.news.noted(uid);
                self.remember_own(uid, node, *session, *fence);
                Ok(true)
            }
            _ => {
                self.owners.forget(uid, *session);
                Ok(false)
            }
        }
    }

    /// Takes note of a session of this process. Where that is asked itself, all there is to it is that the owner is no other.
    fn remember_own(&self, uid: &Uid, node: &NodeRef, session: SessionId, fence: Fence) {
        let owner = Owner { node: node.clone(), session, fence };
        self.owners.correct(uid, Some(&owner).filter(|_| self.here.get().is_none()));
    }
}

fn claimed(answer: Value) -> Option<Answer> {
    let mut parts = answer.into_array().into_iter();
    let (verdict, second) = (parts.next()?, parts.next()?);
    if text(&verdict)? == "taken" {
        return Some(Answer::Taken { record: text(&second)?.into() });
    }
    let fence = Fence(text(&second)?.parse().ok()?);
    let previous = parts.next()?;
    let previous = match text(&previous)? {
        "" => None,
        record => Some(Record::claimant(record)?),
    };
    let (groups, changes) = (tgids(parts.next()?)?, tgids(parts.next()?)?);
    let found = match (parts.next(), parts.next()) {
        (Some(opened), Some(values)) => Some(found(opened, values)?),
        _ => None,
    };
    Some(Answer::Granted { fence, previous, groups, changes, found })
}

fn found(opened: Value, values: Value) -> Option<Found> {
    let [epoch, last, acked] = numbers(opened)?;
    Some(Found { opened: Opened { epoch, last, acked, is_reset: false }, values: kept(values)? })
}

fn tgids(answer: Value) -> Option<Vec<Tgid>> {
    answer.into_array().iter().map(|tgid| Tgid::parse(text(tgid)?).ok()).collect()
}
