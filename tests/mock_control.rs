//! Control of a running mock from the command line.

use std::fs;

use serde_json::{Value, json};

use crate::support::mock::{Mock, SECRET};
use crate::support::world::{presencectl, presencectl_of, small_world};
use crate::support::{Presencectl, Run, transcript, usage_errors};

fn at(mock: &Mock, line: &str) -> Run {
    presencectl(mock, line).run()
}

#[track_caller]
fn one(mock: &Mock, line: &str) -> Value {
    at(mock, line).record()
}

#[test]
fn faults_are_added_listed_and_cleared() {
    let mock = small_world();
    let lines = [
        "mock fault add status --status 404 --message 'not today' --path /users --count 1",
        "query-users --jq .id",
        "query-users --jq .id",
        "mock fault add late --delay 250ms --probability 0.5 --seed 7 --user john",
        "mock fault list",
        "mock fault clear f2",
        "mock fault clear f2",
        "mock fault clear",
        "mock fault add drop --now --user nobody",
        "mock fault add mute -o table",
    ];
    insta::assert_snapshot!(transcript(lines, |line| at(&mock, line)), @r#"
    $ mock fault add status --status 404 --message 'not today' --path /users --count 1
    {"id":"f1","kind":"status","path":"/users","count":1,"status":404,"message":"not today","matched":0,"fired":0,"active":true}
    $ query-users --jq .id
    2> presencectl: cannot query users: the API refused (HTTP 404, code 16): Fault failed with error: "not today"
    2> hint: list users: presencectl query-users
    exit 5
    $ query-users --jq .id
    zoe
    jack
    john
    $ mock fault add late --delay 250ms --probability 0.5 --seed 7 --user john
    {"id":"f2","kind":"late","user":"john","probability":0.5,"seed":7,"delay":"250ms","matched":0,"fired":0,"active":true}
    $ mock fault list
    {"id":"f1","kind":"status","path":"/users","count":1,"status":404,"message":"not today","matched":1,"fired":1,"active":false}
    {"id":"f2","kind":"late","user":"john","probability":0.5,"seed":7,"delay":"250ms","matched":0,"fired":0,"active":true}
    $ mock fault clear f2
    {"cleared":1}
    $ mock fault clear f2
    2> presencectl: fault "f2" was not found
    2> hint: list active faults: presencectl mock fault list
    exit 5
    $ mock fault clear
    {"cleared":1}
    $ mock fault add drop --now --user nobody
    {"id":"f3","kind":"drop","user":"nobody","now":true,"matched":0,"fired":0,"active":false}
    2> presencectl: warning: no open socket matches, so the fault was not applied
    $ mock fault add mute -o table
    ID  KIND  METHOD  PATH  USER  EVENT  COUNT  MATCHED  FIRED  ACTIVE
    f4  mute  -       -     -     -      -      0        0      true
    "#);
    // What the server cannot make sense of is what was typed, in the command line's words.
    let lines = [
        "mock fault add drop --status 500",
        "mock fault add drop --probability nan",
        "mock fault add reset --path users",
        "mock clock set yesterday",
    ];
    insta::assert_snapshot!(usage_errors(lines, |line| at(&mock, line)), @r"
    mock fault add drop --status 500
      presencectl: status does not go with a fault of kind drop
    mock fault add drop --probability nan
      error: invalid value 'nan' for '--probability <NUMBER>': expected a number from 0 to 1, such as 0.25
    mock fault add reset --path users
      presencectl: path must begin with / or *, or it matches nothing: /users
    mock clock set yesterday
      presencectl: `yesterday` is not a time; write RFC 3339 (2026-01-31T08:00:00Z), unix seconds, or a duration ago (15m)
    ");
}

#[test]
fn a_retry_is_reported_on_stderr_only() {
    let mock = small_world();
    let line = "mock fault add status --status 429 --retry-after 0 --count 1";
    let _ = one(&mock, line);
    insta::assert_snapshot!(at(&mock, "get-user john --jq .id"), @r#"
    john
    --- stderr
    presencectl: warning: rate limited (code 9): Fault failed with error: "a fault was asked for"; GET /users again in 0.0 s (1 of 3)
    --- exit Some(0)
    "#);
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
    let lines = [
        "mock user jack set online=true",
        "mock user jack set",
        "mock user jack connect x=y",
    ];
    insta::assert_snapshot!(usage_errors(lines, |line| at(&mock, line)), @r"
    mock user jack set online=true
      presencectl: users[jack].online is a reserved field
    mock user jack set
      presencectl: set needs at least one field
    mock user jack connect x=y
      presencectl: connect takes no fields
    ");
    assert_eq!(one(&mock, "mock user john drop")["lost"], 1);
    assert_eq!(one(&mock, "get-user john")["online"], true);
    let _ = one(&mock, "mock clock advance 61s");
    assert_eq!(one(&mock, "get-user john")["online"], false);
}

#[test]
fn a_triggered_event_reaches_a_watcher() {
    let mock = small_world();
    let mut watch = presencectl(&mock, "watch users john -n 1").stream();
    watch.records_until("presence.coverage");
    let sent = one(
        &mock,
        "mock trigger custom.ping --subscribers john --set n=1 --set text=hello",
    );
    assert_eq!(sent["sent"], 1);
    let event = watch.record();
    assert_eq!(event["type"], "custom.ping");
    assert_eq!((&event["n"], &event["text"]), (&json!(1), &json!("hello")));
    assert_eq!(watch.end().1.code(), Some(0));
    let lines = [
        "mock trigger custom.ping",
        "mock trigger --to john",
        "mock trigger x --to nobody",
    ];
    insta::assert_snapshot!(transcript(lines, |line| at(&mock, line)), @r#"
    $ mock trigger custom.ping
    2> error: the following required arguments were not provided:
    2>   <--to <ID>|--subscribers <ID>|--channel <CID>|--connection <ID>>
    2> 
    2> Usage: presencectl mock trigger <TYPE|--event <JSON>|--text <TEXT>> <--to <ID>|--subscribers <ID>|--channel <CID>|--connection <ID>>
    2> 
    2> For more information, try '--help'.
    exit 2
    $ mock trigger --to john
    2> error: the following required arguments were not provided:
    2>   <TYPE|--event <JSON>|--text <TEXT>>
    2> 
    2> Usage: presencectl mock trigger <TYPE|--event <JSON>|--text <TEXT>> <--to <ID>|--subscribers <ID>|--channel <CID>|--connection <ID>>
    2> 
    2> For more information, try '--help'.
    exit 2
    $ mock trigger x --to nobody
    2> presencectl: user "nobody" was not found
    2> hint: list what exists: presencectl query-users, presencectl query-channels
    exit 5
    "#);
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
    let restored = presencectl_of(&mock, ["mock", "restore", file.to_str().unwrap()]);
    assert_eq!(restored.run().record()["users"], 3);
    assert_eq!(one(&mock, "get-user jack")["online"], true);
    assert_eq!(at(&mock, "mock snapshot").stdout_of_success(), snapshot);
    let started = Presencectl::new(["get-user", "zoe", &format!("--mock={}", file.display())]);
    assert_eq!(started.run().record()["invisible"], true);

    fs::write(&file, r#"{"users": [{"id": "a b"}]}"#).unwrap();
    let refused = presencectl_of(&mock, ["mock", "restore", file.to_str().unwrap()]).run();
    let shown = refused.to_string().replace(file.to_str().unwrap(), "FILE");
    insta::assert_snapshot!(shown, @r"
    --- stderr
    presencectl: users[0]: `a b` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them
    --- exit Some(2)
    ");
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
    watch.records_until("presence.coverage");
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
    let bounded = at(&mock, "mock log -f -n 0 --timeout 1ms -o json");
    assert_eq!(bounded.stdout_of_success(), "[]\n");

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

#[test]
fn a_server_that_is_not_there_is_an_error_at_once() {
    for line in ["mock health", "mock status", "mock app create", "mock stop"] {
        // Nobody listens on this port.
        let run = Presencectl::line(&format!("{line} --base-url http://127.0.0.1:1")).run();
        insta::allow_duplicates! {
            insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: cannot connect to 127.0.0.1:1: Connection refused (os error 111)
    hint: start a mock: presencectl mock start --detach; or give its address: --base-url http://127.0.0.1:PORT
    --- exit Some(7)
    ");
        }
    }
}
