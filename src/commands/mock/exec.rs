//! `mock exec -- COMMAND`: run a mock server for as long as one command runs.
//!
//! A CI job has no background process to wait for, to find or to clean up: the command finds the server in its
//! environment.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;

use anyhow::Context;
use tokio::process::Command;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::server::{MockServer, ServerArgs};
use crate::app::App;
use crate::exit::{Code, Failure};
use crate::mock;

/// Flags of `mock exec`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The command finds the server in STREAM_API_KEY, STREAM_API_SECRET, STREAM_CHAT_URL, \
STREAM_BASE_URL and PRESENCECTL_BASE_URL. presencectl exits with its exit code.

Examples:
  presencectl mock exec -- npm test
  presencectl mock exec --fixture world.json -- sh -c 'presencectl query-users | jq .id'"
)]
pub struct ExecArgs {
    /// The server
    #[command(flatten)]
    pub server: ServerArgs,

    /// Run this command with its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Serves until the command exits.
///
/// # Errors
///
/// The server cannot start, or the command cannot be run.
pub(super) fn run(app: &App, args: &ExecArgs) -> anyhow::Result<u8> {
    let server = MockServer::prepare(app, &args.server)?;
    runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(args, server))
}

async fn serve(args: &ExecArgs, server: MockServer) -> anyhow::Result<u8> {
    let listener = server.listen()?;
    let url = format!("http://{}", listener.local_addr()?);
    // The terminal sends Ctrl-C to the command as well; we stay until it has ended.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (program, arguments) = args
        .command
        .split_first()
        .context("there is no command to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(server.variables(&url))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Failure::new(
                Code::Usage,
                format!("cannot run {}: {error}", program.display()),
            )
        })?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(mock::serve(listener, server.options, async {
        // An error means that this function is gone, which is the signal just as well.
        let _ = stopped.await;
    }));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => child.start_kill()?,
        }
    };
    drop(stop);
    serving.await??;
    // As a shell reports it: a signal is 128 and its number.
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}
