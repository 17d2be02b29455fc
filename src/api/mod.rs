//! The HTTP API of the service: one typed method per endpoint, one request builder, one error type, one retry policy.
//!
//! Responses are converted to [`domain`](crate::domain) values here. Nothing in this module prints, or reads flags or
//! the environment.

mod address;
mod budgets;
mod call_limiter;
pub mod channels;
pub mod client;
pub mod error;
pub mod limits;
pub mod paging;
mod pass_through;
mod probe;
mod proxy;
mod redact;
pub mod request;
mod responses;
pub mod retry;
mod tls;
pub mod trace;
mod user_page;
pub mod users;

pub use address::is_loopback;
pub use budgets::{Budget, Budgets};
pub use call_limiter::CallLimiter;
pub use channels::{
    ChannelState, GetOrCreate, Member, Page, QueryChannels, QueryMembers, UpdateChannel,
};
pub use client::{Auth, Client, ClientSettings, Response};
pub use error::{ApiError, NoTls, Refusal, TransportKind};
pub use limits::RateLimit;
pub use paging::{AllChannelPages, ChannelPages, MemberPages, UserPages};
pub use pass_through::pass_through;
pub use proxy::ProxyServer;
pub use request::Request;
pub use retry::{Retry, RetryObserver};
pub use trace::Tracer;
pub use user_page::UserPage;
pub use users::{QUERY_USERS, QueryUsers, Sort, UPDATE_USERS, UPDATE_USERS_PARTIAL, UserPatch};
