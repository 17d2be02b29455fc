//! `mock`: run the bundled mock server and control a running one.

mod applications;
mod child_process;
mod control;
mod detached;
mod endpoint;
mod env;
mod exec;
mod expect;
mod fault;
mod filters;
#[cfg(unix)]
mod group_guard;
mod junit;
mod launcher;
mod log;
mod log_lines;
mod record;
mod recording_file;
mod rules;
mod run;
mod server;
mod server_command;
mod start;
mod step_writer;
mod user;

use std::ffi::OsStr;

use clap::{Args, Subcommand};

#[cfg(unix)]
pub use self::group_guard::guard;
pub use self::launcher::{LaunchError, launch};
use super::runtime::block_on;
use crate::exit::{Code, ExitStatus};
use crate::settings::App;

/// The commands of `mock`.
#[derive(Debug, Subcommand)]
// Not deferred: flags that are added late come after the global ones on a help page.
pub enum MockCommand {
    /// Start a mock server and keep it running
    Start(start::StartArgs),
    /// Start a mock server, run a command against it, and stop the server
    Exec(exec::ExecArgs),
    /// Record the traffic between clients and a server, without secrets
    Record(record::RecordArgs),
    /// Start a mock server and run the steps of a scenario on it
    Run(run::RunArgs),
    /// Control a running mock
    #[command(flatten)]
    Running(RunningCommand),
}

/// The commands of `mock` that need a running server.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum RunningCommand {
    /// Show the state of a running mock
    Status,
    /// Check that a mock answers (exit code 0); needs no control token
    Health,
    /// List connections to a running mock and their subscriptions
    Connections,
    /// Print the variables by which SDKs find a running mock
    Env(env::EnvArgs),
    /// Stop a running mock
    Stop,
    /// Restore the initial data, clock, faults and log of a running mock
    Reset,
    /// Show recent requests and frames of a running mock
    Log(log::LogArgs),
    /// Check that a running mock got certain requests, or wait for them
    Expect(expect::ExpectArgs),
    /// Connect, disconnect or change a user of a running mock
    User(user::UserArgs),
    /// Send an event of your own to connections of a running mock
    Trigger(user::TriggerArgs),
    /// Inject faults
    #[command(subcommand)]
    Fault(fault::FaultCommand),
    /// Freeze, set, advance or speed up a running mock's clock
    #[command(subcommand)]
    Clock(control::ClockCommand),
    /// Create, list and delete isolated applications of a running mock
    #[command(subcommand)]
    App(applications::ApplicationCommand),
    /// Print the users and channels of a running mock as a fixture
    Snapshot,
    /// Replace the users and channels of a running mock with those of a fixture
    Restore(control::RestoreArgs),
}

/// `mock` with only the command of this name. `None` if the name is not that of a command with the most flags.
///
/// Three commands have all the flags of a server. Building them once instead of three times saves a fifth of a start.
pub(super) fn branch(name: &OsStr) -> Option<clap::Command> {
    let name = name.to_str()?;
    let command = clap::Command::new(name.to_owned());
    let command = match name {
        "start" => start::StartArgs::augment_args(command),
        "exec" => exec::ExecArgs::augment_args(command),
        "record" => record::RecordArgs::augment_args(command),
        "run" => run::RunArgs::augment_args(command),
        _ => return None,
    };
    let mock = clap::Command::new("mock").subcommand_required(true);
    Some(mock.subcommand(command))
}

/// Runs a command of `mock`.
///
/// # Errors
///
/// The command fails.
pub fn run(app: &App, command: MockCommand) -> anyhow::Result<ExitStatus> {
    match command {
        MockCommand::Start(args) => start::run(app, &args),
        MockCommand::Exec(args) => exec::run(app, &args).map(ExitStatus::Child),
        MockCommand::Record(args) => block_on(|| record::run(app, &args)).map(ExitStatus::Own),
        MockCommand::Run(args) => run::run(app, &args),
        MockCommand::Running(command) => {
            block_on(|| run_command(app, &command)).map(ExitStatus::Own)
        }
    }
}

async fn run_command(app: &App, command: &RunningCommand) -> anyhow::Result<Code> {
    match command {
        RunningCommand::Status => control::status(app).await,
        RunningCommand::Health => control::health(app).await,
        RunningCommand::Connections => control::connections(app).await,
        RunningCommand::Env(args) => env::run(app, args).await,
        RunningCommand::Stop => detached::stop(app).await,
        RunningCommand::Reset => control::reset(app).await,
        RunningCommand::Log(args) => log::run(app, args).await,
        RunningCommand::Expect(args) => expect::run(app, args).await,
        RunningCommand::User(args) => user::user(app, args).await,
        RunningCommand::Trigger(args) => user::trigger(app, args).await,
        RunningCommand::Fault(command) => fault::run(app, command).await,
        RunningCommand::Clock(command) => control::clock(app, command).await,
        RunningCommand::App(command) => applications::run(app, command).await,
        RunningCommand::Snapshot => control::snapshot(app).await,
        RunningCommand::Restore(args) => control::restore(app, args).await,
    }
}
