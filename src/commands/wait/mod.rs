//! `wait`: end when a state is reached. Level-triggered: what is true already ends at once.
//!
//! An exit code is the answer: 0 when the state was reached, 124 when the time ran out before, 8 when `--timeout 0` asked
//! whether it holds now and it does not. What was waited for is printed, so that a script need not ask again.

pub mod channel;
mod condition;
mod user;

use std::time::Duration;

use clap::Subcommand;

use crate::api::retry::error_chain;
use crate::api::{ApiError, Auth, Client};
use crate::app::App;
use crate::domain::time::parse_duration;
use crate::events::{WatchError, is_fatal};
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

/// How soon a `wait` looks again for what does not exist yet, or could not be asked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How a `wait` without success ends: the time is up, or there was none. `what` is what did not become so.
fn not_reached(app: &App, what: &str) -> anyhow::Error {
    match app.timeout() {
        Some(Duration::ZERO) => Failure::new(
            Code::ConditionFalse,
            format!("it is not true now that {what}"),
        ),
        Some(timeout) => Failure::new(
            Code::TimedOut,
            format!(
                "the time ran out: after {} it is still not true that {what}",
                humantime::format_duration(timeout)
            ),
        ),
        None => Failure::new(
            Code::StreamLost,
            format!("the stream ended before it was true that {what}"),
        ),
    }
    .into()
}

/// An error that passes is said and waited for; one that does not is the end.
async fn endure(app: &App, client: &Client, error: ApiError) -> anyhow::Result<()> {
    let minted = !matches!(client.settings().auth, Auth::Token { .. });
    let trouble = error_chain(&error);
    let error = WatchError::Api(error);
    if is_fatal(&error, minted) {
        return Err(error.into());
    }
    app.output().warn(&format!("{trouble}; asking again"));
    tokio::time::sleep(LOOK_AGAIN).await;
    Ok(())
}
