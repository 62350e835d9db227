//! The first step of a traced message: it was accepted here.
//!
//! Owns which entries of a call are traced. Entries that ask for nothing of the kind are not decoded for it.

use gim_proto::{Entry, Fields, MessageId, Target};
use gim_proxy_sdk::ledger::Hop;

/// Fields without which an entry is not traced.
const ASKS: [&str; 3] = ["receipt", "traceparent", "msg"];

/// An entry whose steps are written down.
pub(super) struct Traced {
    index: usize,
    target: Option<Box<str>>,
    detail: Box<str>,
}

/// Finds the entries of a call whose steps are written down. Those that are malformed are not accepted anyway.
pub(super) fn traced(entries: &[Fields]) -> Vec<Traced> {
    let asks = |fields: &Fields| ASKS.iter().any(|name| fields.get(name).is_some());
    let asking = entries.iter().enumerate().filter(|(_, fields)| asks(fields));
    let decoded = asking.filter_map(|(index, fields)| Some((index, Entry::decode(fields).ok()?)));
    decoded.filter(|(_, entry)| entry.is_traced()).map(|(index, entry)| Traced::of(index, &entry)).collect()
}

/// Tells their steps, once they have their ids. `at_us`: when they came in, so that nothing seems to come before.
pub(super) fn hops(traced: &[Traced], ids: &[MessageId], node: &str, at_us: u64) -> Vec<Hop> {
    let hop = |traced: &Traced| {
        Some(Hop {
            id: ids.get(traced.index)?.clone(),
            hop: "accepted".into(),
            target: traced.target.clone(),
            detail: Some(traced.detail.clone()),
            node: node.into(),
            at_us,
        })
    };
    traced.iter().filter_map(hop).collect()
}

impl Traced {
    fn of(index: usize, entry: &Entry) -> Self {
        let class = entry.class.as_str();
        let (target, detail) = match &entry.target {
            Target::User(uid) => (Some(uid.as_str()), class.to_owned()),
            Target::Group(tgid) => (Some(tgid.as_str()), format!("{class}, to the group")),
            Target::GroupUser { tgid, uid } => (Some(uid.as_str()), format!("{class}, if a member of {tgid}")),
            Target::GroupsUser { tgids, uid } => {
                (Some(uid.as_str()), format!("{class}, if a member of one of {} groups", tgids.len()))
            }
            Target::Users(uids) => (None, format!("{class}, to {} users", uids.len())),
            Target::Groups(tgids) => (None, format!("{class}, to {} groups", tgids.len())),
            Target::All => (Some("all"), class.to_owned()),
        };
        Self { index, target: target.map(Box::from), detail: detail.into() }
    }
}
