//! The rules: permissions, presence, watching and membership, and which events a change sends.

pub(crate) mod channel_data;
pub(crate) mod channel_events;
pub(crate) mod events;
pub(crate) mod expiry;
pub(crate) mod membership;
pub(crate) mod message_events;
pub(crate) mod permissions;
pub(crate) mod presence;
pub(crate) mod user_changes;
pub(crate) mod watching;
