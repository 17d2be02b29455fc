//! `mock start`: a server of its own for as long as the process lives, in the foreground or detached.
//!
//! Prints how to reach the server when it is ready, which is what scripts wait for, and nothing else on stdout.

use tokio::time::Instant;

use super::detached::{self, DetachedStart};
use super::endpoint::{self, ReadyFormat};
use super::server::{self, MockServer, ServerArgs};
use crate::exit::{Code, ExitStatus};
use crate::mock;
use crate::settings::App;
use crate::signals::Signals;
use crate::timer::sleep_until;

/// Flags of `mock start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  presencectl mock start --port 0 --api-key K
  eval \"$(presencectl mock start --detach --print env)\"
  presencectl mock start --detach --print github >> \"$GITHUB_ENV\"
  presencectl mock start --host 0.0.0.0 --port 8080
  presencectl mock start --demo")]
pub struct StartArgs {
    /// The server
    #[command(flatten)]
    pub server: ServerArgs,

    /// Return when the server is ready; it runs in the background until `mock stop`
    #[arg(long)]
    pub detach: bool,

    /// Print a record, or variables for a shell, $GITHUB_ENV or a .env file
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "json|env|github|dotenv"
    )]
    pub print: Option<ReadyFormat>,
}

/// Serves until a signal, a control request or `--timeout` ends it, or starts a detached server.
///
/// # Errors
///
/// The port is in use, or the fixture or the secret cannot be read (exit code 13).
pub(super) fn run(app: &App, args: &StartArgs) -> anyhow::Result<ExitStatus> {
    let is_detached = detached::is_detached();
    if args.detach && !is_detached {
        return match detached::start(args.print.unwrap_or(ReadyFormat::Json))? {
            DetachedStart::Ready(text) => {
                endpoint::print(&text)?;
                Ok(ExitStatus::Own(Code::Ok))
            }
            DetachedStart::Failed(code) => Ok(ExitStatus::Child(code)),
        };
    }
    let server = MockServer::prepare(app, &args.server)?;
    if let Some(warning) = server.warning() {
        app.output().warn(&warning);
    }
    server::start_runtime()?
        .block_on(serve(app, args.print, server, is_detached))
        .map(ExitStatus::Own)
}

async fn serve(
    app: &App,
    print: Option<ReadyFormat>,
    mut server: MockServer,
    is_detached: bool,
) -> anyhow::Result<Code> {
    let listeners = server.listen()?;
    // Signals are caught before the record says ready, so that a script can end the server right away.
    let mut signals = Signals::listen()?;
    let endpoint = server.endpoint(listeners.local_addr()?);
    if is_detached {
        detached::report_ready(&endpoint)?;
    } else {
        match print {
            None if app.terminal().stdout && app.has_default_output() => {
                endpoint::print(&endpoint.render_for_people())?;
            }
            format => endpoint.print(format.unwrap_or(ReadyFormat::Json))?,
        }
    }
    let deadline = app.timeout().map(|timeout| Instant::now() + timeout);
    let (ended, end) = tokio::sync::oneshot::channel();
    let warnings = server.warn_of_unmatched(app);
    let serving = mock::serve(listeners, server.options, async move {
        let code = tokio::select! {
            code = signals.next() => code,
            () = sleep_until(deadline) => Code::Ok,
        };
        // The receiver lives in this function, which is waiting.
        let _ = ended.send(code);
    });
    tokio::select! {
        served = serving => served?,
        never = warnings => match never {},
    }
    Ok(end.await.unwrap_or(Code::Ok))
}
