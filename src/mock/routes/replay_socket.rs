//! A WebSocket that plays the frames of a recorded one.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::super::api_version::ApiVersion;
use super::super::encoded_frame::{EncodedFrame, FrameBatch};
use super::super::engine::{Rfc3339, connection_error};
use super::super::error::Rejection;
use super::super::hub::Hub;
use super::super::recording::{has_auth_frame, user_of_auth_frame};
use super::super::replay::{LiveRequest, NextFrame, SocketPlayback, TrafficReplay};
use super::super::send_queue::CloseReason;
use super::super::traffic_log::{SocketIdentity, TrafficEvent};
use super::super::ws::{
    LAST_WRITE_TIMEOUT, close_gracefully, is_ping, receive_auth_frame, refuse, send_frames,
    send_text,
};
use super::context::RouteContext;
use super::upgrade::{self, ClientSocket};
use crate::timer::sleep_until;

/// The status of a request that matches nothing. No SDK repeats it, and no application expects it.
const UNMATCHED_STATUS: u16 = 422;
/// The error code of a request that matches nothing. The service has no such code.
const UNMATCHED_CODE: i32 = -1;
/// The close code after which clients do not reconnect.
const CLOSE_NORMAL: u16 = 1000;
/// The close code of a server that stops or starts again.
const CLOSE_GOING_AWAY: u16 = 1001;

/// Accepts the WebSocket even if it matches nothing: clients take a refused upgrade for a broken network.
pub(super) fn accept(
    context: &RouteContext,
    parts: &mut Parts,
    live: &LiveRequest,
) -> Result<Response<Body>, Rejection> {
    let hub = context.hub.clone();
    let alive = context.alive.clone();
    let live = live.clone();
    let limit = hub.options.rules.frame_limit;
    upgrade::accept(parts, limit, move |socket| async move {
        run(socket, hub, live).await;
        drop(alive);
    })
}

/// The error of a request that matches nothing.
pub(super) fn unmatched(text: String) -> Rejection {
    Rejection::with_code(UNMATCHED_STATUS, UNMATCHED_CODE, text)
}

async fn run(mut socket: ClientSocket, hub: Arc<Hub>, mut live: LiveRequest) {
    let Some(replay) = &hub.replay else { return };
    let mut version = ApiVersion::V1;
    if has_auth_frame(&live.path) {
        version = ApiVersion::V2;
        match receive_auth_frame(&mut socket, &hub).await {
            Some(Ok(frame)) => {
                let frame = Value::Object(frame);
                live.user = user_of_auth_frame(&frame).map(str::to_owned);
                live.body = Some(frame);
            }
            Some(Err(rejection)) => return refuse(&mut socket, &hub, version, rejection).await,
            None => return,
        }
    }
    let now = hub.clock.now();
    match replay.open_socket(now, &live) {
        Ok(playback) => {
            let identity = SocketIdentity {
                connection: playback.connection_id.as_str().into(),
                user: playback.user.as_str().into(),
            };
            record(&hub, TrafficEvent::Opened(identity.clone()));
            let mut session = PlayingSocket {
                socket,
                hub: &hub,
                replay,
                version,
                playback,
                identity: identity.clone(),
            };
            let end = session.play().await;
            let how = match end {
                Some(code) => format!("closed with {code}"),
                None => "the client has left, or the recording broke the connection".to_owned(),
            };
            record(&hub, TrafficEvent::Closed(identity, how));
            if let Some(code) = end {
                close(&mut session.socket, code, "the recorded end").await;
            }
        }
        Err(reason) => {
            let frame = connection_error(now, "", &unmatched(reason));
            if send_text(&mut socket, version.event(&frame)).await.is_ok() {
                close(&mut socket, CLOSE_NORMAL, "no recorded WebSocket matches").await;
            }
        }
    }
}

async fn close(socket: &mut ClientSocket, code: u16, reason: &str) {
    let reason = reason.into();
    close_gracefully(socket, CloseReason { code, reason }).await;
}

fn record(hub: &Hub, event: TrafficEvent) {
    hub.traffic_log.record(hub.clock.now(), event);
}

struct PlayingSocket<'a> {
    socket: ClientSocket,
    hub: &'a Hub,
    replay: &'a TrafficReplay,
    version: ApiVersion,
    playback: SocketPlayback,
    identity: SocketIdentity,
}

impl PlayingSocket<'_> {
    /// Plays frames until one side ends the session. Returns the code to close with.
    async fn play(&mut self) -> Option<u16> {
        loop {
            let mut changed = std::pin::pin!(self.replay.changed());
            // Registered before the look at the state, so that a change in between is not missed.
            changed.as_mut().enable();
            let now = self.hub.clock.now();
            let wake_at = match self.replay.next_frame(now, &mut self.playback) {
                NextFrame::Send(frame) => {
                    self.send(frame).await?;
                    continue;
                }
                NextFrame::Close(code) => return code,
                NextFrame::Reset => return Some(CLOSE_GOING_AWAY),
                NextFrame::Wait(due) => self.instant_of(due),
                NextFrame::Idle => None,
            };
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(message)) => self.receive(message).await?,
                    Some(Err(_)) | None => return None,
                },
                () = changed => {}
                () = sleep_until(wake_at) => {}
                _ = self.hub.ended() => return Some(CLOSE_GOING_AWAY),
            }
        }
    }

    /// When the mock's clock shows a time; `None` if it stands still.
    fn instant_of(&self, due: DateTime<Utc>) -> Option<Instant> {
        let wait = self.hub.clock.until(due)?;
        Instant::now().checked_add(wait)
    }

    /// Answers pings. Everything else from the client is logged only. `None` is the end.
    async fn receive(&mut self, message: Message) -> Option<()> {
        let Message::Text(text) = message else {
            return (!matches!(message, Message::Close(_))).then_some(());
        };
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        record(
            self.hub,
            TrafficEvent::Heard(self.identity.clone(), bytes.clone()),
        );
        let frame: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if is_ping(&frame) {
            let answer = json!({
                "type": "health.check",
                "connection_id": self.playback.connection_id,
                "cid": "*",
                "created_at": Rfc3339(self.hub.clock.now()),
            });
            let answer = self.version.event(&Bytes::from(answer.to_string()));
            self.send(answer).await?;
        }
        Some(())
    }

    /// Sends a frame. `None` if the client is gone, or does not read before the application ends.
    async fn send(&mut self, frame: Bytes) -> Option<()> {
        let frame = EncodedFrame::new(frame);
        record(
            self.hub,
            TrafficEvent::Sent(self.identity.clone(), frame.clone(), None),
        );
        send_before_end(&mut self.socket, self.hub, frame).await
    }
}

async fn send_before_end<S>(
    socket: &mut WebSocketStream<S>,
    hub: &Hub,
    frame: Arc<EncodedFrame>,
) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = FrameBatch::from(frame);
    let overdue = async {
        hub.ended().await;
        tokio::time::sleep(LAST_WRITE_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        sent = send_frames(socket, &mut frames) => sent.ok(),
        () = overdue => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::mock::hub::HubEnd;
    use crate::mock::options::MockOptions;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_does_not_delay_a_shutdown() {
        let hub = Hub::new(MockOptions::default(), 1).unwrap();
        let (server, _client) = duplex(16);
        let mut socket = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        let frame = EncodedFrame::new(Bytes::from("x".repeat(100)));
        hub.end(HubEnd::Shutdown);
        let sent = send_before_end(&mut socket, &hub, frame);
        let sent = tokio::time::timeout(crate::mock::SHUTDOWN_TIMEOUT, sent).await;
        assert_eq!(sent, Ok(None));
    }
}
