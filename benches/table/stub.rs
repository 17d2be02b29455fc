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

/// Events of the service in WebSocket frames, each about 400 bytes, about ten users who come and go.
const BLOCK: usize = 2000;

/// A running stub.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    sockets: Receiver<TcpStream>,
}

/// What happened while events were sent.
pub(crate) struct Pumped {
    pub(crate) started: Instant,
    /// Held open until dropped.
    pub(crate) socket: TcpStream,
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
    pub(crate) fn socket(&self, settle: Duration) -> io::Result<TcpStream> {
        let socket = self
            .sockets
            .recv_timeout(Duration::from_secs(20))
            .map_err(|_| io::Error::other("no client opened a socket"))?;
        std::thread::sleep(settle);
        Ok(socket)
    }

    /// Sends that many events, as fast as they are taken.
    pub(crate) fn pump(mut socket: TcpStream, events: usize) -> io::Result<Pumped> {
        let block: Vec<Vec<u8>> = (0..BLOCK).map(|n| frame(&event(n, 0))).collect();
        let whole: Vec<u8> = block.concat();
        let started = Instant::now();
        for _ in 0..events / BLOCK {
            if socket.write_all(&whole).is_err() {
                break;
            }
        }
        let rest: Vec<u8> = block[..events % BLOCK].concat();
        // The client may have had enough and be gone.
        let _ = socket.write_all(&rest);
        Ok(Pumped { started, socket })
    }
}

/// The text of an event. `sent` travels in it, always as long. All happen at once by the server's clock: an older event
/// after a newer one would be a reason to ask again.
pub(crate) fn event(n: usize, sent: u128) -> String {
    let (user, online) = (n % 10, (n / 10).is_multiple_of(2));
    let fraction = 100_000_000 + n;
    format!(
        r#"{{"type":"user.presence.changed","user":{{"id":"user-{user}","role":"user","created_at":"2025-11-02T09:12:44.68335Z","updated_at":"2026-01-05T10:00:00.12Z","last_active":"2026-01-05T10:00:00.{fraction}Z","banned":false,"online":{online},"name":"Amelia Example","image":"https://example.com/images/amelia.png","status":"at lunch until two"}},"sent":"{sent:020}","created_at":"2026-01-05T10:00:00.123456789Z"}}"#
    )
}

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
    opened: &Sender<TcpStream>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => {
            let mut reader = BufReader::new(stream.try_clone()?);
            converse(&mut reader, &stream, Some((&stream, opened)))
        }
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            let shared = Shared(Arc::new(Mutex::new(StreamOwned::new(connection, stream))));
            let mut reader = BufReader::new(shared.clone());
            converse(&mut reader, shared, None)
        }
    }
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

fn converse(
    reader: &mut impl BufRead,
    mut writer: impl Write,
    socket: Option<(&TcpStream, &Sender<TcpStream>)>,
) -> io::Result<()> {
    loop {
        let mut head = String::new();
        let (mut length, mut key) = (0, None);
        loop {
            let start = head.len();
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
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
        if let (Some(key), Some((stream, opened))) = (key, socket) {
            let hello = frame(
                r#"{"type":"health.check","connection_id":"c-1","cid":"*","me":{"id":"watcher","role":"admin","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","online":true,"devices":[],"mutes":[],"channel_mutes":[],"unread_count":0,"total_unread_count":0},"created_at":"2026-01-05T10:00:00Z"}"#,
            );
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            writer.write_all(&[answer.as_bytes(), &hello].concat())?;
            let _ = opened.send(stream.try_clone()?);
            io::copy(reader, &mut io::sink())?;
            return Ok(());
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

fn user(id: &Value) -> Value {
    json!({
        "id": id, "role": "user", "created_at": "2025-11-02T09:12:44.68335Z",
        "updated_at": "2026-01-05T10:00:00.12Z", "last_active": "2026-01-05T09:00:00.1Z",
        "banned": false, "online": false, "name": "Amelia Example",
        "image": "https://example.com/images/amelia.png", "status": "at lunch until two",
    })
}
