//! Operations on members: joining, leaving, invites, roles, queries.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::ServiceState;
use super::channel_data::{distinct_id, wish};
use super::channel_events::{ChannelEventDraft, EventMember};
use super::filter::QueryFilter;
use super::members::{self, ChannelMember, Invite, MemberView};
use super::permissions::Actor;
use super::requests::{QueryMembersRequest, Reply, UserRef};
use super::rfc3339::stored;
use super::slots::{ChannelKey, UserKey};
use super::sort::{SortOrder, page};
use crate::mock::error::Rejection;

#[derive(Serialize)]
struct MemberListResponse<'a> {
    members: Vec<MemberView<'a>>,
}

impl ServiceState {
    /// The users that a list names, each with the membership it asks for. All must exist.
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
                Some((key, _)) => known.push((key, wish(user)?)),
                None => unknown.push(id.chars().take(64).collect::<String>()),
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        unknown.truncate(10);
        Err(Rejection::input(format!(
            "the following users are named in {what}, but don't exist: {unknown:?}"
        )))
    }

    /// Makes a user a member, silently. False if he was one already.
    pub(crate) fn join(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        mut member: ChannelMember,
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

    /// Adds a member and tells the channel and the member.
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

    /// Tells a new member that he is one.
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
        let news = ChannelEventDraft {
            user: Some(user),
            member: EventMember::Past(&member),
            count: true,
            ..ChannelEventDraft::new("member.removed", key)
        };
        self.send_channel_event(now, &self.watchers_of(key), &news);
        let news = ChannelEventDraft {
            kind: "notification.removed_from_channel",
            whole: true,
            ..news
        };
        self.send_channel_event(now, &self.not_watching(key, user), &news);
        self.record_in_history(now, key, Some(user), &news);
    }

    /// Changes a membership and tells the channel.
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

    pub(crate) fn query_members(
        &self,
        actor: &Actor,
        query: &QueryMembersRequest,
    ) -> Result<Reply, Rejection> {
        let id = match &query.id {
            Some(id) => id.clone(),
            None => distinct_id(&query.members)?,
        };
        let (_, channel) = self.channel_named(&query.channel_type, &id)?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &query.channel_type));
        }
        if query.sort.len() > 1 {
            return Err(Rejection::input("sort: at most 1 field is allowed"));
        }
        let filter = QueryFilter::parse(&query.filter_conditions, members::schema)?;
        let sort = SortOrder::parse(&query.sort)?;
        let (limit, offset) = page(query.limit, query.offset, 100, 300, 10_000)?;
        let mut found: Vec<MemberView<'_>> = self
            .members_of(channel, actor.viewer())
            .filter(|member| filter.matches(member))
            .collect();
        found.sort_by(|a, b| sort.compare(a, b));
        Ok(Reply::new(&MemberListResponse {
            members: found.into_iter().skip(offset).take(limit).collect(),
        }))
    }
}
