//! The message both servers send: a payload that says when it was due, in the envelope that clients of a node see.

/// A payload is at least this long: the stamp and the JSON around it.
pub(crate) const MIN_PAYLOAD: usize = PAYLOAD_HEAD.len() + STAMP_DIGITS + PAYLOAD_MIDDLE.len() + PAYLOAD_TAIL.len();

const PAYLOAD_HEAD: &str = r#"{"at":""#;
const PAYLOAD_MIDDLE: &str = r#"","pad":""#;
const PAYLOAD_TAIL: &str = r#""}"#;
/// Every stamp is written with all digits a `u64` can have, so that all frames have one length.
const STAMP_DIGITS: usize = 20;

/// Writes a JSON object of exactly `bytes` bytes that carries the stamp.
pub(crate) fn payload(stamp: u64, bytes: usize) -> String {
    let pad = "x".repeat(bytes.saturating_sub(MIN_PAYLOAD));
    format!("{PAYLOAD_HEAD}{stamp:020}{PAYLOAD_MIDDLE}{pad}{PAYLOAD_TAIL}")
}

/// The message id. Given by the producer, because ids made by a queue differ in length.
pub(crate) fn id(stamp: u64) -> String {
    format!("bench-{stamp:020}")
}

/// What a member of a group gets to see, as a node on `/ws` writes it. The load client checks the length.
pub(crate) fn envelope(stamp: u64, payload_bytes: usize) -> String {
    let (id, payload) = (id(stamp), payload(stamp, payload_bytes));
    format!(r#"{{"seq":"","cmd":"","msgType":2,"id":"{id}","response":{{"s":1,"a":{payload}}}}}"#)
}

/// Finds the stamp in a frame, if it is one of these messages.
pub(crate) fn stamp_in(frame: &[u8]) -> Option<u64> {
    let head = PAYLOAD_HEAD.as_bytes();
    let at = frame.windows(head.len()).position(|window| window == head)? + head.len();
    let digits = std::str::from_utf8(frame.get(at..at + STAMP_DIGITS)?).ok()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_exactly_the_length_asked_for() {
        assert_eq!(payload(7, 128).len(), 128);
        assert_eq!(payload(u64::MAX, MIN_PAYLOAD).len(), MIN_PAYLOAD);
    }

    #[test]
    fn the_stamp_comes_back_out_of_the_envelope() {
        assert_eq!(stamp_in(envelope(1_234_567, 128).as_bytes()), Some(1_234_567));
        assert_eq!(stamp_in(br#"{"seq":"1","cmd":"gim.join","msgType":1}"#), None);
    }

    #[test]
    fn the_envelope_is_a_json_frame_with_the_id() {
        let frame: serde_json::Value = serde_json::from_str(&envelope(5, 64)).unwrap();
        assert_eq!(frame["id"], "bench-00000000000000000005");
        assert_eq!(frame["response"]["a"]["at"], "00000000000000000005");
    }
}
