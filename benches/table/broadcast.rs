//! The limit of a mock: a server that passes changes on to all connections in batches, and knows no rules.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::stub::frame;

/// Frames for all connections, one after the other.
type Log = Rc<RefCell<Vec<u8>>>;

/// Serves until the process is killed. Its first line says where.
pub(crate) fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut stdout = io::stdout();
        writeln!(stdout, r#"{{"url":"http://{}"}}"#, listener.local_addr()?)?;
        stdout.flush()?;
        let log = Log::default();
        let (length, _) = watch::channel(0);
        let length = Rc::new(length);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (log, length) = (Rc::clone(&log), Rc::clone(&length));
            // A client that goes away ends its task, and nothing else.
            tokio::task::spawn_local(async move { drop(converse(stream, &log, &length).await) });
        }
    })
}

async fn converse(
    mut stream: TcpStream,
    log: &Log,
    length: &watch::Sender<usize>,
) -> io::Result<()> {
    let mut got = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&got, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut got).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&got[..end]).into_owned();
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (own, value) = line.split_once(':')?;
                own.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        if let Some(key) = header("sec-websocket-key") {
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            let hello = frame(r#"{"type":"health.check","connection_id":"c-1"}"#);
            stream
                .write_all(&[answer.as_bytes(), &hello].concat())
                .await?;
            return follow(stream, log, length.subscribe()).await;
        }
        let body: usize = header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        while got.len() < end + body {
            if stream.read_buf(&mut got).await? == 0 {
                return Ok(());
            }
        }
        if head.starts_with("PATCH") {
            let mut log = log.borrow_mut();
            log.extend_from_slice(&frame(CHANGE));
            length.send_replace(log.len());
        }
        got.drain(..end + body);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"users\":{}}")
            .await?;
    }
}

/// Sends whatever is new, in one piece.
async fn follow(
    mut stream: TcpStream,
    log: &Log,
    mut length: watch::Receiver<usize>,
) -> io::Result<()> {
    let mut sent = *length.borrow_and_update();
    let mut batch = Vec::new();
    while length.changed().await.is_ok() {
        batch.clear();
        batch.extend_from_slice(&log.borrow()[sent..]);
        let _ = length.borrow_and_update();
        sent += batch.len();
        stream.write_all(&batch).await?;
    }
    Ok(())
}

/// What the mock sends for such a change.
const CHANGE: &str = r#"{"type":"user.updated","created_at":"2026-01-05T10:00:00.123456Z","user":{"id":"user-0000000","role":"user","language":"","teams":[],"banned":false,"online":false,"created_at":"2026-01-05T10:00:00.123456Z","updated_at":"2026-01-05T10:00:00.123456Z","name":"Amelia Example","status":"17-117","color":"green"}}"#;
