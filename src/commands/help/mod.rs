//! `help TOPIC`: the help of a command, or a page about what all commands share.
//!
//! Pages that list something take it from where the program has it, so that they cannot go stale.

mod topics;

use std::io::{self, Write};

use clap::{CommandFactory, ValueEnum};

use crate::cli::Cli;
use crate::exit::{Code, Failure};

pub use topics::Topic;

/// Flags of `help`.
#[derive(Debug, clap::Args)]
pub struct HelpArgs {
    /// A command, or one of: exit-codes, environment, output, records, expressions, mock
    #[arg(value_name = "COMMAND|TOPIC")]
    pub words: Vec<String>,
}

/// Prints the page.
///
/// # Errors
///
/// There is no such command or topic.
pub fn run(args: &HelpArgs) -> anyhow::Result<Code> {
    let mut stdout = io::stdout().lock();
    if let [word] = args.words.as_slice()
        && let Ok(topic) = Topic::from_str(word, false)
    {
        stdout.write_all(topic.text().as_bytes())?;
        return Ok(Code::Ok);
    }
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for word in &args.words {
        let Some(found) = command.find_subcommand_mut(word) else {
            let topics: Vec<_> = Topic::value_variants().iter().map(|t| t.name()).collect();
            return Err(Failure::new(
                Code::Usage,
                format!("there is no help about `{}`", word.escape_debug()),
            )
            .hinted(format!(
                "presencectl --help lists the commands; topics are {}",
                topics.join(", ")
            ))
            .into());
        };
        command = found;
    }
    write!(stdout, "{}", command.render_long_help())?;
    Ok(Code::Ok)
}
