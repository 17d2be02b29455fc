//! Requests to the state as values, parsed from JSON bodies.
//!
//! Parsing is as lenient as the official SDKs need: `null` values, empty strings for `false`, and both spellings of
//! members.

use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::mock::engine::data::sort::SortParam;
use crate::mock::error::Rejection;

/// The caller of a request, according to the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The application's server. It may do everything and does not act as a user.
    Server,
    /// A user.
    User {
        /// The user's id.
        id: String,
        /// When the token was issued (unix seconds), if it says so.
        issued_at: Option<i64>,
    },
    /// An anonymous user.
    Anonymous {
        /// The id that the client chose.
        id: Option<String>,
    },
}

/// The body of a request, or the payload of a query, as an object.
pub(crate) type JsonObject = Map<String, Value>;

/// Parses a body. `null` counts as empty.
pub(crate) fn read<T: DeserializeOwned>(mut body: JsonObject) -> Result<T, Rejection> {
    body.retain(|_, value| !value.is_null());
    serde_json::from_value(Value::Object(body)).map_err(|error| Rejection::input(error.to_string()))
}

/// Parses a boolean, also given as text; the empty string is `false`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient {
        Flag(bool),
        Text(String),
    }
    match Lenient::deserialize(deserializer) {
        Ok(Lenient::Flag(flag)) => Ok(flag),
        Ok(Lenient::Text(text)) => match text.as_str() {
            "true" | "1" => Ok(true),
            "" | "false" | "0" | "null" | "undefined" => Ok(false),
            _ => Err(serde::de::Error::custom(format!(
                "{text:?} is not a boolean"
            ))),
        },
        Err(_) => Err(serde::de::Error::custom("expected a boolean")),
    }
}

/// Parses an optional number, also given as text, as in a query.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient {
        Number(usize),
        Text(String),
    }
    match Option::deserialize(deserializer)? {
        None => Ok(None),
        Some(Lenient::Number(number)) => Ok(Some(number)),
        Some(Lenient::Text(text)) if text.is_empty() => Ok(None),
        Some(Lenient::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// Parses an optional text. Typed clients send an empty one for none.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// A user given by id, or as an object with an `id`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum UserRef {
    /// By id.
    Id(String),
    /// As an object, whose fields are set if the user is new.
    Object(JsonObject),
}

impl UserRef {
    /// The user's id.
    pub(crate) fn id(&self) -> Result<&str, Rejection> {
        match self {
            Self::Id(id) => Ok(id),
            Self::Object(fields) => fields
                .get("id")
                .or_else(|| fields.get("user_id"))
                .and_then(Value::as_str)
                .ok_or_else(|| Rejection::input("user.id is a required field")),
        }
    }
}

/// The user on whose behalf the server acts.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct OnBehalfOf {
    #[serde(default, deserialize_with = "text")]
    user_id: Option<String>,
    #[serde(default)]
    user: Option<UserRef>,
}

impl OnBehalfOf {
    /// The user, if one is given.
    pub(crate) fn named(&self) -> Option<UserRef> {
        self.user_id
            .as_ref()
            .map(|id| UserRef::Id(id.clone()))
            .or_else(|| self.user.clone())
    }
}

/// The payload of `GET /users`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct QueryUsersRequest {
    pub(crate) filter_conditions: JsonObject,
    pub(crate) sort: Vec<SortParam>,
    pub(crate) limit: Option<i64>,
    pub(crate) offset: Option<i64>,
    #[serde(deserialize_with = "flag")]
    pub(crate) presence: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) include_deactivated_users: bool,
    #[serde(deserialize_with = "text")]
    pub(crate) connection_id: Option<String>,
}

/// The body of `POST /users`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UpdateUsersRequest {
    pub(crate) users: UserBatch,
}

/// The users of an upsert: a map by id, or a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum UserBatch {
    /// By id.
    Map(Map<String, Value>),
    /// As a list.
    List(Vec<JsonObject>),
}

/// The body of `PATCH /users`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UpdateUsersPartialRequest {
    pub(crate) users: Vec<UserPartialUpdate>,
}

/// A partial update of one user.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UserPartialUpdate {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) set: JsonObject,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) unset: Vec<String>,
}

/// Parses `null` as the default value.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A page by offset, of members or watchers.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PageParams {
    pub(crate) limit: Option<i64>,
    pub(crate) offset: Option<i64>,
}

/// A page of messages.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MessagePage {
    #[serde(deserialize_with = "count")]
    pub(crate) limit: Option<usize>,
    #[serde(deserialize_with = "count")]
    pub(crate) offset: Option<usize>,
    #[serde(deserialize_with = "text")]
    pub(crate) id_lt: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) id_lte: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) id_gt: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) id_gte: Option<String>,
}

/// `POST /channels/{type}/{id}/message` and `POST /messages/{id}`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MessageRequest {
    pub(crate) message: JsonObject,
    /// Whether a channel that a member has hidden stays hidden.
    #[serde(default, deserialize_with = "flag")]
    pub(crate) keep_channel_hidden: bool,
}

/// `DELETE /messages/{id}`, in the query.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeleteMessageRequest {
    #[serde(deserialize_with = "flag")]
    pub(crate) hard: bool,
}

/// `POST /messages/{id}/undelete`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UndeleteMessageRequest {
    pub(crate) undeleted_by: String,
}

/// `POST /channels/{type}/{id}/truncate`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TruncateChannelRequest {
    pub(crate) message: Option<JsonObject>,
    pub(crate) truncated_at: Option<DateTime<Utc>>,
}

/// `POST /moderation/mute` and `/moderation/unmute`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MuteUsersRequest {
    pub(crate) target_ids: Vec<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) target_id: Option<String>,
    /// In minutes.
    pub(crate) timeout: Option<i64>,
}

/// `POST /moderation/mute/channel` and `/moderation/unmute/channel`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MuteChannelsRequest {
    pub(crate) channel_cids: Vec<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) channel_cid: Option<String>,
    /// In milliseconds.
    pub(crate) expiration: Option<i64>,
}

/// `POST /users/block` and `/users/unblock`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BlockRequest {
    pub(crate) blocked_user_id: String,
}

/// `POST /moderation/ban`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BanRequest {
    #[serde(flatten)]
    pub(crate) scope: UnbanRequest,
    /// In minutes.
    #[serde(default)]
    pub(crate) timeout: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) reason: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) banned_by_id: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) shadow: bool,
}

/// `DELETE /moderation/ban` and `POST /moderation/unban`: whose ban, and of which channel.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UnbanRequest {
    pub(crate) target_user_id: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) channel_cid: Option<String>,
    #[serde(default, deserialize_with = "text", rename = "type")]
    pub(crate) channel_type: Option<String>,
    #[serde(default, deserialize_with = "text", rename = "id")]
    pub(crate) channel_id: Option<String>,
}

/// `GET /query_banned_users`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct QueryBannedUsersRequest {
    pub(crate) filter_conditions: JsonObject,
}

/// `POST /devices`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CreateDeviceRequest {
    pub(crate) id: String,
    pub(crate) push_provider: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) push_provider_name: Option<String>,
}

/// `POST /threads`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct QueryThreadsRequest {
    pub(crate) filter: JsonObject,
    pub(crate) sort: Vec<SortParam>,
    pub(crate) limit: Option<i64>,
    /// The position of the page, as the answer before it says.
    #[serde(deserialize_with = "text")]
    pub(crate) next: Option<String>,
    pub(crate) reply_limit: Option<usize>,
}

/// `GET /threads/{message_id}`, in the query.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GetThreadRequest {
    #[serde(deserialize_with = "count")]
    pub(crate) reply_limit: Option<usize>,
}

/// `POST /channels/{type}/{id}/read`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MarkReadRequest {
    /// The message whose thread is read, instead of the channel.
    #[serde(deserialize_with = "text")]
    pub(crate) thread_id: Option<String>,
}

/// `POST /channels/{type}/{id}/unread`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MarkUnreadRequest {
    /// The message whose thread becomes unread, instead of the channel.
    #[serde(default, deserialize_with = "text")]
    pub(crate) thread_id: Option<String>,
    /// The first message that becomes unread, by its time.
    #[serde(default)]
    pub(crate) message_timestamp: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) message_id: Option<String>,
}

/// `POST /channels/{type}/{id}/query` and `POST /channels/{type}/query`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GetOrCreateChannelRequest {
    #[serde(deserialize_with = "nullable")]
    pub(crate) data: JsonObject,
    #[serde(deserialize_with = "flag")]
    pub(crate) state: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) watch: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) presence: bool,
    pub(crate) messages: Option<MessagePage>,
    pub(crate) members: Option<PageParams>,
    pub(crate) watchers: Option<PageParams>,
    #[serde(deserialize_with = "flag")]
    pub(crate) hide_for_creator: bool,
    #[serde(deserialize_with = "text")]
    pub(crate) connection_id: Option<String>,
}

/// `POST /channels`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct QueryChannelsRequest {
    pub(crate) filter_conditions: JsonObject,
    pub(crate) sort: Vec<SortParam>,
    pub(crate) limit: Option<i64>,
    pub(crate) offset: Option<i64>,
    pub(crate) member_limit: Option<i64>,
    pub(crate) message_limit: Option<i64>,
    #[serde(deserialize_with = "optional_flag")]
    pub(crate) state: Option<bool>,
    #[serde(deserialize_with = "optional_flag")]
    pub(crate) watch: Option<bool>,
    #[serde(deserialize_with = "flag")]
    pub(crate) presence: bool,
    #[serde(deserialize_with = "text")]
    pub(crate) connection_id: Option<String>,
}

fn optional_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    flag(deserializer).map(Some)
}

/// `GET /members`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct QueryMembersRequest {
    #[serde(rename = "type")]
    pub(crate) channel_type: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) members: Vec<UserRef>,
    #[serde(default)]
    pub(crate) filter_conditions: JsonObject,
    #[serde(default)]
    pub(crate) sort: Vec<SortParam>,
    #[serde(default)]
    pub(crate) limit: Option<i64>,
    #[serde(default)]
    pub(crate) offset: Option<i64>,
}

/// `POST /channels/{type}/{id}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UpdateChannelRequest {
    pub(crate) data: Option<JsonObject>,
    pub(crate) add_members: Vec<UserRef>,
    pub(crate) remove_members: Vec<UserRef>,
    pub(crate) add_moderators: Vec<UserRef>,
    pub(crate) demote_moderators: Vec<UserRef>,
    pub(crate) assign_roles: Vec<UserRef>,
    pub(crate) invites: Vec<UserRef>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) add_filter_tags: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) remove_filter_tags: Vec<String>,
    #[serde(deserialize_with = "flag")]
    pub(crate) accept_invite: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) reject_invite: bool,
    pub(crate) message: Option<JsonObject>,
}

/// `PUT /channels/batch`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ChannelBatchRequest {
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) filter: JsonObject,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) members: Vec<UserRef>,
}

/// `PATCH /channels/{type}/{id}` and partial updates of members.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PartialUpdateRequest {
    #[serde(deserialize_with = "nullable")]
    pub(crate) set: JsonObject,
    #[serde(deserialize_with = "nullable")]
    pub(crate) unset: Vec<String>,
}

/// `POST /guest`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CreateGuestRequest {
    pub(crate) user: JsonObject,
}

/// `POST /sync`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SyncRequest {
    pub(crate) channel_cids: Vec<String>,
    pub(crate) last_sync_at: DateTime<Utc>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) with_inaccessible_cids: bool,
}

/// The query of `DELETE /users/{id}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeleteUserRequest {
    #[serde(deserialize_with = "flag")]
    pub(crate) hard_delete: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) mark_messages_deleted: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) delete_conversation_channels: bool,
}

/// `POST /users/delete`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeleteUsersRequest {
    pub(crate) user_ids: Vec<String>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) user: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) messages: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) conversations: Option<String>,
}

/// The body of calls that only name users.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UserIdsRequest {
    pub(crate) user_ids: Vec<String>,
}

/// `POST /users/{id}/reactivate`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReactivateUserRequest {
    #[serde(deserialize_with = "text")]
    pub(crate) name: Option<String>,
}

/// A custom event.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SendEventRequest {
    pub(crate) event: JsonObject,
}

/// `POST /channels/delete`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeleteChannelsRequest {
    pub(crate) cids: Vec<String>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) hard_delete: bool,
}

/// The options of hiding a channel, besides the user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HideChannelRequest {
    #[serde(deserialize_with = "flag")]
    pub(crate) clear_history: bool,
}

/// A channel given by type and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelRef {
    /// The type.
    pub(crate) channel_type: String,
    /// The id.
    pub(crate) id: String,
}

/// Splits a `cid` into type and id. Without a colon the id is empty, which no channel has.
pub(crate) fn split_cid(cid: &str) -> (&str, &str) {
    cid.split_once(':').unwrap_or((cid, ""))
}

/// The response to an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// A JSON object without `duration`.
    pub(crate) body: String,
    /// The user whose token the transport adds to the body, as guests need it.
    pub(crate) token_for: Option<String>,
}

impl Reply {
    /// Serialises the response.
    pub(crate) fn new(body: &impl Serialize) -> Self {
        Self {
            body: serde_json::to_string(body)
                .expect("responses have string keys and no fallible parts"),
            token_for: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: Value) -> JsonObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn bodies_are_read_as_leniently_as_sdks_need() {
        let query: QueryUsersRequest = read(body(
            json!({"sort": null, "presence": "", "limit": null, "include_deactivated_users": "true"}),
        ))
        .unwrap();
        assert!(!query.presence && query.include_deactivated_users);
        let update: UpdateChannelRequest = read(body(
            json!({"add_members": ["a", {"user_id": "b"}], "user_id": "x", "accept_invite": null}),
        ))
        .unwrap();
        let ids: Vec<&str> = update.add_members.iter().map(|m| m.id().unwrap()).collect();
        assert_eq!(ids, ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_read_is_code_4() {
        for value in [
            json!({"presence": "maybe"}),
            json!({"limit": "ten"}),
            json!({"filter_conditions": []}),
            json!({"sort": {"field": "x"}}),
        ] {
            assert_eq!(read::<QueryUsersRequest>(body(value)).unwrap_err().code, 4);
        }
    }
}
