//! `mock start`: a server of its own for as long as the process lives.
//!
//! Prints one record when it is ready, which is what scripts wait for, and nothing else on stdout.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::read_secret_file;
use crate::domain::SecretString;
use crate::exit::{Code, Failure};
use crate::mock::{self, Options};

/// Connections that may wait to be accepted: a thousand clients that start at once must not be turned away.
const BACKLOG: u32 = 4096;

/// Flags of `mock start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  presencectl mock start --port 0 --api-key K
  presencectl mock start --demo --print env")]
pub struct StartArgs {
    /// Listen on this loopback port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,

    /// Accept this API key
    #[arg(long, value_name = "KEY", default_value = "mock-key")]
    pub api_key: String,

    /// Read the API secret from this file instead of generating one
    #[arg(long, value_name = "FILE")]
    pub api_secret_file: Option<PathBuf>,

    /// Start with the users and channels of this JSON file
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    pub fixture: Option<PathBuf>,

    /// Start with a small demonstration world whose users come and go
    #[arg(long)]
    pub demo: bool,

    /// Print this when ready: a JSON record, or shell assignments for the variables of every SDK
    #[arg(long, value_enum, default_value_t = Print::Json)]
    pub print: Print,
}

/// What to print when ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Print {
    /// One JSON record.
    Json,
    /// Shell assignments, the secret among them.
    Env,
}

/// The record that says that the server can be used.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    r#type: &'static str,
    url: String,
    api_key: &'a str,
    secret_from: String,
    pid: u32,
}

/// Serves until a signal ends it.
///
/// # Errors
///
/// The port is taken, or the fixture or the secret cannot be had (exit code 13).
pub(super) fn run(app: &App, args: &StartArgs) -> anyhow::Result<Code> {
    let mut options = Options {
        api_key: args.api_key.clone(),
        ..Options::default()
    };
    let secret_from = choose_secret(args, &mut options)?;
    if args.demo {
        options.world = mock::demo_world(app.now());
    } else if let Some(path) = &args.fixture {
        let text = std::fs::read_to_string(path)
            .map_err(|error| cannot_start(format!("cannot read {}: {error}", path.display())))?;
        options.world = mock::fixture(&text).map_err(|error| {
            cannot_start(format!(
                "the fixture {} does not load: {error}",
                path.display()
            ))
        })?;
    }
    runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(args, options, secret_from))
}

async fn serve(args: &StartArgs, options: Options, secret_from: String) -> anyhow::Result<Code> {
    let listener = listen(args.port).map_err(|error| {
        cannot_start(format!("cannot listen on 127.0.0.1:{}: {error}", args.port))
            .hinted("--port 0 takes a free port")
    })?;
    // Signals are caught before the record says ready, so that a script can end the server right away.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    announce(args.print, &listener, &options, secret_from)?;
    let (ended, end) = tokio::sync::oneshot::channel();
    mock::serve(listener, options, async move {
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

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // A restart on the same port must not wait for the kernel to forget the old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(BACKLOG)
}

/// Decides on the secret, and says where it is from in words that do not contain it.
fn choose_secret(args: &StartArgs, options: &mut Options) -> anyhow::Result<String> {
    if let Some(path) = &args.api_secret_file {
        options.secret =
            read_secret_file(path).map_err(|error| cannot_start(format!("{error:#}")))?;
        return Ok(format!("the file {}", path.display()));
    }
    match std::env::var("PRESENCECTL_MOCK_SECRET") {
        Ok(secret) if !secret.is_empty() => {
            options.secret = SecretString::new(secret);
            Ok("the variable PRESENCECTL_MOCK_SECRET".to_owned())
        }
        Ok(_) | Err(_) => Ok("generated; --print env shows it".to_owned()),
    }
}

fn announce(
    print: Print,
    listener: &TcpListener,
    options: &Options,
    secret_from: String,
) -> anyhow::Result<()> {
    let url = format!("http://{}", listener.local_addr()?);
    let mut stdout = io::stdout().lock();
    match print {
        Print::Json => {
            let ready = Ready {
                r#type: "mock.ready",
                url,
                api_key: &options.api_key,
                secret_from,
                pid: std::process::id(),
            };
            writeln!(stdout, "{}", serde_json::to_string(&ready)?)?;
        }
        Print::Env => {
            let secret = options.secret.reveal();
            let key = &options.api_key;
            for (name, value) in [
                ("STREAM_API_KEY", key.as_str()),
                ("STREAM_API_SECRET", secret),
                ("STREAM_KEY", key.as_str()),
                ("STREAM_SECRET", secret),
                ("STREAM_CHAT_URL", url.as_str()),
                ("STREAM_BASE_URL", url.as_str()),
                ("PRESENCECTL_BASE_URL", url.as_str()),
            ] {
                writeln!(stdout, "export {name}={}", quote(value))?;
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

fn cannot_start(message: String) -> Failure {
    Failure::new(Code::MockCannotStart, message)
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_quote_in_a_value_does_not_end_it() {
        assert_eq!(quote("a'b"), r"'a'\''b'");
    }
}
