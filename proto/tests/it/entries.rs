use std::time::Duration;

use gim_proto::MalformedKind::{Conflict, Missing, Name, NoTarget, NotJson, OutOfRange, TooLarge, TooMany, TwoTargets};
use gim_proto::{
    Class, DeadReason, Entry, Fields, MAX_ENTRY_BYTES, MAX_SCHEDULE, Malformed, MalformedKind, Payload, Priority,
    Target, Tgid, Uid,
};

type Given<'a> = &'a [(&'a str, &'a str)];

fn decode(given: Given<'_>) -> Result<Entry, Malformed> {
    Entry::decode(&given.iter().map(|&(name, value)| (name, value.to_owned())).collect())
}

/// To user 42, with these fields more.
fn to_42(more: Given<'_>) -> Result<Entry, Malformed> {
    decode(&[&[("to_uid", "42"), ("data", "{}")], more].concat())
}

fn json(given: Given<'_>) -> String {
    match decode(&[&[("to_uid", "42")], given].concat()).unwrap().payload {
        Payload::Json(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Payload::Raw(_) => panic!("raw"),
    }
}

fn refused(given: Given<'_>) -> (String, MalformedKind) {
    let error = decode(given).expect_err(&format!("{given:?} is accepted"));
    assert!(!error.detail.is_empty());
    assert_eq!(error.to_string(), format!("{}: {}", error.field, error.detail));
    (error.field.into(), error.kind)
}

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn tgid(text: &str) -> Tgid {
    Tgid::parse(text).unwrap()
}

#[test]
fn an_entry_with_target_and_data_has_the_documented_defaults() {
    let entry = to_42(&[("x-mine", "kept")]).unwrap();
    let expected = Entry {
        target: Target::User(uid("42")),
        except: Vec::new(),
        payload: Payload::Json("{}".into()),
        id: None,
        class: Class::Live,
        key: None,
        ttl: None,
        deliver_at_ms: None,
        priority: Priority::Normal,
        receipt: false,
        traceparent: None,
    };
    assert_eq!(entry, expected);
}

#[test]
fn every_field_is_read() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let entry = to_42(&[
        ("except_uid", "7"),
        ("id", "order-1"),
        ("class", "latest"),
        ("key", "price é"),
        ("ttl_ms", "1500"),
        ("deliver_at_ms", "1700000000000"),
        ("priority", "high"),
        ("receipt", "1"),
        ("traceparent", trace),
    ])
    .unwrap();
    assert_eq!(entry.except, [uid("7")]);
    assert_eq!(entry.id.unwrap().as_str(), "order-1");
    assert_eq!(entry.class, Class::Latest);
    assert_eq!(entry.key.as_deref(), Some("price é"));
    assert_eq!(entry.ttl, Some(Duration::from_millis(1500)));
    assert_eq!(entry.deliver_at_ms, Some(1_700_000_000_000));
    assert_eq!(entry.priority, Priority::High);
    assert!(entry.receipt);
    assert_eq!(entry.traceparent.as_deref(), Some(trace));
}

#[test]
fn every_form_of_target_is_read() {
    let table: [(Given<'_>, Target); 9] = [
        (&[("to_uid", "42")], Target::User(uid("42"))),
        (&[("to_uid", "[x")], Target::User(uid("[x"))),
        (&[("to_uids", r#"["b","a","b","\u0061"]"#)], Target::Users(vec![uid("b"), uid("a")])),
        (&[("tgid", "g")], Target::Group(tgid("g"))),
        (&[("tgid", "g"), ("to_uid", "42")], Target::GroupUser { tgid: tgid("g"), uid: uid("42") }),
        (&[("tgid_list", r#" [ "h" , "g","h" ] "#)], Target::Groups(vec![tgid("h"), tgid("g")])),
        (&[("tgid_list", r#"["g"]"#), ("to_uid", "42")], Target::GroupsUser { tgids: vec![tgid("g")], uid: uid("42") }),
        (&[("all", "1")], Target::All),
        (&[("all", "0"), ("to_uid", "42")], Target::User(uid("42"))),
    ];
    for (given, target) in table {
        assert_eq!(decode(&[given, &[("data", "{}")]].concat()).unwrap().target, target, "{given:?}");
    }
}

#[test]
fn an_entry_has_exactly_one_target() {
    let table: [(Given<'_>, &str, MalformedKind); 18] = [
        (&[], "to_uid", NoTarget),
        (&[("all", "0")], "to_uid", NoTarget),
        (&[("except_uid", "7")], "to_uid", NoTarget),
        (&[("to_uids", "[]")], "to_uids", NoTarget),
        (&[("tgid_list", "[]")], "tgid_list", NoTarget),
        (&[("tgid_list", "[]"), ("to_uid", "42")], "tgid_list", NoTarget),
        (&[("to_uid", "1"), ("to_uids", r#"["2"]"#)], "to_uids", TwoTargets),
        (&[("to_uids", r#"["2"]"#), ("tgid", "g")], "tgid", TwoTargets),
        (&[("to_uids", r#"["2"]"#), ("tgid_list", r#"["g"]"#)], "tgid_list", TwoTargets),
        (&[("tgid", "g"), ("tgid_list", r#"["g"]"#)], "tgid_list", TwoTargets),
        (&[("to_uid", "1"), ("tgid", "g"), ("tgid_list", r#"["g"]"#)], "tgid_list", TwoTargets),
        (&[("to_uid", "1"), ("all", "1")], "all", TwoTargets),
        (&[("to_uids", r#"["1"]"#), ("all", "true")], "all", TwoTargets),
        (&[("tgid", "g"), ("all", "1")], "all", TwoTargets),
        (&[("tgid_list", r#"["g"]"#), ("all", "1")], "all", TwoTargets),
        (&[("all", "")], "all", OutOfRange),
        (&[("all", "yes")], "all", OutOfRange),
        (&[("all", "2")], "all", OutOfRange),
    ];
    for (given, field, kind) in table {
        assert_eq!(refused(&[given, &[("data", "{}")]].concat()), (field.to_owned(), kind), "{given:?}");
    }
}

#[test]
fn bad_names_are_refused_wherever_they_are() {
    let long = "x".repeat(129);
    let table: [(Given<'_>, &str, MalformedKind); 17] = [
        (&[("to_uid", "")], "to_uid", Name),
        (&[("to_uid", "a b")], "to_uid", Name),
        (&[("to_uid", &long)], "to_uid", Name),
        (&[("tgid", "{g}")], "tgid", Name),
        (&[("tgid", ""), ("to_uid", "1")], "tgid", Name),
        (&[("tgid", "g"), ("to_uid", "")], "to_uid", Name),
        (&[("to_uids", r#"["1",""]"#)], "to_uids", Name),
        (&[("tgid_list", r#"["g","a b"]"#)], "tgid_list", Name),
        (&[("to_uids", "")], "to_uids", NotJson),
        (&[("to_uids", "1,2")], "to_uids", NotJson),
        (&[("to_uids", r#"["1""#)], "to_uids", NotJson),
        (&[("to_uids", "[1]")], "to_uids", NotJson),
        (&[("to_uids", "{}")], "to_uids", NotJson),
        (&[("to_uid", "1"), ("except_uid", "")], "except_uid", Name),
        (&[("to_uid", "1"), ("except_uid", r#"["a b"]"#)], "except_uid", Name),
        (&[("to_uid", "1"), ("except_uid", "[1]")], "except_uid", NotJson),
        (&[("to_uid", "1"), ("id", "a b")], "id", Name),
    ];
    for (given, field, kind) in table {
        assert_eq!(refused(&[given, &[("data", "{}")]].concat()), (field.to_owned(), kind), "{given:?}");
    }
}

#[test]
fn except_is_one_user_or_a_list() {
    let except = |value: &str| to_42(&[("except_uid", value)]).unwrap().except;
    assert_eq!(except("7"), [uid("7")]);
    assert_eq!(except(r#"["7","8","7"]"#), [uid("7"), uid("8")]);
    assert_eq!(except("[]"), []);
    assert_eq!(except(r#"["[x"]"#), [uid("[x")]);
}

#[test]
fn mol_and_ctrl_wrap_the_data() {
    assert_eq!(json(&[("data", r#"{"n":1}"#)]), r#"{"n":1}"#);
    assert_eq!(json(&[("data", "[1]"), ("mol", "chat")]), r#"{"chat":[1]}"#);
    assert_eq!(json(&[("data", "null"), ("mol", "chat"), ("ctrl", "say")]), r#"{"chat":{"say":null}}"#);
    assert_eq!(json(&[("data", "\"\""), ("mol", "a\"b"), ("ctrl", "c\n")]), r#"{"a\"b":{"c\n":""}}"#);
    assert_eq!(json(&[("data", " 1 "), ("mol", "é")]), r#"{"é":1}"#);
}

#[test]
fn data_loses_white_space_outside_of_texts_and_nothing_else() {
    let spaced = " {\n\t\"b\" : [ 1.0 , 1e3 ,\r\"x  y\\\" z \\\\\" ], \"a\":12345678901234567890123, \"a\" : {} }\n";
    let compact = "{\"b\":[1.0,1e3,\"x  y\\\" z \\\\\"],\"a\":12345678901234567890123,\"a\":{}}";
    assert_eq!(json(&[("data", spaced)]), compact);
    assert_eq!(json(&[("data", compact)]), compact);
    assert_eq!(json(&[("data", spaced), ("mol", "m")]), format!("{{\"m\":{compact}}}"));
}

#[test]
fn data_that_is_compact_already_is_not_copied() {
    let data = bytes::Bytes::from_static(br#"{"n":1}"#);
    let fields: Fields = [("to_uid", "42".into()), ("data", data.clone())].into_iter().collect();
    let Payload::Json(json) = Entry::decode(&fields).unwrap().payload else { panic!("raw") };
    assert_eq!(json.as_ptr(), data.as_ptr());
}

#[test]
fn bad_payloads_are_refused() {
    let long = "m".repeat(129);
    let table: [(Given<'_>, &str, MalformedKind); 22] = [
        (&[], "data", Missing),
        (&[("mol", "m")], "data", Missing),
        (&[("data", "{}"), ("raw", "x")], "raw", Conflict),
        (&[("data", ""), ("raw", "x")], "raw", Conflict),
        (&[("raw", "x"), ("mol", "m")], "mol", Conflict),
        (&[("data", "{}"), ("ctrl", "c")], "ctrl", Conflict),
        (&[("raw", "x"), ("ctrl", "c")], "ctrl", Conflict),
        (&[("data", "{}"), ("mol", "")], "mol", OutOfRange),
        (&[("data", "{}"), ("mol", &long)], "mol", OutOfRange),
        (&[("data", "{}"), ("mol", "m"), ("ctrl", "")], "ctrl", OutOfRange),
        (&[("data", "{}"), ("mol", "m"), ("ctrl", &long)], "ctrl", OutOfRange),
        (&[("data", "[]")], "data", OutOfRange),
        (&[("data", "\"{}\"")], "data", OutOfRange),
        (&[("data", "null")], "data", OutOfRange),
        (&[("data", "")], "data", NotJson),
        (&[("data", "hello")], "data", NotJson),
        (&[("data", "{} {}")], "data", NotJson),
        (&[("data", "{\"a\":}")], "data", NotJson),
        (&[("data", "{a:1}")], "data", NotJson),
        (&[("data", "{\"a\":01}")], "data", NotJson),
        (&[("data", "{\"a\":NaN}")], "data", NotJson),
        (&[("data", "{\"a\":\"\n\"}")], "data", NotJson),
    ];
    for (given, field, kind) in table {
        assert_eq!(refused(&[&[("to_uid", "42")], given].concat()), (field.to_owned(), kind), "{given:?}");
    }
}

#[test]
fn data_that_is_not_utf_8_is_refused() {
    for data in [&b"{\"a\":\"\xff\"}"[..], b"\xff"] {
        let fields: Fields = [("to_uid", &b"42"[..]), ("data", data)].into_iter().collect();
        let error = Entry::decode(&fields).unwrap_err();
        assert_eq!((&*error.field, error.kind), ("data", NotJson));
    }
    let fields: Fields = [("to_uid", &b"\xff"[..]), ("data", b"{}")].into_iter().collect();
    assert_eq!(Entry::decode(&fields).unwrap_err().kind, Name);
}

#[test]
fn data_nests_100_deep_and_no_deeper() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(json(&[("data", &nested(100)), ("mol", "m")]), format!("{{\"m\":{}}}", nested(100)));
    for depth in [101, 100_000] {
        let data = nested(depth);
        let given = [("to_uid", "42"), ("mol", "m"), ("data", data.as_str())];
        assert_eq!(refused(&given), ("data".to_owned(), NotJson), "{depth}");
    }
    let open = "[".repeat(200_000);
    for field in ["data", "to_uids", "except_uid"] {
        let error = decode(&[("to_uid", "42"), (field, &open)]).unwrap_err();
        assert!(matches!(error.kind, NotJson | TwoTargets), "{field}");
    }
    // Brackets in texts do not count.
    let text = format!("{{\"a\":\"{}\"}}", "[".repeat(500));
    assert_eq!(json(&[("data", &text)]), text);
}

#[test]
fn raw_is_taken_as_it_is() {
    for raw in [&b"\xff\x00"[..], b"", b"{not json"] {
        let fields: Fields = [("tgid", &b"g"[..]), ("raw", raw)].into_iter().collect();
        assert_eq!(Entry::decode(&fields).unwrap().payload, Payload::Raw(raw.into()));
    }
}

#[test]
fn classes_ask_for_what_they_need() {
    let long = "k".repeat(129);
    let table: [(Given<'_>, &str, MalformedKind); 11] = [
        (&[("to_uid", "1"), ("raw", "x"), ("class", "durable")], "raw", Conflict),
        (&[("to_uid", "1"), ("raw", "x"), ("class", "latest"), ("key", "k")], "raw", Conflict),
        (&[("all", "1"), ("data", "{}"), ("class", "durable")], "class", Conflict),
        (&[("all", "1"), ("data", "{}"), ("class", "latest"), ("key", "k")], "class", Conflict),
        (&[("to_uid", "1"), ("data", "{}"), ("class", "latest")], "key", Missing),
        (&[("to_uid", "1"), ("data", "{}"), ("class", "latest"), ("key", "")], "key", OutOfRange),
        (&[("to_uid", "1"), ("data", "{}"), ("class", "latest"), ("key", &long)], "key", OutOfRange),
        (&[("to_uid", "1"), ("data", "{}"), ("class", "latest"), ("key", "a\tb")], "key", OutOfRange),
        (&[("to_uid", "1"), ("data", "{}"), ("class", "")], "class", OutOfRange),
        (&[("to_uid", "1"), ("data", "{}"), ("class", "LIVE")], "class", OutOfRange),
        (&[("to_uid", "1"), ("data", "{}"), ("priority", "")], "priority", OutOfRange),
    ];
    for (given, field, kind) in table {
        assert_eq!(refused(given), (field.to_owned(), kind), "{given:?}");
    }
    for class in [Class::Live, Class::Latest, Class::Durable] {
        let entry = to_42(&[("class", class.as_str()), ("key", "k")]).unwrap();
        assert_eq!((entry.class, entry.key.as_deref()), (class, Some("k")));
    }
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        assert_eq!(to_42(&[("priority", priority.as_str())]).unwrap().priority, priority);
    }
    assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
}

#[test]
fn integers_stay_below_2_to_the_53() {
    let most = "9007199254740991";
    assert_eq!(to_42(&[("ttl_ms", most)]).unwrap().ttl, Some(Duration::from_millis((1 << 53) - 1)));
    assert_eq!(to_42(&[("ttl_ms", "1")]).unwrap().ttl, Some(Duration::from_millis(1)));
    assert_eq!(to_42(&[("deliver_at_ms", most)]).unwrap().deliver_at_ms, Some((1 << 53) - 1));
    assert_eq!(to_42(&[("deliver_at_ms", "0")]).unwrap().deliver_at_ms, Some(0));
    for bad in ["", "-1", "+1", "1.0", "1e3", " 1", "0x1", "9007199254740992", "99999999999999999999", "true"] {
        for field in ["ttl_ms", "deliver_at_ms"] {
            let error = to_42(&[(field, bad)]).unwrap_err();
            assert_eq!((&*error.field, error.kind), (field, OutOfRange), "{bad:?}");
        }
    }
    assert_eq!(to_42(&[("ttl_ms", "0")]).unwrap_err().kind, OutOfRange);
}

#[test]
fn flags_have_two_spellings_each() {
    for (text, flag) in [("1", true), ("true", true), ("0", false), ("false", false)] {
        assert_eq!(to_42(&[("receipt", text)]).unwrap().receipt, flag);
    }
    for bad in ["", "yes", "True", "2", "01"] {
        let error = to_42(&[("receipt", bad)]).unwrap_err();
        assert_eq!((&*error.field, error.kind), ("receipt", OutOfRange), "{bad:?}");
    }
}

#[test]
fn a_bad_trace_loses_the_trace_and_not_the_message() {
    let trace = |text: &str| to_42(&[("traceparent", text)]).unwrap().traceparent.is_some();
    assert!(trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    assert!(trace("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
    for bad in [
        "",
        "x",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    ] {
        assert!(!trace(bad), "{bad:?}");
    }
}

#[test]
fn an_entry_is_bounded_in_bytes() {
    // to_uid + 42 + data + "{}" around the filling.
    let fits = MAX_ENTRY_BYTES - "to_uid42data".len() - 2;
    let data = |size: usize| format!("{{{}}}", " ".repeat(size));
    assert!(decode(&[("to_uid", "42"), ("data", &data(fits))]).is_ok());
    assert_eq!(refused(&[("to_uid", "42"), ("data", &data(fits + 1))]), ("entry".to_owned(), TooLarge));
    let other = "x".repeat(MAX_ENTRY_BYTES);
    assert_eq!(refused(&[("to_uid", "42"), ("data", "{}"), ("other", &other)]), ("entry".to_owned(), TooLarge));
}

#[test]
fn an_entry_names_at_most_10000_targets() {
    let list = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("\"{number}\"")).collect();
        format!("[{}]", names.join(","))
    };
    for field in ["to_uids", "tgid_list"] {
        assert!(decode(&[(field, &list(10_000)), ("data", "{}")]).is_ok(), "{field}");
        assert_eq!(refused(&[(field, &list(10_001)), ("data", "{}")]), (field.to_owned(), TooMany));
    }
}

#[test]
fn a_schedule_ends_30_days_ahead() {
    let now = 1_700_000_000_000;
    let entry = |at: u64| to_42(&[("deliver_at_ms", &at.to_string())]).unwrap();
    let ahead = u64::try_from(MAX_SCHEDULE.as_millis()).unwrap();
    assert_eq!(ahead, 2_592_000_000);
    assert!(entry(now + ahead).check_schedule(now).is_ok());
    assert!(entry(0).check_schedule(now).is_ok());
    assert!(to_42(&[]).unwrap().check_schedule(now).is_ok());
    let error = entry(now + ahead + 1).check_schedule(now).unwrap_err();
    assert_eq!((&*error.field, error.kind), ("deliver_at_ms", OutOfRange));
}

#[test]
fn of_fields_with_the_same_name_the_last_counts() {
    let entry = decode(&[("to_uid", "a b"), ("data", "x"), ("data", "{}"), ("to_uid", "42")]).unwrap();
    assert_eq!(entry.target, Target::User(uid("42")));
}

#[test]
fn fields_keep_order_and_count_bytes() {
    let mut fields: Fields = [("a", "1"), ("to_uid", "42"), ("a", "3")].into_iter().collect();
    assert_eq!((fields.len(), fields.bytes()), (3, 12));
    assert_eq!(fields.get("a").unwrap(), "3");
    assert_eq!(fields.get("b"), None);
    let names: Vec<&str> = fields.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "to_uid", "a"]);
    fields.set("a", "4");
    assert_eq!((fields.len(), fields.get("a").unwrap().as_ref()), (2, &b"4"[..]));
    assert_eq!(fields.remove("a").unwrap(), "4");
    assert_eq!(fields.remove("a"), None);
    assert_eq!(fields, [("to_uid", "42")].into_iter().collect());
}

#[test]
fn dead_letters_say_why() {
    let words = [DeadReason::Malformed, DeadReason::TooLarge, DeadReason::Attempts, DeadReason::Unsupported];
    assert_eq!(words.map(DeadReason::as_str), ["malformed", "too_large", "attempts", "unsupported"]);
    assert_eq!(DeadReason::from(TooLarge), DeadReason::TooLarge);
    assert_eq!(DeadReason::from(TooMany), DeadReason::Malformed);
}
