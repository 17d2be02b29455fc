//! Control of a running mock from the command line.

use std::fs;

use serde_json::{Value, json};

use crate::support::mock::{Mock, SECRET};
use crate::support::world::{presencectl, presencectl_of, small_world};
use crate::support::{Presencectl, Run};

fn at(mock: &Mock, line: &str) -> Run {
    presencectl(mock, line).run()
}

#[track_caller]
fn one(mock: &Mock, line: &str) -> Value {
    let run = at(mock, line).ended_with(0);
    let records = run.records();
    assert_eq!(records.len(), 1, "{run}");
    records.into_iter().next().unwrap()
}

#[test]
fn faults_are_added_listed_and_cleared() {
    let mock = small_world();
    let added = one(
        &mock,
        "mock fault add status --status 404 --message 'not today' --path /users --count 1",
    );
    assert_eq!(
        (&added["id"], &added["active"]),
        (&json!("f1"), &json!(true))
    );
    let struck = at(&mock, "query-users").ended_with(5);
    assert!(struck.stderr.contains("not today"), "{struck}");
    let _ = at(&mock, "query-users").ended_with(0);
    let _ = one(
        &mock,
        "mock fault add late --delay 250ms --probability 0.5 --seed 7 --user john",
    );
    let listed = at(&mock, "mock fault list").records();
    assert_eq!(listed[0]["fired"], 1);
    assert_eq!(listed[0]["active"], false);
    assert_eq!(listed[1]["delay"], "250ms");
    assert_eq!(one(&mock, "mock fault clear f2")["cleared"], 1);
    let unknown = at(&mock, "mock fault clear f2").ended_with(5);
    assert!(
        unknown.stderr.contains("f2") && unknown.stderr.contains("mock fault list"),
        "{unknown}"
    );
    assert_eq!(one(&mock, "mock fault clear")["cleared"], 1);
    // What the server cannot make sense of is what was typed, in the command line's words.
    for (line, words) in [
        (
            "mock fault add drop --status 500",
            "presencectl: status does not go with a fault of kind drop\n",
        ),
        ("mock fault add drop --probability nan", "0.25"),
        ("mock fault add reset --path users", ": /users"),
        ("mock clock set yesterday", "RFC 3339"),
    ] {
        let nonsense = at(&mock, line).ended_with(2);
        assert!(nonsense.stderr.contains(words), "{nonsense}");
    }
    let idle = at(&mock, "mock fault add drop --now --user nobody").ended_with(0);
    assert!(idle.stderr.contains("no open socket matches"), "{idle}");
    let table = at(&mock, "mock fault add mute -o table").ended_with(0);
    assert!(
        table.stdout.contains("FIRED") && table.stdout.contains("mute"),
        "{table}"
    );
}

#[test]
fn a_retry_is_reported_on_stderr_only() {
    let mock = small_world();
    let _ = one(
        &mock,
        "mock fault add status --status 429 --retry-after 0 --count 1",
    );
    let run = at(&mock, "get-user john").ended_with(0);
    assert_eq!(run.records()[0]["id"], "john");
    assert!(run.stderr.contains("(1 of 3)"), "{run}");
}

#[test]
fn users_change_without_a_client() {
    let mock = small_world();
    let set = one(
        &mock,
        "mock user jack set status='on call' invisible=true age=7 color=",
    );
    assert_eq!(set["status"], "on call");
    assert_eq!((&set["invisible"], &set["age"]), (&json!(true), &json!(7)));
    let new = one(&mock, "mock user newcomer set name=Nina");
    assert_eq!(
        (&new["id"], &new["name"]),
        (&json!("newcomer"), &json!("Nina"))
    );
    let removed = one(&mock, "mock user jack set status=");
    assert_eq!(removed["status"], Value::Null);
    let reserved = at(&mock, "mock user jack set online=true").ended_with(2);
    assert!(
        reserved.stderr.contains("online is a reserved field"),
        "{reserved}"
    );
    let _ = at(&mock, "mock user jack set").ended_with(2);
    let _ = at(&mock, "mock user jack connect x=y").ended_with(2);
    assert_eq!(one(&mock, "mock user john drop")["lost"], 1);
    assert_eq!(one(&mock, "get-user john")["online"], true);
    let _ = one(&mock, "mock clock advance 61s");
    assert_eq!(one(&mock, "get-user john")["online"], false);
}

#[test]
fn a_triggered_event_reaches_a_watcher() {
    let mock = small_world();
    let mut watch = presencectl(&mock, "watch users john -n 1").stream();
    while watch.record()["type"] != "presence.coverage" {}
    let sent = one(
        &mock,
        "mock trigger custom.ping --subscribers john --set n=1 --set text=hello",
    );
    assert_eq!(sent["sent"], 1);
    let event = watch.record();
    assert_eq!(event["type"], "custom.ping");
    assert_eq!((&event["n"], &event["text"]), (&json!(1), &json!("hello")));
    assert_eq!(watch.end().1.code(), Some(0));
    let _ = at(&mock, "mock trigger custom.ping").ended_with(2);
    let _ = at(&mock, "mock trigger --to john").ended_with(2);
    let _ = at(&mock, "mock trigger x --to nobody").ended_with(5);
}

#[test]
fn a_snapshot_is_a_fixture_and_a_restore_brings_it_back() {
    let mock = small_world();
    let _ = one(&mock, "mock user jack connect");
    let snapshot = at(&mock, "mock snapshot").stdout_of_success();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("world.json");
    fs::write(&file, &snapshot).unwrap();
    let _ = at(&mock, "mock reset").stdout_of_success();
    assert_eq!(one(&mock, "get-user jack")["online"], false);
    let restored = presencectl_of(&mock, ["mock", "restore", file.to_str().unwrap()])
        .run()
        .ended_with(0);
    assert_eq!(restored.records()[0]["users"], 3);
    assert_eq!(one(&mock, "get-user jack")["online"], true);
    assert_eq!(at(&mock, "mock snapshot").stdout_of_success(), snapshot);
    let started = Presencectl::new(["get-user", "zoe", &format!("--mock={}", file.display())])
        .run()
        .ended_with(0);
    assert_eq!(started.records()[0]["invisible"], true, "{started}");

    fs::write(&file, r#"{"users": [{"id": "a b"}]}"#).unwrap();
    let refused = presencectl_of(&mock, ["mock", "restore", file.to_str().unwrap()])
        .run()
        .ended_with(2);
    assert!(refused.stderr.contains("users[0]"), "{refused}");
    assert_eq!(
        one(&mock, "mock status")["users"],
        3,
        "nothing has happened"
    );
    let _ = presencectl_of(&mock, ["mock", "restore", "/nowhere"])
        .run()
        .ended_with(2);
}

#[test]
fn status_and_connections_list_what_the_server_holds() {
    let mock = small_world();
    let mut watch = presencectl(&mock, "watch channel fun").stream();
    while watch.record()["type"] != "presence.coverage" {}
    let status = one(&mock, "mock status");
    for (field, expected) in [
        ("users", json!(4)),
        ("online", json!(1)),
        ("channels", json!(1)),
        ("connections", json!(3)),
        ("virtual", json!(2)),
        ("subscriptions", json!(3)),
        ("watches", json!(1)),
        ("faults", json!(0)),
        ("clock", json!("system")),
    ] {
        assert_eq!(status[field], expected, "{field} of {status}");
    }
    let connections = at(&mock, "mock connections").records();
    assert_eq!(connections.len(), 3);
    assert_eq!(connections[0]["carrier"], "virtual");
    assert_eq!(connections[2]["user"], "presencectl-observer");
    assert_eq!(connections[2]["watching"], json!(["messaging:fun"]));
}

#[test]
fn the_log_is_followed_as_it_grows() {
    let mock = small_world();
    let _ = at(&mock, "get-user john").ended_with(0);
    let log = at(&mock, "mock log");
    let records = log.records();
    assert_eq!(records.last().unwrap()["path"], "/users", "{log}");
    assert!(
        !log.stdout.contains(SECRET) && !log.stdout.contains("eyJ"),
        "{log}"
    );
    assert_eq!(at(&mock, "mock log -n 0").stdout_of_success(), "");

    // A time that runs out is an end like any other, in every format.
    let bounded = at(&mock, "mock log -f -n 1 --timeout 1ms -o json").ended_with(0);
    assert!(bounded.stderr.is_empty(), "{bounded}");
    let _: Vec<Value> = serde_json::from_str(&bounded.stdout).unwrap();

    let mut follow = presencectl(&mock, "mock log -f -n 1").stream();
    assert_eq!(follow.record()["type"], "mock.request");
    let (socket, _) = mock.connect("john");
    assert_eq!(follow.record()["path"], "/connect");
    assert_eq!(follow.record()["type"], "mock.socket.open");
    let hello = follow.record();
    assert_eq!(hello["frame"]["me"]["id"], "john", "{hello}");
    socket.close();
    assert_eq!(follow.record()["reason"], "the client has left");
    drop(mock);
    let (rest, status) = follow.end();
    assert_eq!((rest.len(), status.code()), (0, Some(9)));
}

#[test]
fn stop_ends_a_server() {
    let mut server = Presencectl::line("mock start").stream();
    let ready = server.record();
    let url = ready["url"].as_str().unwrap();
    let stopped = Presencectl::new(["mock", "stop", "--base-url", url]).run();
    let _ = stopped.stdout_of_success();
    let (rest, status) = server.end();
    assert_eq!((rest.len(), status.code()), (0, Some(0)));
    let _ = Presencectl::new(["mock", "status", "--base-url", url])
        .run()
        .ended_with(7);
}
