//! Builds the asynchronous runtime of a command.

use std::mem::ManuallyDrop;

use anyhow::Context;
use tokio::runtime;

use crate::exit::Code;

/// Runs a command's future on the current thread. One connection needs no thread pool, and starting one costs more than
/// most commands do.
///
/// The future is created here, so that the caller's stack need not have room for the futures of all commands.
#[inline(never)]
pub(super) fn block_on<F>(future: impl FnOnce() -> F) -> anyhow::Result<Code>
where
    F: Future<Output = anyhow::Result<Code>>,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // The process ends after the command, so the runtime is not shut down.
    ManuallyDrop::new(runtime).block_on(future())
}
