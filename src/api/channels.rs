//! Calls to `/channels` and `/members`: query, create, watch, change.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::request::Request;
use crate::api::responses::null_as_default;
use crate::api::{ApiError, Client, Sort};
use crate::domain::{Cid, User};

/// A membership, as responses about channels contain it.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Member {
    /// The member's user id.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The member's user object.
    #[serde(default)]
    pub user: Option<User>,
    /// All other fields of the membership.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The state of a channel, as queries return it.
#[derive(Debug, Clone, Deserialize)]
pub struct ChannelState {
    /// The channel object. Its fields keep the service's order.
    pub channel: Map<String, Value>,
    /// The returned members; the channel may have more.
    #[serde(default, deserialize_with = "null_as_default")]
    pub members: Vec<Member>,
    /// The watchers, if they were requested.
    #[serde(default)]
    pub watchers: Option<Vec<User>>,
    /// The number of watchers.
    #[serde(default)]
    pub watcher_count: Option<u64>,
}

impl Member {
    /// The member's id. Some responses contain it only in the user object.
    pub fn id(&self) -> Option<&str> {
        self.user_id
            .as_deref()
            .or_else(|| self.user.as_ref().map(User::id))
            .filter(|id| !id.is_empty())
    }
}

impl ChannelState {
    /// The channel's full name, `type:id`.
    pub fn cid(&self) -> Option<&str> {
        self.channel.get("cid").and_then(Value::as_str)
    }
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
    /// Whether to subscribe `connection_id` to the channel's members (at most 10 per call).
    pub presence: bool,
    /// The page of messages; `None` for the service's default, which is the newest ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Page>,
    /// Page of members, `{limit, offset}`; limit at most 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Page>,
    /// Page of watchers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchers: Option<Page>,
    /// The connection to subscribe; a query parameter.
    #[serde(skip)]
    pub connection_id: Option<String>,
}

/// A page by offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The number of items.
    pub limit: u32,
    /// The number of items to skip.
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
    /// The number of messages; 0, because presence does not need them.
    pub message_limit: u32,
    /// Whether to return the state.
    pub state: bool,
    /// Whether to watch the channels.
    pub watch: bool,
    /// Whether to subscribe to the channels' members.
    pub presence: bool,
    /// The connection to subscribe; a query parameter.
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

/// The body of `POST /channels/{type}/{id}`, as far as presence needs it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct UpdateChannel {
    /// Users to add; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_members: Vec<String>,
    /// Users to remove; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_members: Vec<String>,
}

impl Request {
    /// Gets a channel, creates it if it does not exist, and watches it if requested.
    pub fn get_or_create_channel(cid: &Cid, body: &GetOrCreate) -> Self {
        Self::on_channel("GetOrCreateChannel", Method::POST, cid, &["query"])
            .with_connection(body.connection_id.as_deref())
            .with_body(body)
    }

    /// Reads a channel without creating it.
    pub fn get_channel(cid: &Cid) -> Self {
        Self::on_channel("GetChannel", Method::GET, cid, &[])
    }

    /// One page of channels.
    pub fn query_channels(query: &QueryChannels) -> Self {
        Self::new("QueryChannels", Method::POST, ["channels"])
            .with_connection(query.connection_id.as_deref())
            .with_body(query)
    }

    /// One page of a channel's members.
    pub fn query_members(query: &QueryMembers) -> Self {
        Self::new("QueryMembers", Method::GET, ["members"]).with_parameter("payload", query)
    }

    /// Adds and removes members of a channel.
    pub fn update_channel(cid: &Cid, body: &UpdateChannel) -> Self {
        Self::on_channel("UpdateChannel", Method::POST, cid, &[]).with_body(body)
    }

    /// Sets and removes fields of a channel. Other fields stay.
    pub fn patch_channel(cid: &Cid, set: &Map<String, Value>, unset: &[String]) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Map::is_empty")]
            set: &'a Map<String, Value>,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            unset: &'a [String],
        }
        Self::on_channel("UpdateChannelPartial", Method::PATCH, cid, &[])
            .with_body(&Body { set, unset })
    }

    fn on_channel(endpoint: &'static str, method: Method, cid: &Cid, action: &[&str]) -> Self {
        let path = ["channels", cid.channel_type.as_str(), cid.id.as_str()];
        Self::new(endpoint, method, path.iter().chain(action).copied())
    }
}

/// The response of `POST /channels`.
#[derive(Deserialize)]
struct ChannelList {
    #[serde(deserialize_with = "null_as_default")]
    channels: Vec<ChannelState>,
}

/// The response of `GET /members`.
#[derive(Deserialize)]
struct MemberList {
    #[serde(deserialize_with = "null_as_default")]
    members: Vec<Member>,
}

impl Client {
    /// Gets a channel, creates it if it does not exist, and watches it if requested.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn get_or_create_channel(
        &self,
        cid: &Cid,
        body: &GetOrCreate,
    ) -> Result<ChannelState, ApiError> {
        self.fetch(&Request::get_or_create_channel(cid, body)).await
    }

    /// Reads a channel without creating it. If it does not exist, the error has code 16.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn get_channel(&self, cid: &Cid) -> Result<ChannelState, ApiError> {
        self.fetch(&Request::get_channel(cid)).await
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
        let response: ChannelList = self.fetch(&Request::query_channels(query)).await?;
        Ok(response.channels)
    }

    /// One page of a channel's members.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_members(&self, query: &QueryMembers) -> Result<Vec<Member>, ApiError> {
        let response: MemberList = self.fetch(&Request::query_members(query)).await?;
        Ok(response.members)
    }

    /// Adds and removes members of a channel.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn update_channel(
        &self,
        cid: &Cid,
        body: &UpdateChannel,
    ) -> Result<ChannelState, ApiError> {
        self.fetch(&Request::update_channel(cid, body)).await
    }

    /// Sends a request about one channel, such as [`Request::patch_channel`]. Returns the changed channel.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn change_channel(&self, request: &Request) -> Result<ChannelState, ApiError> {
        self.fetch(request).await
    }
}
