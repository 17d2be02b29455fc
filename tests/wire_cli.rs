//! The mock in the shape of the vendor's command line tool, in literal frames.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::mock::{API_KEY, Mock, server_token, user_token};
use crate::support::wire::{Socket, encode};

/// Opens the connection of `listen-events`: parameters in alphabetical order, and `user_details` with the id alone.
fn listen(mock: &Mock, user: &str) -> Socket {
    let details = json!({"user_details": {"id": user}, "user_id": user});
    let query = format!(
        "X-Stream-Client=stream-cli-1.9.0&api_key={API_KEY}&authorization={}&json={}&stream-auth-type=jwt",
        user_token(user),
        encode(&details.to_string())
    );
    mock.upgrade(&query, &[])
}

#[test]
fn stream_cli_listens_to_events() {
    let mock = Mock::start();
    mock.make_users(&["b"]);
    let (mut other, other_connection) = mock.connect("b");
    // The user need not exist.
    let mut listener = listen(&mock, "a");
    let first = listener.event();
    assert_eq!(first["type"], "health.check");
    assert_eq!(first["me"]["id"], "a");
    let payload = json!({"filter_conditions": {"id": "a"}, "presence": true});
    let target = format!("/users?connection_id={other_connection}");
    let answer = mock.get(&target, &user_token("b"), &payload);
    assert_eq!(answer.body["users"][0]["online"], true, "{}", answer.body);

    // It never sends a frame, and hears what concerns its user.
    let server = |method: &str, target: &str, body: &Value| {
        let answer = mock.call(method, target, &server_token(), body);
        assert!(answer.status < 300, "{}", answer.body);
    };
    let data = json!({"created_by_id": "b", "members": ["a", "b"]});
    let target = "/channels/messaging/x/query";
    server("POST", target, &json!({ "data": data }));
    let event = listener.event_of("notification.added_to_channel");
    assert_eq!(event["channel"]["cid"], "messaging:x");
    let message = json!({"message": {"text": "hi", "user_id": "b"}});
    server("POST", "/channels/messaging/x/message", &message);
    let event = listener.event_of("notification.message_new");
    assert_eq!(event["message"]["text"], "hi");
    let set = json!({"users": [{"id": "a", "set": {"status": "busy"}}]});
    server("PATCH", "/users", &set);
    assert_eq!(listener.event_of("user.updated")["user"]["status"], "busy");

    // At the end it closes with 1000, and does not wait for the answer.
    let close = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    listener.0.send(Message::Close(Some(close))).unwrap();
    let gone = other.event_of("user.presence.changed");
    assert_eq!(gone["user"]["online"], false, "{gone}");
}

#[test]
fn stream_cli_prints_a_refused_connection_as_an_event() {
    let mock = Mock::start();
    let query = format!("api_key={API_KEY}&authorization=x.y.z&json=%7B%7D&stream-auth-type=jwt");
    let mut listener = mock.upgrade(&query, &[]);
    let event = listener.event();
    assert_eq!(event["type"], "connection.error", "{event}");
    assert!(event["error"]["code"].is_i64(), "{event}");
    assert_eq!(listener.close_code(), CloseCode::Normal);
}
