//! The operations of the service: one row each, with everything that is specific to it.
//!
//! To add an endpoint, add a row to [`OPERATIONS`] and the method of [`ServiceState`] that its handler calls. Routing,
//! authentication, rate limits, `GET /rate_limits` and error messages follow from the row.

mod app;
mod channel_batch;
mod channel_changes;
mod channel_types;
mod channels;
mod control_ops;
mod custom_events;
mod devices;
pub(crate) mod event_injection;
#[cfg(test)]
mod fuzz;
mod lifecycle;
mod load;
mod messages;
mod moderation;
mod query_members;
mod snapshot;
mod stats;
mod stored_lists;
mod sync;
mod tasks;
mod threads;
mod user_channel_state;
mod users;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::mock::engine::data::requests::{
    Caller, ChannelRef, DeleteMessageRequest, HideChannelRequest, JsonObject, MessageRequest,
    OnBehalfOf, QueryBannedUsersRequest, Reply, read,
};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::stored_lists::StoredList;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

/// One operation of the service.
#[derive(Debug)]
pub(crate) struct Operation {
    /// The name in error messages and in `GET /rate_limits`.
    pub(crate) name: &'static str,
    /// The HTTP method.
    method: &'static str,
    /// The path below `/`, `/api/v2/` and `/api/v2/chat/`. A segment in braces is a parameter.
    pub(crate) path: &'static str,
    /// How a caller has to prove who they are.
    pub(crate) authentication: Authentication,
    /// Requests per minute and platform that the service allows by default.
    pub(crate) requests_per_minute: u32,
    /// Fields that a `/api/v2` request has, as JSON, unless it sets the first of them.
    pub(crate) v2_defaults: &'static [(&'static str, &'static str)],
    /// What computes the response.
    pub(crate) handler: Handler,
}

/// How a caller has to prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// Not at all.
    None,
    /// With the API key. Guests have no token yet.
    ApiKey,
    /// With the API key and a token, or as an anonymous user.
    Token,
}

/// What produces the response to an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handler {
    /// A method of the state.
    State(StateHandler),
    /// The transport layer, because the response depends on more than the state.
    Transport(TransportHandler),
}

type StateHandler = fn(&mut ServiceState, &mut Call) -> Result<Reply, Rejection>;

/// Operations that the transport handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportHandler {
    /// Replies with an empty object.
    Hello,
    /// Upgrades the connection to a WebSocket.
    Connect,
    /// Opens, reads or closes a long poll.
    LongPoll,
    /// Reports the state of the rate limits.
    RateLimits,
}

/// What a v2 channel query returns unless it says whether it wants the state.
const V2_CHANNEL_STATE: &[(&str, &str)] = &[("state", "true"), ("watchers", "{}")];

/// The default for operations that the service does not document a limit for.
pub(crate) const DEFAULT_REQUESTS_PER_MINUTE: u32 = 1000;

impl Operation {
    const fn new(
        method: &'static str,
        path: &'static str,
        name: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            name,
            method,
            path,
            authentication: Authentication::Token,
            requests_per_minute: DEFAULT_REQUESTS_PER_MINUTE,
            v2_defaults: &[],
            handler,
        }
    }

    const fn authentication(self, authentication: Authentication) -> Self {
        Self {
            authentication,
            ..self
        }
    }

    const fn limit(self, requests_per_minute: u32) -> Self {
        Self {
            requests_per_minute,
            ..self
        }
    }

    const fn v2_defaults(self, v2_defaults: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            v2_defaults,
            ..self
        }
    }

    /// The parameters in `segments` if they fit the path.
    fn match_path(&self, segments: &[&str]) -> Option<Vec<(&'static str, String)>> {
        let mut parameters = Vec::new();
        let mut segments = segments.iter();
        for template in self.path.split('/') {
            let segment = segments.next()?;
            match parameter_name(template) {
                Some(name) => parameters.push((name, (*segment).to_owned())),
                None if template == *segment => {}
                None => return None,
            }
        }
        segments.next().is_none().then_some(parameters)
    }
}

fn parameter_name(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

const fn get(path: &'static str, name: &'static str, handler: StateHandler) -> Operation {
    Operation::new("GET", path, name, Handler::State(handler))
}

const fn post(path: &'static str, name: &'static str, handler: StateHandler) -> Operation {
    Operation::new("POST", path, name, Handler::State(handler))
}

const fn put(path: &'static str, name: &'static str, handler: StateHandler) -> Operation {
    Operation::new("PUT", path, name, Handler::State(handler))
}

const fn patch(path: &'static str, name: &'static str, handler: StateHandler) -> Operation {
    Operation::new("PATCH", path, name, Handler::State(handler))
}

const fn delete(path: &'static str, name: &'static str, handler: StateHandler) -> Operation {
    Operation::new("DELETE", path, name, Handler::State(handler))
}

const fn transport(
    method: &'static str,
    path: &'static str,
    name: &'static str,
    handler: TransportHandler,
) -> Operation {
    Operation::new(method, path, name, Handler::Transport(handler))
}

/// All operations. The first row that fits a request wins, so `users/delete` comes before `users/{user_id}`.
pub(crate) static OPERATIONS: &[Operation] = &[
    transport("GET", "hi", "Hi", TransportHandler::Hello).authentication(Authentication::None),
    transport("GET", "connect", "Connect", TransportHandler::Connect).limit(10_000),
    transport("GET", "longpoll", "LongPoll", TransportHandler::LongPoll),
    transport("POST", "longpoll", "LongPoll", TransportHandler::LongPoll),
    transport(
        "GET",
        "rate_limits",
        "GetRateLimits",
        TransportHandler::RateLimits,
    ),
    // The application.
    get(
        "app",
        "GetApp",
        |state, call| Ok(state.get_app(&call.actor)),
    )
    .limit(10_000),
    patch("app", "UpdateApp", |state, call| {
        let settings = call.take_body();
        state.update_app(&call.actor, settings)
    }),
    get("tasks/{id}", "GetTask", |state, call| {
        state.get_task(&call.actor, call.path("id"))
    }),
    // Users.
    post("guest", "CreateGuest", |state, call| {
        let request = call.read()?;
        state.create_guest(call.now, &request)
    })
    .authentication(Authentication::ApiKey),
    get("users", "QueryUsers", |state, call| {
        let query = call.read()?;
        state.query_users(&call.actor, &query)
    }),
    post("users", "UpdateUsers", |state, call| {
        let request = call.read()?;
        state.update_users(call.now, &call.actor, request)
    })
    .limit(300),
    patch("users", "UpdateUsersPartial", |state, call| {
        let request = call.read()?;
        state.update_users_partial(call.now, &call.actor, &request)
    })
    .limit(300),
    post("users/delete", "DeleteUsers", |state, call| {
        let request = call.read()?;
        state.delete_users(call.now, &call.actor, &request)
    })
    .limit(6),
    post("users/deactivate", "DeactivateUsers", |state, call| {
        let request = call.read()?;
        state.deactivate_users(call.now, &call.actor, &request)
    }),
    post("users/reactivate", "ReactivateUsers", |state, call| {
        let request = call.read()?;
        state.reactivate_users(call.now, &call.actor, &request)
    }),
    post("users/restore", "RestoreUsers", |state, call| {
        let request = call.read()?;
        state.restore_users(&call.actor, &request)
    }),
    get("users/block", "GetBlockedUsers", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        state.get_blocked_users(&actor)
    }),
    post("users/block", "BlockUsers", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.block_user(call.now, &actor, &request)
    }),
    post("users/unblock", "UnblockUsers", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.unblock_user(&actor, &request)
    }),
    get("users/{user_id}/export", "ExportUser", |state, call| {
        state.export_user(&call.actor, call.path("user_id"))
    }),
    delete("users/{user_id}", "DeleteUser", |state, call| {
        let request = call.read()?;
        state.delete_user(call.now, &call.actor, call.path("user_id"), &request)
    })
    .limit(60),
    post(
        "users/{user_id}/deactivate",
        "DeactivateUser",
        |state, call| state.deactivate_user(call.now, &call.actor, call.path("user_id")),
    )
    .limit(60),
    post(
        "users/{user_id}/reactivate",
        "ReactivateUser",
        |state, call| {
            let request = call.read()?;
            state.reactivate_user(call.now, &call.actor, call.path("user_id"), &request)
        },
    ),
    post(
        "users/{user_id}/event",
        "SendUserCustomEvent",
        |state, call| {
            let request = call.read()?;
            state.send_user_custom_event(call.now, &call.actor, call.path("user_id"), request)
        },
    ),
    // Channels.
    get("channels", "QueryChannels", query_channels).limit(10_000),
    post("channels", "QueryChannels", query_channels).limit(10_000),
    put("channels/batch", "UpdateChannelsBatch", |state, call| {
        let request = call.read()?;
        state.update_channels_batch(call.now, &call.actor, &request)
    }),
    post("channels/delete", "DeleteChannels", |state, call| {
        let request = call.read()?;
        state.delete_channels(call.now, &call.actor, &request)
    }),
    post("channels/read", "MarkChannelsRead", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        state.mark_channels_read(call.now, &actor)
    }),
    post("channels/delivered", "MarkDelivered", |_, _| {
        Ok(Reply::new(&Map::new()))
    }),
    post(
        "channels/{type}/query",
        "GetOrCreateChannel",
        |state, call| {
            let actor = call.actor_on_behalf(state)?;
            let request = call.read()?;
            state.get_or_create_distinct_channel(call.now, &actor, call.path("type"), request)
        },
    )
    .limit(10_000)
    .v2_defaults(V2_CHANNEL_STATE),
    post(
        "channels/{type}/{id}/query",
        "GetOrCreateChannel",
        |state, call| {
            let actor = call.actor_on_behalf(state)?;
            let request = call.read()?;
            state.get_or_create_channel(call.now, &actor, &call.channel(), request)
        },
    )
    .limit(10_000)
    .v2_defaults(V2_CHANNEL_STATE),
    post(
        "channels/{type}/{id}/stop-watching",
        "StopWatchingChannel",
        |state, call| {
            let connection = match call.take_body().shift_remove("connection_id") {
                Some(Value::String(id)) => Some(id),
                _ => None,
            };
            state.stop_watching_channel(
                call.now,
                &call.actor,
                &call.channel(),
                connection.as_deref(),
            )
        },
    ),
    post("channels/{type}/{id}/hide", "HideChannel", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request: HideChannelRequest = call.read()?;
        state.hide_channel(call.now, &actor, &call.channel(), request.clear_history)
    }),
    post("channels/{type}/{id}/show", "ShowChannel", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        state.show_channel(call.now, &actor, &call.channel())
    }),
    post("channels/{type}/{id}/read", "MarkRead", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.mark_read(call.now, &actor, &call.channel(), &request)
    }),
    post(
        "channels/{type}/{id}/unread",
        "MarkUnread",
        |state, call| {
            let actor = call.actor_on_behalf(state)?;
            let request = call.read()?;
            state.mark_unread(call.now, &actor, &call.channel(), &request)
        },
    ),
    post(
        "channels/{type}/{id}/truncate",
        "TruncateChannel",
        |state, call| {
            let actor = call.actor_on_behalf(state)?;
            let request = call.read()?;
            state.truncate_channel(call.now, &actor, &call.channel(), request)
        },
    ),
    post(
        "channels/{type}/{id}/message",
        "SendMessage",
        |state, call| {
            let request: MessageRequest = call.read()?;
            state.send_message(call.now, &call.actor, &call.channel(), request)
        },
    ),
    get(
        "channels/{type}/{id}/messages",
        "GetManyMessages",
        |state, call| {
            let ids = call.query("ids").unwrap_or_default();
            state.get_messages(&call.actor, &call.channel(), ids)
        },
    ),
    post("channels/{type}/{id}/event", "SendEvent", |state, call| {
        let request = call.read()?;
        state.send_event(call.now, &call.actor, &call.channel(), request)
    }),
    patch(
        "channels/{type}/{id}/member",
        "UpdateMemberPartial",
        update_member_partial,
    ),
    patch(
        "channels/{type}/{id}/member/{user_id}",
        "UpdateMemberPartial",
        update_member_partial,
    ),
    get("channels/{type}/{id}", "GetChannel", |state, call| {
        state.get_channel(&call.actor, &call.channel())
    }),
    post("channels/{type}/{id}", "UpdateChannel", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.update_channel(call.now, &actor, &call.channel(), request)
    })
    .limit(300),
    patch(
        "channels/{type}/{id}",
        "UpdateChannelPartial",
        |state, call| {
            let actor = call.actor_on_behalf(state)?;
            let request = call.read()?;
            state.update_channel_partial(call.now, &actor, &call.channel(), &request)
        },
    )
    .limit(300),
    delete("channels/{type}/{id}", "DeleteChannel", |state, call| {
        state.delete_channel(call.now, &call.actor, &call.channel())
    }),
    get("members", "QueryMembers", |state, call| {
        let query = call.read()?;
        state.query_members(&call.actor, &query)
    })
    .limit(300),
    post("sync", "Sync", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.sync(call.now, &actor, &request)
    }),
    // Messages.
    get("messages/{message_id}", "GetMessage", |state, call| {
        let shows_deleted = call.query("show_deleted_message") == Some("true");
        state.get_message(&call.actor, call.path("message_id"), shows_deleted)
    }),
    // Not a message.
    post("messages/history", "QueryMessageHistory", |_, _| {
        Err(Rejection::not_found("there is no POST /messages/history"))
    }),
    post("messages/{message_id}", "UpdateMessage", |state, call| {
        let request: MessageRequest = call.read()?;
        let id = call.path("message_id");
        state.update_message(call.now, &call.actor, id, request.message)
    }),
    put(
        "messages/{message_id}",
        "UpdateMessagePartial",
        |state, call| {
            let actor = call.actor_on_behalf(state)?;
            let request = call.read()?;
            state.update_message_partial(call.now, &actor, call.path("message_id"), request)
        },
    ),
    delete("messages/{message_id}", "DeleteMessage", |state, call| {
        let request: DeleteMessageRequest = call.read()?;
        state.delete_message(call.now, &call.actor, call.path("message_id"), request.hard)
    }),
    post(
        "messages/{message_id}/undelete",
        "UndeleteMessage",
        |state, call| {
            let request = call.read()?;
            let id = call.path("message_id");
            state.undelete_message(call.now, &call.actor, id, &request)
        },
    ),
    get(
        "messages/{message_id}/replies",
        "GetReplies",
        |state, call| {
            // The service ignores an offset here.
            let page = call.read_with_query(&["limit", "id_lt", "id_lte", "id_gt", "id_gte"])?;
            state.get_replies(&call.actor, call.path("message_id"), &page)
        },
    ),
    post("threads", "QueryThreads", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.query_threads(&actor, &request)
    }),
    get("threads/{message_id}", "GetThread", |state, call| {
        let request = call.read_with_query(&["reply_limit"])?;
        state.get_thread(&call.actor, call.path("message_id"), &request)
    }),
    // Moderation.
    post("moderation/mute", "MuteUser", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.mute_users(call.now, &actor, &request)
    }),
    post("moderation/unmute", "UnmuteUser", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.unmute_users(call.now, &actor, &request)
    }),
    post("moderation/mute/channel", "MuteChannel", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.set_channels_muted(call.now, &actor, &request, true)
    }),
    post(
        "moderation/unmute/channel",
        "UnmuteChannel",
        |state, call| {
            let actor = call.actor_on_behalf(state)?;
            let request = call.read()?;
            state.set_channels_muted(call.now, &actor, &request, false)
        },
    ),
    post("moderation/ban", "Ban", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.ban_user(call.now, &actor, &request)
    }),
    delete("moderation/ban", "Unban", unban_user),
    post("moderation/unban", "Unban", unban_user),
    get("query_banned_users", "QueryBannedUsers", |state, call| {
        let request: QueryBannedUsersRequest = call.read()?;
        state.query_banned_users(&call.actor, &request.filter_conditions)
    }),
    // Devices and unread counts.
    post("devices", "CreateDevice", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let request = call.read()?;
        state.create_device(call.now, &actor, request)
    }),
    get("devices", "ListDevices", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        state.list_devices(&actor)
    }),
    delete("devices", "DeleteDevice", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        let id = call.query("id").unwrap_or_default();
        state.delete_device(&actor, id)
    }),
    get("unread", "UnreadCounts", |state, call| {
        let actor = call.actor_on_behalf(state)?;
        state.get_unread_counts(&actor)
    }),
    post("unread_batch", "UnreadCountsBatch", |state, call| {
        let request = call.read()?;
        state.get_unread_counts_of(&call.actor, &request)
    }),
    get("commands", "ListCommands", |state, call| {
        state.list_entries(&call.actor, StoredList::Commands)
    }),
    post("commands", "CreateCommand", |state, call| {
        let fields = call.take_body();
        state.create_entry(call.now, &call.actor, StoredList::Commands, fields)
    }),
    get("commands/{name}", "GetCommand", |state, call| {
        state.get_entry(&call.actor, StoredList::Commands, call.path("name"))
    }),
    put("commands/{name}", "UpdateCommand", |state, call| {
        let fields = call.take_body();
        let name = call.path("name");
        state.update_entry(call.now, &call.actor, StoredList::Commands, name, fields)
    }),
    delete("commands/{name}", "DeleteCommand", |state, call| {
        state.delete_entry(&call.actor, StoredList::Commands, call.path("name"))
    }),
    get("blocklists", "ListBlockLists", |state, call| {
        state.list_entries(&call.actor, StoredList::BlockLists)
    }),
    post("blocklists", "CreateBlockList", |state, call| {
        let fields = call.take_body();
        state.create_entry(call.now, &call.actor, StoredList::BlockLists, fields)
    }),
    get("blocklists/{name}", "GetBlockList", |state, call| {
        state.get_entry(&call.actor, StoredList::BlockLists, call.path("name"))
    }),
    put("blocklists/{name}", "UpdateBlockList", |state, call| {
        let fields = call.take_body();
        let name = call.path("name");
        state.update_entry(call.now, &call.actor, StoredList::BlockLists, name, fields)
    }),
    delete("blocklists/{name}", "DeleteBlockList", |state, call| {
        state.delete_entry(&call.actor, StoredList::BlockLists, call.path("name"))
    }),
    get("roles", "ListRoles", |state, call| {
        state.list_entries(&call.actor, StoredList::Roles)
    }),
    post("roles", "CreateRole", |state, call| {
        let fields = call.take_body();
        state.create_entry(call.now, &call.actor, StoredList::Roles, fields)
    }),
    delete("roles/{name}", "DeleteRole", |state, call| {
        state.delete_entry(&call.actor, StoredList::Roles, call.path("name"))
    }),
    // Channel types.
    get("channeltypes", "ListChannelTypes", |state, call| {
        state.list_channel_types(&call.actor)
    }),
    post("channeltypes", "CreateChannelType", |state, call| {
        let body = call.take_body();
        state.create_channel_type(call.now, &call.actor, body)
    }),
    get("channeltypes/{name}", "GetChannelType", |state, call| {
        state.get_channel_type(&call.actor, call.path("name"))
    }),
    put("channeltypes/{name}", "UpdateChannelType", |state, call| {
        let body = call.take_body();
        state.update_channel_type(call.now, &call.actor, call.path("name"), body)
    }),
    delete("channeltypes/{name}", "DeleteChannelType", |state, call| {
        state.delete_channel_type(&call.actor, call.path("name"))
    }),
];

fn unban_user(state: &mut ServiceState, call: &mut Call) -> Result<Reply, Rejection> {
    let actor = call.actor_on_behalf(state)?;
    let request = call.read_with_query(&["target_user_id", "channel_cid", "type", "id"])?;
    state.unban_user(call.now, &actor, &request)
}

fn query_channels(state: &mut ServiceState, call: &mut Call) -> Result<Reply, Rejection> {
    let actor = call.actor_on_behalf(state)?;
    let query = call.read()?;
    state.query_channels(call.now, &actor, &query)
}

fn update_member_partial(state: &mut ServiceState, call: &mut Call) -> Result<Reply, Rejection> {
    let actor = call.actor_on_behalf(state)?;
    let user = call
        .find_path("user_id")
        .or_else(|| call.request.body.get("user_id").and_then(Value::as_str))
        .or_else(|| call.query("user_id"))
        .ok_or_else(|| Rejection::input("user_id is a required field"))?
        .to_owned();
    call.request.body.shift_remove("user_id");
    let request = call.read()?;
    state.update_member_partial(call.now, &actor, &call.channel(), &user, &request)
}

/// A request for an operation.
#[derive(Debug, Clone)]
pub(crate) struct OperationRequest {
    /// Which operation.
    pub(crate) operation: &'static Operation,
    path: Vec<(&'static str, String)>,
    query: Vec<(String, String)>,
    body: JsonObject,
}

/// Body fields that may be in the query instead.
const FIELDS_IN_QUERY: &[&str] = &[
    "connection_id",
    "hard",
    "hard_delete",
    "mark_messages_deleted",
    "delete_conversation_channels",
    "with_inaccessible_cids",
];

impl OperationRequest {
    /// The operation at a method and a path, whose segments are decoded already.
    pub(crate) fn find(method: &str, segments: &[&str]) -> Option<Self> {
        OPERATIONS
            .iter()
            .filter(|operation| operation.method == method)
            .find_map(|operation| {
                Some(Self {
                    operation,
                    path: operation.match_path(segments)?,
                    query: Vec::new(),
                    body: Map::new(),
                })
            })
    }

    /// The same request with a query and a body.
    pub(crate) fn with(mut self, query: Vec<(String, String)>, mut body: JsonObject) -> Self {
        for name in FIELDS_IN_QUERY {
            if let Some((_, value)) = query.iter().find(|(field, _)| field == name) {
                body.insert((*name).to_owned(), value.clone().into());
            }
        }
        self.query = query;
        self.body = body;
        self
    }

    /// A request of our own, such as `PATCH /users`.
    ///
    /// # Panics
    ///
    /// There is no such operation.
    pub(crate) fn new(method_and_path: &str, body: JsonObject) -> Self {
        let (method, path) = method_and_path.split_once(" /").unwrap_or_default();
        let segments: Vec<&str> = path.split('/').collect();
        Self::find(method, &segments)
            .unwrap_or_else(|| panic!("{method_and_path} is not an operation"))
            .with(Vec::new(), body)
    }
}

/// An operation request whose caller is known, as handlers see it.
#[derive(Debug)]
pub(crate) struct Call {
    /// The time of the call.
    pub(crate) now: DateTime<Utc>,
    /// Who calls.
    pub(crate) actor: Actor,
    request: OperationRequest,
}

impl Call {
    /// Takes the body out of the call.
    pub(crate) fn take_body(&mut self) -> JsonObject {
        std::mem::take(&mut self.request.body)
    }

    /// Takes the body out of the call, as a type.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Result<T, Rejection> {
        read(self.take_body())
    }

    /// Takes the body out of the call, as a type. Fields that it lacks may be in the query.
    fn read_with_query<T: DeserializeOwned>(&mut self, fields: &[&str]) -> Result<T, Rejection> {
        let mut body = self.take_body();
        for field in fields {
            if let Some(value) = self.query(field) {
                body.entry(*field).or_insert_with(|| value.into());
            }
        }
        read(body)
    }

    /// A parameter of the path.
    ///
    /// # Panics
    ///
    /// The path of the operation has no such parameter.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.find_path(name)
            .expect("the operation's path has this parameter")
    }

    fn find_path(&self, name: &str) -> Option<&str> {
        self.request
            .path
            .iter()
            .find(|(parameter, _)| *parameter == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.request
            .query
            .iter()
            .find(|(parameter, _)| parameter == name)
            .map(|(_, value)| value.as_str())
    }

    /// The channel that the path names.
    pub(crate) fn channel(&self) -> ChannelRef {
        ChannelRef {
            channel_type: self.path("type").to_owned(),
            id: self.path("id").to_owned(),
        }
    }

    /// The actor, or the user on whose behalf the server side acts. Call it before the body is taken.
    pub(crate) fn actor_on_behalf(&self, state: &mut ServiceState) -> Result<Actor, Rejection> {
        let has_no_body = matches!(self.request.operation.method, "GET" | "DELETE");
        let named = ["user_id", "user"].into_iter().filter_map(|field| {
            let value = match self.request.body.get(field) {
                Some(value) => value.clone(),
                // Calls without a body have it in the query.
                None if field == "user_id" && has_no_body => self.query(field)?.into(),
                None => return None,
            };
            Some((field.to_owned(), value))
        });
        let named: OnBehalfOf = read(named.collect())?;
        state.acting(self.now, self.actor.clone(), &named)
    }
}

impl ServiceState {
    /// Carries out an operation, or rejects it and changes nothing.
    pub(crate) fn apply(
        &mut self,
        now: DateTime<Utc>,
        caller: &Caller,
        request: OperationRequest,
    ) -> Result<Reply, Rejection> {
        let actor = self.actor(caller)?;
        match request.operation.handler {
            Handler::State(handler) => handler(
                self,
                &mut Call {
                    now,
                    actor,
                    request,
                },
            ),
            Handler::Transport(_) => Err(Rejection::input("this endpoint is not an operation")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &str, path: &str) -> Option<OperationRequest> {
        let segments: Vec<&str> = path.split('/').collect();
        OperationRequest::find(method, &segments)
    }

    #[test]
    fn paths_lead_to_operations() {
        let name = |method: &str, path: &str| find(method, path).map(|found| found.operation.name);
        assert_eq!(name("GET", "users"), Some("QueryUsers"));
        assert_eq!(name("PATCH", "users"), Some("UpdateUsersPartial"));
        assert_eq!(name("GET", "channels"), Some("QueryChannels"));
        assert_eq!(name("POST", "users/delete"), Some("DeleteUsers"));
        assert_eq!(name("DELETE", "users/delete"), Some("DeleteUser"));
        assert_eq!(
            name("POST", "channels/messaging/a/query"),
            Some("GetOrCreateChannel")
        );
        assert_eq!(name("PUT", "users"), None);
        assert_eq!(name("GET", "users/a/b/c"), None);
        assert_eq!(name("GET", "nowhere"), None);
        assert_eq!(
            find("GET", "channels/messaging/x y").unwrap().path,
            [("type", "messaging".to_owned()), ("id", "x y".to_owned())]
        );
    }

    #[test]
    fn no_row_is_hidden_behind_an_earlier_one() {
        for operation in OPERATIONS {
            let found = find(operation.method, operation.path).unwrap();
            assert!(
                std::ptr::eq(found.operation, operation),
                "{} {} is hidden behind {}",
                operation.method,
                operation.path,
                found.operation.path
            );
        }
    }

    #[test]
    fn operations_of_one_name_share_one_limit() {
        for operation in OPERATIONS {
            for other in OPERATIONS
                .iter()
                .filter(|other| other.name == operation.name)
            {
                assert_eq!(operation.requests_per_minute, other.requests_per_minute);
            }
        }
    }
}
