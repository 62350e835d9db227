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
    response(out, 1, |out| body(out, notice));
    out.push(b'}');
}

/// Appends the `a` of a notice. Its names are bytes as they stand: each login is welcomed, and to write them as texts that
/// may have to be escaped is felt.
fn body(out: &mut Vec<u8>, notice: &Notice) {
    match notice {
        Notice::Welcome { node, session, fence, epoch, offset, ping_ms, groups } => {
            member(out, b"{\"node\":", node);
            member(out, b",\"session\":", session);
            member(out, b",\"fence\":", fence);
            member(out, b",\"epoch\":", epoch);
            member(out, b",\"offset\":", offset);
            member(out, b",\"ping_ms\":", ping_ms);
            member(out, b",\"groups\":", groups);
        }
        Notice::Closing { code, reason, after_ms } => {
            member(out, b"{\"code\":", &code.code());
            member(out, b",\"reason\":", reason);
            if let Some(after_ms) = after_ms {
                member(out, b",\"after_ms\":", after_ms);
            }
        }
        Notice::Gap { from, to, reason, epoch } => {
            member(out, b"{\"from\":", from);
            member(out, b",\"to\":", to);
            member(out, b",\"reason\":", reason);
            if let Some(epoch) = epoch {
                member(out, b",\"epoch\":", epoch);
            }
        }
    }
    out.push(b'}');
}

fn member(out: &mut Vec<u8>, name: &[u8], value: &impl Serialize) {
    out.extend_from_slice(name);
    push_json(out, value);
}
