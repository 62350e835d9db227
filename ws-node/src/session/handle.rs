//! What application code may do with a session.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use gim_proto::frame::{Dialect, MsgType};
use gim_proto::websocket::{self, Opcode};
use gim_proto::{Fence, MessageId, NameError, SessionId, Tgid, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::directory::DirectoryError;
use gim_proxy_sdk::mailbox::MailboxError;
use serde_json::Value;

use super::Session;
use super::outbox::Offer;
use crate::embed::Frame;

/// Why a session did not join or leave a group.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The group's name breaks the rule for names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The session is in as many groups as it may.
    #[error("a session joins at most {most} groups")]
    TooMany {
        /// The bound, `session.groups`.
        most: usize,
    },
    /// The group has as many durable members as it may.
    #[error("a group has at most {most} durable members")]
    Full {
        /// The bound, `mailbox.durable_members`.
        most: usize,
    },
    /// The session has ended, or another one owns the uid now.
    #[error("the session has ended")]
    Ended,
    /// The directory did not answer.
    #[error("the directory did not answer")]
    Directory(#[source] DirectoryError),
    /// The group's last values could not be read.
    #[error("the group's last values could not be read")]
    Values(#[source] MailboxError),
}

impl Session {
    /// Names the user.
    #[must_use]
    pub fn uid(&self) -> &Uid {
        &self.0.uid
    }

    /// Names the session. Secret to its client: who presents it gets its groups back.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.0.id
    }

    /// Tells the number of this ownership of the uid.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence(self.0.fence.load(Ordering::Acquire))
    }

    /// Tells by which path the client connected.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.0.encoding.dialect
    }

    /// Tells the client's address, of IPv6 without the zone.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.peer.into()
    }

    /// Reads what the application noted about this session.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<String> {
        self.0.aside().attributes.as_ref().and_then(|all| all.0.get(key).cloned())
    }

    /// Notes something about this session, for as long as it lives.
    pub fn set_attribute(&self, key: impl Into<String>, value: impl Into<String>) {
        self.0.aside().attributes.get_or_insert_default().0.insert(key.into(), value.into());
    }

    /// Joins a group, for as long as the session lives.
    ///
    /// # Errors
    /// The name is bad, the bound `session.groups` is reached, the session has ended, the directory is away.
    pub async fn join(&self, tgid: &str) -> Result<(), JoinError> {
        self.join_group(&Tgid::parse(tgid)?).await
    }

    /// Joins a group for good: its user is a member, connected or not, until it leaves.
    ///
    /// # Errors
    /// As [`join`](Self::join), or the bound `mailbox.durable_members` is reached.
    pub async fn join_durably(&self, tgid: &str) -> Result<(), JoinError> {
        self.join_group_durably(&Tgid::parse(tgid)?).await
    }

    /// Leaves a group, also one that was joined for good. False: it was no member.
    ///
    /// # Errors
    /// The name is bad, or the directory is away: then the group is left here. The record of a temporary membership
    /// follows at the end; a durable one may be there again at the next login.
    pub async fn leave(&self, tgid: &str) -> Result<bool, JoinError> {
        self.leave_group(&Tgid::parse(tgid)?).await
    }

    /// Sends a JSON value as a push to this session (msgType 3), under an id of its own.
    pub fn send(&self, data: &Value) -> Outcome {
        let mut text = Vec::with_capacity(128);
        let id = (self.dialect() == Dialect::Ws).then(MessageId::mint);
        gim_proto::frame::push(&mut text, MsgType::User, id.as_ref(), None, data.to_string().as_bytes());
        outcome(self.offer_live(websocket::frame(self.0.encoding.opcode(), &text)))
    }

    /// Sends a frame as it is.
    pub fn send_frame(&self, frame: &Frame) -> Outcome {
        let bytes = match frame {
            Frame::Text(text) => websocket::frame(Opcode::Text, text),
            Frame::Binary(bytes) => websocket::frame(Opcode::Binary, bytes),
        };
        outcome(self.offer_live(bytes))
    }
}

fn outcome(offer: Offer) -> Outcome {
    match offer {
        Offer::Taken | Offer::Waiting => Outcome::Offered,
        Offer::Dropped | Offer::Overflow => Outcome::Slow,
        Offer::Closed => Outcome::Offline,
    }
}
