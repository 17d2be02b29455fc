//! A stream of presence records that survives the loss of its connection.
//!
//! The watcher keeps one socket open as the observer, sends the subscribing queries, and passes every frame and answer to
//! the reconciler, which decides what is emitted. When the connection is lost, it waits, connects again with a fresh
//! token, subscribes again and reports what it could not see. When to stop, which records are of interest and how they
//! look is decided elsewhere.
//!
//! A record borrows from the watcher: an event is parsed once and never copied.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, OptionFuture};
use serde_json::{Map, Value};
use tokio::time::{Instant, Sleep, sleep};

use crate::api::retry::error_chain;
use crate::api::{ApiError, Auth, Client, GetOrCreate, Request};
use crate::domain::record::{ConnectionChanged, Record, RecordBody, RecordSource};
use crate::domain::{ApiErrorCode, Change, Cid, Event, IdSet, Presence, UserId};
use crate::escape;
use crate::events::backoff::{BACKOFF_MAX, Backoff};
use crate::events::connect::{BUSY_READ_BUFFER_BYTES, Socket, connect, retry_connect};
use crate::events::observer::Observer;
use crate::events::reconcile::{Decision, Pending, ReceivedFrame, Reconciler};
use crate::events::session::{Frame, STALE_AFTER, SessionEnd};
use crate::events::shard::Shard;
use crate::events::subscribe::{Answer, Query, Subscriber, USERS_PER_CALL};
use crate::events::subscriptions::KnownUser;
use crate::events::token_rejections::TokenRejections;

/// How long after an answer without some of the requested users or channels they are queried again.
const RETRY_MISSING_AFTER: Duration = Duration::from_secs(15);
/// How many users are queued for calls at once: enough for all calls in flight.
const QUEUED_USERS_MAX: usize = 8 * USERS_PER_CALL;
/// A connection with more unreadable frames than this is given up.
const MAX_UNREADABLE_FRAMES: u32 = 8;

/// Which channels and users to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchTarget {
    /// Channels, with all their members, also those who join later.
    pub channels: Vec<Cid>,
    /// A filter: the channels that match it at the time of connecting, likewise with their members.
    pub matching: Option<Map<String, Value>>,
    /// Users by id.
    pub users: IdSet,
    /// Creates the first of `channels` if it does not exist.
    pub create: Option<ChannelSpec>,
    /// Only users and channels of this team. Multi-tenant applications refuse clients that name none.
    pub team: Option<String>,
}

/// The members and fields of a channel that is created if it does not exist.
#[derive(Debug, Clone, Default)]
pub struct ChannelSpec {
    /// The members.
    pub members: Vec<UserId>,
    /// The custom fields.
    pub data: Map<String, Value>,
}

impl ChannelSpec {
    /// The request that creates the channel. With server credentials a creator is required:
    /// the observer.
    pub fn request(&self, client: &Client, cid: &Cid, observer: &Observer) -> Request {
        let mut data = self.data.clone();
        let members: Vec<&str> = self.members.iter().map(UserId::as_str).collect();
        data.insert("members".to_owned(), members.into());
        if client.settings().auth.user().is_none() {
            data.insert("created_by_id".to_owned(), observer.user().as_str().into());
        }
        let body = GetOrCreate {
            data,
            ..GetOrCreate::default()
        };
        Request::get_or_create_channel(cid, &body)
    }
}

/// The state that an earlier run saved when it ended.
#[derive(Debug, Clone)]
pub struct ResumeState {
    /// All events up to this time were received.
    pub at: DateTime<Utc>,
    /// The last known state of each user.
    pub users: Vec<(String, KnownUser)>,
}

/// Settings of a watcher.
pub struct WatcherOptions {
    /// The user to connect as.
    pub observer: Observer,
    /// Whether to connect again after a loss. Otherwise a loss is the end.
    pub reconnect: bool,
    /// The longest delay before connecting again.
    pub backoff_max: Duration,
    /// A connection without any frame for this long counts as lost.
    pub stale_after: Duration,
    /// How long to wait before missing users and channels are queried again.
    pub retry_missing_after: Duration,
    /// The part of the users to watch.
    pub shard: Shard,
    /// Whether to emit every frame as it arrives, without keeping states.
    pub raw: bool,
    /// The states to compare the first answers with.
    pub resume: Option<ResumeState>,
    /// Returns a number between 0 and 1 for each delay before connecting again.
    pub jitter: Box<dyn FnMut() -> f64 + Send>,
}

impl WatcherOptions {
    /// The default settings, connected as `observer`.
    pub fn new(observer: Observer) -> Self {
        Self {
            observer,
            reconnect: true,
            backoff_max: BACKOFF_MAX,
            stale_after: STALE_AFTER,
            retry_missing_after: RETRY_MISSING_AFTER,
            shard: Shard::ALL,
            raw: false,
            resume: None,
            jitter: Box::new(rand::random::<f64>),
        }
    }
}

impl fmt::Debug for WatcherOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatcherOptions")
            .field("observer", &self.observer)
            .field("reconnect", &self.reconnect)
            .field("backoff_max", &self.backoff_max)
            .field("stale_after", &self.stale_after)
            .field("retry_missing_after", &self.retry_missing_after)
            .field("shard", &self.shard)
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}

/// Why a watcher cannot go on.
#[derive(Debug)]
pub enum WatchError {
    /// The service refused, or could not be reached at the start.
    Api(ApiError),
    /// The connection was lost, and reconnecting is switched off or useless.
    Lost(SessionEnd),
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(_) => f.write_str("cannot watch"),
            Self::Lost(_) => f.write_str("the stream was lost"),
        }
    }
}

impl std::error::Error for WatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Api(error) => Some(error),
            Self::Lost(end) => Some(end),
        }
    }
}

impl From<ApiError> for WatchError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// The result of one step of a watcher.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every step returns the large variant; a box would be an allocation for each event"
)]
pub enum WatcherStep<'a> {
    /// A record.
    Record(Record<'a>),
    /// A message for people that no record type covers.
    Notice(&'a str),
    /// Nothing to emit yet.
    Quiet,
}

/// Why [`Watcher::drain_ready`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainResult<B> {
    /// The callback asked to stop.
    Break(B),
    /// All frames that have arrived are emitted. The next step waits.
    Empty,
    /// Something else than a frame comes next: call [`Watcher::step`].
    Other,
}

/// A running watch.
pub struct Watcher {
    server: Client,
    target: WatchTarget,
    options: WatcherOptions,
    connection: ConnectionState,
    backoff: Backoff,
    token_rejections: TokenRejections,
    reconciler: Reconciler,
    /// The frame that the record of this step borrows from.
    frame: ReceivedFrame,
    /// What the record of this step borrows from if it is not a frame.
    emitted: Option<(DateTime<Utc>, Pending)>,
    /// The frame before the last one, if the last one could not be parsed.
    before_unreadable: Option<ReceivedFrame>,
    /// What [`Self::drain_ready`] received instead of a text.
    deferred: Option<Result<Frame, SessionEnd>>,
    /// Whether all queries were answered once. From then on a refusal is a loss, not an error.
    has_started: bool,
    /// Failed attempts to connect and subscribe since all queries were last answered.
    failed_attempts: u32,
    retry_missing_timer: Option<Pin<Box<Sleep>>>,
}

enum ConnectionState {
    Open(Box<OpenConnection>),
    /// Waiting for the next attempt.
    BackingOff(Pin<Box<Sleep>>),
    Connecting(BoxFuture<'static, Result<Socket, ApiError>>),
    /// Given up; the error is taken when it is returned.
    Ended(Option<WatchError>),
}

struct OpenConnection {
    session: Socket,
    subscriber: Subscriber,
    since: Instant,
    unreadable_frames: u32,
}

/// What happened on an open connection.
enum ConnectionInput {
    Frame(Result<Frame, SessionEnd>),
    Answer(Result<(Query, Answer), ApiError>),
    RetryMissing,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("target", &self.target)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Watcher {
    /// Connects. Subscribing, and everything after it, happens in [`Self::step`].
    ///
    /// `server` has the application's secret, or only a user's token.
    ///
    /// # Errors
    ///
    /// [`WatchError::Api`]: the service refuses, or cannot be reached within the retries of the client's settings.
    pub async fn start(
        server: Client,
        mut target: WatchTarget,
        mut options: WatcherOptions,
    ) -> Result<Self, WatchError> {
        let mut reconciler =
            Reconciler::new(options.observer.user().as_str(), options.shard, options.raw);
        reconciler.request_all(std::mem::take(&mut target.users));
        if let Some(resume) = options.resume.take() {
            for (id, known) in resume.users {
                reconciler.subscriptions.remember(&id, known);
            }
            reconciler.resume(resume.at, "this program was not running");
        }
        let mut watcher = Self {
            server,
            target,
            backoff: Backoff::up_to(options.backoff_max),
            token_rejections: TokenRejections::default(),
            options,
            connection: ConnectionState::Ended(None),
            reconciler,
            frame: ReceivedFrame::default(),
            emitted: None,
            before_unreadable: None,
            deferred: None,
            has_started: false,
            failed_attempts: 0,
            retry_missing_timer: None,
        };
        watcher.options.observer.prepare(&watcher.server).await?;
        watcher.create_channel().await?;
        let session = retry_connect(watcher.server.settings(), || watcher.connect()).await?;
        watcher.subscribe(session);
        Ok(watcher)
    }

    /// Passes the events that have arrived already to `emit`, without the work of a whole step for each. On a busy stream
    /// these are nearly all events.
    pub fn drain_ready<B>(
        &mut self,
        mut emit: impl FnMut(&Record<'_>) -> ControlFlow<B>,
    ) -> DrainResult<B> {
        loop {
            if self.before_unreadable.is_some()
                || self.deferred.is_some()
                || self.reconciler.has_more()
            {
                return DrainResult::Other;
            }
            let ConnectionState::Open(open) = &mut self.connection else {
                return DrainResult::Other;
            };
            if !open.subscriber.is_idle()
                || self.reconciler.needs_conclusion()
                || self.reconciler.subscriptions.may_have_queued()
            {
                return DrainResult::Other;
            }
            let text = match open.session.try_next() {
                None => return DrainResult::Empty,
                Some(Ok(Frame::Text(text))) => text,
                other @ Some(_) => {
                    self.deferred = other;
                    return DrainResult::Other;
                }
            };
            let at = open.session.received_at();
            let Some(frame) = self.reconciler.receive(ReceivedFrame { at, text }) else {
                continue;
            };
            if let Some(record) = self.decide(frame) {
                let flow = emit(&record);
                if let Some(change) = record.into_change() {
                    self.reconciler.subscriptions.recycle(change);
                }
                if let ControlFlow::Break(out) = flow {
                    return DrainResult::Break(out);
                }
            }
        }
    }

    /// Waits for the next thing that happens. Cancellation safe: dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`WatchError`]: the stream has ended. All records before it were returned.
    pub async fn step(&mut self) -> Result<WatcherStep<'_>, WatchError> {
        if let Some(before) = self.before_unreadable.take() {
            self.frame_unreadable(&before);
        }
        if let Some(pending) = self.reconciler.next_pending() {
            return Ok(step_of(self.emitted.insert(pending)));
        }
        if let Some(frame) = self.reconciler.next_queued() {
            return Ok(self
                .decide(frame)
                .map_or(WatcherStep::Quiet, WatcherStep::Record));
        }
        if let Some(frame) = self.deferred.take() {
            return self.handle(ConnectionInput::Frame(frame));
        }
        self.advance_subscriptions();
        if self.reconciler.has_more() {
            return Ok(WatcherStep::Quiet);
        }
        match &mut self.connection {
            ConnectionState::Ended(error) => {
                Err(error.take().unwrap_or(WatchError::Lost(SessionEnd::Closed {
                    code: None,
                    reason: String::new(),
                })))
            }
            ConnectionState::BackingOff(sleep) => {
                sleep.await;
                self.connection = ConnectionState::Connecting(self.connect());
                Ok(WatcherStep::Quiet)
            }
            ConnectionState::Connecting(attempt) => {
                let result = attempt.await;
                self.attempt_finished(result);
                Ok(WatcherStep::Quiet)
            }
            ConnectionState::Open(open) => {
                let input = open.next_input(&mut self.retry_missing_timer).await;
                self.handle(input)
            }
        }
    }

    /// The last known presence of a watched user.
    pub fn presence(&self, id: &str) -> Option<Presence> {
        self.reconciler.subscriptions.presence(id)
    }

    /// The state of every watched user as the records that were returned so far have left it.
    pub fn known_users(&self) -> impl Iterator<Item = (&str, KnownUser)> {
        let pending: HashMap<&str, Option<&Change>> = self.reconciler.pending_changes().collect();
        self.reconciler
            .subscriptions
            .known_users()
            .filter_map(move |(id, known)| match pending.get(id) {
                None => Some((id, known)),
                Some(Some(change)) => Some((id, known.before_change(change))),
                Some(None) => None,
            })
    }

    /// Up to this time everything was returned but what [`Self::known_users`] leaves out. `None` while the connection is
    /// down or answers are pending.
    pub fn complete_until(&self) -> Option<DateTime<Utc>> {
        let is_open = matches!(self.connection, ConnectionState::Open(_));
        (self.has_started && is_open && self.reconciler.is_complete())
            .then(|| self.reconciler.complete_until(Utc::now()))
    }

    /// How many of the subscribing queries are answered, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        match &self.connection {
            ConnectionState::Open(open) => {
                let (answered, queries) = open.subscriber.progress();
                let queued = self.reconciler.subscriptions.queued_count();
                (answered, queries + queued.div_ceil(USERS_PER_CALL))
            }
            ConnectionState::BackingOff(_)
            | ConnectionState::Connecting(_)
            | ConnectionState::Ended(_) => (0, 0),
        }
    }

    /// Closes the connection with a close frame.
    pub async fn close(self) {
        if let ConnectionState::Open(open) = self.connection {
            open.session.close().await;
        }
    }

    /// Connects as the observer. Creates the observer first if the server does not have them any more.
    fn connect(&self) -> BoxFuture<'static, Result<Socket, ApiError>> {
        // The watcher has retries of its own.
        let server = self.call_client().without_retries();
        let observer = self.options.observer.clone();
        let stale_after = self.options.stale_after;
        Box::pin(async move {
            observer.prepare_again(&server).await?;
            connect(
                &server,
                &observer.identity(),
                BUSY_READ_BUFFER_BYTES,
                stale_after,
            )
            .await
        })
    }

    async fn create_channel(&mut self) -> Result<(), ApiError> {
        let Some(create) = self.target.create.take() else {
            return Ok(());
        };
        let Some(cid) = self.target.channels.first() else {
            return Ok(());
        };
        let existing = match self.server.get_channel(cid).await {
            Ok(state) => state,
            Err(ApiError::Refused(refusal)) if refusal.code == ApiErrorCode::NotFound => {
                let request = create.request(&self.server, cid, &self.options.observer);
                self.server.send(&request).await?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let members: HashSet<&str> = existing.members.iter().filter_map(|m| m.id()).collect();
        let missing: Vec<&str> = create
            .members
            .iter()
            .map(UserId::as_str)
            .filter(|id| !members.contains(id))
            .collect();
        if !missing.is_empty() || !create.data.is_empty() {
            self.reconciler.enqueue(
                Utc::now(),
                Pending::Notice(format!(
                    "{cid} exists already and is not changed; use `set-channel` to change members and fields"
                )),
            );
        }
        Ok(())
    }

    /// Queues all queries of a new connection.
    fn subscribe(&mut self, session: Socket) {
        let client = self.call_client();
        let client = client.acting_as(self.options.observer.user());
        let team = self.target.team.as_deref();
        let mut subscriber = Subscriber::new(client, session.connection_id(), team);
        subscriber.enqueue_channels(&self.target.channels);
        if let Some(filter) = &self.target.matching {
            subscriber.enqueue(Query::Matching(filter.clone(), 0));
        }
        self.retry_missing_timer = None;
        // If no frame follows, the stream is complete up to this first one.
        self.frame = ReceivedFrame {
            at: Utc::now(),
            text: session.hello().clone(),
        };
        self.reconciler.connection_opened(&self.frame);
        self.connection = ConnectionState::Open(Box::new(OpenConnection {
            session,
            subscriber,
            since: Instant::now(),
            unreadable_frames: 0,
        }));
    }

    /// Queues the queries that are due; concludes the round when all queries are answered.
    fn advance_subscriptions(&mut self) {
        let ConnectionState::Open(open) = &mut self.connection else {
            return;
        };
        let awaits_members = open.subscriber.awaits_members();
        self.reconciler.set_awaits_members(awaits_members);
        if !awaits_members
            && self.reconciler.subscriptions.may_have_queued()
            && open.subscriber.has_empty_queue()
        {
            let ids = self.reconciler.subscriptions.take_queued(QUEUED_USERS_MAX);
            open.subscriber.enqueue_users(&ids);
        }
        if open.subscriber.is_idle() && self.reconciler.needs_conclusion() {
            if !std::mem::replace(&mut self.has_started, true) {
                self.reconciler.subscriptions.forget_remembered();
            }
            self.token_rejections.reset();
            self.failed_attempts = 0;
            self.reconciler.conclude(Utc::now());
            let missing = self.reconciler.subscriptions.missing_count();
            let lost_channels = self.lost_channels().count();
            self.retry_missing_timer = (missing + lost_channels > 0).then(|| {
                // At most one call a second, however many users are missing.
                let calls = missing.div_ceil(USERS_PER_CALL) + lost_channels;
                let least = self.options.retry_missing_after;
                Box::pin(sleep(least.max(Duration::from_secs(calls as u64))))
            });
        }
    }

    /// The requested channels that are not watched now. They may be created again.
    fn lost_channels(&self) -> impl Iterator<Item = &Cid> {
        let channels = self.target.channels.iter();
        channels.filter(|cid| self.reconciler.has_lost_channel(cid))
    }

    fn handle(&mut self, input: ConnectionInput) -> Result<WatcherStep<'_>, WatchError> {
        match input {
            ConnectionInput::Frame(Ok(frame)) => {
                let text = match frame {
                    Frame::Text(text) => text,
                    // The service sends none. Handle it in order, like a text.
                    Frame::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
                };
                let at = match &self.connection {
                    ConnectionState::Open(open) => open.session.received_at(),
                    ConnectionState::BackingOff(_)
                    | ConnectionState::Connecting(_)
                    | ConnectionState::Ended(_) => Utc::now(),
                };
                if let Some(frame) = self.reconciler.receive(ReceivedFrame { at, text }) {
                    return Ok(self
                        .decide(frame)
                        .map_or(WatcherStep::Quiet, WatcherStep::Record));
                }
            }
            ConnectionInput::Frame(Err(end)) => {
                let reason = error_chain(&end);
                let user = self.options.observer.user();
                let tracer = self.server.tracer();
                tracer.connection(|| format!("{user} disconnected: {reason}"));
                let error = match end {
                    SessionEnd::Refused(refusal) => WatchError::Api(ApiError::Refused(refusal)),
                    end @ (SessionEnd::Closed { .. }
                    | SessionEnd::Silent(_)
                    | SessionEnd::NoHealthCheck(_)
                    | SessionEnd::Broken(_)) => WatchError::Lost(end),
                };
                self.connection_lost(&reason, error);
            }
            ConnectionInput::Answer(Ok((query, answer))) => self.apply_answer(query, answer)?,
            ConnectionInput::Answer(Err(error)) if !self.has_started => {
                self.connection = ConnectionState::Ended(None);
                return Err(WatchError::Api(error));
            }
            ConnectionInput::Answer(Err(error)) => {
                let reason = format!("cannot subscribe: {}", error_chain(&error));
                self.failed_attempts += 1;
                self.connection_lost(&reason, WatchError::Api(error));
            }
            ConnectionInput::RetryMissing => {
                self.retry_missing_timer = None;
                self.reconciler.retry_missing();
                let lost: Vec<Cid> = self.lost_channels().cloned().collect();
                if let ConnectionState::Open(open) = &mut self.connection {
                    open.subscriber.enqueue_channels(&lost);
                }
            }
        }
        Ok(WatcherStep::Quiet)
    }

    fn apply_answer(&mut self, query: Query, mut answer: Answer) -> Result<(), WatchError> {
        // All channels are refused: an error at the start, and a notice later.
        if let Answer::Channels { refused, .. } = &mut answer
            && !self.has_started
            && !refused.is_empty()
            && refused.len() == self.target.channels.len()
        {
            let (_, error) = refused.swap_remove(0);
            self.connection = ConnectionState::Ended(None);
            return Err(WatchError::Api(error));
        }
        let further = self.reconciler.apply_answer(Utc::now(), query, answer);
        if let ConnectionState::Open(open) = &mut self.connection {
            for query in further {
                open.subscriber.enqueue(query);
            }
        }
        Ok(())
    }

    /// Parses a frame, once, and decides about it.
    #[inline]
    fn decide(&mut self, frame: ReceivedFrame) -> Option<Record<'_>> {
        let before = std::mem::replace(&mut self.frame, frame);
        let Ok(event) = Event::parse(&self.frame.text) else {
            self.before_unreadable = Some(before);
            return None;
        };
        match self.reconciler.decide(&event, &self.frame) {
            Decision::Emit(change) => Some(Record {
                received_at: self.frame.at,
                source: RecordSource::Ws,
                body: RecordBody::Event { event, change },
            }),
            Decision::Suppress => None,
        }
    }

    /// The frame of the last step could not be parsed and may have been an event, so all queries are sent again on the
    /// same connection.
    fn frame_unreadable(&mut self, before: &ReceivedFrame) {
        let now = Utc::now();
        let start: String = self.frame.text.chars().take(60).collect();
        let note = format!("a frame could not be parsed: `{}`", escape::escape(&start));
        if self.options.raw {
            self.reconciler.enqueue(now, Pending::Notice(note));
            return;
        }
        self.reconciler.frame_unreadable(now, before, &note);
        let ConnectionState::Open(open) = &mut self.connection else {
            return;
        };
        open.unreadable_frames += 1;
        if open.unreadable_frames > MAX_UNREADABLE_FRAMES {
            let end = SessionEnd::Broken(note.into());
            self.connection_lost("too many frames could not be parsed", WatchError::Lost(end));
            return;
        }
        // Answers under way may be older than the frame.
        open.subscriber.clear();
        open.subscriber.enqueue_channels(&self.target.channels);
        if let Some(filter) = &self.target.matching {
            open.subscriber.enqueue(Query::Matching(filter.clone(), 0));
        }
    }

    /// Handles the loss of the connection. `error` is how the stream ends if it is not made again.
    fn connection_lost(&mut self, reason: &str, error: WatchError) {
        if let ConnectionState::Open(open) = &self.connection {
            self.backoff.connection_ended(open.since.elapsed());
        }
        self.retry_missing_timer = None;
        self.reconciler.connection_lost(Utc::now(), reason);
        self.schedule_attempt(reason, error);
    }

    /// The client for calls that connect and subscribe. Once the stream runs, a lost response may cost seconds only.
    fn call_client(&self) -> Client {
        match self.has_started {
            true => self.server.for_reconnect(self.failed_attempts),
            false => self.server.clone(),
        }
    }

    /// Reports that there is no connection, and schedules the next attempt or ends the stream.
    fn schedule_attempt(&mut self, reason: &str, error: WatchError) {
        // What broke the WebSocket may have broken the pooled connections too, without a sign.
        self.server.reset_connections();
        let changed = ConnectionChanged {
            online: false,
            reason: reason.to_owned(),
            attempt: self.backoff.attempts(),
        };
        self.reconciler
            .enqueue(Utc::now(), Pending::Connection(changed));
        let is_signing = !matches!(self.server.settings().auth, Auth::Token { .. });
        let is_useless = match &error {
            WatchError::Api(error) => {
                self.token_rejections.record(error) || is_fatal(error, is_signing)
            }
            WatchError::Lost(_) => false,
        };
        self.connection = if is_useless {
            ConnectionState::Ended(Some(error))
        } else if self.options.reconnect {
            let retry_after = match &error {
                WatchError::Api(ApiError::RateLimited { retry_after, .. }) => *retry_after,
                WatchError::Api(_) | WatchError::Lost(_) => None,
            };
            let delay = self.backoff.next_delay((self.options.jitter)());
            ConnectionState::BackingOff(Box::pin(sleep(delay.max(retry_after.unwrap_or_default()))))
        } else {
            ConnectionState::Ended(Some(WatchError::Lost(match error {
                WatchError::Lost(end) => end,
                WatchError::Api(error) => SessionEnd::Broken(Box::new(error)),
            })))
        };
    }

    fn attempt_finished(&mut self, result: Result<Socket, ApiError>) {
        match result {
            Ok(session) => {
                let changed = ConnectionChanged {
                    online: true,
                    reason: "connected again".to_owned(),
                    attempt: self.backoff.attempts(),
                };
                self.reconciler
                    .enqueue(Utc::now(), Pending::Connection(changed));
                self.subscribe(session);
            }
            Err(error) => {
                let reason = error_chain(&error);
                self.failed_attempts += 1;
                self.schedule_attempt(&reason, WatchError::Api(error));
            }
        }
    }
}

impl OpenConnection {
    async fn next_input(
        &mut self,
        retry_missing_timer: &mut Option<Pin<Box<Sleep>>>,
    ) -> ConnectionInput {
        let Self {
            session,
            subscriber,
            ..
        } = self;
        let idle = subscriber.is_idle();
        tokio::select! {
            // Answers are few, and while one is pending, frames are buffered behind it.
            biased;
            answer = subscriber.next(), if !idle => ConnectionInput::Answer(answer),
            frame = session.next() => ConnectionInput::Frame(frame),
            Some(()) = OptionFuture::from(retry_missing_timer.as_mut()) => ConnectionInput::RetryMissing,
        }
    }
}

/// Whether connecting again is useless. `is_signing` says that we have the secret, so that an expired token is replaced.
pub(crate) fn is_fatal(error: &ApiError, is_signing: bool) -> bool {
    match error {
        ApiError::Refused(refusal) => match refusal.code {
            ApiErrorCode::Internal
            | ApiErrorCode::RateLimited
            | ApiErrorCode::RequestTimeout
            | ApiErrorCode::CustomCommandFailed
            | ApiErrorCode::ConnectionIdNotFound
            | ApiErrorCode::CoolDown
            | ApiErrorCode::TooManyConnections => false,
            // The service answers so when the connection that a query names is gone.
            ApiErrorCode::InvalidInput => false,
            ApiErrorCode::TokenExpired => !is_signing,
            _ => refusal.status < 500,
        },
        ApiError::Insecure { .. } | ApiError::UrlTooLong { .. } => true,
        ApiError::RateLimited { .. }
        | ApiError::Unreadable { .. }
        | ApiError::ResponseTooLarge { .. }
        | ApiError::Transport { .. } => false,
    }
}

/// The step that emits something that is not a frame.
fn step_of((received_at, pending): &(DateTime<Utc>, Pending)) -> WatcherStep<'_> {
    let (source, body) = match pending {
        Pending::Notice(text) => return WatcherStep::Notice(text),
        Pending::Snapshot(user) => (RecordSource::Query, RecordBody::Snapshot(user)),
        Pending::Resync { text, change, .. } => {
            let event = Event::parse(text).expect("the reconciler builds valid events");
            let change = Some(change.clone());
            (RecordSource::Resync, RecordBody::Event { event, change })
        }
        Pending::Gap(gap) => (RecordSource::Local, RecordBody::Gap(gap.clone())),
        Pending::Coverage(coverage) => {
            (RecordSource::Local, RecordBody::Coverage(coverage.clone()))
        }
        Pending::Connection(changed) => (
            RecordSource::Local,
            RecordBody::ConnectionChanged(changed.clone()),
        ),
        Pending::Recovered => (RecordSource::Local, RecordBody::ConnectionRecovered),
    };
    WatcherStep::Record(Record {
        received_at: *received_at,
        source,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Refusal;

    fn refused(code: i32, status: u16) -> ApiError {
        ApiError::Refused(Refusal {
            code: code.into(),
            status,
            ..Refusal::default()
        })
    }

    #[test]
    fn an_expired_token_is_fatal_only_if_we_cannot_sign_another() {
        assert!(!is_fatal(&refused(40, 401), true));
        assert!(is_fatal(&refused(40, 401), false));
        assert!(is_fatal(&refused(43, 401), true));
        assert!(is_fatal(&refused(2, 401), true));
        assert!(is_fatal(&refused(17, 403), true));
    }

    #[test]
    fn errors_of_the_service_itself_are_retried() {
        for error in [
            refused(-1, 500),
            refused(23, 408),
            refused(71, 403),
            refused(5, 503),
        ] {
            assert!(!is_fatal(&error, false), "{error:?}");
        }
    }
}
