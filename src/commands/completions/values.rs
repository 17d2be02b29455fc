//! Candidates for values that only this machine knows, such as profiles and recently shown ids.
//!
//! The type and the value name of a flag decide its candidates, so commands need no code for completion.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};

use clap::builder::StyledStr;
use clap::{Arg, Args, Command, FromArgMatches, ValueEnum};
use clap_complete::CompletionCandidate;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, PathCompleter, ValueCompleter};

use crate::args::GlobalArgs;
use crate::commands::help_topics::Topic;
use crate::commands::recent_ids::{self, IdKind};
use crate::config_file::{self, Config};
use crate::domain::{Cid, UserId};
use crate::environment::read_variable_of;
use crate::settings::App;

/// The name of a help page, and its description.
type HelpPage = (String, Option<StyledStr>);

/// Columns that tables of users and channels have.
const COLUMNS: [&str; 12] = [
    "id",
    "cid",
    "name",
    "role",
    "online",
    "status",
    "last_active",
    "invisible",
    "created_at",
    "updated_at",
    "last_message_at",
    "list",
];
/// What `--changed` takes.
const PRESENCE_FIELDS: [&str; 4] = ["online", "invisible", "status", "last_active"];
/// What users are sorted by.
const USER_SORT_FIELDS: [&str; 5] = ["id", "name", "created_at", "updated_at", "last_active"];
/// What channels are sorted by.
const CHANNEL_SORT_FIELDS: [&str; 4] = [
    "last_message_at",
    "created_at",
    "updated_at",
    "member_count",
];
/// What `wait user --for` takes, besides an expression.
const STATES: [&str; 5] = ["online", "offline", "visible", "invisible", "exists"];
/// Types of records, for `-e`.
const RECORD_TYPES: [&str; 13] = [
    "user.presence.changed",
    "user.updated",
    "user.watching.start",
    "user.watching.stop",
    "user.deleted",
    "member.added",
    "member.removed",
    "presence.snapshot",
    "presence.gap",
    "presence.coverage",
    "connection.changed",
    "connection.recovered",
    "stream.end",
];

/// Adds candidates to a command and its subcommands. `current` is the word to complete.
pub(super) fn add_candidates(mut command: Command, current: &OsStr) -> Command {
    // Building adds --help and the global flags to each command.
    command.build();
    // Flags are offered only after a dash, or if nothing else can follow. Otherwise sixty flags would hide five users.
    let asks_for_flags = current.as_encoded_bytes().starts_with(b"-");
    let commands = commands(&command);
    add_to_tree(command, &commands, asks_for_flags)
}

fn add_to_tree(command: Command, commands: &[HelpPage], asks_for_flags: bool) -> Command {
    let name = command.get_name().to_owned();
    command
        .mut_args(|argument| {
            let argument = add_to_argument(argument, &name, commands);
            let aside = !asks_for_flags && !argument.is_positional();
            if aside { argument.hide(true) } else { argument }
        })
        .mut_subcommands(|sub| add_to_tree(sub, commands, asks_for_flags))
}

fn add_to_argument(argument: Arg, command: &str, commands: &[HelpPage]) -> Arg {
    let takes = argument.get_value_parser().type_id();
    let shown = argument.get_value_names().and_then(|names| names.first());
    let is_list = shown.is_some_and(|name| name == "LIST");
    match (command, argument.get_id().as_str()) {
        (_, "profile") | ("show" | "use" | "remove", "name") => {
            argument.add(ArgValueCandidates::new(profiles))
        }
        ("help", "words") => {
            let pages: Vec<_> = topics().chain(commands.iter().cloned()).collect();
            argument.add(ArgValueCandidates::new(move || candidates(&pages)))
        }
        ("man", "words") => {
            let commands = commands.to_vec();
            argument.add(ArgValueCandidates::new(move || candidates(&commands)))
        }
        (_, "columns") => argument.add(words(&COLUMNS)),
        (_, "changed") => argument.add(words(&PRESENCE_FIELDS)),
        ("query-users", "sort") => argument.add(words(&USER_SORT_FIELDS)),
        ("query-channels", "sort") => argument.add(words(&CHANNEL_SORT_FIELDS)),
        ("channel" | "users" | "channels", "types") => argument.add(words(&RECORD_TYPES)),
        ("user", _) if shown.is_some_and(|name| name == "STATE") => argument.add(words(&STATES)),
        _ if is_list => argument.add(ArgValueCompleter::new(complete_list)),
        _ if takes == TypeId::of::<UserId>() => argument.add(ArgValueCandidates::new(users)),
        _ if takes == TypeId::of::<Cid>() => argument.add(ArgValueCandidates::new(channels)),
        _ => argument,
    }
}

fn profiles() -> Vec<CompletionCandidate> {
    let named = std::env::var_os("PRESENCECTL_CONFIG").map(Into::into);
    let Ok(config) = named.or_else(config_file::default_path).map_or_else(
        || Ok(Config::default()),
        |path| Config::load_or_empty(&path),
    ) else {
        return Vec::new();
    };
    config
        .profiles
        .keys()
        .map(|name| {
            let default = config.default_profile.as_ref() == Some(name);
            CompletionCandidate::new(name).help(default.then(|| "the default".into()))
        })
        .collect()
}

fn users() -> Vec<CompletionCandidate> {
    known::<UserId>(IdKind::Users)
}

fn channels() -> Vec<CompletionCandidate> {
    known::<Cid>(IdKind::Channels)
}

/// The recently shown ids. They are validated again, because a shell puts them on a command line.
fn known<T: std::str::FromStr>(kind: IdKind) -> Vec<CompletionCandidate> {
    let ids = application().map(|application| recent_ids::recall(kind, &application));
    ids.unwrap_or_default()
        .iter()
        .filter(|id| id.parse::<T>().is_ok())
        .map(CompletionCandidate::new)
        .collect()
}

/// Completes the last id of `a,b,c`, or the file name of `@file`.
fn complete_list(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(text) = current.to_str() else {
        return Vec::new();
    };
    if let Some(path) = text.strip_prefix('@') {
        return PathCompleter::file()
            .complete(&OsString::from(path))
            .into_iter()
            .map(|candidate| candidate.add_prefix("@"))
            .collect();
    }
    let (before, last) = match text.rfind(',') {
        Some(comma) => text.split_at(comma + 1),
        None => ("", text),
    };
    let taken: Vec<&str> = before.split(',').collect();
    users()
        .into_iter()
        .filter(|candidate| {
            let id = candidate.get_value().to_string_lossy();
            id.starts_with(last) && !taken.contains(&&*id)
        })
        .map(|candidate| candidate.add_prefix(before))
        .collect()
}

/// Completes the last word of `a,b,c` from a list. A dash before it, as for a descending order, is kept.
fn words(known: &'static [&'static str]) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let text = current.to_string_lossy();
        let (before, last) = text.split_at(text.rfind(',').map_or(0, |comma| comma + 1));
        let (dash, last) = last.split_at(usize::from(last.starts_with('-')));
        known
            .iter()
            .filter(|word| word.starts_with(last))
            .map(|word| CompletionCandidate::new(format!("{before}{dash}{word}")))
            .collect::<Vec<_>>()
    })
}

/// The application that the command line in question is about, by its global flags, the environment and the profile.
fn application() -> Option<String> {
    let words: Vec<String> = std::env::args_os()
        .filter_map(|word| word.into_string().ok())
        .collect();
    let mut line = vec!["presencectl", "-qq"];
    for (i, word) in words.iter().enumerate() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (word.as_str(), words.get(i + 1).map(String::as_str)),
        };
        match (flag, value) {
            ("--mock", _) => line.push(word),
            ("-p" | "--profile" | "--config" | "--base-url", Some(value)) => {
                line.extend([flag, value]);
            }
            _ => {}
        }
    }
    let command = GlobalArgs::augment_args(Command::new("presencectl")).mut_args(read_variable_of);
    let matches = command.try_get_matches_from(line).ok()?;
    let global = GlobalArgs::from_arg_matches(&matches).ok()?;
    App::resolve(global).ok()?.application()
}

fn candidates(pages: &[HelpPage]) -> Vec<CompletionCandidate> {
    let candidate = |(name, help): &HelpPage| CompletionCandidate::new(name).help(help.clone());
    pages.iter().map(candidate).collect()
}

fn topics() -> impl Iterator<Item = HelpPage> {
    Topic::value_variants().iter().filter_map(|topic| {
        let value = topic.to_possible_value()?;
        Some((value.get_name().to_owned(), value.get_help().cloned()))
    })
}

fn commands(root: &Command) -> Vec<HelpPage> {
    root.get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| {
            let name = command.get_name().to_owned();
            (name, command.get_about().cloned())
        })
        .collect()
}
