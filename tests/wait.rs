//! `wait`: when it ends, and with which exit code.

use crate::support::mock::Mock;
use crate::support::{Presencectl, Run, shell, transcript};

fn at(mock: &Mock, line: &str) -> Run {
    Presencectl::line(line).at(mock).run()
}

fn world() -> Mock {
    let mock = Mock::start();
    let _ = at(&mock, "set-user john jack").ended_with(0);
    mock
}

#[test]
fn a_condition_that_holds_already_ends_at_once_and_prints_the_user() {
    let mock = world();
    let _ = at(&mock, "mock user john connect").ended_with(0);
    let run = at(&mock, "wait user john --for online --timeout 1m").ended_with(0);
    assert_eq!(run.record()["id"], "john", "{run}");
    let _ = at(&mock, "wait user john --for online --timeout 0").ended_with(0);
    let _ = at(&mock, "wait user jack john --any --for online --timeout 0").ended_with(0);
}

#[test]
fn a_false_condition_exits_with_8_and_a_timeout_with_124() {
    let mock = world();
    let lines = [
        "wait user john --for online --timeout 0",
        "wait user nobody --for exists --timeout 0",
    ];
    insta::assert_snapshot!(transcript(lines, |line| at(&mock, line)), @r"
    $ wait user john --for online --timeout 0
    2> presencectl: john is offline
    exit 8
    $ wait user nobody --for exists --timeout 0
    2> presencectl: nobody does not exist
    exit 8
    ");
    let run = at(&mock, "wait user john --for online --timeout 300ms").ended_with(124);
    // On a busy machine the time may be over before john's state is known.
    let reason = run
        .stderr
        .strip_prefix("presencectl: timed out after 300ms; ");
    assert!(reason.is_some() && run.stdout.is_empty(), "{run}");
}

#[test]
fn a_condition_that_becomes_true_ends_the_wait() {
    let mock = world();
    let mut waiting = Presencectl::line("wait user john --for online --timeout 1m")
        .at(&mock)
        .stream();
    mock.await_subscription();
    let _ = at(&mock, "mock user john connect").ended_with(0);
    assert_eq!(waiting.record()["online"], true);
    let run = waiting.finish();
    assert_eq!(run.to_string(), "--- stderr\n--- exit Some(0)");
}

#[test]
fn a_user_who_is_created_later_is_found() {
    let mock = world();
    let waiting = Presencectl::line("wait user newcomer --for offline --timeout 1m --jq .id")
        .at(&mock)
        .stream();
    mock.await_request(0, |entry| {
        entry["method"] == "GET" && entry["query"].to_string().contains("newcomer")
    });
    let _ = at(&mock, "set-user newcomer").ended_with(0);
    let run = waiting.finish();
    insta::assert_snapshot!(run, @r"
    newcomer
    --- stderr
    presencectl: warning: 0 of 1 users are subscribed; missing: newcomer
    --- exit Some(0)
    ");
}

#[test]
fn temporary_errors_are_retried() {
    let fault = "mock fault add status --status 500 --count 1 --method GET --path";
    for (wait, path, change) in [
        (
            "wait channel standup --for 'any(.members[]; .user.online)'",
            "/channels/*",
            "mock user john connect",
        ),
        (
            "wait user john --for invisible",
            "/users",
            "mock user john set invisible=true",
        ),
    ] {
        let mock = world();
        let _ = at(&mock, "set-channel standup --member john,jack").ended_with(0);
        let waiting = Presencectl::line(&format!("{wait} --timeout 1m"))
            .at(&mock)
            .stream();
        mock.await_subscription();
        let _ = at(&mock, &format!("{fault} {path}")).ended_with(0);
        let _ = at(&mock, change).ended_with(0);
        let (lines, status) = waiting.end();
        assert_eq!(status.code(), Some(0), "{wait}: {lines:?}");
        let faults = at(&mock, "mock fault list").ended_with(0);
        assert_eq!(faults.records()[0]["fired"], 1, "{faults}");
    }
}

#[test]
fn invisibility_needs_the_secret() {
    let mock = world();
    let _ = at(&mock, "set-user john --invisible").ended_with(0);
    let _ = at(&mock, "wait user john --for invisible --timeout 0").ended_with(0);
    let _ = at(&mock, "wait user jack --for visible --timeout 0").ended_with(0);
    let _ = at(&mock, "wait user john --for visible --timeout 0").ended_with(8);
    let token = at(&mock, "token create jack").stdout_of_success();
    let run = Presencectl::line("wait user john --for invisible --timeout 0")
        .at(&mock)
        .env("PRESENCECTL_USER_TOKEN", token.trim())
        .run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: a user token does not show who is invisible
    hint: use an API secret: STREAM_API_SECRET, or --profile
    --- exit Some(5)
    ");
}

#[test]
fn an_expression_decides_for_users_and_channels() {
    let mock = world();
    let _ = at(&mock, "set-user john --status ready").ended_with(0);
    let ready = r#"wait user john --for '.user.status == "ready"' --timeout 0"#;
    let _ = at(&mock, ready).ended_with(0);
    let _ = at(&mock, "set-channel standup --member john,jack").ended_with(0);
    let all = "wait channel standup --for '[.members[].user.online] | all' --timeout";
    let _ = at(&mock, &format!("{all} 0")).ended_with(8);
    let waiting = Presencectl::line(&format!("{all} 1m")).at(&mock).stream();
    mock.await_subscription();
    let _ = at(&mock, "mock user john connect").ended_with(0);
    let _ = at(&mock, "mock user jack connect").ended_with(0);
    let (lines, status) = waiting.end();
    assert_eq!(status.code(), Some(0));
    assert!(lines[0].contains("messaging:standup"), "{lines:?}");
}

#[test]
fn stable_for_requires_an_uninterrupted_state() {
    let mock = world();
    let _ = at(&mock, "mock user john connect").ended_with(0);
    let _ = at(
        &mock,
        "wait user john --for online --stable-for 200ms --timeout 1m",
    )
    .ended_with(0);
    let run = at(
        &mock,
        "wait user john --for online --stable-for 1m --timeout 500ms",
    );
    assert_eq!(run.code, Some(124), "{run}");
}

#[test]
fn a_script_branches_on_the_exit_code() {
    let mock = world();
    let say = |script: &str| {
        let output = shell(&mock, script).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let wait = "presencectl -q wait user john --for online --stable-for";
    let nobody = format!("{wait} 2s --timeout 300ms || echo nobody $?");
    assert_eq!(say(&nobody), "nobody 124\n");
    let _ = at(&mock, "mock user john connect").ended_with(0);
    let somebody = format!("{wait} 100ms --timeout 1m >/dev/null && echo somebody || echo nobody");
    assert_eq!(say(&somebody), "somebody\n");
    // `head` closes the pipe after one line, which ends the stream.
    let line = say("presencectl watch users john -o ndjson | head -1");
    assert!(line.starts_with(r#"{"type":"presence.snapshot""#), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn an_unknown_state_is_bad_usage() {
    insta::assert_snapshot!(Presencectl::line("--mock wait user john --for onlin").run(), @r#"
    --- stderr
    error: invalid value 'onlin' for '--for <STATE>': unknown state `onlin`; expected one of online, offline, visible, invisible, exists, or a jq expression such as '.user.status == "ready"'

    For more information, try '--help'.
    --- exit Some(2)
    "#);
}

#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_ends_the_wait() {
    let mock = world();
    let waiting = Presencectl::line("wait user john --for online --timeout 1m")
        .at(&mock)
        .stream();
    mock.await_subscription();
    waiting.signal("HUP");
    let run = waiting.finish().ended_with(129);
    assert_eq!((&*run.stdout, &*run.stderr), ("", ""));
}
