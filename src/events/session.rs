//! One connection, from its first health check to its end: heartbeats, silence detection, errors and closing.
//!
//! The service's first frame is a `health.check` with the connection's id. From then on, the client pings 25 s after
//! each health check, and a connection without any frame for 35 s counts as dead, whatever TCP says. With a shorter
//! limit, pings are sent sooner in proportion. A ping is a JSON *array*, unlike every frame of the server. The content
//! of other frames is not looked at here, and reconnecting happens elsewhere.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes, WebSocket};
use uuid::Uuid;

use crate::api::Refusal;
use crate::domain::ApiErrorCode;
use crate::domain::event::{CONNECTION_ERROR, Event, HEALTH_CHECK};
use crate::escape;
use crate::events::sync_stream::SyncStream;

/// The default limit for silence: a connection without a frame for this long counts as dead.
pub const STALE_AFTER: Duration = Duration::from_secs(35);
/// How long to wait for the server's close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Text, which should be an event. It shares the receive buffer.
    Text(Utf8Bytes),
    /// Bytes. The service never sends any.
    Binary(Bytes),
}

/// Why a session ended, or did not begin.
#[derive(Debug)]
pub enum SessionEnd {
    /// The service refused the connection, at its start or later, with an error object.
    Refused(Refusal),
    /// The server closed the connection.
    Closed {
        /// The close code; `None` if there was none.
        code: Option<u16>,
        /// The reason, as sent.
        reason: String,
    },
    /// No frame arrived for this long.
    Silent(Duration),
    /// The first frame was not a health check. Contains its beginning.
    NoHealthCheck(String),
    /// The connection broke, or the data was not valid WebSocket.
    Broken(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(
                f,
                "the service refused the connection (code {}): {}",
                refusal.code,
                escape::escape(&refusal.message)
            ),
            Self::Closed { code, reason } => {
                match code {
                    Some(code) => write!(f, "the server closed the connection (code {code})")?,
                    None => f.write_str("the server closed the connection")?,
                }
                if !reason.is_empty() {
                    write!(f, ": {}", escape::escape(reason))?;
                }
                Ok(())
            }
            Self::Silent(long) => write!(
                f,
                "no frame from the server for {}",
                humantime::format_duration(*long)
            ),
            Self::NoHealthCheck(start) => write!(
                f,
                "the first frame is not a health check; it starts with `{}`",
                escape::escape(start)
            ),
            Self::Broken(_) => f.write_str("the connection broke"),
        }
    }
}

impl Error for SessionEnd {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken(source) => Some(source.as_ref()),
            Self::Refused(_) | Self::Closed { .. } | Self::Silent(_) | Self::NoHealthCheck(_) => {
                None
            }
        }
    }
}

impl SessionEnd {
    const fn hung_up() -> Self {
        Self::Closed {
            code: None,
            reason: String::new(),
        }
    }

    fn of(error: tungstenite::Error) -> Self {
        use tungstenite::error::ProtocolError;
        match error {
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::hung_up()
            }
            error => Self::Broken(Box::new(error)),
        }
    }
}

/// Whether the operation only has to wait.
fn would_block(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// A connection of one user.
pub struct Session<S> {
    socket: WebSocket<SyncStream<S>>,
    connection_id: String,
    hello: Utf8Bytes,
    stale_after: Duration,
    ping: Utf8Bytes,
    ping_at: Instant,
    ping_due: bool,
    unflushed: bool,
    last_frame: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("connection_id", &self.connection_id)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Starts a session on a stream after the WebSocket handshake: waits for the service's first frame.
    ///
    /// `read_buffer` is in bytes and is allocated at once: large for one busy stream, small for thousands of quiet ones. A
    /// connection without a frame for `stale_after` counts as dead.
    ///
    /// # Errors
    ///
    /// - [`SessionEnd::Refused`]: the service refused the connection.
    /// - [`SessionEnd::NoHealthCheck`]: the first frame was something else.
    /// - [`SessionEnd::Closed`], [`SessionEnd::Silent`], [`SessionEnd::Broken`]: no first frame arrived.
    pub async fn begin(
        stream: S,
        user: &str,
        read_buffer: usize,
        stale_after: Duration,
    ) -> Result<Self, SessionEnd> {
        let config = WebSocketConfig::default()
            .read_buffer_size(read_buffer)
            .write_buffer_size(0);
        let socket =
            WebSocket::from_raw_socket(SyncStream::new(stream), Role::Client, Some(config));
        let now = Instant::now();
        let ping_at = now + ping_after(stale_after);
        let mut session = Self {
            socket,
            connection_id: String::new(),
            hello: Utf8Bytes::default(),
            stale_after,
            ping: format!(
                r#"[{{"type":"{HEALTH_CHECK}","client_id":"{user}--{}"}}]"#,
                Uuid::new_v4()
            )
            .into(),
            ping_at,
            ping_due: false,
            unflushed: false,
            last_frame: now,
            timer: Box::pin(sleep_until(ping_at)),
        };
        let hello = match session.next().await? {
            Frame::Text(text) => text,
            Frame::Binary(bytes) => {
                return Err(SessionEnd::NoHealthCheck(format!("{} bytes", bytes.len())));
            }
        };
        let event = Event::parse(&hello).map_err(|_| no_health_check(&hello))?;
        if let Some(refusal) = event.error.map(refusal_of) {
            return Err(SessionEnd::Refused(refusal));
        }
        let id = event
            .is(HEALTH_CHECK)
            .then_some(event.connection_id.as_deref())
            .flatten()
            .filter(|id| !id.is_empty())
            .ok_or_else(|| no_health_check(&hello))?;
        session.connection_id = id.to_owned();
        session.hello = hello;
        Ok(session)
    }

    /// The id to subscribe with. It is valid as long as the session.
    pub fn connection_id(&self) -> &str {
        &self.connection_id
    }

    /// The first frame: the health check, with the connected user as `me`.
    pub fn hello(&self) -> &Utf8Bytes {
        &self.hello
    }

    /// When the last frame was received. Frames that arrived together have the same time.
    #[inline]
    pub fn received_at(&self) -> DateTime<Utc> {
        self.socket.get_ref().last_arrival().at
    }

    /// Waits for the next frame; health checks are frames too. Cancellation safe.
    ///
    /// # Errors
    ///
    /// [`SessionEnd`]: the session is over. Do not call this again.
    pub async fn next(&mut self) -> Result<Frame, SessionEnd> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next frame, if it has arrived already. Otherwise call [`Self::next`], because only that registers a wake-up.
    ///
    /// # Errors
    ///
    /// As [`Self::next`].
    #[inline]
    pub fn try_next(&mut self) -> Option<Result<Frame, SessionEnd>> {
        loop {
            let message = match self.write_pending() {
                Ok(()) => self.socket.read(),
                Err(end) => return Some(Err(end)),
            };
            let received = match message {
                Ok(message) => self.handle(message),
                Err(error) if would_block(&error) => return None,
                Err(error) => Err(SessionEnd::of(error)),
            };
            if let Some(frame) = received.transpose() {
                return Some(frame);
            }
        }
    }

    /// Closes the connection with close code 1000, and waits briefly for the server to do the same.
    pub async fn close(mut self) {
        let mut close = Some(CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::from_static("bye"),
        });
        let closing = poll_fn(|cx| {
            self.socket.get_mut().set_waker(cx);
            // A frame that cannot be written at once is queued. If the connection ends first, that is as good.
            let _ = match close.take() {
                Some(close) => self.socket.close(Some(close)),
                None => self.socket.flush(),
            };
            loop {
                match self.socket.read() {
                    Ok(_) => {}
                    Err(error) if would_block(&error) => return Poll::Pending,
                    Err(_) => return Poll::Ready(()),
                }
            }
        });
        // The server need not answer a close frame.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, SessionEnd>> {
        self.socket.get_mut().set_waker(cx);
        loop {
            // Frames come before the timer: after a suspended process wakes up, what waits in the socket proves that the
            // server was not silent.
            if let Some(frame) = self.try_next() {
                return Poll::Ready(frame);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let stale_at = self.last_frame + self.stale_after;
            if now >= stale_at {
                return Poll::Ready(Err(SessionEnd::Silent(self.stale_after)));
            }
            self.ping_if_due(now);
            let next = self.ping_at.min(stale_at);
            self.timer.as_mut().reset(next);
        }
    }

    /// Writes what is to be sent, without waiting: a server that does not read may still send.
    fn write_pending(&mut self) -> Result<(), SessionEnd> {
        let done = if std::mem::take(&mut self.ping_due) {
            self.unflushed = true;
            self.socket.send(Message::Text(self.ping.clone()))
        } else if self.unflushed {
            self.socket.flush()
        } else {
            return Ok(());
        };
        match done {
            Ok(()) => self.unflushed = false,
            // The frame is queued.
            Err(error) if would_block(&error) => {}
            Err(error) => return Err(SessionEnd::of(error)),
        }
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<Option<Frame>, SessionEnd> {
        let now = self.socket.get_ref().last_arrival().instant;
        self.last_frame = now;
        let frame = match message {
            Message::Text(text) => {
                self.handle_control_event(&text, now)?;
                Some(Frame::Text(text))
            }
            Message::Binary(bytes) => Some(Frame::Binary(bytes)),
            Message::Ping(_) => {
                // The library has queued the pong.
                self.unflushed = true;
                None
            }
            Message::Close(frame) => {
                // The library has queued the answer. Try once to send it.
                let _ = self.socket.flush();
                return Err(
                    frame.map_or_else(SessionEnd::hung_up, |frame| SessionEnd::Closed {
                        code: Some(frame.code.into()),
                        reason: frame.reason.as_str().to_owned(),
                    }),
                );
            }
            Message::Pong(_) | Message::Frame(_) => None,
        };
        // On a busy stream the timer is never polled, and a server drops a client that sends nothing.
        self.ping_if_due(now);
        Ok(frame)
    }

    /// Handles the events that concern the session itself: health checks and errors. Searching for their words first
    /// avoids parsing the others. Nearly all are cheaper still: an event starts with its type, mostly one about a user.
    fn handle_control_event(&mut self, text: &str, now: Instant) -> Result<(), SessionEnd> {
        if text.starts_with(r#"{"type":"user."#) {
            return Ok(());
        }
        let contains = |word: &str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
        // An error may come without a type.
        if !contains(HEALTH_CHECK) && !contains(r#""error""#) {
            return Ok(());
        }
        let Ok(event) = Event::parse(text) else {
            return Ok(());
        };
        if event.is(HEALTH_CHECK) {
            self.ping_at = now + ping_after(self.stale_after);
        } else if event.is(CONNECTION_ERROR) {
            return Err(SessionEnd::Refused(refusal_of(event.error.unwrap_or("{}"))));
        }
        Ok(())
    }

    fn ping_if_due(&mut self, now: Instant) {
        if now >= self.ping_at {
            self.ping_due = true;
            self.ping_at = now + ping_after(self.stale_after);
        }
    }
}

/// The delay from a health check to the ping, in the service's proportion (25 s of 35 s), so that the answer is in time.
fn ping_after(stale_after: Duration) -> Duration {
    stale_after * 5 / 7
}

fn no_health_check(text: &str) -> SessionEnd {
    SessionEnd::NoHealthCheck(text.chars().take(120).collect())
}

fn refusal_of(error: &str) -> Refusal {
    Refusal::read(error.as_bytes(), 0).unwrap_or_else(|| Refusal {
        code: ApiErrorCode::Internal,
        message: format!("the error object cannot be read: {error}"),
        ..Refusal::default()
    })
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::advance;
    use tokio_tungstenite::WebSocketStream;

    use super::*;

    const HELLO: &str = r#"{"type":"health.check","connection_id":"c-1","cid":"*","me":{"id":"amy"},"created_at":"2026-01-01T00:00:00Z"}"#;

    type Server = WebSocketStream<DuplexStream>;

    async fn pair() -> (Server, DuplexStream) {
        let (ours, theirs) = duplex(64 * 1024);
        let server = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        (server, ours)
    }

    async fn started() -> (Server, Session<DuplexStream>) {
        let (mut server, stream) = pair().await;
        server.send(Message::text(HELLO)).await.unwrap();
        let session = Session::begin(stream, "amy", 4096, STALE_AFTER)
            .await
            .unwrap();
        (server, session)
    }

    async fn end_after_first_frame(frame: &str) -> SessionEnd {
        let (mut server, stream) = pair().await;
        server.send(Message::text(frame)).await.unwrap();
        Session::begin(stream, "amy", 4096, STALE_AFTER)
            .await
            .unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_frame_names_the_connection() {
        let (_server, session) = started().await;
        assert_eq!(session.connection_id(), "c-1");
        assert_eq!(session.hello().as_str(), HELLO);
    }

    #[tokio::test(start_paused = true)]
    async fn another_first_frame_is_refused_with_its_beginning() {
        for frame in [
            r#"{"type":"message.new"}"#,
            r#"{"type":"health.check","connection_id":""}"#,
            "<html>",
        ] {
            let end = end_after_first_frame(frame).await;
            assert!(
                matches!(&end, SessionEnd::NoHealthCheck(start) if start == frame),
                "{end:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_keeps_its_code() {
        let end = end_after_first_frame(
            r#"{"type":"connection.error","connection_id":"","error":{"code":40,"message":"expired","StatusCode":401,"details":[]}}"#,
        )
        .await;
        let SessionEnd::Refused(refusal) = end else {
            panic!("{end:?}");
        };
        assert_eq!(
            (refusal.code, refusal.status),
            (ApiErrorCode::TokenExpired, 401)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_may_come_at_any_time() {
        let (mut server, mut session) = started().await;
        server
            .send(Message::text(
                r#"{"type":"connection.error","error":{"code":43}}"#,
            ))
            .await
            .unwrap();
        let end = session.next().await.unwrap_err();
        assert!(matches!(end, SessionEnd::Refused(refusal) if refusal.code == 43));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_without_a_type_is_a_refusal_at_any_time() {
        let error = r#"{"error":{"code":43,"message":"signature is not valid"}}"#;
        let at_start = end_after_first_frame(error).await;
        let (mut server, mut session) = started().await;
        server.send(Message::text(error)).await.unwrap();
        for end in [at_start, session.next().await.unwrap_err()] {
            assert!(
                matches!(&end, SessionEnd::Refused(refusal) if refusal.code == 43),
                "{end:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_that_only_mentions_an_error_is_a_frame() {
        let (mut server, mut session) = started().await;
        let text =
            r#"{"type":"user.updated","user":{"id":"x","status":"\"connection.error\" again"}}"#;
        server.send(Message::text(text)).await.unwrap();
        assert_eq!(session.next().await.unwrap(), Frame::Text(text.into()));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_follow_the_last_health_check() {
        let (mut server, mut session) = started().await;
        let start = Instant::now();
        let client = tokio::spawn(async move {
            loop {
                if let Err(end) = session.next().await {
                    return end;
                }
            }
        });
        let ping = server.next().await.unwrap().unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(25));
        let text = ping.into_text().unwrap();
        let ping: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(ping[0]["type"], "health.check");
        let id = ping[0]["client_id"].as_str().unwrap();
        assert!(Uuid::parse_str(id.strip_prefix("amy--").unwrap()).is_ok());

        advance(Duration::from_secs(5)).await;
        server.send(Message::text(HELLO)).await.unwrap();
        server.next().await.unwrap().unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(25 + 5 + 25));
        drop(server);
        assert!(matches!(
            client.await.unwrap(),
            SessionEnd::Closed { code: None, .. }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_stream_is_pinged_too() {
        let (mut server, mut session) = started().await;
        let start = Instant::now();
        for _ in 0..30 {
            advance(Duration::from_secs(1)).await;
            server.send(Message::text(r#"{"type":"x"}"#)).await.unwrap();
            session.next().await.unwrap();
        }
        // The ping went out while the frames after the 25th second were read.
        server.next().await.unwrap().unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_session_and_any_frame_counts() {
        let (mut server, mut session) = started().await;
        let start = Instant::now();
        advance(Duration::from_secs(30)).await;
        server.send(Message::Ping(Bytes::new())).await.unwrap();
        let end = session.next().await.unwrap_err();
        assert!(matches!(end, SessionEnd::Silent(_)), "{end:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(30 + 35));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_limit_means_earlier_pings() {
        let (mut server, stream) = pair().await;
        server.send(Message::text(HELLO)).await.unwrap();
        let sooner = Duration::from_secs(7);
        let mut session = Session::begin(stream, "amy", 4096, sooner).await.unwrap();
        let start = Instant::now();
        let client = tokio::spawn(async move { session.next().await });
        server.next().await.unwrap().unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        let end = client.await.unwrap().unwrap_err();
        assert_eq!(start.elapsed(), sooner);
        assert_eq!(end.to_string(), "no frame from the server for 7s");
    }

    #[tokio::test(start_paused = true)]
    async fn protocol_pings_are_answered() {
        let (mut server, mut session) = started().await;
        server
            .send(Message::Ping(Bytes::from_static(b"there?")))
            .await
            .unwrap();
        server.send(Message::text(r#"{"type":"x"}"#)).await.unwrap();
        session.next().await.unwrap();
        assert_eq!(
            server.next().await.unwrap().unwrap(),
            Message::Pong(Bytes::from_static(b"there?"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_code_is_kept() {
        let (mut server, mut session) = started().await;
        server
            .close(Some(CloseFrame {
                code: CloseCode::Away,
                reason: "restarting".into(),
            }))
            .await
            .unwrap();
        let end = session.next().await.unwrap_err();
        assert_eq!(
            end.to_string(),
            "the server closed the connection (code 1001): restarting"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn closing_sends_a_close_frame() {
        let (mut server, session) = started().await;
        let leave = tokio::spawn(session.close());
        let Message::Close(Some(frame)) = server.next().await.unwrap().unwrap() else {
            panic!("no close frame");
        };
        assert_eq!(u16::from(frame.code), 1000);
        assert!(server.next().await.is_none());
        leave.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn closing_does_not_wait_for_ever() {
        let (_server, session) = started().await;
        let start = Instant::now();
        session.close().await;
        assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_in_pieces_arrive_whole() {
        let (ours, theirs) = duplex(3);
        let mut server = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        let sender = tokio::spawn(async move {
            server.send(Message::text(HELLO)).await.unwrap();
            server.send(Message::binary(vec![0, 159])).await.unwrap();
            server
        });
        let mut session = Session::begin(ours, "amy", 4096, STALE_AFTER)
            .await
            .unwrap();
        assert_eq!(
            session.next().await.unwrap(),
            Frame::Binary(Bytes::from_static(&[0, 159]))
        );
        drop(sender.await.unwrap());
    }
    #[test]
    fn quoted_text_is_escaped_and_otherwise_unchanged() {
        let end = SessionEnd::Closed {
            code: Some(4000),
            reason: "\"bye\"\u{1b}[2J".to_owned(),
        };
        let expected = "the server closed the connection (code 4000): \"bye\"\\u{1b}[2J";
        assert_eq!(end.to_string(), expected);
    }
}
