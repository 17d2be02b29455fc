//! Commands that make one control request to a running mock, and how such a request is made.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::log_lines;
use crate::api::{ApiError, Client, NoTls, Request, TransportKind};
use crate::commands::dry_run;
use crate::domain::ApiErrorCode;
use crate::domain::time::parse_duration;
use crate::escape;
use crate::exit::{Code, Failure, HintedError};
use crate::input_file::read_text;
use crate::mock;
use crate::output::Column;
use crate::settings::App;

/// The columns of the state of a server.
const STATUS_COLUMNS: [&str; 11] = [
    "now",
    "clock",
    "users",
    "online",
    "channels",
    "connections",
    "virtual",
    "subscriptions",
    "watches",
    "faults",
    "log",
];
/// What to do if there is no server at an address.
const NO_SERVER_HINT: &str = "start a mock: presencectl mock start --detach; or give its address: --base-url http://127.0.0.1:PORT";
/// Where the applications of a server are listed.
pub(super) const APPLICATIONS_HINT: &str = "list the applications: presencectl mock app list";
/// Where the faults of a server are listed.
pub(super) const FAULTS_HINT: &str = "list active faults: presencectl mock fault list";

/// The commands of `mock clock`.
#[derive(Debug, Clone, Subcommand)]
pub enum ClockCommand {
    /// Stop the clock, now or at a given time
    Freeze {
        /// Time: RFC 3339, unix seconds, or how long ago
        #[arg(value_name = "TIME")]
        at: Option<String>,
    },
    /// Move the clock forward and run everything that becomes due
    Advance {
        /// Advance by this duration
        #[arg(value_parser = parse_duration, value_name = "DUR")]
        by: Duration,
    },
    /// Set the clock to a time
    Set {
        /// Time: RFC 3339, unix seconds, or how long ago
        #[arg(value_name = "TIME")]
        to: String,
    },
    /// Run the clock, at RATE times its normal speed
    Run {
        /// How many times as fast: above 0, at most 1000000
        #[arg(default_value_t = 1.0, value_name = "RATE")]
        rate: f64,
    },
    /// Return to the system clock
    Reset,
}

/// Flags of `mock restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every connection is closed with a code that asks clients to reconnect. `mock reset` still restores the data from the
start of the server.

Examples:
  presencectl mock snapshot > world.json
  presencectl mock restore world.json
  presencectl mock start --fixture world.json")]
pub struct RestoreArgs {
    /// A fixture, as `mock snapshot` prints it; - reads stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Shows the state of the server.
///
/// # Errors
///
/// The server cannot be reached or is not a mock.
pub(super) async fn status(app: &App) -> anyhow::Result<Code> {
    if app.is_dry_run() || !app.terminal().stdout || !app.has_default_output() {
        return call(app, "GET", "status", None, &STATUS_COLUMNS).await;
    }
    let status = ask(app, "GET", "status", &[], None).await?;
    app.output().print(&log_lines::status(&status))?;
    Ok(Code::Ok)
}

/// Lists connections.
///
/// # Errors
///
/// The server cannot be reached or is not a mock.
pub(super) async fn connections(app: &App) -> anyhow::Result<Code> {
    let columns = [
        "connection_id",
        "user",
        "carrier",
        "last_seen",
        "subscriptions",
        "watching",
    ]
    .map(Column::plain);
    let mut rows = app.output().rows(&columns)?;
    for connection in list(
        ask(app, "GET", "connections", &[], None).await?,
        "connections",
    ) {
        rows.push(&connection)?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}

/// Checks that the server answers, which needs no control token, and prints nothing.
///
/// # Errors
///
/// The server cannot be reached or is not a mock.
pub(super) async fn health(app: &App) -> anyhow::Result<Code> {
    if app.is_dry_run() {
        return call(app, "GET", "health", None, &[]).await;
    }
    ask(app, "GET", "health", &[], None).await?;
    Ok(Code::Ok)
}

/// Resets the server to how it was at the start.
///
/// # Errors
///
/// The server cannot be reached or is not a mock.
pub(super) async fn reset(app: &App) -> anyhow::Result<Code> {
    call(app, "POST", "reset", Some(json!({})), &[]).await
}

/// Changes the clock.
///
/// # Errors
///
/// The server cannot be reached, is not a mock, or rejects the time.
pub(super) async fn clock(app: &App, command: &ClockCommand) -> anyhow::Result<Code> {
    let (action, body) = match command {
        ClockCommand::Freeze { at: Some(at) } => ("freeze", json!({ "to": at })),
        ClockCommand::Freeze { at: None } => ("freeze", json!({})),
        ClockCommand::Advance { by } => (
            "advance",
            json!({ "by": humantime::format_duration(*by).to_string() }),
        ),
        ClockCommand::Set { to } => ("set", json!({ "to": to })),
        ClockCommand::Run { rate } => ("run", json!({ "rate": rate })),
        ClockCommand::Reset => ("reset", json!({})),
    };
    let path = format!("clock/{action}");
    call(app, "POST", &path, Some(body), &["now", "clock"]).await
}

/// Prints users and channels as a fixture.
///
/// # Errors
///
/// The server cannot be reached or is not a mock.
pub(super) async fn snapshot(app: &App) -> anyhow::Result<Code> {
    let mut rows = app.output().documents(false)?;
    rows.push(&ask(app, "GET", "snapshot", &[], None).await?)?;
    rows.finish()?;
    Ok(Code::Ok)
}

/// Replaces users and channels by a fixture.
///
/// # Errors
///
/// The file cannot be read or is not a fixture, or the server cannot be reached or is not a mock.
pub(super) async fn restore(app: &App, args: &RestoreArgs) -> anyhow::Result<Code> {
    let name = args.file.display();
    let no_fixture = |why: String| {
        Failure::new(Code::Usage, format!("{name} is not a fixture: {why}"))
            .hinted("write one: presencectl mock snapshot > world.json")
    };
    let text = read_text(&args.file, mock::SENT_FIXTURE_MAX_BYTES)
        .map_err(|error| no_fixture(error.to_string()))?;
    let read = mock::parse_fixture(&text).map_err(|error| no_fixture(error.to_string()))?;
    if let Some(warning) = read.warning() {
        app.output().warn(&warning);
    }
    let body = serde_json::to_value(read.fixture)?;
    call(app, "POST", "restore", Some(body), &STATUS_COLUMNS).await
}

/// Makes one control request and prints its response as a record with these columns. An empty response is not printed.
pub(super) async fn call(
    app: &App,
    method: &'static str,
    path: &str,
    body: Option<Value>,
    columns: &[&'static str],
) -> anyhow::Result<Code> {
    let columns: Vec<Column> = columns.iter().copied().map(Column::plain).collect();
    // Before the request, so that a wrong column is found before something has changed.
    let mut rows = app.output().row(&columns)?;
    let Some(record) = change(app, method, path, body).await? else {
        return Ok(Code::Ok);
    };
    if !record.is_empty() {
        rows.push(&record)?;
        rows.finish()?;
    }
    Ok(Code::Ok)
}

/// Checks that an id can be a segment of a path. In a URL, a slash ends a segment, `.` and `..` are steps, and tabs and
/// line breaks are dropped, so the request would be about something else.
///
/// # Errors
///
/// It cannot, so there is no such thing.
pub(super) fn check_segment(what: &str, id: &str, hint: &str) -> Result<(), Failure> {
    let is_segment = !matches!(id, "" | "." | "..") && !id.contains(['/', '\t', '\n', '\r']);
    if is_segment {
        return Ok(());
    }
    Err(Failure::new(Code::Refused, format!("{what} {id:?} was not found")).hinted(hint))
}

/// Makes one control request that changes something. With `--dry-run` it is printed instead, and there is no response.
pub(super) async fn change(
    app: &App,
    method: &'static str,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<Option<Map<String, Value>>> {
    if app.is_dry_run() {
        let request = Request::custom(method, &format!("_mock/{path}"), &[], body.as_ref())?;
        dry_run::print(app, [request])?;
        return Ok(None);
    }
    ask(app, method, path, &[], body).await.map(Some)
}

/// Makes one control request.
pub(super) async fn ask(
    app: &App,
    method: &str,
    path: &str,
    query: &[(&str, &str)],
    body: Option<Value>,
) -> anyhow::Result<Map<String, Value>> {
    ask_as(&app.mock_client()?, method, path, query, body).await
}

/// Makes one control request with a given client.
pub(super) async fn ask_as(
    client: &Client,
    method: &str,
    path: &str,
    query: &[(&str, &str)],
    body: Option<Value>,
) -> anyhow::Result<Map<String, Value>> {
    let answer = client
        .raw(method, &format!("_mock/{path}"), query, body.as_ref())
        .await
        .map_err(unreachable)?;
    if let Some(error) = answer.error() {
        return Err(refused(error));
    }
    serde_json::from_slice(&answer.body).map_err(|_| {
        Failure::new(Code::Refused, "the server is not a presencectl mock")
            .hinted("start a mock: presencectl mock start")
            .into()
    })
}

/// The error of a request that got no answer, with the hint for a server that is not there.
fn unreachable(error: ApiError) -> anyhow::Error {
    match &error {
        ApiError::Transport {
            kind: TransportKind::Connect,
            source,
            ..
        } if !(source.is::<NoTls>() || error.is_certificate_refused()) => {
            HintedError::new(error, NO_SERVER_HINT).into()
        }
        _ => error.into(),
    }
}

/// An error of the control API as a failure of the command: invalid input is a usage error.
fn refused(error: ApiError) -> anyhow::Error {
    let ApiError::Refused(refusal) = &error else {
        return error.into();
    };
    let detail = refusal
        .message
        .strip_prefix("Control failed with error: \"")
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(detail) = detail else {
        return error.into();
    };
    match refusal.code {
        ApiErrorCode::InvalidApiKey => Failure::new(
            Code::NotAuthenticated,
            "the mock has no application with the API key of STREAM_API_KEY",
        )
        .hinted("list the applications: presencectl mock app list; or act on the first one: unset STREAM_API_KEY")
        .into(),
        ApiErrorCode::InvalidInput => {
            let failure = Failure::new(Code::Usage, escape::escape(detail));
            if detail == mock::FIRST_APPLICATION_STAYS {
                failure.hinted("stop the server: presencectl mock stop").into()
            } else {
                failure.into()
            }
        }
        ApiErrorCode::NotFound => {
            let hint = if detail.starts_with("fault ") {
                FAULTS_HINT
            } else if detail.starts_with("application ") {
                APPLICATIONS_HINT
            } else {
                "list what exists: presencectl query-users, presencectl query-channels"
            };
            Failure::new(Code::Refused, escape::escape(detail))
                .hinted(hint)
                .into()
        }
        _ => error.into(),
    }
}

/// The objects of a list in a response.
pub(super) fn list(mut answer: Map<String, Value>, name: &str) -> Vec<Value> {
    match answer.remove(name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}
