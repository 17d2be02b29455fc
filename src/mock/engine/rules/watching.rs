//! Watching channels. A user watches while one of their connections does. When the first one starts and the last one
//! stops, all watchers receive an event, including the user themself.

use std::collections::btree_map::Entry;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::requests::{ChannelRef, Reply};
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::UserShape;
use crate::mock::engine::data::user_view::UserView;
use crate::mock::engine::rules::events::frame;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

#[derive(Serialize)]
struct WatchingEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    cid: &'a str,
    channel_type: &'a str,
    channel_id: &'a str,
    user: UserView<'a>,
    watcher_count: usize,
    created_at: Rfc3339,
}

impl ServiceState {
    /// Makes a connection watch a channel.
    pub(crate) fn watch(
        &mut self,
        now: DateTime<Utc>,
        key: ConnectionKey,
        channel_key: ChannelKey,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if !connection.watching.insert(channel_key) {
            return;
        }
        let user = connection.user;
        let channel = self
            .channels
            .get_mut(channel_key)
            .expect("the caller has found the channel");
        channel.watchers.insert(key);
        let connections = channel.watching.entry(user).or_insert(0);
        *connections += 1;
        if *connections == 1 {
            self.publish_watching(now, "user.watching.start", channel_key, user);
        }
    }

    /// Stops a connection from watching.
    pub(crate) fn unwatch(
        &mut self,
        now: DateTime<Utc>,
        key: ConnectionKey,
        channel_key: ChannelKey,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if !connection.watching.remove(&channel_key) {
            return;
        }
        let user = connection.user;
        let Some(channel) = self.channels.get_mut(channel_key) else {
            return;
        };
        channel.watchers.remove(&key);
        if let Entry::Occupied(mut entry) = channel.watching.entry(user) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
                self.publish_watching(now, "user.watching.stop", channel_key, user);
            }
        }
        if self.rules.stop_watching_unsubscribes {
            self.unsubscribe_channel(key, channel_key);
        }
    }

    fn publish_watching(
        &mut self,
        now: DateTime<Utc>,
        kind: &str,
        channel_key: ChannelKey,
        user: UserKey,
    ) {
        let Some(channel) = self.channels.get(channel_key) else {
            return;
        };
        let hidden = !self.rules.count_invisible_watchers
            && self
                .users
                .get(user)
                .is_some_and(|user| user.profile.invisible);
        let silent = self
            .types
            .get(&channel.channel_type)
            .is_ok_and(|channel_type| !channel_type.has_connect_events());
        if hidden || silent {
            return;
        }
        let receivers: Vec<ConnectionKey> = channel.watchers.iter().copied().collect();
        self.publish(&receivers, Some(user), |state, viewer| {
            let channel = state
                .channels
                .get(channel_key)
                .expect("it was there a moment ago");
            frame(&WatchingEvent {
                kind,
                cid: &channel.cid,
                channel_type: &channel.channel_type,
                channel_id: &channel.id,
                user: state.view(user, viewer, UserShape::Common),
                watcher_count: state.watcher_count(channel),
                created_at: Rfc3339(now),
            })
        });
    }

    /// The users who watch a channel, without those who are not counted.
    pub(crate) fn watching_users<'a>(
        &'a self,
        channel: &'a Channel,
    ) -> impl Iterator<Item = UserKey> + 'a {
        channel.watching.keys().copied().filter(|user| {
            self.rules.count_invisible_watchers
                || self
                    .users
                    .get(*user)
                    .is_some_and(|user| !user.profile.invisible)
        })
    }

    /// The number of users who watch a channel.
    pub(crate) fn watcher_count(&self, channel: &Channel) -> usize {
        if self.rules.count_invisible_watchers {
            channel.watching.len()
        } else {
            self.watching_users(channel).count()
        }
    }

    /// `POST …/stop-watching`.
    pub(crate) fn stop_watching_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        connection_id: Option<&str>,
    ) -> Result<Reply, Rejection> {
        let (channel, _) = self.channel_named(&name.channel_type, &name.id)?;
        let Some(id) = connection_id.filter(|id| !id.is_empty()) else {
            return Err(Rejection::input("connection_id is a required field"));
        };
        let unknown = || {
            Rejection::with_code(
                400,
                self.rules.unknown_connection_code,
                format!(
                    "connection {:?} was not found",
                    id.chars().take(64).collect::<String>()
                ),
            )
        };
        let key = *self.connection_ids.get(id).ok_or_else(unknown)?;
        let theirs = self.connections.get(&key).map(|connection| connection.user);
        if !actor.server && theirs != actor.user {
            return Err(unknown());
        }
        self.unwatch(now, key, channel);
        Ok(Reply::new(&serde_json::Map::new()))
    }
}
