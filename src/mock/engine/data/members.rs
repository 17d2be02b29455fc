//! The members of one channel, in the order in which they joined.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::mock::engine::data::slots::UserKey;

/// The role of a member without an explicit role.
pub(crate) const DEFAULT_ROLE: &str = "channel_member";

/// The role of a moderator.
pub(crate) const MODERATOR_ROLE: &str = "channel_moderator";

/// The state of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invite {
    /// Invited, without an answer yet.
    Pending,
    /// The invitation was accepted.
    Accepted(DateTime<Utc>),
    /// The invitation was rejected.
    Rejected(DateTime<Utc>),
}

impl Invite {
    /// The state's name in the API.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted(_) => "accepted",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// The membership of a user in a channel.
#[derive(Debug, Clone)]
pub(crate) struct ChannelMember {
    place: u64,
    pub(crate) channel_role: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) invite: Option<Invite>,
    pub(crate) last_read: Option<DateTime<Utc>>,
    /// The place of the last message that they have read.
    pub(crate) read_up_to: u64,
    pub(crate) pinned_at: Option<DateTime<Utc>>,
    pub(crate) archived_at: Option<DateTime<Utc>>,
    pub(crate) custom: Map<String, Value>,
}

impl ChannelMember {
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self {
            place: 0,
            channel_role: DEFAULT_ROLE.to_owned(),
            created_at: now,
            updated_at: now,
            invite: None,
            last_read: None,
            read_up_to: 0,
            pinned_at: None,
            archived_at: None,
            custom: Map::new(),
        }
    }
}

/// The members of a channel, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelMembers {
    by_user: BTreeMap<UserKey, ChannelMember>,
    by_place: BTreeMap<u64, UserKey>,
    next: u64,
}

impl ChannelMembers {
    /// Adds a member. An existing member stays unchanged.
    pub(crate) fn add(&mut self, user: UserKey, mut member: ChannelMember) -> bool {
        if self.by_user.contains_key(&user) {
            return false;
        }
        member.place = self.next;
        self.by_place.insert(self.next, user);
        self.by_user.insert(user, member);
        self.next += 1;
        true
    }

    pub(crate) fn remove(&mut self, user: UserKey) -> Option<ChannelMember> {
        let member = self.by_user.remove(&user)?;
        self.by_place.remove(&member.place);
        Some(member)
    }

    pub(crate) fn contains(&self, user: UserKey) -> bool {
        self.by_user.contains_key(&user)
    }

    pub(crate) fn get(&self, user: UserKey) -> Option<&ChannelMember> {
        self.by_user.get(&user)
    }

    pub(crate) fn get_mut(&mut self, user: UserKey) -> Option<&mut ChannelMember> {
        self.by_user.get_mut(&user)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_user.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = UserKey> + '_ {
        self.by_place.values().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (UserKey, &ChannelMember)> {
        self.by_place.values().map(|user| {
            let member = self
                .by_user
                .get(user)
                .expect("both maps hold the same users");
            (*user, member)
        })
    }
}
