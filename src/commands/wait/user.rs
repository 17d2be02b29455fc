//! `wait user`: wait until users are online, offline, visible or invisible, exist, or satisfy an expression.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::condition::ConditionTimer;
use super::{ConditionExpr, RETRY_INTERVAL, StabilityArgs, not_met, wait_to_retry};
use crate::api::{Client, QueryUsers};
use crate::commands::ids::{IdArgs, summarize_ids};
use crate::commands::observer;
use crate::domain::User;
use crate::domain::event::USER_DELETED;
use crate::domain::record::{MissingReason, Record, RecordBody};
use crate::escape;
use crate::events::{WatchTarget, Watcher, WatcherOptions, WatcherStep};
use crate::exit::{Code, Failure};
use crate::settings::{App, DEFAULT_TIMEOUT};
use crate::signals::Signals;
use crate::stream::StderrReport;
use crate::timer::sleep_until;

/// Flags of `wait user`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 when the users are in the state, 124 when --timeout runs out before, 8 when they are not and --timeout is 0.
A user who does not exist is in no state. An expression sees {\"user\": …}.

Examples:
  presencectl wait user john --for online --timeout 1m && echo john is here
  presencectl wait user bot-1 bot-2 --for online --stable-for 2s --timeout 30s
  presencectl wait user amy bob --any --for online --timeout 10m
  presencectl wait user john --for '.user.status == \"ready\"' --timeout 1m
  presencectl wait user john --for online --timeout 0 || echo not now")]
pub struct WaitUserArgs {
    /// The users to wait for
    #[command(flatten)]
    pub users: IdArgs,

    /// State: online, offline, visible, invisible, exists, or a jq expression
    #[arg(long = "for", value_name = "STATE", value_parser = parse_state)]
    pub state: AwaitedState,

    /// Succeed when any one user matches
    #[arg(long)]
    pub any: bool,

    /// Only users of this team (multi-tenant applications)
    #[arg(long, value_name = "TEAM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub team: Option<String>,

    /// How long the state must hold
    #[command(flatten)]
    pub stability: StabilityArgs,
}

/// The state of a user to wait for.
#[derive(Debug, Clone)]
pub enum AwaitedState {
    /// Online, as others see it.
    Online,
    /// Offline, as others see it.
    Offline,
    /// Not invisible, whether online or not.
    Visible,
    /// Invisible.
    Invisible,
    /// The user exists.
    Exists,
    /// A jq expression is true for the user.
    Expression(ConditionExpr),
}

fn parse_state(text: &str) -> Result<AwaitedState, String> {
    Ok(match text {
        "online" => AwaitedState::Online,
        "offline" => AwaitedState::Offline,
        "visible" => AwaitedState::Visible,
        "invisible" => AwaitedState::Invisible,
        "exists" => AwaitedState::Exists,
        // A single word is a typing error: as jq it would call a function that does not exist.
        word if word.chars().all(|c| c.is_ascii_alphabetic()) => {
            return Err(format!(
                "unknown state `{word}`; expected one of online, offline, visible, invisible, exists, or a jq \
                 expression such as '.user.status == \"ready\"'"
            ));
        }
        source => AwaitedState::Expression(ConditionExpr::parse(source)?),
    })
}

impl AwaitedState {
    /// Whether the state depends on `invisible`, which the service shows only to the application's server.
    const fn needs_server(&self) -> bool {
        matches!(self, Self::Visible | Self::Invisible)
    }

    fn holds(&self, user: &User) -> Result<bool, Failure> {
        let presence = user.presence();
        Ok(match self {
            Self::Online => presence.online == Some(true),
            Self::Offline => presence.online == Some(false),
            Self::Visible => presence.invisible == Some(false),
            Self::Invisible => presence.invisible == Some(true),
            Self::Exists => true,
            Self::Expression(expr) => {
                let record = json!({ "user": user.clone().normalized() }).to_string();
                expr.is_true(record.as_bytes())?
            }
        })
    }

    /// Describes the actual state of a user who is not in this state.
    fn opposite(&self, user: Option<&User>) -> Opposite<'_> {
        let Some(presence) = user.map(User::presence) else {
            return Opposite::DoesNotExist;
        };
        let name = |value: Option<bool>, yes, no| match value {
            Some(true) => Opposite::Is(yes),
            Some(false) => Opposite::Is(no),
            None => Opposite::Is("in an unknown state"),
        };
        match self {
            Self::Online | Self::Offline => name(presence.online, "online", "offline"),
            Self::Visible | Self::Invisible => name(presence.invisible, "invisible", "visible"),
            Self::Exists => Opposite::DoesNotExist,
            Self::Expression(expr) => Opposite::ExpressionIsFalse(&expr.source),
        }
    }
}

/// Why a user is not in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opposite<'a> {
    Is(&'static str),
    DoesNotExist,
    IsNotFoundInTeam(&'a str),
    IsDeactivated,
    IsRefused,
    ExpressionIsFalse(&'a str),
    NotStable,
}

/// Describes who is not in the state and why: a sentence for one user, groups for several.
fn describe(opposites: &[(&str, Opposite<'_>)]) -> String {
    if let [(id, opposite)] = opposites {
        return match opposite {
            Opposite::Is(state) => format!("{id} is {state}"),
            Opposite::DoesNotExist => format!("{id} does not exist"),
            Opposite::IsNotFoundInTeam(team) => {
                format!(
                    "{id} was not found in team {}: they do not exist, or are not in that team",
                    escape::quote(team)
                )
            }
            Opposite::IsDeactivated => format!("{id} is deactivated"),
            Opposite::IsRefused => format!("the service refuses to show {id}"),
            Opposite::ExpressionIsFalse(source) => format!("`{source}` is false for {id}"),
            Opposite::NotStable => format!("{id} has not been in the state for long enough"),
        };
    }
    let mut groups: Vec<(Opposite<'_>, Vec<&str>)> = Vec::new();
    for &(id, opposite) in opposites {
        match groups.iter_mut().find(|(known, _)| *known == opposite) {
            Some((_, ids)) => ids.push(id),
            None => groups.push((opposite, vec![id])),
        }
    }
    let groups: Vec<String> = groups
        .iter()
        .map(|(opposite, ids)| {
            let ids = summarize_ids(ids);
            match opposite {
                Opposite::Is(state) => format!("{state}: {ids}"),
                Opposite::DoesNotExist => format!("does not exist: {ids}"),
                Opposite::IsNotFoundInTeam(team) => {
                    format!(
                        "not found in team {} (they do not exist, or are not in it): {ids}",
                        escape::quote(team)
                    )
                }
                Opposite::IsDeactivated => format!("deactivated: {ids}"),
                Opposite::IsRefused => format!("not shown by the service: {ids}"),
                Opposite::ExpressionIsFalse(source) => format!("`{source}` is false for: {ids}"),
                Opposite::NotStable => format!("not in the state for long enough: {ids}"),
            }
        })
        .collect();
    groups.join("; ")
}

/// Waits, then prints the users who are in the state.
///
/// # Errors
///
/// The users were not in the state in time, are not in it now, or watching failed.
pub(super) async fn run(app: &App, args: WaitUserArgs) -> anyhow::Result<Code> {
    let users = args.users.read_some()?;
    if app.is_dry_run() {
        return observer::print_plan(app, &WatchTarget::default()).await;
    }
    if let AwaitedState::Expression(condition) = &args.state
        && let Some(field) = condition.expr.misplaced_user_field()
    {
        app.output().warn(&format!(
            "the record of a user has `.user{field}`, not `{field}`"
        ));
    }
    let names = users.iter().map(ToString::to_string);
    let stable_for = args.stability.stable_for.unwrap_or_default();
    let mut wait = UserWait {
        app,
        state: args.state,
        timer: ConditionTimer::new(names, args.any, stable_for),
        seen: HashMap::new(),
        missing: HashMap::new(),
        team: args.team.clone(),
        // Here `--timeout` limits the whole wait, not each call.
        server: app
            .server_client()
            .await?
            .map(|server| server.with_timeout(DEFAULT_TIMEOUT)),
    };
    if wait.state.needs_server() && wait.server.is_none() {
        return Err(
            Failure::new(Code::Refused, "a user token does not show who is invisible")
                .hinted("use an API secret: STREAM_API_SECRET, or --profile")
                .into(),
        );
    }
    let target = WatchTarget {
        users: users.iter().collect(),
        team: args.team,
        ..WatchTarget::default()
    };
    match wait.wait_and_print(target).await? {
        WaitOutcome::Met => Ok(Code::Ok),
        WaitOutcome::NotMet => Err(wait.not_met()),
        WaitOutcome::Interrupted(code) => Ok(code),
    }
}

/// How a wait ended.
enum WaitOutcome {
    /// The users are in the state.
    Met,
    /// The timeout passed first.
    NotMet,
    /// A signal arrived.
    Interrupted(Code),
}

/// What a record says about the users to wait for.
enum UserObservation {
    State(Box<User>),
    Deleted(String),
    ConnectionLost,
    /// Events may be missing, and these users have changed.
    Gap(Vec<String>),
    /// The states of all users have arrived, except for these users, who have none.
    Covered(BTreeMap<String, MissingReason>),
}

impl UserObservation {
    fn of(record: &Record<'_>) -> Option<Self> {
        match &record.body {
            RecordBody::Snapshot(user) => Some(Self::State(Box::new((*user).clone()))),
            RecordBody::Event { event, .. } => {
                let user = event.user.as_ref()?.to_user().ok()?;
                Some(if event.is(USER_DELETED) {
                    Self::Deleted(user.id().to_owned())
                } else {
                    Self::State(Box::new(user))
                })
            }
            RecordBody::Gap(gap) => Some(Self::Gap(gap.repaired.clone())),
            RecordBody::Coverage(coverage) => Some(Self::Covered(coverage.missing_reasons.clone())),
            RecordBody::ConnectionChanged(changed) => {
                (!changed.online).then_some(Self::ConnectionLost)
            }
            RecordBody::ConnectionRecovered | RecordBody::End(_) => None,
        }
    }
}

struct UserWait<'a> {
    app: &'a App,
    state: AwaitedState,
    timer: ConditionTimer,
    /// The last known state of each user, for the output at the end.
    seen: HashMap<String, User>,
    /// Why a user has no state.
    missing: HashMap<String, MissingReason>,
    /// The team to which the users must belong.
    team: Option<String>,
    server: Option<Client>,
}

impl UserWait<'_> {
    /// Watches the users until they are in the state, the time is over, or a signal arrives.
    async fn wait_and_print(&mut self, target: WatchTarget) -> anyhow::Result<WaitOutcome> {
        let app = self.app;
        let mut report = StderrReport::new(app.output(), true).with_team(target.team.clone());
        report.reports_missing = !matches!(self.state, AwaitedState::Exists);
        let mut signals = Signals::listen()?;
        // `--timeout 0` asks about the current state, and takes as long as one query.
        let is_single_check = app.timeout() == Some(Duration::ZERO);
        let timeout = app.timeout().filter(|timeout| !timeout.is_zero());
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut watcher = tokio::select! {
            started = start_watcher(app, target) => started?,
            code = signals.next() => return Ok(WaitOutcome::Interrupted(code)),
            () = sleep_until(deadline) => return Ok(WaitOutcome::NotMet),
        };
        let outcome = loop {
            let met_at = self.timer.met_at();
            let observation = tokio::select! {
                biased;
                code = signals.next() => break WaitOutcome::Interrupted(code),
                () = sleep_until(met_at) => break WaitOutcome::Met,
                () = sleep_until(deadline) => return Ok(WaitOutcome::NotMet),
                step = watcher.step() => match step? {
                    WatcherStep::Record(record) => {
                        report.report(&record, false);
                        UserObservation::of(&record)
                    }
                    WatcherStep::Notice(text) => {
                        app.output().warn(text);
                        continue;
                    }
                    WatcherStep::Quiet => continue,
                },
            };
            let Some(observation) = observation else {
                continue;
            };
            let states_are_known = matches!(observation, UserObservation::Covered(_));
            tokio::select! {
                biased;
                code = signals.next() => break WaitOutcome::Interrupted(code),
                () = sleep_until(deadline) => return Ok(WaitOutcome::NotMet),
                applied = self.apply(observation) => applied?,
            }
            if is_single_check && states_are_known {
                let now = Instant::now();
                if self.timer.met_at().is_some_and(|met_at| met_at <= now) {
                    break WaitOutcome::Met;
                }
                return Ok(WaitOutcome::NotMet);
            }
        };
        if matches!(outcome, WaitOutcome::Met) {
            self.print()?;
        }
        watcher.close().await;
        Ok(outcome)
    }

    async fn apply(&mut self, observation: UserObservation) -> anyhow::Result<()> {
        match observation {
            UserObservation::State(user) => self.check(*user).await?,
            UserObservation::Deleted(id) => self.remove(&id),
            UserObservation::ConnectionLost => self.timer.pause(),
            UserObservation::Gap(changed) => self.timer.resume(&changed, Instant::now()),
            UserObservation::Covered(missing) => {
                for (id, reason) in missing {
                    self.remove(&id);
                    self.missing.insert(id, reason);
                }
            }
        }
        Ok(())
    }

    /// Decides whether a user is in the state now.
    async fn check(&mut self, user: User) -> anyhow::Result<()> {
        if !self.timer.contains(user.id()) {
            return Ok(());
        }
        let user = match &self.server {
            Some(server) if self.state.needs_server() => {
                read_as_server(self.app, server, user).await?
            }
            Some(_) | None => user,
        };
        let holds = self.state.holds(&user)?;
        self.timer.set(user.id(), holds, Instant::now());
        self.seen.insert(user.id().to_owned(), user);
        Ok(())
    }

    /// A user who does not exist is in no state.
    fn remove(&mut self, id: &str) {
        self.timer.set(id, false, Instant::now());
        self.seen.remove(id);
        self.missing.remove(id);
    }

    fn not_met(&self) -> anyhow::Error {
        let met = self.timer.met_ids(Instant::now());
        let opposites: Vec<_> = self
            .timer
            .ids()
            .filter(|id| !met.contains(id))
            .map(|id| {
                let opposite = if self.timer.holds(id) {
                    Opposite::NotStable
                } else {
                    match (self.seen.get(id), self.missing.get(id)) {
                        (None, Some(MissingReason::Deactivated)) => Opposite::IsDeactivated,
                        (None, Some(MissingReason::Refused)) => Opposite::IsRefused,
                        (user, _) => match (self.state.opposite(user), &self.team) {
                            (Opposite::DoesNotExist, Some(team)) => {
                                Opposite::IsNotFoundInTeam(team)
                            }
                            (opposite, _) => opposite,
                        },
                    }
                };
                (id, opposite)
            })
            .collect();
        not_met(self.app.timeout(), &describe(&opposites))
    }

    fn print(&self) -> anyhow::Result<()> {
        let mut rows = self.app.output().users(self.app.now())?;
        if self.timer.ids().count() == 1 {
            rows = rows.one();
        }
        for id in self.timer.met_ids(Instant::now()) {
            if let Some(user) = self.seen.get(id) {
                rows.push_user(user)?;
            }
        }
        rows.finish()
    }
}

async fn start_watcher(app: &App, target: WatchTarget) -> anyhow::Result<Watcher> {
    let (server, observer) = observer::resolve(app).await?;
    let options = WatcherOptions {
        retry_missing_after: RETRY_INTERVAL,
        ..WatcherOptions::new(observer)
    };
    Ok(Watcher::start(server, target, options).await?)
}

/// Reads a user with server credentials. Retries until the service answers.
async fn read_as_server(app: &App, server: &Client, user: User) -> anyhow::Result<User> {
    let query = QueryUsers {
        filter_conditions: Map::from_iter([("id".to_owned(), Value::from(user.id()))]),
        limit: Some(1),
        ..QueryUsers::default()
    };
    loop {
        match server.query_users(&query).await {
            Ok(mut found) => return Ok(found.pop().unwrap_or(user)),
            Err(error) => wait_to_retry(app, server, error).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::ConnectionChanged;

    fn user(text: &str) -> User {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_state_is_a_word_or_an_expression() {
        let holds =
            |state: &str, text: &str| parse_state(state).unwrap().holds(&user(text)).unwrap();
        assert!(holds("online", r#"{"id":"a","online":true}"#));
        assert!(
            !holds("offline", r#"{"id":"a"}"#),
            "unknown is not yet offline"
        );
        assert!(holds("invisible", r#"{"id":"a","invisible":true}"#));
        assert!(!holds("visible", r#"{"id":"a"}"#));
        assert!(holds("exists", r#"{"id":"a"}"#));
        assert!(holds(".user.status == \"x\"", r#"{"id":"a","status":"x"}"#));
        assert!(!holds(".user.status", r#"{"id":"a"}"#));
        let slip = parse_state("onlin").unwrap_err();
        assert!(
            slip.contains("`onlin`") && slip.contains("online, offline"),
            "{slip}"
        );
        assert!(parse_state(".user |").is_err());
    }

    #[test]
    fn the_error_says_what_holds_instead() {
        let john = user(r#"{"id":"john","online":false,"invisible":true}"#);
        let say = |state: &str, users: &[(&str, Option<&User>)]| {
            let state = parse_state(state).unwrap();
            let opposites: Vec<_> = users
                .iter()
                .map(|&(id, user)| (id, state.opposite(user)))
                .collect();
            describe(&opposites)
        };
        let john = Some(&john);
        assert_eq!(say("online", &[("john", john)]), "john is offline");
        assert_eq!(say("visible", &[("john", john)]), "john is invisible");
        assert_eq!(say("online", &[("nobody", None)]), "nobody does not exist");
        assert_eq!(
            say(".user.x", &[("john", john)]),
            "`.user.x` is false for john"
        );
        assert_eq!(
            say("online", &[("amy", john), ("nobody", None), ("hiro", john)]),
            "offline: amy, hiro; does not exist: nobody"
        );
    }

    #[test]
    fn a_deleted_user_and_a_lost_connection_are_not_states() {
        let text = r#"{"type":"user.deleted","user":{"id":"a","online":false}}"#;
        let record = |body| Record {
            received_at: chrono::DateTime::UNIX_EPOCH,
            source: crate::domain::record::RecordSource::Ws,
            body,
        };
        let event = crate::domain::Event::parse(text).unwrap();
        let deleted = UserObservation::of(&record(RecordBody::Event {
            event,
            change: None,
        }));
        assert!(matches!(deleted, Some(UserObservation::Deleted(id)) if id == "a"));
        let connection = |online| {
            UserObservation::of(&record(RecordBody::ConnectionChanged(ConnectionChanged {
                online,
                reason: String::new(),
                attempt: 0,
            })))
        };
        assert!(matches!(
            connection(false),
            Some(UserObservation::ConnectionLost)
        ));
        // After reconnecting, the states are not known yet.
        assert!(connection(true).is_none());
    }
}
