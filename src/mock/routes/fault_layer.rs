//! A layer around the service that applies request faults: it delays, replaces or breaks responses.
//!
//! The fault registry decides which request a fault applies to.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::middleware::Next;
use futures_util::{StreamExt, stream};

use super::super::error::Rejection;
use super::super::faults::{FaultResponse, RequestFacts, RequestFault};
use super::super::tcp::TcpHandle;
use super::context::RouteContext;
use super::dispatch::NO_OPERATION;
use super::params::Params;
use super::response;

/// Bytes of a response that are read, so that it can be truncated.
const RESPONSE_READ_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a request that are read to the end although nobody uses them.
const DISCARDED_BODY_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The fault that was applied to a request, in the extensions of its response.
#[derive(Debug, Clone)]
pub(super) struct AppliedFault {
    /// The fault's id.
    pub(super) id: String,
    /// Whether the client receives a response at all.
    pub(super) answered: bool,
}

/// Passes a request on, or applies the fault that matches it.
pub(super) async fn apply(
    Extension(context): Extension<RouteContext>,
    Extension(params): Extension<Arc<Params>>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let matching = context.hub.faults.request(|| RequestFacts {
        method: request.method().as_str(),
        path: request.uri().path(),
        user: params.claimed_user(),
    });
    let Some((id, fault)) = matching else {
        return next.run(request).await;
    };
    let answered = fault.answer != FaultResponse::Reset;
    let mut response = apply_fault(&context, &context.peer.tcp, request, fault, next).await;
    response
        .extensions_mut()
        .insert(AppliedFault { id, answered });
    response
}

async fn apply_fault(
    context: &RouteContext,
    tcp: &TcpHandle,
    request: Request<Body>,
    fault: RequestFault,
    next: Next,
) -> Response<Body> {
    tokio::time::sleep(fault.delay).await;
    let carried_out = fault.applied
        || matches!(
            fault.answer,
            FaultResponse::Usual | FaultResponse::Truncated
        );
    if !carried_out {
        // Read all the same: many clients take a response in the middle of a request for a broken network.
        let _ = axum::body::to_bytes(request.into_body(), DISCARDED_BODY_MAX_BYTES).await;
        return replacement(context, tcp, fault.answer);
    }
    let usual = next.run(request).await;
    match fault.answer {
        FaultResponse::Usual => usual,
        FaultResponse::Truncated => truncate(usual).await,
        answer => replacement(context, tcp, answer),
    }
}

/// The response that replaces the usual one.
fn replacement(context: &RouteContext, tcp: &TcpHandle, answer: FaultResponse) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    match answer {
        FaultResponse::Error {
            status,
            code,
            message,
            retry_after,
        } => {
            let reject = Rejection::with_code(status, code, message);
            let hub = &context.hub;
            let limits =
                response::RateLimitHeaders::of(hub.rate_limit_status(NO_OPERATION), &hub.clock);
            response = response::answer("Fault", Err(reject), &limits, Duration::ZERO);
            // The fault alone decides whether there is a Retry-After.
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

/// A response that announces more bytes than it has.
async fn truncate(response: Response<Body>) -> Response<Body> {
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
