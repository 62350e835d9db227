//! From what Redis holds to what the lane takes: fields of the stream, and bodies of what was put aside.

use bytes::{Buf, Bytes};
use gim_proto::{Entry, EntryId, Fields, Incarnation, Malformed, MessageId, Uid};
use gim_proxy_sdk::store::wire::Reply;
use serde::{Deserialize, Serialize};

use super::outstanding::{Held, Origin};
use super::reply::Pair;
use super::shared::Shared;
use crate::clock::Clock;
use crate::source::{Fetched, Rest};

/// Whoever accepted an entry may have another clock: that far beyond the bound of a schedule it is still taken.
const SLACK_MS: u64 = 60_000;

/// An entry that was read and not handed out yet.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) fetched: Fetched,
    pub(super) origin: Origin,
    /// Its id is noted, or it carries none.
    pub(super) marked: bool,
}

/// How an entry's rest is kept: `{"users":[...]}` or `{"nodes_but":[...]}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RestForm {
    Users(Vec<Uid>),
    NodesBut(Vec<Incarnation>),
}

/// Shows what is left of an entry. Empty: everything.
pub(super) fn show_rest(rest: Option<&Rest>) -> String {
    let form = match rest {
        None => return String::new(),
        Some(Rest::Users(users)) => RestForm::Users(users.clone()),
        Some(Rest::NodesBut(nodes)) => RestForm::NodesBut(nodes.clone()),
    };
    serde_json::to_string(&form).unwrap_or_default()
}

// What cannot be read is everything: rather twice than not at all.
fn read_rest(json: &[u8]) -> Option<Rest> {
    match serde_json::from_slice(json).ok()? {
        RestForm::Users(users) => Some(Rest::Users(users)),
        RestForm::NodesBut(nodes) => Some(Rest::NodesBut(nodes)),
    }
}

impl Read {
    /// Takes an entry that is read for the first time. What is kept of it does not hold the reply, unless it is most of it.
    pub(super) fn of_pairs(lane: u16, now_ms: u64, entry_id: EntryId, reply: &Reply, pairs: &[Pair<'_>]) -> Self {
        let entry = in_time(Entry::decode_pairs(pairs, &|value| reply.keep(value)), now_ms);
        let size = pairs.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        Self::of(lane, entry_id, entry, size, 0, None, Origin::Stream)
    }

    /// Takes an entry of the stream.
    pub(super) fn of_stream(shared: &Shared, entry_id: EntryId, fields: &Fields, attempts: u32) -> Self {
        let entry = in_time(Entry::decode(fields), shared.clock.unix_ms());
        Self::of(shared.lane, entry_id, entry, size(fields), attempts, None, Origin::Stream)
    }

    /// Takes an entry that was put aside.
    pub(super) fn of_body(shared: &Shared, entry_id: EntryId, body: Bytes) -> Self {
        let (attempts, rest, fields) = unpack(body);
        let rest = read_rest(&rest);
        Self::of(shared.lane, entry_id, Entry::decode(&fields), size(&fields), attempts, rest, Origin::Later)
    }

    fn of(
        lane: u16,
        entry_id: EntryId,
        entry: Result<Entry, Malformed>,
        size: usize,
        attempts: u32,
        rest: Option<Rest>,
        origin: Origin,
    ) -> Self {
        let given = entry.as_ref().ok().and_then(|entry| entry.id.clone());
        // What was put aside has been noted when it was read the first time; its window may be over.
        let marked = given.is_none() || origin == Origin::Later;
        let fetched = Fetched {
            entry_id,
            message_id: given.unwrap_or_else(|| MessageId::of_entry(lane, entry_id)),
            size,
            attempts,
            rest,
            duplicate: false,
            body: entry,
        };
        Self { fetched, origin, marked }
    }

    pub(super) fn held(&self) -> Held {
        let Fetched { attempts, rest, size, body, .. } = &self.fetched;
        let planned_ms = body.as_ref().ok().and_then(|entry| entry.deliver_at_ms);
        let planned_ms = planned_ms.filter(|_| *attempts == 0 && rest.is_none());
        Held { origin: self.origin, planned_ms, size: *size, again: false }
    }
}

/// Lets pass what is not scheduled for too late.
fn in_time(entry: Result<Entry, Malformed>, now_ms: u64) -> Result<Entry, Malformed> {
    let entry = entry?;
    entry.check_schedule(now_ms.saturating_add(SLACK_MS))?;
    Ok(entry)
}

/// Bytes that an entry counts for.
fn size(fields: &Fields) -> usize {
    fields.bytes() + 2 * fields.len()
}

/// Takes apart `>I4` attempts, rest, names and values, each with `>I4` of its length before it. What is cut off is left out.
fn unpack(mut body: Bytes) -> (u32, Bytes, Fields) {
    let attempts = body.try_get_u32().unwrap_or(0);
    let rest = take(&mut body).unwrap_or_default();
    let mut fields = Fields::new();
    while let Some(name) = take(&mut body) {
        let Some(value) = take(&mut body) else { break };
        fields.push(&String::from_utf8_lossy(&name), value);
    }
    (attempts, rest, fields)
}

fn take(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(body.try_get_u32().ok()?).ok()?;
    (length <= body.len()).then(|| body.split_to(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(out: &mut Vec<u8>, bytes: &[u8]) {
        out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        out.extend(bytes);
    }

    proptest! {
        #[test]
        fn bodies_come_out_as_they_went_in(attempts: u32, rest: Vec<u8>, pairs: Vec<(String, Vec<u8>)>) {
            let mut body = attempts.to_be_bytes().to_vec();
            text(&mut body, &rest);
            for (name, value) in &pairs {
                text(&mut body, name.as_bytes());
                text(&mut body, value);
            }
            let (read_attempts, read_rest, fields) = unpack(Bytes::from(body));
            prop_assert_eq!((read_attempts, read_rest.as_ref()), (attempts, rest.as_slice()));
            prop_assert_eq!(fields, pairs.into_iter().collect::<Fields>());
        }

        #[test]
        fn no_bytes_are_too_odd_to_take_apart(body: Vec<u8>) {
            unpack(Bytes::from(body));
        }
    }

    #[test]
    fn a_rest_is_kept_as_documented() {
        let users = Rest::Users(vec![Uid::parse("a\"b").unwrap(), Uid::parse("c").unwrap()]);
        let node = Incarnation::mint();
        let nodes = Rest::NodesBut(vec![node]);
        assert_eq!(show_rest(Some(&users)), r#"{"users":["a\"b","c"]}"#);
        assert_eq!(show_rest(Some(&nodes)), format!(r#"{{"nodes_but":["{node}"]}}"#));
        assert_eq!(show_rest(None), "");
        for rest in [users, nodes] {
            assert_eq!(read_rest(show_rest(Some(&rest)).as_bytes()), Some(rest));
        }
        assert_eq!(read_rest(b""), None);
        assert_eq!(read_rest(b"{}"), None);
    }
}
