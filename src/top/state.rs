//! What `top` knows: the users and the connection, as the records of a stream have left them.
//!
//! Rules only: records and times come in, and nothing is read or drawn here. Time that nobody observed is unknown, never
//! offline.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::history::{EntryKind, History, OnlineState};
use crate::domain::Presence;
use crate::domain::event::{
    Event, EventUser, MEMBER_REMOVED, USER_DELETED, USER_PRESENCE_CHANGED, USER_UPDATED,
    USER_WATCHING_START, USER_WATCHING_STOP,
};
use crate::domain::record::{Coverage, EndReason, Gap, Record, RecordBody, RecordSource};
use crate::domain::time::Millis;

/// The type of a snapshot.
const SNAPSHOT: &str = "presence.snapshot";
/// How far back changes are counted.
pub const CHANGES_SPAN: Millis = 10 * 60_000;

/// The connection, or what stands in for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// The first connection is being made.
    Connecting,
    /// Connected; this many of the subscribing queries are answered.
    Subscribing {
        /// How many are answered.
        answered: usize,
        /// How many there are.
        queries: usize,
    },
    /// Connected and subscribed.
    Connected,
    /// Lost, and not made again yet.
    Lost {
        /// Why.
        reason: String,
        /// How many attempts have failed since.
        attempt: u32,
    },
    /// The stream has ended.
    Ended(EndReason),
}

/// A user.
#[derive(Debug, Clone)]
pub struct TrackedUser {
    /// The id.
    pub id: Box<str>,
    /// The display name.
    pub name: Option<Box<str>>,
    /// Whether they are online.
    pub state: OnlineState,
    /// Since when.
    pub since: Millis,
    /// Whether the state began at that time. Otherwise it was the state already when it was first observed.
    pub is_since_exact: bool,
    /// The status text.
    pub status: Option<Box<str>>,
    /// Whether they are invisible.
    pub is_invisible: bool,
    /// What happened to them.
    pub history: History,
    /// Name, id and status in lower case, to sort by and to search.
    pub search_text: Box<str>,
}

impl TrackedUser {
    /// The name, or the id of a user without one. Untrusted text.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}

/// How many users have which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// Online.
    pub online: usize,
    /// Offline.
    pub offline: usize,
    /// Neither is known.
    pub unknown: usize,
}

/// Everything that `top` knows.
#[derive(Debug, Clone)]
pub struct TopState {
    users: Vec<TrackedUser>,
    by_id: HashMap<Box<str>, usize>,
    /// The connection.
    pub connection: ConnectionStatus,
    /// When the connection was lost, until all subscriptions are restored.
    pub lost_at: Option<Millis>,
    /// How many users are subscribed.
    pub coverage: Option<Coverage>,
    /// How many gaps there were.
    pub gaps: u64,
    /// How often all subscriptions were restored.
    pub reconnects: u64,
    /// How long the latest event was under way, by the service's clock and ours.
    pub delay: Option<Millis>,
    /// When the service last sent something.
    pub latest: Option<Millis>,
}

/// The state of a user as a record shows it.
struct UserReading<'a> {
    id: &'a str,
    /// `None`: the record does not say.
    name: Option<Option<&'a str>>,
    presence: Presence,
    /// Whether the state may have begun at the time of the record.
    is_change: bool,
}

impl Default for TopState {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            by_id: HashMap::new(),
            connection: ConnectionStatus::Connecting,
            lost_at: None,
            coverage: None,
            gaps: 0,
            reconnects: 0,
            delay: None,
            latest: None,
        }
    }
}

impl TopState {
    /// All users, in the order in which they became known. An index stays that of the same user.
    pub fn users(&self) -> &[TrackedUser] {
        &self.users
    }

    /// How many users have which state.
    pub fn counts(&self) -> StateCounts {
        let mut counts = StateCounts::default();
        for user in &self.users {
            match user.state {
                OnlineState::Online => counts.online += 1,
                OnlineState::Offline => counts.offline += 1,
                OnlineState::Unknown => counts.unknown += 1,
                OnlineState::Gone => {}
            }
        }
        counts
    }

    /// Notes how far subscribing has come.
    pub fn subscribing(&mut self, (answered, queries): (usize, usize)) {
        let is_before = self.coverage.is_none() || self.lost_at.is_some();
        if is_before && queries > 0 {
            self.connection = ConnectionStatus::Subscribing { answered, queries };
        }
    }

    /// Takes in a record.
    pub fn apply(&mut self, record: &Record<'_>) {
        let at = record.received_at.timestamp_millis();
        if record.source != RecordSource::Local {
            self.latest = Some(self.latest.map_or(at, |latest| latest.max(at)));
        }
        match &record.body {
            RecordBody::Event { event, change } => {
                if record.source == RecordSource::Ws {
                    self.note_delay(record.received_at, event);
                }
                // The name is looked for only where it may be new, since that takes a second look at the event.
                let may_rename = change
                    .as_ref()
                    .is_none_or(|change| change.other_fields_delta != 0);
                self.apply_event(at, event, record.source, may_rename);
            }
            RecordBody::Snapshot(user) => self.observe(
                at,
                UserReading {
                    id: user.id(),
                    name: Some(user.name()),
                    presence: user.presence(),
                    is_change: false,
                },
            ),
            RecordBody::ConnectionChanged(changed) if changed.online => {
                self.connection = ConnectionStatus::Subscribing {
                    answered: 0,
                    queries: 0,
                };
            }
            RecordBody::ConnectionChanged(changed) => {
                self.lost_at.get_or_insert(at);
                self.connection = ConnectionStatus::Lost {
                    reason: changed.reason.clone(),
                    attempt: changed.attempt,
                };
            }
            RecordBody::ConnectionRecovered => {
                self.lost_at = None;
                self.reconnects += 1;
                self.connection = ConnectionStatus::Connected;
            }
            RecordBody::Gap(gap) => self.apply_gap(at, gap),
            RecordBody::Coverage(coverage) => self.apply_coverage(at, coverage),
            RecordBody::End(end) => {
                for index in 0..self.users.len() {
                    self.set_unknown(index, at);
                }
                self.lost_at = None;
                self.connection = ConnectionStatus::Ended(end.reason);
            }
        }
    }

    fn note_delay(&mut self, received_at: DateTime<Utc>, event: &Event<'_>) {
        let created_at = event.created_at.as_deref();
        let created_at = created_at.and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        if let Some(created_at) = created_at {
            self.delay = Some((received_at - created_at.to_utc()).num_milliseconds());
        }
    }

    fn apply_event(
        &mut self,
        at: Millis,
        event: &Event<'_>,
        source: RecordSource,
        may_rename: bool,
    ) {
        let Some(user) = &event.user else { return };
        let known = self.by_id.get(&*user.id).copied();
        match &*event.kind {
            // A recording's snapshots are read as events.
            SNAPSHOT | USER_PRESENCE_CHANGED | USER_UPDATED => {
                if user.online.is_some() {
                    let name = may_rename.then(|| name_of(user));
                    self.observe(
                        at,
                        UserReading {
                            id: &user.id,
                            name: name.as_ref().map(Option::as_deref),
                            presence: user.presence(),
                            is_change: source == RecordSource::Ws,
                        },
                    );
                } else if let Some(index) = known.filter(|_| source == RecordSource::Resync) {
                    self.set_state(index, at, OnlineState::Gone, false);
                }
            }
            // Anybody may open a channel; only followed users are shown.
            USER_WATCHING_START | USER_WATCHING_STOP => {
                let is_followed = known.is_some_and(|index| {
                    matches!(
                        self.users[index].state,
                        OnlineState::Online | OnlineState::Offline
                    )
                });
                if is_followed && user.online.is_some() {
                    self.observe(
                        at,
                        UserReading {
                            id: &user.id,
                            name: None,
                            presence: user.presence(),
                            is_change: true,
                        },
                    );
                }
            }
            USER_DELETED | MEMBER_REMOVED => {
                if let Some(index) = known {
                    self.set_state(index, at, OnlineState::Gone, true);
                }
            }
            _ => {}
        }
    }

    fn observe(&mut self, at: Millis, observation: UserReading<'_>) {
        let UserReading {
            id,
            name,
            presence,
            is_change,
        } = observation;
        let index = self.index(id, at);
        let state = match presence.online {
            Some(true) => OnlineState::Online,
            Some(false) => OnlineState::Offline,
            None => OnlineState::Unknown,
        };
        self.set_state(index, at, state, is_change);
        let user = &mut self.users[index];
        user.is_invisible = presence.invisible.unwrap_or(user.is_invisible);
        let mut is_text_new = false;
        if let Some(name) = name
            && user.name.as_deref() != name
        {
            user.name = name.map(Into::into);
            is_text_new = true;
        }
        if user.status.as_deref() != presence.status.as_deref() {
            user.status = presence.status.map(String::into_boxed_str);
            user.history
                .push(at, EntryKind::Status(user.status.clone()));
            is_text_new = true;
        }
        if is_text_new {
            user.search_text = search_text(user);
        }
    }

    /// The index of a user, who becomes known if need be.
    fn index(&mut self, id: &str, at: Millis) -> usize {
        if let Some(index) = self.by_id.get(id) {
            return *index;
        }
        let index = self.users.len();
        let mut user = TrackedUser {
            id: id.into(),
            name: None,
            state: OnlineState::Unknown,
            since: at,
            is_since_exact: false,
            status: None,
            is_invisible: false,
            history: History::default(),
            search_text: Box::default(),
        };
        user.search_text = search_text(&user);
        self.users.push(user);
        self.by_id.insert(id.into(), index);
        index
    }

    fn set_state(&mut self, index: usize, at: Millis, state: OnlineState, is_change: bool) {
        let user = &mut self.users[index];
        let is_first = user.history.entries().next().is_none();
        if user.state == state && !is_first {
            return;
        }
        let is_known = |state| matches!(state, OnlineState::Online | OnlineState::Offline);
        let is_change = is_change && is_known(user.state) && !is_first;
        user.history.push(
            at,
            EntryKind::State {
                state,
                is_change: is_change && is_known(state),
            },
        );
        user.state = state;
        user.since = at;
        user.is_since_exact = is_change;
    }

    fn set_unknown(&mut self, index: usize, at: Millis) {
        if self.users[index].state != OnlineState::Gone {
            self.set_state(index, at, OnlineState::Unknown, false);
        }
    }

    /// Nobody was observed during a gap, and `repaired` users are not until their own record.
    fn apply_gap(&mut self, at: Millis, gap: &Gap) {
        self.gaps += 1;
        let time = |text: &str| DateTime::parse_from_rfc3339(text).ok();
        let time = |text: &str| time(text).map_or(at, |time| time.timestamp_millis());
        let (from, to) = (time(&gap.from), time(&gap.to));
        let repaired: HashSet<&str> = gap.repaired.iter().map(String::as_str).collect();
        for index in 0..self.users.len() {
            let TrackedUser { id, state, .. } = &self.users[index];
            let (state, is_repaired) = (*state, repaired.contains(&**id));
            if matches!(state, OnlineState::Online | OnlineState::Offline) {
                self.set_state(index, from, OnlineState::Unknown, false);
                if !is_repaired {
                    self.set_state(index, to, state, false);
                }
            }
        }
    }

    fn apply_coverage(&mut self, at: Millis, coverage: &Coverage) {
        for id in &coverage.missing {
            let index = self.index(id, at);
            self.set_unknown(index, at);
        }
        self.coverage = Some(coverage.clone());
        if self.lost_at.is_none() {
            self.connection = ConnectionStatus::Connected;
        }
    }
}

fn search_text(user: &TrackedUser) -> Box<str> {
    let status = user.status.as_deref().unwrap_or_default();
    let text = format!("{}\n{}\n{status}", user.label(), user.id);
    text.to_lowercase().into_boxed_str()
}

/// The name in the user object of an event.
fn name_of(user: &EventUser<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Option<Cow<'a, str>>,
    }
    let named: Named<'_> = serde_json::from_str(user.raw).ok()?;
    named.name.map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::history::SparkCell;
    use super::super::testing::{apply, at, record_of};
    use super::*;

    fn user<'a>(state: &'a TopState, id: &str) -> &'a TrackedUser {
        state.users().iter().find(|user| &*user.id == id).unwrap()
    }

    fn snapshot(second: i64, id: &str, online: bool) -> serde_json::Value {
        json!({"type": "presence.snapshot", "received_at": at(second), "source": "query",
               "user": {"id": id, "name": id.to_uppercase(), "online": online}})
    }

    fn change(second: i64, id: &str, online: bool) -> serde_json::Value {
        json!({"type": "user.presence.changed", "received_at": at(second), "source": "ws",
               "created_at": at(second), "user": {"id": id, "name": id.to_uppercase(), "online": online}})
    }

    #[test]
    fn a_state_that_was_there_at_the_start_began_at_an_unknown_time() {
        let mut state = TopState::default();
        apply(
            &mut state,
            &[snapshot(0, "amy", true), snapshot(0, "bob", false)],
        );
        apply(&mut state, &[change(60, "amy", false)]);
        let (amy, bob) = (user(&state, "amy"), user(&state, "bob"));
        assert_eq!((amy.state, amy.since), (OnlineState::Offline, 60_000));
        assert!(amy.is_since_exact && !bob.is_since_exact);
        assert_eq!(amy.label(), "AMY");
        assert_eq!(amy.history.changes_since(0), 1);
        assert_eq!(bob.history.changes_since(0), 0);
        assert_eq!(state.delay, Some(0));
        let counts = StateCounts {
            online: 0,
            offline: 2,
            unknown: 0,
        };
        assert_eq!(state.counts(), counts);
    }

    #[test]
    fn everybody_is_unknown_in_a_gap() {
        let mut state = TopState::default();
        apply(
            &mut state,
            &[snapshot(0, "amy", true), snapshot(0, "bob", true)],
        );
        apply(
            &mut state,
            &[
                json!({"type": "connection.changed", "received_at": at(70), "source": "local",
                     "online": false, "reason": "reset", "attempt": 2}),
            ],
        );
        let lost = ConnectionStatus::Lost {
            reason: "reset".to_owned(),
            attempt: 2,
        };
        assert_eq!((&state.connection, state.lost_at), (&lost, Some(70_000)));
        assert_eq!(
            user(&state, "amy").state,
            OnlineState::Online,
            "as last known"
        );
        apply(
            &mut state,
            &[
                json!({"type": "connection.changed", "received_at": at(170), "source": "local",
                       "online": true, "reason": "connected again", "attempt": 0}),
                json!({"type": "presence.gap", "received_at": at(180), "source": "local",
                       "from": at(60), "to": at(180), "repaired": ["amy"], "note": "reset"}),
                json!({"type": "user.presence.changed", "received_at": at(180), "source": "resync",
                       "user": {"id": "amy", "online": false}}),
                json!({"type": "connection.recovered", "received_at": at(180), "source": "local"}),
            ],
        );
        let (amy, bob) = (user(&state, "amy"), user(&state, "bob"));
        assert_eq!(
            (amy.state, amy.is_since_exact),
            (OnlineState::Offline, false)
        );
        assert_eq!((bob.state, bob.since), (OnlineState::Online, 180_000));
        assert!(!bob.is_since_exact);
        assert_eq!(amy.history.changes_since(0), 0, "nobody saw it");
        use SparkCell::{Online, Unknown};
        for (user, after) in [(amy, Online(0)), (bob, Online(8))] {
            let cells = user.history.sparkline(200_000, 60_000, 4, state.lost_at);
            assert_eq!(cells, [Online(8), Unknown, Unknown, after]);
        }
        assert_eq!((state.gaps, state.reconnects), (1, 1));
        assert_eq!(state.connection, ConnectionStatus::Connected);
    }

    #[test]
    fn missing_users_are_unknown_and_deleted_ones_are_gone() {
        let mut state = TopState::default();
        let coverage = |second, missing: &[&str]| {
            json!({"type": "presence.coverage", "received_at": at(second), "source": "local",
                   "requested": 2, "subscribed": 2 - missing.len(), "missing": missing})
        };
        apply(
            &mut state,
            &[snapshot(0, "amy", true), coverage(1, &["bob"])],
        );
        assert_eq!(user(&state, "bob").state, OnlineState::Unknown);
        let deleted = json!({"type": "user.deleted", "received_at": at(2), "source": "ws", "user": {"id": "amy"}});
        apply(&mut state, &[deleted, coverage(3, &["amy", "bob"])]);
        assert_eq!(user(&state, "amy").state, OnlineState::Gone);
        apply(
            &mut state,
            &[snapshot(4, "bob", true), change(5, "amy", true)],
        );
        assert_eq!(state.counts().online, 2, "created again");
    }

    #[test]
    fn visitors_of_a_channel_are_not_shown_and_the_end_makes_everybody_unknown() {
        let mut state = TopState::default();
        let visit = |id: &str| json!({"type": "user.watching.start", "received_at": at(1), "source": "ws", "user": {"id": id, "online": true}});
        apply(
            &mut state,
            &[snapshot(0, "amy", false), visit("amy"), visit("eve")],
        );
        assert_eq!(state.users().len(), 1);
        assert_eq!(user(&state, "amy").state, OnlineState::Online);
        let end = json!({"type": "stream.end", "received_at": at(9), "source": "local", "reason": "terminated",
                         "events": 1, "gaps": 0, "reconnects": 0, "exit_code": 143});
        apply(&mut state, &[end]);
        assert_eq!(user(&state, "amy").state, OnlineState::Unknown);
        assert_eq!(
            state.connection,
            ConnectionStatus::Ended(EndReason::Terminated)
        );
    }

    #[test]
    fn a_name_of_an_unexpected_type_is_no_name() {
        let line = json!({"type": "user.updated", "received_at": at(0), "source": "ws",
                          "user": {"id": "amy", "name": 7, "online": true, "status": "Café"}});
        let mut state = TopState::default();
        let line = line.to_string();
        state.apply(&record_of(&line));
        let amy = user(&state, "amy");
        assert_eq!((amy.label(), &*amy.search_text), ("amy", "amy\namy\ncafé"));
    }
}
