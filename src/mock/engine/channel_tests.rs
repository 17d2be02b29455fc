//! Tests of the rules about channels: operations, and the events that each connection receives.

use serde_json::{Value, json};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::requests::{Caller, UserRef};
use crate::mock::engine::operations::OperationRequest;
use crate::mock::engine::rules::channel_data::distinct_id;
use crate::mock::engine::test_support::{TestState, channel_op, op, user};

fn update(cid: &str, body: Value) -> OperationRequest {
    channel_op("POST", cid, "", body)
}

/// A channel `messaging:x` of `a`, with members `a` and `b`.
fn stage() -> TestState {
    let mut stage = TestState::new();
    stage.users(&["a", "b", "c", "root"]);
    let body = json!({"users": {"root": {"id": "root", "role": "admin"}}});
    stage
        .apply(&Caller::Server, op("POST /users", body))
        .unwrap();
    let body =
        json!({"data": {"members": ["a", {"user_id": "b"}], "color": "green"}, "state": true});
    let answer = stage.channel(&user("a"), "messaging:x", body).unwrap();
    assert_eq!(answer["channel"]["cid"], "messaging:x");
    assert_eq!(answer["channel"]["color"], "green");
    assert_eq!(answer["channel"]["created_by"]["id"], "a");
    assert_eq!(answer["members"][0]["role"], "owner");
    assert_eq!(answer["members"][1]["user_id"], "b");
    stage
}

fn watch(stage: &mut TestState, id: &str, key: ConnectionKey) -> Value {
    let body = json!({"watch": true, "state": true, "connection_id": stage.id(key)});
    stage.channel(&user(id), "messaging:x", body).unwrap()
}

#[test]
fn who_may_read_a_messaging_channel() {
    let mut stage = stage();
    for reader in ["a", "b", "root"] {
        assert!(
            stage
                .channel(&user(reader), "messaging:x", json!({}))
                .is_ok()
        );
    }
    let reject = stage
        .channel(&user("c"), "messaging:x", json!({}))
        .unwrap_err();
    assert_eq!((reject.status, reject.code), (403, 17));
    assert_eq!(
        reject.detail,
        "User 'c' with role user is not allowed to perform action ReadChannel in scope 'messaging'"
    );
    assert!(
        stage
            .channel(&Caller::Server, "messaging:x", json!({}))
            .is_ok()
    );
    let query = || {
        op(
            "POST /channels",
            json!({"filter_conditions": {"color": "green"}}),
        )
    };
    let count = |answer: Value| answer["channels"].as_array().unwrap().len();
    assert_eq!(count(stage.apply(&user("b"), query()).unwrap()), 1);
    assert_eq!(count(stage.apply(&user("c"), query()).unwrap()), 0);
}

#[test]
fn what_is_missing_is_code_16_and_a_creator_is_required() {
    let mut stage = stage();
    let reject = stage
        .apply(&user("a"), op("GET /channels/messaging/nope", json!({})))
        .unwrap_err();
    assert_eq!((reject.status, reject.code), (404, 16));
    assert!(reject.detail.starts_with("Can't find channel"));
    let reject = stage
        .channel(&Caller::Server, "messaging:new", json!({}))
        .unwrap_err();
    assert_eq!((reject.status, reject.code), (400, 4));
    let body = json!({"data": {"created_by_id": "b", "members": ["ghost"]}});
    let reject = stage
        .channel(&Caller::Server, "messaging:new", body)
        .unwrap_err();
    assert_eq!(reject.code, 4);
    let body = json!({"data": {"created_by": {"id": "fresh"}}});
    assert!(
        stage
            .channel(&Caller::Server, "messaging:new", body)
            .is_ok()
    );
    assert!(stage.state.user("fresh").is_some());
}

#[test]
fn a_refused_creation_creates_nobody() {
    let mut stage = stage();
    let body = json!({"data": {"created_by": {"id": "fresh"}, "members": ["ghost"]}});
    assert!(
        stage
            .channel(&Caller::Server, "messaging:new", body)
            .is_err()
    );
    assert!(stage.state.user("fresh").is_none());
}

#[test]
fn watching_is_announced_once_per_user() {
    let mut stage = stage();
    let a = stage.connect("a");
    let state = watch(&mut stage, "a", a);
    assert_eq!(state["watcher_count"], 1);
    assert!(state.get("watchers").is_none());
    assert_eq!(stage.heard(a), ["user.watching.start a"]);
    let (b1, b2) = (stage.connect("b"), stage.connect("b"));
    watch(&mut stage, "b", b1);
    watch(&mut stage, "b", b2);
    watch(&mut stage, "b", b2);
    let events = stage.take(a);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["watcher_count"], 2);
    assert_eq!(events[0]["cid"], "messaging:x");
    stage.disconnect(b1);
    assert!(stage.heard(a).is_empty());
    let stop = channel_op(
        "POST",
        "messaging:x",
        "/stop-watching",
        json!({"connection_id": stage.id(b2)}),
    );
    stage.apply(&user("b"), stop).unwrap();
    assert_eq!(stage.heard(a), ["user.watching.stop b"]);
    let stop = channel_op("POST", "messaging:x", "/stop-watching", json!({}));
    assert_eq!(stage.apply(&user("b"), stop).unwrap_err().code, 4);
    let stop = channel_op(
        "POST",
        "messaging:x",
        "/stop-watching",
        json!({"connection_id": "gone"}),
    );
    assert_eq!(stage.apply(&user("b"), stop).unwrap_err().code, 46);
}

#[test]
fn watchers_ride_along_when_asked_for_and_invisible_ones_are_offline() {
    let mut stage = stage();
    let b = stage.connect_as("b", json!({"invisible": true})).unwrap();
    watch(&mut stage, "b", b);
    let body = json!({"state": true, "watchers": {"limit": 10}});
    let answer = stage.channel(&user("a"), "messaging:x", body).unwrap();
    assert_eq!(answer["watchers"][0]["id"], "b");
    assert_eq!(answer["watchers"][0]["online"], false);
    assert_eq!(answer["members"][1]["user"]["online"], false);
}

#[test]
fn a_channel_call_covers_no_more_than_its_cap() {
    let mut stage = TestState::new();
    let ids: Vec<String> = (0..15).map(|n| format!("m{n:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    stage.users(&ids);
    let watcher = stage.connect("w");
    let body =
        json!({"data": {"members": ids}, "presence": true, "connection_id": stage.id(watcher)});
    stage.channel(&user("w"), "messaging:x", body).unwrap();
    for id in &ids {
        stage.connect(id);
    }
    let heard = stage.heard(watcher);
    assert_eq!(heard.len(), 10);
    assert_eq!(heard[9], "user.presence.changed m09 true");
}

#[test]
fn presence_without_watch_is_no_channel_event_and_the_reverse() {
    let mut stage = stage();
    let watches = stage.connect("a");
    watch(&mut stage, "a", watches);
    let listens = stage.connect("a");
    let body = json!({"presence": true, "connection_id": stage.id(listens)});
    stage.channel(&user("a"), "messaging:x", body).unwrap();
    stage.take(watches);
    let b = stage.connect("b");
    watch(&mut stage, "b", b);
    assert_eq!(stage.heard(watches), ["user.watching.start b"]);
    assert_eq!(stage.heard(listens), ["user.presence.changed b true"]);
}

#[test]
fn members_come_and_go_with_their_events() {
    let mut stage = stage();
    let watcher = stage.connect("a");
    watch(&mut stage, "a", watcher);
    let c = stage.connect("c");
    stage.take(watcher);
    let answer = stage
        .apply(
            &user("a"),
            update("messaging:x", json!({"add_members": ["c", "b"]})),
        )
        .unwrap();
    assert_eq!(answer["members"].as_array().unwrap().len(), 3);
    let events = stage.take(watcher);
    let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["member.added", "channel.updated"],
        "b was a member already"
    );
    assert_eq!(events[0]["user"]["id"], "c");
    assert_eq!(events[0]["member"]["channel_role"], "channel_member");
    assert_eq!(events[1]["channel"]["members"].as_array().unwrap().len(), 3);
    assert_eq!(stage.heard(c), ["notification.added_to_channel c"]);

    let leave = update("messaging:x", json!({"remove_members": ["c"]}));
    stage.apply(&user("c"), leave).unwrap();
    assert_eq!(
        stage.heard(watcher),
        ["member.removed c", "channel.updated c"]
    );
    assert_eq!(stage.heard(c), ["notification.removed_from_channel c"]);
    for tags in ["add_filter_tags", "remove_filter_tags"] {
        let tagged = update(
            "messaging:x",
            json!({"remove_members": ["b"], tags: ["vip"]}),
        );
        let refused = stage.apply(&user("b"), tagged).unwrap_err();
        assert_eq!(refused.code, 17, "{tags} of a member who leaves");
    }
    let intrude = update("messaging:x", json!({"add_members": ["c"]}));
    assert_eq!(
        stage.apply(&user("c"), intrude.clone()).unwrap_err().code,
        17
    );
    assert_eq!(stage.apply(&user("b"), intrude).unwrap_err().code, 17);
}

#[test]
fn invites_wait_for_an_answer() {
    let mut stage = stage();
    let c = stage.connect("c");
    stage
        .apply(&user("a"), update("messaging:x", json!({"invites": ["c"]})))
        .unwrap();
    assert_eq!(stage.heard(c), ["notification.invited c"]);
    let answer = stage
        .apply(
            &user("c"),
            update("messaging:x", json!({"accept_invite": true})),
        )
        .unwrap();
    assert_eq!(answer["members"][2]["status"], "accepted");
    assert_eq!(stage.heard(c), ["notification.invite_accepted c"]);
    let again = update(
        "messaging:x",
        json!({"reject_invite": true, "user_id": "b"}),
    );
    assert_eq!(stage.apply(&Caller::Server, again).unwrap_err().code, 4);
}

#[test]
fn an_invite_is_answered_and_the_data_replaced_in_one_call() {
    let mut stage = stage();
    stage
        .apply(
            &user("a"),
            update("messaging:x", json!({"invites": ["root"]})),
        )
        .unwrap();
    let change = |color: &str| {
        update(
            "messaging:x",
            json!({"accept_invite": true, "data": {"color": color}}),
        )
    };
    let answer = stage.apply(&user("root"), change("red")).unwrap();
    assert_eq!(answer["channel"]["color"], "red");
    assert_eq!(answer["members"][2]["user_id"], "root");
    assert_eq!(answer["members"][2]["status"], "accepted");
    let refused = stage.apply(&user("a"), change("blue")).unwrap_err();
    assert_eq!(refused.code, 4, "there is no invite for a");
    let read = stage
        .channel(&user("a"), "messaging:x", json!({"state": true}))
        .unwrap();
    assert_eq!(read["channel"]["color"], "red");
    assert_eq!(read["members"][2]["status"], "accepted");
}

#[test]
fn a_ban_with_a_malformed_cid_bans_nobody() {
    let mut stage = stage();
    let ban = json!({"target_user_id": "b", "channel_cid": "general", "user_id": "root"});
    for method_and_path in ["POST /moderation/ban", "DELETE /moderation/ban"] {
        let refused = stage.apply(&Caller::Server, op(method_and_path, ban.clone()));
        assert_eq!(refused.unwrap_err().code, 16, "{method_and_path}");
    }
    let message = json!({"message": {"text": "still here"}});
    let sent = channel_op("POST", "messaging:x", "/message", message);
    let answer = stage.apply(&user("b"), sent).unwrap();
    assert_eq!(answer["message"]["text"], "still here");
}

#[test]
fn updates_replace_and_patches_merge() {
    let mut stage = stage();
    let patch = |set: Value, unset: Value| {
        let body = json!({"set": set, "unset": unset});
        channel_op("PATCH", "messaging:x", "", body)
    };
    let answer = stage
        .apply(&user("a"), patch(json!({"name": "N"}), json!([])))
        .unwrap();
    assert_eq!(answer["channel"]["color"], "green");
    let answer = stage
        .apply(&user("a"), patch(json!({}), json!(["color"])))
        .unwrap();
    assert!(answer["channel"].get("color").is_none());
    let answer = stage
        .apply(
            &user("a"),
            update("messaging:x", json!({"data": {"size": 1}})),
        )
        .unwrap();
    assert!(answer["channel"].get("name").is_none());
    let reserved = update("messaging:x", json!({"data": {"member_count": 1}}));
    assert_eq!(stage.apply(&user("a"), reserved).unwrap_err().code, 4);
}

#[test]
fn deleting_a_channel_notifies_watchers_and_members_and_leaves_nothing() {
    let mut stage = stage();
    let a = stage.connect("a");
    watch(&mut stage, "a", a);
    let b = stage.connect("b");
    stage.take(a);
    stage
        .apply(
            &user("a"),
            channel_op("DELETE", "messaging:x", "", json!({})),
        )
        .unwrap();
    assert_eq!(stage.heard(a), ["channel.deleted a"]);
    assert_eq!(stage.heard(b), ["notification.channel_deleted -"]);
    assert_eq!(stage.state.counts().1, 0);
    stage.disconnect(a);
}

#[test]
fn the_same_people_share_a_distinct_channel() {
    let ids = |names: &[&str]| {
        let refs: Vec<UserRef> = names.iter().map(|id| UserRef::Id((*id).into())).collect();
        distinct_id(&refs).unwrap()
    };
    assert_eq!(ids(&["a", "b"]), ids(&["b", "a"]));
    assert_ne!(ids(&["a", "b"]), ids(&["a", "c"]));
    assert_eq!(ids(&["a", "b"]).len(), "!members-".len() + 43);
}

#[test]
fn channels_are_found_and_paged() {
    let mut stage = stage();
    for n in 0..12 {
        stage.pass(1);
        let body = json!({"data": {"members": ["a"], "n": n}});
        stage
            .channel(&user("a"), &format!("messaging:n{n}"), body)
            .unwrap();
    }
    let found = |stage: &mut TestState, body: Value| -> Vec<String> {
        let answer = stage.apply(&user("a"), op("POST /channels", body)).unwrap();
        let channels = answer["channels"].as_array().unwrap();
        channels
            .iter()
            .map(|c| c["channel"]["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(found(&mut stage, json!({})).len(), 10);
    assert_eq!(found(&mut stage, json!({}))[0], "n11");
    let by_member = json!({"filter_conditions": {"members": {"$in": ["b"]}}});
    assert_eq!(found(&mut stage, by_member), ["x"]);
    let exactly = json!({"filter_conditions": {"members": ["b", "a"]}});
    assert_eq!(found(&mut stage, exactly), ["x"]);
    let by_cid = json!({"filter_conditions": {"cid": {"$in": ["messaging:n3", "messaging:x"]}}});
    assert_eq!(found(&mut stage, by_cid), ["n3", "x"]);
    let by_number = json!({"filter_conditions": {"n": {"$lt": 2}}, "sort": [{"field": "n"}]});
    assert_eq!(found(&mut stage, by_number), ["n0", "n1"]);
    for body in [json!({"limit": 31}), json!({"member_limit": 101})] {
        assert_eq!(
            stage
                .apply(&user("a"), op("POST /channels", body))
                .unwrap_err()
                .code,
            4
        );
    }
    let members = op(
        "GET /members",
        json!({"type": "messaging", "id": "x", "filter_conditions": {"id": "b"}}),
    );
    let answer = stage.apply(&user("a"), members).unwrap();
    assert_eq!(answer["members"][0]["user_id"], "b");
}

#[test]
fn livestreams_are_open_to_anonymous_watchers() {
    let mut stage = stage();
    let body = json!({"data": {"created_by_id": "a"}});
    stage
        .channel(&Caller::Server, "livestream:l", body)
        .unwrap();
    let anonymous = Caller::Anonymous {
        id: Some("uuid".into()),
    };
    let (key, _) = stage
        .try_connect(&anonymous, json!({"id": "uuid", "anon": true}))
        .unwrap();
    let body = json!({"watch": true, "state": true, "connection_id": stage.id(key)});
    let answer = stage.channel(&anonymous, "livestream:l", body).unwrap();
    assert_eq!(answer["watcher_count"], 1);
    let reject = stage
        .channel(&anonymous, "messaging:x", json!({}))
        .unwrap_err();
    assert_eq!(reject.code, 17);
    assert_eq!(
        stage
            .channel(&anonymous, "livestream:new", json!({}))
            .unwrap_err()
            .code,
        17
    );
    stage.disconnect(key);
}
