//! Messages, mutes, bans, devices and stored lists of the mock, in literal HTTP and WebSocket frames.

use serde_json::{Value, json};

use crate::support::mock::{Mock, server_token, user_token};
use crate::support::wire::Answer;

fn server(mock: &Mock, method: &str, target: &str, body: &Value) -> Answer {
    mock.call(method, target, &server_token(), body)
}

#[track_caller]
fn succeeds(answer: Answer) -> Value {
    assert!(answer.status < 300, "{}", answer.body);
    answer.body
}

/// A mock with the channel `messaging:x` of `a`, of which `b` and `c` are members.
fn start() -> Mock {
    let mock = Mock::start();
    mock.make_users(&["a", "b", "c"]);
    let data = json!({"created_by_id": "a", "members": ["a", "b", "c"]});
    let target = "/channels/messaging/x/query";
    succeeds(server(&mock, "POST", target, &json!({ "data": data })));
    mock
}

fn send(mock: &Mock, user: &str, id: &str, text: &str) -> Answer {
    let body = json!({"message": {"id": id, "text": text, "user_id": user}});
    server(mock, "POST", "/channels/messaging/x/message", &body)
}

fn watch(mock: &Mock, user: &str, connection: &str) {
    let target = format!("/channels/messaging/x/query?connection_id={connection}");
    let body = json!({"watch": true, "state": true});
    succeeds(mock.call("POST", &target, &user_token(user), &body));
}

fn state(mock: &Mock) -> Value {
    succeeds(server(
        mock,
        "POST",
        "/channels/messaging/x/query",
        &json!({"state": true}),
    ))
}

#[test]
fn a_message_reaches_watchers_and_members_who_do_not_watch() {
    let mock = start();
    let (mut b, connection) = mock.connect("b");
    let (mut c, _) = mock.connect("c");
    watch(&mock, "b", &connection);
    let body = json!({"message": {"text": "1 < 2", "color": "green"}});
    let answer = mock.call(
        "POST",
        "/channels/messaging/x/message",
        &user_token("a"),
        &body,
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
    let message = &answer.body["message"];
    assert_eq!(message["html"], "<p>1 &lt; 2</p>\n");
    assert_eq!(message["type"], "regular");
    assert_eq!(message["color"], "green");
    assert_eq!(message["user"]["id"], "a");

    let event = b.event_of("message.new");
    assert_eq!(event["cid"], "messaging:x");
    assert_eq!(event["message"]["id"], message["id"]);
    assert_eq!(event["message_id"], message["id"]);
    assert_eq!(event["user"]["id"], "a");
    assert_eq!(event["unread_count"], 1);
    assert!(event.get("channel").is_none());
    let event = c.event_of("notification.message_new");
    assert_eq!(event["message"]["text"], "1 < 2");
    assert_eq!(event["channel"]["cid"], "messaging:x");
    assert_eq!(event["channel"]["last_message_at"], message["created_at"]);
    assert_eq!(event["total_unread_count"], 1);
    assert_eq!(event["unread_channels"], 1);
    let state = state(&mock);
    assert_eq!(state["messages"][0]["id"], message["id"]);
    assert_eq!(state["channel"]["last_message_at"], message["created_at"]);
}

#[test]
fn messages_are_read_changed_and_deleted() {
    let mock = start();
    let (mut b, connection) = mock.connect("b");
    watch(&mock, "b", &connection);
    succeeds(send(&mock, "a", "m1", "one"));
    succeeds(send(&mock, "a", "m2", "two"));
    assert_eq!(send(&mock, "a", "m1", "again").status, 400);
    let got = succeeds(server(&mock, "GET", "/messages/m1", &json!({})));
    assert_eq!(got["message"]["channel"]["cid"], "messaging:x");

    let body = json!({"message": {"text": "uno", "user_id": "a"}});
    succeeds(server(&mock, "POST", "/messages/m1", &body));
    let event = b.event_of("message.updated");
    assert_eq!(event["message"]["text"], "uno");
    let body = json!({"set": {"color": "red", "pinned": true}, "unset": ["text"], "user_id": "a"});
    let changed = succeeds(server(&mock, "PUT", "/messages/m1", &body));
    assert_eq!(changed["message"]["color"], "red");
    assert_eq!(changed["message"]["text"], "");
    assert_eq!(changed["message"]["pinned_by"]["id"], "a");
    assert_eq!(state(&mock)["pinned_messages"][0]["id"], "m1");

    let foreign = mock.call("DELETE", "/messages/m1", &user_token("b"), &json!({}));
    assert_eq!((foreign.status, &foreign.body["code"]), (403, &json!(17)));
    let deleted = succeeds(server(&mock, "DELETE", "/messages/m1", &json!({})));
    assert_eq!(deleted["message"]["type"], "deleted");
    assert_eq!(b.event_of("message.deleted")["hard_delete"], false);
    succeeds(server(
        &mock,
        "DELETE",
        "/messages/m2?hard=true",
        &json!({}),
    ));
    assert_eq!(b.event_of("message.deleted")["hard_delete"], true);
    let listed = succeeds(server(
        &mock,
        "GET",
        "/channels/messaging/x/messages?ids=m1,m2",
        &json!({}),
    ));
    assert_eq!(listed["messages"].as_array().unwrap().len(), 1);
    let gone = server(&mock, "GET", "/messages/m2", &json!({}));
    assert_eq!((gone.status, &gone.body["code"]), (404, &json!(16)));
}

#[test]
fn unread_counts_follow_reading() {
    let mock = start();
    for id in ["m1", "m2", "m3"] {
        succeeds(send(&mock, "a", id, id));
    }
    let unread = || {
        let report = succeeds(server(&mock, "GET", "/unread?user_id=b", &json!({})));
        report["total_unread_count"].clone()
    };
    assert_eq!(unread(), 3);
    let read = &state(&mock)["read"];
    assert_eq!(read[1]["unread_messages"], 3);
    assert_eq!(read[0]["unread_messages"], 0, "the author's own");
    let (mut b, _) = mock.connect("b");
    let own = json!({"user_id": "b"});
    succeeds(server(&mock, "POST", "/channels/messaging/x/read", &own));
    assert_eq!(b.event_of("notification.mark_read")["unread_count"], 0);
    assert_eq!(unread(), 0);
    let body = json!({"user_id": "b", "message_id": "m2"});
    succeeds(server(&mock, "POST", "/channels/messaging/x/unread", &body));
    let event = b.event_of("notification.mark_unread");
    assert_eq!(event["unread_messages"], 2);
    assert_eq!(event["first_unread_message_id"], "m2");
    assert_eq!(event["last_read_message_id"], "m1");
    assert_eq!(unread(), 2);
    let body = json!({"channel_cids": ["messaging:x"], "user_id": "b"});
    let muted = succeeds(server(&mock, "POST", "/moderation/mute/channel", &body));
    assert_eq!(muted["channel_mute"]["channel"]["cid"], "messaging:x");
    assert_eq!(unread(), 0, "muted channels do not count");
    let event = b.event_of("notification.channel_mutes_updated");
    assert_eq!(event["me"]["channel_mutes"][0]["user"]["id"], "b");
}

#[test]
fn truncating_empties_a_channel() {
    let mock = start();
    let (mut b, connection) = mock.connect("b");
    watch(&mock, "b", &connection);
    succeeds(send(&mock, "a", "m1", "one"));
    let body = json!({"message": {"text": "all gone", "user_id": "a"}});
    let target = "/channels/messaging/x/truncate";
    let answer = succeeds(server(&mock, "POST", target, &body));
    assert!(answer["channel"]["truncated_at"].is_string());
    assert_eq!(answer["message"]["type"], "system");
    b.event_of("channel.truncated");
    let messages = &state(&mock)["messages"];
    assert_eq!(messages.as_array().unwrap().len(), 1);
    assert_eq!(messages[0]["text"], "all gone");
}

#[test]
fn replies_stay_in_their_thread() {
    let mock = start();
    succeeds(send(&mock, "a", "m1", "one"));
    let body = json!({"message": {"id": "r1", "text": "re", "parent_id": "m1", "user_id": "b"}});
    let target = "/channels/messaging/x/message";
    let reply = succeeds(server(&mock, "POST", target, &body));
    assert_eq!(reply["message"]["type"], "reply");
    let messages = &state(&mock)["messages"];
    assert_eq!(messages.as_array().unwrap().len(), 1);
    assert_eq!(messages[0]["reply_count"], 1);
    let replies = succeeds(server(&mock, "GET", "/messages/m1/replies", &json!({})));
    assert_eq!(replies["messages"][0]["id"], "r1");
}

#[test]
fn the_banned_cannot_write_and_the_shadow_banned_are_not_seen() {
    let mock = start();
    let (mut c, connection) = mock.connect("c");
    watch(&mock, "c", &connection);
    let ban = json!({
        "target_user_id": "a", "type": "messaging", "id": "x",
        "reason": "spam", "timeout": 5, "banned_by_id": "c",
    });
    succeeds(server(&mock, "POST", "/moderation/ban", &ban));
    let event = c.event_of("user.banned");
    assert_eq!(event["user"]["id"], "a");
    assert_eq!(event["created_by"]["id"], "c");
    assert_eq!(send(&mock, "a", "m1", "x").body["code"], 17);
    assert_eq!(state(&mock)["members"][0]["banned"], true);
    let filter = json!({"filter_conditions": {"channel_cid": "messaging:x"}});
    let banned = mock.get("/query_banned_users", &server_token(), &filter);
    assert_eq!(banned.body["bans"][0]["reason"], "spam");
    let target = "/moderation/ban?target_user_id=a&type=messaging&id=x";
    succeeds(server(&mock, "DELETE", target, &json!({})));
    c.event_of("user.unbanned");

    let ban = json!({"target_user_id": "b", "shadow": true, "banned_by_id": "a"});
    succeeds(server(&mock, "POST", "/moderation/ban", &ban));
    assert_eq!(
        succeeds(send(&mock, "b", "m2", "psst"))["message"]["shadowed"],
        true
    );
    succeeds(send(&mock, "a", "m3", "hello"));
    assert_eq!(c.event_of("message.new")["message"]["id"], "m3");
    let body = json!({"state": true});
    let seen = mock.call(
        "POST",
        "/channels/messaging/x/query",
        &user_token("c"),
        &body,
    );
    assert_eq!(seen.body["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn users_mute_and_block_each_other() {
    let mock = start();
    let (mut a, _) = mock.connect("a");
    let body = json!({"target_ids": ["b", "c"], "user_id": "a", "timeout": 10});
    let muted = succeeds(server(&mock, "POST", "/moderation/mute", &body));
    assert_eq!(muted["mutes"][1]["target"]["id"], "c");
    assert_eq!(muted["own_user"]["mutes"].as_array().unwrap().len(), 2);
    let event = a.event_of("notification.mutes_updated");
    assert!(event["me"]["mutes"][0]["expires"].is_string());
    let body = json!({"target_ids": ["b"], "user_id": "a"});
    succeeds(server(&mock, "POST", "/moderation/unmute", &body));
    let event = a.event_of("notification.mutes_updated");
    assert_eq!(event["me"]["mutes"].as_array().unwrap().len(), 1);

    let block = json!({"blocked_user_id": "b", "user_id": "a"});
    succeeds(server(&mock, "POST", "/users/block", &block));
    let blocks = succeeds(server(&mock, "GET", "/users/block?user_id=a", &json!({})));
    assert_eq!(blocks["blocks"][0]["blocked_user"]["id"], "b");
    let payload = json!({"filter_conditions": {"id": "a"}});
    let users = mock.get("/users", &server_token(), &payload).body;
    assert_eq!(users["users"][0]["blocked_user_ids"], json!(["b"]));
    succeeds(server(&mock, "POST", "/users/unblock", &block));
    let blocks = succeeds(server(&mock, "GET", "/users/block?user_id=a", &json!({})));
    assert_eq!(blocks["blocks"], json!([]));
}

#[test]
fn devices_and_lists_are_stored() {
    let mock = start();
    let device = json!({"id": "phone", "push_provider": "firebase", "user_id": "a"});
    succeeds(server(&mock, "POST", "/devices", &device));
    let devices = succeeds(server(&mock, "GET", "/devices?user_id=a", &json!({})));
    assert_eq!(devices["devices"][0]["id"], "phone");
    let target = "/devices?user_id=a&id=phone";
    succeeds(server(&mock, "DELETE", target, &json!({})));
    assert_eq!(server(&mock, "DELETE", target, &json!({})).status, 404);

    for (list, entry) in [
        ("commands", "command"),
        ("blocklists", "blocklist"),
        ("roles", "role"),
    ] {
        let path = format!("/{list}");
        let body = json!({"name": "mine", "description": "d", "words": ["w"]});
        let made = succeeds(server(&mock, "POST", &path, &body));
        assert_eq!(made[entry]["name"], "mine");
        let all = succeeds(server(&mock, "GET", &path, &json!({})));
        let count = all[list].as_array().unwrap().len();
        succeeds(server(
            &mock,
            "DELETE",
            &format!("/{list}/mine"),
            &json!({}),
        ));
        let all = succeeds(server(&mock, "GET", &path, &json!({})));
        assert_eq!(all[list].as_array().unwrap().len(), count - 1);
        let gone = server(&mock, "DELETE", &format!("/{list}/mine"), &json!({}));
        assert_eq!((gone.status, &gone.body["code"]), (404, &json!(16)));
    }
}

#[test]
fn a_batch_changes_members_of_many_channels() {
    let mock = start();
    mock.make_users(&["d"]);
    let body = json!({
        "operation": "addMembers",
        "filter": {"cids": {"$in": ["messaging:x", "messaging:none"]}},
        "members": [{"user_id": "d"}],
    });
    let task = succeeds(server(&mock, "PUT", "/channels/batch", &body));
    let target = format!("/tasks/{}", task["task_id"].as_str().unwrap());
    let result = succeeds(server(&mock, "GET", &target, &json!({})));
    assert_eq!(result["result"]["messaging:x"]["status"], "ok");
    assert_eq!(result["result"]["messaging:none"]["status"], "error");
    assert_eq!(state(&mock)["members"][3]["user_id"], "d");
    let body = json!({"operation": "updateData", "filter": {"cids": {"$in": ["messaging:x"]}}});
    assert_eq!(server(&mock, "PUT", "/channels/batch", &body).status, 404);
}

#[test]
fn what_is_not_emulated_is_not_found() {
    let mock = start();
    succeeds(send(&mock, "a", "m1", "one"));
    for (method, target) in [
        ("POST", "/messages/m1/reaction"),
        ("GET", "/search"),
        ("POST", "/polls"),
        ("POST", "/moderation/flag"),
    ] {
        let answer = server(&mock, method, target, &json!({"user_id": "a"}));
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (404, &json!(16)),
            "{target}"
        );
    }
}

#[test]
fn v2_nests_custom_fields_of_messages() {
    let mock = start();
    let body = json!({"message": {"text": "hi", "user_id": "a", "custom": {"color": "green"}}});
    let target = "/api/v2/chat/channels/messaging/x/message";
    let message = &succeeds(server(&mock, "POST", target, &body))["message"];
    assert_eq!(message["custom"], json!({"color": "green"}));
    assert!(message["created_at"].is_i64());
    assert_eq!(message["user"]["custom"], json!({}));
    let exported = succeeds(server(
        &mock,
        "GET",
        "/api/v2/chat/users/a/export",
        &json!({}),
    ));
    assert_eq!(exported["messages"][0]["text"], "hi");
}
