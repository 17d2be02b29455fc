//! Uptime: for how much of the time each user was online, and how much of the time was observed.

use serde::Serialize;

use super::intervals::{Analysis, Interval, PresenceState, UserIndex, UserInfo};
use super::names::Names;
use super::units::{Seconds, Time, ratio};
use crate::domain::time::Millis;

/// The uptime of one user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UptimeRecord {
    /// The user.
    pub user_id: String,
    /// How long they were observed, online or offline.
    pub observed_s: Seconds,
    /// How long they were online.
    pub online_s: Seconds,
    /// How long they were offline.
    pub offline_s: Seconds,
    /// How long they were unknown.
    pub unknown_s: Seconds,
    /// The online share of the observed time; `None` if there is none.
    pub online_ratio: Option<f64>,
    /// How many sessions there were.
    pub sessions: u64,
    /// The longest session.
    pub longest_s: Seconds,
    /// When they were last online.
    pub last_online: Option<Time>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Total {
    online: Millis,
    offline: Millis,
    unknown: Millis,
    sessions: u64,
    longest: Millis,
    last_online: Option<Millis>,
}

/// Sums up the time of each user.
#[derive(Debug, Default)]
pub struct Uptime {
    totals: Vec<Total>,
}

impl Uptime {
    /// The result: one record per user of the report, ordered by id.
    pub fn records(&self, people: &[UserInfo], names: Names) -> Vec<UptimeRecord> {
        let of = |user: &UserIndex| {
            let total = self.totals.get(*user as usize).copied().unwrap_or_default();
            let observed = total.online + total.offline;
            UptimeRecord {
                user_id: names.id(&people[*user as usize]),
                observed_s: Seconds(observed),
                online_s: Seconds(total.online),
                offline_s: Seconds(total.offline),
                unknown_s: Seconds(total.unknown),
                online_ratio: ratio(total.online, observed),
                sessions: total.sessions,
                longest_s: Seconds(total.longest),
                last_online: total.last_online.map(Time),
            }
        };
        by_id(people).iter().map(of).collect()
    }

    /// The users whose online ratio is below `min`, without users who were never observed.
    pub fn below(records: &[UptimeRecord], min: f64) -> Vec<&UptimeRecord> {
        // Not by the ratio of the record, which is rounded.
        let is_below = |record: &&UptimeRecord| {
            let observed = record.observed_s.as_f64();
            observed > 0.0 && record.online_s.as_f64() / observed < min
        };
        records.iter().filter(is_below).collect()
    }
}

impl Analysis for Uptime {
    fn interval(&mut self, user: UserIndex, _: &UserInfo, interval: &Interval, _: Millis) {
        let user = user as usize;
        if self.totals.len() <= user {
            self.totals.resize(user + 1, Total::default());
        }
        let total = &mut self.totals[user];
        let length = interval.length();
        match interval.state {
            PresenceState::Online => {
                total.online += length;
                total.sessions += u64::from(interval.is_session());
                total.longest = total.longest.max(length);
                total.last_online = Some(interval.to);
            }
            PresenceState::Offline => total.offline += length,
            PresenceState::Unknown => total.unknown += length,
        }
    }
}

/// The users of the report, by id.
pub(super) fn by_id(people: &[UserInfo]) -> Vec<UserIndex> {
    let mut users: Vec<UserIndex> = (0..)
        .zip(people)
        .filter(|(_, user_info)| user_info.number > 0)
        .map(|(user, _)| user)
        .collect();
    users.sort_by(|one, other| people[*one as usize].id.cmp(&people[*other as usize].id));
    users
}
