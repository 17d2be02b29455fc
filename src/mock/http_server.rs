//! The HTTP server: accepts connections, reads requests within a time limit, and ends gracefully.

use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use super::routes::RequestHandler;
use super::tcp::ControlledListener;

/// Serves until `shutdown` ends. Then it accepts no more connections, and returns when all requests are answered.
///
/// A connection on which no complete request head arrives within `header_timeout` is closed, whether it is idle or
/// sends a few bytes at a time.
pub(super) async fn serve(
    mut listener: ControlledListener,
    handler: RequestHandler,
    header_timeout: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout);
    // Every open connection holds a receiver.
    let (closing, _) = watch::channel(());
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let handler = handler.clone();
        let service = service_fn(move |request| handler.handle(request, &peer));
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut is_closing = closing.subscribe();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            // A connection that breaks concerns nobody but its client.
            let _ = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = is_closing.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
        });
    }
    drop((listener, handler));
    // Without open connections there is nobody to receive it.
    let _ = closing.send(());
    closing.closed().await;
}
