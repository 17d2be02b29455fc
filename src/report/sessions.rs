//! Sessions: the periods in which a user was online, one record each.

use serde::Serialize;

use super::intervals::{Analysis, Edge, Interval, Timelines, UserIndex, UserInfo};
use super::names::Names;
use super::units::{Seconds, Time};
use crate::domain::time::Millis;

/// A session of a user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionRecord {
    /// The user.
    pub user_id: String,
    /// Their name.
    pub name: Option<String>,
    /// When it starts.
    pub from: Time,
    /// When it ends; `None` while the user is still online.
    pub to: Option<Time>,
    /// How long it lasts, up to the end of the window if the user is still online.
    pub duration_s: Seconds,
    /// Why it starts.
    pub start: &'static str,
    /// Why it ends.
    pub end: &'static str,
    /// The user's status at its end.
    pub status: Option<String>,
}

/// Passes sessions to `write` when they end. Sessions that end at the same time are ordered by user id.
pub struct Sessions<F> {
    names: Names,
    write: F,
    /// Sessions that have just ended, each with the id to sort by.
    waiting: Vec<(Millis, Box<str>, SessionRecord)>,
    now: Millis,
}

impl<F> std::fmt::Debug for Sessions<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(&SessionRecord) -> anyhow::Result<()>> Sessions<F> {
    /// Passes sessions to `write`.
    pub const fn new(names: Names, write: F) -> Self {
        Self {
            names,
            write,
            waiting: Vec::new(),
            now: Millis::MIN,
        }
    }

    /// Writes the remaining sessions.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.waiting
            .sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        for (_, _, session) in self.waiting.drain(..) {
            (self.write)(&session)?;
        }
        Ok(())
    }
}

impl<F: FnMut(&SessionRecord) -> anyhow::Result<()>> Analysis for Sessions<F> {
    fn interval(&mut self, _: UserIndex, user_info: &UserInfo, interval: &Interval, now: Millis) {
        if !interval.is_session() {
            return;
        }
        self.now = now;
        let session = SessionRecord {
            user_id: self.names.id(user_info),
            name: self.names.name(user_info),
            from: Time(interval.from),
            to: (interval.end != Edge::DataEnd).then_some(Time(interval.to)),
            duration_s: Seconds(interval.length()),
            start: interval.start.name(),
            end: interval.end.name(),
            status: self.names.status(user_info),
        };
        self.waiting
            .push((interval.to, user_info.id.clone(), session));
    }

    fn next_cut(&self) -> Option<Millis> {
        (!self.waiting.is_empty()).then_some(self.now + 1)
    }

    fn cut(&mut self, _: &Timelines) -> anyhow::Result<()> {
        self.flush()
    }
}
