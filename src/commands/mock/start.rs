//! `mock start`: run a mock server until a signal stops it.
//!
//! Prints one record when the server is ready, for scripts to wait for, and nothing else on stdout.

use std::io::{self, Write};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::server::{MockServer, ServerArgs};
use crate::app::App;
use crate::exit::Code;
use crate::mock;

/// Threads that serve. More would wait for the same lock, and counting the processors takes longer than starting two
/// threads.
const WORKER_THREADS: usize = 2;

/// Flags of `mock start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  presencectl mock start --port 0 --api-key K
  presencectl mock start --demo --print env")]
pub struct StartArgs {
    /// The server
    #[command(flatten)]
    pub server: ServerArgs,

    /// Print this format when ready
    #[arg(long, value_enum, value_name = "json|env", hide_possible_values = true, default_value_t = ReadyFormat::Json)]
    pub print: ReadyFormat,
}

/// What to print when the server is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReadyFormat {
    /// A JSON record.
    Json,
    /// Shell assignments for the variables of every SDK, including the secret.
    Env,
}

/// The record that says that the server is ready.
#[derive(Debug, Serialize)]
struct ReadyRecord<'a> {
    r#type: &'static str,
    url: String,
    api_key: &'a str,
    secret_from: &'a str,
    pid: u32,
}

/// Serves until a signal stops it.
///
/// # Errors
///
/// The port is in use, or the fixture or the secret cannot be read (exit code 13).
pub(super) fn run(app: &App, args: &StartArgs) -> anyhow::Result<Code> {
    let server = MockServer::prepare(app, &args.server)?;
    runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(args.print, server))
}

async fn serve(print: ReadyFormat, server: MockServer) -> anyhow::Result<Code> {
    let listener = server.listen()?;
    // Signals are caught before the record says ready, so that a script can end the server right away.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    announce(print, &listener, &server)?;
    let (ended, end) = tokio::sync::oneshot::channel();
    mock::serve(listener, server.options, async move {
        let code = tokio::select! {
            _ = interrupt.recv() => Code::Interrupted,
            _ = terminate.recv() => Code::Terminated,
        };
        // The receiver lives in this function, which is waiting.
        let _ = ended.send(code);
    })
    .await?;
    Ok(end.await.unwrap_or(Code::Ok))
}

fn announce(print: ReadyFormat, listener: &TcpListener, server: &MockServer) -> anyhow::Result<()> {
    let url = format!("http://{}", listener.local_addr()?);
    let mut stdout = io::stdout().lock();
    match print {
        ReadyFormat::Json => {
            let ready = ReadyRecord {
                r#type: "mock.ready",
                url,
                api_key: &server.options.api_key,
                secret_from: &server.secret_from,
                pid: std::process::id(),
            };
            writeln!(stdout, "{}", serde_json::to_string(&ready)?)?;
        }
        ReadyFormat::Env => {
            for (name, value) in server.variables(&url) {
                writeln!(stdout, "export {name}={}", quote(&value))?;
            }
        }
    }
    stdout.flush()?;
    Ok(())
}

/// Quotes a value for a POSIX shell.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_quote_in_a_value_does_not_end_it() {
        assert_eq!(quote("a'b"), r"'a'\''b'");
    }
}
