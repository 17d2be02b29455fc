//! Reconnect backoff: the sequence of delays before the next attempts to connect.
//!
//! Full jitter: each delay is random between zero and a bound that doubles, so that a thousand watchers that lost the
//! same server do not reconnect at the same moment. The random number is an argument, and sleeping is done elsewhere.

use std::time::Duration;

/// The bound of the first delay.
const FIRST_BOUND: Duration = Duration::from_millis(250);
/// The default for the largest bound.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(25);
/// After a connection that lasted this long, the sequence starts again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The state of the sequence.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    attempts: u32,
    max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(BACKOFF_MAX)
    }
}

impl Backoff {
    /// Bounds that grow up to `max`.
    pub(super) const fn up_to(max: Duration) -> Self {
        Self { attempts: 0, max }
    }

    /// The delay before the next attempt, for a random `jitter` between 0 and 1.
    pub(super) fn next_delay(&mut self, jitter: f64) -> Duration {
        let bound = FIRST_BOUND
            .saturating_mul(1 << self.attempts.min(16))
            .min(self.max);
        self.attempts += 1;
        bound.mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// The number of attempts since the sequence started.
    pub(super) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Records a connection that lasted for `lifetime`. A stable one starts the sequence again, a flapping one does not.
    pub(super) fn connection_ended(&mut self, lifetime: Duration) {
        if lifetime >= STABLE_AFTER {
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
        let bounds: Vec<u128> = (0..9)
            .map(|_| backoff.next_delay(1.0).as_millis())
            .collect();
        assert_eq!(
            bounds,
            [250, 500, 1000, 2000, 4000, 8000, 16_000, 25_000, 25_000]
        );
        for _ in 0..100 {
            assert_eq!(backoff.next_delay(1.0), BACKOFF_MAX);
        }
    }

    #[test]
    fn the_maximum_applies_from_the_first_delay_on() {
        let mut backoff = Backoff::up_to(Duration::from_millis(400));
        let bounds: Vec<u128> = (0..4)
            .map(|_| backoff.next_delay(1.0).as_millis())
            .collect();
        assert_eq!(bounds, [250, 400, 400, 400]);
        let mut backoff = Backoff::up_to(Duration::from_millis(10));
        assert_eq!(backoff.next_delay(1.0), Duration::from_millis(10));
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next_delay(0.0), Duration::ZERO);
        assert_eq!(backoff.next_delay(0.5), Duration::from_millis(250));
    }

    #[test]
    fn only_a_stable_connection_starts_again() {
        let mut backoff = Backoff::default();
        backoff.next_delay(1.0);
        backoff.next_delay(1.0);
        backoff.connection_ended(Duration::from_secs(59));
        assert_eq!(backoff.attempts(), 2);
        assert_eq!(backoff.next_delay(1.0), Duration::from_secs(1));
        backoff.connection_ended(Duration::from_secs(60));
        assert_eq!(backoff.attempts(), 0);
        assert_eq!(backoff.next_delay(1.0), FIRST_BOUND);
    }
}
