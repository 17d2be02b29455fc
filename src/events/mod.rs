//! Live events: connections, and a stream of records that recovers after a connection loss.
//!
//! The output is a stream of [`Record`](crate::domain::record::Record)s. It also reports losses: reconnects, gaps and
//! users without a subscription. Nothing in this module prints.

mod backoff;
mod channel_sets;
pub mod connect;
pub mod connection_pool;
pub mod observer;
mod reconcile;
pub mod session;
pub mod shard;
mod subscribe;
mod subscriptions;
mod sync_stream;
mod token_rejections;
pub mod watcher;

pub use connect::{Identity, Socket, connect};
pub use connection_pool::{ConnectionEvent, ConnectionPool, ConnectionUpdate};
pub use observer::Observer;
pub use session::{Frame, Session, SessionEnd};
pub use shard::Shard;
pub use subscriptions::KnownUser;
pub(crate) use watcher::is_fatal;
pub use watcher::{
    ChannelSpec, DrainResult, ResumeState, WatchError, WatchTarget, Watcher, WatcherOptions,
    WatcherStep,
};
