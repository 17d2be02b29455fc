//! A harness for tests of the rules: a state, a clock that only the test moves, and the frames of each connection.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::mock::api_version::ApiVersion;
use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::connection::Transport;
use crate::mock::engine::data::requests::Caller;
use crate::mock::engine::data::state::{Delivery, ServiceState, Signal};
use crate::mock::engine::operations::OperationRequest;
use crate::mock::engine::rules::presence::ConnectRequest;
use crate::mock::error::Rejection;
use crate::mock::options::MockRules;

/// A harness for tests of the rules.
pub(crate) struct TestState {
    pub(crate) state: ServiceState,
    pub(crate) now: DateTime<Utc>,
    frames: HashMap<ConnectionKey, Vec<Value>>,
    closed: HashMap<ConnectionKey, u16>,
}

impl TestState {
    pub(crate) fn new() -> Self {
        Self::with(MockRules::default())
    }

    pub(crate) fn with(rules: MockRules) -> Self {
        Self {
            state: ServiceState::new(rules, 7),
            now: DateTime::from_timestamp(1_767_610_800, 123_456_789).unwrap(),
            frames: HashMap::new(),
            closed: HashMap::new(),
        }
    }

    /// Advances the clock, and processes everything that becomes due.
    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
        self.state.tick(self.now);
        self.collect();
    }

    fn collect(&mut self) {
        for Delivery {
            connections,
            signal,
        } in self.state.drain()
        {
            match signal {
                Signal::Event(event) => {
                    let event: Value = serde_json::from_slice(&event).unwrap();
                    for connection in connections {
                        let frames = self.frames.entry(connection).or_default();
                        frames.push(event.clone());
                    }
                }
                Signal::Close { code, .. } => {
                    self.closed
                        .extend(connections.into_iter().map(|key| (key, code)));
                }
                Signal::Cut => {
                    self.closed
                        .extend(connections.into_iter().map(|key| (key, 1006)));
                }
            }
        }
    }

    /// Connects a user and removes the first health check from the frames.
    pub(crate) fn connect(&mut self, id: &str) -> ConnectionKey {
        self.connect_as(id, serde_json::json!({})).unwrap()
    }

    pub(crate) fn connect_as(
        &mut self,
        id: &str,
        details: Value,
    ) -> Result<ConnectionKey, Rejection> {
        let (key, first) = self.try_connect(&user(id), details)?;
        assert_eq!(first["type"], "health.check");
        Ok(key)
    }

    /// Connects a user and returns the first frame.
    pub(crate) fn try_connect(
        &mut self,
        caller: &Caller,
        details: Value,
    ) -> Result<(ConnectionKey, Value), Rejection> {
        let request = ConnectRequest {
            user_id: None,
            details: fields(details),
            carrier: Transport::Socket,
            version: ApiVersion::V1,
            token_expires: None,
        };
        let key = self.state.connect(self.now, caller, &request)?;
        self.collect();
        Ok((key, self.frames.get_mut(&key).unwrap().remove(0)))
    }

    pub(crate) fn disconnect(&mut self, key: ConnectionKey) {
        self.state.disconnect(self.now, key);
        self.collect();
    }

    /// Applies an operation.
    pub(crate) fn apply(
        &mut self,
        caller: &Caller,
        request: OperationRequest,
    ) -> Result<Value, Rejection> {
        let reply = self.state.apply(self.now, caller, request);
        self.collect();
        reply.map(|reply| serde_json::from_str(&reply.body).unwrap())
    }

    /// The id of a connection.
    pub(crate) fn id(&self, key: ConnectionKey) -> String {
        self.state.connection_id(key).unwrap().to_owned()
    }

    /// Takes the frames that a connection has received.
    pub(crate) fn take(&mut self, key: ConnectionKey) -> Vec<Value> {
        self.frames.remove(&key).unwrap_or_default()
    }

    /// Takes the frames that every connection has received.
    pub(crate) fn take_all(&mut self) -> HashMap<ConnectionKey, Vec<Value>> {
        std::mem::take(&mut self.frames)
    }

    /// Sends a ping as a client.
    pub(crate) fn ping(&mut self, key: ConnectionKey) {
        self.state.ping(self.now, key);
        self.collect();
    }

    /// Takes the frames since the last operation.
    pub(crate) fn frames_of(&mut self, keys: &[ConnectionKey]) -> Vec<Vec<Value>> {
        self.collect();
        keys.iter().map(|key| self.take(*key)).collect()
    }

    /// Takes the frames of a connection as short texts: the type, the user, and `online` if the event has it.
    pub(crate) fn heard(&mut self, key: ConnectionKey) -> Vec<String> {
        self.take(key)
            .iter()
            .map(|event| {
                let kind = event["type"].as_str().unwrap();
                let user = event["user"]["id"].as_str().unwrap_or("-");
                match kind {
                    "user.presence.changed" => format!("{kind} {user} {}", event["user"]["online"]),
                    _ => format!("{kind} {user}"),
                }
            })
            .collect()
    }

    /// The code that a connection was closed with.
    pub(crate) fn closed(&self, key: ConnectionKey) -> Option<u16> {
        self.closed.get(&key).copied()
    }

    /// Creates users with server credentials.
    pub(crate) fn users(&mut self, ids: &[&str]) {
        for batch in ids.chunks(100) {
            let users: Map<String, Value> = batch
                .iter()
                .map(|id| ((*id).to_owned(), serde_json::json!({"id": id})))
                .collect();
            self.apply(
                &Caller::Server,
                op("POST /users", serde_json::json!({"users": users})),
            )
            .unwrap();
        }
    }

    /// Subscribes a connection to users by a users query.
    pub(crate) fn subscribe(&mut self, caller: &str, key: ConnectionKey, ids: &[&str]) -> Value {
        let query = serde_json::json!({
            "filter_conditions": {"id": {"$in": ids}},
            "presence": true,
            "limit": 100,
            "connection_id": self.id(key),
        });
        self.apply(&user(caller), op("GET /users", query)).unwrap()
    }

    /// A channel request with this body.
    pub(crate) fn channel(
        &mut self,
        caller: &Caller,
        cid: &str,
        body: Value,
    ) -> Result<Value, Rejection> {
        self.apply(caller, channel_op("POST", cid, "/query", body))
    }
}

/// A caller with a user token.
pub(crate) fn user(id: &str) -> Caller {
    Caller::User {
        id: id.to_owned(),
        issued_at: None,
    }
}

pub(crate) fn fields(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

/// A request such as `PATCH /users`, with a body.
pub(crate) fn op(method_and_path: &str, body: Value) -> OperationRequest {
    OperationRequest::new(method_and_path, fields(body))
}

/// A request for a channel. `rest` follows the channel in the path.
pub(crate) fn channel_op(method: &str, cid: &str, rest: &str, body: Value) -> OperationRequest {
    let path = cid.replace(':', "/");
    op(&format!("{method} /channels/{path}{rest}"), body)
}

impl crate::mock::engine::data::state::ServiceState {
    /// Checks that indexes agree with the indexed objects, and that no key is stale.
    pub(crate) fn check(&self) {
        for (key, connection) in &self.connections {
            assert_eq!(self.connection_ids.get(&connection.id), Some(key));
            let user = self.users.get(connection.user).expect("whose it is");
            assert!(user.connections.contains(key));
            for (subscribed, _) in &connection.subscriptions {
                let subscribed = self.users.get(*subscribed).expect("a user");
                assert!(subscribed.subscribers.contains(key));
            }
            for channel in &connection.watching {
                let channel = self.channels.get(*channel).expect("a channel");
                assert!(channel.watchers.contains(key));
            }
        }
        assert_eq!(self.connections.len(), self.connection_ids.len());
        for (key, user) in self.users.iter() {
            assert_eq!(self.user_ids.get(&user.id), Some(&key));
            assert_eq!(self.user_order.get(&user.id), Some(&key));
            for connection in &user.connections {
                assert_eq!(self.connections[connection].user, key);
            }
            for connection in &user.subscribers {
                let subscriptions = &self.connections[connection].subscriptions;
                assert!(subscriptions.iter().any(|(user, _)| *user == key));
            }
            for channel in &user.memberships {
                let channel = self.channels.get(*channel).expect("a channel");
                assert!(channel.members.contains(key));
            }
            assert_eq!(user.refresh_at.is_some(), !user.connections.is_empty());
        }
        assert_eq!(self.users.len(), self.user_ids.len());
        assert_eq!(self.users.len(), self.user_order.len());
        for (key, channel) in self.channels.iter() {
            let mut counted = std::collections::BTreeMap::new();
            for connection in &channel.watchers {
                let connection = &self.connections[connection];
                assert!(connection.watching.contains(&key));
                *counted.entry(connection.user).or_insert(0) += 1;
            }
            assert_eq!(counted, channel.watching);
            for user in channel.members.keys() {
                let user = self.users.get(user).expect("a user");
                assert!(user.memberships.contains(&key));
            }
        }
        assert_eq!(self.channels.len(), self.channel_ids.len());
    }
}
