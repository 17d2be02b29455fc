//! The live side of the service: one socket as a session, sessions joined into a stream that repairs itself.
//!
//! What comes out are [`Record`](crate::domain::record::Record)s. Loss is visible here or nowhere: a reconnect, a gap,
//! an uncovered user are records of the same stream. Nothing in this layer prints.

mod backoff;
pub mod connect;
pub mod hold;
mod membership;
mod moment;
pub mod observer;
mod pace;
mod reconcile;
pub mod session;
pub mod shard;
mod stale;
mod subscribe;
mod tracker;
pub mod watch;
mod wire;

pub use connect::{Identity, Socket, connect};
pub use hold::{Holder, Link, LinkChange};
pub use observer::Observer;
pub use session::{Frame, Session, SessionEnd};
pub use shard::Shard;
pub use tracker::Known;
pub(crate) use watch::is_final;
pub use watch::{Create, Options, Ready, Resume, Step, Target, WatchError, Watcher};
