//! To whom an entry goes: exactly one target.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;

use super::decode::{flag, name, text};
use super::known::{self, Field, Known};
use super::{MAX_TARGETS, Malformed, MalformedKind};
use crate::names::{NameError, Tgid, Uid};

/// To whom an entry goes. Lists are not empty and name nobody twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A user.
    User(Uid),
    /// Several users.
    Users(Vec<Uid>),
    /// The members of a group.
    Group(Tgid),
    /// A user, only if a member of the group.
    GroupUser {
        /// The group.
        tgid: Tgid,
        /// The user.
        uid: Uid,
    },
    /// The members of several groups, each once.
    Groups(Vec<Tgid>),
    /// A user, only if a member of one of the groups.
    GroupsUser {
        /// The groups.
        tgids: Vec<Tgid>,
        /// The user.
        uid: Uid,
    },
    /// Everybody who is connected.
    All,
}

/// Reads the one target.
pub(super) fn target(fields: &Known<'_>) -> Result<Target, Malformed> {
    let uid = fields.get(known::TO_UID);
    let uids = fields.get(known::TO_UIDS);
    let tgid = fields.get(known::TGID);
    let tgids = fields.get(known::TGID_LIST);
    let all = flag(fields, known::ALL)?;
    match (uid, uids, tgid, tgids, all) {
        (Some(uid), None, None, None, false) => Ok(Target::User(one(uid, "to_uid")?)),
        (None, Some(uids), None, None, false) => Ok(Target::Users(several(uids, "to_uids")?)),
        (None, None, Some(tgid), None, false) => Ok(Target::Group(one(tgid, "tgid")?)),
        (Some(uid), None, Some(tgid), None, false) => {
            Ok(Target::GroupUser { tgid: one(tgid, "tgid")?, uid: one(uid, "to_uid")? })
        }
        (None, None, None, Some(tgids), false) => Ok(Target::Groups(several(tgids, "tgid_list")?)),
        (Some(uid), None, None, Some(tgids), false) => {
            Ok(Target::GroupsUser { tgids: several(tgids, "tgid_list")?, uid: one(uid, "to_uid")? })
        }
        (None, None, None, None, true) => Ok(Target::All),
        (None, None, None, None, false) => Err(no_target("to_uid")),
        _ => Err(two_targets(fields, all)),
    }
}

/// Reads whom an entry does not go to: one uid, or a JSON array.
pub(super) fn except(fields: &Known<'_>) -> Result<Vec<Uid>, Malformed> {
    match fields.get(known::EXCEPT_UID) {
        None => Ok(Vec::new()),
        Some(value) if value.starts_with(b"[") => list(value, "except_uid"),
        Some(value) => Ok(vec![one(value, "except_uid")?]),
    }
}

fn one<T: for<'a> TryFrom<&'a str, Error = NameError>>(value: &[u8], field: &str) -> Result<T, Malformed> {
    name(text(value, field, MalformedKind::Name)?, field)
}

fn several<T: for<'a> TryFrom<&'a str, Error = NameError>>(value: &[u8], field: &str) -> Result<Vec<T>, Malformed> {
    let names = list(value, field)?;
    if names.is_empty() { Err(no_target(field)) } else { Ok(names) }
}

fn list<T: for<'a> TryFrom<&'a str, Error = NameError>>(value: &[u8], field: &str) -> Result<Vec<T>, Malformed> {
    let texts = serde_json::from_slice::<Vec<Text<'_>>>(value)
        .map_err(|error| Malformed::new(field, MalformedKind::NotJson, error.to_string()))?;
    let mut seen = HashSet::with_capacity(texts.len());
    let once = texts.iter().map(|text| text.0.as_ref()).filter(|text| seen.insert(*text));
    let names = once.map(|text| name(text, field)).collect::<Result<Vec<T>, _>>()?;
    if names.len() > MAX_TARGETS {
        let detail = format!("names {} targets, {MAX_TARGETS} are allowed", names.len());
        return Err(Malformed::new(field, MalformedKind::TooMany, detail));
    }
    Ok(names)
}

/// A text that is borrowed when it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn no_target(field: &str) -> Malformed {
    Malformed::new(field, MalformedKind::NoTarget, "no target is given")
}

fn two_targets(fields: &Known<'_>, all: bool) -> Malformed {
    let given = [known::TO_UIDS, known::TGID, known::TGID_LIST].into_iter().rfind(|field| fields.get(*field).is_some());
    let field = if all { "all" } else { given.map_or("to_uid", Field::name) };
    Malformed::new(field, MalformedKind::TwoTargets, "is a second target")
}
