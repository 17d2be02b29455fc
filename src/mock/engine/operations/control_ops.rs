//! Control operations: what `/_mock` requests and the demo do to connections.

use chrono::{DateTime, Utc};

use crate::mock::engine::data::connection::{ConnectionKey, Transport};
use crate::mock::engine::data::requests::Caller;
use crate::mock::engine::data::state::Delivery;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::state::Signal;
use crate::mock::engine::data::timers::{Timer, after};
use crate::mock::error::Rejection;

impl ServiceState {
    /// The id that a client knows a connection by.
    pub(crate) fn connection_id(&self, key: ConnectionKey) -> Option<&str> {
        self.connections.get(&key).map(|connection| &*connection.id)
    }

    /// The connection of a long poll by id, if it belongs to the caller.
    pub(crate) fn own_long_poll(&self, caller: &Caller, id: &str) -> Option<ConnectionKey> {
        let key = *self.connection_ids.get(id)?;
        let connection = self.connections.get(&key)?;
        if connection.carrier != Transport::LongPoll {
            return None;
        }
        let user = self.users.get(connection.user)?;
        let theirs = match caller {
            Caller::Server => true,
            Caller::User { id, .. } => **id == *user.id,
            Caller::Anonymous { .. } => user.is_anonymous(),
        };
        theirs.then_some(key)
    }

    /// Whose a connection is.
    pub(crate) fn owner(&self, key: ConnectionKey) -> Option<&str> {
        let connection = self.connections.get(&key)?;
        Some(&*self.users.get(connection.user)?.id)
    }

    /// Loses a connection as a phone in a tunnel does: nobody says goodbye, so it counts until its silence is noticed.
    pub(crate) fn lose(&mut self, now: DateTime<Utc>, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.last_seen = now;
        let due = after(now, self.rules.idle_timeout);
        if let Some(at) = connection.silence_at.replace(due) {
            self.timers.clear(at, Timer::Silence(key));
        }
        self.timers.set(due, Timer::Silence(key));
        self.out.push(Delivery {
            connections: [key].into(),
            signal: Signal::Cut,
        });
    }

    /// Loses all connections of a user, and says how many there were.
    pub(crate) fn lose_connections(
        &mut self,
        now: DateTime<Utc>,
        id: &str,
    ) -> Result<usize, Rejection> {
        let (_, user) = self
            .user(id)
            .ok_or_else(|| Rejection::not_found(format!("user {id:?} was not found")))?;
        let keys = user.connections.clone();
        for key in &keys {
            self.lose(now, *key);
        }
        Ok(keys.len())
    }

    /// Ends a user's pretended connections, and says how many there were.
    pub(crate) fn disconnect_virtual(
        &mut self,
        now: DateTime<Utc>,
        id: &str,
    ) -> Result<usize, Rejection> {
        let (_, user) = self
            .user(id)
            .ok_or_else(|| Rejection::not_found(format!("user {id:?} was not found")))?;
        let keys: Vec<ConnectionKey> = user
            .connections
            .iter()
            .copied()
            .filter(|key| {
                self.connections
                    .get(key)
                    .is_some_and(|connection| connection.carrier == Transport::Virtual)
            })
            .collect();
        for key in &keys {
            self.disconnect(now, *key);
        }
        Ok(keys.len())
    }

    /// Connects a user if they pretend nothing yet, and ends what they pretend otherwise. Returns whether they are
    /// connected now.
    pub(crate) fn toggle_virtual(
        &mut self,
        now: DateTime<Utc>,
        id: &str,
    ) -> Result<bool, Rejection> {
        let connects = self.disconnect_virtual(now, id)? == 0;
        if connects {
            self.connect_virtual(now, id)?;
        }
        Ok(connects)
    }

    /// Whether a client of a user is connected.
    pub(crate) fn has_client(&self, id: &str) -> bool {
        let is_client = |key: &ConnectionKey| {
            self.connections
                .get(key)
                .is_some_and(|connection| connection.carrier != Transport::Virtual)
        };
        self.user(id)
            .is_some_and(|(_, user)| user.connections.iter().any(is_client))
    }

    /// The ids of all users, in order.
    pub(crate) fn user_ids(&self) -> Vec<String> {
        self.user_order.keys().map(|id| id.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::mock::engine::test_support::TestState;

    #[test]
    fn a_lost_connection_counts_until_the_idle_timeout() {
        let mut stage = TestState::new();
        stage.users(&["B"]);
        let watcher = stage.connect("A");
        stage.subscribe("A", watcher, &["B"]);
        stage.state.connect_virtual(stage.now, "B").unwrap();
        let client = stage.connect("B");
        assert_eq!(stage.heard(watcher), ["user.presence.changed B true"]);
        assert_eq!(stage.state.lose_connections(stage.now, "B").unwrap(), 2);
        for _ in 0..59 {
            stage.pass(1);
            stage.state.record_activity(stage.now, watcher);
        }
        assert_eq!(stage.closed(client), Some(1006));
        assert!(stage.heard(watcher).is_empty());
        stage.pass(1);
        assert_eq!(stage.heard(watcher), ["user.presence.changed B false"]);
        assert!(stage.state.lose_connections(stage.now, "nobody").is_err());
    }
}
