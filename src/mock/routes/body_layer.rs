//! A layer around everything that reads request bodies to their end, within limits.
//!
//! A client that is still writing when the connection closes takes that for a broken network and never reads the
//! response. So a response does not overtake the request's body.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, Response, header};
use axum::middleware::Next;
use futures_util::{Stream, StreamExt, stream};

use super::context::RouteContext;

/// Bytes of a body that are still read when the response is ready.
const DISCARDED_BODY_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Passes a request on, and reads the rest of its body before the response leaves. If the rest is too long or does not
/// arrive in time, the response says that the connection closes.
pub(super) async fn read_to_end(
    Extension(context): Extension<RouteContext>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let read_timeout = context.hub.options.read_timeout;
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let handed_on = Body::from_stream(chunks(body.clone(), read_timeout));
    let mut response = next.run(Request::from_parts(parts, handed_on)).await;
    if !discard(body, read_timeout).await {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// The chunks of a body. If one does not arrive in time, the body ends with an error.
fn chunks(
    body: Arc<Mutex<BodyDataStream>>,
    read_timeout: Duration,
) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(body, move |body| async move {
        let next = std::future::poll_fn(|cx| {
            let mut body = body.lock().unwrap_or_else(PoisonError::into_inner);
            body.poll_next_unpin(cx)
        });
        let chunk = match tokio::time::timeout(read_timeout, next).await {
            Ok(chunk) => chunk?.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        Some((chunk, body))
    })
}

/// Reads a body to its end. Returns whether that was possible.
async fn discard(body: Arc<Mutex<BodyDataStream>>, read_timeout: Duration) -> bool {
    let mut chunks = std::pin::pin!(chunks(body, read_timeout));
    let mut discarded = 0;
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) if discarded + chunk.len() <= DISCARDED_BODY_MAX_BYTES => {
                discarded += chunk.len();
            }
            _ => return false,
        }
    }
    true
}
