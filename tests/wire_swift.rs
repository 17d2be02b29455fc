//! What the vendor's Swift client sends and what it refuses to decode. The client itself cannot run here, so its bytes
//! are written out: credentials in the upgrade's headers, `GET /app` beside the socket, channels by `GET`, members as
//! objects, and the fields without which it drops a user, an event, a channel or the settings.

use serde_json::{Value, json};

use crate::raw_wire::{
    Answer, Frame, Server, Socket, encode, expired_token, send, server_token, user_token,
};

/// The Swift client of one user.
struct Swift<'a> {
    mock: &'a Server,
    user: &'a str,
    token: String,
}

impl<'a> Swift<'a> {
    fn new(mock: &'a Server, user: &'a str) -> Self {
        let token = user_token(mock.secret(), user);
        Self { mock, user, token }
    }

    fn headers(&self) -> String {
        format!(
            "Authorization: {}\nStream-Auth-Type: jwt\nX-Stream-Client: stream-chat-swift-v4.79.0|app=Demo|os=iOS 18.0\n",
            self.token
        )
    }

    /// Connects with these user details beside the id.
    #[track_caller]
    fn connect(&self, details: &Value) -> (Socket, Value) {
        let mut socket = self.open(details);
        let hello = socket.event();
        assert_health_check(&hello);
        (socket, hello)
    }

    #[track_caller]
    fn open(&self, details: &Value) -> Socket {
        let mut user_details = json!({"id": self.user});
        for (key, value) in details.as_object().expect("details are an object") {
            user_details[key] = value.clone();
        }
        let json = json!({
            "user_id": self.user,
            "user_details": user_details,
            "server_determines_connection_id": true,
        });
        let head = format!(
            "GET /connect?api_key={}&json={} HTTP/1.1\n{}",
            self.mock.api_key(),
            encode(&json.to_string()),
            self.headers()
        );
        Socket::open(&self.mock.url(), &head)
    }

    /// A call without a body, with a `payload` if there is one.
    #[track_caller]
    fn get(&self, path: &str, connection: Option<&str>, payload: Option<&Value>) -> Answer {
        let connection = connection.map_or_else(String::new, |id| format!("&connection_id={id}"));
        let payload = payload.map_or_else(String::new, |payload| {
            format!("&payload={}", encode(&payload.to_string()))
        });
        let head = format!(
            "GET {path}?api_key={}{connection}{payload} HTTP/1.1\n{}",
            self.mock.api_key(),
            self.headers()
        );
        send(&self.mock.url(), &head, None)
    }

    /// A call with a body.
    #[track_caller]
    fn call(&self, method: &str, path: &str, connection: Option<&str>, body: &Value) -> Answer {
        let connection = connection.map_or_else(String::new, |id| format!("&connection_id={id}"));
        let head = format!(
            "{method} {path}?api_key={}{connection} HTTP/1.1\n{}Content-Type: application/json\n",
            self.mock.api_key(),
            self.headers()
        );
        send(&self.mock.url(), &head, Some(&body.to_string()))
    }

    /// Opens a channel as the client does: state, watch and presence at once, members as objects.
    #[track_caller]
    fn open_channel(&self, id: &str, connection: &str, members: &[&str]) -> Value {
        let members: Vec<Value> = members.iter().map(|id| json!({"user_id": id})).collect();
        let body = json!({
            "data": {"members": members, "name": "A room"},
            "state": true, "watch": true, "presence": true,
            "messages": {"limit": 25}, "members": {"limit": 30}, "watchers": {"limit": 30},
        });
        let path = format!("/channels/messaging/{id}/query");
        let state = self.call("POST", &path, Some(connection), &body).ok(201);
        assert_channel_state(&state);
        state
    }
}

/// Creates users with the rights of a server.
#[track_caller]
fn create_users(mock: &Server, ids: &[&str]) {
    let users: serde_json::Map<String, Value> = ids
        .iter()
        .map(|id| {
            (
                (*id).to_owned(),
                json!({"id": id, "name": id.to_uppercase()}),
            )
        })
        .collect();
    as_server(mock, "POST", "/users", &json!({"users": users})).ok(201);
}

#[track_caller]
fn as_server(mock: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let head = format!(
        "{method} {path}?api_key={} HTTP/1.1\nAuthorization: {}\nStream-Auth-Type: jwt\nContent-Type: application/json\n",
        mock.api_key(),
        server_token(mock.secret())
    );
    send(&mock.url(), &head, Some(&body.to_string()))
}

fn connection_of(hello: &Value) -> &str {
    hello["connection_id"].as_str().expect("a connection id")
}

// What the client insists on

#[track_caller]
fn assert_time(value: &Value, of: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("no time in {of}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{e}: {text} in {of}"));
}

#[track_caller]
fn assert_user(user: &Value) {
    assert!(user["id"].is_string(), "id in {user}");
    assert!(user["role"].is_string(), "role in {user}");
    assert!(user["online"].is_boolean(), "online in {user}");
    assert_time(&user["created_at"], user);
    assert_time(&user["updated_at"], user);
}

#[track_caller]
fn assert_member(member: &Value) {
    assert!(member["user_id"].is_string(), "user_id in {member}");
    assert_user(&member["user"]);
    assert_time(&member["created_at"], member);
    assert_time(&member["updated_at"], member);
}

#[track_caller]
fn assert_channel(channel: &Value) {
    for key in ["cid", "type", "id"] {
        assert!(channel[key].is_string(), "{key} in {channel}");
    }
    assert!(channel["frozen"].is_boolean(), "frozen in {channel}");
    assert_time(&channel["created_at"], channel);
    assert_time(&channel["updated_at"], channel);
    let config = &channel["config"];
    for key in [
        "reactions",
        "typing_events",
        "read_events",
        "connect_events",
        "replies",
        "quotes",
        "search",
        "mutes",
        "url_enrichment",
    ] {
        assert!(config[key].is_boolean(), "{key} in {config}");
    }
    assert!(config["message_retention"].is_string(), "in {config}");
    assert!(config["max_message_length"].is_u64(), "in {config}");
    assert_time(&config["created_at"], config);
    assert_time(&config["updated_at"], config);
}

#[track_caller]
fn assert_channel_state(state: &Value) {
    assert_channel(&state["channel"]);
    for key in ["messages", "pinned_messages"] {
        assert!(state[key].is_array(), "{key} in {state}");
    }
    for member in state["members"].as_array().expect("members are an array") {
        assert_member(member);
    }
}

#[track_caller]
fn assert_event(event: &Value) {
    assert!(event["type"].is_string(), "type in {event}");
    assert_time(&event["created_at"], event);
    if !event["user"].is_null() {
        assert_user(&event["user"]);
    }
}

#[track_caller]
fn assert_health_check(event: &Value) {
    assert_eq!(event["type"], "health.check", "{event}");
    assert_event(event);
    assert_eq!(connection_of(event).len(), 36, "{event}");
}

// The connection

#[test]
fn credentials_come_in_the_headers_of_the_upgrade() {
    let mock = Server::start();
    let details = json!({"name": "Luke", "image": "https://example.com/luke.png", "language": "en",
        "privacy_settings": {"typing_indicators": {"enabled": true}}, "blocked_user_ids": [], "homeworld": "Tatooine"});
    let (_socket, hello) = Swift::new(&mock, "luke").connect(&details);

    assert_eq!(hello["cid"], "*");
    let me = &hello["me"];
    assert_user(me);
    assert_eq!(me["id"], "luke");
    assert_eq!(me["name"], "Luke");
    assert_eq!(me["language"], "en");
    assert_eq!(me["homeworld"], "Tatooine");
    assert_eq!(me["online"], true);
    assert_eq!(me["invisible"], false);
    for key in ["devices", "mutes", "channel_mutes"] {
        assert!(me[key].is_array(), "{key} in {me}");
    }
}

#[test]
fn a_refusal_is_a_frame_and_a_close_not_an_http_status() {
    let mock = Server::start();
    let mut swift = Swift::new(&mock, "luke");
    swift.token = expired_token(mock.secret(), "luke");
    let mut socket = swift.open(&json!({}));

    let refusal = socket.event();
    assert_eq!(refusal["type"], "connection.error");
    assert_eq!(refusal["connection_id"], "");
    assert_time(&refusal["created_at"], &refusal);
    let error = &refusal["error"];
    assert_eq!(error["code"], 40, "{error}");
    assert_eq!(error["StatusCode"], 401);
    assert!(error["message"].is_string());
    assert_eq!(socket.frame(), Frame::Close(Some(1000)));
}

#[test]
fn every_answer_to_a_ping_names_the_connection() {
    let mock = Server::start();
    let (mut socket, hello) = Swift::new(&mock, "luke").connect(&json!({}));
    for _ in 0..2 {
        socket.send_text(r#"[{"type":"health.check","client_id":"luke--1"}]"#);
        let answer = socket.event();
        assert_health_check(&answer);
        assert_eq!(answer["connection_id"], hello["connection_id"]);
    }
    socket.send_ping(b"still there?");
    assert_eq!(socket.frame(), Frame::Pong(b"still there?".to_vec()));
    socket.close();
}

#[test]
fn the_settings_are_read_beside_the_socket() {
    let mock = Server::start();
    let swift = Swift::new(&mock, "luke");
    let (_socket, _hello) = swift.connect(&json!({}));
    let app = swift.get("/app", None, None).ok(200)["app"].clone();
    assert!(app["name"].is_string(), "{app}");
    for key in ["async_url_enrich_enabled", "auto_translation_enabled"] {
        assert!(app[key].is_boolean(), "{key} in {app}");
    }
    for config in ["file_upload_config", "image_upload_config"] {
        for key in [
            "allowed_file_extensions",
            "blocked_file_extensions",
            "allowed_mime_types",
            "blocked_mime_types",
        ] {
            assert!(app[config][key].is_array(), "{config}.{key} in {app}");
        }
    }
}

#[test]
fn invisible_is_sent_only_when_it_is_meant_and_stays_otherwise() {
    let mock = Server::start();
    let swift = Swift::new(&mock, "luke");
    let (socket, hello) = swift.connect(&json!({"invisible": true}));
    assert_eq!(hello["me"]["invisible"], true);
    socket.close();
    let (socket, hello) = swift.connect(&json!({}));
    assert_eq!(hello["me"]["invisible"], true);
    socket.close();
    let (_socket, hello) = swift.connect(&json!({"invisible": false}));
    assert_eq!(hello["me"]["invisible"], false);
}

// Users

#[test]
fn a_user_list_asks_with_an_empty_filter_and_subscribes() {
    let mock = Server::start();
    create_users(&mock, &["leia"]);
    let swift = Swift::new(&mock, "luke");
    let (mut socket, hello) = swift.connect(&json!({}));
    let payload = json!({"filter_conditions": {}, "sort": [{"field": "updated_at", "direction": -1}],
        "limit": 30, "offset": 0, "presence": true});
    let answer = swift
        .get("/users", Some(connection_of(&hello)), Some(&payload))
        .ok(200);
    let users = answer["users"].as_array().expect("users are an array");
    assert_eq!(users.len(), 2);
    users.iter().for_each(assert_user);

    let (leias, _) = Swift::new(&mock, "leia").connect(&json!({}));
    let event = socket.event_of("user.presence.changed");
    assert_event(&event);
    assert_eq!(event["user"]["id"], "leia");
    assert_eq!(event["user"]["online"], true);
    leias.close();
    let event = socket.event_of("user.presence.changed");
    assert_event(&event);
    assert_eq!(event["user"]["online"], false);
}

#[test]
fn plus_and_semicolon_are_decoded_literally() {
    let mock = Server::start();
    let swift = Swift::new(&mock, "luke");
    let (_socket, _hello) = swift.connect(&json!({"motto": "1+1;2 & more"}));
    let payload = json!({"filter_conditions": {"motto": "1+1;2 & more"}});
    let answer = swift.get("/users", None, Some(&payload)).ok(200);
    assert_eq!(answer["users"][0]["id"], "luke", "{answer}");
}

#[test]
fn an_own_change_is_answered_with_the_whole_own_user() {
    let mock = Server::start();
    let swift = Swift::new(&mock, "luke");
    let (mut socket, _) = swift.connect(&json!({"name": "Luke"}));
    let body = json!({"users": [{"id": "luke", "set": {"name": "Luke S.", "status": "training"}}]});
    let answer = swift.call("PATCH", "/users", None, &body).ok(200);
    let users = answer["users"].as_object().expect("users are a map");
    let first = users.values().next().expect("one user");
    assert_user(first);
    assert_eq!(first["name"], "Luke S.");
    assert_eq!(first["status"], "training");

    let event = socket.event_of("user.updated");
    assert_event(&event);
    assert_eq!(event["user"]["status"], "training");
}

#[test]
fn a_guest_gets_a_token_for_the_id_it_was_given() {
    let mock = Server::start();
    let head = format!(
        "POST /guest?api_key={} HTTP/1.1\nStream-Auth-Type: anonymous\nContent-Type: application/json\n",
        mock.api_key()
    );
    let body = json!({"user": {"id": "visitor", "name": "A visitor"}});
    let answer = send(&mock.url(), &head, Some(&body.to_string())).ok(201);
    assert_user(&answer["user"]);
    assert_eq!(answer["user"]["role"], "guest");
    let id = answer["user"]["id"].as_str().expect("an id");

    let mut swift = Swift::new(&mock, id);
    swift.token = answer["access_token"].as_str().expect("a token").to_owned();
    let (_socket, hello) = swift.connect(&json!({}));
    assert_eq!(hello["me"]["id"], id);
}

#[test]
fn an_anonymous_user_connects_without_a_token() {
    let mock = Server::start();
    let id = "__anonymous__5f2c";
    let json =
        json!({"user_id": id, "user_details": {"id": id}, "server_determines_connection_id": true});
    let head = format!(
        "GET /connect?api_key={}&json={} HTTP/1.1\nStream-Auth-Type: anonymous\n",
        mock.api_key(),
        encode(&json.to_string())
    );
    let hello = Socket::open(&mock.url(), &head).event();
    assert_health_check(&hello);
    assert_user(&hello["me"]);
    assert_eq!(hello["me"]["role"], "anonymous");
}

// Channels

#[test]
fn a_channel_is_opened_with_state_watch_and_presence_at_once() {
    let mock = Server::start();
    create_users(&mock, &["leia"]);
    let swift = Swift::new(&mock, "luke");
    let (mut socket, hello) = swift.connect(&json!({}));
    let state = swift.open_channel("base", connection_of(&hello), &["luke", "leia"]);
    assert_eq!(state["channel"]["name"], "A room");
    assert_eq!(state["members"].as_array().map(Vec::len), Some(2));
    assert_eq!(state["watcher_count"], 1);
    assert_eq!(state["membership"]["user"]["id"], "luke");
    state["watchers"]
        .as_array()
        .expect("watchers were asked for")
        .iter()
        .for_each(assert_user);

    // The client copes with, and expects, its own start.
    let start = socket.event_of("user.watching.start");
    assert_event(&start);
    assert_eq!(start["user"]["id"], "luke");
    assert!(start["watcher_count"].is_u64(), "{start}");

    let leia = Swift::new(&mock, "leia");
    let (_leias, leias_hello) = leia.connect(&json!({}));
    let event = socket.event_of("user.presence.changed");
    assert_event(&event);
    assert_eq!(event["user"]["id"], "leia");
    leia.open_channel("base", connection_of(&leias_hello), &[]);
    let start = socket.event_of("user.watching.start");
    assert_event(&start);
    assert_eq!(start["watcher_count"], 2);
}

#[test]
fn the_channel_list_is_read_by_get() {
    let mock = Server::start();
    create_users(&mock, &["leia"]);
    let swift = Swift::new(&mock, "luke");
    let (mut socket, hello) = swift.connect(&json!({}));
    for id in ["one", "two"] {
        let body =
            json!({"data": {"members": [{"user_id": "luke"}, {"user_id": "leia"}]}, "state": true});
        let path = format!("/channels/messaging/{id}/query");
        swift.call("POST", &path, None, &body).ok(201);
    }
    let payload = json!({"filter_conditions": {"members": {"$in": ["luke"]}}, "limit": 20, "message_limit": 25,
        "sort": [{"field": "last_message_at", "direction": -1}, {"field": "created_at", "direction": -1}],
        "state": true, "watch": true});
    let answer = swift
        .get("/channels", Some(connection_of(&hello)), Some(&payload))
        .ok(200);
    let channels = answer["channels"]
        .as_array()
        .expect("channels are an array");
    let cids: Vec<_> = channels
        .iter()
        .map(|c| c["channel"]["cid"].clone())
        .collect();
    assert_eq!(cids, ["messaging:two", "messaging:one"]);
    channels.iter().for_each(assert_channel_state);

    // It watches now: what happens in a channel of the list arrives.
    let body = json!({"set": {"name": "One"}});
    as_server(&mock, "PATCH", "/channels/messaging/one", &body).ok(200);
    let event = socket.event_of("channel.updated");
    assert_event(&event);
    assert_eq!(event["cid"], "messaging:one");
}

#[test]
fn added_and_removed_members_get_complete_notifications() {
    let mock = Server::start();
    create_users(&mock, &["leia"]);
    let swift = Swift::new(&mock, "luke");
    let (mut socket, hello) = swift.connect(&json!({}));
    swift.open_channel("base", connection_of(&hello), &["luke"]);
    let (mut leias, _) = Swift::new(&mock, "leia").connect(&json!({}));

    let body = json!({"add_members": [{"user_id": "leia"}]});
    let answer = swift
        .call("POST", "/channels/messaging/base", None, &body)
        .ok(201);
    assert_channel(&answer["channel"]);
    let added = socket.event_of("member.added");
    assert_event(&added);
    assert_member(&added["member"]);
    assert_eq!(added["user"]["id"], "leia");
    let notified = leias.event_of("notification.added_to_channel");
    assert_event(&notified);
    assert_channel(&notified["channel"]);
    assert_eq!(notified["member"]["user"]["id"], "leia");
    assert_member(&notified["member"]);

    let body = json!({"remove_members": ["leia"]});
    swift
        .call("POST", "/channels/messaging/base", None, &body)
        .ok(201);
    let removed = socket.event_of("member.removed");
    assert_event(&removed);
    assert_eq!(removed["user"]["id"], "leia");
    let notified = leias.event_of("notification.removed_from_channel");
    assert_event(&notified);
    assert_eq!(notified["cid"], "messaging:base");
    assert_eq!(notified["user"]["id"], "leia");
    assert!(notified["member"].is_object(), "{notified}");
}

#[test]
fn a_changed_channel_is_announced_whole() {
    let mock = Server::start();
    let swift = Swift::new(&mock, "luke");
    let (mut socket, hello) = swift.connect(&json!({}));
    swift.open_channel("base", connection_of(&hello), &["luke"]);
    let body = json!({"set": {"name": "Echo Base"}, "unset": []});
    let answer = swift
        .call("PATCH", "/channels/messaging/base", None, &body)
        .ok(200);
    assert_channel(&answer["channel"]);
    let event = socket.event_of("channel.updated");
    assert_event(&event);
    assert_channel(&event["channel"]);
    assert_eq!(event["channel"]["name"], "Echo Base");
}

#[test]
fn stop_watching_names_the_connection() {
    let mock = Server::start();
    create_users(&mock, &["leia"]);
    let swift = Swift::new(&mock, "luke");
    let (mut socket, hello) = swift.connect(&json!({}));
    swift.open_channel("base", connection_of(&hello), &["luke", "leia"]);
    let leia = Swift::new(&mock, "leia");
    let (_leias, leias_hello) = leia.connect(&json!({}));
    let connection = Some(connection_of(&leias_hello));
    leia.open_channel("base", connection_of(&leias_hello), &[]);
    let answer = leia
        .call(
            "POST",
            "/channels/messaging/base/stop-watching",
            connection,
            &json!({}),
        )
        .ok(201);
    assert!(answer["duration"].is_string(), "{answer}");
    let stop = socket.event_of("user.watching.stop");
    assert_event(&stop);
    assert_eq!(stop["user"]["id"], "leia");
    assert_eq!(stop["watcher_count"], 1);
}

#[test]
fn after_a_lost_connection_it_lists_syncs_and_watches_again() {
    let mock = Server::start();
    create_users(&mock, &["leia"]);
    let swift = Swift::new(&mock, "luke");
    let (socket, hello) = swift.connect(&json!({}));
    let old = connection_of(&hello).to_owned();
    swift.open_channel("base", &old, &["luke", "leia"]);
    let since = hello["created_at"].clone();
    // No goodbye: the link is simply gone.
    drop(socket);
    as_server(
        &mock,
        "PATCH",
        "/channels/messaging/base",
        &json!({"set": {"name": "While you were out"}}),
    )
    .ok(200);

    let (mut socket, hello) = swift.connect(&json!({}));
    let new = connection_of(&hello);
    assert_ne!(new, old);
    let payload = json!({"filter_conditions": {"members": {"$in": ["luke"]}}, "watch": true, "state": true, "limit": 20});
    let listed = swift.get("/channels", Some(new), Some(&payload)).ok(200);
    assert_channel_state(&listed["channels"][0]);
    let body = json!({"channel_cids": ["messaging:base"], "last_sync_at": since});
    let synced = swift.call("POST", "/sync", None, &body).ok(201);
    let events = synced["events"].as_array().expect("events are an array");
    events.iter().for_each(assert_event);
    let renamed = |event: &&Value| event["channel"]["name"] == "While you were out";
    assert_eq!(events.iter().filter(renamed).count(), 1, "{synced}");
    let state = swift.open_channel("base", new, &[]);
    assert_eq!(state["watcher_count"], 1);

    let (_leias, _) = Swift::new(&mock, "leia").connect(&json!({}));
    let event = socket.event_of("user.presence.changed");
    assert_eq!(event["user"]["id"], "leia");
}

#[test]
fn a_refused_call_names_code_and_status() {
    let mock = Server::start();
    create_users(&mock, &["leia"]);
    let leia = Swift::new(&mock, "leia");
    let body = json!({"data": {"members": [{"user_id": "leia"}]}, "state": true});
    leia.call("POST", "/channels/messaging/secret/query", None, &body)
        .ok(201);
    create_users(&mock, &["luke"]);
    let answer = Swift::new(&mock, "luke").call(
        "POST",
        "/channels/messaging/secret/query",
        None,
        &json!({"state": true}),
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let error = answer.ok(403);
    assert_eq!(error["code"], 17);
    assert_eq!(error["StatusCode"], 403);
    assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()));
}

#[test]
fn no_answer_is_empty() {
    let mock = Server::start();
    let swift = Swift::new(&mock, "luke");
    let (_socket, hello) = swift.connect(&json!({}));
    swift.open_channel("base", connection_of(&hello), &["luke"]);
    // The client decodes every success, and fails on nothing at all.
    for (method, path, body) in [
        ("POST", "/channels/messaging/base/hide", json!({})),
        ("POST", "/channels/messaging/base/show", json!({})),
        ("POST", "/channels/messaging/base/read", json!({})),
        ("DELETE", "/channels/messaging/base", json!({})),
    ] {
        let answer = swift.call(method, path, Some(connection_of(&hello)), &body);
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        assert!(answer.json()["duration"].is_string(), "{answer:?}");
    }
}
