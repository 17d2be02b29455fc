//! The command line as typed: global flags, the command tree, and the way from `main` to an exit code.
//!
//! What the flags *mean* — terminal or not, environment, profile — is decided once, in [`App`]; no
//! command looks at the environment.

use std::ffi::OsString;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::app::App;
use crate::args::{Format, GlobalArgs};
use crate::commands;
use crate::error_report::Report;
use crate::exit::Code;

/// The version, with the commit that it was built from where the build could tell.
pub const VERSION: &str = match option_env!("PRESENCECTL_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// See, set, follow and test user presence on Stream Chat
///
/// Try it without an account:  presencectl --mock watch channel my-conversation-123
#[derive(Debug, Parser)]
#[command(
    name = "presencectl",
    version = VERSION,
    propagate_version = true,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(after_help = "Exit codes are listed by `presencectl help exit-codes`.")]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: commands::Command,
}

/// Runs the command line of this process and says how it ended.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = commands::completions::answer(&arguments, Cli::command) {
        return code;
    }
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    let json = matches!(cli.global.output, Format::Json | Format::Ndjson);
    let outcome =
        App::resolve(cli.global).and_then(|app| commands::run(&app, cli.command, Cli::command));
    match outcome {
        Ok(ended) => ExitCode::from(ended.number()),
        Err(error) => report(&Report::of(&error), json),
    }
}

/// Reads the command line.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    parse_for_one(arguments).map_or_else(|| Cli::try_parse_from(arguments), Ok)
}

/// Reads a command line that is in order, with a tree of the one command that it names.
///
/// The parser gives each command its own copy of the flags that all of them share. For forty commands that takes more
/// time and memory than most calls. `None` says nothing but that the whole tree has to be asked, which also knows what
/// to say about mistakes and what to print for help.
fn parse_for_one(arguments: &[OsString]) -> Option<Cli> {
    // The word may still be the value of a flag; then what follows makes no sense to the small tree.
    let named = arguments
        .iter()
        .skip(1)
        .find_map(|word| commands::branch(word))?;
    let one = GlobalArgs::augment_args(clap::Command::new("presencectl"))
        .disable_help_subcommand(true)
        .subcommand(named);
    // Left standing: the process is short, and taking trees down is work, too.
    let mut one = ManuallyDrop::new(one);
    let mut matches = one.try_get_matches_from_mut(arguments).ok()?;
    Cli::from_arg_matches_mut(&mut matches).ok()
}

/// What to say about a word that begins with a dash after a flag that takes a value, of which the parser only knows that
/// it is no flag: it advises to write `--` before it, and the flag would then have no value at all.
fn dashed_value(error: &clap::Error, arguments: &[OsString]) -> Option<clap::Error> {
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let words: Vec<_> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let mut root = Cli::command();
    root.build();
    let (flag, word, argument) = words.windows(2).find_map(|pair| {
        let (flag, word) = (pair[0], pair[1]);
        let argument = word
            .starts_with(unknown.as_str())
            .then(|| valued(&root, flag))??;
        Some((flag, word, argument))
    })?;
    let names = argument.get_value_names().unwrap_or_default();
    let counts = matches!(names, [name] if ["N", "DUR"].contains(&name.as_str()));
    let negative = word[1..].starts_with(|c: char| c.is_ascii_digit());
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

/// The flag of this or any command under it that is written so and takes a value.
fn valued<'a>(command: &'a clap::Command, flag: &str) -> Option<&'a clap::Arg> {
    let is_it = |argument: &&clap::Arg| {
        let written = match flag.strip_prefix("--") {
            Some(long) => argument.get_long() == Some(long),
            None => flag.strip_prefix('-').is_some_and(|short| {
                argument.get_short().map(String::from).as_deref() == Some(short)
            }),
        };
        // One whose value may be left out takes only what is written into the same word.
        written && argument.get_action().takes_values() && !argument.is_require_equals_set()
    };
    let mut below = command.get_subcommands();
    command
        .get_arguments()
        .find(is_it)
        .or_else(|| below.find_map(|command| valued(command, flag)))
}

/// Ends with clap's own text for help, version and bad usage.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let instead = dashed_value(error, arguments);
    let error = instead.as_ref().unwrap_or(error);
    if error.use_stderr() && asks_for_json(arguments) {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        return report(
            &Report {
                kind: Code::Usage.kind(),
                message: message.trim_start_matches("error: ").to_owned(),
                exit_code: Code::Usage.number(),
                api_code: None,
                hint: None,
            },
            true,
        );
    }
    // A reader that closed the pipe has seen enough of the help.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Code::Usage.number()))
}

/// Whether `-o json` or `-o ndjson` was typed, on a line that clap could not make sense of.
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

/// Says what went wrong, as prose or as one JSON object, unless it is only a reader that has seen enough.
fn report(report: &Report, json: bool) -> ExitCode {
    if report.exit_code != Code::Ok.number() {
        let mut stderr = io::stderr().lock();
        // There is nowhere left to say that stderr is gone.
        let _ = match (json, serde_json::to_string(report)) {
            (true, Ok(text)) => writeln!(stderr, "{{\"error\":{text}}}"),
            (true, Err(_)) | (false, _) => write!(stderr, "{report}"),
        };
    }
    ExitCode::from(report.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let small = parse_for_one(&words);
            assert_eq!(small.is_some(), read, "{line}");
            if let Some(small) = small {
                let whole = Cli::try_parse_from(&words).unwrap();
                assert_eq!(format!("{small:?}"), format!("{whole:?}"), "{line}");
            }
        }
    }

    #[test]
    fn a_dash_before_a_value_is_told_what_to_do_with() {
        let told = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let error = Cli::try_parse_from(&words).unwrap_err();
            dashed_value(&error, &words).map(|error| error.to_string())
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
            let told = told(line).unwrap();
            assert!(told.contains(expected), "{line}: {told}");
            assert!(!told.contains("-- "), "{line}: {told}");
        }
        for line in [
            "presencectl get-user -q -1",
            "presencectl get-user -1",
            "presencectl watch users a -n --nope",
        ] {
            assert_eq!(told(line), None, "{line}: the parser's own words are right");
        }
    }

    #[test]
    fn every_command_has_help() {
        fn walk(command: &clap::Command) {
            for sub in command.get_subcommands() {
                assert!(sub.get_about().is_some(), "{} has no help", sub.get_name());
                for argument in sub.get_arguments() {
                    assert!(
                        argument.get_help().is_some(),
                        "{} {} has no help",
                        sub.get_name(),
                        argument.get_id()
                    );
                }
                walk(sub);
            }
        }
        let mut root = Cli::command();
        root.build();
        walk(&root);
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
