//! `hold` as a process: who is online while it runs, and what it restores at the end.

use serde_json::{Value, json};

use crate::support::mock::{Mock, user_token};
use crate::support::world::{presencectl, small_world, world};
use crate::support::{Presencectl, Stream, wait_until};

fn user(mock: &Mock, id: &str) -> Value {
    let run = presencectl(mock, &format!("get-user {id} -o ndjson")).run();
    run.records().remove(0)
}

/// Starts a `hold`, and reads one record for each of the `users` connected users.
fn start_hold(mock: &Mock, line: &str, users: usize) -> (Stream, Vec<Value>) {
    let mut stream = presencectl(mock, line).stream();
    let records = (0..users).map(|_| stream.record()).collect();
    (stream, records)
}

fn last(lines: &[String]) -> Value {
    serde_json::from_str(lines.last().expect("a last line")).unwrap()
}

#[test]
fn held_users_are_online_until_the_signal() {
    let mock = small_world();
    let (stream, records) = start_hold(&mock, "hold jack newcomer -o ndjson", 2);
    for record in &records {
        assert_eq!(record["type"], "presence.snapshot");
        assert_eq!(record["user"]["online"], true);
    }
    for id in ["jack", "newcomer"] {
        assert_eq!(user(&mock, id)["online"], true, "{id}");
    }
    stream.signal("INT");
    let (lines, status) = stream.end();
    assert_eq!(status.code(), Some(130));
    assert_eq!(last(&lines)["reason"], "interrupted");
    for id in ["jack", "newcomer"] {
        assert_eq!(user(&mock, id)["online"], false, "{id}");
    }
}

#[test]
fn status_and_visibility_are_restored() {
    let mock = small_world();
    let line = "hold john jack --status 'on call' --invisible -o ndjson";
    let (stream, _) = start_hold(&mock, line, 2);
    for id in ["john", "jack"] {
        let user = user(&mock, id);
        assert_eq!(user["status"], "on call");
        assert_eq!(
            (&user["invisible"], &user["online"]),
            (&json!(true), &json!(false))
        );
    }
    stream.signal("TERM");
    assert_eq!(stream.end().1.code(), Some(143));
    let john = user(&mock, "john");
    assert_eq!(john["status"], "Eating a veggie burger...");
    assert_eq!(john["color"], "green");
    assert_eq!(john["invisible"], false);
    let jack = user(&mock, "jack");
    assert_eq!(
        (&jack["status"], &jack["invisible"]),
        (&Value::Null, &json!(false))
    );
}

#[test]
fn a_time_limit_ends_with_0_and_names_how_many_were_not_connected() {
    let mock = small_world();
    let fault = "mock fault add delay --delay 1h --path /connect";
    let _ = presencectl(&mock, fault).run().ended_with(0);
    let hold = |flag: &str| {
        presencectl(&mock, &format!("hold jack {flag}"))
            .run()
            .masked()
    };
    insta::assert_snapshot!(hold("--for 1ms"), @r#"
    {"type":"stream.end","reason":"timeout","events":0,"gaps":0,"reconnects":0,"exit_code":0,"seq":1,"received_at":"TIME","source":"local"}
    --- stderr
    presencectl: warning: 1 of 1 users were never connected
    --- exit Some(0)
    "#);
    assert_eq!(hold("--timeout 1ms"), hold("--for 1ms"));
    assert_eq!(user(&mock, "jack")["online"], false);
}

#[test]
fn nobody_is_reported_missing_when_everybody_was_connected() {
    let mock = small_world();
    let (stream, _) = start_hold(&mock, "hold jack -o ndjson", 1);
    stream.signal("INT");
    assert_eq!(stream.finish().ended_with(130).stderr, "");
}

#[test]
fn a_lost_connection_is_restored() {
    let mock = small_world();
    let (mut stream, _) = start_hold(&mock, "hold jack -o ndjson", 1);
    // A reset disconnects everybody.
    let run = Presencectl::line("mock reset")
        .env("STREAM_CHAT_URL", &mock.url())
        .run();
    assert_eq!(run.code, Some(0), "{run}");
    let lost = stream.record();
    assert_eq!(
        (&lost["type"], &lost["online"]),
        (&json!("connection.changed"), &json!(false))
    );
    assert!(
        lost["reason"].as_str().unwrap().starts_with("jack: "),
        "{lost}"
    );
    let again = stream.record();
    assert_eq!(again["online"], true);
    assert_eq!(user(&mock, "jack")["online"], true);
    stream.signal("INT");
    let (lines, _) = stream.end();
    assert_eq!(last(&lines)["reconnects"], 1);
}

#[test]
fn a_channel_is_opened_and_never_created() {
    let mock = small_world();
    let (stream, _) = start_hold(&mock, "hold john --channel fun -o ndjson", 1);
    let run = presencectl(&mock, "get-channel fun --watchers -o ndjson").run();
    assert_eq!(run.records()[0]["watchers"][0]["id"], "john", "{run}");
    stream.signal("INT");
    assert_eq!(stream.end().1.code(), Some(130));

    insta::assert_snapshot!(presencectl(&mock, "hold john --channel nope").run(), @r#"
    --- stderr
    presencectl: cannot open the channel messaging:nope: the API refused (HTTP 404, code 16): GetChannel failed with error: "Can't find channel with id messaging:nope"
    hint: list channels: presencectl query-channels
    --- exit Some(5)
    "#);
    let run = presencectl(&mock, "get-channel nope").run();
    assert_eq!(run.code, Some(5), "{run}");
}

#[test]
fn a_user_who_cannot_be_connected_is_named() {
    let mock = small_world();
    let run = presencectl(&mock, "hold jack")
        .env("STREAM_API_SECRET", "")
        .env("PRESENCECTL_USER_TOKEN", &user_token("john"))
        .run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: the token belongs to john, and cannot connect jack
    hint: set STREAM_API_SECRET instead of PRESENCECTL_USER_TOKEN
    --- exit Some(2)
    ");

    let deactivate = presencectl(&mock, "deactivate-user jack --yes");
    let _ = deactivate.run().ended_with(0);
    // A stream that has not begun has no end.
    insta::assert_snapshot!(presencectl(&mock, "hold jack").run(), @r#"
    --- stderr
    presencectl: cannot connect jack: the API refused (HTTP 401, code 5): Connect failed with error: "user "jack" is deactivated"
    hint: reactivate the user: presencectl reactivate-user ID; or connect as another user
    --- exit Some(4)
    "#);

    // Jack is refused late. On a machine so busy that john is not connected by then, later still.
    let run = ["1s", "10s", "1m"].into_iter().find_map(|delay| {
        let fault = format!("mock fault add delay --delay {delay} --path /connect --user jack");
        let _ = presencectl(&mock, &fault).run().ended_with(0);
        let run = presencectl(&mock, "hold jack john").run().ended_with(4);
        let _ = presencectl(&mock, "mock fault clear").run().ended_with(0);
        (!run.stdout.is_empty()).then_some(run)
    });
    let run = run.expect("john is connected first");
    assert!(run.stderr.contains("cannot connect jack"), "{run}");
    let [john, end] = &run.records()[..] else {
        panic!("{run}")
    };
    assert_eq!(john["user"]["id"], "john");
    assert_eq!(
        (&end["type"], &end["exit_code"]),
        (&json!("stream.end"), &json!(4))
    );
}

#[test]
fn a_failed_restore_is_named_and_the_last_record_has_the_exit_code() {
    let mock = small_world();
    let (stream, _) = start_hold(&mock, "hold jack --status busy -o ndjson", 1);
    run(
        &mock,
        "mock fault add status --status 403 --method PATCH --path /users",
    );
    stream.signal("INT");
    insta::assert_snapshot!(stream.finish().masked(), @r#"
    {"type":"stream.end","reason":"interrupted","events":0,"gaps":0,"reconnects":0,"exit_code":5,"seq":2,"received_at":"TIME","source":"local"}
    --- stderr
    presencectl: old values of jack: {"status":null}
    {"error":{"kind":"refused","message":"cannot restore the old values of jack: the API refused (HTTP 403, code 17): Fault failed with error: \"a fault was asked for\"","exit_code":5,"api_code":17,"hint":"use the API secret instead of a user token or --as, or act as another user: --as USER"}}
    --- exit Some(5)
    "#);
    assert_eq!(user(&mock, "jack")["status"], "busy");
}

#[test]
fn a_second_signal_does_not_wait_for_the_server() {
    let mock = small_world();
    let (stream, _) = start_hold(&mock, "hold jack --status busy -o ndjson", 1);
    let fault = "mock fault add delay --delay 1h --method PATCH --path /users";
    run(&mock, fault);
    stream.signal("INT");
    wait_until("the fault has fired", || {
        let faults = mock.control("GET", "faults", &Value::Null).body;
        faults["faults"][0]["fired"] == 1
    });
    stream.signal("TERM");
    let (lines, status) = stream.end();
    let last = last(&lines);
    assert_eq!(
        (status.code(), &last["exit_code"], &last["reason"]),
        (Some(143), &json!(143), &json!("terminated"))
    );
}

#[test]
fn dry_run_connects_nobody() {
    let mock = small_world();
    let run = presencectl(&mock, "hold jack --invisible --dry-run -o ndjson").run();
    assert_eq!(
        run.records(),
        [json!({
            "method": "GET",
            "path": "/connect",
            "endpoint": "Connect",
            "body": {"user_id": "jack", "user_details": {"id": "jack", "invisible": true}},
        })]
    );
    assert_eq!(user(&mock, "jack")["online"], false);
}

#[test]
fn many_users_are_held_by_one_process() {
    let ids: Vec<String> = (0..400).map(|n| format!("u{n:03}")).collect();
    let users: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
    let mock = world(&users, &[]);
    let line = format!("hold -o ndjson {}", ids.join(" "));
    let (stream, records) = start_hold(&mock, &line, 400);
    let mut seen: Vec<&str> = records
        .iter()
        .map(|record| record["user"]["id"].as_str().unwrap())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, ids);
    let count = || {
        let run = presencectl(&mock, "query-users --all --online --count-only -o ndjson").run();
        run.records()[0]["count"].clone()
    };
    assert_eq!(count(), 400);
    stream.signal("INT");
    assert_eq!(stream.end().1.code(), Some(130));
    assert_eq!(count(), 0);
}

/// Runs a command against the mock that must succeed.
fn run(mock: &Mock, line: &str) {
    let _ = presencectl(mock, line).run().ended_with(0);
}

/// Drops the connection of a held user, and waits until it is made again.
fn drop_and_reconnect(mock: &Mock, stream: &mut Stream, id: &str) {
    run(mock, &format!("mock user {id} drop"));
    for online in [false, true] {
        assert_eq!(stream.record()["online"], online);
    }
}

#[test]
fn what_others_change_meanwhile_survives_a_reconnect_and_the_end() {
    let mock = small_world();
    let line = "hold john --status ours --invisible -o ndjson";
    let (mut stream, _) = start_hold(&mock, line, 1);
    run(&mock, "set-user john --status theirs");
    drop_and_reconnect(&mock, &mut stream, "john");
    let held = user(&mock, "john");
    assert_eq!(
        (&held["status"], &held["invisible"]),
        (&json!("theirs"), &json!(true))
    );
    run(&mock, "set-user john --visible");
    drop_and_reconnect(&mock, &mut stream, "john");
    let held = user(&mock, "john");
    assert_eq!(
        (&held["invisible"], &held["online"]),
        (&json!(false), &json!(true))
    );
    stream.signal("HUP");
    let run = stream.finish().ended_with(129);
    assert_eq!(run.records()[0]["reason"], "hung_up");
    let errors: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| !line.contains("lost the connection"))
        .collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
    presencectl: old values of john: {"invisible":false,"status":"Eating a veggie burger..."}
    presencectl: john was changed by somebody else meanwhile; not restored: status
    "#);
    let john = user(&mock, "john");
    assert_eq!(
        (&john["status"], &john["invisible"]),
        (&json!("theirs"), &json!(false))
    );
}

#[test]
fn a_user_whom_the_server_no_longer_has_is_set_up_again() {
    let mock = small_world();
    let (mut stream, _) = start_hold(&mock, "hold newcomer --status ours -o ndjson", 1);
    // What was not there at the start is gone after this, and everybody is disconnected.
    run(&mock, "mock reset");
    for online in [false, true] {
        assert_eq!(stream.record()["online"], online);
    }
    assert_eq!(user(&mock, "newcomer")["status"], "ours");
    stream.signal("INT");
    assert_eq!(stream.end().1.code(), Some(130));
    assert_eq!(user(&mock, "newcomer")["status"], Value::Null);
}

#[test]
fn a_channel_that_was_deleted_meanwhile_is_not_created_by_a_reconnect() {
    let mock = small_world();
    let (mut stream, _) = start_hold(&mock, "hold john --channel fun -o ndjson", 1);
    run(&mock, "api DELETE /channels/messaging/fun");
    run(&mock, "mock user john drop");
    while stream.record()["reason"]
        .as_str()
        .is_none_or(|reason| !reason.contains("code 16"))
    {}
    let run = stream.finish().ended_with(9);
    assert!(run.stderr.contains("cannot connect john again"), "{run}");
    let _ = presencectl(&mock, "get-channel fun").run().ended_with(5);
}

#[test]
fn a_user_who_was_deleted_meanwhile_does_not_prevent_the_others() {
    for line in [
        "hold john jack --status ours -o ndjson",
        "set-user john jack --status ours --for 1h -o ndjson",
    ] {
        let mock = small_world();
        let (stream, _) = start_hold(&mock, line, 2);
        run(&mock, "delete-user jack --yes");
        stream.signal("HUP");
        let run = stream.finish().ended_with(129);
        assert!(
            run.stderr
                .contains("no old values are restored of users who do not exist any more: jack"),
            "{run}"
        );
        assert_eq!(user(&mock, "john")["status"], "Eating a veggie burger...");
    }
}

#[test]
fn a_user_who_is_refused_does_not_prevent_the_others() {
    let users: Vec<Value> = ["amy", "bob", "cid", "dan"]
        .map(|id| json!({"id": id, "status": "old"}))
        .to_vec();
    let mock = world(&users, &[]);
    let line = "set-user amy bob cid dan --status ours --for 1h -o ndjson";
    let (stream, _) = start_hold(&mock, line, 4);
    // The call for all four, for amy and bob, and for amy.
    let fault = "mock fault add status --status 403 --method PATCH --path /users --count 3";
    run(&mock, fault);
    stream.signal("INT");
    insta::assert_snapshot!(stream.finish().ended_with(5).stderr, @r#"
    presencectl: old values of amy: {"status":"old"}
    presencectl: old values of bob: {"status":"old"}
    presencectl: old values of cid: {"status":"old"}
    presencectl: old values of dan: {"status":"old"}
    presencectl: the old values will be restored in 1h, or on Ctrl-C.
    {"error":{"kind":"refused","message":"cannot restore the old values of amy: the API refused (HTTP 403, code 17): Fault failed with error: \"a fault was asked for\"","exit_code":5,"api_code":17,"hint":"use the API secret instead of a user token or --as, or act as another user: --as USER"}}
    "#);
    let statuses = ["amy", "bob", "cid", "dan"].map(|id| user(&mock, id)["status"].clone());
    assert_eq!(statuses, ["ours", "old", "old", "old"]);
}

#[test]
fn old_values_are_restored_although_the_output_cannot_be_written() {
    let mock = small_world();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let line = "set-user john --status ours --for 1h -o ndjson";
    let run = presencectl(&mock, line).into_file(full.unwrap()).run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    presencectl: old values of john: {"status":"Eating a veggie burger..."}
    presencectl: the old values of 1 user are restored.
    {"error":{"kind":"unexpected","message":"No space left on device (os error 28)","exit_code":1,"api_code":null,"hint":"free some space on the device, or write to another one"}}
    --- exit Some(1)
    "#);
    assert_eq!(user(&mock, "john")["status"], "Eating a veggie burger...");
}
