//! The mock in the shapes of the PHP server SDK, in literal HTTP.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use presencectl::domain::token::{self, Claims};
use serde_json::{Value, json};

use crate::support::mock::{Mock, SECRET, server_token};

/// A server token in which `server` is text.
fn php_token() -> String {
    let mut claims = Claims::default();
    claims.other.insert("server".to_owned(), "true".into());
    let token = token::sign(SECRET, &claims);
    let payload = token.split('.').nth(1).unwrap();
    let payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!(payload, json!({"server": "true"}));
    token
}

#[test]
fn php_writes_server_as_text() {
    let mock = Mock::start();
    let body = json!({"users": {"a": {"id": "a", "role": "admin"}}});
    let answer = mock.call("POST", "/users", &php_token(), &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["users"]["a"]["role"], "admin");
}

#[test]
fn php_deletes_users_for_good_without_naming_conversations() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let body = json!({"user_ids": ["a"], "user": "hard", "messages": "hard"});
    let answer = mock.call("POST", "/users/delete", &php_token(), &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let task = answer.body["task_id"].as_str().unwrap();
    let answer = mock.call(
        "GET",
        &format!("/tasks/{task}"),
        &server_token(),
        &json!({}),
    );
    assert_eq!(answer.body["status"], "completed");
}
