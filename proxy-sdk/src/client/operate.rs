//! What operators ask of a node: who it is, how it does, its queue, its dead letters, its drain.

use gim_proto::rpc::node_client::NodeClient as Node;
use gim_proto::rpc::queue_client::QueueClient as Queue;
use gim_proto::rpc::{self, CountResponse};
use gim_proto::{EntryId, Fields, Incarnation, MessageId, NodeId, Uid};
use serde_json::Value;
use tonic::transport::Channel;

use super::{NodeClient, VERSIONS, status};
use crate::directory::NodeRef;
use crate::queue::{Cancelled, DeadLetter, LaneStats, Selection};
use crate::{Error, ErrorKind};

/// Dead letters asked for at once. With [`MOST_ANSWER`] there is a megabyte for each.
const PAGE: u32 = 64;
/// Bytes of one answer, at most.
const MOST_ANSWER: usize = 64 * 1024 * 1024;

/// Who answers at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The RPC version that both sides speak.
    pub version: u32,
    /// The node and its run.
    pub node: NodeRef,
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Sessions whose close frame was written before they went.
    pub clean: u64,
    /// Sessions cut at the node's deadline.
    pub forced: u64,
}

/// Dead letters of a lane.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// Those asked for, oldest first.
    pub letters: Vec<DeadLetter>,
    /// How many the lane has.
    pub total: u64,
}

impl NodeClient {
    /// Shakes hands: agrees on a version and learns which node, and which run of it, answers here.
    ///
    /// # Errors
    /// Kind `Unsupported`: the node speaks no version that this client speaks ([`VERSIONS`]).
    pub async fn hello(&self) -> Result<Hello, Error> {
        self.calls.hello().await
    }

    /// Asks for the JSON of `/sysinfo`.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn sysinfo(&self) -> Result<Value, Error> {
        self.sysinfo_of(false).await
    }

    /// Asks for the same of this node alone, without what it knows of others.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn sysinfo_alone(&self) -> Result<Value, Error> {
        self.sysinfo_of(true).await
    }

    async fn sysinfo_of(&self, alone: bool) -> Result<Value, Error> {
        let call = |channel, request| async move { node(channel).sysinfo(request).await };
        let answer = self.calls.call(0, rpc::SysinfoRequest { alone }, call).await?;
        serde_json::from_str(&answer.json)
            .map_err(|error| Error::with_source(ErrorKind::Internal, "the node's sysinfo cannot be read", error))
    }

    /// Has the node close its sessions in waves, with a hint when to come back. Its process stays.
    ///
    /// # Errors
    /// See [`ErrorKind`]; the deadline is [`drain_deadline`](super::ClientOptions::drain_deadline).
    pub async fn drain(&self) -> Result<Drained, Error> {
        let call = |channel, request| async move { node(channel).drain(request).await };
        let answer = self.calls.drain(rpc::DrainRequest {}, call).await?;
        Ok(Drained { clean: answer.clean, forced: answer.forced })
    }

    /// Asks for the figures of every lane.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn queue_stats(&self) -> Result<Vec<LaneStats>, Error> {
        let call = |channel, request| async move { queue(channel).stats(request).await };
        let answer = self.calls.call(0, rpc::QueueStatsRequest {}, call).await?;
        answer.lanes.into_iter().map(lane_stats).collect()
    }

    /// Asks for dead letters of a lane after an id, oldest first, at most `limit`. Calls once per 64 of them.
    ///
    /// # Errors
    /// Kind `Invalid`: there is no such lane.
    pub async fn dead(&self, lane: u16, after: Option<EntryId>, limit: usize) -> Result<DeadLetters, Error> {
        let mut dead = DeadLetters { letters: Vec::new(), total: 0 };
        let mut after = after;
        loop {
            let missing = limit.saturating_sub(dead.letters.len());
            let asked = u32::try_from(missing).unwrap_or(PAGE).min(PAGE);
            let page = self.dead_page(lane, after, asked.max(1)).await?;
            dead.total = page.total;
            let last = page.letters.last().map(|letter| letter.id);
            let is_whole = page.letters.len() as u64 >= u64::from(asked);
            dead.letters.extend(page.letters.into_iter().take(missing));
            // An answer that does not lead on would lead round in circles.
            if dead.letters.len() >= limit || !is_whole || last <= after {
                return Ok(dead);
            }
            after = last;
        }
    }

    /// Puts dead letters back on the queue under their id. Returns how many.
    ///
    /// # Errors
    /// Kind `Invalid`: there is no such lane.
    pub async fn redrive(&self, lane: u16, which: Selection) -> Result<u64, Error> {
        let Some((bytes, request)) = select(lane, which) else { return Ok(0) };
        let call = |channel, request| async move { queue(channel).redrive_dead(request).await };
        self.calls.call(bytes, request, call).await.map(count)
    }

    /// Deletes dead letters. Returns how many.
    ///
    /// # Errors
    /// Kind `Invalid`: there is no such lane.
    pub async fn purge(&self, lane: u16, which: Selection) -> Result<u64, Error> {
        let Some((bytes, request)) = select(lane, which) else { return Ok(0) };
        let call = |channel, request| async move { queue(channel).purge_dead(request).await };
        self.calls.call(bytes, request, call).await.map(count)
    }

    /// Takes a message back that nobody has begun to deliver; `uid`: one that is not acknowledged, out of this user's mailbox.
    /// The entries that were taken out stay with the node.
    ///
    /// # Errors
    /// See [`ErrorKind`]. Kind `Unsupported`: the node is of a release that takes nothing back.
    pub async fn cancel(&self, id: &MessageId, uid: Option<&Uid>) -> Result<Cancelled, Error> {
        let request = rpc::CancelRequest { id: id.to_string(), uid: uid.map(ToString::to_string).unwrap_or_default() };
        let call = |channel, request| async move { queue(channel).cancel(request).await };
        match self.calls.call(0, request, call).await?.outcome() {
            rpc::CancelOutcome::Done => Ok(Cancelled::Done(Vec::new())),
            rpc::CancelOutcome::TooLate => Ok(Cancelled::TooLate),
            rpc::CancelOutcome::Unknown => Ok(Cancelled::Unknown),
            rpc::CancelOutcome::Unspecified => Err(status::unreadable("an outcome")),
        }
    }

    async fn dead_page(&self, lane: u16, after: Option<EntryId>, limit: u32) -> Result<DeadLetters, Error> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let request = rpc::ListDeadRequest { lane: lane.into(), after, limit };
        let call = |channel, request| async move { queue(channel).list_dead(request).await };
        let answer = self.calls.call(0, request, call).await?;
        let letters = answer.letters.into_iter().map(letter).collect::<Result<_, _>>()?;
        Ok(DeadLetters { letters, total: answer.total })
    }
}

impl Hello {
    pub(super) fn read(answer: rpc::HelloResponse) -> Result<Self, Error> {
        if !VERSIONS.contains(&answer.version) {
            let detail = format!("the node speaks version {}, this client does not", answer.version);
            return Err(Error::new(ErrorKind::Unsupported, detail));
        }
        let id = NodeId::parse(&answer.node).map_err(|_| status::unreadable("a name"))?;
        let incarnation = Incarnation::parse(&answer.incarnation).map_err(|_| status::unreadable("an incarnation"))?;
        Ok(Self { version: answer.version, node: NodeRef { id, incarnation } })
    }
}

fn node(channel: Channel) -> Node<Channel> {
    Node::new(channel)
}

fn queue(channel: Channel) -> Queue<Channel> {
    Queue::new(channel).max_decoding_message_size(MOST_ANSWER)
}

/// On the wire no ids mean all, so a selection of nothing must not get there.
fn select(lane: u16, which: Selection) -> Option<(usize, rpc::SelectDeadRequest)> {
    let ids: Vec<String> = match which {
        Selection::All => Vec::new(),
        Selection::Ids(ids) if ids.is_empty() => return None,
        Selection::Ids(ids) => ids.iter().map(ToString::to_string).collect(),
    };
    let bytes = ids.iter().map(|id| id.len() + 2).sum();
    Some((bytes, rpc::SelectDeadRequest { lane: lane.into(), ids }))
}

const fn count(answer: CountResponse) -> u64 {
    answer.count
}

fn lane_stats(stats: rpc::LaneStats) -> Result<LaneStats, Error> {
    Ok(LaneStats {
        lane: u16::try_from(stats.lane).map_err(|_| status::unreadable("a lane"))?,
        lag: stats.lag,
        pending: stats.pending,
        later: stats.later,
        dead: stats.dead,
        oldest_pending_ms: stats.oldest_pending_ms,
        settled: stats.settled,
    })
}

fn letter(letter: rpc::DeadLetter) -> Result<DeadLetter, Error> {
    let id = EntryId::parse(&letter.id).map_err(|_| status::unreadable("a dead letter's id"))?;
    let fields: Fields = letter.fields.into_iter().map(|field| (field.name, field.value)).collect();
    Ok(DeadLetter { id, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_of_nothing_is_never_sent_as_all() {
        assert_eq!(select(0, Selection::Ids(Vec::new())), None);
        let all = rpc::SelectDeadRequest { lane: 3, ids: Vec::new() };
        assert_eq!(select(3, Selection::All), Some((0, all)));
    }
}
