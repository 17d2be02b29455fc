//! `mock run` with real processes: what a scenario does, what it prints, and how it fails.

use std::fs;

use presencectl::mock::EXAMPLE_SCENARIOS;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Presencectl, Run, binary};

/// A folder with the scenario.
fn folder(scenario: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
    folder
}

/// `presencectl mock run` with this scenario. In the output, the folder is not shown.
fn run(scenario: &str, words: &[&str]) -> Run {
    run_in(&folder(scenario), words)
}

fn run_in(folder: &TempDir, words: &[&str]) -> Run {
    let file = folder.path().join("scenario.yaml");
    let (flags, command) = match words.iter().position(|word| *word == "--") {
        Some(at) => words.split_at(at),
        None => (words, &[][..]),
    };
    let line = ["mock", "run", file.to_str().unwrap(), "-q"].into_iter();
    let mut run = Presencectl::new(
        line.chain(flags.iter().copied())
            .chain(command.iter().copied()),
    )
    .run();
    let shown = format!("{}/", folder.path().display());
    run.stdout = run.stdout.replace(&shown, "");
    run.stderr = run.stderr.replace(&shown, "");
    run
}

const DAY: &str = "
seed: 7
fixture: {users: [{id: amy, name: Amy}, {id: bob}]}
clock: {freeze: 2026-01-31T08:00:00Z}
steps:
  - {at: 0s, user: {id: amy, connect: true}}
  - {at: 5s, user: {id: amy, set: {status: busy}}}
  - {at: 8s, fault: {kind: drop, user: amy}}
  - {at: 10s, user: {id: amy, disconnect: true}}
  - {trigger: {event: {type: custom.ping}, user: amy}}
  - expect: {method: GET, path: /users, never: true}
  - repeat: {at: 20s, every: 2s, times: 3, jitter: 50%, steps: [{user: {id: bob, toggle: true}}]}
  - {clock: {advance: 1h}}
  - {after: 1s, clear_faults: true}
";

#[test]
fn each_step_is_a_record_and_two_runs_are_the_same() {
    let first = run(DAY, &[]).ended_with(0);
    insta::assert_snapshot!(first, @r#"
    {"type":"mock.step","number":1,"at":"2026-01-31T08:00:00Z","line":6,"action":"connect","user":"amy","ok":true}
    {"type":"mock.step","number":2,"at":"2026-01-31T08:00:05Z","line":7,"action":"set","user":"amy","ok":true}
    {"type":"mock.step","number":3,"at":"2026-01-31T08:00:08Z","line":8,"action":"fault","ok":true,"fault":"f1"}
    {"type":"mock.step","number":4,"at":"2026-01-31T08:00:10Z","line":9,"action":"disconnect","user":"amy","ok":true}
    {"type":"mock.step","number":5,"at":"2026-01-31T08:00:10Z","line":10,"action":"trigger","ok":true,"sent":0}
    {"type":"mock.step","number":6,"at":"2026-01-31T08:00:10Z","line":11,"action":"expect","ok":true,"expectation":{"type":"mock.expectation","met":true,"expected":"no request GET /users","matched":0,"compared":0,"lost":0}}
    {"type":"mock.step","number":7,"at":"2026-01-31T08:00:20.289488831Z","line":12,"action":"toggle","user":"bob","ok":true}
    {"type":"mock.step","number":8,"at":"2026-01-31T08:00:22.457610775Z","line":12,"action":"toggle","user":"bob","ok":true}
    {"type":"mock.step","number":9,"at":"2026-01-31T08:00:24.456709993Z","line":12,"action":"toggle","user":"bob","ok":true}
    {"type":"mock.step","number":10,"at":"2026-01-31T09:00:26Z","line":13,"action":"clock","ok":true}
    {"type":"mock.step","number":11,"at":"2026-01-31T09:00:27Z","line":14,"action":"clear_faults","ok":true}
    --- stderr
    --- exit Some(0)
    "#);
    assert_eq!(run(DAY, &["--speed", "max"]), first);
    assert_eq!(run(DAY, &["--speed", "1000"]), first);
    let table = run(DAY, &["-o", "table"]).ended_with(0);
    assert!(
        table
            .stdout
            .starts_with("08:00:00  ✓ line 6: connect amy\n"),
        "{table}"
    );
}

#[test]
fn the_examples_are_valid_and_the_busy_day_repeats() {
    for example in EXAMPLE_SCENARIOS {
        let line = format!("mock run --example {} --check", example.name);
        let check = Presencectl::line(&line).run().ended_with(0);
        assert_eq!(check.records()[0]["type"], "mock.check", "{check}");
        let line = format!("mock run --example {} --print", example.name);
        assert_eq!(
            Presencectl::line(&line).run().stdout_of_success(),
            example.text
        );
    }
    let run = || {
        Presencectl::line("mock run --example on-call -q")
            .run()
            .ended_with(0)
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    assert_eq!(first.records().len(), 28, "{first}");
    let fast = Presencectl::line("mock run --example flaky-network --speed max -q").run();
    assert_eq!(fast.ended_with(0).records().len(), 11);
}

#[test]
fn mistakes_are_reported_with_line_and_column() {
    let mut shown = String::new();
    for scenario in [
        "steps: [{at: 1s}]",
        "steps:\n  - {at: 1s, user: {id: amy, conect: true}}",
        "steps:\n  - {at: soon, user: {id: amy, connect: true}}",
        "steps:\n  - {user: {id: amy, connect: true}, clear_faults: true}",
        "steps:\n  - user: {id: amy, connect: false}",
        "steps:\n  - user: {id: 'a b', connect: true}",
        "steps:\n  - user: {connect: true}",
        "steps:\n  - user: {id: amy}",
        "steps:\n  - fault: {kind: drop, status: 500}",
        "steps:\n  - expect: {path: users}",
        "steps:\n  - expect: {body: '.['}",
        "steps:\n  - expect: {count: 1, never: true}",
        "steps:\n  - wait_for: {within: 1s}",
        "steps:\n  - repeat: {every: 1s, steps: []}",
        "steps:\n  - repeat: {every: 1s, times: 2, jitter: 120%, steps: []}",
        "steps:\n  - trigger: {user: amy}",
        "steps:\n  - clock: {freeze: noon}",
        "version: 2\nsteps: []",
        "fixture:\n  users:\n    - {id: amy}\n    - {id: 'b c'}\nsteps: []",
        "fixture: nowhere.yaml\nsteps: []",
        "options: {idle-timeout: never}\nsteps: []",
        "options: {idle-time: 1s}\nsteps: []",
        "generate: {users: 3, id: user}\nsteps: []",
        "clock: {freeze: yesterday}\nsteps: []",
        "steps:\n  - user:\n      id: ${NOBODY}\n      connect: true",
        "steps: [",
        "{\"steps\": [{\"user\": {\"id\": \"amy\", \"connect\": 1}}]}",
        "",
        "hello",
        "steps: 5",
        "steps:\n  - {at: [5s], clear_faults: true}",
        "steps:\n  - expect: {count: -1}",
        "seed: seven\nsteps: []",
        "steps: []\nsteps: []",
        "steps: []\n---\nsteps: []",
        "steps:\n  - {at: '${HOME DIR}', clear_faults: true}",
        "steps:\n  - {at: '${HOME}', clear_faults: true}",
        "steps:\n  - wait_for: {connection: 'a b'}",
        "steps:\n  - wait_for: {request: {path: /users, within: 1s}, within: 2s}",
        "steps:\n  - expect: {method: GET USERS}",
        "steps:\n  - expect: {path: '/users?id=amy'}",
        "steps:\n  - expect: {status: 99}",
    ] {
        let run = run(scenario, &["--check"]).ended_with(13);
        assert_eq!(run.stdout, "", "{run}");
        shown.push_str(run.stderr.lines().next().unwrap());
        shown.push('\n');
    }
    insta::assert_snapshot!(shown.replace("presencectl: ", ""), @r"
    scenario.yaml:1:9: the step has no action; expected one of user, fault, clear_faults, clock, trigger, wait_for, expect or repeat
    scenario.yaml:2:30: unknown field `conect`, expected one of id, any, connect, disconnect, drop, toggle, set, unset
    scenario.yaml:2:10: `soon` is not a duration; write 250ms, 10s, 5m, 1h30m or 2d
    scenario.yaml:2:5: the step has more than one action; expected one of user, fault, clear_faults, clock, trigger, wait_for, expect or repeat
    scenario.yaml:2:30: `false` is not allowed, expected true, or no such field
    scenario.yaml:2:11: `a b` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them
    scenario.yaml:2:11: expected either id, or any with a glob of ids
    scenario.yaml:2:11: expected exactly one of connect, disconnect, drop, toggle, or set and/or unset
    scenario.yaml:2:12: status does not go with a fault of kind drop
    scenario.yaml:2:13: path must begin with / or *, or it matches nothing: /users
    scenario.yaml:2:13: body `.[` does not compile: expected closing bracket at the end (column 3)
    scenario.yaml:2:13: only one of count, at_least and never can be set
    scenario.yaml:2:15: expected either request or connection
    scenario.yaml:2:13: expected either times or for
    scenario.yaml:2:43: `120%` is not a percentage, expected 0% to 100%
    scenario.yaml:2:14: exactly one of `event` and `text` is required
    scenario.yaml:2:12: freeze must be true, or a time such as 2026-01-31T08:00:00Z
    scenario.yaml:1:10: version 2 is not known, expected 1
    scenario.yaml:4:7: `b c` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them
    scenario.yaml:1:10: cannot read nowhere.yaml: No such file or directory (os error 2)
    scenario.yaml:1:25: `never` is not a value of idle-timeout: expected a duration
    scenario.yaml:1:22: unknown option `idle-time`, expected one of those that `presencectl mock start --help` lists
    scenario.yaml:1:11: id must contain {n}, which is replaced by a number
    scenario.yaml:1:17: `yesterday` is not a time, expected RFC 3339, such as 2026-01-31T08:00:00Z
    scenario.yaml:3:11: the variable `NOBODY` is not set
    scenario.yaml:1:8: unclosed bracket '['
    scenario.yaml:1:46: `1` is not allowed, expected true, or no such field
    scenario.yaml:1:1: the file is empty, expected a scenario with steps
    scenario.yaml:1:1: expected an object, such as {name: value}
    scenario.yaml:1:8: expected a list
    scenario.yaml:2:10: expected a text
    scenario.yaml:2:21: expected a whole number, 0 or more
    scenario.yaml:1:7: expected a whole number, 0 or more
    scenario.yaml:2:1: the field `steps` is there twice
    scenario.yaml:3:1: there is a second document, expected one scenario in a file
    scenario.yaml:2:10: `${HOME DIR}` is not a variable, expected letters, digits and _, as in ${NAME}
    scenario.yaml:2:10: `${HOME}` is not a duration; write 250ms, 10s, 5m, 1h30m or 2d
    scenario.yaml:2:15: `a b` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them
    scenario.yaml:2:15: `within` is given twice; put it beside `request` or inside it, not both
    scenario.yaml:2:13: method must be one word, such as PATCH, not `GET USERS`
    scenario.yaml:2:13: path must not have a query, or it matches nothing: /users
    scenario.yaml:2:13: status must be an HTTP status, such as 404 or 4xx, not `99`
    ");
}

#[test]
fn variables_come_from_flags_and_the_environment() {
    for scenario in [
        "steps:\n- user:\n    id: bob\n    set:\n      status: ${STATUS}\n- expect: {count: \"${COUNT:-0}\"}\n",
        r#"{"steps":[{"user":{"id":"bob","set":{"status":"${STATUS}"}}},{"expect":{"count":0,"body":". as $x | $x"}}]}"#,
    ] {
        let folder = folder(scenario);
        let run = run_in(&folder, &["--var", "STATUS=at lunch"]).ended_with(0);
        assert_eq!(run.records().len(), 2, "{run}");
        let unset = run_in(&folder, &["--check"]).ended_with(13);
        assert!(
            unset.stderr.contains("the variable `STATUS` is not set"),
            "{unset}"
        );
    }
    let late = run(r#"steps: [{user: {id: "${A:-amy}$", conect: true}}]"#, &[]).ended_with(13);
    assert!(
        late.stderr
            .contains("scenario.yaml:1:35: unknown field `conect`"),
        "{late}"
    );
    let folder = folder("steps:\n  - user:\n      id: ${WHO}\n      connect: true\n");
    let file = folder.path().join("scenario.yaml");
    let run = Presencectl::new(["mock", "run", file.to_str().unwrap()])
        .env("WHO", "amy")
        .run()
        .ended_with(0);
    assert_eq!(run.records()[0]["user"], "amy");
    assert!(
        run.stderr
            .starts_with("presencectl: mock server ready at http://127.0.0.1:"),
        "{run}"
    );
}

#[test]
fn a_fixture_and_options_come_from_the_scenario() {
    let folder = folder(
        "fixture: world.json\noptions: {status-sends-presence: true}\nsteps: [{expect: {never: true}}]\n",
    );
    fs::write(
        folder.path().join("world.json"),
        r#"{"users": [{"id": "amy"}]}"#,
    )
    .unwrap();
    let check = run_in(&folder, &["--check"]).ended_with(0);
    assert_eq!(check.records()[0]["users"], 1, "{check}");
    fs::write(
        folder.path().join("world.json"),
        r#"{"users": [{"id": "a b"}]}"#,
    )
    .unwrap();
    let check = run_in(&folder, &["--check"]).ended_with(13);
    assert!(check.stderr.contains("scenario.yaml:1:10: "), "{check}");
}

#[cfg(unix)]
#[test]
fn files_are_read_up_to_a_limit() {
    let mut shown = String::new();
    for line in [
        "mock run --check /dev/zero",
        "mock exec --fixture /dev/zero -- true",
        "query-users --mock=/dev/zero",
        "mock restore /dev/zero --base-url http://127.0.0.1:1",
    ] {
        shown.push_str(&Presencectl::line(line).run().to_string());
        shown.push('\n');
    }
    shown.push_str(&run("fixture: /dev/zero\nsteps: []", &[]).to_string());
    insta::assert_snapshot!(shown, @r"
    --- stderr
    presencectl: cannot read /dev/zero: it is larger than 16 MiB
    hint: start from an example: presencectl mock run --example on-call --print
    --- exit Some(13)
    --- stderr
    presencectl: cannot read /dev/zero: it is larger than 256 MiB
    --- exit Some(13)
    --- stderr
    presencectl: cannot read the fixture /dev/zero: it is larger than 256 MiB
    --- exit Some(13)
    --- stderr
    presencectl: /dev/zero is not a fixture: it is larger than 64 MiB
    hint: write one: presencectl mock snapshot > world.json
    --- exit Some(2)
    --- stderr
    presencectl: scenario.yaml:1:10: cannot read /dev/zero: it is larger than 256 MiB
    hint: see what a scenario may contain: presencectl schema mock.scenario
    --- exit Some(13)
    ");
}

#[test]
fn a_command_runs_against_the_scenario() {
    let scenario = "
clock: {freeze: 2026-01-31T08:00:00Z}
steps:
  - {user: {id: amy, connect: true}}
  - wait_for: {request: {path: /users}, within: 60s}
  - {after: 1s, user: {id: amy, disconnect: true}}
  - expect: {path: /users, count: 1}
  - expect: {method: DELETE, within: 60s}
";
    let folder = folder(scenario);
    let tee = folder.path().join("steps.ndjson");
    let junit = folder.path().join("report.xml");
    // The command starts together with the scenario, whose first step it waits for. Control requests are not expected.
    let script = "until [ \"$(\"$0\" mock status --jq .online)\" = 1 ]; do :; done
                  \"$0\" get-user amy --jq .online; exit $1";
    let with_command = |code: &str| {
        let binary = binary();
        run_in(
            &folder,
            &[
                "--tee",
                tee.to_str().unwrap(),
                "--junit",
                junit.to_str().unwrap(),
                "--",
                "sh",
                "-c",
                script,
                binary.to_str().unwrap(),
                code,
            ],
        )
    };
    // The command's code comes first.
    let run = with_command("7").ended_with(7);
    assert_eq!(run.stdout, "true\n", "{run}");
    let run = with_command("0");
    insta::assert_snapshot!(run, @r"
    true
    --- stderr
    presencectl: 1 expectation is not met
    hint: each failed step has `ok: false`; keep the records with --tee FILE
    --- exit Some(3)
    ");
    let steps = fs::read_to_string(&tee).unwrap();
    let steps: Vec<Value> = steps
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(steps.len(), 5);
    assert_eq!(steps[4]["ok"], false);
    let report = fs::read_to_string(&junit).unwrap();
    insta::assert_snapshot!(report.replace(&format!("{}/", folder.path().display()), ""), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="presencectl mock run" tests="3" skipped="0" failures="1" errors="0">
        <testsuite name="scenario.yaml" tests="3" skipped="0" errors="0" failures="1">
            <testcase name="line 5: wait_for at least 1 request /users" classname="scenario.yaml"/>
            <testcase name="line 7: expect exactly 1 request /users" classname="scenario.yaml"/>
            <testcase name="line 8: expect at least 1 request DELETE" classname="scenario.yaml">
                <failure message="expected at least 1 request DELETE; 0 of 1 requests match">nearest: GET /users 200 (method: expected DELETE, got GET)</failure>
            </testcase>
        </testsuite>
    </testsuites>
    "#);

    let missing = run_in(&folder, &["--", "no-such-program"]);
    assert_eq!(missing.code, Some(127), "{missing}");
    let denied = run_in(&folder, &["--", "/etc/passwd"]);
    assert_eq!(denied.code, Some(126), "{denied}");
}

#[test]
fn a_client_that_connects_ends_a_wait() {
    let scenario = "
fixture: {users: [{id: amy}, {id: bob}]}
steps:
  - wait_for: {connection: presencectl-observer, within: 60s}
  - wait_for: {request: {path: /users, user: presencectl-observer}, within: 60s}
  - {user: {id: amy, connect: true}}
";
    let binary = binary();
    let script = "exec \"$0\" watch users amy -n 1 --jq .type";
    let run = run(
        scenario,
        &["--", "sh", "-c", script, binary.to_str().unwrap()],
    );
    assert!(
        run.clone()
            .ended_with(0)
            .stdout
            .contains("user.presence.changed\n"),
        "{run}"
    );
}

#[test]
fn a_wait_that_fails_ends_the_run_and_a_refused_step_too() {
    let scenario = "
clock: {freeze: 2026-01-31T08:00:00Z}
steps:
- repeat: {every: 1s, times: 5, steps: [{clear_faults: true}]}
- {at: 2s, wait_for: {connection: amy, within: 20ms}}
- {user: {id: amy, connect: true}}
- {user: {any: '*', drop: true}}
- expect: {path: /users, count: 1}
- wait_for: {connection: bob}
";
    let folder = folder(scenario);
    let junit = folder.path().join("report.xml");
    let failed = run_in(&folder, &["--junit", junit.to_str().unwrap()]);
    insta::assert_snapshot!(failed, @r#"
    {"type":"mock.step","number":1,"at":"2026-01-31T08:00:00Z","line":4,"action":"clear_faults","ok":true}
    {"type":"mock.step","number":2,"at":"2026-01-31T08:00:01Z","line":4,"action":"clear_faults","ok":true}
    {"type":"mock.step","number":3,"at":"2026-01-31T08:00:02Z","line":4,"action":"clear_faults","ok":true}
    {"type":"mock.step","number":4,"at":"2026-01-31T08:00:02Z","line":5,"action":"wait_for","user":"amy","ok":false,"error":"no client of amy is connected"}
    {"type":"mock.step.skipped","line":4,"action":"clear_faults","ok":false,"error":"did not run: the wait on line 5 failed","count":2}
    {"type":"mock.step.skipped","line":6,"action":"connect","user":"amy","ok":false,"error":"did not run: the wait on line 5 failed","count":1}
    {"type":"mock.step.skipped","line":7,"action":"drop","ok":false,"error":"did not run: the wait on line 5 failed","count":1}
    {"type":"mock.step.skipped","line":8,"action":"expect","ok":false,"error":"did not run: the wait on line 5 failed","count":1,"expected":"exactly 1 request /users"}
    {"type":"mock.step.skipped","line":9,"action":"wait_for","user":"bob","ok":false,"error":"did not run: the wait on line 5 failed","count":1}
    --- stderr
    presencectl: 1 expectation is not met
    hint: each failed step has `ok: false`; keep the records with --tee FILE
    --- exit Some(3)
    "#);
    let report = fs::read_to_string(&junit).unwrap();
    let report = report.replace(&format!("{}/", folder.path().display()), "");
    insta::assert_snapshot!(report, @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="presencectl mock run" tests="3" skipped="2" failures="1" errors="0">
        <testsuite name="scenario.yaml" tests="3" skipped="2" errors="0" failures="1">
            <testcase name="line 5: wait_for amy" classname="scenario.yaml">
                <failure message="no client of amy is connected"></failure>
            </testcase>
            <testcase name="line 8: expect exactly 1 request /users" classname="scenario.yaml">
                <skipped message="did not run: the wait on line 5 failed"/>
            </testcase>
            <testcase name="line 9: wait_for bob" classname="scenario.yaml">
                <skipped message="did not run: the wait on line 5 failed"/>
            </testcase>
        </testsuite>
    </testsuites>
    "#);
    insta::assert_snapshot!(run_in(&folder, &["-o", "table"]).stdout, @r"
    08:00:00  ✓ line 4: clear_faults
    08:00:01  ✓ line 4: clear_faults
    08:00:02  ✓ line 4: clear_faults
    08:00:02  ✗ line 5: wait_for amy
              - line 4: clear_faults (2 times)
              - line 6: connect amy
              - line 7: drop
              - line 8: expect exactly 1 request /users
              - line 9: wait_for bob
    ");
    let failed = run("steps:\n- {user: {id: ghost, drop: true}}\n", &["-qq"]);
    insta::assert_snapshot!(failed.stderr, @r#"
    presencectl: the mock refused a step: line 2: user "ghost" was not found
    hint: fix the step on that line; see what a step may contain: presencectl schema mock.scenario
    "#);
    assert_eq!(failed.code, Some(5), "{failed}");
    let failed = run("steps:\n- {user: {any: 'nobody*', drop: true}}\n", &[]).ended_with(5);
    assert_eq!(failed.records()[0]["ok"], false);
}

#[test]
fn a_signal_ends_a_run_and_a_reader_who_leaves_too() {
    let folder = folder(
        "steps:\n- {user: {id: amy, connect: true}}\n- {at: 1h, user: {id: amy, disconnect: true}}\n",
    );
    let file = folder.path().join("scenario.yaml");
    let mut stream = Presencectl::new(["mock", "run", file.to_str().unwrap()]).stream();
    assert_eq!(stream.record()["action"], "connect");
    stream.signal("INT");
    assert_eq!(stream.end().1.code(), Some(130));
    let report = folder.path().join("report.xml");
    let line = ["mock", "run", file.to_str().unwrap(), "-o", "json"];
    let flags = ["--timeout", "300ms", "--junit", report.to_str().unwrap()];
    let timed_out = Presencectl::new(line.iter().chain(&flags)).run();
    let records: Value = serde_json::from_str(&timed_out.stdout).unwrap();
    assert_eq!(records[0]["action"], "connect", "{timed_out}");
    let skipped = json!({
        "type": "mock.step.skipped", "line": 3, "action": "disconnect", "user": "amy", "ok": false,
        "error": "did not run: the time ran out before the last step", "count": 1,
    });
    assert_eq!(records[1], skipped, "{timed_out}");
    let error = timed_out.stderr.lines().last().unwrap();
    insta::assert_snapshot!(error, @r#"{"error":{"kind":"timed_out","message":"the time ran out before the last step","exit_code":124,"api_code":null,"hint":"give it more time with --timeout, or let the clock jump with --speed max"}}"#);
    assert_eq!(timed_out.code, Some(124), "{timed_out}");
    let report = fs::read_to_string(report).unwrap();
    assert!(
        report.contains("<error message=\"the time ran out"),
        "{report}"
    );
    let printed = Presencectl::line("mock run --example nothing")
        .run()
        .ended_with(2);
    assert!(printed.stderr.contains("busy-day"), "{printed}");
    let missing = Presencectl::line("mock run /nowhere.yaml").run();
    let words = ["--junit", "/nowhere/report.xml"];
    let unwritable = run("steps:\n- {expect: {path: /users}}\n", &words);
    insta::assert_snapshot!(unwritable, @r"
    --- stderr
    presencectl: cannot write /nowhere/report.xml: No such file or directory (os error 2)
    --- exit Some(2)
    ");
    insta::assert_snapshot!(missing, @r"
    --- stderr
    presencectl: cannot read /nowhere.yaml: No such file or directory (os error 2)
    hint: start from an example: presencectl mock run --example on-call --print
    --- exit Some(13)
    ");
}

#[test]
fn every_example_and_the_scenarios_of_this_file_follow_the_schema() {
    let schema = Presencectl::line("schema mock.scenario")
        .run()
        .stdout_of_success();
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    let address = "https://presencectl.test/scenario";
    compiler
        .add_resource(address, serde_json::from_str(&schema).unwrap())
        .unwrap();
    let index = compiler.compile(address, &mut schemas).unwrap();
    let texts = EXAMPLE_SCENARIOS
        .iter()
        .map(|example| example.text)
        .chain([DAY]);
    for text in texts {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        if let Err(error) = schemas.validate(&value, index) {
            panic!("{error:#}\n{text}");
        }
    }
    let unknown = json!({"steps": [{"user": {"id": "amy", "conect": true}}]});
    assert!(schemas.validate(&unknown, index).is_err());
}
