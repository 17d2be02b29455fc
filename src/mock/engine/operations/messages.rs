//! Operations on messages: send, read, change, delete, truncate, mark as unread.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::channel_view::ChannelView;
use crate::mock::engine::data::message_view::MessageView;
use crate::mock::engine::data::messages::{Message, Pin, page};
use crate::mock::engine::data::requests::{
    ChannelRef, JsonObject, MarkUnreadRequest, MessagePage, MessageRequest, OnBehalfOf,
    PartialUpdateRequest, Reply, TruncateChannelRequest, UndeleteMessageRequest, UserRef, read,
};
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::timers::ExpiringEntry;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

/// The longest text of a message, in characters.
const MAX_TEXT_CHARS: usize = 5000;

/// The code for a longer one.
const TEXT_TOO_LONG: i32 = 20;

/// The longest id of a message.
const MAX_ID_BYTES: usize = 255;

/// Replies on a page unless a request says how many.
const DEFAULT_REPLIES_PAGE: usize = 100;

/// Fields of a message that the service sets, or that name what it does not emulate. Clients send them back with what
/// they have read.
const READ_ONLY_FIELDS: &[&str] = &[
    "id",
    "cid",
    "type",
    "user",
    "user_id",
    "created_at",
    "updated_at",
    "deleted_at",
    "latest_reactions",
    "own_reactions",
    "reaction_counts",
    "reaction_scores",
    "reaction_groups",
    "reply_count",
    "deleted_reply_count",
    "shadowed",
    "pinned_at",
    "pinned_by",
    "mentioned_channel",
    "mentioned_here",
    "channel",
    "member",
    "command",
    "i18n",
    "status",
    "thread_participants",
    "skip_push",
    "skip_enrich_url",
];

#[derive(Serialize)]
struct MessageResponse<'a> {
    message: MessageView<'a>,
}

#[derive(Serialize)]
struct MessageListResponse<'a> {
    messages: Vec<MessageView<'a>>,
}

#[derive(Serialize)]
struct TruncateChannelResponse<'a> {
    channel: ChannelView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageView<'a>>,
}

/// Adds the channel to a message that is read on its own.
#[derive(Serialize)]
struct MessageWithChannel<'a> {
    #[serde(flatten)]
    message: MessageView<'a>,
    channel: ChannelView<'a>,
}

impl ServiceState {
    /// `POST /channels/{type}/{id}/message`.
    pub(crate) fn send_message(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        request: MessageRequest,
    ) -> Result<Reply, Rejection> {
        let mut fields = request.message;
        let (key, _) = self.channel_named(&name.channel_type, &name.id)?;
        let actor = self.author(now, actor, &fields)?;
        let channel = self.channels.get(key).expect("it was found above");
        if !self.may_read(&actor, channel) {
            return Err(actor.denied("CreateMessage", &name.channel_type));
        }
        if channel.frozen && !actor.server {
            return Err(actor.denied("UseFrozenChannel", &name.channel_type));
        }
        let user = self.acting_user(&actor)?;
        if self.is_banned(user, key, now) {
            return Err(actor.denied("CreateMessage", &name.channel_type));
        }
        let system = actor.server && fields.get("type").and_then(Value::as_str) == Some("system");
        let shadowed = self.is_shadow_banned(user, key, now);
        let message = self.new_message(now, key, user, &mut fields)?;
        let message = Message {
            system,
            shadowed,
            ..message
        };
        let id = message.id.clone();
        self.post_message(now, key, message, request.keep_channel_hidden);
        Ok(self.message_reply(&actor, key, &id))
    }

    /// The author of a message: the client, or the user named in a server-side call, who is created if they are new.
    fn author(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        fields: &JsonObject,
    ) -> Result<Actor, Rejection> {
        let id = fields.get("user_id").and_then(Value::as_str);
        let named = match id.filter(|id| !id.is_empty()) {
            Some(id) => json!({"id": id}),
            None => fields.get("user").cloned().unwrap_or_default(),
        };
        let named: OnBehalfOf = read(Map::from_iter([("user".to_owned(), named)]))?;
        let actor = self.acting(now, actor.clone(), &named)?;
        if actor.server && actor.user.is_none() {
            return Err(Rejection::input(
                "either message.user or message.user_id must be provided when using server side auth.",
            ));
        }
        Ok(actor)
    }

    /// A message by its fields; nothing is stored yet.
    fn new_message(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        fields: &mut JsonObject,
    ) -> Result<Message, Rejection> {
        let id = match fields.get("id").and_then(Value::as_str) {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => self.ids.next(now),
        };
        if id.len() > MAX_ID_BYTES {
            return Err(Rejection::field("message.id", "is too long"));
        }
        if self.message_channels.contains_key(&id) {
            return Err(Rejection::input(format!(
                "a message with ID {} already exists",
                shortened(&id)
            )));
        }
        let parent_id = match fields.shift_remove("parent_id") {
            Some(Value::String(parent)) if !parent.is_empty() => {
                if self.message(key, &parent).is_none() {
                    return Err(Rejection::input(format!(
                        "parent message with id {} doesn't exist",
                        shortened(&parent)
                    )));
                }
                Some(parent)
            }
            _ => None,
        };
        let mut message = Message {
            id,
            sequence: 0,
            user,
            text: String::new(),
            system: false,
            parent_id,
            show_in_channel: false,
            silent: false,
            shadowed: false,
            restricted_to: Vec::new(),
            html: None,
            mentioned: Vec::new(),
            attachments: Vec::new(),
            pin: None,
            custom: Map::new(),
            created_at: stored(now),
            updated_at: stored(now),
            deleted_at: None,
            hides_content: false,
        };
        self.write_message(now, user, &mut message, std::mem::take(fields))?;
        Ok(message)
    }

    /// Writes fields into a message.
    fn write_message(
        &self,
        now: DateTime<Utc>,
        by: UserKey,
        message: &mut Message,
        fields: JsonObject,
    ) -> Result<(), Rejection> {
        let wrong =
            |field: &str| Rejection::field(format!("message.{field}"), "has the wrong type");
        let mut pin_expires = None;
        let new_pin = Pin {
            at: stored(now),
            by,
            expires: None,
        };
        for (field, value) in fields {
            match (field.as_str(), value) {
                (read_only, _) if READ_ONLY_FIELDS.contains(&read_only) => {}
                ("pin_expires", value) => pin_expires = Some(value),
                ("parent_id" | "quoted_message", _) | (_, Value::Null) => {}
                ("text", Value::String(text)) => {
                    if text.chars().count() > MAX_TEXT_CHARS {
                        return Err(Rejection::with_code(
                            400,
                            TEXT_TOO_LONG,
                            format!("message text is longer than {MAX_TEXT_CHARS} characters"),
                        ));
                    }
                    message.text = text;
                }
                ("silent", Value::Bool(on)) => message.silent = on,
                ("show_in_channel", Value::Bool(on)) => message.show_in_channel = on,
                ("pinned", Value::Bool(on)) => {
                    message.pin = on.then(|| message.pin.unwrap_or(new_pin));
                }
                ("html", Value::String(html)) => {
                    message.html = Some(html).filter(|html| !html.is_empty());
                }
                ("restricted_visibility", Value::Array(ids)) => {
                    message.restricted_to = ids
                        .iter()
                        .filter_map(|id| self.user(id.as_str()?).map(|(key, _)| key))
                        .collect();
                }
                ("attachments", Value::Array(list)) => message.attachments = list,
                ("mentioned_users", Value::Array(list)) => {
                    message.mentioned = list
                        .into_iter()
                        .filter_map(|user| {
                            let user: UserRef = serde_json::from_value(user).ok()?;
                            self.user(user.id().ok()?).map(|(key, _)| key)
                        })
                        .collect();
                }
                (
                    "text"
                    | "html"
                    | "silent"
                    | "show_in_channel"
                    | "pinned"
                    | "attachments"
                    | "mentioned_users"
                    | "restricted_visibility",
                    _,
                ) => return Err(wrong(&field)),
                (_, value) => {
                    message.custom.insert(field, value);
                }
            }
        }
        if let (Some(pin), Some(expires)) = (&mut message.pin, pin_expires) {
            pin.expires = serde_json::from_value::<Option<DateTime<Utc>>>(expires)
                .map_err(|_| wrong("pin_expires"))?
                .map(stored);
        }
        let size = serde_json::to_string(&message.custom).map_or(0, |text| text.len());
        if size > self.rules.custom_data_limit {
            return Err(Rejection::input(format!(
                "custom data of the message is {size} bytes, and at most {} are allowed",
                self.rules.custom_data_limit
            )));
        }
        Ok(())
    }

    fn message_reply(&self, actor: &Actor, key: ChannelKey, id: &str) -> Reply {
        let channel = self.channels.get(key).expect("the caller has found it");
        let message = channel.messages.get(id).expect("the caller has found it");
        Reply::new(&MessageResponse {
            message: self.message_view(actor, channel, message),
        })
    }

    fn message_view<'a>(
        &'a self,
        actor: &Actor,
        channel: &'a Channel,
        message: &'a Message,
    ) -> MessageView<'a> {
        MessageView {
            state: self,
            channel,
            message,
            viewer: actor.viewer(),
        }
    }

    /// A message that the caller may read, and its channel.
    pub(crate) fn readable_message(
        &self,
        actor: &Actor,
        id: &str,
    ) -> Result<(ChannelKey, &Channel, &Message), Rejection> {
        let found = self.message_channels.get(id).and_then(|key| {
            let channel = self.channels.get(*key)?;
            let message = channel.messages.get(id)?;
            message
                .is_visible_to(actor.viewer())
                .then_some((*key, channel, message))
        });
        let (key, channel, message) = found.ok_or_else(|| {
            Rejection::not_found(format!("message with id {} doesn't exist", shortened(id)))
        })?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &channel.channel_type));
        }
        Ok((key, channel, message))
    }

    /// A message that the caller may change: their own, or one in a channel that they moderate.
    fn changeable_message(
        &self,
        actor: &Actor,
        id: &str,
        action: &str,
    ) -> Result<(ChannelKey, Message), Rejection> {
        let (key, channel, message) = self.readable_message(actor, id)?;
        if actor.user != Some(message.user) && !self.may_change(actor, channel) {
            return Err(actor.denied(action, &channel.channel_type));
        }
        Ok((key, message.clone()))
    }

    /// `GET /messages/{id}`. The server side may read what a deleted message said.
    pub(crate) fn get_message(
        &self,
        actor: &Actor,
        id: &str,
        shows_deleted: bool,
    ) -> Result<Reply, Rejection> {
        #[derive(Serialize)]
        struct GetMessageResponse<'a> {
            message: MessageWithChannel<'a>,
        }
        let (_, channel, message) = self.readable_message(actor, id)?;
        let message = Message {
            hides_content: message.hides_content && !(actor.server && shows_deleted),
            ..message.clone()
        };
        Ok(Reply::new(&GetMessageResponse {
            message: MessageWithChannel {
                message: self.message_view(actor, channel, &message),
                channel: self.channel_view(actor, channel),
            },
        }))
    }

    /// `GET /channels/{type}/{id}/messages?ids=…`: those of them that exist.
    pub(crate) fn get_messages(
        &self,
        actor: &Actor,
        name: &ChannelRef,
        ids: &str,
    ) -> Result<Reply, Rejection> {
        let (_, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &name.channel_type));
        }
        let messages = ids
            .split(',')
            .filter_map(|id| channel.messages.get(id))
            .filter(|message| message.is_visible_to(actor.viewer()))
            .collect();
        Ok(Reply::new(&MessageListResponse {
            messages: self.message_views(channel, actor.viewer(), messages),
        }))
    }

    /// `GET /messages/{id}/replies`.
    pub(crate) fn get_replies(
        &self,
        actor: &Actor,
        id: &str,
        wanted: &MessagePage,
    ) -> Result<Reply, Rejection> {
        let (_, channel, _) = self.readable_message(actor, id)?;
        let viewer = actor.viewer();
        let replies = channel
            .messages
            .replies(id)
            .filter(|reply| reply.is_visible_to(viewer));
        let replies = page(replies, &channel.messages, wanted, DEFAULT_REPLIES_PAGE);
        Ok(Reply::new(&MessageListResponse {
            messages: self.message_views(channel, viewer, replies),
        }))
    }

    /// `POST /messages/{id}`: replaces what the sender sets.
    pub(crate) fn update_message(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        id: &str,
        fields: JsonObject,
    ) -> Result<Reply, Rejection> {
        let (key, mut message) = self.changeable_message(actor, id, "UpdateMessage")?;
        message.text.clear();
        message.html = None;
        message.attachments.clear();
        message.mentioned.clear();
        message.custom.clear();
        let by = actor.user.unwrap_or(message.user);
        self.write_message(now, by, &mut message, fields)?;
        self.store_message(now, key, message);
        Ok(self.message_reply(actor, key, id))
    }

    /// `PUT /messages/{id}`: sets and removes single fields.
    pub(crate) fn update_message_partial(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        id: &str,
        request: PartialUpdateRequest,
    ) -> Result<Reply, Rejection> {
        let (key, mut message) = self.changeable_message(actor, id, "UpdateMessage")?;
        let by = actor.user.unwrap_or(message.user);
        for field in &request.unset {
            match field.as_str() {
                "text" => message.text.clear(),
                "attachments" => message.attachments.clear(),
                "mentioned_users" => message.mentioned.clear(),
                "pinned" => message.pin = None,
                "pin_expires" => {
                    if let Some(pin) = &mut message.pin {
                        pin.expires = None;
                    }
                }
                "silent" => message.silent = false,
                _ => {
                    message.custom.shift_remove(field);
                }
            }
        }
        self.write_message(now, by, &mut message, request.set)?;
        self.store_message(now, key, message);
        Ok(self.message_reply(actor, key, id))
    }

    fn store_message(&mut self, now: DateTime<Utc>, key: ChannelKey, mut message: Message) {
        message.updated_at = stored(now);
        self.replace_message(now, "message.updated", key, &message);
    }

    fn replace_message(
        &mut self,
        now: DateTime<Utc>,
        event: &str,
        key: ChannelKey,
        message: &Message,
    ) {
        if let Some(channel) = self.channels.get_mut(key)
            && let Some(old) = channel.messages.get_mut(&message.id)
        {
            *old = message.clone();
        }
        let pin = ExpiringEntry::Pin(key, message.sequence);
        self.set_expiry(message.pin.and_then(|pin| pin.expires), pin);
        self.send_message_event(now, event, key, message, None);
    }

    /// `DELETE /messages/{id}`.
    pub(crate) fn delete_message(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        id: &str,
        hard: bool,
    ) -> Result<Reply, Rejection> {
        if hard {
            actor.server_only()?;
        }
        let (key, message) = self.changeable_message(actor, id, "DeleteMessage")?;
        let message = self
            .delete_message_of(now, key, id, hard)
            .unwrap_or(message);
        let channel = self.channels.get(key).expect("it was found above");
        Ok(Reply::new(&MessageResponse {
            message: self.message_view(actor, channel, &message),
        }))
    }

    /// `POST /messages/{id}/undelete`: takes a soft deletion back.
    pub(crate) fn undelete_message(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        id: &str,
        request: &UndeleteMessageRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        self.require_user(&request.undeleted_by)?;
        let (key, _, message) = self.readable_message(actor, id)?;
        if message.deleted_at.is_none() {
            return Err(Rejection::input(format!(
                "message with id {} is not deleted",
                shortened(id)
            )));
        }
        let message = Message {
            deleted_at: None,
            hides_content: false,
            updated_at: stored(now),
            ..message.clone()
        };
        self.replace_message(now, "message.undeleted", key, &message);
        Ok(self.message_reply(actor, key, id))
    }

    /// `POST /channels/{type}/{id}/truncate`.
    pub(crate) fn truncate_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        request: TruncateChannelRequest,
    ) -> Result<Reply, Rejection> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_change(actor, channel) {
            return Err(actor.denied("TruncateChannel", &name.channel_type));
        }
        let message = match request.message {
            Some(fields) => Some(self.system_message(now, actor, key, fields)?),
            None => None,
        };
        let id = message.as_ref().map(|message| message.id.clone());
        self.truncate(now, key, actor.user, request.truncated_at, message);
        let channel = self.channels.get(key).expect("it was found above");
        Ok(Reply::new(&TruncateChannelResponse {
            channel: self.channel_view(actor, channel),
            message: id
                .and_then(|id| channel.messages.get(&id))
                .map(|message| self.message_view(actor, channel, message)),
        }))
    }

    /// The message that goes with a change of a channel. It is not posted yet.
    pub(crate) fn system_message(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        key: ChannelKey,
        mut fields: JsonObject,
    ) -> Result<Message, Rejection> {
        let author = self.author(now, actor, &fields)?;
        let user = self.acting_user(&author)?;
        let message = self.new_message(now, key, user, &mut fields)?;
        Ok(Message {
            system: true,
            ..message
        })
    }

    /// `POST /channels/{type}/{id}/unread`.
    pub(crate) fn mark_unread(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        request: &MarkUnreadRequest,
    ) -> Result<Reply, Rejection> {
        let (key, user) = self.readable(actor, name)?;
        if let Some(id) = &request.thread_id {
            let thread = self.set_thread_read(key, id, user, false)?;
            self.send_read_notification(now, "notification.mark_unread", key, user, thread);
            return Ok(Reply::new(&Map::new()));
        }
        let message = match (&request.message_id, request.message_timestamp) {
            (Some(id), _) => Some(self.message(key, id).ok_or_else(|| {
                Rejection::not_found(format!("message with id {} doesn't exist", shortened(id)))
            })?),
            (None, Some(since)) => self.first_message_since(key, since),
            (None, None) => return Err(Rejection::input("message_id is a required field")),
        };
        if let Some(message) = message {
            self.mark_unread_from(now, key, user, &message);
        }
        Ok(Reply::new(&Map::new()))
    }
}
