//! Rate limits: requests per minute, for each operation and platform.
//!
//! Time is an argument, so that minutes are short in a mock whose clock runs fast.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::error::Rejection;
use super::options::RateLimitMode;

/// Requests per minute and operation for one user, if the service's own limits are enforced.
const USER_REQUESTS_PER_MINUTE: u32 = 60;
/// The fraction of a minute's limit that one second may use.
const SECOND_SHARE_OF_MINUTE: u32 = 30;

/// The platform of a request. Each platform has its own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientPlatform {
    /// The application's server.
    Server,
    /// A browser, or an unknown platform.
    Web,
    /// An iOS application.
    Ios,
    /// An Android application.
    Android,
}

impl ClientPlatform {
    /// All platforms, with their names in requests and responses.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("server_side", Self::Server),
        ("web", Self::Web),
        ("ios", Self::Ios),
        ("android", Self::Android),
    ];

    /// The platform of a client, from the headers that it sends.
    pub(crate) fn of_client(client: &str) -> Self {
        let client = client.to_ascii_lowercase();
        if client.contains("swift") || client.contains("ios") {
            Self::Ios
        } else if client.contains("android") || client.contains("kotlin") {
            Self::Android
        } else {
            Self::Web
        }
    }
}

/// The state of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimitStatus {
    /// Requests per minute.
    pub(crate) limit: u32,
    /// Requests left in this minute.
    pub(crate) remaining: u32,
    /// When the minute ends, on the mock's clock.
    pub(crate) ends: DateTime<Utc>,
}

/// A rate limit: what it counts, and the default limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateLimitBucket {
    /// The platform of the requests.
    pub(crate) platform: ClientPlatform,
    /// The operation of the requests.
    pub(crate) operation: &'static str,
    /// Requests per minute that the service allows by default.
    pub(crate) default_limit: u32,
}

impl RateLimitBucket {
    const fn key(&self) -> (ClientPlatform, &'static str) {
        (self.platform, self.operation)
    }

    const fn limit(&self, mode: RateLimitMode) -> u32 {
        match mode {
            RateLimitMode::Off | RateLimitMode::Service => self.default_limit,
            RateLimitMode::PerMinute(limit) => limit,
        }
    }
}

/// Counts requests per minute, per second and per user.
#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    minute: i64,
    second: i64,
    by_minute: HashMap<(ClientPlatform, &'static str), u32>,
    by_second: HashMap<(ClientPlatform, &'static str), u32>,
    by_user: HashMap<(String, &'static str), u32>,
}

impl RateLimiter {
    /// Counts a request. Rejects it if an enforced limit is reached.
    pub(crate) fn count_request(
        &mut self,
        now: DateTime<Utc>,
        mode: RateLimitMode,
        bucket: RateLimitBucket,
        user: Option<&str>,
    ) -> (RateLimitStatus, Result<(), Rejection>) {
        self.start_new_windows(now);
        let result = self.check(mode, bucket, user);
        if result.is_ok() {
            *self.by_minute.entry(bucket.key()).or_default() += 1;
        }
        (self.status(now, mode, bucket), result)
    }

    fn check(
        &mut self,
        mode: RateLimitMode,
        bucket: RateLimitBucket,
        user: Option<&str>,
    ) -> Result<(), Rejection> {
        if mode == RateLimitMode::Off {
            return Ok(());
        }
        let limit = bucket.limit(mode);
        let used = self.by_minute.get(&bucket.key()).copied().unwrap_or(0);
        if used >= limit {
            return Err(Rejection::rate_limited(format!(
                "Too many requests: {limit} a minute are allowed"
            )));
        }
        if mode != RateLimitMode::Service {
            return Ok(());
        }
        let per_second = (limit / SECOND_SHARE_OF_MINUTE).max(1);
        let this_second = self.by_second.entry(bucket.key()).or_default();
        if *this_second >= per_second {
            return Err(Rejection::rate_limited(format!(
                "Too many requests: {per_second} a second are allowed"
            )));
        }
        *this_second += 1;
        if let Some(user) = user {
            let key = (user.to_owned(), bucket.operation);
            let by_user = self.by_user.entry(key).or_default();
            if *by_user >= USER_REQUESTS_PER_MINUTE {
                return Err(Rejection::rate_limited(format!(
                    "Too many requests for user {user:?}: {USER_REQUESTS_PER_MINUTE} a minute are allowed"
                )));
            }
            *by_user += 1;
        }
        Ok(())
    }

    /// The state of a limit, without counting a request.
    pub(crate) fn status(
        &mut self,
        now: DateTime<Utc>,
        mode: RateLimitMode,
        bucket: RateLimitBucket,
    ) -> RateLimitStatus {
        self.start_new_windows(now);
        let limit = bucket.limit(mode);
        let used = self.by_minute.get(&bucket.key()).copied().unwrap_or(0);
        RateLimitStatus {
            limit,
            remaining: limit.saturating_sub(used),
            ends: end_of_minute(now),
        }
    }

    fn start_new_windows(&mut self, now: DateTime<Utc>) {
        let second = now.timestamp();
        if second != self.second {
            self.second = second;
            self.by_second.clear();
        }
        let minute = second.div_euclid(60);
        if minute != self.minute {
            self.minute = minute;
            self.by_minute.clear();
            self.by_user.clear();
        }
    }
}

fn end_of_minute(now: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp((now.timestamp().div_euclid(60) + 1) * 60, 0).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn bucket(default_limit: u32) -> RateLimitBucket {
        RateLimitBucket {
            platform: ClientPlatform::Web,
            operation: "QueryUsers",
            default_limit,
        }
    }

    #[test]
    fn a_spent_budget_refuses_until_the_minute_ends() {
        let mut rate_limiter = RateLimiter::default();
        let rule = RateLimitMode::PerMinute(2);
        let mut spend = |seconds, platform| {
            let bucket = RateLimitBucket {
                platform,
                ..bucket(1000)
            };
            let (rate_limit_status, result) =
                rate_limiter.count_request(at(seconds), rule, bucket, None);
            (
                rate_limit_status.remaining,
                result.map_err(|reject| reject.code),
            )
        };
        assert_eq!(spend(5, ClientPlatform::Web), (1, Ok(())));
        assert_eq!(spend(59, ClientPlatform::Web), (0, Ok(())));
        assert_eq!(spend(59, ClientPlatform::Web), (0, Err(9)));
        assert_eq!(
            spend(59, ClientPlatform::Server),
            (1, Ok(())),
            "platforms have their own"
        );
        assert_eq!(spend(60, ClientPlatform::Web), (1, Ok(())));
    }

    #[test]
    fn the_services_limits_hold_seconds_and_users_too() {
        let mut rate_limiter = RateLimiter::default();
        let mut spend = |seconds, user: Option<&str>| {
            rate_limiter
                .count_request(at(seconds), RateLimitMode::Service, bucket(1000), user)
                .1
                .is_ok()
        };
        let allowed = (0..50).filter(|_| spend(0, None)).count();
        assert_eq!(allowed, 33, "a thirtieth of 1000");
        let allowed = (1..50)
            .filter(|second| spend(*second, Some("a")) && spend(*second, Some("a")))
            .count();
        assert_eq!(allowed, 30, "sixty of one user");
        assert!(spend(50, Some("b")));
    }

    #[test]
    fn limits_that_are_off_still_count_down() {
        let mut rate_limiter = RateLimiter::default();
        for number in 1..=400 {
            let (status, result) =
                rate_limiter.count_request(at(0), RateLimitMode::Off, bucket(300), None);
            assert_eq!(status.limit, 300);
            assert_eq!(status.remaining, 300_u32.saturating_sub(number));
            assert!(result.is_ok());
        }
    }
}
