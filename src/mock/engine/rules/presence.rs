//! Presence: who is online, and who receives an event when that changes.
//!
//! A user is online to others while they have a connection and are not invisible. Every change goes through
//! [`ServiceState::with_presence_event`], which compares the state before and after. So no change can forget the event
//! or send it twice.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::domain::{ApiErrorCode, UserId};
use crate::mock::api_version::ApiVersion;
use crate::mock::engine::data::connection::{
    Connection, ConnectionKey, SubscriptionSource, Transport,
};
use crate::mock::engine::data::requests::Caller;
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::Delivery;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::state::Signal;
use crate::mock::engine::data::timers::{Timer, after};
use crate::mock::engine::data::user::{StoredUser, UserShape};
use crate::mock::engine::data::user_fields::UserFields;
use crate::mock::error::Rejection;
use crate::mock::options::OwnPresence;

/// A request to connect.
#[derive(Debug, Clone)]
pub(crate) struct ConnectRequest {
    /// `user_id` of the request, if it has one.
    pub(crate) user_id: Option<String>,
    /// `user_details`: the user's fields at top level.
    pub(crate) details: Map<String, Value>,
    /// The transport.
    pub(crate) carrier: Transport,
    /// The handshake, and the dialect of the events.
    pub(crate) version: ApiVersion,
    /// When the token expires.
    pub(crate) token_expires: Option<DateTime<Utc>>,
}

/// The shortest period that a rule may have. A shorter one would keep the mock busy for ever.
const MIN_REFRESH_PERIOD: Duration = Duration::from_millis(1);

/// The last time not after `now` in a sequence of equal steps from `first`. A clock may skip several steps.
fn last_step(first: DateTime<Utc>, step: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
    let passed = (now - first).to_std().unwrap_or_default();
    let rest = passed.as_nanos() % step.as_nanos().max(1);
    u64::try_from(rest)
        .ok()
        .and_then(|rest| TimeDelta::from_std(Duration::from_nanos(rest)).ok())
        .map_or(now, |rest| now - rest)
}

impl ServiceState {
    /// Opens a connection. The first delivery to it is a health check with `me`, or `connection.ok`.
    pub(crate) fn connect(
        &mut self,
        now: DateTime<Utc>,
        caller: &Caller,
        request: &ConnectRequest,
    ) -> Result<ConnectionKey, Rejection> {
        let (id, role) = self.identify(caller, request)?;
        let id: UserId = id
            .parse()
            .map_err(|error: crate::domain::InvalidId| Rejection::input(error.to_string()))?;
        let existing = self.user_ids.get(id.as_str()).copied();
        let before = match existing.and_then(|key| self.users.get(key)) {
            Some(user) => {
                self.check_not_deleted_or_deactivated(user)?;
                self.check_revoked(caller, Some(user))?;
                if request.carrier != Transport::Virtual {
                    self.check_connection_limit(user, &id)?;
                }
                user.profile.clone()
            }
            None => {
                self.check_revoked(caller, None)?;
                UserFields::new(role)
            }
        };
        let profile = before.connected(&request.details, self.rules.custom_data_limit)?;
        let changed = existing.is_some() && profile != before;
        let user = existing.unwrap_or_else(|| self.insert_user(now, id.as_str(), before));
        let key = self.insert_connection(now, user, request);
        // The greeting must be the first frame, so it is sent between the change and its events.
        let was_online = self.is_visibly_online(user);
        self.set_profile(user, profile);
        self.touch_last_active(now, user);
        if let Some(found) = self.users.get_mut(user) {
            found.connections.push(key);
            if let Some(at) = found.offline_at.take() {
                self.timers.clear(at, Timer::Offline(user));
            }
            if changed {
                found.updated_at = stored(now);
            }
        }
        self.send_greeting(now, key, request.version);
        self.publish_presence_if_changed(now, user, was_online);
        if changed {
            self.publish_user_updated(now, user, Some(key));
        }
        Ok(key)
    }

    fn check_connection_limit(&self, user: &StoredUser, id: &UserId) -> Result<(), Rejection> {
        let limit = self.rules.max_connections_per_user;
        if limit == 0 || user.connections.len() < limit {
            return Ok(());
        }
        Err(Rejection::with_code(
            429,
            ApiErrorCode::TooManyConnections.number(),
            format!(
                "user {:?} has {limit} connections, the most allowed",
                id.as_str()
            ),
        ))
    }

    /// Stores a connection and starts its timers.
    fn insert_connection(
        &mut self,
        now: DateTime<Utc>,
        user: UserKey,
        request: &ConnectRequest,
    ) -> ConnectionKey {
        let key = ConnectionKey(self.next_connection);
        self.next_connection += 1;
        let connection_id: Box<str> = self.ids.next(now).into();
        self.connection_ids.insert(connection_id.clone(), key);
        let silence_at = (request.carrier != Transport::Virtual)
            .then(|| after(now, self.rules.idle_timeout))
            .inspect(|at| self.timers.set(*at, Timer::Silence(key)));
        let token_expires = request
            .token_expires
            .filter(|_| self.rules.close_on_token_expiry)
            .inspect(|at| self.timers.set(*at, Timer::Token(key)));
        let health_check_at = self
            .rules
            .health_check_every
            .filter(|_| request.carrier != Transport::Virtual)
            .map(|period| after(now, period))
            .inspect(|at| self.timers.set(*at, Timer::HealthCheck(key)));
        self.connections.insert(
            key,
            Connection {
                id: connection_id,
                user,
                carrier: request.carrier,
                last_seen: now,
                silence_at,
                token_expires,
                health_check_at,
                subscriptions: std::collections::BTreeSet::new(),
                watching: std::collections::BTreeSet::new(),
            },
        );
        key
    }

    /// The connecting user's id, and their role if they are new.
    fn identify<'a>(
        &self,
        caller: &'a Caller,
        request: &'a ConnectRequest,
    ) -> Result<(std::borrow::Cow<'a, str>, &'static str), Rejection> {
        let detail_id = match request.details.get("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(Rejection::field("user_details.id", "must be a string")),
        };
        let named = [detail_id, request.user_id.as_deref()];
        match caller {
            Caller::User { id, .. } => {
                match named.into_iter().flatten().find(|other| other != id) {
                    Some(other) => Err(Rejection::with_code(
                        401,
                        self.rules.id_mismatch_code,
                        format!("the token is for user {id:?}, and the request for {other:?}"),
                    )),
                    None => Ok((id.into(), "user")),
                }
            }
            Caller::Server => match named.into_iter().flatten().next() {
                Some(id) => Ok((id.into(), "user")),
                None => Err(Rejection::input("user_details.id is a required field")),
            },
            Caller::Anonymous { id } => {
                let id = named
                    .into_iter()
                    .flatten()
                    .next()
                    .or(id.as_deref())
                    .ok_or_else(|| Rejection::input("user_details.id is a required field"))?;
                match self.user(id) {
                    // Otherwise a client could become an existing user by naming them.
                    Some((_, user)) if !user.is_anonymous() => Err(Rejection::unauthorized(
                        ApiErrorCode::Unauthenticated.number(),
                        format!("user {id:?} cannot connect anonymously"),
                    )),
                    _ => Ok((id.into(), "anonymous")),
                }
            }
        }
    }

    /// Ends a connection with its watches and subscriptions. If it was the user's last one, their presence ends, too.
    pub(crate) fn disconnect(&mut self, now: DateTime<Utc>, key: ConnectionKey) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let user = connection.user;
        let watching: Vec<ChannelKey> = connection.watching.iter().copied().collect();
        for channel in watching {
            self.unwatch(now, key, channel);
        }
        let connection = self
            .connections
            .remove(&key)
            .expect("nothing since has removed it");
        self.connection_ids.remove(&connection.id);
        for (at, timer) in [
            (connection.silence_at, Timer::Silence(key)),
            (connection.token_expires, Timer::Token(key)),
            (connection.health_check_at, Timer::HealthCheck(key)),
        ] {
            if let Some(at) = at {
                self.timers.clear(at, timer);
            }
        }
        for (subscribed, _) in connection.subscriptions {
            if let Some(subscribed) = self.users.get_mut(subscribed) {
                subscribed.subscribers.remove(&key);
            }
        }
        let grace = self.rules.offline_grace;
        let was_online = self.is_visibly_online(user);
        if let Some(found) = self.users.get_mut(user) {
            found.connections.retain(|other| *other != key);
            if found.connections.is_empty() {
                if let Some(at) = found.refresh_at.take() {
                    self.timers.clear(at, Timer::Refresh(user));
                }
                if !grace.is_zero() && found.deleted_at.is_none() {
                    let at = after(now, grace);
                    found.offline_at = Some(at);
                    self.timers.set(at, Timer::Offline(user));
                }
            }
        }
        self.publish_presence_if_changed(now, user, was_online);
        self.forget_anonymous(user);
    }

    /// Removes an anonymous user after their last connection.
    fn forget_anonymous(&mut self, key: UserKey) {
        if let Some(user) = self.users.get(key)
            && user.is_anonymous()
            && !user.is_connected()
        {
            self.remove_user(key);
        }
    }

    /// Runs a change of one user and sends `user.presence.changed` if it makes them go online or offline.
    pub(crate) fn with_presence_event(
        &mut self,
        now: DateTime<Utc>,
        key: UserKey,
        change: impl FnOnce(&mut Self),
    ) {
        let was_online = self.is_visibly_online(key);
        change(self);
        self.publish_presence_if_changed(now, key, was_online);
    }

    fn is_visibly_online(&self, key: UserKey) -> bool {
        self.users
            .get(key)
            .is_some_and(StoredUser::is_visibly_online)
    }

    fn publish_presence_if_changed(&mut self, now: DateTime<Utc>, key: UserKey, was_online: bool) {
        if self.is_visibly_online(key) != was_online {
            self.publish_presence(now, key);
        }
    }

    /// Sends `user.presence.changed` with the current state.
    pub(crate) fn publish_presence(&mut self, now: DateTime<Utc>, key: UserKey) {
        let Some(user) = self.users.get(key) else {
            return;
        };
        let receivers: Vec<ConnectionKey> = match self.rules.own_presence {
            OwnPresence::Subscribed => user.subscribers.iter().copied().collect(),
            OwnPresence::Always => self.subscribers_and_own(key),
            OwnPresence::Never => user
                .subscribers
                .iter()
                .copied()
                .filter(|connection| !user.connections.contains(connection))
                .collect(),
        };
        let shape = if user.last_active == Some(now) {
            UserShape::JustActive
        } else {
            UserShape::Common
        };
        self.publish_user(now, "user.presence.changed", key, shape, &receivers);
    }

    /// Sets the fields of a user. If they turn invisible, keeps the `last_active` that others may still see.
    pub(crate) fn set_profile(&mut self, key: UserKey, profile: UserFields) {
        if let Some(user) = self.users.get_mut(key) {
            if profile.invisible && !user.profile.invisible {
                user.shown_last_active = user.last_active;
            }
            user.profile = profile;
        }
    }

    fn touch_last_active(&mut self, now: DateTime<Utc>, key: UserKey) {
        let period = self.rules.last_active_refresh.max(MIN_REFRESH_PERIOD);
        let next = after(now, period);
        if let Some(user) = self.users.get_mut(key) {
            user.last_active = Some(now);
            if let Some(at) = user.refresh_at.replace(next) {
                self.timers.clear(at, Timer::Refresh(key));
            }
            self.timers.set(next, Timer::Refresh(key));
        }
    }

    /// Subscribes a connection to a user's presence.
    pub(crate) fn subscribe(
        &mut self,
        connection: ConnectionKey,
        user: UserKey,
        source: SubscriptionSource,
    ) {
        let (Some(from), Some(to)) = (
            self.connections.get_mut(&connection),
            self.users.get_mut(user),
        ) else {
            return;
        };
        from.subscriptions.insert((user, source));
        to.subscribers.insert(connection);
    }

    /// Ends the subscriptions that a connection has because of calls about a channel.
    pub(crate) fn unsubscribe_channel(&mut self, key: ConnectionKey, channel: ChannelKey) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let source = SubscriptionSource::Channel(channel);
        let users: Vec<UserKey> = connection
            .subscriptions
            .iter()
            .filter(|(_, from)| *from == source)
            .map(|(user, _)| *user)
            .collect();
        for user in users {
            connection.subscriptions.remove(&(user, source));
            let stays = connection
                .subscriptions
                .range((user, SubscriptionSource::Users)..=(user, SubscriptionSource::MAX))
                .next()
                .is_some();
            if !stays && let Some(user) = self.users.get_mut(user) {
                user.subscribers.remove(&key);
            }
        }
    }

    /// Records that a connection sent something.
    pub(crate) fn record_activity(&mut self, now: DateTime<Utc>, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.last_seen = now;
        }
    }

    /// Answers a client's ping.
    pub(crate) fn ping(&mut self, now: DateTime<Utc>, key: ConnectionKey) {
        self.record_activity(now, key);
        self.send_health_check(now, key, self.rules.health_check_me);
    }

    /// When [`ServiceState::tick`] must be called next.
    pub(crate) fn next_deadline(&self) -> Option<DateTime<Utc>> {
        self.timers.next()
    }

    /// Processes all deadlines that are due.
    pub(crate) fn tick(&mut self, now: DateTime<Utc>) {
        while let Some((at, timer)) = self.timers.pop_due(now) {
            match timer {
                Timer::Silence(key) => self.check_silence(now, at, key),
                Timer::Token(key) => {
                    let expired = Rejection::unauthorized(
                        ApiErrorCode::TokenExpired.number(),
                        "the token has expired",
                    );
                    self.refuse(now, key, &expired);
                }
                Timer::HealthCheck(key) => {
                    self.send_health_check(now, key, self.rules.health_check_me);
                    if let (Some(connection), Some(period)) = (
                        self.connections.get_mut(&key),
                        self.rules.health_check_every,
                    ) {
                        let next = after(now, period);
                        connection.health_check_at = Some(next);
                        self.timers.set(next, Timer::HealthCheck(key));
                    }
                }
                Timer::Refresh(key) => {
                    if let Some(user) = self.users.get_mut(key) {
                        user.refresh_at = None;
                        let period = self.rules.last_active_refresh.max(MIN_REFRESH_PERIOD);
                        let last = last_step(at, period, now);
                        self.touch_last_active(last, key);
                    }
                }
                Timer::Offline(key) => {
                    self.with_presence_event(now, key, |state| {
                        if let Some(user) = state.users.get_mut(key)
                            && user.offline_at == Some(at)
                        {
                            user.offline_at = None;
                        }
                    });
                    self.forget_anonymous(key);
                }
                Timer::Expiry(entry) => self.end_expired(at, entry),
            }
        }
    }

    fn check_silence(&mut self, now: DateTime<Utc>, at: DateTime<Utc>, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let due = after(connection.last_seen, self.rules.idle_timeout);
        // The connection was active after the timer was set, so it gets a later deadline. Other deadlines before it
        // come first, even if the clock has skipped both.
        if due > at {
            connection.silence_at = Some(due);
            self.timers.set(due, Timer::Silence(key));
            return;
        }
        connection.silence_at = None;
        // Not 1000, which clients take as final. A user who was only unreachable should reconnect.
        self.close(now, key, 1001, "no frame for too long");
    }

    /// Closes a connection with a code and a reason.
    pub(crate) fn close(
        &mut self,
        now: DateTime<Utc>,
        key: ConnectionKey,
        code: u16,
        reason: &str,
    ) {
        if self.connections.contains_key(&key) {
            self.out.push(Delivery {
                connections: [key].into(),
                signal: Signal::Close {
                    code,
                    reason: Arc::from(reason),
                },
            });
            self.disconnect(now, key);
        }
    }

    /// Sends `connection.error` and closes with code 1000, after which clients do not reconnect.
    pub(crate) fn refuse(&mut self, now: DateTime<Utc>, key: ConnectionKey, reject: &Rejection) {
        if let Some(connection) = self.connections.get(&key) {
            let frame =
                crate::mock::engine::rules::events::connection_error(now, &connection.id, reject);
            self.send(key, frame);
            self.close(now, key, 1000, &reject.detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mock::engine::data::rfc3339::Rfc3339;
    use crate::mock::engine::test_support::{TestState, op, user};
    use crate::mock::options::{InvisibleField, MockRules};

    fn watched() -> (TestState, ConnectionKey) {
        let mut stage = TestState::new();
        stage.users(&["B", "C"]);
        let watcher = stage.connect("A");
        stage.subscribe("A", watcher, &["B"]);
        (stage, watcher)
    }

    fn set_invisible(stage: &mut TestState, id: &str, invisible: bool) {
        let body = json!({"users": [{"id": id, "set": {"invisible": invisible}}]});
        stage.apply(&user(id), op("PATCH /users", body)).unwrap();
    }

    #[test]
    fn a_connect_and_a_disconnect_are_exactly_two_events() {
        let (mut stage, watcher) = watched();
        let b = stage.connect("B");
        stage.connect("C");
        let second = stage.connect("B");
        stage.disconnect(b);
        assert_eq!(stage.heard(watcher), ["user.presence.changed B true"]);
        stage.disconnect(second);
        stage.disconnect(second);
        assert_eq!(stage.heard(watcher), ["user.presence.changed B false"]);
    }

    #[test]
    fn invisible_looks_offline_to_everybody_else() {
        let (mut stage, watcher) = watched();
        let b = stage.connect("B");
        stage.take(watcher);
        set_invisible(&mut stage, "B", true);
        let events = stage.take(watcher);
        assert_eq!(events[0]["type"], "user.presence.changed");
        assert_eq!(events[0]["user"]["online"], false);
        assert_eq!(events[1]["type"], "user.updated");
        assert_eq!(events[1]["user"]["online"], false);
        assert_eq!(events[1]["user"]["invisible"], false);
        assert_eq!(events.len(), 2);
        let own = stage.take(b);
        assert_eq!(own[0]["type"], "user.updated");
        assert_eq!(own[0]["user"]["invisible"], true);
        assert_eq!(own[0]["user"]["online"], true);

        let answer = stage.subscribe("A", watcher, &["B"]);
        assert_eq!(answer["users"][0]["online"], false);
        let query = op("GET /users", json!({"filter_conditions": {"id": "B"}}));
        let answer = stage.apply(&Caller::Server, query).unwrap();
        assert_eq!(answer["users"][0]["online"], false);
        assert_eq!(answer["users"][0]["invisible"], true);

        stage.disconnect(b);
        let back = stage.connect("B");
        assert!(
            stage.heard(watcher).is_empty(),
            "nothing to see of an invisible user"
        );
        set_invisible(&mut stage, "B", false);
        assert_eq!(
            stage.heard(watcher),
            ["user.presence.changed B true", "user.updated B"]
        );
        stage.disconnect(back);
        assert_eq!(stage.heard(watcher), ["user.presence.changed B false"]);
    }

    #[test]
    fn invisible_at_connect_is_kept_until_it_is_taken_back() {
        let (mut stage, watcher) = watched();
        let (b, first) = stage
            .try_connect(&user("B"), json!({"id": "B", "invisible": true}))
            .unwrap();
        assert_eq!(first["me"]["invisible"], true);
        assert_eq!(first["me"]["online"], true);
        assert_eq!(stage.heard(watcher), ["user.updated B"]);
        stage.disconnect(b);
        let (_, first) = stage.try_connect(&user("B"), json!({"id": "B"})).unwrap();
        assert_eq!(first["me"]["invisible"], true);
        assert!(stage.heard(watcher).is_empty());
        stage
            .connect_as("B", json!({"id": "B", "invisible": false}))
            .unwrap();
        assert_eq!(
            stage.heard(watcher),
            ["user.presence.changed B true", "user.updated B"]
        );
    }

    #[test]
    fn several_subscriptions_are_one_event() {
        let (mut stage, watcher) = watched();
        stage.subscribe("A", watcher, &["B", "C"]);
        let watch = json!({"data": {"members": ["B"]}, "watch": true, "presence": true, "connection_id": stage.id(watcher)});
        stage.channel(&user("A"), "messaging:x", watch).unwrap();
        stage.take(watcher);
        stage.connect("B");
        assert_eq!(stage.heard(watcher), ["user.presence.changed B true"]);
    }

    #[test]
    fn subscriptions_die_with_their_connection() {
        let (mut stage, watcher) = watched();
        let other = stage.connect("A");
        stage.disconnect(watcher);
        let b = stage.connect("B");
        assert!(stage.take(watcher).is_empty() && stage.take(other).is_empty());
        let query =
            json!({"filter_conditions": {"id": "B"}, "presence": true, "connection_id": "gone"});
        let reject = stage
            .apply(&user("A"), op("GET /users", query))
            .unwrap_err();
        assert_eq!((reject.status, reject.code), (400, 4));
        assert!(
            reject
                .detail
                .contains("requires an active websocket connection")
        );
        stage.disconnect(b);
    }

    #[test]
    fn last_active_moves_at_connect_and_every_period_and_not_at_disconnect() {
        let mut stage = TestState::new();
        let last_active = |stage: &mut TestState| {
            let query = op("GET /users", json!({"filter_conditions": {"id": "B"}}));
            stage.apply(&Caller::Server, query).unwrap()["users"][0]["last_active"].clone()
        };
        stage.users(&["B"]);
        assert!(last_active(&mut stage).is_null());
        let b = stage.connect("B");
        let connected = json!(Rfc3339(stored(stage.now)));
        assert_eq!(last_active(&mut stage), connected);
        for _ in 0..29 {
            stage.pass(30);
            stage.state.record_activity(stage.now, b);
        }
        assert_eq!(last_active(&mut stage), connected);
        stage.pass(30);
        let refreshed = json!(Rfc3339(stored(stage.now)));
        assert_eq!(last_active(&mut stage), refreshed);
        stage.state.record_activity(stage.now, b);
        stage.pass(10);
        stage.disconnect(b);
        stage.pass(3600);
        assert_eq!(last_active(&mut stage), refreshed);
    }

    #[test]
    fn a_clock_that_jumps_keeps_the_step() {
        let mut stage = TestState::new();
        let start = stage.now;
        stage.state.connect_virtual(stage.now, "B").unwrap();
        stage.pass(40 * 60);
        let query = op("GET /users", json!({"filter_conditions": {"id": "B"}}));
        let answer = stage.apply(&Caller::Server, query).unwrap();
        let expected = Rfc3339(stored(start + TimeDelta::minutes(30)));
        assert_eq!(answer["users"][0]["last_active"], json!(expected));
        stage.pass(5 * 60);
        let query = op("GET /users", json!({"filter_conditions": {"id": "B"}}));
        let answer = stage.apply(&Caller::Server, query).unwrap();
        let expected = Rfc3339(stored(stage.now));
        assert_eq!(answer["users"][0]["last_active"], json!(expected));
    }

    #[test]
    fn others_keep_seeing_the_last_active_from_before_a_user_hid() {
        let (mut stage, watcher) = watched();
        let b = stage.connect("B");
        let before = json!(Rfc3339(stored(stage.now)));
        set_invisible(&mut stage, "B", true);
        stage.disconnect(b);
        stage.pass(20);
        stage.connect("B");
        let seen = stage.subscribe("A", watcher, &["B"])["users"][0]["last_active"].clone();
        assert_eq!(seen, before);
        set_invisible(&mut stage, "B", false);
        let seen = stage.subscribe("A", watcher, &["B"])["users"][0]["last_active"].clone();
        assert_eq!(seen, json!(Rfc3339(stored(stage.now))));
    }

    #[test]
    fn silence_ends_a_connection_with_a_code_to_come_back() {
        let (mut stage, watcher) = watched();
        let b = stage.connect("B");
        stage.take(watcher);
        stage.pass(40);
        stage.state.ping(stage.now, watcher);
        stage.pass(0);
        let answer = stage.take(watcher);
        assert_eq!(answer[0]["type"], "health.check");
        assert_eq!(answer[0]["connection_id"], stage.id(watcher));
        assert!(answer[0].get("me").is_none());
        stage.pass(19);
        assert_eq!(stage.closed(b), None);
        stage.pass(1);
        assert_eq!(stage.closed(b), Some(1001));
        assert_eq!(stage.heard(watcher), ["user.presence.changed B false"]);
        stage.pass(39);
        assert_eq!(stage.closed(watcher), None);
        stage.pass(1);
        assert_eq!(stage.closed(watcher), Some(1001));
    }

    #[test]
    fn a_grace_hides_short_absences() {
        let mut stage = TestState::with(MockRules {
            offline_grace: std::time::Duration::from_secs(5),
            ..MockRules::default()
        });
        stage.users(&["B"]);
        let watcher = stage.connect("A");
        stage.subscribe("A", watcher, &["B"]);
        let b = stage.connect("B");
        stage.disconnect(b);
        stage.pass(4);
        let b = stage.connect("B");
        stage.pass(5);
        assert_eq!(stage.heard(watcher), ["user.presence.changed B true"]);
        stage.disconnect(b);
        stage.pass(4);
        assert!(stage.heard(watcher).is_empty());
        stage.pass(1);
        assert_eq!(stage.heard(watcher), ["user.presence.changed B false"]);
    }

    #[test]
    fn own_presence_comes_to_those_who_subscribed_to_themselves() {
        let mut stage = TestState::new();
        let first = stage.connect("A");
        stage.subscribe("A", first, &["A"]);
        let second = stage.connect("A");
        set_invisible(&mut stage, "A", true);
        assert_eq!(
            stage.heard(first),
            ["user.presence.changed A true", "user.updated A"],
            "an invisible user sees themself online"
        );
        assert_eq!(stage.heard(second), ["user.updated A"]);
    }

    #[test]
    fn a_truthful_mock_shows_invisible_to_others() {
        for (choice, expected) in [
            (InvisibleField::AlwaysFalse, json!(false)),
            (InvisibleField::Truth, json!(true)),
        ] {
            let mut stage = TestState::with(MockRules {
                others_see_invisible: choice,
                ..MockRules::default()
            });
            stage.connect_as("B", json!({"invisible": true})).unwrap();
            let watcher = stage.connect("A");
            let answer = stage.subscribe("A", watcher, &["B"]);
            assert_eq!(answer["users"][0]["invisible"], expected);
            assert_eq!(answer["users"][0]["online"], false);
        }
    }

    #[test]
    fn too_many_connections_of_one_user_are_refused() {
        let mut stage = TestState::with(MockRules {
            max_connections_per_user: 2,
            ..MockRules::default()
        });
        let first = stage.connect("A");
        stage.connect("A");
        assert_eq!(stage.connect_as("A", json!({})).unwrap_err().code, 71);
        stage.disconnect(first);
        stage.connect("A");
    }

    #[test]
    fn the_token_says_who_connects() {
        let mut stage = TestState::new();
        let reject = stage.connect_as("A", json!({"id": "B"})).unwrap_err();
        assert_eq!((reject.status, reject.code), (401, 5));
        let reject = stage.connect_as("a b", json!({})).unwrap_err();
        assert_eq!(reject.code, 4);
    }

    #[test]
    fn an_anonymous_user_exists_while_connected() {
        let mut stage = TestState::new();
        let anonymous = Caller::Anonymous { id: None };
        let (key, first) = stage
            .try_connect(&anonymous, json!({"id": "some-uuid", "anon": true}))
            .unwrap();
        assert_eq!(first["me"]["role"], "anonymous");
        stage.disconnect(key);
        assert!(stage.state.user("some-uuid").is_none());
        stage.users(&["real"]);
        let reject = stage
            .try_connect(&anonymous, json!({"id": "real"}))
            .unwrap_err();
        assert_eq!(reject.code, 5);
    }
}
