//! The table of endpoints: from method and path to an operation, by the names that the service's errors use.
//!
//! Both path families lead here: `/users` and `/api/v2/users`, `/channels` and `/api/v2/chat/channels`. They differ in
//! how bodies are written, which is [`super::v2_bodies`]'s business, and in nothing else.

use axum::http::Method;
use serde_json::Value;
use url::form_urlencoded;

use super::super::engine::{
    ChannelRef, DeleteChannels, HideChannel, JsonObject, Op, UserRef, distinct_id, read,
};
use super::super::error::Rejection;
use super::params::Params;
use super::v2_bodies::ApiVersion;

/// Defines the endpoints that are named after their operation.
macro_rules! endpoints {
    ($($(#[$doc:meta])* $name:ident $(($what:ty))? => $operation:literal,)*) => {
        /// An endpoint, with what its path names.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(super) enum Endpoint {
            $($(#[$doc])* $name $(($what))?,)*
        }

        impl Endpoint {
            /// The operation's name in errors and rate limits.
            pub(super) const fn name(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $operation,)*
                }
            }
        }

        /// The names of all operations, some of them more than once.
        pub(super) const OPERATIONS: &[&str] = &[$($operation),*];
    };
}

endpoints! {
    Hi => "Hi",
    Connect => "Connect",
    LongPoll => "LongPoll",
    GetApp => "GetApp",
    UpdateApp => "UpdateApp",
    GetRateLimits => "GetRateLimits",
    CreateGuest => "CreateGuest",
    QueryUsers => "QueryUsers",
    UpdateUsers => "UpdateUsers",
    UpdateUsersPartial => "UpdateUsersPartial",
    DeleteUser(String) => "DeleteUser",
    DeleteUsers => "DeleteUsers",
    DeactivateUser(String) => "DeactivateUser",
    DeactivateUsers => "DeactivateUsers",
    ReactivateUser(String) => "ReactivateUser",
    ReactivateUsers => "ReactivateUsers",
    RestoreUsers => "RestoreUsers",
    SendUserCustomEvent(String) => "SendUserCustomEvent",
    GetTask(String) => "GetTask",
    QueryChannels => "QueryChannels",
    QueryMembers => "QueryMembers",
    Sync => "Sync",
    GetOrCreateChannel(ChannelRef) => "GetOrCreateChannel",
    GetOrCreateDistinctChannel(String) => "GetOrCreateChannel",
    GetChannel(ChannelRef) => "GetChannel",
    UpdateChannel(ChannelRef) => "UpdateChannel",
    UpdateChannelPartial(ChannelRef) => "UpdateChannelPartial",
    DeleteChannel(ChannelRef) => "DeleteChannel",
    DeleteChannels => "DeleteChannels",
    StopWatchingChannel(ChannelRef) => "StopWatchingChannel",
    HideChannel(ChannelRef) => "HideChannel",
    ShowChannel(ChannelRef) => "ShowChannel",
    MarkRead(ChannelRef) => "MarkRead",
    MarkChannelsRead => "MarkChannelsRead",
    MarkDelivered => "MarkDelivered",
    SendEvent(ChannelRef) => "SendEvent",
    UpdateMemberPartial((ChannelRef, Option<String>)) => "UpdateMemberPartial",
    ListChannelTypes => "ListChannelTypes",
    GetChannelType(String) => "GetChannelType",
    CreateChannelType => "CreateChannelType",
    UpdateChannelType(String) => "UpdateChannelType",
    DeleteChannelType(String) => "DeleteChannelType",
}

impl Endpoint {
    /// The endpoint of a request, and the way in which its bodies are written.
    pub(super) fn find(method: &Method, path: &str) -> Option<(Self, ApiVersion)> {
        let path = path.strip_prefix('/')?;
        let segments: Vec<String> = path.trim_end_matches('/').split('/').map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (segments, dialect) = match segments.as_slice() {
            ["api", "v2", "chat", rest @ ..] | ["api", "v2", rest @ ..] => (rest, ApiVersion::V2),
            all => (all, ApiVersion::Flat),
        };
        let owned = |text: &str| text.to_owned();
        let channel = |channel_type: &str, id: &str| ChannelRef {
            channel_type: channel_type.to_owned(),
            id: id.to_owned(),
        };
        let endpoint = match (method.as_str(), segments) {
            ("GET", ["hi"]) => Self::Hi,
            ("GET", ["connect"]) => Self::Connect,
            ("GET" | "POST", ["longpoll"]) => Self::LongPoll,
            ("GET", ["app"]) => Self::GetApp,
            ("PATCH", ["app"]) => Self::UpdateApp,
            ("GET", ["rate_limits"]) => Self::GetRateLimits,
            ("GET", ["tasks", id]) => Self::GetTask(owned(id)),
            ("POST", ["guest"]) => Self::CreateGuest,
            ("GET", ["users"]) => Self::QueryUsers,
            ("POST", ["users"]) => Self::UpdateUsers,
            ("PATCH", ["users"]) => Self::UpdateUsersPartial,
            ("POST", ["users", "delete"]) => Self::DeleteUsers,
            ("POST", ["users", "deactivate"]) => Self::DeactivateUsers,
            ("POST", ["users", "reactivate"]) => Self::ReactivateUsers,
            ("POST", ["users", "restore"]) => Self::RestoreUsers,
            ("DELETE", ["users", id]) => Self::DeleteUser(owned(id)),
            ("POST", ["users", id, "deactivate"]) => Self::DeactivateUser(owned(id)),
            ("POST", ["users", id, "reactivate"]) => Self::ReactivateUser(owned(id)),
            ("POST", ["users", id, "event"]) => Self::SendUserCustomEvent(owned(id)),
            ("POST" | "GET", ["channels"]) => Self::QueryChannels,
            ("POST", ["channels", "delete"]) => Self::DeleteChannels,
            ("POST", ["channels", "read"]) => Self::MarkChannelsRead,
            ("POST", ["channels", "delivered"]) => Self::MarkDelivered,
            ("GET", ["members"]) => Self::QueryMembers,
            ("POST", ["sync"]) => Self::Sync,
            ("POST", ["channels", kind, "query"]) => Self::GetOrCreateDistinctChannel(owned(kind)),
            ("POST", ["channels", kind, id, "query"]) => {
                Self::GetOrCreateChannel(channel(kind, id))
            }
            ("POST", ["channels", kind, id, "stop-watching"]) => {
                Self::StopWatchingChannel(channel(kind, id))
            }
            ("POST", ["channels", kind, id, "hide"]) => Self::HideChannel(channel(kind, id)),
            ("POST", ["channels", kind, id, "show"]) => Self::ShowChannel(channel(kind, id)),
            ("POST", ["channels", kind, id, "read"]) => Self::MarkRead(channel(kind, id)),
            ("POST", ["channels", kind, id, "event"]) => Self::SendEvent(channel(kind, id)),
            ("PATCH", ["channels", kind, id, "member"]) => {
                Self::UpdateMemberPartial((channel(kind, id), None))
            }
            ("PATCH", ["channels", kind, id, "member", user]) => {
                Self::UpdateMemberPartial((channel(kind, id), Some(owned(user))))
            }
            ("GET", ["channels", kind, id]) => Self::GetChannel(channel(kind, id)),
            ("POST", ["channels", kind, id]) => Self::UpdateChannel(channel(kind, id)),
            ("PATCH", ["channels", kind, id]) => Self::UpdateChannelPartial(channel(kind, id)),
            ("DELETE", ["channels", kind, id]) => Self::DeleteChannel(channel(kind, id)),
            ("GET", ["channeltypes"]) => Self::ListChannelTypes,
            ("POST", ["channeltypes"]) => Self::CreateChannelType,
            ("GET", ["channeltypes", name]) => Self::GetChannelType(owned(name)),
            ("PUT", ["channeltypes", name]) => Self::UpdateChannelType(owned(name)),
            ("DELETE", ["channeltypes", name]) => Self::DeleteChannelType(owned(name)),
            _ => return None,
        };
        Some((endpoint, dialect))
    }

    /// The operation that a request to this endpoint asks for.
    pub(super) fn op(self, params: &Params, mut body: JsonObject) -> Result<Op, Rejection> {
        // These may be named in the query or in the body.
        for name in [
            "connection_id",
            "hard_delete",
            "mark_messages_deleted",
            "delete_conversation_channels",
            "with_inaccessible_cids",
        ] {
            if let Some(value) = params.get(name) {
                body.insert(name.to_owned(), value.into());
            }
        }
        let id_of = |body: &mut JsonObject, name: &str| match body.shift_remove(name) {
            Some(Value::String(id)) => Some(id),
            _ => None,
        };
        Ok(match self {
            Self::Hi | Self::Connect | Self::LongPoll | Self::GetRateLimits => {
                return Err(Rejection::input("this endpoint is not an operation"));
            }
            Self::GetApp => Op::GetApp,
            Self::UpdateApp => Op::PatchApp(body),
            Self::GetTask(id) => Op::GetTask(id),
            Self::CreateGuest => Op::CreateGuest(read(body)?),
            Self::QueryUsers => Op::QueryUsers(read(body)?),
            Self::UpdateUsers => Op::UpsertUsers(read(body)?),
            Self::UpdateUsersPartial => Op::PatchUsers(read(body)?),
            Self::DeleteUser(id) => Op::DeleteUser(id, read(body)?),
            Self::DeleteUsers => Op::DeleteUsers(read(body)?),
            Self::DeactivateUser(id) => Op::DeactivateUser(id),
            Self::DeactivateUsers => Op::DeactivateUsers(read(body)?),
            Self::ReactivateUser(id) => Op::ReactivateUser(id, read(body)?),
            Self::ReactivateUsers => Op::ReactivateUsers(read(body)?),
            Self::RestoreUsers => Op::RestoreUsers(read(body)?),
            Self::SendUserCustomEvent(id) => Op::SendUserEvent(id, read(body)?),
            Self::QueryChannels => Op::QueryChannels(read(body)?),
            Self::QueryMembers => Op::QueryMembers(read(body)?),
            Self::Sync => Op::Sync(read(body)?),
            Self::GetOrCreateChannel(name) => {
                let acting = read(body.clone())?;
                Op::GetOrCreateChannel(name, read(body)?, acting)
            }
            Self::GetOrCreateDistinctChannel(channel_type) => {
                let members: Vec<UserRef> = body
                    .get("data")
                    .and_then(|data| data.get("members"))
                    .cloned()
                    .map(serde_json::from_value)
                    .transpose()
                    .map_err(|_| Rejection::field("data.members", "must be a list of users"))?
                    .unwrap_or_default();
                let id = distinct_id(&members)?;
                let acting = read(body.clone())?;
                Op::GetOrCreateChannel(ChannelRef { channel_type, id }, read(body)?, acting)
            }
            Self::GetChannel(name) => Op::GetChannel(name),
            Self::UpdateChannel(name) => Op::UpdateChannel(name, read(body)?),
            Self::UpdateChannelPartial(name) => Op::PatchChannel(name, read(body)?),
            Self::DeleteChannel(name) => Op::DeleteChannel(name),
            Self::DeleteChannels => Op::DeleteChannels(read::<DeleteChannels>(body)?),
            Self::StopWatchingChannel(name) => {
                let connection = id_of(&mut body, "connection_id");
                Op::StopWatching(name, connection)
            }
            Self::HideChannel(name) => {
                let request: HideChannel = read(body)?;
                Op::HideChannel(name, request.acting, request.clear_history)
            }
            Self::ShowChannel(name) => Op::ShowChannel(name, read(body)?),
            Self::MarkRead(name) => Op::MarkRead(name, read(body)?),
            Self::MarkChannelsRead => Op::MarkAllRead(read(body)?),
            Self::MarkDelivered => Op::MarkDelivered,
            Self::SendEvent(name) => Op::SendChannelEvent(name, read(body)?),
            Self::UpdateMemberPartial((name, user)) => {
                let user = user
                    .or_else(|| id_of(&mut body, "user_id"))
                    .or_else(|| params.get("user_id").map(str::to_owned))
                    .ok_or_else(|| Rejection::input("user_id is a required field"))?;
                Op::PatchMember(name, user, read(body)?)
            }
            Self::ListChannelTypes => Op::ListChannelTypes,
            Self::GetChannelType(name) => Op::GetChannelType(name),
            Self::CreateChannelType => Op::CreateChannelType(body),
            Self::UpdateChannelType(name) => Op::UpdateChannelType(name, body),
            Self::DeleteChannelType(name) => Op::DeleteChannelType(name),
        })
    }
}

/// A path segment without its percent encoding.
pub(super) fn decode(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    // The decoder is one for forms; what forms give a meaning to is protected from it.
    let protected = segment
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    form_urlencoded::parse(protected.as_bytes())
        .next()
        .map(|(key, _)| key.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &str, path: &str) -> Option<(Endpoint, ApiVersion)> {
        Endpoint::find(&method.parse().unwrap(), path)
    }

    #[test]
    fn paths_lead_to_operations() {
        let name = |method: &str, path: &str| find(method, path).map(|(found, _)| found.name());
        assert_eq!(name("GET", "/users"), Some("QueryUsers"));
        assert_eq!(name("PATCH", "/users/"), Some("UpdateUsersPartial"));
        assert_eq!(name("GET", "/channels"), Some("QueryChannels"));
        assert_eq!(name("POST", "/users/delete"), Some("DeleteUsers"));
        assert_eq!(name("DELETE", "/users/delete"), Some("DeleteUser"));
        assert_eq!(
            name("POST", "/channels/messaging/a/query"),
            Some("GetOrCreateChannel")
        );
        assert_eq!(name("PUT", "/users"), None);
        assert_eq!(name("GET", "/nowhere"), None);
        assert_eq!(
            find("GET", "/channels/messaging/a%2Bb%20c+d").unwrap().0,
            Endpoint::GetChannel(ChannelRef {
                channel_type: "messaging".into(),
                id: "a+b c+d".into()
            })
        );
    }

    #[test]
    fn both_families_lead_to_the_same_place() {
        for (flat, v2) in [
            ("/users", "/api/v2/users"),
            ("/channels/messaging/x", "/api/v2/chat/channels/messaging/x"),
            ("/members", "/api/v2/chat/members"),
        ] {
            let (flat, dialect) = find("GET", flat).unwrap();
            assert_eq!(dialect, ApiVersion::Flat);
            assert_eq!(find("GET", v2), Some((flat, ApiVersion::V2)));
        }
    }
}
