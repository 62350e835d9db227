//! What whoever follows a user is told of its session.
//!
//! Every event costs one look at a number while nobody follows; what there is to tell is made only for somebody.

use gim_proto::codes::ErrorCode;
use gim_proto::frame::Dialect;
use gim_proto::{MessageId, Tgid};

use super::{CloseReason, Closer, Session};
use crate::follow::Happening;

impl Session {
    /// Tells whoever follows this user.
    pub(crate) fn tell(&self, event: &'static str, detail: impl FnOnce() -> String) {
        let happening = || Happening::new(event, self.fence(), detail());
        self.0.core.followers.tell(&self.0.uid, happening);
    }

    /// Tells of a message, with what became of it here.
    pub(crate) fn tell_message(&self, event: &'static str, id: &MessageId, detail: impl FnOnce() -> String) {
        let happening = || Happening::new(event, self.fence(), detail()).of(id);
        self.0.core.followers.tell(&self.0.uid, happening);
    }

    pub(crate) fn tell_login(&self, groups: &[Tgid]) {
        let path = if self.dialect() == Dialect::Ws { "/ws" } else { "/acc" };
        self.tell("login", || format!("by {path} from {}", self.peer()));
        if !groups.is_empty() {
            self.tell("groups", || list(groups));
        }
    }

    pub(super) fn tell_command(&self, cmd: &str, seq: &str, outcome: ErrorCode) {
        self.tell("command", || format!("{cmd}, seq {seq:?}: {}", outcome.name()));
    }

    pub(super) fn tell_close(&self, why: &CloseReason) {
        let by = match why.by {
            Closer::Client => "the client",
            Closer::Server => "this node",
        };
        self.tell("close", || format!("{} by {by}: {}", why.code, why.reason));
    }
}

/// The first of them by name.
fn list(groups: &[Tgid]) -> String {
    const SHOWN: usize = 16;
    let names: Vec<&str> = groups.iter().take(SHOWN).map(Tgid::as_str).collect();
    let more = groups.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}
