//! Timelines in numbers: for how much of each time bucket a user was online, and how many users were online at once.

use serde::Serialize;

use super::intervals::{Analysis, Interval, PresenceState, Timelines, UserIndex, UserInfo};
use super::names::Names;
use super::units::{Seconds, Time};
use super::uptime::by_id;
use super::zone::{DAY, Zone};
use crate::domain::time::Millis;

/// A user in a bucket of time; or all users together, with `user_id` null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelineRecord {
    /// The user; `None` for all of them together.
    pub user_id: Option<String>,
    /// The start of the bucket, or of the window.
    pub from: Time,
    /// The end of the bucket, or of the window.
    pub to: Time,
    /// How long they were online.
    pub online_s: Seconds,
    /// How long they were unknown.
    pub unknown_s: Seconds,
    /// How many users were online on average; for all users together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_online: Option<f64>,
    /// The largest number of users online at once; for all users together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_online: Option<usize>,
}

/// The buckets of time: equal parts of a day that start at local midnight, or whole days.
#[derive(Debug, Clone)]
pub struct Buckets {
    zone: Zone,
    length: Millis,
}

impl Buckets {
    /// Buckets of this length, at least a second.
    pub fn new(zone: Zone, length: Millis) -> Self {
        Self {
            zone,
            length: length.max(1000),
        }
    }

    /// The end of the bucket that contains a time.
    fn end(&self, at: Millis) -> Millis {
        let (midnight, next) = self.zone.day(at);
        if self.length < DAY {
            let end = midnight + ((at - midnight) / self.length + 1) * self.length;
            return end.min(next);
        }
        // Days are counted, because they are not equally long. Counting starts on a Monday, so that seven days are a
        // week.
        let days = self.length / DAY;
        let day = self
            .zone
            .time(at)
            .date_naive()
            .signed_duration_since(MONDAY)
            .num_days();
        let mut end = next;
        for _ in day.rem_euclid(days) + 1..days {
            end = self.zone.day(end).1;
        }
        end
    }
}

/// Any Monday.
const MONDAY: chrono::NaiveDate = chrono::NaiveDate::from_ymd_opt(2024, 1, 1).unwrap();

/// Sums up the time of each user in each bucket, and passes the buckets to `write` in order. Records of a user start
/// with the bucket in which they first appear; before it they are unknown.
pub struct Timeline<F> {
    buckets: Buckets,
    names: Names,
    write: F,
    from: Millis,
    end: Millis,
    /// Online and unknown time in this bucket, per user.
    users: Vec<(Millis, Millis)>,
    online: usize,
    peak: usize,
}

impl<F> std::fmt::Debug for Timeline<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline")
            .field("buckets", &self.buckets)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(&TimelineRecord) -> anyhow::Result<()>> Timeline<F> {
    /// Passes buckets to `write`.
    pub const fn new(buckets: Buckets, names: Names, write: F) -> Self {
        Self {
            buckets,
            names,
            write,
            from: Millis::MIN,
            end: Millis::MAX,
            users: Vec::new(),
            online: 0,
            peak: 0,
        }
    }

    /// Writes the last bucket, which ends with the window.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn finish(&mut self, to: Millis, people: &[UserInfo]) -> anyhow::Result<()> {
        if to > self.from {
            self.write_bucket(to, people)?;
        }
        Ok(())
    }

    fn write_bucket(&mut self, to: Millis, people: &[UserInfo]) -> anyhow::Result<()> {
        let (mut all_online, mut all_unknown) = (0, 0);
        self.users.resize(people.len(), (0, 0));
        let (from, length) = (self.from, Seconds(to - self.from));
        for user in by_id(people) {
            let (online, unknown) = self.users[user as usize];
            all_online += online;
            all_unknown += unknown;
            (self.write)(&TimelineRecord {
                user_id: Some(self.names.id(&people[user as usize])),
                from: Time(from),
                to: Time(to),
                online_s: Seconds(online),
                unknown_s: Seconds(unknown),
                mean_online: None,
                peak_online: None,
            })?;
        }
        (self.write)(&TimelineRecord {
            user_id: None,
            from: Time(from),
            to: Time(to),
            online_s: Seconds(all_online),
            unknown_s: Seconds(all_unknown),
            mean_online: Some((Seconds(all_online).as_f64() / length.as_f64() * 1e3).round() / 1e3),
            peak_online: Some(self.peak),
        })
    }

    fn add(&mut self, user: UserIndex, online: Millis, unknown: Millis) {
        let user = user as usize;
        if self.users.len() <= user {
            self.users.resize(user + 1, (0, 0));
        }
        self.users[user].0 += online;
        self.users[user].1 += unknown;
    }
}

impl<F: FnMut(&TimelineRecord) -> anyhow::Result<()>> Analysis for Timeline<F> {
    fn begin(&mut self, from: Millis) {
        self.from = from;
        self.end = self.buckets.end(from);
    }

    fn interval(&mut self, user: UserIndex, _: &UserInfo, interval: &Interval, _: Millis) {
        // Time before this bucket is already part of earlier ones.
        let length = interval.overlap(self.from, Millis::MAX);
        match interval.state {
            PresenceState::Online => self.add(user, length, 0),
            PresenceState::Unknown => self.add(user, 0, length),
            PresenceState::Offline => {}
        }
    }

    fn online_count(&mut self, at: Millis, count: usize) {
        self.online = count;
        self.peak = if at <= self.from {
            count
        } else {
            self.peak.max(count)
        };
    }

    fn next_cut(&self) -> Option<Millis> {
        Some(self.end)
    }

    fn cut(&mut self, timelines: &Timelines) -> anyhow::Result<()> {
        let end = self.end;
        for (user, online, unknown) in timelines.open(self.from, end) {
            self.add(user, online, unknown);
        }
        self.write_bucket(end, timelines.people())?;
        self.users.clear();
        self.from = end;
        self.end = self.buckets.end(end);
        self.peak = self.online;
        Ok(())
    }
}
