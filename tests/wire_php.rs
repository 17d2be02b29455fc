//! The mock in the shapes of the PHP server SDK, in literal HTTP.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use presencectl::domain::token::{self, Claims};
use serde_json::{Value, json};

use crate::support::mock::{Mock, SECRET, server_token, user_token};

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

/// A mock with the channel `messaging:x` of `a`, of which `b` is a member, too. Its clock stands still.
fn mock_with_channel() -> Mock {
    let mock = Mock::start();
    call(&mock, "POST", "/_mock/clock/freeze", &json!({}));
    mock.make_users(&["a", "b"]);
    let data = json!({"created_by_id": "a", "members": ["a", "b"]});
    let target = "/channels/messaging/x/query";
    call(&mock, "POST", target, &json!({ "data": data }));
    mock
}

#[track_caller]
fn call(mock: &Mock, method: &str, target: &str, body: &Value) -> Value {
    let answer = mock.call(method, target, &php_token(), body);
    assert!(answer.status < 300, "{target}: {}", answer.body);
    answer.body
}

fn send(mock: &Mock, id: &str, user: &str, parent: Option<&str>) {
    let message = json!({"id": id, "text": "hi", "user": {"id": user}, "parent_id": parent});
    let target = "/channels/messaging/x/message";
    call(mock, "POST", target, &json!({ "message": message }));
}

fn advance(mock: &Mock, by: &str) {
    call(mock, "POST", "/_mock/clock/advance", &json!({ "by": by }));
}

#[test]
fn php_mutes_a_channel_for_some_milliseconds() {
    let mock = mock_with_channel();
    let body = json!({"user_id": "a", "channel_cid": "messaging:x", "expiration": 10_000});
    let muted = call(&mock, "POST", "/moderation/mute/channel", &body);
    assert!(muted["channel_mute"]["expires"].is_string(), "{muted}");
    let found = || {
        let filter = json!({"muted": true, "cid": "messaging:x"});
        let body = json!({"filter_conditions": filter, "user_id": "a"});
        let answer = call(&mock, "POST", "/channels", &body);
        answer["channels"].as_array().unwrap().len()
    };
    advance(&mock, "9s");
    assert_eq!(found(), 1);
    // A later mute counts from then on.
    call(&mock, "POST", "/moderation/mute/channel", &body);
    advance(&mock, "9s");
    assert_eq!(found(), 1);
    send(&mock, "m", "b", None);
    let unread =
        || call(&mock, "GET", "/unread?user_id=a", &json!({}))["total_unread_count"].clone();
    assert_eq!(unread(), 0);
    advance(&mock, "1s");
    assert_eq!(found(), 0);
    assert_eq!(unread(), 1);
}

#[test]
fn php_mutes_and_bans_users_for_some_minutes() {
    let mock = mock_with_channel();
    let body = json!({"user_id": "a", "target_ids": ["b"], "timeout": 5});
    call(&mock, "POST", "/moderation/mute", &body);
    let body = json!({"banned_by_id": "a", "target_user_id": "b", "timeout": 5});
    call(&mock, "POST", "/moderation/ban", &body);
    let state = || {
        let payload = json!({"filter_conditions": {}, "sort": [{"field": "id"}]});
        let users = mock.get("/users", &php_token(), &payload).body;
        let bans = mock.get(
            "/query_banned_users",
            &php_token(),
            &json!({"filter_conditions": {}}),
        );
        let count = |list: &Value| list.as_array().unwrap().len();
        (
            count(&users["users"][0]["mutes"]),
            users["users"][1]["banned"].clone(),
            count(&bans.body["bans"]),
        )
    };
    assert_eq!(state(), (1, true.into(), 1));
    advance(&mock, "5m");
    assert_eq!(state(), (0, false.into(), 0));
}

#[test]
fn php_pins_a_message_until_a_time() {
    let mock = mock_with_channel();
    send(&mock, "m", "a", None);
    let now = call(&mock, "POST", "/_mock/clock/freeze", &json!({}))["now"].clone();
    let expires = chrono::DateTime::parse_from_rfc3339(now.as_str().unwrap()).unwrap()
        + chrono::TimeDelta::minutes(1);
    let pin = |expires: Value| {
        let set = json!({"pinned": true, "pin_expires": expires});
        call(
            &mock,
            "PUT",
            "/messages/m",
            &json!({"set": set, "user": {"id": "b"}}),
        )
    };
    let message = || call(&mock, "GET", "/messages/m", &json!({}))["message"].clone();
    let pinned = pin(expires.to_rfc3339().into());
    assert_eq!(pinned["message"]["pinned_by"]["id"], "b");
    assert!(pinned["message"]["pin_expires"].is_string(), "{pinned}");
    // Without an expiry, it stays.
    assert!(pin(Value::Null)["message"]["pin_expires"].is_null());
    advance(&mock, "50s");
    pin(expires.to_rfc3339().into());
    advance(&mock, "9s");
    assert_eq!(message()["pinned"], true);
    advance(&mock, "1s");
    let message = message();
    for field in ["pinned_at", "pinned_by", "pin_expires"] {
        assert!(message[field].is_null(), "{message}");
    }
    let body = json!({"state": true});
    let state = call(&mock, "POST", "/channels/messaging/x/query", &body);
    assert_eq!(state["pinned_messages"], json!([]));
}

#[test]
fn php_takes_the_deletion_of_a_message_back() {
    let mock = mock_with_channel();
    send(&mock, "m", "a", None);
    let undelete = |by: &str| {
        let body = json!({ "undeleted_by": by });
        mock.call("POST", "/messages/m/undelete", &php_token(), &body)
    };
    assert_eq!(undelete("a").status, 400, "it is not deleted");
    let deleted = call(&mock, "DELETE", "/messages/m", &json!({}))["message"].clone();
    assert_eq!(
        (&deleted["text"], &deleted["html"]),
        (&json!(""), &json!(""))
    );
    let target = "/messages/m?show_deleted_message=true";
    assert_eq!(
        call(&mock, "GET", target, &json!({}))["message"]["text"],
        "hi"
    );
    let as_client = mock.call("GET", target, &user_token("a"), &json!({}));
    assert_eq!(as_client.body["message"]["text"], "");
    assert_eq!(undelete("nobody").status, 404);
    let answer = undelete("a");
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["message"]["text"], "hi");
    assert_eq!(answer.body["message"]["type"], "regular");
    let gone = mock.call("DELETE", "/messages/m?hard=true", &php_token(), &json!({}));
    assert_eq!(gone.status, 200);
    assert_eq!(undelete("a").status, 404);
}

#[test]
fn php_counts_unread_threads() {
    let mock = mock_with_channel();
    send(&mock, "m", "stranger", None);
    let unread = |user: &str| {
        let target = format!("/unread?user_id={user}");
        let counts = call(&mock, "GET", &target, &json!({}));
        let body = json!({"user_ids": [user]});
        let batch = call(&mock, "POST", "/unread_batch", &body)["counts_by_user"][user].clone();
        for field in [
            "total_unread_count",
            "total_unread_threads_count",
            "threads",
        ] {
            assert_eq!(counts[field], batch[field]);
        }
        counts
    };
    assert_eq!(unread("a")["total_unread_count"], 1);
    assert_eq!(unread("a")["channels"][0]["channel_id"], "messaging:x");
    send(&mock, "r1", "a", Some("m"));
    assert_eq!(unread("a")["total_unread_threads_count"], 0);
    send(&mock, "r2", "stranger", Some("m"));
    let counts = unread("a");
    assert_eq!(counts["total_unread_threads_count"], 1);
    assert_eq!(counts["threads"][0]["parent_message_id"], "m");
    assert_eq!(counts["threads"][0]["unread_count"], 1);
    assert_eq!(counts["threads"][0]["last_read_message_id"], "r1");
    assert_eq!(
        counts["total_unread_count"], 1,
        "replies are no messages of the channel"
    );
    assert_eq!(
        unread("b")["total_unread_threads_count"],
        0,
        "b takes no part"
    );
}

#[test]
fn php_reads_threads() {
    let mock = mock_with_channel();
    let (mut a, connection) = mock.connect("a");
    send(&mock, "m", "a", None);
    send(&mock, "n", "a", None);
    send(&mock, "r", "b", Some("m"));
    let target = format!("/channels/messaging/x/query?connection_id={connection}");
    let answer = mock.call("POST", &target, &user_token("a"), &json!({"watch": true}));
    assert_eq!(answer.status, 201);
    let mark = |what: &str| {
        let body = json!({"user_id": "a", "thread_id": "m"});
        let target = format!("/channels/messaging/x/{what}");
        call(&mock, "POST", &target, &body)
    };
    let read = mark("read");
    assert_eq!(read["event"]["thread"]["parent_message_id"], "m", "{read}");
    let event = a.event_of("message.read");
    assert_eq!(event["thread_id"], "m", "{event}");
    let unread = || {
        let answer = mock.call("GET", "/threads/m", &user_token("a"), &json!({}));
        answer.body["thread"]["read"][0]["unread_messages"].clone()
    };
    assert_eq!(unread(), 0);
    assert_eq!(a.event_of("notification.mark_read")["unread_threads"], 0);
    mark("unread");
    let event = a.event_of("notification.mark_unread");
    assert_eq!(event["unread_threads"], 1, "{event}");
    assert_eq!(event["thread_id"], "m");
    assert_eq!(unread(), 1);
    let body = json!({"user_id": "a", "thread_id": "n"});
    let target = "/channels/messaging/x/read";
    let answer = mock.call("POST", target, &php_token(), &body);
    assert_eq!((answer.status, &answer.body["code"]), (404, &json!(16)));
}

#[test]
fn php_queries_threads() {
    let mock = mock_with_channel();
    for (parent, reply) in [("m1", "r1"), ("m2", "r2")] {
        send(&mock, parent, "a", None);
        advance(&mock, "1s");
        send(&mock, reply, "b", Some(parent));
        advance(&mock, "1s");
    }
    send(&mock, "m3", "a", None);
    let query = |user: &str, rest: Value| {
        let mut body = json!({"user_id": user, "filter": null});
        body.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        call(&mock, "POST", "/threads", &body)
    };
    let ids = |answer: &Value| -> Vec<Value> {
        let threads = answer["threads"].as_array().unwrap();
        threads
            .iter()
            .map(|thread| thread["parent_message_id"].clone())
            .collect()
    };
    assert_eq!(ids(&query("a", json!({}))), ["m2", "m1"]);
    let sort = json!({"sort": [{"field": "created_at", "direction": 1}]});
    assert_eq!(ids(&query("b", sort)), ["m1", "m2"]);
    let filter = json!({"filter": {"parent_message_id": {"$eq": "m1"}}});
    let found = query("a", filter);
    assert_eq!(ids(&found), ["m1"]);
    let thread = &found["threads"][0];
    assert_eq!(thread["channel"]["cid"], "messaging:x");
    assert_eq!(thread["parent_message"]["id"], "m1");
    assert_eq!(thread["latest_replies"][0]["id"], "r1");
    assert_eq!(thread["reply_count"], 1);
    let participants = thread["thread_participants"].as_array().unwrap();
    assert_eq!(participants.len(), 2);
    // Who replies first has created the thread.
    let by = |user: &str| json!({"filter": {"created_by_user_id": {"$eq": user}}});
    assert_eq!(ids(&query("a", by("b"))).len(), 2);
    assert_eq!(ids(&query("a", by("a"))).len(), 0);
    let page = query("a", json!({"limit": 1}));
    assert_eq!(ids(&page), ["m2"]);
    let next = query("a", json!({"limit": 1, "next": page["next"]}));
    assert_eq!(ids(&next), ["m1"]);
    assert!(next["next"].is_null());
    let one = call(&mock, "GET", "/threads/m1?user_id=a", &json!({}));
    assert_eq!(one["thread"]["parent_message_id"], "m1");
    let body = json!({"user_id": "a", "filter": {"color": "red"}});
    let refused = mock.call("POST", "/threads", &php_token(), &body);
    assert_eq!((refused.status, &refused.body["code"]), (400, &json!(4)));
}
