//! `mock`: run the bundled server. The one command that knows the server side.

mod start;

use clap::Subcommand;

use crate::app::App;
use crate::exit::Code;

/// The commands of `mock`.
#[derive(Debug, Subcommand)]
pub enum MockCommand {
    /// Start a mock server and keep it running
    Start(start::StartArgs),
}

/// Runs a command of `mock`.
///
/// # Errors
///
/// Whatever the command could not do.
pub fn run(app: &App, command: MockCommand) -> anyhow::Result<Code> {
    match command {
        MockCommand::Start(args) => start::run(app, &args),
    }
}
