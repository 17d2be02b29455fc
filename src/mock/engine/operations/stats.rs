//! Counts and lists of what the state holds, for the control API.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::mock::engine::data::connection::{Connection, Transport};
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::StoredUser;

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateStats {
    pub(crate) users: usize,
    /// Users who are online as others see it.
    pub(crate) online: usize,
    pub(crate) channels: usize,
    pub(crate) connections: usize,
    /// Connections behind which there is no client.
    pub(crate) pretended: usize,
    /// Pairs of a connection and a user whose presence it hears.
    pub(crate) subscriptions: usize,
    /// Pairs of a connection and a channel that it watches.
    pub(crate) watches: usize,
}

/// A connection, as the control API lists it.
#[derive(Debug, Serialize)]
pub(crate) struct ConnectionStats<'a> {
    connection_id: &'a str,
    user: &'a str,
    carrier: &'static str,
    last_seen: Rfc3339,
    subscriptions: usize,
    watching: Vec<&'a str>,
}

/// A connection and its subscriptions, as the control API shows them.
#[derive(Debug, Serialize)]
struct ConnectionDetails<'a> {
    #[serde(flatten)]
    connection: ConnectionStats<'a>,
    /// The users to whose presence it is subscribed.
    users: BTreeSet<&'a str>,
}

/// A user, as the control API lists them.
#[derive(Debug, Serialize)]
struct UserStats<'a> {
    id: &'a str,
    name: Option<&'a str>,
    /// Whether they are online to others.
    online: bool,
    invisible: bool,
    status: Option<&'a serde_json::Value>,
    last_active: Option<Rfc3339>,
    /// How many connections they have.
    connections: usize,
    /// How many of them have no client.
    r#virtual: usize,
    deactivated: bool,
    deleted: bool,
}

impl ServiceState {
    /// Counts everything.
    pub(crate) fn stats(&self) -> StateStats {
        let (users, channels, connections) = self.counts();
        let all = || self.users.iter().map(|(_, user)| user);
        let open = || self.connections.values();
        StateStats {
            users,
            online: all()
                .filter(|user| StoredUser::is_visibly_online(user))
                .count(),
            channels,
            connections,
            pretended: open()
                .filter(|connection| connection.carrier == Transport::Virtual)
                .count(),
            subscriptions: all().map(|user| user.subscribers.len()).sum(),
            watches: open().map(|connection| connection.watching.len()).sum(),
        }
    }

    /// All connections, in the order of their coming.
    pub(crate) fn list_connections(&self) -> serde_json::Value {
        let mut keys: Vec<_> = self.connections.keys().copied().collect();
        keys.sort_unstable();
        let listed: Vec<ConnectionStats<'_>> = keys
            .iter()
            .filter_map(|key| self.connection_stats(self.connections.get(key)?))
            .collect();
        to_json(&listed)
    }

    /// The connection of this id, with the users to whose presence it is subscribed.
    pub(crate) fn show_connection(&self, id: &str) -> Option<serde_json::Value> {
        let connection = self
            .connections
            .values()
            .find(|connection| &*connection.id == id)?;
        let users: BTreeSet<&str> = connection
            .subscriptions
            .iter()
            .filter_map(|(user, _)| self.users.get(*user))
            .map(|user| &*user.id)
            .collect();
        Some(to_json(&ConnectionDetails {
            connection: self.connection_stats(connection)?,
            users,
        }))
    }

    fn connection_stats<'a>(&'a self, connection: &'a Connection) -> Option<ConnectionStats<'a>> {
        Some(ConnectionStats {
            connection_id: &connection.id,
            user: &self.users.get(connection.user)?.id,
            carrier: connection.carrier.name(),
            last_seen: Rfc3339(connection.last_seen),
            subscriptions: connection.subscriptions.len(),
            watching: connection
                .watching
                .iter()
                .filter_map(|key| self.channels.get(*key))
                .map(|channel| &*channel.cid)
                .collect(),
        })
    }

    /// Users whose id, name or status contains a text, by id, and how many there are in all.
    pub(crate) fn list_users(
        &self,
        search: &str,
        offset: usize,
        limit: usize,
    ) -> serde_json::Value {
        let search = search.to_lowercase();
        let contains = |text: &str| text.to_lowercase().contains(&search);
        let mut found: Vec<&StoredUser> = self
            .users
            .iter()
            .map(|(_, user)| user)
            .filter(|user| {
                search.is_empty()
                    || contains(&user.id)
                    || user.profile.name.as_deref().is_some_and(contains)
                    || status_of(user)
                        .and_then(serde_json::Value::as_str)
                        .is_some_and(contains)
            })
            .collect();
        found.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let users: Vec<UserStats<'_>> = found
            .iter()
            .skip(offset)
            .take(limit)
            .map(|user| UserStats {
                id: &user.id,
                name: user.profile.name.as_deref(),
                online: user.is_visibly_online(),
                invisible: user.profile.invisible,
                status: status_of(user),
                last_active: user.last_active.map(Rfc3339),
                connections: user.connections.len(),
                r#virtual: user
                    .connections
                    .iter()
                    .filter_map(|key| self.connections.get(key))
                    .filter(|connection| connection.carrier == Transport::Virtual)
                    .count(),
                deactivated: user.deactivated_at.is_some(),
                deleted: user.deleted_at.is_some(),
            })
            .collect();
        serde_json::json!({ "users": users, "total": found.len() })
    }

    /// Whether there is a user of this id.
    pub(crate) fn user_exists(&self, id: &str) -> bool {
        self.user(id).is_some()
    }
}

fn status_of(user: &StoredUser) -> Option<&serde_json::Value> {
    user.profile.custom.as_ref()?.get("status")
}

fn to_json(stats: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(stats).expect("it has string keys and no fallible parts")
}
