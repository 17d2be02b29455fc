//! `wait user`: until users are online, offline, visible, invisible, there at all, or whatever an expression says.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::condition::Vigil;
use super::{LOOK_AGAIN, PatienceArgs, endure, not_reached};
use crate::api::{Client, QueryUsers};
use crate::app::{App, DEFAULT_TIMEOUT};
use crate::commands::ids::{self, IdArgs};
use crate::commands::observer;
use crate::domain::User;
use crate::domain::event::USER_DELETED;
use crate::domain::record::{Record, RecordBody};
use crate::events::{WatchTarget, Watcher, WatcherOptions, WatcherStep};
use crate::exit::{Code, Failure};
use crate::json::expression::Expr;
use crate::signals::Signals;
use crate::stream::StderrReport;
use crate::timer::sleep_until;

/// Flags of `wait user`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends with 0 when the state is reached, 124 when --timeout is over before, 8 when --timeout 0 asked and it is not so now.
A user who does not exist is not yet in any state. An expression sees {\"user\": …}.

Examples:
  presencectl wait user john --for online --timeout 1m && echo he is here
  presencectl wait user bot-1 bot-2 --for online --stable-for 2s --timeout 30s
  presencectl wait user amy bob --any --for online --timeout 10m
  presencectl wait user john --for '.user.status == \"ready\"' --timeout 1m
  presencectl wait user john --for online --timeout 0 || echo not now")]
pub struct WaitUserArgs {
    /// Whom to wait for
    #[command(flatten)]
    pub users: IdArgs,

    /// The state: online, offline, visible, invisible, exists, or a jq expression over the user's record
    #[arg(long = "for", value_name = "STATE", value_parser = parse_state)]
    pub state: State,

    /// Be content with one of them
    #[arg(long)]
    pub any: bool,

    /// How to wait
    #[command(flatten)]
    pub patience: PatienceArgs,
}

/// What a user can be waited to be.
#[derive(Debug, Clone)]
pub enum State {
    /// Online, as others see it.
    Online,
    /// Offline, as others see it.
    Offline,
    /// Not hiding, whether online or not.
    Visible,
    /// Hiding.
    Invisible,
    /// Known to the service.
    Exists,
    /// What a jq expression says.
    Expression {
        /// As it was typed.
        source: String,
        /// Ready to be asked.
        expr: std::sync::Arc<Expr>,
    },
}

fn parse_state(text: &str) -> Result<State, String> {
    Ok(match text {
        "online" => State::Online,
        "offline" => State::Offline,
        "visible" => State::Visible,
        "invisible" => State::Invisible,
        "exists" => State::Exists,
        // A word alone is a slip: as jq it would call a function that does not exist.
        word if word.chars().all(|c| c.is_ascii_alphabetic()) => {
            return Err(format!(
                "`{word}` is no state: write online, offline, visible, invisible, exists, or a jq expression such as \
                 '.user.status == \"ready\"'"
            ));
        }
        source => State::Expression {
            source: source.to_owned(),
            expr: std::sync::Arc::new(Expr::compile(source).map_err(|failure| failure.message)?),
        },
    })
}

impl State {
    /// That these users, or any of them, are in the state.
    fn in_words(&self, names: &[String], any: bool) -> String {
        let who = ids::summarize_ids(names);
        let (who, is, does) = match names {
            [_] => (who, "is", "exists"),
            _ if any => (format!("one of {who}"), "is", "exists"),
            _ => (who, "are", "exist"),
        };
        match self {
            Self::Online => format!("{who} {is} online"),
            Self::Offline => format!("{who} {is} offline"),
            Self::Visible => format!("{who} {is} visible"),
            Self::Invisible => format!("{who} {is} invisible"),
            Self::Exists => format!("{who} {does}"),
            Self::Expression { source, .. } => format!("`{source}` is true of {who}"),
        }
    }

    /// Whether deciding needs `invisible`, which the service tells the application only.
    const fn needs_the_server(&self) -> bool {
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
            Self::Expression { expr, .. } => {
                let record = json!({ "user": user.clone().normalized() }).to_string();
                expr.is_true(record.as_bytes()).map_err(|error| {
                    Failure::new(
                        Code::Usage,
                        format!("the expression in --for fails: {error}"),
                    )
                })?
            }
        })
    }
}

/// Waits, and prints those who were waited for.
///
/// # Errors
///
/// The state was not reached in time, is false now, or watching for it failed.
pub(super) async fn run(app: &App, args: WaitUserArgs) -> anyhow::Result<Code> {
    let users = args.users.read_some()?;
    if app.is_dry_run() {
        return observer::print_plan(app, &WatchTarget::default()).await;
    }
    let names: Vec<String> = users.iter().map(ToString::to_string).collect();
    let stable_for = args.patience.stable_for.unwrap_or_default();
    let mut wait = Wait {
        state: args.state,
        vigil: Vigil::new(names.clone(), args.any, stable_for),
        seen: HashMap::new(),
        // The time that a wait may take is not the time that a call may take.
        server: app
            .server_client()
            .await?
            .map(|server| server.with_timeout(DEFAULT_TIMEOUT)),
    };
    if wait.state.needs_the_server() && wait.server.is_none() {
        return Err(Failure::new(
            Code::Refused,
            "with only a user's token nobody's visibility can be seen",
        )
        .hinted("use an API secret: STREAM_API_SECRET, or --profile")
        .into());
    }
    let what = wait.state.in_words(&names, args.any);
    let mut report = StderrReport::new(app.output(), true);
    report.reports_missing = !matches!(wait.state, State::Exists);
    let mut signals = Signals::listen()?;
    let (server, observer) = observer::resolve(app).await?;
    let target = WatchTarget {
        users,
        ..WatchTarget::default()
    };
    // Asking whether it is so now takes the time that one look takes.
    let once = app.timeout() == Some(Duration::ZERO);
    let deadline = app
        .timeout()
        .filter(|timeout| !timeout.is_zero())
        .map(|timeout| Instant::now() + timeout);
    let options = WatcherOptions {
        retry_missing_after: LOOK_AGAIN,
        ..WatcherOptions::new(observer)
    };
    let mut watcher = tokio::select! {
        watcher = Watcher::start(server, target, options) => watcher?,
        code = signals.next() => return Ok(code),
        () = sleep_until(deadline) => return Err(not_reached(app, &what)),
    };
    let code = loop {
        let over = wait.vigil.over_at();
        let look = tokio::select! {
            biased;
            code = signals.next() => break code,
            () = sleep_until(over) => break Code::Ok,
            () = sleep_until(deadline) => return Err(not_reached(app, &what)),
            step = watcher.step() => match step? {
                WatcherStep::Record(record) => {
                    report.report(&record, false);
                    Look::of(&record)
                }
                WatcherStep::Notice(text) => {
                    app.output().warn(text);
                    continue;
                }
                WatcherStep::Quiet => continue,
            },
        };
        match look {
            Some(Look::At(user)) => tokio::select! {
                biased;
                code = signals.next() => break code,
                () = sleep_until(deadline) => return Err(not_reached(app, &what)),
                seen = wait.see(app, *user) => seen?,
            },
            Some(Look::Gone(id)) => wait.lose(&id),
            Some(Look::Away) => wait.vigil.lose_sight(),
            Some(Look::Doubt(changed)) => wait.vigil.doubt(&changed, Instant::now()),
            // Everybody who is there has been looked at.
            Some(Look::Covered(missing)) => {
                for id in &missing {
                    wait.lose(id);
                }
                if !once {
                    continue;
                }
                if wait
                    .vigil
                    .over_at()
                    .is_some_and(|over| over <= Instant::now())
                {
                    break Code::Ok;
                }
                return Err(not_reached(app, &what));
            }
            None => {}
        }
    };
    if code == Code::Ok {
        wait.print(app)?;
    }
    watcher.close().await;
    Ok(code)
}

/// What a record means to a wait.
enum Look {
    At(Box<User>),
    Gone(String),
    /// The link is lost, and nobody looks.
    Away,
    /// Nobody looked for a while, and these are found changed.
    Doubt(Vec<String>),
    /// All who exist have been looked at; these do not.
    Covered(Vec<String>),
}

impl Look {
    fn of(record: &Record<'_>) -> Option<Self> {
        match &record.body {
            RecordBody::Snapshot(user) => Some(Self::At(Box::new((*user).clone()))),
            RecordBody::Event { event, .. } => {
                let user = event.user.as_ref()?.to_user().ok()?;
                Some(if event.is(USER_DELETED) {
                    Self::Gone(user.id().to_owned())
                } else {
                    Self::At(Box::new(user))
                })
            }
            RecordBody::Gap(gap) => Some(Self::Doubt(gap.repaired.clone())),
            RecordBody::Coverage(coverage) => Some(Self::Covered(coverage.missing.clone())),
            RecordBody::ConnectionChanged(changed) => (!changed.online).then_some(Self::Away),
            RecordBody::ConnectionRecovered | RecordBody::End(_) => None,
        }
    }
}

struct Wait {
    state: State,
    vigil: Vigil,
    /// How each was last seen, to be printed at the end.
    seen: HashMap<String, User>,
    server: Option<Client>,
}

impl Wait {
    async fn see(&mut self, app: &App, user: User) -> anyhow::Result<()> {
        if !self.vigil.concerns(user.id()) {
            return Ok(());
        }
        let user = match &self.server {
            Some(server) if self.state.needs_the_server() => whole(app, server, user).await?,
            Some(_) | None => user,
        };
        let holds = self.state.holds(&user)?;
        self.vigil.note(user.id(), holds, Instant::now());
        self.seen.insert(user.id().to_owned(), user);
        Ok(())
    }

    /// Who does not exist any more is in no state.
    fn lose(&mut self, id: &str) {
        self.vigil.note(id, false, Instant::now());
        self.seen.remove(id);
    }

    fn print(&self, app: &App) -> anyhow::Result<()> {
        let reached = self.vigil.reached(Instant::now());
        let mut rows = app.output().users(app.now())?;
        if self.vigil.ids().count() == 1 {
            rows = rows.one();
        }
        for id in reached {
            if let Some(user) = self.seen.get(id) {
                rows.push_user(user)?;
            }
        }
        rows.finish()
    }
}

/// A user as the application sees him, who is asked for until there is an answer.
async fn whole(app: &App, server: &Client, user: User) -> anyhow::Result<User> {
    let query = QueryUsers {
        filter_conditions: Map::from_iter([("id".to_owned(), Value::from(user.id()))]),
        limit: Some(1),
        ..QueryUsers::default()
    };
    loop {
        match server.query_users(&query).await {
            Ok(mut found) => return Ok(found.pop().unwrap_or(user)),
            Err(error) => endure(app, server, error).await?,
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
    fn states_are_told_from_expressions() {
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
    fn what_is_waited_for_is_said_in_words() {
        let say = |state: &str, names: &[&str], any| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            parse_state(state).unwrap().in_words(&names, any)
        };
        assert_eq!(say("online", &["a"], false), "a is online");
        assert_eq!(say("exists", &["a", "b"], false), "a, b exist");
        assert_eq!(say("offline", &["a", "b"], true), "one of a, b is offline");
        assert_eq!(say(".user.x", &["a"], false), "`.user.x` is true of a");
    }

    #[test]
    fn a_deleted_user_and_a_lost_link_are_no_looks() {
        let text = r#"{"type":"user.deleted","user":{"id":"a","online":false}}"#;
        let record = |body| Record {
            received_at: chrono::DateTime::UNIX_EPOCH,
            source: crate::domain::record::RecordSource::Ws,
            body,
        };
        let event = crate::domain::Event::parse(text).unwrap();
        let gone = Look::of(&record(RecordBody::Event {
            event,
            change: None,
        }));
        assert!(matches!(gone, Some(Look::Gone(id)) if id == "a"));
        let link = |online| {
            Look::of(&record(RecordBody::ConnectionChanged(ConnectionChanged {
                online,
                reason: String::new(),
                attempt: 0,
            })))
        };
        assert!(matches!(link(false), Some(Look::Away)));
        // Who is connected has not looked yet.
        assert!(link(true).is_none());
    }
}
