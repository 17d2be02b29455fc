//! A stream of presence records that survives losing its link.
//!
//! The watcher keeps one socket open as the observer, puts the subscribing questions, and hands every frame and answer to
//! the reconciler, which decides what is told. When the link is lost it waits, connects again with a fresh token, asks
//! everything again and tells what it could not see. It does not decide when to stop, which records are of interest, or
//! how they look.
//!
//! A record borrows from the watcher: an event is looked at once and never copied.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, OptionFuture};
use serde_json::{Map, Value};
use tokio::time::{Instant, Sleep, sleep};

use crate::api::error::harmless;
use crate::api::retry::error_chain;
use crate::api::{ApiError, Auth, Client, GetOrCreate, Request};
use crate::domain::record::{ConnectionChanged, Record, RecordBody, RecordSource};
use crate::domain::{ApiErrorCode, Change, Cid, Event, Presence, UserId};
use crate::events::backoff::{BACKOFF_MAX, Backoff};
use crate::events::connect::{BUSY_READ_BUFFER_BYTES, Socket, connect, retry_connect};
use crate::events::observer::Observer;
use crate::events::reconcile::{Decision, Pending, ReceivedFrame, Reconciler};
use crate::events::session::{Frame, STALE_AFTER, SessionEnd};
use crate::events::shard::Shard;
use crate::events::subscribe::{Answer, Query, Subscriber, USERS_A_CALL};
use crate::events::subscriptions::KnownUser;
use crate::events::token_rejections::TokenRejections;

/// How long after an answer that lacked users they are asked for again.
const RETRY_MISSING_AFTER: Duration = Duration::from_secs(15);
/// Unreadable frames on one connection after which it is given up.
const MAX_UNREADABLE_FRAMES: u32 = 8;

/// Whom to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchTarget {
    /// Channels by name, with all their members, also those who join later.
    pub channels: Vec<Cid>,
    /// The channels that match this filter at the time of connecting, in the same way.
    pub matching: Option<Map<String, Value>>,
    /// Users by name.
    pub users: Vec<UserId>,
    /// What to create the first of `channels` with, where it does not exist.
    pub create: Option<ChannelSpec>,
}

/// A channel that may have to be created.
#[derive(Debug, Clone, Default)]
pub struct ChannelSpec {
    /// Its members.
    pub members: Vec<UserId>,
    /// Its custom fields.
    pub data: Map<String, Value>,
}

impl ChannelSpec {
    /// The request that creates the channel. With server credentials somebody has to be named as its creator: the
    /// observer.
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

/// What an earlier run knew at its end.
#[derive(Debug, Clone)]
pub struct ResumeState {
    /// Up to when it knew everything.
    pub at: DateTime<Utc>,
    /// The last known state of each user.
    pub users: Vec<(String, KnownUser)>,
}

/// How to watch.
pub struct WatcherOptions {
    /// Who looks.
    pub observer: Observer,
    /// Whether a lost link is made anew. Without it, losing the link is the end.
    pub reconnect: bool,
    /// The longest wait before connecting again.
    pub backoff_max: Duration,
    /// How long the link may be silent before it counts as lost.
    pub stale_after: Duration,
    /// How soon those who do not exist are looked for again.
    pub retry_missing_after: Duration,
    /// Which part of the users is watched.
    pub shard: Shard,
    /// Whether every frame is told as it comes, with no state kept.
    pub raw: bool,
    /// What to compare the first answers with.
    pub resume: Option<ResumeState>,
    /// A number between 0 and 1 for each wait before connecting again.
    pub jitter: Box<dyn FnMut() -> f64 + Send>,
}

impl WatcherOptions {
    /// The usual way of watching, as `observer`.
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
    /// The link was lost, and connecting again is not wanted.
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

/// What one step of a watcher brought.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is what nearly every step brings; a box would be an allocation for each event"
)]
pub enum WatcherStep<'a> {
    /// A record.
    Record(Record<'a>),
    /// Something that a person should know and a record has no type for.
    Notice(&'a str),
    /// Nothing to tell; there is more to come.
    Quiet,
}

/// What came of telling the frames that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainResult<B> {
    /// Whoever was told wants a break.
    Break(B),
    /// All are told, and there is nothing to do but to wait.
    Empty,
    /// Something else comes first; [`Watcher::step`] does it.
    Other,
}

/// A running watch.
pub struct Watcher {
    server: Client,
    target: WatchTarget,
    options: WatcherOptions,
    link: Link,
    backoff: Backoff,
    stale: TokenRejections,
    reconciler: Reconciler,
    /// The frame that the record of this step borrows from.
    frame: ReceivedFrame,
    /// What this step's record borrows from when it is no frame.
    said: Option<(DateTime<Utc>, Pending)>,
    /// The frame before the last one, where the last one could not be read.
    unread: Option<ReceivedFrame>,
    /// What came instead of a text when only those were wanted.
    early: Option<Result<Frame, SessionEnd>>,
    /// Whether everything was asked and answered once: from then on a refusal is a loss and not an error.
    begun: bool,
    retry_missing_timer: Option<Pin<Box<Sleep>>>,
}

enum Link {
    Up(Box<Up>),
    Waiting(Pin<Box<Sleep>>),
    Opening(BoxFuture<'static, Result<Socket, ApiError>>),
    Over(Option<WatchError>),
}

struct Up {
    session: Socket,
    subscriber: Subscriber,
    since: Instant,
    nonsense: u32,
}

/// What happened on a link that is up.
enum Happened {
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
    /// `server` carries the application's secret, or only a user's token.
    ///
    /// # Errors
    ///
    /// The service refuses, or cannot be reached after as many attempts as the client's settings allow.
    pub async fn start(
        server: Client,
        mut target: WatchTarget,
        mut options: WatcherOptions,
    ) -> Result<Self, WatchError> {
        let mut reconciler =
            Reconciler::new(options.observer.user().as_str(), options.shard, options.raw);
        for user in std::mem::take(&mut target.users) {
            reconciler.want(user.as_str());
        }
        if let Some(resume) = options.resume.take() {
            for (id, known) in resume.users {
                reconciler.tracker.remember(&id, known);
            }
            reconciler.resume(resume.at, "this program was not running");
        }
        let mut watcher = Self {
            server,
            target,
            backoff: Backoff::up_to(options.backoff_max),
            stale: TokenRejections::default(),
            options,
            link: Link::Over(None),
            reconciler,
            frame: ReceivedFrame::default(),
            said: None,
            unread: None,
            early: None,
            begun: false,
            retry_missing_timer: None,
        };
        watcher.options.observer.prepare(&watcher.server).await?;
        watcher.create_channel().await?;
        let session = retry_connect(watcher.server.settings(), || watcher.open()).await?;
        watcher.subscribe(session);
        Ok(watcher)
    }

    /// Tells the events that are there already, one after the other, without a detour for each: on a busy stream they
    /// are nearly all that happens.
    pub fn drain_ready<B>(
        &mut self,
        mut tell: impl FnMut(&Record<'_>) -> ControlFlow<B>,
    ) -> DrainResult<B> {
        loop {
            if self.unread.is_some() || self.early.is_some() || self.reconciler.has_more() {
                return DrainResult::Other;
            }
            let Link::Up(up) = &mut self.link else {
                return DrainResult::Other;
            };
            if !up.subscriber.is_idle()
                || self.reconciler.is_unsettled()
                || self.reconciler.tracker.is_open()
            {
                return DrainResult::Other;
            }
            let text = match up.session.try_next() {
                None => return DrainResult::Empty,
                Some(Ok(Frame::Text(text))) => text,
                other @ Some(_) => {
                    self.early = other;
                    return DrainResult::Other;
                }
            };
            let at = up.session.arrived();
            let Some(frame) = self.reconciler.receive(ReceivedFrame { at, text }) else {
                continue;
            };
            if let Some(record) = self.judge(frame)
                && let ControlFlow::Break(out) = tell(&record)
            {
                return DrainResult::Break(out);
            }
        }
    }

    /// The next thing that happens. Safe to drop and call again: nothing is lost.
    ///
    /// # Errors
    ///
    /// The watch is over, after the last record was told.
    pub async fn step(&mut self) -> Result<WatcherStep<'_>, WatchError> {
        if let Some(before) = self.unread.take() {
            self.garbled(&before);
        }
        if let Some(said) = self.reconciler.next_said() {
            return Ok(tell(self.said.insert(said)));
        }
        if let Some(frame) = self.reconciler.next_waiting() {
            return Ok(self
                .judge(frame)
                .map_or(WatcherStep::Quiet, WatcherStep::Record));
        }
        if let Some(frame) = self.early.take() {
            return self.take(Happened::Frame(frame));
        }
        self.proceed();
        if self.reconciler.has_more() {
            return Ok(WatcherStep::Quiet);
        }
        match &mut self.link {
            Link::Over(error) => {
                Err(error.take().unwrap_or(WatchError::Lost(SessionEnd::Closed {
                    code: None,
                    reason: String::new(),
                })))
            }
            Link::Waiting(sleep) => {
                sleep.await;
                self.link = Link::Opening(self.open());
                Ok(WatcherStep::Quiet)
            }
            Link::Opening(opening) => {
                let opened = opening.await;
                self.opened(opened);
                Ok(WatcherStep::Quiet)
            }
            Link::Up(up) => {
                let happened = up.happens(&mut self.retry_missing_timer).await;
                self.take(happened)
            }
        }
    }

    /// How a watched user was last seen.
    pub fn presence(&self, id: &str) -> Option<Presence> {
        self.reconciler.tracker.presence(id)
    }

    /// How every watched user was last told of.
    pub fn known_users(&self) -> impl Iterator<Item = (&str, KnownUser)> {
        let untold: HashMap<String, Option<&Change>> = self.reconciler.found().collect();
        self.reconciler
            .tracker
            .known()
            .filter_map(move |(id, known)| match untold.get(id) {
                None => Some((id, known)),
                Some(Some(change)) => Some((id, known.before_change(change))),
                Some(None) => None,
            })
    }

    /// Up to when everything was told but what [`Self::known_users`] leaves out. `None` while the link is down, or answers are awaited.
    pub fn complete_until(&self) -> Option<DateTime<Utc>> {
        let up = matches!(self.link, Link::Up(_));
        (self.begun && up && self.reconciler.is_whole())
            .then(|| self.reconciler.complete_until(Utc::now()))
    }

    /// How many of the subscribing calls are done, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        match &self.link {
            Link::Up(up) => up.subscriber.progress(),
            Link::Waiting(_) | Link::Opening(_) | Link::Over(_) => (0, 0),
        }
    }

    /// Leaves politely.
    pub async fn close(self) {
        if let Link::Up(up) = self.link {
            up.session.close().await;
        }
    }

    /// Connects as the observer, whose right to look is renewed first: a server that was restarted may not know him.
    fn open(&self) -> BoxFuture<'static, Result<Socket, ApiError>> {
        // Repeating is this watcher's own business.
        let server = self.server.without_retries();
        let observer = self.options.observer.clone();
        let stale_after = self.options.stale_after;
        Box::pin(async move {
            observer.prepare(&server).await?;
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
        let found = match self.server.get_channel(cid).await {
            Ok(state) => state,
            Err(ApiError::Refused(refusal)) if refusal.code == ApiErrorCode::NotFound => {
                let request = create.request(&self.server, cid, &self.options.observer);
                self.server.send(&request).await?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let members: HashSet<&str> = found.members.iter().filter_map(|m| m.id()).collect();
        let absent: Vec<&str> = create
            .members
            .iter()
            .map(UserId::as_str)
            .filter(|id| !members.contains(id))
            .collect();
        if !absent.is_empty() || !create.data.is_empty() {
            self.reconciler.say(
                Utc::now(),
                Pending::Notice(format!(
                    "{cid} exists already and stays as it is; `set-channel` changes members and fields"
                )),
            );
        }
        Ok(())
    }

    /// Puts all questions to a new connection.
    fn subscribe(&mut self, session: Socket) {
        let client = self.server.acting_as(self.options.observer.user());
        let mut subscriber = Subscriber::new(client, session.connection_id());
        subscriber.ask_for_channels(&self.target.channels);
        if let Some(filter) = &self.target.matching {
            subscriber.ask(Query::Matching(filter.clone(), 0));
        }
        self.retry_missing_timer = None;
        // A stream that falls silent at once is complete up to its first frame, and no further.
        self.frame = ReceivedFrame {
            at: Utc::now(),
            text: session.hello().clone(),
        };
        self.reconciler.begin(&self.frame);
        self.link = Link::Up(Box::new(Up {
            session,
            subscriber,
            since: Instant::now(),
            nonsense: 0,
        }));
    }

    /// Puts what questions there are, and draws the conclusions when there are none.
    fn proceed(&mut self) {
        let Link::Up(up) = &mut self.link else {
            return;
        };
        let awaits_members = up.subscriber.awaits_members();
        self.reconciler.set_awaits_members(awaits_members);
        if !awaits_members && self.reconciler.tracker.is_open() && up.subscriber.takes_more() {
            let ids = self.reconciler.tracker.take_open();
            up.subscriber.ask_for_users(&ids);
        }
        if up.subscriber.is_idle() && self.reconciler.is_unsettled() {
            if !std::mem::replace(&mut self.begun, true) {
                self.reconciler.tracker.forget_remembered();
            }
            self.stale.passed();
            self.reconciler.settle(Utc::now());
            let missing = self.reconciler.tracker.missing_count();
            self.retry_missing_timer = (missing > 0).then(|| {
                // A call a second at most, however many there are to look for.
                let calls = missing.div_ceil(USERS_A_CALL);
                let least = self.options.retry_missing_after;
                Box::pin(sleep(least.max(Duration::from_secs(calls as u64))))
            });
        }
    }

    fn take(&mut self, happened: Happened) -> Result<WatcherStep<'_>, WatchError> {
        match happened {
            Happened::Frame(Ok(frame)) => {
                let text = match frame {
                    Frame::Text(text) => text,
                    // The service sends none; whatever it is, it takes its place in the order of the others.
                    Frame::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
                };
                let at = match &self.link {
                    Link::Up(up) => up.session.arrived(),
                    Link::Waiting(_) | Link::Opening(_) | Link::Over(_) => Utc::now(),
                };
                if let Some(frame) = self.reconciler.receive(ReceivedFrame { at, text }) {
                    return Ok(self
                        .judge(frame)
                        .map_or(WatcherStep::Quiet, WatcherStep::Record));
                }
            }
            Happened::Frame(Err(end)) => {
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
                self.lost(&reason, error);
            }
            Happened::Answer(Ok((question, found))) => self.answered(question, found)?,
            Happened::Answer(Err(error)) if !self.begun => {
                self.link = Link::Over(None);
                return Err(WatchError::Api(error));
            }
            Happened::Answer(Err(error)) => {
                let reason = format!("cannot subscribe: {}", error_chain(&error));
                self.lost(&reason, WatchError::Api(error));
            }
            Happened::RetryMissing => {
                self.retry_missing_timer = None;
                self.reconciler.retry_missing();
            }
        }
        Ok(WatcherStep::Quiet)
    }

    fn answered(&mut self, question: Query, mut found: Answer) -> Result<(), WatchError> {
        // Nothing of what was asked for may be looked at: a mistake at the start, and a notice later on.
        if let Answer::Channels { refused, .. } = &mut found
            && !self.begun
            && !refused.is_empty()
            && refused.len() == self.target.channels.len()
        {
            let (_, error) = refused.swap_remove(0);
            self.link = Link::Over(None);
            return Err(WatchError::Api(error));
        }
        let further = self.reconciler.answered(Utc::now(), question, found);
        if let Link::Up(up) = &mut self.link {
            for question in further {
                up.subscriber.ask(question);
            }
        }
        Ok(())
    }

    /// Looks at a frame, the only time.
    #[inline]
    fn judge(&mut self, frame: ReceivedFrame) -> Option<Record<'_>> {
        let before = std::mem::replace(&mut self.frame, frame);
        let Ok(event) = Event::parse(&self.frame.text) else {
            self.unread = Some(before);
            return None;
        };
        match self.reconciler.judge(&event, &self.frame) {
            Decision::Emit(change) => Some(Record {
                received_at: self.frame.at,
                source: RecordSource::Ws,
                body: RecordBody::Event { event, change },
            }),
            Decision::Suppress => None,
        }
    }

    /// The frame of the last step, which nobody can read, may have been an event, so everything is asked again on the
    /// same link.
    fn garbled(&mut self, before: &ReceivedFrame) {
        let now = Utc::now();
        let start: String = self.frame.text.chars().take(60).collect();
        let note = format!("a frame could not be read: `{}`", harmless(&start));
        if self.options.raw {
            self.reconciler.say(now, Pending::Notice(note));
            return;
        }
        self.reconciler.garbled(now, before, &note);
        let Link::Up(up) = &mut self.link else {
            return;
        };
        up.nonsense += 1;
        if up.nonsense > MAX_UNREADABLE_FRAMES {
            let end = SessionEnd::Broken(note.into());
            self.lost("the server sends nonsense", WatchError::Lost(end));
            return;
        }
        // Answers under way may be older than the frame.
        up.subscriber.forget();
        up.subscriber.ask_for_channels(&self.target.channels);
        if let Some(filter) = &self.target.matching {
            up.subscriber.ask(Query::Matching(filter.clone(), 0));
        }
    }

    /// The link is gone; `error` is what that means if it stays so.
    fn lost(&mut self, reason: &str, error: WatchError) {
        if let Link::Up(up) = &self.link {
            self.backoff.lost_after(up.since.elapsed());
        }
        self.retry_missing_timer = None;
        self.reconciler.lost(Utc::now(), reason);
        self.down(reason, error);
    }

    /// Says that there is no link, and waits for the next attempt or ends.
    fn down(&mut self, reason: &str, error: WatchError) {
        let changed = ConnectionChanged {
            online: false,
            reason: reason.to_owned(),
            attempt: self.backoff.attempts(),
        };
        self.reconciler.say(Utc::now(), Pending::Link(changed));
        let minted = !matches!(self.server.settings().auth, Auth::Token { .. });
        let stale = match &error {
            WatchError::Api(error) => self.stale.again(error),
            WatchError::Lost(_) => false,
        };
        self.link = if stale || is_fatal(&error, minted) {
            Link::Over(Some(error))
        } else if self.options.reconnect {
            let asked = match &error {
                WatchError::Api(ApiError::RateLimited { retry_after, .. }) => *retry_after,
                WatchError::Api(_) | WatchError::Lost(_) => None,
            };
            let wait = self.backoff.next((self.options.jitter)());
            Link::Waiting(Box::pin(sleep(wait.max(asked.unwrap_or_default()))))
        } else {
            Link::Over(Some(WatchError::Lost(match error {
                WatchError::Lost(end) => end,
                WatchError::Api(error) => SessionEnd::Broken(Box::new(error)),
            })))
        };
    }

    fn opened(&mut self, opened: Result<Socket, ApiError>) {
        match opened {
            Ok(session) => {
                let changed = ConnectionChanged {
                    online: true,
                    reason: "connected again".to_owned(),
                    attempt: self.backoff.attempts(),
                };
                self.reconciler.say(Utc::now(), Pending::Link(changed));
                self.subscribe(session);
            }
            Err(error) => {
                let reason = error_chain(&error);
                self.down(&reason, WatchError::Api(error));
            }
        }
    }
}

impl Up {
    async fn happens(&mut self, retry_missing_timer: &mut Option<Pin<Box<Sleep>>>) -> Happened {
        let Self {
            session,
            subscriber,
            ..
        } = self;
        let idle = subscriber.is_idle();
        tokio::select! {
            // Answers are few, and while one is awaited frames pile up behind it.
            biased;
            answer = subscriber.next(), if !idle => Happened::Answer(answer),
            frame = session.next() => Happened::Frame(frame),
            Some(()) = OptionFuture::from(retry_missing_timer.as_mut()) => Happened::RetryMissing,
        }
    }
}

/// Whether trying again is useless. A token that ran out is replaced where the secret is at hand.
pub(crate) fn is_fatal(error: &WatchError, minted: bool) -> bool {
    match error {
        WatchError::Api(ApiError::Refused(refusal)) => match refusal.code {
            ApiErrorCode::Internal
            | ApiErrorCode::RateLimited
            | ApiErrorCode::RequestTimeout
            | ApiErrorCode::CustomCommandFailed
            | ApiErrorCode::ConnectionIdNotFound
            | ApiErrorCode::CoolDown
            | ApiErrorCode::TooManyConnections => false,
            // The service answers so when the connection that a query names is gone.
            ApiErrorCode::InvalidInput => false,
            ApiErrorCode::TokenExpired => !minted,
            _ => refusal.status < 500,
        },
        WatchError::Api(ApiError::Insecure { .. } | ApiError::UrlTooLong { .. }) => true,
        WatchError::Api(
            ApiError::RateLimited { .. }
            | ApiError::Unreadable { .. }
            | ApiError::ResponseTooLarge { .. }
            | ApiError::Transport { .. },
        )
        | WatchError::Lost(_) => false,
    }
}

/// The record of something that is no frame.
fn tell((received_at, said): &(DateTime<Utc>, Pending)) -> WatcherStep<'_> {
    let (source, body) = match said {
        Pending::Notice(text) => return WatcherStep::Notice(text),
        Pending::Snapshot(user) => (RecordSource::Query, RecordBody::Snapshot(user)),
        Pending::Resync { text, change } => {
            let event = Event::parse(text).expect("the reconciler makes events that can be read");
            let change = Some(change.clone());
            (RecordSource::Resync, RecordBody::Event { event, change })
        }
        Pending::Gap(gap) => (RecordSource::Local, RecordBody::Gap(gap.clone())),
        Pending::Coverage(coverage) => {
            (RecordSource::Local, RecordBody::Coverage(coverage.clone()))
        }
        Pending::Link(changed) => (
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

    fn refused(code: i32, status: u16) -> WatchError {
        WatchError::Api(ApiError::Refused(Refusal {
            code: code.into(),
            status,
            ..Refusal::default()
        }))
    }

    #[test]
    fn an_expired_token_is_final_only_where_it_cannot_be_replaced() {
        assert!(!is_fatal(&refused(40, 401), true));
        assert!(is_fatal(&refused(40, 401), false));
        assert!(is_fatal(&refused(43, 401), true));
        assert!(is_fatal(&refused(2, 401), true));
        assert!(is_fatal(&refused(17, 403), true));
    }

    #[test]
    fn the_services_own_trouble_passes() {
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
