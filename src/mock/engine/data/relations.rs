//! What users have set about each other and about themselves besides their profile: mutes, blocks, bans, devices.
//!
//! Few users have any of it, so it is kept beside the users.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};

/// The relations of one user.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserRelations {
    /// Users whom they muted.
    pub(crate) mutes: BTreeMap<UserKey, UserMute>,
    /// Users whom they blocked, each with the time.
    pub(crate) blocks: BTreeMap<UserKey, DateTime<Utc>>,
    pub(crate) devices: Vec<Device>,
    /// Their bans: of one channel, or (`None`) of the application.
    pub(crate) bans: BTreeMap<Option<ChannelKey>, Ban>,
}

/// A mute of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserMute {
    pub(crate) at: DateTime<Utc>,
    pub(crate) expires: Option<DateTime<Utc>>,
}

/// A ban.
#[derive(Debug, Clone)]
pub(crate) struct Ban {
    pub(crate) at: DateTime<Utc>,
    pub(crate) expires: Option<DateTime<Utc>>,
    pub(crate) reason: Option<String>,
    pub(crate) by: Option<UserKey>,
    pub(crate) shadow: bool,
}

/// A device for push notifications.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) push_provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) push_provider_name: Option<String>,
    pub(crate) user_id: String,
    pub(crate) created_at: Rfc3339,
}
