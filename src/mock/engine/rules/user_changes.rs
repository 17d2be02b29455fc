//! Creates, changes and removes users, and sends the events.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::{InvalidId, UserId};
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::StoredUser;
use crate::mock::engine::data::user_fields::UserFields;
use crate::mock::error::Rejection;

impl ServiceState {
    /// Creates a user.
    pub(crate) fn insert_user(
        &mut self,
        now: DateTime<Utc>,
        id: &str,
        profile: UserFields,
    ) -> UserKey {
        let id: Arc<str> = id.into();
        let key = self
            .users
            .insert(StoredUser::new(id.clone(), profile, stored(now)));
        self.user_ids.insert(id.clone(), key);
        self.user_order.insert(id, key);
        key
    }

    /// Removes a user and everything that refers to them. They must have no connections.
    pub(crate) fn remove_user(&mut self, key: UserKey) {
        let Some(user) = self.users.remove(key) else {
            return;
        };
        self.user_ids.remove(&user.id);
        self.relations.remove(&key);
        self.user_order.remove(&user.id);
        for connection in &user.subscribers {
            if let Some(connection) = self.connections.get_mut(connection) {
                connection
                    .subscriptions
                    .retain(|(subscribed, _)| *subscribed != key);
            }
        }
        for channel in &user.memberships {
            if let Some(channel) = self.channels.get_mut(*channel) {
                channel.members.remove(key);
            }
        }
    }

    /// Sets the fields of a user and sends the events, in the service's order: presence first, then `user.updated`.
    pub(crate) fn change_profile(&mut self, now: DateTime<Utc>, key: UserKey, profile: UserFields) {
        let Some(user) = self.users.get_mut(key) else {
            return;
        };
        if user.profile == profile {
            return;
        }
        user.updated_at = stored(now);
        let status = |profile: &UserFields| profile.custom().get("status").cloned();
        let was_online = user.is_visibly_online();
        let new_status = status(&user.profile) != status(&profile);
        self.with_presence_event(now, key, |state| state.set_profile(key, profile));
        let flipped = self
            .users
            .get(key)
            .is_some_and(|user| user.is_visibly_online() != was_online);
        if new_status && !flipped && self.rules.status_sends_presence {
            self.publish_presence(now, key);
        }
        self.publish_user_updated(now, key, None);
    }
}

/// Parses a user id.
pub(crate) fn user_id(id: &str) -> Result<UserId, Rejection> {
    id.parse()
        .map_err(|error: InvalidId| Rejection::input(error.to_string()))
}
