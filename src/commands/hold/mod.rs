//! `hold`: keep users connected, so that everybody sees them online.
//!
//! What holding changes about a user besides, his status text or his visibility, is put back at the end, however the end
//! comes. One record tells of each user who is connected; after that only losses are told.

mod restore;

use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use self::restore::{Before, Touched};
use crate::api::{ApiError, Auth, Client};
use crate::app::{App, DEFAULT_TIMEOUT};
use crate::commands::dry_run;
use crate::commands::ids::{IdArgs, summarize_ids};
use crate::domain::record::{
    ConnectionChanged, EndReason, Record, RecordBody, RecordSource, StreamEnd,
};
use crate::domain::time::parse_duration;
use crate::domain::{Cid, User, UserId};
use crate::error_report::code_of;
use crate::events::{ConnectionEvent, ConnectionPool, ConnectionUpdate, Identity};
use crate::exit::{Code, Failure};
use crate::output::Records;
use crate::signals::Signals;
use crate::stream::sinks::stdout_writer::{self, WriterStatus};
use crate::timer::sleep_until;

/// How long what is still to be written may take once the end has come.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Flags of `hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Users who do not exist are created, as connecting always does. A lost connection is made anew. At the end the users
leave, and status and visibility are as they were.

Examples:
  presencectl hold john
  presencectl hold --in @team.txt --for 10m --status 'in the war room'
  presencectl hold bot-1 bot-2 --channel support
  presencectl hold amy --invisible")]
pub struct HoldArgs {
    /// Whom to connect
    #[command(flatten)]
    pub users: IdArgs,

    /// End after this long
    #[arg(long = "for", value_name = "DUR", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Open this channel with each user, type:id; a bare id means messaging:id
    #[arg(long, value_name = "CID")]
    pub channel: Option<Cid>,

    /// Set this status text meanwhile
    #[arg(long, value_name = "TEXT")]
    pub status: Option<String>,

    /// Hide the users meanwhile: everybody else sees them as offline
    #[arg(long)]
    pub invisible: bool,
}

impl HoldArgs {
    const fn touched(&self) -> Touched {
        Touched {
            invisible: self.invisible,
            status: self.status.is_some(),
        }
    }

    fn identity(&self, user: UserId) -> Identity {
        let status = self.status.as_deref();
        Identity {
            user,
            invisible: self.invisible.then_some(true),
            details: status
                .map(|status| ("status".to_owned(), Value::from(status)))
                .into_iter()
                .collect(),
        }
    }
}

/// Holds the users until the time is over or a signal comes.
///
/// # Errors
///
/// Somebody cannot be connected, or cannot be put back to how he was.
pub async fn run(app: &App, args: HoldArgs) -> anyhow::Result<Code> {
    if app.is_dry_run() {
        return plan(app, &args);
    }
    app.confirm_change("connect users")?;
    let (writer, writer_status) = stdout_writer::open()?;
    let records = app.output().records()?.writing_to(writer);
    let mut signals = Signals::listen()?;
    let users = args.users.read_some()?;
    let client = client(app, &users).await?;
    if let Some(cid) = &args.channel {
        // Opening a channel as a user would create one that does not exist.
        client
            .get_channel(cid)
            .await
            .with_context(|| format!("cannot open the channel {cid}"))?;
    }
    raise_file_limit(users.len());
    let before = Before::read(&client, &users, args.touched())
        .await
        .context("cannot read how the users are now")?;
    let held = users.len();
    let identities = users.into_iter().map(|user| args.identity(user)).collect();
    let mut holder = ConnectionPool::start(client.clone(), identities, args.channel.clone());

    let now = Instant::now();
    let time = [args.duration, app.timeout()].into_iter().flatten().min();
    let mut hold = Hold {
        app,
        records,
        writer_status,
        until: time.map(|time| now + time),
        held,
        up: 0,
        reconnects: 0,
        lost: Vec::new(),
    };
    let mut ending = hold.run(&mut holder, &mut signals).await;
    let parting = async {
        holder.close().await;
        before.restore(&client).await
    };
    let failed = tokio::select! {
        restored = parting => restored.err().map(|(ids, error)| {
            let who = summarize_ids(&ids);
            anyhow::Error::from(error).context(format!("cannot put {who} back"))
        }),
        // Whoever asks twice does not want to wait for a server that does not answer.
        code = signals.next() => {
            ending = Ending::Told(EndReason::of_signal(code), code);
            before.give_up(app);
            None
        }
    };
    hold.end(ending, failed).await
}

/// A client that may connect all of them.
async fn client(app: &App, users: &[UserId]) -> anyhow::Result<Client> {
    let client = match app.server_client().await? {
        Some(server) => server,
        None => app.client().await?,
    };
    if let Auth::Token { user: own, .. } = &client.settings().auth
        && let Some(other) = users.iter().find(|user| *user != own)
    {
        return Err(Failure::new(
            Code::Usage,
            format!("the token is {own}'s, and {other} cannot be connected with it"),
        )
        .hinted("set STREAM_API_SECRET instead of PRESENCECTL_USER_TOKEN")
        .into());
    }
    // The time that users are held is not the time that a call may take.
    Ok(client.with_timeout(DEFAULT_TIMEOUT))
}

fn plan(app: &App, args: &HoldArgs) -> anyhow::Result<Code> {
    let users: Vec<UserId> = args.users.read()?.collect::<Result<_, _>>()?;
    let requests = users.into_iter().map(|user| args.identity(user).request());
    dry_run::print(app, requests)?;
    Ok(Code::Ok)
}

/// How holding ended.
enum Ending {
    /// For a reason that is a word, with a code.
    Told(EndReason, Code),
    /// Somebody could not be connected.
    Failed(UserId, ApiError),
    /// Writing failed, mostly because nobody reads any more.
    Unheard(std::io::Error),
}

struct Hold<'a> {
    app: &'a App,
    records: Records<'a>,
    writer_status: WriterStatus,
    until: Option<Instant>,
    held: usize,
    up: usize,
    reconnects: u64,
    /// Users whose connection was established once and is given up.
    lost: Vec<UserId>,
}

impl Hold<'_> {
    async fn run(&mut self, holder: &mut ConnectionPool, signals: &mut Signals) -> Ending {
        let status = self.writer_status.clone();
        let mut gone = std::pin::pin!(status.hung_up());
        loop {
            let link = tokio::select! {
                biased;
                code = signals.next() => return Ending::Told(EndReason::of_signal(code), code),
                () = &mut gone => return Ending::Unheard(std::io::ErrorKind::BrokenPipe.into()),
                () = sleep_until(self.until) => return Ending::Told(EndReason::Timeout, Code::Ok),
                link = holder.next() => link,
            };
            let Some(link) = link else {
                return Ending::Told(EndReason::Lost, Code::StreamLost);
            };
            match self.take(link) {
                Ok(None) => {}
                Ok(Some(ending)) => return ending,
                Err(error) => return Ending::Unheard(error),
            }
        }
    }

    fn take(
        &mut self,
        ConnectionEvent { user, change }: ConnectionEvent,
    ) -> std::io::Result<Option<Ending>> {
        match change {
            ConnectionUpdate::Connected { hello, attempt: 0 } => {
                self.up += 1;
                let me = me(&hello).unwrap_or_else(|| bare(&user));
                self.tell(RecordSource::Ws, RecordBody::Snapshot(&me))?;
                if self.up == self.held && self.held > 1 {
                    let held = self.held;
                    self.app
                        .output()
                        .status(&format!("all {held} users are connected."));
                }
            }
            ConnectionUpdate::Connected { attempt, .. } => {
                self.reconnects += 1;
                self.changed(true, format!("{user}: connected again"), attempt)?;
            }
            ConnectionUpdate::Lost {
                reason,
                was_connected,
                attempt,
            } => {
                self.app.output().warn(&if was_connected {
                    format!("{user} lost the connection: {reason}; connecting again")
                } else {
                    format!("{user}: attempt {attempt} to connect failed: {reason}")
                });
                self.changed(false, format!("{user}: {reason}"), attempt)?;
            }
            ConnectionUpdate::Failed {
                error,
                was_connected: false,
            } => return Ok(Some(Ending::Failed(user, error))),
            ConnectionUpdate::Failed { error, .. } => {
                self.app
                    .output()
                    .warn(&format!("{user} is not held any more: {error}"));
                self.changed(false, format!("{user}: {error}"), 0)?;
                self.lost.push(user);
            }
        }
        Ok(None)
    }

    fn changed(&mut self, online: bool, reason: String, attempt: u32) -> std::io::Result<()> {
        let changed = ConnectionChanged {
            online,
            reason,
            attempt,
        };
        self.tell(RecordSource::Local, RecordBody::ConnectionChanged(changed))
    }

    fn tell(&mut self, source: RecordSource, body: RecordBody<'_>) -> std::io::Result<()> {
        self.records.write(&Record {
            received_at: Utc::now(),
            source,
            body,
        })?;
        Ok(())
    }

    /// Writes the last line. Everybody has left by now, and is as he was, unless that `failed`.
    async fn end(mut self, ending: Ending, failed: Option<anyhow::Error>) -> anyhow::Result<Code> {
        let who = summarize_ids(&self.lost);
        let (reason, code, error) = match ending {
            Ending::Told(reason, code) => {
                let lost = !self.lost.is_empty() && code == Code::Ok;
                let error = failed.or_else(|| {
                    let message = format!("{who} could not be held to the end");
                    lost.then(|| Failure::new(Code::StreamLost, message).into())
                });
                (reason, code, error)
            }
            Ending::Failed(user, error) => {
                if let Some(failed) = failed {
                    self.app.output().warn(&format!("{failed:#}"));
                }
                let error = anyhow::Error::from(error).context(format!("cannot connect {user}"));
                // A stream that never began has nothing to end.
                if self.up == 0 {
                    return Err(error);
                }
                (EndReason::Refused, Code::Refused, Some(error))
            }
            Ending::Unheard(error) => return Err(failed.unwrap_or_else(|| error.into())),
        };
        if self.up < self.held && error.is_none() {
            let missing = self.held - self.up;
            let held = self.held;
            self.app.output().warn(&format!(
                "{missing} of {held} users were not connected by then"
            ));
        }
        let code = error.as_ref().map_or(code, code_of);
        let end = StreamEnd {
            reason,
            events: 0,
            gaps: 0,
            reconnects: self.reconnects,
            exit_code: code.number(),
        };
        self.tell(RecordSource::Local, RecordBody::End(end))?;
        self.records.finish()?;
        // A reader who has stopped must not keep the program from ending.
        if let Ok(drained) = tokio::time::timeout(LAST_WORDS, self.writer_status.drained()).await {
            drained?;
        }
        error.map_or(Ok(code), Err)
    }
}

/// The user as the first frame of his connection shows him to himself.
fn me(hello: &str) -> Option<User> {
    let frame: Map<String, Value> = serde_json::from_str(hello).ok()?;
    match frame.get("me")? {
        Value::Object(me) => Some(User::new(me.clone())),
        _ => None,
    }
}

fn bare(user: &UserId) -> User {
    User::new(Map::from_iter([("id".to_owned(), json!(user))]))
}

/// Each held user takes a descriptor, and systems grant few unless asked.
#[cfg(unix)]
fn raise_file_limit(users: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let wanted = users as u64 + 64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
        // What is not granted shows as a connection that cannot be made.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

#[cfg(not(unix))]
const fn raise_file_limit(_: usize) {}
