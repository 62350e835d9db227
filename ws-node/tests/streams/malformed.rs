//! Entries that break a rule: dead on first sight, kept as they were, and no harm to the next.

use serde_json::json;

use crate::stage::{Letter, Pairs, Stage};
use crate::support::client::Client;
use crate::support::node::unix_ms;

/// What an entry is made of, and the field that its letter must name.
type Case = (Pairs, &'static str);

fn pairs<V: AsRef<[u8]>>(fields: &[(&str, V)]) -> Pairs {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_ref().to_vec())).collect()
}

/// Fields that go with a good target.
fn to_u(fields: &[(&str, &str)], named: &'static str) -> Case {
    (pairs(&[&[("to_uid", "u")], fields].concat()), named)
}

/// Fields that go with good data.
fn with_data(fields: &[(&str, &str)], named: &'static str) -> Case {
    (pairs(&[fields, &[("data", r#"{"x":1}"#)]].concat()), named)
}

/// Puts each on the lane, a good entry right behind it, and looks at both.
async fn all_die(cases: Vec<Case>, reason: &str) {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &["g"]).await;
    for (n, (mut fields, named)) in cases.into_iter().enumerate() {
        fields.push((b"own".to_vec(), b"kept \xff\x00".to_vec()));
        let begun = unix_ms();
        let letter = dies(&mut stage, &mut client, n, &fields).await;
        let shown = letter.fields.iter().take(4).map(|(name, _)| String::from_utf8_lossy(name)).collect::<Vec<_>>();
        assert_eq!(letter.text("gim_reason"), reason, "{shown:?}");
        let error = letter.text("gim_error");
        assert!(error.starts_with(&format!("{named}: ")), "{error} does not name {named}: {shown:?}");
        let at: u64 = letter.text("gim_at_ms").parse().unwrap();
        assert!((begun..=unix_ms() + 1_000).contains(&at), "{at}");
    }
    assert_eq!(stage.outcomes("offered").await, u64::try_from(stage.letters(0).await.len()).unwrap());
}

/// The letter that an entry becomes, seen to hold it as it was. The good entry behind it is delivered.
async fn dies(stage: &mut Stage, client: &mut Client, n: usize, fields: &Pairs) -> Letter {
    let id = stage.add(0, fields).await;
    let next = json!({ "behind": n });
    stage.add(0, &[("to_uid", "u"), ("data", &next.to_string())]).await;
    client.expect_body(next).await;
    stage.settled().await;
    let letter = stage.letters(0).await.pop().expect("a letter");
    assert_eq!(&letter.fields[..fields.len()], &fields[..], "the original fields");
    let names: Vec<_> = letter.fields[fields.len()..].iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
    let added = ["gim_reason", "gim_attempts", "gim_error", "gim_entry", "gim_at_ms", "gim_failed_targets"];
    assert_eq!(names, added);
    assert_eq!((letter.text("gim_entry"), letter.text("gim_attempts")), (id.as_str(), "1"));
    letter
}

#[tokio::test]
async fn without_exactly_one_target_an_entry_is_malformed() {
    let cases = vec![
        with_data(&[], "to_uid"),
        with_data(&[("all", "0")], "to_uid"),
        with_data(&[("except_uid", "u")], "to_uid"),
        with_data(&[("to_uids", "[]")], "to_uids"),
        with_data(&[("tgid_list", " [ ] ")], "tgid_list"),
        with_data(&[("to_uid", "u"), ("to_uids", r#"["v"]"#)], "to_uids"),
        with_data(&[("to_uid", "u"), ("all", "1")], "all"),
        with_data(&[("tgid", "g"), ("all", "true")], "all"),
        with_data(&[("tgid", "g"), ("tgid_list", r#"["h"]"#)], "tgid_list"),
        with_data(&[("tgid", "g"), ("to_uids", r#"["u"]"#)], "tgid"),
        with_data(&[("tgid", "g"), ("tgid_list", r#"["h"]"#), ("to_uid", "u")], "tgid_list"),
    ];
    all_die(cases, "malformed").await;
}

#[tokio::test]
async fn with_a_bad_payload_an_entry_is_malformed() {
    let deep = format!("{}{}", r#"{"x":"#.repeat(101), "1") + &"}".repeat(101);
    let long = "m".repeat(129);
    let mut cases = vec![
        to_u(&[], "data"),
        to_u(&[("data", "")], "data"),
        to_u(&[("data", "{")], "data"),
        to_u(&[("data", "{} {}")], "data"),
        to_u(&[("data", "text")], "data"),
        to_u(&[("data", "[1]")], "data"),
        to_u(&[("data", "5")], "data"),
        to_u(&[("data", "null")], "data"),
        to_u(&[("data", &deep)], "data"),
        to_u(&[("data", "{}"), ("raw", "x")], "raw"),
        to_u(&[("raw", "x"), ("class", "latest"), ("key", "k")], "raw"),
        to_u(&[("raw", "x"), ("mol", "m")], "mol"),
        to_u(&[("data", "{}"), ("ctrl", "c")], "ctrl"),
        to_u(&[("data", "{}"), ("mol", "")], "mol"),
        to_u(&[("data", "{}"), ("mol", &long)], "mol"),
        to_u(&[("data", "{}"), ("mol", "m"), ("ctrl", "")], "ctrl"),
    ];
    cases.push((pairs(&[("to_uid", &b"u"[..]), ("data", b"{\"x\":\"\xff\"}")]), "data"));
    cases.push((pairs(&[("to_uid", &b"u"[..]), ("data", b"{}"), ("mol", b"\xff")]), "mol"));
    all_die(cases, "malformed").await;
}

#[tokio::test]
async fn with_a_bad_name_an_entry_is_malformed() {
    let long = "x".repeat(129);
    let mut cases = vec![
        with_data(&[("to_uid", "")], "to_uid"),
        with_data(&[("to_uid", "a b")], "to_uid"),
        with_data(&[("to_uid", "a{b")], "to_uid"),
        with_data(&[("to_uid", &long)], "to_uid"),
        with_data(&[("to_uids", r#"["ok","a b"]"#)], "to_uids"),
        with_data(&[("to_uids", "u")], "to_uids"),
        with_data(&[("to_uids", "[1]")], "to_uids"),
        with_data(&[("to_uids", r#"["a",""]"#)], "to_uids"),
        with_data(&[("tgid", "a}b")], "tgid"),
        with_data(&[("tgid", "a\nb")], "tgid"),
        with_data(&[("tgid", "g"), ("to_uid", "a b")], "to_uid"),
        with_data(&[("tgid_list", r#"["ok","\u0000"]"#)], "tgid_list"),
        with_data(&[("tgid_list", "{}")], "tgid_list"),
        with_data(&[("to_uid", "u"), ("except_uid", "a b")], "except_uid"),
        with_data(&[("to_uid", "u"), ("except_uid", r#"["ok","a b"]"#)], "except_uid"),
        with_data(&[("to_uid", "u"), ("except_uid", "[")], "except_uid"),
        with_data(&[("to_uid", "u"), ("id", "")], "id"),
        with_data(&[("to_uid", "u"), ("id", "not an id")], "id"),
        with_data(&[("to_uid", "u"), ("id", &long)], "id"),
    ];
    for name in ["to_uid", "tgid", "except_uid", "id"] {
        let mut fields = vec![(name, &b"\xff\xfe"[..]), ("data", b"{}")];
        if !matches!(name, "to_uid" | "tgid") {
            fields.push(("to_uid", b"u"));
        }
        cases.push((pairs(&fields), name));
    }
    all_die(cases, "malformed").await;
}

#[tokio::test]
async fn with_a_value_out_of_range_an_entry_is_malformed() {
    let long = "k".repeat(129);
    let beyond = (unix_ms() + 31 * 24 * 60 * 60 * 1_000).to_string();
    let good = ("data", "{}");
    let mut cases: Vec<Case> = [
        ("class", "lively"),
        ("class", "LIVE"),
        ("class", ""),
        ("priority", "urgent"),
        ("priority", ""),
        ("ttl_ms", "0"),
        ("ttl_ms", "-5"),
        ("ttl_ms", "1.5"),
        ("ttl_ms", " 5"),
        ("ttl_ms", ""),
        ("ttl_ms", "9007199254740992"),
        ("ttl_ms", "99999999999999999999"),
        ("deliver_at_ms", "later"),
        ("deliver_at_ms", &beyond),
        ("deliver_at_ms", "9007199254740991"),
        ("receipt", "yes"),
        ("all", "2"),
        ("key", ""),
        ("key", &long),
        ("key", "a\nb"),
    ]
    .into_iter()
    .map(|field| {
        let named = ["class", "priority", "ttl_ms", "deliver_at_ms", "receipt", "all", "key"];
        to_u(&[field, good], named.into_iter().find(|name| *name == field.0).unwrap())
    })
    .collect();
    cases.push(to_u(&[good, ("class", "latest")], "key"));
    cases.push(with_data(&[("all", "1"), ("class", "latest"), ("key", "k")], "class"));
    cases.push(with_data(&[("all", "1"), ("class", "durable")], "class"));
    cases.push(to_u(&[("raw", "x"), ("class", "durable")], "raw"));
    cases.push((pairs(&[("to_uid", &b"u"[..]), ("data", b"{}"), ("key", b"\xff")]), "key"));
    cases.push((pairs(&[("to_uid", &b"u"[..]), ("data", b"{}"), ("ttl_ms", b"\xff")]), "ttl_ms"));
    all_die(cases, "malformed").await;
}

#[tokio::test]
async fn with_a_bad_msg_an_entry_is_malformed() {
    let good = json!({ "to_uid": "u", "data": {} }).to_string();
    let msg = |object: serde_json::Value| pairs(&[("msg", object.to_string())]);
    let cases = vec![
        (pairs(&[("msg", "")]), "msg"),
        (pairs(&[("msg", "[]")]), "msg"),
        (pairs(&[("msg", "{")]), "msg"),
        (pairs(&[("msg", &b"{\"to_uid\":\"\xff\"}"[..])]), "msg"),
        (pairs(&[("msg", good.as_str()), ("to_uid", "u")]), "to_uid"),
        (pairs(&[("id", "x"), ("msg", &good)]), "id"),
        (pairs(&[("msg", good.as_str()), ("data", "{}")]), "data"),
        (msg(json!({ "msg": { "to_uid": "u", "data": {} } })), "msg"),
        (msg(json!({ "to_uid": "u" })), "data"),
        (msg(json!({ "data": {} })), "to_uid"),
        (msg(json!({ "to_uid": "u", "data": {}, "raw_b64": "eA==" })), "raw"),
        (msg(json!({ "to_uid": "u", "raw_b64": "!" })), "raw_b64"),
        (msg(json!({ "to_uid": "u", "raw": "x" })), "raw"),
        (msg(json!({ "to_uid": 5, "data": {} })), "to_uid"),
        (msg(json!({ "to_uid": "u", "data": {}, "ttl_ms": [1] })), "ttl_ms"),
        (msg(json!({ "to_uid": "u", "data": {}, "ttl_ms": -1 })), "ttl_ms"),
        (msg(json!({ "to_uid": "u", "data": {}, "mol": 1 })), "mol"),
    ];
    all_die(cases, "malformed").await;
}

#[tokio::test]
async fn with_too_many_targets_an_entry_is_malformed() {
    let names: Vec<String> = (0..10_001).map(|number| format!("u{number}")).collect();
    let names = json!(names).to_string();
    let cases = ["to_uids", "tgid_list"].map(|name| with_data(&[(name, &names)], name));
    let mut cases = cases.to_vec();
    cases.push(with_data(&[("to_uid", "u"), ("except_uid", &names)], "except_uid"));
    all_die(cases, "malformed").await;
}

#[tokio::test]
async fn an_entry_over_256_kib_is_too_large() {
    let one_more = "y".repeat(256 * 1024 - "to_uid".len() - "u".len() - "data".len() - r#"{"x":""}"#.len() + 1);
    let cases = vec![
        to_u(&[("data", &json!({ "x": one_more }).to_string())], "entry"),
        to_u(&[("data", "{}"), ("unknown", &"z".repeat(600 * 1024))], "entry"),
        (pairs(&[("msg", json!({ "to_uid": "u", "data": { "x": "y".repeat(1 << 20) } }).to_string())]), "entry"),
    ];
    all_die(cases, "too_large").await;
}

#[tokio::test]
async fn a_letter_of_what_cannot_be_read_names_no_targets() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    let raw = [("to_uid", "u"), ("class", "durable"), ("raw", "x")];
    for (n, fields) in [vec![("to_uid", "u"), ("data", "no")], raw.into()].into_iter().enumerate() {
        let letter = dies(&mut stage, &mut client, n, &pairs(&fields)).await;
        assert_eq!(letter.failed_targets(), json!([]), "{fields:?}");
    }
}

#[tokio::test]
async fn names_that_are_no_text_are_kept_as_they_were() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    let odd = (b"\xff\xfe name".to_vec(), b"\x00\r\n$5\r\n".to_vec());
    let mut bad = pairs(&[("to_uid", "u")]);
    bad.push(odd.clone());
    dies(&mut stage, &mut client, 0, &bad).await;
    // Unknown fields, whatever they are called, are no reason to die.
    let mut good = pairs(&[("to_uid", "u"), ("data", r#"{"n":1}"#)]);
    good.push(odd);
    stage.add(0, &good).await;
    client.expect_body(json!({ "n": 1 })).await;
}

#[tokio::test]
async fn of_very_many_fields_a_letter_keeps_three_thousand() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    let fields: Vec<(String, String)> = (0..9_000).map(|n| (format!("f{n}"), n.to_string())).collect();
    stage.add(0, &fields).await;
    stage.add(0, &[("to_uid", "u"), ("data", "{}")]).await;
    client.expect_body(json!({})).await;
    stage.settled().await;
    let letters = stage.letters(0).await;
    assert_eq!(letters[0].fields.len(), 3_000 + 6);
    assert_eq!((letters[0].text("f2999"), letters[0].text("gim_reason")), ("2999", "malformed"));
}

#[tokio::test]
async fn a_thousand_bad_entries_stop_no_good_one() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    let mut bytes = Vec::new();
    for n in 0..1_000 {
        let data = json!({ "n": n }).to_string();
        crate::stage::xadd(&mut bytes, &stage.keys.queue(0), "*", &[("to_uid", "u"), ("data", "bad")]);
        crate::stage::xadd(&mut bytes, &stage.keys.queue(0), "*", &[("to_uid", "u"), ("data", data.as_str())]);
    }
    stage.redis.send(&bytes).await;
    for n in 0..1_000 {
        client.expect_body(json!({ "n": n })).await;
    }
    for _ in 0..2_000 {
        stage.redis.reply().await;
    }
    stage.settled().await;
    let ids: Vec<String> = stage.letters(0).await.iter().map(|letter| letter.text("gim_entry").to_owned()).collect();
    assert_eq!(ids.len(), 1_000);
}
