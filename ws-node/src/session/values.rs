//! The last values of class `latest`, for a client that has just come, or joined.
//!
//! Owns the way of a value that is read from where it is kept to a session. It never takes the place of a newer one: while
//! values are read, the outbox takes note of what it is offered.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use gim_proto::frame::MsgType;
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::mailbox::{MailboxError, Scope};

use super::Session;
use super::outbox::{Keep, Offer, Part};
use crate::hub;

/// Scopes asked side by side.
const SIDE_BY_SIDE: usize = 16;

/// Values that were read and are not offered yet. As long as there is one, the outbox takes notes.
pub(crate) struct Values {
    session: Session,
    parts: Vec<Part>,
}

impl Session {
    /// Reads the values kept for a newcomer to these.
    ///
    /// # Errors
    /// The store did not answer.
    pub(crate) async fn read_values(&self, scopes: Vec<Scope>) -> Result<Values, MailboxError> {
        let mut values = self.note_values();
        if let [] | [_] = scopes.as_slice() {
            // As at nearly every login and join.
            for scope in &scopes {
                values.add(scope, &self.0.core.mailboxes.kept(scope).await?);
            }
            return Ok(values);
        }
        let read = stream::iter(scopes).map(|scope| async move {
            let kept = self.0.core.mailboxes.kept(&scope).await?;
            let mine = kept.iter().filter(|message| !message.except.contains(self.uid()));
            Ok::<_, MailboxError>(mine.map(|message| self.part(&scope, message)).collect::<Vec<_>>())
        });
        let parts: Vec<Vec<Part>> = read.buffered(SIDE_BY_SIDE).try_collect().await?;
        values.parts = parts.into_iter().flatten().collect();
        Ok(values)
    }

    /// Has the outbox take notes, for values that are read from now on.
    pub(crate) fn note_values(&self) -> Values {
        self.0.outbox.begin_notes();
        Values { session: self.clone(), parts: Vec::new() }
    }

    /// In the form in which it would have been delivered.
    fn part(&self, scope: &Scope, message: &Arc<Message>) -> Part {
        let (kind, name) = match scope {
            Scope::User(_) => (MsgType::User, hub::USER_SCOPE.to_owned()),
            Scope::Group(tgid) => (MsgType::Group, hub::group_scope(tgid)),
        };
        let key = message.key.as_deref().unwrap_or_default();
        Part::new(hub::encode(message, kind, self.0.encoding), Keep::Latest(hub::collapse_key(&name, key)))
    }
}

impl Values {
    /// Takes what was read for a newcomer.
    pub(crate) fn add(&mut self, scope: &Scope, kept: &[Arc<Message>]) {
        let session = &self.session;
        let mine = kept.iter().filter(|message| !message.except.contains(session.uid()));
        self.parts.extend(mine.map(|message| session.part(scope, message)));
    }

    /// Offers what nothing newer was offered for. What has no room is dropped, and counted.
    pub(crate) fn offer(self) {
        let inner = &self.session.0;
        let mut dropped = 0;
        for part in &self.parts {
            let offer = inner.outbox.offer_value(&inner.core.settings.outbox, part, |bytes| inner.send(bytes));
            dropped += u64::from(offer == Offer::Dropped);
            self.session.follow_up(offer);
        }
        if dropped > 0 {
            inner.core.metrics.slow_dropped(&inner.uid, dropped);
        }
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        self.session.0.outbox.end_notes();
    }
}
