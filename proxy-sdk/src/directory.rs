//! Who is where: the port through which nodes and workers learn and change which session owns a uid,
//! which groups a user is in and which nodes hold members of a group.
//!
//! Owns the types of that knowledge and its rules ([`Directory`]). Never opens a socket: adapters do, and only the
//! composition root of a server names one. [`local`] is the adapter for a service that is one process, [`redis`] the one
//! for processes that share a Redis.

pub mod local;
pub mod redis;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use gim_proto::{Fence, Incarnation, NodeId, SessionId, Tgid, Uid};
use serde::{Deserialize, Serialize};

use crate::delivery::Message;
use crate::mailbox::Opened;
use crate::store::CrowdedCalls;

/// One run of one node, as others address it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeRef {
    /// The node's configured name.
    pub id: NodeId,
    /// The run of it. A restarted node has the same id and another incarnation.
    pub incarnation: Incarnation,
}

/// The session that owns a uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Where the session lives.
    pub node: NodeRef,
    /// The session.
    pub session: SessionId,
    /// The number of this ownership. Of two claims of one uid the later has the higher fence.
    pub fence: Fence,
}

/// What happens when a uid connects that is connected already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// The newcomer is served, the previous session is closed with 4501.
    #[default]
    Replace,
    /// The newcomer is closed with 4504.
    Reject,
    /// Both are closed with 4504.
    CloseBoth,
}

/// A session that wants to own a uid.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The uid claimed.
    pub uid: Uid,
    /// The node the session lives on.
    pub node: NodeRef,
    /// The session that claims.
    pub session: SessionId,
    /// What to do when another session owns the uid.
    pub on_duplicate: OnDuplicate,
    /// The client's previous session, whose temporary groups it wants back.
    pub resume: Option<SessionId>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The session owns the uid.
    Granted {
        /// Number of this ownership.
        fence: Fence,
        /// The session that owned it until now and must be told to end.
        previous: Option<Owner>,
        /// Groups the user is in: those of the resumed session, and the durable ones.
        groups: Vec<Tgid>,
    },
    /// Another session owns the uid and keeps it, as the policy asks.
    Taken {
        /// That session.
        owner: Owner,
    },
}

/// A mailbox as it was opened with the claim, and the last values kept for the user, one per key, oldest first.
#[derive(Clone, Debug)]
pub struct Found {
    /// The mailbox, for a session that begins behind the last acknowledgement.
    pub opened: Opened,
    /// The values.
    pub values: Vec<Arc<Message>>,
}

/// How new the answer to a look-up has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// What was seen lately is enough: the fence tells a node that it is not the owner any more, and it says so.
    Cached,
    /// As the directory has it now. For who was just told that the owner is another, and for people who ask.
    Current,
}

/// An ownership that a session believes to have, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The uid.
    pub uid: Uid,
    /// The session.
    pub session: SessionId,
    /// The number of the ownership.
    pub fence: Fence,
    /// The groups the session is in.
    pub groups: Vec<Tgid>,
}

/// The sessions of this process: who is among them need not be looked up elsewhere. What it says may be as old as what was
/// seen lately ([`Freshness::Cached`]): another process may have claimed the uid, and the session not know yet.
pub trait Here: Send + Sync {
    /// Names this process as it is recorded now.
    fn node(&self) -> Arc<NodeRef>;

    /// Finds the sessions here that own these uids, in the order asked. Never waits.
    fn owners(&self, uids: &[Uid]) -> Vec<Option<(SessionId, Fence)>>;
}

/// Why the directory did not answer.
#[derive(Debug, thiserror::Error)]
#[error("directory: {kind:?}")]
pub struct DirectoryError {
    /// What went wrong, for decisions.
    pub kind: DirectoryErrorKind,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a directory call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryErrorKind {
    /// The store cannot be reached. Trying again later makes sense.
    Unavailable,
    /// No answer within the deadline. The call may have taken effect.
    Timeout,
    /// What was found there is not what this version writes.
    Corrupt,
}

/// News of who came and went, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewsFigures {
    /// Written down.
    pub written: u64,
    /// Times that a list of those waiting to be written down was found full: the oldest may be gone.
    pub full: u64,
}

/// Who is where.
///
/// A uid has one owner at any time. A call is one round trip where nothing is in its way, and has a deadline of the
/// adapter's. After an error of kind `Timeout` it has taken effect before, or will never.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Makes a session the owner of a uid, as the policy allows, with a fence above all earlier ones. After an error the
    /// session is not to be used: what a claim without an answer has left behind is taken back.
    async fn claim(&self, request: ClaimRequest) -> Result<Claim, DirectoryError>;

    /// Claims, and opens the user's mailbox in the same step for a session that begins behind the last acknowledgement
    /// and comes back to no group. None: the mailbox is not open; the session opens it once it is in its groups.
    async fn claim_and_open(&self, request: ClaimRequest) -> Result<(Claim, Option<Found>), DirectoryError> {
        Ok((self.claim(request).await?, None))
    }

    /// Ends an ownership, if it is still this one. Temporary groups are kept for `grace` for a client that
    /// presents this session. Returns whether it was this one.
    async fn release(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        grace: Duration,
    ) -> Result<bool, DirectoryError>;

    /// Records ownerships anew, under a node's present incarnation, after its former one has ended or the store has lost
    /// data: where there is no owner, one with a lower fence, or the same session. Tells for each, in the order given,
    /// whether it holds. One that does not was lost to another owner, and its session has to end. May be repeated.
    async fn reassert(&self, node: &NodeRef, sessions: &[Held]) -> Result<Vec<bool>, DirectoryError>;

    /// Looks up the owners of many uids, in the order asked. `None`: offline.
    async fn lookup(&self, uids: &[Uid], freshness: Freshness) -> Result<Vec<Option<Owner>>, DirectoryError>;

    /// Records that the user, as owned under this session and fence, is in a group. False: no longer the owner.
    async fn record_join(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError>;

    /// Records that the user left a group, if durably in it, for good. False: no longer the owner.
    async fn record_leave(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError>;

    /// Adds a node to those that hold members of a group. Answered before the first member's join is.
    async fn add_holder(&self, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError>;

    /// Removes a node from those that hold members of a group, after its last member left.
    async fn remove_holder(&self, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError>;

    /// Names the nodes that hold members of any of these groups, each once. May name too many, never too few.
    async fn holders(&self, tgids: &[Tgid]) -> Result<Vec<NodeRef>, DirectoryError>;

    /// Makes a user, connected or not, a member of a group until [`leave_durably`](Self::leave_durably). False: the group has
    /// `most` durable members already.
    async fn join_durably(&self, uid: &Uid, tgid: &Tgid, most: usize) -> Result<bool, DirectoryError>;

    /// Ends a durable membership. Returns whether there was one. What breaks off of this or of a join is finished by the
    /// next change of it, by a sweep, or at the user's next login.
    async fn leave_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, DirectoryError>;

    /// Names the durable members of these groups, each once.
    async fn durable_members(&self, tgids: &[Tgid]) -> Result<Vec<Uid>, DirectoryError>;

    /// Counts the durable members of a group.
    async fn count_durable(&self, tgid: &Tgid) -> Result<usize, DirectoryError> {
        Ok(self.durable_members(std::slice::from_ref(tgid)).await?.len())
    }

    /// Has look-ups for which what was seen lately is enough ask this process first. Counts once: the first stays. One that
    /// has everything in memory needs nobody to ask.
    fn ask_first(&self, here: Weak<dyn Here>) {
        drop(here);
    }

    /// Counts who came and went, as far as this process has written it down by itself.
    fn news(&self) -> NewsFigures {
        NewsFigures::default()
    }

    /// Counts the calls that its connection was too crowded for. None: it has no connection.
    fn crowded(&self) -> Option<CrowdedCalls> {
        None
    }

    /// Names all nodes that live.
    async fn nodes(&self) -> Result<Vec<NodeRef>, DirectoryError>;

    /// Asks whether the store answers over the connection that all other calls take.
    async fn reach(&self) -> Result<(), DirectoryError> {
        Ok(())
    }

    /// Forgets what has passed its time, in bounded steps. Called about once a second.
    async fn sweep(&self) -> Result<(), DirectoryError>;
}
