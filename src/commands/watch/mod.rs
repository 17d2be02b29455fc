//! `watch`: follow presence as it happens.
//!
//! A leaf says whom to watch; how a stream is filtered, bounded and ended is the same for all of them and lies in
//! `stream`.

pub mod channel;
pub mod channels;
pub mod users;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use crate::app::App;
use crate::domain::time::parse_duration;
use crate::domain::{PresenceField, UserId};
use crate::events::Shard;
use crate::exit::Code;
use crate::json::expression::Expr;

use crate::stream::Glob;

/// Whom to watch.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum WatchCommand {
    /// Follow all members of channels, also those who join later
    Channel(channel::WatchChannelArgs),

    /// Follow users by id
    Users(users::WatchUsersArgs),

    /// Follow all members of the channels that a filter finds
    Channels(channels::WatchChannelsArgs),
}

/// Runs a `watch`.
///
/// # Errors
///
/// The stream could not begin, or was lost.
pub async fn run(app: &App, command: WatchCommand) -> anyhow::Result<Code> {
    match command {
        WatchCommand::Channel(args) => channel::run(app, args).await,
        WatchCommand::Users(args) => users::run(app, args).await,
        WatchCommand::Channels(args) => channels::run(app, args).await,
    }
}

/// Flags of every stream.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stream options")]
pub struct StreamArgs {
    /// Show only records of these types; * and ? stand for any text and any letter (can be repeated)
    #[arg(short, long = "event", value_name = "GLOB", value_delimiter = ',')]
    pub events: Vec<Glob>,

    /// Show only what concerns this user (can be repeated)
    #[arg(long = "user", value_name = "ID", value_delimiter = ',')]
    pub only: Vec<UserId>,

    /// Show only records for which this jq expression is true
    #[arg(long = "where", value_name = "EXPR", value_parser = compile)]
    pub condition: Option<Arc<Expr>>,

    /// Show only events in which this field moved: online, invisible, status or last_active (can be repeated)
    #[arg(
        long,
        value_name = "FIELD",
        value_delimiter = ',',
        value_parser = field,
        conflicts_with = "raw"
    )]
    pub changed: Vec<PresenceField>,

    /// End after this many events that passed the filters
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// End after this long without an event that passed the filters
    #[arg(long, value_name = "DUR", value_parser = some_time)]
    pub idle: Option<Duration>,

    /// End with the first record that passed the filters, snapshots included, for which this jq expression is true
    #[arg(long, value_name = "EXPR", value_parser = compile)]
    pub until: Option<Arc<Expr>>,

    /// Show the state of everybody at the start (first), nothing else and end (only), or not at all (none)
    #[arg(
        long,
        value_enum,
        value_name = "first|only|none",
        default_value_t = Snapshot::First,
        hide_possible_values = true
    )]
    pub snapshot: Snapshot,

    /// Show what the service sends, untouched, and nothing else
    #[arg(long)]
    pub raw: bool,

    /// End with code 9 when the connection is lost, instead of connecting again
    #[arg(long)]
    pub no_reconnect: bool,

    /// Wait at most this long before connecting again; the waits are random, and their bound doubles from 250ms on
    #[arg(long, value_name = "DUR", value_parser = parse_duration, default_value = "25s")]
    pub backoff_max: Duration,

    /// Take the connection for lost after this long without a word from the server, which is asked for one in time
    #[arg(long, value_name = "DUR", value_parser = at_least_a_second, default_value = "35s")]
    pub stale_after: Duration,

    /// End with code 10 after a gap, when events may have been lost
    #[arg(long)]
    pub fail_on_gap: bool,

    /// End with code 11 when somebody who was asked for is not subscribed
    #[arg(long)]
    pub strict_coverage: bool,

    /// Do not show users who go and come back within this time
    #[arg(long, value_name = "DUR", value_parser = parse_duration, conflicts_with = "raw")]
    pub settle: Option<Duration>,

    /// Run this command for each event: the record on its input, PRESENCECTL_USER_ID, PRESENCECTL_TYPE and
    /// PRESENCECTL_ONLINE in its environment, its output on stderr
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,

    /// Run at most this many commands at once; one user's never overlap
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..),
        requires = "exec"
    )]
    pub exec_jobs: u16,

    /// End with code 12 when a command fails
    #[arg(long, requires = "exec")]
    pub exec_fail: bool,

    /// Append the stream to this file as well, as NDJSON
    #[arg(long, value_name = "FILE")]
    pub tee: Option<PathBuf>,

    /// Keep the last known state of everybody in this file; the next run begins with what changed in between
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    pub cursor_file: Option<PathBuf>,

    /// Watch only this part of the users: 1/3, 2/3 and 3/3 together are everybody
    #[arg(long, value_name = "I/N", default_value_t = Shard::ALL, hide_default_value = true, action = ArgAction::Set)]
    pub shard: Shard,
}

impl Default for StreamArgs {
    /// A stream as it is when none of these flags is written.
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            stream: StreamArgs,
        }
        <Line as clap::Parser>::parse_from(["watch"]).stream
    }
}

/// What to do with the state at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Snapshot {
    /// Show it, then the events.
    First,
    /// Show it and end.
    Only,
    /// Do not show it.
    None,
}

fn compile(source: &str) -> Result<Arc<Expr>, String> {
    Expr::compile(source)
        .map(Arc::new)
        .map_err(|failure| failure.message)
}

fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer, since nothing happens in no time".to_owned()),
        time => Ok(time),
    }
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        short if short < Duration::from_secs(1) => {
            Err("must be a second at least, since the server needs time to answer".to_owned())
        }
        long => Ok(long),
    }
}

fn field(name: &str) -> Result<PresenceField, String> {
    PresenceField::ALL
        .into_iter()
        .find(|field| field.name() == name)
        .ok_or_else(|| {
            format!("`{name}` does not move; online, invisible, status and last_active do")
        })
}
