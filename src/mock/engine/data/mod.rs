//! The data of the state, how it is parsed from requests, and how each viewer sees it.

pub(crate) mod app_settings;
pub(crate) mod async_tasks;
pub(crate) mod channel;
pub(crate) mod channel_types;
pub(crate) mod channel_view;
pub(crate) mod connection;
pub(crate) mod event_history;
pub(crate) mod filter;
pub(crate) mod member_view;
pub(crate) mod members;
pub(crate) mod message_view;
pub(crate) mod messages;
pub(crate) mod relation_view;
pub(crate) mod relations;
pub(crate) mod requests;
pub(crate) mod rfc3339;
pub(crate) mod slots;
pub(crate) mod sort;
pub(crate) mod state;
pub(crate) mod stored_lists;
pub(crate) mod thread_view;
pub(crate) mod timers;
pub(crate) mod user;
pub(crate) mod user_fields;
pub(crate) mod user_view;
