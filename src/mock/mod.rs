//! The bundled server: the presence half of the service, faithful enough for the official SDKs.
//!
//! The rules are a plain, synchronous state machine that takes the time as an argument; the transport around it only
//! carries. Nothing here knows of the client, the commands or the output.
