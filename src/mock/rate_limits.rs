//! Request budgets: so many a minute per endpoint and platform, and what the headers say about them.
//!
//! Time is an argument. What a client measures with its own clock (when the window ends) is told in real time by the
//! caller, so that a mock whose clock runs fast is a service whose minutes are short.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::error::Rejection;
use super::options::RateLimitMode;

/// Requests of one user a minute and endpoint, where the service's own limits hold.
const USER_REQUESTS_PER_MINUTE: u32 = 60;
/// The part of a minute's budget that a second may take.
const SECOND_SHARE_OF_MINUTE: u32 = 30;

/// Where a request comes from, which budgets are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientPlatform {
    /// The application's server.
    Server,
    /// A browser, or anything else.
    Web,
    /// Apple's.
    Ios,
    /// Google's.
    Android,
}

impl ClientPlatform {
    /// All of them, by the names of the query that asks for them and of the answer.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("server_side", Self::Server),
        ("web", Self::Web),
        ("ios", Self::Ios),
        ("android", Self::Android),
    ];

    /// A client's platform, from what it says of itself.
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

/// The state of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimitStatus {
    /// Requests a minute.
    pub(crate) limit: u32,
    /// Requests left in this one.
    pub(crate) remaining: u32,
    /// When the minute ends, by the clock that was given.
    pub(crate) ends: DateTime<Utc>,
}

/// All budgets.
#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    minute: i64,
    second: i64,
    by_minute: HashMap<(ClientPlatform, &'static str), u32>,
    by_second: HashMap<(ClientPlatform, &'static str), u32>,
    by_user: HashMap<(String, &'static str), u32>,
}

impl RateLimiter {
    /// Counts a request, and refuses it if that is more than the rules allow.
    pub(crate) fn spend(
        &mut self,
        now: DateTime<Utc>,
        rule: RateLimitMode,
        platform: ClientPlatform,
        endpoint: &'static str,
        user: Option<&str>,
    ) -> (RateLimitStatus, Result<(), Rejection>) {
        self.turn(now);
        let key = (platform, endpoint);
        let limit = limit(rule, endpoint);
        let used = self.by_minute.entry(key).or_default();
        if rule == RateLimitMode::Off {
            // Told without being held against anybody.
            let rate_limit_status = RateLimitStatus {
                limit,
                remaining: limit.saturating_sub(1),
                ends: end_of_minute(now),
            };
            return (rate_limit_status, Ok(()));
        }
        let mut too_many = None;
        if *used >= limit {
            too_many = Some(format!("Too many requests: {limit} a minute are allowed"));
        } else if rule == RateLimitMode::Service {
            let a_second = (limit / SECOND_SHARE_OF_MINUTE).max(1);
            let this_second = self.by_second.entry(key).or_default();
            if *this_second >= a_second {
                too_many = Some(format!(
                    "Too many requests: {a_second} a second are allowed"
                ));
            } else {
                *this_second += 1;
                if let Some(user) = user {
                    let own = self.by_user.entry((user.to_owned(), endpoint)).or_default();
                    if *own >= USER_REQUESTS_PER_MINUTE {
                        too_many = Some(format!(
                            "Too many requests for user {user:?}: {USER_REQUESTS_PER_MINUTE} a minute are allowed"
                        ));
                    } else {
                        *own += 1;
                    }
                }
            }
        }
        if too_many.is_none() {
            *used += 1;
        }
        let rate_limit_status = RateLimitStatus {
            limit,
            remaining: limit - *used,
            ends: end_of_minute(now),
        };
        let result = too_many.map_or(Ok(()), |detail| Err(Rejection::rate_limited(detail)));
        (rate_limit_status, result)
    }

    /// The state of a budget, without counting.
    pub(crate) fn look(
        &mut self,
        now: DateTime<Utc>,
        rule: RateLimitMode,
        platform: ClientPlatform,
        endpoint: &'static str,
    ) -> RateLimitStatus {
        self.turn(now);
        let limit = limit(rule, endpoint);
        let used = self.by_minute.get(&(platform, endpoint)).copied();
        RateLimitStatus {
            limit,
            remaining: limit.saturating_sub(used.unwrap_or(0)),
            ends: end_of_minute(now),
        }
    }

    fn turn(&mut self, now: DateTime<Utc>) {
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

fn limit(rule: RateLimitMode, endpoint: &str) -> u32 {
    match rule {
        RateLimitMode::Off | RateLimitMode::Service => by_default(endpoint),
        RateLimitMode::PerMinute(limit) => limit,
    }
}

/// Requests a minute that the service allows by default.
fn by_default(endpoint: &str) -> u32 {
    match endpoint {
        "Connect" | "GetOrCreateChannel" | "QueryChannels" | "GetApp" => 10_000,
        "UpdateUsers"
        | "UpdateUsersPartial"
        | "UpdateChannel"
        | "UpdateChannelPartial"
        | "QueryMembers" => 300,
        "DeleteUser" | "DeactivateUser" => 60,
        "DeleteUsers" => 6,
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_spent_budget_refuses_until_the_minute_ends() {
        let mut rate_limiter = RateLimiter::default();
        let rule = RateLimitMode::PerMinute(2);
        let mut spend = |seconds, platform| {
            let (rate_limit_status, result) =
                rate_limiter.spend(at(seconds), rule, platform, "QueryUsers", None);
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
                .spend(
                    at(seconds),
                    RateLimitMode::Service,
                    ClientPlatform::Web,
                    "QueryUsers",
                    user,
                )
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
    fn off_tells_and_does_not_count() {
        let mut rate_limiter = RateLimiter::default();
        for _ in 0..5000 {
            let (rate_limit_status, result) = rate_limiter.spend(
                at(0),
                RateLimitMode::Off,
                ClientPlatform::Web,
                "UpdateUsers",
                None,
            );
            assert_eq!(
                (rate_limit_status.limit, rate_limit_status.remaining),
                (300, 299)
            );
            assert!(result.is_ok());
        }
    }
}
