//! Threads: messages with replies, as a viewer sees them.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::channel_view::{ChannelView, ReadView};
use crate::mock::engine::data::filter::{FieldType, FieldValue, FilterRow};
use crate::mock::engine::data::message_view::MessageView;
use crate::mock::engine::data::messages::{Message, ThreadReaders};
use crate::mock::engine::data::rfc3339::{Rfc3339, or_never};
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;
use crate::mock::error::Rejection;

/// A thread, as a viewer sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadView<'a> {
    pub(crate) state: &'a ServiceState,
    pub(crate) channel: &'a Channel,
    pub(crate) parent: &'a Message,
    pub(crate) readers: &'a ThreadReaders,
    pub(crate) viewer: Viewer,
    /// How many of the latest replies are included.
    pub(crate) reply_limit: usize,
    /// Whether it says what each participant has read. Only clients are told.
    pub(crate) with_read: bool,
}

/// A user who takes part in a thread.
#[derive(Serialize)]
struct ThreadParticipant<'a> {
    channel_cid: &'a str,
    thread_id: &'a str,
    user_id: &'a str,
    user: UserView<'a>,
    created_at: Rfc3339,
    last_read_at: String,
}

impl<'a> ThreadView<'a> {
    fn replies(&self) -> impl DoubleEndedIterator<Item = &'a Message> + use<'a> {
        let viewer = self.viewer;
        self.channel
            .messages
            .replies(&self.parent.id)
            .filter(move |reply| reply.is_visible_to(viewer))
    }

    /// The first reply. It starts the thread.
    fn first(&self) -> &'a Message {
        self.replies().next().unwrap_or(self.parent)
    }

    /// The newest reply.
    pub(crate) fn last(&self) -> &'a Message {
        self.replies().next_back().unwrap_or(self.parent)
    }

    fn reply_count(&self) -> usize {
        self.replies()
            .filter(|reply| reply.deleted_at.is_none())
            .count()
    }

    /// Who takes part and still exists, each with the last reply that they have read.
    fn participants(&self) -> impl Iterator<Item = (UserKey, u64, Option<&'a Message>)> {
        self.readers
            .iter()
            .filter(|(user, _)| self.state.users.get(**user).is_some())
            .map(|(user, place)| {
                let read = self.replies().rev().find(|reply| reply.sequence <= *place);
                (*user, *place, read)
            })
    }

    fn unread(&self, user: UserKey, read_up_to: u64) -> usize {
        self.channel
            .messages
            .unread_replies(&self.parent.id, user, read_up_to)
    }

    fn user(&self, user: UserKey) -> UserView<'a> {
        self.state.view(user, self.viewer, UserShape::Common)
    }

    fn message(&self, message: &'a Message) -> MessageView<'a> {
        MessageView {
            state: self.state,
            channel: self.channel,
            message,
            viewer: self.viewer,
        }
    }

    fn starter(&self) -> Option<UserKey> {
        Some(self.first().user).filter(|user| self.state.users.get(*user).is_some())
    }
}

impl Serialize for ThreadView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let read_at = |read: Option<&Message>| or_never(read.map(|reply| reply.created_at));
        let channel = ChannelView {
            state: self.state,
            channel: self.channel,
            viewer: self.viewer,
            capabilities: None,
            with_members: false,
            deleted_at: None,
        };
        let participants: Vec<ThreadParticipant<'_>> = self
            .participants()
            .map(|(user, _, read)| {
                let view = self.user(user);
                ThreadParticipant {
                    channel_cid: &self.channel.cid,
                    thread_id: &self.parent.id,
                    user_id: &view.user.id,
                    user: view,
                    created_at: Rfc3339(self.first().created_at),
                    last_read_at: read_at(read),
                }
            })
            .collect();
        let mut replies: Vec<MessageView<'_>> = self
            .replies()
            .rev()
            .take(self.reply_limit)
            .map(|reply| self.message(reply))
            .collect();
        replies.reverse();
        let starter = self.starter().map(|user| self.user(user));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("channel_cid", &*self.channel.cid)?;
        map.serialize_entry("channel", &channel)?;
        map.serialize_entry("parent_message_id", &self.parent.id)?;
        map.serialize_entry("parent_message", &self.message(self.parent))?;
        if let Some(starter) = starter {
            map.serialize_entry("created_by_user_id", &*starter.user.id)?;
            map.serialize_entry("created_by", &starter)?;
        }
        map.serialize_entry("title", &self.parent.text)?;
        map.serialize_entry("reply_count", &self.reply_count())?;
        map.serialize_entry("participant_count", &participants.len())?;
        map.serialize_entry("active_participant_count", &participants.len())?;
        map.serialize_entry("thread_participants", &participants)?;
        map.serialize_entry("latest_replies", &replies)?;
        if self.with_read {
            let read: Vec<ReadView<'_>> = self
                .participants()
                .map(|(user, place, read)| ReadView {
                    user: self.user(user),
                    last_read: read_at(read),
                    unread_messages: self.unread(user, place),
                    last_read_message_id: read.map(|reply| reply.id.as_str()),
                })
                .collect();
            map.serialize_entry("read", &read)?;
        }
        map.serialize_entry("last_message_at", &Rfc3339(self.last().created_at))?;
        map.serialize_entry("created_at", &Rfc3339(self.first().created_at))?;
        map.serialize_entry("updated_at", &Rfc3339(self.last().created_at))?;
        map.end()
    }
}

impl FilterRow for ThreadView<'_> {
    fn field(&self, name: &str) -> FieldValue<'_> {
        match name {
            "channel_cid" => FieldValue::Text(&self.channel.cid),
            "parent_message_id" => FieldValue::Text(&self.parent.id),
            "created_by_user_id" => self
                .starter()
                .and_then(|user| self.state.users.get(user))
                .map_or(FieldValue::Missing, |user| FieldValue::Text(&user.id)),
            "created_at" => FieldValue::Time(self.first().created_at),
            "updated_at" | "last_message_at" => FieldValue::Time(self.last().created_at),
            "reply_count" => FieldValue::Count(self.reply_count()),
            "participant_count" | "active_participant_count" => {
                FieldValue::Count(self.participants().count())
            }
            "has_unread" => FieldValue::Flag(match self.viewer {
                Viewer::User(user) => self
                    .readers
                    .get(&user)
                    .is_some_and(|place| self.unread(user, *place) > 0),
                Viewer::Server | Viewer::Other => false,
            }),
            _ => FieldValue::Missing,
        }
    }
}

/// The fields of threads that filters know.
pub(crate) fn schema(field: &str) -> Result<Option<FieldType>, Rejection> {
    Ok(Some(match field {
        "channel_cid" | "parent_message_id" | "created_by_user_id" => FieldType::Text,
        "created_at" | "updated_at" | "last_message_at" => FieldType::Time,
        "reply_count" | "participant_count" | "active_participant_count" => FieldType::Count,
        "has_unread" => FieldType::Flag,
        _ => {
            return Err(Rejection::input(format!(
                "filter: threads cannot be filtered by {field:?}"
            )));
        }
    }))
}
