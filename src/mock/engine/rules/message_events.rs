//! What a message changes: the channel, unread counts, and the events that say so.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::messages::Message;
use crate::mock::engine::data::rfc3339::{Rfc3339, stored};
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::timers::ExpiringEntry;
use crate::mock::engine::data::user::Viewer;
use crate::mock::engine::rules::channel_events::ChannelEventDraft;

impl ServiceState {
    /// Adds a message to a channel, and sends events to its watchers and to the members who do not watch it.
    pub(crate) fn post_message(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        message: Message,
        keep_hidden: bool,
    ) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let (id, author, shadowed) = (message.id.clone(), message.user, message.shadowed);
        let restricted_to = message.restricted_to.clone();
        if !shadowed {
            channel.last_message_at = Some(message.created_at);
            if !keep_hidden {
                // A hidden channel shows up again with its next message.
                channel.hidden_for.clear();
            }
        }
        let oldest = channel.messages.push(message);
        self.message_channels.insert(id.clone(), key);
        if let Some(oldest) = oldest {
            self.message_channels.remove(&oldest.id);
        }
        let Some(message) = self.message(key, &id) else {
            return;
        };
        let pin = ExpiringEntry::Pin(key, message.sequence);
        self.set_expiry(message.pin.and_then(|pin| pin.expires), pin);
        let watchers = self.message_receivers(key, &message);
        let news = ChannelEventDraft {
            user: Some(author),
            message: Some(&message),
            ..ChannelEventDraft::new("message.new", key)
        };
        self.send_with_unread_counts(now, &watchers, &news);
        if shadowed {
            return;
        }
        if restricted_to.is_empty() {
            self.record_in_history(now, key, None, &news);
        }
        let members: Vec<UserKey> = self
            .channels
            .get(key)
            .map(|channel| channel.members.keys().collect())
            .unwrap_or_default();
        let others: Vec<ConnectionKey> = members
            .into_iter()
            .filter(|member| *member != author)
            .filter(|member| restricted_to.is_empty() || restricted_to.contains(member))
            .flat_map(|member| self.not_watching(key, member))
            .collect();
        let news = ChannelEventDraft {
            kind: "notification.message_new",
            whole: true,
            ..news
        };
        self.send_with_unread_counts(now, &others, &news);
    }

    /// A copy of a message.
    pub(crate) fn message(&self, key: ChannelKey, id: &str) -> Option<Message> {
        self.channels.get(key)?.messages.get(id).cloned()
    }

    /// The first message of a channel that is not older than a time.
    pub(crate) fn first_message_since(
        &self,
        key: ChannelKey,
        since: DateTime<Utc>,
    ) -> Option<Message> {
        let messages = &self.channels.get(key)?.messages;
        messages
            .iter()
            .find(|message| message.created_at >= since)
            .cloned()
    }

    /// The watchers who see a message: of a shadow-banned author, only they themself.
    fn message_receivers(&self, key: ChannelKey, message: &Message) -> Vec<ConnectionKey> {
        let mut watchers = self.watchers_of(key);
        if !message.is_visible_to_all() {
            watchers.retain(|connection| {
                self.connections
                    .get(connection)
                    .is_some_and(|connection| message.is_visible_to(Viewer::User(connection.user)))
            });
        }
        watchers
    }

    /// Tells the watchers that a message has changed or is gone.
    pub(crate) fn send_message_event(
        &mut self,
        now: DateTime<Utc>,
        kind: &str,
        key: ChannelKey,
        message: &Message,
        extra: Option<&Map<String, Value>>,
    ) {
        let news = ChannelEventDraft {
            user: Some(message.user),
            message: Some(message),
            extra,
            ..ChannelEventDraft::new(kind, key)
        };
        self.send_channel_event(now, &self.message_receivers(key, message), &news);
        if message.is_visible_to_all() {
            self.record_in_history(now, key, None, &news);
        }
    }

    /// Deletes a message: a soft deletion leaves its place, and hides the text.
    pub(crate) fn delete_message_of(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        id: &str,
        hard: bool,
    ) -> Option<Message> {
        let message = self.channels.get_mut(key)?.messages.get_mut(id)?;
        message.deleted_at.get_or_insert(stored(now));
        message.updated_at = stored(now);
        message.hides_content = !hard;
        let message = message.clone();
        let extra = Map::from_iter([("hard_delete".to_owned(), Value::Bool(hard))]);
        self.send_message_event(now, "message.deleted", key, &message, Some(&extra));
        if hard {
            self.forget_messages(key, |message| message.id == id);
        }
        Some(message)
    }

    /// Forgets messages of a channel, silently.
    pub(crate) fn forget_messages(&mut self, key: ChannelKey, picks: impl Fn(&Message) -> bool) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        for message in channel.messages.take(picks) {
            self.message_channels.remove(&message.id);
        }
    }

    /// Deletes or forgets everything that a user has written.
    pub(crate) fn delete_messages_by(&mut self, now: DateTime<Utc>, user: UserKey, hard: bool) {
        let own: Vec<(ChannelKey, String)> = self
            .message_channels
            .iter()
            .filter(|(id, key)| {
                self.channels
                    .get(**key)
                    .and_then(|channel| channel.messages.get(id))
                    .is_some_and(|message| message.user == user)
            })
            .map(|(id, key)| (*key, id.clone()))
            .collect();
        for (key, id) in own {
            self.delete_message_of(now, key, &id, hard);
        }
    }

    /// Deletes all messages of a channel, and sends an event to its watchers.
    pub(crate) fn truncate(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: Option<UserKey>,
        until: Option<DateTime<Utc>>,
        message: Option<Message>,
    ) {
        self.forget_messages(key, |message| {
            until.is_none_or(|until| message.created_at <= until)
        });
        if let Some(channel) = self.channels.get_mut(key) {
            channel.truncated_at = Some(until.unwrap_or_else(|| stored(now)));
            channel.truncated_by = user;
            channel.last_message_at = channel
                .messages
                .iter()
                .next_back()
                .map(|message| message.created_at);
        }
        let news = ChannelEventDraft {
            user,
            message: message.as_ref(),
            whole: true,
            ..ChannelEventDraft::new("channel.truncated", key)
        };
        self.send_channel_event(now, &self.watchers_of(key), &news);
        self.record_in_history(now, key, None, &news);
        if let Some(message) = message {
            self.post_message(now, key, message, false);
        }
    }

    /// Makes a message the first unread one of a member, and tells their connections.
    pub(crate) fn mark_unread_from(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        message: &Message,
    ) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let read_up_to = message.sequence - 1;
        let previous = channel.messages.at_or_before(read_up_to);
        let last_read = previous.map(|message| message.created_at);
        let previous = previous.map(|message| message.id.clone());
        if let Some(member) = channel.members.get_mut(user) {
            member.read_up_to = read_up_to;
            member.last_read = last_read;
        }
        let mut extra = self.unread_counts(user);
        let unread = self
            .channels
            .get(key)
            .map_or(0, |channel| self.unread_in(channel, user));
        extra.insert(
            "first_unread_message_id".to_owned(),
            message.id.clone().into(),
        );
        extra.insert("unread_messages".to_owned(), unread.into());
        if let Some(at) = last_read {
            extra.insert("last_read_at".to_owned(), Rfc3339(at).to_string().into());
        }
        if let Some(id) = previous {
            extra.insert("last_read_message_id".to_owned(), id.into());
        }
        let receivers = self
            .users
            .get(user)
            .map(|user| user.connections.clone())
            .unwrap_or_default();
        let news = ChannelEventDraft {
            user: Some(user),
            whole: true,
            extra: Some(&extra),
            ..ChannelEventDraft::new("notification.mark_unread", key)
        };
        self.send_channel_event(now, &receivers, &news);
    }
}
