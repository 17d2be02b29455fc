//! `completions SHELL`: the script that teaches a shell our commands and flags.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Code;

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  presencectl completions bash > ~/.local/share/bash-completion/completions/presencectl
  presencectl completions zsh > ~/.zfunc/_presencectl
  presencectl completions fish > ~/.config/fish/completions/presencectl.fish")]
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
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "presencectl", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Code::Ok)
}
