//! `mock start` as a process: its one record, its secret, its end.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;

use crate::support::mock::Mock;
use crate::support::{Presencectl, Stream};

fn start(line: &str) -> (Stream, serde_json::Value) {
    let mut server = Presencectl::line(line)
        .env("PRESENCECTL_MOCK_SECRET", "hush")
        .stream();
    let ready = server.record();
    (server, ready)
}

#[test]
fn the_ready_record_is_enough_to_use_it() {
    let (server, ready) = start("mock start --port 0 --api-key K");
    assert_eq!(ready["type"], "mock.ready");
    assert_eq!(ready["api_key"], "K");
    assert_eq!(ready["pid"], server.pid());
    assert!(!ready.to_string().contains("hush"), "{ready}");
    let url = ready["url"].as_str().unwrap();
    let client = |line: &str, secret: &str| {
        Presencectl::line(line)
            .env("PRESENCECTL_BASE_URL", url)
            .env("STREAM_API_KEY", "K")
            .env("STREAM_API_SECRET", secret)
            .run()
    };
    let set = client("set-user john --status 'at lunch'", "hush").ended_with(0);
    assert_eq!(set.records()[0]["status"], "at lunch", "{set}");
    let wrong = client("query-users", "wrong").ended_with(4);
    assert!(wrong.stderr.contains("STREAM_API_SECRET"), "{wrong}");
    server.signal("TERM");
    let (rest, status) = server.end();
    assert_eq!(rest, Vec::<String>::new());
    assert_eq!((status.code(), status.signal()), (Some(143), None));
}

#[test]
fn timeout_ends_the_server() {
    let (server, _) = start("mock start --timeout 300ms");
    assert_eq!(server.end().1.code(), Some(0));
}

#[test]
fn an_interrupt_exits_with_130() {
    let (server, _) = start("mock start");
    server.signal("INT");
    assert_eq!(server.end().1.code(), Some(130));
}

#[test]
fn shell_assignments_name_every_sdks_variables_and_the_secret() {
    let mut server = Presencectl::line("mock start --print env --api-key K'1")
        .env("PRESENCECTL_MOCK_SECRET", "hush")
        .stream();
    let lines: Vec<String> = (0..8).map(|_| server.line()).collect();
    assert!(
        lines.contains(&r"export STREAM_API_SECRET='hush'".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("export STREAM_BASE_URL='http://127.0.0.1:"))
    );
    server.signal("INT");
    let _ = server.end();
}

#[test]
fn a_taken_port_exits_with_13() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let run = Presencectl::line(&format!("mock start --port {port}"))
        .run()
        .ended_with(13);
    assert!(run.stderr.contains(&format!("127.0.0.1:{port}")), "{run}");
    assert!(run.stderr.contains("--port 0"), "{run}");
    assert_eq!(run.stdout, "");
}

#[test]
fn a_broken_fixture_exits_with_13_and_the_position() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("world.json");
    std::fs::write(&file, r#"{"users":[{"id":"a b"}]}"#).unwrap();
    let run = Presencectl::line(&format!("mock start --fixture {}", file.display()))
        .run()
        .ended_with(13);
    assert!(run.stderr.contains("a b"), "{run}");
    let run = Presencectl::line(&format!("query-users --mock={}", file.display()))
        .run()
        .ended_with(13);
    assert!(run.stderr.contains("world.json"), "{run}");
}

#[test]
fn a_running_mock_is_controlled_from_the_command_line() {
    let mock = Mock::start();
    let at = |line: &str| Presencectl::line(line).at(&mock).run();
    let _ = at("set-user john").ended_with(0);
    let _ = at("mock user john connect").ended_with(0);
    assert_eq!(at("query-users").records()[0]["online"], true);
    assert_eq!(at("mock status").records()[0]["connections"], 1);
    let frozen = at("mock clock freeze 2026-01-31T08:00:00Z").ended_with(0);
    assert_eq!(frozen.records()[0]["now"], "2026-01-31T08:00:00Z");
    let moved = at("mock clock advance 1h30m").ended_with(0);
    assert_eq!(moved.records()[0]["now"], "2026-01-31T09:30:00Z");
    let _ = at("mock reset").ended_with(0);
    assert_eq!(at("mock status").records()[0]["users"], 0);
    let nobody = Presencectl::line("mock status").run().ended_with(2);
    assert!(nobody.stderr.contains("--base-url"), "{nobody}");
}

#[test]
fn rule_options_are_flags_and_invalid_values_are_named() {
    let (server, ready) = start("mock start --presence-cap-users 3");
    assert_eq!(ready["type"], "mock.ready");
    drop(server);
    let run = Presencectl::line("mock start --presence-cap-users many")
        .run()
        .ended_with(2);
    assert!(
        run.stderr.contains("presence-cap-users") && run.stderr.contains("a whole number"),
        "{run}"
    );
}

#[test]
fn the_output_of_a_query_is_a_fixture() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("users.json");
    let queried = Presencectl::line("--mock query-users --sort id -n 3 -o json");
    let queried = queried.run().ended_with(0);
    std::fs::write(&file, &queried.stdout).unwrap();
    let run = Presencectl::line(&format!(
        "query-users --sort id --jq .id --mock={}",
        file.display()
    ))
    .run()
    .ended_with(0);
    assert_eq!(run.stdout, "amy\nbob\ncarla\n", "{run}");
    let warnings: Vec<&str> = run.stderr.lines().collect();
    assert!(
        matches!(warnings[..], [line] if line.contains("read-only") && line.contains("devices")),
        "{run}"
    );
}

#[test]
fn no_token_is_in_the_log() {
    let mock = Mock::start();
    let token = crate::support::mock::user_token("john");
    let field = format!("picture=https://cdn.example/a.png?token={token}");
    let _ = Presencectl::new([
        "set-user",
        "john",
        "--set",
        &field,
        "--set",
        "note=?api_token=hush",
    ])
    .at(&mock)
    .run()
    .ended_with(0);
    let _ = Presencectl::new(["api", "GET", &format!("users/{token}")])
        .at(&mock)
        .run();
    let log = Presencectl::line("mock log").at(&mock).run().ended_with(0);
    assert!(log.stdout.contains("cdn.example"), "{log}");
    let signature = token.rsplit('.').next().unwrap();
    for secret in [signature, "eyJ", "hush"] {
        assert!(!log.stdout.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn a_container_gets_its_fixture_and_is_checked_without_files_or_a_token() {
    let start = |fixture: &str| {
        Presencectl::line("mock start --host 0.0.0.0")
            .env("PRESENCECTL_MOCK_SECRET", "hush")
            .env("PRESENCECTL_MOCK_FIXTURE", fixture)
    };
    let mut server = start(r#"{"users": [{"id": "amy", "status": "at lunch"}]}"#).stream();
    let ready = server.record();
    let url = ready["url"].as_str().unwrap();
    let client = |line: &str| {
        Presencectl::line(line)
            .env("PRESENCECTL_BASE_URL", url)
            .env("STREAM_API_KEY", "mock-key")
            .env("STREAM_API_SECRET", "hush")
            .run()
    };
    let users = client("query-users --jq .status").stdout_of_success();
    assert_eq!(users, "at lunch\n");
    assert_eq!(client("mock health").stdout_of_success(), "");
    let _ = client("mock status").ended_with(5);
    server.signal("TERM");
    let _ = server.end();
    let _ = client("mock health").ended_with(7);

    let wrong = start("[1]").run().ended_with(13);
    assert!(
        wrong
            .stderr
            .contains("PRESENCECTL_MOCK_FIXTURE is not a valid fixture: "),
        "{wrong}"
    );
    let missing = start("none.json").run().ended_with(13);
    assert!(
        missing.stderr.contains("cannot read none.json: "),
        "{missing}"
    );
}
