//! The mock in the shapes of the next JavaScript client, in literal HTTP and WebSocket frames: the address has only
//! the key, the first frame of the client has the token and the user, and events are in the v2 dialect.

use serde_json::{Value, json};

use crate::raw_wire::{
    Answer, Frame, Server, Socket, expired_token, send, server_token, user_token,
};

/// Opens a socket that has not authenticated yet.
#[track_caller]
fn open(mock: &Server, api_key: &str, auth_type: &str) -> Socket {
    let head = format!(
        "GET /api/v2/connect?api_key={api_key}&stream-auth-type={auth_type}&X-Stream-Client=stream-chat-js-v10.0.0 HTTP/1.1\n"
    );
    Socket::open(&mock.url(), &head)
}

/// The first frame of a client.
fn auth_frame(token: &str, details: &Value) -> String {
    json!({"token": token, "user_details": details, "products": ["chat"]}).to_string()
}

/// A socket of this user, and its `connection.ok`.
#[track_caller]
fn connect(mock: &Server, id: &str, details: &Value) -> (Socket, Value) {
    let mut socket = open(mock, mock.api_key(), "jwt");
    let mut user = json!({"id": id});
    for (field, value) in details.as_object().expect("details are an object") {
        user[field] = value.clone();
    }
    socket.send_text(&auth_frame(&user_token(mock.secret(), id), &user));
    let hello = socket.event();
    assert_eq!(hello["type"], "connection.ok", "{hello}");
    (socket, hello)
}

/// A socket of the unversioned path.
#[track_caller]
fn connect_v1(mock: &Server, id: &str) -> (Socket, Value) {
    let head = format!(
        "GET /connect?api_key={}&json=%7B%22user_details%22%3A%7B%22id%22%3A%22{id}%22%7D%7D HTTP/1.1\nAuthorization: {}\nStream-Auth-Type: jwt\n",
        mock.api_key(),
        user_token(mock.secret(), id)
    );
    let mut socket = Socket::open(&mock.url(), &head);
    let hello = socket.event();
    assert_eq!(hello["type"], "health.check");
    (socket, hello)
}

#[track_caller]
fn call(mock: &Server, token: &str, method: &str, target: &str, body: &Value) -> Answer {
    let separator = if target.contains('?') { '&' } else { '?' };
    let head = format!(
        "{method} {target}{separator}api_key={} HTTP/1.1\nAuthorization: {token}\nStream-Auth-Type: jwt\nContent-Type: application/json\n",
        mock.api_key()
    );
    send(&mock.url(), &head, Some(&body.to_string()))
}

/// Creates users and the channel `messaging:x` of all of them.
#[track_caller]
fn create_channel(mock: &Server, ids: &[&str]) {
    let users: Value = ids
        .iter()
        .map(|id| ((*id).to_owned(), json!({"id": id, "name": id})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let server = server_token(mock.secret());
    call(mock, &server, "POST", "/users", &json!({"users": users})).ok(201);
    let data = json!({"created_by_id": ids[0], "members": ids, "color": "green"});
    let body = json!({ "data": data });
    call(mock, &server, "POST", "/channels/messaging/x/query", &body).ok(201);
}

#[track_caller]
fn watch(mock: &Server, id: &str, hello: &Value) {
    let connection = hello["connection_id"].as_str().expect("a connection id");
    let target = format!("/api/v2/chat/channels/messaging/x/query?connection_id={connection}");
    let body = json!({"watch": true, "presence": true, "state": true});
    call(mock, &user_token(mock.secret(), id), "POST", &target, &body).ok(201);
}

#[track_caller]
fn assert_nanoseconds(time: &Value) {
    // 2020 to 2100.
    let range = 1_577_836_800_000_000_000..4_102_444_800_000_000_000_i64;
    assert!(
        time.as_i64().is_some_and(|time| range.contains(&time)),
        "{time} is no time in nanoseconds"
    );
}

#[track_caller]
fn assert_refused(socket: &mut Socket, status: u16, code: i32, words: &str) {
    let frame = socket.event();
    assert_eq!(frame["type"], "connection.error", "{frame}");
    assert_nanoseconds(&frame["created_at"]);
    let error = &frame["error"];
    assert_eq!(error["StatusCode"], status, "{error}");
    assert_eq!(error["code"], code, "{error}");
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.starts_with("Connect failed with error: "),
        "{message}"
    );
    assert!(message.contains(words), "{message}");
    assert_eq!(socket.frame(), Frame::Close(Some(1000)));
}

#[test]
fn js_v2_greets_with_connection_ok() {
    let mock = Server::start();
    let details = json!({"name": "Amy", "image": "a.png", "custom": {"status": "here", "created_at": "long ago"}});
    let (socket, hello) = connect(&mock, "amy", &details);
    assert_eq!(hello["connection_id"].as_str().map(str::len), Some(36));
    assert_nanoseconds(&hello["created_at"]);
    let me = &hello["me"];
    assert_eq!(me["id"], "amy");
    assert_eq!(me["name"], "Amy");
    assert_eq!(me["online"], true);
    assert_eq!(me["custom"], details["custom"]);
    for list in ["devices", "mutes", "channel_mutes"] {
        assert_eq!(me[list], json!([]));
    }
    for time in ["created_at", "updated_at", "last_active"] {
        assert_nanoseconds(&me[time]);
    }
    assert_eq!(me["total_unread_count"], 0);
    socket.close();
}

#[test]
fn js_v2_pings_are_answered() {
    let mock = Server::start();
    let (mut socket, hello) = connect(&mock, "amy", &json!({}));
    let connection = hello["connection_id"].as_str().unwrap();
    for ping in [
        json!([{"type": "health.check", "client_id": connection}]),
        json!({"type": "health.check", "client_id": connection}),
    ] {
        socket.send_text(&ping.to_string());
        let answer = socket.event();
        assert_eq!(answer["type"], "health.check");
        assert_eq!(answer["connection_id"], connection);
        assert_nanoseconds(&answer["created_at"]);
    }
}

#[test]
fn js_v2_presence_reaches_both_kinds_of_sockets() {
    let mock = Server::start();
    create_channel(&mock, &["amy", "bob", "old"]);
    let (mut amy, hello) = connect(&mock, "amy", &json!({}));
    watch(&mock, "amy", &hello);
    let (mut old, old_hello) = connect_v1(&mock, "old");
    watch(&mock, "old", &old_hello);

    let (bob, bob_hello) = connect(&mock, "bob", &json!({"custom": {"status": "busy"}}));
    let since = bob_hello["me"]["last_active"].clone();
    let seen = amy.event_of("user.presence.changed");
    // Amy also sees how the colleague arrives.
    let seen = if seen["user"]["id"] == "old" {
        amy.event_of("user.presence.changed")
    } else {
        seen
    };
    assert_eq!(seen["user"]["id"], "bob");
    assert_eq!(seen["user"]["online"], true);
    assert_eq!(seen["user"]["custom"], json!({"status": "busy"}));
    assert_eq!(seen["user"]["invisible"], false);
    assert_eq!(seen["user"]["last_active"], since);
    assert_nanoseconds(&seen["created_at"]);
    let seen = old.event_of("user.presence.changed");
    assert_eq!(seen["user"]["id"], "bob");
    assert_eq!(seen["user"]["status"], "busy");
    assert!(seen["created_at"].is_string());
    bob.close();
    for socket in [&mut amy, &mut old] {
        let seen = socket.event_of("user.presence.changed");
        assert_eq!(seen["user"]["id"], "bob");
        assert_eq!(seen["user"]["online"], false);
    }
}

#[test]
fn js_v2_events_are_nested_whatever_caused_them() {
    let mock = Server::start();
    create_channel(&mock, &["amy", "bob"]);
    let (mut amy, hello) = connect(&mock, "amy", &json!({}));
    watch(&mock, "amy", &hello);
    let server = server_token(mock.secret());
    let unversioned = |method: &str, target: &str, body: Value| {
        call(&mock, &server, method, target, &body);
    };

    unversioned(
        "PATCH",
        "/users",
        json!({"users": [{"id": "bob", "set": {"color": "blue"}}]}),
    );
    let event = amy.event_of("user.updated");
    assert_eq!(event["user"]["custom"], json!({"color": "blue"}));
    assert_nanoseconds(&event["user"]["updated_at"]);

    unversioned(
        "PATCH",
        "/channels/messaging/x",
        json!({"set": {"color": "red", "frozen": true}}),
    );
    let event = amy.event_of("channel.updated");
    assert_eq!(event["channel"]["custom"], json!({"color": "red"}));
    assert_eq!(event["channel"]["frozen"], true);
    assert_nanoseconds(&event["channel"]["created_at"]);
    assert_nanoseconds(&event["channel"]["members"][0]["created_at"]);

    let message = json!({"id": "m", "text": "hi", "user_id": "bob", "mood": "good"});
    unversioned(
        "POST",
        "/channels/messaging/x/message",
        json!({ "message": message }),
    );
    let event = amy.event_of("message.new");
    assert_eq!(event["message"]["custom"], json!({"mood": "good"}));
    assert_eq!(event["message"]["user"]["custom"], json!({"color": "blue"}));
    assert_nanoseconds(&event["message"]["created_at"]);
    assert_eq!(event["custom"], json!({}));

    let event = json!({"type": "party", "user_id": "bob", "cake": 1, "custom": {"candles": 2}});
    unversioned(
        "POST",
        "/channels/messaging/x/event",
        json!({ "event": event }),
    );
    let event = amy.event_of("party");
    assert_eq!(event["custom"]["cake"], 1);
    assert_eq!(event["user"]["id"], "bob");
    assert_eq!(event["cid"], "messaging:x");
}

#[test]
fn js_v2_refuses_as_the_service_does() {
    let mock = Server::start();
    let details = json!({"id": "amy"});
    let key = mock.api_key();
    let token = user_token(mock.secret(), "amy");

    let mut socket = open(&mock, "wrong", "jwt");
    assert_refused(&mut socket, 401, 2, "api_key not valid");

    let refused = |auth_type: &str, frame: &str, status: u16, code: i32, words: &str| {
        let mut socket = open(&mock, key, auth_type);
        socket.send_text(frame);
        assert_refused(&mut socket, status, code, words);
    };
    let frame = auth_frame(&token, &details);
    refused("", &frame, 401, 5, "stream-auth-type missing or invalid");
    refused("jwt", &auth_frame("", &details), 401, 5, "token");
    let expired = auth_frame(&expired_token(mock.secret(), "amy"), &details);
    refused("jwt", &expired, 401, 40, "expired");
    let forged = auth_frame(&user_token("other", "amy"), &details);
    refused("jwt", &forged, 401, 43, "signature is not valid");
    refused("jwt", &auth_frame("nonsense", &details), 401, 5, "segments");
    let other = auth_frame(&token, &json!({"id": "bob"}));
    refused("jwt", &other, 401, 5, "bob");
    let nobody = json!({ "token": token }).to_string();
    refused("jwt", &nobody, 400, 4, "user_details is a required field");
    refused("jwt", "[]", 400, 4, "must be a JSON object");
    refused("jwt", "hello", 400, 4, "not JSON");
}

#[test]
fn js_v2_admits_anonymous_users_and_development_tokens_as_before() {
    let mock = Server::start();
    let mut socket = open(&mock, mock.api_key(), "anonymous");
    socket.send_text(&json!({"user_details": {"id": "visitor"}, "products": ["chat"]}).to_string());
    let hello = socket.event();
    assert_eq!(hello["type"], "connection.ok", "{hello}");
    assert_eq!(hello["me"]["role"], "anonymous");
}

#[test]
fn js_v2_deactivated_users_are_disconnected_in_their_dialect() {
    let mock = Server::start();
    create_channel(&mock, &["amy", "bob"]);
    let (mut amy, _) = connect(&mock, "amy", &json!({}));
    let server = server_token(mock.secret());
    call(&mock, &server, "POST", "/users/amy/deactivate", &json!({})).ok(201);
    let end = loop {
        match amy.frame() {
            Frame::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_nanoseconds(&event["created_at"]);
            }
            end => break end,
        }
    };
    assert!(matches!(end, Frame::Close(_)), "{end:?}");
    let mut socket = open(&mock, mock.api_key(), "jwt");
    let token = user_token(mock.secret(), "amy");
    socket.send_text(&auth_frame(&token, &json!({"id": "amy"})));
    assert_eq!(socket.event()["type"], "connection.error");
}
