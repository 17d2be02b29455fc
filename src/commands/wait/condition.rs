//! Who has been in the state since when. Knows nothing of users but their ids, and takes the time as an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The watch over a set of ids.
#[derive(Debug)]
pub(super) struct Vigil {
    /// For each id, since when the state holds; `None` while it does not.
    since: BTreeMap<String, Option<Instant>>,
    any: bool,
    stable_for: Duration,
    /// Whether nobody looks: the link is lost.
    blind: bool,
}

impl Vigil {
    /// Over these ids: all of them, or any.
    pub(super) fn new(
        ids: impl IntoIterator<Item = String>,
        any: bool,
        stable_for: Duration,
    ) -> Self {
        Self {
            since: ids.into_iter().map(|id| (id, None)).collect(),
            any,
            stable_for,
            blind: false,
        }
    }

    /// Whether this id is one of those waited for.
    pub(super) fn concerns(&self, id: &str) -> bool {
        self.since.contains_key(id)
    }

    /// The ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.since.keys().map(String::as_str)
    }

    /// Notes whether the state holds for an id now. What held before goes on holding.
    pub(super) fn note(&mut self, id: &str, holds: bool, now: Instant) {
        if let Some(since) = self.since.get_mut(id) {
            *since = holds.then(|| since.unwrap_or(now));
        }
    }

    /// Nobody looks any more: whatever holds may be broken unseen, and nothing is reached until somebody looks again.
    pub(super) const fn lose_sight(&mut self) {
        self.blind = true;
    }

    /// Somebody looks again: what holds now may have been broken meanwhile, and starts anew. Those who `changed` are yet
    /// to be noted.
    pub(super) fn doubt<T: AsRef<str>>(&mut self, changed: &[T], now: Instant) {
        self.blind = false;
        for id in changed {
            self.note(id.as_ref(), false, now);
        }
        for since in self.since.values_mut().flatten() {
            *since = now;
        }
    }

    /// From when on the wait is over if nothing changes; `None` while the state does not hold, or nobody looks.
    pub(super) fn over_at(&self) -> Option<Instant> {
        if self.blind {
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

    /// The ids for which the state has held long enough.
    pub(super) fn reached(&self, now: Instant) -> Vec<&str> {
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

    fn vigil(any: bool, stable_for: Duration) -> (Vigil, Instant) {
        let ids = ["a".to_owned(), "b".to_owned()];
        (Vigil::new(ids, any, stable_for), Instant::now())
    }

    #[test]
    fn all_means_the_last_one_decides() {
        let (mut vigil, start) = vigil(false, Duration::ZERO);
        vigil.note("a", true, start);
        assert_eq!(vigil.over_at(), None);
        vigil.note("b", true, start + SECOND);
        assert_eq!(vigil.over_at(), Some(start + SECOND));
        vigil.note("a", false, start + SECOND);
        assert_eq!(vigil.over_at(), None);
    }

    #[test]
    fn any_means_the_first_one_decides() {
        let (mut vigil, start) = vigil(true, SECOND);
        assert_eq!(vigil.over_at(), None);
        vigil.note("b", true, start);
        assert_eq!(vigil.over_at(), Some(start + SECOND));
        assert_eq!(vigil.reached(start), Vec::<&str>::new());
        assert_eq!(vigil.reached(start + SECOND), ["b"]);
    }

    #[test]
    fn a_state_that_goes_on_is_as_old_as_its_beginning_and_a_break_or_a_doubt_makes_it_new() {
        let (mut vigil, start) = vigil(true, 3 * SECOND);
        vigil.note("a", true, start);
        vigil.note("a", true, start + SECOND);
        assert_eq!(vigil.over_at(), Some(start + 3 * SECOND));
        vigil.note("a", false, start + SECOND);
        vigil.note("a", true, start + 2 * SECOND);
        assert_eq!(vigil.over_at(), Some(start + 5 * SECOND));
        vigil.doubt::<&str>(&[], start + 4 * SECOND);
        assert_eq!(vigil.over_at(), Some(start + 7 * SECOND));
        vigil.note("nobody", true, start);
        assert!(!vigil.concerns("nobody"));
    }
    #[test]
    fn nothing_is_reached_while_nobody_looks() {
        let (mut vigil, start) = vigil(true, SECOND);
        vigil.note("a", true, start);
        vigil.lose_sight();
        assert_eq!(vigil.over_at(), None);
        vigil.doubt::<&str>(&[], start + 5 * SECOND);
        assert_eq!(vigil.over_at(), Some(start + 6 * SECOND));
    }

    #[test]
    fn who_changed_unseen_does_not_count_until_he_is_noted() {
        let (mut vigil, start) = vigil(false, Duration::ZERO);
        vigil.note("a", true, start);
        vigil.doubt(&["a", "b"], start + SECOND);
        // The news of the others may come before his.
        vigil.note("b", true, start + SECOND);
        assert_eq!(vigil.over_at(), None);
        vigil.note("a", true, start + SECOND);
        assert_eq!(vigil.over_at(), Some(start + SECOND));
    }
}
