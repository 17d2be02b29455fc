//! When the next subscribing call may start, so that thousands of them never meet a refusal.
//!
//! The service's budget is a number of calls a minute, with at most a thirtieth of it in any one second, and it is
//! shared with whoever else uses the application. A bucket that holds and refills half of that per second keeps every
//! second within bounds and comes to the full budget over the minute. The clock is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::RateLimit;

/// The service allows this fraction of a minute's calls within one second.
const SECONDS_CAP: f64 = 30.0;
/// One call in this many is left to others.
const RESERVED: u32 = 500;
/// Added to a wait for the end of a window, since both ends of the wire round to seconds.
const MARGIN: Duration = Duration::from_millis(200);

/// The bucket.
#[derive(Debug, Clone)]
pub(super) struct CallLimiter {
    filled: f64,
    at: Instant,
}

impl CallLimiter {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            filled: f64::INFINITY,
            at: now,
        }
    }

    /// Zero when a call may start now (it is then counted as started); else how long to wait before asking again.
    pub(super) fn start(
        &mut self,
        limit: Option<RateLimit>,
        in_flight: usize,
        now: Instant,
    ) -> Duration {
        // Before the first answer nothing is known, and one call finds out.
        let Some(limit) = limit else {
            return if in_flight == 0 {
                Duration::ZERO
            } else {
                Duration::from_millis(5)
            };
        };
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        if limit.remaining <= in_flight.saturating_add(limit.limit / RESERVED)
            && !limit.reset_in.is_zero()
        {
            return limit.reset_in + MARGIN;
        }
        let a_second = (f64::from(limit.limit) / SECONDS_CAP / 2.0).max(0.5);
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.filled = (self.filled + passed * a_second).min(a_second.max(1.0));
        self.at = now;
        if self.filled >= 1.0 {
            self.filled -= 1.0;
            return Duration::ZERO;
        }
        Duration::from_secs_f64((1.0 - self.filled) / a_second)
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

    /// Starts calls as fast as allowed and returns the moments of their starts.
    fn starts(calls: usize, budget: u32) -> Vec<Duration> {
        let begin = Instant::now();
        let mut now = begin;
        let mut pace = CallLimiter::new(now);
        let mut starts = Vec::new();
        while starts.len() < calls {
            match pace.start(limit(budget, budget, 60), 0, now) {
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
    fn a_few_calls_need_not_wait() {
        assert_eq!(starts(10, 1000).last(), Some(&Duration::ZERO));
    }

    #[test]
    fn a_spent_budget_waits_for_the_window_to_end() {
        let now = Instant::now();
        let mut pace = CallLimiter::new(now);
        assert_eq!(
            pace.start(limit(1000, 5, 40), 3, now),
            Duration::from_secs(40) + MARGIN
        );
        assert_eq!(pace.start(limit(1000, 6, 40), 3, now), Duration::ZERO);
        assert_eq!(
            pace.start(limit(1000, 0, 0), 0, now),
            Duration::ZERO,
            "the window is over, whatever the last answer in it said"
        );
    }

    #[test]
    fn a_tiny_budget_still_makes_progress() {
        let starts = starts(5, 1);
        assert_eq!(starts.len(), 5);
    }

    #[test]
    fn the_first_call_finds_out() {
        let now = Instant::now();
        let mut pace = CallLimiter::new(now);
        assert_eq!(pace.start(None, 0, now), Duration::ZERO);
        assert!(pace.start(None, 1, now) > Duration::ZERO);
    }
}
