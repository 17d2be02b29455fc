//! `/channels` and `/members`: query, create, watch, change.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::{ApiError, Client, Sort};
use crate::domain::{Cid, User};

/// A membership, as channel answers carry it.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Member {
    /// The member's id.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The member.
    #[serde(default)]
    pub user: Option<User>,
    /// Everything else of the membership.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The state of a channel, as queries answer it.
#[derive(Debug, Clone, Deserialize)]
pub struct ChannelState {
    /// The channel object, in the service's order.
    pub channel: Map<String, Value>,
    /// The members returned, which may be fewer than there are.
    #[serde(default)]
    pub members: Vec<Member>,
    /// The watchers, only when asked for.
    #[serde(default)]
    pub watchers: Option<Vec<User>>,
    /// How many users watch.
    #[serde(default)]
    pub watcher_count: Option<u64>,
}

/// The body of `POST /channels/{type}/{id}/query`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GetOrCreate {
    /// Data for a channel that does not exist yet: `members`, `created_by_id`, custom fields.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
    /// Whether to return the state.
    pub state: bool,
    /// Whether to watch the channel with `connection_id`.
    pub watch: bool,
    /// Whether to subscribe `connection_id` to people of the channel (the service covers at most 10 a call).
    pub presence: bool,
    /// Page of members, `{limit, offset}`; limit at most 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Page>,
    /// Page of watchers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchers: Option<Page>,
    /// The connection concerned; a query parameter.
    #[serde(skip)]
    pub connection_id: Option<String>,
}

/// A page by offset.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Page {
    /// How many.
    pub limit: u32,
    /// After how many.
    pub offset: u32,
}

/// The body of `POST /channels`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QueryChannels {
    /// The filter.
    pub filter_conditions: Map<String, Value>,
    /// At most 5 keys.
    pub sort: Vec<Sort>,
    /// At most 30; the service's default is 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// At most 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// At most 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_limit: Option<u32>,
    /// Messages are of no interest here; 0.
    pub message_limit: u32,
    /// Whether to return the state.
    pub state: bool,
    /// Whether to watch the channels.
    pub watch: bool,
    /// Whether to subscribe to their members.
    pub presence: bool,
    /// The connection concerned; a query parameter.
    #[serde(skip)]
    pub connection_id: Option<String>,
}

/// The payload of `GET /members`.
#[derive(Debug, Clone, Serialize)]
pub struct QueryMembers {
    /// Channel type.
    #[serde(rename = "type")]
    pub channel_type: String,
    /// Channel id.
    pub id: String,
    /// The filter; `{}` for all.
    pub filter_conditions: Map<String, Value>,
    /// At most 1 key.
    pub sort: Vec<Sort>,
    /// At most 100.
    pub limit: u32,
    /// At most 1000.
    pub offset: u32,
}

/// The body of `POST /channels/{type}/{id}`, the parts that presence needs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct UpdateChannel {
    /// Users to add; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_members: Vec<String>,
    /// Users to remove; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_members: Vec<String>,
}

impl Client {
    /// Gets a channel, creating it where it does not exist, and watches it if asked to.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn get_or_create_channel(
        &self,
        cid: &Cid,
        request: &GetOrCreate,
    ) -> Result<ChannelState, ApiError> {
        let _ = (cid, request);
        todo!()
    }

    /// Reads a channel without creating it (`GET /channels/{type}/{id}`; 404 with code 16 where it is missing).
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn get_channel(&self, cid: &Cid) -> Result<ChannelState, ApiError> {
        let _ = cid;
        todo!()
    }

    /// One page of channels.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_channels(
        &self,
        query: &QueryChannels,
    ) -> Result<Vec<ChannelState>, ApiError> {
        let _ = query;
        todo!()
    }

    /// One page of a channel's members.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_members(&self, query: &QueryMembers) -> Result<Vec<Member>, ApiError> {
        let _ = query;
        todo!()
    }

    /// Adds and removes members.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn update_channel(
        &self,
        cid: &Cid,
        request: &UpdateChannel,
    ) -> Result<ChannelState, ApiError> {
        let _ = (cid, request);
        todo!()
    }

    /// Sets and removes fields of a channel, keeping the rest.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn patch_channel(
        &self,
        cid: &Cid,
        set: &Map<String, Value>,
        unset: &[String],
    ) -> Result<ChannelState, ApiError> {
        let _ = (cid, set, unset);
        todo!()
    }

    /// Stops watching a channel with a connection.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn stop_watching(&self, cid: &Cid, connection_id: &str) -> Result<(), ApiError> {
        let _ = (cid, connection_id);
        todo!()
    }
}
