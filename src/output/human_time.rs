//! Times for people: how long ago, and the time of day.
//!
//! The current time is an argument. Machine formats keep the service's own text and do not use this module.

use chrono::{DateTime, Local, TimeDelta, Utc};

/// A time relative to `now`: `3m ago`, `in 2h`, `now`, or the date if it is more than 30 days away.
///
/// The service's zero time is `never`. Text that is not a time is returned unchanged.
pub fn ago(text: &str, now: DateTime<Utc>) -> String {
    let Ok(time) = DateTime::parse_from_rfc3339(text) else {
        return text.to_owned();
    };
    let time = time.to_utc();
    if text.starts_with("0001-01-01") {
        return "never".to_owned();
    }
    let passed = now.signed_duration_since(time);
    if passed > TimeDelta::days(30) || passed < -TimeDelta::days(30) {
        return time.format("%Y-%m-%d").to_string();
    }
    // Clocks of two machines usually differ by a few seconds.
    if passed.abs() < TimeDelta::seconds(5) {
        return "now".to_owned();
    }
    let span = short(passed.abs());
    if passed < TimeDelta::zero() {
        format!("in {span}")
    } else {
        format!("{span} ago")
    }
}

/// A duration in its largest unit: `45s`, `3m`, `2h`, `5d`.
pub fn short(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The time of day, `14:03:11`, in local time or in UTC.
pub fn clock(time: DateTime<Utc>, utc: bool) -> String {
    let format = "%H:%M:%S";
    if utc {
        time.format(format).to_string()
    } else {
        time.with_timezone(&Local).format(format).to_string()
    }
}

/// The time of day of an RFC 3339 text. Text that is not a time is returned unchanged.
pub fn clock_of(text: &str, utc: bool) -> String {
    DateTime::parse_from_rfc3339(text)
        .map_or_else(|_| text.to_owned(), |time| clock(time.to_utc(), utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_times() {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z")
            .unwrap()
            .to_utc();
        for (text, shown) in [
            ("2026-03-01T12:00:00Z", "now"),
            ("2026-03-01T11:59:56.123456789Z", "now"),
            ("2026-03-01T12:00:03Z", "now"),
            ("2026-03-01T11:59:15Z", "45s ago"),
            ("2026-03-01T11:57:00Z", "3m ago"),
            ("2026-03-01T11:57:00+02:00", "2h ago"),
            ("2026-02-27T12:00:00Z", "2d ago"),
            ("2026-03-01T13:00:01Z", "in 1h"),
            ("2025-12-24T23:00:00Z", "2025-12-24"),
            ("0001-01-01T00:00:00Z", "never"),
            ("soon", "soon"),
        ] {
            assert_eq!(ago(text, now), shown, "{text}");
        }
    }

    #[test]
    fn time_of_day() {
        assert_eq!(clock_of("2026-03-01T12:03:04.9Z", true), "12:03:04");
        assert_eq!(clock_of("?", true), "?");
    }
}
