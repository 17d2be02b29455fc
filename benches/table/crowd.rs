//! The mock with many clients: how fast one change reaches a thousand of them, what each costs while idle, how fast it
//! starts and how fast it finds users among a million.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::commands::{authorized, time};
use crate::installed;
use crate::limits::{next_frame, upgrade};
use crate::peers::Peers;
use crate::processes::{cpu_seconds, resident};
use crate::report::{Bound, Report, Row, Unit, median, millis};

const CLIENTS: usize = 1000;
const CHANGES: usize = 4000;
/// Changes under way at once.
const LANES: usize = 32;
/// How many users change, and are followed by a connection each, where requests are measured.
const WATCHED: usize = 100;
const SECRET: &str = "a-secret-for-measuring";

/// A mock in a process of its own.
pub(crate) struct Mock {
    child: Child,
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    _fixture: Option<tempfile::NamedTempFile>,
}

impl Mock {
    /// Starts one with that many users and waits until it is ready.
    pub(crate) fn start(users: usize) -> io::Result<Self> {
        let mut command = Command::new(installed::presencectl());
        command
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("PRESENCECTL_MOCK_SECRET", SECRET)
            .args(["mock", "start", "--port", "0", "--api-key", "key"])
            // Clients that keep to a limit would measure it.
            .args(["--rate-limit", "1000000"]);
        let fixture = if users > 0 {
            let mut file = tempfile::NamedTempFile::new()?;
            write_fixture(&mut file, users)?;
            command.arg("--fixture").arg(file.path());
            Some(file)
        } else {
            None
        };
        Self::spawn(&mut command, fixture)
    }

    /// Starts the server that has no rules.
    fn start_broadcaster() -> io::Result<Self> {
        Self::spawn(Command::new(installed::own()).arg("role=broadcast"), None)
    }

    /// Starts a server whose first line says where it is.
    fn spawn(command: &mut Command, fixture: Option<tempfile::NamedTempFile>) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready)?;
        let ready: serde_json::Value = serde_json::from_str(&ready)?;
        let url = ready["url"]
            .as_str()
            .ok_or_else(|| io::Error::other("not ready"))?;
        Ok(Self {
            child,
            url: url.to_owned(),
            key: "key".to_owned(),
            secret: SECRET.to_owned(),
            _fixture: fixture,
        })
    }

    pub(crate) fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    /// The target of a request with the server's credentials.
    pub(crate) fn target(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(authorized(&self.key, &self.secret));
        query.extend_pairs(more);
        format!("{path}?{}", query.finish())
    }

    pub(crate) fn resident(&self) -> io::Result<f64> {
        resident(self.child.id())
    }

    fn cpu_seconds(&self) -> io::Result<f64> {
        cpu_seconds(self.child.id())
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_fixture(file: &mut tempfile::NamedTempFile, users: usize) -> io::Result<()> {
    let mut out = io::BufWriter::new(file);
    out.write_all(b"{\"users\":[")?;
    for n in 0..users {
        let comma = if n > 0 { "," } else { "" };
        write!(
            out,
            r#"{comma}{{"id":"user-{n:07}","name":"Amelia Example","status":"at lunch until two","color":"green"}}"#
        )?;
    }
    out.write_all(b"]}")?;
    out.flush()
}

pub(crate) fn run(_: &Peers, report: &mut Report) -> io::Result<()> {
    start_up(report)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(crowd(report))?;
    look_up(report)
}

/// From the start of the process to the line that says ready, beside a process that does nothing.
fn start_up(report: &mut Report) -> io::Result<()> {
    let (mut own, mut nothing) = (Vec::new(), Vec::new());
    for _ in 0..51 {
        nothing.push(time(&mut Command::new("true"))?);
        let start = Instant::now();
        let mock = Mock::start(0)?;
        own.push(millis(start.elapsed()));
        drop(mock);
    }
    let nothing = median(nothing);
    report.row(
        Row::new("mock start to ready, empty world", Unit::Milliseconds)
            .ours(median(own))
            .limit(nothing)
            .ratio("`true`", Some(nothing), Bound::AtMost(2.0)),
    );
    Ok(())
}

async fn crowd(report: &mut Report) -> io::Result<()> {
    let (mut own, mut least) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        least.push(deliveries(&Mock::start_broadcaster()?).await?);
        own.push(deliveries(&Mock::start(1)?).await?);
    }
    let (own, least) = (median(own), median(least));
    report.row(
        Row::new("mock: deliveries to 1,000 connections", Unit::PerSecond)
            .ours(own)
            .limit(least)
            .ratio("limit", Some(least), Bound::AtLeast(0.8)),
    );
    let half = own / CLIENTS as f64 / 2.0;
    let delay = delivery_delay(&Mock::start(1)?, CLIENTS, 1, half).await?;
    report.row(
        Row::new(
            "mock: `PATCH /users` to its events at 1,000 connections, half of that rate, p99",
            Unit::Milliseconds,
        )
        .ours(delay)
        .aim("ms", delay, Bound::AtMost(5.0)),
    );
    let mock = Mock::start(WATCHED)?;
    let rate = changes_per_core(&mock).await?;
    report.row(
        Row::new(
            "mock: `PATCH /users` per second of one core",
            Unit::PerSecond,
        )
        .ours(rate)
        .aim("a second", rate, Bound::AtLeast(10_000.0)),
    );
    let delay = delivery_delay(&mock, WATCHED, WATCHED, 5000.0).await?;
    report.row(
        Row::new(
            "mock: `PATCH /users` to its event, 5,000 a second, p99",
            Unit::Milliseconds,
        )
        .ours(delay)
        .aim("ms", delay, Bound::AtMost(5.0)),
    );
    drop(mock);
    idle_crowd(report).await
}

/// Events a second that reach a thousand connections, which all follow the user who changes.
async fn deliveries(mock: &Mock) -> io::Result<f64> {
    let mut sockets = Vec::with_capacity(CLIENTS);
    for n in 0..CLIENTS {
        sockets.push(subscribed(mock, n, "user-0000000").await?);
    }
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|socket| tokio::task::spawn(count(socket, CHANGES)))
        .collect();
    let start = Instant::now();
    let change =
        |n| format!(r#"{{"users":[{{"id":"user-0000000","set":{{"status":"at {n}"}}}}]}}"#);
    send_changes(mock, CHANGES, None, change).await?;
    for reader in readers {
        reader.await.map_err(io::Error::other)??;
    }
    Ok((CLIENTS * CHANGES) as f64 / start.elapsed().as_secs_f64())
}

/// A socket of a client who follows a user.
async fn subscribed(mock: &Mock, n: usize, user: &str) -> io::Result<tokio::net::TcpStream> {
    let (mut socket, id) = connect(mock, n).await?;
    let payload =
        format!(r#"{{"filter_conditions":{{"id":{{"$in":["{user}"]}}}},"presence":true}}"#);
    let target = mock.target(
        "/users",
        &[
            ("payload", &payload),
            ("connection_id", &id),
            ("user_id", &name(n)),
        ],
    );
    ask(&mut socket.asking, &mock.address(), "GET", &target, "").await?;
    Ok(socket.events)
}

/// Sends changes over some connections, as fast as they are answered or at a rate. `body` gets the number of a change
/// when it is sent.
async fn send_changes(
    mock: &Mock,
    changes: usize,
    per_second: Option<f64>,
    body: impl Fn(usize) -> String + Clone + Send + Sync + 'static,
) -> io::Result<()> {
    let start = Instant::now();
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| {
            let (address, target) = (mock.address(), mock.target("/users", &[]));
            let body = body.clone();
            tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                for n in (lane..changes).step_by(LANES) {
                    if let Some(per_second) = per_second {
                        let due = start + Duration::from_secs_f64(n as f64 / per_second);
                        tokio::time::sleep_until(due.into()).await;
                    }
                    ask(&mut stream, &address, "PATCH", &target, &body(n)).await?;
                }
                Ok::<_, io::Error>(())
            })
        })
        .collect();
    for lane in lanes {
        lane.await.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Changes of users that the mock applies in a second of processor time.
async fn changes_per_core(mock: &Mock) -> io::Result<f64> {
    let changes = 20_000;
    let before = mock.cpu_seconds()?;
    send_changes(mock, changes, None, |n| numbered_change(n, WATCHED)).await?;
    Ok(changes as f64 / (mock.cpu_seconds()? - before))
}

/// Sets the status of one of the users, in turn, to the number of the change.
fn numbered_change(n: usize, users: usize) -> String {
    let user = n % users;
    format!(r#"{{"users":[{{"id":"user-{user:07}","set":{{"status":"{n}"}}}}]}}"#)
}

/// The 99th percentile of the milliseconds from a change to its event, for three seconds of changes. The connections
/// follow one of the users each.
async fn delivery_delay(
    mock: &Mock,
    connections: usize,
    users: usize,
    per_second: f64,
) -> io::Result<f64> {
    let changes = (per_second * 3.0) as usize / users * users;
    let sent: Arc<Mutex<Vec<Option<Instant>>>> = Arc::new(Mutex::new(vec![None; changes]));
    let lock = |sent: &Mutex<Vec<Option<Instant>>>, n: usize, at: Option<Instant>| {
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        at.inspect(|at| sent[n] = Some(*at)).or(sent[n])
    };
    let mut readers = Vec::new();
    for n in 0..connections {
        let socket = subscribed(mock, n, &format!("user-{:07}", n % users)).await?;
        let sent = Arc::clone(&sent);
        readers.push(tokio::spawn(async move {
            let mut delays = Vec::new();
            each_event(socket, changes / users, |event| {
                let at = memchr::memmem::find(event, br#""status":""#).map(|at| at + 10);
                let digits = event[at.unwrap_or_default()..]
                    .split(|byte| *byte == b'"')
                    .next();
                let number = String::from_utf8_lossy(digits.unwrap_or_default()).parse();
                if let Ok(number) = number
                    && let Some(at) = lock(&sent, number, None)
                {
                    delays.push(millis(at.elapsed()));
                }
            })
            .await?;
            Ok::<_, io::Error>(delays)
        }));
    }
    let change = move |n| {
        lock(&sent, n, Some(Instant::now()));
        numbered_change(n, users)
    };
    send_changes(mock, changes, Some(per_second), change).await?;
    let mut delays = Vec::new();
    for reader in readers {
        delays.extend(reader.await.map_err(io::Error::other)??);
    }
    delays.sort_by(f64::total_cmp);
    delays
        .get(delays.len() * 99 / 100)
        .copied()
        .ok_or_else(|| io::Error::other("no event came"))
}

/// As many idle connections as the descriptors of a process allow, up to 20,000.
async fn idle_crowd(report: &mut Report) -> io::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let descriptors: usize = limits
        .lines()
        .find_map(|line| {
            line.strip_prefix("Max open files")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(1024);
    let connections = 20_000.min(descriptors.saturating_sub(100));
    let mock = Mock::start(1)?;
    let warm = connect(&mock, 0).await?;
    let before = mock.resident()?;
    let mut open = Vec::with_capacity(connections);
    for n in 0..connections {
        open.push(connect(&mock, n / 10 + 1).await?.0.events);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let each = (mock.resident()? - before) * 1048576.0 / open.len() as f64;
    report.row(
        Row::new(
            format!("mock: an idle connection, of {}", open.len()),
            Unit::Bytes,
        )
        .ours(each)
        .aim("KiB", each / 1024.0, Bound::AtMost(7.5)),
    );
    drop((open, warm));
    Ok(())
}

fn name(n: usize) -> String {
    format!("client-{n}")
}

/// A client: its socket, and a connection for its questions, which is dropped when it has none.
struct ClientEnds {
    events: tokio::net::TcpStream,
    asking: tokio::net::TcpStream,
}

/// Opens a socket as a user, and returns its connection id.
async fn connect(mock: &Mock, n: usize) -> io::Result<(ClientEnds, String)> {
    use presencectl::domain::token::{Claims, sign};
    let address = mock.address();
    let user = name(n);
    let json = format!(r#"{{"user_id":"{user}","user_details":{{"id":"{user}"}}}}"#);
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("json", &json)
        .append_pair("api_key", &mock.key)
        .append_pair("authorization", &sign(&mock.secret, &Claims::user(&user)))
        .append_pair("stream-auth-type", "jwt");
    let target = format!("/connect?{}", query.finish());
    let mut events = tokio::net::TcpStream::connect(&address).await?;
    events
        .write_all(upgrade(&address, &target).as_bytes())
        .await?;
    let mut got = Vec::new();
    loop {
        if events.read_buf(&mut got).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = memchr::memmem::find(&got, b"\r\n\r\n") else {
            continue;
        };
        let Some((_, start, stop)) = next_frame(&got[end + 4..]) else {
            continue;
        };
        let hello: serde_json::Value =
            serde_json::from_slice(&got[end + 4 + start..end + 4 + stop])?;
        let id = hello["connection_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if id.is_empty() {
            return Err(io::Error::other(hello.to_string()));
        }
        let asking = tokio::net::TcpStream::connect(&address).await?;
        return Ok((ClientEnds { events, asking }, id));
    }
}

/// Sends a request and reads the answer.
async fn ask(
    stream: &mut tokio::net::TcpStream,
    address: &str,
    method: &str,
    target: &str,
    body: &str,
) -> io::Result<Vec<u8>> {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut got = Vec::with_capacity(2048);
    loop {
        if stream.read_buf(&mut got).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = memchr::memmem::find(&got, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or(0);
        if got.len() < end + 4 + length {
            continue;
        }
        if !head.starts_with("http/1.1 2") {
            return Err(io::Error::other(String::from_utf8_lossy(&got).into_owned()));
        }
        return Ok(got.split_off(end + 4));
    }
}

/// Reads until that many events have come, without looking into them.
async fn count(socket: tokio::net::TcpStream, events: usize) -> io::Result<()> {
    each_event(socket, events, |_| {}).await
}

/// Reads that many events.
async fn each_event(
    mut socket: tokio::net::TcpStream,
    events: usize,
    mut read: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    let (mut filled, mut seen) = (0, 0);
    while seen < events {
        match socket.read(&mut buffer[filled..]).await? {
            0 => return Err(io::Error::other(format!("closed after {seen} events"))),
            count => filled += count,
        }
        let mut at = 0;
        while let Some((opcode, start, end)) = next_frame(&buffer[at..filled]) {
            if opcode == 8 {
                return Err(io::Error::other(format!("closed after {seen} events")));
            }
            read(&buffer[at + start..at + end]);
            seen += 1;
            at += end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
    Ok(())
}

/// Two users by id among a million.
fn look_up(report: &mut Report) -> io::Result<()> {
    let mock = Mock::start(1_000_000)?;
    let payload = r#"{"filter_conditions":{"id":{"$in":["user-0123456","user-0999999"]}}}"#;
    let target = mock.target("/users", &[("payload", payload)]);
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut stream = TcpStream::connect(mock.address())?;
    stream.set_nodelay(true)?;
    let mut answer = vec![0; 64 * 1024];
    let mut times = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        stream.write_all(request.as_bytes())?;
        let count = stream.read(&mut answer)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        if memchr::memmem::find(&answer[..count], b"user-0999999").is_none() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&answer[..count]).into_owned(),
            ));
        }
    }
    let middle = median(times);
    report.row(
        Row::new("mock: 2 users by id among 1,000,000", Unit::Microseconds)
            .ours(middle)
            .aim("µs", middle, Bound::AtMost(500.0)),
    );
    Ok(())
}
