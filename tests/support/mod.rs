//! What the tests of whole processes share: a private environment, a mock server, runs and streams with a deadline.

mod command;
pub(crate) mod contract;
pub(crate) mod literal;
pub(crate) mod mock;
mod stream;
pub(crate) mod wire;
pub(crate) mod world;

pub(crate) use command::{Presencectl, Run, binary, private_file};
pub(crate) use stream::Stream;
