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
    let mut command = command(&root, &args.words)?.clone();
    write!(stdout, "{}", command.render_long_help())?;
    Ok(Code::Ok)
}

/// The command that these words name; `root` must have been built.
///
/// # Errors
///
/// There is none.
pub(super) fn command<'a>(
    root: &'a clap::Command,
    words: &[String],
) -> Result<&'a clap::Command, Failure> {
    words.iter().try_fold(root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let topics: Vec<_> = Topic::value_variants().iter().map(|t| t.name()).collect();
            let known = command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(clap::Command::get_name)
                .chain(topics.iter().copied());
            let hint = match nearest(word, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "presencectl --help lists the commands; topics are {}",
                    topics.join(", ")
                ),
            };
            Failure::new(
                Code::Usage,
                format!("there is no help about `{}`", word.escape_debug()),
            )
            .hinted(hint)
        })
    })
}

/// The name that a slip of the finger may have meant.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.7;
    names
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
