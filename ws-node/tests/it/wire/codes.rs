//! The tables of codes.

use gim_proto::codes::{CloseCode, ErrorCode};

#[test]
fn error_codes_have_the_numbers_and_names_of_the_wire() {
    let table = [
        (ErrorCode::Ok, 200, "OK"),
        (ErrorCode::UserOffline, 10_001, "USER_OFFLINE"),
        (ErrorCode::UserOnline, 10_002, "USER_ONLINE"),
        (ErrorCode::RpcClientNotFound, 20_001, "RPC_CLIENT_NOT_FOUND"),
        (ErrorCode::ParamsError, 20_002, "PARAMS_ERROR"),
        (ErrorCode::JsonError, 20_003, "JSON_ERROR"),
        (ErrorCode::NoHandleMsg, 20_004, "NO_HANDLE_MSG"),
        (ErrorCode::SendChanFull, 20_005, "SEND_CHAN_FULL"),
        (ErrorCode::Forbidden, 20_006, "FORBIDDEN"),
        (ErrorCode::HandlerFailed, 20_007, "HANDLER_FAILED"),
        (ErrorCode::HandlerTimeout, 20_008, "HANDLER_TIMEOUT"),
        (ErrorCode::RateLimited, 20_009, "RATE_LIMITED"),
    ];
    for (code, number, name) in table {
        assert_eq!((code.code(), code.name()), (number, name));
    }
}

#[test]
fn close_codes_have_the_numbers_of_the_wire() {
    let table = [
        (CloseCode::Normal, 1000),
        (CloseCode::GoingAway, 1001),
        (CloseCode::ProtocolError, 1002),
        (CloseCode::BadUtf8, 1007),
        (CloseCode::TooBig, 1009),
        (CloseCode::Restarting, 1012),
        (CloseCode::Overloaded, 1013),
        (CloseCode::SlowConsumer, 4001),
        (CloseCode::HeartbeatLost, 4002),
        (CloseCode::Fenced, 4003),
        (CloseCode::Unauthorized, 4500),
        (CloseCode::Replaced, 4501),
        (CloseCode::BadFrames, 4502),
        (CloseCode::Kicked, 4503),
        (CloseCode::AlreadyConnected, 4504),
    ];
    for (code, number) in table {
        assert_eq!(code.code(), number, "{code:?}");
    }
}
