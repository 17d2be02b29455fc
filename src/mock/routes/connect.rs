//! `GET /connect`: the WebSocket upgrade.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::Response;
use axum::http::request::Parts;
use serde_json::Value;

use super::super::auth::CallerIdentity;
use super::super::engine::{Caller, ConnectRequest, JsonObject, Transport};
use super::super::error::Rejection;
use super::super::tcp::TcpHandle;
use super::super::ws;
use super::context::RouteContext;
use super::params::Params;

/// Accepts the WebSocket even if the request is rejected: clients take a refused upgrade for a broken network.
pub(super) async fn upgrade(
    context: &RouteContext,
    tcp: &TcpHandle,
    parts: &mut Parts,
    request: Result<(Caller, ConnectRequest), Rejection>,
) -> Result<Response<Body>, Rejection> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
        .await
        .map_err(|error| {
            Rejection::input(format!("this endpoint takes WebSocket upgrades: {error}"))
        })?;
    let hub = context.hub.clone();
    let alive = context.alive.clone();
    let tcp = tcp.clone();
    let limit = hub.options.rules.frame_limit;
    Ok(upgrade
        // Clients send pings and little else; the default buffers would cost a quarter of a megabyte each.
        .read_buffer_size(1024)
        .write_buffer_size(4096)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| async move {
            ws::run(socket, tcp, hub, request).await;
            drop(alive);
        }))
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
            token_expires: identity.expires,
        },
    ))
}
