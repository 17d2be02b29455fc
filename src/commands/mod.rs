//! The command tree: one file per command, each with its flags and one function. This module only dispatches.

pub mod completions;
pub mod help;
pub mod profile;
pub mod token;

use anyhow::Context;
use clap::Subcommand;
use tokio::runtime;

use crate::app::App;
use crate::exit::Code;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, read and check user tokens
    #[command(subcommand)]
    Token(token::TokenCommand),

    /// Keep applications and where their secrets are, by name
    #[command(subcommand)]
    Profile(profile::ProfileCommand),

    /// Print a shell's completion script
    Completions(completions::CompletionsArgs),

    /// Explain a command, or a topic such as exit-codes or records
    Help(help::HelpArgs),
}

/// Runs a command to its exit code.
///
/// # Errors
///
/// Whatever the command could not do; [`exit`](crate::exit) knows the code.
pub fn run(app: &App, command: Command) -> anyhow::Result<Code> {
    match command {
        Command::Token(command) => block_on(token::run(app, &command)),
        Command::Profile(command) => profile::run(app, command),
        Command::Completions(args) => completions::run(&args),
        Command::Help(args) => help::run(&args),
    }
}

/// Runs one command's future on this thread: one connection needs no pool of threads, and starting one costs more
/// than most commands do.
fn block_on(future: impl Future<Output = anyhow::Result<Code>>) -> anyhow::Result<Code> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(future)
}
