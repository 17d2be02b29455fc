//! `mock record` and `mock start --replay`: what is in a recording and what is not, and that a client cannot tell a
//! replay from the server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::connect;

use crate::sdk_suites::{Missing, install_node_modules, python_environment, suite};
use crate::support::mock::{API_KEY, Mock, SECRET, server_token, user_token};
use crate::support::tls_front::{CA_FILE, TlsFront};
use crate::support::world::{small_world, world};
use crate::support::{Presencectl, Run, Stream, binary, usage_errors};

/// A running `mock record`, and the file that it writes.
struct Recording {
    stream: Stream,
    url: String,
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl Recording {
    fn start(upstream: &str, flags: &str) -> Self {
        Self::with(upstream, flags, |command| command)
    }

    fn with(upstream: &str, flags: &str, change: impl FnOnce(Presencectl) -> Presencectl) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("session.ndjson");
        let line = format!(
            "mock record --upstream {upstream} --out {} {flags}",
            file.display()
        );
        let mut stream = change(Presencectl::line(&line)).stream();
        let ready = stream.record();
        assert_eq!(ready["type"], "mock.record.ready", "{ready}");
        let url = ready["url"].as_str().unwrap().to_owned();
        Self {
            stream,
            url,
            file,
            folder,
        }
    }

    /// Ends the recording with Ctrl-C.
    fn interrupt(self) -> (Run, PathBuf, tempfile::TempDir) {
        self.stream.signal("INT");
        (self.stream.finish(), self.file, self.folder)
    }

    /// Ends the recording, and reads its lines.
    fn finish(self) -> (Vec<Value>, PathBuf, tempfile::TempDir) {
        let (run, file, folder) = self.interrupt();
        let run = run.ended_with(130);
        assert!(run.stdout.contains(r#""type":"mock.record.end""#), "{run}");
        (lines(&file), file, folder)
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_type<'a>(lines: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == wanted).collect()
}

/// A running `mock start --replay`.
fn replay(file: &Path) -> (Stream, String) {
    let line = format!("mock start --api-key {API_KEY} --replay {}", file.display());
    let mut stream = Presencectl::line(&line)
        .env("PRESENCECTL_MOCK_SECRET", SECRET)
        .stream();
    let url = stream.record()["url"].as_str().unwrap().to_owned();
    (stream, url)
}

/// A command with a server's credentials for this address.
fn at(url: &str, line: &str) -> Presencectl {
    Presencectl::line(line).at_url(url, API_KEY, SECRET)
}

/// What must be in no recording.
const PLANTED: [&str; 4] = ["Plantedname", "planted status", "planted.example", SECRET];

#[track_caller]
fn assert_has_no_secrets(file: &Path, secrets: &[&str]) {
    let text = fs::read_to_string(file).unwrap();
    let signature = |token: String| token.rsplit('.').next().unwrap().to_owned();
    let signatures = [server_token(), user_token("amy"), user_token("john")].map(signature);
    for secret in secrets
        .iter()
        .copied()
        .chain(signatures.iter().map(String::as_str))
    {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    assert!(!text.contains("eyJ"), "a token in\n{text}");
    assert!(!text.contains(API_KEY), "the key in\n{text}");
}

#[test]
fn a_session_is_recorded_without_secrets_and_replayed() {
    // Without texts that no client sends: they stay pseudonyms in the replay.
    let mock = world(
        &[json!({"id": "john"}), json!({"id": "jack"})],
        &[json!({"type": "messaging", "id": "fun", "members": ["john", "jack"]})],
    );
    let recording = Recording::start(&mock.url(), "");
    let session = |url: &str| {
        [
            "set-user john --name 'John Plantedname' --status 'planted status' --image https://planted.example/a.png",
            "query-users --in john,jack --sort id -o ndjson",
            "get-user nobody",
            "watch channel fun --snapshot only -o ndjson -e presence.snapshot",
        ]
        .map(|line| {
            let run = at(url, line).run();
            let is_own = |line: &&str| !line.contains("received_at");
            let stdout: Vec<_> = run.stdout.lines().filter(is_own).map(str::to_owned).collect();
            (run.code, stdout, run.stderr)
        })
    };
    let recorded = session(&recording.url);
    assert_eq!(recorded[0].0, Some(0), "{recorded:?}");
    let (lines, file, _folder) = recording.finish();
    assert_has_no_secrets(&file, &PLANTED);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!file.with_extension("ndjson.part").exists());
    assert_eq!(lines[0]["type"], "recording.start");
    assert_eq!(lines.last().unwrap()["type"], "recording.end");
    assert_eq!(of_type(&lines, "recording.socket.open").len(), 1);

    let (server, url) = replay(&file);
    assert_eq!(session(&url), recorded);
    insta::assert_snapshot!(at(&url, "get-user amy").run().masked(), @r#"
    --- stderr
    presencectl: cannot read amy: the API refused (HTTP 422, code -1): Replay failed with error: "no recorded request matches GET /users; the nearest is GET /users in line 4; query.payload.filter_conditions.id.$in[0]: recorded "nobody", got "amy""
    --- exit Some(5)
    "#);
    server.signal("TERM");
    insta::assert_snapshot!(server.finish().masked(), @r#"
    --- stderr
    presencectl: warning: no recorded request matches GET /users; the nearest is GET /users in line 4; query.payload.filter_conditions.id.$in[0]: recorded "nobody", got "amy"
    --- exit Some(143)
    "#);
}

#[test]
fn fields_can_be_kept_and_ids_replaced() {
    let mock = small_world();
    let recording = Recording::start(&mock.url(), "--keep status,color --pseudonymize-ids");
    let _ = at(&recording.url, "set-user john --status 'at lunch'")
        .run()
        .ended_with(0);
    let _ = at(&recording.url, "get-channel fun --members")
        .run()
        .ended_with(0);
    let (lines, file, _folder) = recording.finish();
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("at lunch") && text.contains("green"),
        "{text}"
    );
    assert!(!text.contains("john") && !text.contains("fun"), "{text}");
    assert_eq!(lines[0]["kept"], json!(["status", "color"]));
    assert_eq!(lines[0]["ids"], "pseudonyms");
    let (_server, url) = replay(&file);
    let run = at(&url, "set-user john --status 'at lunch' --jq .id").run();
    assert_eq!(run.stdout, "john\n", "{run}");
}

#[test]
fn what_looks_like_a_secret_rejects_the_recording() {
    let mock = small_world();
    let recording = Recording::start(&mock.url(), "--keep session_key");
    let key = "9f86d081884c7d659a2feaa0c55ad015";
    let _ = at(
        &recording.url,
        &format!("set-user john --set session_key={key}"),
    )
    .run();
    let (run, file, folder) = recording.interrupt();
    let shown = run.masked().replace(file.to_str().unwrap(), "FILE");
    assert!(!shown.contains(key), "{shown}");
    insta::assert_snapshot!(shown, @r"
    --- stderr
    presencectl: recording: use http://127.0.0.1:PORT as the base URL of a client; Ctrl-C ends the recording
    presencectl: FILE was not written, because something in it looks like a secret: line 2, field body.users.0.set.session_key: it is a long random string, and the name may be that of a secret
    hint: leave the field out of --keep, or add --pseudonymize-ids if it is an id
    --- exit Some(1)
    ");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let line = "mock record --upstream http://127.0.0.1:1 --out x --keep api_key";
    insta::assert_snapshot!(Presencectl::line(line).run(), @r"
    --- stderr
    presencectl: the field `api_key` cannot be kept: its values are secrets
    hint: name fields such as name, status, text or image
    --- exit Some(2)
    ");
}

#[test]
fn a_dry_run_prints_what_would_be_written() {
    let mock = small_world();
    let recording = Recording::start(&mock.url(), "--dry-run");
    let _ = at(&recording.url, "set-user john --status 'planted status'")
        .run()
        .ended_with(0);
    let (run, file, folder) = recording.interrupt();
    let types: Vec<_> = run
        .records()
        .iter()
        .map(|record| record["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        types,
        [
            "recording.start",
            "recording.request",
            "recording.end",
            "mock.record.end"
        ]
    );
    assert!(!run.stdout.contains("planted"), "{run}");
    assert!(!file.exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_killed_recorder_leaves_the_old_file_and_a_usable_beginning() {
    let mock = small_world();
    let recording = Recording::start(&mock.url(), "");
    fs::write(&recording.file, "the old recording").unwrap();
    let _ = at(&recording.url, "set-user john --status x")
        .run()
        .ended_with(0);
    recording.stream.signal("KILL");
    let _ = recording.stream.finish();
    assert_eq!(
        fs::read_to_string(&recording.file).unwrap(),
        "the old recording"
    );
    let part = recording.file.with_extension("ndjson.part");
    assert_has_no_secrets(&part, &[SECRET]);
    let (server, url) = replay(&part);
    let _ = at(&url, "set-user john --status x").run().ended_with(0);
    server.signal("TERM");
    let shown = server.finish().masked();
    insta::assert_snapshot!(shown.replace(part.to_str().unwrap(), "PART"), @r"
    --- stderr
    presencectl: warning: PART is the beginning of a recording; `mock record` did not end properly
    --- exit Some(143)
    ");
    let file = recording.file.to_str().unwrap();
    let refused = Presencectl::line(&format!("mock start --replay {file}")).run();
    insta::assert_snapshot!(refused.to_string().replace(file, "FILE"), @r"
    --- stderr
    presencectl: FILE: line 1: expected the header of a recording, as `mock record` writes it
    hint: make a recording: presencectl mock record --upstream URL --out FILE
    --- exit Some(13)
    ");
}

#[test]
fn recorded_events_keep_their_distance_on_the_mocks_clock() {
    let mock = world(
        &[json!({"id": "amy"}), json!({"id": "bob"})],
        &[json!({"type": "messaging", "id": "room", "members": ["amy", "bob"]})],
    );
    let recording = Recording::start(&mock.url(), "");
    let mut watch = at(&recording.url, "watch users bob -n 1 -o ndjson").stream();
    watch.records_until("presence.coverage");
    let _ = Presencectl::line("mock user bob connect")
        .at(&mock)
        .run()
        .ended_with(0);
    let _ = watch.finish().ended_with(0);
    let (mut lines, file, _folder) = recording.finish();
    // An hour later, as nobody would wait for.
    for line in &mut lines {
        if line["data"]["type"] == "user.presence.changed" {
            line["at_ms"] = json!(line["at_ms"].as_u64().unwrap() + 3_600_000);
        }
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&file, text).unwrap();
    let (_server, url) = replay(&file);
    let mut watch = at(&url, "watch users bob -n 1 -o ndjson").stream();
    watch.records_until("presence.coverage");
    let _ = at(&url, "mock clock advance 1h").run().ended_with(0);
    let _ = at(&url, "mock clock advance 1m").run().ended_with(0);
    let run = watch.finish().ended_with(0);
    assert!(run.stdout.contains("user.presence.changed"), "{run}");
}

#[test]
fn recordings_become_fixtures_and_scenarios() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/recordings/session.ndjson");
    let folder = tempfile::tempdir().unwrap();
    let fixture = folder.path().join("world.json");
    let line = format!(
        "mock record --to-fixture {} --out {}",
        file.display(),
        fixture.display()
    );
    let _ = Presencectl::line(&line).run().ended_with(0);
    let run = Presencectl::line(&format!(
        "query-users --sort id --jq .id --mock={}",
        fixture.display()
    ))
    .run();
    assert_eq!(run.stdout, "amy\nbob\n", "{run}");
    let scenario = folder.path().join("scenario.json");
    let run = Presencectl::line(&format!("mock record --to-scenario {}", file.display()))
        .run()
        .ended_with(0);
    let steps: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(steps["steps"].as_array().unwrap().len(), 3, "{run}");
    fs::write(&scenario, &run.stdout).unwrap();
    let check = format!("mock run --check {}", scenario.display());
    let _ = Presencectl::line(&check).run().ended_with(0);
    let run = Presencectl::line(&format!(
        "mock run {} --jq [.action,.user,.ok]",
        scenario.display()
    ))
    .run()
    .ended_with(0);
    insta::assert_snapshot!(run.stdout, @r#"
    ["set","bob",true]
    ["connect","bob",true]
    ["disconnect","bob",true]
    "#);
}

#[test]
fn a_session_with_the_token_in_its_first_frame_is_recorded_without_secrets() {
    let mock = small_world();
    let recording = Recording::start(&mock.url(), "");
    let address = recording.url.replace("http://", "ws://");
    let address = format!("{address}/api/v2/connect?api_key={API_KEY}&stream-auth-type=jwt");
    let (mut socket, _) = connect(address).unwrap();
    let token = user_token("amy");
    let first = json!({
        "token": token,
        "user_details": {"id": "amy", "name": "Amy Plantedname", "custom": {"note": "planted status", "password": "hunter22-planted"}},
    });
    socket.send(first.to_string().into()).unwrap();
    let answer = socket.read().unwrap().into_text().unwrap();
    assert!(answer.contains("connection_id"), "{answer}");
    // As some clients do: the token again, in a frame that the server does not know.
    socket
        .send(
            json!([{"type": "auth", "payload": token}])
                .to_string()
                .into(),
        )
        .unwrap();
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let (lines, file, _folder) = recording.finish();
    assert_has_no_secrets(
        &file,
        &[&PLANTED[..], &["hunter22-planted", "lanted"]].concat(),
    );
    let sent: Vec<_> = of_type(&lines, "recording.frame")
        .into_iter()
        .filter(|line| line["from"] == "client")
        .collect();
    assert!(!sent.is_empty(), "{lines:#?}");
    assert_eq!(sent[0]["data"]["user_details"]["id"], "amy", "{sent:?}");
    assert_eq!(sent[0]["data"]["token"], "(dropped)", "{sent:?}");

    // The replay takes any token, and answers with the recorded frames.
    let (_server, url) = replay(&file);
    let address = url.replace("http://", "ws://");
    let address = format!("{address}/api/v2/connect?api_key={API_KEY}&stream-auth-type=jwt");
    let (mut socket, _) = connect(address).unwrap();
    socket.send(first.to_string().into()).unwrap();
    let answer = socket.read().unwrap().into_text().unwrap();
    assert!(answer.contains("connection_id"), "{answer}");
}

#[test]
fn users_who_are_named_in_first_frames_get_their_own_events_in_a_replay() {
    const USERS: [&str; 2] = ["john", "jack"];
    let open = |url: &str, user: &str| {
        let address = url.replace("http://", "ws://");
        let address = format!("{address}/api/v2/connect?api_key={API_KEY}&stream-auth-type=jwt");
        let (mut socket, _) = connect(address).unwrap();
        let first = json!({
            "token": user_token(user), "products": ["chat"],
            "user_details": {"id": user, "name": format!("{user} Plantedname")},
        });
        socket.send(first.to_string().into()).unwrap();
        socket
    };
    // What each user reads after a server has sent an event to each of them.
    let session = |url: &str, order: [usize; 2]| {
        let mut sockets = order.map(|user| (USERS[user], open(url, USERS[user])));
        for (_, socket) in &mut sockets {
            let first = socket.read().unwrap().into_text().unwrap();
            let first: Value = serde_json::from_str(&first).unwrap();
            assert_eq!(first["type"], "connection.ok", "{first}");
        }
        for user in USERS {
            let line = format!("api POST users/{user}/event -f event[type]=for_{user}");
            let _ = at(url, &line).run().ended_with(0);
        }
        for (user, mut socket) in sockets {
            loop {
                let frame = socket.read().unwrap().into_text().unwrap();
                let frame: Value = serde_json::from_str(&frame).unwrap();
                let kind = frame["type"].as_str().unwrap();
                if kind == format!("for_{user}") {
                    break;
                }
                assert!(!kind.starts_with("for_"), "{user} gets {frame}");
            }
        }
    };
    let mock = small_world();
    let recording = Recording::start(&mock.url(), "");
    session(&recording.url, [0, 1]);
    let (_, file, _folder) = recording.finish();
    assert_has_no_secrets(&file, &["lanted", SECRET]);
    let (server, url) = replay(&file);
    session(&url, [1, 0]);
    let mut unknown = open(&url, "amy");
    let answer = unknown.read().unwrap().into_text().unwrap();
    assert!(answer.contains("no recorded WebSocket matches"), "{answer}");
    server.signal("TERM");
    let run = server.finish().ended_with(143);
    assert!(run.stderr.contains("user"), "{run}");
    assert!(!run.stderr.contains("eyJ"), "{run}");
}

#[test]
fn an_https_upstream_below_a_path_is_reached_with_the_systems_roots() {
    let mock = small_world();
    let front = TlsFront::of(mock.address);
    let record = |path: &str| {
        let upstream = format!("https://localhost:{}{path}", front.port);
        Recording::with(&upstream, "", |command| {
            command.env("SSL_CERT_FILE", CA_FILE)
        })
    };
    // The mock knows this path as the other dialect's, whose WebSockets begin in another way.
    let recording = record("/api/v2");
    let run = at(&recording.url, "api GET app").run().ended_with(0);
    assert!(run.stdout.contains("app"), "{run}");
    let (lines, ..) = recording.finish();
    assert_eq!(of_type(&lines, "recording.request")[0]["path"], "/app");
    let recording = record("");
    let _ = at(
        &recording.url,
        "watch users john --snapshot only --jq .type",
    )
    .run()
    .ended_with(0);
    let (lines, ..) = recording.finish();
    let socket = of_type(&lines, "recording.socket.open")[0];
    assert_eq!(socket["path"], "/connect", "{socket}");
}

#[test]
fn credentials_do_not_cross_a_network_in_clear_text() {
    let lines = [
        "mock record --out x --upstream http://192.0.2.1",
        "mock record --out x --upstream https://user:hush@localhost",
        "mock record --out x --upstream https://localhost/?api_key=hush",
        "mock record --out x --upstream ftp://localhost",
    ];
    let shown = usage_errors(lines, |line| {
        let run = Presencectl::line(line).run();
        assert!(!run.to_string().contains("hush"), "{run}");
        run
    });
    insta::assert_snapshot!(shown, @r"
    mock record --out x --upstream http://192.0.2.1
      presencectl: not sending credentials to http://192.0.2.1: it is neither https nor this machine
    mock record --out x --upstream https://user:hush@localhost
      presencectl: the upstream must not contain a user name or a password
    mock record --out x --upstream https://localhost/?api_key=hush
      presencectl: the upstream must not have a query or a fragment
    mock record --out x --upstream ftp://localhost
      presencectl: the upstream must begin with http:// or https://
    ");
}

/// A server that answers each connection with these bytes, and returns what it was sent.
fn serve_once(
    answer: Vec<u8>,
    wanted_end: &'static [u8],
) -> (String, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = Vec::new();
        let mut buffer = [0; 4096];
        while !sent.ends_with(wanted_end) {
            let size = stream.read(&mut buffer).unwrap();
            assert!(size > 0, "{}", String::from_utf8_lossy(&sent));
            sent.extend_from_slice(&buffer[..size]);
        }
        stream.write_all(&answer).unwrap();
        sent
    });
    (url, thread)
}

/// Sends bytes to an address and reads until the connection ends.
fn exchange(url: &str, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn compressed_and_chunked_bodies_pass_unchanged_and_are_recorded_readable() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(br#"{"user":{"id":"amy","name":"Amy Plantedname"}}"#)
        .unwrap();
    let body = gzip.finish().unwrap();
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\nX-Own: 1\r\n\
         X-RateLimit-Limit: 60\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    let (upstream, server) = serve_once(answer, b"0\r\n\r\n");
    let recording = Recording::start(&format!("{upstream}/base/"), "");
    let request = "PUT /users/amy?api_key=hushhushhush HTTP/1.1\r\nHost: example.test\r\nOrigin: http://localhost:5173\r\n\
                   Transfer-Encoding: chunked\r\nAccept-Encoding: gzip, br\r\nConnection: close\r\n\r\n\
                   8\r\n{\"a\":\"pl\r\n8\r\nanted\"} \r\n0\r\n\r\n";
    let received = exchange(&recording.url, request);
    assert!(
        received.ends_with(&body),
        "{}",
        String::from_utf8_lossy(&received)
    );
    let head = String::from_utf8_lossy(&received).to_ascii_lowercase();
    assert!(
        head.contains("x-own: 1") && head.contains("content-encoding: gzip"),
        "{head}"
    );
    let sent = String::from_utf8(server.join().unwrap()).unwrap();
    assert!(
        sent.starts_with("PUT /base/users/amy?api_key=hushhushhush HTTP/1.1\r\n"),
        "{sent}"
    );
    assert!(
        !sent.contains("example.test") && sent.contains("http://localhost:5173"),
        "{sent}"
    );
    assert!(sent.contains("accept-encoding: gzip\r\n"), "{sent}");
    let (lines, file, _folder) = recording.finish();
    assert_has_no_secrets(&file, &["Plantedname", "planted", "hushhush"]);
    let request = of_type(&lines, "recording.request")[0];
    assert_eq!(request["response"]["user"]["id"], "amy");
    assert_eq!(
        request["headers"],
        json!({"content-type": "application/json", "x-ratelimit-limit": "60"})
    );
    assert!(request["body"]["a"].is_string(), "{request}");
}

#[test]
fn preflights_pass_and_control_requests_do_not() {
    let mock = Mock::start();
    let recording = Recording::start(&mock.url(), "");
    let answer = |request: &str| {
        let bytes = exchange(
            &recording.url,
            &format!("{request}\r\nConnection: close\r\n\r\n"),
        );
        String::from_utf8_lossy(&bytes).to_ascii_lowercase()
    };
    let preflight = answer(
        "OPTIONS /users HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\nAccess-Control-Request-Headers: x-own",
    );
    assert!(preflight.starts_with("http/1.1 204"), "{preflight}");
    assert!(
        preflight.contains("access-control-allow-headers: x-own"),
        "{preflight}"
    );
    for path in [
        "/_mock/status",
        "/users/../_mock/status",
        "/%2e%2E/_mock/status",
        "/./_mock/status",
    ] {
        let control = answer(&format!("GET {path} HTTP/1.1\r\nHost: evil.example"));
        assert!(control.starts_with("http/1.1 403"), "{path}: {control}");
    }
    let (lines, ..) = recording.finish();
    assert_eq!(of_type(&lines, "recording.request").len(), 0, "{lines:?}");
}

#[test]
fn an_upstream_that_cannot_be_reached_is_a_502_without_secrets() {
    let recording = Recording::start("http://127.0.0.1:1", "");
    let answer = exchange(
        &recording.url,
        "GET /users?api_key=hushhushhush HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("cannot reach the upstream"), "{answer}");
    let (run, file, _folder) = recording.interrupt();
    let shown = run.masked().replace(file.to_str().unwrap(), "FILE");
    assert!(!format!("{answer}{shown}").contains("hushhush"), "{shown}");
    insta::assert_snapshot!(shown, @r#"
    {"type":"mock.record.end","file":"FILE","requests":0,"sockets":0,"frames":0}
    --- stderr
    presencectl: recording: use http://127.0.0.1:PORT as the base URL of a client; Ctrl-C ends the recording
    presencectl: warning: cannot reach the upstream: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)
    --- exit Some(130)
    "#);
    let mock = Mock::start();
    let recording = Recording::start(&mock.url().replace("http:", "https:"), "");
    let request = "GET /users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8(exchange(&recording.url, request)).unwrap();
    let why = "the server does not speak TLS there, so this is not an https port";
    assert!(answer.contains(why), "{answer}");
    let (run, ..) = recording.interrupt();
    assert!(run.stderr.contains(why), "{run}");
}

#[test]
fn what_cannot_be_recorded_is_found_out_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let mut shown = String::new();
    for flags in [
        format!("--out {}", path("folder")),
        format!("--out {}", path("missing/session.ndjson")),
        "--out /dev/null".to_owned(),
        "--out -".to_owned(),
        format!("--out {} --keep status,", path("session.ndjson")),
        format!("--out {} --keep api_secret", path("session.ndjson")),
        format!("--out {} --to-fixture x", path("missing/world.json")),
    ] {
        let server = if flags.contains("--to-fixture") {
            ""
        } else {
            "--upstream http://127.0.0.1:1"
        };
        let run = Presencectl::line(&format!("mock record {server} {flags}")).run();
        let run = run.ended_with(2);
        assert_eq!(run.stdout, "");
        let (message, _) = run.stderr.split_once("\n").unwrap();
        shown.push_str(&message.replace(&path(""), ""));
        shown.push('\n');
    }
    for line in [
        "--upstream nonsense --dry-run",
        "--upstream http://a:b --dry-run",
        "--to-fixture x --keep status",
        "--to-scenario x --port 1",
    ] {
        let run = Presencectl::line(&format!("mock record {line}")).run();
        shown.push_str(run.ended_with(2).stderr.lines().next().unwrap());
        shown.push('\n');
    }
    insta::assert_snapshot!(shown, @r"
    presencectl: cannot write to folder: it is a folder
    presencectl: cannot write to missing/session.ndjson: its folder: No such file or directory (os error 2)
    presencectl: cannot write to /dev/null: it is not a regular file
    presencectl: cannot write to -: it is not the name of a file
    error: invalid value '' for '--keep <FIELD>': it has no name of a field, such as status
    presencectl: the field `api_secret` cannot be kept: its values are secrets
    presencectl: cannot write to missing/world.json: its folder: No such file or directory (os error 2)
    presencectl: the upstream must begin with http:// or https://
    presencectl: the upstream is not a URL: invalid port number
    error: the argument '--to-fixture <FILE>' cannot be used with '--keep <FIELD>'
    error: the argument '--to-scenario <FILE>' cannot be used with '--port <PORT>'
    ");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_full_disk_keeps_what_was_recorded_before() {
    let mock = Mock::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.ndjson");
    // A limit of the size of files stands for a full disk.
    let script = format!(
        "trap '' XFSZ; ulimit -f 2; exec {} mock record --upstream {} --out {}",
        binary().display(),
        mock.url(),
        file.display()
    );
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    let ready: Value = serde_json::from_str(&first).unwrap();
    let url = ready["url"].as_str().unwrap();
    // The recorder ends by itself, perhaps before the last request.
    for _ in 0..10 {
        let Ok(mut socket) = TcpStream::connect(url.trim_start_matches("http://")) else {
            break;
        };
        let _ = socket.write_all(b"GET /users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let _ = socket.read_to_end(&mut Vec::new());
    }
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("session.ndjson: File too large"),
        "{stderr}"
    );
    assert!(stderr.contains("session.ndjson.part"), "{stderr}");
    assert!(!file.exists());
    let part = folder.path().join("session.ndjson.part");
    let converted = Presencectl::line(&format!("mock record --to-fixture {}", part.display()));
    let _ = converted.run().ended_with(0);
}

/// Records what a program of an SDK does, and lets it do the same against the replay.
fn record_and_replay(what: &str, program: impl Fn() -> Result<Command, Missing>, frames: usize) {
    let run = |url: &str| {
        let output = program()?
            .env("PRESENCECTL_MOCK_URL", url)
            .env("PRESENCECTL_MOCK_API_KEY", API_KEY)
            .env("PRESENCECTL_MOCK_SECRET", SECRET)
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost")
            .output()
            .expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{what} at {url}: {stderr}");
        Ok(String::from_utf8(output.stdout).expect("text"))
    };
    let mock = Mock::start();
    let recording = Recording::start(&mock.url(), "");
    let recorded = match run(&recording.url) {
        Ok(recorded) => recorded,
        Err(missing) => {
            let missing: Missing = missing;
            return crate::support::skip_outside_ci(what, missing);
        }
    };
    assert!(recorded.contains("Plantedname"), "{recorded}");
    let (lines, file, _folder) = recording.finish();
    assert_has_no_secrets(&file, &["lanted", SECRET]);
    let recorded_frames = of_type(&lines, "recording.frame").len();
    assert!(recorded_frames >= frames, "{recorded_frames} frames");
    let (server, url) = replay(&file);
    // If the program fails, the server says why.
    let replayed = std::panic::catch_unwind(AssertUnwindSafe(|| run(&url)));
    server.signal("TERM");
    let server = server.finish();
    let replayed = replayed.unwrap_or_else(|_| panic!("{what}: {server}"));
    assert_eq!(replayed.ok(), Some(recorded), "{server}");
    assert!(!server.stderr.contains("no recorded"), "{server}");
}

#[test]
fn a_session_of_the_javascript_client_is_the_same_against_its_replay() {
    let folder = suite("js");
    record_and_replay(
        "the recorded session of the JavaScript client",
        || {
            install_node_modules(&folder)?;
            let mut node = Command::new("node");
            node.current_dir(&folder)
                .env_remove("NODE_OPTIONS")
                .arg("support/recorded-session.mjs");
            Ok(node)
        },
        6,
    );
}

#[test]
fn a_session_of_the_python_client_is_the_same_against_its_replay() {
    let folder = suite("python");
    record_and_replay(
        "the recorded session of the Python client",
        || {
            let mut python = Command::new(python_environment(&folder, "sdk-python")?);
            python
                .current_dir(&folder)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .arg("recorded_session.py");
            Ok(python)
        },
        0,
    );
}

#[test]
fn a_second_recorder_of_the_same_file_is_refused() {
    let mock = world(&[json!({"id": "amy"})], &[]);
    let recording = Recording::start(&mock.url(), "");
    let line = format!(
        "mock record --upstream {} --out {}",
        mock.url(),
        recording.file.display()
    );
    let mut second = Presencectl::line(&line).run();
    let folder = format!("{}/", recording.folder.path().display());
    second.stderr = second.stderr.replace(&folder, "");
    insta::assert_snapshot!(second, @r"
    --- stderr
    presencectl: another process is recording to session.ndjson
    hint: name another file: --out FILE
    --- exit Some(2)
    ");
    let _ = at(&recording.url, "get-user amy").run().ended_with(0);
    let (lines, ..) = recording.finish();
    assert!(
        lines.iter().any(|line| line["path"] == "/users"),
        "{lines:?}"
    );
}
