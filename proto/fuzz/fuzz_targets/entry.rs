//! Entries of a producer, as raw JSON and as fields that are nearly right, into the decoder.

#![no_main]

use arbitrary::Arbitrary;
use gim_proto::{Class, Entry, Fields, MAX_TARGETS, Payload, Target};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Json(&'a [u8]),
    Msg(&'a [u8]),
    Fields(Vec<(Name, Value<'a>)>),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Name {
    ToUid,
    ToUids,
    Tgid,
    TgidList,
    All,
    ExceptUid,
    Data,
    Mol,
    Ctrl,
    Raw,
    Id,
    Class,
    Key,
    TtlMs,
    DeliverAtMs,
    Priority,
    Receipt,
    Traceparent,
    Msg,
    Unknown,
}

#[derive(Arbitrary, Debug)]
enum Value<'a> {
    Bytes(&'a [u8]),
    Text(&'a str),
    Number(u64),
    Flag(bool),
    List(Vec<&'a str>),
    Object(&'a str, &'a [u8]),
    Latest,
    Durable,
}

fuzz_target!(|input: Input<'_>| {
    let fields = match input {
        Input::Json(bytes) => match Fields::from_json(bytes) {
            Ok(fields) => fields,
            Err(error) => return assert!(!error.field.is_empty() && error.detail.len() <= 200),
        },
        Input::Msg(bytes) => [("msg", bytes.to_vec())].into_iter().collect(),
        Input::Fields(pairs) => pairs.iter().map(|(name, value)| (spelled(*name), written(value))).collect(),
    };
    check(&fields);
});

fn check(fields: &Fields) {
    let shown = fields.to_json().to_string();
    let again = Fields::from_json(shown.as_bytes());
    let Ok(entry) = Entry::decode(fields) else { return };
    holds(&entry);
    // What is empty as plain field is absent in JSON, so the repeat may be refused; if not, it names the same people.
    if let Some(again) = again.ok().and_then(|fields| Entry::decode(&fields).ok()) {
        assert_eq!((&entry.target, &entry.except, &entry.id), (&again.target, &again.except, &again.id));
    }
}

fn holds(entry: &Entry) {
    match &entry.payload {
        Payload::Json(json) => {
            assert!(json.starts_with(b"{") && json.ends_with(b"}"));
            assert!(serde_json::from_slice::<&serde_json::value::RawValue>(json).is_ok());
        }
        Payload::Raw(_) => assert_eq!(entry.class, Class::Live),
    }
    match &entry.target {
        Target::Users(uids) => assert!((1..=MAX_TARGETS).contains(&uids.len())),
        Target::Groups(tgids) | Target::GroupsUser { tgids, .. } => assert!((1..=MAX_TARGETS).contains(&tgids.len())),
        Target::All => assert_eq!(entry.class, Class::Live),
        Target::User(_) | Target::Group(_) | Target::GroupUser { .. } => {}
    }
    assert!(entry.class != Class::Latest || entry.key.is_some());
    assert!(entry.deliver_at_ms.is_none_or(|at| at < 1 << 53));
}

fn spelled(name: Name) -> &'static str {
    match name {
        Name::ToUid => "to_uid",
        Name::ToUids => "to_uids",
        Name::Tgid => "tgid",
        Name::TgidList => "tgid_list",
        Name::All => "all",
        Name::ExceptUid => "except_uid",
        Name::Data => "data",
        Name::Mol => "mol",
        Name::Ctrl => "ctrl",
        Name::Raw => "raw",
        Name::Id => "id",
        Name::Class => "class",
        Name::Key => "key",
        Name::TtlMs => "ttl_ms",
        Name::DeliverAtMs => "deliver_at_ms",
        Name::Priority => "priority",
        Name::Receipt => "receipt",
        Name::Traceparent => "traceparent",
        Name::Msg => "msg",
        Name::Unknown => "x-unknown",
    }
}

fn written(value: &Value<'_>) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Number(number) => number.to_string().into_bytes(),
        Value::Flag(flag) => u8::from(*flag).to_string().into_bytes(),
        Value::List(list) => serde_json::to_vec(list).unwrap_or_default(),
        Value::Object(name, value) => {
            let mut bytes = format!("{{ {}: ", serde_json::to_string(name).unwrap_or_default()).into_bytes();
            bytes.extend_from_slice(value);
            bytes.push(b'}');
            bytes
        }
        Value::Latest => b"latest".to_vec(),
        Value::Durable => b"durable".to_vec(),
    }
}
