//! The proxy: passes requests, responses and WebSockets on as they are, and shows the recorder a copy.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use super::capture::{CapturedBody, CapturingBody};
use super::frame_tap::{FrameTap, TappedFrame};
use super::recorder::{Recorder, SeenRequest, SeenResponse};
use crate::api::NoTls;
use crate::api::retry::error_chain;
use crate::mock::json_for_any_origin;
use crate::mock::recording::{FrameSender, is_secret_name};

/// Headers that concern one connection only, and are not passed on.
const HOP_BY_HOP_HEADERS: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];
/// The encodings that the recorder can read.
const READABLE_ENCODINGS: [&str; 4] = ["gzip", "x-gzip", "deflate", "identity"];
/// The bytes that are read at once from a WebSocket.
const RELAY_BUFFER_BYTES: usize = 16 * 1024;
/// How long one direction of a WebSocket may stay open after the other one has ended.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// A proxy in front of a server.
#[derive(Debug)]
pub(super) struct RecordingProxy {
    upstream: Url,
    http: reqwest::Client,
    recorder: Arc<Recorder>,
    /// Changes when the recording ends.
    closing: watch::Receiver<()>,
}

impl RecordingProxy {
    /// A proxy that has not received anything yet.
    pub(super) const fn new(
        upstream: Url,
        http: reqwest::Client,
        recorder: Arc<Recorder>,
        closing: watch::Receiver<()>,
    ) -> Self {
        Self {
            upstream,
            http,
            recorder,
            closing,
        }
    }

    /// The address of a request at the server: below the path of the server's address. `.` and `..` are resolved.
    fn target(&self, request: &Request) -> Result<Url, url::ParseError> {
        let base = self.upstream.as_str().trim_end_matches('/');
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", hyper::http::uri::PathAndQuery::as_str);
        Url::parse(&format!("{base}{path}"))
    }

    /// Whether a request would reach the control API of a mock.
    fn is_control(&self, target: &Url) -> bool {
        let base = self.upstream.path().trim_end_matches('/');
        let below_base = target.path().strip_prefix(base).unwrap_or_default();
        [target.path(), below_base]
            .iter()
            .any(|path| path.starts_with("/_mock"))
    }
}

/// All routes.
pub(super) fn router(proxy: RecordingProxy) -> Router {
    Router::new().fallback(handle).with_state(Arc::new(proxy))
}

async fn handle(State(proxy): State<Arc<RecordingProxy>>, mut request: Request) -> Response {
    let Ok(target) = proxy.target(&request) else {
        return refusal(
            StatusCode::BAD_REQUEST,
            "the path of the request is invalid",
        );
    };
    // A page whose name was rebound to loopback could reach the control API of a mock behind this proxy, which trusts
    // the host name that the proxy sends.
    if proxy.is_control(&target) {
        return refusal(
            StatusCode::FORBIDDEN,
            "control requests are not passed on; send them to the mock itself",
        );
    }
    let is_upgrade = request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let seen = SeenRequest {
        at: Instant::now(),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        credentials: request
            .headers()
            .iter()
            .filter(|(name, _)| is_secret_name(name.as_str()))
            .filter_map(|(_, value)| value.to_str().ok().map(str::to_owned))
            .collect(),
    };
    let headers = forwarded_request_headers(request.headers(), is_upgrade);
    let upgrade = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let request_encoding = text_of(&parts.headers, header::CONTENT_ENCODING);
    let request_body = CapturedBody::default();
    let mut outgoing = proxy
        .http
        .request(parts.method.clone(), target)
        .headers(headers);
    if !hyper::body::Body::is_end_stream(&body) {
        let body = CapturingBody::new(body, request_body.clone());
        outgoing = outgoing.body(reqwest::Body::wrap(body));
    }
    let response = match outgoing.send().await {
        Ok(response) => response,
        Err(error) => {
            let error = error.without_url();
            let why = if NoTls::is_cause_of(&error) {
                NoTls.to_string()
            } else {
                error_chain(&error)
            };
            let text = format!("cannot reach the upstream: {why}");
            proxy.recorder.warn(&text);
            return refusal(StatusCode::BAD_GATEWAY, &text);
        }
    };
    if let Some(upgrade) = upgrade
        && response.status() == StatusCode::SWITCHING_PROTOCOLS
    {
        return open_socket(&proxy, &seen, response, upgrade).await;
    }
    pass_response(&proxy, seen, &parts.method, response, move || {
        request_body.content(request_encoding.as_deref())
    })
}

/// Passes a response on. It is recorded when its last byte has passed.
fn pass_response(
    proxy: &RecordingProxy,
    seen: SeenRequest,
    method: &Method,
    response: reqwest::Response,
    request_body: impl FnOnce() -> super::capture::BodyContent + Send + 'static,
) -> Response {
    let (mut parts, body) = hyper::Response::<reqwest::Body>::from(response).into_parts();
    let recorder = Arc::clone(&proxy.recorder);
    let captured = CapturedBody::default();
    let kept = captured.clone();
    let encoding = text_of(&parts.headers, header::CONTENT_ENCODING);
    let headers = recorded_headers(&parts.headers);
    let status = parts.status.as_u16();
    // What a browser asks before a request says nothing about the session.
    let is_recorded = method != Method::OPTIONS;
    let on_end = move |is_whole: bool| {
        if !is_whole {
            recorder.warn(&format!(
                "a response to {} was cut short, and was not recorded",
                seen.method
            ));
            return;
        }
        let response = SeenResponse {
            status,
            headers,
            request_body: request_body(),
            body: kept.content(encoding.as_deref()),
        };
        recorder.request(&seen, response);
    };
    let on_end = is_recorded.then(|| Box::new(on_end) as Box<dyn FnOnce(bool) + Send>);
    let length = match *method {
        Method::HEAD => Some(0),
        _ => text_of(&parts.headers, header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
    };
    remove_hop_by_hop(&mut parts.headers);
    let body = CapturingBody::with_end(body, captured, length, on_end);
    Response::from_parts(parts, Body::new(body))
}

/// Passes the upgrade on, and then the bytes of both sides.
async fn open_socket(
    proxy: &RecordingProxy,
    seen: &SeenRequest,
    response: reqwest::Response,
    client: OnUpgrade,
) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = response.headers().clone();
    let server = match response.upgrade().await {
        Ok(server) => server,
        Err(error) => {
            let why = error_chain(&error.without_url());
            let text = format!("cannot open a WebSocket to the upstream: {why}");
            proxy.recorder.warn(&text);
            return refusal(StatusCode::BAD_GATEWAY, &text);
        }
    };
    let socket = proxy.recorder.open_socket(seen);
    let recorder = Arc::clone(&proxy.recorder);
    let mut closing = proxy.closing.clone();
    tokio::spawn(async move {
        // A client that is gone before the upgrade needs no relay.
        let Ok(client) = client.await else { return };
        let relay = relay(&recorder, socket, TokioIo::new(client), server);
        tokio::select! {
            () = relay => {}
            _ = closing.changed() => {}
        }
    });
    answer
}

/// Copies bytes in both directions until both have ended.
async fn relay<C, S>(recorder: &Recorder, socket: u64, client: C, server: S)
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (client_reader, client_writer) = tokio::io::split(client);
    let (server_reader, server_writer) = tokio::io::split(server);
    let ending = SocketRecorder {
        recorder,
        socket,
        has_ended: AtomicBool::new(false),
    };
    let mut up = std::pin::pin!(copy(
        client_reader,
        server_writer,
        &ending,
        FrameSender::Client
    ));
    let mut down = std::pin::pin!(copy(
        server_reader,
        client_writer,
        &ending,
        FrameSender::Server
    ));
    // A direction that breaks ends both. One that ends properly lets the other one finish.
    tokio::select! {
        result = &mut up => if result.is_ok() {
            let _ = tokio::time::timeout(HALF_CLOSED_TIMEOUT, down).await;
        },
        result = &mut down => if result.is_ok() {
            let _ = tokio::time::timeout(HALF_CLOSED_TIMEOUT, up).await;
        },
    }
}

/// What both directions of a socket record.
struct SocketRecorder<'a> {
    recorder: &'a Recorder,
    socket: u64,
    has_ended: AtomicBool,
}

impl SocketRecorder<'_> {
    fn record(&self, sender: FrameSender, frame: &TappedFrame) {
        match frame {
            TappedFrame::Close(code) => self.end(sender, *code),
            frame => self.recorder.frame(self.socket, sender, frame),
        }
    }

    /// Records the end, unless the other side has ended the socket before.
    fn end(&self, by: FrameSender, code: Option<u16>) {
        if !self.has_ended.swap(true, Ordering::Relaxed) {
            self.recorder.end_socket(self.socket, by, code);
        }
    }
}

/// Copies one direction.
async fn copy(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    recorder: &SocketRecorder<'_>,
    sender: FrameSender,
) -> io::Result<()> {
    let mut tap = FrameTap::new(sender);
    let mut buffer = vec![0; RELAY_BUFFER_BYTES];
    loop {
        let read = reader.read(&mut buffer).await;
        let size = match read {
            Ok(0) => {
                recorder.end(sender, None);
                return writer.shutdown().await;
            }
            Ok(size) => size,
            Err(error) => {
                recorder.end(sender, None);
                return Err(error);
            }
        };
        // Before the bytes are passed on: what the receiver does next is then recorded behind it.
        for frame in tap.push(&buffer[..size]) {
            recorder.record(sender, &frame);
        }
        writer.write_all(&buffer[..size]).await?;
        writer.flush().await?;
    }
}

/// The headers of a request for the server: without those of the connection, and asking for no encoding that the
/// recorder cannot read. The HTTP client adds the server's host.
fn forwarded_request_headers(headers: &HeaderMap, is_upgrade: bool) -> HeaderMap {
    let mut forwarded = headers.clone();
    remove_hop_by_hop(&mut forwarded);
    forwarded.remove(header::HOST);
    // The frames must be readable.
    forwarded.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    if is_upgrade {
        forwarded.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        forwarded.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    if let Some(accepted) = text_of(headers, header::ACCEPT_ENCODING) {
        let readable: Vec<&str> = accepted
            .split(',')
            .map(str::trim)
            .filter(|entry| {
                let name = entry.split(';').next().unwrap_or_default().trim();
                READABLE_ENCODINGS.contains(&name.to_ascii_lowercase().as_str())
            })
            .collect();
        let readable = if readable.is_empty() {
            "identity".to_owned()
        } else {
            readable.join(", ")
        };
        match HeaderValue::try_from(readable) {
            Ok(value) => forwarded.insert(header::ACCEPT_ENCODING, value),
            Err(_) => forwarded.remove(header::ACCEPT_ENCODING),
        };
    }
    forwarded
}

/// Removes the headers of one connection, and those that it names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP_HEADERS.iter().chain(&named) {
        headers.remove(name);
    }
}

/// The headers of a response that matter to clients and have no secrets.
fn recorded_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let kept = match name.as_str() {
                "content-type" if value.starts_with("application/json") => "application/json",
                "retry-after" if is_number => value,
                name if name.starts_with("x-ratelimit-") && is_number => value,
                _ => return None,
            };
            Some((name.to_string(), kept.to_owned()))
        })
        .collect()
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// An answer of the proxy itself, which a web page may read.
fn refusal(status: StatusCode, text: &str) -> Response {
    let body = serde_json::json!({
        "code": -1,
        "message": format!("presencectl mock record: {text}"),
        "StatusCode": status.as_u16(),
    });
    json_for_any_origin(status.as_u16(), body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let sent = headers(&[
            ("host", "127.0.0.1:1"),
            ("connection", "keep-alive, X-Own"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("authorization", "hush"),
            ("origin", "http://localhost:5173"),
            ("accept-encoding", "gzip;q=1.0, br, zstd, Deflate"),
        ]);
        assert_eq!(
            forwarded_request_headers(&sent, false),
            headers(&[
                ("authorization", "hush"),
                ("origin", "http://localhost:5173"),
                ("accept-encoding", "gzip;q=1.0, Deflate"),
            ])
        );
        let sent = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "k"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("accept-encoding", "br"),
        ]);
        assert_eq!(
            forwarded_request_headers(&sent, true),
            headers(&[
                ("connection", "Upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-key", "k"),
                ("accept-encoding", "identity"),
            ])
        );
    }

    #[test]
    fn only_harmless_headers_of_responses_are_recorded() {
        let received = headers(&[
            ("content-type", "application/json; charset=utf-8"),
            ("x-ratelimit-limit", "60"),
            ("x-ratelimit-note", "hush"),
            ("retry-after", "3"),
            ("set-cookie", "hush"),
            ("etag", "hush"),
        ]);
        let recorded: Vec<String> = recorded_headers(&received)
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        assert_eq!(
            recorded,
            [
                "content-type: application/json",
                "retry-after: 3",
                "x-ratelimit-limit: 60"
            ]
        );
    }
}
