//! Which part of an entry belongs to which lane.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use gim_proto::{Fields, Malformed, MessageId, Target, Uid, lane_of};

pub(super) enum Split<'a> {
    One(u16),
    Several(BTreeMap<u16, Vec<&'a Uid>>),
}

/// Finds the lane of a target, or the lanes of its users.
pub(super) fn by_lane(target: &Target, lanes: NonZeroU16) -> Split<'_> {
    let Target::Users(uids) = target else { return Split::One(lane_of(target, lanes)) };
    let mut split: BTreeMap<u16, Vec<&Uid>> = BTreeMap::new();
    for uid in uids {
        split.entry(lane_of(&Target::User(uid.clone()), lanes)).or_default().push(uid);
    }
    match split.keys().next().copied() {
        Some(lane) if split.len() == 1 => Split::One(lane),
        _ => Split::Several(split),
    }
}

/// Shows the fields themselves, also where they came as `msg`.
pub(super) fn plain(fields: Fields) -> Result<Fields, Malformed> {
    match fields.get("msg") {
        Some(msg) => Fields::from_json(msg),
        None => Ok(fields),
    }
}

/// Makes the entry for some of the users. Values are shared, not copied.
pub(super) fn share(base: &Fields, id: &MessageId, uids: &[&Uid]) -> Fields {
    let mut fields = base.clone();
    fields.set("id", id.to_string());
    fields.set("to_uids", serde_json::Value::from(uids.iter().map(|uid| uid.as_str()).collect::<Vec<_>>()).to_string());
    fields
}
