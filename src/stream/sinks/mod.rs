//! Where records go: stdout, a copy in a file, hooks.

pub(crate) mod background_writer;
pub(crate) mod hooks;
pub(crate) mod stdout_writer;
pub(crate) mod tee;
