//! The state of the service: users, channels, connections, and the indexes between them.
//!
//! Indexes follow subscriptions: a user lists the connections that receive their presence, a channel those that watch
//! it. So a change costs as much as it has subscribers, however many users exist.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use smallvec::SmallVec;

use super::app_settings::AppSettings;
use super::async_tasks::AsyncTasks;
use super::channel::Channel;
use super::channel_types::ChannelTypes;
use super::connection::{Connection, ConnectionKey};
use super::event_history::EventHistory;
use super::relations::UserRelations;
use super::slots::{ChannelKey, Slots, UserKey};
use super::stored_lists::StoredLists;
use super::timers::Timers;
use super::user::StoredUser;
use crate::mock::options::MockRules;

/// Something to send to connections.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// The receivers.
    pub(crate) connections: SmallVec<[ConnectionKey; 1]>,
    /// The content.
    pub(crate) signal: Signal,
}

/// The content of a delivery.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// An event.
    Event(Bytes),
    /// The end of the connection, which is already removed from the state.
    Close {
        /// A WebSocket close code.
        code: u16,
        /// The reason.
        reason: Arc<str>,
    },
    /// The transport ends without a close frame. The connection stays in the state until its silence is noticed.
    Cut,
}

/// The complete state of the mock service.
#[derive(Debug)]
pub(crate) struct ServiceState {
    pub(in crate::mock::engine) rules: MockRules,
    pub(in crate::mock::engine) users: Slots<UserKey, StoredUser>,
    pub(in crate::mock::engine) user_ids: HashMap<Arc<str>, UserKey>,
    /// The same users in the order of their ids, for paging by id.
    pub(in crate::mock::engine) user_order: BTreeMap<Arc<str>, UserKey>,
    /// Mutes, blocks, bans and devices of those who have some.
    pub(in crate::mock::engine) relations: BTreeMap<UserKey, UserRelations>,
    pub(in crate::mock::engine) channels: Slots<ChannelKey, Channel>,
    pub(in crate::mock::engine) channel_ids: HashMap<Arc<str>, ChannelKey>,
    /// The channel of each message.
    pub(in crate::mock::engine) message_channels: HashMap<String, ChannelKey>,
    pub(in crate::mock::engine) connections: HashMap<ConnectionKey, Connection>,
    pub(in crate::mock::engine) connection_ids: HashMap<Box<str>, ConnectionKey>,
    pub(in crate::mock::engine) next_connection: u64,
    pub(in crate::mock::engine) timers: Timers,
    pub(in crate::mock::engine) ids: IdGenerator,
    pub(in crate::mock::engine) history: EventHistory,
    pub(in crate::mock::engine) tasks: AsyncTasks,
    pub(in crate::mock::engine) app: AppSettings,
    pub(in crate::mock::engine) types: ChannelTypes,
    pub(in crate::mock::engine) lists: StoredLists,
    pub(in crate::mock::engine) out: Vec<Delivery>,
}

impl ServiceState {
    /// An empty state. The seed determines the ids that the service generates.
    pub(crate) fn new(rules: MockRules, seed: u64) -> Self {
        let app = AppSettings::new(rules.development_tokens);
        Self {
            rules,
            users: Slots::default(),
            user_ids: HashMap::new(),
            user_order: BTreeMap::new(),
            relations: BTreeMap::new(),
            channels: Slots::default(),
            channel_ids: HashMap::new(),
            message_channels: HashMap::new(),
            connections: HashMap::new(),
            connection_ids: HashMap::new(),
            next_connection: 1,
            timers: Timers::default(),
            ids: IdGenerator { seed, count: 0 },
            history: EventHistory::default(),
            tasks: AsyncTasks::default(),
            app,
            types: ChannelTypes::default(),
            lists: StoredLists::default(),
            out: Vec::new(),
        }
    }

    /// Removes everything except the counter of generated ids, so that old keys and ids do not refer to new objects.
    pub(crate) fn restart(&mut self) {
        let fresh = Self::new(self.rules.clone(), self.ids.seed);
        let old = std::mem::replace(self, fresh);
        self.next_connection = old.next_connection;
        self.ids = old.ids;
    }

    /// Takes the queued deliveries, in order.
    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, Delivery> {
        self.out.drain(..)
    }

    /// The key of the user with this id.
    pub(in crate::mock::engine) fn user(&self, id: &str) -> Option<(UserKey, &StoredUser)> {
        let key = *self.user_ids.get(id)?;
        Some((key, self.users.get(key)?))
    }

    /// The numbers of users, channels and connections.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (
            self.users.len(),
            self.channels.len(),
            self.connections.len(),
        )
    }
}

/// A generator of ids: UUIDs from a seed and a counter, so that runs are repeatable.
#[derive(Debug)]
pub(in crate::mock::engine) struct IdGenerator {
    seed: u64,
    count: u64,
}

impl IdGenerator {
    pub(in crate::mock::engine) fn next(&mut self, now: DateTime<Utc>) -> String {
        self.count += 1;
        let mut mixed = self.seed ^ self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let high = u128::from(now.timestamp().cast_unsigned() & 0xffff_ffff) << 96;
        let middle = u128::from(mixed & 0xffff_ffff) << 64;
        uuid::Builder::from_custom_bytes((high | middle | u128::from(self.count)).to_be_bytes())
            .into_uuid()
            .to_string()
    }
}
