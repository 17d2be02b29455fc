//! The mock's clock: the system's time, or a time that a test sets, advances or speeds up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// A clock that can be stopped, set, advanced, and run at any speed.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<ClockMode>);

#[derive(Debug, Clone, Copy)]
enum ClockMode {
    /// The system's time plus a constant.
    System { offset: TimeDelta },
    /// Stopped.
    Frozen { at: DateTime<Utc> },
    /// Running at another speed since a point in time.
    Scaled {
        at: DateTime<Utc>,
        since: Instant,
        rate: f64,
    },
}

impl Default for Clock {
    fn default() -> Self {
        Self(Mutex::new(ClockMode::System {
            offset: TimeDelta::zero(),
        }))
    }
}

impl ClockMode {
    fn now(self) -> DateTime<Utc> {
        match self {
            Self::System { offset } => later(Utc::now(), offset),
            Self::Frozen { at } => writable(at),
            Self::Scaled { at, since, rate } => {
                Duration::try_from_secs_f64(since.elapsed().as_secs_f64() * rate)
                    .ok()
                    .and_then(|passed| TimeDelta::from_std(passed).ok())
                    .map_or_else(latest, |passed| later(at, passed))
            }
        }
    }

    /// The same mode, starting from another time.
    fn restarted_at(self, to: DateTime<Utc>) -> Self {
        match self {
            Self::System { .. } => Self::System {
                offset: to - Utc::now(),
            },
            Self::Frozen { .. } => Self::Frozen { at: to },
            Self::Scaled { rate, .. } => Self::Scaled {
                at: to,
                since: Instant::now(),
                rate,
            },
        }
    }
}

fn later(time: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    time.checked_add_signed(by).map_or_else(latest, writable)
}

/// The time, or the nearest one that RFC 3339 can write: years have four digits.
fn writable(time: DateTime<Utc>) -> DateTime<Utc> {
    let earliest = DateTime::from_timestamp(-62_167_219_200, 0).unwrap_or(DateTime::<Utc>::MIN_UTC);
    time.clamp(earliest, latest())
}

/// The last second of the year 9999.
fn latest() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl Clock {
    fn change(&self, change: impl FnOnce(ClockMode) -> ClockMode) {
        let mut mode = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *mode = change(*mode);
    }

    /// The current time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now()
    }

    /// The mode of the clock, in words.
    pub(crate) fn describe(&self) -> String {
        let mode = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match mode {
            ClockMode::System { offset } if offset.is_zero() => "system".to_owned(),
            ClockMode::System { .. } => "moved".to_owned(),
            ClockMode::Frozen { .. } => "frozen".to_owned(),
            ClockMode::Scaled { rate: 1.0, .. } => "running".to_owned(),
            ClockMode::Scaled { rate, .. } => format!("running {rate} times as fast"),
        }
    }

    /// Stops the clock.
    pub(crate) fn freeze(&self) {
        self.change(|mode| ClockMode::Frozen { at: mode.now() });
    }

    /// Whether the clock is stopped.
    pub(crate) fn is_frozen(&self) -> bool {
        let mode = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(mode, ClockMode::Frozen { .. })
    }

    /// Advances the clock.
    pub(crate) fn advance(&self, by: TimeDelta) {
        self.change(|mode| mode.restarted_at(later(mode.now(), by)));
    }

    /// Sets the clock.
    pub(crate) fn set(&self, to: DateTime<Utc>) {
        self.change(|mode| mode.restarted_at(to));
    }

    /// Runs the clock at this multiple of the system's speed.
    pub(crate) fn run(&self, rate: f64) {
        self.change(|mode| ClockMode::Scaled {
            at: mode.now(),
            since: Instant::now(),
            rate,
        });
    }

    /// Returns to the system's time.
    pub(crate) fn reset(&self) {
        self.change(|_| ClockMode::System {
            offset: TimeDelta::zero(),
        });
    }

    /// How long, in real time, until the clock shows a time; `None` if it is stopped.
    pub(crate) fn until(&self, time: DateTime<Utc>) -> Option<Duration> {
        let mode = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = (time - mode.now()).to_std().unwrap_or_default();
        match mode {
            ClockMode::System { .. } => Some(left),
            ClockMode::Frozen { .. } => left.is_zero().then_some(left),
            ClockMode::Scaled { rate, .. } => {
                Duration::try_from_secs_f64(left.as_secs_f64() / rate).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stops_where_rfc_3339_ends() {
        let clock = Clock::default();
        clock.freeze();
        clock.advance(TimeDelta::days(100_000_000));
        assert_eq!(clock.now().to_rfc3339(), "9999-12-31T23:59:59+00:00");
        clock.set(DateTime::<Utc>::MIN_UTC);
        assert_eq!(clock.now().to_rfc3339(), "0000-01-01T00:00:00+00:00");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_by_hand() {
        let clock = Clock::default();
        let noon = DateTime::from_timestamp(1_767_614_400, 0).unwrap();
        clock.freeze();
        clock.set(noon);
        assert_eq!(clock.now(), noon);
        clock.advance(TimeDelta::minutes(15));
        let later = noon + TimeDelta::minutes(15);
        assert_eq!(clock.now(), later);
        assert_eq!(clock.until(later), Some(Duration::ZERO));
        assert_eq!(clock.until(later + TimeDelta::seconds(1)), None);
        clock.run(60.0);
        assert_eq!(
            clock.until(later + TimeDelta::minutes(1)),
            Some(Duration::from_secs(1))
        );
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), later + TimeDelta::minutes(2));
    }
}
