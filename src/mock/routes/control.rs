//! `/_mock/…`: the strings by which a test pulls the server. Open to this machine only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::clock::Clock;
use super::super::engine::{Body as Fields, Stamp};
use super::super::error::Reject;
use super::super::hub::Hub;
use super::params::Params;
use crate::domain::time::{parse_duration, parse_time};

/// Bytes that a control request may have.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// Answers a control request.
pub(super) async fn handle(
    hub: &Arc<Hub>,
    peer: SocketAddr,
    parts: &Parts,
    path: &str,
    body: Body,
) -> Response<Body> {
    let answer = if peer.ip().is_loopback() {
        match super::read_body(parts, &Params::of(parts), body, BODY_LIMIT).await {
            Ok(fields) => control(hub, parts.method.as_str(), path, &fields),
            Err(reject) => Err(reject),
        }
    } else {
        Err(Reject::forbidden(
            "the control API is open to the server's own machine only",
        ))
    };
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body.to_string()),
        Err(reject) => (
            StatusCode::from_u16(reject.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            serde_json::to_string(&reject.body("Control", ""))
                .expect("an error body has string keys and no fallible parts"),
        ),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn control(hub: &Hub, method: &str, path: &str, body: &Fields) -> Result<Value, Reject> {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    match (method, segments.as_slice()) {
        ("GET", ["status"]) => Ok(hub.with(|state, now| {
            let (users, channels, connections) = state.counts();
            json!({
                "now": Stamp(now),
                "users": users,
                "channels": channels,
                "connections": connections,
            })
        })),
        ("POST", ["reset"]) => {
            hub.reset();
            Ok(json!({}))
        }
        ("GET", ["clock"]) => Ok(json!({"now": Stamp(hub.clock.now())})),
        ("POST", ["clock", action]) => clock(hub, action, body),
        ("POST", ["users", id, "connect"]) => hub.with(|state, now| {
            let key = state.connect_virtually(now, id)?;
            Ok(json!({"connection_id": state.connection_id(key)}))
        }),
        ("POST", ["users", id, "disconnect"]) => hub.with(|state, now| {
            let closed = state.disconnect_virtual(now, id)?;
            Ok(json!({"closed": closed}))
        }),
        _ => Err(Reject::not_found(format!(
            "there is no {method} /_mock/{}",
            path.chars().take(200).collect::<String>()
        ))),
    }
}

/// `POST /_mock/clock/freeze|advance|set|run|reset`, with `by` (a duration), `to` (a time) and `rate` (a number).
fn clock(hub: &Hub, action: &str, body: &Fields) -> Result<Value, Reject> {
    let text = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| Reject::input(format!("{name} is a required field")))
    };
    match action {
        "freeze" => match body.get("to").and_then(Value::as_str) {
            Some(to) => {
                let to = parse_time(to, hub.clock.now()).map_err(Reject::input)?;
                hub.set_clock(|clock| {
                    clock.freeze();
                    clock.set(to);
                });
            }
            None => hub.set_clock(Clock::freeze),
        },
        "advance" => {
            let by = parse_duration(text("by")?).map_err(Reject::input)?;
            let by = TimeDelta::from_std(by)
                .map_err(|_| Reject::input("by is longer than time itself"))?;
            hub.set_clock(|clock| clock.advance(by));
        }
        "set" => {
            let to = parse_time(text("to")?, hub.clock.now()).map_err(Reject::input)?;
            hub.set_clock(|clock| clock.set(to));
        }
        "run" => {
            let rate = body.get("rate").map_or(Some(1.0), Value::as_f64);
            match rate {
                Some(rate) if rate > 0.0 && rate <= 1e6 => hub.set_clock(|clock| clock.run(rate)),
                _ => {
                    return Err(Reject::input(
                        "rate must be a number above 0, at most 1000000",
                    ));
                }
            }
        }
        "reset" => hub.set_clock(Clock::reset),
        _ => {
            return Err(Reject::not_found(format!(
                "the clock can freeze, advance, set, run and reset, not {action:?}"
            )));
        }
    }
    Ok(json!({"now": Stamp(hub.clock.now())}))
}
