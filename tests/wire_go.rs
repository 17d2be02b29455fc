//! The mock in the shapes of the Go server SDK, in literal HTTP.

use serde_json::{Value, json};

use crate::support::mock::{API_KEY, Mock, server_token, user_token};
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
    // Who reads a type receives the commands themselves.
    let answer = server(&mock, "GET", "/channeltypes/loud", &json!({}));
    assert_eq!(answer.body["commands"][0]["name"], "giphy");
    let types = server(&mock, "GET", "/channeltypes", &json!({})).body;
    let commands = &types["channel_types"]["loud"]["commands"];
    assert_eq!(commands[0]["name"], "giphy");
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

/// The users with these ids, as a query returns them.
fn find_users(mock: &Mock, payload: &Value) -> Vec<Value> {
    let answer = mock.get("/users", &server_token(), payload);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["users"].as_array().unwrap().clone()
}

fn by_id(id: &str) -> Value {
    json!({"filter_conditions": {"id": {"$eq": id}}, "sort": null})
}

/// Updates the channel `messaging:x`.
#[track_caller]
fn update_channel(mock: &Mock, body: &Value) -> Value {
    let answer = server(mock, "POST", "/channels/messaging/x", body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

/// Waits for nothing: a task is complete when its call returns.
#[track_caller]
fn completed_task(mock: &Mock, answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.body);
    let id = answer.body["task_id"].as_str().expect("a task");
    let task = server(mock, "GET", &format!("/tasks/{id}"), &json!({})).body;
    assert_eq!(task["task_id"], id);
    assert_eq!(task["status"], "completed");
    task
}

#[test]
fn go_upserts_users_in_a_batch() {
    let mock = Mock::start();
    let users: Value = (0..100)
        .map(|n| (format!("u{n}"), json!({"id": format!("u{n}"), "rank": n})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let answer = server(&mock, "POST", "/users", &json!({ "users": users }));
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["users"]["u99"]["rank"], 99);
    let payload = json!({
        "filter_conditions": {"rank": {"$gte": 90}},
        "sort": [{"field": "rank", "direction": -1}], "limit": 3, "offset": 1,
    });
    let ranks: Vec<Value> = find_users(&mock, &payload)
        .iter()
        .map(|user| user["rank"].clone())
        .collect();
    assert_eq!(ranks, [98, 97, 96]);
    // One wrong user fails the batch.
    let users = json!({"v": {"id": "v"}, "w": {"id": "w w"}});
    let answer = server(&mock, "POST", "/users", &json!({ "users": users }));
    assert_eq!((answer.status, &answer.body["code"]), (400, &json!(4)));
    assert!(find_users(&mock, &by_id("v")).is_empty());
}

#[test]
fn go_sends_bodies_of_unknown_length() {
    let mock = Mock::start();
    let answer = mock.raw(&format!(
        "POST /users?api_key={API_KEY} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nStream-Auth-Type: jwt\r\n\
         X-Stream-Client: stream-go-client-8.4.1\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         11\r\n{{\"users\":{{\"a\":{{\"i\r\n8\r\nd\":\"a\"}}}}\r\n1\r\n}}\r\n0\r\n\r\n",
        server_token()
    ));
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["users"]["a"]["id"], "a");
}

#[test]
fn go_changes_single_fields_of_users() {
    let mock = Mock::start();
    let users = json!({"a": {"id": "a", "color": "green", "address": {"city": "Oslo", "zip": 1}}});
    server(&mock, "POST", "/users", &json!({ "users": users }));
    let update = json!({
        "id": "a",
        "set": {"address.city": "Bergen", "role": "admin", "privacy_settings": {"typing_indicators": {"enabled": false}}},
        "unset": ["color"],
    });
    let answer = server(&mock, "PATCH", "/users", &json!({"users": [update]}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let user = &answer.body["users"]["a"];
    assert_eq!(user["address"], json!({"city": "Bergen", "zip": 1}));
    assert_eq!(user["role"], "admin");
    assert_eq!(
        user["privacy_settings"]["typing_indicators"]["enabled"],
        false
    );
    assert!(user.get("color").is_none());
    let update = json!({"id": "ghost", "set": {"color": "red"}});
    let answer = server(&mock, "PATCH", "/users", &json!({"users": [update]}));
    assert!(answer.status >= 400, "{}", answer.body);
}

#[test]
fn go_deactivates_and_reactivates_users() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let body = json!({"mark_messages_deleted": false, "created_by_id": ""});
    let answer = server(&mock, "POST", "/users/a/deactivate", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(answer.body["user"]["deactivated_at"].is_string());
    assert!(find_users(&mock, &by_id("a")).is_empty());
    let mut payload = by_id("a");
    payload["include_deactivated_users"] = true.into();
    assert_eq!(find_users(&mock, &payload).len(), 1);

    let body = json!({"restore_messages": false, "name": "", "created_by_id": ""});
    let answer = server(&mock, "POST", "/users/a/reactivate", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(answer.body["user"].get("deactivated_at").is_none());
    let ids = json!({"user_ids": ["a", "b"]});
    completed_task(&mock, &server(&mock, "POST", "/users/deactivate", &ids));
    assert!(
        find_users(
            &mock,
            &json!({"filter_conditions": {"id": {"$in": ["a", "b"]}}})
        )
        .is_empty()
    );
    completed_task(&mock, &server(&mock, "POST", "/users/reactivate", &ids));
    assert_eq!(find_users(&mock, &by_id("b")).len(), 1);
}

#[test]
fn go_deletes_users_with_empty_options() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let target = "/users/a?mark_messages_deleted=&hard_delete=&delete_conversation_channels=";
    let answer = server(&mock, "DELETE", target, &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["user"]["id"], "a");
    assert!(find_users(&mock, &by_id("a")).is_empty());
    let answer = server(&mock, "DELETE", target, &json!({}));
    assert_eq!((answer.status, &answer.body["code"]), (404, &json!(16)));
}

#[test]
fn go_deletes_and_restores_users_in_a_batch() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let body = json!({"user_ids": ["a", "b"], "user": "soft", "messages": "", "conversations": ""});
    completed_task(&mock, &server(&mock, "POST", "/users/delete", &body));
    let body = json!({"users": {"a": {"id": "a"}}});
    let answer = server(&mock, "POST", "/users", &body);
    assert_eq!(answer.status, 400, "a deleted id is taken: {}", answer.body);
    let ids = json!({"user_ids": ["a"]});
    assert_eq!(server(&mock, "POST", "/users/restore", &ids).status, 201);
    assert_eq!(find_users(&mock, &by_id("a")).len(), 1);
    let answer = server(&mock, "POST", "/users/restore", &ids);
    assert_eq!((answer.status, &answer.body["code"]), (400, &json!(4)));
    let message = answer.body["message"].as_str().unwrap();
    assert!(
        message.contains("is not deleted, it can't be restored"),
        "{message}"
    );
    let body = json!({"user_ids": ["a"], "user": "hard", "messages": "hard"});
    completed_task(&mock, &server(&mock, "POST", "/users/delete", &body));
    let answer = server(&mock, "GET", "/tasks/nothing", &json!({}));
    assert_eq!(answer.status, 404);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.contains("Can't find task with id"), "{message}");
}

#[test]
fn go_revokes_tokens() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let token = user_token("a");
    let payload = by_id("a");
    assert_eq!(mock.get("/users", &token, &payload).status, 200);
    let revoke = |time: Value| {
        let update = json!({"id": "a", "set": {"revoke_tokens_issued_before": time}});
        let answer = server(&mock, "PATCH", "/users", &json!({"users": [update]}));
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    revoke("2030-01-01T00:00:00Z".into());
    assert_eq!(mock.get("/users", &token, &payload).status, 401);
    revoke(Value::Null);
    assert_eq!(mock.get("/users", &token, &payload).status, 200);
    let body = json!({"revoke_tokens_issued_before": "2030-01-01T00:00:00Z"});
    assert_eq!(server(&mock, "PATCH", "/app", &body).status, 200);
    assert_eq!(mock.get("/users", &token, &payload).status, 401);
}

#[test]
fn go_mutes_users_with_an_empty_single_target() {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    let body = json!({"target_id": "", "target_ids": ["b", "c"], "user_id": "a", "timeout": 60});
    let answer = server(&mock, "POST", "/moderation/mute", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["mutes"].as_array().unwrap().len(), 2);
    let mutes = &find_users(&mock, &by_id("a"))[0]["mutes"];
    assert_eq!(mutes[0]["target"]["id"], "b");
    assert!(mutes[0]["expires"].is_string());
    let body = json!({"target_id": "", "target_ids": ["b", "c"], "user_id": "a"});
    assert_eq!(
        server(&mock, "POST", "/moderation/unmute", &body).status,
        201
    );
    assert_eq!(find_users(&mock, &by_id("a"))[0]["mutes"], json!([]));
}

#[test]
fn go_bans_users_from_channels_and_everywhere() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["a", "b"]}}),
    );
    let ban = json!({"target_user_id": "b", "banned_by_id": "a", "timeout": 60, "reason": "spam", "type": "messaging", "id": "x"});
    let answer = server(&mock, "POST", "/moderation/ban", &ban);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let filter = json!({"filter_conditions": {"channel_cid": "messaging:x"}});
    let bans = mock
        .get("/query_banned_users", &server_token(), &filter)
        .body["bans"]
        .clone();
    assert_eq!(bans[0]["user"]["id"], "b");
    assert_eq!(bans[0]["reason"], "spam");
    assert_eq!(find_users(&mock, &by_id("b"))[0]["banned"], false);
    let ban = json!({"target_user_id": "b", "banned_by_id": "a", "type": "", "id": ""});
    assert_eq!(server(&mock, "POST", "/moderation/ban", &ban).status, 201);
    assert_eq!(find_users(&mock, &by_id("b"))[0]["banned"], true);
    let target = "/moderation/ban?target_user_id=b&type=&id=";
    assert_eq!(server(&mock, "DELETE", target, &json!({})).status, 200);
    assert_eq!(find_users(&mock, &by_id("b"))[0]["banned"], false);
}

#[test]
fn go_creates_distinct_channels() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let create = |members: Value| {
        let body = json!({"state": true, "data": {"created_by_id": "a", "members": members}});
        server(&mock, "POST", "/channels/messaging/query", &body)
    };
    let first =
        create(json!([{"user_id": "a", "channel_role": ""}, {"user_id": "b", "channel_role": ""}]));
    assert_eq!(first.status, 201, "{}", first.body);
    let cid = first.body["channel"]["cid"].as_str().unwrap();
    assert!(cid.starts_with("messaging:!members-"), "{cid}");
    assert_eq!(create(json!(["b", "a"])).body["channel"]["cid"], cid);
    let one = create(json!(["a"]));
    assert_eq!((one.status, &one.body["code"]), (400, &json!(4)));
}

#[test]
fn go_changes_members() {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["a"]}}),
    );
    let message = json!({"text": "welcome", "user": {"id": "a"}});
    let members = json!([{"user_id": "b", "channel_role": ""}, {"user_id": "c", "channel_role": "channel_moderator"}]);
    let body = update_channel(
        &mock,
        &json!({"add_members": members, "message": message, "hide_history": true}),
    );
    assert_eq!(body["channel"]["member_count"], 3);
    assert_eq!(body["members"][2]["channel_role"], "channel_moderator");
    let roles = json!([{"user_id": "b", "channel_role": "channel_moderator"}]);
    let body = update_channel(&mock, &json!({"assign_roles": roles}));
    assert_eq!(body["members"][1]["channel_role"], "channel_moderator");
    let body = update_channel(&mock, &json!({"remove_members": ["b", "c"]}));
    assert_eq!(body["channel"]["member_count"], 1);
    let answer = server(
        &mock,
        "POST",
        "/channels/messaging/x",
        &json!({"add_members": ["ghost"]}),
    );
    assert_eq!(answer.status, 400);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.contains("don't exist: [ghost]"), "{message}");
}

#[test]
fn go_queries_members() {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["a", "b", "c"]}}),
    );
    let payload = json!({
        "type": "messaging", "id": "x", "filter_conditions": {"id": {"$in": ["b", "c"]}},
        "sort": [{"field": "user_id", "direction": -1}], "limit": 1,
    });
    let answer = mock.get("/members", &server_token(), &payload);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let members = answer.body["members"].as_array().unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["user_id"], "c");
    assert_eq!(members[0]["user"]["online"], false);
}

#[test]
fn go_pins_and_archives_channels_of_a_member() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["a"]}}),
    );
    for (field, time) in [("pinned", "pinned_at"), ("archived", "archived_at")] {
        let target = "/channels/messaging/x/member/a";
        let set = json!({"set": {field: true}});
        let answer = server(&mock, "PATCH", target, &set);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body["channel_member"][time].is_string());
        let query =
            json!({"filter_conditions": {field: true, "members": {"$in": ["a"]}}, "user_id": "a"});
        let channels = server(&mock, "POST", "/channels", &query).body["channels"].clone();
        assert_eq!(channels.as_array().unwrap().len(), 1, "{field}");
        let unset = json!({"unset": [field]});
        let answer = server(&mock, "PATCH", target, &unset);
        assert!(
            answer.body["channel_member"]
                .get(time)
                .is_none_or(Value::is_null)
        );
    }
}

#[test]
fn go_updates_channels_in_part_and_as_a_whole() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "color": "green", "size": 1}}),
    );
    let patch =
        json!({"set": {"color": "blue", "source": {"of": "x"}}, "unset": ["size"], "user_id": "a"});
    let answer = server(&mock, "PATCH", "/channels/messaging/x", &patch);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let channel = &answer.body["channel"];
    assert_eq!(channel["color"], "blue");
    assert!(channel.get("size").is_none());
    let body = update_channel(&mock, &json!({"data": {"shape": "round"}}));
    assert_eq!(body["channel"]["shape"], "round");
    assert!(body["channel"].get("color").is_none());
    let answer = server(&mock, "PATCH", "/channels/messaging/none", &patch);
    assert_eq!((answer.status, &answer.body["code"]), (404, &json!(16)));
}

#[test]
fn go_deletes_channels_in_a_batch() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    create_channel(&mock, &json!({"data": {"created_by_id": "a"}}));
    let body = json!({"cids": ["messaging:x"], "hard_delete": true});
    completed_task(&mock, &server(&mock, "POST", "/channels/delete", &body));
    let query = json!({"filter_conditions": {"cid": "messaging:x"}});
    assert_eq!(
        server(&mock, "POST", "/channels", &query).body["channels"],
        json!([])
    );
}

#[test]
fn go_sends_messages_of_users_it_did_not_create() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["a"]}}),
    );
    let send = |message: Value, keep: bool| {
        let body = json!({"message": message, "keep_channel_hidden": keep, "skip_push": false});
        let answer = server(&mock, "POST", "/channels/messaging/x/message", &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["message"].clone()
    };
    let message = send(json!({"text": "hi", "html": "", "user_id": "new"}), false);
    assert_eq!(message["user"]["id"], "new");
    assert!(message.get("member").is_none());
    assert_eq!(find_users(&mock, &by_id("new")).len(), 1);
    let message = send(
        json!({"text": "hi", "html": "<b>hi</b>", "user_id": "a"}),
        false,
    );
    assert_eq!(message["member"], json!({"channel_role": "channel_member"}));
    assert_eq!(message["html"], "<b>hi</b>");

    let hide = json!({"user_id": "a"});
    assert_eq!(
        server(&mock, "POST", "/channels/messaging/x/hide", &hide).status,
        201
    );
    let query = json!({"filter_conditions": {"cid": "messaging:x"}, "user_id": "a"});
    let shown = || {
        let channels = server(&mock, "POST", "/channels", &query).body["channels"].clone();
        channels.as_array().unwrap().len()
    };
    send(json!({"text": "quiet", "user_id": "new"}), true);
    assert_eq!(shown(), 0);
    send(json!({"text": "loud", "user_id": "new"}), false);
    assert_eq!(shown(), 1);
}

#[test]
fn go_restricts_who_sees_a_message() {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["a", "b", "c"]}}),
    );
    let message =
        json!({"id": "m", "text": "psst", "user_id": "a", "restricted_visibility": ["b"]});
    let body = json!({ "message": message });
    let answer = server(&mock, "POST", "/channels/messaging/x/message", &body);
    assert_eq!(
        answer.body["message"]["restricted_visibility"],
        json!(["b"])
    );
    for (reader, status) in [("a", 200), ("b", 200), ("c", 404)] {
        let answer = mock.call("GET", "/messages/m", &user_token(reader), &json!({}));
        assert_eq!(answer.status, status, "{reader}: {}", answer.body);
    }
    let unread = |id: &str| server(&mock, "GET", &format!("/unread?user_id={id}"), &json!({})).body;
    assert_eq!(unread("b")["total_unread_count"], 1);
    assert_eq!(unread("c")["total_unread_count"], 0);
}

#[test]
fn go_truncates_channels_on_behalf_of_a_user() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["a", "b"]}}),
    );
    let body = json!({"message": {"text": "one", "user_id": "a"}});
    server(&mock, "POST", "/channels/messaging/x/message", &body);
    let body = json!({
        "message": {"text": "truncated", "user": {"id": "a"}, "user_id": ""},
        "skip_push": true, "user": {"id": "b"},
    });
    let answer = server(&mock, "POST", "/channels/messaging/x/truncate", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let state = create_channel(&mock, &json!({"state": true})).body;
    assert_eq!(state["messages"].as_array().unwrap().len(), 1);
    assert_eq!(state["messages"][0]["text"], "truncated");
    assert_eq!(state["channel"]["truncated_by"]["id"], "b");
}

#[test]
fn go_marks_as_unread_from_a_time() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    create_channel(
        &mock,
        &json!({"data": {"created_by_id": "a", "members": ["a", "b"]}}),
    );
    let send = |text: &str| {
        let body = json!({"message": {"text": text, "user_id": "a"}});
        let answer = server(&mock, "POST", "/channels/messaging/x/message", &body);
        answer.body["message"]["created_at"].clone()
    };
    send("one");
    let second = send("two");
    let read = json!({"user_id": "b"});
    server(&mock, "POST", "/channels/messaging/x/read", &read);
    let body = json!({"user_id": "b", "message_id": "", "message_timestamp": second});
    let answer = server(&mock, "POST", "/channels/messaging/x/unread", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let unread = server(&mock, "GET", "/unread?user_id=b", &json!({})).body;
    assert_eq!(unread["total_unread_count"], 1);
}

#[test]
fn go_decodes_every_error_alike() {
    let mock = Mock::start();
    for (method, target, token, status, code) in [
        ("GET", "/nothing", server_token(), 404, 16),
        ("GET", "/users", "no.to.ken".to_owned(), 401, 5),
        ("POST", "/users/delete", user_token("a"), 403, 17),
        (
            "POST",
            "/channels/messaging/y/query",
            server_token(),
            400,
            4,
        ),
        ("GET", "/channeltypes/none", server_token(), 404, 16),
    ] {
        let body = json!({"user_ids": ["a"]});
        let answer = mock.call(method, target, &token, &body);
        assert_eq!(answer.status, status, "{target}: {}", answer.body);
        assert_eq!(answer.body["StatusCode"], status);
        assert_eq!(answer.body["code"], code, "{target}");
        assert!(answer.body["message"].is_string());
        assert!(answer.body["duration"].is_string());
        assert!(
            answer.body["more_info"]
                .as_str()
                .unwrap()
                .starts_with("http")
        );
        assert_eq!(answer.body["details"], json!([]));
    }
}

#[test]
fn go_reads_rate_limits_of_named_endpoints() {
    let mock = Mock::start();
    let read = || {
        let target = "/rate_limits?server_side=true&endpoints=QueryUsers,GetRateLimits";
        let answer = server(&mock, "GET", target, &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let body = read();
    assert!(body.get("web").is_none());
    let limits = body["server_side"].as_object().unwrap();
    assert_eq!(limits.len(), 2);
    for limit in limits.values() {
        assert!(
            limit["remaining"].as_u64() < limit["limit"].as_u64(),
            "{limit}"
        );
        assert!(limit["reset"].as_u64() > Some(0));
    }
    let before = body["server_side"]["QueryUsers"]["remaining"]
        .as_u64()
        .unwrap();
    let remaining = |answer: &Answer| -> u64 {
        let head = answer.head.to_ascii_lowercase();
        let (_, rest) = head
            .split_once("x-ratelimit-remaining: ")
            .expect("the header");
        rest.lines().next().unwrap().trim().parse().unwrap()
    };
    let first = remaining(&mock.get("/users", &server_token(), &by_id("a")));
    let second = remaining(&mock.get("/users", &server_token(), &by_id("a")));
    assert_eq!(second, first - 1);
    assert!(
        read()["server_side"]["QueryUsers"]["remaining"]
            .as_u64()
            .unwrap()
            < before
    );
}

#[test]
fn go_pages_threads_in_the_order_of_the_first_page() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let server = |target: &str, body: Value| {
        let answer = mock.call("POST", target, &server_token(), &body);
        assert!(answer.status < 300, "{}", answer.body);
        answer.body
    };
    server("/_mock/clock/freeze", json!({}));
    let data = json!({"created_by_id": "a", "members": ["a"]});
    server("/channels/messaging/x/query", json!({ "data": data }));
    for (parent, reply) in [("m1", "r1"), ("m2", "r2")] {
        for (id, parent) in [(parent, ""), (reply, parent)] {
            let message = json!({"id": id, "text": id, "user": {"id": "a"}, "parent_id": parent});
            server(
                "/channels/messaging/x/message",
                json!({ "message": message }),
            );
            server("/_mock/clock/advance", json!({"by": "1s"}));
        }
    }
    let page = |direction: i64, next: &Value| {
        let sort = json!([{"field": "created_at", "direction": direction}]);
        let filter = json!({"channel_cid": {"$eq": "messaging:x"}});
        let body =
            json!({"user_id": "a", "filter": filter, "sort": sort, "limit": 1, "next": next});
        server("/threads", body)
    };
    let first = page(1, &Value::Null);
    let thread = &first["threads"][0];
    assert_eq!(thread["parent_message_id"], "m1");
    assert_eq!(thread["title"], "m1");
    assert_eq!(thread["created_by_user_id"], "a");
    assert_eq!(thread["participant_count"], 1);
    assert_eq!(
        thread["created_at"],
        thread["latest_replies"][0]["created_at"]
    );
    // A list, which this SDK cannot decode; the service answers it to clients only.
    assert!(thread.get("read").is_none(), "{thread}");
    // The next page keeps the order, whatever the request says.
    let second = page(-1, &first["next"]);
    assert_eq!(second["threads"][0]["parent_message_id"], "m2");
    assert!(second.get("next").is_none(), "{second}");
}
