//! Which runs of nodes live, and where each is reached.
//!
//! Owns the last view that somebody set. Never asks anybody: whoever holds the truth (leases in Redis, hints from etcd)
//! sets it, and an outage of that leaves the last view standing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use gim_proto::Incarnation;

use crate::directory::NodeRef;

/// One living run of a node, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The run.
    pub node: NodeRef,
    /// Where its RPC listener is reached, `host:port`. Empty: it is this process, and nobody calls it.
    pub rpc: Arc<str>,
    /// Where clients reach it, `host:port`.
    pub public: Arc<str>,
    /// Version of its program.
    pub version: Arc<str>,
    /// When its process started, Unix milliseconds.
    pub started_ms: u64,
}

impl From<NodeRef> for Member {
    fn from(node: NodeRef) -> Self {
        let none: Arc<str> = Arc::from("");
        Self { node, rpc: Arc::clone(&none), public: Arc::clone(&none), version: none, started_ms: 0 }
    }
}

/// Finds out whether runs live that are not in the view: they may have just begun.
#[async_trait]
pub trait Judge: std::fmt::Debug + Send + Sync {
    /// Returns once the view is of a moment after this call, or at once if all of them are known to be dead. Whoever is
    /// not in the view afterwards is dead.
    ///
    /// # Errors
    /// Nobody can tell now.
    async fn judge(&self, incarnations: &[Incarnation]) -> Result<(), Unjudged>;
}

/// Nobody can tell whether a run lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not known whether a node's run lives")]
pub struct Unjudged;

/// Which runs of nodes live. Cheap to clone and to read; clones share one view.
#[derive(Clone, Debug, Default)]
pub struct LiveNodes(Arc<RwLock<Arc<View>>>);

/// One view, as it was at one moment.
#[derive(Debug, Default)]
pub struct View {
    members: Box<[Member]>,
    by_incarnation: HashMap<Incarnation, usize>,
    /// Somebody has said who lives. Before that, nobody is known to be dead either.
    known: bool,
}

impl LiveNodes {
    /// Makes a view that nobody has set yet. Until then the directory calls nobody dead and answers nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of who lives now, all of them.
    pub fn set<M: Into<Member>>(&self, members: impl IntoIterator<Item = M>) {
        let members: Box<[Member]> = members.into_iter().map(Into::into).collect();
        let by_incarnation = members.iter().enumerate().map(|(at, member)| (member.node.incarnation, at)).collect();
        let view = Arc::new(View { members, by_incarnation, known: true });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// Tells whether a run lives.
    #[must_use]
    pub fn is_live(&self, incarnation: &Incarnation) -> bool {
        self.view().find(incarnation).is_some()
    }

    /// Finds the node of a run that lives.
    #[must_use]
    pub fn find(&self, incarnation: &Incarnation) -> Option<NodeRef> {
        self.view().find(incarnation).cloned()
    }

    /// Shows the view as it is now. It stays as it is.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl View {
    /// Whether anybody has said yet who lives.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Names those that live.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Finds the node of a run that lives.
    #[must_use]
    pub fn find(&self, incarnation: &Incarnation) -> Option<&NodeRef> {
        self.member(incarnation).map(|member| &member.node)
    }

    /// Finds a run that lives.
    #[must_use]
    pub fn member(&self, incarnation: &Incarnation) -> Option<&Member> {
        self.by_incarnation.get(incarnation).and_then(|at| self.members.get(*at))
    }
}
