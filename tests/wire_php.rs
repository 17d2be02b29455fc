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

#[test]
fn php_pages_replies_in_the_query() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let data = json!({"created_by_id": "a", "members": ["a"]});
    let target = "/channels/messaging/x/query";
    mock.call("POST", target, &server_token(), &json!({ "data": data }));
    let send = |message: Value| {
        let body = json!({ "message": message });
        mock.call(
            "POST",
            "/channels/messaging/x/message",
            &server_token(),
            &body,
        );
    };
    send(json!({"id": "m", "text": "hi", "user_id": "a"}));
    for n in 0..5 {
        send(json!({"id": format!("r{n}"), "text": "hi", "user_id": "a", "parent_id": "m"}));
    }
    let ids = |target: &str| -> Vec<Value> {
        let answer = mock.call("GET", target, &server_token(), &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let messages = answer.body["messages"].as_array().unwrap();
        messages.iter().map(|reply| reply["id"].clone()).collect()
    };
    assert_eq!(ids("/messages/m/replies").len(), 5);
    // The service ignores an offset here.
    assert_eq!(ids("/messages/m/replies?limit=2&offset=1"), ["r3", "r4"]);
    assert_eq!(ids("/messages/m/replies?id_lt=r2"), ["r0", "r1"]);
}

#[test]
fn php_finds_bans_by_their_reason() {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    for (target, reason) in [("b", "spam"), ("c", "noise")] {
        let ban = json!({"target_user_id": target, "user_id": "a", "reason": reason});
        let answer = mock.call("POST", "/moderation/ban", &server_token(), &ban);
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    let payload = json!({"filter_conditions": {"reason": "spam"}, "limit": 1});
    let answer = mock.get("/query_banned_users", &server_token(), &payload);
    let bans = answer.body["bans"].as_array().unwrap();
    assert_eq!(bans.len(), 1, "{}", answer.body);
    assert_eq!(bans[0]["user"]["id"], "b");
}

#[test]
fn php_archives_and_hides_channels_in_a_batch() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let data = json!({"created_by_id": "a", "members": ["a", "b"]});
    let target = "/channels/messaging/x/query";
    mock.call("POST", target, &server_token(), &json!({ "data": data }));
    let batch = |operation: &str| {
        let body = json!({
            "operation": operation, "filter": {"cids": {"$in": ["messaging:x"]}},
            "members": [{"user_id": "b"}],
        });
        let answer = mock.call("PUT", "/channels/batch", &server_token(), &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    let archived = || {
        let payload = json!({"type": "messaging", "id": "x", "filter_conditions": {"id": "b"}});
        let answer = mock.get("/members", &server_token(), &payload);
        answer.body["members"][0]["archived_at"].clone()
    };
    let shown = || {
        let body = json!({"filter_conditions": {"cid": "messaging:x"}, "user_id": "b"});
        let answer = mock.call("POST", "/channels", &server_token(), &body);
        answer.body["channels"].as_array().unwrap().len()
    };
    batch("archive");
    assert!(archived().is_string());
    batch("unarchive");
    assert!(archived().is_null());
    batch("hide");
    assert_eq!(shown(), 0);
    batch("show");
    assert_eq!(shown(), 1);
}
