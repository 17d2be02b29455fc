//! The processes and connections of a run: the mock, the watcher, the witness, and the calls that direct them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::reader::{Key, Reader};
use crate::support::binary;
use crate::support::mock::{API_KEY, SECRET, server_token, user_token};
use crate::support::wire::encode;

/// How long a fact may take; a reason to fail, never one to pass.
const PATIENCE: Duration = Duration::from_secs(120);

fn presencectl(home: &TempDir) -> Command {
    let mut command = Command::new(binary());
    command
        .env_clear()
        .env("HOME", home.path())
        .env("PRESENCECTL_MOCK_SECRET", SECRET)
        .env("STREAM_API_KEY", API_KEY)
        .env("STREAM_API_SECRET", SECRET)
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A mock in a process of its own.
pub(crate) struct Mock {
    pub(crate) address: SocketAddr,
    child: Child,
    _home: TempDir,
    direct: tokio::sync::Mutex<Option<BufReader<TcpStream>>>,
}

impl Mock {
    /// Starts one on a port (0 for any) with these people, and further flags.
    pub(crate) async fn start(port: u16, world: &Value, flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("world.json"), world.to_string()).unwrap();
        let mut child = presencectl(&home)
            .args([
                "mock",
                "start",
                "--fixture",
                "world.json",
                "--api-key",
                API_KEY,
            ])
            .args(["--port", &port.to_string()])
            .args(flags)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).await.unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let address = ready["url"].as_str().unwrap().strip_prefix("http://");
        Self {
            address: address.unwrap().parse().unwrap(),
            child,
            _home: home,
            direct: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Ends it without a word.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// A call of the control API, or of the service with the server's token.
    pub(crate) async fn call(&self, method: &str, target: &str, body: &Value) -> Value {
        self.call_with(&server_token(), method, target, body).await
    }

    /// A call with a token.
    pub(crate) async fn call_with(
        &self,
        token: &str,
        method: &str,
        target: &str,
        body: &Value,
    ) -> Value {
        let mut direct = self.direct.lock().await;
        // The mock closes a connection that is idle for long.
        let is_closed = match direct.as_mut() {
            Some(connection) => {
                let mut end = [0];
                let peeked = connection.get_mut().peek(&mut end);
                matches!(peeked.now_or_never(), Some(Ok(0) | Err(_)))
            }
            None => false,
        };
        if is_closed {
            *direct = None;
        }
        let connection = match direct.as_mut() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                direct.insert(BufReader::new(stream))
            }
        };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let joint = if target.contains('?') { '&' } else { '?' };
        let request = format!(
            "{method} {target}{joint}api_key={API_KEY} HTTP/1.1\r\nHost: localhost\r\nstream-auth-type: jwt\r\n\
             authorization: {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let (mut status, mut length) = (String::new(), 0);
        connection.read_line(&mut status).await.unwrap();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).await.unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        connection.read_exact(&mut answer).await.unwrap();
        assert!(
            status.starts_with("HTTP/1.1 2"),
            "{method} {target} {body}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        serde_json::from_slice(&answer).unwrap()
    }

    pub(crate) async fn control(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/_mock/{path}"), body).await
    }

    /// How these users are in truth, by server-side queries.
    pub(crate) async fn truth(&self, ids: &[String]) -> Vec<Value> {
        let mut users = Vec::new();
        for ids in ids.chunks(100) {
            let query = json!({"filter_conditions": {"id": {"$in": ids}}, "limit": 100});
            let target = format!("/users?payload={}", encode(&query.to_string()));
            let answer = self.call("GET", &target, &Value::Null).await;
            users.extend(answer["users"].as_array().unwrap().iter().cloned());
        }
        assert_eq!(users.len(), ids.len());
        users
    }

    /// How often the faults of each kind have struck.
    pub(crate) async fn fired(&self) -> BTreeMap<String, u64> {
        let mut fired = BTreeMap::new();
        let list = self.call("GET", "/_mock/faults", &Value::Null).await;
        for fault in list["faults"].as_array().unwrap() {
            let kind = fault["kind"].as_str().unwrap().to_owned();
            *fired.entry(kind).or_default() += fault["fired"].as_u64().unwrap();
        }
        fired
    }
}

/// A `watch` in a process of its own, and the reader of what it prints.
pub(crate) struct Watch {
    child: Child,
    reader: Arc<Mutex<Reader>>,
    news: watch::Receiver<u64>,
    errors: Arc<Mutex<String>>,
    _stdin: Option<ChildStdin>,
    _home: TempDir,
}

impl Watch {
    /// Watches these users at an address.
    pub(crate) fn start(at: SocketAddr, ids: &[String], flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("ids"), ids.join("\n")).unwrap();
        let mut child = presencectl(&home)
            .env("PRESENCECTL_BASE_URL", format!("http://{at}"))
            .args(["watch", "users", "--in", "@ids", "-o", "ndjson"])
            .args(flags)
            .spawn()
            .unwrap();
        let reader = Arc::new(Mutex::new(Reader::default()));
        let (tell, news) = watch::channel(0);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let taken = reader.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.unwrap() {
                taken.lock().unwrap().read(&line);
                tell.send_modify(|read| *read += 1);
            }
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let kept = errors.clone();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Some(line) = said.next_line().await.unwrap() {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self {
            _stdin: child.stdin.take(),
            child,
            reader,
            news,
            errors,
            _home: home,
        }
    }

    /// Looks at what was read.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Reader) -> R) -> R {
        look(&self.reader.lock().unwrap())
    }

    /// Waits until something is true of what was read. False if it never is.
    pub(crate) async fn until(&mut self, fact: impl Fn(&Reader) -> bool) -> bool {
        let waiting = async {
            loop {
                self.news.borrow_and_update();
                if fact(&self.reader.lock().unwrap()) {
                    return true;
                }
                if self.news.changed().await.is_err() {
                    return fact(&self.reader.lock().unwrap());
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or(false)
    }

    pub(crate) fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Waits for its end, and tells its code.
    pub(crate) async fn end(mut self) -> (Option<i32>, Reader, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("the watch does not end\n{}", self.errors()))
            .unwrap();
        // The last lines are read by a task that ends with the pipe.
        while self.news.changed().await.is_ok() {}
        let reader = std::mem::take(&mut *self.reader.lock().unwrap());
        (status.code(), reader, self.errors())
    }
}

/// Somebody who sees every event of some users, on a connection on which nothing goes wrong.
pub(crate) struct Witness {
    seen: Arc<Mutex<Vec<Key>>>,
    last: watch::Receiver<String>,
    task: JoinHandle<()>,
}

impl Witness {
    pub(crate) async fn start(mock: &Mock, ids: &[String]) -> Self {
        let stream = TcpStream::connect(mock.address).await.unwrap();
        let hello =
            json!({"user_id": "witness", "user_details": {"id": "witness", "invisible": true}});
        let token = user_token("witness");
        let url = format!(
            "ws://{}/connect?json={}&api_key={API_KEY}&authorization={token}&stream-auth-type=jwt",
            mock.address,
            encode(&hello.to_string())
        );
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        let hello = socket.next().await.unwrap().unwrap();
        let hello: Value = serde_json::from_str(hello.to_text().unwrap()).unwrap();
        let connection = hello["connection_id"].as_str().unwrap();
        for ids in ids.chunks(30) {
            let query =
                json!({"filter_conditions": {"id": {"$in": ids}}, "presence": true, "limit": 30});
            let target = format!(
                "/users?connection_id={connection}&payload={}",
                encode(&query.to_string())
            );
            let _ = mock.call("GET", &target, &Value::Null).await;
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (tell, last) = watch::channel(String::new());
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                let mut heartbeat = tokio::time::interval(Duration::from_secs(15));
                loop {
                    let message = tokio::select! {
                        message = socket.next() => message,
                        _ = heartbeat.tick() => {
                            let ping = r#"[{"type":"health.check","client_id":"witness--1"}]"#;
                            socket.send(Message::text(ping)).await.unwrap();
                            continue;
                        }
                    };
                    let Some(Ok(Message::Text(text))) = message else {
                        return;
                    };
                    let event: Map<String, Value> = serde_json::from_str(&text).unwrap();
                    let text = |value: Option<&Value>| {
                        value.and_then(Value::as_str).unwrap_or("").to_owned()
                    };
                    let Some(user) = event.get("user") else {
                        continue;
                    };
                    let key = (
                        text(event.get("type")),
                        text(user.get("id")),
                        text(event.get("created_at")),
                    );
                    seen.lock().unwrap().push(key);
                    tell.send_replace(text(user.get("status")));
                }
            }
        });
        Self { seen, last, task }
    }

    /// Waits until a status has been seen.
    pub(crate) async fn until(&mut self, status: &str) {
        let seen = self.last.wait_for(|last| last == status);
        tokio::time::timeout(PATIENCE, seen)
            .await
            .expect("the witness sees everything")
            .expect("the witness is there");
    }

    /// Everything that was seen.
    pub(crate) fn testimony(&self) -> Vec<Key> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
