//! A request on its way in and out: what is meant to go wrong with it goes wrong here, and the journal takes note.
//!
//! What strikes is decided by the faults; what the usual answer is, by the routes behind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::super::error::Reject;
use super::super::faults::{Answer, Asked, RequestFault};
use super::super::rate_limits::Platform;
use super::super::tcp::Line;
use super::super::traffic_log::{self, Happening};
use super::params::Params;
use super::{App, response, serve};
use crate::domain::token;

/// Bytes of a body that the journal keeps.
const KEPT: usize = 4 * 1024;
/// Bytes of an answer that may be looked at.
const ANSWER: usize = 64 * 1024 * 1024;
/// Bytes of a request that are read to the end although nobody will look at them.
const IGNORED: usize = 64 * 1024 * 1024;

/// Answers a request, or does to it what a fault wants.
pub(super) async fn pass(app: &App, line: &Line, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let params = Params::of(&parts);
    let user = user_of(&params);
    let struck = app.hub.faults.request(&Asked {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        user: user.as_deref(),
    });
    let mut note = traffic_log::Request {
        method: parts.method.to_string(),
        path: parts.uri.path().chars().take(512).collect(),
        query: params.shown(),
        user,
        fault: struck.as_ref().map(|(id, _)| id.clone()),
        ..traffic_log::Request::default()
    };
    let (body, kept) = keep_start(body);
    let request = Request::from_parts(parts, body);
    let (response, answered) = match struck {
        None => (serve(app, line, request).await, true),
        Some((_, fault)) => {
            let lost = fault.answer == Answer::Reset;
            (strike(app, line, request, fault).await, !lost)
        }
    };
    let response = if response.status().as_u16() >= 400 && answered {
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, ANSWER).await.unwrap_or_default();
        note.refusal = Some(bytes.slice(..bytes.len().min(KEPT)));
        Response::from_parts(parts, Body::from(bytes))
    } else {
        response
    };
    note.status = answered.then(|| response.status().as_u16());
    note.body = kept
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .split_off(0)
        .into();
    note.took = started.elapsed();
    let now = app.hub.clock.now();
    app.hub
        .journal
        .note(now, Happening::Request(Box::new(note)));
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
        let room = (KEPT + 1).saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
    });
    (Body::from_stream(body), kept)
}

/// Does to a request what a fault wants.
async fn strike(
    app: &App,
    line: &Line,
    request: Request<Body>,
    fault: RequestFault,
) -> Response<Body> {
    tokio::time::sleep(fault.delay).await;
    let carried_out = fault.applied || matches!(fault.answer, Answer::Usual | Answer::Truncated);
    if !carried_out {
        // Read all the same: an answer in the middle of a request looks like a broken network to many clients.
        let _ = axum::body::to_bytes(request.into_body(), IGNORED).await;
        return instead(app, line, fault.answer);
    }
    let usual = serve(app, line, request).await;
    match fault.answer {
        Answer::Usual => usual,
        Answer::Truncated => truncated(usual).await,
        answer => instead(app, line, answer),
    }
}

/// The answer that takes the usual one's place.
fn instead(app: &App, line: &Line, answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    match answer {
        Answer::Error {
            status,
            code,
            message,
            retry_after,
        } => {
            let reject = Reject::with_code(status, code, message);
            let limits =
                response::Limits::of(app.hub.budget(Platform::Web, "Request"), &app.hub.clock);
            response = response::answer("Fault", Err(reject), &limits, Duration::ZERO);
            // It says when to come back if the fault does, and not by itself.
            match retry_after {
                Some(seconds) => response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, seconds.into()),
                None => response.headers_mut().remove(header::RETRY_AFTER),
            };
        }
        Answer::Html { status } => {
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            *response.body_mut() = Body::from(format!(
                "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"
            ));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        }
        Answer::Reset => line.cut(),
        Answer::Usual | Answer::Truncated => {}
    }
    response
}

/// An answer that announces more than comes.
async fn truncated(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, ANSWER).await.unwrap_or_default();
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
