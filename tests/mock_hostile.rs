//! Malicious and broken clients: each gets a clear error, and no other client is affected.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::support::mock::{API_KEY, Mock, server_token, user_token};
use crate::support::wire::Answer;

/// A server, somebody who watches somebody else on it, and the proof that both still work.
fn assert_unharmed_by(attack: impl FnOnce(&Mock)) {
    let mock = Mock::start();
    mock.make_users(&["friend"]);
    let (mut witness, connection) = mock.connect("witness");
    mock.subscribe("witness", &connection, "friend");
    attack(&mock);
    let (friend, _) = mock.connect("friend");
    let event = witness.event();
    assert_eq!(event["type"], "user.presence.changed", "{event}");
    friend.close();
    assert_eq!(witness.event()["user"]["online"], false);
}

fn is_input_error(answer: &Answer) {
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (400, &json!(4)),
        "{}",
        answer.body
    );
    assert_eq!(answer.body["StatusCode"], 400);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.contains("failed with error"), "{message}");
    assert!(message.len() < 1000, "a message is for people");
}

fn post(mock: &Mock, target: &str, body: &str) -> Answer {
    mock.raw(&format!(
        "POST {target}?api_key={API_KEY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nstream-auth-type: jwt\r\n\
         authorization: {}\r\nContent-Length: {}\r\n\r\n{body}",
        server_token(),
        body.len()
    ))
}

#[test]
fn malformed_bodies() {
    assert_unharmed_by(|mock| {
        for body in [
            "not json",
            "[1,2,3]",
            "7",
            "\"text\"",
            r#"{"users""#,
            r#"{"users": 7}"#,
            r#"{"users": {"a": 7}}"#,
            r#"{"users": {"a": {"id": "b"}}}"#,
            r#"{"users": {}}"#,
            "\u{0}",
        ] {
            is_input_error(&post(mock, "/users", body));
        }
        let deep = format!(
            r#"{{"users": {{"a": {{"id": "a", "x": {}1{}}}}}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        is_input_error(&post(mock, "/users", &deep));
    });
}

#[test]
fn malformed_payloads() {
    assert_unharmed_by(|mock| {
        for payload in ["not json", "[]", "7", "{", r#"{"filter_conditions": 7}"#] {
            let answer = mock.raw(&format!(
                "GET /users?api_key={API_KEY}&payload={} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 stream-auth-type: jwt\r\nauthorization: {}\r\n\r\n",
                crate::support::wire::encode(payload),
                server_token()
            ));
            is_input_error(&answer);
        }
    });
}

#[test]
fn invalid_ids() {
    assert_unharmed_by(|mock| {
        let long = "x".repeat(10_000);
        for id in ["a:b", "a b", "", "ünlaut", "a/b", long.as_str()] {
            let body = json!({"users": {id: {"id": id}}});
            is_input_error(&mock.call("POST", "/users", &server_token(), &body));
        }
        for id in ["a:b", "a%20b", "a%2Fb", "%FF", long.as_str()] {
            let target = format!("/channels/messaging/{id}/query");
            let body = json!({"data": {"created_by": {"id": "friend"}}});
            is_input_error(&mock.call("POST", &target, &server_token(), &body));
        }
    });
}

#[test]
fn a_million_ids_in_one_filter() {
    assert_unharmed_by(|mock| {
        // As many as the body may hold are answered, and a body that holds more is refused.
        let ids: Vec<String> = (0..150_000).map(|n| format!("u{n}")).collect();
        let body = json!({"filter_conditions": {"cid": {"$in": ids}}});
        let answer = mock.call("POST", "/channels", &server_token(), &body);
        assert_eq!((answer.status, &answer.body["channels"]), (201, &json!([])));
        let ids: Vec<u32> = (0..1_000_000).collect();
        let body = json!({"filter_conditions": {"n": {"$in": ids}}});
        let answer = mock.call("POST", "/channels", &server_token(), &body);
        assert_eq!((answer.status, &answer.body["code"]), (413, &json!(22)));
    });
}

#[test]
fn very_deep_filters() {
    assert_unharmed_by(|mock| {
        let mut filter = json!({"id": "x"});
        for _ in 0..50 {
            filter = json!({"$and": [filter, {"$or": [{"a": 1}, {"b": 2}]}]});
        }
        let answer = mock.get(
            "/users",
            &server_token(),
            &json!({"filter_conditions": filter}),
        );
        assert_eq!((answer.status, &answer.body["users"]), (200, &json!([])));
    });
}

#[test]
fn unfinished_and_non_http_requests() {
    assert_unharmed_by(|mock| {
        // Left half-said, and hung up on.
        for start in [
            "POST /users?api_key=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
            "GET /users",
            "POST /users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "\u{1}\u{2}\u{3}",
            "",
        ] {
            let mut stream = mock.stream();
            stream.write_all(start.as_bytes()).unwrap();
            drop(stream);
        }
        let mut stream = mock.stream();
        stream
            .write_all(b"this is not http at all\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    });
}

#[test]
fn a_thousand_subscriptions_of_one_connection() {
    assert_unharmed_by(|mock| {
        let ids: Vec<String> = (0..100).map(|n| format!("u{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        mock.make_users(&ids);
        let (mut socket, connection) = mock.connect("greedy");
        let payload =
            json!({"filter_conditions": {"id": {"$in": ids}}, "presence": true, "limit": 100});
        for _ in 0..20 {
            let target = format!("/users?connection_id={connection}");
            let answer = mock.get(&target, &user_token("greedy"), &payload);
            assert_eq!(answer.status, 200);
        }
        let (friend, _) = mock.connect("u99");
        assert_eq!(socket.event()["user"]["id"], "u99");
        socket.assert_nothing_waits();
        drop(friend);
    });
}

#[test]
fn the_connection_of_another_user() {
    assert_unharmed_by(|mock| {
        let (_victim, connection) = mock.connect("victim");
        let payload = json!({"filter_conditions": {"id": "friend"}, "presence": true});
        let target = format!("/users?connection_id={connection}");
        is_input_error(&mock.get(&target, &user_token("thief"), &payload));
        let target = format!("/channels/messaging/none/stop-watching?connection_id={connection}");
        let answer = mock.call("POST", &target, &user_token("thief"), &Value::Null);
        assert_eq!(answer.status, 404);
    });
}
