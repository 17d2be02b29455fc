//! One WebSocket session, over anything that carries messages: the heartbeat, the close codes, and the way from the
//! queue to the wire. The rules behind it are the hub's.

use std::sync::Arc;
use std::time::Duration;

use axum::Error;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde_json::Value;

use super::engine::{Caller, ConnKey, Connect, connection_error};
use super::error::Reject;
use super::hub::Hub;
use super::outbox::{Farewell, Outbox};

/// How long a closed peer has to answer the close.
const LINGER: Duration = Duration::from_secs(2);
/// A close for a frame that makes no sense.
const UNSUPPORTED: u16 = 1003;
/// A close for text that is no JSON.
const INVALID: u16 = 1007;
/// A close for a frame that is too big.
const TOO_BIG: u16 = 1009;
/// The final close.
const NORMAL: u16 = 1000;

/// Speaks to one client from the first frame to the last.
pub(crate) async fn run<S>(mut socket: S, hub: Arc<Hub>, wish: Result<(Caller, Connect), Reject>)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let opened = wish.and_then(|(caller, request)| hub.connect(&caller, &request));
    match opened {
        Ok((key, outbox)) => {
            let farewell = converse(&mut socket, &hub, key, &outbox).await;
            hub.disconnect(key);
            match farewell {
                Some(farewell) => part(&mut socket, farewell).await,
                // The answer to the peer's own close leaves while the socket is read on.
                None => read_on(&mut socket).await,
            }
        }
        Err(reject) => {
            // Accepted first and refused then: clients take a refused upgrade for a broken network.
            let frame = connection_error(hub.clock.now(), "", &reject);
            if let Ok(message) = text(frame)
                && socket.send(message).await.is_ok()
            {
                let reason = reject.detail.into();
                part(
                    &mut socket,
                    Farewell {
                        code: NORMAL,
                        reason,
                    },
                )
                .await;
            }
        }
    }
}

/// Carries frames both ways until one side ends it. What is returned is still to be said to the peer.
async fn converse<S>(socket: &mut S, hub: &Hub, key: ConnKey, outbox: &Outbox) -> Option<Farewell>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(message)) => {
                    if let Some(farewell) = hear(hub, key, &message)? {
                        return Some(farewell);
                    }
                }
                Some(Err(error)) => return too_big(&error),
                None => return None,
            },
            farewell = outbox.take(&mut frames) => {
                tokio::select! {
                    written = write(socket, &mut frames) => written.ok()?,
                    // The peer does not read, and its time is up: what is stuck stays unsaid.
                    () = outbox.ended(), if farewell.is_none() => return None,
                }
                if farewell.is_some() {
                    return farewell;
                }
            }
        }
    }
}

/// Writes a batch: one flush for all that has been waiting.
async fn write<S>(socket: &mut S, frames: &mut Vec<Bytes>) -> Result<(), Error>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    for frame in frames.drain(..) {
        socket.feed(text(frame)?).await?;
    }
    socket.flush().await
}

fn text(frame: Bytes) -> Result<Message, Error> {
    Utf8Bytes::try_from(frame)
        .map(Message::Text)
        .map_err(Error::new)
}

/// Takes a client's frame in. `None` is the client's end of the conversation; `Some(Some)` is ours.
#[expect(clippy::option_option, reason = "the two ends are different things")]
fn hear(hub: &Hub, key: ConnKey, message: &Message) -> Option<Option<Farewell>> {
    let farewell = |code, reason: &str| {
        Some(Some(Farewell {
            code,
            reason: reason.into(),
        }))
    };
    match message {
        Message::Text(text) => match serde_json::from_str::<Value>(text) {
            Ok(value) if is_ping(&value) => hub.with(|state, now| state.ping(now, key)),
            // Other events of clients are none of our business, but they are a sign of life.
            Ok(Value::Object(_) | Value::Array(_)) => hub.with(|state, now| state.heard(now, key)),
            Ok(_) => return farewell(UNSUPPORTED, "a frame must be an object or a list"),
            Err(_) => return farewell(INVALID, "a frame must be JSON"),
        },
        Message::Binary(_) => return farewell(UNSUPPORTED, "a frame must be text"),
        Message::Ping(_) | Message::Pong(_) => hub.with(|state, now| state.heard(now, key)),
        Message::Close(_) => return None,
    }
    Some(None)
}

/// The ping of clients is a list of one event; some send the event alone.
fn is_ping(value: &Value) -> bool {
    let event = match value {
        Value::Array(events) => match events.first() {
            Some(event) => event,
            None => return false,
        },
        event => event,
    };
    event.get("type").and_then(Value::as_str) == Some("health.check")
}

fn too_big(error: &Error) -> Option<Farewell> {
    use tokio_tungstenite::tungstenite::Error as Wire;
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref::<Wire>(), Some(Wire::Capacity(_))) {
            return Some(Farewell {
                code: TOO_BIG,
                reason: "the frame is too big".into(),
            });
        }
        cause = error.source();
    }
    None
}

/// Says goodbye and waits a little for the answer, so that the last frames are not cut off.
async fn part<S>(socket: &mut S, farewell: Farewell)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    // A close frame holds at most 123 bytes of reason.
    let mut reason = farewell.reason.to_string();
    while reason.len() > 123 {
        reason.pop();
    }
    let close = Message::Close(Some(CloseFrame {
        code: farewell.code,
        reason: reason.into(),
    }));
    let goodbye = async {
        if socket.send(close).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // Nobody is told if the peer does not answer in time; it is gone then.
    let _ = tokio::time::timeout(LINGER, goodbye).await;
}

/// Reads until the connection ends, and not much longer than it should take.
async fn read_on<S>(socket: &mut S)
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = tokio::time::timeout(LINGER, end).await;
}
