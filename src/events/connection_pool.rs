//! A pool of connections, one for each user who is kept online.
//!
//! Every user has a task that connects, discards the received events, and connects again after a loss. All changes are
//! reported through one queue. Connecting is paced for all users together, because the service limits connects per
//! minute, and a thousand users who lost one server must not reconnect at the same moment. What a failed connection
//! means for the command is decided elsewhere.
//!
//! Only the first connection of a user sets their fields: on a later one, that would overwrite what others have changed
//! meanwhile. The exception is a user whom the server no longer has. Connecting creates them again, which shows in their
//! creation time, and then their fields are set again.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::api::retry::error_chain;
use crate::api::{
    ApiError, Auth, CallLimiter, Client, GetOrCreate, Page, RateLimit, Request, UserPatch,
    is_loopback,
};
use crate::domain::{Cid, UserId};
use crate::events::SessionEnd;
use crate::events::backoff::Backoff;
use crate::events::connect::{Identity, QUIET_READ_BUFFER_BYTES, Socket, connect};
use crate::events::session::STALE_AFTER;
use crate::events::token_rejections::TokenRejections;
use crate::events::watcher::is_fatal;

/// The service's default limit of connects.
const CONNECT_LIMIT: RateLimit = RateLimit {
    limit: 10_000,
    remaining: 10_000,
    reset_in: Duration::ZERO,
};
/// The pace of connects to this machine, where a mock answers. If it refuses one, the service's own limit holds.
const LOCAL_CONNECT_LIMIT: RateLimit = RateLimit {
    limit: 60_000,
    remaining: 60_000,
    reset_in: Duration::ZERO,
};
/// How many reported changes may wait to be read.
const UPDATE_QUEUE_CAPACITY: usize = 1024;

/// A change of a user's connection.
#[derive(Debug)]
pub struct ConnectionEvent {
    /// The user.
    pub user: UserId,
    /// The change.
    pub change: ConnectionUpdate,
}

/// How a connection changed.
#[derive(Debug)]
pub enum ConnectionUpdate {
    /// It is established.
    Connected {
        /// The service's first frame, in which the user is `me`.
        hello: Utf8Bytes,
        /// The number of attempts since the last stable connection; 0 for the first connection.
        attempt: u32,
    },
    /// It is lost, or an attempt failed. Another attempt follows.
    Lost {
        /// The reason, in a few words.
        reason: String,
        /// Whether it was established until now.
        was_connected: bool,
        /// The number of attempts since the last stable connection.
        attempt: u32,
    },
    /// The first attempt failed, or another attempt is useless. No attempt follows.
    Failed {
        /// The error.
        error: ApiError,
        /// Whether it was ever established.
        was_connected: bool,
    },
}

/// The connections of all users. Dropping the pool drops them without a close frame.
#[derive(Debug)]
pub struct ConnectionPool {
    tasks: JoinSet<()>,
    events: mpsc::Receiver<ConnectionEvent>,
    closing: watch::Sender<bool>,
}

/// What all tasks share.
#[derive(Debug)]
struct PoolState {
    client: Client,
    channel: Option<Cid>,
    /// Locked while a user waits for their turn, so that users connect in order.
    pace: Mutex<ConnectPace>,
}

/// How fast users connect.
#[derive(Debug)]
struct ConnectPace {
    limiter: CallLimiter,
    limit: RateLimit,
}

impl ConnectPace {
    fn new(client: &Client) -> Self {
        let is_local = is_loopback(&client.settings().base_url);
        Self {
            limiter: CallLimiter::default(),
            limit: if is_local {
                LOCAL_CONNECT_LIMIT
            } else {
                CONNECT_LIMIT
            },
        }
    }
}

impl ConnectionPool {
    /// Starts to connect these users. With a channel, each of them watches it.
    pub fn start(client: Client, users: Vec<Identity>, channel: Option<Cid>) -> Self {
        let shared = Arc::new(PoolState {
            pace: Mutex::new(ConnectPace::new(&client)),
            client,
            channel,
        });
        let (sender, events) = mpsc::channel(UPDATE_QUEUE_CAPACITY);
        let (closing, is_closing) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for identity in users {
            let shared = Arc::clone(&shared);
            let sender = sender.clone();
            let is_closing = is_closing.clone();
            tasks.spawn(async move {
                UserConnection::new(&shared, &identity, &sender, is_closing)
                    .run()
                    .await;
            });
        }
        Self {
            tasks,
            events,
            closing,
        }
    }

    /// Waits for the next change; `None` when all connections have failed. Cancellation safe.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        self.events.recv().await
    }

    /// Closes all connections with a close frame, and waits for it.
    pub async fn close(mut self) {
        // There is no receiver if all tasks have ended.
        let _ = self.closing.send(true);
        // A task must not wait for its reports to be read.
        self.events.close();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Keeps one user connected.
struct UserConnection<'p> {
    shared: &'p PoolState,
    identity: &'p Identity,
    events: &'p mpsc::Sender<ConnectionEvent>,
    is_closing: watch::Receiver<bool>,
    /// Whether each attempt has a new token.
    is_signing: bool,
    backoff: Backoff,
    token_rejections: TokenRejections,
    was_ever_connected: bool,
    /// The creation time of the user whose fields are set.
    set_up: Option<String>,
}

/// How an attempt to connect, or the connection that it opened, ended.
enum AttemptEnd {
    /// The pool is closed.
    PoolClosed,
    /// Another attempt is useless.
    Failed(ApiError),
    /// Another attempt follows. The reason, in a few words.
    Lost(String),
}

impl<'p> UserConnection<'p> {
    fn new(
        shared: &'p PoolState,
        identity: &'p Identity,
        events: &'p mpsc::Sender<ConnectionEvent>,
        is_closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            shared,
            identity,
            events,
            is_closing,
            is_signing: !matches!(shared.client.settings().auth, Auth::Token { .. }),
            backoff: Backoff::default(),
            token_rejections: TokenRejections::default(),
            was_ever_connected: false,
            set_up: None,
        }
    }

    /// Connects again and again until the pool is closed, or another attempt is useless.
    async fn run(mut self) {
        loop {
            // The first attempt after a loss is counted already.
            let failed_attempts = self.backoff.attempts().saturating_sub(1);
            let opening = open(
                self.shared,
                self.identity,
                &mut self.set_up,
                failed_attempts,
            );
            let opened = tokio::select! {
                opened = opening => opened,
                () = closed(&mut self.is_closing) => return,
            };
            let was_connected = opened.is_ok();
            let end = match opened {
                Ok(session) => self.hold(session).await,
                Err(error) => self.end_of_failed_attempt(error).await,
            };
            let reason = match end {
                AttemptEnd::PoolClosed => return,
                AttemptEnd::Failed(error) => {
                    let was_connected = self.was_ever_connected;
                    let failed = ConnectionUpdate::Failed {
                        error,
                        was_connected,
                    };
                    return self.report(failed).await;
                }
                AttemptEnd::Lost(reason) => reason,
            };
            // What broke the WebSocket may have broken the pooled connections too, without a sign.
            self.shared.client.reset_connections();
            let lost = ConnectionUpdate::Lost {
                reason,
                was_connected,
                attempt: self.backoff.attempts(),
            };
            self.report(lost).await;
            tokio::select! {
                () = sleep(self.backoff.next_delay(rand::random())) => {}
                () = closed(&mut self.is_closing) => return,
            }
        }
    }

    /// Reports an established connection, and discards what it receives until it ends.
    async fn hold(&mut self, mut session: Socket) -> AttemptEnd {
        self.was_ever_connected = true;
        self.token_rejections.reset();
        let connected = ConnectionUpdate::Connected {
            hello: session.hello().clone(),
            attempt: self.backoff.attempts(),
        };
        self.report(connected).await;
        let since = Instant::now();
        let end = tokio::select! {
            end = discard_frames(&mut session) => end,
            () = closed(&mut self.is_closing) => {
                session.close().await;
                return AttemptEnd::PoolClosed;
            }
        };
        self.backoff.connection_ended(since.elapsed());
        let reason = error_chain(&end);
        let tracer = self.shared.client.tracer();
        tracer.connection(|| format!("{} disconnected: {reason}", self.identity.user));
        match end {
            SessionEnd::Refused(refusal) => self.judge(ApiError::Refused(refusal), reason),
            SessionEnd::Closed { .. }
            | SessionEnd::Silent(_)
            | SessionEnd::NoHealthCheck(_)
            | SessionEnd::Broken(_) => AttemptEnd::Lost(reason),
        }
    }

    /// Decides whether another attempt follows one that failed.
    async fn end_of_failed_attempt(&mut self, error: ApiError) -> AttemptEnd {
        // A rate limit passes. Any other error of a first attempt is a mistake of the caller.
        let is_rate_limited = matches!(error, ApiError::RateLimited { .. });
        if is_rate_limited {
            self.shared.pace.lock().await.limit = CONNECT_LIMIT;
        }
        let is_rejected = self.token_rejections.record(&error);
        if is_rejected || (!self.was_ever_connected && !is_rate_limited) {
            return AttemptEnd::Failed(error);
        }
        let reason = error_chain(&error);
        self.judge(error, reason)
    }

    /// Whether another attempt is useless after this error.
    fn judge(&self, error: ApiError, reason: String) -> AttemptEnd {
        if is_fatal(&error, self.is_signing) {
            AttemptEnd::Failed(error)
        } else {
            AttemptEnd::Lost(reason)
        }
    }

    async fn report(&self, change: ConnectionUpdate) {
        let event = ConnectionEvent {
            user: self.identity.user.clone(),
            change,
        };
        // The queue is closed when the pool is.
        let _ = self.events.send(event).await;
    }
}

/// Connects when it is the user's turn, sets their fields unless that is done, and watches the channel. `set_up` is the
/// creation time of the user whose fields were set.
async fn open(
    shared: &PoolState,
    identity: &Identity,
    set_up: &mut Option<String>,
    failed_attempts: u32,
) -> Result<Socket, ApiError> {
    let mut pace = shared.pace.lock().await;
    loop {
        let ConnectPace { limiter, limit } = &mut *pace;
        match limiter.start(Some(*limit), 0, Instant::now()) {
            Duration::ZERO => break,
            wait => sleep(wait).await,
        }
    }
    drop(pace);
    let is_reconnect = set_up.is_some();
    let connects_as = match is_reconnect {
        true => &identity.without_state(),
        false => identity,
    };
    // After a lost connection a lost answer may cost seconds only.
    let client = match is_reconnect {
        true => &shared.client.for_reconnect(failed_attempts),
        false => &shared.client,
    };
    // Boxed, because the future of connecting is far larger than the session.
    let session = Box::pin(connect(
        client,
        connects_as,
        QUIET_READ_BUFFER_BYTES,
        STALE_AFTER,
    ))
    .await?;
    let me = OwnUser::read(session.hello());
    if is_reconnect && me.is_new(identity, set_up.as_deref()) {
        let patch = UserPatch {
            id: identity.user.clone(),
            set: identity.state(),
            unset: Vec::new(),
        };
        let request = Request::patch_users(&[patch]);
        if let Err(error) = Box::pin(client.send(&request)).await {
            session.close().await;
            return Err(error);
        }
    }
    *set_up = Some(me.created_at);
    if let Some(cid) = &shared.channel {
        // Watching would create a channel that was deleted meanwhile.
        if is_reconnect && let Err(error) = Box::pin(client.get_channel(cid)).await {
            session.close().await;
            return Err(error);
        }
        let request = GetOrCreate {
            state: true,
            watch: true,
            messages: Some(Page {
                limit: 0,
                offset: 0,
            }),
            connection_id: Some(session.connection_id().to_owned()),
            ..GetOrCreate::default()
        };
        let client = client.acting_as(&identity.user);
        let opening = client.get_or_create_channel(cid, &request);
        if let Err(error) = Box::pin(opening).await {
            session.close().await;
            return Err(error);
        }
    }
    Ok(session)
}

/// What the first frame of a connection says about the connected user.
#[derive(Debug, Default)]
struct OwnUser {
    created_at: String,
    fields: Map<String, Value>,
}

impl OwnUser {
    fn read(hello: &str) -> Self {
        #[derive(Deserialize)]
        struct Hello {
            me: Map<String, Value>,
        }
        let fields = serde_json::from_str(hello).map_or_else(|_| Map::new(), |Hello { me }| me);
        let created_at = fields.get("created_at").and_then(Value::as_str);
        Self {
            created_at: created_at.unwrap_or_default().to_owned(),
            fields,
        }
    }

    /// Whether this is not the user who was set up, and nobody else has set the same fields of the new one.
    fn is_new(&self, identity: &Identity, set_up: Option<&str>) -> bool {
        let is_set = |name: &String| match self.fields.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(_) => true,
        };
        let state = identity.state();
        set_up != Some(&self.created_at) && !state.is_empty() && !state.keys().any(is_set)
    }
}

async fn discard_frames(session: &mut Socket) -> SessionEnd {
    loop {
        if let Err(end) = session.next().await {
            return end;
        }
    }
}

async fn closed(is_closing: &mut watch::Receiver<bool>) {
    // An error means that the pool was dropped.
    let _ = is_closing.wait_for(|is_closing| *is_closing).await;
}
