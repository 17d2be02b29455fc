//! A WebSocket session: heartbeats, close codes, and writing frames from the queue to the connection.
//!
//! The hub has the rules of the service. The fault registry decides what fails on purpose; this file carries it out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::api_version::ApiVersion;
use super::encoded_frame::{EncodedFrame, FrameBatch};
use super::engine::{Caller, ConnectRequest, ConnectionKey, JsonObject, connection_error};
use super::error::Rejection;
use super::faults::{FrameAction, FrameFacts, FrameQueue, SocketFault, half};
use super::hub::Hub;
use super::send_queue::{
    CLOSE_ABNORMAL, CLOSE_NORMAL, CloseReason, QueueEvent, QueueInterest, SendQueue,
};
use super::tcp::TcpHandle;
use super::traffic_log::{SocketIdentity, TrafficEvent};
use crate::domain::{ApiErrorCode, token};
use crate::timer::sleep_until;

/// How long to wait for the peer's answer to a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the last frames may take once the end of the connection is known. Together with [`CLOSE_TIMEOUT`] it is
/// shorter than a shutdown.
pub(crate) const LAST_WRITE_TIMEOUT: Duration = Duration::from_millis(900);
/// How long to wait for the first frame under `/api/v2`, which authenticates the client.
const AUTH_FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// The close code for bytes that break the WebSocket protocol.
const CLOSE_PROTOCOL_ERROR: u16 = 1002;
/// The close code for a frame type that is not supported.
const CLOSE_UNSUPPORTED_DATA: u16 = 1003;
/// The close code for text that is not JSON.
const CLOSE_INVALID_PAYLOAD: u16 = 1007;
/// The close code for a frame that is too large.
const CLOSE_MESSAGE_TOO_BIG: u16 = 1009;

/// How a session ends.
#[derive(Debug)]
enum SocketEnd {
    /// A close frame must still be sent.
    SendClose(CloseReason),
    /// The peer has closed the connection.
    Left,
    /// The connection has ended, but the peer does not read what was sent before.
    Blocked(CloseReason),
    /// The connection was reset.
    Cut,
    /// The connection is lost without a sign. The rules find out from its silence.
    Lost,
}

/// How the wait for the first frame ends without one that can be read.
#[derive(Debug)]
enum AuthFrameError {
    /// The client is told why.
    Rejected(Rejection),
    /// The socket is closed with a code.
    Closed(CloseReason),
    /// The peer is gone.
    Left,
}

/// Serves one WebSocket whose client authenticates with its first frame.
pub(crate) async fn run_after_auth_frame<S>(
    mut socket: WebSocketStream<S>,
    tcp: TcpHandle,
    hub: Arc<Hub>,
    authenticate: impl FnOnce(JsonObject) -> Result<(Caller, ConnectRequest), Rejection>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(frame) = receive_auth_frame(&mut socket, &hub).await {
        let wish = frame.and_then(authenticate);
        run(socket, tcp, hub, ApiVersion::V2, wish).await;
    }
}

/// Waits for the frame with which a client authenticates. `None`: the socket has ended.
///
/// # Errors
///
/// The frame is not an object, or does not arrive in time. The client is to be told.
pub(crate) async fn receive_auth_frame<S>(
    socket: &mut WebSocketStream<S>,
    hub: &Hub,
) -> Option<Result<JsonObject, Rejection>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let read = tokio::select! {
        read = tokio::time::timeout(AUTH_FRAME_TIMEOUT, auth_frame(socket, hub)) => read,
        end = hub.ended() => {
            let (code, reason) = end.close_frame();
            let reason = reason.into();
            Ok(Err(AuthFrameError::Closed(CloseReason { code, reason })))
        }
    };
    match read {
        Ok(Ok(frame)) => Some(Ok(frame)),
        Ok(Err(AuthFrameError::Rejected(reject))) => Some(Err(reject)),
        Ok(Err(AuthFrameError::Closed(farewell))) => {
            close_gracefully(socket, farewell).await;
            None
        }
        Ok(Err(AuthFrameError::Left)) => {
            read_on(socket).await;
            None
        }
        Err(_) => Some(Err(Rejection::unauthorized(
            ApiErrorCode::Unauthenticated.number(),
            format!(
                "the first frame, with the token, did not arrive within {} seconds",
                AUTH_FRAME_TIMEOUT.as_secs()
            ),
        ))),
    }
}

/// Reads the first frame, which must be an object.
async fn auth_frame<S>(
    socket: &mut WebSocketStream<S>,
    hub: &Hub,
) -> Result<JsonObject, AuthFrameError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let text = loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Binary(_))) => {
                let reject = Rejection::input("the first frame must be text");
                return Err(AuthFrameError::Rejected(reject));
            }
            Some(Err(error)) => {
                let farewell = violation(&error);
                return Err(farewell.map_or(AuthFrameError::Left, AuthFrameError::Closed));
            }
            Some(Ok(Message::Close(_))) | None => return Err(AuthFrameError::Left),
        }
    };
    let parsed = match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("the first frame must be a JSON object".to_owned()),
        Err(error) => Err(format!("the first frame is not JSON: {error}")),
    };
    let user = parsed.as_ref().ok().and_then(|fields| {
        let token = fields.get("token")?.as_str()?;
        token::inspect(token).ok()?.user_id
    });
    let unconnected = SocketIdentity {
        connection: "".into(),
        user: user.unwrap_or_default().into(),
    };
    let frame = Bytes::copy_from_slice(text.as_bytes());
    record(hub, TrafficEvent::Heard(unconnected, frame));
    parsed.map_err(|problem| AuthFrameError::Rejected(Rejection::input(problem)))
}

/// Serves one WebSocket from the first frame of the server to the last.
pub(crate) async fn run<S>(
    mut socket: WebSocketStream<S>,
    tcp: TcpHandle,
    hub: Arc<Hub>,
    version: ApiVersion,
    wish: Result<(Caller, ConnectRequest), Rejection>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = wish.and_then(|(caller, request)| hub.connect(&caller, &request));
    let (key, send_queue) = match opened {
        Ok(opened) => opened,
        Err(reject) => return refuse(&mut socket, &hub, version, reject).await,
    };
    let socket_identity = hub.socket_identity(key).unwrap_or_else(|| SocketIdentity {
        connection: "".into(),
        user: "".into(),
    });
    record(&hub, TrafficEvent::Opened(socket_identity.clone()));
    let mut session = SocketSession {
        socket,
        tcp,
        hub: &hub,
        key,
        socket_identity,
        send_queue: &send_queue,
        frame_queue: FrameQueue::default(),
    };
    let end = session.exchange_frames().await;
    session.note_end(&end);
    let SocketSession {
        mut socket, tcp, ..
    } = session;
    match end {
        SocketEnd::SendClose(farewell) if farewell.code == CLOSE_ABNORMAL => tcp.reset(),
        SocketEnd::SendClose(farewell) => {
            hub.disconnect(key);
            close_gracefully(&mut socket, farewell).await;
        }
        SocketEnd::Left => {
            hub.disconnect(key);
            // The answer to the peer's close frame is sent while the socket is read.
            read_on(&mut socket).await;
        }
        SocketEnd::Blocked(_) => {
            // A frame may be written in part, so nothing can follow it.
            tcp.blackhole();
            hub.disconnect(key);
            read_on(&mut socket).await;
        }
        SocketEnd::Cut => {
            tcp.reset();
            hub.disconnect(key);
        }
        SocketEnd::Lost => {}
    }
}

/// Accepts the upgrade first and refuses then: clients take a refused upgrade for a broken network.
pub(crate) async fn refuse<S>(
    socket: &mut WebSocketStream<S>,
    hub: &Hub,
    version: ApiVersion,
    reject: Rejection,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = connection_error(hub.clock.now(), "", &reject);
    if send_text(socket, version.event(&frame)).await.is_ok() {
        let reason = reject.detail.into();
        let code = CLOSE_NORMAL;
        close_gracefully(socket, CloseReason { code, reason }).await;
    }
}

fn record(hub: &Hub, happening: TrafficEvent) {
    hub.traffic_log.record(hub.clock.now(), happening);
}

/// An open session.
struct SocketSession<'a, S> {
    socket: WebSocketStream<S>,
    tcp: TcpHandle,
    hub: &'a Hub,
    key: ConnectionKey,
    socket_identity: SocketIdentity,
    send_queue: &'a SendQueue,
    frame_queue: FrameQueue,
}

impl<S> SocketSession<'_, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Moves frames in both directions until one side ends the session.
    async fn exchange_frames(&mut self) -> SocketEnd {
        let send_queue = self.send_queue;
        let mut frames = FrameBatch::default();
        let mut farewell = None;
        loop {
            // A writer that is blocked by a slow peer must still learn of the end.
            let written = tokio::select! {
                biased;
                written = self.write(&mut frames) => written,
                end = blocked_until_end(send_queue) => return end,
            };
            let wake_at = match written {
                Ok(wake_at) => wake_at,
                Err(Some(fault)) => return self.end_with_fault(fault).await,
                Err(None) => return SocketEnd::Left,
            };
            if wake_at.is_none()
                && let Some(farewell) = farewell
            {
                return SocketEnd::SendClose(farewell);
            }
            let interest = match &farewell {
                Some(_) => QueueInterest::Faults,
                None if self.frame_queue.accepts_more() => QueueInterest::Frames,
                None => QueueInterest::End,
            };
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(message)) => match self.receive(&message) {
                        Ok(()) => {}
                        Err(end) => return end,
                    },
                    Some(Err(error)) => {
                        return violation(&error).map_or(SocketEnd::Left, SocketEnd::SendClose);
                    }
                    None => return SocketEnd::Left,
                },
                event = send_queue.next(interest, &mut frames) => match event {
                    QueueEvent::Taken(end) => {
                        farewell = end;
                        if interest == QueueInterest::End && send_queue.is_ended_now() {
                            self.frame_queue.clear();
                        }
                    }
                    QueueEvent::Fault(fault) => {
                        if let Some(end) = self.apply_fault(fault).await {
                            return end;
                        }
                    }
                },
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Writes all frames that may be sent now, together. Returns when the next one may be sent. An end of the connection
    /// is the error.
    async fn write(
        &mut self,
        frames: &mut FrameBatch,
    ) -> Result<Option<Instant>, Option<SocketFault>> {
        if self.frame_queue.is_pass_through() && !self.hub.faults.has_frame_faults() {
            if frames.is_empty() {
                return Ok(None);
            }
            self.frame_queue.begin();
            self.hub
                .traffic_log
                .record_frames(self.hub.clock.now(), &self.socket_identity, frames);
            self.send(frames).await?;
            return Ok(None);
        }
        self.frame_queue.take(frames);
        let mut due = FrameBatch::default();
        let next = loop {
            let (faults, user) = (&self.hub.faults, &self.socket_identity.user);
            let next = self.frame_queue.next(Instant::now(), |event, first| {
                faults.frame(&FrameFacts { user, event, first })
            });
            match next {
                FrameAction::Send(frame, fault) => {
                    record(
                        self.hub,
                        TrafficEvent::Sent(self.socket_identity.clone(), frame.clone(), fault),
                    );
                    due.push(frame);
                }
                FrameAction::Wait(then) => break Ok(Some(then)),
                FrameAction::Idle => break Ok(None),
                FrameAction::End(fault, _) => break Err(Some(fault)),
            }
        };
        self.send(&mut due).await?;
        next
    }

    async fn send(&mut self, frames: &mut FrameBatch) -> Result<(), Option<SocketFault>> {
        send_frames(&mut self.socket, frames)
            .await
            .map_err(|_| None)
    }

    /// Records a text of the mock itself, and sends it. An end of the connection is the error.
    async fn send_own(&mut self, text: Bytes) -> Result<(), SocketEnd> {
        let frame = EncodedFrame::new(text);
        record(
            self.hub,
            TrafficEvent::Sent(self.socket_identity.clone(), frame.clone(), None),
        );
        let mut frames = FrameBatch::from(frame);
        tokio::select! {
            biased;
            sent = send_frames(&mut self.socket, &mut frames) => sent.map_err(|_| SocketEnd::Left),
            end = blocked_until_end(self.send_queue) => Err(end),
        }
    }

    /// Applies a fault that needs no frame.
    async fn apply_fault(&mut self, fault: SocketFault) -> Option<SocketEnd> {
        match fault {
            SocketFault::Garbage { text: wish } => {
                let garbage = wish.map_or_else(|| half(br#"{"type":"health.check"}"#), Bytes::from);
                self.send_own(garbage).await.err()
            }
            ending @ (SocketFault::Drop
            | SocketFault::Close { .. }
            | SocketFault::HalfOpen
            | SocketFault::Expire) => Some(self.end_with_fault(ending).await),
            other => {
                self.frame_queue.apply(&other);
                None
            }
        }
    }

    /// Ends the connection because of a fault. Frames that are not sent yet are dropped, because a stream may end
    /// anywhere but has no holes.
    async fn end_with_fault(&mut self, fault: SocketFault) -> SocketEnd {
        match fault {
            SocketFault::Close { code, reason } => SocketEnd::SendClose(CloseReason {
                code,
                reason: reason.into(),
            }),
            SocketFault::Expire => {
                let expired = Rejection::unauthorized(
                    ApiErrorCode::TokenExpired.number(),
                    "the token has expired",
                );
                let frame = self.send_queue.version.event(&connection_error(
                    self.hub.clock.now(),
                    &self.socket_identity.connection,
                    &expired,
                ));
                if let Err(end) = self.send_own(frame).await {
                    return end;
                }
                SocketEnd::SendClose(CloseReason {
                    code: CLOSE_NORMAL,
                    reason: expired.detail.into(),
                })
            }
            SocketFault::HalfOpen => {
                self.tcp.blackhole();
                self.hold_open().await;
                SocketEnd::Lost
            }
            SocketFault::Drop
            | SocketFault::Mute
            | SocketFault::Duplicate
            | SocketFault::Reorder { .. }
            | SocketFault::Late { .. }
            | SocketFault::Garbage { .. }
            | SocketFault::Slow { .. } => SocketEnd::Cut,
        }
    }

    /// Keeps a connection open without sending or reading anything, until the client closes it.
    async fn hold_open(&mut self) {
        let mut frames = FrameBatch::default();
        let mut ended = false;
        loop {
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
                farewell = self.send_queue.take(&mut frames), if !ended => {
                    frames.clear();
                    ended = farewell.is_some();
                }
                _ = self.hub.ended() => return,
            }
        }
    }

    /// Processes a frame from the client.
    fn receive(&mut self, message: &Message) -> Result<(), SocketEnd> {
        let farewell = |code, reason: &str| {
            Err(SocketEnd::SendClose(CloseReason {
                code,
                reason: reason.into(),
            }))
        };
        match message {
            Message::Text(text) => {
                let text = Bytes::copy_from_slice(text.as_bytes());
                record(
                    self.hub,
                    TrafficEvent::Heard(self.socket_identity.clone(), text.clone()),
                );
                match serde_json::from_slice::<Value>(&text) {
                    Ok(value) if is_ping(&value) => {
                        self.hub.with(|state, now| state.ping(now, self.key));
                    }
                    // The mock ignores other events of clients, but they show that the client is alive.
                    Ok(Value::Object(_) | Value::Array(_)) => {
                        self.hub
                            .with(|state, now| state.record_activity(now, self.key));
                    }
                    Ok(_) => {
                        return farewell(
                            CLOSE_UNSUPPORTED_DATA,
                            "a frame must be an object or a list",
                        );
                    }
                    Err(_) => return farewell(CLOSE_INVALID_PAYLOAD, "a frame must be JSON"),
                }
            }
            Message::Binary(_) => return farewell(CLOSE_UNSUPPORTED_DATA, "a frame must be text"),
            Message::Ping(_) | Message::Pong(_) => {
                self.hub
                    .with(|state, now| state.record_activity(now, self.key));
            }
            Message::Close(_) => return Err(SocketEnd::Left),
            // Reading never returns it.
            Message::Frame(_) => {}
        }
        Ok(())
    }

    fn note_end(&self, end: &SocketEnd) {
        let how = match end {
            SocketEnd::SendClose(farewell) if farewell.code == CLOSE_ABNORMAL => "lost".to_owned(),
            SocketEnd::SendClose(farewell) => {
                format!("closed with {}: {}", farewell.code, farewell.reason)
            }
            SocketEnd::Left => "the client has left".to_owned(),
            SocketEnd::Blocked(farewell) => {
                format!("ended while the client did not read: {}", farewell.reason)
            }
            SocketEnd::Cut => "cut".to_owned(),
            SocketEnd::Lost => "half-open until the client left".to_owned(),
        };
        record(
            self.hub,
            TrafficEvent::Closed(self.socket_identity.clone(), how),
        );
    }
}

/// Waits until a write that the peer blocks must be given up, because the connection has ended: at once if the last
/// frames are dropped, else when they have had their time.
async fn blocked_until_end(send_queue: &SendQueue) -> SocketEnd {
    let farewell = send_queue.ended().await;
    if !send_queue.is_ended_now() {
        tokio::time::sleep(LAST_WRITE_TIMEOUT).await;
    }
    if farewell.code == CLOSE_ABNORMAL {
        SocketEnd::SendClose(farewell)
    } else {
        SocketEnd::Blocked(farewell)
    }
}

/// Sends frames together.
pub(crate) async fn send_frames<S>(
    socket: &mut WebSocketStream<S>,
    frames: &mut FrameBatch,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // A pong that the library has not written yet goes first.
    socket.flush().await?;
    socket.get_mut().write_all_buf(frames).await?;
    socket.flush().await
}

/// Sends a text.
pub(crate) async fn send_text<S>(socket: &mut WebSocketStream<S>, text: Bytes) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    send_frames(socket, &mut FrameBatch::from(EncodedFrame::new(text))).await
}

/// A client's ping is an array with one event; some clients send the event alone.
pub(crate) fn is_ping(value: &Value) -> bool {
    let event = match value {
        Value::Array(events) => match events.first() {
            Some(event) => event,
            None => return false,
        },
        event => event,
    };
    event.get("type").and_then(Value::as_str) == Some("health.check")
}

/// What to close with if the client broke the protocol. `None` if the connection is lost.
fn violation(error: &Error) -> Option<CloseReason> {
    let (code, reason) = match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return None,
        Error::Protocol(problem) => (CLOSE_PROTOCOL_ERROR, problem.to_string()),
        Error::Capacity(_) => (CLOSE_MESSAGE_TOO_BIG, "the frame is too big".to_owned()),
        Error::Utf8(_) => (
            CLOSE_INVALID_PAYLOAD,
            "a text frame must be UTF-8".to_owned(),
        ),
        _ => return None,
    };
    let reason = reason.into();
    Some(CloseReason { code, reason })
}

/// Sends a close frame and waits a little for the answer, so that the last frames are not lost.
pub(crate) async fn close_gracefully<S>(socket: &mut WebSocketStream<S>, farewell: CloseReason)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // A close frame holds at most 123 bytes of reason.
    let mut reason = farewell.reason.to_string();
    while reason.len() > 123 {
        reason.pop();
    }
    let close = Message::Close(Some(CloseFrame {
        code: farewell.code.into(),
        reason: reason.into(),
    }));
    let goodbye = async {
        if socket.send(close).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // If the peer does not answer in time, nothing more can be done.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
}

/// Reads until the connection ends, at most for a limited time.
async fn read_on<S>(socket: &mut WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, end).await;
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::mock::engine::Transport;
    use crate::mock::hub::HubEnd;
    use crate::mock::options::MockOptions;

    /// Serves a client that sends nothing, and returns what it receives.
    async fn serve_silent_client(hub: &Arc<Hub>) -> Vec<Message> {
        let (server, client) = duplex(4096);
        let socket = |stream: DuplexStream, role| async move {
            WebSocketStream::from_raw_socket(stream, role, None).await
        };
        let server = socket(server, Role::Server).await;
        run_after_auth_frame(server, TcpHandle::default(), hub.clone(), |_| {
            panic!("there is no first frame")
        })
        .await;
        let received = socket(client, Role::Client).await;
        received
            .take_while(|message| std::future::ready(message.is_ok()))
            .map(Result::unwrap)
            .collect()
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_authenticate_is_refused_after_ten_seconds() {
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        let started = Instant::now();
        let received = serve_silent_client(&hub).await;
        assert_eq!(started.elapsed(), AUTH_FRAME_TIMEOUT + CLOSE_TIMEOUT);
        let [Message::Text(error), Message::Close(Some(close))] = received.as_slice() else {
            panic!("{received:?}");
        };
        let error: Value = serde_json::from_str(error).unwrap();
        assert_eq!(error["type"], "connection.error");
        assert_eq!(error["error"]["code"], 5);
        assert!(error["created_at"].is_i64());
        assert_eq!(u16::from(close.code), CLOSE_NORMAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_not_authenticated_does_not_delay_a_shutdown() {
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        hub.end(HubEnd::Shutdown);
        let received = serve_silent_client(&hub).await;
        let [Message::Close(Some(close))] = received.as_slice() else {
            panic!("{received:?}");
        };
        assert_eq!(
            (close.code.into(), close.reason.as_str()),
            HubEnd::Shutdown.close_frame()
        );
    }

    /// A client that is connected over a pipe which has room for a part of the first frame only.
    async fn connect_slow_client(
        hub: &Arc<Hub>,
    ) -> (JoinHandle<()>, WebSocketStream<DuplexStream>) {
        let (server, client) = duplex(128);
        let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        let caller = Caller::User {
            id: "amy".to_owned(),
            issued_at: None,
        };
        let request = ConnectRequest {
            user_id: None,
            details: JsonObject::new(),
            carrier: Transport::Socket,
            version: ApiVersion::V1,
            token_expires: None,
        };
        let session = tokio::spawn(run(
            server,
            TcpHandle::default(),
            hub.clone(),
            ApiVersion::V1,
            Ok((caller, request)),
        ));
        // The session runs until it is blocked.
        tokio::task::yield_now().await;
        let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        (session, client)
    }

    fn logged_end(hub: &Hub) -> Value {
        let page = hub
            .traffic_log
            .after(0, 100, |_, event| matches!(event, TrafficEvent::Closed(..)));
        page.notes[0]["reason"].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_the_end_interrupts_is_followed_by_the_close_frame() {
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        let (session, mut client) = connect_slow_client(&hub).await;
        hub.end(HubEnd::Shutdown);
        tokio::task::yield_now().await;
        let Some(Ok(Message::Text(hello))) = client.next().await else {
            panic!("the first frame is not complete");
        };
        assert!(hello.contains("health.check"), "{hello}");
        let Some(Ok(Message::Close(Some(close)))) = client.next().await else {
            panic!("there is no close frame");
        };
        assert_eq!(u16::from(close.code), HubEnd::Shutdown.close_frame().0);
        assert!(client.next().await.is_none_or(|message| message.is_err()));
        session.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_does_not_delay_a_shutdown() {
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        // The first frame and the end are taken together.
        hub.end(HubEnd::Shutdown);
        let (session, _client) = connect_slow_client(&hub).await;
        let ended = tokio::time::timeout(crate::mock::SHUTDOWN_TIMEOUT, session).await;
        ended.expect("the session ends").unwrap();
        let (_, reason) = HubEnd::Shutdown.close_frame();
        let expected = format!("ended while the client did not read: {reason}");
        assert_eq!(logged_end(&hub), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_lost_at_once_although_the_client_does_not_read() {
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        let (session, _client) = connect_slow_client(&hub).await;
        let started = Instant::now();
        hub.with(|state, now| state.lose_connections(now, "amy"))
            .unwrap();
        session.await.unwrap();
        assert_eq!(logged_end(&hub), "lost");
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_that_sends_a_frame_does_not_delay_a_shutdown() {
        let long = "x".repeat(1000);
        for fault in [
            json!({"kind": "garbage", "text": long, "now": true}),
            json!({"kind": "expire", "now": true}),
        ] {
            let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
            let (session, mut client) = connect_slow_client(&hub).await;
            client.next().await.unwrap().unwrap();
            hub.add_faults(vec![serde_json::from_value(fault.clone()).unwrap()])
                .unwrap();
            tokio::task::yield_now().await;
            hub.end(HubEnd::Shutdown);
            let ended = tokio::time::timeout(crate::mock::SHUTDOWN_TIMEOUT, session).await;
            assert!(ended.is_ok(), "{fault}");
        }
    }
}
