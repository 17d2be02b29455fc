//! Client-side rate limiting of the calls to one endpoint, so that the service does not refuse any of them.
//!
//! The service allows a number of calls per minute, and at most a thirtieth of it in one second. All programs that use
//! the same application share the limit. A token bucket that holds and refills half of a second's calls stays within
//! both limits. Every response says how many calls are left in the current window.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::RateLimit;
use crate::domain::TokenBucket;

/// One second may use a minute's calls divided by this number.
const SECOND_LIMIT_DIVISOR: f64 = 30.0;
/// A minute's calls divided by this number are reserved for other programs.
const RESERVED_CALLS_DIVISOR: u32 = 500;
/// Added to the wait for the end of a window, because both sides round to seconds.
const RESET_MARGIN: Duration = Duration::from_millis(200);
/// The assumed length of a window, until the server's headers show another one. The clock of a mock may run fast.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// How much the number of remaining calls may rise without a new window, because responses arrive out of order.
const REORDERED_RESPONSES: u32 = 8;
/// A response shows the start of a window only if its call started at most this long ago.
const RECENT_CALL: Duration = Duration::from_secs(2);
/// How long to wait for the first response, which contains the limit.
const FIRST_RESPONSE_POLL: Duration = Duration::from_millis(5);

/// The rate limiter of one endpoint.
#[derive(Debug, Clone)]
pub struct CallLimiter {
    bucket: TokenBucket,
    window: Duration,
    remaining: Option<u32>,
    last_call: Option<Instant>,
}

impl Default for CallLimiter {
    fn default() -> Self {
        Self {
            bucket: TokenBucket::full(),
            window: DEFAULT_WINDOW,
            remaining: None,
            last_call: None,
        }
    }
}

impl CallLimiter {
    /// Returns zero if a call may start now, and counts it. Otherwise returns how long to wait before asking again.
    ///
    /// `limit` is the limit in the last response, and `in_flight` the number of calls without a response.
    pub fn start(&mut self, limit: Option<RateLimit>, in_flight: usize, now: Instant) -> Duration {
        // The limit is not known before the first response, so only one call starts.
        let Some(limit) = limit else {
            return if in_flight == 0 {
                Duration::ZERO
            } else {
                FIRST_RESPONSE_POLL
            };
        };
        self.observe(limit, now);
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        if limit.remaining <= in_flight.saturating_add(limit.limit / RESERVED_CALLS_DIVISOR)
            && !limit.reset_in.is_zero()
        {
            return limit.reset_in + RESET_MARGIN;
        }
        let speed = DEFAULT_WINDOW.as_secs_f64() / self.window.as_secs_f64();
        // Half of a second's calls, because saved tokens and new ones can be used within the same second.
        let capacity = (f64::from(limit.limit) / SECOND_LIMIT_DIVISOR / 2.0).max(0.5);
        let wait = self.bucket.take(capacity, capacity * speed, now.into_std());
        if wait.is_zero() {
            self.last_call = Some(now);
        }
        wait
    }

    /// Learns the length of a window from a response at its start, when the remaining time is the full length.
    fn observe(&mut self, limit: RateLimit, now: Instant) {
        let is_new_window = self.remaining.is_some_and(|remaining| {
            limit.remaining > remaining.saturating_add(REORDERED_RESPONSES)
        });
        let is_recent = self
            .last_call
            .is_some_and(|last_call| now.saturating_duration_since(last_call) < RECENT_CALL);
        if is_new_window && is_recent {
            self.window = limit.reset_in.clamp(Duration::from_secs(1), DEFAULT_WINDOW);
        }
        self.remaining = Some(limit.remaining);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(limit: u32, remaining: u32, reset: u64) -> Option<RateLimit> {
        Some(RateLimit {
            limit,
            remaining,
            reset_in: Duration::from_secs(reset),
        })
    }

    /// Starts calls as fast as allowed and returns when they started.
    fn starts(calls: usize, budget: u32) -> Vec<Duration> {
        let begin = Instant::now();
        let mut now = begin;
        let mut limiter = CallLimiter::default();
        let mut starts = Vec::new();
        while starts.len() < calls {
            match limiter.start(limit(budget, budget, 60), 0, now) {
                Duration::ZERO => starts.push(now - begin),
                wait => now += wait + Duration::from_nanos(1),
            }
        }
        starts
    }

    #[test]
    fn no_second_holds_more_than_a_thirtieth_of_a_minute() {
        let starts = starts(500, 1000);
        for (at, start) in starts.iter().enumerate() {
            let within = starts[at..]
                .iter()
                .take_while(|other| **other - *start < Duration::from_secs(1))
                .count();
            assert!(within <= 33, "{within} calls in the second from {start:?}");
        }
        let average = 500.0 / starts.last().unwrap().as_secs_f64();
        assert!((16.0..17.5).contains(&average), "{average} a second");
    }

    #[test]
    fn a_few_calls_start_at_once() {
        assert_eq!(starts(10, 1000).last(), Some(&Duration::ZERO));
    }

    #[test]
    fn a_spent_limit_waits_for_the_end_of_the_window() {
        let now = Instant::now();
        let mut limiter = CallLimiter::default();
        assert_eq!(
            limiter.start(limit(1000, 5, 40), 3, now),
            Duration::from_secs(40) + RESET_MARGIN
        );
        assert_eq!(limiter.start(limit(1000, 6, 40), 3, now), Duration::ZERO);
        assert_eq!(
            limiter.start(limit(1000, 0, 0), 0, now),
            Duration::ZERO,
            "the window is over, whatever the last answer in it said"
        );
    }

    #[test]
    fn a_tiny_limit_still_makes_progress() {
        let starts = starts(5, 1);
        assert_eq!(starts.len(), 5);
    }

    #[test]
    fn until_the_first_response_only_one_call_is_in_flight() {
        let now = Instant::now();
        let mut limiter = CallLimiter::default();
        assert_eq!(limiter.start(None, 0, now), Duration::ZERO);
        assert!(limiter.start(None, 1, now) > Duration::ZERO);
    }

    #[test]
    fn a_window_is_as_long_as_the_server_shows() {
        let now = Instant::now();
        let mut limiter = CallLimiter::default();
        assert_eq!(limiter.start(limit(300, 299, 1), 0, now), Duration::ZERO);
        assert_eq!(
            limiter.window, DEFAULT_WINDOW,
            "the first window may be half over"
        );
        let _ = limiter.start(limit(300, 200, 1), 0, now);
        let _ = limiter.start(limit(300, 204, 1), 0, now);
        assert_eq!(limiter.window, DEFAULT_WINDOW, "responses out of order");
        let _ = limiter.start(limit(300, 299, 2), 0, now);
        assert_eq!(limiter.window, Duration::from_secs(2));
    }

    #[test]
    fn a_window_that_is_seen_late_has_the_default_length() {
        let now = Instant::now();
        let mut limiter = CallLimiter::default();
        let _ = limiter.start(limit(300, 100, 30), 0, now);
        let later = now + Duration::from_secs(80);
        let _ = limiter.start(limit(300, 299, 10), 0, later);
        assert_eq!(limiter.window, DEFAULT_WINDOW);
    }
}
