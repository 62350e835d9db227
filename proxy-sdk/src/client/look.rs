//! What operators look at: the steps of a message, receipts, presence, and what one user does right now.

use gim_proto::rpc::ledger_client::LedgerClient;
use gim_proto::rpc::{self, FollowEvent};
use gim_proto::{EntryId, Fence, MessageId, Uid};
use serde::Serialize;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::Channel;

use super::{Address, NodeClient, status};
use crate::Error;
use crate::ledger::{Hop, Log, Noted};

/// Bytes of one answer, at most.
const MOST_ANSWER: usize = 16 * 1024 * 1024;

/// Something that happened to a user on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happening {
    /// Microseconds since 1970 on the node's clock.
    pub at_us: u64,
    /// In one word.
    pub event: String,
    /// Of the session. None: it is not about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// The message, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// More about it, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What happens to one user on one node, as it happens. Dropped, the node stops telling.
pub struct Followed {
    events: Streaming<FollowEvent>,
    address: Address,
}

impl NodeClient {
    /// Asks for the steps of a message, in the order of time. Empty: nothing is known of it, any more or yet.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn journey(&self, id: &MessageId) -> Result<Vec<Hop>, Error> {
        let request = rpc::JourneyRequest { id: id.to_string() };
        let call = |channel, request| async move { ledger(channel).journey(request).await };
        let answer = self.calls.call(0, request, call).await?;
        Ok(answer.hops.into_iter().map(|step| hop(id, step)).collect())
    }

    /// Reads receipts or presence after a place, oldest first, at most `limit` and at most 1,000.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn read_log(&self, log: Log, after: Option<EntryId>, limit: u32) -> Result<Vec<Noted>, Error> {
        let log = match log {
            Log::Receipts => rpc::LedgerLog::Receipts,
            Log::Presence => rpc::LedgerLog::Presence,
        };
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let request = rpc::ReadLogRequest { log: log.into(), after, limit };
        let call = |channel, request| async move { ledger(channel).read_log(request).await };
        let answer = self.calls.call(0, request, call).await?;
        answer.entries.into_iter().map(noted).collect()
    }

    /// Follows one user on this node. The first event says whether the user is connected there.
    ///
    /// # Errors
    /// Kind `Full`: too many follow users there already.
    pub async fn follow(&self, uid: &Uid) -> Result<Followed, Error> {
        let calls = &self.calls;
        self.meet(calls.options().deadline).await?;
        let request = calls.request(rpc::FollowRequest { uid: uid.to_string() });
        match timeout(calls.options().deadline, ledger(calls.channel()).follow(request)).await {
            Ok(Ok(response)) => Ok(Followed { events: response.into_inner(), address: calls.address().clone() }),
            Ok(Err(status)) => Err(status::error(status, calls.address())),
            Err(elapsed) => Err(status::no_answer(calls.address(), elapsed)),
        }
    }
}

impl Followed {
    /// The next event. None: the node has stopped telling.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Happening>, Error> {
        let event = self.events.message().await.map_err(|status| status::error(status, &self.address))?;
        Ok(event.map(|event| Happening {
            at_us: event.at_us,
            event: event.event,
            fence: (event.fence > 0).then_some(Fence(event.fence)),
            id: (!event.id.is_empty()).then_some(event.id),
            detail: event.detail,
        }))
    }
}

fn ledger(channel: Channel) -> LedgerClient<Channel> {
    LedgerClient::new(channel).max_decoding_message_size(MOST_ANSWER)
}

fn hop(id: &MessageId, hop: rpc::JourneyHop) -> Hop {
    let text = |text: String| (!text.is_empty()).then(|| text.into());
    Hop {
        id: id.clone(),
        hop: hop.hop.into(),
        target: text(hop.target),
        detail: text(hop.detail),
        node: hop.node.into(),
        at_us: hop.at_us,
    }
}

fn noted(entry: rpc::LogEntry) -> Result<Noted, Error> {
    let id = EntryId::parse(&entry.id).map_err(|_| status::unreadable("an entry's id"))?;
    let text = |value: bytes::Bytes| String::from_utf8_lossy(&value).into();
    Ok(Noted { id, fields: entry.fields.into_iter().map(|field| (field.name.into(), text(field.value))).collect() })
}
