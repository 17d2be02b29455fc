//! Recorded streams made from a seed, together with what is true about them.
//!
//! The truth comes first: when each user was online. Then watchers are imagined, each with users of its own, runs that end
//! or are killed, and connections that are lost; what they would have written goes to files, and what they observed is
//! noted beside it. Nothing here shares code with the program.

use std::collections::BTreeSet;
use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) users: usize,
    /// When it starts, in milliseconds since 1970.
    pub(crate) start: i64,
    /// How long it lasts, in milliseconds.
    pub(crate) length: i64,
    /// How many watchers share the users.
    pub(crate) shards: usize,
    /// How many watchers there are for each share.
    pub(crate) copies: usize,
    /// About how long a user stays online or offline.
    pub(crate) stay: i64,
    /// How often, about, a watcher loses its connection, and how often it is restarted.
    pub(crate) gaps: usize,
    pub(crate) restarts: usize,
    /// Whether users are deleted and lines are torn, foreign or out of order.
    pub(crate) oddities: bool,
}

/// A state, from a time on: online, offline, or none.
type Change = (i64, Option<bool>);

/// The recorded streams, and what is true.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) files: Vec<String>,
    pub(crate) users: Vec<TrueUser>,
    /// From the first to the last record.
    pub(crate) window: (i64, i64),
    pub(crate) foreign: usize,
}

/// A user, and when they were observed by at least one watcher.
#[derive(Debug, Clone)]
pub(crate) struct TrueUser {
    pub(crate) id: String,
    /// Names, each from a time on.
    names: Vec<(i64, String)>,
    changes: Vec<Change>,
    observed: Vec<(i64, i64)>,
    is_invisible: bool,
}

/// A session as it should be reported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrueSession {
    pub(crate) user: String,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) start: &'static str,
    pub(crate) end: &'static str,
}

impl TrueUser {
    /// The state at a time, whether or not anybody observes it.
    fn state(&self, at: i64) -> Option<bool> {
        let place = self.changes.partition_point(|(from, _)| *from <= at);
        place.checked_sub(1).and_then(|place| self.changes[place].1)
    }

    fn name(&self, at: i64) -> &str {
        let place = self.names.partition_point(|(from, _)| *from <= at);
        &self.names[place.saturating_sub(1)].1
    }

    /// The states that a report should show, in order and without a hole: from, to, and online, offline or unknown.
    pub(crate) fn reported(&self, window: (i64, i64)) -> Vec<(i64, i64, Option<bool>)> {
        let mut edges: BTreeSet<i64> = [window.0, window.1].into();
        edges.extend(self.changes.iter().map(|(at, _)| *at));
        edges.extend(self.observed.iter().flat_map(|(from, to)| [*from, *to]));
        let edges: Vec<i64> = edges
            .into_iter()
            .filter(|at| (window.0..=window.1).contains(at))
            .collect();
        let mut states: Vec<(i64, i64, Option<bool>)> = Vec::new();
        for pair in edges.windows(2) {
            let is_observed = self
                .observed
                .iter()
                .any(|(from, to)| *from <= pair[0] && pair[1] <= *to);
            let state = self.state(pair[0]).filter(|_| is_observed);
            match states.last_mut() {
                Some((_, to, last)) if *last == state => *to = pair[1],
                _ => states.push((pair[0], pair[1], state)),
            }
        }
        states
    }

    /// The sessions that a report should list.
    pub(crate) fn sessions(&self, window: (i64, i64)) -> Vec<TrueSession> {
        let states = self.reported(window);
        let mut was_known = false;
        let mut sessions = Vec::new();
        for (place, (from, to, state)) in states.iter().enumerate() {
            let before = place.checked_sub(1).map(|place| states[place].2);
            if *state == Some(true) {
                sessions.push(TrueSession {
                    user: self.id.clone(),
                    from: *from,
                    to: *to,
                    start: match before {
                        Some(Some(_)) => "observed",
                        Some(None) if was_known => "gap",
                        _ => "data_start",
                    },
                    end: match states.get(place + 1) {
                        Some((_, _, Some(_))) => "observed",
                        // The change was the last thing seen.
                        Some((_, _, None)) if self.state(*to) == Some(false) => "observed",
                        Some((_, _, None)) => "gap",
                        None if self.state(*to) == Some(false) => "observed",
                        None => "data_end",
                    },
                });
            }
            was_known |= state.is_some();
        }
        sessions
    }
}

pub(crate) fn time(at: i64) -> String {
    DateTime::from_timestamp_millis(at)
        .unwrap()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Plan {
    /// Makes it.
    pub(crate) fn make(self) -> Recorded {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut users: Vec<TrueUser> = (0..self.users)
            .map(|number| self.user(number, &mut random))
            .collect();
        let (mut files, mut foreign) = (Vec::new(), 0);
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for shard in 0..self.shards {
            for _ in 0..self.copies {
                let members: Vec<usize> = (0..users.len())
                    .filter(|user| user % self.shards == shard)
                    .collect();
                let mut watcher = Watcher {
                    plan: self,
                    text: String::new(),
                    seq: 0,
                    known: vec![None; users.len()],
                    until_deleted: Vec::new(),
                    missing: BTreeSet::new(),
                    first: i64::MAX,
                    last: i64::MIN,
                    foreign: 0,
                };
                watcher.record(&mut users, &members, &mut random);
                first = first.min(watcher.first);
                last = last.max(watcher.last);
                foreign += watcher.foreign;
                files.push(watcher.text);
            }
        }
        Recorded {
            files,
            users,
            window: (first, last),
            foreign,
        }
    }

    fn user(self, number: usize, random: &mut StdRng) -> TrueUser {
        let is_invisible = random.random_bool(0.05);
        let (mut at, mut online) = (self.start - self.length, random.random_bool(0.5));
        let mut changes = vec![(at, Some(online && !is_invisible))];
        loop {
            at += random.random_range(1..2 * self.stay);
            if at > self.start + 2 * self.length {
                break;
            }
            online = !online;
            if !is_invisible {
                changes.push((at, Some(online)));
            }
        }
        if self.oddities && random.random_bool(0.1) {
            let gone = self.start + random.random_range(1..self.length);
            let back = gone + random.random_range(1..self.length);
            changes.retain(|(at, _)| !(gone..=back).contains(at));
            changes.extend([(gone, None), (back, Some(false))]);
            changes.sort_by_key(|(at, _)| *at);
            changes.dedup_by_key(|(_, state)| *state);
        }
        let mut names = vec![(i64::MIN, format!("User <{number}> & co"))];
        if random.random_bool(0.2) {
            let at = self.start + random.random_range(0..self.length);
            names.push((at, format!("Renamed {number}")));
        }
        TrueUser {
            id: format!("u{number}"),
            names,
            changes,
            observed: Vec::new(),
            is_invisible,
        }
    }
}

/// A watcher at work.
struct Watcher {
    plan: Plan,
    text: String,
    seq: u64,
    /// Since when it observes each user, and what it last heard of them.
    known: Vec<Option<(i64, bool)>>,
    /// When it observed users who were deleted then, each until the deletion. A gap may have begun before.
    until_deleted: Vec<(usize, i64, i64)>,
    missing: BTreeSet<usize>,
    first: i64,
    last: i64,
    foreign: usize,
}

impl Watcher {
    fn record(&mut self, users: &mut [TrueUser], members: &[usize], random: &mut StdRng) {
        let plan = self.plan;
        let end = plan.start + plan.length;
        let mut bounds: Vec<i64> = (0..random.random_range(0..=2 * plan.restarts))
            .map(|_| random.random_range(plan.start..end))
            .collect();
        bounds.extend([
            plan.start + random.random_range(0..plan.length / 10 + 1),
            end,
        ]);
        bounds.sort_unstable();
        bounds.dedup();
        for run in bounds.windows(2) {
            // Nobody watches for a while before most runs.
            let from = run[0] + random.random_range(1..=(run[1] - run[0]) / 4 + 1);
            if from + 10 < run[1] {
                self.run(users, members, (from, run[1] - 1), random);
            }
        }
    }

    fn run(
        &mut self,
        users: &mut [TrueUser],
        members: &[usize],
        run: (i64, i64),
        random: &mut StdRng,
    ) {
        self.seq = 0;
        self.known.fill(None);
        self.missing.clear();
        for user in members {
            self.find(users, *user, run.0);
        }
        self.coverage(users, members, run.0);
        let mut gaps: Vec<(i64, i64, i64)> = Vec::new();
        for _ in 0..random.random_range(0..=2 * self.plan.gaps) {
            // Up to when it is complete, when the loss shows, and when it is repaired.
            let from = random.random_range(run.0..run.1);
            let lost = from + random.random_range(0..1000);
            gaps.push((
                from,
                lost,
                lost + random.random_range(1..self.plan.length / 20 + 2),
            ));
        }
        gaps.sort_unstable();
        gaps.dedup_by(|next, last| next.0 <= last.2);
        // Some are lost again soon after, and what is missing then began before the first gap was over.
        for gap in gaps.clone() {
            let from = random.random_range(gap.0..=gap.2);
            let lost = gap.2 + random.random_range(1..1000);
            let again = (from, lost, lost + random.random_range(1..1000));
            gaps.extend(random.random_bool(0.3).then_some(again));
        }
        gaps.sort_by_key(|gap| gap.1);
        gaps.dedup_by(|next, last| next.1 <= last.2 || next.0 < last.0);
        gaps.retain(|gap| gap.2 < run.1);
        let mut gaps = gaps.into_iter().peekable();
        let mut lines: Vec<(i64, usize)> = members
            .iter()
            .flat_map(|user| {
                let renamed = users[*user].names.iter().map(|(at, _)| *at);
                let changed = users[*user].changes.iter().map(|(at, _)| *at);
                renamed.chain(changed).map(|at| (at, *user))
            })
            .filter(|(at, _)| run.0 < *at && *at < run.1)
            .collect();
        lines.sort_unstable();
        lines.dedup();
        let mut place = 0;
        while place < lines.len() || gaps.peek().is_some() {
            let next = lines.get(place).map_or(i64::MAX, |line| line.0);
            if let Some(gap) = gaps.next_if(|gap| gap.1 <= next) {
                self.gap(users, members, gap, random);
                while lines.get(place).is_some_and(|line| line.0 <= gap.2) {
                    place += 1;
                }
                continue;
            }
            // Two lines may change places, if they are about different users.
            let swap = self.plan.oddities
                && random.random_bool(0.05)
                && lines.get(place + 1).is_some_and(|other| {
                    other.1 != lines[place].1
                        && gaps.peek().is_none_or(|gap| gap.1 > other.0)
                        && [lines[place], *other].iter().all(|(at, user)| {
                            users[*user].state(*at).is_some() && self.known[*user].is_some()
                        })
                });
            let taken = if swap { 2 } else { 1 };
            let mut now: Vec<(i64, usize)> = lines[place..place + taken].to_vec();
            if swap {
                now.reverse();
            }
            for (time, user) in now {
                self.event(users, members, user, time);
            }
            place += taken;
            if self.plan.oddities && random.random_bool(0.01) {
                self.text.push_str("this is not a record\n");
                self.foreign += 1;
            }
        }
        if random.random_bool(0.5) {
            self.end(users, members, run.1);
            self.line(run.1, "stream.end", &json!({"reason": "timeout", "events": 1, "gaps": 0, "reconnects": 0, "exit_code": 0}));
        } else {
            // Killed: what it knew ends with its last line.
            self.end(users, members, self.last);
            if self.plan.oddities && random.random_bool(0.5) {
                self.text.push_str(
                    "{\"type\":\"user.presence.changed\",\"user\":{\"id\":\"u1\",\"onl\n",
                );
                self.foreign += 1;
            }
        }
    }

    /// A user is there when the watcher looks, or not.
    fn find(&mut self, users: &[TrueUser], user: usize, at: i64) {
        match users[user].state(at) {
            Some(online) => {
                self.missing.remove(&user);
                self.known[user] = Some((at, online));
                let shown = self.user(users, user, at, Some(online));
                self.line(
                    at,
                    "presence.snapshot",
                    &json!({"user": shown, "source": "query"}),
                );
            }
            None => {
                self.missing.insert(user);
            }
        }
    }

    fn event(&mut self, users: &mut [TrueUser], members: &[usize], user: usize, at: i64) {
        match (users[user].state(at), self.known[user]) {
            (Some(online), Some((since, _))) => {
                self.known[user] = Some((since, online));
                let shown = self.user(users, user, at, Some(online));
                self.line(at, "user.presence.changed", &json!({"user": shown, "created_at": time(at), "source": "ws", "changed": ["online"], "previous": {"online": !online}}));
            }
            (None, Some((since, _))) => {
                self.known[user] = None;
                self.until_deleted.push((user, since, at));
                let shown = self.user(users, user, at, None);
                self.line(
                    at,
                    "user.deleted",
                    &json!({"user": shown, "created_at": time(at), "source": "ws"}),
                );
                self.missing.insert(user);
                self.coverage(users, members, at);
            }
            (Some(_), None) => {
                self.find(users, user, at);
                self.coverage(users, members, at);
            }
            (None, None) => {}
        }
    }

    fn gap(
        &mut self,
        users: &mut [TrueUser],
        members: &[usize],
        (from, lost, to): (i64, i64, i64),
        random: &mut StdRng,
    ) {
        if random.random_bool(0.7) {
            self.line(
                lost,
                "connection.changed",
                &json!({"online": false, "reason": "closed", "attempt": 0}),
            );
            for attempt in 1..random.random_range(1..4) {
                let at = (lost + attempt).min(to);
                self.line(
                    at,
                    "connection.changed",
                    &json!({"online": false, "reason": "refused", "attempt": attempt}),
                );
            }
        }
        let mut repaired = Vec::new();
        for (user, since, deleted) in self.until_deleted.drain(..) {
            if since < from {
                users[user].observed.push((since, deleted.min(from)));
            }
        }
        for user in members {
            if let Some((since, online)) = self.known[*user] {
                if since < from {
                    users[*user].observed.push((since, from));
                }
                let state = users[*user].state(to);
                if state != Some(online) {
                    repaired.push((*user, state));
                }
                self.known[*user] = state.map(|online| (to.max(since), online));
            }
        }
        let ids: Vec<&str> = repaired.iter().map(|(user, _)| &*users[*user].id).collect();
        self.line(
            to,
            "presence.gap",
            &json!({"from": time(from), "to": time(to), "repaired": ids, "note": "reconnected"}),
        );
        for (user, state) in repaired {
            let shown = self.user(users, user, to, state);
            if state.is_none() {
                self.missing.insert(user);
            }
            self.line(to, "user.presence.changed", &json!({"user": shown, "created_at": time(to), "source": "resync", "changed": ["online"], "previous": {}}));
        }
        for user in members {
            if self.known[*user].is_none() {
                self.find(users, *user, to);
            }
        }
        self.coverage(users, members, to);
        self.line(to, "connection.recovered", &json!({}));
    }

    fn end(&mut self, users: &mut [TrueUser], members: &[usize], at: i64) {
        for (user, since, deleted) in self.until_deleted.drain(..) {
            users[user].observed.push((since, deleted));
        }
        for user in members {
            if let Some((since, _)) = self.known[*user].take()
                && since < at
            {
                users[*user].observed.push((since, at));
            }
        }
    }

    fn user(
        &self,
        users: &[TrueUser],
        user: usize,
        at: i64,
        online: Option<bool>,
    ) -> serde_json::Value {
        let user = &users[user];
        json!({
            "id": user.id, "role": "user", "name": user.name(at), "status": format!("at {at}"), "online": online,
            "last_active": time(at), "invisible": user.is_invisible,
        })
    }

    fn coverage(&mut self, users: &[TrueUser], members: &[usize], at: i64) {
        let missing: Vec<&str> = self.missing.iter().map(|user| &*users[*user].id).collect();
        let subscribed = members.len() - missing.len();
        self.line(
            at,
            "presence.coverage",
            &json!({"requested": members.len(), "subscribed": subscribed, "missing": missing}),
        );
    }

    fn line(&mut self, at: i64, kind: &str, fields: &serde_json::Value) {
        self.seq += 1;
        let mut line = json!({"type": kind});
        let object = line.as_object_mut().unwrap();
        object.extend(fields.as_object().unwrap().clone());
        let source = object.remove("source").unwrap_or_else(|| json!("local"));
        object.insert("seq".to_owned(), json!(self.seq));
        object.insert("received_at".to_owned(), json!(time(at)));
        object.insert("source".to_owned(), source);
        writeln!(self.text, "{line}").unwrap();
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }
}

/// The files in another order.
pub(crate) fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let mut items = items.to_vec();
    items.shuffle(&mut StdRng::seed_from_u64(seed));
    items
}
