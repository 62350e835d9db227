use gim_proto::ErrorCode::{self, JsonError, ParamsError};
use gim_proto::frame::{ClientFrame, FrameError};
use serde_json::json;

fn refused(bytes: &[u8]) -> FrameError {
    ClientFrame::decode(bytes).unwrap_err()
}

#[test]
fn a_frame_has_seq_cmd_and_data() {
    let frame = ClientFrame::decode(br#" {"seq":"7","cmd":"chat.say","data":{"b":1,"a":[null]},"more":[1]} "#).unwrap();
    assert_eq!((frame.seq.as_str(), frame.cmd.as_str()), ("7", "chat.say"));
    assert_eq!(serde_json::Value::Object(frame.data.unwrap()), json!({"a": [null], "b": 1}));
}

#[test]
fn what_is_absent_or_null_is_empty() {
    for bytes in [&b"{}"[..], br#"{"seq":null,"cmd":null,"data":null}"#, br#"{"seq":"","cmd":""}"#] {
        assert_eq!(ClientFrame::decode(bytes).unwrap(), ClientFrame::default());
    }
}

#[test]
fn of_members_with_the_same_name_the_last_counts() {
    let frame = ClientFrame::decode(br#"{"seq":"1","seq":"2","data":5,"data":{}}"#).unwrap();
    assert_eq!(frame.seq, "2");
    assert!(frame.data.unwrap().is_empty());
}

#[test]
fn what_cannot_be_read_echoes_what_could_be() {
    let table: [(&[u8], ErrorCode, &str, &str); 16] = [
        (b"", JsonError, "", ""),
        (b"hello", JsonError, "", ""),
        (b"[]", JsonError, "", ""),
        (b"\"x\"", JsonError, "", ""),
        (b"null", JsonError, "", ""),
        (b"{} x", JsonError, "", ""),
        (br#"{"seq":"7","cmd":"a","#, JsonError, "7", "a"),
        (br#"{"seq":"7","data":{"x":},"cmd":"a"}"#, JsonError, "7", ""),
        (br#"{"seq":7,"cmd":"a"}"#, JsonError, "", "a"),
        (br#"{"cmd":["a"],"seq":"7"}"#, JsonError, "7", ""),
        (br#"{"seq":7,"cmd":"a","data":1}"#, JsonError, "", "a"),
        (br#"{"data":1,"seq":"7","cmd":"a"}"#, ParamsError, "7", "a"),
        (br#"{"data":"x","seq":"7","cmd":"a"}"#, ParamsError, "7", "a"),
        (br#"{"data":[],"seq":"7","cmd":"a"}"#, ParamsError, "7", "a"),
        (b"{\"seq\":\"7\",\"cmd\":\"\xff\"}", JsonError, "7", ""),
        (b"{\"seq\":\"7\",\"other\":\"\xff\",\"cmd\":\"a\"}", JsonError, "7", "a"),
    ];
    for (bytes, code, seq, cmd) in table {
        let error = refused(bytes);
        let text = String::from_utf8_lossy(bytes);
        assert_eq!((error.code, error.seq.as_str(), error.cmd.as_str()), (code, seq, cmd), "{text}");
        assert!(!error.detail.is_empty());
    }
}

#[test]
fn seq_ends_at_256_bytes_and_cmd_at_128() {
    let frame = |seq: usize, cmd: usize| json!({"seq": "s".repeat(seq), "cmd": "c".repeat(cmd)}).to_string();
    assert!(ClientFrame::decode(frame(256, 128).as_bytes()).is_ok());
    let long_seq = refused(frame(257, 3).as_bytes());
    assert_eq!((long_seq.code, long_seq.seq.as_str(), long_seq.cmd.as_str()), (ParamsError, "", "ccc"));
    let long_cmd = refused(frame(3, 129).as_bytes());
    assert_eq!((long_cmd.code, long_cmd.seq.as_str(), long_cmd.cmd.as_str()), (ParamsError, "sss", ""));
}

#[test]
fn deep_nesting_is_an_error_wherever_it_is() {
    for member in ["data", "seq", "cmd"] {
        let deep = format!(r#"{{"{member}":{}"#, r#"{"a":"#.repeat(100_000));
        assert_eq!(refused(deep.as_bytes()).code, JsonError, "{member}");
    }
    assert_eq!(refused("[".repeat(100_000).as_bytes()).code, JsonError);
    // Passed over without going down.
    let unknown = format!(r#"{{"x":{}{},"cmd":"a"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(ClientFrame::decode(unknown.as_bytes()).unwrap().cmd, "a");
}

#[test]
fn an_error_does_not_quote_a_long_frame() {
    let text = format!("\"{}\"", "é".repeat(10_000));
    assert!(refused(text.as_bytes()).detail.len() <= 200);
}
