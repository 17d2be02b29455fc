//! Property tests of the rules against a simple model without indexes.
//!
//! Random steps of many users, connections and channels run in both. After each step the tests compare every frame that
//! every connection received, and every view of every user. The model is slow on purpose: it keeps plain lists and
//! finds the receivers of an event by comparing the state before and after a step. It shares no code with the rules.
//! `PROPTEST_CASES` sets the number of runs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Map, Value, json};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::requests::Caller;
use crate::mock::engine::data::rfc3339::{Rfc3339, stored};
use crate::mock::engine::operations::OperationRequest;
use crate::mock::engine::test_support::{TestState, channel_op, op, user};
use crate::mock::options::MockRules;

const USERS: usize = 5;
const CHANNELS: usize = 2;
/// Limits small enough to be reached often.
const CHANNEL_CAP: usize = 2;
const USERS_CAP: usize = 3;
const IDLE: i64 = 60;
const REFRESH: i64 = 150;

/// A step of a run. Numbers are indexes into lists that exist at that moment, modulo their length.
#[derive(Debug, Clone)]
enum ModelStep {
    Connect {
        user: usize,
        invisible: Option<bool>,
        status: Option<u8>,
    },
    Disconnect(usize),
    Ping(usize),
    /// Advances the clock. Only the listed connections send a ping first.
    Pass {
        seconds: i64,
        active: Vec<usize>,
    },
    Invisible(usize, bool),
    Status(usize, u8),
    Upsert(usize),
    QueryUsers {
        connection: usize,
        users: Vec<usize>,
        presence: bool,
    },
    QueryChannel {
        connection: usize,
        channel: usize,
        watch: bool,
        presence: bool,
    },
    QueryChannels {
        connection: usize,
        watch: bool,
        presence: bool,
    },
    StopWatching(usize, usize),
    AddMember(usize, usize),
    RemoveMember(usize, usize),
    DeleteChannel(usize),
    DeleteUser(usize, bool),
    RestoreUser(usize),
    Deactivate(usize),
    Reactivate(usize),
}

fn step() -> impl Strategy<Value = ModelStep> {
    let user = || 0..USERS;
    let channel = || 0..CHANNELS;
    let connection = || 0..8_usize;
    prop_oneof![
        8 => (user(), prop::option::weighted(0.3, any::<bool>()), prop::option::weighted(0.2, 0..3_u8))
            .prop_map(|(user, invisible, status)| ModelStep::Connect { user, invisible, status }),
        6 => connection().prop_map(ModelStep::Disconnect),
        1 => connection().prop_map(ModelStep::Ping),
        4 => (1..100_i64, prop::collection::vec(connection(), 0..8))
            .prop_map(|(seconds, active)| ModelStep::Pass { seconds, active }),
        6 => (user(), any::<bool>()).prop_map(|(user, flag)| ModelStep::Invisible(user, flag)),
        2 => (user(), 0..3_u8).prop_map(|(user, status)| ModelStep::Status(user, status)),
        2 => user().prop_map(ModelStep::Upsert),
        6 => (connection(), prop::collection::vec(user(), 1..6), prop::bool::weighted(0.8))
            .prop_map(|(connection, users, presence)| ModelStep::QueryUsers { connection, users, presence }),
        6 => (connection(), channel(), prop::bool::weighted(0.7), prop::bool::weighted(0.7))
            .prop_map(|(connection, channel, watch, presence)| ModelStep::QueryChannel { connection, channel, watch, presence }),
        2 => (connection(), any::<bool>(), any::<bool>())
            .prop_map(|(connection, watch, presence)| ModelStep::QueryChannels { connection, watch, presence }),
        3 => (connection(), channel()).prop_map(|(connection, channel)| ModelStep::StopWatching(connection, channel)),
        3 => (channel(), user()).prop_map(|(channel, user)| ModelStep::AddMember(channel, user)),
        3 => (channel(), user()).prop_map(|(channel, user)| ModelStep::RemoveMember(channel, user)),
        1 => channel().prop_map(ModelStep::DeleteChannel),
        1 => (user(), any::<bool>()).prop_map(|(user, hard)| ModelStep::DeleteUser(user, hard)),
        2 => user().prop_map(ModelStep::RestoreUser),
        1 => user().prop_map(ModelStep::Deactivate),
        2 => user().prop_map(ModelStep::Reactivate),
    ]
}

/// A user of the model.
#[derive(Debug, Clone, PartialEq)]
struct ModelUser {
    /// The order of creation.
    born: usize,
    invisible: bool,
    status: Option<u8>,
    deleted: bool,
    deactivated: bool,
    last_active: Option<DateTime<Utc>>,
    shown_last_active: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq)]
struct ModelConnection {
    key: ConnectionKey,
    user: usize,
    last_seen: DateTime<Utc>,
    /// The users whose presence it receives.
    hears: BTreeSet<usize>,
    watches: BTreeSet<usize>,
}

#[derive(Debug, Clone, Default)]
struct Model {
    users: BTreeMap<usize, ModelUser>,
    connections: Vec<ModelConnection>,
    /// Members in the order of joining.
    channels: BTreeMap<usize, Vec<usize>>,
    births: usize,
    /// The frames that each connection must receive in the current step.
    expected: BTreeMap<ConnectionKey, Vec<String>>,
}

impl Model {
    fn connected(&self, user: usize) -> bool {
        self.connections.iter().any(|c| c.user == user)
    }

    fn online(&self, user: usize) -> bool {
        self.users.get(&user).is_some_and(|found| {
            self.connected(user) && !found.invisible && !found.deleted && !found.deactivated
        })
    }

    fn exists(&self, user: usize) -> bool {
        self.users
            .get(&user)
            .is_some_and(|found| !found.deleted && !found.deactivated)
    }

    fn expect_frame(&mut self, key: ConnectionKey, what: String) {
        self.expected.entry(key).or_default().push(what);
    }

    /// Sends an event to all connections that match a condition.
    fn expect_frames(&mut self, pick: impl Fn(&ModelConnection) -> bool, what: &str) {
        let keys: Vec<ConnectionKey> = self
            .connections
            .iter()
            .filter(|c| pick(c))
            .map(|c| c.key)
            .collect();
        for key in keys {
            self.expect_frame(key, what.to_owned());
        }
    }

    /// Runs a change, and sends presence events to the subscribers of all users who came online or went offline.
    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let before: Vec<bool> = (0..USERS).map(|user| self.online(user)).collect();
        change(self);
        for (user, was) in before.into_iter().enumerate() {
            let is = self.online(user);
            if was == is {
                continue;
            }
            let own = self.connected(user);
            let keys: Vec<(ConnectionKey, bool)> = self
                .connections
                .iter()
                .filter(|c| c.hears.contains(&user))
                .map(|c| (c.key, if c.user == user { own } else { is }))
                .collect();
            for (key, online) in keys {
                self.expect_frame(key, format!("user.presence.changed u{user} {online}"));
            }
        }
    }

    fn updated(&mut self, user: usize, except: Option<ConnectionKey>) {
        self.expect_frames(
            |c| (c.user == user || c.hears.contains(&user)) && Some(c.key) != except,
            &format!("user.updated u{user}"),
        );
    }

    fn watchers(&self, channel: usize) -> BTreeSet<usize> {
        self.connections
            .iter()
            .filter(|c| c.watches.contains(&channel))
            .map(|c| c.user)
            .collect()
    }

    fn watch(&mut self, at: usize, channel: usize) {
        let user = self.connections[at].user;
        let new = !self.watchers(channel).contains(&user);
        self.connections[at].watches.insert(channel);
        if new {
            let count = self.watchers(channel).len();
            self.expect_frames(
                |c| c.watches.contains(&channel),
                &format!("user.watching.start u{user} c{channel} {count}"),
            );
        }
    }

    fn unwatch(&mut self, at: usize, channel: usize) {
        let user = self.connections[at].user;
        if !self.connections[at].watches.remove(&channel) {
            return;
        }
        let watchers = self.watchers(channel);
        if !watchers.contains(&user) {
            self.expect_frames(
                |c| c.watches.contains(&channel),
                &format!("user.watching.stop u{user} c{channel} {}", watchers.len()),
            );
        }
    }

    /// Ends a connection.
    fn disconnect(&mut self, at: usize) {
        for channel in self.connections[at].watches.clone() {
            self.unwatch(at, channel);
        }
        self.change(|model| {
            model.connections.remove(at);
        });
    }

    fn by_key(&self, key: ConnectionKey) -> Option<usize> {
        self.connections.iter().position(|c| c.key == key)
    }

    /// Processes the effects of time: silence ends connections, and `last_active` of the others is updated.
    fn pass(&mut self, now: DateTime<Utc>) {
        loop {
            let silent = self
                .connections
                .iter()
                .map(|c| (c.last_seen + TimeDelta::seconds(IDLE), 0, c.key.0))
                .min();
            let refresh = self
                .users
                .iter()
                .filter(|(user, _)| self.connected(**user))
                .filter_map(|(user, found)| {
                    Some((
                        found.last_active? + TimeDelta::seconds(REFRESH),
                        1,
                        *user as u64,
                    ))
                })
                .min();
            match [silent, refresh].into_iter().flatten().min() {
                Some((at, 0, key)) if at <= now => {
                    let at = self.by_key(ConnectionKey(key)).unwrap();
                    self.disconnect(at);
                }
                Some((at, _, user)) if at <= now => {
                    let user = usize::try_from(user).unwrap();
                    self.users.get_mut(&user).unwrap().last_active = Some(at);
                }
                _ => return,
            }
        }
    }

    /// The users whom a channel call covers.
    fn covered(&self, channel: usize) -> Vec<usize> {
        let members = &self.channels[&channel];
        let mut covered: Vec<usize> = members.iter().copied().take(CHANNEL_CAP).collect();
        let mut watchers: Vec<usize> = self.watchers(channel).into_iter().collect();
        watchers.sort_by_key(|user| self.users[user].born);
        for user in watchers {
            if covered.len() < CHANNEL_CAP && !members.contains(&user) {
                covered.push(user);
            }
        }
        covered
    }

    fn close_user_connections(&mut self, user: usize) {
        let keys: Vec<ConnectionKey> = self
            .connections
            .iter()
            .filter(|c| c.user == user)
            .map(|c| c.key)
            .collect();
        for key in keys {
            self.expect_frame(key, "connection.error".to_owned());
            let at = self.by_key(key).unwrap();
            self.disconnect(at);
        }
    }

    fn set_invisible(&mut self, user: usize, invisible: bool) -> bool {
        let found = self.users.get_mut(&user).unwrap();
        if invisible && !found.invisible {
            found.shown_last_active = found.last_active;
        }
        std::mem::replace(&mut found.invisible, invisible) != invisible
    }

    fn create(&mut self, user: usize) {
        self.births += 1;
        self.users.insert(
            user,
            ModelUser {
                born: self.births,
                invisible: false,
                status: None,
                deleted: false,
                deactivated: false,
                last_active: None,
                shown_last_active: None,
            },
        );
    }

    fn drop_channel(&mut self, channel: usize) {
        self.expect_frames(
            |c| c.watches.contains(&channel),
            &format!("channel.deleted c{channel}"),
        );
        let members = self.channels.remove(&channel).unwrap();
        self.expect_frames(
            |c| members.contains(&c.user) && !c.watches.contains(&channel),
            &format!("notification.channel_deleted c{channel}"),
        );
        for connection in &mut self.connections {
            connection.watches.remove(&channel);
        }
    }
}

/// A run of both implementations.
struct ModelRun {
    stage: TestState,
    model: Model,
}

fn uid(user: usize) -> String {
    format!("u{user}")
}

fn cid(channel: usize) -> String {
    format!("messaging:c{channel}")
}

/// A frame in the model's form.
fn words(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap();
    let user = event["user"]["id"].as_str().unwrap_or_default();
    let channel = event["channel_id"].as_str().unwrap_or_default();
    match kind {
        "user.presence.changed" => format!("{kind} {user} {}", event["user"]["online"]),
        "user.watching.start" | "user.watching.stop" => {
            format!("{kind} {user} {channel} {}", event["watcher_count"])
        }
        "member.added" | "member.removed" => format!("{kind} {user} {channel}"),
        "notification.added_to_channel" | "notification.removed_from_channel" => {
            format!("{kind} {user} {channel}")
        }
        "channel.updated" | "channel.deleted" | "notification.channel_deleted" => {
            format!("{kind} {channel}")
        }
        "user.updated" | "user.deleted" | "user.deactivated" | "user.reactivated" => {
            format!("{kind} {user}")
        }
        other => other.to_owned(),
    }
}

impl ModelRun {
    fn new() -> Self {
        let stage = TestState::with(MockRules {
            presence_cap_channel: CHANNEL_CAP,
            presence_cap_users: USERS_CAP,
            idle_timeout: std::time::Duration::from_secs(IDLE.unsigned_abs()),
            last_active_refresh: std::time::Duration::from_secs(REFRESH.unsigned_abs()),
            ..MockRules::default()
        });
        let mut run = Self {
            stage,
            model: Model::default(),
        };
        // A user who is always online and does nothing else, so that channels have a creator.
        run.stage.users(&["root"]);
        run
    }

    /// The connection at an index, if there is one.
    fn connection(&self, place: usize) -> Option<usize> {
        let count = self.model.connections.len();
        (count > 0).then(|| place % count)
    }

    fn server(&mut self, request: OperationRequest) -> Result<Value, i32> {
        self.stage
            .apply(&Caller::Server, request)
            .map_err(|reject| reject.code)
    }

    fn apply(&mut self, step: &ModelStep) {
        let now = self.stage.now;
        match step {
            ModelStep::Connect {
                user: who,
                invisible,
                status,
            } => self.connect(*who, *invisible, *status),
            ModelStep::Disconnect(place) => {
                if let Some(at) = self.connection(*place) {
                    self.stage.disconnect(self.model.connections[at].key);
                    self.model.disconnect(at);
                }
            }
            ModelStep::Ping(place) => {
                if let Some(at) = self.connection(*place) {
                    let key = self.model.connections[at].key;
                    self.stage.ping(key);
                    self.model.connections[at].last_seen = now;
                    self.model.expect_frame(key, "health.check".to_owned());
                }
            }
            ModelStep::Pass { seconds, active } => {
                for place in active {
                    if let Some(at) = self.connection(*place) {
                        self.stage
                            .state
                            .record_activity(now, self.model.connections[at].key);
                        self.model.connections[at].last_seen = now;
                    }
                }
                self.stage.pass(*seconds);
                self.model.pass(self.stage.now);
            }
            ModelStep::Invisible(who, flag) => {
                let patch = json!({"users": [{"id": uid(*who), "set": {"invisible": flag}}]});
                let result = self.server(op("PATCH /users", patch));
                let exists = self
                    .model
                    .users
                    .get(who)
                    .is_some_and(|found| !found.deleted);
                assert_eq!(result.is_ok(), exists);
                if exists {
                    let mut changed = false;
                    self.model
                        .change(|model| changed = model.set_invisible(*who, *flag));
                    if changed {
                        self.model.updated(*who, None);
                    }
                }
            }
            ModelStep::Status(who, status) => {
                let patch = json!({"users": [{"id": uid(*who), "set": {"status": status}}]});
                let result = self.server(op("PATCH /users", patch));
                let exists = self
                    .model
                    .users
                    .get(who)
                    .is_some_and(|found| !found.deleted);
                assert_eq!(result.is_ok(), exists);
                if exists {
                    let found = self.model.users.get_mut(who).unwrap();
                    if found.status.replace(*status) != Some(*status) {
                        self.model.updated(*who, None);
                    }
                }
            }
            ModelStep::Upsert(who) => self.upsert(*who),
            ModelStep::QueryUsers {
                connection,
                users,
                presence,
            } => self.query_users(*connection, users, *presence),
            ModelStep::QueryChannel {
                connection,
                channel,
                watch,
                presence,
            } => self.query_channel(*connection, *channel, *watch, *presence),
            ModelStep::QueryChannels {
                connection,
                watch,
                presence,
            } => self.query_channels(*connection, *watch, *presence),
            ModelStep::StopWatching(place, channel) => {
                if let Some(at) = self.connection(*place) {
                    let connection = self.model.connections[at].clone();
                    let id = self.stage.id(connection.key);
                    let stop = channel_op(
                        "POST",
                        &cid(*channel),
                        "/stop-watching",
                        json!({"connection_id": id}),
                    );
                    let result = self.stage.apply(&user(&uid(connection.user)), stop);
                    let exists = self.model.channels.contains_key(channel);
                    assert_eq!(result.is_ok(), exists);
                    if exists {
                        self.model.unwatch(at, *channel);
                    }
                }
            }
            ModelStep::AddMember(channel, who) => self.add_member(*channel, *who),
            ModelStep::RemoveMember(channel, who) => self.remove_member(*channel, *who),
            ModelStep::DeleteChannel(channel) => {
                let result = self.server(channel_op("DELETE", &cid(*channel), "", json!({})));
                let exists = self.model.channels.contains_key(channel);
                assert_eq!(result.is_ok(), exists);
                if exists {
                    self.model.drop_channel(*channel);
                }
            }
            ModelStep::DeleteUser(who, hard) => self.delete_user(*who, *hard),
            ModelStep::RestoreUser(who) => {
                let ids = json!({"user_ids": [uid(*who)]});
                let result = self.server(op("POST /users/restore", ids));
                let is_deleted = self.model.users.get(who).is_some_and(|user| user.deleted);
                assert_eq!(result.is_ok(), is_deleted);
                if let Some(found) = self.model.users.get_mut(who) {
                    found.deleted = false;
                }
            }
            ModelStep::Deactivate(who) => {
                let result = self.server(op(
                    &format!("POST /users/{}/deactivate", uid(*who)),
                    json!({}),
                ));
                let alive = self.model.exists(*who);
                assert_eq!(result.is_ok(), alive);
                if alive {
                    self.model
                        .change(|model| model.users.get_mut(who).unwrap().deactivated = true);
                    self.model.expect_frames(
                        |c| c.user == *who || c.hears.contains(who),
                        &format!("user.deactivated u{who}"),
                    );
                    self.model.close_user_connections(*who);
                }
            }
            ModelStep::Reactivate(who) => {
                let result = self.server(op(
                    &format!("POST /users/{}/reactivate", uid(*who)),
                    json!({}),
                ));
                let exists = self
                    .model
                    .users
                    .get(who)
                    .is_some_and(|found| !found.deleted && found.deactivated);
                assert_eq!(result.is_ok(), exists);
                if exists {
                    self.model.users.get_mut(who).unwrap().deactivated = false;
                    self.model.expect_frames(
                        |c| c.hears.contains(who),
                        &format!("user.reactivated u{who}"),
                    );
                }
            }
        }
    }

    fn connect(&mut self, who: usize, invisible: Option<bool>, status: Option<u8>) {
        let mut details = Map::new();
        details.insert("id".to_owned(), uid(who).into());
        if let Some(flag) = invisible {
            details.insert("invisible".to_owned(), flag.into());
        }
        if let Some(status) = status {
            details.insert("status".to_owned(), status.into());
        }
        let opened = self.stage.try_connect(&user(&uid(who)), details.into());
        let new = !self.model.users.contains_key(&who);
        assert_eq!(opened.is_ok(), new || self.model.exists(who));
        let Ok((key, hello)) = opened else {
            return;
        };
        assert_eq!(hello["type"], "health.check");
        let now = self.stage.now;
        if new {
            self.model.create(who);
        }
        let mut changed = false;
        self.model.change(|model| {
            if let Some(flag) = invisible {
                changed |= model.set_invisible(who, flag);
            }
            let found = model.users.get_mut(&who).unwrap();
            if status.is_some() && found.status != status {
                found.status = status;
                changed = true;
            }
            found.last_active = Some(now);
            model.connections.push(ModelConnection {
                key,
                user: who,
                last_seen: now,
                hears: BTreeSet::new(),
                watches: BTreeSet::new(),
            });
        });
        let found = &self.model.users[&who];
        assert_eq!(hello["me"]["invisible"], found.invisible);
        assert_eq!(hello["me"]["online"], true);
        assert_eq!(hello["me"]["last_active"], json!(Rfc3339(now)));
        if changed && !new {
            self.model.updated(who, Some(key));
        }
    }

    fn upsert(&mut self, who: usize) {
        let body = json!({"users": {uid(who): {"id": uid(who)}}});
        let result = self.server(op("POST /users", body));
        match self.model.users.get_mut(&who) {
            None => {
                assert!(result.is_ok());
                self.model.create(who);
            }
            Some(found) if found.deleted => assert!(result.is_err()),
            Some(found) => {
                assert!(result.is_ok());
                // An upsert replaces custom data. Here, that is only the status text.
                if found.status.take().is_some() {
                    self.model.updated(who, None);
                }
            }
        }
    }

    fn query_users(&mut self, place: usize, users: &[usize], presence: bool) {
        let Some(at) = self.connection(place) else {
            return;
        };
        let connection = self.model.connections[at].clone();
        let ids: Vec<String> = users.iter().map(|who| uid(*who)).collect();
        let mut query = json!({"filter_conditions": {"id": {"$in": ids}}, "presence": presence});
        query["connection_id"] = self.stage.id(connection.key).into();
        let answer = self
            .stage
            .apply(&user(&uid(connection.user)), op("GET /users", query))
            .unwrap();
        let mut found: Vec<usize> = users
            .iter()
            .copied()
            .filter(|who| self.model.exists(*who))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        found.sort_by_key(|who| std::cmp::Reverse(self.model.users[who].born));
        let answered: Vec<&str> = answer["users"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["id"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = found.iter().map(|who| uid(*who)).collect();
        assert_eq!(answered, expected);
        if presence {
            self.model.connections[at]
                .hears
                .extend(found.into_iter().take(USERS_CAP));
        }
    }

    fn query_channel(&mut self, place: usize, channel: usize, watch: bool, presence: bool) {
        let Some(at) = self.connection(place) else {
            return;
        };
        let connection = self.model.connections[at].clone();
        let body = json!({
            "data": {"members": [uid(connection.user)]},
            "watch": watch,
            "presence": presence,
            "connection_id": self.stage.id(connection.key),
        });
        let who = connection.user;
        let caller = user(&uid(who));
        let readable = self
            .model
            .channels
            .get(&channel)
            .is_none_or(|members| members.contains(&who) || self.creator(channel) == Some(who));
        let result = self.stage.channel(&caller, &cid(channel), body);
        assert_eq!(result.is_ok(), readable);
        if !readable {
            return;
        }
        if let Entry::Vacant(channel_entry) = self.model.channels.entry(channel) {
            channel_entry.insert(vec![who]);
            self.model.expect_frames(
                |c| c.user == who,
                &format!("notification.added_to_channel u{who} c{channel}"),
            );
        }
        if watch {
            self.model.watch(at, channel);
        }
        if presence {
            let covered = self.model.covered(channel);
            self.model.connections[at].hears.extend(covered);
        }
    }

    /// The creator of a channel, taken from the rules; the model does not decide who may read.
    fn creator(&self, channel: usize) -> Option<usize> {
        let key = self.stage.state.channel_ids.get(cid(channel).as_str())?;
        let by = self.stage.state.channels.get(*key)?.created_by?;
        let id = &self.stage.state.users.get(by)?.id;
        id.strip_prefix('u')?.parse().ok()
    }

    fn query_channels(&mut self, place: usize, watch: bool, presence: bool) {
        let Some(at) = self.connection(place) else {
            return;
        };
        let connection = self.model.connections[at].clone();
        let query = json!({
            "filter_conditions": {"members": {"$in": [uid(connection.user)]}},
            "sort": [{"field": "cid"}],
            "watch": watch,
            "presence": presence,
            "connection_id": self.stage.id(connection.key),
        });
        self.stage
            .apply(&user(&uid(connection.user)), op("POST /channels", query))
            .unwrap();
        let own: Vec<usize> = self
            .model
            .channels
            .iter()
            .filter(|(_, members)| members.contains(&connection.user))
            .map(|(channel, _)| *channel)
            .collect();
        for channel in own {
            if watch {
                self.model.watch(at, channel);
            }
            if presence {
                let covered = self.model.covered(channel);
                self.model.connections[at].hears.extend(covered);
            }
        }
    }

    /// Names a user in a list of a channel update, and returns whether both exist, which is what it takes.
    fn change_members(&mut self, list: &str, channel: usize, who: usize) -> bool {
        let body = json!({list: [uid(who)]});
        let result = self.server(channel_op("POST", &cid(channel), "", body));
        let possible =
            self.model.channels.contains_key(&channel) && self.model.users.contains_key(&who);
        assert_eq!(result.is_ok(), possible);
        possible
    }

    fn add_member(&mut self, channel: usize, who: usize) {
        if !self.change_members("add_members", channel, who) {
            return;
        }
        let members = self.model.channels.get_mut(&channel).unwrap();
        if !members.contains(&who) {
            members.push(who);
            self.model.expect_frames(
                |c| c.watches.contains(&channel),
                &format!("member.added u{who} c{channel}"),
            );
            self.model.expect_frames(
                |c| c.user == who && !c.watches.contains(&channel),
                &format!("notification.added_to_channel u{who} c{channel}"),
            );
        }
        self.model.expect_frames(
            |c| c.watches.contains(&channel),
            &format!("channel.updated c{channel}"),
        );
    }

    fn remove_member(&mut self, channel: usize, who: usize) {
        if !self.change_members("remove_members", channel, who) {
            return;
        }
        let members = self.model.channels.get_mut(&channel).unwrap();
        if let Some(place) = members.iter().position(|member| *member == who) {
            members.remove(place);
            self.model.expect_frames(
                |c| c.watches.contains(&channel),
                &format!("member.removed u{who} c{channel}"),
            );
            self.model.expect_frames(
                |c| c.user == who && !c.watches.contains(&channel),
                &format!("notification.removed_from_channel u{who} c{channel}"),
            );
        }
        self.model.expect_frames(
            |c| c.watches.contains(&channel),
            &format!("channel.updated c{channel}"),
        );
    }

    fn delete_user(&mut self, who: usize, hard: bool) {
        let body = json!({"hard_delete": hard});
        let result = self.server(op(&format!("DELETE /users/{}", uid(who)), body));
        let exists = self
            .model
            .users
            .get(&who)
            .is_some_and(|found| !found.deleted);
        assert_eq!(result.is_ok(), exists);
        if !exists {
            return;
        }
        self.model
            .change(|model| model.users.get_mut(&who).unwrap().deleted = true);
        self.model.expect_frames(
            |c| c.user == who || c.hears.contains(&who),
            &format!("user.deleted u{who}"),
        );
        self.model.close_user_connections(who);
        if hard {
            self.model.users.remove(&who);
            for members in self.model.channels.values_mut() {
                members.retain(|member| *member != who);
            }
            for connection in &mut self.model.connections {
                connection.hears.remove(&who);
            }
        }
    }

    /// Checks that every connection received exactly the frames of the model.
    fn compare_frames(&mut self) {
        let mut expected = std::mem::take(&mut self.model.expected);
        for (key, frames) in self.stage.take_all() {
            let mut active: Vec<String> = frames.iter().map(words).collect();
            let mut wanted = expected.remove(&key).unwrap_or_default();
            // Within one step, the order of frames about different things is not defined.
            active.sort();
            wanted.sort();
            assert_eq!(active, wanted, "connection {key:?}");
        }
        let missed: Vec<_> = expected
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .collect();
        assert!(missed.is_empty(), "never active: {missed:?}");
    }

    /// Checks that a viewer sees every user, and a channel its members, as in the model. The turn selects them.
    fn compare_views(&mut self, turn: usize) {
        self.compare_users(turn);
        let channel = turn % CHANNELS;
        if let Some(members) = self.model.channels.get(&channel).cloned() {
            self.compare_channel(channel, &members);
        }
    }

    fn compare_users(&mut self, turn: usize) {
        let ids: Vec<String> = (0..USERS).map(uid).collect();
        let query = json!({"filter_conditions": {"id": {"$in": ids}}, "limit": 100});
        let viewers: BTreeSet<Option<usize>> = self
            .model
            .connections
            .iter()
            .map(|c| Some(c.user))
            .chain([None])
            .collect();
        let viewer = viewers.iter().copied().nth(turn % viewers.len()).flatten();
        let caller = viewer.map_or(Caller::Server, |who| user(&uid(who)));
        let answer = self.stage.apply(&caller, op("GET /users", query)).unwrap();
        let shown = answer["users"].as_array().unwrap();
        for shown in shown {
            let who: usize = shown["id"].as_str().unwrap()[1..].parse().unwrap();
            self.compare_view(viewer, who, shown);
        }
        let alive = (0..USERS).filter(|who| self.model.exists(*who)).count();
        assert_eq!(shown.len(), alive);
    }

    fn compare_channel(&mut self, channel: usize, members: &[usize]) {
        let body = json!({"state": true, "watchers": {"limit": 100}});
        let state = self
            .stage
            .channel(&Caller::Server, &cid(channel), body)
            .unwrap();
        let listed = state["members"].as_array().unwrap();
        let ids: Vec<&str> = listed
            .iter()
            .map(|m| m["user_id"].as_str().unwrap())
            .collect();
        let wanted: Vec<String> = members.iter().map(|who| uid(*who)).collect();
        assert_eq!(ids, wanted);
        let watchers = self.model.watchers(channel);
        assert_eq!(state["watcher_count"], watchers.len());
        let people = listed
            .iter()
            .map(|member| &member["user"])
            .chain(state["watchers"].as_array().unwrap());
        for shown in people {
            let who: usize = shown["id"].as_str().unwrap()[1..].parse().unwrap();
            assert_eq!(
                shown["online"],
                self.model.online(who),
                "u{who} in c{channel}"
            );
        }
        // Members see each other as other users do.
        if let Some(viewer) = members.iter().copied().find(|who| self.model.exists(*who)) {
            let state = self
                .stage
                .channel(&user(&uid(viewer)), &cid(channel), json!({"state": true}))
                .unwrap();
            for member in state["members"].as_array().unwrap() {
                let who: usize = member["user_id"].as_str().unwrap()[1..].parse().unwrap();
                let online = if who == viewer {
                    self.model.connected(who)
                } else {
                    self.model.online(who)
                };
                assert_eq!(
                    member["user"]["online"], online,
                    "u{who} as u{viewer} sees them"
                );
            }
        }
    }

    fn compare_view(&self, viewer: Option<usize>, who: usize, shown: &Value) {
        let found = &self.model.users[&who];
        let own = viewer == Some(who);
        let online = if own {
            self.model.connected(who)
        } else {
            self.model.online(who)
        };
        assert_eq!(shown["online"], online, "u{who} as {viewer:?} sees them");
        let invisible = if own || viewer.is_none() {
            json!(found.invisible)
        } else {
            json!(false)
        };
        assert_eq!(
            shown["invisible"], invisible,
            "u{who} as {viewer:?} sees them"
        );
        let last_active = if own || viewer.is_none() || !found.invisible {
            found.last_active
        } else {
            found.shown_last_active
        };
        assert_eq!(
            shown["last_active"],
            json!(last_active.map(stored).map(Rfc3339)),
            "u{who} as {viewer:?} sees them"
        );
        assert_eq!(shown["status"], json!(found.status));
    }
}

proptest! {
    #![proptest_config(Config {
        failure_persistence: None,
        max_shrink_iters: 256,
        ..Config::default()
    })]

    #[test]
    fn rules_and_model_agree(steps in prop::collection::vec(step(), 50..80)) {
        let mut run = ModelRun::new();
        for (turn, step) in steps.iter().enumerate() {
            run.apply(step);
            run.compare_frames();
            run.compare_views(turn);
            run.stage.state.check();
        }
        for turn in 0..=USERS {
            run.compare_views(turn);
        }
        // At the end of the run everybody disconnects, and no state of theirs may remain.
        while let Some(connection) = run.model.connections.first().cloned() {
            run.stage.disconnect(connection.key);
            run.model.disconnect(0);
            run.compare_frames();
        }
        run.stage.state.check();
        prop_assert_eq!(run.stage.state.next_deadline(), None);
    }
}
