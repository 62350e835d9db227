//! Direct sends to users and groups of other nodes: local first, then where the directory says.
//!
//! Owns the routing of what goes past the queue. Follows a user who has moved once; nothing is repeated that may have
//! taken effect. In the modes with one node nobody is elsewhere.

use std::sync::Arc;

use futures_util::future::join_all;
use gim_proto::{MessageId, Tgid, Uid};
use gim_proxy_sdk::delivery::{Addressed, Batch, Delivery, Message, Recipients, Report, TargetReport};
use gim_proxy_sdk::directory::{Freshness, NodeRef, Owner};
use gim_proxy_sdk::peers::{PeerError, PeerErrorKind, Peers};
use gim_proxy_sdk::{Body, Error, ErrorKind, NodeClient, Outcome, Sent};

use super::{Proxy, addressed, message, recipients, sent, summary};
use crate::core::Core;

/// A recent answer first; who is not there any more is looked up as of now.
const LOOKS: [Freshness; 2] = [Freshness::Cached, Freshness::Current];

/// What the node of a user is asked to do.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    Stop { reason: &'a str },
    Join { tgid: &'a Tgid },
    JoinDurably { tgid: &'a Tgid },
    Leave { tgid: &'a Tgid },
}

impl Ask<'_> {
    async fn at(self, node: &NodeClient, uid: &Uid) -> Result<bool, Error> {
        match self {
            Self::Stop { reason } => node.stop_user(uid, reason, true).await,
            Self::Join { tgid } => node.join(uid, tgid, true).await,
            Self::JoinDurably { tgid } => node.join_durably(uid, tgid, true).await,
            Self::Leave { tgid } => node.leave(uid, tgid, true).await,
        }
    }
}

impl Proxy {
    /// Sends to one user wherever connected, if given only as a member of a group.
    pub(crate) async fn to_user(&self, uid: &Uid, of: Option<&Tgid>, body: Body) -> Result<Sent, Error> {
        let message = message(MessageId::mint(), body, None)?;
        if let Some(session) = self.session(uid)? {
            let report = self.offer(&message, addressed(&session, of)).await?;
            if !is_moved(&report) {
                return Ok(sent(&message, summary(&report)));
            }
        }
        let core = self.core()?;
        let Some(peers) = &core.peers else { return Ok(sent(&message, (Outcome::Offline, 0))) };
        for freshness in LOOKS {
            let Some(owner) = owner(&core, uid, freshness).await? else {
                return Ok(sent(&message, (Outcome::Offline, 0)));
            };
            let to = Addressed { uid: uid.clone(), session: owner.session, fence: owner.fence };
            match self.offer_at(&core, peers, &owner.node, &message, recipients(to, of)).await {
                Ok(report) if !is_moved(&report) => return Ok(sent(&message, summary(&report))),
                // Nothing took effect: it may be somewhere else by now.
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::Unavailable && freshness == Freshness::Cached => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the user is moving between nodes"))
    }

    /// Sends to the members of a group on all nodes, one call for each.
    pub(crate) async fn to_group(&self, tgid: &Tgid, body: Body, except: Option<&Uid>) -> Result<Sent, Error> {
        let core = self.core()?;
        let Some(peers) = &core.peers else { return self.to_group_here(tgid, body, except).await };
        let message = message(MessageId::mint(), body, except)?;
        let holders = core.directory.holders(std::slice::from_ref(tgid)).await?;
        let to = || Recipients::Groups(vec![tgid.clone()]);
        // Here in any case: the index may not name this node for a moment, the hub knows.
        let others = holders.iter().filter(|node| !core.has_lived_as(&node.incarnation));
        let others = join_all(others.map(|node| self.offer_at(&core, peers, node, &message, to())));
        let (here, others) = tokio::join!(self.offer(&message, to()), others);
        sum(&message, std::iter::once(here).chain(others))
    }

    /// Has the node that a user is connected to do something, unless that is this one. False: it is not connected.
    pub(super) async fn elsewhere(&self, uid: &Uid, ask: Ask<'_>) -> Result<bool, Error> {
        let core = self.core()?;
        let Some(peers) = &core.peers else { return Ok(false) };
        for freshness in LOOKS {
            match owner(&core, uid, freshness).await? {
                None => return Ok(false),
                Some(owner) if core.has_lived_as(&owner.node.incarnation) => {}
                Some(owner) => match ask_at(peers, &owner.node, ask, uid).await {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    // Its node may be gone, and the user somewhere else by now.
                    Err(error) if error.kind == ErrorKind::Unavailable && freshness == Freshness::Cached => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(false)
    }

    async fn offer_at(
        &self,
        core: &Core,
        peers: &Peers,
        node: &NodeRef,
        message: &Arc<Message>,
        to: Recipients,
    ) -> Result<Report, Error> {
        if core.has_lived_as(&node.incarnation) {
            return self.offer(message, to).await;
        }
        let delivery = Delivery { entry: None, message: Arc::clone(message), to };
        let reports = peers.deliver(node, &Batch { lane: None, deliveries: vec![delivery] }).await?;
        let report = reports.into_iter().next();
        Ok(report.ok_or(PeerError { kind: PeerErrorKind::Unknown, source: None })?)
    }
}

async fn ask_at(peers: &Peers, node: &NodeRef, ask: Ask<'_>, uid: &Uid) -> Result<bool, Error> {
    ask.at(&peers.client(node)?, uid).await
}

async fn owner(core: &Core, uid: &Uid, freshness: Freshness) -> Result<Option<Owner>, Error> {
    let found = core.directory.lookup(std::slice::from_ref(uid), freshness).await?;
    Ok(found.into_iter().next().flatten())
}

/// The session is not where it was thought to be.
fn is_moved(report: &Report) -> bool {
    matches!(report, Report::Targets(targets) if targets.first() == Some(&TargetReport::NotOwner))
}

/// Adds up what the nodes of a group answered. A node without an answer is an error: the message is not known to have
/// reached everybody.
fn sum(message: &Message, reports: impl Iterator<Item = Result<Report, Error>>) -> Result<Sent, Error> {
    let (mut offered, mut slow, mut nodes) = (0, 0, 0);
    let mut failed: Option<Error> = None;
    for report in reports {
        nodes += 1;
        match report {
            Ok(Report::Count { offered: taken, slow: dropped }) => {
                offered += taken;
                slow += dropped;
            }
            Ok(Report::Targets(_)) => failed = Some(PeerError { kind: PeerErrorKind::Unknown, source: None }.into()),
            // One that may have taken effect says more than one that has not.
            Err(error) => failed = failed.filter(|known| known.kind == ErrorKind::Timeout).or(Some(error)),
        }
    }
    match failed {
        None => Ok(sent(message, summary(&Report::Count { offered, slow }))),
        Some(error) => {
            let kind = if offered > 0 { ErrorKind::Timeout } else { error.kind };
            let detail = format!("not all of {nodes} nodes answered; {offered} sessions have it");
            Err(Error::with_source(kind, detail, error))
        }
    }
}
