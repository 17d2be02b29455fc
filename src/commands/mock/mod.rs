//! `mock`: run the bundled server, and pull its strings. The one command that knows the server side.

mod control;
mod exec;
mod fault;
mod log;
mod rules;
mod server;
mod start;
mod user;

use clap::Subcommand;

use super::runtime::block_on;
use crate::app::App;
use crate::exit::{Code, ExitStatus};

/// The commands of `mock`.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum MockCommand {
    /// Start a mock server and keep it running
    Start(start::StartArgs),
    /// Run a command against a mock server that lives as long as it does
    Exec(exec::ExecArgs),
    /// The strings of a running server
    #[command(flatten)]
    Running(RunningCommand),
}

/// The commands of `mock` that need a running server.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum RunningCommand {
    /// Show what a running mock holds
    Status,
    /// List who is connected to a running mock, and what each connection hears
    Connections,
    /// End a running mock
    Stop,
    /// Put a running mock back to how it was at the start: world, clock, faults and log
    Reset,
    /// Show what has happened on a running mock's wire
    Log(log::LogArgs),
    /// Let a user of a running mock come, go or change
    User(user::UserArgs),
    /// Send an event that nothing has caused
    Trigger(user::TriggerArgs),
    /// Let things go wrong
    #[command(subcommand)]
    Fault(fault::FaultCommand),
    /// Stop, move or hurry a running mock's clock
    #[command(subcommand)]
    Clock(control::ClockCommand),
    /// Print a running mock's world as a fixture
    Snapshot,
    /// Put a fixture in the place of a running mock's world
    Restore(control::RestoreArgs),
}

/// Runs a command of `mock`.
///
/// # Errors
///
/// Whatever the command could not do.
pub fn run(app: &App, command: MockCommand) -> anyhow::Result<ExitStatus> {
    match command {
        MockCommand::Start(args) => start::run(app, &args).map(ExitStatus::Own),
        MockCommand::Exec(args) => exec::run(app, &args).map(ExitStatus::Child),
        MockCommand::Running(command) => block_on(|| pull(app, &command)).map(ExitStatus::Own),
    }
}

async fn pull(app: &App, command: &RunningCommand) -> anyhow::Result<Code> {
    match command {
        RunningCommand::Status => control::status(app).await,
        RunningCommand::Connections => control::connections(app).await,
        RunningCommand::Stop => control::stop(app).await,
        RunningCommand::Reset => control::reset(app).await,
        RunningCommand::Log(args) => log::run(app, args).await,
        RunningCommand::User(args) => user::user(app, args).await,
        RunningCommand::Trigger(args) => user::trigger(app, args).await,
        RunningCommand::Fault(command) => fault::run(app, command).await,
        RunningCommand::Clock(command) => control::clock(app, command).await,
        RunningCommand::Snapshot => control::snapshot(app).await,
        RunningCommand::Restore(args) => control::restore(app, args).await,
    }
}
