//! `mock exec -- COMMAND`: a server for as long as one command runs. The command finds it by its environment.
//!
//! A CI job needs no background process to wait for, to find or to clean up.

use std::ffi::OsString;

use tokio::time::Instant;

use super::server::{self, MockServer, ServerArgs};
use super::server_command::ServerCommand;
use crate::exit::{Code, Failure};
use crate::mock;
use crate::settings::App;
use crate::signals::Signals;
use crate::timer::sleep_until;

/// Flags of `mock exec`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "presencectl mock exec [OPTIONS] -- COMMAND...",
    after_help = "\
The command finds the server in STREAM_API_KEY, STREAM_API_SECRET, STREAM_CHAT_URL, STREAM_BASE_URL,
STREAM_LOCAL_TEST_HOST and PRESENCECTL_BASE_URL. NO_PROXY and no_proxy include loopback and ADDR. SIGINT, SIGTERM and
SIGHUP are forwarded to the command. When it ends, the other processes of its process group are killed, and
presencectl exits with its exit code (127: not found, 126: cannot be run; 124 if --timeout ends it).

Examples:
  presencectl mock exec -- npm test
  presencectl mock exec --fixture world.json -- sh -c 'presencectl query-users --jq .id'"
)]
pub struct ExecArgs {
    /// The server
    #[command(flatten)]
    pub server: ServerArgs,

    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Serves until the command has ended.
///
/// # Errors
///
/// The server cannot start, or the command does not end in time.
pub(super) fn run(app: &App, args: &ExecArgs) -> anyhow::Result<u8> {
    let server = MockServer::prepare(app, &args.server)?;
    if let Some(warning) = server.warning() {
        app.output().warn(&warning);
    }
    server::start_runtime()?.block_on(serve(app, args, server))
}

async fn serve(app: &App, args: &ExecArgs, mut server: MockServer) -> anyhow::Result<u8> {
    let listeners = server.listen()?;
    let endpoint = server.endpoint(listeners.local_addr()?);
    let mut signals = Signals::listen()?;
    let host = server.reachable_host();
    let mut command = ServerCommand::start(app, &args.command, &endpoint, host)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut warnings = std::pin::pin!(server.warn_of_unmatched(app));
    let serving = tokio::spawn(mock::serve(listeners, server.options, async {
        // An error means that this function is gone, which is the signal just as well.
        let _ = stopped.await;
    }));
    let deadline = app.timeout().map(|timeout| Instant::now() + timeout);
    let code = loop {
        tokio::select! {
            code = command.wait() => break Some(code?),
            signal = signals.next() => command.forward(signal)?,
            () = sleep_until(deadline) => {
                // Without a group of its own it is not killed below.
                command.forward(Code::Terminated)?;
                break None;
            }
            never = &mut warnings => match never {},
        }
    };
    command.kill_group().await?;
    drop(stop);
    serving.await??;
    code.ok_or_else(|| {
        Failure::new(Code::TimedOut, "the command did not end in time")
            .hinted("give it more time with --timeout")
            .into()
    })
}
