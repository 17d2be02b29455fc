//! A layer around the service that records every request and its response in the traffic log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use axum::middleware::Next;
use futures_util::TryStreamExt;

use super::super::traffic_log::{LoggedRequest, TrafficEvent};
use super::context::RouteContext;
use super::fault_layer::AppliedFault;
use super::params::Params;

/// Bytes of a body that the log keeps.
const LOGGED_BODY_MAX_BYTES: usize = 4 * 1024;
/// Bytes of an error response that are read, so that it can be logged.
const ERROR_READ_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Passes a request on and records what happened.
pub(super) async fn record(
    Extension(context): Extension<RouteContext>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let params = Arc::new(Params::of(&parts));
    let mut entry = LoggedRequest {
        method: parts.method.to_string(),
        path: parts.uri.path().chars().take(512).collect(),
        query: params.shown(),
        user: params.claimed_user(),
        ..LoggedRequest::default()
    };
    parts.extensions.insert(params);
    let (body, start_of_body) = keep_start(body);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let fault = response.extensions_mut().remove::<AppliedFault>();
    let answered = fault.as_ref().is_none_or(|fault| fault.answered);
    let response = if response.status().as_u16() >= 400 && answered {
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, ERROR_READ_MAX_BYTES)
            .await
            .unwrap_or_default();
        let start = &bytes[..bytes.len().min(LOGGED_BODY_MAX_BYTES)];
        // A copy: a slice would keep the whole response in memory.
        entry.refusal = Some(Bytes::copy_from_slice(start));
        Response::from_parts(parts, Body::from(bytes))
    } else {
        response
    };
    entry.status = answered.then(|| response.status().as_u16());
    entry.fault = fault.map(|fault| fault.id);
    let mut start_of_body = start_of_body.lock().unwrap_or_else(PoisonError::into_inner);
    entry.body = Bytes::copy_from_slice(&std::mem::take(&mut *start_of_body));
    drop(start_of_body);
    entry.took = started.elapsed();
    let now = context.hub.clock.now();
    context
        .hub
        .traffic_log
        .record(now, TrafficEvent::Request(Box::new(entry)));
    response
}

/// The same body, and its first bytes once it has been read.
fn keep_start(body: Body) -> (Body, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = kept.clone();
    let body = body.into_data_stream().inspect_ok(move |bytes| {
        let mut kept = keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let room = (LOGGED_BODY_MAX_BYTES + 1)
            .saturating_sub(kept.len())
            .min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
    });
    (Body::from_stream(body), kept)
}
