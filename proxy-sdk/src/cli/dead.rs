//! `gim dead`: messages that could not be delivered.

use gim_proto::{Entry, EntryId, Fields, Target};
use serde_json::json;

use super::answer::Answer;
use super::args;
use super::table::Table;
use super::time;
use crate::client::DeadLetters;
use crate::queue::{DeadLetter, Selection};
use crate::{Error, NodeClient};

pub(super) async fn run(dead: args::Dead, client: &NodeClient) -> Result<Answer, Error> {
    match dead {
        args::Dead::List(list) => {
            let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
            Ok(listed(list.lane, &client.dead(list.lane, list.after, limit).await?))
        }
        args::Dead::Redrive(redrive) => {
            let count = client.redrive(redrive.lane, selection(redrive.all, redrive.id)).await?;
            Ok(Answer::done(format!("redriven {count}"), json!({ "redriven": count })))
        }
        args::Dead::Purge(purge) => {
            let count = client.purge(purge.lane, selection(purge.all, purge.id)).await?;
            Ok(Answer::done(format!("purged {count}"), json!({ "purged": count })))
        }
    }
}

fn selection(all: bool, ids: Vec<EntryId>) -> Selection {
    if all { Selection::All } else { Selection::Ids(ids) }
}

fn listed(lane: u16, dead: &DeadLetters) -> Answer {
    let letters = dead.letters.iter();
    let json: Vec<_> =
        letters.clone().map(|letter| json!({ "id": letter.id, "entry": letter.fields.to_json() })).collect();
    let mut table = Table::new(&["ID", "DIED", "REASON", "ATTEMPTS", "TARGET", "MESSAGE", "ERROR"]);
    letters.for_each(|letter| table.row(cells(lane, letter)));
    let text = format!("{table}\n{} of {} dead letters in lane {lane}", dead.letters.len(), dead.total);
    Answer::done(text, json!({ "total": dead.total, "dead": json }))
}

fn cells(lane: u16, letter: &DeadLetter) -> [String; 7] {
    let fields = &letter.fields;
    let died = text(fields, "gim_at_ms").and_then(|at| at.parse().ok()).map_or_else(none, time::show_time);
    [
        letter.id.to_string(),
        died,
        text(fields, "gim_reason").unwrap_or_else(none),
        text(fields, "gim_attempts").unwrap_or_else(none),
        target(fields),
        message(lane, fields),
        text(fields, "gim_error").unwrap_or_else(none),
    ]
}

fn message(lane: u16, fields: &Fields) -> String {
    let id = Entry::decode(fields).ok().and_then(|entry| entry.id).map(|id| id.to_string());
    let origin = || text(fields, "gim_entry").map(|entry| format!("{lane}-{entry}"));
    id.or_else(origin).unwrap_or_else(none)
}

fn target(fields: &Fields) -> String {
    let Ok(entry) = Entry::decode(fields) else { return none() };
    match entry.target {
        Target::User(uid) => format!("user {uid}"),
        Target::Users(uids) => format!("{} users", uids.len()),
        Target::Group(tgid) => format!("group {tgid}"),
        Target::GroupUser { tgid, uid } => format!("user {uid} in {tgid}"),
        Target::Groups(tgids) => format!("{} groups", tgids.len()),
        Target::GroupsUser { tgids, uid } => format!("user {uid} in {} groups", tgids.len()),
        Target::All => "all".to_owned(),
    }
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(fields: &[(&'static str, &'static str)]) -> DeadLetter {
        DeadLetter { id: EntryId { ms: 7, seq: 1 }, fields: fields.iter().copied().collect() }
    }

    #[test]
    fn a_letter_tells_why_it_died_and_whom_it_was_for() {
        let letter = letter(&[
            ("tgid", "lobby"),
            ("data", "{}"),
            ("gim_reason", "attempts"),
            ("gim_attempts", "10"),
            ("gim_error", "node gone"),
            ("gim_entry", "5-0"),
            ("gim_at_ms", "1893456000000"),
        ]);
        let expected = ["7-1", "2030-01-01T00:00:00Z", "attempts", "10", "group lobby", "2-5-0", "node gone"];
        assert_eq!(cells(2, &letter), expected);
    }

    #[test]
    fn a_letter_that_cannot_be_read_is_listed_all_the_same() {
        let letter = letter(&[("to_uid", ""), ("gim_reason", "malformed"), ("gim_at_ms", "soon")]);
        assert_eq!(cells(0, &letter), ["7-1", "-", "malformed", "-", "-", "-", "-"]);
        let answer = listed(0, &DeadLetters { letters: vec![letter], total: 9 });
        assert_eq!(answer.json["dead"][0]["id"], "7-1");
        assert!(answer.text.ends_with("1 of 9 dead letters in lane 0"), "{}", answer.text);
    }

    #[test]
    fn targets_are_told_in_words() {
        let of =
            |fields: &[(&'static str, &'static str)]| target(&fields.iter().copied().chain([("data", "{}")]).collect());
        assert_eq!(of(&[("to_uid", "42")]), "user 42");
        assert_eq!(of(&[("to_uids", r#"["1","2"]"#)]), "2 users");
        assert_eq!(of(&[("tgid", "g"), ("to_uid", "42")]), "user 42 in g");
        assert_eq!(of(&[("tgid_list", r#"["g","h"]"#)]), "2 groups");
        assert_eq!(of(&[("tgid_list", r#"["g","h"]"#), ("to_uid", "42")]), "user 42 in 2 groups");
        assert_eq!(of(&[("all", "1")]), "all");
    }
}
