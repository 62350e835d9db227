use std::collections::HashMap;
use std::hash::Hash;
use std::str::FromStr;

use gim_proto::NameErrorKind::{Character, Empty, TooLong};
use gim_proto::{EntryId, Fence, Incarnation, MessageId, NameError, NameErrorKind, SessionId, Tgid, Uid};

const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[test]
fn sessions_have_one_spelling() {
    let table: [(&str, NameErrorKind); 6] = [
        ("", Empty),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV0", TooLong { max: 26 }),
        ("01ARZ3NDEKTSV4RRFFQ69G5FA", Character { at: 25 }),
        ("01arz3ndektsv4rrffq69g5fav", Character { at: 2 }),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAU", Character { at: 25 }),
        ("81ARZ3NDEKTSV4RRFFQ69G5FAV", Character { at: 0 }),
    ];
    for (bad, kind) in table {
        let error = SessionId::parse(bad).unwrap_err();
        assert_eq!((error.what, error.kind), ("session", kind), "{bad:?}");
    }
    assert_eq!(SessionId::parse(ULID).unwrap().to_string(), ULID);
    assert_eq!(Incarnation::parse(ULID).unwrap().to_string(), ULID);
}

#[test]
fn minted_ids_differ_and_parse() {
    let (one, two) = (SessionId::mint(), SessionId::mint());
    assert_ne!(one, two);
    assert_eq!(SessionId::parse(&one.to_string()).unwrap(), one);
    let id = MessageId::mint();
    assert_eq!(id.as_str().len(), 26);
    assert_eq!(MessageId::parse(id.as_str()).unwrap(), id);
}

#[test]
fn entries_order_by_number_and_have_one_spelling() {
    let id = EntryId { ms: 1_700_000_000_000, seq: 7 };
    assert_eq!(id.to_string(), "1700000000000-7");
    assert_eq!(EntryId::parse("1700000000000-7").unwrap(), id);
    assert_eq!(EntryId::parse("0-0").unwrap(), EntryId::default());
    assert!(EntryId { ms: 9, seq: 1 } < EntryId { ms: 10, seq: 0 });
    for bad in ["", "1", "1-", "-1", "1-2-3", "+1-2", "1-+2", "01-2", "1-02", " 1-2", "1-18446744073709551616", "é-1"]
    {
        assert!(EntryId::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_message_without_an_id_is_named_by_its_entry() {
    let id = MessageId::of_entry(3, EntryId { ms: 1_700_000_000_000, seq: 7 });
    assert_eq!(id.as_str(), "3-1700000000000-7");
    let longest = MessageId::of_entry(u16::MAX, EntryId { ms: u64::MAX, seq: u64::MAX });
    assert_eq!(MessageId::parse(longest.as_str()).unwrap(), longest);
}

#[test]
fn in_json_a_fence_is_a_number_and_the_others_are_texts() {
    let session = SessionId::parse(ULID).unwrap();
    let entry = EntryId { ms: 5, seq: 6 };
    let json = serde_json::to_string(&(Fence(9), session, entry)).unwrap();
    assert_eq!(json, r#"[9,"01ARZ3NDEKTSV4RRFFQ69G5FAV","5-6"]"#);
    assert_eq!(serde_json::from_str::<(Fence, SessionId, EntryId)>(&json).unwrap(), (Fence(9), session, entry));
    assert!(serde_json::from_str::<EntryId>(r#""5""#).is_err());
}

#[test]
fn a_name_is_its_text_however_long_it_is() {
    fn check<T: FromStr<Err = NameError> + Hash + Ord + AsRef<str>>() {
        let texts: Vec<String> = (1..=128).map(|length| "m".repeat(length)).collect();
        let names: HashMap<T, usize> = texts.iter().map(|text| (text.parse().unwrap(), text.len())).collect();
        assert_eq!(names.len(), texts.len());
        for text in &texts {
            let name: T = text.parse().unwrap();
            assert_eq!(name.as_ref(), text);
            assert_eq!(names.get(&name), Some(&text.len()));
        }
        let mut sorted: Vec<&T> = names.keys().collect();
        sorted.sort();
        assert!(sorted.into_iter().map(AsRef::as_ref).eq(texts.iter().map(String::as_str)));
    }
    check::<MessageId>();
    check::<Uid>();
    check::<Tgid>();
}

#[test]
fn names_are_in_the_order_of_their_bytes() {
    let long = "\u{e9}".repeat(30);
    let texts = ["a", "a\u{e9}", "b", "b\u{1f600}", "z", long.as_str()];
    for (one, other) in texts.iter().flat_map(|one| texts.iter().map(move |other| (one, other))) {
        let (first, second) = (Uid::parse(one).unwrap(), Uid::parse(other).unwrap());
        assert_eq!(first.cmp(&second), one.as_bytes().cmp(other.as_bytes()), "{one} and {other}");
        assert_eq!(first == second, one == other);
    }
}
