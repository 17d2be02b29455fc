//! When the next of many calls may start, so that a long run never meets a refusal.
//!
//! An endpoint's budget is a number of calls a minute with at most a thirtieth of it in any one second, and it is shared
//! with whoever else uses the application. What is left is told with every answer; how long a minute is, is believed of
//! the server, whose clock may run fast, once a whole one has been seen.
//!
//! Subscribing calls have a pace of their own in the layer below, which knows how many of them are under way and may wait
//! long for a window to end. Here calls come one after the other, to several endpoints, and against clocks that run fast.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::{Client, RateLimit};

/// The service allows this fraction of a minute's calls within one second.
const SECONDS_SHARE: f64 = 30.0;
/// One call in this many is left to others.
const RESERVED: u32 = 100;
/// Added to a wait for the end of a window, since both ends of the wire round to seconds.
const MARGIN: Duration = Duration::from_millis(100);
/// A minute, until the server is seen to have another.
const MINUTE: Duration = Duration::from_secs(60);

/// The paces of all endpoints that a run calls.
#[derive(Debug, Default)]
pub struct RateLimiter(HashMap<&'static str, EndpointLimiter>);

impl RateLimiter {
    /// Waits until an endpoint may be called once. Dropped while it waits, it has counted nothing.
    pub async fn before(&mut self, client: &Client, endpoint: &'static str) {
        let pace = self.0.entry(endpoint).or_default();
        loop {
            match pace.start(client.rate_limit(endpoint), Instant::now()) {
                Duration::ZERO => return,
                wait => sleep(wait).await,
            }
        }
    }
}

#[derive(Debug)]
struct EndpointLimiter {
    minute: Duration,
    remaining: Option<u32>,
    filled: f64,
    at: Option<Instant>,
}

impl Default for EndpointLimiter {
    fn default() -> Self {
        Self {
            minute: MINUTE,
            remaining: None,
            filled: f64::INFINITY,
            at: None,
        }
    }
}

impl EndpointLimiter {
    /// Zero when a call may start, which is then counted; else how long to wait before asking again.
    fn start(&mut self, limit: Option<RateLimit>, now: Instant) -> Duration {
        // One call finds out.
        let Some(limit) = limit else {
            return Duration::ZERO;
        };
        if self
            .remaining
            .is_some_and(|before| limit.remaining > before)
        {
            // A window that began under our eyes ends after a whole minute of the server's.
            self.minute = limit.reset_in.clamp(Duration::from_secs(1), MINUTE);
        }
        self.remaining = Some(limit.remaining);
        if limit.remaining <= limit.limit / RESERVED && !limit.reset_in.is_zero() {
            return limit.reset_in + MARGIN;
        }
        let a_minute = f64::from(limit.limit).max(1.0);
        let burst = (a_minute / SECONDS_SHARE).max(1.0);
        let a_second = burst * MINUTE.as_secs_f64() / self.minute.as_secs_f64();
        let passed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        // Half full at most: what is saved up and what trickles in meet in the same second.
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
        let (mut now, mut pace, mut starts) = (begin, EndpointLimiter::default(), Vec::new());
        while starts.len() < 200 {
            match pace.start(limit(250, 60), now) {
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
        let mut pace = EndpointLimiter::default();
        assert_eq!(
            pace.start(limit(3, 7), Instant::now()),
            Duration::from_secs(7) + MARGIN
        );
        assert_eq!(pace.start(limit(3, 0), Instant::now()), Duration::ZERO);
        assert_eq!(pace.start(None, Instant::now()), Duration::ZERO);
    }

    #[test]
    fn a_servers_minute_is_as_long_as_it_shows() {
        let mut pace = EndpointLimiter::default();
        assert_eq!(pace.start(limit(299, 1), Instant::now()), Duration::ZERO);
        assert_eq!(pace.minute, MINUTE, "the first window may be half over");
        let _ = pace.start(limit(200, 1), Instant::now());
        let _ = pace.start(limit(299, 2), Instant::now());
        assert_eq!(pace.minute, Duration::from_secs(2));
    }
}
