//! `completions SHELL`: prints a completion script, and answers the requests of such scripts.
//!
//! A script runs the program with `PRESENCECTL_COMPLETE` in the environment to ask for candidates. Candidates are
//! computed at that moment, so the script never becomes outdated, and they include profiles and the ids of the last
//! query. In all other runs, this costs one look at the environment.

mod shells;
mod values;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap_complete::{CompleteEnv, Shell};

use crate::exit::Code;
use shells::SHELLS;

/// The variable that asks for completion candidates. Its value is the name of the shell.
const COMPLETE_VARIABLE: &str = "PRESENCECTL_COMPLETE";
/// The program that completion scripts call.
const PROGRAM: &str = "presencectl";

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  presencectl completions bash > ~/.local/share/bash-completion/completions/presencectl
  presencectl completions zsh > ~/.zfunc/_presencectl
  presencectl completions fish > ~/.config/fish/completions/presencectl.fish
  eval \"$(presencectl completions bash)\"

User ids and channels are completed from the last query that was run on a terminal.")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
///
/// stdout cannot be written.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<Code> {
    let name = args.shell.to_string();
    let shell = SHELLS
        .completer(&name)
        .with_context(|| format!("there is no script for {name}"))?;
    let mut script = Vec::new();
    shell.write_registration(COMPLETE_VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    let text = String::from_utf8_lossy(&script);
    writeln!(io::stdout().lock(), "{}", text.trim())?;
    Ok(Code::Ok)
}

/// Answers a completion request, if this run is one. `tree` builds the command tree for the words of a line.
pub fn answer(arguments: &[OsString], tree: fn(&[OsString]) -> clap::Command) -> Option<ExitCode> {
    env::var_os(COMPLETE_VARIABLE)?;
    let current = arguments.last().cloned().unwrap_or_default();
    // The words follow `--`.
    let words = arguments.get(2..).unwrap_or_default();
    let answered = CompleteEnv::with_factory(|| values::add_candidates(tree(words), &current))
        .var(COMPLETE_VARIABLE)
        .shells(SHELLS)
        .try_complete(arguments, env::current_dir().ok().as_deref());
    match answered {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(error) => {
            // If stderr is closed, there is nowhere to report it.
            let _ = error.print();
            Some(ExitCode::from(Code::Unexpected.number()))
        }
    }
}
