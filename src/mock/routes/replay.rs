//! Answers requests from a recording, in place of the service.

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::super::error::Rejection;
use super::super::recording::{DROPPED, query_object};
use super::super::replay::{LiveRequest, ReplayedResponse, TrafficReplay};
use super::body::collect;
use super::context::RouteContext;
use super::params::Params;
use super::replay_socket::{self, unmatched};
use super::response::json_for_any_origin;
use crate::domain::token::{self, Claims};

/// Marks what the replay says itself.
const REPLAY_HEADER: HeaderName = HeaderName::from_static("x-presencectl-replay");
/// The largest body of a request.
const BODY_MAX_BYTES: usize = 64 * 1024 * 1024;
/// How long a long poll is held that is asked more often than it was recorded.
const EMPTY_POLL_TIMEOUT: Duration = Duration::from_secs(20);

/// Answers a request, or upgrades it to a WebSocket.
pub(super) async fn answer(
    context: &RouteContext,
    replay: &TrafficReplay,
    params: &Params,
    mut parts: Parts,
    body: Body,
) -> Response<Body> {
    let mut live = LiveRequest {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: query_object(parts.uri.path(), parts.uri.query().unwrap_or_default()),
        user: params.claimed_user(),
        body: None,
    };
    if parts.headers.contains_key(header::UPGRADE) {
        return match replay_socket::accept(context, &mut parts, &live) {
            Ok(upgrade) => upgrade,
            Err(rejection) => reject(&rejection),
        };
    }
    match collect(body, BODY_MAX_BYTES).await {
        Ok(bytes) => live.body = serde_json::from_slice(&bytes).ok(),
        Err(rejection) => return reject(&rejection),
    }
    let now = context.hub.clock.now();
    match replay.answer(now, &live) {
        Ok(response) => {
            if live.path.ends_with("/longpoll") {
                return poll(response).await;
            }
            let secret = context.hub.options.secret.reveal();
            recorded(response, |user| token::sign(secret, &Claims::user(user)))
        }
        Err(text) => {
            let mut response = reject(&unmatched(text));
            let mark = HeaderValue::from_static("unmatched");
            response.headers_mut().insert(REPLAY_HEADER, mark);
            response
        }
    }
}

/// A long poll takes as long as it was recorded.
async fn poll(mut response: ReplayedResponse) -> Response<Body> {
    if response.is_repeated {
        tokio::time::sleep(EMPTY_POLL_TIMEOUT).await;
        response.body = Some(serde_json::json!({ "events": [] }));
    } else {
        let took = Duration::from_millis(response.took_ms).min(EMPTY_POLL_TIMEOUT);
        tokio::time::sleep(took).await;
    }
    recorded(response, |_| DROPPED.to_owned())
}

/// A recorded response. `sign` makes tokens where the recording had some.
fn recorded(recorded: ReplayedResponse, sign: impl Fn(&str) -> String) -> Response<Body> {
    let mut body = recorded.body;
    if let Some(body) = &mut body {
        fill_tokens(body, &sign);
    }
    let text = body.map_or_else(String::new, |body| body.to_string());
    let mut response = Response::new(Body::from(text));
    *response.status_mut() =
        StatusCode::from_u16(recorded.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in &recorded.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    let any_origin = HeaderValue::from_static("*");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any_origin);
    if recorded.omitted.is_some() {
        let mark = HeaderValue::from_static("body omitted");
        headers.insert(REPLAY_HEADER, mark);
    }
    response
}

/// Puts a token where the recording had one: clients connect with the token of a guest.
fn fill_tokens(value: &mut Value, sign: &impl Fn(&str) -> String) {
    match value {
        Value::Object(members) => {
            let user = members
                .get("user")
                .and_then(|user| user.get("id"))
                .and_then(Value::as_str)
                .map(str::to_owned);
            for (name, member) in members {
                match &user {
                    Some(user) if *member == DROPPED && name.ends_with("token") => {
                        *member = sign(user).into();
                    }
                    _ => fill_tokens(member, sign),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_tokens(item, sign)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn reject(rejection: &Rejection) -> Response<Body> {
    let body = serde_json::to_string(&rejection.body("Replay", ""))
        .expect("an error body has string keys and no fallible parts");
    json_for_any_origin(rejection.status, body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_guest_gets_a_token_again() {
        let mut body = json!({"user": {"id": "guest-1"}, "access_token": DROPPED, "note": DROPPED});
        fill_tokens(&mut body, &|user| format!("token of {user}"));
        assert_eq!(
            body,
            json!({"user": {"id": "guest-1"}, "access_token": "token of guest-1", "note": DROPPED})
        );
    }
}
