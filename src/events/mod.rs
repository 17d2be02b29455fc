//! The live side of the service: one socket as a session, sessions joined into a stream that repairs itself.
//!
//! What comes out are [`Record`](crate::domain::record::Record)s. Loss is visible here or nowhere: a reconnect, a gap,
//! an uncovered user are records of the same stream. Nothing in this layer prints.
