//! The recent past of one user: when their state changed, and what a sparkline of it looks like.

use std::collections::VecDeque;

use crate::domain::time::Millis;

/// How far back a history must reach.
pub const HISTORY_SPAN: Millis = 30 * 60_000;
/// A history keeps this many entries, however old they are.
const ENTRIES_KEPT: usize = 32;
/// A history keeps no more entries than this.
const ENTRIES_MAX: usize = 512;

/// What is known about whether a user is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnlineState {
    /// The user is online.
    Online,
    /// The user is offline.
    Offline,
    /// Nobody observes the user.
    Unknown,
    /// The user was deleted, or has left the channel.
    Gone,
}

/// Something that happened to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Millis,
    /// What.
    pub kind: EntryKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// The user has this state from now on.
    State {
        /// The state.
        state: OnlineState,
        /// Whether the moment of the change was observed, as a change between online and offline.
        is_change: bool,
    },
    /// The user has this status from now on.
    Status(Option<Box<str>>),
}

/// A cell of a sparkline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparkCell {
    /// Before anything was known about the user.
    Before,
    /// Nobody observed the user.
    Unknown,
    /// Online for this part of the observed time, in eighths; 0 means never.
    Online(u8),
}

/// What happened to a user, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    entries: VecDeque<Entry>,
}

impl History {
    /// Adds an entry. Time never goes back: an earlier time counts as that of the latest entry.
    pub fn push(&mut self, at: Millis, kind: EntryKind) {
        let at = self.entries.back().map_or(at, |last| last.at.max(at));
        self.entries.push_back(Entry { at, kind });
        // The first entry may be old: it says what the state was at the start of the time that is shown.
        while self.entries.len() > ENTRIES_MAX
            || (self.entries.len() > ENTRIES_KEPT && self.entries[1].at < at - HISTORY_SPAN)
        {
            self.entries.pop_front();
        }
    }

    /// The entries, the oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How often the user was seen to go online or offline after this time.
    pub fn changes_since(&self, from: Millis) -> usize {
        let recent = self
            .entries
            .iter()
            .rev()
            .take_while(|entry| entry.at > from);
        recent
            .filter(|entry| {
                matches!(
                    entry.kind,
                    EntryKind::State {
                        is_change: true,
                        ..
                    }
                )
            })
            .count()
    }

    /// The cells of a sparkline that ends now, each of them `cell` milliseconds long. Cells begin at multiples of their
    /// length, so that they do not move with every second. From `lost` on, nobody observed the user.
    pub fn sparkline(
        &self,
        now: Millis,
        cell: Millis,
        cells: usize,
        lost: Option<Millis>,
    ) -> Vec<SparkCell> {
        let last_start = now.div_euclid(cell) * cell;
        let start = last_start - cell * (cells as Millis - 1);
        let mut sums = vec![[0; 3]; cells];
        let end = lost.map_or(now, |lost| lost.min(now));
        for (from, to, state) in self.intervals(end) {
            add(&mut sums, start, cell, from, to, state);
        }
        if let (Some(lost), false) = (lost, self.entries.is_empty()) {
            add(&mut sums, start, cell, lost, now, OnlineState::Unknown);
        }
        let to_cell = |[online, offline, unknown]: [Millis; 3]| {
            let observed = online + offline;
            if observed == 0 && unknown == 0 {
                SparkCell::Before
            } else if unknown > observed {
                SparkCell::Unknown
            } else {
                // A short time online shows, and so does a short time offline.
                let eighths = (online * 8 + observed / 2) / observed;
                let least = Millis::from(online > 0);
                let most = if offline > 0 { 7 } else { 8 };
                SparkCell::Online(eighths.clamp(least, most.max(least)) as u8)
            }
        };
        sums.into_iter().map(to_cell).collect()
    }

    /// The states as intervals that end with `end`.
    fn intervals(&self, end: Millis) -> impl Iterator<Item = (Millis, Millis, OnlineState)> {
        let states = || {
            self.entries.iter().filter_map(|entry| match entry.kind {
                EntryKind::State { state, .. } => Some((entry.at, state)),
                EntryKind::Status(_) => None,
            })
        };
        let ends = states().skip(1).map(|(at, _)| at).chain([end]);
        states()
            .zip(ends)
            .map(move |((from, state), to)| (from, to.min(end), state))
    }
}

/// Adds an interval to the cells that it touches: online, offline and unknown time.
fn add(
    sums: &mut [[Millis; 3]],
    start: Millis,
    cell: Millis,
    from: Millis,
    to: Millis,
    state: OnlineState,
) {
    let column = match state {
        OnlineState::Online => 0,
        OnlineState::Offline => 1,
        OnlineState::Unknown | OnlineState::Gone => 2,
    };
    let mut at = from.max(start);
    while at < to {
        let index = (at - start) / cell;
        let Some(sum) = usize::try_from(index).ok().and_then(|i| sums.get_mut(i)) else {
            return;
        };
        let next = to.min(start + (index + 1) * cell);
        sum[column] += next - at;
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = 60_000;

    fn state(state: OnlineState, is_change: bool) -> EntryKind {
        EntryKind::State { state, is_change }
    }

    #[test]
    fn a_cell_shows_the_part_of_its_observed_time_that_the_user_was_online() {
        let mut history = History::default();
        history.push(2 * MINUTE, state(OnlineState::Offline, false));
        history.push(4 * MINUTE, state(OnlineState::Online, true));
        history.push(6 * MINUTE + MINUTE / 2, state(OnlineState::Offline, true));
        history.push(7 * MINUTE, state(OnlineState::Unknown, false));
        history.push(8 * MINUTE, state(OnlineState::Online, false));
        let cells = |now, lost| history.sparkline(now, MINUTE, 9, lost);
        use SparkCell::{Before, Online, Unknown};
        assert_eq!(
            cells(9 * MINUTE, None),
            [
                Before,
                Online(0),
                Online(0),
                Online(8),
                Online(8),
                Online(4),
                Unknown,
                Online(8),
                Before
            ]
        );
        let lost = cells(10 * MINUTE, Some(9 * MINUTE));
        assert_eq!(lost[6..], [Online(8), Unknown, Before]);
    }

    #[test]
    fn a_moment_online_and_a_moment_offline_both_show() {
        let mut history = History::default();
        history.push(0, state(OnlineState::Online, false));
        history.push(100, state(OnlineState::Offline, true));
        history.push(2 * MINUTE - 100, state(OnlineState::Online, true));
        let cells = history.sparkline(3 * MINUTE - 1, MINUTE, 3, None);
        assert_eq!(
            cells,
            [
                SparkCell::Online(1),
                SparkCell::Online(1),
                SparkCell::Online(8)
            ]
        );
        history.push(3 * MINUTE - 1, state(OnlineState::Offline, true));
        let cells = history.sparkline(3 * MINUTE, MINUTE, 2, None);
        assert_eq!(cells[0], SparkCell::Online(7));
    }

    #[test]
    fn a_history_is_bounded_and_keeps_the_state_at_its_start() {
        let mut history = History::default();
        let hour = 60 * MINUTE;
        for n in 0..100 {
            let state_then = [OnlineState::Online, OnlineState::Offline][n as usize % 2];
            history.push(n * MINUTE, state(state_then, n > 0));
        }
        assert_eq!(history.entries().count(), ENTRIES_KEPT);
        assert_eq!(history.changes_since(99 * MINUTE - 10 * MINUTE), 10);
        assert_eq!(history.changes_since(99 * MINUTE), 0);
        for n in 0..1000 {
            history.push(2 * hour + n, state(OnlineState::Online, true));
        }
        assert_eq!(history.entries().count(), ENTRIES_MAX);
    }
}
