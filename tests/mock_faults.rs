//! The mock's faults as a client meets them: literal HTTP and WebSocket, and what arrives of it or does not.

use std::io::{ErrorKind, Read, Write};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::mock::{API_KEY, Mock, server_token, user_token};
use crate::support::wire::{Answer, Socket};

#[track_caller]
fn fault(mock: &Mock, fault: &Value) -> String {
    let answer = mock.control("POST", "faults", fault);
    answer.body["faults"][0]["id"].as_str().unwrap().to_owned()
}

/// How often a fault has struck.
fn fired(mock: &Mock, id: &str) -> u64 {
    let list = mock.control("GET", "faults", &Value::Null).body;
    let faults = list["faults"].as_array().unwrap();
    let found = faults.iter().find(|fault| fault["id"] == id).unwrap();
    found["fired"].as_u64().unwrap()
}

fn query(mock: &Mock, user: &str) -> Answer {
    mock.get(
        "/users",
        &user_token(user),
        &json!({"filter_conditions": {}}),
    )
}

/// Sends an upsert of a user, and reads until the end, whatever it is.
fn upsert(mock: &Mock, id: &str) -> (String, Option<ErrorKind>) {
    let body = json!({"users": {id: {"id": id}}}).to_string();
    let mut stream = mock.stream();
    let request = format!(
        "POST /users?api_key={API_KEY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nStream-Auth-Type: jwt\r\n\
         Authorization: {}\r\nContent-Length: {}\r\n\r\n{body}",
        server_token(),
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).err();
    (
        String::from_utf8(bytes).unwrap(),
        error.map(|error| error.kind()),
    )
}

fn exists(mock: &Mock, id: &str) -> bool {
    let answer = mock.get(
        "/users",
        &server_token(),
        &json!({"filter_conditions": {"id": id}}),
    );
    !answer.body["users"].as_array().unwrap().is_empty()
}

#[test]
fn a_status_fault_fires_count_times_for_matching_requests_only() {
    let mock = Mock::start();
    mock.make_users(&["john", "jack"]);
    let id = fault(
        &mock,
        &json!({"kind": "status", "status": 429, "retry_after": 7, "path": "/users", "user": "john", "after": 1, "count": 2}),
    );
    let answers: Vec<u16> = (0..4).map(|_| query(&mock, "john").status).collect();
    assert_eq!(answers, [200, 429, 429, 200]);
    assert_eq!(query(&mock, "jack").status, 200);
    assert_eq!(fired(&mock, &id), 2);

    fault(
        &mock,
        &json!({"kind": "status", "status": 429, "retry_after": 7, "user": "john"}),
    );
    let refused = query(&mock, "john");
    assert!(refused.head.contains("retry-after: 7"), "{}", refused.head);
    assert!(
        refused.head.contains("x-ratelimit-limit: "),
        "{}",
        refused.head
    );
    assert_eq!(refused.body["code"], 9);
    assert_eq!(refused.body["StatusCode"], 429);
    assert_eq!(
        mock.control("DELETE", "faults", &Value::Null).body["cleared"],
        2
    );
    assert_eq!(query(&mock, "john").status, 200);
    assert_eq!(
        mock.try_control("DELETE", "faults/f1", &Value::Null).status,
        404
    );
}

#[test]
fn an_answer_can_be_lost_with_the_request_or_without_it() {
    let mock = Mock::start();
    for (number, (applied, kind)) in [
        (false, "reset"),
        (true, "reset"),
        (true, "html"),
        (false, "html"),
    ]
    .into_iter()
    .enumerate()
    {
        fault(
            &mock,
            &json!({"kind": kind, "method": "POST", "path": "/users", "count": 1, "applied": applied}),
        );
        let user = format!("u{number}");
        let (text, error) = upsert(&mock, &user);
        if kind == "reset" {
            assert_eq!(
                (text.as_str(), error),
                ("", Some(ErrorKind::ConnectionReset))
            );
        } else {
            assert!(text.starts_with("HTTP/1.1 502 "), "{text}");
            assert!(text.contains("content-type: text/html"), "{text}");
            assert!(text.contains("<html>"), "{text}");
        }
        assert_eq!(exists(&mock, &user), applied, "{kind}, applied: {applied}");
    }
}

#[test]
fn a_truncated_answer_announces_more_than_comes() {
    let mock = Mock::start();
    fault(
        &mock,
        &json!({"kind": "truncate", "path": "/users", "count": 1, "delay": "1ms"}),
    );
    let (text, _) = upsert(&mock, "john");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .expect("a length")
        .parse()
        .unwrap();
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    assert_eq!(body.len(), length / 2);
    assert!(body.starts_with(r#"{"users""#), "{body}");
}

#[test]
fn an_invalid_fault_is_refused_with_its_field() {
    let mock = Mock::start();
    let messages = [
        json!({"kind": "nothing"}),
        json!({"kind": "drop", "path": "/users"}),
        json!({"kind": "drop", "often": 3}),
        json!({"faults": [{"kind": "drop"}, {"kind": "close", "code": 1005}]}),
    ]
    .map(|spec| {
        let answer = mock.try_control("POST", "faults", &spec);
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!(4)));
        answer.body["message"].as_str().unwrap().to_owned()
    });
    insta::assert_snapshot!(messages.join("\n"), @r#"
    Control failed with error: "kind must be one of status, delay, reset, html, truncate, drop, close, half-open, mute, duplicate, reorder, late, garbage, expire, slow"
    Control failed with error: "path does not go with a fault of kind drop"
    Control failed with error: "unknown field `often`; expected one of `kind`, `method`, `path`, `user`, `event`, `count`, `after`, `probability`, `seed`, `now`, `status`, `code`, `message`, `retry_after`, `delay`, `applied`, `text`"
    Control failed with error: "code must be a close code: 1000 to 1003, 1007 to 1014, or 3000 to 4999"
    "#);
    let none = mock.control("GET", "faults", &Value::Null).body;
    assert_eq!(none["faults"], json!([]), "all or nothing");
}

/// A watcher of B, and what makes B flip.
struct Watched {
    /// Dropped first, so that the mock does not wait for it.
    socket: Socket,
    mock: Mock,
    connection: String,
    online: bool,
}

impl Watched {
    fn new() -> Self {
        let mock = Mock::start();
        mock.make_users(&["B"]);
        let (socket, connection) = mock.connect("A");
        mock.subscribe("A", &connection, "B");
        Self {
            mock,
            socket,
            connection,
            online: false,
        }
    }

    /// Lets B come or go, which A should hear of.
    fn flip(&mut self) {
        self.online = !self.online;
        let action = if self.online { "connect" } else { "disconnect" };
        self.mock
            .control("POST", &format!("users/B/{action}"), &json!({}));
    }

    fn fault(&self, spec: &Value) -> String {
        let mut spec = spec.clone();
        spec["user"] = "A".into();
        fault(&self.mock, &spec)
    }

    #[track_caller]
    fn expect_online(&mut self, online: bool) {
        let event = self.socket.event();
        assert_eq!(event["type"], "user.presence.changed", "{event}");
        assert_eq!(event["user"]["online"], online, "{event}");
    }
}

#[test]
fn frames_are_duplicated_reordered_and_corrupted() {
    let mut watched = Watched::new();
    watched.fault(&json!({"kind": "duplicate", "event": "user.presence.*", "count": 1}));
    watched.flip();
    watched.expect_online(true);
    watched.expect_online(true);
    watched.fault(&json!({"kind": "reorder", "delay": "1h", "count": 1}));
    watched.flip();
    watched.flip();
    watched.expect_online(true);
    watched.expect_online(false);
    watched.fault(&json!({"kind": "late", "delay": "20ms", "count": 1}));
    watched.flip();
    watched.expect_online(false);
    watched.fault(&json!({"kind": "garbage", "count": 1}));
    watched.fault(&json!({"kind": "garbage", "count": 1, "text": "nonsense"}));
    watched.flip();
    watched.flip();
    let mut texts = Vec::new();
    while texts.len() < 2 {
        if let Message::Text(text) = watched.socket.0.read().unwrap() {
            texts.push(text.to_string());
        }
    }
    assert!(
        serde_json::from_str::<Value>(&texts[0]).is_err(),
        "{texts:?}"
    );
    assert!(
        texts[0].starts_with(r#"{"type":"user.presence"#),
        "{texts:?}"
    );
    assert_eq!(texts[1], "nonsense");
    watched.socket.assert_nothing_waits();
}

#[test]
fn a_reordered_frame_is_sent_even_if_no_other_follows() {
    let mut watched = Watched::new();
    watched.fault(&json!({"kind": "reorder", "delay": "10ms", "count": 1}));
    watched.flip();
    watched.expect_online(true);
}

#[test]
fn connections_end_in_every_way() {
    for now in [false, true] {
        let strike = |spec: Value| {
            let mut watched = Watched::new();
            let mut spec = spec;
            if now {
                spec["now"] = true.into();
            } else {
                spec["event"] = "user.*".into();
            }
            watched.fault(&spec);
            if !now {
                watched.flip();
            }
            watched
        };
        let mut closed = strike(json!({"kind": "close", "code": 4001, "message": "moved"}));
        assert_eq!(closed.socket.close_code(), CloseCode::from(4001));

        let mut dropped = strike(json!({"kind": "drop"}));
        match dropped.socket.0.read() {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            other => panic!("{other:?} is no reset"),
        }

        let mut expired = strike(json!({"kind": "expire"}));
        let error = expired.socket.event();
        assert_eq!(error["type"], "connection.error");
        assert_eq!(error["error"]["code"], 40);
        assert_eq!(expired.socket.close_code(), CloseCode::Normal);
        // The rules know that the connection is gone.
        let connections = expired
            .mock
            .control("GET", "connections", &Value::Null)
            .body;
        assert!(
            !connections.to_string().contains(&expired.connection),
            "{connections}"
        );
    }
}

#[test]
fn a_connection_fault_sends_nothing_after_the_frame_it_removed() {
    for spec in [
        json!({"kind": "close", "event": "user.updated", "code": 4001, "after": 1, "count": 1}),
        json!({"kind": "expire", "event": "user.updated", "after": 1, "count": 1}),
    ] {
        let mut watched = Watched::new();
        watched.mock.make_users(&["C"]);
        watched.mock.subscribe("A", &watched.connection, "C");
        watched.fault(&spec);
        watched.fault(&json!({"kind": "slow", "now": true, "delay": "300ms"}));
        let rename = |users: &[&str], name: &str| {
            let users: serde_json::Map<String, Value> = users
                .iter()
                .map(|id| ((*id).to_owned(), json!({"id": id, "name": name})))
                .collect();
            let users = json!({ "users": users });
            watched.mock.call("POST", "/users", &server_token(), &users);
        };
        // The second of two frames is lost with the connection, and while it waits for its turn a third one comes behind
        // it. A client that got that one had a hole in its stream.
        rename(&["B", "C"], "new");
        rename(&["B"], "newer");
        let mut told = 0;
        loop {
            match watched.socket.0.read().unwrap() {
                Message::Text(text) => told += u32::from(text.contains("user.updated")),
                Message::Close(frame) => break assert!(frame.is_some()),
                _ => {}
            }
        }
        assert_eq!(told, 1);
    }
}

#[test]
fn a_half_open_socket_stays_silent_until_the_idle_timeout() {
    let mut watched = Watched::new();
    let (mut witness, connection) = watched.mock.connect("W");
    watched.mock.subscribe("W", &connection, "A");
    watched.mock.control("POST", "clock/freeze", &json!({}));
    watched.fault(&json!({"kind": "half-open", "now": true}));
    watched.flip();
    watched
        .socket
        .send(r#"[{"type":"health.check","client_id":"A--1"}]"#);
    // What has reached the witness has had its chance to reach A as well.
    witness.assert_nothing_waits();
    watched
        .mock
        .control("POST", "clock/advance", &json!({"by": "59s"}));
    witness.assert_nothing_waits();
    watched
        .mock
        .control("POST", "clock/advance", &json!({"by": "1s"}));
    let event = witness.event();
    assert_eq!(
        (&event["user"]["id"], &event["user"]["online"]),
        (&json!("A"), &json!(false))
    );
    witness.assert_nothing_waits();
    // Not a byte, and no end either.
    let stream = watched.socket.0.get_ref();
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0; 16]);
    assert_eq!(
        peeked.map_err(|error| error.kind()),
        Err(ErrorKind::WouldBlock)
    );
}

#[test]
fn a_muted_socket_still_delivers_events() {
    let mut watched = Watched::new();
    let id = watched.fault(&json!({"kind": "mute"}));
    watched
        .socket
        .send(r#"[{"type":"health.check","client_id":"A--1"}]"#);
    watched.flip();
    watched.expect_online(true);
    watched
        .socket
        .send(r#"[{"type":"health.check","client_id":"A--1"}]"#);
    watched.flip();
    watched.expect_online(false);
    assert_eq!(fired(&watched.mock, &id), 1, "once muted, it stays muted");
}

#[test]
fn a_too_slow_client_is_disconnected() {
    let mut watched = Watched::new();
    let mut small = Mock::with(|options| options.rules.queue_frames = 4);
    std::mem::swap(&mut watched.mock, &mut small);
    drop(small);
    watched.mock.make_users(&["B"]);
    let (socket, connection) = watched.mock.connect("A");
    watched.socket = socket;
    watched.mock.subscribe("A", &connection, "B");
    watched.fault(&json!({"kind": "slow", "delay": "1h"}));
    for _ in 0..8 {
        watched.flip();
    }
    assert_eq!(watched.socket.close_code(), CloseCode::Again);
}

#[test]
fn a_dropped_user_with_grace_is_offline_after_a_minute() {
    let mut watched = Watched::new();
    let (mut b, _) = watched.mock.connect("B");
    watched.expect_online(true);
    watched.mock.control("POST", "clock/freeze", &json!({}));
    let lost = watched
        .mock
        .control("POST", "users/B/drop", &json!({}))
        .body;
    assert_eq!(lost["lost"], 1);
    assert!(b.0.read().is_err());
    watched.socket.assert_nothing_waits();
    watched
        .mock
        .control("POST", "clock/advance", &json!({"by": "59s"}));
    watched.socket.assert_nothing_waits();
    watched
        .mock
        .control("POST", "clock/advance", &json!({"by": "1s"}));
    watched.expect_online(false);
}

#[test]
fn trigger_sends_events_that_nothing_caused() {
    let mut watched = Watched::new();
    let connection = watched.connection.clone();
    let trigger = |mock: &Mock, body: Value| mock.try_control("POST", "trigger", &body);
    let sent = trigger(
        &watched.mock,
        json!({"subscribers": "B", "event": {"type": "user.presence.changed", "user": {"id": "B", "online": true}}}),
    );
    assert_eq!((sent.status, &sent.body["sent"]), (200, &json!(1)));
    let event = watched.socket.event();
    assert_eq!(event["user"], json!({"id": "B", "online": true}));
    assert!(event["created_at"].is_string());
    trigger(
        &watched.mock,
        json!({"connection": connection, "text": "not json"}),
    );
    assert!(matches!(watched.socket.0.read().unwrap(), Message::Text(text) if text == "not json"));
    assert_eq!(
        trigger(
            &watched.mock,
            json!({"user": "nobody", "event": {"type": "x"}})
        )
        .status,
        404
    );
    assert_eq!(trigger(&watched.mock, json!({"user": "A"})).status, 400);
}

#[test]
fn the_log_has_requests_and_frames_and_no_secret() {
    let mut watched = Watched::new();
    watched.fault(&json!({"kind": "status", "status": 503, "path": "/users", "count": 1}));
    assert_eq!(query(&watched.mock, "A").status, 503);
    watched.flip();
    watched.expect_online(true);
    watched
        .socket
        .send(r#"[{"type":"health.check","client_id":"A--1"}]"#);
    let _ = watched.socket.event();
    let log = watched.mock.control("GET", "log", &Value::Null).body;
    let entries = log["entries"].as_array().unwrap();
    let text = log.to_string();
    for secret in [
        crate::support::mock::SECRET,
        API_KEY,
        &user_token("A"),
        &server_token(),
        "eyJ",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let kinds: Vec<&str> = entries
        .iter()
        .map(|entry| entry["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "mock.request",
            "mock.request",
            "mock.socket.open",
            "mock.frame.sent",
            "mock.request",
            "mock.request",
            "mock.frame.sent",
            "mock.frame.heard",
            "mock.frame.sent"
        ],
        "{log:#}"
    );
    assert_eq!(entries[0]["path"], "/users");
    assert_eq!(entries[0]["status"], 201);
    assert_eq!(entries[0]["body"]["users"]["B"]["id"], "B");
    assert_eq!(entries[1]["path"], "/connect");
    assert_eq!(entries[1]["user"], "A");
    assert_eq!(entries[4]["query"]["payload"]["presence"], true);
    assert_eq!(entries[5]["fault"], "f1");
    assert_eq!(entries[5]["error"]["code"], -1);
    assert_eq!(entries[6]["frame"]["user"]["online"], true);
    assert_eq!(entries[6]["connection_id"], watched.connection.as_str());
    assert_eq!(entries[7]["frame"][0]["type"], "health.check");

    let next = log["next"].as_u64().unwrap();
    assert_eq!(next, entries.len() as u64);
    let rest = watched
        .mock
        .control(
            "GET",
            &format!("log?since={}&limit=1", next - 2),
            &Value::Null,
        )
        .body;
    assert_eq!(rest["entries"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&rest["next"], &rest["lost"]),
        (&json!(next - 1), &json!(0))
    );
    watched.flip();
    watched.expect_online(false);
    let more = watched
        .mock
        .control("GET", &format!("log?since={next}&wait=20s"), &Value::Null)
        .body;
    assert_eq!(more["entries"][0]["frame"]["user"]["online"], false);
}
