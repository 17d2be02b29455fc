//! `mock expect` and the filters of `mock log`, with real processes.

use serde_json::json;

use crate::support::mock::Mock;
use crate::support::usage_errors;
use crate::support::world::{presencectl, presencectl_of, small_world};

/// A mock that got three requests.
fn asked() -> Mock {
    let mock = small_world();
    let _ = presencectl(&mock, "set-user john --status busy")
        .run()
        .ended_with(0);
    let _ = presencectl(&mock, "get-user jack").run().ended_with(0);
    let _ = presencectl(&mock, "get-channel nope").run().ended_with(5);
    mock
}

#[test]
fn an_expectation_that_is_met_prints_a_record() {
    let mock = asked();
    for (line, matched) in [
        ("mock expect --method patch --path /users", 1),
        ("mock expect --path /users* --count 2", 2),
        ("mock expect --at-least 2 --path *", 3),
        ("mock expect --method DELETE --never", 0),
        ("mock expect --status 4xx --count 1", 1),
        ("mock expect --user john --never --since 1h", 0),
    ] {
        let run = presencectl(&mock, line).run().ended_with(0);
        let record = &run.records()[0];
        assert_eq!(record["met"], true, "{line}: {run}");
        assert!(record["matched"].as_u64() >= Some(matched), "{line}: {run}");
        assert_eq!(run.stderr, "", "{line}");
    }
    let body = ".users[0].set.status == \"busy\"";
    let run = presencectl_of(&mock, ["mock", "expect", "--body", body])
        .run()
        .ended_with(0);
    assert_eq!(run.records()[0]["matched"], 1, "{run}");
}

#[test]
fn a_failed_expectation_names_the_nearest_requests() {
    let mock = asked();
    let line = "mock expect --method PATCH --path /user --status 200";
    let run = presencectl(&mock, line).run();
    insta::assert_snapshot!(run.masked(), @r#"
    {"type":"mock.expectation","met":false,"expected":"at least 1 request PATCH /user with status 200","matched":0,"compared":3,"lost":0,"nearest":[{"number":1,"at":"TIME","method":"PATCH","path":"/users","user":null,"status":200,"differences":[{"filter":"path","expected":"/user","actual":"/users"}]},{"number":2,"at":"TIME","method":"GET","path":"/users","user":null,"status":200,"differences":[{"filter":"method","expected":"PATCH","actual":"GET"},{"filter":"path","expected":"/user","actual":"/users"}]},{"number":3,"at":"TIME","method":"GET","path":"/channels/messaging/nope","user":null,"status":404,"differences":[{"filter":"method","expected":"PATCH","actual":"GET"},{"filter":"path","expected":"/user","actual":"/channels/messaging/nope"},{"filter":"status","expected":"200","actual":404}]}]}
    --- stderr
    presencectl: nearest: PATCH /users 200 (path: expected /user, got /users)
    presencectl: nearest: GET /users 200 (method: expected PATCH, got GET; path: expected /user, got /users)
    presencectl: nearest: GET /channels/messaging/nope 404 (method: expected PATCH, got GET; path: expected /user, got /channels/messaging/nope; status: expected 200, got 404)
    presencectl: expected at least 1 request PATCH /user with status 200; 0 of 3 requests match
    hint: see every request: presencectl mock log
    --- exit Some(3)
    "#);
    let run = presencectl(&mock, "mock expect --path /users --never -o table").run();
    insta::assert_snapshot!(run, @r"
    MET    EXPECTED           MATCHED  COMPARED
    false  no request /users  2        3
    --- stderr
    presencectl: unexpected: PATCH /users 200
    presencectl: unexpected: GET /users 200
    presencectl: expected no request /users; 2 of 3 requests match
    hint: see every request: presencectl mock log
    --- exit Some(3)
    ");
    let nearest_by_body = |body: &str| {
        let words = ["mock", "expect", "--method", "PATCH", "--body", body];
        let run = presencectl_of(&mock, words).run().ended_with(3);
        run.stderr.lines().next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(
        nearest_by_body(".users[0].set.status == \"away\""),
        @r#"presencectl: nearest: PATCH /users 200 (body: `.users[0].set.status == "away"` is not true for {"users":[{"id":"john","set":{"status":"busy"}}]})"#
    );
    insta::assert_snapshot!(nearest_by_body(".users + 1"), @r#"presencectl: nearest: PATCH /users 200 (body: the expression `.users + 1` fails on a record: cannot calculate [{"id":"john","set":{"status":"busy"}}] + 1)"#);
}

#[test]
fn a_wait_ends_when_the_request_arrives() {
    let mock = small_world();
    let mut wait = presencectl(&mock, "mock expect --method PATCH --within 60s").stream();
    // What is expected comes after another request, which does not end the wait.
    let _ = presencectl(&mock, "get-user john").run().ended_with(0);
    let _ = presencectl(&mock, "set-user john --status x")
        .run()
        .ended_with(0);
    assert_eq!(wait.record()["met"], true);
    assert_eq!(wait.end().1.code(), Some(0));

    let run = presencectl(&mock, "mock expect --path /none --within 50ms").run();
    assert_eq!(run.ended_with(3).records()[0]["met"], false);
    let run = presencectl(&mock, "mock expect --path /none --never --within 50ms").run();
    assert_eq!(run.record()["met"], true);
    let run = presencectl(&mock, "mock expect --path /none --within 1h --timeout 50ms").run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: the time ran out before the expectation was decided
    --- exit Some(124)
    ");
}

#[test]
fn invalid_expectations_are_bad_usage() {
    let mock = small_world();
    let lines = [
        "mock expect --count 1 --never",
        "mock expect --at-least 0",
        "mock expect --path users",
        "mock expect --status 4x",
        "mock expect --body .[",
        "mock expect --since soon",
        "mock log --status 1000",
        "mock log -f --body .[",
        "mock expect --never --method P@TCH(",
        "mock log --method=",
        "mock expect --never --path /users?id=amy",
        "mock log --status 99",
    ];
    insta::assert_snapshot!(usage_errors(lines, |line| presencectl(&mock, line).run()), @r"
    mock expect --count 1 --never
      error: the argument '--count <N>' cannot be used with '--never'
    mock expect --at-least 0
      error: invalid value '0' for '--at-least <N>': 0 is not in 1..18446744073709551615
    mock expect --path users
      presencectl: path must begin with / or *, or it matches nothing: /users
    mock expect --status 4x
      presencectl: status must be an HTTP status, such as 404 or 4xx, not `4x`
    mock expect --body .[
      presencectl: body `.[` does not compile: expected closing bracket at the end (column 3)
    mock expect --since soon
      error: invalid value 'soon' for '--since <TIME>': `soon` is not a time; write RFC 3339 (2026-01-31T08:00:00Z), unix seconds, or a duration ago (15m)
    mock log --status 1000
      presencectl: status must be an HTTP status, such as 404 or 4xx, not `1000`
    mock log -f --body .[
      presencectl: body `.[` does not compile: expected closing bracket at the end (column 3)
    mock expect --never --method P@TCH(
      presencectl: method must be one word, such as PATCH, not `P@TCH(`
    mock log --method=
      error: a value is required for '--method <METHOD>' but none was supplied
    mock expect --never --path /users?id=amy
      presencectl: path must not have a query, or it matches nothing: /users
    mock log --status 99
      presencectl: status must be an HTTP status, such as 404 or 4xx, not `99`
    ");
    let plan = presencectl(
        &mock,
        "mock expect --path /users --count 2 --within 5s --dry-run",
    )
    .run();
    let record = &plan.ended_with(0).records()[0];
    assert_eq!(record["path"], "/_mock/expect");
    assert_eq!(
        record["body"],
        json!({"path": "/users", "count": 2, "within": "5s"})
    );
}

#[test]
fn the_log_is_filtered() {
    let mock = asked();
    let paths = |line: &str| {
        let run = presencectl(&mock, line).run().ended_with(0);
        let records = run.records();
        records
            .iter()
            .map(|entry| format!("{} {}", entry["method"], entry["path"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(paths("mock log --method PATCH"), ["PATCH /users"]);
    assert_eq!(
        paths("mock log --status 404"),
        ["GET /channels/messaging/nope"]
    );
    assert_eq!(paths("mock log --path /users -n 1"), ["GET /users"]);
    assert_eq!(paths("mock log --path /users -n 0"), [] as [&str; 0]);
    assert_eq!(
        paths("mock log --since 9999-01-01T00:00:00Z"),
        [] as [&str; 0]
    );
    assert_eq!(
        paths("mock log --body .users[0].set.status"),
        ["PATCH /users"]
    );
    let (socket, _) = mock.connect("john");
    socket.close();
    let mut follow = presencectl(&mock, "mock log -f -n 1 --method PATCH").stream();
    assert_eq!(follow.record()["method"], "PATCH");
    let _ = presencectl(&mock, "get-user john").run().ended_with(0);
    let _ = presencectl(&mock, "set-user john --status second")
        .run()
        .ended_with(0);
    let second = follow.record();
    assert_eq!(
        second["body"]["users"][0]["set"]["status"], "second",
        "{second}"
    );
}

#[test]
fn a_person_reads_lines_and_a_program_records() {
    let mock = asked();
    let log = presencectl(&mock, "mock log -n 3").run_on_terminal();
    let lines: Vec<_> = log.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines[0].contains("  PATCH /users 200 "), "{log}");
    assert!(
        lines[2].contains("  GET /channels/messaging/nope 404 "),
        "{log}"
    );
    let status = presencectl(&mock, "mock status").run_on_terminal();
    assert!(
        status.stdout.contains("users          3, 1 online"),
        "{status}"
    );
    let status = presencectl(&mock, "mock status -o json").run_on_terminal();
    assert!(status.stdout.starts_with('{'), "{status}");
    let columns = presencectl(&mock, "mock log -n 1 --columns path,status").run_on_terminal();
    assert!(columns.stdout.contains("404"), "{columns}");
}
