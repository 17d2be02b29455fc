//! Changes of a channel's members: joining, leaving, invites and roles.

use chrono::{DateTime, Utc};

use crate::mock::engine::data::members::{ChannelMember, Invite};
use crate::mock::engine::data::requests::UserRef;
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::channel_data::parse_membership;
use crate::mock::engine::rules::channel_events::{ChannelEventDraft, EventMember};
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

impl ServiceState {
    /// The users in a list with their memberships. All of them must exist.
    pub(crate) fn resolve_members(
        &self,
        named: &[UserRef],
        what: &str,
    ) -> Result<Vec<(UserKey, ChannelMember)>, Rejection> {
        let mut known = Vec::with_capacity(named.len());
        let mut unknown = Vec::new();
        for user in named {
            let id = user.id()?;
            match self.user(id) {
                Some((key, _)) => known.push((key, parse_membership(user)?)),
                None => unknown.push(shortened(id)),
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        unknown.truncate(10);
        Err(Rejection::input(format!(
            "the following users are named in {what}, but don't exist: [{}]. Please create the user objects before \
             setting up the channel.",
            unknown.join(" ")
        )))
    }

    /// Makes a user a member without an event. `false` if they were one already.
    pub(crate) fn join(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        mut member: ChannelMember,
    ) -> bool {
        member.created_at = stored(now);
        member.updated_at = member.created_at;
        let joined = self.channels.get_mut(key).is_some_and(|channel| {
            member.read_up_to = channel.messages.last_sequence();
            channel.members.add(user, member)
        });
        if joined && let Some(user) = self.users.get_mut(user) {
            user.memberships.insert(key);
        }
        joined
    }

    /// Adds a member and sends events to the channel and to the member.
    pub(crate) fn add_member(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        member: ChannelMember,
    ) {
        if self.join(now, key, user, member) {
            self.send_member_event(now, "member.added", key, user);
            self.notify_member(now, key, user);
        }
    }

    /// Notifies a new member.
    pub(crate) fn notify_member(&mut self, now: DateTime<Utc>, key: ChannelKey, user: UserKey) {
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

    /// Removes a member and sends events to the channel and to the member.
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
        let draft = ChannelEventDraft {
            user: Some(user),
            member: EventMember::Past(&member),
            whole: true,
            count: true,
            ..ChannelEventDraft::new("member.removed", key)
        };
        self.send_channel_event(now, &self.watchers_of(key), &draft);
        let unread = self.unread_counts(user);
        let draft = ChannelEventDraft {
            kind: "notification.removed_from_channel",
            extra: Some(&unread),
            ..draft
        };
        self.send_channel_event(now, &self.not_watching(key, user), &draft);
        self.record_in_history(now, key, Some(user), &draft);
    }

    /// Changes a membership and sends an event to the channel.
    pub(crate) fn update_member(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        change: impl FnOnce(&mut ChannelMember),
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
        self.send_member_event(now, "member.updated", key, user);
    }

    pub(crate) fn answer_invite(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        key: ChannelKey,
        accept: bool,
    ) -> Result<(), Rejection> {
        let user = actor
            .user
            .ok_or_else(|| Rejection::input("user_id is a required field"))?;
        let member = self
            .channels
            .get_mut(key)
            .and_then(|channel| channel.members.get_mut(user))
            .filter(|member| member.invite.is_some())
            .ok_or_else(|| Rejection::input("there is no invite for this user"))?;
        let now_stored = stored(now);
        member.invite = Some(if accept {
            Invite::Accepted(now_stored)
        } else {
            Invite::Rejected(now_stored)
        });
        member.updated_at = now_stored;
        self.send_member_event(now, "member.updated", key, user);
        let kind = if accept {
            "notification.invite_accepted"
        } else {
            "notification.invite_rejected"
        };
        self.notify(now, kind, key, user);
        Ok(())
    }
}
