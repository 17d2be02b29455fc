//! `watch`: follows presence live. Subcommands select the users; this file has the flags that they share.

pub mod channel;
pub mod channels;
pub mod users;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use crate::commands::follow;
use crate::commands::shard::parse_shard;
use crate::domain::time::parse_duration;
use crate::domain::{PresenceField, UserId};
use crate::events::{Observer, Shard, WatchTarget, WatcherOptions};
use crate::exit::Code;
use crate::json::expression::Expr;
use crate::output::Output;
use crate::settings::App;
use crate::stream::{EndOptions, Filter, HookOptions, StreamOptions, TypeGlob};

/// The users to watch.
#[derive(Debug, Subcommand)]
// Not deferred: flags that are added late come after the global ones on a help page.
pub enum WatchCommand {
    /// Stream the presence of channel members, including those who join later
    Channel(channel::WatchChannelArgs),

    /// Stream the presence of users by id
    Users(users::WatchUsersArgs),

    /// Stream the presence of the members of all channels that match a filter
    Channels(channels::WatchChannelsArgs),
}

/// Runs a `watch`.
///
/// # Errors
///
/// The stream cannot start, or is lost.
pub async fn run(app: &App, command: WatchCommand) -> anyhow::Result<Code> {
    match command {
        WatchCommand::Channel(args) => channel::run(app, args).await,
        WatchCommand::Users(args) => users::run(app, args).await,
        WatchCommand::Channels(args) => channels::run(app, args).await,
    }
}

/// Flags of all `watch` commands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stream options")]
pub struct StreamArgs {
    /// Show only records of these types; * and ? are wildcards
    ///
    /// * matches any text, ? any one character. Separate several types by commas, or repeat the flag.
    #[arg(
        short = 'e',
        long = "event",
        value_name = "GLOB",
        value_delimiter = ','
    )]
    pub types: Vec<TypeGlob>,

    /// Show only events and snapshots about this user (repeatable)
    #[arg(long = "user", value_name = "ID", value_delimiter = ',')]
    pub users: Vec<UserId>,

    /// Show only records for which this jq expression is true
    #[arg(long = "where", value_name = "EXPR", value_parser = parse_expression)]
    pub condition: Option<Arc<Expr>>,

    /// Show only events that changed this field (repeatable)
    ///
    /// The fields are online, invisible, status and last_active.
    #[arg(
        long,
        value_name = "FIELD",
        value_delimiter = ',',
        value_parser = parse_field,
        conflicts_with = "raw"
    )]
    pub changed: Vec<PresenceField>,

    /// End after N events that passed the filters
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// End after this long without an event that passes the filters
    #[arg(long, value_name = "DUR", value_parser = parse_nonzero_duration)]
    pub idle: Option<Duration>,

    /// End with the first record for which this jq expression is true
    ///
    /// Only records that pass the filters count, snapshots included.
    #[arg(long, value_name = "EXPR", value_parser = parse_expression)]
    pub until: Option<Arc<Expr>>,

    /// Show the initial state first, show only it, or omit it
    #[arg(
        long,
        value_enum,
        value_name = "first|only|none",
        default_value_t = Snapshot::First,
        hide_possible_values = true
    )]
    pub snapshot: Snapshot,

    /// Print the service's own JSON messages unchanged, one per line
    #[arg(long)]
    pub raw: bool,

    /// End with code 9 when the connection is lost
    #[arg(long)]
    pub no_reconnect: bool,

    /// Wait at most this long before reconnecting
    ///
    /// The delays are random. Their upper bound starts at 250ms and doubles.
    #[arg(long, value_name = "DUR", value_parser = parse_duration, default_value = "25s", hide_short_help = true)]
    pub backoff_max: Duration,

    /// Reconnect if nothing is received for this long
    ///
    /// Pings keep a working connection from being silent for this long.
    #[arg(long, value_name = "DUR", value_parser = parse_stale_after, default_value = "35s")]
    pub stale_after: Duration,

    /// End with code 10 after a gap, in which events may be missing
    #[arg(long)]
    pub fail_on_gap: bool,

    /// End with code 11 when a requested user is not subscribed
    #[arg(long)]
    pub strict_coverage: bool,

    /// Suppress changes of `online` that are reverted within this time (debounce)
    #[arg(long, value_name = "DUR", value_parser = parse_duration, conflicts_with = "raw")]
    pub settle: Option<Duration>,

    /// Run this command for each event, with the record on its stdin
    ///
    /// PRESENCECTL_USER_ID, PRESENCECTL_TYPE and PRESENCECTL_ONLINE are set. What the command prints goes to stderr.
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,

    /// Run up to N commands at once, but only one for each user
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        hide_short_help = true,
        value_parser = clap::value_parser!(u16).range(1..),
        requires = "exec"
    )]
    pub exec_jobs: u16,

    /// End with code 12 when a command of --exec fails
    #[arg(long, requires = "exec", hide_short_help = true)]
    pub exec_fail: bool,

    /// Append the complete stream to this file as NDJSON
    ///
    /// Filters do not apply to it.
    #[arg(long, value_name = "FILE")]
    pub tee: Option<PathBuf>,

    /// Save the known state to this file, and resume from it
    ///
    /// The next run begins with what changed in between.
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    pub cursor_file: Option<PathBuf>,

    /// Watch only this part of the users, such as 1/3
    ///
    /// 1/3, 2/3 and 3/3 together are all users. `env` takes the number from Kubernetes: `presencectl help environment`.
    #[arg(long, value_name = "I/N|env", value_parser = parse_shard, default_value_t = Shard::ALL, hide_default_value = true, action = ArgAction::Set)]
    pub shard: Shard,
}

impl StreamArgs {
    /// The stream options that these flags describe.
    fn stream_options(&self, output: &Output) -> StreamOptions {
        for glob in self
            .types
            .iter()
            .filter(|glob| !glob.matches_a_known_type())
        {
            output.hint(&format!(
                "`{glob}` matches no type that this version knows; the types of presence are user.presence.changed, user.updated, user.watching.start and user.watching.stop"
            ));
        }
        for expression in self.condition.iter().chain(&self.until) {
            if let Some(field) = expression.misplaced_user_field() {
                output.warn(&format!(
                    "the records of users have `.user{field}`, not `{field}`"
                ));
            }
        }
        StreamOptions {
            filter: Filter {
                types: self.types.clone(),
                users: self.users.clone(),
                changed: self.changed.clone(),
                condition: self.condition.clone(),
                snapshots: self.snapshot != Snapshot::None,
            },
            until: self.until.clone(),
            debounce: self.settle,
            raw: self.raw,
            end: EndOptions {
                count: self.count,
                timeout: None,
                idle: self.idle,
                after_snapshot: self.snapshot == Snapshot::Only,
                on_gap: self.fail_on_gap,
                on_missing_coverage: self.strict_coverage,
            },
            hooks: self.exec.clone().map(|command| HookOptions {
                command,
                max_running: self.exec_jobs.into(),
                fail_stream: self.exec_fail,
            }),
            tee: self.tee.clone(),
            cursor_file: self.cursor_file.clone(),
            team: None,
        }
    }

    /// The connection options that these flags describe.
    fn watch_options(&self, observer: Observer) -> WatcherOptions {
        WatcherOptions {
            reconnect: !self.no_reconnect,
            backoff_max: self.backoff_max,
            stale_after: self.stale_after,
            shard: self.shard,
            raw: self.raw,
            ..WatcherOptions::new(observer)
        }
    }
}

/// Follows the users of a target with these flags.
async fn follow_target(app: &App, args: &StreamArgs, target: WatchTarget) -> anyhow::Result<Code> {
    let options = args.stream_options(app.output());
    follow::follow(app, options, target, |observer| {
        args.watch_options(observer)
    })
    .await
}

/// How to show the initial state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Snapshot {
    /// Show it, then the events.
    First,
    /// Show it and end.
    Only,
    /// Do not show it.
    None,
}

fn parse_expression(source: &str) -> Result<Arc<Expr>, String> {
    Expr::compile(source)
        .map(Arc::new)
        .map_err(|failure| failure.message)
}

fn parse_nonzero_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be greater than zero".to_owned()),
        duration => Ok(duration),
    }
}

fn parse_stale_after(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        short if short < Duration::from_secs(1) => {
            Err("must be at least 1s, because the server needs time to answer".to_owned())
        }
        duration => Ok(duration),
    }
}

fn parse_field(name: &str) -> Result<PresenceField, String> {
    let mut fields = PresenceField::ALL.into_iter();
    fields.find(|field| field.name() == name).ok_or_else(|| {
        format!("unknown field `{name}`; expected one of online, invisible, status, last_active")
    })
}
