//! Messages, as each viewer sees them, and how many of them users have not read.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::messages::{Message, page};
use crate::mock::engine::data::requests::MessagePage;
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;

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
        let (text, html, attachments) = if message.hides_content {
            ("", None, &[][..])
        } else {
            (&*message.text, message.html.clone(), &*message.attachments)
        };
        map.serialize_entry("text", text)?;
        map.serialize_entry("html", &html.unwrap_or_else(|| html_of(text)))?;
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
        map.serialize_entry("attachments", attachments)?;
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
        let pin = message.pin;
        map.serialize_entry("pinned", &pin.is_some())?;
        map.serialize_entry("pinned_at", &pin.map(|pin| Rfc3339(pin.at)))?;
        map.serialize_entry("pinned_by", &pin.and_then(|pin| self.user(pin.by)))?;
        map.serialize_entry("pin_expires", &pin.and_then(|pin| pin.expires).map(Rfc3339))?;
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

/// A thread with replies that a user has not read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnreadThread<'a> {
    pub(crate) channel: &'a Channel,
    pub(crate) parent: &'a Message,
    /// The place of the last reply that they have read.
    pub(crate) read_up_to: u64,
    pub(crate) unread: usize,
}

impl UnreadThread<'_> {
    /// The last reply that the user has read.
    pub(crate) fn last_read(&self) -> Option<&Message> {
        self.channel
            .messages
            .replies(&self.parent.id)
            .rev()
            .find(|reply| reply.sequence <= self.read_up_to)
    }
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

    /// The number of unread messages of a user in a channel: 0 if the user is not a member or has muted the channel.
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

    /// The threads with unread replies of a user.
    pub(crate) fn unread_threads(&self, user: UserKey) -> Vec<UnreadThread<'_>> {
        self.users
            .get(user)
            .into_iter()
            .flat_map(|user| &user.memberships)
            .filter_map(|key| self.channels.get(*key))
            .flat_map(|channel| {
                channel.messages.threads().filter_map(move |thread| {
                    let (parent, readers) = thread;
                    let read_up_to = *readers.get(&user)?;
                    let unread = channel
                        .messages
                        .unread_replies(&parent.id, user, read_up_to);
                    (unread > 0).then_some(UnreadThread {
                        channel,
                        parent,
                        read_up_to,
                        unread,
                    })
                })
            })
            .collect()
    }
}
