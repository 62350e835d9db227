//! Taking a message back: one script per lane, in each lane that may have it.

use std::sync::LazyLock;

use ::redis::Script;
use gim_proto::{EntryId, Fields, MessageId};

use super::{Lane, RedisQueue};
use crate::queue::{Cancelled, QueueError};
use crate::store::StoreError;

static CANCEL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("cancel.lua")));

impl RedisQueue {
    pub(super) async fn cancel_everywhere(&self, id: &MessageId) -> Result<Cancelled, QueueError> {
        let (mut cancelled, mut failed) = (Cancelled::Unknown, None);
        for lane in 0..u16::try_from(self.settled.len()).unwrap_or(u16::MAX) {
            match self.lane(lane)?.cancel(id).await {
                Ok(of_lane) => cancelled = cancelled.and(of_lane),
                Err(error) => failed = Some(error),
            }
        }
        match (failed, &cancelled) {
            // What was taken out has to be told of, whatever became of the rest.
            (Some(error), Cancelled::Done(_)) => {
                tracing::warn!(message_id = %id, %error, "a message was taken back in part: a lane did not answer");
                Ok(cancelled)
            }
            (Some(error), _) => Err(error.into()),
            (None, _) => Ok(cancelled),
        }
    }
}

impl Lane<'_> {
    async fn cancel(self, id: &MessageId) -> Result<Cancelled, StoreError> {
        let keys = &self.queue.keys;
        let mut call = CANCEL.key(keys.queue(self.lane));
        call.key(keys.later(self.lane)).key(keys.later_body(self.lane)).key(keys.idempotency(self.lane, id));
        call.arg(id.entry_of(self.lane).map(|entry: EntryId| entry.to_string()).unwrap_or_default());
        let mut connection = self.connection().await?;
        let answer: Vec<Vec<u8>> = call.invoke_async(&mut *connection).await?;
        let mut words = answer.into_iter();
        Ok(match words.next().as_deref() {
            Some(b"done") => {
                let mut fields = Fields::new();
                while let (Some(name), Some(value)) = (words.next(), words.next()) {
                    fields.push(&String::from_utf8_lossy(&name), value);
                }
                Cancelled::Done(vec![fields])
            }
            Some(b"late") => Cancelled::TooLate,
            _ => Cancelled::Unknown,
        })
    }
}
