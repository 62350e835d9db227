use gim_proto::{CloseCode, ErrorCode, Reconnect};

#[test]
fn error_codes_have_their_numbers_and_names() {
    let table = [
        (ErrorCode::Ok, 200, "OK"),
        (ErrorCode::UserOffline, 10001, "USER_OFFLINE"),
        (ErrorCode::UserOnline, 10002, "USER_ONLINE"),
        (ErrorCode::RpcClientNotFound, 20001, "RPC_CLIENT_NOT_FOUND"),
        (ErrorCode::ParamsError, 20002, "PARAMS_ERROR"),
        (ErrorCode::JsonError, 20003, "JSON_ERROR"),
        (ErrorCode::NoHandleMsg, 20004, "NO_HANDLE_MSG"),
        (ErrorCode::SendChanFull, 20005, "SEND_CHAN_FULL"),
        (ErrorCode::Forbidden, 20006, "FORBIDDEN"),
        (ErrorCode::HandlerFailed, 20007, "HANDLER_FAILED"),
        (ErrorCode::HandlerTimeout, 20008, "HANDLER_TIMEOUT"),
        (ErrorCode::RateLimited, 20009, "RATE_LIMITED"),
    ];
    assert_eq!(table.map(|(code, ..)| code), ErrorCode::ALL);
    for (code, number, name) in table {
        assert_eq!((code.code(), code.name()), (number, name));
        assert_eq!(ErrorCode::from_code(number), Some(code));
    }
    assert_eq!(ErrorCode::from_code(20010), None);
}

#[test]
fn close_codes_tell_the_client_what_to_do() {
    let table = [
        (CloseCode::Normal, 1000, Reconnect::Free),
        (CloseCode::GoingAway, 1001, Reconnect::Free),
        (CloseCode::ProtocolError, 1002, Reconnect::NotRepeating),
        (CloseCode::BadUtf8, 1007, Reconnect::NotRepeating),
        (CloseCode::TooBig, 1009, Reconnect::NotRepeating),
        (CloseCode::Restarting, 1012, Reconnect::AfterHint),
        (CloseCode::Overloaded, 1013, Reconnect::AfterHint),
        (CloseCode::SlowConsumer, 4001, Reconnect::Yes),
        (CloseCode::HeartbeatLost, 4002, Reconnect::Yes),
        (CloseCode::Fenced, 4003, Reconnect::Yes),
        (CloseCode::Unauthorized, 4500, Reconnect::NewToken),
        (CloseCode::Replaced, 4501, Reconnect::No),
        (CloseCode::BadFrames, 4502, Reconnect::No),
        (CloseCode::Kicked, 4503, Reconnect::No),
        (CloseCode::AlreadyConnected, 4504, Reconnect::No),
    ];
    assert_eq!(table.map(|(code, ..)| code), CloseCode::ALL);
    for (code, number, reconnect) in table {
        assert_eq!((code.code(), code.reconnect()), (number, reconnect));
        assert_eq!(CloseCode::from_code(number), Some(code));
    }
    assert_eq!(CloseCode::from_code(1006), None);
}

#[test]
fn close_codes_have_words_that_differ() {
    let mut words = CloseCode::ALL.map(CloseCode::name).to_vec();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), CloseCode::ALL.len());
}
