//! `wait`: end when a state is reached. Level-triggered: what is true already ends at once.
//!
//! An exit code is the answer: 0 when the state was reached, 124 when the time ran out before, 8 when `--timeout 0` asked
//! whether it holds now and it does not. What was waited for is printed, so that a script need not ask again.

pub mod channel;
mod user;
mod vigil;

use std::time::Duration;

use clap::Subcommand;

use crate::app::App;
use crate::domain::time::parse_duration;
use crate::exit::{Code, Failure};

/// What to wait for.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum WaitCommand {
    /// Wait until users are in a state
    User(user::WaitUserArgs),

    /// Wait until something is true of a channel
    Channel(channel::WaitChannelArgs),
}

/// Runs a `wait`.
///
/// # Errors
///
/// The state was not reached in time, is false now, or watching for it failed.
pub async fn run(app: &App, command: WaitCommand) -> anyhow::Result<Code> {
    match command {
        WaitCommand::User(args) => user::run(app, args).await,
        WaitCommand::Channel(args) => channel::run(app, args).await,
    }
}

/// Flags of every `wait`.
#[derive(Debug, Clone, clap::Args)]
pub struct PatienceArgs {
    /// Want the state to hold for this long without a break
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub stable_for: Option<Duration>,
}

/// How a `wait` without success ends: the time is up, or there was none.
fn not_reached(app: &App, what: &str) -> anyhow::Error {
    match app.global().timeout {
        Some(Duration::ZERO) => Failure::new(Code::ConditionFalse, format!("not now: {what}")),
        Some(timeout) => Failure::new(
            Code::TimedOut,
            format!(
                "the time ran out after {} before {what}",
                humantime::format_duration(timeout)
            ),
        ),
        None => Failure::new(Code::StreamLost, format!("the stream ended before {what}")),
    }
    .into()
}
