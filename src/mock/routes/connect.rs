//! `GET /connect` and `GET /api/v2/connect`: the WebSocket upgrades.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use chrono::Utc;
use serde_json::Value;

use super::super::api_version::ApiVersion;
use super::super::auth::{self, CallerIdentity, RequestCredentials};
use super::super::engine::{Caller, ConnectRequest, JsonObject, Transport};
use super::super::error::Rejection;
use super::super::hub::Hub;
use super::super::ws;
use super::context::RouteContext;
use super::params::Params;
use super::upgrade;

/// Accepts the WebSocket even if the request is rejected: clients take a refused upgrade for a broken network.
pub(super) fn accept(
    context: &RouteContext,
    parts: &mut Parts,
    request: Result<(Caller, ConnectRequest), Rejection>,
) -> Result<Response<Body>, Rejection> {
    let RouteContext {
        hub, alive, peer, ..
    } = context.clone();
    let limit = hub.options.rules.frame_limit;
    upgrade::accept(parts, limit, move |socket| async move {
        ws::run(socket, peer.tcp, hub, ApiVersion::V1, request).await;
        drop(alive);
    })
}

/// Accepts a WebSocket whose first frame has the token and the user. `params` is an error if the API key was refused.
pub(super) fn accept_v2(
    context: &RouteContext,
    parts: &mut Parts,
    params: Result<Arc<Params>, Rejection>,
) -> Result<Response<Body>, Rejection> {
    let RouteContext {
        hub, alive, peer, ..
    } = context.clone();
    let limit = hub.options.rules.frame_limit;
    upgrade::accept(parts, limit, move |socket| async move {
        match params {
            Ok(params) => {
                let authenticate = {
                    let hub = hub.clone();
                    move |frame| from_auth_frame(&hub, &params, frame)
                };
                ws::run_after_auth_frame(socket, peer.tcp, hub, authenticate).await;
            }
            Err(reject) => ws::run(socket, peer.tcp, hub, ApiVersion::V2, Err(reject)).await,
        }
        drop(alive);
    })
}

/// Finds out who has these credentials.
pub(super) fn authenticate(
    hub: &Hub,
    credentials: &RequestCredentials<'_>,
) -> Result<CallerIdentity, Rejection> {
    let (now, system_now) = (hub.clock.now(), Utc::now());
    auth::authenticate(&hub.options, credentials, now, system_now, || {
        hub.accepts_development_tokens()
    })
}

/// The connect request in the first frame of a client.
fn from_auth_frame(
    hub: &Hub,
    params: &Params,
    frame: JsonObject,
) -> Result<(Caller, ConnectRequest), Rejection> {
    let frame = ApiVersion::V2.request(frame, &[]);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let token = text(frame.get("token"));
    let user_id = text(frame.get("user_details").and_then(|user| user.get("id")));
    let credentials = RequestCredentials {
        token: token.as_deref(),
        user_id: user_id.as_deref(),
        ..params.credentials()
    };
    let identity = authenticate(hub, &credentials)?;
    let (caller, request) = connect_request(identity, frame, Transport::Socket)?;
    let version = ApiVersion::V2;
    Ok((caller, ConnectRequest { version, ..request }))
}

/// The connect request in the query.
pub(super) fn from_query(
    params: &Params,
    identity: CallerIdentity,
) -> Result<(Caller, ConnectRequest), Rejection> {
    let json = query_json(params)?.unwrap_or_default();
    connect_request(identity, json, Transport::Socket)
}

/// The object in the parameter `json`, if there is one.
pub(super) fn query_json(params: &Params) -> Result<Option<JsonObject>, Rejection> {
    match params.get("json").filter(|json| !json.is_empty()) {
        None => Ok(None),
        Some(json) => match serde_json::from_str(json) {
            Ok(Value::Object(fields)) => Ok(Some(fields)),
            Ok(_) => Err(Rejection::input("json must be an object")),
            Err(error) => Err(Rejection::input(format!("json is not JSON: {error}"))),
        },
    }
}

/// The connect request in a JSON object.
pub(super) fn connect_request(
    identity: CallerIdentity,
    mut json: JsonObject,
    carrier: Transport,
) -> Result<(Caller, ConnectRequest), Rejection> {
    let details = match json.shift_remove("user_details") {
        None | Some(Value::Null) => {
            return Err(Rejection::field("user_details", "is a required field"));
        }
        Some(Value::Object(details)) => details,
        Some(_) => return Err(Rejection::field("user_details", "must be an object")),
    };
    let user_id = match json.shift_remove("user_id") {
        Some(Value::String(id)) if !id.is_empty() => Some(id),
        _ => None,
    };
    Ok((
        identity.caller,
        ConnectRequest {
            user_id,
            details,
            carrier,
            version: ApiVersion::V1,
            token_expires: identity.expires,
        },
    ))
}
