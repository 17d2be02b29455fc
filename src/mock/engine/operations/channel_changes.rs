//! Operations that change a channel that exists: update, partial update, delete.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, json};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::channel_view::ChannelView;
use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::member_view::MemberView;
use crate::mock::engine::data::members::{self, ChannelMember, Invite, MODERATOR_ROLE};
use crate::mock::engine::data::message_view::MessageView;
use crate::mock::engine::data::requests::{
    ChannelRef, DeleteChannelsRequest, PartialUpdateRequest, Reply, UpdateChannelRequest, UserRef,
    split_cid,
};
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::channel_data::{
    MAX_MEMBERS_PER_CALL, RESERVED_CHANNEL_FIELDS, write_data,
};
use crate::mock::engine::rules::channel_events::ChannelEventDraft;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

/// Adds and removes filter tags; each tag is there once.
fn change_tags(channel: &mut Channel, add: &[String], remove: &[String]) {
    if add.is_empty() && remove.is_empty() {
        return;
    }
    let tags = channel.filter_tags.get_or_insert_default();
    tags.retain(|tag| !remove.contains(tag));
    for tag in add {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
}

/// Users of a request, and the memberships that they get.
type ResolvedMembers = Vec<(UserKey, ChannelMember)>;

/// The changes of members in a request.
struct MemberChanges {
    add: ResolvedMembers,
    remove: ResolvedMembers,
    promote: ResolvedMembers,
    demote: ResolvedMembers,
    assign: ResolvedMembers,
    invite: ResolvedMembers,
}

/// Refuses lists of users that are too long.
fn check_list_lengths(request: &UpdateChannelRequest) -> Result<(), Rejection> {
    let lists = [
        ("add_members", &request.add_members),
        ("remove_members", &request.remove_members),
        ("add_moderators", &request.add_moderators),
        ("demote_moderators", &request.demote_moderators),
        ("invites", &request.invites),
        ("assign_roles", &request.assign_roles),
    ];
    for (what, list) in lists {
        if list.len() > MAX_MEMBERS_PER_CALL {
            return Err(Rejection::field(
                what,
                &format!("must hold at most {MAX_MEMBERS_PER_CALL} users"),
            ));
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct ChannelResponse<'a> {
    channel: ChannelView<'a>,
    members: Vec<MemberView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageView<'a>>,
}

impl ServiceState {
    pub(crate) fn update_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        request: UpdateChannelRequest,
    ) -> Result<Reply, Rejection> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        check_list_lengths(&request)?;
        let answers_invite = request.accept_invite || request.reject_invite;
        self.check_update(actor, name, channel, &request, answers_invite)?;
        let changes = self.member_changes(&request)?;
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
        let message = match request.message {
            Some(fields) => Some(self.system_message(now, actor, key, fields)?),
            None => None,
        };
        if answers_invite {
            self.answer_invite(now, actor, key, request.accept_invite)?;
        }
        if let Some(mut next) = rewritten
            && let Some(channel) = self.channels.get_mut(key)
        {
            // The answer to an invite has changed the members since the copy was made.
            std::mem::swap(&mut next.members, &mut channel.members);
            *channel = next;
        }
        self.add_members(now, key, changes.add, changes.invite, &changes.promote);
        if let Some(channel) = self.channels.get_mut(key) {
            change_tags(
                channel,
                &request.add_filter_tags,
                &request.remove_filter_tags,
            );
        }
        for (user, _) in changes.remove {
            self.remove_member(now, key, user);
        }
        self.assign_roles(now, key, changes.promote, changes.demote, changes.assign);
        self.send_channel_updated(now, actor, key);
        let id = message.map(|message| {
            let id = message.id.clone();
            self.post_message(now, key, message, false);
            id
        });
        Ok(self.channel_answer(actor, key, id.as_deref()))
    }

    /// Looks up the users in the lists of a request.
    fn member_changes(&self, request: &UpdateChannelRequest) -> Result<MemberChanges, Rejection> {
        Ok(MemberChanges {
            add: self.resolve_members(&request.add_members, "add_members")?,
            remove: self.resolve_members(&request.remove_members, "remove_members")?,
            promote: self.resolve_members(&request.add_moderators, "add_moderators")?,
            demote: self.resolve_members(&request.demote_moderators, "demote_moderators")?,
            assign: self.resolve_members(&request.assign_roles, "assign_roles")?,
            invite: self.resolve_members(&request.invites, "invites")?,
        })
    }

    /// Adds members. Invited users are members whose answer is pending. Moderators become members, if they are none yet.
    fn add_members(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        add: ResolvedMembers,
        invite: ResolvedMembers,
        promote: &[(UserKey, ChannelMember)],
    ) {
        for (user, member) in add {
            self.add_member(now, key, user, member);
        }
        for (user, mut member) in invite {
            member.invite = Some(Invite::Pending);
            if self.is_member(key, user) {
                self.update_member(now, key, user, |member| {
                    member.invite.get_or_insert(Invite::Pending);
                });
            } else {
                self.add_member(now, key, user, member);
            }
        }
        for (user, member) in promote {
            if !self.is_member(key, *user) {
                let mut member = member.clone();
                MODERATOR_ROLE.clone_into(&mut member.channel_role);
                self.add_member(now, key, *user, member);
            }
        }
    }

    /// Gives members their roles: moderator, the default, or the one that the request names.
    fn assign_roles(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        promote: ResolvedMembers,
        demote: ResolvedMembers,
        assign: ResolvedMembers,
    ) {
        let with_role = |list: ResolvedMembers, role: &'static str| {
            list.into_iter()
                .map(move |(user, _)| (user, role.to_owned()))
        };
        let roles = with_role(promote, MODERATOR_ROLE)
            .chain(with_role(demote, members::DEFAULT_ROLE))
            .chain(
                assign
                    .into_iter()
                    .map(|(user, member)| (user, member.channel_role)),
            );
        for (user, role) in roles {
            self.update_member(now, key, user, |member| member.channel_role = role);
        }
    }

    fn is_member(&self, key: ChannelKey, user: UserKey) -> bool {
        self.channels
            .get(key)
            .is_some_and(|channel| channel.members.contains(user))
    }

    fn check_update(
        &self,
        actor: &Actor,
        name: &ChannelRef,
        channel: &Channel,
        request: &UpdateChannelRequest,
        answers_invite: bool,
    ) -> Result<(), Rejection> {
        let adds_outsiders =
            !actor.server && channel.is_distinct() && !request.add_members.is_empty();
        if adds_outsiders {
            return Err(actor.denied("UpdateChannelMembers", &name.channel_type));
        }
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
        let changes_channel = request.data.is_some()
            || !request.add_filter_tags.is_empty()
            || !request.remove_filter_tags.is_empty();
        if changes_channel {
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

    fn channel_answer(&self, actor: &Actor, key: ChannelKey, message: Option<&str>) -> Reply {
        let channel = self.channels.get(key).expect("the caller has found it");
        Reply::new(&ChannelResponse {
            channel: self.channel_view(actor, channel),
            members: self.members_of(channel, actor.viewer()).collect(),
            message: message
                .and_then(|id| channel.messages.get(id))
                .map(|message| MessageView {
                    state: self,
                    channel,
                    message,
                    viewer: actor.viewer(),
                }),
        })
    }

    pub(crate) fn update_channel_partial(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        request: &PartialUpdateRequest,
    ) -> Result<Reply, Rejection> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_change(actor, channel) {
            return Err(actor.denied("UpdateChannel", &name.channel_type));
        }
        let mut next = channel.clone();
        let mut set = request.set.clone();
        set.retain(|field, _| field != "created_by_id");
        write_data(&mut next, set, self.rules.custom_data_limit)?;
        for field in &request.unset {
            if RESERVED_CHANNEL_FIELDS.contains(&field.as_str()) {
                return Err(Rejection::field(
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
        self.send_channel_updated(now, actor, key);
        Ok(self.channel_answer(actor, key, None))
    }

    pub(crate) fn delete_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
    ) -> Result<Reply, Rejection> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_change(actor, channel) {
            return Err(actor.denied("DeleteChannel", &name.channel_type));
        }
        #[derive(Serialize)]
        struct DeletedChannelResponse<'a> {
            channel: ChannelView<'a>,
        }
        let reply = Reply::new(&DeletedChannelResponse {
            channel: ChannelView {
                deleted_at: Some(stored(now)),
                ..self.channel_view(actor, channel)
            },
        });
        self.drop_channel(now, actor, key);
        Ok(reply)
    }

    /// `POST /channels/delete`.
    pub(crate) fn delete_channels(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &DeleteChannelsRequest,
    ) -> Result<Reply, Rejection> {
        if request.cids.is_empty() || request.cids.len() > MAX_MEMBERS_PER_CALL {
            return Err(Rejection::field(
                "cids",
                &format!("must hold between 1 and {MAX_MEMBERS_PER_CALL} channels"),
            ));
        }
        if request.hard_delete {
            actor.server_only()?;
        }
        let mut keys = Vec::new();
        for cid in &request.cids {
            let (channel_type, id) = split_cid(cid);
            let (key, channel) = self.channel_named(channel_type, id)?;
            if !self.may_change(actor, channel) {
                return Err(actor.denied("DeleteChannel", channel_type));
            }
            keys.push(key);
        }
        let mut result = Map::new();
        for (key, cid) in keys.into_iter().zip(&request.cids) {
            self.drop_channel(now, actor, key);
            result.insert(cid.clone(), json!({"status": "ok"}));
        }
        let task = self.complete_task(now, result.into());
        Ok(Self::task_started(&task))
    }

    /// Deletes a channel, and sends events to its watchers and to the members who do not watch it.
    pub(crate) fn drop_channel(&mut self, now: DateTime<Utc>, actor: &Actor, key: ChannelKey) {
        let Some(channel) = self.channels.get(key) else {
            return;
        };
        let members: Vec<UserKey> = channel.members.keys().collect();
        let watchers = self.watchers_of(key);
        let others: Vec<ConnectionKey> = members
            .iter()
            .flat_map(|user| self.not_watching(key, *user))
            .collect();
        let news = ChannelEventDraft {
            user: actor.user.filter(|_| !actor.server),
            whole: true,
            ..ChannelEventDraft::new("channel.deleted", key)
        };
        self.send_channel_event(now, &watchers, &news);
        self.forget_messages(key, |_| true);
        let news = ChannelEventDraft {
            kind: "notification.channel_deleted",
            user: None,
            ..news
        };
        self.send_with_unread_counts(now, &others, &news);
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
}
