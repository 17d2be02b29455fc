//! Users kept connected: one socket each, made anew when it is lost, left politely in the end.
//!
//! Each user is a task of his own that reads what he is sent and forgets it; what happens to the links is told through
//! one channel. Connecting is paced for all of them together, since the service counts connects by the minute, and a
//! thousand users who lost one server must not come back as one. What a link that cannot be made means for the whole is
//! decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::api::retry::error_chain;
use crate::api::{ApiError, Auth, Client, GetOrCreate, Page, RateLimit};
use crate::domain::{Cid, UserId};
use crate::events::backoff::Backoff;
use crate::events::call_limiter::CallLimiter;
use crate::events::connect::{Identity, QUIET_READ_BUFFER_BYTES, Socket, connect};
use crate::events::session::STALE_AFTER;
use crate::events::token_rejections::TokenRejections;
use crate::events::watcher::is_fatal;
use crate::events::{SessionEnd, WatchError};

/// The service's default budget of connects.
const CONNECTS: RateLimit = RateLimit {
    limit: 10_000,
    remaining: 10_000,
    reset_in: Duration::ZERO,
};
/// Links told of and not yet looked at.
const UPDATE_QUEUE_CAPACITY: usize = 1024;

/// What happened to a user's link.
#[derive(Debug)]
pub struct ConnectionEvent {
    /// Whose.
    pub user: UserId,
    /// What happened.
    pub change: ConnectionUpdate,
}

/// A change of a link.
#[derive(Debug)]
pub enum ConnectionUpdate {
    /// It stands.
    Connected {
        /// The service's first frame, in which the user is `me`.
        hello: Utf8Bytes,
        /// How many attempts it took since it was last healthy; 0 for the first link.
        attempt: u32,
    },
    /// It is gone, or could not be made, and will be made anew.
    Lost {
        /// Why.
        reason: String,
        /// Whether it stood until now.
        was_up: bool,
        /// How many attempts there were since it was last healthy.
        attempt: u32,
    },
    /// It could not be made the first time, or will not be made again.
    Failed {
        /// Why.
        error: ApiError,
        /// Whether it ever stood.
        stood: bool,
    },
}

/// Users being kept connected. Dropping it hangs up on all of them without a word.
#[derive(Debug)]
pub struct ConnectionPool {
    tasks: JoinSet<()>,
    news: mpsc::Receiver<ConnectionEvent>,
    leave: watch::Sender<bool>,
}

/// What all tasks share.
#[derive(Debug)]
struct Shared {
    client: Client,
    channel: Option<Cid>,
    /// Locked for as long as a user waits for his turn, which makes them queue in order.
    pace: Mutex<CallLimiter>,
}

impl ConnectionPool {
    /// Begins to connect these users. With a channel, each of them opens it.
    pub fn start(client: Client, users: Vec<Identity>, channel: Option<Cid>) -> Self {
        let common = Arc::new(Shared {
            client,
            channel,
            pace: Mutex::new(CallLimiter::new(Instant::now())),
        });
        let (sender, news) = mpsc::channel(UPDATE_QUEUE_CAPACITY);
        let (leave, left) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for identity in users {
            let common = Arc::clone(&common);
            let sender = sender.clone();
            let left = left.clone();
            tasks.spawn(async move { hold(&common, &identity, &sender, left).await });
        }
        Self { tasks, news, leave }
    }

    /// The next change of a link; `None` when nobody is held any more. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        self.news.recv().await
    }

    /// Says goodbye for everybody and waits until all of them are gone.
    pub async fn close(mut self) {
        // Nobody listens only if everybody is gone already.
        let _ = self.leave.send(true);
        // A task must not wait for its news to be looked at.
        self.news.close();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Keeps one user connected until he is to leave, or cannot be.
async fn hold(
    common: &Shared,
    identity: &Identity,
    news: &mpsc::Sender<ConnectionEvent>,
    mut left: watch::Receiver<bool>,
) {
    let tell = |change| {
        let link = ConnectionEvent {
            user: identity.user.clone(),
            change,
        };
        // Nobody listens any more once everybody is to leave.
        async move {
            let _ = news.send(link).await;
        }
    };
    let minted = !matches!(common.client.settings().auth, Auth::Token { .. });
    let mut backoff = Backoff::default();
    let mut token_rejections = TokenRejections::default();
    let mut stood = false;
    loop {
        let opened = tokio::select! {
            opened = open(common, identity) => opened,
            () = leaving(&mut left) => return,
        };
        let was_up = opened.is_ok();
        let reason = match opened {
            Ok(mut session) => {
                stood = true;
                token_rejections.reset();
                tell(ConnectionUpdate::Connected {
                    hello: session.hello().clone(),
                    attempt: backoff.attempts(),
                })
                .await;
                let since = Instant::now();
                let end = tokio::select! {
                    end = listen(&mut session) => end,
                    () = leaving(&mut left) => {
                        session.close().await;
                        return;
                    }
                };
                backoff.connection_ended(since.elapsed());
                let reason = error_chain(&end);
                let tracer = common.client.tracer();
                tracer.connection(|| format!("{} disconnected: {reason}", identity.user));
                if let SessionEnd::Refused(refusal) = end {
                    let error = WatchError::Api(ApiError::Refused(refusal));
                    if let (true, WatchError::Api(error)) = (is_fatal(&error, minted), error) {
                        tell(ConnectionUpdate::Failed { error, stood }).await;
                        return;
                    }
                }
                reason
            }
            Err(error) => {
                // Turned away for the rate is not refused, and everything else is a mistake the first time.
                let limited = matches!(error, ApiError::RateLimited { .. });
                let useless = token_rejections.record(&error);
                let error = WatchError::Api(error);
                let end = useless || (!stood && !limited) || is_fatal(&error, minted);
                match error {
                    WatchError::Api(error) if end => {
                        tell(ConnectionUpdate::Failed { error, stood }).await;
                        return;
                    }
                    WatchError::Api(error) => error_chain(&error),
                    WatchError::Lost(end) => error_chain(&end),
                }
            }
        };
        tell(ConnectionUpdate::Lost {
            reason,
            was_up,
            attempt: backoff.attempts(),
        })
        .await;
        tokio::select! {
            () = sleep(backoff.next_delay(rand::random())) => {}
            () = leaving(&mut left) => return,
        }
    }
}

/// Connects when it is the user's turn, and opens the channel.
async fn open(common: &Shared, identity: &Identity) -> Result<Socket, ApiError> {
    let mut pace = common.pace.lock().await;
    loop {
        match pace.start(Some(CONNECTS), 0, Instant::now()) {
            Duration::ZERO => break,
            wait => sleep(wait).await,
        }
    }
    drop(pace);
    // Boxed, since the path to a connection is far longer than what is kept of it.
    let session = Box::pin(connect(
        &common.client,
        identity,
        QUIET_READ_BUFFER_BYTES,
        STALE_AFTER,
    ))
    .await?;
    if let Some(cid) = &common.channel {
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
        let client = common.client.acting_as(&identity.user);
        let opening = client.get_or_create_channel(cid, &request);
        if let Err(error) = Box::pin(opening).await {
            session.close().await;
            return Err(error);
        }
    }
    Ok(session)
}

async fn listen(session: &mut Socket) -> SessionEnd {
    loop {
        if let Err(end) = session.next().await {
            return end;
        }
    }
}

async fn leaving(left: &mut watch::Receiver<bool>) {
    // An error is a holder that was dropped.
    let _ = left.wait_for(|left| *left).await;
}
