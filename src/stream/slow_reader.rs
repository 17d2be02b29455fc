//! When to stop waiting for a slow reader and start dropping intermediate states.
//!
//! While the program waits, unread events stay in the socket, and so at the service: nothing is lost. A reader who
//! takes something is waited for again and again, however slow they are. A reader who takes nothing for a while is stuck.
//! The program must then read on, or the service drops the connection. `overflow` decides what becomes of the
//! events. No clock: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// How long a reader who takes nothing is waited for. The service drops a client that reads nothing for much longer.
const READER_TIMEOUT: Duration = Duration::from_secs(1);

/// The wait for one reader.
#[derive(Debug, Default)]
pub(super) struct SlowReader {
    /// When the wait ends; `None` while the reader keeps up.
    deadline: Option<Instant>,
}

impl SlowReader {
    /// Whether to wait for the reader before the next event is taken. `is_crowded`: whether the write buffer is over its
    /// soft limit.
    pub(super) fn should_wait(&mut self, is_crowded: bool, now: impl Fn() -> Instant) -> bool {
        if !is_crowded {
            self.deadline = None;
            return false;
        }
        now() < *self.deadline.get_or_insert_with(|| now() + READER_TIMEOUT)
    }

    /// When the wait ends.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Restarts the wait, because the reader has taken something.
    pub(super) const fn note_progress(&mut self) {
        self.deadline = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_makes_progress_is_waited_for_and_a_stuck_one_is_not() {
        let start = Instant::now();
        let at = |tenths: u64| move || start + Duration::from_millis(tenths * 100);
        let mut reader = SlowReader::default();
        assert!(!reader.should_wait(false, at(0)), "they keep up");
        for tenths in 0..10 {
            assert!(reader.should_wait(true, at(tenths)));
        }
        assert!(!reader.should_wait(true, at(10)), "they are stuck");
        assert!(!reader.should_wait(true, at(100)), "and stay so");
        for tenths in (100..=1000).step_by(9) {
            reader.note_progress();
            assert!(reader.should_wait(true, at(tenths)), "slow is not stuck");
        }
        assert_eq!(reader.deadline(), Some(at(1010)()));
        assert!(!reader.should_wait(false, at(1000)));
        assert_eq!(reader.deadline(), None);
        assert!(
            reader.should_wait(true, at(2000)),
            "a later burst starts a new wait"
        );
    }
}
