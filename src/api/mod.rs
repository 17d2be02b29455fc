//! The HTTP side of the service: one typed method per endpoint, one error type, one place that retries.
//!
//! Answers become [`domain`](crate::domain) values here. Nothing in this layer prints, reads flags or environment, or
//! knows about sockets.

pub mod channels;
pub mod client;
pub mod error;
pub mod limits;
pub mod paging;
mod probe;
mod responses;
pub mod retry;
mod tls;
mod user_page;
pub mod users;

pub use channels::{
    ChannelState, GetOrCreate, Member, Page, QueryChannels, QueryMembers, UpdateChannel,
};
pub use client::{Auth, Client, RawResponse, Settings, is_loopback};
pub use error::{ApiError, Refusal, TransportKind};
pub use limits::{Budget, Budgets, RateLimit};
pub use paging::{ChannelPages, MemberPages, UserPages};
pub use retry::{Retry, RetryObserver};
pub use user_page::UserPage;
pub use users::{DeleteUser, QueryUsers, Sort, UserPatch};
