//! The command line: global flags, the command tree, and the function that `main` calls to get an exit code.
//!
//! [`App`] resolves the flags together with the environment, the profile and the terminal. No command reads the
//! environment itself.

mod help_layout;

use std::ffi::OsString;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::args::{FormatArg, GlobalArgs, ServiceFlags};
use crate::commands;
use crate::environment::{self, read_variable_of};
use crate::error_to_exit::ErrorReport;
use crate::escape;
use crate::exit::Code;
use crate::settings::App;

/// The version, with the commit of the build if it is known.
pub const VERSION: &str = match option_env!("PRESENCECTL_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// See, set, stream and test user presence on Stream Chat
#[derive(Debug, Parser)]
#[command(
    name = "presencectl",
    version = VERSION,
    propagate_version = true,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: commands::Command,
}

/// How the parser calls the users of a command.
const USERS: &str = "<ID>...";

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(launch) = commands::mock::launch(&arguments) {
        return report(&ErrorReport::of(&launch.error), launch.as_json);
    }
    #[cfg(unix)]
    if commands::mock::guard(&arguments) {
        return ExitCode::SUCCESS;
    }
    if let Some(code) = commands::completions::answer(&arguments, tree_for_completion) {
        return code;
    }
    if arguments.len() <= 1 {
        // The reader closed the pipe and needs no more output.
        let _ = write!(io::stdout().lock(), "{}", first_page());
        return ExitCode::SUCCESS;
    }
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    let json = matches!(cli.global.output, FormatArg::Json | FormatArg::Ndjson);
    let service = ServiceFlags::of(&cli.global);
    let outcome = App::resolve(cli.global).and_then(|app| commands::run(&app, cli.command, tree));
    match outcome {
        Ok(ended) => ExitCode::from(ended.number()),
        Err(error) => {
            let mut failed = ErrorReport::of(&error);
            failed.hint = failed.hint.map(|hint| service.complete(&hint));
            report(&failed, json)
        }
    }
}

/// The whole command tree, with its help texts as they are printed.
pub fn tree() -> clap::Command {
    help_layout::lay_out(Cli::command().mut_args(read_variable_of))
}

/// The command tree to complete a word with. `words` are those of the line, from the program's name to the one to complete.
///
/// Building all commands takes longer than everything else that a completion does. So if the first word names a command,
/// the tree has only that one.
fn tree_for_completion(words: &[OsString]) -> clap::Command {
    let named = match words {
        // These two complete the names of the others.
        [_, first, _, ..] if first != "help" && first != "man" => commands::branch(first),
        _ => None,
    };
    let Some(named) = named else { return tree() };
    // For the sake of its flag.
    let one = tree_of_one(named).version(VERSION).propagate_version(true);
    help_layout::describe_group(one)
}

/// The global flags and one command.
fn tree_of_one(named: clap::Command) -> clap::Command {
    GlobalArgs::augment_args(clap::Command::new("presencectl"))
        .mut_args(read_variable_of)
        .disable_help_subcommand(true)
        .subcommand(named)
}

/// The page that is shown without a command.
fn first_page() -> StyledStr {
    tree().render_help()
}

/// Parses the command line.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    if let Some(named) = named_command(arguments) {
        // Not dropped: the process is short, and dropping the tree takes time.
        let mut one = ManuallyDrop::new(tree_of_one(named));
        if let Ok(cli) = parse_with(&mut one, arguments) {
            return Ok(cli);
        }
    }
    parse_with(&mut tree(), arguments)
}

/// The command that a command line names. To parse a valid line, the definition of this command is enough.
///
/// The parser copies the global flags into each command. For forty commands this takes more time and memory than most
/// calls. All commands are needed only for a line without a command, for errors and for help.
fn named_command(arguments: &[OsString]) -> Option<clap::Command> {
    // The word may be the value of a flag. Then the small tree does not parse what follows.
    (1..arguments.len()).find_map(|at| {
        let next = arguments.get(at + 1).map(OsString::as_os_str);
        commands::branch_before(&arguments[at], next)
    })
}

fn parse_with(tree: &mut clap::Command, arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut matches = tree.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// A better error for a flag whose value starts with a dash. The parser advises to write `--` before the value, but
/// then the flag would have no value.
fn dashed_value(
    error: &clap::Error,
    arguments: &[OsString],
    root: &clap::Command,
) -> Option<clap::Error> {
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let words: Vec<_> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let (flag, word, argument) = words.windows(2).find_map(|pair| {
        let (flag, word) = (pair[0], pair[1]);
        let is_it = word.starts_with('-') && word.starts_with(unknown.as_str());
        let argument = is_it.then(|| valued(root, flag))??;
        Some((flag, word, argument))
    })?;
    let names = argument.get_value_names().unwrap_or_default();
    let counts = matches!(names, [name] if ["N", "DUR"].contains(&name.as_str()));
    let negative = word.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    let message = match (counts, negative) {
        (true, true) => format!("invalid value '{word}' for '{flag}': it cannot be negative"),
        (true, false) => return None,
        (false, _) => {
            let equals = if flag.starts_with("--") { "=" } else { "" };
            format!(
                "unexpected argument '{unknown}' found\n\n  tip: to pass '{word}' as the value of '{flag}', use '{flag}{equals}{word}'"
            )
        }
    };
    Some(clap::Error::raw(
        error.kind(),
        format!("{message}\n\nFor more information, try '--help'.\n"),
    ))
}

/// A better error for `mock exec` with a command but without `--`.
fn missing_dashes(error: &clap::Error, arguments: &[OsString]) -> Option<clap::Error> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let is_exec = arguments
        .windows(2)
        .any(|pair| pair[0] == "mock" && pair[1] == "exec");
    if !is_exec || word.starts_with('-') || error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    Some(clap::Error::raw(
        error.kind(),
        format!(
            "unexpected argument '{word}' found\n\n  tip: write -- before the command: \
             presencectl mock exec [OPTIONS] -- {word}\n\nFor more information, try '--help'.\n"
        ),
    ))
}

/// A better error for a command without users: `--in` names them, too.
fn missing_users(error: &clap::Error, arguments: &[OsString]) -> Option<clap::Error> {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    if error.kind() != ErrorKind::MissingRequiredArgument || !missing.contains(&USERS.to_owned()) {
        return None;
    }
    let words: Vec<_> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let tree = tree();
    let takes_list = |command: &clap::Command| {
        command
            .get_arguments()
            .any(|argument| argument.get_long() == Some("in"))
    };
    let named = |command: &clap::Command| words.contains(&command.get_name());
    let is_it = tree
        .get_subcommands()
        .filter(|command| named(command))
        .any(|command| {
            takes_list(command)
                || command
                    .get_subcommands()
                    .any(|command| named(command) && takes_list(command))
        });
    is_it.then(|| {
        clap::Error::raw(
            error.kind(),
            "users are missing\n\n  tip: name them by id, or with --in LIST\n\nFor more information, try '--help'.\n",
        )
    })
}

/// A better error for a value that was not typed but comes from the variable of a flag.
fn invalid_variable(error: &clap::Error, arguments: &[OsString]) -> Option<clap::Error> {
    let (Some(ContextValue::String(flag)), Some(ContextValue::String(value))) = (
        error.get(ContextKind::InvalidArg),
        error.get(ContextKind::InvalidValue),
    ) else {
        return None;
    };
    let long = flag.strip_prefix("--")?.split(' ').next()?;
    let tree = GlobalArgs::augment_args(clap::Command::new("presencectl"));
    let variable = tree
        .get_arguments()
        .find(|argument| argument.get_long() == Some(long))?
        .get_env()?
        .to_str()?;
    let was_typed = arguments
        .iter()
        .filter_map(|word| word.to_str())
        .any(|word| word.ends_with(value.as_str()));
    if was_typed || environment::variable(variable).as_deref() != Some(value) {
        return None;
    }
    let text = error.to_string();
    let text = text.trim_start_matches("error: ");
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    Some(clap::Error::raw(
        error.kind(),
        format!("{first} (from the variable {variable})\n{rest}"),
    ))
}

/// The flag with this spelling, of this command or a subcommand, that takes a value.
fn valued<'a>(command: &'a clap::Command, flag: &str) -> Option<&'a clap::Arg> {
    let is_it = |argument: &&clap::Arg| {
        let written = match flag.strip_prefix("--") {
            Some(long) => argument.get_long() == Some(long),
            None => flag.strip_prefix('-').is_some_and(|short| {
                argument.get_short().map(String::from).as_deref() == Some(short)
            }),
        };
        // A flag with an optional value accepts it only in the same word.
        written && argument.get_action().takes_values() && !argument.is_require_equals_set()
    };
    let mut below = command.get_subcommands();
    command
        .get_arguments()
        .find(is_it)
        .or_else(|| below.find_map(|command| valued(command, flag)))
}

/// Prints clap's text for help, version and usage errors.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let instead = dashed_value(error, arguments, &tree())
        .or_else(|| missing_dashes(error, arguments))
        .or_else(|| missing_users(error, arguments))
        .or_else(|| invalid_variable(error, arguments))
        .or_else(|| other_name(error, arguments));
    let error = instead.as_ref().unwrap_or(error);
    if error.use_stderr() && asks_for_json(arguments) {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        let tip = text.lines().find_map(|line| line.strip_prefix("  tip: "));
        return report(
            &ErrorReport {
                kind: Code::Usage.kind(),
                message: message.trim_start_matches("error: ").to_owned(),
                exit_code: Code::Usage.number(),
                api_code: None,
                hint: tip.map(str::to_owned),
            },
            true,
        );
    }
    // The reader closed the pipe and needs no more of the help.
    let _ = match safe_text(error) {
        Some(text) => io::stderr().write_all(text.as_bytes()),
        None => error.print(),
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Code::Usage.number()))
}

/// What people type who know another tool, with what it is called here.
const OTHER_NAMES: [(&str, &str); 23] = [
    ("users", "presencectl query-users"),
    ("user", "presencectl get-user ID"),
    ("channels", "presencectl query-channels"),
    ("channel", "presencectl get-channel CID"),
    ("online", "presencectl query-users --online"),
    (
        "list",
        "presencectl query-users, presencectl query-channels",
    ),
    (
        "get",
        "presencectl get-user ID, presencectl get-channel CID",
    ),
    ("set", "presencectl set-user ID --status TEXT"),
    ("status", "presencectl get-user ID, presencectl doctor"),
    ("login", "presencectl profile add"),
    ("auth", "presencectl profile add"),
    ("logout", "presencectl profile remove NAME"),
    ("init", "presencectl profile add"),
    (
        "config",
        "presencectl profile list, presencectl help environment",
    ),
    ("profiles", "presencectl profile list"),
    ("version", "presencectl --version"),
    ("serve", "presencectl mock start"),
    ("start", "presencectl mock start"),
    ("--json", "-o json, or -o ndjson"),
    (
        "--api-key",
        "the variable STREAM_API_KEY, or presencectl profile add NAME --api-key KEY",
    ),
    (
        "--secret",
        "the variable STREAM_API_SECRET, or presencectl profile add; a secret is never an argument",
    ),
    (
        "--api-secret",
        "the variable STREAM_API_SECRET, or presencectl profile add; a secret is never an argument",
    ),
    (
        "--token",
        "the variable PRESENCECTL_USER_TOKEN; a token is never an argument",
    ),
];

/// What to type instead of a command or flag that other tools have, or of an id where `watch` and `wait` expect a kind.
fn other_name(error: &clap::Error, arguments: &[OsString]) -> Option<clap::Error> {
    let found = error.get(ContextKind::InvalidSubcommand);
    let Some(ContextValue::String(unknown)) = found.or_else(|| error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let words: Vec<_> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let parent = words
        .windows(2)
        .find(|pair| pair[1] == unknown)
        .map(|pair| pair[0]);
    let instead = match (error.kind(), parent) {
        (ErrorKind::InvalidSubcommand, Some("watch")) => {
            format!("presencectl watch users {unknown}, or presencectl watch channel {unknown}")
        }
        (ErrorKind::InvalidSubcommand, Some("wait")) => {
            format!("presencectl wait user {unknown} --for online")
        }
        (ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument, _) => {
            let known = OTHER_NAMES.iter().find(|(name, _)| name == unknown)?;
            known.1.to_owned()
        }
        _ => return None,
    };
    let what = match error.kind() {
        ErrorKind::InvalidSubcommand => "unrecognized subcommand",
        _ => "unexpected argument",
    };
    Some(clap::Error::raw(
        error.kind(),
        format!(
            "{what} '{unknown}'\n\n  tip: use {instead}\n\nFor more information, try '--help'.\n"
        ),
    ))
}

/// The text of an error that repeats arguments with control characters, escaped. `None` for other errors, which clap
/// prints in colour.
fn safe_text(error: &clap::Error) -> Option<String> {
    if !error.use_stderr() {
        return None;
    }
    let text = error.to_string();
    let safe: String = text
        .lines()
        .map(|line| escape::message(line) + "\n")
        .collect();
    (safe.trim_end() != text.trim_end()).then_some(safe)
}

/// Whether `-o json` or `-o ndjson` was given, on a command line that clap cannot parse.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let words: Vec<_> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let value = |text: &str| matches!(text, "json" | "ndjson");
    words.iter().any(|word| {
        word.strip_prefix("--output=")
            .or_else(|| word.strip_prefix("-o"))
            .is_some_and(value)
    }) || words
        .windows(2)
        .any(|pair| matches!(pair[0], "-o" | "--output") && value(pair[1]))
}

/// Reports an error, as text or as a JSON object. A closed pipe is not reported.
fn report(report: &ErrorReport, json: bool) -> ExitCode {
    if report.exit_code != Code::Ok.number() {
        let mut stderr = io::stderr().lock();
        // If stderr is closed, there is nowhere to report it.
        let _ = match (json, serde_json::to_string(report)) {
            (true, Ok(json)) => writeln!(stderr, "{{\"error\":{}}}", escape::escape_json(&json)),
            (true, Err(_)) | (false, _) => write!(stderr, "{report}"),
        };
    }
    ExitCode::from(report.exit_code)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::LazyLock;

    use rand::Rng;
    use rand::seq::IndexedRandom;

    use super::*;
    use crate::fuzz::FuzzTarget;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_tree_of_one_command_reads_what_the_whole_tree_reads() {
        for (line, read) in [
            ("presencectl query-users --in john,jack -o ndjson", true),
            ("presencectl -o json --timeout 5s get-user amy -q", true),
            ("presencectl --as watch get-user amy", false),
            ("presencectl mock start --port 7 -q", true),
            ("presencectl mock -q start --idle-timeout 5s", true),
            ("presencectl -q mock exec --port 7 -- mock start", true),
            ("presencectl mock run a.yaml --frame-limit 2000", true),
            ("presencectl mock record --to-fixture run", true),
            ("presencectl mock log --path start", true),
            ("presencectl mock start --nonsense", false),
            ("presencectl mock", false),
            (
                "presencectl --mock watch channel fun -n 3 --jq .user.id",
                true,
            ),
            ("presencectl get-user watch", true),
            ("presencectl help exit-codes", true),
            ("presencectl get-user", false),
            ("presencectl get-user --version", false),
            ("presencectl get-user -q -v amy", false),
            ("presencectl nonsense get-user amy", false),
            ("presencectl watch", false),
            ("presencectl", false),
            ("presencectl --help", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let small = named_command(&words)
                .and_then(|named| parse_with(&mut tree_of_one(named), &words).ok());
            assert_eq!(small.is_some(), read, "{line}");
            if let Some(small) = small {
                let whole = Cli::try_parse_from(&words).unwrap();
                assert_eq!(format!("{small:?}"), format!("{whole:?}"), "{line}");
            }
        }
    }

    #[test]
    fn a_value_that_starts_with_a_dash_gets_a_hint() {
        let message = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let error = Cli::try_parse_from(&words).unwrap_err();
            dashed_value(&error, &words, &tree()).map(|error| error.to_string())
        };
        for (line, expected) in [
            ("presencectl watch users a -n -1", "value '-1' for '-n'"),
            (
                "presencectl watch users a --timeout -5s",
                "value '-5s' for '--timeout'",
            ),
            (
                "presencectl query-users --offset -3 --retry 2",
                "value '-3' for '--offset'",
            ),
            ("presencectl set-user a --status -x", "use '--status=-x'"),
            ("presencectl api GET users -q -p -x", "use '-p-x'"),
        ] {
            let message = message(line).unwrap();
            assert!(message.contains(expected), "{line}: {message}");
            assert!(!message.contains("-- "), "{line}: {message}");
        }
        for line in [
            "presencectl get-user -q -1",
            "presencectl get-user -1",
            "presencectl watch users a -n --nope",
        ] {
            assert_eq!(
                message(line),
                None,
                "{line}: the parser's own words are right"
            );
        }
    }

    /// Every command with its full name, the root left out.
    fn all_commands() -> Vec<(String, clap::Command)> {
        fn walk(command: &clap::Command, name: &str, all: &mut Vec<(String, clap::Command)>) {
            for sub in command.get_subcommands() {
                let name = format!("{name} {}", sub.get_name());
                walk(sub, &name, all);
                all.push((name, sub.clone()));
            }
        }
        let mut all = Vec::new();
        walk(&tree(), "presencectl", &mut all);
        all
    }

    /// Fails with all violations at once.
    fn none(violations: &[String]) {
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }

    #[test]
    fn every_command_has_a_description_of_its_own() {
        let mut seen = std::collections::HashMap::new();
        let mut violations = Vec::new();
        for (name, command) in all_commands() {
            let about = command.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            let of_struct = ["Flags of", "Arguments of", "The commands of", "What to"];
            if about.is_empty() || of_struct.iter().any(|start| about.starts_with(start)) {
                violations.push(format!("{name} has no description: {about}"));
            }
            if about.chars().count() > 80 || about.ends_with('.') {
                violations.push(format!("{name}: a sentence of at most 80 letters: {about}"));
            }
            if let Some(other) = seen.insert(about.clone(), name.clone()) {
                violations.push(format!("{name} and {other} share a description: {about}"));
            }
            let page = command.clone().render_help().to_string();
            if !page.starts_with(&about) {
                violations.push(format!("{name} -h does not begin with: {about}"));
            }
        }
        none(&violations);
    }

    #[test]
    fn every_flag_has_a_short_help_and_a_value_with_a_type() {
        const TYPES: &[&str] = &[
            "BOOL",
            "CID",
            "CODE",
            "COMMAND",
            "DIR",
            "ADDR",
            "DUR",
            "DUR|TIME",
            "DUR|never",
            "EXPR",
            "FIELD",
            "FIELDS",
            "FILE",
            "FIXTURE",
            "GLOB",
            "I/N|env",
            "ID",
            "JSON",
            "K",
            "K=JSON",
            "K=TEXT",
            "KEY",
            "LIST",
            "METHOD",
            "N",
            "NAME",
            "NAME=TEXT",
            "NAME=VALUE",
            "NUMBER",
            "PATH",
            "PORT",
            "RATE",
            "ROLE",
            "SECONDS",
            "SIZE",
            "STATE",
            "TEAM",
            "TEXT",
            "TIME",
            "TOKEN",
            "TYPE",
            "URL",
            "USER",
            "VARIABLE",
            "N/DUR",
            "ZONE",
            "RATIO",
            "off|service|N",
        ];
        let mut violations = std::collections::BTreeSet::new();
        for (name, command) in all_commands() {
            for argument in command.get_arguments() {
                let id = argument.get_id();
                let name = if argument.is_global_set() { "" } else { &name };
                let help = argument.get_help().map(ToString::to_string);
                let help = help.unwrap_or_default();
                let is_long = help.chars().count() > 80 && !argument.is_hide_short_help_set();
                if help.is_empty() || is_long {
                    violations.insert(format!("{name} {id}: help of at most 80 letters: {help}"));
                }
                let values = argument.get_value_names().unwrap_or_default();
                // Where the values are listed, their names need not say more.
                let takes_value = argument.get_action().takes_values()
                    && argument.get_possible_values().is_empty();
                for value in values.iter().filter(|_| takes_value) {
                    let is_choice = value.contains('|') && value.to_lowercase() == **value;
                    if !(TYPES.contains(&value.as_str()) || is_choice) {
                        violations.insert(format!("{name} {id}: <{value}> is no type"));
                    }
                }
            }
        }
        none(&violations.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn short_help_fits_and_long_help_ends_with_the_global_flags() {
        let mut violations = Vec::new();
        for (name, mut command) in all_commands() {
            let short = command.render_help().to_string();
            if short.lines().count() > 40 {
                let lines = short.lines().count();
                violations.push(format!("{name} -h has {lines} lines:\n{short}"));
            }
            if short.contains("--connect-timeout") || !short.contains("presencectl help options") {
                violations.push(format!("{name} -h shows global flags"));
            }
            let long = command.render_long_help().to_string();
            let global = long.find("Global options:\n").unwrap_or_default();
            let own = [
                "\nOptions:\n",
                "\nStream options:\n",
                "\nRules of the service:\n",
            ];
            let last_heading = own.iter().filter_map(|heading| long.find(heading)).max();
            if last_heading > Some(global) || !long[global..].contains("--connect-timeout") {
                violations.push(format!("{name} --help does not show the global flags last"));
            }
            for line in long
                .lines()
                .filter(|line| line.starts_with("  presencectl"))
            {
                if line.chars().count() > 98 {
                    violations.push(format!("{name}: an example of at most 98 letters: {line}"));
                }
            }
            let notes = command.get_after_long_help().map(ToString::to_string);
            for line in notes.unwrap_or_default().lines() {
                let is_example =
                    line.starts_with("  presencectl") || line.starts_with("  PRESENCE");
                if is_example && line.chars().count() > 100 {
                    violations.push(format!("{name}: an example of at most 100 letters: {line}"));
                }
            }
        }
        none(&violations);
    }

    /// Words of command lines: commands, flags, and odd texts.
    static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let odd = [
            "", "-", "--", "é", "-é", "-1", "--=", "@", "=", "\u{202e}", "💥", "-o", "json",
        ];
        let mut words: Vec<String> = odd.map(str::to_owned).to_vec();
        for (name, command) in all_commands() {
            words.extend(name.split(' ').map(str::to_owned));
            for argument in command.get_arguments() {
                words.extend(argument.get_long().map(|long| format!("--{long}")));
                words.extend(argument.get_long().map(|long| format!("--{long}=é")));
                words.extend(argument.get_short().map(|short| format!("-{short}")));
            }
        }
        words
    });
    static COMMAND_NAMES: LazyLock<Vec<String>> =
        LazyLock::new(|| all_commands().into_iter().map(|(name, _)| name).collect());

    #[test]
    fn fuzz_command_lines() {
        let target = FuzzTarget {
            name: "command_lines",
            inputs: 100,
            // One word a line.
            generate: |rng| {
                let mut line = vec!["presencectl".to_owned()];
                if rng.random_bool(0.8) {
                    let name = COMMAND_NAMES.choose(rng).expect("there are commands");
                    line = name.split(' ').map(str::to_owned).collect();
                }
                for _ in 0..rng.random_range(0..6) {
                    line.push(WORDS.choose(rng).expect("there are words").clone());
                }
                line.join("\n")
            },
            words: &[
                "\n-",
                "\n--",
                "\n--help",
                "\n-f\n",
                "\nmock\nexec\n",
                "\n--columns\né",
                "=",
                "\n-n\n-1",
            ],
        };
        // Building a tree takes a hundred times as long as parsing a line with it.
        let mut whole = tree();
        let unbuilt = tree();
        let mut small: HashMap<String, clap::Command> = HashMap::new();
        target.run(|text| {
            let line: Vec<OsString> = text.split('\n').map(OsString::from).collect();
            let parsed = named_command(&line)
                .and_then(|named| {
                    let below = named.get_subcommands().map(clap::Command::get_name);
                    let names = [named.get_name()].into_iter().chain(below);
                    let key = names.collect::<Vec<_>>().join(" ");
                    let one = small.entry(key).or_insert_with(|| tree_of_one(named));
                    parse_with(one, &line).ok()
                })
                .map_or_else(|| parse_with(&mut whole, &line), Ok);
            if let Err(error) = parsed {
                let instead =
                    dashed_value(&error, &line, &unbuilt).or_else(|| missing_dashes(&error, &line));
                let shown = instead.unwrap_or(error);
                assert!(!shown.to_string().is_empty());
                let _ = asks_for_json(&line);
            }
        });
    }

    #[test]
    fn json_is_noticed_on_a_broken_line() {
        let line = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(asks_for_json(&line(&[
            "presencectl",
            "-o",
            "json",
            "--nope"
        ])));
        assert!(asks_for_json(&line(&["presencectl", "-ondjson"])));
        assert!(!asks_for_json(&line(&["presencectl", "-o", "table"])));
    }
}
