//! WebSocket upgrades: from a request to an open socket.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::super::error::Rejection;
use super::super::tcp::ServerStream;

/// An open WebSocket of a client.
pub(super) type ClientSocket = WebSocketStream<ServerStream>;

/// Accepts a WebSocket, and serves it in a task of its own once the response has been sent. Frames of the client have at
/// most `limit` bytes.
///
/// # Errors
///
/// The request is no WebSocket upgrade.
pub(super) fn accept<F>(
    parts: &mut Parts,
    limit: usize,
    serve: impl FnOnce(ClientSocket) -> F + Send + 'static,
) -> Result<Response<Body>, Rejection>
where
    F: Future<Output = ()> + Send,
{
    let refuse =
        |why: String| Rejection::input(format!("this endpoint takes WebSocket upgrades: {why}"));
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let response = create_response_with_body(&Request::from_parts(parts.clone(), ()), Body::empty)
        .map_err(|error| refuse(error.to_string()))?;
    let upgrade = upgrade.ok_or_else(|| refuse("the connection cannot be upgraded".to_owned()))?;
    // Clients send pings and little else; the default buffers would cost a quarter of a megabyte each.
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(4096)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    tokio::spawn(async move {
        // A client that is gone before the response has nothing to be served.
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(connection) = upgraded.downcast::<TokioIo<ServerStream>>() else {
            return;
        };
        let sent_early = connection.read_buf.to_vec();
        // Belongs to a buffer of 8 KiB, which would be kept as long as the socket.
        drop(connection.read_buf);
        let socket = WebSocketStream::from_partially_read(
            connection.io.into_inner(),
            sent_early,
            Role::Server,
            Some(config),
        );
        serve(socket.await).await;
    });
    Ok(response)
}
