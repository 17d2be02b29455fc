//! Rate limits of many calls one after the other: when the next one may start, so that none is refused.
//!
//! An endpoint allows a number of calls per minute and at most a thirtieth of it in any one second, shared with everybody
//! who uses the application. Every response says how many are left. The length of a minute is taken from the server,
//! whose clock may run fast, once a whole window has been seen.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::{Client, RateLimit};

/// The service allows a minute's calls divided by this within one second.
const BURST_DIVISOR: f64 = 30.0;
/// One call in this many is left to other programs.
const RESERVED_DIVISOR: u32 = 100;
/// Added to a wait for the end of a window, since both ends of the wire round to seconds.
const RESET_MARGIN: Duration = Duration::from_millis(100);
/// The length of a window until the server has shown another.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);

/// The rate limits of all endpoints that a run calls.
#[derive(Debug, Default)]
pub struct RateLimiter(HashMap<&'static str, EndpointLimiter>);

impl RateLimiter {
    /// Waits until an endpoint may be called once. If it is dropped while it waits, no call is counted.
    pub async fn before(&mut self, client: &Client, endpoint: &'static str) {
        let limiter = self.0.entry(endpoint).or_default();
        loop {
            match limiter.start(client.rate_limit(endpoint), Instant::now()) {
                Duration::ZERO => return,
                wait => sleep(wait).await,
            }
        }
    }
}

#[derive(Debug)]
struct EndpointLimiter {
    window: Duration,
    remaining: Option<u32>,
    filled: f64,
    at: Option<Instant>,
}

impl Default for EndpointLimiter {
    fn default() -> Self {
        Self {
            window: DEFAULT_WINDOW,
            remaining: None,
            filled: f64::INFINITY,
            at: None,
        }
    }
}

impl EndpointLimiter {
    /// Zero if a call may start, which is then counted; else how long to wait before asking again.
    fn start(&mut self, limit: Option<RateLimit>, now: Instant) -> Duration {
        // Nothing is known before the first response, so the first call is free.
        let Some(limit) = limit else {
            return Duration::ZERO;
        };
        if self
            .remaining
            .is_some_and(|before| limit.remaining > before)
        {
            // A new window has just begun, so its remaining time is the whole length of a window.
            self.window = limit.reset_in.clamp(Duration::from_secs(1), DEFAULT_WINDOW);
        }
        self.remaining = Some(limit.remaining);
        if limit.remaining <= limit.limit / RESERVED_DIVISOR && !limit.reset_in.is_zero() {
            return limit.reset_in + RESET_MARGIN;
        }
        let a_minute = f64::from(limit.limit).max(1.0);
        let burst = (a_minute / BURST_DIVISOR).max(1.0);
        let a_second = burst * DEFAULT_WINDOW.as_secs_f64() / self.window.as_secs_f64();
        let passed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        // Half full at most: saved calls and new ones can fall into the same second.
        self.filled =
            (self.filled + passed.as_secs_f64() * a_second / 2.0).min((burst / 2.0).max(1.0));
        self.at = Some(now);
        if self.filled >= 1.0 {
            self.filled -= 1.0;
            return Duration::ZERO;
        }
        Duration::from_secs_f64((1.0 - self.filled) / a_second * 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(remaining: u32, reset: u64) -> Option<RateLimit> {
        Some(RateLimit {
            limit: 300,
            remaining,
            reset_in: Duration::from_secs(reset),
        })
    }

    #[test]
    fn no_second_has_more_than_its_share() {
        let begin = Instant::now();
        let (mut now, mut limiter, mut starts) = (begin, EndpointLimiter::default(), Vec::new());
        while starts.len() < 200 {
            match limiter.start(limit(250, 60), now) {
                Duration::ZERO => starts.push(now - begin),
                wait => now += wait + Duration::from_nanos(1),
            }
        }
        for (index, start) in starts.iter().enumerate() {
            let within = starts[index..]
                .iter()
                .take_while(|later| **later < *start + Duration::from_secs(1))
                .count();
            assert!(within <= 10, "{within} from {start:?} on");
        }
        assert!(
            starts.last().unwrap().as_secs() < 45,
            "and no slower than need be"
        );
    }

    #[test]
    fn a_spent_budget_is_waited_for() {
        let mut limiter = EndpointLimiter::default();
        assert_eq!(
            limiter.start(limit(3, 7), Instant::now()),
            Duration::from_secs(7) + RESET_MARGIN
        );
        assert_eq!(limiter.start(limit(3, 0), Instant::now()), Duration::ZERO);
        assert_eq!(limiter.start(None, Instant::now()), Duration::ZERO);
    }

    #[test]
    fn a_servers_minute_is_as_long_as_it_shows() {
        let mut limiter = EndpointLimiter::default();
        assert_eq!(limiter.start(limit(299, 1), Instant::now()), Duration::ZERO);
        assert_eq!(
            limiter.window, DEFAULT_WINDOW,
            "the first window may be half over"
        );
        let _ = limiter.start(limit(200, 1), Instant::now());
        let _ = limiter.start(limit(299, 2), Instant::now());
        assert_eq!(limiter.window, Duration::from_secs(2));
    }
}
