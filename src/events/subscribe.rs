//! The calls that subscribe: a queue of questions, a few under way at once, none faster than the service allows.
//!
//! Presence is subscribed to as a side effect of asking with a live connection id, at most thirty users a call; what
//! the answers mean for a watcher is decided elsewhere. Dropping the subscriber drops the calls under way with it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, Sleep, sleep};

use crate::api::paging::CHANNELS_A_PAGE;
use crate::api::{
    ApiError, ChannelState, Client, GetOrCreate, MemberPages, Page, QueryChannels, QueryUsers, Sort,
};
use crate::domain::{Cid, User};
use crate::events::call_limiter::CallLimiter;

/// The most users that one call subscribes to.
pub(super) const USERS_A_CALL: usize = 30;
/// The most people of a channel that the channel's own call subscribes to.
const PEOPLE_A_CHANNEL_CALL: u64 = 10;
/// Calls under way at once.
const AT_ONCE: usize = 4;
/// How often one question is asked again when the way to the service is bad.
const TRIES: u32 = 3;
/// The wait after a refusal for its rate that names none: the window of the service's limits.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// One question.
#[derive(Debug, Clone)]
pub(super) enum Query {
    /// Watch these channels.
    Channels(Vec<Cid>),
    /// Watch the channels that match, from an offset on.
    Matching(Map<String, Value>, u32),
    /// All members of a channel that has this many.
    Members(Cid, u64),
    /// Subscribe to these users.
    Users(Vec<Box<str>>),
}

impl Query {
    /// Whether the answer tells who is a member where.
    pub(super) const fn is_about_members(&self) -> bool {
        match self {
            Self::Channels(_) | Self::Matching(..) | Self::Members(..) => true,
            Self::Users(_) => false,
        }
    }

    const fn endpoint(&self) -> &'static str {
        match self {
            Self::Channels(_) | Self::Matching(..) => "QueryChannels",
            Self::Members(..) => "QueryMembers",
            Self::Users(_) => "QueryUsers",
        }
    }
}

/// What a question found.
#[derive(Debug)]
pub(super) enum Answer {
    /// Channels that are watched now.
    Channels {
        states: Vec<ChannelState>,
        /// Channels that were named and are not among them, and why.
        refused: Vec<(Cid, ApiError)>,
        /// Whether there are more channels to match.
        more: bool,
    },
    /// The ids of a channel's members, and whether the service told all of them.
    Members { ids: Vec<String>, complete: bool },
    /// Users that are subscribed to now.
    Users(Vec<User>),
}

/// Whether a channel's own call has subscribed to everybody in it. Only then is the number of people certain to be
/// within the service's bound when it was the only channel of the call.
pub(super) fn covers_all(states: &[ChannelState]) -> bool {
    let [state] = states else {
        return false;
    };
    let members = state.members.len() as u64;
    // Spectators who are no members take places too. The observer is one of them.
    let spectators = state.watcher_count.unwrap_or(0).saturating_sub(1);
    member_count(state) == members && members + spectators <= PEOPLE_A_CHANNEL_CALL
}

/// How many members a channel has, by its own count where it tells one.
pub(super) fn member_count(state: &ChannelState) -> u64 {
    let told = state.channel.get("member_count").and_then(Value::as_u64);
    told.unwrap_or(0).max(state.members.len() as u64)
}

struct QueuedQuery {
    question: Query,
    tries: u32,
}

/// What a call ended with.
type Answered = (QueuedQuery, Result<Answer, ApiError>);

/// The calls of one connection.
pub(super) struct Subscriber {
    client: Client,
    connection_id: String,
    queue: VecDeque<QueuedQuery>,
    running: FuturesUnordered<BoxFuture<'static, Answered>>,
    pace: CallLimiter,
    gate: Option<Pin<Box<Sleep>>>,
    about_members: usize,
    answered: usize,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("queued", &self.queue.len())
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

impl Subscriber {
    /// `client` acts as the observer, whose connection it is.
    pub(super) fn new(client: Client, connection_id: &str) -> Self {
        Self {
            client,
            connection_id: connection_id.to_owned(),
            queue: VecDeque::new(),
            running: FuturesUnordered::new(),
            pace: CallLimiter::new(Instant::now()),
            gate: None,
            about_members: 0,
            answered: 0,
        }
    }

    /// Queues a question.
    pub(super) fn ask(&mut self, question: Query) {
        self.about_members += usize::from(question.is_about_members());
        self.queue.push_back(QueuedQuery { question, tries: 0 });
    }

    /// Queues the questions that subscribe to these users.
    pub(super) fn ask_for_users(&mut self, ids: &[Box<str>]) {
        for ids in ids.chunks(USERS_A_CALL) {
            self.ask(Query::Users(ids.to_vec()));
        }
    }

    /// Queues the questions that watch these channels.
    pub(super) fn ask_for_channels(&mut self, cids: &[Cid]) {
        for cids in cids.chunks(CHANNELS_A_PAGE as usize) {
            self.ask(Query::Channels(cids.to_vec()));
        }
    }

    /// Drops all questions, also those under way.
    pub(super) fn forget(&mut self) {
        self.queue.clear();
        self.running.clear();
        self.gate = None;
        self.about_members = 0;
    }

    /// Whether every question is put, so that further ones would not wait behind others.
    pub(super) fn takes_more(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether every question is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty()
    }

    /// Whether it is still open who is a member where.
    pub(super) const fn awaits_members(&self) -> bool {
        self.about_members > 0
    }

    /// How many calls are done, and how many there are in all.
    pub(super) fn progress(&self) -> (usize, usize) {
        (
            self.answered,
            self.answered + self.queue.len() + self.running.len(),
        )
    }

    /// The next answer; waits for ever when there is no question. Safe to drop and call again.
    ///
    /// # Errors
    ///
    /// A question that was refused, or that could not be asked in several tries.
    pub(super) async fn next(&mut self) -> Result<(Query, Answer), ApiError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Query, Answer), ApiError>> {
        loop {
            if let Poll::Ready(Some((pending, result))) = self.running.poll_next_unpin(cx) {
                match (result, pending) {
                    (Ok(found), QueuedQuery { question, .. }) => {
                        self.about_members -= usize::from(question.is_about_members());
                        self.answered += 1;
                        return Poll::Ready(Ok((question, found)));
                    }
                    (Err(error), pending) => match patience(&error, pending.tries) {
                        Some(wait) => {
                            self.queue.push_front(QueuedQuery {
                                tries: pending.tries + 1,
                                ..pending
                            });
                            self.gate = Some(Box::pin(sleep(wait)));
                        }
                        None => return Poll::Ready(Err(error)),
                    },
                }
                continue;
            }
            if let Some(gate) = &mut self.gate {
                if gate.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.gate = None;
            }
            let Some(first) = self.queue.front() else {
                return Poll::Pending;
            };
            if self.running.len() >= AT_ONCE {
                return Poll::Pending;
            }
            let limit = self.client.rate_limit(first.question.endpoint());
            let wait = self.pace.start(limit, self.running.len(), Instant::now());
            if !wait.is_zero() {
                self.gate = Some(Box::pin(sleep(wait)));
                continue;
            }
            if let Some(pending) = self.queue.pop_front() {
                let client = self.client.clone();
                let connection_id = self.connection_id.clone();
                self.running.push(Box::pin(async move {
                    let found = put(&client, &connection_id, &pending.question).await;
                    (pending, found)
                }));
            }
        }
    }
}

/// How long to wait before a question that failed is asked again, if it is.
fn patience(error: &ApiError, tries: u32) -> Option<Duration> {
    match error {
        // Turned away is not refused: the rate comes back by itself, however often that takes.
        ApiError::RateLimited { retry_after, .. } => Some(retry_after.unwrap_or(RATE_WINDOW)),
        ApiError::Transport { .. } => (tries < TRIES).then(|| Duration::from_secs(1 << tries)),
        ApiError::Refused(_)
        | ApiError::Unreadable { .. }
        | ApiError::ResponseTooLarge { .. }
        | ApiError::UrlTooLong { .. }
        | ApiError::Insecure { .. } => None,
    }
}

async fn put(client: &Client, connection_id: &str, question: &Query) -> Result<Answer, ApiError> {
    match question {
        Query::Channels(cids) => {
            let names: Vec<String> = cids.iter().map(ToString::to_string).collect();
            let filter = Map::from_iter([("cid".to_owned(), json!({ "$in": names }))]);
            let query = watching(filter, connection_id);
            let mut states = client.query_channels(&query).await?;
            let mut refused = Vec::new();
            for cid in cids {
                if !states.iter().any(|state| names_channel(state, cid)) {
                    match one_channel(client, connection_id, cid).await {
                        Ok(state) => states.push(state),
                        Err(error @ (ApiError::Refused(_) | ApiError::Insecure { .. })) => {
                            refused.push((cid.clone(), error));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(Answer::Channels {
                states,
                refused,
                more: false,
            })
        }
        Query::Matching(filter, offset) => {
            let query = QueryChannels {
                offset: Some(*offset),
                // By an unchanging key, so that no channel moves to a page that is already read.
                sort: vec![Sort {
                    field: "created_at".to_owned(),
                    direction: 1,
                }],
                ..watching(filter.clone(), connection_id)
            };
            let states = client.query_channels(&query).await?;
            Ok(Answer::Channels {
                more: states.len() >= CHANNELS_A_PAGE as usize,
                states,
                refused: Vec::new(),
            })
        }
        Query::Members(cid, total) => {
            let mut pages = MemberPages::new(client.clone(), cid.clone(), *total);
            let mut ids = Vec::new();
            while let Some(page) = pages.next_page().await? {
                ids.extend(
                    page.iter()
                        .filter_map(|member| member.id().map(str::to_owned)),
                );
            }
            Ok(Answer::Members {
                ids,
                complete: !pages.truncated(),
            })
        }
        Query::Users(ids) => {
            let query = QueryUsers {
                filter_conditions: Map::from_iter([("id".to_owned(), json!({ "$in": ids }))]),
                sort: vec![Sort {
                    field: "id".to_owned(),
                    direction: 1,
                }],
                limit: u32::try_from(ids.len()).ok(),
                presence: true,
                connection_id: Some(connection_id.to_owned()),
                ..QueryUsers::default()
            };
            Ok(Answer::Users(client.query_users(&query).await?))
        }
    }
}

fn watching(filter_conditions: Map<String, Value>, connection_id: &str) -> QueryChannels {
    QueryChannels {
        filter_conditions,
        limit: Some(CHANNELS_A_PAGE),
        member_limit: Some(100),
        message_limit: 0,
        state: true,
        watch: true,
        presence: true,
        connection_id: Some(connection_id.to_owned()),
        ..QueryChannels::default()
    }
}

/// Watches a channel that a query left out. The query says nothing about why, so the channel itself is asked: mostly it
/// does not exist or may not be read, and sometimes it is merely hidden. It must not be created by looking.
async fn one_channel(
    client: &Client,
    connection_id: &str,
    cid: &Cid,
) -> Result<ChannelState, ApiError> {
    client.get_channel(cid).await?;
    let request = GetOrCreate {
        state: true,
        watch: true,
        presence: true,
        messages: Some(Page {
            limit: 0,
            offset: 0,
        }),
        connection_id: Some(connection_id.to_owned()),
        ..GetOrCreate::default()
    };
    client.get_or_create_channel(cid, &request).await
}

fn names_channel(state: &ChannelState, cid: &Cid) -> bool {
    state.cid().is_some_and(|own| own == cid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Refusal, TransportKind};

    fn state(json: Value) -> ChannelState {
        serde_json::from_value(json).unwrap()
    }

    fn channel(members: usize, count: u64, watchers: u64) -> ChannelState {
        state(json!({
            "channel": {"cid": "messaging:c", "member_count": count},
            "members": vec![json!({"user_id": "x"}); members],
            "watcher_count": watchers,
        }))
    }

    #[test]
    fn a_channel_call_covers_ten_people_of_one_channel() {
        assert!(covers_all(&[channel(10, 10, 1)]));
        assert!(!covers_all(&[channel(10, 10, 2)]), "a spectator too many");
        assert!(!covers_all(&[channel(9, 10, 0)]), "a member not told");
        assert!(!covers_all(&[channel(1, 1, 0), channel(1, 1, 0)]));
        assert!(!covers_all(&[]));
        assert!(covers_all(&[state(json!({"channel": {"cid": "a:b"}}))]));
    }

    #[test]
    fn rate_limits_are_waited_for_and_bad_ways_tried_a_few_times() {
        let limited = ApiError::RateLimited {
            refusal: Refusal::default(),
            retry_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(patience(&limited, 1000), Some(Duration::from_secs(7)));
        let broken = ApiError::Transport {
            kind: TransportKind::Broken,
            to: String::new(),
            source: "x".into(),
        };
        assert!(patience(&broken, 2).is_some());
        assert!(patience(&broken, 3).is_none());
        assert!(patience(&ApiError::Refused(Refusal::default()), 0).is_none());
    }
}
