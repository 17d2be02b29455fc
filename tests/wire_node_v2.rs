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
