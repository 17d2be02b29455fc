//! The table of endpoints: from method and path to an operation, by the names that the service's errors use.

use axum::http::Method;
use url::form_urlencoded;

use super::super::engine::{Body, UserRef};
use super::super::engine::{ChannelName, Op, distinct_id, read};
use super::super::error::Reject;
use super::params::Params;

/// An endpoint, with what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Hi,
    Connect,
    GetApp,
    CreateGuest,
    QueryUsers,
    UpdateUsers,
    UpdateUsersPartial,
    QueryChannels,
    QueryMembers,
    GetOrCreateChannel(ChannelName),
    GetOrCreateDistinctChannel(String),
    GetChannel(ChannelName),
    UpdateChannel(ChannelName),
    UpdateChannelPartial(ChannelName),
    DeleteChannel(ChannelName),
    StopWatchingChannel(ChannelName),
}

impl Endpoint {
    /// The endpoint of a request.
    pub(super) fn find(method: &Method, path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let segments: Vec<String> = path.trim_end_matches('/').split('/').map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let channel = |channel_type: &str, id: &str| ChannelName {
            channel_type: channel_type.to_owned(),
            id: id.to_owned(),
        };
        Some(match (method.as_str(), segments.as_slice()) {
            ("GET", ["hi"]) => Self::Hi,
            ("GET", ["connect"]) => Self::Connect,
            ("GET", ["app"]) => Self::GetApp,
            ("POST", ["guest"]) => Self::CreateGuest,
            ("GET", ["users"]) => Self::QueryUsers,
            ("POST", ["users"]) => Self::UpdateUsers,
            ("PATCH", ["users"]) => Self::UpdateUsersPartial,
            ("POST" | "GET", ["channels"]) => Self::QueryChannels,
            ("GET", ["members"]) => Self::QueryMembers,
            ("POST", ["channels", kind, "query"]) => {
                Self::GetOrCreateDistinctChannel((*kind).to_owned())
            }
            ("POST", ["channels", kind, id, "query"]) => {
                Self::GetOrCreateChannel(channel(kind, id))
            }
            ("POST", ["channels", kind, id, "stop-watching"]) => {
                Self::StopWatchingChannel(channel(kind, id))
            }
            ("GET", ["channels", kind, id]) => Self::GetChannel(channel(kind, id)),
            ("POST", ["channels", kind, id]) => Self::UpdateChannel(channel(kind, id)),
            ("PATCH", ["channels", kind, id]) => Self::UpdateChannelPartial(channel(kind, id)),
            ("DELETE", ["channels", kind, id]) => Self::DeleteChannel(channel(kind, id)),
            _ => return None,
        })
    }

    /// The operation's name in errors.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Hi => "Hi",
            Self::Connect => "Connect",
            Self::GetApp => "GetApp",
            Self::CreateGuest => "CreateGuest",
            Self::QueryUsers => "QueryUsers",
            Self::UpdateUsers => "UpdateUsers",
            Self::UpdateUsersPartial => "UpdateUsersPartial",
            Self::QueryChannels => "QueryChannels",
            Self::QueryMembers => "QueryMembers",
            Self::GetOrCreateChannel(_) | Self::GetOrCreateDistinctChannel(_) => {
                "GetOrCreateChannel"
            }
            Self::GetChannel(_) => "GetChannel",
            Self::UpdateChannel(_) => "UpdateChannel",
            Self::UpdateChannelPartial(_) => "UpdateChannelPartial",
            Self::DeleteChannel(_) => "DeleteChannel",
            Self::StopWatchingChannel(_) => "StopWatchingChannel",
        }
    }

    /// The operation that a request to this endpoint asks for.
    pub(super) fn op(self, params: &Params, mut body: Body) -> Result<Op, Reject> {
        // The connection may be named in the query or in the body.
        if let Some(id) = params.get("connection_id") {
            body.insert("connection_id".to_owned(), id.into());
        }
        Ok(match self {
            Self::Hi | Self::Connect => {
                return Err(Reject::input("this endpoint is not an operation"));
            }
            Self::GetApp => Op::GetApp,
            Self::CreateGuest => Op::CreateGuest(read(body)?),
            Self::QueryUsers => Op::QueryUsers(read(body)?),
            Self::UpdateUsers => Op::UpsertUsers(read(body)?),
            Self::UpdateUsersPartial => Op::PatchUsers(read(body)?),
            Self::QueryChannels => Op::QueryChannels(read(body)?),
            Self::QueryMembers => Op::QueryMembers(read(body)?),
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
                    .map_err(|_| Reject::field("data.members", "must be a list of users"))?
                    .unwrap_or_default();
                let id = distinct_id(&members)?;
                let acting = read(body.clone())?;
                Op::GetOrCreateChannel(ChannelName { channel_type, id }, read(body)?, acting)
            }
            Self::GetChannel(name) => Op::GetChannel(name),
            Self::UpdateChannel(name) => Op::UpdateChannel(name, read(body)?),
            Self::UpdateChannelPartial(name) => Op::PatchChannel(name, read(body)?),
            Self::DeleteChannel(name) => Op::DeleteChannel(name),
            Self::StopWatchingChannel(name) => {
                let connection = match body.shift_remove("connection_id") {
                    Some(serde_json::Value::String(id)) => Some(id),
                    _ => None,
                };
                Op::StopWatching(name, connection)
            }
        })
    }
}

/// A path segment without its percent encoding.
fn decode(segment: &str) -> String {
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

    #[test]
    fn paths_lead_to_operations() {
        let find = |method: &str, path: &str| {
            Endpoint::find(&method.parse().unwrap(), path).map(|endpoint| endpoint.name())
        };
        assert_eq!(find("GET", "/users"), Some("QueryUsers"));
        assert_eq!(find("PATCH", "/users/"), Some("UpdateUsersPartial"));
        assert_eq!(find("GET", "/channels"), Some("QueryChannels"));
        assert_eq!(
            find("POST", "/channels/messaging/a/query"),
            Some("GetOrCreateChannel")
        );
        assert_eq!(find("PUT", "/users"), None);
        assert_eq!(find("GET", "/nowhere"), None);
        assert_eq!(
            Endpoint::find(&Method::GET, "/channels/messaging/a%2Bb%20c+d"),
            Some(Endpoint::GetChannel(ChannelName {
                channel_type: "messaging".into(),
                id: "a+b c+d".into()
            }))
        );
    }
}
