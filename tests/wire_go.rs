//! The mock in the shapes of the Go server SDK, in literal HTTP.

use serde_json::{Value, json};

use crate::support::mock::{Mock, server_token};
use crate::support::wire::Answer;

fn server(mock: &Mock, method: &str, target: &str, body: &Value) -> Answer {
    mock.call(method, target, &server_token(), body)
}

/// Creates the channel `messaging:x` of `a`.
fn create_channel(mock: &Mock, body: &Value) -> Answer {
    let answer = server(mock, "POST", "/channels/messaging/x/query", body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer
}

#[test]
fn go_parses_durations_and_fails_on_empty_ones() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let body = json!({"state": true, "data": {"created_by_id": "a"}});
    let config = &create_channel(&mock, &body).body["channel"]["config"];
    assert_eq!(config["name"], "messaging");
    assert!(config.get("partition_ttl").is_none());
    let types = server(&mock, "GET", "/channeltypes", &json!({})).body;
    for channel_type in types["channel_types"].as_object().unwrap().values() {
        assert!(channel_type.get("partition_ttl").is_none());
    }
}

#[test]
fn go_always_sends_a_channel_role() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let members = json!([{"user_id": "a", "channel_role": ""}]);
    let body = json!({"state": true, "data": {"created_by_id": "a", "members": members}});
    let answer = create_channel(&mock, &body);
    assert_eq!(answer.body["members"][0]["channel_role"], "channel_member");
    let body = json!({"add_members": [{"user_id": "b", "channel_role": ""}]});
    let answer = server(&mock, "POST", "/channels/messaging/x", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["members"][1]["channel_role"], "channel_member");
}

#[test]
fn go_sends_back_what_it_has_read() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let payload = json!({"filter_conditions": {"id": "a"}});
    let mut user = mock.get("/users", &server_token(), &payload).body["users"][0].clone();
    user.as_object_mut().unwrap().remove("online");
    user["color"] = "green".into();
    user["created_at"] = "2001-01-01T00:00:00Z".into();
    let answer = server(&mock, "POST", "/users", &json!({"users": {"a": user}}));
    assert_eq!(answer.status, 201, "{}", answer.body);
    let written = &answer.body["users"]["a"];
    assert_eq!(written["color"], "green");
    assert_ne!(written["created_at"], "2001-01-01T00:00:00Z");
    let body = json!({"users": {"a": {"id": "a", "online": true}}});
    let answer = server(&mock, "POST", "/users", &body);
    assert_eq!((answer.status, &answer.body["code"]), (400, &json!(4)));

    let body = json!({"id": 7, "name": "mine", "created_at": "now", "color": "blue"});
    assert_eq!(server(&mock, "PATCH", "/app", &body).status, 200);
    let app = server(&mock, "GET", "/app", &json!({})).body;
    assert_eq!(app["app"]["name"], "mock");
    assert_eq!(app["app"]["color"], "blue");
}

#[test]
fn go_promotes_and_demotes_moderators() {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["b"]}}),
    );
    let update = |body: Value| {
        let answer = server(&mock, "POST", "/channels/messaging/x", &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["members"].clone()
    };
    let members = update(json!({"add_moderators": ["b", "c"]}));
    for (place, id) in ["b", "c"].into_iter().enumerate() {
        assert_eq!(members[place]["user_id"], id);
        assert_eq!(members[place]["is_moderator"], true);
        assert_eq!(members[place]["role"], "moderator");
    }
    let members = update(json!({"demote_moderators": ["b", "c"]}));
    assert_eq!(members[1]["role"], "member");
    assert!(members[1].get("is_moderator").is_none());
}

#[test]
fn go_answers_invites_of_members() {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    let data = json!({"created_by_id": "a", "members": ["a", "b", "c"], "invites": ["b", "c"]});
    create_channel(&mock, &json!({ "data": data }));
    for (id, answer, status) in [
        ("b", "accept_invite", "accepted"),
        ("c", "reject_invite", "rejected"),
    ] {
        let body = json!({answer: true, "user_id": id});
        let answer = server(&mock, "POST", "/channels/messaging/x", &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        let members = answer.body["members"].as_array().unwrap();
        let member = members.iter().find(|member| member["user_id"] == id);
        assert_eq!(member.unwrap()["status"], status);
    }
}

#[test]
fn go_hides_channels_and_tags_them() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let data = json!({"created_by_id": "a", "members": ["a"]});
    create_channel(&mock, &json!({"hide_for_creator": true, "data": data}));
    let query = json!({"filter_conditions": {"members": {"$in": ["a"]}}, "user_id": "a"});
    let answer = server(&mock, "POST", "/channels", &query);
    assert_eq!(answer.body["channels"], json!([]));

    let tag = |body: Value| {
        server(&mock, "POST", "/channels/messaging/x", &body).body["channel"]["filter_tags"].clone()
    };
    assert_eq!(
        tag(json!({"add_filter_tags": ["vip", "new"]})),
        json!(["vip", "new"])
    );
    assert_eq!(tag(json!({"remove_filter_tags": ["new"]})), json!(["vip"]));
    let query = json!({"filter_conditions": {"filter_tags": {"$in": ["vip"]}}});
    let answer = server(&mock, "POST", "/channels", &query);
    assert_eq!(answer.body["channels"][0]["channel"]["cid"], "messaging:x");
}

#[test]
fn go_reads_commands_by_name_and_grants() {
    let mock = Mock::start();
    let create = json!({"name": "plain", "commands": null, "partition_ttl": ""});
    let answer = server(&mock, "POST", "/channeltypes", &create);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(answer.body["grants"]["channel_member"].is_array());
    let create = json!({"name": "loud", "commands": ["giphy"]});
    let answer = server(&mock, "POST", "/channeltypes", &create);
    assert_eq!(answer.body["commands"], json!(["giphy"]));
    let answer = server(&mock, "GET", "/channeltypes/loud", &json!({}));
    assert_eq!(answer.body["commands"], json!(["giphy"]));
    mock.make_users(&["a"]);
    let body = json!({"state": true, "data": {"created_by_id": "a"}});
    let answer = server(&mock, "POST", "/channels/loud/x/query", &body);
    let config = &answer.body["channel"]["config"];
    assert_eq!(config["commands"][0]["name"], "giphy");
}

#[test]
fn go_finds_users_by_the_start_of_any_word() {
    let mock = Mock::start();
    let users = json!({"a": {"id": "a", "name": "Stream Node Test User 2"}});
    server(&mock, "POST", "/users", &json!({ "users": users }));
    let data = json!({"created_by_id": "a", "members": ["a"], "name": "Green Room"});
    create_channel(&mock, &json!({ "data": data }));
    for (prefix, found) in [("2", 1), ("node te", 1), ("str", 1), ("ode", 0)] {
        let filter = json!({"name": {"$autocomplete": prefix}});
        let payload = json!({ "filter_conditions": filter });
        let users = mock.get("/users", &server_token(), &payload).body["users"].clone();
        assert_eq!(users.as_array().unwrap().len(), found, "{prefix}");
        let payload = json!({"type": "messaging", "id": "x", "filter_conditions": filter});
        let members = mock.get("/members", &server_token(), &payload).body["members"].clone();
        assert_eq!(members.as_array().unwrap().len(), found, "{prefix}");
    }
    let query = json!({"filter_conditions": {"name": {"$autocomplete": "room"}}});
    let answer = server(&mock, "POST", "/channels", &query);
    assert_eq!(answer.body["channels"].as_array().unwrap().len(), 1);
}
