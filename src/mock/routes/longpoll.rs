//! The long poll, for clients through whose network no WebSocket gets: connect, poll, close. To the rules it is a
//! connection like any other; its frames wait in the same kind of queue.

use std::time::Duration;

use super::super::auth::CallerIdentity;
use super::super::encoded_frame::FrameBatch;
use super::super::engine::{JsonObject, Transport};
use super::super::error::Rejection;
use super::super::hub::Hub;
use super::super::send_queue::{CLOSE_NORMAL, CloseReason};
use super::connect::{connect_request, query_json};
use super::params::Params;

/// How long a poll is held when nothing happens. Clients give up after 30 seconds.
const POLL_TIMEOUT: Duration = Duration::from_secs(20);

/// Answers one request of a long poll.
pub(super) async fn answer(
    hub: &Hub,
    params: &Params,
    body: JsonObject,
    identity: CallerIdentity,
) -> Result<String, Rejection> {
    let Some(id) = params.get("connection_id").filter(|id| !id.is_empty()) else {
        return connect(hub, params, body, identity);
    };
    let unknown = || {
        Rejection::with_code(
            400,
            hub.options.rules.unknown_connection_code,
            "the connection was not found",
        )
    };
    let (key, send_queue) = hub.send_queue(&identity.caller, id).ok_or_else(unknown)?;
    if matches!(params.get("close"), Some("true" | "1")) {
        hub.disconnect(key);
        // A poll that is held meanwhile has nothing to wait for any more.
        send_queue.end(
            CloseReason {
                code: CLOSE_NORMAL,
                reason: "the connection was closed".into(),
            },
            false,
        );
        send_queue.wake();
        return Ok(r#"{"events":[]}"#.to_owned());
    }
    let mut frames = FrameBatch::default();
    let polled = tokio::time::timeout(POLL_TIMEOUT, send_queue.take(&mut frames)).await;
    // The poll itself was a sign of life, for as long as it was held.
    hub.with(|state, now| state.record_activity(now, key));
    let ended = matches!(polled, Ok(Some(_)));
    if ended && frames.is_empty() {
        return Err(unknown());
    }
    let mut answer = String::from(r#"{"events":["#);
    for (place, frame) in frames.iter().enumerate() {
        if place > 0 {
            answer.push(',');
        }
        answer.push_str(std::str::from_utf8(frame.text()).expect("frames are written as text"));
    }
    answer.push_str("]}");
    Ok(answer)
}

/// Opens a connection; its first frame is the answer.
fn connect(
    hub: &Hub,
    params: &Params,
    body: JsonObject,
    identity: CallerIdentity,
) -> Result<String, Rejection> {
    let json = query_json(params)?.unwrap_or(body);
    let (caller, request) = connect_request(identity, json, Transport::LongPoll)?;
    let (_, send_queue) = hub.connect(&caller, &request)?;
    let first = send_queue.take_first();
    let hello = first
        .as_ref()
        .and_then(|frame| std::str::from_utf8(frame.text()).ok())
        .ok_or_else(|| Rejection::input("the server is shutting down"))?;
    Ok(format!(r#"{{"event":{hello}}}"#))
}
