use gim_proto::frame::{self, Dialect, GapReason, MsgType, Notice};
use gim_proto::{CloseCode, ErrorCode, Fence, MessageId, NodeId, SessionId, Tgid};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    // What is in the buffer already stays.
    let mut out = b"HEAD".to_vec();
    write(&mut out);
    String::from_utf8(out).unwrap().strip_prefix("HEAD").unwrap().to_owned()
}

fn id() -> MessageId {
    MessageId::parse("order-1").unwrap()
}

#[test]
fn a_user_push_on_ws_carries_its_id() {
    let bytes = written(|out| frame::push(out, MsgType::User, Some(&id()), None, br#"{"n":1}"#));
    assert_eq!(bytes, r#"{"seq":"","cmd":"","msgType":3,"id":"order-1","response":{"s":1,"a":{"n":1}}}"#);
}

#[test]
fn a_durable_push_carries_id_and_offset() {
    let bytes = written(|out| frame::push(out, MsgType::User, Some(&id()), Some(1), b"{}"));
    assert_eq!(bytes, r#"{"seq":"","cmd":"","msgType":3,"id":"order-1","offset":1,"response":{"s":1,"a":{}}}"#);
}

#[test]
fn a_live_push_on_acc_is_as_old_clients_know_it() {
    let user = written(|out| frame::push(out, MsgType::User, None, None, br#"{"n":1}"#));
    assert_eq!(user, r#"{"seq":"","cmd":"","msgType":3,"response":{"s":1,"a":{"n":1}}}"#);
    let group = written(|out| frame::push(out, MsgType::Group, None, None, br#"{"n":1}"#));
    assert_eq!(group, r#"{"seq":"","cmd":"","msgType":2,"response":{"s":1,"a":{"n":1}}}"#);
}

#[test]
fn a_reply_echoes_seq_and_cmd() {
    let bytes = written(|out| frame::reply(out, "7\"\n", "chat.say<é>", br#"{"now_ms":5}"#));
    assert_eq!(bytes, r#"{"seq":"7\"\n","cmd":"chat.say<é>","msgType":1,"response":{"s":1,"a":{"now_ms":5}}}"#);
    let nothing = written(|out| frame::reply(out, "", "", b"null"));
    assert_eq!(nothing, r#"{"seq":"","cmd":"","msgType":1,"response":{"s":1,"a":null}}"#);
}

#[test]
fn an_error_on_ws_has_s_0_and_a_code() {
    let bytes = written(|out| frame::error(out, Dialect::Ws, "7", "x", ErrorCode::NoHandleMsg, "no \"x\""));
    assert_eq!(
        bytes,
        r#"{"seq":"7","cmd":"x","msgType":1,"response":{"s":0,"a":{"system":{"error":{"code":20004,"msg":"no \"x\""}}}}}"#
    );
}

#[test]
fn an_error_on_acc_keeps_s_1_and_the_old_spelling() {
    let bytes = written(|out| frame::error(out, Dialect::Acc, "7", "x", ErrorCode::JsonError, "JSON_ERROR"));
    assert_eq!(
        bytes,
        concat!(
            r#"{"seq":"7","cmd":"x","msgType":1,"response":{"s":1,"a":{"system":{"#,
            r#""errror":{"type":0,"msg":"JSON_ERROR"},"error":{"code":20003,"msg":"JSON_ERROR"}}}}}"#
        )
    );
}

#[test]
fn the_welcome_says_where_the_client_is() {
    let welcome = Notice::Welcome {
        node: NodeId::parse("host-8091").unwrap(),
        session: SessionId::parse("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(),
        fence: Fence(1_700_000_000_000_000),
        epoch: 2,
        offset: 0,
        ping_ms: 25_000,
        groups: vec![Tgid::parse("a\"b").unwrap(), Tgid::parse("room").unwrap()],
    };
    assert_eq!(
        written(|out| frame::notice(out, &welcome)),
        concat!(
            r#"{"seq":"","cmd":"gim.welcome","msgType":4,"response":{"s":1,"a":{"node":"host-8091","#,
            r#""session":"01ARZ3NDEKTSV4RRFFQ69G5FAV","fence":1700000000000000,"epoch":2,"offset":0,"#,
            r#""ping_ms":25000,"groups":["a\"b","room"]}}}"#
        )
    );
}

#[test]
fn a_closing_notice_names_the_code_and_the_hint_if_there_is_one() {
    let closing = |code, reason: &str, after_ms| Notice::Closing { code, reason: reason.to_owned(), after_ms };
    assert_eq!(
        written(|out| frame::notice(out, &closing(CloseCode::Restarting, "restart", Some(1500)))),
        r#"{"seq":"","cmd":"gim.notice","msgType":4,"response":{"s":1,"a":{"code":1012,"reason":"restart","after_ms":1500}}}"#
    );
    assert_eq!(
        written(|out| frame::notice(out, &closing(CloseCode::Kicked, "", None))),
        r#"{"seq":"","cmd":"gim.notice","msgType":4,"response":{"s":1,"a":{"code":4503,"reason":""}}}"#
    );
}

#[test]
fn a_gap_names_its_bounds_and_why() {
    for (reason, word) in
        [(GapReason::Expired, "expired"), (GapReason::Trimmed, "trimmed"), (GapReason::Reset, "reset")]
    {
        assert_eq!(
            written(|out| frame::notice(out, &Notice::Gap { from: 3, to: 9, reason, epoch: None })),
            format!(
                r#"{{"seq":"","cmd":"gim.gap","msgType":4,"response":{{"s":1,"a":{{"from":3,"to":9,"reason":"{word}"}}}}}}"#
            )
        );
        assert_eq!(reason.as_str(), word);
    }
}

#[test]
fn a_gap_of_a_reset_names_the_new_epoch() {
    let reset = Notice::Gap { from: 1, to: 0, reason: GapReason::Reset, epoch: Some(7) };
    assert_eq!(
        written(|out| frame::notice(out, &reset)),
        r#"{"seq":"","cmd":"gim.gap","msgType":4,"response":{"s":1,"a":{"from":1,"to":0,"reason":"reset","epoch":7}}}"#
    );
}
