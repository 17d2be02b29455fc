//! Builds the asynchronous runtime of a command.

use std::mem::ManuallyDrop;

use anyhow::Context;
use tokio::runtime;

use crate::exit::Code;

/// Runs one command's future on this thread: one connection needs no pool of threads, and starting one costs more
/// than most commands do.
///
/// The future is made here and not by the caller, whose stack would have to have room for those of all commands.
#[inline(never)]
pub(super) fn block_on<F>(future: impl FnOnce() -> F) -> anyhow::Result<Code>
where
    F: Future<Output = anyhow::Result<Code>>,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // The process ends with the command; until then there is no use in putting away what it leaves.
    ManuallyDrop::new(runtime).block_on(future())
}
