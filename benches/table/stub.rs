//! The service's side of a measurement: it answers at once from what it has ready, and sends events as fast as the
//! socket takes them, so that what is measured is the client.
//!
//! A connection has a thread. Answers are made by what is asked for and nothing is remembered.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// How many events are prepared and then sent again and again. A multiple of the period of [`event`].
const BLOCK: usize = 2000;

/// A running stub.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    sockets: Receiver<ServerSocket>,
}

/// The server's end of a WebSocket: plain, or over TLS.
pub(crate) struct ServerSocket {
    writer: Box<dyn Write + Send>,
    tcp: TcpStream,
}

impl ServerSocket {
    pub(crate) fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.writer.write_all(frames)
    }

    /// Sends a close frame and ends the connection, as far as it still exists.
    pub(crate) fn close(mut self) {
        let _ = self.send(&[0x88, 2, 3, 0xe8]);
        let _ = self.writer.flush();
        let _ = self.tcp.shutdown(std::net::Shutdown::Write);
    }
}

/// What happened while events were sent.
pub(crate) struct Pumped {
    pub(crate) started: Instant,
    /// Held open until dropped.
    pub(crate) socket: ServerSocket,
}

/// The events of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventMix {
    /// As the service sends them: 80 % presence, 15 % updates, 5 % watching; 300 to 1,500 bytes.
    Usual,
    /// The same, each with a custom field whose name our records use themselves.
    Clashing,
}

impl Stub {
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (opened, sockets) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (opened, tls) = (opened.clone(), tls.clone());
                // A client that goes away ends its thread, and nothing else.
                std::thread::spawn(move || drop(serve(stream, tls, &opened)));
            }
        });
        Ok(Self { address, sockets })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a client to open a socket and to have put its questions.
    pub(crate) fn socket(&self, settle: Duration) -> io::Result<ServerSocket> {
        let socket = self
            .sockets
            .recv_timeout(Duration::from_secs(60))
            .map_err(|_| io::Error::other("no client opened a socket"))?;
        std::thread::sleep(settle);
        Ok(socket)
    }

    /// Sends that many events, as fast as they are taken.
    pub(crate) fn pump(
        mut socket: ServerSocket,
        events: usize,
        mix: EventMix,
    ) -> io::Result<Pumped> {
        let mut block = Block::new(mix);
        let started = Instant::now();
        for _ in 0..events / BLOCK {
            if socket.send(&block.bytes).is_err() {
                break;
            }
            block.advance();
        }
        let rest = block.starts.get(events % BLOCK).copied();
        // The client may have had enough and be gone.
        let _ = socket.send(&block.bytes[..rest.unwrap_or_default()]);
        Ok(Pumped { started, socket })
    }
}

/// The text of the nth event, about one of ten users who come and go, change their status and open a channel. After 200
/// events everything is as at the start. `sent` is a custom field of the user, always as long.
///
/// All happen at once by the server's clock: an older event after a newer one would be a reason to query again.
pub(crate) fn event(n: usize, mix: EventMix, sent: Option<u128>) -> String {
    let (user, step) = (n % 10, n % 10 + n / 10);
    let place = step % 20;
    let (kind, channel) = match place {
        0..16 => ("user.presence.changed", ""),
        16..19 => ("user.updated", ""),
        _ => (
            "user.watching.start",
            r#""cid":"messaging:fun","channel_type":"messaging","channel_id":"fun","watcher_count":3,"#,
        ),
    };
    let clash = match mix {
        EventMix::Usual => "",
        EventMix::Clashing => r#""source":"mobile","#,
    };
    let online = place < 16 && place.is_multiple_of(2);
    let more = match user {
        0..4 => format!(r#"{SMALL_USER},"teams":[]"#),
        4..8 => format!("{SMALL_USER},{MEDIUM_USER}"),
        _ => format!("{SMALL_USER},{MEDIUM_USER},{LARGE_USER}"),
    };
    let sent = sent.map_or_else(String::new, |sent| format!(r#","sent":"{sent:020}""#));
    let updates = step / 20 * 3 + place.saturating_sub(15).min(3);
    let status = STATUSES[updates % STATUSES.len()];
    let last_active = last_active(n);
    format!(
        r#"{{"type":"{kind}",{channel}{clash}"created_at":"2026-01-05T10:00:00.123456789Z","user":{{"id":"user-{user}","role":"user","created_at":"2025-11-02T09:12:44.68335Z","updated_at":"2026-01-05T10:00:00.1209{updates:02}Z","last_active":"{LAST_ACTIVE_SECOND}{last_active:09}Z","banned":false,"online":{online},"status":"{status}",{more}{sent}}}}}"#
    )
}

/// When the user of the nth event last connected: a fraction of a second, as nine digits.
const fn last_active(n: usize) -> usize {
    let step = n % 10 + n / 10;
    let place = step % 20;
    let connects = step / 20 * 8 + (if place < 15 { place } else { 15 }) / 2;
    100_000_000 + connects * 10 + n % 10
}

/// Frames with the events from 0 to [`BLOCK`], which are sent again and again with later times.
struct Block {
    bytes: Vec<u8>,
    /// Where each frame starts.
    starts: Vec<usize>,
    /// Where the fraction of a second of each `last_active` is.
    fractions: Vec<usize>,
    repetitions: usize,
}

impl Block {
    fn new(mix: EventMix) -> Self {
        let mut block = Self {
            bytes: Vec::new(),
            starts: Vec::new(),
            fractions: Vec::new(),
            repetitions: 0,
        };
        for n in 0..BLOCK {
            let frame = frame(&event(n, mix, None));
            let at = memchr::memmem::find(&frame, LAST_ACTIVE_SECOND.as_bytes());
            let at = at.expect("every event has the time") + LAST_ACTIVE_SECOND.len();
            block.starts.push(block.bytes.len());
            block.fractions.push(block.bytes.len() + at);
            block.bytes.extend_from_slice(&frame);
        }
        block
    }

    /// Moves every `last_active` on, so that they never go back.
    fn advance(&mut self) {
        self.repetitions += 1;
        // There are four connects in ten events.
        let passed = self.repetitions * BLOCK * 4 / 10;
        for (n, &at) in self.fractions.iter().enumerate() {
            let mut number = last_active(n) + passed;
            for digit in self.bytes[at..at + 9].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }
}

const LAST_ACTIVE_SECOND: &str = "2026-01-05T09:59:58.";
const STATUSES: [&str; 3] = ["at lunch until two", "in a meeting", "working from home 🏡"];
const SMALL_USER: &str =
    r#""name":"Amelia Example","language":"","image":"https://example.com/images/amelia.png""#;
const MEDIUM_USER: &str = r#""teams":["red","support-emea"],"title":"Support engineer","address":{"city":"Amsterdam","country":"NL","geo":{"lat":52.37403,"lon":4.88969}},"tags":["night-shift","on-call","level-2"],"shift":{"from":"2026-01-05T06:00:00Z","to":"2026-01-05T14:30:00Z","paused":false}"#;
const LARGE_USER: &str = r#""profile":{"bio":"Joined in 2019. Speaks \"English\", Dutch and a little Türkçe.\nAsk about billing, exports and single sign-on.","links":[{"kind":"web","url":"https://example.com/people/amelia"},{"kind":"calendar","url":"https://example.com/calendar/amelia?week=2"}],"manager":null},"preferences":{"theme":"dark","sound":true,"digest":{"daily":true,"weekly":false,"hour":8},"shortcuts":["ctrl+k","ctrl+enter","alt+up"]},"permissions":{"export":true,"refund":false,"limits":{"per_day":2500,"per_call":199.99}},"app":{"platform":"android","version":"5.12.3","build":51203,"locale":"nl-NL"}"#;

/// A text in a server's frame.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..126 => frame.push(u8::try_from(short).expect("it is below 126")),
        long => {
            frame.push(126);
            let length = u16::try_from(long).expect("events are short");
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    opened: &Sender<ServerSocket>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let tcp = stream.try_clone()?;
    let mut reader: BufReader<Box<dyn Read>>;
    let writer: Box<dyn Write + Send>;
    let is_plain = tls.is_none();
    match tls {
        None => {
            reader = BufReader::new(Box::new(stream.try_clone()?));
            writer = Box::new(stream);
        }
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            let shared = Shared(Arc::new(Mutex::new(StreamOwned::new(connection, stream))));
            reader = BufReader::new(Box::new(shared.clone()));
            writer = Box::new(shared);
        }
    }
    if let Some(writer) = converse(&mut reader, writer)? {
        let _ = opened.send(ServerSocket { writer, tcp });
        // Over TLS, reading would keep the writer waiting. A client's pings fit into the socket.
        if is_plain {
            io::copy(&mut reader, &mut io::sink())?;
        }
    }
    Ok(())
}

/// One TLS stream for reading and writing in turn.
#[derive(Clone)]
struct Shared(Arc<Mutex<StreamOwned<ServerConnection, TcpStream>>>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(buffer)
    }
}

impl Write for Shared {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
    }
}

/// Answers requests. Returns the writing end once the client has opened a WebSocket.
fn converse<W: Write>(reader: &mut impl BufRead, mut writer: W) -> io::Result<Option<W>> {
    loop {
        let mut head = String::new();
        let (mut length, mut key) = (0, None);
        loop {
            let start = head.len();
            if reader.read_line(&mut head)? == 0 {
                return Ok(None);
            }
            let line = head[start..].trim();
            if line.is_empty() {
                break;
            }
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap_or(0);
                }
                Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => {
                    key = Some(value.trim().to_owned());
                }
                _ => {}
            }
        }
        let mut question = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut question)?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        if let Some(key) = key {
            let hello = frame(
                r#"{"type":"health.check","connection_id":"c-1","cid":"*","me":{"id":"watcher","role":"admin","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","online":true,"devices":[],"mutes":[],"channel_mutes":[],"unread_count":0,"total_unread_count":0},"created_at":"2026-01-05T10:00:00Z"}"#,
            );
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            writer.write_all(&[answer.as_bytes(), &hello].concat())?;
            writer.flush()?;
            return Ok(Some(writer));
        }
        let asks = head.starts_with("GET");
        let body = if asks {
            answer(target)
        } else {
            // Users who are written come back.
            let question: Value = serde_json::from_slice(&question).unwrap_or_default();
            json!({"users": question["users"], "duration": "0.10ms"}).to_string()
        };
        let status = if asks { 200 } else { 201 };
        let answer = format!(
            "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nX-RateLimit-Limit: 1000000\r\nX-RateLimit-Remaining: 999999\r\nX-RateLimit-Reset: 2000000000\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        writer.write_all(answer.as_bytes())?;
        writer.flush()?;
    }
}

/// The users that are asked for, whoever they are.
fn answer(target: &str) -> String {
    let (_, query) = target.split_once('?').unwrap_or((target, ""));
    let payload: Value = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "payload")
        .and_then(|(_, payload)| serde_json::from_str(&payload).ok())
        .unwrap_or_default();
    let users: Vec<Value> = payload["filter_conditions"]["id"]["$in"]
        .as_array()
        .into_iter()
        .flatten()
        .map(user)
        .collect();
    json!({"users": users, "duration": "0.10ms"}).to_string()
}

/// A user as they are before their first [`event`].
fn user(id: &Value) -> Value {
    let number = id.as_str().and_then(|id| id.bytes().last());
    let online = number.is_some_and(|digit| !digit.is_multiple_of(2));
    json!({
        "id": id, "role": "user", "created_at": "2025-11-02T09:12:44.68335Z",
        "updated_at": "2026-01-05T10:00:00.12Z", "last_active": "2026-01-05T09:00:00.1Z",
        "banned": false, "online": online, "name": "Amelia Example",
        "image": "https://example.com/images/amelia.png", "status": "at lunch until two",
    })
}
