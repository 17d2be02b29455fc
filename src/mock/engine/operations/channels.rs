//! Operations that read channels, make them, and watch them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::{ChannelId, ChannelType, InvalidId};
use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::channel_view::{self, ChannelRow, ChannelView, ReadView};
use crate::mock::engine::data::connection::{ConnectionKey, SubscriptionSource};
use crate::mock::engine::data::filter::QueryFilter;
use crate::mock::engine::data::member_view::MemberView;
use crate::mock::engine::data::members::Invite;
use crate::mock::engine::data::message_view::MessageView;
use crate::mock::engine::data::requests::{
    ChannelRef, GetOrCreateChannelRequest, MessagePage, PageParams, QueryChannelsRequest, Reply,
    UserRef,
};
use crate::mock::engine::data::rfc3339::{or_never, stored};
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::sort::{SortOrder, page};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::UserShape;
use crate::mock::engine::data::user_view::UserView;
use crate::mock::engine::rules::channel_data::{
    distinct_id, long_user_list, user_list, write_data,
};
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

/// Channels of one page, the default and the largest; the largest offset.
const DEFAULT_CHANNEL_PAGE: usize = 10;

const MAX_CHANNEL_PAGE: usize = 30;

const MAX_CHANNEL_OFFSET: usize = 1000;

/// Fields that are about a user's relation to a channel.
const PERSONAL_FIELDS: &[&str] = &[
    "muted",
    "hidden",
    "blocked",
    "archived",
    "pinned",
    "joined",
    "invite",
    "has_unread",
    "channel_role",
];
/// Messages that a channel's state holds.
const STATE_MESSAGES_PAGE: usize = 100;

/// Members that a channel's state holds.
const STATE_MEMBERS_PAGE: usize = 100;

/// What a reader of a channel may do, and what its owner may do besides.
const READER_CAPABILITIES: &[&str] = &[
    "connect-events",
    "read-events",
    "search-messages",
    "typing-events",
];

const OWNER_CAPABILITIES: &[&str] = &[
    "connect-events",
    "delete-channel",
    "leave-channel",
    "read-events",
    "search-messages",
    "send-message",
    "typing-events",
    "update-channel",
    "update-channel-members",
];

const MEMBER_CAPABILITIES: &[&str] = &[
    "connect-events",
    "leave-channel",
    "read-events",
    "search-messages",
    "typing-events",
];

/// What an answer about a channel is to contain.
#[derive(Debug, Clone)]
struct ChannelStateParams {
    state: bool,
    messages: MessagePage,
    members: (usize, usize),
    watchers: Option<(usize, usize)>,
}

/// A channel's state, as queries answer it.
#[derive(Serialize)]
struct ChannelStateResponse<'a> {
    channel: ChannelView<'a>,
    messages: Vec<MessageView<'a>>,
    pinned_messages: Vec<MessageView<'a>>,
    threads: [(); 0],
    members: Vec<MemberView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watcher_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watchers: Option<Vec<UserView<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<Vec<ReadView<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<MemberView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<bool>,
}

#[derive(Serialize)]
struct ChannelListResponse<'a> {
    channels: Vec<ChannelStateResponse<'a>>,
}

impl ServiceState {
    /// `POST /channels/{type}/query`: the channel whose id follows from its members.
    pub(crate) fn get_or_create_distinct_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        channel_type: &str,
        request: GetOrCreateChannelRequest,
    ) -> Result<Reply, Rejection> {
        let members = long_user_list(request.data.get("members").cloned(), "members")?;
        let name = ChannelRef {
            channel_type: channel_type.to_owned(),
            id: distinct_id(&members)?,
        };
        self.get_or_create_channel(now, actor, &name, request)
    }

    /// `POST /channels/{type}/{id}/query`.
    pub(crate) fn get_or_create_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        request: GetOrCreateChannelRequest,
    ) -> Result<Reply, Rejection> {
        let wanted = ChannelStateParams {
            state: request.state,
            messages: request.messages.unwrap_or_default(),
            members: request
                .members
                .map_or(Ok((STATE_MEMBERS_PAGE, 0)), |page| {
                    sub_page(page, STATE_MEMBERS_PAGE)
                })?,
            watchers: request
                .watchers
                .map(|page| sub_page(page, STATE_MEMBERS_PAGE))
                .transpose()?,
        };
        let subscriber = if request.watch || request.presence {
            Some(self.live_connection(actor, request.connection_id.as_deref())?)
        } else {
            None
        };
        let cid = format!("{}:{}", name.channel_type, name.id);
        let key = match self.channel_ids.get(cid.as_str()) {
            Some(key) => {
                let key = *key;
                let channel = self.channels.get(key).expect("the index is in step");
                if !self.may_read(actor, channel) {
                    return Err(actor.denied("ReadChannel", &name.channel_type));
                }
                key
            }
            None => self.create_channel(now, actor, name, request.data)?,
        };
        if request.hide_for_creator
            && let Some(channel) = self.channels.get_mut(key)
            && let Some(user) = channel.created_by
        {
            channel.hidden_for.insert(user);
        }
        if let Some(subscriber) = subscriber {
            if request.watch {
                self.watch(now, subscriber, key);
            }
            if request.presence {
                self.cover_channel(subscriber, key, wanted.members.1);
            }
        }
        Ok(Reply::new(&self.channel_state(actor, key, &wanted)))
    }

    /// Subscribes a connection to a channel's members, as the page lists them, and then to its watchers, up to the cap.
    fn cover_channel(&mut self, subscriber: ConnectionKey, key: ChannelKey, members_offset: usize) {
        let Some(channel) = self.channels.get(key) else {
            return;
        };
        let mut people: Vec<UserKey> = channel
            .members
            .keys()
            .skip(members_offset)
            .take(self.rules.presence_cap_channel)
            .collect();
        if self.rules.presence_covers_watchers {
            let left = self.rules.presence_cap_channel - people.len();
            let watchers: Vec<UserKey> = self
                .watching_users(channel)
                .filter(|user| !channel.members.contains(*user))
                .take(left)
                .collect();
            people.extend(watchers);
        }
        for user in people {
            self.subscribe(subscriber, user, SubscriptionSource::Channel(key));
        }
    }

    fn create_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        mut data: Map<String, Value>,
    ) -> Result<ChannelKey, Rejection> {
        let input = |error: InvalidId| Rejection::input(error.to_string());
        name.channel_type.parse::<ChannelType>().map_err(input)?;
        name.id.parse::<ChannelId>().map_err(input)?;
        self.types.get(&name.channel_type)?;
        if !actor.server && matches!(actor.role.as_str(), "guest" | "anonymous") {
            return Err(actor.denied("CreateChannel", &name.channel_type));
        }
        let members = user_list(data.shift_remove("members"), "members")?;
        let invites = user_list(data.shift_remove("invites"), "invites")?;
        let by_object = data.shift_remove("created_by");
        let by_id = data.shift_remove("created_by_id");
        let members = self.resolve_members(&members, "members")?;
        let invites = self.resolve_members(&invites, "invites")?;
        let mut channel = Channel::new(&name.channel_type, &name.id, stored(now));
        write_data(&mut channel, data, self.rules.custom_data_limit)?;
        // Last, because it may make a user, and a refusal must leave nothing behind.
        channel.created_by = Some(self.creator(now, actor, by_id, by_object)?);

        let key = self.insert_channel(channel);
        for (user, member) in members {
            self.join(now, key, user, member);
        }
        for (user, mut member) in invites {
            member.invite = Some(Invite::Pending);
            if !self.join(now, key, user, member)
                && let Some(channel) = self.channels.get_mut(key)
                && let Some(member) = channel.members.get_mut(user)
            {
                member.invite = Some(Invite::Pending);
            }
        }
        let invited: Vec<UserKey> = self
            .channels
            .get(key)
            .map(|channel| channel.members.keys().collect())
            .unwrap_or_default();
        for user in invited {
            self.notify_member(now, key, user);
        }
        Ok(key)
    }

    /// The creator of a channel: the client, or the user named in a server-side call.
    fn creator(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        by_id: Option<Value>,
        by_object: Option<Value>,
    ) -> Result<UserKey, Rejection> {
        if !actor.server {
            return actor.user.ok_or_else(|| {
                Rejection::input(format!(
                    "user {:?} does not exist",
                    actor.id.as_deref().unwrap_or_default()
                ))
            });
        }
        let named = match (by_id, by_object) {
            (Some(Value::String(id)), _) if !id.is_empty() => Some(UserRef::Id(id)),
            (_, Some(Value::Object(user))) => Some(UserRef::Object(user)),
            (_, Some(Value::String(id))) => Some(UserRef::Id(id)),
            _ => None,
        };
        match (named, actor.user) {
            (Some(named), _) => self.named_user(now, &named),
            (None, Some(user)) => Ok(user),
            (None, None) => Err(Rejection::input(
                "either data.created_by or data.created_by_id must be provided when using server side auth.",
            )),
        }
    }

    /// Puts a channel into the state.
    pub(crate) fn insert_channel(&mut self, channel: Channel) -> ChannelKey {
        let cid: Arc<str> = channel.cid.clone();
        let key = self.channels.insert(channel);
        self.channel_ids.insert(cid, key);
        key
    }

    /// The answer about one channel.
    fn channel_state(
        &self,
        actor: &Actor,
        key: ChannelKey,
        wanted: &ChannelStateParams,
    ) -> ChannelStateResponse<'_> {
        let channel = self.channels.get(key).expect("the caller has found it");
        let viewer = actor.viewer();
        let (limit, offset) = wanted.members;
        let membership = actor
            .user
            .and_then(|user| self.member_view(channel, user, viewer))
            .map(|view| MemberView {
                with_id: false,
                ..view
            });
        ChannelStateResponse {
            channel: self.channel_view(actor, channel),
            messages: if wanted.state {
                self.channel_messages(channel, viewer, &wanted.messages, STATE_MESSAGES_PAGE)
            } else {
                Vec::new()
            },
            pinned_messages: self.message_views(
                channel,
                viewer,
                channel
                    .messages
                    .iter()
                    .filter(|message| message.pin.is_some() && message.is_visible_to(viewer))
                    .collect(),
            ),
            threads: [],
            members: if wanted.state {
                self.members_of(channel, viewer)
                    .skip(offset)
                    .take(limit)
                    .collect()
            } else {
                Vec::new()
            },
            watcher_count: wanted.state.then(|| self.watcher_count(channel)),
            watchers: wanted.watchers.map(|(limit, offset)| {
                self.watching_users(channel)
                    .skip(offset)
                    .take(limit)
                    .map(|user| self.view(user, viewer, UserShape::Common))
                    .collect()
            }),
            read: wanted.state.then(|| {
                channel
                    .members
                    .iter()
                    .take(STATE_MEMBERS_PAGE)
                    .map(|(user, member)| ReadView {
                        user: self.view(user, viewer, UserShape::Common),
                        last_read: or_never(member.last_read),
                        unread_messages: self.unread_in(channel, user),
                        last_read_message_id: channel
                            .messages
                            .at_or_before(member.read_up_to)
                            .map(|message| message.id.as_str()),
                    })
                    .collect()
            }),
            hidden: actor
                .user
                .is_some_and(|user| channel.hidden_for.contains(&user))
                .then_some(true),
            membership: membership.filter(|_| wanted.state),
        }
    }

    pub(crate) fn channel_view<'a>(
        &'a self,
        actor: &Actor,
        channel: &'a Channel,
    ) -> ChannelView<'a> {
        let member = actor
            .user
            .is_some_and(|user| channel.members.contains(user));
        ChannelView {
            state: self,
            channel,
            viewer: actor.viewer(),
            capabilities: (!actor.server).then_some(if self.may_change(actor, channel) {
                OWNER_CAPABILITIES
            } else if member {
                MEMBER_CAPABILITIES
            } else {
                READER_CAPABILITIES
            }),
            with_members: false,
            deleted_at: None,
        }
    }

    pub(crate) fn query_channels(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        query: &QueryChannelsRequest,
    ) -> Result<Reply, Rejection> {
        let filter = QueryFilter::parse(&query.filter_conditions, channel_view::schema)?;
        let sort = SortOrder::parse(&query.sort)?;
        let (limit, offset) = page(
            query.limit,
            query.offset,
            DEFAULT_CHANNEL_PAGE,
            MAX_CHANNEL_PAGE,
            MAX_CHANNEL_OFFSET,
        )?;
        let (members, _) = page(
            query.member_limit,
            None,
            STATE_MEMBERS_PAGE,
            STATE_MEMBERS_PAGE,
            0,
        )?;
        let (messages, _) = page(query.message_limit, None, 25, 300, 0)?;
        let watch = query.watch.unwrap_or(false);
        let subscriber = if watch || query.presence {
            Some(self.live_connection(actor, query.connection_id.as_deref())?)
        } else {
            None
        };
        let wanted = ChannelStateParams {
            state: query.state.unwrap_or(true),
            messages: MessagePage {
                limit: Some(messages),
                ..MessagePage::default()
            },
            members: (members, 0),
            watchers: None,
        };
        let found = self.find_channels(actor, &filter, &sort)?;
        let found: Vec<ChannelKey> = found.into_iter().skip(offset).take(limit).collect();
        if let Some(subscriber) = subscriber {
            for key in &found {
                if watch {
                    self.watch(now, subscriber, *key);
                }
                if query.presence {
                    self.cover_channel(subscriber, *key, wanted.members.1);
                }
            }
        }
        Ok(Reply::new(&ChannelListResponse {
            channels: found
                .iter()
                .map(|key| self.channel_state(actor, *key, &wanted))
                .collect(),
        }))
    }

    /// The channels that an actor may read and that match a filter, in order.
    fn find_channels(
        &self,
        actor: &Actor,
        filter: &QueryFilter,
        sort: &SortOrder,
    ) -> Result<Vec<ChannelKey>, Rejection> {
        let names = filter.names();
        let personal = names.iter().find(|name| PERSONAL_FIELDS.contains(name));
        if let (Some(field), None) = (personal, actor.user) {
            return Err(Rejection::input(format!(
                "filter_conditions: field {field:?} needs a user_id or user"
            )));
        }
        let shows_hidden = names.contains(&"hidden");
        let row = |key: ChannelKey| {
            Some(ChannelRow {
                state: self,
                channel: self.channels.get(key)?,
                user: actor.user,
            })
        };
        let is_hidden = |channel: &Channel| {
            actor
                .user
                .is_some_and(|user| channel.hidden_for.contains(&user))
        };
        let mut found = self.candidates(filter);
        found.retain(|key| {
            row(*key).is_some_and(|row| {
                self.may_read(actor, row.channel)
                    && (shows_hidden || !is_hidden(row.channel))
                    && filter.matches(&row)
            })
        });
        if sort.is_empty() {
            found.sort_by_key(|key| {
                let updated = self
                    .channels
                    .get(*key)
                    .map(|channel| channel.last_message_at.unwrap_or(channel.created_at));
                std::cmp::Reverse((updated, *key))
            });
        } else {
            found.sort_by(|a, b| match (row(*a), row(*b)) {
                (Some(a), Some(b)) => sort.compare(&a, &b),
                _ => std::cmp::Ordering::Equal,
            });
        }
        Ok(found)
    }

    /// The channels among which a filter can find something: those that it names, else those of the members that it
    /// names, else all.
    fn candidates(&self, filter: &QueryFilter) -> Vec<ChannelKey> {
        if let Some(cids) = filter.ids("cid") {
            return cids
                .into_iter()
                .filter_map(|cid| self.channel_ids.get(cid).copied())
                .collect();
        }
        let Some(users) = filter.ids("members") else {
            return self.channels.iter().map(|(key, _)| key).collect();
        };
        let mut keys: Vec<ChannelKey> = users
            .into_iter()
            .filter_map(|id| self.user(id))
            .flat_map(|(_, user)| user.memberships.iter().copied())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    pub(crate) fn get_channel(&self, actor: &Actor, name: &ChannelRef) -> Result<Reply, Rejection> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &name.channel_type));
        }
        Ok(Reply::new(&self.channel_state(
            actor,
            key,
            &ChannelStateParams {
                state: true,
                messages: MessagePage::default(),
                members: (STATE_MEMBERS_PAGE, 0),
                watchers: None,
            },
        )))
    }
}

fn sub_page(request: PageParams, default: usize) -> Result<(usize, usize), Rejection> {
    page(request.limit, request.offset, default, 300, 10_000)
}
