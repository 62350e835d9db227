//! Notices: what a `/ws` client is told about its connection.

use serde::Serialize;

use super::{MsgType, head, response};
use crate::codes::CloseCode;
use crate::ids::{Fence, SessionId};
use crate::names::{NodeId, Tgid};
use crate::text::push_json;

/// News about the connection. Fields appear on the wire in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `gim.welcome`: the session stands.
    Welcome {
        /// The node that holds it.
        node: NodeId,
        /// Its id, which brings its groups back after a reconnect.
        session: SessionId,
        /// Number of this ownership of the uid.
        fence: Fence,
        /// Generation of the mailbox.
        epoch: u64,
        /// The last offset stored. 0: none yet.
        offset: u64,
        /// How often the server pings, in milliseconds.
        ping_ms: u64,
        /// The groups the session is in.
        groups: Vec<Tgid>,
    },
    /// `gim.notice`: the connection is about to be closed.
    Closing {
        /// The code of the close frame that follows.
        code: CloseCode,
        /// Why, for people.
        reason: String,
        /// When to come back, in milliseconds from now.
        after_ms: Option<u64>,
    },
    /// `gim.gap`: durable messages that will not come. With the reason `reset` those that come next, under a new epoch.
    Gap {
        /// The first offset missing.
        from: u64,
        /// The last offset missing.
        to: u64,
        /// Why.
        reason: GapReason,
        /// With the reason `reset`: the generation from here on.
        epoch: Option<u64>,
    },
}

/// Why durable messages will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// They were too old.
    Expired,
    /// The mailbox was full.
    Trimmed,
    /// The mailbox began anew, and everything unacknowledged is sent again.
    Reset,
}

impl GapReason {
    /// Tells the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Trimmed => "trimmed",
            Self::Reset => "reset",
        }
    }
}

/// Appends a notice.
pub fn notice(out: &mut Vec<u8>, notice: &Notice) {
    let name = match notice {
        Notice::Welcome { .. } => "gim.welcome",
        Notice::Closing { .. } => "gim.notice",
        Notice::Gap { .. } => "gim.gap",
    };
    out.push(b'{');
    head(out, "", name, MsgType::Notice);
    response(out, 1, |out| push_json(out, &Body::of(notice)));
    out.push(b'}');
}

/// The `a` of a notice.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Welcome {
        node: &'a NodeId,
        session: SessionId,
        fence: Fence,
        epoch: u64,
        offset: u64,
        ping_ms: u64,
        groups: &'a [Tgid],
    },
    Closing {
        code: u16,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    },
    Gap {
        from: u64,
        to: u64,
        reason: GapReason,
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<u64>,
    },
}

impl<'a> Body<'a> {
    fn of(notice: &'a Notice) -> Self {
        match notice {
            Notice::Welcome { node, session, fence, epoch, offset, ping_ms, groups } => Self::Welcome {
                node,
                session: *session,
                fence: *fence,
                epoch: *epoch,
                offset: *offset,
                ping_ms: *ping_ms,
                groups,
            },
            Notice::Closing { code, reason, after_ms } => {
                Self::Closing { code: code.code(), reason, after_ms: *after_ms }
            }
            Notice::Gap { from, to, reason, epoch } => {
                Self::Gap { from: *from, to: *to, reason: *reason, epoch: *epoch }
            }
        }
    }
}
