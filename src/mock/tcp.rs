//! TCP connections that the mock can break: with a reset, or by keeping them open without sending anything.
//!
//! Both must happen below TLS, HTTP and WebSocket, because those libraries would close the connection properly.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::serve::Listener;
use futures_util::future::select_all;
use futures_util::task::AtomicWaker;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::TlsIdentity;

const STATE_OPEN: u8 = 0;
const STATE_BLACKHOLED: u8 = 1;
const STATE_RESET: u8 = 2;

#[derive(Debug, Default)]
struct TcpState {
    state: AtomicU8,
    reader: AtomicWaker,
}

/// A handle that breaks a TCP connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct TcpHandle(Arc<TcpState>);

impl TcpHandle {
    /// Resets the connection. Bytes on their way are lost.
    pub(crate) fn reset(&self) {
        self.0.state.store(STATE_RESET, Ordering::Release);
        self.0.reader.wake();
    }

    /// Stops all output, even the end of the connection, until the client closes it.
    pub(crate) fn blackhole(&self) {
        // A reset connection stays reset.
        let _ = self.0.state.compare_exchange(
            STATE_OPEN,
            STATE_BLACKHOLED,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Whether output is stopped.
    pub(crate) fn is_blackholed(&self) -> bool {
        self.state() == STATE_BLACKHOLED
    }

    fn state(&self) -> u8 {
        self.0.state.load(Ordering::Acquire)
    }
}

/// A TCP stream that its handle can break.
pub(crate) struct ControlledStream<S> {
    stream: S,
    tcp: TcpHandle,
    reset: fn(&S),
}

impl<S> ControlledStream<S> {
    /// Wraps a stream. With `reset`, dropping the stream resets the connection.
    fn new(stream: S, tcp: TcpHandle, reset: fn(&S)) -> Self {
        Self { stream, tcp, reset }
    }

    fn check(&self) -> io::Result<()> {
        if self.tcp.state() == STATE_RESET {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl<S> fmt::Debug for ControlledStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlledStream")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

impl<S> Drop for ControlledStream<S> {
    fn drop(&mut self) {
        if self.tcp.state() == STATE_RESET {
            (self.reset)(&self.stream);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ControlledStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Registered before the check, so that a change in between is not missed.
        self.tcp.0.reader.register(cx.waker());
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ControlledStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        if self.tcp.is_blackholed() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        if self.tcp.is_blackholed() {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        if self.tcp.is_blackholed() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The address of the client, and the handle to its connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The handle.
    pub(crate) tcp: TcpHandle,
}

/// The sockets that a server listens on: one, or several for the same port of several addresses.
#[derive(Debug)]
pub struct Listeners {
    first: TcpListener,
    others: Vec<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
}

impl Listeners {
    /// Several sockets. The first gives the server its address.
    pub const fn new(first: TcpListener, others: Vec<TcpListener>) -> Self {
        Self {
            first,
            others,
            tls: None,
        }
    }

    /// The same sockets, for https and wss only.
    #[must_use]
    pub fn with_tls(self, identity: &TlsIdentity) -> Self {
        Self {
            tls: Some(identity.config.clone()),
            ..self
        }
    }

    /// The address of the first socket.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }
}

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener, Vec::new())
    }
}

/// A listener whose connections can be broken.
#[derive(Debug)]
pub(crate) struct ControlledListener(pub(crate) Listeners);

impl ControlledListener {
    /// What makes a connection one over TLS, if the server wants that.
    pub(crate) fn tls_acceptor(&self) -> Option<TlsAcceptor> {
        self.0.tls.clone().map(TlsAcceptor::from)
    }

    /// Waits for the next connection. Failures to accept one are retried.
    pub(crate) async fn accept(&mut self) -> (ControlledStream<TcpStream>, Peer) {
        let Listeners { first, others, .. } = &mut self.0;
        let accepting = std::iter::once(first)
            .chain(others)
            .map(|listener| Box::pin(Listener::accept(listener)));
        let ((stream, address), ..) = select_all(accepting).await;
        // Events are small and must be sent at once. Without the option they still arrive.
        let _ = stream.set_nodelay(true);
        let tcp = TcpHandle::default();
        let controlled = ControlledStream::new(stream, tcp.clone(), |stream| {
            // Without the option the client sees an ordinary end instead of a reset.
            let _ = stream.set_zero_linger();
        });
        (controlled, Peer { address, tcp })
    }
}

/// A connection to a client, plain or over TLS.
#[derive(Debug)]
pub(crate) enum ServerStream {
    /// For http and ws.
    Plain(ControlledStream<TcpStream>),
    /// For https and wss.
    Tls(Box<TlsStream<ControlledStream<TcpStream>>>),
}

/// A stream of bytes, whichever way it is carried.
trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream for S {}

impl ServerStream {
    fn inner(&mut self) -> Pin<&mut dyn ByteStream> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(cx, buffer)
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn pair() -> (ControlledStream<DuplexStream>, DuplexStream, TcpHandle) {
        let (server, client) = duplex(64);
        let tcp = TcpHandle::default();
        (
            ControlledStream::new(server, tcp.clone(), |_| {}),
            client,
            tcp,
        )
    }

    #[tokio::test]
    async fn a_cut_ends_a_pending_read() {
        let (mut server, mut client, tcp) = pair();
        let reading = tokio::spawn(async move { server.read_u8().await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        tcp.reset();
        assert_eq!(reading.await.unwrap(), io::ErrorKind::ConnectionReset);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_blackholed_connection_discards_what_is_written() {
        let (mut server, mut client, tcp) = pair();
        server.write_all(b"a").await.unwrap();
        tcp.blackhole();
        server.write_all(b"b").await.unwrap();
        server.shutdown().await.unwrap();
        client.write_all(b"c").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'c');
        tcp.reset();
        assert!(server.write_all(b"d").await.is_err());
        drop(server);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"a");
    }
}
