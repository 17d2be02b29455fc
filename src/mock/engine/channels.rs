//! Operations on channels: get or create, query, watch, change, delete.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::State;
use super::access::Actor;
use super::arena::{ChannelKey, UserKey};
use super::channel::{self, Channel, ChannelRow, ChannelView, ReadView};
use super::connection::{ConnKey, Source};
use super::events::frame;
use super::filter::Filter;
use super::members::{self, Invite, Member, MemberView};
use super::op::{
    ChannelName, GetOrCreateChannel, Page, PatchFields, QueryChannels, QueryMembers, Reply,
    UpdateChannel, UserRef,
};
use super::sort::{Sort, page};
use super::stamp::{Stamp, stored};
use super::user::{Shape, UserView};
use crate::domain::{ChannelId, ChannelType, InvalidId};
use crate::mock::error::Reject;

/// Members or invites that one call may name.
const MAX_MEMBERS: usize = 100;
/// Channels of one page, the default and the largest; the largest offset.
const PAGE: usize = 10;
const MAX_PAGE: usize = 30;
const MAX_OFFSET: usize = 1000;
/// Members that a channel's state holds.
const STATE_MEMBERS: usize = 100;

/// Fields that the service sets itself.
const RESERVED: &[&str] = &[
    "id",
    "type",
    "cid",
    "config",
    "created_at",
    "updated_at",
    "deleted_at",
    "last_message_at",
    "member_count",
    "own_capabilities",
    "truncated_at",
];

/// What a reader of a channel may do, and what its owner may do besides.
const READER: &[&str] = &[
    "connect-events",
    "read-events",
    "search-messages",
    "typing-events",
];
const OWNER: &[&str] = &[
    "connect-events",
    "delete-channel",
    "leave-channel",
    "read-events",
    "search-messages",
    "typing-events",
    "update-channel",
    "update-channel-members",
];
const MEMBER: &[&str] = &[
    "connect-events",
    "leave-channel",
    "read-events",
    "search-messages",
    "typing-events",
];

/// What an answer about a channel is to contain.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    state: bool,
    members: (usize, usize),
    watchers: Option<(usize, usize)>,
}

/// A channel's state, as queries answer it.
#[derive(Serialize)]
struct ChannelState<'a> {
    channel: ChannelView<'a>,
    messages: [(); 0],
    pinned_messages: [(); 0],
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
struct ChannelList<'a> {
    channels: Vec<ChannelState<'a>>,
}

#[derive(Serialize)]
struct ChannelAnswer<'a> {
    channel: ChannelView<'a>,
    members: Vec<MemberView<'a>>,
}

#[derive(Serialize)]
struct MemberList<'a> {
    members: Vec<MemberView<'a>>,
}

/// An event about a channel.
#[derive(Serialize)]
struct ChannelEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    cid: &'a str,
    channel_type: &'a str,
    channel_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<ChannelView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_member_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<MemberView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserView<'a>>,
    created_at: Stamp,
}

impl State {
    pub(crate) fn get_or_create_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelName,
        request: GetOrCreateChannel,
    ) -> Result<Reply, Reject> {
        let wanted = Wanted {
            state: request.state,
            members: request
                .members
                .map_or(Ok((STATE_MEMBERS, 0)), |page| sub_page(page, STATE_MEMBERS))?,
            watchers: request
                .watchers
                .map(|page| sub_page(page, STATE_MEMBERS))
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
            && let Some(user) = actor.user
            && let Some(member) = self
                .channels
                .get_mut(key)
                .and_then(|channel| channel.members.get_mut(user))
        {
            member.hidden = true;
        }
        if let Some(subscriber) = subscriber {
            if request.watch {
                self.watch(now, subscriber, key);
            }
            if request.presence {
                self.cover_channel(subscriber, key, wanted);
            }
        }
        Ok(Reply::new(&self.channel_state(actor, key, wanted)))
    }

    /// Subscribes a connection to a channel's people, up to the cap: members as the page lists them, then watchers.
    fn cover_channel(&mut self, subscriber: ConnKey, key: ChannelKey, wanted: Wanted) {
        let Some(channel) = self.channels.get(key) else {
            return;
        };
        let mut people: Vec<UserKey> = channel
            .members
            .keys()
            .skip(wanted.members.1)
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
            self.subscribe(subscriber, user, Source::Channel(key));
        }
    }

    fn create_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelName,
        mut data: Map<String, Value>,
    ) -> Result<ChannelKey, Reject> {
        let input = |error: InvalidId| Reject::input(error.to_string());
        name.channel_type.parse::<ChannelType>().map_err(input)?;
        name.id.parse::<ChannelId>().map_err(input)?;
        if !channel::is_type(&name.channel_type) {
            return Err(Reject::not_found(format!(
                "channel type {:?} does not exist",
                name.channel_type
            )));
        }
        if !actor.server && matches!(actor.role.as_str(), "guest" | "anonymous") {
            return Err(actor.denied("CreateChannel", &name.channel_type));
        }
        let members = user_list(data.shift_remove("members"), "members")?;
        let invites = user_list(data.shift_remove("invites"), "invites")?;
        let by_object = data.shift_remove("created_by");
        let by_id = data.shift_remove("created_by_id");
        let members = self.known_users(&members, "members")?;
        let invites = self.known_users(&invites, "invites")?;
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
            self.join(now, key, user, member);
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

    /// Who creates a channel: the client itself, or whom the server side names.
    fn creator(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        by_id: Option<Value>,
        by_object: Option<Value>,
    ) -> Result<UserKey, Reject> {
        if !actor.server {
            return actor.user.ok_or_else(|| {
                Reject::input(format!(
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
            (None, None) => Err(Reject::input(
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

    /// The users that a list names, each with the membership it asks for. All must exist.
    pub(crate) fn known_users(
        &self,
        named: &[UserRef],
        what: &str,
    ) -> Result<Vec<(UserKey, Member)>, Reject> {
        let mut known = Vec::with_capacity(named.len());
        let mut unknown = Vec::new();
        for user in named {
            let id = user.id()?;
            match self.user(id) {
                Some((key, _)) => known.push((key, wish(user)?)),
                None => unknown.push(id.chars().take(64).collect::<String>()),
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        unknown.truncate(10);
        Err(Reject::input(format!(
            "the following users are named in {what}, but don't exist: {unknown:?}"
        )))
    }

    /// Makes a user a member, silently. False if he was one already.
    pub(crate) fn join(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        mut member: Member,
    ) -> bool {
        member.created_at = stored(now);
        member.updated_at = member.created_at;
        let joined = self
            .channels
            .get_mut(key)
            .is_some_and(|channel| channel.members.add(user, member));
        if joined && let Some(user) = self.users.get_mut(user) {
            user.memberships.insert(key);
        }
        joined
    }

    /// The answer about one channel.
    fn channel_state(&self, actor: &Actor, key: ChannelKey, wanted: Wanted) -> ChannelState<'_> {
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
        ChannelState {
            channel: self.channel_view(actor, channel),
            messages: [],
            pinned_messages: [],
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
                    .map(|user| self.view(user, viewer, Shape::Common))
                    .collect()
            }),
            read: wanted.state.then(|| {
                channel
                    .members
                    .iter()
                    .take(STATE_MEMBERS)
                    .map(|(user, member)| ReadView {
                        user: self.view(user, viewer, Shape::Common),
                        last_read: member.last_read.map_or_else(
                            || "0001-01-01T00:00:00Z".to_owned(),
                            |time| Stamp(time).to_string(),
                        ),
                        unread_messages: 0,
                    })
                    .collect()
            }),
            hidden: actor
                .user
                .and_then(|user| channel.members.get(user))
                .filter(|member| member.hidden)
                .map(|_| true),
            membership: membership.filter(|_| wanted.state),
        }
    }

    fn channel_view<'a>(&'a self, actor: &Actor, channel: &'a Channel) -> ChannelView<'a> {
        let member = actor
            .user
            .is_some_and(|user| channel.members.contains(user));
        ChannelView {
            state: self,
            channel,
            viewer: actor.viewer(),
            capabilities: (!actor.server).then_some(if self.may_change(actor, channel) {
                OWNER
            } else if member {
                MEMBER
            } else {
                READER
            }),
            with_members: false,
        }
    }

    pub(crate) fn query_channels(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        query: &QueryChannels,
    ) -> Result<Reply, Reject> {
        let filter = Filter::parse(&query.filter_conditions, channel::schema)?;
        let sort = Sort::parse(&query.sort)?;
        let (limit, offset) = page(query.limit, query.offset, PAGE, MAX_PAGE, MAX_OFFSET)?;
        let (members, _) = page(query.member_limit, None, STATE_MEMBERS, STATE_MEMBERS, 0)?;
        page(query.message_limit, None, 25, 300, 0)?;
        let watch = query.watch.unwrap_or(false);
        let subscriber = if watch || query.presence {
            Some(self.live_connection(actor, query.connection_id.as_deref())?)
        } else {
            None
        };
        let wanted = Wanted {
            state: query.state.unwrap_or(true),
            members: (members, 0),
            watchers: None,
        };
        let names_hidden = query.filter_conditions.contains_key("hidden");
        let row = |key: ChannelKey| {
            Some(ChannelRow {
                state: self,
                channel: self.channels.get(key)?,
                user: actor.user,
            })
        };
        let passes = |key: &ChannelKey| {
            row(*key).is_some_and(|row| {
                self.may_read(actor, row.channel)
                    && (names_hidden
                        || !actor
                            .user
                            .and_then(|user| row.channel.members.get(user))
                            .is_some_and(|member| member.hidden))
                    && filter.matches(&row)
            })
        };
        let candidates: Vec<ChannelKey> = if let Some(cids) = filter.ids("cid") {
            cids.into_iter()
                .filter_map(|cid| self.channel_ids.get(cid).copied())
                .collect()
        } else if let Some(users) = filter.ids("members") {
            let mut keys: Vec<ChannelKey> = users
                .into_iter()
                .filter_map(|id| self.user(id))
                .flat_map(|(_, user)| user.memberships.iter().copied())
                .collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        } else {
            self.channels.iter().map(|(key, _)| key).collect()
        };
        let mut found: Vec<ChannelKey> = candidates.into_iter().filter(passes).collect();
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
        let found: Vec<ChannelKey> = found.into_iter().skip(offset).take(limit).collect();
        if let Some(subscriber) = subscriber {
            for key in &found {
                if watch {
                    self.watch(now, subscriber, *key);
                }
                if query.presence {
                    self.cover_channel(subscriber, *key, wanted);
                }
            }
        }
        Ok(Reply::new(&ChannelList {
            channels: found
                .iter()
                .map(|key| self.channel_state(actor, *key, wanted))
                .collect(),
        }))
    }

    pub(crate) fn get_channel(&self, actor: &Actor, name: &ChannelName) -> Result<Reply, Reject> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &name.channel_type));
        }
        Ok(Reply::new(&self.channel_state(
            actor,
            key,
            Wanted {
                state: true,
                members: (STATE_MEMBERS, 0),
                watchers: None,
            },
        )))
    }

    pub(crate) fn update_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelName,
        request: UpdateChannel,
    ) -> Result<Reply, Reject> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        let lists = [
            ("add_members", &request.add_members),
            ("remove_members", &request.remove_members),
            ("add_moderators", &request.add_moderators),
            ("demote_moderators", &request.demote_moderators),
            ("invites", &request.invites),
            ("assign_roles", &request.assign_roles),
        ];
        for (what, list) in lists {
            if list.len() > MAX_MEMBERS {
                return Err(Reject::field(
                    what,
                    &format!("must hold at most {MAX_MEMBERS} users"),
                ));
            }
        }
        let answers_invite = request.accept_invite || request.reject_invite;
        self.check_update(actor, name, channel, &request, answers_invite)?;
        let add = self.known_users(&request.add_members, "add_members")?;
        let remove = self.known_users(&request.remove_members, "remove_members")?;
        let promote = self.known_users(&request.add_moderators, "add_moderators")?;
        let demote = self.known_users(&request.demote_moderators, "demote_moderators")?;
        let assign = self.known_users(&request.assign_roles, "assign_roles")?;
        let invite = self.known_users(&request.invites, "invites")?;
        let rewritten = match request.data {
            Some(mut data) => {
                data.retain(|field, _| !matches!(field.as_str(), "created_by" | "created_by_id"));
                let mut next = channel.clone();
                next.custom = Map::new();
                write_data(&mut next, data, self.rules.custom_data_limit)?;
                Some(next)
            }
            None => None,
        };
        if answers_invite {
            self.answer_invite(now, actor, key, request.accept_invite)?;
        }

        if let Some(next) = rewritten
            && let Some(channel) = self.channels.get_mut(key)
        {
            *channel = next;
        }
        for (user, member) in add {
            self.add_member(now, key, user, member);
        }
        for (user, mut member) in invite {
            member.invite = Some(Invite::Pending);
            self.add_member(now, key, user, member);
        }
        for (user, _) in remove {
            self.remove_member(now, key, user);
        }
        let roles = promote
            .into_iter()
            .map(|(user, _)| (user, "channel_moderator".to_owned()))
            .chain(
                demote
                    .into_iter()
                    .map(|(user, _)| (user, members::DEFAULT_ROLE.to_owned())),
            )
            .chain(
                assign
                    .into_iter()
                    .map(|(user, member)| (user, member.channel_role)),
            );
        for (user, role) in roles.collect::<Vec<_>>() {
            self.update_member(now, key, user, |member| member.channel_role = role);
        }
        self.announce_update(now, actor, key);
        Ok(self.channel_answer(actor, key))
    }

    fn check_update(
        &self,
        actor: &Actor,
        name: &ChannelName,
        channel: &Channel,
        request: &UpdateChannel,
        answers_invite: bool,
    ) -> Result<(), Reject> {
        if self.may_change(actor, channel) {
            return Ok(());
        }
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &name.channel_type));
        }
        let own = |list: &[UserRef]| {
            list.iter()
                .all(|user| user.id().is_ok_and(|id| actor.id.as_deref() == Some(id)))
        };
        if request.data.is_some() {
            return Err(actor.denied("UpdateChannel", &name.channel_type));
        }
        let only_leaves = own(&request.remove_members)
            && request.add_members.is_empty()
            && request.add_moderators.is_empty()
            && request.demote_moderators.is_empty()
            && request.assign_roles.is_empty()
            && request.invites.is_empty();
        if only_leaves && (answers_invite || !request.remove_members.is_empty()) {
            return Ok(());
        }
        Err(actor.denied("UpdateChannelMembers", &name.channel_type))
    }

    fn answer_invite(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        key: ChannelKey,
        accept: bool,
    ) -> Result<(), Reject> {
        let user = actor
            .user
            .ok_or_else(|| Reject::input("user_id is a required field"))?;
        let member = self
            .channels
            .get_mut(key)
            .and_then(|channel| channel.members.get_mut(user))
            .filter(|member| member.invite.is_some())
            .ok_or_else(|| Reject::input("there is no invite for this user"))?;
        let now_stored = stored(now);
        member.invite = Some(if accept {
            Invite::Accepted(now_stored)
        } else {
            Invite::Rejected(now_stored)
        });
        member.updated_at = now_stored;
        self.publish_member(now, "member.updated", key, user);
        let kind = if accept {
            "notification.invite_accepted"
        } else {
            "notification.invite_rejected"
        };
        self.notify(now, kind, key, user);
        Ok(())
    }

    /// Adds a member and tells the channel and the member.
    pub(crate) fn add_member(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        member: Member,
    ) {
        if self.join(now, key, user, member) {
            self.publish_member(now, "member.added", key, user);
            self.notify_member(now, key, user);
        }
    }

    /// Tells a new member that he is one.
    fn notify_member(&mut self, now: DateTime<Utc>, key: ChannelKey, user: UserKey) {
        let invited = self
            .channels
            .get(key)
            .and_then(|channel| channel.members.get(user))
            .is_some_and(|member| member.invite.is_some());
        let kind = if invited {
            "notification.invited"
        } else {
            "notification.added_to_channel"
        };
        self.notify(now, kind, key, user);
    }

    /// Removes a member and tells the channel and the member.
    pub(crate) fn remove_member(&mut self, now: DateTime<Utc>, key: ChannelKey, user: UserKey) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let Some(member) = channel.members.remove(user) else {
            return;
        };
        if let Some(user) = self.users.get_mut(user) {
            user.memberships.remove(&key);
        }
        let watchers: Vec<ConnKey> = self
            .channels
            .get(key)
            .map(|channel| channel.watchers.iter().copied().collect())
            .unwrap_or_default();
        let told = self.not_watching(key, user);
        for (kind, receivers) in [
            ("member.removed", watchers),
            ("notification.removed_from_channel", told),
        ] {
            self.publish(&receivers, Some(user), |state, viewer| {
                let channel = state.channels.get(key).expect("it was there a moment ago");
                let view = state.view(user, viewer, Shape::Common);
                frame(&ChannelEvent {
                    kind,
                    cid: &channel.cid,
                    channel_type: &channel.channel_type,
                    channel_id: &channel.id,
                    channel: (kind != "member.removed").then(|| state.event_channel(key, viewer)),
                    channel_member_count: Some(channel.members.len()),
                    member: Some(MemberView {
                        member: &member,
                        user: view,
                        owner: channel.created_by == Some(user),
                        with_id: true,
                    }),
                    user: Some(view),
                    created_at: Stamp(now),
                })
            });
        }
    }

    /// Changes a membership and tells the channel.
    fn update_member(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        change: impl FnOnce(&mut Member),
    ) {
        let Some(member) = self
            .channels
            .get_mut(key)
            .and_then(|channel| channel.members.get_mut(user))
        else {
            return;
        };
        change(member);
        member.updated_at = stored(now);
        self.publish_member(now, "member.updated", key, user);
    }

    fn publish_member(&mut self, now: DateTime<Utc>, kind: &str, key: ChannelKey, user: UserKey) {
        let Some(channel) = self.channels.get(key) else {
            return;
        };
        let receivers: Vec<ConnKey> = channel.watchers.iter().copied().collect();
        self.publish(&receivers, Some(user), |state, viewer| {
            let channel = state.channels.get(key).expect("it was there a moment ago");
            frame(&ChannelEvent {
                kind,
                cid: &channel.cid,
                channel_type: &channel.channel_type,
                channel_id: &channel.id,
                channel: None,
                channel_member_count: Some(channel.members.len()),
                member: state.member_view(channel, user, viewer),
                user: Some(state.view(user, viewer, Shape::Common)),
                created_at: Stamp(now),
            })
        });
    }

    /// Sends a notification to those connections of a member that do not watch the channel.
    fn notify(&mut self, now: DateTime<Utc>, kind: &str, key: ChannelKey, user: UserKey) {
        let receivers = self.not_watching(key, user);
        self.publish(&receivers, Some(user), |state, viewer| {
            let channel = state.channels.get(key).expect("it was there a moment ago");
            frame(&ChannelEvent {
                kind,
                cid: &channel.cid,
                channel_type: &channel.channel_type,
                channel_id: &channel.id,
                channel: Some(state.event_channel(key, viewer)),
                channel_member_count: None,
                member: state.member_view(channel, user, viewer),
                user: Some(state.view(user, viewer, Shape::Common)),
                created_at: Stamp(now),
            })
        });
    }

    fn not_watching(&self, key: ChannelKey, user: UserKey) -> Vec<ConnKey> {
        let (Some(channel), Some(user)) = (self.channels.get(key), self.users.get(user)) else {
            return Vec::new();
        };
        user.connections
            .iter()
            .copied()
            .filter(|connection| !channel.watchers.contains(connection))
            .collect()
    }

    fn announce_update(&mut self, now: DateTime<Utc>, actor: &Actor, key: ChannelKey) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        channel.updated_at = stored(now);
        let receivers: Vec<ConnKey> = channel.watchers.iter().copied().collect();
        let by = actor.user.filter(|_| !actor.server);
        self.publish(&receivers, by, |state, viewer| {
            let channel = state.channels.get(key).expect("it was there a moment ago");
            frame(&ChannelEvent {
                kind: "channel.updated",
                cid: &channel.cid,
                channel_type: &channel.channel_type,
                channel_id: &channel.id,
                channel: Some(state.event_channel(key, viewer)),
                channel_member_count: Some(channel.members.len()),
                member: None,
                user: by.map(|user| state.view(user, viewer, Shape::Common)),
                created_at: Stamp(now),
            })
        });
    }

    fn channel_answer(&self, actor: &Actor, key: ChannelKey) -> Reply {
        let channel = self.channels.get(key).expect("the caller has found it");
        Reply::new(&ChannelAnswer {
            channel: self.channel_view(actor, channel),
            members: self.members_of(channel, actor.viewer()).collect(),
        })
    }

    pub(crate) fn patch_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelName,
        request: &PatchFields,
    ) -> Result<Reply, Reject> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_change(actor, channel) {
            return Err(actor.denied("UpdateChannel", &name.channel_type));
        }
        let mut next = channel.clone();
        let mut set = request.set.clone();
        set.retain(|field, _| field != "created_by_id");
        write_data(&mut next, set, self.rules.custom_data_limit)?;
        for field in &request.unset {
            if RESERVED.contains(&field.as_str()) {
                return Err(Reject::field(
                    format!("unset.{field}"),
                    "is a reserved field",
                ));
            }
            match field.as_str() {
                "team" => next.team = None,
                "frozen" => next.frozen = false,
                "disabled" => next.disabled = false,
                _ => {
                    next.custom.shift_remove(field);
                }
            }
        }
        if let Some(channel) = self.channels.get_mut(key) {
            *channel = next;
        }
        self.announce_update(now, actor, key);
        Ok(self.channel_answer(actor, key))
    }

    pub(crate) fn delete_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelName,
    ) -> Result<Reply, Reject> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_change(actor, channel) {
            return Err(actor.denied("DeleteChannel", &name.channel_type));
        }
        #[derive(Serialize)]
        struct Deleted<'a> {
            channel: ChannelView<'a>,
        }
        let reply = Reply::new(&Deleted {
            channel: self.channel_view(actor, channel),
        });
        self.drop_channel(now, actor, key);
        Ok(reply)
    }

    /// Deletes a channel: tells its watchers and the members who do not watch, then forgets it.
    pub(crate) fn drop_channel(&mut self, now: DateTime<Utc>, actor: &Actor, key: ChannelKey) {
        let Some(channel) = self.channels.get(key) else {
            return;
        };
        let watchers: Vec<ConnKey> = channel.watchers.iter().copied().collect();
        let members: Vec<UserKey> = channel.members.keys().collect();
        let others: Vec<ConnKey> = members
            .iter()
            .flat_map(|user| self.not_watching(key, *user))
            .collect();
        let by = actor.user.filter(|_| !actor.server);
        for (kind, receivers) in [
            ("channel.deleted", &watchers),
            ("notification.channel_deleted", &others),
        ] {
            self.publish(receivers, by, |state, viewer| {
                let channel = state.channels.get(key).expect("it goes after this");
                frame(&ChannelEvent {
                    kind,
                    cid: &channel.cid,
                    channel_type: &channel.channel_type,
                    channel_id: &channel.id,
                    channel: Some(state.event_channel(key, viewer)),
                    channel_member_count: None,
                    member: None,
                    user: by.map(|user| state.view(user, viewer, Shape::Common)),
                    created_at: Stamp(now),
                })
            });
        }
        for connection in watchers {
            if let Some(connection) = self.connections.get_mut(&connection) {
                connection.watching.remove(&key);
            }
        }
        for user in members {
            if let Some(user) = self.users.get_mut(user) {
                user.memberships.remove(&key);
            }
        }
        if let Some(channel) = self.channels.remove(key) {
            self.channel_ids.remove(&channel.cid);
        }
    }

    pub(crate) fn query_members(
        &self,
        actor: &Actor,
        query: &QueryMembers,
    ) -> Result<Reply, Reject> {
        let id = match &query.id {
            Some(id) => id.clone(),
            None => distinct_id(&query.members)?,
        };
        let (_, channel) = self.channel_named(&query.channel_type, &id)?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &query.channel_type));
        }
        if query.sort.len() > 1 {
            return Err(Reject::input("sort: at most 1 field is allowed"));
        }
        let filter = Filter::parse(&query.filter_conditions, members::schema)?;
        let sort = Sort::parse(&query.sort)?;
        let (limit, offset) = page(query.limit, query.offset, 100, 300, 10_000)?;
        let mut found: Vec<MemberView<'_>> = self
            .members_of(channel, actor.viewer())
            .filter(|member| filter.matches(member))
            .collect();
        found.sort_by(|a, b| sort.compare(a, b));
        Ok(Reply::new(&MemberList {
            members: found.into_iter().skip(offset).take(limit).collect(),
        }))
    }
}

/// The id of the channel that a set of members shares; their order does not matter.
pub(crate) fn distinct_id(members: &[UserRef]) -> Result<String, Reject> {
    let mut ids = members
        .iter()
        .map(UserRef::id)
        .collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err(Reject::input(
            "data.members must name users when the channel has no id",
        ));
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, ids.join(",").as_bytes());
    Ok(format!("!members-{}", URL_SAFE_NO_PAD.encode(digest)))
}

/// The membership that a member object asks for.
fn wish(user: &UserRef) -> Result<Member, Reject> {
    let mut member = Member::new(DateTime::UNIX_EPOCH);
    if let UserRef::Object(fields) = user {
        for (field, value) in fields {
            match (field.as_str(), value) {
                ("user_id" | "id" | "user", _) => {}
                ("channel_role", Value::String(role)) if !role.is_empty() => {
                    member.channel_role.clone_from(role);
                }
                ("channel_role", Value::Null) => {}
                ("channel_role", _) => {
                    return Err(Reject::field("channel_role", "must be a non-empty string"));
                }
                _ => {
                    member.custom.insert(field.clone(), value.clone());
                }
            }
        }
    }
    Ok(member)
}

/// Reads a list of users from channel data.
pub(crate) fn user_list(value: Option<Value>, what: &str) -> Result<Vec<UserRef>, Reject> {
    let list: Vec<UserRef> = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(value) => serde_json::from_value(value)
            .map_err(|_| Reject::field(format!("data.{what}"), "must be a list of users"))?,
    };
    if list.len() > MAX_MEMBERS {
        return Err(Reject::field(
            format!("data.{what}"),
            &format!("must hold at most {MAX_MEMBERS} users"),
        ));
    }
    Ok(list)
}

/// Writes channel data, built-in fields by name and everything else as custom data.
pub(crate) fn write_data(
    channel: &mut Channel,
    data: Map<String, Value>,
    limit: usize,
) -> Result<(), Reject> {
    for (field, value) in data {
        let name = || format!("data.{field}");
        if RESERVED.contains(&field.as_str()) {
            return Err(Reject::field(name(), "is a reserved field"));
        }
        match (field.as_str(), value) {
            ("frozen", Value::Bool(flag)) => channel.frozen = flag,
            ("disabled", Value::Bool(flag)) => channel.disabled = flag,
            ("frozen" | "disabled", _) => return Err(Reject::field(name(), "must be a boolean")),
            ("team", Value::String(team)) => channel.team = (!team.is_empty()).then_some(team),
            ("team", Value::Null) => channel.team = None,
            ("team", _) => return Err(Reject::field(name(), "must be a string")),
            (_, value) => {
                channel.custom.insert(field, value);
            }
        }
    }
    let size = serde_json::to_string(&channel.custom).map_or(0, |text| text.len());
    if size > limit {
        return Err(Reject::input(format!(
            "custom data of the channel is {size} bytes, and at most {limit} are allowed"
        )));
    }
    Ok(())
}

fn sub_page(request: Page, default: usize) -> Result<(usize, usize), Reject> {
    page(request.limit, request.offset, default, 300, 10_000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mock::engine::op::{Caller, Op};
    use crate::mock::engine::testing::{Stage, fields, name, op, user};

    fn update(cid: &str, body: Value) -> Op {
        Op::UpdateChannel(name(cid), super::super::read(fields(body)).unwrap())
    }

    /// A channel `messaging:x` of `a`, with members `a` and `b`.
    fn stage() -> Stage {
        let mut stage = Stage::new();
        stage.users(&["a", "b", "c", "root"]);
        let body = json!({"users": {"root": {"id": "root", "role": "admin"}}});
        stage.apply(&Caller::Server, op("users", body)).unwrap();
        let body =
            json!({"data": {"members": ["a", {"user_id": "b"}], "color": "green"}, "state": true});
        let answer = stage.channel(&user("a"), "messaging:x", body).unwrap();
        assert_eq!(answer["channel"]["cid"], "messaging:x");
        assert_eq!(answer["channel"]["color"], "green");
        assert_eq!(answer["channel"]["created_by"]["id"], "a");
        assert_eq!(answer["members"][0]["role"], "owner");
        assert_eq!(answer["members"][1]["user_id"], "b");
        stage
    }

    fn watch(stage: &mut Stage, id: &str, key: ConnKey) -> Value {
        let body = json!({"watch": true, "state": true, "connection_id": stage.id(key)});
        stage.channel(&user(id), "messaging:x", body).unwrap()
    }

    #[test]
    fn who_may_read_a_messaging_channel() {
        let mut stage = stage();
        for reader in ["a", "b", "root"] {
            assert!(
                stage
                    .channel(&user(reader), "messaging:x", json!({}))
                    .is_ok()
            );
        }
        let reject = stage
            .channel(&user("c"), "messaging:x", json!({}))
            .unwrap_err();
        assert_eq!((reject.status, reject.code), (403, 17));
        assert_eq!(
            reject.detail,
            "User 'c' with role user is not allowed to perform action ReadChannel in scope 'messaging'"
        );
        assert!(
            stage
                .channel(&Caller::Server, "messaging:x", json!({}))
                .is_ok()
        );
        let query = || op("channels", json!({"filter_conditions": {"color": "green"}}));
        let count = |answer: Value| answer["channels"].as_array().unwrap().len();
        assert_eq!(count(stage.apply(&user("b"), query()).unwrap()), 1);
        assert_eq!(count(stage.apply(&user("c"), query()).unwrap()), 0);
    }

    #[test]
    fn what_is_missing_is_code_16_and_a_creator_is_required() {
        let mut stage = stage();
        let reject = stage
            .apply(&user("a"), Op::GetChannel(name("messaging:nope")))
            .unwrap_err();
        assert_eq!((reject.status, reject.code), (404, 16));
        assert!(reject.detail.starts_with("Can't find channel"));
        let reject = stage
            .channel(&Caller::Server, "messaging:new", json!({}))
            .unwrap_err();
        assert_eq!((reject.status, reject.code), (400, 4));
        let body = json!({"data": {"created_by_id": "b", "members": ["ghost"]}});
        let reject = stage
            .channel(&Caller::Server, "messaging:new", body)
            .unwrap_err();
        assert_eq!(reject.code, 4);
        let body = json!({"data": {"created_by": {"id": "fresh"}}});
        assert!(
            stage
                .channel(&Caller::Server, "messaging:new", body)
                .is_ok()
        );
        assert!(stage.state.user("fresh").is_some());
    }

    #[test]
    fn a_refused_creation_creates_nobody() {
        let mut stage = stage();
        let body = json!({"data": {"created_by": {"id": "fresh"}, "members": ["ghost"]}});
        assert!(
            stage
                .channel(&Caller::Server, "messaging:new", body)
                .is_err()
        );
        assert!(stage.state.user("fresh").is_none());
    }

    #[test]
    fn watching_is_announced_once_per_user() {
        let mut stage = stage();
        let a = stage.connect("a");
        let state = watch(&mut stage, "a", a);
        assert_eq!(state["watcher_count"], 1);
        assert!(state.get("watchers").is_none());
        assert_eq!(stage.heard(a), ["user.watching.start a"]);
        let (b1, b2) = (stage.connect("b"), stage.connect("b"));
        watch(&mut stage, "b", b1);
        watch(&mut stage, "b", b2);
        watch(&mut stage, "b", b2);
        let events = stage.take(a);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["watcher_count"], 2);
        assert_eq!(events[0]["cid"], "messaging:x");
        stage.disconnect(b1);
        assert!(stage.heard(a).is_empty());
        let stop = Op::StopWatching(name("messaging:x"), Some(stage.id(b2)));
        stage.apply(&user("b"), stop).unwrap();
        assert_eq!(stage.heard(a), ["user.watching.stop b"]);
        let stop = Op::StopWatching(name("messaging:x"), None);
        assert_eq!(stage.apply(&user("b"), stop).unwrap_err().code, 4);
        let stop = Op::StopWatching(name("messaging:x"), Some("gone".into()));
        assert_eq!(stage.apply(&user("b"), stop).unwrap_err().code, 46);
    }

    #[test]
    fn watchers_ride_along_when_asked_for_and_invisible_ones_are_offline() {
        let mut stage = stage();
        let b = stage.connect_as("b", json!({"invisible": true})).unwrap();
        watch(&mut stage, "b", b);
        let body = json!({"state": true, "watchers": {"limit": 10}});
        let answer = stage.channel(&user("a"), "messaging:x", body).unwrap();
        assert_eq!(answer["watchers"][0]["id"], "b");
        assert_eq!(answer["watchers"][0]["online"], false);
        assert_eq!(answer["members"][1]["user"]["online"], false);
    }

    #[test]
    fn a_channel_call_covers_no_more_than_its_cap() {
        let mut stage = Stage::new();
        let ids: Vec<String> = (0..15).map(|n| format!("m{n:02}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        stage.users(&ids);
        let watcher = stage.connect("w");
        let body =
            json!({"data": {"members": ids}, "presence": true, "connection_id": stage.id(watcher)});
        stage.channel(&user("w"), "messaging:x", body).unwrap();
        for id in &ids {
            stage.connect(id);
        }
        let heard = stage.heard(watcher);
        assert_eq!(heard.len(), 10);
        assert_eq!(heard[9], "user.presence.changed m09 true");
    }

    #[test]
    fn presence_without_watch_is_no_channel_event_and_the_reverse() {
        let mut stage = stage();
        let watches = stage.connect("a");
        watch(&mut stage, "a", watches);
        let listens = stage.connect("a");
        let body = json!({"presence": true, "connection_id": stage.id(listens)});
        stage.channel(&user("a"), "messaging:x", body).unwrap();
        stage.take(watches);
        let b = stage.connect("b");
        watch(&mut stage, "b", b);
        assert_eq!(stage.heard(watches), ["user.watching.start b"]);
        assert_eq!(stage.heard(listens), ["user.presence.changed b true"]);
    }

    #[test]
    fn members_come_and_go_with_their_events() {
        let mut stage = stage();
        let watcher = stage.connect("a");
        watch(&mut stage, "a", watcher);
        let c = stage.connect("c");
        stage.take(watcher);
        let answer = stage
            .apply(
                &user("a"),
                update("messaging:x", json!({"add_members": ["c", "b"]})),
            )
            .unwrap();
        assert_eq!(answer["members"].as_array().unwrap().len(), 3);
        let events = stage.take(watcher);
        let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            ["member.added", "channel.updated"],
            "b was a member already"
        );
        assert_eq!(events[0]["user"]["id"], "c");
        assert_eq!(events[0]["member"]["channel_role"], "channel_member");
        assert_eq!(events[1]["channel"]["members"].as_array().unwrap().len(), 3);
        assert_eq!(stage.heard(c), ["notification.added_to_channel c"]);

        let leave = update("messaging:x", json!({"remove_members": ["c"]}));
        stage.apply(&user("c"), leave).unwrap();
        assert_eq!(
            stage.heard(watcher),
            ["member.removed c", "channel.updated c"]
        );
        assert_eq!(stage.heard(c), ["notification.removed_from_channel c"]);
        let intrude = update("messaging:x", json!({"add_members": ["c"]}));
        assert_eq!(
            stage.apply(&user("c"), intrude.clone()).unwrap_err().code,
            17
        );
        assert_eq!(stage.apply(&user("b"), intrude).unwrap_err().code, 17);
    }

    #[test]
    fn invites_wait_for_an_answer() {
        let mut stage = stage();
        let c = stage.connect("c");
        stage
            .apply(&user("a"), update("messaging:x", json!({"invites": ["c"]})))
            .unwrap();
        assert_eq!(stage.heard(c), ["notification.invited c"]);
        let answer = stage
            .apply(
                &user("c"),
                update("messaging:x", json!({"accept_invite": true})),
            )
            .unwrap();
        assert_eq!(answer["members"][2]["status"], "accepted");
        assert_eq!(stage.heard(c), ["notification.invite_accepted c"]);
        let again = update(
            "messaging:x",
            json!({"reject_invite": true, "user_id": "b"}),
        );
        assert_eq!(stage.apply(&Caller::Server, again).unwrap_err().code, 4);
    }

    #[test]
    fn updates_replace_and_patches_merge() {
        let mut stage = stage();
        let patch = |set: Value, unset: Value| {
            let body = fields(json!({"set": set, "unset": unset}));
            Op::PatchChannel(name("messaging:x"), super::super::read(body).unwrap())
        };
        let answer = stage
            .apply(&user("a"), patch(json!({"name": "N"}), json!([])))
            .unwrap();
        assert_eq!(answer["channel"]["color"], "green");
        let answer = stage
            .apply(&user("a"), patch(json!({}), json!(["color"])))
            .unwrap();
        assert!(answer["channel"].get("color").is_none());
        let answer = stage
            .apply(
                &user("a"),
                update("messaging:x", json!({"data": {"size": 1}})),
            )
            .unwrap();
        assert!(answer["channel"].get("name").is_none());
        let reserved = update("messaging:x", json!({"data": {"member_count": 1}}));
        assert_eq!(stage.apply(&user("a"), reserved).unwrap_err().code, 4);
    }

    #[test]
    fn deleting_tells_watchers_and_members_and_leaves_nothing() {
        let mut stage = stage();
        let a = stage.connect("a");
        watch(&mut stage, "a", a);
        let b = stage.connect("b");
        stage.take(a);
        stage
            .apply(&user("a"), Op::DeleteChannel(name("messaging:x")))
            .unwrap();
        assert_eq!(stage.heard(a), ["channel.deleted a"]);
        assert_eq!(stage.heard(b), ["notification.channel_deleted a"]);
        assert_eq!(stage.state.counts().1, 0);
        stage.disconnect(a);
    }

    #[test]
    fn the_same_people_share_a_distinct_channel() {
        let ids = |names: &[&str]| {
            let refs: Vec<UserRef> = names.iter().map(|id| UserRef::Id((*id).into())).collect();
            distinct_id(&refs).unwrap()
        };
        assert_eq!(ids(&["a", "b"]), ids(&["b", "a"]));
        assert_ne!(ids(&["a", "b"]), ids(&["a", "c"]));
        assert_eq!(ids(&["a", "b"]).len(), "!members-".len() + 43);
    }

    #[test]
    fn channels_are_found_and_paged() {
        let mut stage = stage();
        for n in 0..12 {
            stage.pass(1);
            let body = json!({"data": {"members": ["a"], "n": n}});
            stage
                .channel(&user("a"), &format!("messaging:n{n}"), body)
                .unwrap();
        }
        let found = |stage: &mut Stage, body: Value| -> Vec<String> {
            let answer = stage.apply(&user("a"), op("channels", body)).unwrap();
            let channels = answer["channels"].as_array().unwrap();
            channels
                .iter()
                .map(|c| c["channel"]["id"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(found(&mut stage, json!({})).len(), 10);
        assert_eq!(found(&mut stage, json!({}))[0], "n11");
        let by_member = json!({"filter_conditions": {"members": {"$in": ["b"]}}});
        assert_eq!(found(&mut stage, by_member), ["x"]);
        let exactly = json!({"filter_conditions": {"members": ["b", "a"]}});
        assert_eq!(found(&mut stage, exactly), ["x"]);
        let by_cid =
            json!({"filter_conditions": {"cid": {"$in": ["messaging:n3", "messaging:x"]}}});
        assert_eq!(found(&mut stage, by_cid), ["n3", "x"]);
        let by_number = json!({"filter_conditions": {"n": {"$lt": 2}}, "sort": [{"field": "n"}]});
        assert_eq!(found(&mut stage, by_number), ["n0", "n1"]);
        for body in [json!({"limit": 31}), json!({"member_limit": 101})] {
            assert_eq!(
                stage
                    .apply(&user("a"), op("channels", body))
                    .unwrap_err()
                    .code,
                4
            );
        }
        let members = op(
            "members",
            json!({"type": "messaging", "id": "x", "filter_conditions": {"id": "b"}}),
        );
        let answer = stage.apply(&user("a"), members).unwrap();
        assert_eq!(answer["members"][0]["user_id"], "b");
    }

    #[test]
    fn livestreams_are_open_to_anonymous_watchers() {
        let mut stage = stage();
        let body = json!({"data": {"created_by_id": "a"}});
        stage
            .channel(&Caller::Server, "livestream:l", body)
            .unwrap();
        let anonymous = Caller::Anonymous {
            id: Some("uuid".into()),
        };
        let (key, _) = stage
            .try_connect(&anonymous, json!({"id": "uuid", "anon": true}))
            .unwrap();
        let body = json!({"watch": true, "state": true, "connection_id": stage.id(key)});
        let answer = stage.channel(&anonymous, "livestream:l", body).unwrap();
        assert_eq!(answer["watcher_count"], 1);
        let reject = stage
            .channel(&anonymous, "messaging:x", json!({}))
            .unwrap_err();
        assert_eq!(reject.code, 17);
        assert_eq!(
            stage
                .channel(&anonymous, "livestream:new", json!({}))
                .unwrap_err()
                .code,
            17
        );
        stage.disconnect(key);
    }
}
