//! The engine of the mock: the rules of the service as a plain, synchronous state machine.
//!
//! [`ServiceState`] takes the time as an argument and returns what to send. It does no I/O, reads no clock, and knows
//! neither HTTP nor sockets. So every rule can be tested with values alone, and every run can be repeated.
//!
//! Each folder may use only those before it:
//!
//! - `data`: what the state holds, how it is read from requests, and how each viewer sees it
//! - `rules`: who may do what, who is online, who watches and who belongs, and which events a change sends
//! - `operations`: what clients and the control API can ask for; `operations/mod.rs` is the table of all endpoints

#[cfg(test)]
mod channel_tests;
mod data;
#[cfg(test)]
mod model_tests;
mod operations;
mod rules;
#[cfg(test)]
mod test_support;

pub(crate) use self::data::connection::{ConnectionKey, Transport};
pub(crate) use self::data::requests::{Caller, JsonObject, Reply};
pub(crate) use self::data::rfc3339::Rfc3339;
pub(crate) use self::data::state::{Delivery, ServiceState, Signal};
pub(crate) use self::data::user_fields::RESERVED_USER_FIELDS;
pub(crate) use self::operations::event_injection::EventReceivers;
pub(crate) use self::operations::{
    Authentication, DEFAULT_REQUESTS_PER_MINUTE, Handler, OPERATIONS, Operation, OperationRequest,
    TransportHandler,
};
pub(crate) use self::rules::channel_data::RESERVED_CHANNEL_FIELDS;
pub(crate) use self::rules::events::connection_error;
pub(crate) use self::rules::presence::ConnectRequest;
