//! The message both servers send: a payload that says when it was due and which of its receiver's it is, in the
//! envelope that clients of a node see.

/// A payload is at most this long.
pub const MAX_PAYLOAD: usize = 16_384;

/// A payload is at least this long: the stamp, the number and the JSON around them.
pub const MIN_PAYLOAD: usize =
    PAYLOAD_HEAD.len() + STAMP_DIGITS + PAYLOAD_NUMBER.len() + NUMBER_DIGITS + PAYLOAD_PAD.len() + PAYLOAD_TAIL.len();

const PAYLOAD_HEAD: &str = r#"{"at":""#;
const PAYLOAD_NUMBER: &str = r#"","no":""#;
const PAYLOAD_PAD: &str = r#"","pad":""#;
const PAYLOAD_TAIL: &str = r#""}"#;
/// Every stamp is written with all digits a `u64` can have, so that all frames have one length.
const STAMP_DIGITS: usize = 20;
const NUMBER_DIGITS: usize = 10;

/// What a message tells the load client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was due, in nanoseconds of the monotonic clock.
    pub due: u64,
    /// Which of its receiver's messages of this series it is, counted from 1.
    pub number: u64,
    /// What is in order among itself: the messages to one group, where a connection is in several.
    pub series: usize,
}

/// Where in a frame a stamp was found last: as a rule the next frame has it in the same place.
#[derive(Debug, Default)]
pub struct Stamps {
    at: usize,
}

/// The first digit of a number is its series.
const SERIES: u64 = 1_000_000_000;

/// The number of a message of a series, 0 to 9.
#[must_use]
pub const fn numbered(series: u64, number: u64) -> u64 {
    series * SERIES + number
}

/// Writes a JSON object of exactly `bytes` bytes that carries the stamp.
#[must_use]
pub fn payload(due: u64, number: u64, bytes: usize) -> String {
    let pad = bytes.saturating_sub(MIN_PAYLOAD);
    format!("{PAYLOAD_HEAD}{due:020}{PAYLOAD_NUMBER}{number:010}{PAYLOAD_PAD}{:x<pad$}{PAYLOAD_TAIL}", "")
}

/// The message id. Given by the producer, because ids made by a queue differ in length.
#[must_use]
pub fn id(due: u64) -> String {
    format!("bench-{due:020}")
}

/// What a node makes of the place of an entry that has no id, one of several in a millisecond.
#[must_use]
pub fn id_of_place(due: u64, nth: u64) -> String {
    // Redis' clock has 13 digits until the year 2286; this one, since the machine started, is filled up to as many.
    format!("0-{:013}-{nth}", due / 1_000_000)
}

/// What a member of a group gets to see, as a node on `/ws` writes it. The load client checks the length.
#[must_use]
pub fn envelope(id: &str, due: u64, number: u64, payload_bytes: usize) -> String {
    let payload = payload(due, number, payload_bytes);
    format!(r#"{{"seq":"","cmd":"","msgType":2,"id":"{id}","response":{{"s":1,"a":{payload}}}}}"#)
}

impl Stamps {
    /// Finds the stamp in a frame, if it is one of these messages.
    #[must_use]
    pub fn find(&mut self, frame: &[u8]) -> Option<Stamp> {
        let head = PAYLOAD_HEAD.as_bytes();
        if !frame.get(self.at..).is_some_and(|rest| rest.starts_with(head)) {
            self.at = frame.windows(head.len()).position(|window| window == head)?;
        }
        let stamp = frame.get(self.at + head.len()..)?;
        let rest = stamp.get(STAMP_DIGITS..)?.strip_prefix(PAYLOAD_NUMBER.as_bytes())?;
        let number = digits(rest.get(..NUMBER_DIGITS)?)?;
        let series = usize::try_from(number / SERIES).ok()?;
        Some(Stamp { due: digits(&stamp[..STAMP_DIGITS])?, number: number % SERIES, series })
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// Finds the offset in a frame, if it is a durable one's.
#[must_use]
pub fn offset_in(frame: &[u8]) -> Option<u64> {
    number_behind(br#","offset":"#, frame)
}

/// Finds the epoch of the mailbox in a welcome.
#[must_use]
pub fn epoch_in(frame: &[u8]) -> Option<u64> {
    number_behind(br#""epoch":"#, frame)
}

fn number_behind(name: &[u8], frame: &[u8]) -> Option<u64> {
    let at = frame.windows(name.len()).position(|window| window == name)? + name.len();
    digits(frame.get(at..)?.split(|byte| !byte.is_ascii_digit()).next().filter(|digits| !digits.is_empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_exactly_the_length_asked_for() {
        assert_eq!(payload(7, 1, 128).len(), 128);
        assert_eq!(payload(u64::MAX, 1, MIN_PAYLOAD).len(), MIN_PAYLOAD);
    }

    #[test]
    fn the_stamp_comes_back_out_of_the_envelope() {
        let mut stamps = Stamps::default();
        for (id, series) in [("a", 0), ("a", 3), ("longer", 1)] {
            let frame = envelope(id, 1_234_567, numbered(series, 42), 128);
            let stamp = Stamp { due: 1_234_567, number: 42, series: usize::try_from(series).unwrap() };
            assert_eq!(stamps.find(frame.as_bytes()), Some(stamp));
            assert_eq!(stamps.find(br#"{"seq":"1","cmd":"gim.join","msgType":1}"#), None);
        }
    }

    #[test]
    fn an_offset_is_found_where_there_is_one() {
        let durable = br#"{"seq":"","cmd":"","msgType":3,"id":"a","offset":42,"response":{"s":1,"a":{}}}"#;
        assert_eq!(offset_in(durable), Some(42));
        assert_eq!(offset_in(envelope("a", 1, 42, 128).as_bytes()), None);
    }

    #[test]
    fn the_envelope_is_a_json_frame_with_the_id() {
        let frame: serde_json::Value = serde_json::from_str(&envelope(&id(5), 5, 1, 64)).unwrap();
        assert_eq!(frame["id"], "bench-00000000000000000005");
        assert_eq!(frame["response"]["a"]["at"], "00000000000000000005");
    }
}
