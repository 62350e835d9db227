//! Durable messages to groups: into the mailboxes of the members here, before anything of the batch is offered.
//!
//! Owns who is posted to: every session here that is in one of the groups, temporary member or durable. That the worker has
//! stored it for durable members, and that a batch may come again, does no harm: a message keeps the offset it got first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gim_proto::frame::MsgType;
use gim_proto::{Class, Tgid, Uid};
use gim_proxy_sdk::delivery::{Delivery, LaneOrigin, Recipients};
use gim_proxy_sdk::mailbox::{Appended, Appends, MailboxErrorKind, Post};

use super::{Declined, Intake};
use crate::hub::Fans;
use crate::receipts::{End, Step};
use crate::session::Session;

/// One delivery on its way into mailboxes.
struct Fan {
    /// Index of the delivery.
    delivery: usize,
    /// Its sessions, with the index of each one's user.
    sessions: Vec<(Session, usize)>,
}

impl Intake {
    /// Stores what of a batch is durable and to groups. Without such, it asks nobody.
    pub(super) async fn store(&self, origin: Option<&LaneOrigin>, deliveries: &[Delivery]) -> Result<Fans, Declined> {
        let is_post = |delivery: &Delivery| {
            delivery.message.class == Class::Durable && matches!(delivery.to, Recipients::Groups(_))
        };
        let Some(origin) = origin.filter(|_| deliveries.iter().any(is_post)) else { return Ok(Fans::new()) };
        let (posts, fans): (Vec<Post>, Vec<Fan>) =
            deliveries.iter().enumerate().filter_map(|(number, delivery)| self.post(number, delivery)).unzip();
        let appended = self.core.mailboxes.append(origin, &posts).await.map_err(|error| {
            tracing::warn!(%error, "the mailboxes do not answer; the batch is not delivered");
            match error.kind {
                MailboxErrorKind::Stale => Declined::Refused,
                _ => Declined::Suspended,
            }
        })?;
        let appended = self.told(origin, &posts, appended).await;
        let mut stored = Fans::new();
        stored.resize_with(deliveries.len(), Vec::new);
        for (fan, appended) in fans.into_iter().zip(appended) {
            let at = |(session, user): (Session, usize)| match appended.get(user) {
                Some(Appended::Stored(at)) => Some((session, *at)),
                Some(Appended::NotMember) | None => None,
            };
            if let Some(stored) = stored.get_mut(fan.delivery) {
                stored.extend(fan.sessions.into_iter().filter_map(at));
            }
        }
        Ok(stored)
    }

    /// Writes down what was trimmed before the worker hears of the batch, and so before it settles what has trimmed it. A
    /// repeat names it again, and tells it if that was not written.
    async fn told(
        &self,
        origin: &LaneOrigin,
        posts: &[Post],
        Appends { answers, mut trimmed, untold }: Appends,
    ) -> Vec<Vec<Appended>> {
        self.core.metrics.receipts_dropped.increment(untold);
        let entries = || posts.iter().map(|post| post.entry);
        let (Some(lane), Some(last)) = (self.lanes.get(usize::from(origin.lane)), entries().max()) else {
            return answers;
        };
        // Without a low water none comes again that lies before those of this batch.
        let low_water = origin.low_water.or(entries().min());
        if !trimmed.is_empty() {
            let told = lane.told();
            trimmed.retain(|(uid, id)| !told.knows(uid, id, low_water));
        }
        if !trimmed.is_empty() {
            let ends: Vec<_> = trimmed.iter().map(|(uid, id)| End::wanted(uid, id, Step::Trimmed)).collect();
            if self.core.tell_ends(&ends).await {
                lane.told().remember(trimmed.iter().map(|(uid, id)| (uid, id)), last, low_water);
            }
        }
        answers
    }

    fn post(&self, number: usize, delivery: &Delivery) -> Option<(Post, Fan)> {
        let (Recipients::Groups(tgids), Some(entry), Class::Durable) =
            (&delivery.to, delivery.entry, delivery.message.class)
        else {
            return None;
        };
        let (to, sessions) = self.members(tgids, &delivery.message.except);
        let (message, kind, of) = (Arc::clone(&delivery.message), MsgType::Group, Arc::default());
        (!to.is_empty()).then(|| (Post { entry, message, kind, to, of }, Fan { delivery: number, sessions }))
    }

    /// Finds the sessions in these groups. Returns their users, each once, and each session with the index of its user.
    fn members(&self, tgids: &[Tgid], except: &[Uid]) -> (Vec<Uid>, Vec<(Session, usize)>) {
        let except: HashSet<&Uid> = except.iter().collect();
        let mut users: HashMap<Uid, usize> = HashMap::new();
        let mut seen = HashSet::new();
        let mut sessions = Vec::new();
        for group in tgids.iter().filter_map(|tgid| self.core.hub.groups.find(tgid)) {
            let members = group.snapshot();
            let others = members.iter().map(|member| &member.session).filter(|session| !except.contains(session.uid()));
            for session in others {
                // Also one that is closing: its user may be on the way to another node, which was no holder yet.
                if !seen.insert(session.id()) {
                    continue;
                }
                let next = users.len();
                let user = *users.entry(session.uid().clone()).or_insert(next);
                sessions.push((session.clone(), user));
            }
        }
        let mut to: Vec<(Uid, usize)> = users.into_iter().collect();
        to.sort_unstable_by_key(|(_, index)| *index);
        (to.into_iter().map(|(uid, _)| uid).collect(), sessions)
    }
}
