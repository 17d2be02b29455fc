//! A user of the state. [`UserFields`] has the fields that can be set.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::user_fields::UserFields;

/// A user of the state.
#[derive(Debug, Clone)]
pub(crate) struct StoredUser {
    pub(crate) id: Arc<str>,
    pub(crate) profile: UserFields,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// When they last connected, or when their last period of being connected began.
    pub(crate) last_active: Option<DateTime<Utc>>,
    /// The value of `last_active` when they turned invisible.
    pub(crate) shown_last_active: Option<DateTime<Utc>>,
    pub(crate) deactivated_at: Option<DateTime<Utc>>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    /// Their open connections.
    pub(crate) connections: Vec<ConnectionKey>,
    /// Connections that are subscribed to their presence.
    pub(crate) subscribers: BTreeSet<ConnectionKey>,
    /// Channels they are a member of.
    pub(crate) memberships: BTreeSet<ChannelKey>,
    /// When `last_active` is updated next; only while connected.
    pub(crate) refresh_at: Option<DateTime<Utc>>,
    /// The end of the grace period, in which they count as connected without a connection.
    pub(crate) offline_at: Option<DateTime<Utc>>,
}

impl StoredUser {
    pub(crate) const fn new(id: Arc<str>, profile: UserFields, created_at: DateTime<Utc>) -> Self {
        Self {
            id,
            profile,
            created_at,
            updated_at: created_at,
            last_active: None,
            shown_last_active: None,
            deactivated_at: None,
            deleted_at: None,
            connections: Vec::new(),
            subscribers: BTreeSet::new(),
            memberships: BTreeSet::new(),
            refresh_at: None,
            offline_at: None,
        }
    }

    /// Whether they have a connection, or are in the grace period.
    pub(crate) const fn is_connected(&self) -> bool {
        !self.connections.is_empty() || self.offline_at.is_some()
    }

    /// Whether they are online to others.
    pub(crate) const fn is_visibly_online(&self) -> bool {
        self.is_connected()
            && !self.profile.invisible
            && self.deleted_at.is_none()
            && self.deactivated_at.is_none()
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.profile.role == "anonymous"
    }
}

/// The viewer of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// The application's server.
    Server,
    /// A user.
    User(UserKey),
    /// A client that is not the viewed user.
    Other,
}

/// Which fields a user object has. It depends on where the object appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserShape {
    /// In events, and as creator, member or watcher.
    Common,
    /// In the event about a connect: as `Common`, with the exact time.
    JustActive,
    /// In `user.updated`.
    Updated,
    /// In responses about users.
    Full,
    /// As `me`.
    Own,
}
