//! `wait`: blocks until a condition holds. The exit code says whether it did.
//!
//! A condition that already holds ends the wait at once. The exit code is 0 if the condition held, 124 if the time ran
//! out first, and 8 if `--timeout 0` found it false. On success the users or the channel are printed, so that a script
//! need not query them again.

pub mod channel;
mod condition;
mod user;

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;

use crate::api::retry::error_chain;
use crate::api::{ApiError, Auth, Client};
use crate::domain::time::parse_duration;
use crate::events::{WatchError, is_fatal};
use crate::exit::{Code, Failure};
use crate::json::expression::Expr;
use crate::settings::App;

/// The kind of object to wait for.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum WaitCommand {
    /// Wait until users reach a state
    User(user::WaitUserArgs),

    /// Wait until an expression is true for a channel
    Channel(channel::WaitChannelArgs),
}

/// Runs a `wait` command.
///
/// # Errors
///
/// The condition did not hold in time, does not hold now, or watching failed.
pub async fn run(app: &App, command: WaitCommand) -> anyhow::Result<Code> {
    match command {
        WaitCommand::User(args) => user::run(app, args).await,
        WaitCommand::Channel(args) => channel::run(app, args).await,
    }
}

/// Flags of all `wait` commands.
#[derive(Debug, Clone, clap::Args)]
pub struct StabilityArgs {
    /// Require the condition to hold for this long without interruption
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub stable_for: Option<Duration>,
}

/// A jq expression of `--for`, with its source for messages.
#[derive(Debug, Clone)]
pub struct ConditionExpr {
    source: String,
    expr: Arc<Expr>,
}

impl ConditionExpr {
    fn parse(source: &str) -> Result<Self, String> {
        let expr = Expr::compile(source).map_err(|failure| failure.message)?;
        Ok(Self {
            source: source.to_owned(),
            expr: Arc::new(expr),
        })
    }

    fn is_true(&self, json: &[u8]) -> Result<bool, Failure> {
        self.expr.is_true(json).map_err(|error| {
            Failure::new(
                Code::Usage,
                format!("cannot evaluate the expression of --for: {error}"),
            )
        })
    }
}

/// The pause between two requests for an object that does not exist yet or could not be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The error of a wait whose condition is not met. `reason` says what holds instead.
fn not_met(timeout: Option<Duration>, reason: &str) -> anyhow::Error {
    match timeout {
        None | Some(Duration::ZERO) => Failure::new(Code::ConditionFalse, reason),
        Some(timeout) => Failure::new(
            Code::TimedOut,
            format!(
                "timed out after {}; {reason}",
                humantime::format_duration(timeout)
            ),
        ),
    }
    .into()
}

/// Reports a temporary error and pauses. Returns any other error.
async fn wait_to_retry(app: &App, client: &Client, error: ApiError) -> anyhow::Result<()> {
    let is_minted = !matches!(client.settings().auth, Auth::Token { .. });
    let message = error_chain(&error);
    if is_fatal(&error, is_minted) {
        return Err(WatchError::Api(error).into());
    }
    app.output().warn(&format!("{message}; retrying"));
    tokio::time::sleep(RETRY_INTERVAL).await;
    Ok(())
}
