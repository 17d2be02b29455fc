//! `help TOPIC`: the help of a command, or a page about a topic that concerns several commands.
//!
//! Pages with lists build them from the program's own tables, so that they are never outdated.

use std::io::{self, Write};

use clap::ValueEnum;

use super::command_lookup;
use super::help_topics::Topic;
use crate::exit::Code;

/// The command or topic to explain.
#[derive(Debug, clap::Args)]
pub struct HelpArgs {
    /// A command or a topic
    ///
    /// The topics are options, exit-codes, environment, output, records, expressions, reports
    /// and mock.
    #[arg(value_name = "COMMAND")]
    pub words: Vec<String>,
}

/// Prints the page. `root` is the whole, built command tree.
///
/// # Errors
///
/// No command or topic has this name.
pub fn run(args: &HelpArgs, root: &clap::Command) -> anyhow::Result<Code> {
    let mut stdout = io::stdout().lock();
    if let [word] = args.words.as_slice()
        && let Ok(topic) = Topic::from_str(word, false)
    {
        stdout.write_all(topic.text().as_bytes())?;
        return Ok(Code::Ok);
    }
    let mut command = command_lookup::find(root, &args.words)?.clone();
    write!(stdout, "{}", command.render_long_help())?;
    Ok(Code::Ok)
}
