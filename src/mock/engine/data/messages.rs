//! Messages of a channel, in their order.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::mock::engine::data::requests::MessagePage;
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::user::Viewer;

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
    pub(crate) pin: Option<Pin>,
    pub(crate) custom: Map<String, Value>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    /// Whether text and attachments are left out, as after a soft deletion.
    pub(crate) hides_content: bool,
}

/// The pin of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pin {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: UserKey,
    pub(crate) expires: Option<DateTime<Utc>>,
}

impl Message {
    /// Whether the channel's own list holds it. Replies are in their thread only, unless they ask for both.
    pub(crate) fn is_in_channel(&self) -> bool {
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

    /// Whether it counts as unread for somebody who has not read it.
    fn is_unread_for(&self, user: UserKey) -> bool {
        self.user != user
            && !self.silent
            && self.is_visible_to(Viewer::User(user))
            && self.deleted_at.is_none()
    }

    /// The value of the field `type`.
    pub(crate) fn kind(&self) -> &'static str {
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
    /// The threads by the places of the messages that they reply to.
    threads: BTreeMap<u64, ThreadReaders>,
}

/// Who takes part in a thread, each with the place of the last reply that they have read: the author of the message,
/// and everybody who has replied.
pub(crate) type ThreadReaders = BTreeMap<UserKey, u64>;

impl ChannelMessages {
    /// The place of the newest message there has been.
    pub(crate) const fn last_sequence(&self) -> u64 {
        self.last
    }

    /// Adds a message. Returns the one that had to go, if one had.
    pub(crate) fn push(&mut self, mut message: Message) -> Option<Message> {
        self.last += 1;
        message.sequence = self.last;
        if let Some(parent) = message.parent_id.as_deref().and_then(|id| self.get(id)) {
            let (place, author) = (parent.sequence, parent.user);
            let readers = self.threads.entry(place).or_default();
            readers.entry(author).or_default();
            // A user who replies has read the replies before.
            readers.insert(message.user, message.sequence);
        }
        self.list.push(message);
        let oldest = (self.list.len() > MAX_MESSAGES_KEPT).then(|| self.list.remove(0))?;
        self.threads.remove(&oldest.sequence);
        Some(oldest)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Message> {
        self.list.iter().find(|message| message.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Message> {
        self.list.iter_mut().find(|message| message.id == id)
    }

    /// The message at a place.
    fn at(&self, sequence: u64) -> Option<&Message> {
        let index = self.index_of(sequence)?;
        self.list.get(index)
    }

    pub(crate) fn at_mut(&mut self, sequence: u64) -> Option<&mut Message> {
        let index = self.index_of(sequence)?;
        self.list.get_mut(index)
    }

    fn index_of(&self, sequence: u64) -> Option<usize> {
        self.list
            .binary_search_by_key(&sequence, |message| message.sequence)
            .ok()
    }

    /// Takes out the messages that a condition picks.
    pub(crate) fn take(&mut self, picks: impl Fn(&Message) -> bool) -> Vec<Message> {
        let taken: Vec<Message> = self.list.extract_if(.., |message| picks(message)).collect();
        for message in &taken {
            self.threads.remove(&message.sequence);
        }
        taken
    }

    /// The threads: each message with replies, and who takes part.
    pub(crate) fn threads(&self) -> impl Iterator<Item = (&Message, &ThreadReaders)> {
        self.threads
            .iter()
            .filter_map(|(place, readers)| Some((self.at(*place)?, readers)))
            .filter(|(parent, _)| self.replies(&parent.id).next().is_some())
    }

    /// The thread of a message.
    pub(crate) fn thread(&self, parent: &str) -> Option<(&Message, &ThreadReaders)> {
        let parent = self.get(parent)?;
        Some((parent, self.threads.get(&parent.sequence)?))
    }

    /// Notes up to which message a user has read a thread. Does nothing if they do not take part in it.
    pub(crate) fn set_thread_read(&mut self, parent: u64, user: UserKey, read_up_to: u64) {
        if let Some(place) = self
            .threads
            .get_mut(&parent)
            .and_then(|readers| readers.get_mut(&user))
        {
            *place = read_up_to;
        }
    }

    /// The number of replies to a message that a user has not read. They have read up to `read_up_to`.
    pub(crate) fn unread_replies(&self, parent: &str, user: UserKey, read_up_to: u64) -> usize {
        self.replies(parent)
            .rev()
            .take_while(|reply| reply.sequence > read_up_to)
            .filter(|reply| reply.is_unread_for(user))
            .count()
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
            .filter(|message| message.is_in_channel() && message.is_unread_for(user))
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
