//! A channel of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::members::ChannelMembers;
use crate::mock::engine::data::messages::ChannelMessages;
use crate::mock::engine::data::slots::UserKey;

/// A user's mute of a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelMute {
    pub(crate) at: DateTime<Utc>,
    pub(crate) expires: Option<DateTime<Utc>>,
}

/// A channel of the state.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) cid: Arc<str>,
    pub(crate) channel_type: String,
    pub(crate) id: String,
    pub(crate) created_by: Option<UserKey>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) last_message_at: Option<DateTime<Utc>>,
    pub(crate) frozen: bool,
    pub(crate) disabled: bool,
    pub(crate) team: Option<String>,
    pub(crate) filter_tags: Option<Vec<String>>,
    pub(crate) custom: Map<String, Value>,
    pub(crate) members: ChannelMembers,
    pub(crate) messages: ChannelMessages,
    pub(crate) truncated_at: Option<DateTime<Utc>>,
    pub(crate) truncated_by: Option<UserKey>,
    /// Users who muted it, each with the time.
    pub(crate) muted_by: BTreeMap<UserKey, ChannelMute>,
    /// Users who have hidden it from their lists.
    pub(crate) hidden_for: BTreeSet<UserKey>,
    /// Connections that watch it.
    pub(crate) watchers: BTreeSet<ConnectionKey>,
    /// The users of these connections, each with the number of their watching connections.
    pub(crate) watching: BTreeMap<UserKey, usize>,
}

impl Channel {
    pub(crate) fn new(channel_type: &str, id: &str, now: DateTime<Utc>) -> Self {
        Self {
            cid: format!("{channel_type}:{id}").into(),
            channel_type: channel_type.to_owned(),
            id: id.to_owned(),
            created_by: None,
            created_at: now,
            updated_at: now,
            last_message_at: None,
            frozen: false,
            disabled: false,
            team: None,
            filter_tags: None,
            custom: Map::new(),
            members: ChannelMembers::default(),
            messages: ChannelMessages::default(),
            truncated_at: None,
            truncated_by: None,
            muted_by: BTreeMap::new(),
            hidden_for: BTreeSet::new(),
            watchers: BTreeSet::new(),
            watching: BTreeMap::new(),
        }
    }

    /// Whether every user may read it.
    pub(crate) fn is_public(&self) -> bool {
        self.channel_type == "livestream"
    }

    /// Whether it is a distinct channel, defined by its members.
    pub(crate) fn is_distinct(&self) -> bool {
        self.id.starts_with("!members-")
    }
}
