//! Flaps: how often users change between online and offline, and whether they do it in bursts.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::intervals::{Analysis, Edge, Interval, PresenceState, UserIndex, UserInfo};
use super::names::Names;
use super::units::Seconds;
use super::uptime::by_id;
use crate::domain::time::Millis;

/// The flaps of one user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlapsRecord {
    /// The user.
    pub user_id: String,
    /// How often they changed between online and offline.
    pub changes: u64,
    /// The length of the sliding window.
    pub window_s: Seconds,
    /// The largest number of changes in any window of that length.
    pub max_in_window: u64,
    /// The median length of their sessions; `None` if there is none.
    pub median_online_s: Option<Seconds>,
}

/// Counts the changes of each user.
#[derive(Debug)]
pub struct Flaps {
    window: Millis,
    users: Vec<UserFlaps>,
}

#[derive(Debug, Clone, Default)]
struct UserFlaps {
    changes: u64,
    max_in_window: u64,
    /// The times of the changes in the current window.
    recent: VecDeque<Millis>,
    sessions: Lengths,
}

impl Flaps {
    /// Counts changes in a sliding window of this length.
    pub const fn new(window: Millis) -> Self {
        Self {
            window,
            users: Vec::new(),
        }
    }

    /// The result: one record per user of the report, ordered by id.
    pub fn records(&self, people: &[UserInfo], names: Names) -> Vec<FlapsRecord> {
        let none = UserFlaps::default();
        let of = |user: &UserIndex| {
            let flaps = self.users.get(*user as usize).unwrap_or(&none);
            FlapsRecord {
                user_id: names.id(&people[*user as usize]),
                changes: flaps.changes,
                window_s: Seconds(self.window),
                max_in_window: flaps.max_in_window,
                median_online_s: flaps.sessions.median().map(Seconds),
            }
        };
        by_id(people).iter().map(of).collect()
    }
}

impl Analysis for Flaps {
    fn interval(&mut self, user: UserIndex, _: &UserInfo, interval: &Interval, _: Millis) {
        let user = user as usize;
        if self.users.len() <= user {
            self.users.resize(user + 1, UserFlaps::default());
        }
        let flaps = &mut self.users[user];
        if interval.is_session() {
            flaps.sessions.add(interval.length());
        }
        // If nobody observed the change, there may have been none, or more than one.
        if interval.state != PresenceState::Unknown && interval.end == Edge::Observed {
            flaps.changes += 1;
            flaps.recent.push_back(interval.to);
            while flaps
                .recent
                .front()
                .is_some_and(|first| interval.to - first >= self.window)
            {
                flaps.recent.pop_front();
            }
            flaps.max_in_window = flaps.max_in_window.max(flaps.recent.len() as u64);
        }
    }
}

/// How many lengths are stored exactly.
const EXACT_LENGTHS: usize = 1024;

/// A median of session lengths. It is exact for the first thousand, then within one percent, so that a user who flaps
/// for a month needs no more memory than one who flaps for a day.
#[derive(Debug, Clone)]
enum Lengths {
    Exact(Vec<Millis>),
    Rounded(BTreeMap<Millis, u64>),
}

impl Default for Lengths {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Lengths {
    fn add(&mut self, length: Millis) {
        match self {
            Self::Exact(lengths) if lengths.len() < EXACT_LENGTHS => lengths.push(length),
            Self::Exact(lengths) => {
                let mut rounded = BTreeMap::new();
                for length in lengths.iter().chain([&length]) {
                    *rounded.entry(rounded_length(*length)).or_default() += 1;
                }
                *self = Self::Rounded(rounded);
            }
            Self::Rounded(lengths) => {
                *lengths.entry(rounded_length(length)).or_default() += 1;
            }
        }
    }

    fn median(&self) -> Option<Millis> {
        match self {
            Self::Exact(lengths) => {
                let mut lengths = lengths.clone();
                lengths.sort_unstable();
                let last = lengths.len().checked_sub(1)?;
                Some(i64::midpoint(lengths[last / 2], lengths[last.div_ceil(2)]))
            }
            Self::Rounded(lengths) => {
                let count: u64 = lengths.values().sum();
                let at = |place: u64| {
                    let mut before = 0;
                    lengths.iter().find_map(|(length, count)| {
                        before += count;
                        (before > place).then_some(*length)
                    })
                };
                let last = count.checked_sub(1)?;
                Some(i64::midpoint(at(last / 2)?, at(last.div_ceil(2))?))
            }
        }
    }
}

/// The middle of a class of lengths. A class has the same first seven bits.
fn rounded_length(length: Millis) -> Millis {
    let bits = 64 - length.leading_zeros();
    let dropped = bits.saturating_sub(7);
    let class = length >> dropped << dropped;
    class + (1 << dropped >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_exact_at_first_and_close_later() {
        let mut lengths = Lengths::default();
        assert_eq!(lengths.median(), None);
        for (length, median) in [(5, 5), (9, 7), (1, 5)] {
            lengths.add(length);
            assert_eq!(lengths.median(), Some(median));
        }
        let mut lengths = Lengths::default();
        for length in 0..100_000 {
            lengths.add(length * 7);
        }
        let off = lengths.median().unwrap() - 350_000;
        assert!(off.abs() <= 3500, "{off}");
    }
}
