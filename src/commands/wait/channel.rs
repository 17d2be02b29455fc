//! `wait channel`: waits until a jq expression is true for a channel with its members and watchers.
//!
//! The channel is watched and read again after every event, so that the expression sees the service's own answer.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::condition::ConditionTimer;
use super::{ConditionExpr, RETRY_INTERVAL, StabilityArgs, not_met, wait_to_retry};
use crate::api::{ApiError, Client};
use crate::commands::observer;
use crate::domain::record::RecordBody;
use crate::domain::{ApiErrorCode, Cid};
use crate::events::{WatchTarget, Watcher, WatcherOptions, WatcherStep};
use crate::exit::{Code, Failure};
use crate::settings::{App, DEFAULT_TIMEOUT};
use crate::signals::Signals;
use crate::stream::StderrReport;
use crate::timer::sleep_until;

/// Flags of `wait channel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The expression sees {\"channel\": …, \"members\": […], \"watcher_count\": N}; it is false for a channel
that does not exist.

Examples:
  presencectl wait channel standup --for '[.members[].user.online] | all' --timeout 5m
  presencectl wait channel support --for 'any(.members[]; .user.online)' --timeout 0")]
pub struct WaitChannelArgs {
    /// The channel, type:id; a bare id means messaging:id
    pub cid: Cid,

    /// Wait until this jq expression is true for the channel
    #[arg(long = "for", value_name = "EXPR", value_parser = ConditionExpr::parse)]
    pub condition: ConditionExpr,

    /// Only channels and users of this team (multi-tenant applications)
    #[arg(long, value_name = "TEAM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub team: Option<String>,

    /// How long the condition must hold
    #[command(flatten)]
    pub stability: StabilityArgs,
}

/// Waits, then prints the channel.
///
/// # Errors
///
/// The condition did not hold in time, does not hold now, or watching failed.
pub(super) async fn run(app: &App, args: WaitChannelArgs) -> anyhow::Result<Code> {
    if app.is_dry_run() {
        return observer::print_plan(app, &WatchTarget::default()).await;
    }
    let mut signals = Signals::listen()?;
    // Here `--timeout` limits the whole wait, not each call.
    let client = app.client().await?.with_timeout(DEFAULT_TIMEOUT);
    let mut wait = ChannelWait::new(app, client, args);
    if app.timeout() == Some(Duration::ZERO) {
        wait.check_now().await?;
        return wait.conclude();
    }
    let deadline = app.timeout().map(|timeout| Instant::now() + timeout);
    tokio::select! {
        met = wait.until_met() => met?,
        code = signals.next() => return Ok(code),
        () = sleep_until(deadline) => {}
    }
    wait.conclude()
}

struct ChannelWait<'a> {
    app: &'a App,
    client: Client,
    cid: Cid,
    team: Option<String>,
    condition: ConditionExpr,
    stable_for: Duration,
    timer: ConditionTimer,
    /// The channel as it was last read; `None` while it does not exist.
    state: Option<Map<String, Value>>,
}

impl<'a> ChannelWait<'a> {
    fn new(app: &'a App, client: Client, args: WaitChannelArgs) -> Self {
        let stable_for = args.stability.stable_for.unwrap_or_default();
        Self {
            app,
            client,
            timer: ConditionTimer::new([args.cid.to_string()], false, stable_for),
            cid: args.cid,
            team: args.team,
            condition: args.condition,
            stable_for,
            state: None,
        }
    }

    /// Watches the channel until the condition has held for long enough.
    async fn until_met(&mut self) -> anyhow::Result<()> {
        // An error of the first request is a mistake of the user; later ones may be temporary.
        self.check_now().await?;
        while self.state.is_none() {
            sleep(RETRY_INTERVAL).await;
            self.check_with_retries().await?;
        }
        let (server, observer) = observer::resolve(self.app).await?;
        let target = WatchTarget {
            channels: vec![self.cid.clone()],
            team: self.team.clone(),
            ..WatchTarget::default()
        };
        let mut watcher = Watcher::start(server, target, WatcherOptions::new(observer)).await?;
        let mut report = StderrReport::new(self.app.output(), true);
        report.reports_missing = false;
        let mut is_subscribed = false;
        loop {
            let met_at = self.timer.met_at().filter(|_| is_subscribed);
            let may_have_changed = tokio::select! {
                biased;
                () = sleep_until(met_at) => break,
                step = watcher.step() => match step? {
                    WatcherStep::Record(record) => {
                        report.report(&record, false);
                        match &record.body {
                            RecordBody::Gap(_) => self.timer.resume::<&str>(&[], Instant::now()),
                            RecordBody::ConnectionChanged(changed) if !changed.online => {
                                self.timer.pause();
                            }
                            // Changes were not observed, so the condition cannot have been stable.
                            RecordBody::Coverage(_) if !is_subscribed => {
                                is_subscribed = true;
                                self.timer.resume::<&str>(&[], Instant::now());
                            }
                            _ => {}
                        }
                        // Snapshots come one by one, and the coverage follows the last of them.
                        !matches!(
                            &record.body,
                            RecordBody::Snapshot(_) | RecordBody::ConnectionChanged(_)
                        )
                    }
                    WatcherStep::Notice(text) => {
                        self.app.output().warn(text);
                        false
                    }
                    WatcherStep::Quiet => false,
                },
            };
            if may_have_changed {
                self.check_with_retries().await?;
            }
        }
        watcher.close().await;
        Ok(())
    }

    async fn check_with_retries(&mut self) -> anyhow::Result<()> {
        while let Err(error) = self.check_now().await {
            match error {
                CheckError::Api(error) => wait_to_retry(self.app, &self.client, error).await?,
                CheckError::Expression(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }

    /// Reads the channel and evaluates the condition.
    async fn check_now(&mut self) -> Result<(), CheckError> {
        let state = read_state(&self.client, &self.cid).await;
        self.state = state.map_err(CheckError::Api)?;
        let holds = match &self.state {
            Some(state) => {
                let json = serde_json::to_vec(state).unwrap_or_default();
                self.condition
                    .is_true(&json)
                    .map_err(CheckError::Expression)?
            }
            None => false,
        };
        self.timer.set(&self.cid.to_string(), holds, Instant::now());
        Ok(())
    }

    /// Prints the channel if the condition is met. Otherwise fails and says what holds instead.
    fn conclude(&self) -> anyhow::Result<Code> {
        let source = &self.condition.source;
        let cid = &self.cid;
        let is_met = !self.timer.met_ids(Instant::now()).is_empty();
        let Some(state) = &self.state else {
            return Err(not_met(
                self.app.timeout(),
                &format!("{cid} does not exist"),
            ));
        };
        if !is_met {
            let reason = if self.timer.holds(&cid.to_string()) {
                let stable_for = humantime::format_duration(self.stable_for);
                format!("`{source}` is true for {cid}, but not for {stable_for} yet")
            } else {
                format!("`{source}` is false for {cid}")
            };
            return Err(not_met(self.app.timeout(), &reason));
        }
        let mut rows = self.app.output().channels(self.app.now(), &[])?.one();
        if let Some(Value::Object(channel)) = state.get("channel") {
            rows.push(channel)?;
        }
        rows.finish()?;
        Ok(Code::Ok)
    }
}

/// Why a condition could not be checked.
#[derive(Debug)]
enum CheckError {
    Api(ApiError),
    Expression(Failure),
}

impl From<CheckError> for anyhow::Error {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Api(error) => error.into(),
            CheckError::Expression(failure) => failure.into(),
        }
    }
}

/// Reads the channel; `None` if it does not exist.
async fn read_state(client: &Client, cid: &Cid) -> Result<Option<Map<String, Value>>, ApiError> {
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
