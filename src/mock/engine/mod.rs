//! The rules of the service as a plain, synchronous state machine.
//!
//! [`ServiceState`] takes the time as an argument and returns what to send: it does no I/O, reads no clock, and knows neither
//! HTTP nor sockets. That makes every rule testable with nothing but values, and every run replayable. Indexes follow
//! subscriptions (a user knows the connections that hear him, a channel those that watch it), so a change costs what
//! its subscribers cost, however many users there are.

mod app;
mod async_tasks;
mod channel;
mod channel_changes;
mod channel_data;
mod channel_events;
#[cfg(test)]
mod channel_tests;
mod channel_types;
mod channels;
mod connection;
mod control_ops;
mod custom_events;
mod event_injection;
mod events;
mod filter;
mod history;
mod lifecycle;
mod load;
mod members;
mod membership;
#[cfg(test)]
mod model_tests;
mod operations;
mod permissions;
mod presence;
mod requests;
mod rfc3339;
mod slots;
mod snapshot;
mod sort;
mod stats;
#[cfg(test)]
mod test_support;
mod timers;
mod user;
mod user_channel_state;
mod user_fields;
mod users;
mod watching;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

use self::app::AppSettings;
use self::async_tasks::AsyncTasks;
use self::channel::Channel;
use self::channel_types::ChannelTypes;
use self::connection::Connection;
pub(crate) use self::connection::{ConnectionKey, Transport};
pub(crate) use self::event_injection::EventReceivers;
use self::history::EventHistory;
pub(crate) use self::operations::{
    Authentication, DEFAULT_REQUESTS_PER_MINUTE, Handler, OPERATIONS, OperationRequest,
    TransportHandler,
};
pub(crate) use self::presence::ConnectRequest;
pub(crate) use self::requests::{Caller, JsonObject, Reply, read};
pub(crate) use self::rfc3339::Rfc3339;
use self::slots::{ChannelKey, Slots, UserKey};
use self::timers::Timers;
use self::user::{User, UserShape, UserView, Viewer};
use super::error::{ErrorBody, Rejection};
use super::options::MockRules;

/// Something to hand to a connection.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// To whom.
    pub(crate) connection: ConnectionKey,
    /// What.
    pub(crate) signal: Signal,
}

/// What can be handed to a connection.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// A text frame, shared by all who receive the same.
    Frame(Bytes),
    /// The end. The connection is gone from the state already.
    Close {
        /// A WebSocket close code.
        code: u16,
        /// Why.
        reason: Arc<str>,
    },
    /// The end of what carries the connection, without a word. The connection is still in the state, which will miss it.
    Cut,
}

/// Everything the service knows.
#[derive(Debug)]
pub(crate) struct ServiceState {
    rules: MockRules,
    users: Slots<UserKey, User>,
    user_ids: HashMap<Arc<str>, UserKey>,
    /// The same in the order of ids, for pages by id.
    user_order: BTreeMap<Arc<str>, UserKey>,
    channels: Slots<ChannelKey, Channel>,
    channel_ids: HashMap<Arc<str>, ChannelKey>,
    connections: HashMap<ConnectionKey, Connection>,
    connection_ids: HashMap<Box<str>, ConnectionKey>,
    next_connection: u64,
    timers: Timers,
    ids: IdGenerator,
    history: EventHistory,
    tasks: AsyncTasks,
    app: AppSettings,
    types: ChannelTypes,
    out: Vec<Delivery>,
}

impl ServiceState {
    /// An empty state. The seed makes the ids that the service invents.
    pub(crate) fn new(rules: MockRules, seed: u64) -> Self {
        let app = AppSettings::new(rules.development_tokens);
        Self {
            rules,
            users: Slots::default(),
            user_ids: HashMap::new(),
            user_order: BTreeMap::new(),
            channels: Slots::default(),
            channel_ids: HashMap::new(),
            connections: HashMap::new(),
            connection_ids: HashMap::new(),
            next_connection: 1,
            timers: Timers::default(),
            ids: IdGenerator { seed, count: 0 },
            history: EventHistory::default(),
            tasks: AsyncTasks::default(),
            app,
            types: ChannelTypes::default(),
            out: Vec::new(),
        }
    }

    /// Forgets everything but the names already given, so that no old key or id leads to something new.
    pub(crate) fn restart(&mut self) {
        let fresh = Self::new(self.rules.clone(), self.ids.seed);
        let old = std::mem::replace(self, fresh);
        self.next_connection = old.next_connection;
        self.ids = old.ids;
    }

    /// Takes what is to be sent, in order.
    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, Delivery> {
        self.out.drain(..)
    }

    /// A user as somebody sees him.
    ///
    /// # Panics
    ///
    /// The user does not exist. Keys of users that can vanish are looked up first.
    fn view(&self, key: UserKey, viewer: Viewer, shape: UserShape) -> UserView<'_> {
        UserView {
            user: self.users.get(key).expect("a key in use leads to a user"),
            key,
            viewer,
            shape,
            rules: &self.rules,
        }
    }

    /// A user by id.
    fn user(&self, id: &str) -> Option<(UserKey, &User)> {
        let key = *self.user_ids.get(id)?;
        Some((key, self.users.get(key)?))
    }

    /// How many there are of users, channels, connections.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (
            self.users.len(),
            self.channels.len(),
            self.connections.len(),
        )
    }
}

/// The frame that refuses or ends a connection.
pub(crate) fn connection_error(
    now: DateTime<Utc>,
    connection_id: &str,
    reject: &Rejection,
) -> Bytes {
    #[derive(Serialize)]
    struct ConnectionError<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        connection_id: &'a str,
        created_at: Rfc3339,
        error: ErrorBody<'a>,
    }
    events::frame(&ConnectionError {
        kind: "connection.error",
        connection_id,
        created_at: Rfc3339(now),
        error: reject.body("Connect", ""),
    })
}

/// Ids that the service invents: UUIDs from a seed and a counter, so that a run can be repeated.
#[derive(Debug)]
struct IdGenerator {
    seed: u64,
    count: u64,
}

impl IdGenerator {
    fn next(&mut self, now: DateTime<Utc>) -> String {
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
