//! Parsing and formatting of times and durations.
//!
//! The service writes RFC 3339 with zero to nine fractional digits, sometimes with a numeric offset. People write RFC
//! 3339, unix seconds, or a duration that means "ago". No clock is read here: relative times take `now`.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// A point in time: milliseconds since 1970, UTC.
pub type Millis = i64;

/// The longest duration that is accepted, so that adding one to a time cannot overflow.
const DURATION_MAX: Duration = Duration::from_secs(1000 * 365 * 86_400);

/// Parses a duration such as `250ms`, `10s`, `5m`, `1h30m` or `2d`.
///
/// # Errors
///
/// The text is not a duration, or it is longer than 1000 years. The message names the text and says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    // A number without a unit is refused, because a script should not leave the unit open.
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a duration; write 250ms, 10s, 5m, 1h30m or 2d"))?;
    if duration > DURATION_MAX {
        return Err(format!("`{text}` is longer than 1000 years"));
    }
    Ok(duration)
}

/// Parses a time: RFC 3339, unix seconds, or a duration that means "ago".
///
/// # Errors
///
/// The text is none of these, or the duration is longer than the calendar.
pub fn parse_time(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    if let Ok(seconds) = text.parse::<i64>()
        && let Some(time) = DateTime::from_timestamp(seconds, 0)
    {
        return Ok(time);
    }
    let ago = parse_duration(text).map_err(|_| {
        format!("`{text}` is not a time; write RFC 3339 (2026-01-31T08:00:00Z), unix seconds, or a duration ago (15m)")
    })?;
    TimeDelta::from_std(ago)
        .ok()
        .and_then(|ago| now.checked_sub_signed(ago))
        .ok_or_else(|| format!("`{text}` ago is too far in the past"))
}

/// Formats a time for records: RFC 3339, UTC, milliseconds.
pub fn millis(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Formats the end of an interval for records, rounded up to a millisecond.
pub fn millis_after(time: DateTime<Utc>) -> String {
    let rounded = time.checked_add_signed(TimeDelta::nanoseconds(999_999));
    millis(rounded.unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert!(parse_duration("30").is_err());
        assert!(parse_duration("soon").unwrap_err().contains("`soon`"));
        // A later `now + duration` must not overflow.
        assert!(
            parse_duration("500000000000y")
                .unwrap_err()
                .contains("1000 years")
        );
    }

    #[test]
    fn times() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        assert_eq!(
            parse_time("999999", now).unwrap(),
            now - TimeDelta::seconds(1)
        );
        assert_eq!(
            parse_time("15m", now).unwrap(),
            now - TimeDelta::minutes(15)
        );
        assert_eq!(
            millis(parse_time("2026-01-31T10:00:00.123456+02:00", now).unwrap()),
            "2026-01-31T08:00:00.123Z"
        );
        assert!(parse_time("yesterday", now).is_err());
        assert_eq!(millis_after(now), millis(now));
        assert_eq!(
            millis_after(now + TimeDelta::nanoseconds(1)),
            millis(now + TimeDelta::milliseconds(1))
        );
    }
}
