//! `top`: a live table of who is online. A subcommand says whom to show; this file has what they share.

pub mod channel;
pub mod channels;
pub mod users;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::Instant;

use crate::commands::observer;
use crate::commands::shard::parse_shard;
use crate::domain::time::parse_duration;
use crate::events::{Shard, WatchTarget, WatcherOptions};
use crate::exit::{Code, Failure};
use crate::report::input::InputSource;
use crate::settings::App;
use crate::stream::SourceOptions;
use crate::top::{self, Replay, TopOptions};

/// Flags of `top`.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "WHOM",
    subcommand_help_heading = "Whom to show",
    after_help = "\
The table shows who is online and for how long, the changes of the last 10 minutes, the status, and the last 30 minutes
as a sparkline. Keys: q quit, / filter, s sort, o online only, space pause, enter history of a user, c copy the id,
? help. --replay plays what `watch --tee` has recorded.

Examples:
  presencectl --mock top channel my-conversation-123
  presencectl top users --in @team.txt
  presencectl top --replay day.ndjson --speed 60"
)]
pub struct TopArgs {
    /// Whom to show
    #[command(subcommand)]
    pub target: Option<TopTarget>,

    /// Play this recorded stream: NDJSON of `watch --tee`, plain, gzip or zstd
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,

    /// Play it this many times as fast as it was recorded
    #[arg(long, value_name = "N", value_parser = parse_speed, default_value = "1", requires = "replay")]
    pub speed: f64,
}

/// Whom to show.
#[derive(Debug, Subcommand)]
pub enum TopTarget {
    /// Show the members of channels, also those who join later
    Channel(channel::TopChannelArgs),

    /// Show users by id, live
    Users(users::TopUsersArgs),

    /// Show the members of all channels that match a filter
    Channels(channels::TopChannelsArgs),
}

/// Flags of every live `top`.
#[derive(Debug, Clone, Args)]
pub struct LiveArgs {
    /// Wait at most this long before reconnecting
    #[arg(long, value_name = "DUR", value_parser = parse_duration, default_value = "25s")]
    pub backoff_max: Duration,

    /// Show only this part of the users, such as 1/3
    #[arg(long, value_name = "I/N|env", value_parser = parse_shard, default_value_t = Shard::ALL, hide_default_value = true)]
    pub shard: Shard,
}

/// Runs a `top`.
///
/// # Errors
///
/// Stdout is not a terminal; connecting failed, or the stream was lost for good; the recording cannot be read.
pub async fn run(app: &App, args: TopArgs) -> anyhow::Result<Code> {
    match (args.target, args.replay) {
        (Some(_), Some(_)) => Err(Failure::new(
            Code::Usage,
            "--replay plays a recording, and cannot be combined with users or channels to watch",
        )
        .into()),
        (Some(TopTarget::Channel(args)), None) => channel::run(app, args).await,
        (Some(TopTarget::Users(args)), None) => users::run(app, &args).await,
        (Some(TopTarget::Channels(args)), None) => channels::run(app, &args).await,
        (None, Some(path)) => {
            let options = options(app, path.display().to_string())?;
            let replay = Replay::open(&InputSource::File(path), args.speed, Instant::now())?;
            top::play(options, replay).await
        }
        (None, None) => Err(Failure::new(Code::Usage, "nothing to show is named")
            .hinted("name users or channels, such as presencectl top channel CID; or a recording: --replay FILE")
            .into()),
    }
}

/// Shows a target live.
async fn show(
    app: &App,
    args: &LiveArgs,
    title: String,
    target: WatchTarget,
) -> anyhow::Result<Code> {
    if app.is_dry_run() {
        return observer::print_plan(app, &target).await;
    }
    let options = options(app, title)?;
    let (client, observer) = observer::resolve(app).await?;
    let source = SourceOptions {
        client,
        target,
        watcher: WatcherOptions {
            backoff_max: args.backoff_max,
            shard: args.shard,
            ..WatcherOptions::new(observer)
        },
    };
    Box::pin(top::watch(options, source)).await
}

/// How the screen looks.
fn options(app: &App, title: String) -> Result<TopOptions, Failure> {
    const WATCH: &str =
        "in scripts and pipes, use `presencectl watch`, which writes one record per line";
    let terminal = app.terminal();
    let settings = app.output().settings();
    if !terminal.stdout {
        return Err(Failure::new(
            Code::Usage,
            "top draws on a terminal, and stdout is not one",
        )
        .hinted(WATCH));
    }
    if !terminal.has_screen {
        return Err(Failure::new(
            Code::Usage,
            "top draws on the whole screen, which a terminal with TERM=dumb cannot show",
        )
        .hinted("use `presencectl watch`, or set TERM to the name of your terminal"));
    }
    if !app.has_default_output() {
        return Err(Failure::new(
            Code::Usage,
            "top draws on the screen, and takes no --output, --columns or --jq",
        )
        .hinted(WATCH));
    }
    if settings.verbose > 0 && terminal.stderr {
        return Err(Failure::new(
            Code::Usage,
            "-v writes to stderr, which is the screen that top draws on",
        )
        .hinted("write it to a file: 2> trace.log"));
    }
    if app.timeout() == Some(Duration::ZERO) {
        return Err(Failure::new(
            Code::Usage,
            "--timeout 0 leaves no time to show anything",
        ));
    }
    Ok(TopOptions {
        title,
        has_colour: settings.colour,
        timeout: app.timeout(),
    })
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("must be a number greater than zero, such as 60 or 0.5".to_owned()),
    }
}
