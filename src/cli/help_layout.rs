//! The layout of help pages: what `-h` and `--help` show for each command, and in which order.
//!
//! `-h` fits on one screen: the command's own flags, a few examples, and one line that points to the global flags.
//! `--help` is complete. The layout is applied to the command tree that clap's derive macros build.

use clap::Command;
use clap::builder::StyledStr;

use crate::commands;

/// The most examples that `-h` shows.
const SHORT_EXAMPLES_MAX: usize = 3;
/// What `-h` shows instead of the global flags.
const GLOBAL_OPTIONS_POINTER: &str = "Global options: presencectl help options";
/// The examples on the first page.
const ROOT_EXAMPLES: &str = "\
Examples:
  presencectl --mock watch channel my-conversation-123     try it without an account
  presencectl query-users --online                         see who is online
  presencectl set-user john --status 'At lunch' --for 1h   set a status for an hour
  presencectl wait user john --for online --timeout 5m     block until john is online
  presencectl doctor                                       find out why nothing works";

/// Builds the whole tree and lays out its help.
pub(super) fn lay_out(mut root: Command) -> Command {
    let listed = root.clone();
    root.build();
    let root = describe_group(root.mut_subcommands(|command| describe(command, &listed)));
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}{{after-help}}",
        command_groups(&root)
    );
    shorten(root)
        .override_usage("presencectl [OPTIONS] COMMAND")
        .help_template(template)
        .after_help(format!("{ROOT_EXAMPLES}\n\n{GLOBAL_OPTIONS_POINTER}"))
        .after_long_help(format!(
            "{ROOT_EXAMPLES}\n\nExit codes: presencectl help exit-codes"
        ))
}

/// Gives the subcommands of each command the descriptions that they have in the list of them.
pub(super) fn describe_group(mut root: Command) -> Command {
    root.build();
    root.mut_subcommands(
        |command| match commands::branch(command.get_name().as_ref()) {
            Some(group) => command.mut_subcommands(|sub| describe(sub, &group)),
            None => command,
        },
    )
}

/// The commands with their descriptions, in groups.
fn command_groups(root: &Command) -> String {
    let mut text = String::new();
    for (heading, names) in commands::groups() {
        text.extend([heading, ":\n"]);
        for name in names {
            let about = root.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            text.extend([format!("  {name:<16} {about}\n")]);
        }
        text.push('\n');
    }
    text
}

/// Gives a command the description that it has in the list of commands.
///
/// The derive macros take it from the doc comment of the struct that holds the flags, once the flags are added.
fn describe(command: Command, listed: &Command) -> Command {
    let listed = listed.find_subcommand(command.get_name());
    match listed.and_then(Command::get_about).cloned() {
        Some(about) => command.about(about).long_about(None::<&str>),
        None => command,
    }
}

/// Leaves out of `-h` what only `--help` has room for.
fn shorten(command: Command) -> Command {
    let notes = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    let examples = notes.split_once("Examples:\n").map(|(_, lines)| lines);
    let mut short = String::new();
    if let Some(examples) = examples {
        short.push_str("Examples:\n");
        let lines = examples.lines().take_while(|line| line.starts_with("  "));
        for line in lines.take(SHORT_EXAMPLES_MAX) {
            short.push_str(line);
            short.push('\n');
        }
        short.push('\n');
    }
    short.push_str(GLOBAL_OPTIONS_POINTER);
    let command = name_both_ways(command);
    let command = match notes.is_empty() {
        true => command,
        false => command.after_long_help(unwrap_lines(&notes)),
    };
    command
        .after_help(short)
        .mut_args(|argument| {
            let is_version = argument.get_id() == "version";
            let is_hidden = is_version || argument.is_hide_short_help_set();
            argument.hide_short_help(is_hidden)
        })
        .mut_subcommands(shorten)
}

/// Shows in the usage that users are named by id or with `--in`.
fn name_both_ways(mut command: Command) -> Command {
    let takes = |id: &str| {
        command
            .get_arguments()
            .any(|argument| argument.get_id() == id)
    };
    if !takes("ids") || !takes("in_list") {
        return command;
    }
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    command.override_usage(usage.replace("[ID]...", "<ID>...|--in <LIST>"))
}

/// Joins the lines of each paragraph, because the sources wrap at another width than the terminal. Lines that are
/// indented or aligned in columns stay as they are.
fn unwrap_lines(text: &str) -> StyledStr {
    let mut unwrapped = String::new();
    let is_prose = |line: &str| !line.is_empty() && !line.contains("  ");
    let mut after_prose = false;
    for line in text.lines() {
        if after_prose && is_prose(line) && !line.ends_with(':') {
            unwrapped.push(' ');
        } else if !unwrapped.is_empty() {
            unwrapped.push('\n');
        }
        unwrapped.push_str(line);
        after_prose = is_prose(line) && !line.ends_with(':');
    }
    unwrapped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prose_is_joined() {
        let text = "One sentence that\ngoes on. Another.\n\nconnect  opens\ndrop     cuts\n\nExamples:\n  a b\n  c";
        let joined = "One sentence that goes on. Another.\n\nconnect  opens\ndrop     cuts\n\nExamples:\n  a b\n  c";
        assert_eq!(unwrap_lines(text).to_string(), joined);
    }
}
