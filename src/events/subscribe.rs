//! Sends the subscribing queries of one connection: a queue, a few calls in flight, within the service's rate limits.
//!
//! A query with the id of a live connection subscribes that connection to the presence of the users in the answer, at
//! most thirty users per call. What the answers mean is decided elsewhere. Dropping the subscriber cancels its calls.

use std::collections::{HashMap, VecDeque};
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

use crate::api::paging::CHANNELS_PER_PAGE;
use crate::api::{
    ApiError, CallLimiter, ChannelState, Client, GetOrCreate, MemberPages, Page, QUERY_USERS,
    QueryChannels, QueryUsers, Refusal, Sort,
};
use crate::domain::record::MissingReason;
use crate::domain::{ApiErrorCode, Cid, User};
use crate::escape;

/// The largest number of users that one call subscribes to.
pub(super) const USERS_PER_CALL: usize = 30;
/// The largest number of users that the call for a channel subscribes to.
const USERS_PER_CHANNEL_CALL: u64 = 10;
/// The largest number of calls in flight.
const MAX_IN_FLIGHT: usize = 4;
/// How often one query is repeated when the service cannot be reached.
const MAX_RETRIES: u32 = 3;
/// The delay after a rate limit error that names none: the window of the service's limits.
const RATE_LIMIT_WINDOW: Duration = Duration::from_secs(60);

/// A subscribing query.
#[derive(Debug, Clone)]
pub(super) enum Query {
    /// Watches these channels.
    Channels(Vec<Cid>),
    /// Watches the channels that match a filter, from an offset on.
    Matching(Map<String, Value>, u32),
    /// Lists all members of a channel that has this many.
    Members(Cid, u64),
    /// Subscribes to these users.
    Users(Vec<Box<str>>),
}

impl Query {
    /// Whether the answer lists members of channels.
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
            Self::Users(_) => QUERY_USERS,
        }
    }
}

/// Why users are missing in an answer.
pub(super) type MissingReasons = HashMap<String, MissingReason>;

/// The answer to a [`Query`].
#[derive(Debug)]
pub(super) enum Answer {
    /// The channels are watched now.
    Channels {
        states: Vec<ChannelState>,
        /// The other requested channels, and why they are not watched.
        refused: Vec<(Cid, ApiError)>,
        /// Whether there may be further channels that match.
        more: bool,
    },
    /// The ids of a channel's members, and whether the service listed all of them.
    Members { ids: Vec<String>, complete: bool },
    /// The users of the query who are subscribed now, and why others are not. Without a reason, a user does not exist.
    Users(Vec<User>, MissingReasons),
}

/// Whether the call for a channel has subscribed to all users in it. The service's limit is for the call, so this is
/// certain only if the call was for one channel.
pub(super) fn covers_all(states: &[ChannelState]) -> bool {
    let [state] = states else {
        return false;
    };
    let members = state.members.len() as u64;
    // Watchers who are not members count too. The observer is one of them.
    let other_watchers = state.watcher_count.unwrap_or(0).saturating_sub(1);
    member_count(state) == members && members + other_watchers <= USERS_PER_CHANNEL_CALL
}

/// The number of a channel's members: the service's own count if it has one.
pub(super) fn member_count(state: &ChannelState) -> u64 {
    let count = state.channel.get("member_count").and_then(Value::as_u64);
    count.unwrap_or(0).max(state.members.len() as u64)
}

struct QueuedQuery {
    query: Query,
    retries: u32,
}

/// A finished call.
type FinishedCall = (QueuedQuery, Result<Answer, ApiError>);

/// The subscribing queries of one connection.
pub(super) struct Subscriber {
    client: Client,
    connection_id: String,
    team: Option<String>,
    queue: VecDeque<QueuedQuery>,
    running: FuturesUnordered<BoxFuture<'static, FinishedCall>>,
    limiter: CallLimiter,
    delay: Option<Pin<Box<Sleep>>>,
    /// Queries about members that are not answered.
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
    /// `client` acts as the observer, who owns the connection. With a team, queries are for its users and channels only.
    pub(super) fn new(client: Client, connection_id: &str, team: Option<&str>) -> Self {
        Self {
            client,
            connection_id: connection_id.to_owned(),
            team: team.map(str::to_owned),
            queue: VecDeque::new(),
            running: FuturesUnordered::new(),
            limiter: CallLimiter::default(),
            delay: None,
            about_members: 0,
            answered: 0,
        }
    }

    pub(super) fn enqueue(&mut self, query: Query) {
        self.about_members += usize::from(query.is_about_members());
        self.queue.push_back(QueuedQuery { query, retries: 0 });
    }

    /// Queues the queries that subscribe to these users.
    pub(super) fn enqueue_users(&mut self, ids: &[Box<str>]) {
        for ids in ids.chunks(USERS_PER_CALL) {
            self.enqueue(Query::Users(ids.to_vec()));
        }
    }

    /// Queues the queries that watch these channels.
    pub(super) fn enqueue_channels(&mut self, cids: &[Cid]) {
        for cids in cids.chunks(CHANNELS_PER_PAGE as usize) {
            self.enqueue(Query::Channels(cids.to_vec()));
        }
    }

    /// Drops all queries, also those in flight.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.running.clear();
        self.delay = None;
        self.about_members = 0;
    }

    /// Whether all queries are in flight or answered, so that another one is next.
    pub(super) fn has_empty_queue(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether all queries are answered.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty()
    }

    /// Whether the members of a channel are still unknown.
    pub(super) const fn awaits_members(&self) -> bool {
        self.about_members > 0
    }

    /// The number of answered queries, and of all queries.
    pub(super) fn progress(&self) -> (usize, usize) {
        (
            self.answered,
            self.answered + self.queue.len() + self.running.len(),
        )
    }

    /// Waits for the next answer; for ever if there is no query. Cancellation safe.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: a query was refused, or the retries are spent.
    pub(super) async fn next(&mut self) -> Result<(Query, Answer), ApiError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Query, Answer), ApiError>> {
        loop {
            if let Poll::Ready(Some((queued, result))) = self.running.poll_next_unpin(cx) {
                match (result, queued) {
                    (Ok(answer), QueuedQuery { query, .. }) => {
                        self.about_members -= usize::from(query.is_about_members());
                        self.answered += 1;
                        return Poll::Ready(Ok((query, answer)));
                    }
                    (Err(error), queued) => match retry_delay(&error, queued.retries) {
                        Some(delay) => {
                            self.queue.push_front(QueuedQuery {
                                retries: queued.retries + 1,
                                ..queued
                            });
                            self.delay = Some(Box::pin(sleep(delay)));
                        }
                        None => return Poll::Ready(Err(error)),
                    },
                }
                continue;
            }
            if let Some(delay) = &mut self.delay {
                if delay.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.delay = None;
            }
            let Some(first) = self.queue.front() else {
                return Poll::Pending;
            };
            if self.running.len() >= MAX_IN_FLIGHT {
                return Poll::Pending;
            }
            let limit = self.client.rate_limit(first.query.endpoint());
            let wait = self
                .limiter
                .start(limit, self.running.len(), Instant::now());
            if !wait.is_zero() {
                self.delay = Some(Box::pin(sleep(wait)));
                continue;
            }
            if let Some(queued) = self.queue.pop_front() {
                let client = self.client.clone();
                let connection_id = self.connection_id.clone();
                let team = self.team.clone();
                self.running.push(Box::pin(async move {
                    let team = team.as_deref();
                    let answer = send(&client, &connection_id, team, &queued.query).await;
                    (queued, answer)
                }));
            }
        }
    }
}

/// The delay before a failed query is repeated; `None` if repeating is useless.
fn retry_delay(error: &ApiError, retries: u32) -> Option<Duration> {
    match error {
        // No limit for these: the budget comes back with the next window.
        ApiError::RateLimited { retry_after, .. } => Some(retry_after.unwrap_or(RATE_LIMIT_WINDOW)),
        ApiError::Transport { .. } => {
            (retries < MAX_RETRIES).then(|| Duration::from_secs(1 << retries))
        }
        ApiError::Refused(_)
        | ApiError::Unreadable { .. }
        | ApiError::ResponseTooLarge { .. }
        | ApiError::UrlTooLong { .. }
        | ApiError::Insecure { .. } => None,
    }
}

async fn send(
    client: &Client,
    connection_id: &str,
    team: Option<&str>,
    query: &Query,
) -> Result<Answer, ApiError> {
    match query {
        Query::Channels(cids) => watch_channels(client, connection_id, team, cids).await,
        Query::Matching(filter, offset) => {
            let query = QueryChannels {
                offset: Some(*offset),
                // Sorted by a key that never changes, so that no channel moves to a page that was read already.
                sort: ascending("created_at"),
                ..watch_query(filter.clone(), connection_id)
            };
            let states = client.query_channels(&query).await?;
            Ok(Answer::Channels {
                more: states.len() >= CHANNELS_PER_PAGE as usize,
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
                filter_conditions: team_filter(team),
                sort: ascending("id"),
                presence: true,
                connection_id: Some(connection_id.to_owned()),
                ..QueryUsers::default()
            };
            let users = client.query_users_in(ids, &query).await?;
            let missing: Vec<&str> = ids
                .iter()
                .map(|id| &**id)
                .filter(|id| !users.iter().any(|user| user.id() == *id))
                .collect();
            let reasons = missing_reasons(client, team, &missing).await?;
            Ok(Answer::Users(users, reasons))
        }
    }
}

/// Watches these channels with one call. Then watches each channel that is missing from the response with a call of its
/// own, whose error says why.
async fn watch_channels(
    client: &Client,
    connection_id: &str,
    team: Option<&str>,
    cids: &[Cid],
) -> Result<Answer, ApiError> {
    let names: Vec<String> = cids.iter().map(ToString::to_string).collect();
    let mut filter = Map::from_iter([("cid".to_owned(), json!({ "$in": names }))]);
    if let Some(team) = team {
        filter.insert("team".to_owned(), json!({ "$eq": team }));
    }
    let query = watch_query(filter, connection_id);
    let mut states = client.query_channels(&query).await?;
    let mut refused = Vec::new();
    for cid in cids {
        if !states.iter().any(|state| is_channel(state, cid)) {
            match watch_one_channel(client, connection_id, team, cid).await {
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

fn ascending(field: &str) -> Vec<Sort> {
    vec![Sort {
        field: field.to_owned(),
        direction: 1,
    }]
}

/// Asks for these users again, without subscribing and with deactivated ones.
async fn missing_reasons(
    client: &Client,
    team: Option<&str>,
    ids: &[&str],
) -> Result<MissingReasons, ApiError> {
    let query = QueryUsers {
        filter_conditions: team_filter(team),
        include_deactivated_users: true,
        ..QueryUsers::default()
    };
    let users = match client.query_users_in(ids, &query).await {
        Ok(users) => users,
        // Not everybody may ask so.
        Err(ApiError::Refused(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let reason = |user: User| {
        let is_set = |field| user.get(field).is_some_and(|value| !value.is_null());
        let reason = if is_set("deleted_at") {
            MissingReason::NotFound
        } else if is_set("deactivated_at") {
            MissingReason::Deactivated
        } else {
            MissingReason::Refused
        };
        (user.id().to_owned(), reason)
    };
    Ok(users.into_iter().map(reason).collect())
}

/// The filter for the users of a team.
fn team_filter(team: Option<&str>) -> Map<String, Value> {
    let condition = |team| ("teams".to_owned(), json!({ "$contains": team }));
    team.map(condition).into_iter().collect()
}

fn watch_query(filter_conditions: Map<String, Value>, connection_id: &str) -> QueryChannels {
    QueryChannels {
        filter_conditions,
        limit: Some(CHANNELS_PER_PAGE),
        member_limit: Some(100),
        message_limit: 0,
        state: true,
        watch: true,
        presence: true,
        connection_id: Some(connection_id.to_owned()),
        ..QueryChannels::default()
    }
}

/// Watches a channel that the answer to a query did not include. Reading the channel says why: it does not exist, may not
/// be read, or is only hidden. It is read first because watching would create it.
async fn watch_one_channel(
    client: &Client,
    connection_id: &str,
    team: Option<&str>,
    cid: &Cid,
) -> Result<ChannelState, ApiError> {
    let found = client.get_channel(cid).await?;
    if let Some(team) = team
        && found.channel.get("team").and_then(Value::as_str) != Some(team)
    {
        return Err(ApiError::Refused(Refusal {
            code: ApiErrorCode::NotFound,
            status: 404,
            message: format!("the channel is not in team {}", escape::quote(team)),
            ..Refusal::default()
        }));
    }
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

fn is_channel(state: &ChannelState, cid: &Cid) -> bool {
    state.cid().is_some_and(|own| own == cid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::TransportKind;

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
    fn rate_limits_are_waited_for_and_lost_calls_repeated_a_few_times() {
        let limited = ApiError::RateLimited {
            refusal: Refusal::default(),
            retry_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(retry_delay(&limited, 1000), Some(Duration::from_secs(7)));
        let broken = ApiError::Transport {
            kind: TransportKind::Broken,
            to: String::new(),
            source: "x".into(),
        };
        assert!(retry_delay(&broken, 2).is_some());
        assert!(retry_delay(&broken, 3).is_none());
        assert!(retry_delay(&ApiError::Refused(Refusal::default()), 0).is_none());
    }
}
