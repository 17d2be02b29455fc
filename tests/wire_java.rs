//! The mock in the shapes of the Java server SDK, in literal HTTP.

use serde_json::json;

use crate::support::mock::{Mock, server_token};

#[test]
fn java_sends_null_for_what_it_does_not_set() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let member = |id: &str| {
        json!({
            "user_id": id, "user": null, "is_moderator": null, "invited": null,
            "invite_accepted_at": null, "invite_rejected_at": null, "role": null,
            "channel_role": null, "created_at": null, "updated_at": null, "banned": null,
            "ban_expires": null, "shadow_banned": null,
        })
    };
    let data = json!({
        "created_by": {"id": "a", "name": null, "banned": null}, "team": null, "frozen": null,
        "auto_translation_enabled": null, "auto_translation_language": null,
        "members": [member("a")], "invites": [member("b")], "config_overrides": null,
    });
    let target = "/channels/messaging/x/query";
    let body = json!({"data": data, "state": true, "connection_id": null, "messages": null});
    let answer = mock.call("POST", target, &server_token(), &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["channel"]["frozen"], false);
    assert!(answer.body["channel"].get("config_overrides").is_none());
    let members = &answer.body["members"];
    assert!(members[0].get("invited").is_none());
    assert!(members[0].get("ban_expires").is_none());
    assert_eq!(members[1]["invited"], true);
    assert_eq!(members[0]["banned"], false);
}
