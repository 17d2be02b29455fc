//! What the tests of whole processes share: a private environment, a mock server, runs and streams with a deadline.

mod command;
pub(crate) mod contract;
pub(crate) mod literal;
pub(crate) mod mock;
mod stream;
pub(crate) mod tls_front;
pub(crate) mod wire;
pub(crate) mod world;

pub(crate) use command::{Presencectl, Run, binary, private_file};
pub(crate) use stream::Stream;

/// Says that something was skipped, past the test harness's capture, so that nobody takes silence for success.
pub(crate) fn skip(what: &str) {
    use std::io::Write;
    // Without a stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}");
}
