use gim_proto::NameErrorKind::{Character, Empty, TooLong};
use gim_proto::{Keys, MessageId, NameErrorKind, NodeId, Tgid, Uid};

#[test]
fn users_and_groups_take_any_text_without_braces_space_and_control() {
    let long = "x".repeat(128);
    for good in ["42", "usuário", "a:b/c", "[x", "\"", "日本", "a\u{200b}b", "-", &long] {
        assert_eq!(Uid::parse(good).unwrap().as_str(), good);
        assert_eq!(Tgid::parse(good).unwrap().as_str(), good);
    }
}

#[test]
fn users_and_groups_refuse_what_would_break_a_key_or_a_log_line() {
    let long = "x".repeat(129);
    // 64 characters of two bytes and one more: bytes count.
    let wide = "é".repeat(64) + "e";
    let table: [(&str, NameErrorKind); 11] = [
        ("", Empty),
        (&long, TooLong { max: 128 }),
        (&wide, TooLong { max: 128 }),
        ("a b", Character { at: 1 }),
        ("a\u{a0}b", Character { at: 1 }),
        ("\u{2003}", Character { at: 0 }),
        ("é\n", Character { at: 2 }),
        ("a\u{7f}", Character { at: 1 }),
        ("a\u{85}", Character { at: 1 }),
        ("{a", Character { at: 0 }),
        ("a}", Character { at: 1 }),
    ];
    for (bad, kind) in table {
        let uid = Uid::parse(bad).unwrap_err();
        assert_eq!((uid.what, uid.kind), ("uid", kind), "{bad:?}");
        let tgid = Tgid::parse(bad).unwrap_err();
        assert_eq!((tgid.what, tgid.kind), ("tgid", kind), "{bad:?}");
    }
}

#[test]
fn nodes_and_messages_take_a_small_alphabet() {
    let alphabet = "ABCXYZabcxyz0189._:-";
    assert_eq!(NodeId::parse(alphabet).unwrap().as_str(), alphabet);
    assert_eq!(MessageId::parse(alphabet).unwrap().as_str(), alphabet);
    for bad in ["a/b", "a b", "ü", "a\0", "a{b}", "a+b"] {
        assert!(matches!(NodeId::parse(bad).unwrap_err().kind, Character { .. }), "{bad:?}");
        assert!(matches!(MessageId::parse(bad).unwrap_err().kind, Character { .. }), "{bad:?}");
        assert!(Keys::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn nodes_end_at_64_bytes_and_messages_at_128() {
    assert!(NodeId::parse(&"n".repeat(64)).is_ok());
    assert_eq!(NodeId::parse(&"n".repeat(65)).unwrap_err().kind, TooLong { max: 64 });
    assert!(MessageId::parse(&"m".repeat(128)).is_ok());
    assert_eq!(MessageId::parse(&"m".repeat(129)).unwrap_err().kind, TooLong { max: 128 });
    assert_eq!(NodeId::parse("").unwrap_err().kind, Empty);
    assert_eq!(MessageId::parse("").unwrap_err().kind, Empty);
}

#[test]
fn names_in_json_are_texts_that_keep_the_rule() {
    assert_eq!(serde_json::to_string(&Uid::parse("a\"b").unwrap()).unwrap(), r#""a\"b""#);
    assert_eq!(serde_json::from_str::<Uid>(r#""a\"b""#).unwrap().as_str(), "a\"b");
    assert!(serde_json::from_str::<Uid>(r#""a b""#).is_err());
    assert!(serde_json::from_str::<NodeId>("7").is_err());
}
