//! The live side of the service: one socket, and a stream of presence records that survives losing it.
//!
//! Everything here ends in [`domain`](crate::domain) records; how they look is the output's business, and when to stop
//! is the commands'.

pub mod connect;
pub mod session;

pub use connect::{Identity, Socket, connect};
pub use session::{Frame, Session, SessionEnd};
