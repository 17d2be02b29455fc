//! The HTTP side of the service: one typed method per endpoint, one error type, one place that retries.
//!
//! Answers become [`domain`](crate::domain) values here. Nothing in this layer prints, reads flags or environment, or
//! knows about sockets.

pub mod channels;
pub mod client;
pub mod error;
pub mod users;

pub use channels::{ChannelState, GetOrCreate, Member, QueryChannels, QueryMembers, UpdateChannel};
pub use client::{Auth, Client, Settings};
pub use error::{ApiError, Refusal, TransportKind};
pub use users::{QueryUsers, Sort, UserPatch};
