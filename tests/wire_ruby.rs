//! The mock in the shapes of the Ruby server SDK, in literal HTTP.

use serde_json::{Value, json};

use crate::support::mock::{Mock, server_token, user_token};
use crate::support::wire::{Answer, encode};

fn server(mock: &Mock, method: &str, target: &str, body: &Value) -> Answer {
    mock.call(method, target, &server_token(), body)
}

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap()
}

#[test]
fn ruby_reads_the_errors_of_the_service() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let answer = server(&mock, "GET", "/tasks/nowhere", &json!({}));
    assert_eq!((answer.status, &answer.body["code"]), (404, &json!(16)));
    assert!(message(&answer).contains("Can't find task with id"));

    let body = json!({"user_ids": ["a"]});
    let answer = server(&mock, "POST", "/users/restore", &body);
    assert_eq!((answer.status, &answer.body["code"]), (400, &json!(4)));
    assert_eq!(
        message(&answer),
        r#"RestoreUsers failed with error: "user "a" is not deleted, it can't be restored""#
    );

    let data = json!({"created_by_id": "a", "members": ["ghost"]});
    let answer = server(
        &mock,
        "POST",
        "/channels/messaging/x/query",
        &json!({ "data": data }),
    );
    assert!(message(&answer).contains(
        "don't exist: [ghost]. Please create the user objects before setting up the channel."
    ));

    for (filter, text) in [
        (json!({"id": 7}), r#"field "id" expects type string"#),
        (
            json!({"color": {"$ne": "red"}}),
            "operator $ne is not supported for custom fields",
        ),
        (
            json!({"color": {"$nin": ["red"]}}),
            "operator $nin is not supported for custom fields",
        ),
    ] {
        let payload = json!({ "filter_conditions": filter });
        let answer = mock.get("/users", &server_token(), &payload);
        assert_eq!(answer.status, 400);
        assert!(message(&answer).contains(text), "{}", message(&answer));
    }
}

#[test]
fn ruby_reads_the_errors_of_tokens() {
    let mock = Mock::start();
    let answer = mock.raw(
        "GET /app?api_key=wrong HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nStream-Auth-Type: jwt\r\n\r\n",
    );
    assert!(message(&answer).contains("api_key not valid"));
    for (token, text) in [
        ("nonsense", "token contains an invalid number of segments"),
        (
            &*presencectl::domain::token::sign(
                "another secret",
                &presencectl::domain::token::Claims::server(),
            ),
            "signature is not valid",
        ),
    ] {
        let answer = mock.call("GET", "/app", token, &json!({}));
        assert_eq!(answer.status, 401);
        assert!(message(&answer).contains(text), "{}", message(&answer));
    }
}

#[test]
fn ruby_counts_its_rate_limits() {
    let mock = Mock::start();
    // No new minute begins in between.
    mock.control("POST", "clock/freeze", &json!({}));
    let remaining = |answer: &Answer| -> u32 {
        let (_, rest) = answer.head.split_once("x-ratelimit-remaining: ").unwrap();
        rest.lines().next().unwrap().parse().unwrap()
    };
    let first = remaining(&server(&mock, "GET", "/app", &json!({})));
    let second = remaining(&server(&mock, "GET", "/app", &json!({})));
    assert_eq!(second, first - 1);
    let target = "/rate_limits?server_side=true&endpoints=GetApp,QueryUsers";
    let answer = server(&mock, "GET", target, &json!({}));
    let limits = answer.body["server_side"].as_object().unwrap();
    assert_eq!(limits.len(), 2);
    for limit in limits.values() {
        assert!(limit["remaining"].as_u64() < limit["limit"].as_u64());
    }
}

#[test]
fn ruby_makes_guests_and_distinct_channels() {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    let answer = server(&mock, "POST", "/guest", &json!({"user": {"id": "gus"}}));
    let id = answer.body["user"]["id"].as_str().unwrap();
    assert!(id.starts_with("guest-") && id.ends_with("-gus"), "{id}");
    assert!(answer.body["access_token"].is_string());

    let create = |members: Value| {
        let data = json!({"created_by_id": "a", "members": members});
        let target = "/channels/messaging/query";
        server(&mock, "POST", target, &json!({ "data": data }))
    };
    let alone = create(json!(["a"]));
    assert_eq!((alone.status, &alone.body["code"]), (400, &json!(4)));
    assert!(message(&alone).contains("at least 2 members"));
    let pair = create(json!(["a", "b"]));
    let id = pair.body["channel"]["id"].as_str().unwrap();
    let target = format!("/channels/messaging/{}", encode(id));
    let body = json!({"add_members": ["c"]});
    let outsider = mock.call("POST", &target, &user_token("a"), &body);
    assert_eq!((outsider.status, &outsider.body["code"]), (403, &json!(17)));
}

#[test]
fn a_deleted_user_is_not_found_and_cannot_be_created_again() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    assert_eq!(server(&mock, "DELETE", "/users/a", &json!({})).status, 200);
    let answer = mock.get("/users", &user_token("a"), &json!({}));
    assert_eq!((answer.status, &answer.body["code"]), (404, &json!(16)));
    assert!(message(&answer).contains("the user ID was deleted"));
    let body = json!({"users": {"a": {"id": "a"}}});
    assert_eq!(server(&mock, "POST", "/users", &body).status, 400);
    let body = json!({"user_ids": ["a"]});
    assert_eq!(server(&mock, "POST", "/users/restore", &body).status, 201);
    assert_eq!(mock.get("/users", &user_token("a"), &json!({})).status, 200);
}

#[test]
fn a_multi_tenant_application_asks_clients_for_a_team() {
    let mock = Mock::start();
    let users = json!({"a": {"id": "a", "teams": ["red"]}, "b": {"id": "b", "teams": ["blue"]}});
    server(&mock, "POST", "/users", &json!({ "users": users }));
    for (id, team) in [("x", "red"), ("y", "blue")] {
        let data = json!({"created_by_id": "a", "members": ["a"], "team": team});
        let target = format!("/channels/messaging/{id}/query");
        let answer = server(&mock, "POST", &target, &json!({ "data": data }));
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    let body = json!({"multi_tenant_enabled": true});
    assert_eq!(server(&mock, "PATCH", "/app", &body).status, 200);
    let answer = mock.get("/users", &user_token("a"), &json!({}));
    assert_eq!((answer.status, &answer.body["code"]), (403, &json!(17)));
    assert_eq!(
        message(&answer),
        r#"QueryUsers failed with error: "you must include a team filter to use this endpoint client-side""#
    );
    let payload = json!({"filter_conditions": {"teams": {"$in": ["red"]}}});
    let answer = mock.get("/users", &user_token("a"), &payload);
    assert_eq!(answer.body["users"][0]["id"], "a");
    for (id, status) in [("x", 201), ("y", 403)] {
        let target = format!("/channels/messaging/{id}/query");
        let answer = mock.call("POST", &target, &user_token("a"), &json!({}));
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[test]
fn member_events_carry_the_channel_and_notifications_the_unread_counts() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let (mut a, connection) = mock.connect("a");
    let (mut b, _) = mock.connect("b");
    let body = json!({
        "data": {"members": ["a"]}, "watch": true, "connection_id": connection,
    });
    let target = format!("/channels/messaging/x/query?connection_id={connection}");
    let answer = mock.call("POST", &target, &user_token("a"), &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let body = json!({"add_members": ["b"]});
    server(&mock, "POST", "/channels/messaging/x", &body);
    let added = std::iter::repeat_with(|| a.event())
        .find(|event| event["type"] == "member.added")
        .unwrap();
    assert_eq!(added["channel"]["cid"], "messaging:x");
    assert_eq!(added["member"]["user"]["invisible"], false);
    let notified = b.event();
    assert_eq!(notified["type"], "notification.added_to_channel");
    server(&mock, "DELETE", "/channels/messaging/x", &json!({}));
    let deleted = b.event();
    assert_eq!(deleted["type"], "notification.channel_deleted");
    assert!(deleted.get("user").is_none());
    for event in [notified, deleted] {
        for count in ["unread_count", "total_unread_count", "unread_channels"] {
            assert_eq!(event[count], 0, "{count}");
        }
    }
}

#[test]
fn ruby_finds_a_builtin_block_list_and_cannot_change_it() {
    let mock = Mock::start();
    let answer = server(&mock, "GET", "/blocklists", &json!({}));
    assert_eq!(answer.body["blocklists"][0]["name"], "profanity");
    let body = json!({"words": ["fudge"]});
    let answer = server(&mock, "PUT", "/blocklists/profanity", &body);
    assert_eq!(answer.status, 400);
    assert!(message(&answer).contains("cannot update the builtin block list"));
    let answer = server(&mock, "DELETE", "/blocklists/profanity", &json!({}));
    assert_eq!(answer.status, 400);
    assert!(message(&answer).contains("cannot delete the builtin block list"));
}

#[test]
fn ruby_bans_users_in_their_own_name() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let ban = json!({"target_user_id": "a", "user_id": "a"});
    let answer = server(&mock, "POST", "/moderation/ban", &ban);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = mock.call("POST", "/moderation/ban", &user_token("a"), &ban);
    assert!(answer.status >= 400, "{}", answer.body);
}

#[test]
fn ruby_deletes_users_hard_without_naming_messages() {
    let mock = Mock::start();
    mock.make_users(&["a"]);
    let body = json!({"user_ids": ["a"], "user": "hard"});
    let answer = server(&mock, "POST", "/users/delete", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(answer.body["task_id"].is_string());
}

#[test]
fn ruby_counts_unread_messages_once_there_are_some() {
    let mock = Mock::start();
    mock.make_users(&["a", "b"]);
    let server = |target: &str, body: Value| {
        let answer = mock.call("POST", target, &server_token(), &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body
    };
    let data = json!({"created_by_id": "a", "members": ["a", "b"]});
    server("/channels/messaging/x/query", json!({ "data": data }));
    let counts =
        || server("/unread_batch", json!({"user_ids": ["a", "b"]}))["counts_by_user"].clone();
    assert_eq!(counts(), json!({}));
    let message = json!({"message": {"text": "hi", "user": {"id": "a"}}});
    server("/channels/messaging/x/message", message);
    let counts = counts();
    assert_eq!(counts["a"]["total_unread_count"], 0);
    assert_eq!(counts["b"]["total_unread_count"], 1);
}
