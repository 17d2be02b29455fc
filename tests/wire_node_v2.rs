//! The mock in the shapes of the v2 server SDKs (Node, Go, Python), in literal HTTP.

use serde_json::{Value, json};

use crate::support::mock::{Mock, server_token};
use crate::support::wire::Answer;

fn server(mock: &Mock, method: &str, target: &str, body: &Value) -> Answer {
    mock.call(method, target, &server_token(), body)
}

#[test]
fn v2_keeps_custom_fields_that_are_named_like_built_in_ones() {
    let mock = Mock::start();
    let custom = json!({"created_at": "long ago", "devices": 3, "color": "green"});
    let users = json!({"a": {"id": "a", "custom": custom}});
    let answer = server(&mock, "POST", "/api/v2/users", &json!({ "users": users }));
    assert_eq!(answer.status, 201, "{}", answer.body);
    let user = &answer.body["users"]["a"];
    assert_eq!(user["custom"], custom);
    assert!(user["created_at"].is_i64());
}

#[test]
fn v2_answers_the_state_of_a_channel_unasked() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let data = json!({"created_by_id": "a", "members": [{"user_id": "a"}, {"user_id": "b"}]});
    let target = "/api/v2/chat/channels/messaging/x/query";
    let answer = server(&mock, "POST", target, &json!({ "data": data }));
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["members"].as_array().unwrap().len(), 2);
    assert_eq!(answer.body["messages"], json!([]));
    assert_eq!(answer.body["watchers"], json!([]));
    let answer = server(&mock, "POST", target, &json!({"state": false}));
    assert_eq!(answer.body["members"], json!([]));
    assert!(answer.body.get("watchers").is_none());
}

#[test]
fn v2_shows_a_channels_own_fields_at_the_top() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let data = json!({
        "created_by_id": "a", "cooldown": 5, "auto_translation_enabled": true,
        "auto_translation_language": "en", "filter_tags": ["vip"], "frozen": true,
        "custom": {"color": "green"},
    });
    let target = "/api/v2/chat/channels/messaging/x/query";
    let answer = server(&mock, "POST", target, &json!({ "data": data }));
    let channel = &answer.body["channel"];
    assert_eq!(channel["cooldown"], 5);
    assert_eq!(channel["auto_translation_enabled"], true);
    assert_eq!(channel["auto_translation_language"], "en");
    assert_eq!(channel["filter_tags"], json!(["vip"]));
    assert_eq!(channel["frozen"], true);
    assert_eq!(channel["disabled"], false);
    assert_eq!(channel["custom"], json!({"color": "green"}));
}

/// A mock with the channel `messaging:x` of `a` and a message `m` that `b` has replied to.
fn mock_with_thread() -> Mock {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let data = json!({"created_by_id": "a", "members": [{"user_id": "a"}, {"user_id": "b"}]});
    let target = "/api/v2/chat/channels/messaging/x/query";
    server(&mock, "POST", target, &json!({ "data": data }));
    for message in [
        json!({"id": "m", "text": "one", "user_id": "a", "custom": {"color": "green"}}),
        json!({"id": "r", "text": "two", "user_id": "b", "parent_id": "m"}),
    ] {
        let target = "/api/v2/chat/channels/messaging/x/message";
        let answer = server(&mock, "POST", target, &json!({ "message": message }));
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    mock
}

#[test]
fn v2_threads_have_nested_custom_data_and_times_in_nanoseconds() {
    let mock = mock_with_thread();
    let body = json!({"user_id": "a", "filter": {"channel_cid": "messaging:x"}, "limit": 10});
    let answer = server(&mock, "POST", "/api/v2/chat/threads", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let listed = &answer.body["threads"][0];
    let answer = server(&mock, "GET", "/api/v2/chat/threads/m", &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    for thread in [listed, &answer.body["thread"]] {
        assert_eq!(
            thread["parent_message"]["custom"],
            json!({"color": "green"})
        );
        assert_eq!(thread["latest_replies"][0]["custom"], json!({}));
        assert_eq!(thread["channel"]["custom"], json!({}));
        assert_eq!(thread["created_by"]["custom"], json!({}));
        let participant = &thread["thread_participants"][0];
        assert_eq!(participant["user"]["custom"], json!({}));
        for time in [
            &thread["created_at"],
            &thread["last_message_at"],
            &thread["parent_message"]["created_at"],
            &participant["last_read_at"],
        ] {
            assert!(time.is_i64(), "{thread:#}");
        }
    }
}

#[test]
fn v2_python_takes_deletions_back_and_pins_until_a_time() {
    let mock = mock_with_thread();
    let set = json!({"pinned": true, "pin_expires": "2126-01-01T00:00:00Z"});
    let body = json!({"set": set, "user_id": "a"});
    let answer = server(&mock, "PUT", "/api/v2/chat/messages/m", &body);
    assert!(
        answer.body["message"]["pin_expires"].is_i64(),
        "{}",
        answer.body
    );
    server(&mock, "DELETE", "/api/v2/chat/messages/m", &json!({}));
    let text = |query: &str| {
        let target = format!("/api/v2/chat/messages/m{query}");
        server(&mock, "GET", &target, &json!({})).body["message"]["text"].clone()
    };
    assert_eq!(text(""), "");
    assert_eq!(text("?show_deleted_message=true"), "one");
    let target = "/api/v2/chat/messages/m/undelete";
    let answer = server(&mock, "POST", target, &json!({"undeleted_by": "a"}));
    assert_eq!(answer.body["message"]["type"], "regular", "{}", answer.body);
    assert_eq!(text(""), "one");
}

#[test]
fn v2_answers_what_is_not_emulated_with_404() {
    let mock = mock_with_thread();
    for (method, target) in [
        ("POST", "/api/v2/export/users"),
        ("POST", "/api/v2/chat/export_channels"),
        ("POST", "/api/v2/chat/messages/m/reaction"),
        ("POST", "/api/v2/chat/messages/m/commit"),
        ("PATCH", "/api/v2/chat/threads/m"),
        ("GET", "/api/v2/chat/search"),
        ("GET", "/api/v2/permissions"),
        ("POST", "/api/v2/moderation/flag"),
    ] {
        let answer = server(&mock, method, target, &json!({}));
        let code = answer.body["code"].clone();
        assert_eq!((answer.status, code), (404, json!(16)), "{method} {target}");
    }
}
