//! A token bucket: it refills at a constant rate up to its capacity, and each call takes one token.

use std::time::{Duration, Instant};

/// The state of a bucket. Capacity and rate are arguments, because the service may change them at any time.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    tokens: f64,
    refilled_at: Option<Instant>,
}

impl TokenBucket {
    /// A full bucket of any capacity.
    pub const fn full() -> Self {
        Self {
            tokens: f64::INFINITY,
            refilled_at: None,
        }
    }

    /// Takes a token and returns zero. If there is none, takes nothing and returns how long to wait for the next.
    ///
    /// `capacity` is at least one token; `per_second` is the refill rate.
    pub fn take(&mut self, capacity: f64, per_second: f64, now: Instant) -> Duration {
        let passed = self.refilled_at.map_or(Duration::ZERO, |refilled_at| {
            now.saturating_duration_since(refilled_at)
        });
        self.refilled_at = Some(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * per_second).min(capacity.max(1.0));
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Duration::ZERO;
        }
        Duration::from_secs_f64((1.0 - self.tokens) / per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_capacity_at_once_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full();
        for _ in 0..3 {
            assert_eq!(bucket.take(3.0, 2.0, start), Duration::ZERO);
        }
        let half_a_second = Duration::from_millis(500);
        assert_eq!(bucket.take(3.0, 2.0, start), half_a_second);
        assert_eq!(bucket.take(3.0, 2.0, start + half_a_second), Duration::ZERO);
        let later = start + Duration::from_secs(60);
        let taken = (0..9).filter(|_| bucket.take(3.0, 2.0, later).is_zero());
        assert_eq!(taken.count(), 3, "it never holds more than its capacity");
    }

    #[test]
    fn a_bucket_for_less_than_one_call_still_gives_one() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full();
        assert_eq!(bucket.take(0.1, 0.5, start), Duration::ZERO);
        assert_eq!(bucket.take(0.1, 0.5, start), Duration::from_secs(2));
    }
}
