//! `gim push`: one message, through the queue or past it.
//!
//! The message is read by the decoder that the worker uses before anything is called, so that what is wrong with it is
//! told by field.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use gim_proto::{Entry, Fields, MAX_ENTRY_BYTES, Malformed, Payload, Target};
use serde_json::json;

use super::answer::Answer;
use super::args::{self, Push};
use super::time;
use crate::{Body, Error, ErrorKind, NodeClient, Outcome, RunProxy, Sent};

pub(super) async fn run(push: Box<Push>, client: &NodeClient) -> Result<Answer, Error> {
    let now_ms = time::now_ms();
    let fields = fields(&push, now_ms)?;
    let entry = Entry::decode(&fields).map_err(malformed)?;
    if push.now {
        return now(entry, client).await;
    }
    entry.check_schedule(now_ms).map_err(malformed)?;
    let ids = client.enqueue(vec![fields]).await?;
    let id = ids.first().map(ToString::to_string).unwrap_or_default();
    Ok(Answer::done(id.clone(), json!({ "id": id })))
}

/// Sends past the queue.
async fn now(entry: Entry, client: &NodeClient) -> Result<Answer, Error> {
    let body = match entry.payload {
        Payload::Json(json) => Body::Response(json),
        Payload::Raw(bytes) => Body::Raw(bytes),
    };
    let unfit = |detail: &str| Err(Error::new(ErrorKind::Invalid, detail));
    let sent = match (entry.target, entry.except.as_slice()) {
        (Target::User(uid), []) => client.send_to_user(&uid, None, body).await?,
        (Target::GroupUser { tgid, uid }, []) => client.send_to_user(&uid, Some(&tgid), body).await?,
        (Target::Group(tgid), []) => client.send_to_group(&tgid, None, body).await?,
        (Target::Group(tgid), [except]) => client.send_to_group(&tgid, Some(except), body).await?,
        (Target::Group(_), _) => return unfit("except_uid: past the queue only one user can be left out"),
        (Target::User(_) | Target::GroupUser { .. }, _) => {
            return unfit("except_uid: past the queue users are left out of a group only");
        }
        _ => return unfit("past the queue a message goes to one user or one group"),
    };
    Ok(outcome(&sent))
}

fn outcome(sent: &Sent) -> Answer {
    let json = json!({ "id": sent.id, "outcome": sent.outcome.as_str(), "sessions": sent.sessions });
    if sent.outcome == Outcome::Offered {
        let plural = if sent.sessions == 1 { "" } else { "s" };
        return Answer::done(format!("{} offered to {} session{plural}", sent.id, sent.sessions), json);
    }
    Answer::not_there(format!("{} not offered: {}", sent.id, sent.outcome.as_str()), json)
}

fn fields(push: &Push, now_ms: u64) -> Result<Fields, Error> {
    let mut fields = Fields::new();
    let mut push_text = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            fields.push(name, value.clone());
        }
    };
    let args::Push { target, body, policy, .. } = push;
    push_text("to_uid", &target.to_uid);
    push_text("to_uids", &list(&target.to_uids));
    push_text("tgid", &target.tgid);
    push_text("tgid_list", &list(&target.tgid_list));
    push_text("all", &target.all.then(|| "1".to_owned()));
    push_text("except_uid", &list(&target.except));
    push_text("data", &body.data);
    push_text("mol", &body.mol);
    push_text("ctrl", &body.ctrl);
    push_text("raw", &body.raw);
    push_text("id", &policy.id);
    push_text("class", &policy.class);
    push_text("key", &policy.key);
    push_text("ttl_ms", &policy.ttl.map(|ttl| time::ms(ttl).to_string()));
    let delayed = policy.delay.map(|delay| now_ms.saturating_add(time::ms(delay)));
    push_text("deliver_at_ms", &policy.at.or(delayed).map(|at| at.to_string()));
    push_text("priority", &policy.priority);
    if let Some(path) = &body.raw_file {
        fields.push("raw", read(path)?);
    }
    Ok(fields)
}

fn list(names: &[String]) -> Option<String> {
    if names.is_empty() { None } else { Some(json!(names).to_string()) }
}

/// Reads a file, but no more of it than an entry may hold and the decoder needs to refuse it.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = MAX_ENTRY_BYTES as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| Error::with_source(ErrorKind::Invalid, format!("cannot read {}", path.display()), error))?;
    Ok(bytes)
}

fn malformed(error: Malformed) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use gim_proto::{Class, MessageId};

    use super::super::args::{Command, Flags, Once};
    use super::*;

    const NOW: u64 = 1_000_000;

    fn entry(arguments: &[&str]) -> Result<Entry, Error> {
        let flags = Flags::try_parse_from(["gim", "push"].iter().chain(arguments)).unwrap();
        let Command::Once(Once::Push(push)) = flags.command else { panic!("not push") };
        Entry::decode(&fields(&push, NOW)?).map_err(malformed)
    }

    #[test]
    fn every_flag_reaches_its_field() {
        let arguments = "--tgid lobby --except a,b --data 1 --mol m --ctrl c --id i-1 --class latest --key k --ttl 30s \
                         --in 10s --priority high";
        let entry = entry(&arguments.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(entry.target, Target::Group("lobby".try_into().unwrap()));
        assert_eq!(entry.except, ["a".try_into().unwrap(), "b".try_into().unwrap()]);
        assert_eq!(entry.payload, Payload::Json(r#"{"m":{"c":1}}"#.into()));
        assert_eq!(entry.id.as_ref().map(MessageId::as_str), Some("i-1"));
        assert_eq!((entry.class, entry.key.as_deref()), (Class::Latest, Some("k")));
        assert_eq!(entry.ttl, Some(std::time::Duration::from_secs(30)));
        assert_eq!(entry.deliver_at_ms, Some(NOW + 10_000));
        assert_eq!(entry.priority, gim_proto::Priority::High);
    }

    #[test]
    fn every_target_can_be_named() {
        let target = |arguments: &[&str]| entry(&[arguments, &["--raw", "-x"]].concat()).unwrap().target;
        assert_eq!(target(&["--to-uid", "a,b"]), Target::User("a,b".try_into().unwrap()));
        assert_eq!(
            target(&["--to-uids", "a,b"]),
            Target::Users(vec!["a".try_into().unwrap(), "b".try_into().unwrap()])
        );
        assert!(matches!(target(&["--tgid", "g", "--to-uid", "a"]), Target::GroupUser { .. }));
        assert!(matches!(target(&["--tgid-list", "g", "--tgid-list", "h"]), Target::Groups(tgids) if tgids.len() == 2));
        assert!(matches!(target(&["--tgid-list", "g,h", "--to-uid", "a"]), Target::GroupsUser { .. }));
        assert_eq!(target(&["--all"]), Target::All);
    }

    #[test]
    fn a_uid_that_looks_like_a_list_is_a_uid() {
        let entry = entry(&["--all", "--except", "[a]", "--raw", "x"]).unwrap();
        assert_eq!(entry.except, ["[a]".try_into().unwrap()]);
    }

    #[test]
    fn a_file_is_read_as_it_is_and_never_whole_when_it_is_too_large() {
        let directory = std::env::temp_dir().join(MessageId::mint().to_string());
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("body");
        let payload = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            entry(&["--to-uid", "a", "--raw-file", path.to_str().unwrap()]).map(|entry| entry.payload)
        };
        assert_eq!(payload(&[0, 255, 10]).unwrap(), Payload::Raw(vec![0, 255, 10].into()));
        assert_eq!(payload(b"").unwrap(), Payload::Raw("".into()));
        let error = payload(&vec![0; 2 * MAX_ENTRY_BYTES]).unwrap_err();
        assert!(error.to_string().starts_with("entry: has 262"), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
        let error = entry(&["--to-uid", "a", "--raw-file", path.to_str().unwrap()]).unwrap_err();
        assert!(error.to_string().starts_with("cannot read ") && error.source.is_some(), "{error}");
    }

    #[test]
    fn far_times_are_refused_by_field() {
        for arguments in [["--ttl", "0s"], ["--ttl", "400000years"], ["--at", "9007199254740992"]] {
            let error = entry(&[&["--all", "--raw", "x"], arguments.as_slice()].concat()).unwrap_err();
            let field = if arguments[0] == "--ttl" { "ttl_ms: " } else { "deliver_at_ms: " };
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
