//! The HTTP server: accepts connections, reads requests within a time limit, and ends gracefully.

use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use super::routes::RequestHandler;
use super::tcp::{ControlledListener, Peer, ServerStream};

/// Serves until `shutdown` ends. Then it accepts no more connections, and returns when all requests are answered.
///
/// A connection on which no complete request head arrives within `header_timeout` is closed, whether it is idle or
/// sends a few bytes at a time. So is one whose TLS handshake takes longer.
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
    let tls_acceptor = listener.tls_acceptor();
    // Every open connection holds a receiver.
    let (closing, _) = watch::channel(());
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (builder, handler) = (builder.clone(), handler.clone());
        let mut is_closing = closing.subscribe();
        let Some(acceptor) = &tls_acceptor else {
            let stream = ServerStream::Plain(stream);
            tokio::spawn(serve_connection(
                &builder, stream, handler, peer, is_closing,
            ));
            continue;
        };
        let handshake = tokio::time::timeout(header_timeout, acceptor.accept(stream));
        tokio::spawn(async move {
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                _ = is_closing.changed() => return,
            };
            // A client that does not trust the certificate, or does not know TLS, learns that from its own library.
            let Ok(Ok(stream)) = shaken else { return };
            let stream = ServerStream::Tls(Box::new(stream));
            serve_connection(&builder, stream, handler, peer, is_closing).await;
        });
    }
    drop((listener, handler));
    // Without open connections there is nobody to receive it.
    let _ = closing.send(());
    closing.closed().await;
}

/// Answers the requests on one connection until it ends, or until `is_closing` says that the next answer is the last.
fn serve_connection(
    builder: &Builder,
    stream: ServerStream,
    handler: RequestHandler,
    peer: Peer,
    mut is_closing: watch::Receiver<()>,
) -> impl Future<Output = ()> + Send + use<> {
    let service = service_fn(move |request| handler.handle(request, &peer));
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    async move {
        let mut connection = std::pin::pin!(connection);
        // A connection that breaks concerns nobody but its client.
        let _ = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = is_closing.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
    }
}
