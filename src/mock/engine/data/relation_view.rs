//! The relations of users in the state: their bans, mutes and blocks, as responses list them.

use serde::Serialize;

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::channel_view::ChannelView;
use crate::mock::engine::data::relations::{Ban, UserRelations};
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;

/// A mute of a user, as responses list it.
#[derive(Debug, Serialize)]
pub(crate) struct UserMuteView<'a> {
    pub(crate) user: UserView<'a>,
    pub(crate) target: UserView<'a>,
    pub(crate) created_at: Rfc3339,
    pub(crate) updated_at: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Rfc3339>,
}

/// A mute of a channel, as responses list it.
#[derive(Debug, Serialize)]
pub(crate) struct ChannelMuteView<'a> {
    pub(crate) user: UserView<'a>,
    pub(crate) channel: ChannelView<'a>,
    pub(crate) created_at: Rfc3339,
    pub(crate) updated_at: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Rfc3339>,
}

impl ServiceState {
    /// A user's relations, to change them.
    pub(crate) fn relations_mut(&mut self, user: UserKey) -> &mut UserRelations {
        self.relations.entry(user).or_default()
    }

    /// The ban of a user for a channel, or (`None`) for the application.
    pub(crate) fn ban(&self, user: UserKey, channel: Option<ChannelKey>) -> Option<&Ban> {
        self.relations.get(&user)?.bans.get(&channel)
    }

    /// The mutes of a user.
    pub(crate) fn mutes_of(&self, user: UserKey, viewer: Viewer) -> Vec<UserMuteView<'_>> {
        self.relations
            .get(&user)
            .into_iter()
            .flat_map(|relations| &relations.mutes)
            .filter(|(target, _)| self.users.get(**target).is_some())
            .map(|(target, mute)| UserMuteView {
                user: self.view(user, viewer, UserShape::Common),
                target: self.view(*target, viewer, UserShape::Common),
                created_at: Rfc3339(mute.at),
                updated_at: Rfc3339(mute.at),
                expires: mute.expires.map(Rfc3339),
            })
            .collect()
    }

    /// The muted channels of a user.
    pub(crate) fn channel_mutes_of(
        &self,
        user: UserKey,
        viewer: Viewer,
    ) -> Vec<ChannelMuteView<'_>> {
        let memberships = self.users.get(user).map(|user| &user.memberships);
        memberships
            .into_iter()
            .flatten()
            .filter_map(|key| {
                let channel = self.channels.get(*key)?;
                self.channel_mute_view(channel, user, viewer)
            })
            .collect()
    }

    /// A user's mute of a channel.
    pub(crate) fn channel_mute_view<'a>(
        &'a self,
        channel: &'a Channel,
        user: UserKey,
        viewer: Viewer,
    ) -> Option<ChannelMuteView<'a>> {
        let mute = channel.muted_by.get(&user)?;
        Some(ChannelMuteView {
            user: self.view(user, viewer, UserShape::Common),
            channel: ChannelView {
                state: self,
                channel,
                viewer,
                capabilities: None,
                with_members: false,
                deleted_at: None,
            },
            created_at: Rfc3339(mute.at),
            updated_at: Rfc3339(mute.at),
            expires: mute.expires.map(Rfc3339),
        })
    }

    /// The ids of the users whom a user has blocked.
    pub(crate) fn blocked_ids(&self, user: UserKey) -> Vec<&str> {
        self.relations
            .get(&user)
            .into_iter()
            .flat_map(|relations| relations.blocks.keys())
            .filter_map(|blocked| self.users.get(*blocked))
            .map(|user| &*user.id)
            .collect()
    }
}
