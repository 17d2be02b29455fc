//! The field's words as types, and the rules that need nothing but their arguments.
//!
//! Everything else in the crate speaks in these types. Nothing here does I/O, reads a clock, parses a command line or
//! knows that HTTP exists; where a rule needs the time, the time is an argument.

pub mod api_error_code;
pub mod coalesce;
pub mod event;
pub mod fingerprint;
pub mod glob;
pub mod id;
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
pub use list::IdList;
pub use presence::{Change, Presence, PresenceField, PresenceFields};
pub use secret::SecretString;
pub use token_bucket::TokenBucket;
pub use user::User;
