//! Deliveries of a worker or of a direct send, offered to the sessions of this node.
//!
//! Owns the selection of sessions for a delivery and its report. It never waits for a client: what a socket does not
//! take at once waits in that session's outbox.

use std::collections::HashSet;
use std::sync::Arc;

use gim_proto::frame::MsgType;
use gim_proto::{Class, Tgid, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Addressed, Delivery, Message, Recipients, Report, TargetReport};
use gim_proxy_sdk::lease::{Guard, Unproven};
use gim_proxy_sdk::mailbox::Position;
use smallvec::{SmallVec, smallvec};

use super::hints::Hints;
use super::plans::ChunkId;
use super::{Fans, Gather, Hub, Member};
use crate::session::Session;

/// What one round of writes may hold per chunk total, in bytes: a round is one write call per socket, and the outbox of
/// a client that reads at a normal pace must have room for the rest of it.
const ROUND_BYTES: usize = 256 * 1024;
/// And in messages.
const ROUND_MESSAGES: usize = 1024;

/// Per addressed session: where its answer will be, or an answer known before.
type Places = SmallVec<[Result<usize, TargetReport>; 1]>;

/// What a delivery waits to learn from the round it is in.
enum Pending {
    /// Of sessions: their rows.
    Targets(Places),
    Chunk(ChunkId),
    /// The same of sessions whose mailboxes have it.
    Stored(Places),
    /// And of sessions of groups: how many.
    Fan(u64),
}

impl Hub {
    /// Offers a batch, in order. Returns one report per delivery, in the same order. With a guard nothing is written that
    /// it does not let pass: the process may have been frozen between two writes. Begun, a batch waits until it may go on,
    /// because done again it would come twice.
    ///
    /// # Errors
    /// The node has lost its place for good. Some of the batch may have been offered.
    pub(crate) async fn deliver(
        &self,
        deliveries: &[Delivery],
        fans: &Fans,
        guard: Option<&Guard>,
    ) -> Result<Vec<Report>, Unproven> {
        let mut reports = Vec::with_capacity(deliveries.len());
        let mut gather = self.gathers.take();
        let mut refused = HashSet::new();
        let mut rest = deliveries;
        while !rest.is_empty() {
            let mut pending = Vec::with_capacity(rest.len().min(ROUND_MESSAGES));
            let mut hints = Hints::default();
            while let Some((first, others)) = rest.split_first()
                && gather.bytes() + hints.bytes() < ROUND_BYTES
                && pending.len() < ROUND_MESSAGES
            {
                let fan = fans.get(reports.len() + pending.len()).map_or(&[][..], Vec::as_slice);
                let round = Round { gather: &mut gather, hints: &mut hints, refused: &mut refused };
                pending.push(self.select(first, fan, round));
                rest = others;
            }
            if !gather.is_empty() {
                gather.write(guard).await?;
            }
            if !hints.is_empty() {
                hints.tell(guard).await?;
            }
            let first = reports.len();
            reports.extend(pending.into_iter().map(|pending| report(pending, &gather, &hints)));
            let of_round = deliveries.iter().zip(&reports).skip(first);
            note_refused(of_round, &mut refused);
            gather.clear();
        }
        self.gathers.give_back(gather);
        Ok(reports)
    }

    fn select(&self, delivery: &Delivery, fan: &[(Session, Position)], round: Round<'_>) -> Pending {
        let Round { gather, hints, refused } = round;
        match &delivery.to {
            Recipients::Sessions(all) => self.select_sessions(&delivery.message, all, gather, refused),
            // Written by the session, from its mailbox: what comes here is its hint.
            Recipients::Stored { to, at } => {
                let letter = hints.add_letter(&delivery.message, MsgType::User);
                let known = to.iter().zip(at).map(|(to, at)| {
                    let session = self.holder_of(to, refused)?;
                    Ok(hints.add(&session, *at, letter))
                });
                Pending::Stored(known.collect())
            }
            Recipients::Groups(_) if delivery.message.class == Class::Durable => {
                let letter = hints.add_letter(&delivery.message, MsgType::Group);
                for (session, at) in fan {
                    hints.add(session, *at, letter);
                }
                Pending::Fan(fan.len() as u64)
            }
            Recipients::Member { to, of } => {
                let found = self.holder_of(to, refused).and_then(|session| match session.is_member_of_any(of) {
                    true => Ok(session),
                    // One that ends has left its groups; the user may be back as a member elsewhere.
                    false if session.is_closing() => {
                        refused.insert(to.uid.clone());
                        Err(TargetReport::NotOwner)
                    }
                    false => Err(TargetReport::Done(Outcome::NotMember)),
                });
                Pending::Targets(smallvec![found.map(|session| {
                    let chunk = gather.add_chunk(&delivery.message, MsgType::User, super::USER_SCOPE);
                    gather.add(session, chunk)
                })])
            }
            Recipients::Groups(tgids) => self.select_groups(&delivery.message, tgids, gather),
            Recipients::All => {
                gather.count_chunks();
                let chunk = gather.add_chunk(&delivery.message, MsgType::Group, "a");
                let except = except(&delivery.message);
                for shard in 0..super::Users::SHARDS {
                    let members = self.users.shard(shard).into_iter().map(Member::from).collect();
                    gather.add_members(members, &except, chunk);
                }
                Pending::Chunk(chunk)
            }
        }
    }

    fn select_sessions(
        &self,
        message: &Arc<Message>,
        all: &[Addressed],
        gather: &mut Gather,
        refused: &mut HashSet<Uid>,
    ) -> Pending {
        let mut chunk = None;
        let targets = all.iter().map(|to| {
            let session = self.holder_of(to, refused)?;
            let chunk = *chunk.get_or_insert_with(|| gather.add_chunk(message, MsgType::User, super::USER_SCOPE));
            Ok(gather.add(session, chunk))
        });
        Pending::Targets(targets.collect())
    }

    fn select_groups(&self, message: &Arc<Message>, tgids: &[Tgid], gather: &mut Gather) -> Pending {
        // A collapse key counts within its group; of a message to several, within the first.
        let scope = tgids.first().map_or_else(String::new, super::group_scope);
        gather.count_chunks();
        let chunk = gather.add_chunk(message, MsgType::Group, &scope);
        let except = except(message);
        for tgid in tgids {
            if let Some(group) = self.groups.find(tgid) {
                gather.add_members(group.snapshot(), &except, chunk);
            }
        }
        Pending::Chunk(chunk)
    }

    /// Finds the addressed session. After one refusal, later messages of the batch for that user are refused too: they
    /// must not overtake the one that is routed again.
    fn holder_of(&self, to: &Addressed, refused: &mut HashSet<Uid>) -> Result<Session, TargetReport> {
        match self.addressed(to) {
            Some(session) if refused.is_empty() || !refused.contains(&to.uid) => Ok(session),
            _ => {
                refused.insert(to.uid.clone());
                Err(TargetReport::NotOwner)
            }
        }
    }
}

/// What a round gathers.
struct Round<'a> {
    gather: &'a mut Gather,
    hints: &'a mut Hints,
    refused: &'a mut HashSet<Uid>,
}

/// Remembers whose writes failed, for the rounds that follow.
fn note_refused<'a>(reports: impl Iterator<Item = (&'a Delivery, &'a Report)>, refused: &mut HashSet<Uid>) {
    for (delivery, report) in reports {
        let all = match &delivery.to {
            Recipients::Sessions(all) | Recipients::Stored { to: all, .. } => all.as_slice(),
            Recipients::Member { to, .. } => std::slice::from_ref(to),
            Recipients::Groups(_) | Recipients::All => continue,
        };
        let Report::Targets(targets) = report else { continue };
        for (to, _) in all.iter().zip(targets).filter(|(_, target)| **target == TargetReport::NotOwner) {
            refused.insert(to.uid.clone());
        }
    }
}

fn except(message: &Message) -> HashSet<&Uid> {
    message.except.iter().collect()
}

fn report(pending: Pending, gather: &Gather, hints: &Hints) -> Report {
    match pending {
        Pending::Targets(targets) => Report::Targets(
            targets
                .into_iter()
                .map(|target| match target {
                    Err(known) => known,
                    Ok(row) => match gather.taken(row) {
                        Some(true) => TargetReport::Done(Outcome::Offered),
                        Some(false) => TargetReport::Done(Outcome::Slow),
                        // It ended meanwhile; the user may be back elsewhere.
                        None => TargetReport::NotOwner,
                    },
                })
                .collect(),
        ),
        Pending::Chunk(chunk) => {
            let result = gather.result(chunk);
            Report::Count { offered: result.offered, slow: result.slow }
        }
        Pending::Stored(targets) => Report::Targets(
            targets
                .into_iter()
                .map(|target| match target {
                    Err(known) => known,
                    Ok(index) if hints.is_taken(index) => TargetReport::Done(Outcome::Stored),
                    Ok(_) => TargetReport::NotOwner,
                })
                .collect(),
        ),
        // Whether a session has heard of it or ended meanwhile: the mailbox has it.
        Pending::Fan(sessions) => Report::Count { offered: sessions, slow: 0 },
    }
}
