use gim_proto::MalformedKind::{Conflict, Missing, Name, NoTarget, NotJson, OutOfRange, TwoTargets};
use gim_proto::{Class, Entry, Fields, Malformed, MalformedKind, Payload, Priority, Target, Uid};
use serde_json::json;

fn fields(object: &str) -> Fields {
    Fields::from_json(object.as_bytes()).unwrap()
}

fn decode(object: &str) -> Result<Entry, Malformed> {
    Entry::decode(&Fields::from_json(object.as_bytes())?)
}

fn msg(object: &str) -> Result<Entry, Malformed> {
    Entry::decode(&[("msg", object.to_owned())].into_iter().collect())
}

fn payload(object: &str) -> String {
    match decode(object).unwrap().payload {
        Payload::Json(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Payload::Raw(bytes) => format!("raw {bytes:?}"),
    }
}

#[test]
fn data_is_unquoted_and_keeps_digits_and_order() {
    let object = r#"{"to_uid":"42","data":{"b":1.0, "a":12345678901234567890123}}"#;
    assert_eq!(payload(object), r#"{"b":1.0,"a":12345678901234567890123}"#);
    assert_eq!(payload(r#"{"to_uid":"42","mol":"m","data":"text"}"#), r#"{"m":"text"}"#);
    assert_eq!(payload(r#"{"to_uid":"42","mol":"m","data":false}"#), r#"{"m":false}"#);
}

#[test]
fn bytes_are_base64() {
    assert_eq!(fields(r#"{"raw_b64":"/wA="}"#), [("raw", &b"\xff\x00"[..])].into_iter().collect());
    assert_eq!(fields(r#"{"raw_b64":"/wA"}"#), [("raw", &b"\xff\x00"[..])].into_iter().collect());
    assert_eq!(decode(r#"{"to_uid":"42","raw_b64":"/wA="}"#).unwrap().payload, Payload::Raw(b"\xff\x00"[..].into()));
}

#[test]
fn numbers_and_flags_have_three_spellings() {
    for object in [
        r#"{"to_uid":"42","data":{},"ttl_ms":5,"deliver_at_ms":6,"receipt":true,"all":false}"#,
        r#"{"to_uid":"42","data":{},"ttl_ms":"5","deliver_at_ms":"6","receipt":"1","all":"0"}"#,
        r#"{"to_uid":"42","data":{},"ttl_ms":5,"deliver_at_ms":"6","receipt":1,"all":0}"#,
    ] {
        let entry = decode(object).unwrap();
        assert_eq!(entry.ttl.unwrap().as_millis(), 5);
        assert_eq!((entry.deliver_at_ms, entry.receipt), (Some(6), true));
    }
}

#[test]
fn what_is_empty_counts_as_absent() {
    let object = r#"{"to_uid":"42","to_uids":[],"tgid":"","tgid_list":[ ],"all":null,"except_uid":"","data":{},"mol":"",
        "ctrl":null,"raw_b64":"","id":"","class":"","key":"","ttl_ms":null,"deliver_at_ms":"","priority":"",
        "receipt":null,"traceparent":"","msg":"","raw":null}"#;
    assert_eq!(fields(object), [("to_uid", "42"), ("data", "{}")].into_iter().collect());
    assert_eq!(decode(object), decode(r#"{"to_uid":"42","data":{}}"#));
    for empty in ["null", "\"\"", "[]"] {
        let error = decode(&format!(r#"{{"to_uid":"42","data":{empty}}}"#)).unwrap_err();
        assert_eq!((&*error.field, error.kind), ("data", Missing));
        assert_eq!(payload(&format!(r#"{{"to_uid":"42","mol":"m","data":{empty}}}"#)), format!(r#"{{"m":{empty}}}"#));
    }
}

#[test]
fn the_old_message_of_a_queue_is_read() {
    let old = r#"{"tgid":"","tgid_list":null,"mol":"chat","ctrl":"say","data":{"n":1},"except_uid":"",
        "c_time":1700000000000,"msg_type":2,"to_uid":"42"}"#;
    let entry = msg(old).unwrap();
    assert_eq!(entry.target, Target::User(Uid::parse("42").unwrap()));
    assert_eq!(entry.payload, Payload::Json(r#"{"chat":{"say":{"n":1}}}"#.into()));
    assert_eq!(fields(old).get("c_time").unwrap(), "1700000000000");
}

#[test]
fn lists_are_json_arrays() {
    let entry = decode(r#"{"tgid_list":["g","h"],"except_uid":["1","2"],"data":{}}"#).unwrap();
    assert!(matches!(entry.target, Target::Groups(tgids) if tgids.len() == 2));
    assert_eq!(entry.except.len(), 2);
    let one = |object: &str| decode(object).unwrap().except;
    assert_eq!(one(r#"{"tgid":"g","except_uid":"1","data":{}}"#), [Uid::parse("1").unwrap()]);
    // A uid that looks like a list is none.
    assert_eq!(one(r#"{"tgid":"g","except_uid":"[\"1\"]","data":{}}"#), [Uid::parse("[\"1\"]").unwrap()]);
}

#[test]
fn unknown_fields_are_kept_whatever_they_are() {
    let kept = fields(r#"{"a":"text","b":[1, 2],"c":{"x":null},"d":1.50,"e":"\ud800","f":null}"#);
    let expected = [("a", "text"), ("b", "[1, 2]"), ("c", r#"{"x":null}"#), ("d", "1.50"), ("e", r#""\ud800""#)];
    assert_eq!(kept, expected.into_iter().collect());
}

#[test]
fn of_members_with_the_same_name_the_last_counts() {
    assert_eq!(fields(r#"{"id":"a","to_uid":"1","id":"b"}"#), [("to_uid", "1"), ("id", "b")].into_iter().collect());
    assert_eq!(fields(r#"{"id":"a","to_uid":"1","id":""}"#), [("to_uid", "1")].into_iter().collect());
}

#[test]
fn what_is_malformed_in_json_names_its_field() {
    let table: [(&str, &str, MalformedKind); 26] = [
        ("", "entry", NotJson),
        ("[]", "entry", NotJson),
        ("\"x\"", "entry", NotJson),
        ("{\"to_uid\":", "entry", NotJson),
        ("{} {}", "entry", NotJson),
        ("{}", "to_uid", NoTarget),
        (r#"{"to_uid":"1","tgid":"g","all":true,"data":{}}"#, "all", TwoTargets),
        (r#"{"to_uid":1,"data":{}}"#, "to_uid", Name),
        (r#"{"to_uid":["1"],"data":{}}"#, "to_uid", Name),
        (r#"{"to_uid":"\ud800","data":{}}"#, "to_uid", Name),
        (r#"{"tgid":true,"data":{}}"#, "tgid", Name),
        (r#"{"to_uids":{},"data":{}}"#, "to_uids", OutOfRange),
        (r#"{"to_uids":"1","data":{}}"#, "to_uids", NotJson),
        (r#"{"to_uids":[1],"data":{}}"#, "to_uids", NotJson),
        (r#"{"to_uid":"1","except_uid":5,"data":{}}"#, "except_uid", OutOfRange),
        (r#"{"to_uid":"1","id":7,"data":{}}"#, "id", Name),
        (r#"{"to_uid":"1","mol":7,"data":{}}"#, "mol", OutOfRange),
        (r#"{"to_uid":"1","class":1,"data":{}}"#, "class", OutOfRange),
        (r#"{"to_uid":"1","ttl_ms":[5],"data":{}}"#, "ttl_ms", OutOfRange),
        (r#"{"to_uid":"1","ttl_ms":1.5,"data":{}}"#, "ttl_ms", OutOfRange),
        (r#"{"to_uid":"1","ttl_ms":true,"data":{}}"#, "ttl_ms", OutOfRange),
        (r#"{"to_uid":"1","receipt":2,"data":{}}"#, "receipt", OutOfRange),
        (r#"{"to_uid":"1","raw_b64":"%"}"#, "raw_b64", OutOfRange),
        (r#"{"to_uid":"1","raw_b64":7}"#, "raw_b64", OutOfRange),
        (r#"{"to_uid":"1","raw":"x"}"#, "raw", OutOfRange),
        (r#"{"to_uid":"1","raw_b64":"eA==","data":{}}"#, "raw", Conflict),
    ];
    for (object, field, kind) in table {
        let error = decode(object).expect_err(object);
        assert_eq!((&*error.field, error.kind), (field, kind), "{object}");
    }
    assert_eq!(Fields::from_json(b"{\"a\":\"\xff\"}").unwrap_err().kind, NotJson);
}

#[test]
fn msg_stands_alone() {
    let inner = r#"{"to_uid":"42","data":{"n":1},"class":"durable","priority":"low"}"#;
    let entry = msg(inner).unwrap();
    assert_eq!((entry.class, entry.priority), (Class::Durable, Priority::Low));
    assert_eq!(entry, decode(inner).unwrap());
    // Over HTTP too, as object or as text.
    assert_eq!(decode(&json!({"msg": inner}).to_string()).unwrap(), entry);
    assert_eq!(decode(&format!(r#"{{"msg":{inner}}}"#)).unwrap(), entry);
    // Unknown fields may stand beside it.
    assert!(Entry::decode(&[("msg", inner), ("x-mine", "1"), ("gim_at_ms", "5")].into_iter().collect()).is_ok());
}

#[test]
fn msg_beside_or_within_another_is_refused() {
    let beside: Fields = [("msg", r#"{"to_uid":"42","data":{}}"#), ("to_uid", "")].into_iter().collect();
    let error = Entry::decode(&beside).unwrap_err();
    assert_eq!((&*error.field, error.kind), ("to_uid", Conflict));
    let error = msg(r#"{"msg":{"to_uid":"42","data":{}}}"#).unwrap_err();
    assert_eq!((&*error.field, error.kind), ("msg", Conflict));
    for bad in ["", "[]", "42", "{"] {
        let error = msg(bad).unwrap_err();
        assert_eq!((&*error.field, error.kind), ("msg", NotJson), "{bad:?}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    let deep = format!("{}{}", r#"{"a":"#.repeat(30_000), "1".to_owned() + &"}".repeat(30_000));
    let error = decode(&format!(r#"{{"to_uid":"42","data":{deep}}}"#)).unwrap_err();
    assert_eq!((&*error.field, error.kind), ("data", NotJson));
    let open = r#"{"msg":"#.repeat(30_000);
    assert_eq!(msg(&open).unwrap_err().kind, NotJson);
}

#[test]
fn an_error_does_not_quote_a_long_value() {
    let error = msg(&format!("\"{}\"", "é".repeat(10_000))).unwrap_err();
    assert!(error.detail.len() <= 200);
}

#[test]
fn dead_letters_are_shown_as_json() {
    let fields: Fields = [
        ("to_uids", &br#"["1","2"]"#[..]),
        ("except_uid", b"[\"3\"]"),
        ("data", br#"{"n": 1}"#),
        ("raw", b"\xff\x00"),
        ("ttl_ms", b"5"),
        ("msg", br#"{"to_uid":"1"}"#),
        ("gim_reason", b"malformed"),
        ("odd", b"\xff"),
    ]
    .into_iter()
    .collect();
    let shown = json!({
        "to_uids": ["1", "2"],
        "except_uid": ["3"],
        "data": {"n": 1},
        "raw_b64": "/wA=",
        "ttl_ms": "5",
        "msg": {"to_uid": "1"},
        "gim_reason": "malformed",
        "odd": "\u{fffd}",
    });
    assert_eq!(fields.to_json(), shown);
    let broken: Fields = [("data", "{"), ("to_uids", "1"), ("except_uid", "7")].into_iter().collect();
    assert_eq!(broken.to_json(), json!({"data": "{", "to_uids": "1", "except_uid": "7"}));
}
