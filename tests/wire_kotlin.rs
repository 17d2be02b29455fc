//! What the vendor's Kotlin client sends, written out byte by byte: everything in the query of the upgrade, fields in
//! `user_details` that a client may not set, `connection_id` on every call about users, even when it has none, and its
//! own first frame sent back as a ping.

use serde_json::{Value, json};

use crate::raw_wire::{
    Answer, Frame, Server, Socket, encode, expired_token, send, server_token, user_token,
};

/// The tracking text, which travels inside the `json` of the upgrade.
const CLIENT: &str = "stream-chat-android-6.20.0|os=Android 15|api_version=35|device_model=Pixel 9";

/// The Kotlin client of one user.
struct Kotlin<'a> {
    mock: &'a Server,
    user: &'a str,
    token: String,
}

impl<'a> Kotlin<'a> {
    fn new(mock: &'a Server, user: &'a str) -> Self {
        let token = user_token(mock.secret(), user);
        Self { mock, user, token }
    }

    /// Connects for the first time, with what the app knows of the user.
    #[track_caller]
    fn connect(&self, details: &Value) -> (Socket, Value) {
        let mut socket = self.open(details);
        let hello = socket.event();
        assert_eq!(hello["type"], "health.check", "{hello}");
        (socket, hello)
    }

    /// Connects again: only the id is sent.
    #[track_caller]
    fn reconnect(&self) -> (Socket, Value) {
        self.connect(&json!({}))
    }

    #[track_caller]
    fn open(&self, details: &Value) -> Socket {
        let mut user_details = json!({"id": self.user});
        for (key, value) in details.as_object().expect("details are an object") {
            user_details[key] = value.clone();
        }
        let json = json!({
            "user_details": user_details,
            "user_id": self.user,
            "server_determines_connection_id": true,
            "X-Stream-Client": CLIENT,
        });
        let head = format!(
            "GET /connect?json={}&api_key={}&authorization={}&stream-auth-type=jwt HTTP/1.1\n",
            encode(&json.to_string()),
            self.mock.api_key(),
            self.token
        );
        Socket::open(&self.mock.url(), &head)
    }

    #[track_caller]
    fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        let glue = if target.contains('?') { '&' } else { '?' };
        let head = format!(
            "{method} {target}{glue}api_key={} HTTP/1.1\nContent-Type: application/json\nstream-auth-type: jwt\n\
             X-Stream-Client: {CLIENT}\nCache-Control: no-cache\nAuthorization: {}\n",
            self.mock.api_key(),
            self.token
        );
        let body = body.map(Value::to_string);
        send(&self.mock.url(), &head, body.as_deref())
    }

    /// Asks for users; the connection id is always sent, empty where there is no connection.
    #[track_caller]
    fn users(&self, connection: &str, payload: &Value) -> Answer {
        let target = format!(
            "/users?connection_id={connection}&payload={}",
            encode(&payload.to_string())
        );
        self.call("GET", &target, None)
    }
}

#[track_caller]
fn as_server(mock: &Server, method: &str, path: &str, body: &Value) -> Value {
    let head = format!(
        "{method} {path}?api_key={} HTTP/1.1\nAuthorization: {}\nStream-Auth-Type: jwt\nContent-Type: application/json\n",
        mock.api_key(),
        server_token(mock.secret())
    );
    let answer = send(&mock.url(), &head, Some(&body.to_string()));
    assert!(answer.status < 300, "{answer:?}");
    answer.json()
}

fn connection_of(hello: &Value) -> &str {
    hello["connection_id"].as_str().expect("a connection id")
}

#[test]
fn fields_that_a_client_may_not_set_are_ignored() {
    let mock = Server::start();
    let details = json!({"role": "admin", "banned": true, "invisible": false, "teams": ["red"], "language": "en",
        "image": "https://example.com/jc.png", "name": "Jc", "favourite": {"colour": "green"}});
    let (_socket, hello) = Kotlin::new(&mock, "jc").connect(&details);

    let me = &hello["me"];
    assert_eq!(me["role"], "user");
    assert_eq!(me["banned"], false);
    assert_eq!(me["teams"], json!([]));
    assert_eq!(me["name"], "Jc");
    assert_eq!(me["image"], "https://example.com/jc.png");
    assert_eq!(me["language"], "en");
    assert_eq!(me["favourite"], json!({"colour": "green"}));
    assert!(
        me.get("X-Stream-Client").is_none(),
        "the tracking text is no data of the user: {me}"
    );
}

#[test]
fn a_reconnect_sends_only_the_id_and_loses_nothing() {
    let mock = Server::start();
    let kotlin = Kotlin::new(&mock, "jc");
    let (socket, first) =
        kotlin.connect(&json!({"name": "Jc", "invisible": true, "favourite": {"colour": "green"}}));
    socket.close();
    let (_socket, second) = kotlin.reconnect();
    for key in ["name", "invisible", "favourite", "role", "created_at"] {
        assert_eq!(second["me"][key], first["me"][key], "{key}");
    }
    assert_ne!(second["connection_id"], first["connection_id"]);
}

#[test]
fn its_ping_is_its_own_first_frame_sent_back() {
    let mock = Server::start();
    let (mut socket, hello) = Kotlin::new(&mock, "jc").connect(&json!({"name": "Jc"}));
    for _ in 0..3 {
        socket.send_text(&hello.to_string());
        let answer = socket.event();
        assert_eq!(answer["type"], "health.check", "{answer}");
        assert_eq!(answer["connection_id"], hello["connection_id"]);
    }
    socket.close();
}

#[test]
fn an_anonymous_user_sends_no_authorization_at_all() {
    let mock = Server::start();
    let json = json!({"user_details": {"id": "anon"}, "user_id": "anon",
        "server_determines_connection_id": true, "X-Stream-Client": CLIENT});
    let head = format!(
        "GET /connect?json={}&api_key={}&stream-auth-type=anonymous HTTP/1.1\n",
        encode(&json.to_string()),
        mock.api_key()
    );
    // Every anonymous user of this client has the same id.
    let mut first = Socket::open(&mock.url(), &head);
    let mut second = Socket::open(&mock.url(), &head);
    for socket in [&mut first, &mut second] {
        let hello = socket.event();
        assert_eq!(hello["type"], "health.check", "{hello}");
        assert_eq!(hello["me"]["role"], "anonymous");
    }
}

#[test]
fn an_expired_token_is_refused_by_a_frame_that_says_so() {
    let mock = Server::start();
    let mut kotlin = Kotlin::new(&mock, "jc");
    kotlin.token = expired_token(mock.secret(), "jc");
    let mut socket = kotlin.open(&json!({}));
    let refusal = socket.event();
    assert_eq!(refusal["type"], "connection.error");
    assert_eq!(refusal["error"]["code"], 40, "{refusal}");
    assert_eq!(refusal["error"]["StatusCode"], 401);
    // A message, a place to read more and details are shown to the app, so they must be of their kinds.
    assert!(refusal["error"]["message"].is_string());
    assert!(refusal["error"]["more_info"].is_string());
    assert!(refusal["error"]["details"].is_array());
    assert_eq!(socket.frame(), Frame::Close(Some(1000)));
}

#[test]
fn a_connection_id_may_be_empty_where_none_is_needed() {
    let mock = Server::start();
    let kotlin = Kotlin::new(&mock, "jc");
    let (_socket, _) = kotlin.connect(&json!({}));
    let answer = kotlin
        .users(
            "",
            &json!({"filter_conditions": {"id": "jc"}, "offset": 0, "limit": 30, "sort": [], "presence": false}),
        )
        .ok(200);
    assert_eq!(answer["users"][0]["id"], "jc");

    let body = json!({"users": {"jc": {"id": "jc", "name": "Jc"}}});
    kotlin
        .call("POST", "/users?connection_id=", Some(&body))
        .ok(201);
    let body = json!({"users": [{"id": "jc", "set": {"status": "away"}, "unset": []}]});
    let answer = kotlin
        .call("PATCH", "/users?connection_id=", Some(&body))
        .ok(200);
    assert_eq!(answer["users"]["jc"]["status"], "away");
}

#[test]
fn an_empty_connection_id_is_no_connection_where_one_is_needed() {
    let mock = Server::start();
    let kotlin = Kotlin::new(&mock, "jc");
    let (_socket, _) = kotlin.connect(&json!({}));
    let refusal = kotlin
        .users("", &json!({"filter_conditions": {}, "presence": true}))
        .ok(400);
    assert_eq!(refusal["code"], 4);
    assert!(
        refusal["message"]
            .as_str()
            .is_some_and(|message| message
                .contains("Watch or Presence requires an active websocket connection")),
        "{refusal}"
    );
}

#[test]
fn a_connection_id_does_no_harm_to_calls_that_change_users() {
    let mock = Server::start();
    let kotlin = Kotlin::new(&mock, "jc");
    let (mut socket, hello) = kotlin.connect(&json!({}));
    let body = json!({"users": [{"id": "jc", "set": {"invisible": true}, "unset": []}]});
    let target = format!("/users?connection_id={}", connection_of(&hello));
    let answer = kotlin.call("PATCH", &target, Some(&body)).ok(200);
    assert_eq!(answer["users"]["jc"]["invisible"], true);
    let event = socket.event_of("user.updated");
    assert_eq!(event["user"]["id"], "jc");
}

#[test]
fn users_asked_for_with_presence_are_followed() {
    let mock = Server::start();
    as_server(
        &mock,
        "POST",
        "/users",
        &json!({"users": {"leia": {"id": "leia"}}}),
    );
    let kotlin = Kotlin::new(&mock, "jc");
    let (mut socket, hello) = kotlin.connect(&json!({}));
    let payload = json!({"filter_conditions": {"id": {"$in": ["leia"]}}, "offset": 0, "limit": 30,
        "sort": [{"field": "id", "direction": 1}], "presence": true});
    let answer = kotlin.users(connection_of(&hello), &payload).ok(200);
    assert_eq!(answer["users"][0]["online"], false);

    let leia = Kotlin::new(&mock, "leia");
    let (leias, _) = leia.connect(&json!({}));
    let event = socket.event_of("user.presence.changed");
    assert_eq!(event["user"]["online"], true);
    leias.close();
    let event = socket.event_of("user.presence.changed");
    assert_eq!(event["user"]["online"], false);
    assert!(socket.seen.is_empty(), "nothing else: {:?}", socket.seen);
}

#[test]
fn a_channel_is_queried_in_the_body_and_watched_by_the_connection_in_the_query() {
    let mock = Server::start();
    as_server(
        &mock,
        "POST",
        "/users",
        &json!({"users": {"leia": {"id": "leia"}}}),
    );
    let kotlin = Kotlin::new(&mock, "jc");
    let (mut socket, hello) = kotlin.connect(&json!({}));
    let body = json!({"state": true, "watch": true, "presence": true, "messages": {"limit": 30},
        "members": {"limit": 30, "offset": 0}, "watchers": {"limit": 30, "offset": 0},
        "data": {"members": ["jc", "leia"], "name": "A room"}});
    let target = format!(
        "/channels/messaging/base/query?connection_id={}",
        connection_of(&hello)
    );
    let state = kotlin.call("POST", &target, Some(&body)).ok(201);
    assert_eq!(state["channel"]["cid"], "messaging:base");
    assert_eq!(state["watcher_count"], 1);

    let body = json!({"filter_conditions": {"members": {"$in": ["jc"]}}, "offset": 0, "limit": 30,
        "message_limit": 1, "member_limit": 30, "sort": [{"field": "last_updated", "direction": -1}],
        "state": true, "watch": true, "presence": true});
    let target = format!("/channels?connection_id={}", connection_of(&hello));
    let listed = kotlin.call("POST", &target, Some(&body)).ok(201);
    assert_eq!(listed["channels"][0]["channel"]["cid"], "messaging:base");

    let (_leias, _) = Kotlin::new(&mock, "leia").connect(&json!({}));
    let event = socket.event_of("user.presence.changed");
    assert_eq!(event["user"]["id"], "leia");
    assert!(event.get("cid").is_none(), "{event}");
}

#[test]
fn a_dropped_connection_is_seen_by_watchers() {
    let mock = Server::start();
    let kotlin = Kotlin::new(&mock, "jc");
    let (mut socket, hello) = kotlin.connect(&json!({}));
    let leia = Kotlin::new(&mock, "leia");
    let (leias, _) = leia.connect(&json!({}));
    let payload = json!({"filter_conditions": {"id": {"$in": ["leia"]}}, "presence": true});
    kotlin.users(connection_of(&hello), &payload).ok(200);

    // The link is gone without a goodbye.
    drop(leias);
    let event = socket.event_of("user.presence.changed");
    assert_eq!(event["user"]["online"], false);
    let (_leias, _) = leia.reconnect();
    let event = socket.event_of("user.presence.changed");
    assert_eq!(event["user"]["online"], true);
}
