//! How long a reader is waited for who does not take lines as fast as they come.
//!
//! What he has not taken waits in the socket meanwhile, and so in the service: nothing is lost. One who takes something
//! is waited for again and again, however slow he is. One who takes nothing for a while is stuck, and must not make the
//! service drop the connection. What becomes of events then is decided elsewhere. No clock.

use std::time::Duration;

use tokio::time::Instant;

/// How long the service waits for a reader who takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// The patience with one reader.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// When it ends, if the reader is being waited for.
    until: Option<Instant>,
}

impl Patience {
    /// Whether to wait for the reader rather than take the next event. `crowded`: whether a lot waits for him.
    pub(super) fn waits(&mut self, crowded: bool, now: impl Fn() -> Instant) -> bool {
        if !crowded {
            self.until = None;
            return false;
        }
        now() < *self.until.get_or_insert_with(|| now() + PATIENCE)
    }

    /// When it ends.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Takes note that the reader has taken something.
    pub(super) const fn moved(&mut self) {
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_is_waited_for_and_who_does_not_is_not() {
        let start = Instant::now();
        let at = |tenths: u64| move || start + Duration::from_millis(tenths * 100);
        let mut patience = Patience::default();
        assert!(!patience.waits(false, at(0)), "he keeps up");
        for tenths in 0..10 {
            assert!(patience.waits(true, at(tenths)));
        }
        assert!(!patience.waits(true, at(10)), "he is stuck");
        assert!(!patience.waits(true, at(100)), "and stays so");
        for tenths in (100..=1000).step_by(9) {
            patience.moved();
            assert!(patience.waits(true, at(tenths)), "slow is not stuck");
        }
        assert_eq!(patience.until(), Some(at(1010)()));
        assert!(!patience.waits(false, at(1000)));
        assert_eq!(patience.until(), None);
        assert!(
            patience.waits(true, at(2000)),
            "a burst later is another one"
        );
    }
}
