//! The strings of a running server: everything under `/_mock/` that is one request and one answer.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::domain::UserId;
use crate::domain::time::parse_duration;
use crate::exit::{Code, Failure};

/// What to do with the clock.
#[derive(Debug, Clone, Subcommand)]
pub enum ClockCommand {
    /// Stop the clock, now or at a time
    Freeze {
        /// RFC 3339, unix seconds, or a duration ago
        #[arg(value_name = "TIME")]
        at: Option<String>,
    },
    /// Move the clock forward; what becomes due on the way happens
    Advance {
        /// How far
        #[arg(value_parser = parse_duration, value_name = "DUR")]
        by: Duration,
    },
    /// Set the clock to a time
    Set {
        /// RFC 3339, unix seconds, or a duration ago
        #[arg(value_name = "TIME")]
        to: String,
    },
    /// Let the clock run, at this many times its speed
    Run {
        /// How fast
        #[arg(default_value_t = 1.0)]
        rate: f64,
    },
    /// Go back to the system's clock
    Reset,
}

/// What a virtual user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserAction {
    /// Open a connection of its own.
    Connect,
    /// Close its connections politely.
    Disconnect,
}

/// Flags of `mock user`.
#[derive(Debug, clap::Args)]
pub struct UserArgs {
    /// Who
    pub id: UserId,
    /// What it does: connect opens a connection of its own, disconnect closes those politely
    #[arg(
        value_enum,
        hide_possible_values = true,
        value_name = "connect|disconnect"
    )]
    pub action: UserAction,
}

/// Shows what the server holds.
///
/// # Errors
///
/// There is no server, or it is no mock.
pub(super) async fn status(app: &App) -> anyhow::Result<Code> {
    call(app, "GET", "status", None).await
}

/// Puts the world back to how it was at the start.
///
/// # Errors
///
/// There is no server, or it is no mock.
pub(super) async fn reset(app: &App) -> anyhow::Result<Code> {
    call(app, "POST", "reset", Some(json!({}))).await
}

/// Moves the clock.
///
/// # Errors
///
/// There is no server, or it is no mock, or the time is none.
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
    call(app, "POST", &format!("clock/{action}"), Some(body)).await
}

/// Lets a virtual user come or go.
///
/// # Errors
///
/// There is no server, or it is no mock, or it does not know the user.
pub(super) async fn user(app: &App, args: &UserArgs) -> anyhow::Result<Code> {
    let action = match args.action {
        UserAction::Connect => "connect",
        UserAction::Disconnect => "disconnect",
    };
    let path = format!("users/{}/{action}", args.id);
    call(app, "POST", &path, Some(json!({}))).await
}

/// Makes one control request and prints its answer as a record.
async fn call(app: &App, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Code> {
    let client = app.mock_client()?;
    let answer = client
        .raw(method, &format!("_mock/{path}"), &[], body.as_ref())
        .await?;
    if let Some(error) = answer.error() {
        return Err(error.into());
    }
    let record: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| {
        Failure::new(Code::Refused, "what answered is no mock of presencectl")
            .hinted("start one: presencectl mock start")
    })?;
    if !record.is_empty() {
        let mut rows = app.output().row(&[])?;
        rows.push(&record)?;
        rows.finish()?;
    }
    Ok(Code::Ok)
}
