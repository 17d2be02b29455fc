//! Counts and lists of what the state holds, for the control API.

use serde::Serialize;

use crate::mock::engine::data::connection::Transport;
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
            .filter_map(|key| {
                let connection = self.connections.get(key)?;
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
            })
            .collect();
        serde_json::to_value(listed).expect("it has string keys and no fallible parts")
    }

    /// Whether there is a user of this id.
    pub(crate) fn user_exists(&self, id: &str) -> bool {
        self.user(id).is_some()
    }
}
