//! Times and durations as people write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// Digits of `+hh:mm`.
const OFFSET: usize = 6;

/// Reads a duration such as `1m 30s`.
pub(super) fn any(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// Reads a duration that is more than nothing.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match any(text)? {
        Duration::ZERO => Err("must be more than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a time as Unix milliseconds: such a number, or RFC 3339 with `Z` or an offset.
pub(super) fn unix_ms(text: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| "is too large".to_owned());
    }
    let (utc, offset) = split_offset(text)?;
    let time = humantime::parse_rfc3339(&utc)
        .map_err(|_| "is neither Unix milliseconds nor of the form 2030-01-31T12:00:00Z".to_owned())?;
    let seconds = Duration::from_secs(offset.unsigned_abs());
    let time = if offset < 0 { time.checked_add(seconds) } else { time.checked_sub(seconds) };
    time.map(ms_of).ok_or_else(|| "is out of range".to_owned())
}

/// Unix milliseconds of now.
pub(super) fn now_ms() -> u64 {
    ms_of(SystemTime::now())
}

/// Milliseconds of a duration.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Shows a time to the second.
pub(super) fn show_time(unix_ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
    // The formatter knows four digits of a year.
    match time.filter(|_| unix_ms < 253_402_300_800_000) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => unix_ms.to_string(),
    }
}

/// Shows an age, from ten seconds on without what nobody reads.
pub(super) fn show_age(ms: u64) -> String {
    let age = if ms >= 10_000 { Duration::from_secs(ms / 1_000) } else { Duration::from_millis(ms) };
    humantime::format_duration(age).to_string()
}

/// Shows a moment to the microsecond, in UTC and without its day.
pub(super) fn show_moment(unix_us: u64) -> String {
    let (seconds, us) = (unix_us / 1_000_000 % (24 * HOUR), unix_us % 1_000_000);
    let (hours, minutes) = (seconds / HOUR, seconds % HOUR / MINUTE);
    format!("{hours:02}:{minutes:02}:{:02}.{us:06}", seconds % MINUTE)
}

/// Shows a short span in one unit.
pub(super) fn show_span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{}.{:03}ms", us / 1_000, us % 1_000),
        _ => format!("{}.{:03}s", us / 1_000_000, us % 1_000_000 / 1_000),
    }
}

fn ms_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, ms)
}

/// Splits `+hh:mm` or `-hh:mm` off and puts a `Z` in its place. The offset in seconds.
fn split_offset(text: &str) -> Result<(String, i64), String> {
    let split = text.len().checked_sub(OFFSET).filter(|at| text.is_char_boundary(*at));
    let Some((time, offset)) = split.map(|at| text.split_at(at)) else { return Ok((text.to_owned(), 0)) };
    let sign = match offset.get(..1) {
        Some("+") => 1,
        Some("-") if time.contains(['T', 't']) => -1,
        _ => return Ok((text.to_owned(), 0)),
    };
    let digits = |range: std::ops::Range<usize>, below: u64| {
        let digits = offset.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).filter(|number: &u64| *number < below)
    };
    match (digits(1..3, 24), offset.get(3..4), digits(4..6, 60)) {
        (Some(hours), Some(":"), Some(minutes)) => {
            let seconds = i64::try_from(hours * HOUR + minutes * MINUTE).unwrap_or(0);
            Ok((format!("{time}Z"), sign * seconds))
        }
        _ => Err("has an offset that is not of the form +02:00".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_unix_milliseconds_or_rfc_3339() {
        for (text, expected) in [
            ("0", 0),
            ("1893456000000", 1_893_456_000_000),
            ("2030-01-01T00:00:00Z", 1_893_456_000_000),
            ("2030-01-01T00:00:00.250Z", 1_893_456_000_250),
            ("2030-01-01T02:00:00+02:00", 1_893_456_000_000),
            ("2029-12-31T18:30:00-05:30", 1_893_456_000_000),
            ("2030-01-01T00:00:00+00:00", 1_893_456_000_000),
        ] {
            assert_eq!(unix_ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let wrong = [
            "",
            "tomorrow",
            "-1",
            "1.5",
            "99999999999999999999",
            "2030-01-01",
            "2030-13-01T00:00:00Z",
            "2030-01-01T00:00:00",
            "2030-01-01T00:00:00+2:00",
            "2030-01-01T00:00:00+24:00",
            "2030-01-01T00:00:00+02:60",
            "2030-01-01T00:00:00+02-00",
            "1969-12-31T23:59:59Z",
            "zwölf-0ü",
        ];
        for text in wrong {
            assert!(unix_ms(text).is_err(), "{text:?} is taken for {:?}", unix_ms(text));
        }
    }

    #[test]
    fn an_offset_before_the_epoch_is_the_epoch() {
        assert_eq!(unix_ms("1970-01-01T00:00:00+01:00"), Ok(0));
    }

    #[test]
    fn a_timeout_of_nothing_is_refused() {
        assert_eq!(positive("1500ms"), Ok(Duration::from_millis(1_500)));
        assert!(positive("0s").is_err());
        assert!(positive("soon").is_err());
    }

    #[test]
    fn moments_and_spans_are_shown_to_the_microsecond() {
        assert_eq!(show_moment(1_893_456_000_000_000 + 3_723_000_042), "01:02:03.000042");
        assert_eq!([show_span(7), show_span(1_500), show_span(61_000_000)], ["7us", "1.500ms", "61.000s"]);
    }

    #[test]
    fn ages_and_times_are_short() {
        assert_eq!(show_age(0), "0s");
        assert_eq!(show_age(1_250), "1s 250ms");
        assert_eq!(show_age(61_999), "1m 1s");
        assert_eq!(show_time(1_893_456_000_999), "2030-01-01T00:00:00Z");
        assert_eq!(show_time(u64::MAX), u64::MAX.to_string());
    }
}
