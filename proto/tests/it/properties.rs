use gim_proto::frame::{self, ClientFrame, MsgType};
use gim_proto::websocket::{
    Opcode, offers_deflate, parse_close, parse_header, parse_header_with_deflate, unmask, write_header,
};
use gim_proto::{Entry, EntryId, Fields, MessageId, NodeId, Payload, SessionId, Tgid, Uid};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value};

fn name() -> impl Strategy<Value = String> {
    "[^\\s\\p{Cc}{}]{1,40}"
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((any::<String>(), inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    vec((any::<String>(), value()), 0..5).prop_map(|members| members.into_iter().collect())
}

/// Fields that are often nearly right.
fn fields() -> impl Strategy<Value = Fields> {
    let field = prop::sample::select(vec![
        "to_uid",
        "to_uids",
        "tgid",
        "tgid_list",
        "all",
        "except_uid",
        "data",
        "mol",
        "ctrl",
        "raw",
        "id",
        "class",
        "key",
        "ttl_ms",
        "deliver_at_ms",
        "priority",
        "receipt",
        "traceparent",
        "msg",
        "raw_b64",
        "c_time",
        "other",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec!["", "1", "0", "42", "{}", "[]", "[\"a\"]", "latest", "durable", "high", "null", "{"])
            .prop_map(|text| text.as_bytes().to_vec()),
        value().prop_map(|value| value.to_string().into_bytes()),
        vec(any::<u8>(), 0..20),
    ];
    vec((field, value), 0..8).prop_map(|pairs| pairs.into_iter().collect())
}

fn acceptable(pairs: &[(&str, String)]) -> Fields {
    pairs.iter().map(|(name, value)| (*name, value.clone())).collect()
}

proptest! {
    #[test]
    fn no_decoder_panics_on_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        let _ = ClientFrame::decode(&bytes);
        let _ = parse_close(&bytes);
        let _ = parse_header(&bytes);
        if let Ok(Some(header)) = parse_header_with_deflate(&bytes) {
            // The one difference is the bit of the beginning of a message.
            prop_assert_eq!(parse_header(&bytes).is_ok(), !header.compressed);
        }
        let _ = offers_deflate(&String::from_utf8_lossy(&bytes));
        if let Ok(fields) = Fields::from_json(&bytes) {
            let _ = Entry::decode(&fields);
        }
        let _ = Entry::decode(&[("to_uid", &b"1"[..]), ("data", &bytes)].into_iter().map(|(n, v)| (n, v.to_vec())).collect());
        let _ = Entry::decode(&[("msg", bytes)].into_iter().collect());
    }

    #[test]
    fn no_parser_panics_on_any_text(text in any::<String>()) {
        let _ = (Uid::parse(&text), NodeId::parse(&text), SessionId::parse(&text), EntryId::parse(&text));
        let _ = Fields::from_json(text.as_bytes());
        let _ = ClientFrame::decode(text.as_bytes());
    }

    #[test]
    fn fields_that_are_nearly_right_decode_or_are_refused(fields in fields()) {
        match Entry::decode(&fields) {
            Ok(Entry { payload: Payload::Json(json), .. }) => {
                prop_assert!(serde_json::from_slice::<Map<String, Value>>(&json).is_ok());
            }
            Ok(_) => {}
            Err(error) => prop_assert!(!error.field.is_empty() && !error.detail.is_empty()),
        }
        let _ = fields.to_json();
    }

    #[test]
    fn what_is_shown_as_json_decodes_to_the_same_entry(
        to in vec(name(), 1..4),
        except in option::of(name()),
        data in object(),
        ttl in option::of(1_u64..1 << 53),
        id in option::of("[A-Za-z0-9._:-]{1,20}"),
        mol in option::of(".{1,20}"),
    ) {
        let mut pairs = vec![("to_uids", serde_json::to_string(&to).unwrap()), ("data", Value::Object(data).to_string())];
        pairs.extend(except.map(|except| ("except_uid", serde_json::to_string(&[except]).unwrap())));
        pairs.extend(ttl.map(|ttl| ("ttl_ms", ttl.to_string())));
        pairs.extend(id.map(|id| ("id", id)));
        pairs.extend(mol.map(|mol| ("mol", mol)));
        let fields = acceptable(&pairs);
        let shown = fields.to_json().to_string();
        let again = Fields::from_json(shown.as_bytes()).unwrap();
        prop_assert_eq!(Entry::decode(&again).unwrap(), Entry::decode(&fields).unwrap());
        prop_assert_eq!(again.to_json().to_string(), shown);
    }

    #[test]
    fn raw_bytes_survive_json(raw in vec(any::<u8>(), 1..100)) {
        let fields: Fields = [("to_uid", b"1".to_vec()), ("raw", raw)].into_iter().collect();
        let again = Fields::from_json(fields.to_json().to_string().as_bytes()).unwrap();
        prop_assert_eq!(Entry::decode(&again).unwrap(), Entry::decode(&fields).unwrap());
    }

    #[test]
    fn compacting_keeps_the_value_and_ends_as_serde_writes_it(data in object()) {
        let spaced = serde_json::to_string_pretty(&data).unwrap();
        let entry = Entry::decode(&acceptable(&[("to_uid", "1".to_owned()), ("data", spaced)])).unwrap();
        let Payload::Json(json) = entry.payload else { panic!("raw") };
        prop_assert_eq!(json, serde_json::to_string(&data).unwrap());
    }

    #[test]
    fn masking_twice_changes_nothing(payload in vec(any::<u8>(), 0..200), mask in any::<[u8; 4]>(), offset in any::<usize>()) {
        let mut bytes = payload.clone();
        unmask(&mut bytes, mask, offset);
        let slow: Vec<u8> =
            payload.iter().enumerate().map(|(at, byte)| byte ^ mask[(at % 4 + offset % 4) % 4]).collect();
        prop_assert_eq!(&bytes, &slow);
        unmask(&mut bytes, mask, offset);
        prop_assert_eq!(bytes, payload);
    }

    #[test]
    fn headers_are_read_as_written(len in prop_oneof![0_usize..300, 65_000_usize..66_000, any::<u32>().prop_map(|len| len as usize)]) {
        let mut bytes = Vec::new();
        write_header(&mut bytes, Opcode::Text, len);
        for cut in 0..bytes.len() {
            prop_assert_eq!(parse_header(&bytes[..cut]), Ok(None));
        }
        let header = parse_header(&bytes).unwrap().unwrap();
        prop_assert_eq!((header.len, header.size), (len as u64, bytes.len()));
        prop_assert!(header.fin && header.mask.is_none() && header.opcode == Opcode::Text);
    }

    #[test]
    fn users_and_groups_accept_exactly_the_rule(text in prop_oneof![any::<String>(), name(), ".{120,140}"]) {
        let rule = (1..=128).contains(&text.len())
            && !text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '{' || c == '}');
        prop_assert_eq!(Uid::parse(&text).is_ok(), rule);
        prop_assert_eq!(Tgid::parse(&text).is_ok(), rule);
    }

    #[test]
    fn message_ids_accept_exactly_the_rule(text in prop_oneof![any::<String>(), "[A-Za-z0-9._:-]{0,140}", "[ -~]{1,8}"]) {
        let token = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
        prop_assert_eq!(MessageId::parse(&text).is_ok(), token && (1..=128).contains(&text.len()));
        prop_assert_eq!(NodeId::parse(&text).is_ok(), token && (1..=64).contains(&text.len()));
    }

    #[test]
    fn entry_ids_have_one_spelling(ms in any::<u64>(), seq in any::<u64>(), text in "[0-9+-]{0,12}") {
        let id = EntryId { ms, seq };
        prop_assert_eq!(EntryId::parse(&id.to_string()).unwrap(), id);
        let mut written = Vec::new();
        id.write(&mut written);
        prop_assert_eq!(written, id.to_string().into_bytes());
        if let Ok(id) = EntryId::parse(&text) {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn a_push_is_json_with_its_keys_in_order(
        a in object(),
        id in option::of("[A-Za-z0-9._:-]{1,20}"),
        offset in option::of(1_u64..1 << 53),
    ) {
        let mut out = Vec::new();
        let id = id.map(|id| MessageId::parse(&id).unwrap());
        frame::push(&mut out, MsgType::User, id.as_ref(), offset, serde_json::to_string(&a).unwrap().as_bytes());
        let text = String::from_utf8(out).unwrap();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&parsed["response"]["a"], &Value::Object(a));
        prop_assert_eq!(parsed.get("id").and_then(Value::as_str), id.as_ref().map(MessageId::as_str));
        prop_assert_eq!(parsed.get("offset").and_then(Value::as_u64), offset);
        let order = ["{\"seq\":", "\"cmd\":", "\"msgType\":", "\"response\":{\"s\":", "\"a\":"];
        let places: Vec<Option<usize>> = order.iter().map(|key| text.find(key)).collect();
        prop_assert!(places.iter().all(Option::is_some) && places.is_sorted());
    }

    #[test]
    fn a_reply_echoes_any_text(seq in any::<String>(), cmd in any::<String>()) {
        let mut out = Vec::new();
        frame::reply(&mut out, &seq, &cmd, b"{}");
        let parsed: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!((parsed["seq"].as_str().unwrap(), parsed["cmd"].as_str().unwrap()), (&*seq, &*cmd));
    }

    #[test]
    fn a_client_frame_is_read_as_written(seq in ".{0,60}", cmd in ".{0,30}", data in option::of(object())) {
        let json = serde_json::json!({"seq": seq, "cmd": cmd, "data": data}).to_string();
        let frame = ClientFrame::decode(json.as_bytes()).unwrap();
        prop_assert_eq!(frame, ClientFrame { seq, cmd, data });
    }
}
