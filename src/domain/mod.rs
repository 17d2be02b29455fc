//! The types of the field (users, presence, events, records, tokens) and the rules about them.
//!
//! All other modules use these types. Nothing here does I/O, reads a clock, parses a command line or knows HTTP. A rule
//! that needs the time takes it as an argument.

pub mod api_error_code;
pub mod coalesce;
pub mod event;
pub mod fingerprint;
pub mod glob;
pub mod id;
pub mod id_set;
pub mod list;
pub mod presence;
pub mod record;
pub mod secret;
pub mod time;
pub(crate) mod timestamp;
pub mod token;
pub mod token_bucket;
pub mod user;

pub use api_error_code::ApiErrorCode;
pub use event::Event;
pub use fingerprint::{Fingerprint, FingerprintSample, UserOrigin};
pub use id::{ChannelId, ChannelType, Cid, InvalidId, UserId};
pub use id_set::IdSet;
pub use list::IdList;
pub use presence::{Change, Presence, PresenceField, PresenceFields};
pub use secret::SecretString;
pub use token_bucket::TokenBucket;
pub use user::User;
