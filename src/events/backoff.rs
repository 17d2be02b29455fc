//! How long to wait before connecting again: a sequence of durations, slept elsewhere.
//!
//! Full jitter: each wait is anywhere between nothing and a bound that doubles, so that a thousand watchers that lost
//! one server do not come back as one. Chance is an argument.

use std::time::Duration;

/// The bound of the first wait.
const FIRST_BOUND: Duration = Duration::from_millis(250);
/// The largest bound, unless another is chosen.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(25);
/// How long a link must hold for its loss to count as the first.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The state of a series of attempts.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    attempts: u32,
    largest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(BACKOFF_MAX)
    }
}

impl Backoff {
    /// Waits whose bounds grow up to `largest`.
    pub(super) const fn up_to(largest: Duration) -> Self {
        Self {
            attempts: 0,
            largest,
        }
    }

    /// The wait before the next attempt, for a `jitter` between 0 and 1.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let bound = FIRST_BOUND
            .saturating_mul(1 << self.attempts.min(16))
            .min(self.largest);
        self.attempts += 1;
        bound.mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// How many waits there were since the link was last healthy.
    pub(super) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Takes note of a link that ended after `held`: a healthy one starts the series again, a flapping one does not.
    pub(super) fn lost_after(&mut self, held: Duration) {
        if held >= HEALTHY_AFTER {
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_largest() {
        let mut backoff = Backoff::default();
        let bounds: Vec<u128> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(
            bounds,
            [250, 500, 1000, 2000, 4000, 8000, 16_000, 25_000, 25_000]
        );
        for _ in 0..100 {
            assert_eq!(backoff.next(1.0), BACKOFF_MAX);
        }
    }

    #[test]
    fn another_largest_bound_holds_from_the_first_wait_on() {
        let mut backoff = Backoff::up_to(Duration::from_millis(400));
        let bounds: Vec<u128> = (0..4).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(bounds, [250, 400, 400, 400]);
        let mut backoff = Backoff::up_to(Duration::from_millis(10));
        assert_eq!(backoff.next(1.0), Duration::from_millis(10));
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        assert_eq!(backoff.next(0.5), Duration::from_millis(250));
    }

    #[test]
    fn only_a_healthy_link_starts_again() {
        let mut backoff = Backoff::default();
        backoff.next(1.0);
        backoff.next(1.0);
        backoff.lost_after(Duration::from_secs(59));
        assert_eq!(backoff.attempts(), 2);
        assert_eq!(backoff.next(1.0), Duration::from_secs(1));
        backoff.lost_after(Duration::from_secs(60));
        assert_eq!(backoff.attempts(), 0);
        assert_eq!(backoff.next(1.0), FIRST_BOUND);
    }
}
