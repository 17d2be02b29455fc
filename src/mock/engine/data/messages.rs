//! Messages of a channel, and how each viewer sees them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::requests::MessagePage;
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, UserView, Viewer};

/// Messages that a channel keeps. Beyond it, the oldest one goes.
const MAX_MESSAGES_KEPT: usize = 1000;

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    /// Its place in the order of the channel, from 1.
    pub(crate) sequence: u64,
    pub(crate) user: UserKey,
    pub(crate) text: String,
    /// Whether it is the service's or the server's own, as after an update of the channel.
    pub(crate) system: bool,
    pub(crate) parent_id: Option<String>,
    pub(crate) show_in_channel: bool,
    pub(crate) silent: bool,
    /// Whether only its author sees it.
    pub(crate) shadowed: bool,
    /// The only users who see it, besides its author. If empty, all.
    pub(crate) restricted_to: Vec<UserKey>,
    /// The text as HTML, if the server gave it.
    pub(crate) html: Option<String>,
    pub(crate) mentioned: Vec<UserKey>,
    pub(crate) attachments: Vec<Value>,
    pub(crate) pinned: Option<(DateTime<Utc>, UserKey)>,
    pub(crate) custom: Map<String, Value>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
}

impl Message {
    /// Whether the channel's own list holds it. Replies are in their thread only, unless they ask for both.
    fn is_in_channel(&self) -> bool {
        self.parent_id.is_none() || self.show_in_channel
    }

    /// Whether everybody who reads the channel sees it.
    pub(crate) const fn is_visible_to_all(&self) -> bool {
        !self.shadowed && self.restricted_to.is_empty()
    }

    /// Whether somebody may see it.
    pub(crate) fn is_visible_to(&self, viewer: Viewer) -> bool {
        match viewer {
            _ if self.is_visible_to_all() => true,
            Viewer::Server => true,
            Viewer::User(user) if user == self.user => true,
            Viewer::User(user) => !self.shadowed && self.restricted_to.contains(&user),
            Viewer::Other => false,
        }
    }

    /// Whether it counts as unread for a member who has not read it.
    fn is_unread_for(&self, user: UserKey) -> bool {
        self.user != user
            && !self.silent
            && self.is_visible_to(Viewer::User(user))
            && self.deleted_at.is_none()
            && self.is_in_channel()
    }

    fn kind(&self) -> &'static str {
        match self {
            _ if self.deleted_at.is_some() => "deleted",
            _ if self.system => "system",
            _ if self.parent_id.is_some() => "reply",
            _ => "regular",
        }
    }
}

/// The messages of a channel, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelMessages {
    list: Vec<Message>,
    last: u64,
}

impl ChannelMessages {
    /// The place of the newest message there has been.
    pub(crate) const fn last_sequence(&self) -> u64 {
        self.last
    }

    /// Adds a message. Returns the one that had to go, if one had.
    pub(crate) fn push(&mut self, mut message: Message) -> Option<Message> {
        self.last += 1;
        message.sequence = self.last;
        self.list.push(message);
        (self.list.len() > MAX_MESSAGES_KEPT).then(|| self.list.remove(0))
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Message> {
        self.list.iter().find(|message| message.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Message> {
        self.list.iter_mut().find(|message| message.id == id)
    }

    /// Takes out the messages that a condition picks.
    pub(crate) fn take(&mut self, picks: impl Fn(&Message) -> bool) -> Vec<Message> {
        self.list.extract_if(.., |message| picks(message)).collect()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.list.iter()
    }

    /// Replies to a message.
    pub(crate) fn replies<'a>(
        &'a self,
        id: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a Message> {
        self.list
            .iter()
            .filter(move |message| message.parent_id.as_deref() == Some(id))
    }

    /// How many messages a member has not read who has read up to a place.
    pub(crate) fn unread(&self, user: UserKey, read_up_to: u64) -> usize {
        self.list
            .iter()
            .rev()
            .take_while(|message| message.sequence > read_up_to)
            .filter(|message| message.is_unread_for(user))
            .count()
    }

    /// The newest message up to a place.
    pub(crate) fn at_or_before(&self, sequence: u64) -> Option<&Message> {
        self.list
            .iter()
            .rev()
            .find(|message| message.sequence <= sequence)
    }
}

/// A page of a list of messages: the newest ones that the page asks for, oldest first.
pub(crate) fn page<'a>(
    messages: impl Iterator<Item = &'a Message>,
    all: &ChannelMessages,
    page: &MessagePage,
    default_limit: usize,
) -> Vec<&'a Message> {
    let place = |id: &Option<String>| {
        id.as_deref()
            .and_then(|id| all.get(id))
            .map(|message| message.sequence)
    };
    let (lt, lte) = (place(&page.id_lt), place(&page.id_lte));
    let (gt, gte) = (place(&page.id_gt), place(&page.id_gte));
    let mut found: Vec<&Message> = messages
        .filter(|message| {
            let at = message.sequence;
            lt.is_none_or(|limit| at < limit)
                && lte.is_none_or(|limit| at <= limit)
                && gt.is_none_or(|limit| at > limit)
                && gte.is_none_or(|limit| at >= limit)
        })
        .collect();
    let limit = page.limit.unwrap_or(default_limit);
    if gt.is_some() || gte.is_some() {
        found.truncate(limit);
    } else {
        let end = found.len().saturating_sub(page.offset.unwrap_or(0));
        found.truncate(end);
        found.drain(..end.saturating_sub(limit));
    }
    found
}

/// A message, as a viewer sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageView<'a> {
    pub(crate) state: &'a ServiceState,
    pub(crate) channel: &'a Channel,
    pub(crate) message: &'a Message,
    pub(crate) viewer: Viewer,
}

impl<'a> MessageView<'a> {
    fn user(&self, key: UserKey) -> Option<UserView<'a>> {
        let state = self.state;
        state
            .users
            .get(key)
            .map(|_| state.view(key, self.viewer, UserShape::Common))
    }
}

impl Serialize for MessageView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.message;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &message.id)?;
        map.serialize_entry("text", &message.text)?;
        let html = message.html.clone();
        map.serialize_entry("html", &html.unwrap_or_else(|| html_of(&message.text)))?;
        map.serialize_entry("type", message.kind())?;
        map.serialize_entry("cid", &*self.channel.cid)?;
        map.serialize_entry("user", &self.user(message.user))?;
        if let Some(member) = self.channel.members.get(message.user) {
            let member = BTreeMap::from([("channel_role", &member.channel_role)]);
            map.serialize_entry("member", &member)?;
        }
        for (field, value) in &message.custom {
            map.serialize_entry(field, value)?;
        }
        map.serialize_entry("attachments", &message.attachments)?;
        let mentioned: Vec<UserView<'_>> = message
            .mentioned
            .iter()
            .filter_map(|user| self.user(*user))
            .collect();
        map.serialize_entry("mentioned_users", &mentioned)?;
        for list in ["latest_reactions", "own_reactions"] {
            map.serialize_entry(list, &[(); 0])?;
        }
        let restricted_to: Vec<&str> = message
            .restricted_to
            .iter()
            .filter_map(|key| self.state.users.get(*key).map(|user| &*user.id))
            .collect();
        map.serialize_entry("restricted_visibility", &restricted_to)?;
        let empty: Map<String, Value> = Map::new();
        for object in ["reaction_counts", "reaction_scores", "reaction_groups"] {
            map.serialize_entry(object, &empty)?;
        }
        let replies = self.channel.messages.replies(&message.id);
        let (deleted, replies): (Vec<_>, Vec<_>) =
            replies.partition(|reply| reply.deleted_at.is_some());
        map.serialize_entry("reply_count", &replies.len())?;
        map.serialize_entry("deleted_reply_count", &deleted.len())?;
        if let Some(parent) = &message.parent_id {
            map.serialize_entry("parent_id", parent)?;
            map.serialize_entry("show_in_channel", &message.show_in_channel)?;
        }
        map.serialize_entry("silent", &message.silent)?;
        map.serialize_entry("shadowed", &message.shadowed)?;
        map.serialize_entry("mentioned_channel", &false)?;
        map.serialize_entry("mentioned_here", &false)?;
        map.serialize_entry("pinned", &message.pinned.is_some())?;
        map.serialize_entry("pinned_at", &message.pinned.map(|(at, _)| Rfc3339(at)))?;
        map.serialize_entry(
            "pinned_by",
            &message.pinned.and_then(|(_, user)| self.user(user)),
        )?;
        map.serialize_entry("pin_expires", &())?;
        map.serialize_entry("created_at", &Rfc3339(message.created_at))?;
        map.serialize_entry("updated_at", &Rfc3339(message.updated_at))?;
        if let Some(at) = message.deleted_at {
            map.serialize_entry("deleted_at", &Rfc3339(at))?;
        }
        map.end()
    }
}

/// The text as HTML. Markdown is not rendered.
fn html_of(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let escaped = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("<p>{escaped}</p>\n")
}

impl ServiceState {
    /// The messages of a channel's own list that a viewer sees, a page of them.
    pub(crate) fn channel_messages<'a>(
        &'a self,
        channel: &'a Channel,
        viewer: Viewer,
        wanted: &MessagePage,
        default_limit: usize,
    ) -> Vec<MessageView<'a>> {
        let visible = channel
            .messages
            .iter()
            .filter(|message| message.is_in_channel() && message.is_visible_to(viewer));
        self.message_views(
            channel,
            viewer,
            page(visible, &channel.messages, wanted, default_limit),
        )
    }

    pub(crate) fn message_views<'a>(
        &'a self,
        channel: &'a Channel,
        viewer: Viewer,
        messages: Vec<&'a Message>,
    ) -> Vec<MessageView<'a>> {
        messages
            .into_iter()
            .map(|message| MessageView {
                state: self,
                channel,
                message,
                viewer,
            })
            .collect()
    }

    /// How many messages of a channel a user has not read. Who is not a member has read everything.
    pub(crate) fn unread_in(&self, channel: &Channel, user: UserKey) -> usize {
        if channel.muted_by.contains_key(&user) {
            return 0;
        }
        channel
            .members
            .get(user)
            .map_or(0, |member| channel.messages.unread(user, member.read_up_to))
    }

    /// The channels with unread messages of a user, each with their number.
    pub(crate) fn unread_channels(&self, user: UserKey) -> Vec<(&Channel, usize)> {
        self.users
            .get(user)
            .into_iter()
            .flat_map(|user| &user.memberships)
            .filter_map(|key| {
                let channel = self.channels.get(*key)?;
                let unread = self.unread_in(channel, user);
                (unread > 0).then_some((channel, unread))
            })
            .collect()
    }

    /// The unread counts of a user, as notifications carry them.
    pub(crate) fn unread_counts(&self, user: UserKey) -> Map<String, Value> {
        let channels = self.unread_channels(user);
        let total: usize = channels.iter().map(|(_, unread)| unread).sum();
        Map::from_iter([
            ("unread_count".to_owned(), total.into()),
            ("total_unread_count".to_owned(), total.into()),
            ("unread_channels".to_owned(), channels.len().into()),
        ])
    }
}
