//! `wait channel`: until a jq expression is true of a channel, its members and its watchers.
//!
//! The channel is watched, and asked for anew after everything that happens in it: what is decided on is the service's
//! own answer, not a reconstruction.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::condition::Vigil;
use super::{LOOK_AGAIN, PatienceArgs, endure, not_reached};
use crate::api::{ApiError, Client};
use crate::app::App;
use crate::commands::observer;
use crate::domain::record::RecordBody;
use crate::domain::{ApiErrorCode, Cid};
use crate::events::{WatchTarget, Watcher, WatcherOptions, WatcherStep};
use crate::exit::{Code, Failure};
use crate::json::expression::Expr;
use crate::signals::Signals;
use crate::stream::StderrReport;
use crate::timer::sleep_until;

/// Flags of `wait channel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The expression sees {\"channel\": …, \"members\": […], \"watcher_count\": N}; a channel that does not exist is not yet in any
state.

Examples:
  presencectl wait channel standup --for '[.members[].user.online] | all' --timeout 5m
  presencectl wait channel support --for 'any(.members[]; .user.online)' --timeout 0")]
pub struct WaitChannelArgs {
    /// The channel, type:id; a bare id means messaging:id
    pub cid: Cid,

    /// What must be true of the channel, in jq
    #[arg(long = "for", value_name = "EXPR", value_parser = parse_expression)]
    pub condition: Condition,

    /// How to wait
    #[command(flatten)]
    pub patience: PatienceArgs,
}

/// What must be true.
#[derive(Debug, Clone)]
pub struct Condition {
    source: String,
    expr: std::sync::Arc<Expr>,
}

fn parse_expression(source: &str) -> Result<Condition, String> {
    let expr = Expr::compile(source).map_err(|failure| failure.message)?;
    Ok(Condition {
        source: source.to_owned(),
        expr: std::sync::Arc::new(expr),
    })
}

/// Waits, and prints the channel.
///
/// # Errors
///
/// It was not so in time, is not so now, or watching for it failed.
pub(super) async fn run(app: &App, args: WaitChannelArgs) -> anyhow::Result<Code> {
    if app.is_dry_run() {
        return observer::print_plan(app, &WatchTarget::default()).await;
    }
    let what = format!("`{}` is true of {}", args.condition.source, args.cid);
    let mut signals = Signals::listen()?;
    let client = app
        .client()
        .await?
        .with_timeout(crate::app::DEFAULT_TIMEOUT);
    let once = app.timeout() == Some(Duration::ZERO);
    let deadline = app.timeout().map(|timeout| Instant::now() + timeout);
    if once {
        return match state(&client, &args.cid).await? {
            Some(state) if is_true(&args.condition, &state)? => print(app, &state),
            Some(_) | None => Err(not_reached(app, &what)),
        };
    }
    let waiting = wait(app, &args, &client);
    tokio::select! {
        state = waiting => print(app, &state?),
        code = signals.next() => Ok(code),
        () = sleep_until(deadline) => Err(not_reached(app, &what)),
    }
}

/// Watches until it is true for long enough.
async fn wait(
    app: &App,
    args: &WaitChannelArgs,
    client: &Client,
) -> anyhow::Result<Map<String, Value>> {
    // An error at the first look is a mistake; later ones pass.
    let mut found = state(client, &args.cid).await?;
    while found.is_none() {
        sleep(LOOK_AGAIN).await;
        found = state_in_the_end(app, client, &args.cid).await?;
    }
    let name = args.cid.to_string();
    let stable_for = args.patience.stable_for.unwrap_or_default();
    let mut vigil = Vigil::new([name.clone()], false, stable_for);
    let (server, observer) = observer::resolve(app).await?;
    let target = WatchTarget {
        channels: vec![args.cid.clone()],
        ..WatchTarget::default()
    };
    let mut watcher = Watcher::start(server, target, WatcherOptions::new(observer)).await?;
    let mut last = Map::new();
    let mut report = StderrReport::new(app.output(), true);
    report.reports_missing = false;
    loop {
        let changed = tokio::select! {
            biased;
            () = sleep_until(vigil.over_at()) => break,
            step = watcher.step() => match step? {
                WatcherStep::Record(record) => {
                    report.report(&record, false);
                    match &record.body {
                        RecordBody::Gap(_) => vigil.doubt::<&str>(&[], Instant::now()),
                        RecordBody::ConnectionChanged(changed) if !changed.online => vigil.lose_sight(),
                        _ => {}
                    }
                    // The first answers come one by one; they are complete with the coverage.
                    !matches!(&record.body, RecordBody::Snapshot(_) | RecordBody::ConnectionChanged(_))
                }
                WatcherStep::Notice(text) => {
                    app.output().warn(text);
                    false
                }
                WatcherStep::Quiet => false,
            },
        };
        if changed {
            let state = state_in_the_end(app, client, &args.cid).await?;
            let holds = match &state {
                Some(state) => is_true(&args.condition, state)?,
                None => false,
            };
            vigil.note(&name, holds, Instant::now());
            last = state.unwrap_or_default();
        }
    }
    watcher.close().await;
    Ok(last)
}

/// The same, asked for until there is an answer.
async fn state_in_the_end(
    app: &App,
    client: &Client,
    cid: &Cid,
) -> anyhow::Result<Option<Map<String, Value>>> {
    loop {
        match state(client, cid).await {
            Ok(state) => return Ok(state),
            Err(error) => endure(app, client, error).await?,
        }
    }
}

/// The channel as the service tells it; `None` where it does not exist.
async fn state(client: &Client, cid: &Cid) -> Result<Option<Map<String, Value>>, ApiError> {
    let state = match client.get_channel(cid).await {
        Ok(state) => state,
        Err(ApiError::Refused(refusal)) if refusal.code == ApiErrorCode::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let members = serde_json::to_value(&state.members).unwrap_or_default();
    Ok(Some(Map::from_iter([
        ("channel".to_owned(), Value::Object(state.channel)),
        ("members".to_owned(), members),
        ("watcher_count".to_owned(), Value::from(state.watcher_count)),
    ])))
}

fn is_true(condition: &Condition, state: &Map<String, Value>) -> Result<bool, Failure> {
    let text = serde_json::to_vec(state).unwrap_or_default();
    condition.expr.is_true(&text).map_err(|error| {
        Failure::new(
            Code::Usage,
            format!("the expression in --for fails: {error}"),
        )
    })
}

fn print(app: &App, state: &Map<String, Value>) -> anyhow::Result<Code> {
    let mut rows = app.output().channels(app.now(), &[])?.one();
    if let Some(Value::Object(channel)) = state.get("channel") {
        rows.push(channel)?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}
