//! The HTTP side of the service: one typed method per endpoint, one error type, one place that retries.
//!
//! Answers become [`domain`](crate::domain) values here. Nothing in this layer prints, reads flags or environment, or
//! knows about sockets.

pub mod channels;
pub mod client;
pub mod error;
pub mod limits;
pub mod page;
mod reach;
pub mod retry;
mod texts;
mod tls;
pub mod users;
mod wire;

pub use channels::{
    ChannelState, GetOrCreate, Member, Page, QueryChannels, QueryMembers, UpdateChannel,
};
pub use client::{Auth, Client, RawAnswer, Settings, is_loopback};
pub use error::{ApiError, Refusal, TransportKind};
pub use limits::{Budget, Budgets, RateLimit};
pub use page::{ChannelPages, MemberPages, UserPages};
pub use retry::{Retry, RetryObserver};
pub use texts::UserPage;
pub use users::{DeleteUser, QueryUsers, Sort, UserPatch};
