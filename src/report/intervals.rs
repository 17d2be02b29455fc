//! Interval arithmetic: turns recorded observations into intervals in which each user was online, offline or unknown.
//!
//! [`Timelines`] takes facts in order of time and returns intervals. The intervals of a user cover the whole window
//! without holes. A user's state is known while at least one input observes them. Then the latest observation counts,
//! whichever input made it. No I/O and no clock.

use crate::domain::time::Millis;

/// The number of a user, in the order in which inputs name them.
pub type UserIndex = u32;

/// The state of a user at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresenceState {
    /// Observed online.
    Online,
    /// Observed offline.
    Offline,
    /// Not observed. Never counted as offline.
    Unknown,
}

impl From<Option<bool>> for PresenceState {
    fn from(online: Option<bool>) -> Self {
        match online {
            Some(true) => Self::Online,
            Some(false) => Self::Offline,
            None => Self::Unknown,
        }
    }
}

/// Why an interval starts or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// The change was observed.
    Observed,
    /// The observation was interrupted.
    Gap,
    /// Nothing was observed before, or the window starts.
    DataStart,
    /// The window ends.
    DataEnd,
}

impl Edge {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Gap => "gap",
            Self::DataStart => "data_start",
            Self::DataEnd => "data_end",
        }
    }
}

/// An interval in which a user's state does not change: from `from` up to but excluding `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Its start.
    pub from: Millis,
    /// Its end.
    pub to: Millis,
    /// The state.
    pub state: PresenceState,
    /// Why it starts there.
    pub start: Edge,
    /// Why it ends there.
    pub end: Edge,
}

impl Interval {
    /// The duration.
    pub const fn length(&self) -> Millis {
        self.to - self.from
    }

    /// Whether it is a session. A user who was online only while nobody observed them has none: the query after a gap
    /// shows them online, and an event that is newer than the answer shows them offline. Somebody whom the last record
    /// shows online has one.
    pub fn is_session(&self) -> bool {
        let was_observed =
            self.length() > 0 || self.start == Edge::Observed || self.end == Edge::DataEnd;
        self.state == PresenceState::Online && was_observed
    }

    /// The duration of its part in a span of time.
    pub fn overlap(&self, from: Millis, to: Millis) -> Millis {
        (self.to.min(to) - self.from.max(from)).max(0)
    }
}

/// A fact: one observation of an input, about users or about its own view of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// A line that changes nothing, but shows that the input is alive.
    Alive,
    /// The input stopped observing: `stream.end`, or the end of a file without one. A user becomes known again with
    /// their next record.
    Ended,
    /// A gap starts: the input knows no user until it ends. Gaps may overlap, because a gap starts before the connection
    /// is lost: at the time up to which nothing is missing.
    GapStarted,
    /// A gap ends. If no other one is open, the earlier states are valid again, except for these users, whose records follow.
    GapEnded {
        /// Users whose state changed in the gap.
        repaired: Box<[UserIndex]>,
    },
    /// These users are not subscribed; all others are.
    Missing {
        /// All requested users that are not subscribed.
        users: Box<[UserIndex]>,
    },
    /// The user no longer exists, or is no longer followed.
    Gone {
        /// The user.
        user: UserIndex,
    },
    /// A user's state.
    Observed {
        /// The user.
        user: UserIndex,
        /// Whether they are online.
        online: bool,
        /// When it happened on the service's clock, for events with a time.
        happened: Option<Millis>,
    },
}

/// A consumer of intervals.
pub trait Analysis {
    /// Called when the window starts.
    fn begin(&mut self, from: Millis) {
        let _ = from;
    }

    /// Called with each interval of a user. The intervals of one user are in order and without holes. An online interval
    /// can have no length: then it is a session shorter than a millisecond, or no session at all
    /// ([`Interval::is_session`]). `now` is the time of the fact that ends the interval or explains its end.
    fn interval(&mut self, user: UserIndex, user_info: &UserInfo, interval: &Interval, now: Millis);

    /// Called when the number of users who are known to be online changes.
    fn online_count(&mut self, at: Millis, count: usize) {
        let _ = (at, count);
    }

    /// When to call [`Analysis::cut`] next.
    fn next_cut(&self) -> Option<Millis> {
        None
    }

    /// Called at the time of a cut: everything before it is final. `timelines` has the intervals that are still open.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    fn cut(&mut self, timelines: &Timelines) -> anyhow::Result<()> {
        let _ = timelines;
        Ok(())
    }
}

impl<A: Analysis + ?Sized> Analysis for &mut A {
    fn begin(&mut self, from: Millis) {
        (**self).begin(from);
    }

    fn interval(
        &mut self,
        user: UserIndex,
        user_info: &UserInfo,
        interval: &Interval,
        now: Millis,
    ) {
        (**self).interval(user, user_info, interval, now);
    }

    fn online_count(&mut self, at: Millis, count: usize) {
        (**self).online_count(at, count);
    }

    fn next_cut(&self) -> Option<Millis> {
        (**self).next_cut()
    }

    fn cut(&mut self, timelines: &Timelines) -> anyhow::Result<()> {
        (**self).cut(timelines)
    }
}

/// An analysis, and optionally a second one that needs only intervals.
impl<A: Analysis, B: Analysis> Analysis for (A, Option<B>) {
    fn begin(&mut self, from: Millis) {
        self.0.begin(from);
        if let Some(second) = &mut self.1 {
            second.begin(from);
        }
    }

    fn interval(
        &mut self,
        user: UserIndex,
        user_info: &UserInfo,
        interval: &Interval,
        now: Millis,
    ) {
        self.0.interval(user, user_info, interval, now);
        if let Some(second) = &mut self.1 {
            second.interval(user, user_info, interval, now);
        }
    }

    fn online_count(&mut self, at: Millis, count: usize) {
        self.0.online_count(at, count);
    }

    fn next_cut(&self) -> Option<Millis> {
        self.0.next_cut()
    }

    fn cut(&mut self, timelines: &Timelines) -> anyhow::Result<()> {
        self.0.cut(timelines)
    }
}

/// What is known about a user, except presence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The id.
    pub id: Box<str>,
    /// The latest name.
    pub name: Option<Box<str>>,
    /// The latest status text.
    pub status: Option<Box<str>>,
    /// Their number among the users of the report, from 1, in order of appearance; 0 for users who are not in the
    /// report.
    pub number: u32,
}

impl UserInfo {
    /// The name, or else the id.
    pub fn label(&self) -> &str {
        match &self.name {
            Some(name) if !name.trim().is_empty() => name,
            _ => &self.id,
        }
    }
}

/// The latest texts of a user that differ from those that the input had before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Texts {
    /// The name.
    pub name: Option<Box<str>>,
    /// The status text.
    pub status: Option<Box<str>>,
}

/// How much later than another watcher's newer event a copy of an older event may arrive.
const STALE_COPY_MAX: Millis = 10_000;

/// What one input knows about a user.
#[derive(Debug, Clone, Copy)]
struct View {
    input: u16,
    /// Whether it has reported them since it last lost sight of them.
    known: bool,
    /// Whether it requested them without success.
    missing: bool,
    /// Its last report.
    online: bool,
}

#[derive(Debug)]
struct UserTimeline {
    /// Whether the user is in the report.
    is_seen: bool,
    /// The latest observation of any input.
    online: Option<bool>,
    state: PresenceState,
    since: Millis,
    start: Edge,
    was_known: bool,
    /// A known interval that ended because observation ended. Later facts show whether that is a gap or the end of the
    /// data.
    ended: Option<Box<Interval>>,
    views: Vec<View>,
    /// The latest event on the service's clock, and when it was received.
    newest: Option<(Millis, Millis)>,
}

/// The states of all users over time.
#[derive(Debug)]
pub struct Timelines {
    from: Millis,
    now: Millis,
    /// How many users are in the report.
    seen: u32,
    users: Vec<UserTimeline>,
    people: Vec<UserInfo>,
    /// For each input, how many gaps are open.
    open_gaps: Vec<u32>,
    online: usize,
    reported: (Millis, usize),
}

impl Timelines {
    /// Starts with no known user.
    pub fn new(inputs: usize) -> Self {
        Self {
            from: Millis::MIN,
            seen: 0,
            now: Millis::MIN,
            users: Vec::new(),
            people: Vec::new(),
            open_gaps: vec![0; inputs],
            online: 0,
            reported: (Millis::MIN, 0),
        }
    }

    /// Sets the start of the window.
    pub const fn begin(&mut self, from: Millis) {
        self.from = from;
    }

    /// The start of the window.
    pub const fn from(&self) -> Millis {
        self.from
    }

    /// All users, by number.
    pub fn people(&self) -> &[UserInfo] {
        &self.people
    }

    /// Adds a user. Their number is the count of users before them.
    pub fn add(&mut self, id: &str, seen: bool) -> UserIndex {
        let index = UserIndex::try_from(self.people.len()).unwrap_or(UserIndex::MAX);
        self.people.push(UserInfo {
            id: id.into(),
            ..UserInfo::default()
        });
        self.users.push(UserTimeline {
            online: None,
            state: PresenceState::Unknown,
            since: Millis::MIN,
            start: Edge::DataStart,
            was_known: false,
            ended: None,
            views: Vec::new(),
            is_seen: false,
            newest: None,
        });
        if seen {
            self.see(index);
        }
        index
    }

    /// Processes a fact. Facts come in order of time; facts of one input with the same time come in the input's order.
    pub fn take<A: Analysis>(
        &mut self,
        at: Millis,
        input: u16,
        fact: &Fact,
        texts: Option<Texts>,
        analysis: &mut A,
    ) {
        if at > self.now {
            self.report_count(analysis);
            self.now = at;
        }
        match fact {
            Fact::Alive => {}
            Fact::Observed {
                user,
                online,
                happened,
            } => {
                let stale = self.is_stale(*user, at, *happened);
                let timeline = &mut self.users[*user as usize];
                if !stale {
                    timeline.online = Some(*online);
                }
                let view = timeline.view(input);
                (view.known, view.online) = (true, *online);
                self.settle(*user, analysis);
                self.see(*user);
                if let Some(texts) = texts {
                    let user_info = &mut self.people[*user as usize];
                    user_info.name = texts.name;
                    user_info.status = texts.status;
                }
            }
            Fact::Gone { user } => {
                let timeline = &mut self.users[*user as usize];
                timeline.online = None;
                timeline.view(input).known = false;
                self.see(*user);
                self.settle(*user, analysis);
            }
            Fact::Ended => {
                self.of_input(input, analysis, |_, view| {
                    view.known = false;
                    false
                });
            }
            Fact::GapStarted => {
                self.open_gaps[usize::from(input)] += 1;
                self.of_input(input, analysis, |_, _| false);
            }
            Fact::GapEnded { repaired } => {
                let open = &mut self.open_gaps[usize::from(input)];
                *open = open.saturating_sub(1);
                let is_over = *open == 0;
                self.of_input(input, analysis, |user, view| {
                    view.known &= repaired.binary_search(&user).is_err();
                    is_over && view.known && !view.missing
                });
            }
            Fact::Missing { users } => {
                for user in users {
                    self.see(*user);
                    self.users[*user as usize].view(input);
                }
                self.of_input(input, analysis, |user, view| {
                    let missing = users.binary_search(&user).is_ok();
                    if missing && !view.missing {
                        view.known = false;
                    }
                    let appears = view.missing && !missing && view.known;
                    view.missing = missing;
                    appears
                });
            }
        }
    }

    /// Ends the window.
    pub fn finish<A: Analysis>(&mut self, to: Millis, analysis: &mut A) {
        self.report_count(analysis);
        for user in 0..self.users.len() {
            let timeline = &mut self.users[user];
            if !timeline.is_seen {
                continue;
            }
            if let Some(mut ended) = timeline.ended.take() {
                if ended.to >= to {
                    ended.end = Edge::DataEnd;
                }
                self.emit(user, *ended, analysis);
            }
            let timeline = &self.users[user];
            let last = Interval {
                from: timeline.since,
                to,
                state: timeline.state,
                start: timeline.start,
                end: Edge::DataEnd,
            };
            self.emit(user, last, analysis);
        }
    }

    /// How much of `from..to` each user was online and unknown, as far as no interval has reported it yet.
    pub fn open(
        &self,
        from: Millis,
        to: Millis,
    ) -> impl Iterator<Item = (UserIndex, Millis, Millis)> {
        (0..).zip(&self.users).map(move |(user, timeline)| {
            let last = Interval {
                from: timeline.since,
                to,
                state: timeline.state,
                start: timeline.start,
                end: Edge::DataEnd,
            };
            let (mut online, mut unknown) = (0, 0);
            for interval in timeline.ended.as_deref().into_iter().chain([&last]) {
                match interval.state {
                    PresenceState::Online => online += interval.overlap(from, to),
                    PresenceState::Unknown => unknown += interval.overlap(from, to),
                    PresenceState::Offline => {}
                }
            }
            (user, online, unknown)
        })
    }

    /// Whether an event is an old copy: another watcher has already reported a later event.
    fn is_stale(&mut self, user: UserIndex, at: Millis, happened: Option<Millis>) -> bool {
        let Some(happened) = happened else {
            return false;
        };
        let newest = &mut self.users[user as usize].newest;
        match *newest {
            Some((later, received)) if later > happened && at - received <= STALE_COPY_MAX => true,
            _ => {
                *newest = Some((happened, at));
                false
            }
        }
    }

    /// Adds a user to the report.
    fn see(&mut self, user: UserIndex) {
        if !std::mem::replace(&mut self.users[user as usize].is_seen, true) {
            self.seen += 1;
            self.people[user as usize].number = self.seen;
        }
    }

    /// Changes what an input knows about each of its users. If `change` returns `true`, the input repeats its last
    /// report.
    fn of_input<A: Analysis>(
        &mut self,
        input: u16,
        analysis: &mut A,
        mut change: impl FnMut(UserIndex, &mut View) -> bool,
    ) {
        for user in 0..self.users.len() {
            let index = UserIndex::try_from(user).unwrap_or(UserIndex::MAX);
            let timeline = &mut self.users[user];
            let mut views = timeline.views.iter_mut();
            if let Some(view) = views.find(|view| view.input == input) {
                if change(index, view) {
                    timeline.online = Some(view.online);
                }
                self.settle(index, analysis);
            }
        }
    }

    /// Updates a user's state.
    fn settle<A: Analysis>(&mut self, user: UserIndex, analysis: &mut A) {
        let user = user as usize;
        let timeline = &self.users[user];
        let known = timeline.views.iter().any(|view| {
            view.known && !view.missing && self.open_gaps[usize::from(view.input)] == 0
        });
        let state = PresenceState::from(timeline.online.filter(|_| known));
        if state == timeline.state {
            return;
        }
        let (was, unknown) = (timeline.state, PresenceState::Unknown);
        if was == unknown && timeline.since == self.now {
            // An unknown interval of zero length means that another watcher took over.
            if let Some(ended) = timeline
                .ended
                .as_deref()
                .copied()
                .filter(|ended| ended.state == state)
            {
                let timeline = &mut self.users[user];
                timeline.ended = None;
                timeline.state = state;
                timeline.since = ended.from;
                timeline.start = ended.start;
                self.online += usize::from(state == PresenceState::Online);
                return;
            }
        }
        let interval = Interval {
            from: timeline.since,
            to: self.now,
            state: was,
            start: timeline.start,
            end: if state == unknown || was == unknown {
                Edge::Gap
            } else {
                Edge::Observed
            },
        };
        if let Some(ended) = self.users[user].ended.take() {
            self.emit(user, *ended, analysis);
        }
        if state == unknown {
            self.users[user].ended = Some(Box::new(interval));
        } else {
            self.emit(user, interval, analysis);
        }
        self.online -= usize::from(was == PresenceState::Online);
        self.online += usize::from(state == PresenceState::Online);
        let timeline = &mut self.users[user];
        timeline.start = match (was == unknown, timeline.was_known) {
            (false, _) if state == unknown => Edge::Gap,
            (false, _) => Edge::Observed,
            (true, true) => Edge::Gap,
            (true, false) => Edge::DataStart,
        };
        timeline.was_known |= was != unknown && interval.length() > 0;
        timeline.state = state;
        timeline.since = self.now;
    }

    /// Reports the part of an interval that is in the window.
    fn emit<A: Analysis>(&self, user: usize, mut interval: Interval, analysis: &mut A) {
        if interval.from < self.from {
            interval.from = self.from;
            interval.start = Edge::DataStart;
        }
        let empty = interval.to <= interval.from;
        if empty && (interval.state != PresenceState::Online || interval.to < interval.from) {
            return;
        }
        let index = UserIndex::try_from(user).unwrap_or(UserIndex::MAX);
        analysis.interval(index, &self.people[user], &interval, self.now);
    }

    /// Reports how many users are online, if the number has changed. Called when all facts of a time are processed.
    pub fn report_count<A: Analysis>(&mut self, analysis: &mut A) {
        if self.reported.1 != self.online {
            self.reported = (self.now, self.online);
            analysis.online_count(self.now.max(self.from), self.online);
        }
    }
}

impl UserTimeline {
    /// What an input knows about this user.
    fn view(&mut self, input: u16) -> &mut View {
        let place = self.views.iter().position(|view| view.input == input);
        let place = place.unwrap_or_else(|| {
            self.views.push(View {
                input,
                known: false,
                missing: false,
                online: false,
            });
            self.views.len() - 1
        });
        &mut self.views[place]
    }
}
