//! The command tree and its dispatch. Each command has a file of its own, with its flags and its function.

pub mod api;
pub mod channels;
mod command_lookup;
pub mod completions;
pub mod confirm;
pub mod doctor;
pub mod dry_run;
pub mod fields;
pub mod filters;
pub mod follow;
pub mod help;
pub mod help_topics;
pub mod hold;
pub mod ids;
pub mod limits;
pub mod man;
pub mod mock;
pub mod observer;
pub mod old_values;
pub mod profile;
pub mod rate_limiter;
pub mod recent_ids;
pub mod report;
mod runtime;
pub mod schema;
mod shard;
pub mod sort;
pub mod token;
pub mod top;
pub mod user_lookup;
pub mod users;
pub mod wait;
pub mod watch;

use std::ffi::OsStr;

use clap::{Args, Subcommand};

use crate::exit::{Code, ExitStatus};
use crate::output::ColumnsListed;
use crate::settings::App;
use runtime::block_on;

/// The command to run.
#[derive(Debug, Subcommand)]
// The flags of a command are added only when it runs. Adding those of all commands takes longer than most commands do.
#[command(defer = true)]
pub enum Command {
    /// Create or update users, changing only the given fields
    SetUser(users::set_user::SetUserArgs),

    /// Show users by id
    GetUser(users::get_user::GetUserArgs),

    /// Find users and see who is online
    QueryUsers(users::query_users::QueryUsersArgs),

    /// Deactivate users, so that they cannot connect
    DeactivateUser(users::deactivate_user::DeactivateUserArgs),

    /// Reactivate deactivated users
    ReactivateUser(users::reactivate_user::ReactivateUserArgs),

    /// Delete users
    DeleteUser(users::delete_user::DeleteUserArgs),

    /// Restore deleted users
    RestoreUser(users::restore_user::RestoreUserArgs),

    /// Create a channel, or change its members and fields
    SetChannel(channels::set_channel::SetChannelArgs),

    /// Show a channel, its members and its watchers
    GetChannel(channels::get_channel::GetChannelArgs),

    /// Find channels
    QueryChannels(channels::query_channels::QueryChannelsArgs),

    /// Stream presence changes as they happen
    #[command(subcommand)]
    Watch(watch::WatchCommand),

    /// Block until a condition holds; the exit code says whether it did
    #[command(subcommand)]
    Wait(wait::WaitCommand),

    /// Keep users connected, so that they are online
    Hold(hold::HoldArgs),

    /// Create, inspect and verify user tokens
    #[command(subcommand)]
    Token(token::TokenCommand),

    /// Manage named profiles
    #[command(subcommand)]
    Profile(profile::ProfileCommand),

    /// Analyse recorded streams: sessions, uptime, flaps, timelines
    #[command(subcommand)]
    Report(report::ReportCommand),

    /// Show who is online in a live table, on a terminal
    Top(top::TopArgs),

    /// Run and control the bundled mock server
    #[command(subcommand)]
    Mock(mock::MockCommand),

    /// Send any request to the API
    Api(api::ApiArgs),

    /// Diagnose connectivity and credentials, step by step
    Doctor(doctor::DoctorArgs),

    /// Show the rate limits of the API and the remaining calls
    Limits(limits::LimitsArgs),

    /// Print the JSON Schema of records
    Schema(schema::SchemaArgs),

    /// Print a shell's completion script
    Completions(completions::CompletionsArgs),

    /// Print a manual page, or write all of them
    Man(man::ManArgs),

    /// Explain a command, or a topic such as exit-codes or records
    Help(help::HelpArgs),
}

/// Adds the flags of a command to a bare `clap::Command`.
type Augment = fn(clap::Command) -> clap::Command;

/// The function that adds the flags of each command, by the command's name.
const BRANCHES: [(&str, Augment); 25] = [
    ("set-user", users::set_user::SetUserArgs::augment_args),
    ("get-user", users::get_user::GetUserArgs::augment_args),
    (
        "query-users",
        users::query_users::QueryUsersArgs::augment_args,
    ),
    (
        "deactivate-user",
        users::deactivate_user::DeactivateUserArgs::augment_args,
    ),
    (
        "reactivate-user",
        users::reactivate_user::ReactivateUserArgs::augment_args,
    ),
    (
        "delete-user",
        users::delete_user::DeleteUserArgs::augment_args,
    ),
    (
        "restore-user",
        users::restore_user::RestoreUserArgs::augment_args,
    ),
    (
        "set-channel",
        channels::set_channel::SetChannelArgs::augment_args,
    ),
    (
        "get-channel",
        channels::get_channel::GetChannelArgs::augment_args,
    ),
    (
        "query-channels",
        channels::query_channels::QueryChannelsArgs::augment_args,
    ),
    ("watch", watch::WatchCommand::augment_subcommands),
    ("wait", wait::WaitCommand::augment_subcommands),
    ("hold", hold::HoldArgs::augment_args),
    ("token", token::TokenCommand::augment_subcommands),
    ("profile", profile::ProfileCommand::augment_subcommands),
    ("report", report::ReportCommand::augment_subcommands),
    ("top", top::TopArgs::augment_args),
    ("mock", mock::MockCommand::augment_subcommands),
    ("api", api::ApiArgs::augment_args),
    ("doctor", doctor::DoctorArgs::augment_args),
    ("limits", limits::LimitsArgs::augment_args),
    ("schema", schema::SchemaArgs::augment_args),
    ("completions", completions::CompletionsArgs::augment_args),
    ("man", man::ManArgs::augment_args),
    ("help", help::HelpArgs::augment_args),
];

/// The flags of the command with this name, without all the others.
pub(crate) fn branch(name: &OsStr) -> Option<clap::Command> {
    let (name, augment) = BRANCHES.iter().find(|(known, _)| name == *known)?;
    Some(augment(clap::Command::new(*name)))
}

/// The same to parse a command line in which `next` follows the name: of `mock`, only the command that `next` names.
pub(crate) fn branch_before(name: &OsStr, next: Option<&OsStr>) -> Option<clap::Command> {
    let narrow = next.filter(|_| name == "mock").and_then(mock::branch);
    narrow.or_else(|| branch(name))
}

/// The commands in the order of the first help page, under their headings.
const GROUPS: [(&str, &[&str]); 7] = [
    (
        "Users",
        &[
            "set-user",
            "get-user",
            "query-users",
            "deactivate-user",
            "reactivate-user",
            "delete-user",
            "restore-user",
        ],
    ),
    (
        "Channels",
        &["set-channel", "get-channel", "query-channels"],
    ),
    ("Streams", &["watch", "wait", "hold"]),
    ("Analysis", &["report", "top"]),
    ("Credentials", &["token", "profile"]),
    ("Testing", &["mock"]),
    (
        "Tools",
        &[
            "api",
            "doctor",
            "limits",
            "schema",
            "completions",
            "man",
            "help",
        ],
    ),
];

/// The headings of the first help page, with the commands under each.
pub(crate) fn groups() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    let exists = |name: &&str| BRANCHES.iter().any(|(known, _)| known == name);
    GROUPS.iter().filter_map(move |(heading, names)| {
        let names = names.iter().copied().filter(exists);
        names.clone().next()?;
        Some((*heading, names))
    })
}

/// Runs a command and returns its exit status. `tree` builds the whole command tree, for the commands that describe it.
///
/// # Errors
///
/// The command fails. [`error_to_exit`](crate::error_to_exit) maps the error to an exit code.
pub fn run(app: &App, command: Command, tree: fn() -> clap::Command) -> anyhow::Result<ExitStatus> {
    match dispatch(app, command, tree) {
        // `--columns list` has printed the columns, so the command succeeded.
        Err(error) if error.is::<ColumnsListed>() => Ok(ExitStatus::Own(Code::Ok)),
        done => done,
    }
}

fn dispatch(
    app: &App,
    command: Command,
    tree: fn() -> clap::Command,
) -> anyhow::Result<ExitStatus> {
    let code = match command {
        Command::SetUser(args) => block_on(|| users::set_user::run(app, &args)),
        Command::GetUser(args) => block_on(|| users::get_user::run(app, &args)),
        Command::QueryUsers(args) => block_on(|| users::query_users::run(app, &args)),
        Command::DeactivateUser(args) => block_on(|| users::deactivate_user::run(app, &args)),
        Command::ReactivateUser(args) => block_on(|| users::reactivate_user::run(app, &args)),
        Command::DeleteUser(args) => block_on(|| users::delete_user::run(app, &args)),
        Command::RestoreUser(args) => block_on(|| users::restore_user::run(app, &args)),
        Command::SetChannel(args) => block_on(|| channels::set_channel::run(app, &args)),
        Command::GetChannel(args) => block_on(|| channels::get_channel::run(app, &args)),
        Command::QueryChannels(args) => block_on(|| channels::query_channels::run(app, &args)),
        Command::Watch(command) => block_on(|| watch::run(app, command)),
        Command::Wait(command) => block_on(|| wait::run(app, command)),
        Command::Hold(args) => block_on(|| hold::run(app, args)),
        Command::Token(command) => block_on(|| token::run(app, &command)),
        Command::Profile(command) => profile::run(app, command),
        Command::Report(command) => report::run(app, command),
        Command::Top(args) => block_on(|| top::run(app, args)),
        Command::Mock(command) => return mock::run(app, command),
        Command::Api(args) => block_on(|| api::run(app, &args)),
        Command::Doctor(args) => block_on(|| doctor::run(app, &args)),
        Command::Limits(args) => block_on(|| limits::run(app, &args)),
        Command::Schema(args) => schema::run(app, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(app, &args, &tree()),
        Command::Help(args) => help::run(&args, &tree()),
    }?;
    Ok(ExitStatus::Own(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_branch_for_each_command() {
        let tree = Command::augment_subcommands(clap::Command::new("presencectl"));
        let names: Vec<_> = tree
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(names, BRANCHES.map(|(name, _)| name));
    }

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<_> = groups().flat_map(|(_, names)| names).collect();
        let mut all = BRANCHES.map(|(name, _)| name);
        grouped.sort_unstable();
        all.sort_unstable();
        assert_eq!(grouped, all);
    }
}
