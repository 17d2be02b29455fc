//! Finds a command by its name on the command line, for `help` and `man`.

use clap::ValueEnum;

use super::help_topics::Topic;
use crate::escape;
use crate::exit::{Code, Failure};

/// Finds the command that these words name. `root` must have been built.
///
/// # Errors
///
/// No command has this name. The hint names the nearest one.
pub(super) fn find<'a>(
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
                format!(
                    "there is no command or help topic `{}`",
                    escape::quote(word)
                ),
            )
            .hinted(hint)
        })
    })
}

/// The name that was probably meant by a misspelt one.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILARITY_MIN: f64 = 0.7;
    names
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(alike, _)| *alike >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
