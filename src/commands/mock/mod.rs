//! `mock`: run the bundled server, and pull its strings. The one command that knows the server side.

mod control;
mod exec;
mod rules;
mod server;
mod start;

use clap::Subcommand;

use super::block_on;
use crate::app::App;
use crate::exit::Ended;

/// The commands of `mock`.
#[derive(Debug, Subcommand)]
pub enum MockCommand {
    /// Start a mock server and keep it running
    Start(start::StartArgs),
    /// Run a command against a mock server that lives as long as it does
    Exec(exec::ExecArgs),
    /// Show what a running mock holds
    Status,
    /// Put a running mock's world back to how it was at the start
    Reset,
    /// Stop, move or hurry a running mock's clock
    #[command(subcommand)]
    Clock(control::ClockCommand),
    /// Let a user of a running mock come or go
    User(control::UserArgs),
}

/// Runs a command of `mock`.
///
/// # Errors
///
/// Whatever the command could not do.
pub fn run(app: &App, command: MockCommand) -> anyhow::Result<Ended> {
    match command {
        MockCommand::Start(args) => start::run(app, &args).map(Ended::With),
        MockCommand::Exec(args) => exec::run(app, &args).map(Ended::Like),
        MockCommand::Status => block_on(control::status(app)).map(Ended::With),
        MockCommand::Reset => block_on(control::reset(app)).map(Ended::With),
        MockCommand::Clock(command) => block_on(control::clock(app, &command)).map(Ended::With),
        MockCommand::User(args) => block_on(control::user(app, &args)).map(Ended::With),
    }
}
