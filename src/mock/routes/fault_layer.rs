//! A request on its way in and out: what is meant to go wrong with it goes wrong here, and the journal takes note.
//!
//! What strikes is decided by the faults; what the usual answer is, by the routes behind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::super::error::Rejection;
use super::super::faults::{FaultResponse, RequestFacts, RequestFault};
use super::super::rate_limits::ClientPlatform;
use super::super::tcp::TcpHandle;
use super::super::traffic_log::{self, TrafficEvent};
use super::params::Params;
use super::{RouteContext, response, serve};
use crate::domain::token;

/// Bytes of a body that the journal keeps.
const LOGGED_BODY_MAX_BYTES: usize = 4 * 1024;
/// Bytes of an answer that may be looked at.
const RESPONSE_READ_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a request that are read to the end although nobody will look at them.
const DISCARDED_BODY_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Answers a request, or does to it what a fault wants.
pub(super) async fn pass(
    app: &RouteContext,
    tcp: &TcpHandle,
    request: Request<Body>,
) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let params = Params::of(&parts);
    let user = user_of(&params);
    let struck = app.hub.faults.request(&RequestFacts {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        user: user.as_deref(),
    });
    let mut record = traffic_log::LoggedRequest {
        method: parts.method.to_string(),
        path: parts.uri.path().chars().take(512).collect(),
        query: params.shown(),
        user,
        fault: struck.as_ref().map(|(id, _)| id.clone()),
        ..traffic_log::LoggedRequest::default()
    };
    let (body, kept) = keep_start(body);
    let request = Request::from_parts(parts, body);
    let (response, answered) = match struck {
        None => (serve(app, tcp, request).await, true),
        Some((_, fault)) => {
            let lost = fault.answer == FaultResponse::Reset;
            (strike(app, tcp, request, fault).await, !lost)
        }
    };
    let response = if response.status().as_u16() >= 400 && answered {
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, RESPONSE_READ_MAX_BYTES)
            .await
            .unwrap_or_default();
        record.refusal = Some(bytes.slice(..bytes.len().min(LOGGED_BODY_MAX_BYTES)));
        Response::from_parts(parts, Body::from(bytes))
    } else {
        response
    };
    record.status = answered.then(|| response.status().as_u16());
    record.body = kept
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .split_off(0)
        .into();
    record.took = started.elapsed();
    let now = app.hub.clock.now();
    app.hub
        .traffic_log
        .record(now, TrafficEvent::Request(Box::new(record)));
    response
}

/// Who asks, as far as the request says; whether it is true is found out later.
fn user_of(params: &Params) -> Option<String> {
    let claimed = params
        .header("authorization")
        .or_else(|| params.get("authorization"))
        .and_then(|token| token::inspect(token).ok())
        .and_then(|claims| claims.user_id);
    claimed.or_else(|| params.get("user_id").map(str::to_owned))
}

/// The same body, and its start as it is read.
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

/// Does to a request what a fault wants.
async fn strike(
    app: &RouteContext,
    tcp: &TcpHandle,
    request: Request<Body>,
    fault: RequestFault,
) -> Response<Body> {
    tokio::time::sleep(fault.delay).await;
    let carried_out = fault.applied
        || matches!(
            fault.answer,
            FaultResponse::Usual | FaultResponse::Truncated
        );
    if !carried_out {
        // Read all the same: an answer in the middle of a request looks like a broken network to many clients.
        let _ = axum::body::to_bytes(request.into_body(), DISCARDED_BODY_MAX_BYTES).await;
        return instead(app, tcp, fault.answer);
    }
    let usual = serve(app, tcp, request).await;
    match fault.answer {
        FaultResponse::Usual => usual,
        FaultResponse::Truncated => truncated(usual).await,
        answer => instead(app, tcp, answer),
    }
}

/// The answer that takes the usual one's place.
fn instead(app: &RouteContext, tcp: &TcpHandle, answer: FaultResponse) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    match answer {
        FaultResponse::Error {
            status,
            code,
            message,
            retry_after,
        } => {
            let reject = Rejection::with_code(status, code, message);
            let limits = response::RateLimitHeaders::of(
                app.hub.rate_limit_status(ClientPlatform::Web, "Request"),
                &app.hub.clock,
            );
            response = response::answer("Fault", Err(reject), &limits, Duration::ZERO);
            // It says when to come back if the fault does, and not by itself.
            match retry_after {
                Some(seconds) => response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, seconds.into()),
                None => response.headers_mut().remove(header::RETRY_AFTER),
            };
        }
        FaultResponse::Html { status } => {
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            *response.body_mut() = Body::from(format!(
                "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"
            ));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        }
        FaultResponse::Reset => tcp.reset(),
        FaultResponse::Usual | FaultResponse::Truncated => {}
    }
    response
}

/// An answer that announces more than comes.
async fn truncated(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, RESPONSE_READ_MAX_BYTES)
        .await
        .unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, bytes.len().into());
    let half = bytes.slice(..bytes.len() / 2);
    let rest = stream::iter([Ok::<Bytes, std::io::Error>(half)]).chain(stream::once(async {
        // By the next turn the first half has left.
        tokio::task::yield_now().await;
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }));
    Response::from_parts(parts, Body::from_stream(rest))
}
