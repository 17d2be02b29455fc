//! Read-only control routes: status, connections, the log, and the state as a fixture.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::super::engine::{Rfc3339, ServiceState};
use super::super::super::error::Rejection;
use super::super::super::hub::Hub;
use super::super::params::Params;
use crate::domain::time::parse_duration;

/// Notes of one answer, unless another number is asked for.
const DEFAULT_LOG_LIMIT: usize = 1000;
/// The longest that an answer waits for something to tell.
const LOG_WAIT_MAX: Duration = Duration::from_secs(30);

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
    })
}

/// `GET /_mock/connections`: everybody who is connected, in the order of their coming.
pub(super) fn connections(hub: &Hub) -> Value {
    json!({ "connections": hub.with(|state, _| state.list_connections()) })
}

/// `GET /_mock/log?since=N&limit=N&wait=DUR`: the notes after a number. With `wait` an empty answer is held back for
/// that long.
pub(super) async fn log(hub: &Hub, params: &Params) -> Result<Value, Rejection> {
    let number = |name: &str| match params.get(name) {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| Rejection::field(name, "must be a number")),
    };
    let since = number("since")?.unwrap_or(0);
    let limit = number("limit")?.map_or(DEFAULT_LOG_LIMIT, |limit| {
        usize::try_from(limit).unwrap_or(DEFAULT_LOG_LIMIT)
    });
    if let Some(wait) = params.get("wait") {
        let wait = parse_duration(wait).map_err(|why| Rejection::field("wait", &why))?;
        // An answer without notes is one, too.
        let _ =
            tokio::time::timeout(wait.min(LOG_WAIT_MAX), hub.traffic_log.wait_after(since)).await;
    }
    let page = hub.traffic_log.after(since, limit);
    Ok(json!({"entries": page.notes, "next": page.next, "lost": page.lost}))
}

/// `GET /_mock/snapshot`: the world as it is, in the form of a fixture.
pub(super) fn snapshot(hub: &Hub) -> Value {
    json!(hub.with(|state, _| ServiceState::to_fixture(state)))
}
