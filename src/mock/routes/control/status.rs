//! Read-only control routes: status, connections, the log, and the state as a fixture.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::super::engine::{Rfc3339, ServiceState};
use super::super::super::error::Rejection;
use super::super::super::hub::Hub;
use super::super::super::options::CONSOLE_PATH;
use super::super::super::request_filter::{FilterConditions, RequestFilter};
use super::super::super::traffic_log::TrafficEvent;
use super::super::super::url_path::decode_segment;
use super::super::params::Params;
use super::WAIT_MAX;
use crate::domain::time::parse_duration;

/// Notes of one answer, unless another number is asked for.
const DEFAULT_LOG_LIMIT: usize = 1000;
/// Users of one answer, unless another number is asked for.
const DEFAULT_USERS_LIMIT: usize = 100;
const USERS_LIMIT_MAX: usize = 1000;

/// `GET /_mock/status`.
pub(super) fn status(hub: &Hub) -> Value {
    let stats = hub.with(|state, _| state.stats());
    let faults = hub.faults.list();
    json!({
        "now": Rfc3339(hub.clock.now()),
        "clock": hub.clock.describe(),
        "users": stats.users,
        "online": stats.online,
        "channels": stats.channels,
        "connections": stats.connections,
        "virtual": stats.pretended,
        "subscriptions": stats.subscriptions,
        "watches": stats.watches,
        "faults": faults.iter().filter(|fault| fault.is_active()).count(),
        "log": hub.traffic_log.last(),
    })
}

/// `GET /_mock/credentials`: what a client needs to use the service.
pub(super) fn credentials(hub: &Hub) -> Value {
    json!({
        "api_key": hub.options.api_key,
        "api_secret": hub.options.secret.reveal(),
        "pid": std::process::id(),
        "ca_file": hub.options.ca_file,
        "console": hub.options.has_console.then_some(CONSOLE_PATH),
    })
}

/// `GET /_mock/connections`: everybody who is connected, in the order of their coming.
pub(super) fn connections(hub: &Hub) -> Value {
    json!({ "connections": hub.with(|state, _| state.list_connections()) })
}

/// `GET /_mock/connections/{connection_id}`: one connection, with the users to whose presence it is subscribed.
pub(super) fn connection(hub: &Hub, id: &str) -> Result<Value, Rejection> {
    let id = decode_segment(id);
    hub.with(|state, _| state.show_connection(&id))
        .ok_or_else(|| Rejection::not_found(format!("connection {id:?} was not found")))
}

/// `GET /_mock/users?search=TEXT&limit=N&offset=N`: users by id. `search` is a part of an id, a name or a status.
pub(super) fn users(hub: &Hub, params: &Params) -> Result<Value, Rejection> {
    let number = |name| number(params, name).map(|number| number.map(saturate));
    let limit = number("limit")?.map_or(DEFAULT_USERS_LIMIT, |limit| limit.min(USERS_LIMIT_MAX));
    let offset = number("offset")?.unwrap_or(0);
    let search = params.get("search").unwrap_or_default();
    Ok(hub.with(|state, _| state.list_users(search, offset, limit)))
}

/// A query parameter that is a whole number, 0 or more.
///
/// # Errors
///
/// It is not such a number.
pub(super) fn number(params: &Params, name: &str) -> Result<Option<u64>, Rejection> {
    match params.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| Rejection::field(name, "must be a whole number, 0 or more")),
    }
}

/// Converts a number of items; one that does not fit becomes the maximum.
pub(super) fn saturate(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// `GET /_mock/log?after=N&limit=N&wait=DUR`, with the filters `method`, `path`, `user`, `status`, `since` and `body`: the
/// entries after a number. With `wait`, at most 30 s, the answer comes as soon as there is such an entry, or the time is
/// over.
pub(super) async fn log(hub: &Hub, params: &Params) -> Result<Value, Rejection> {
    let text = |name: &str| params.get(name).filter(|text| !text.is_empty());
    // A number in `since` is an entry, as in `after`. Anything else is a time.
    let (since, entry) = match text("since") {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => (None, "since"),
        since => (since, "after"),
    };
    let after = number(params, entry)?.unwrap_or(0);
    let limit = number(params, "limit")?.map_or(DEFAULT_LOG_LIMIT, saturate);
    let filter = RequestFilter::new(
        FilterConditions {
            method: text("method"),
            path: text("path"),
            user: text("user"),
            status: text("status"),
            since,
            body: text("body"),
        },
        hub.clock.now(),
    )?;
    let log = &hub.traffic_log;
    let passes = |at, entry: &TrafficEvent| filter.matches(at, entry);
    let mut page = log.after(after, limit, passes);
    if let Some(wait) = text("wait") {
        let wait = parse_duration(wait).map_err(|why| Rejection::field("wait", &why))?;
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        // An answer without entries is one, too. So is one that says that entries were lost.
        while page.notes.is_empty() && page.lost == 0 && limit > 0 && !log.is_closed() {
            let more = tokio::time::timeout_at(deadline, log.wait_after(page.next)).await;
            if more.is_err() {
                break;
            }
            page = log.after(page.next, limit, passes);
        }
    }
    Ok(json!({"entries": page.notes, "next": page.next, "lost": page.lost}))
}

/// `GET /_mock/snapshot`: the world as it is, in the form of a fixture.
pub(super) fn snapshot(hub: &Hub) -> Value {
    json!(hub.with(|state, _| ServiceState::to_fixture(state)))
}
