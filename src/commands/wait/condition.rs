//! Records since when the condition has held for each user. Knows only their ids; the time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The condition of a set of items, identified by text.
#[derive(Debug)]
pub(super) struct ConditionTimer {
    /// For each id, since when the condition holds; `None` while it does not.
    since: BTreeMap<String, Option<Instant>>,
    any: bool,
    stable_for: Duration,
    /// Whether the connection is lost, so that changes are not seen.
    is_paused: bool,
}

impl ConditionTimer {
    /// A condition that must hold for all of these ids, or for any of them, for the duration `stable_for`.
    pub(super) fn new(
        ids: impl IntoIterator<Item = String>,
        any: bool,
        stable_for: Duration,
    ) -> Self {
        Self {
            since: ids.into_iter().map(|id| (id, None)).collect(),
            any,
            stable_for,
            is_paused: false,
        }
    }

    /// Whether the set contains this id.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.since.contains_key(id)
    }

    /// The ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.since.keys().map(String::as_str)
    }

    /// Records whether the condition holds for an id now. If it already held, its start time stays.
    pub(super) fn set(&mut self, id: &str, holds: bool, now: Instant) {
        if let Some(since) = self.since.get_mut(id) {
            *since = holds.then(|| since.unwrap_or(now));
        }
    }

    /// Stops the clock because the connection is lost: changes are not observed until [`Self::resume`].
    pub(super) const fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Restarts the clock after a gap, because the condition may have been interrupted. The new states of the `changed`
    /// ids follow later, so for them the condition does not hold yet.
    pub(super) fn resume<T: AsRef<str>>(&mut self, changed: &[T], now: Instant) {
        self.is_paused = false;
        for id in changed {
            self.set(id.as_ref(), false, now);
        }
        for since in self.since.values_mut().flatten() {
            *since = now;
        }
    }

    /// When the condition is met if nothing changes; `None` while it does not hold or the clock is stopped.
    pub(super) fn met_at(&self) -> Option<Instant> {
        if self.is_paused {
            return None;
        }
        let mut starts = self.since.values();
        let start = if self.any {
            starts.filter_map(|since| *since).min()
        } else {
            starts
                .try_fold(None, |latest, since| {
                    since.map(|since| latest.max(Some(since)))
                })
                .flatten()
        };
        start.map(|start| start + self.stable_for)
    }

    /// Whether the condition holds for an id now, for however short a time.
    pub(super) fn holds(&self, id: &str) -> bool {
        self.since.get(id).is_some_and(Option::is_some)
    }

    /// The ids for which the condition has held long enough.
    pub(super) fn met_ids(&self, now: Instant) -> Vec<&str> {
        self.since
            .iter()
            .filter(|(_, since)| since.is_some_and(|since| since + self.stable_for <= now))
            .map(|(id, _)| id.as_str())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timer(any: bool, stable_for: Duration) -> (ConditionTimer, Instant) {
        let ids = ["a".to_owned(), "b".to_owned()];
        (ConditionTimer::new(ids, any, stable_for), Instant::now())
    }

    #[test]
    fn all_means_the_last_one_decides() {
        let (mut timer, start) = timer(false, Duration::ZERO);
        timer.set("a", true, start);
        assert_eq!(timer.met_at(), None);
        timer.set("b", true, start + SECOND);
        assert_eq!(timer.met_at(), Some(start + SECOND));
        timer.set("a", false, start + SECOND);
        assert_eq!(timer.met_at(), None);
    }

    #[test]
    fn any_means_the_first_one_decides() {
        let (mut timer, start) = timer(true, SECOND);
        assert_eq!(timer.met_at(), None);
        timer.set("b", true, start);
        assert_eq!(timer.met_at(), Some(start + SECOND));
        assert_eq!(timer.met_ids(start), Vec::<&str>::new());
        assert_eq!(timer.met_ids(start + SECOND), ["b"]);
    }

    #[test]
    fn the_time_goes_on_until_the_condition_breaks_or_a_gap_restarts_it() {
        let (mut timer, start) = timer(true, 3 * SECOND);
        timer.set("a", true, start);
        timer.set("a", true, start + SECOND);
        assert_eq!(timer.met_at(), Some(start + 3 * SECOND));
        timer.set("a", false, start + SECOND);
        timer.set("a", true, start + 2 * SECOND);
        assert_eq!(timer.met_at(), Some(start + 5 * SECOND));
        timer.resume::<&str>(&[], start + 4 * SECOND);
        assert_eq!(timer.met_at(), Some(start + 7 * SECOND));
        timer.set("nobody", true, start);
        assert!(!timer.contains("nobody"));
    }

    #[test]
    fn nothing_is_met_while_the_connection_is_lost() {
        let (mut timer, start) = timer(true, SECOND);
        timer.set("a", true, start);
        timer.pause();
        assert_eq!(timer.met_at(), None);
        timer.resume::<&str>(&[], start + 5 * SECOND);
        assert_eq!(timer.met_at(), Some(start + 6 * SECOND));
    }

    #[test]
    fn who_changed_in_a_gap_does_not_count_until_their_state_is_set() {
        let (mut timer, start) = timer(false, Duration::ZERO);
        timer.set("a", true, start);
        timer.resume(&["a", "b"], start + SECOND);
        // The new states may come in any order.
        timer.set("b", true, start + SECOND);
        assert_eq!(timer.met_at(), None);
        timer.set("a", true, start + SECOND);
        assert_eq!(timer.met_at(), Some(start + SECOND));
    }
}
