//! Strings for the control API and the demonstration: what no client of the service could do.

use chrono::{DateTime, Utc};

use super::State;
use super::connection::{Carrier, ConnKey};
use super::op::Caller;
use crate::mock::error::Reject;

impl State {
    /// The id that a client knows a connection by.
    pub(crate) fn connection_id(&self, key: ConnKey) -> Option<&str> {
        self.connections.get(&key).map(|connection| &*connection.id)
    }

    /// A connection by id, if it belongs to the caller.
    pub(crate) fn own_connection(&self, caller: &Caller, id: &str) -> Option<ConnKey> {
        let key = *self.connection_ids.get(id)?;
        let user = self.users.get(self.connections.get(&key)?.user)?;
        let theirs = match caller {
            Caller::Server => true,
            Caller::User { id, .. } => **id == *user.id,
            Caller::Anonymous { .. } => user.is_anonymous(),
        };
        theirs.then_some(key)
    }

    /// Ends a user's pretended connections, and says how many there were.
    pub(crate) fn disconnect_virtual(
        &mut self,
        now: DateTime<Utc>,
        id: &str,
    ) -> Result<usize, Reject> {
        let (_, user) = self
            .user(id)
            .ok_or_else(|| Reject::not_found(format!("user {id:?} was not found")))?;
        let keys: Vec<ConnKey> = user
            .connections
            .iter()
            .copied()
            .filter(|key| {
                self.connections
                    .get(key)
                    .is_some_and(|connection| connection.carrier == Carrier::Virtual)
            })
            .collect();
        for key in &keys {
            self.disconnect(now, *key);
        }
        Ok(keys.len())
    }

    /// Connects a user if he pretends nothing yet, and ends what he pretends otherwise.
    pub(crate) fn toggle_virtual(&mut self, now: DateTime<Utc>, id: &str) -> Result<(), Reject> {
        if self.disconnect_virtual(now, id)? == 0 {
            self.connect_virtually(now, id)?;
        }
        Ok(())
    }

    /// The ids of all users, in order.
    pub(crate) fn user_ids(&self) -> Vec<String> {
        self.user_order.keys().map(|id| id.to_string()).collect()
    }
}
