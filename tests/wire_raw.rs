//! The mock, spoken to in literal HTTP and WebSocket, with none of our client code: what it answers is what is written
//! here.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::mock::{API_KEY, Mock, SECRET, server_token, user_token};
use crate::support::wire::{Answer, encode};

/// A watches B: the whole story.
#[test]
fn one_user_watches_another() {
    let mock = Mock::start();
    mock.make_users(&["B"]);
    let (mut a, connection) = mock.connect("A");
    let payload =
        json!({"filter_conditions": {"id": {"$in": ["B"]}}, "sort": [], "presence": true});
    let target = format!("/users?user_id=A&connection_id={connection}");
    let answer = mock.get(&target, &user_token("A"), &payload);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["users"][0]["online"], false);
    assert!(answer.body["users"][0].get("last_active").is_none());
    assert!(answer.body["duration"].as_str().unwrap().ends_with("ms"));
    for header in ["limit", "remaining", "reset"] {
        assert!(answer.head.contains(&format!("x-ratelimit-{header}: ")));
    }

    let (first, _) = mock.connect("B");
    let event = a.event();
    assert_eq!(event["type"], "user.presence.changed");
    assert_eq!(event["user"]["id"], "B");
    assert_eq!(event["user"]["online"], true);
    for field in ["role", "created_at", "updated_at", "last_active"] {
        assert!(event["user"][field].is_string(), "{field}");
    }
    assert!(event.get("cid").is_none());
    let (second, _) = mock.connect("B");
    a.assert_nothing_waits();

    let invisible = |value: bool| {
        let body = json!({"users": [{"id": "B", "set": {"invisible": value}}]});
        let answer = mock.call("PATCH", "/users?user_id=B", &user_token("B"), &body);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["users"]["B"]["invisible"], value);
    };
    invisible(true);
    assert_eq!(a.event()["user"]["online"], false);
    assert_eq!(a.event()["type"], "user.updated");
    first.close();
    second.close();
    let (back, _) = mock.connect("B");
    a.assert_nothing_waits();
    invisible(false);
    let event = a.event();
    assert_eq!(event["type"], "user.presence.changed");
    assert_eq!(event["user"]["online"], true);
    assert_eq!(a.event()["type"], "user.updated");

    a.close();
    let (mut again, _) = mock.connect("A");
    back.close();
    again.assert_nothing_waits();
}

#[test]
fn last_active_has_nanoseconds_only_where_a_connection_caused_it() {
    let mock = Mock::start();
    mock.make_users(&["B"]);
    let (mut a, connection) = mock.connect("A");
    let target = format!("/users?connection_id={connection}");
    let mut payload = json!({"filter_conditions": {"id": "B"}, "presence": true});
    mock.get(&target, &user_token("A"), &payload);
    payload["presence"] = false.into();
    let (_b, _) = mock.connect("B");
    let in_event = a.event()["user"]["last_active"].clone();
    let read =
        mock.get("/users", &user_token("A"), &payload).body["users"][0]["last_active"].clone();
    let instant = |time: &serde_json::Value| {
        let time = time.as_str().expect("a time");
        chrono::DateTime::parse_from_rfc3339(time).expect("a time")
    };
    let nanoseconds = instant(&in_event).timestamp_subsec_nanos();
    assert_eq!(instant(&in_event).timestamp(), instant(&read).timestamp());
    assert_eq!(
        instant(&read).timestamp_subsec_nanos(),
        nanoseconds / 1000 * 1000
    );
}

#[test]
fn credentials_may_come_in_the_upgrades_headers() {
    let mock = Mock::start();
    let json = encode(
        r#"{"user_details":{"id":"amy","name":"Amy"},"server_determines_connection_id":true}"#,
    );
    let mut socket = mock.upgrade(
        &format!("api_key={API_KEY}&json={json}"),
        &[
            ("Authorization", &user_token("amy")),
            ("Stream-Auth-Type", "jwt"),
        ],
    );
    let hello = socket.event();
    assert_eq!(hello["me"]["name"], "Amy");
    socket.send(r#"[{"type":"health.check","client_id":"amy--1"}]"#);
    let answer = socket.event();
    assert_eq!(answer["type"], "health.check");
    assert_eq!(answer["connection_id"], hello["connection_id"]);
    assert!(answer.get("me").is_none());
}

#[test]
fn a_refused_connection_is_accepted_first() {
    let mock = Mock::start();
    let cases = [
        ("stream-auth-type=jwt".to_owned(), 2),
        (format!("api_key={API_KEY}"), 5),
        (
            format!("api_key={API_KEY}&stream-auth-type=jwt&authorization=nonsense"),
            5,
        ),
    ];
    for (query, code) in cases {
        let mut socket = mock.upgrade(&query, &[]);
        let event = socket.event();
        assert_eq!(event["type"], "connection.error");
        assert_eq!(event["error"]["code"], code);
        assert_eq!(event["error"]["StatusCode"], 401);
        assert_eq!(event["error"]["details"], json!([]));
        assert_eq!(socket.close_code(), CloseCode::Normal);
    }
}

#[test]
fn errors_have_the_services_body() {
    let mock = Mock::start();
    let expired = presencectl::domain::token::sign(
        SECRET,
        &presencectl::domain::token::Claims {
            exp: Some(1),
            ..presencectl::domain::token::Claims::user("a")
        },
    );
    let forged =
        presencectl::domain::token::sign("x", &presencectl::domain::token::Claims::user("a"));
    let query = json!({"filter_conditions": {}});
    let check = |answer: Answer, status: u16, code: i32, detail: &str| {
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.body["code"], code);
        assert_eq!(answer.body["StatusCode"], status);
        assert!(
            answer.body["message"].as_str().unwrap().contains(detail),
            "{}",
            answer.body
        );
        assert!(answer.body["more_info"].is_string());
        assert!(answer.head.contains("x-ratelimit-limit"));
    };
    let failed = r#"QueryUsers failed with error: "#;
    check(mock.get("/users", &expired, &query), 401, 40, failed);
    check(mock.get("/users", &forged, &query), 401, 43, failed);
    check(
        mock.get(
            "/users",
            &user_token("a"),
            &json!({"filter_conditions": {"id": {"$in": 1}}}),
        ),
        400,
        4,
        failed,
    );
    check(
        mock.get(
            "/users",
            &user_token("a"),
            &json!({"filter_conditions": {}, "presence": true}),
        ),
        400,
        4,
        r#"QueryUsers failed with error: "Watch or Presence requires an active websocket connection, please make sure to include your websocket connection_id""#,
    );
    check(
        mock.get("/channels/messaging/none", &user_token("a"), &json!({})),
        404,
        16,
        "Can't find channel",
    );
    check(
        mock.call("PUT", "/nowhere", &user_token("a"), &json!({})),
        404,
        16,
        "there is no PUT /nowhere",
    );
    check(
        mock.raw(&format!(
            "GET /users?api_key={API_KEY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )),
        401,
        5,
        "stream-auth-type missing or invalid",
    );
    check(
        mock.raw("GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        401,
        2,
        failed,
    );
    check(
        mock.raw(&format!(
            "GET /connect?api_key={API_KEY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )),
        400,
        4,
        "WebSocket",
    );
}

#[test]
fn bodies_may_be_chunked_or_empty() {
    let mock = Mock::start();
    let body = r#"{"users":{"a":{"id":"a","name":"A"}}}"#;
    let head = |method: &str, target: &str| {
        format!(
            "{method} {target}?api_key={API_KEY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nstream-auth-type: jwt\r\n\
             authorization: {}\r\n",
            server_token()
        )
    };
    let answer = mock.raw(&format!(
        "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        head("POST", "/users"),
        body.len()
    ));
    assert_eq!(answer.status, 201);
    assert_eq!(answer.body["users"]["a"]["name"], "A");
    assert_eq!(answer.body["membership_deletion_task_id"], "");
    let answer = mock.raw(&format!("{}\r\n", head("POST", "/channels")));
    assert_eq!(answer.body["channels"], json!([]));
    let answer = mock.raw(&format!(
        "{}Content-Length: 1\r\n\r\n{{",
        head("POST", "/users")
    ));
    assert_eq!((answer.status, &answer.body["code"]), (400, &json!(4)));
}

#[test]
fn a_body_over_the_limit_is_too_big() {
    let mock = Mock::with(|options| options.rules.body_limit = 1000);
    let body = json!({"users": {"a": {"id": "a", "x": "y".repeat(2000)}}});
    let answer = mock.call("POST", "/users", &server_token(), &body);
    assert_eq!((answer.status, &answer.body["code"]), (413, &json!(22)));
}

#[test]
fn a_guest_gets_a_working_token() {
    let mock = Mock::start();
    let body = r#"{"user":{"id":"gus","name":"G"}}"#;
    let answer = mock.raw(&format!(
        "POST /guest?api_key={API_KEY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nstream-auth-type: anonymous\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(answer.status, 201);
    assert_eq!(answer.body["user"]["role"], "guest");
    let token = answer.body["access_token"].as_str().unwrap();
    let json = encode(&json!({"user_details": {"id": answer.body["user"]["id"]}}).to_string());
    let mut socket = mock.upgrade(
        &format!("json={json}&api_key={API_KEY}&authorization={token}&stream-auth-type=jwt"),
        &[],
    );
    assert_eq!(socket.event()["me"]["role"], "guest");
}

#[test]
fn malformed_frames_close_only_their_own_connection() {
    let mock = Mock::start();
    mock.make_users(&["b"]);
    let (mut witness, _) = mock.connect("w");
    for (frame, code) in [
        ("not json".to_owned(), CloseCode::Invalid),
        ("7".to_owned(), CloseCode::Unsupported),
        (
            format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
            CloseCode::Invalid,
        ),
        ("x".repeat(1 << 20), CloseCode::Size),
    ] {
        let (mut socket, _) = mock.connect("b");
        // The server may close before it has taken everything in.
        let _ = socket.0.send(Message::text(frame));
        assert_eq!(socket.close_code(), code);
    }
    witness.assert_nothing_waits();
}

#[test]
fn a_stopping_server_asks_its_clients_to_come_back() {
    let mut mock = Mock::start();
    let (mut socket, _) = mock.connect("a");
    mock.stop();
    assert_eq!(socket.close_code(), CloseCode::Away);
}

#[test]
fn the_control_api_changes_users_and_connections() {
    let mock = Mock::start();
    mock.make_users(&["B"]);
    let (mut a, connection) = mock.connect("A");
    mock.subscribe("A", &connection, "B");
    mock.control("POST", "users/B/connect", &Value::Null);
    assert_eq!(a.event()["user"]["online"], true);
    let status = mock.control("GET", "status", &Value::Null).body;
    assert_eq!(
        (&status["users"], &status["connections"]),
        (&json!(2), &json!(2))
    );
    let gone = mock.control("POST", "users/B/disconnect", &Value::Null);
    assert_eq!(gone.body["closed"], 1);
    assert_eq!(a.event()["user"]["online"], false);

    // The clock passes a minute of silence: the server disconnects A and asks the client to reconnect.
    mock.control("POST", "clock/freeze", &Value::Null);
    mock.control("POST", "clock/advance", &json!({"by": "59s"}));
    a.assert_nothing_waits();
    mock.control("POST", "clock/advance", &json!({"by": "60s"}));
    assert_eq!(a.close_code(), CloseCode::Away);

    let (mut a, _) = mock.connect("A");
    mock.control("POST", "reset", &Value::Null);
    assert_eq!(a.close_code(), CloseCode::Away);
    let status = mock.control("GET", "status", &Value::Null).body;
    assert_eq!(status["users"], 0);
    let unknown = mock.try_control("GET", "nonsense", &Value::Null);
    assert_eq!(unknown.status, 404);
}
