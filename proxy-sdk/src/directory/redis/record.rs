//! A user's record, as it stands in Redis: `1 <fence> <session> <incarnation> <node>`.
//!
//! Owns reading it. Scripts write it.

use gim_proto::{Fence, Incarnation, NodeId, SessionId};

use crate::directory::{NodeRef, Owner};
use crate::members::View;

/// What a record says. Which node it was is known from the incarnation, if that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) fence: Fence,
    pub(super) session: SessionId,
    pub(super) incarnation: Incarnation,
}

impl Record {
    /// `None`: it is not what this version writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let version = words.next()?;
        let fence = Fence(words.next()?.parse().ok()?);
        let session = SessionId::parse(words.next()?).ok()?;
        let incarnation = Incarnation::parse(words.next()?).ok()?;
        let complete = words.next().is_some_and(|node| !node.is_empty()) && words.next().is_none();
        (version == "1" && complete).then_some(Self { fence, session, incarnation })
    }

    /// The owner, if it is on a node that lives.
    pub(super) fn owner(&self, view: &View) -> Option<Owner> {
        let node = view.find(&self.incarnation)?.clone();
        Some(Owner { node, session: self.session, fence: self.fence })
    }

    /// The owner on the node that a record names, whether it lives or not.
    pub(super) fn claimant(text: &str) -> Option<Owner> {
        let Self { fence, session, incarnation } = Self::parse(text)?;
        let id = NodeId::parse(text.rsplit(' ').next()?).ok()?;
        Some(Owner { node: NodeRef { id, incarnation }, session, fence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_is_written_and_nothing_else_does() {
        let (session, incarnation) = (SessionId::mint(), Incarnation::mint());
        let text = format!("1 42 {session} {incarnation} host-8091");
        assert_eq!(Record::parse(&text), Some(Record { fence: Fence(42), session, incarnation }));
        let owner = Record::claimant(&text).unwrap();
        assert_eq!(
            (owner.node.id.as_str(), owner.node.incarnation, owner.fence),
            ("host-8091", incarnation, Fence(42))
        );
        for other in
            ["", "1", "2 42 x", &text[..text.len() - 10], &format!("{text} more"), &text.replace("1 42", "2 42")]
        {
            assert_eq!(Record::parse(other), None, "{other}");
        }
    }
}
