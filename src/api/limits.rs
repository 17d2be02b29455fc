//! Reads rate limits from response headers.
//!
//! Proxies can double these headers (`300, 300`); the first value counts. The reset time is on the server's clock, so
//! it is compared with the response's `Date` if there is one. The two machines' clocks may differ.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The length of every window. A longer wait means that the two clocks differ.
const RATE_LIMIT_WINDOW: Duration = Duration::from_secs(60);

/// The rate limit of one endpoint, from its last response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls per minute.
    pub limit: u32,
    /// Calls left in this window.
    pub remaining: u32,
    /// How long after the response the window ends.
    pub reset_in: Duration,
}

impl RateLimit {
    /// Reads the headers of a response that was received at `now`.
    pub(super) fn of(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Self> {
        Some(Self {
            limit: number(headers, "x-ratelimit-limit")?.try_into().ok()?,
            remaining: number(headers, "x-ratelimit-remaining")?
                .max(0)
                .try_into()
                .ok()?,
            reset_in: reset_in(headers, now).unwrap_or(RATE_LIMIT_WINDOW),
        })
    }
}

/// How long an error response asks to wait: `Retry-After` in seconds or as a date, or else until the end of the window.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    if let Some(after) = text(headers, RETRY_AFTER.as_str()) {
        if let Ok(seconds) = after.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        if let Ok(date) = DateTime::parse_from_rfc2822(after) {
            return Some(until(date.to_utc(), server_now(headers, now)));
        }
    }
    // Waiting for the end of the window helps only if no calls are left.
    (number(headers, "x-ratelimit-remaining").is_none_or(|left| left <= 0))
        .then(|| reset_in(headers, now))
        .flatten()
        .filter(|wait| !wait.is_zero())
}

fn reset_in(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let reset = DateTime::from_timestamp(number(headers, "x-ratelimit-reset")?, 0)?;
    Some(until(reset, server_now(headers, now)).min(RATE_LIMIT_WINDOW))
}

fn server_now(headers: &HeaderMap, now: DateTime<Utc>) -> DateTime<Utc> {
    text(headers, DATE.as_str())
        .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
        .map_or(now, |date| date.to_utc())
}

fn until(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (then - now).to_std().unwrap_or_default()
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    text(headers, name)?.parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // A date contains a comma, too. It is the only such header, and it is never doubled.
    let value = headers.get(name)?.to_str().ok()?;
    let first = if value.contains("GMT") {
        value
    } else {
        value.split(',').next().unwrap_or(value)
    };
    Some(first.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_445_412_480, 0).unwrap()
    }

    #[test]
    fn doubled_values_count_once() {
        let headers = headers(&[
            ("x-ratelimit-limit", "300, 300"),
            ("x-ratelimit-remaining", "299,299"),
            ("x-ratelimit-reset", "1445412490"),
        ]);
        assert_eq!(
            RateLimit::of(&headers, now()),
            Some(RateLimit {
                limit: 300,
                remaining: 299,
                reset_in: Duration::from_secs(10),
            })
        );
        assert_eq!(
            retry_after(&headers, now()),
            None,
            "there is budget left, so the window's end is not what is waited for"
        );
    }

    #[test]
    fn the_reset_is_read_on_the_servers_clock() {
        let headers = headers(&[
            ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1445412485"),
        ]);
        let skewed = now() + chrono::TimeDelta::hours(3);
        assert_eq!(retry_after(&headers, skewed), Some(Duration::from_secs(5)));
    }

    #[test]
    fn retry_after_wins_in_both_spellings() {
        let seconds = headers(&[("retry-after", "7"), ("x-ratelimit-reset", "1445412500")]);
        assert_eq!(retry_after(&seconds, now()), Some(Duration::from_secs(7)));
        let date = headers(&[("retry-after", "Wed, 21 Oct 2015 07:28:09 GMT")]);
        assert_eq!(retry_after(&date, now()), Some(Duration::from_secs(9)));
        assert_eq!(retry_after(&headers(&[]), now()), None);
    }
}
