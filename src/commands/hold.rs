//! `hold`: keep users connected, so that everybody sees them online.
//!
//! `--status` and `--invisible` change the users meanwhile. Their old values are restored at the end, however it comes.
//! The first record of each user says that they are connected; after that, records report only lost connections.

use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::api::{ApiError, Auth, Client};
use crate::commands::dry_run;
use crate::commands::fields::FieldChanges;
use crate::commands::ids::{IdArgs, summarize_ids};
use crate::commands::old_values::OldValues;
use crate::domain::record::{
    ConnectionChanged, EndReason, Record, RecordBody, RecordSource, StreamEnd,
};
use crate::domain::time::parse_duration;
use crate::domain::{Cid, User, UserId};
use crate::error_to_exit::code_of;
use crate::events::{ConnectionEvent, ConnectionPool, ConnectionUpdate, Identity};
use crate::exit::{Code, Failure};
use crate::output::Records;
use crate::settings::{App, DEFAULT_TIMEOUT};
use crate::signals::Signals;
use crate::stream::sinks::background_writer::WriterStatus;
use crate::stream::sinks::stdout_writer;
use crate::timer::sleep_until;

/// How long the reader may take for the last record.
const READER_GRACE: Duration = Duration::from_secs(1);

/// Flags of `hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Users who do not exist are created, as connecting always does. Lost connections are re-established; this does not set the
status and visibility again. At the end the users disconnect, and the old status and visibility, which are printed at the
start, are restored. What somebody else has changed meanwhile stays as it is.

Examples:
  presencectl hold john
  presencectl hold --in @team.txt --for 10m --status 'in the war room'
  presencectl hold bot-1 bot-2 --channel support
  presencectl hold amy --invisible")]
pub struct HoldArgs {
    /// The users to connect
    #[command(flatten)]
    pub users: IdArgs,

    /// Stop after this long
    #[arg(long = "for", value_name = "DUR", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Watch this channel as each user; a bare id means messaging:id
    #[arg(long, value_name = "CID")]
    pub channel: Option<Cid>,

    /// Set this status text while the users are held
    #[arg(long, value_name = "TEXT")]
    pub status: Option<String>,

    /// Make the users invisible while they are held: others see them as offline
    #[arg(long)]
    pub invisible: bool,
}

impl HoldArgs {
    /// The fields that are changed while the users are held.
    fn changes(&self) -> FieldChanges {
        let invisible = self
            .invisible
            .then(|| ("invisible".to_owned(), true.into()));
        let status = self.status.as_deref();
        let status = status.map(|status| ("status".to_owned(), status.into()));
        FieldChanges {
            set: invisible.into_iter().chain(status).collect(),
            unset: Vec::new(),
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

/// Holds the users until the time is over or a signal arrives.
///
/// # Errors
///
/// A user cannot be connected, or their old values cannot be restored.
pub async fn run(app: &App, args: HoldArgs) -> anyhow::Result<Code> {
    if app.is_dry_run() {
        return plan(app, &args);
    }
    app.confirm_change("connect users")?;
    let start = Instant::now();
    let users = args.users.read_some()?;
    let (writer, writer_status) = stdout_writer::open()?;
    let mut hold = Hold {
        app,
        records: app.output().records()?.with_sink(writer),
        writer_status,
        deadline: app.timeout().map(|timeout| start + timeout),
        requested: users.len(),
        connected: 0,
        reconnects: 0,
        lost: Vec::new(),
    };
    let mut signals = Signals::listen()?;
    let prepared = tokio::select! {
        prepared = prepare(app, &args, &users) => Ok(prepared?),
        code = signals.next() => Err(HoldOutcome::Ended(EndReason::of_signal(code), code)),
        () = sleep_until(hold.deadline) => Err(HoldOutcome::Ended(EndReason::Timeout, Code::Ok)),
    };
    let (client, old_values) = match prepared {
        Ok(prepared) => prepared,
        Err(outcome) => return hold.finish(outcome, None).await,
    };
    if let Some(duration) = args.duration {
        let end = Instant::now() + duration;
        hold.deadline = Some(hold.deadline.map_or(end, |deadline| deadline.min(end)));
    }
    let identities = users.into_iter().map(|user| args.identity(user)).collect();
    let mut pool = ConnectionPool::start(client.clone(), identities, args.channel.clone());
    let mut outcome = hold.run(&mut pool, &mut signals).await;
    let clean_up = async {
        pool.close().await;
        old_values.restore(&client, app.output()).await
    };
    let failed = tokio::select! {
        restored = clean_up => restored.err().map(anyhow::Error::from),
        // A second signal ends the wait for a server that does not answer.
        code = signals.next() => {
            outcome = HoldOutcome::Ended(EndReason::of_signal(code), code);
            old_values.warn_skipped(app);
            None
        }
    };
    hold.finish(outcome, failed).await
}

/// Everything before the first connection: the client, and the old values of the users.
async fn prepare(
    app: &App,
    args: &HoldArgs,
    users: &[UserId],
) -> anyhow::Result<(Client, OldValues)> {
    let client = client(app, users).await?;
    if let Some(cid) = &args.channel {
        // Opening a channel as a user would create one that does not exist.
        client
            .get_channel(cid)
            .await
            .with_context(|| format!("cannot open the channel {cid}"))?;
    }
    raise_file_limit(users.len());
    let mut old_values = OldValues::new(args.changes());
    old_values
        .read(&client, app.output(), users)
        .await
        .context("cannot read the current status and visibility of the users")?;
    Ok((client, old_values))
}

/// A client that may connect all of these users.
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
            format!("the token belongs to {own}, and cannot connect {other}"),
        )
        .hinted("set STREAM_API_SECRET instead of PRESENCECTL_USER_TOKEN")
        .into());
    }
    // `--timeout` bounds the whole run here, and not each call.
    Ok(client.with_timeout(DEFAULT_TIMEOUT))
}

fn plan(app: &App, args: &HoldArgs) -> anyhow::Result<Code> {
    let users: Vec<UserId> = args.users.read()?.collect::<Result<_, _>>()?;
    let requests = users.into_iter().map(|user| args.identity(user).request());
    dry_run::print(app, requests)?;
    Ok(Code::Ok)
}

/// How holding ended.
enum HoldOutcome {
    /// As planned, by a signal, or because all connections are lost.
    Ended(EndReason, Code),
    /// A user could not be connected.
    Refused(UserId, ApiError),
    /// Writing failed, mostly because the reader has left.
    WriteFailed(std::io::Error),
}

struct Hold<'a> {
    app: &'a App,
    records: Records<'a>,
    writer_status: WriterStatus,
    deadline: Option<Instant>,
    /// How many users are to be connected.
    requested: usize,
    /// How many users have been connected.
    connected: usize,
    reconnects: u64,
    /// Users who were connected once and cannot be connected again.
    lost: Vec<UserId>,
}

impl Hold<'_> {
    async fn run(&mut self, pool: &mut ConnectionPool, signals: &mut Signals) -> HoldOutcome {
        let status = self.writer_status.clone();
        let mut hung_up = std::pin::pin!(status.hung_up());
        loop {
            let event = tokio::select! {
                biased;
                code = signals.next() => return HoldOutcome::Ended(EndReason::of_signal(code), code),
                () = &mut hung_up => return HoldOutcome::WriteFailed(std::io::ErrorKind::BrokenPipe.into()),
                () = sleep_until(self.deadline) => return HoldOutcome::Ended(EndReason::Timeout, Code::Ok),
                event = pool.next() => event,
            };
            let Some(event) = event else {
                return HoldOutcome::Ended(EndReason::Lost, Code::StreamLost);
            };
            match self.handle(event) {
                Ok(None) => {}
                Ok(Some(outcome)) => return outcome,
                Err(error) => return HoldOutcome::WriteFailed(error),
            }
        }
    }

    fn handle(
        &mut self,
        ConnectionEvent { user, change }: ConnectionEvent,
    ) -> std::io::Result<Option<HoldOutcome>> {
        match change {
            ConnectionUpdate::Connected { hello, attempt: 0 } => {
                self.connected += 1;
                let me = own_user(&hello).unwrap_or_else(|| user_with_id_only(&user));
                self.write(RecordSource::Ws, RecordBody::Snapshot(&me))?;
                if self.connected == self.requested && self.requested > 1 {
                    let requested = self.requested;
                    self.app
                        .output()
                        .status(&format!("all {requested} users are connected."));
                }
            }
            ConnectionUpdate::Connected { attempt, .. } => {
                self.reconnects += 1;
                self.write_connection(true, format!("{user}: connected again"), attempt)?;
            }
            ConnectionUpdate::Lost {
                reason,
                was_connected,
                attempt,
            } => {
                self.app.output().warn(&if was_connected {
                    format!("{user} lost the connection: {reason}; reconnecting")
                } else {
                    format!("{user}: attempt {attempt} to connect failed: {reason}")
                });
                self.write_connection(false, format!("{user}: {reason}"), attempt)?;
            }
            ConnectionUpdate::Failed {
                error,
                was_connected: false,
            } => return Ok(Some(HoldOutcome::Refused(user, error))),
            ConnectionUpdate::Failed { error, .. } => {
                self.app
                    .output()
                    .warn(&format!("cannot connect {user} again: {error}"));
                self.write_connection(false, format!("{user}: {error}"), 0)?;
                self.lost.push(user);
            }
        }
        Ok(None)
    }

    fn write_connection(
        &mut self,
        online: bool,
        reason: String,
        attempt: u32,
    ) -> std::io::Result<()> {
        let changed = ConnectionChanged {
            online,
            reason,
            attempt,
        };
        self.write(RecordSource::Local, RecordBody::ConnectionChanged(changed))
    }

    fn write(&mut self, source: RecordSource, body: RecordBody<'_>) -> std::io::Result<()> {
        self.records.write(&Record {
            received_at: Utc::now(),
            source,
            body,
        })?;
        Ok(())
    }

    /// Writes the last record. All users are disconnected by now. `failed`: why their old values could not be restored.
    async fn finish(
        mut self,
        outcome: HoldOutcome,
        failed: Option<anyhow::Error>,
    ) -> anyhow::Result<Code> {
        let who = summarize_ids(&self.lost);
        let (reason, code, error) = match outcome {
            HoldOutcome::Ended(reason, code) => {
                let lost = !self.lost.is_empty() && code == Code::Ok;
                let error = failed.or_else(|| {
                    let message = format!("{who} lost their connection for good");
                    lost.then(|| Failure::new(Code::StreamLost, message).into())
                });
                (reason, code, error)
            }
            HoldOutcome::Refused(user, error) => {
                if let Some(failed) = failed {
                    self.app.output().warn(&format!("{failed:#}"));
                }
                let error = anyhow::Error::from(error).context(format!("cannot connect {user}"));
                // A stream without any record needs no last one.
                if self.connected == 0 {
                    return Err(error);
                }
                (EndReason::Refused, Code::Refused, Some(error))
            }
            HoldOutcome::WriteFailed(error) => return Err(failed.unwrap_or_else(|| error.into())),
        };
        if self.connected < self.requested && error.is_none() {
            let missing = self.requested - self.connected;
            let requested = self.requested;
            self.app.output().warn(&format!(
                "{missing} of {requested} users were never connected"
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
        self.write(RecordSource::Local, RecordBody::End(end))?;
        self.records.finish()?;
        // A reader who has stopped must not block the end.
        if let Ok(drained) = tokio::time::timeout(READER_GRACE, self.writer_status.drained()).await
        {
            drained?;
        }
        error.map_or(Ok(code), Err)
    }
}

/// The user as the first frame of their own connection shows them.
fn own_user(hello: &str) -> Option<User> {
    let frame: Map<String, Value> = serde_json::from_str(hello).ok()?;
    match frame.get("me")? {
        Value::Object(me) => Some(User::new(me.clone())),
        _ => None,
    }
}

fn user_with_id_only(user: &UserId) -> User {
    User::new(Map::from_iter([("id".to_owned(), json!(user))]))
}

/// Each connection takes a file descriptor, and systems grant few unless asked.
#[cfg(unix)]
fn raise_file_limit(users: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let wanted = users as u64 + 64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
        // If the limit stays too low, connecting fails and says so.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

#[cfg(not(unix))]
const fn raise_file_limit(_: usize) {}
