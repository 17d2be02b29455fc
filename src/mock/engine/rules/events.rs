//! Events: their JSON, and how they reach their receivers.
//!
//! An event is serialised once per view, and there are two: the user's own, and everybody else's. All receivers of a
//! view share the text. The code that makes a change decides who receives its event.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use smallvec::SmallVec;

use crate::mock::api_version::ApiVersion;
use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::state::Delivery;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::state::Signal;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;
use crate::mock::error::{ErrorBody, Rejection};

/// The JSON of an event about a user.
#[derive(Serialize)]
struct UserEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    user: UserView<'a>,
    created_at: Rfc3339,
}

/// The JSON of a health check.
#[derive(Serialize)]
struct HealthCheck<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    connection_id: &'a str,
    cid: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    me: Option<UserView<'a>>,
    created_at: Rfc3339,
}

/// The JSON of the first frame under `/api/v2`.
#[derive(Serialize)]
struct ConnectionOk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    connection_id: &'a str,
    me: UserView<'a>,
    created_at: Rfc3339,
}

/// Serialises an event.
pub(crate) fn frame(event: &impl Serialize) -> Bytes {
    serde_json::to_string(event)
        .expect("views have string keys and no fallible parts")
        .into()
}

/// The frame that refuses or ends a connection.
pub(crate) fn connection_error(
    now: DateTime<Utc>,
    connection_id: &str,
    reject: &Rejection,
) -> Bytes {
    #[derive(Serialize)]
    struct ConnectionError<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        connection_id: &'a str,
        created_at: Rfc3339,
        error: ErrorBody<'a>,
    }
    frame(&ConnectionError {
        kind: "connection.error",
        connection_id,
        created_at: Rfc3339(now),
        error: reject.body("Connect", ""),
    })
}

impl ServiceState {
    /// Sends one frame to one connection.
    pub(crate) fn send(&mut self, connection: ConnectionKey, frame: Bytes) {
        self.out.push(Delivery {
            connections: [connection].into(),
            signal: Signal::Event(frame),
        });
    }

    /// Sends an event to connections. It is serialised once for the user's own view and once for everybody else's.
    pub(crate) fn publish(
        &mut self,
        receivers: &[ConnectionKey],
        subject: Option<UserKey>,
        write: impl Fn(&Self, Viewer) -> Bytes,
    ) {
        if receivers.is_empty() {
            return;
        }
        let subject = subject.and_then(|key| Some((key, &self.users.get(key)?.connections)));
        let is_own = |connection: &ConnectionKey| {
            subject.is_some_and(|(_, connections)| connections.contains(connection))
        };
        let (own, others): (SmallVec<_>, SmallVec<_>) = receivers.iter().copied().partition(is_own);
        let views = [
            (subject.map(|(key, _)| Viewer::User(key)), own),
            (Some(Viewer::Other), others),
        ];
        for (viewer, connections) in views {
            if let Some(viewer) = viewer
                && !connections.is_empty()
            {
                let signal = Signal::Event(write(self, viewer));
                self.out.push(Delivery {
                    connections,
                    signal,
                });
            }
        }
    }

    /// Sends an event about a user to connections.
    pub(crate) fn publish_user(
        &mut self,
        now: DateTime<Utc>,
        kind: &str,
        key: UserKey,
        shape: UserShape,
        receivers: &[ConnectionKey],
    ) {
        self.publish(receivers, Some(key), |state, viewer| {
            frame(&UserEvent {
                kind,
                user: state.view(key, viewer, shape),
                created_at: Rfc3339(now),
            })
        });
    }

    /// Sends `user.updated` to the user's subscribers and to their own connections, except the one that caused it.
    pub(crate) fn publish_user_updated(
        &mut self,
        now: DateTime<Utc>,
        key: UserKey,
        except: Option<ConnectionKey>,
    ) {
        let receivers: Vec<ConnectionKey> = self
            .subscribers_and_own(key)
            .into_iter()
            .filter(|connection| Some(*connection) != except)
            .collect();
        self.publish_user(now, "user.updated", key, UserShape::Updated, &receivers);
    }

    /// The connections of the user's subscribers and of the user, each once.
    pub(crate) fn subscribers_and_own(&self, key: UserKey) -> Vec<ConnectionKey> {
        let Some(user) = self.users.get(key) else {
            return Vec::new();
        };
        let mut receivers: Vec<ConnectionKey> = user.subscribers.iter().copied().collect();
        receivers.extend(
            user.connections
                .iter()
                .filter(|connection| !user.subscribers.contains(connection)),
        );
        receivers
    }

    /// Sends the first frame of a connection.
    pub(crate) fn send_greeting(
        &mut self,
        now: DateTime<Utc>,
        key: ConnectionKey,
        version: ApiVersion,
    ) {
        if version == ApiVersion::V1 {
            return self.send_health_check(now, key, true);
        }
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let user = connection.user;
        let frame = frame(&ConnectionOk {
            kind: "connection.ok",
            connection_id: &connection.id,
            me: self.view(user, Viewer::User(user), UserShape::Own),
            created_at: Rfc3339(now),
        });
        self.send(key, frame);
    }

    /// Sends a health check.
    pub(crate) fn send_health_check(&mut self, now: DateTime<Utc>, key: ConnectionKey, me: bool) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let user = connection.user;
        let frame = frame(&HealthCheck {
            kind: "health.check",
            connection_id: &connection.id,
            cid: "*",
            me: me.then(|| self.view(user, Viewer::User(user), UserShape::Own)),
            created_at: Rfc3339(now),
        });
        self.send(key, frame);
    }
}
