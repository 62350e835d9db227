//! Last values for newcomers: one hash per user or group, in the slot of each.
//!
//! Owns the split into one call per hash, in the order of the values.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::fred::types::Value as Answer;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::form::{pack, unpack};
use super::script::{KEEP, KEPT};
use super::{MailboxErrorKind, RedisMailboxes};
use crate::delivery::Message;
use crate::mailbox::{MailboxError, Scope, Value};
use crate::scripts::Command;

/// Bytes of values in one call, unless one alone has more.
const MOST_BYTES: usize = 1 << 20;
/// Users and groups worked on side by side.
const AT_ONCE: usize = 64;

/// A value as it goes to Redis: collapse key, entry, the packed rest.
type Packed = (Arc<str>, Arc<str>, Bytes);

impl RedisMailboxes {
    pub(super) async fn keep_all(&self, values: &[Value]) -> Result<(), MailboxError> {
        let mut scopes: BTreeMap<&Scope, Vec<Packed>> = BTreeMap::new();
        for Value { entry, message, scopes: of } in values {
            let Some(key) = &message.key else { continue };
            let packed = (Arc::clone(key), Arc::from(entry.to_string()), pack(message));
            for scope in of {
                scopes.entry(scope).or_default().push(packed.clone());
            }
        }
        let scopes: Vec<_> = scopes.into_iter().map(|(scope, values)| self.keep_for(scope, values)).collect();
        stream::iter(scopes).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn keep_for(&self, scope: &Scope, values: Vec<Packed>) -> Result<(), MailboxError> {
        let key = self.values_of(scope);
        let mut values = values.into_iter().peekable();
        while let Some((_, _, first)) = values.peek() {
            let mut bytes = first.len();
            let mut args: Vec<Answer> =
                vec![self.bounds.latest_keys.max(1).to_string().into(), self.kept_ms.as_str().into()];
            while let Some((key, entry, value)) = values.next() {
                args.extend([(&*key).into(), (&*entry).into(), Answer::Bytes(value)]);
                bytes += values.peek().map_or(0, |(_, _, next)| next.len());
                if bytes > MOST_BYTES {
                    break;
                }
            }
            let _done: i64 = self.calls.script(&KEEP, &[&key], &args, self.calls.give_up()).await?;
        }
        Ok(())
    }

    pub(super) async fn kept_for(&self, scope: &Scope) -> Result<Vec<Arc<Message>>, MailboxError> {
        let key = self.values_of(scope);
        // Most have none, and a script costs many times of this question.
        let there = self.calls.together(vec![Command::new("EXISTS", [key.clone()])]).await?;
        if there.first().and_then(Answer::as_u64) == Some(0) {
            return Ok(Vec::new());
        }
        let answer: Answer = Box::pin(self.calls.script(&KEPT, &[&key], &[""], self.calls.give_up())).await?;
        read(answer).ok_or(MailboxErrorKind::Corrupt.into())
    }

    fn values_of(&self, scope: &Scope) -> String {
        match scope {
            Scope::User(uid) => self.keys.user_latest(uid),
            Scope::Group(tgid) => self.keys.group_latest(tgid),
        }
    }
}

/// Reads the values kept for somebody, and the time.
pub(crate) fn read(answer: Answer) -> Option<Vec<Arc<Message>>> {
    let mut parts = answer.into_array().into_iter();
    let now_ms = parts.next()?.as_u64()?;
    let (mut order, mut values) = (Vec::new(), BTreeMap::new());
    let mut fields = parts.next()?.into_array().into_iter();
    while let Some(key) = fields.next() {
        let (key, value) = (key.into_string()?, fields.next()?.into_bytes()?);
        if key.is_empty() {
            let lines = std::str::from_utf8(&value).ok()?.split('\n');
            order = lines.map(|line| Some(line.split_once(' ')?.1.to_owned())).collect::<Option<_>>()?;
        } else {
            values.insert(key, value);
        }
    }
    let mut kept = Vec::with_capacity(order.len());
    for key in order {
        let Some(message) = values.get(&key).and_then(|value| unpack(&key, value)) else {
            // One that nobody can read keeps nobody from the others.
            tracing::warn!(key, "a value that was kept cannot be read");
            continue;
        };
        if message.expires_ms.is_none_or(|at| at > now_ms) {
            kept.push(Arc::new(message));
        }
    }
    Some(kept)
}
