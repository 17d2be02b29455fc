//! `mock start` as a process: its one record, its secret, its end.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;

use crate::support::mock::Mock;
use crate::support::{Presencectl, Stream, transcript};

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
    let set = Presencectl::line("set-user john --status 'at lunch'");
    let set = set.at_url(url, "K", "hush").run();
    assert_eq!(set.record()["status"], "at lunch");
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
    let words = "mock start --print env --timeout 1ms --api-key".split(' ');
    let server = Presencectl::new(words.chain(["K'1"])).env("PRESENCECTL_MOCK_SECRET", "hush");
    insta::assert_snapshot!(server.run().masked(), @r"
    export STREAM_API_KEY='K'\''1'
    export STREAM_API_SECRET='hush'
    export STREAM_KEY='K'\''1'
    export STREAM_SECRET='hush'
    export STREAM_CHAT_URL='http://127.0.0.1:PORT'
    export STREAM_BASE_URL='http://127.0.0.1:PORT'
    export PRESENCECTL_BASE_URL='http://127.0.0.1:PORT'
    export STREAM_LOCAL_TEST_HOST='127.0.0.1:PORT'
    --- stderr
    --- exit Some(0)
    ");
}

#[test]
fn a_taken_port_exits_with_13() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let run = Presencectl::line(&format!("mock start --port {port}")).run();
    insta::assert_snapshot!(run.masked(), @r"
    --- stderr
    presencectl: cannot listen on 127.0.0.1:PORT: Address already in use (os error 98)
    hint: pick a free port: --port 0
    --- exit Some(13)
    ");
}

#[test]
fn a_broken_fixture_exits_with_13_and_the_position() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("world.json");
    std::fs::write(&file, r#"{"users":[{"id":"a b"}]}"#).unwrap();
    let file = file.to_str().unwrap();
    let lines = ["mock start --fixture FILE", "query-users --mock=FILE"];
    let shown = transcript(lines, |line| {
        Presencectl::line(&line.replace("FILE", file)).run()
    });
    insta::assert_snapshot!(shown.replace(file, "FILE"), @r"
    $ mock start --fixture FILE
    2> presencectl: FILE is not a valid fixture: users[0]: `a b` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them
    exit 13
    $ query-users --mock=FILE
    2> presencectl: the fixture FILE does not load: users[0]: `a b` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them
    exit 13
    ");
}

#[test]
fn a_running_mock_is_controlled_from_the_command_line() {
    let mock = Mock::start();
    let lines = [
        "set-user john --jq .online",
        "mock user john connect --jq .connection_id|type",
        "query-users --jq .online",
        "mock status --jq .connections",
        "mock clock freeze 2026-01-31T08:00:00Z",
        "mock clock advance 1h30m",
        "mock reset",
        "mock status --jq .users",
    ];
    insta::assert_snapshot!(transcript(lines, |line| Presencectl::line(line).at(&mock).run()), @r#"
    $ set-user john --jq .online
    false
    $ mock user john connect --jq .connection_id|type
    string
    $ query-users --jq .online
    true
    $ mock status --jq .connections
    1
    $ mock clock freeze 2026-01-31T08:00:00Z
    {"now":"2026-01-31T08:00:00Z","clock":"frozen"}
    $ mock clock advance 1h30m
    {"now":"2026-01-31T09:30:00Z","clock":"frozen"}
    $ mock reset
    $ mock status --jq .users
    0
    "#);
    insta::assert_snapshot!(Presencectl::line("mock status").run(), @r"
    --- stderr
    presencectl: no address of a mock server was given
    hint: name it: --base-url http://127.0.0.1:PORT, as `presencectl mock start` prints it
    --- exit Some(2)
    ");
}

#[test]
fn rule_options_are_flags_and_invalid_values_are_named() {
    let (server, ready) = start("mock start --presence-cap-users 3");
    assert_eq!(ready["type"], "mock.ready");
    drop(server);
    insta::assert_snapshot!(Presencectl::line("mock start --presence-cap-users many").run(), @r"
    --- stderr
    error: `many` is not a value of presence-cap-users: expected a whole number
    --- exit Some(2)
    ");
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
    .run();
    let shown = run.to_string().replace(file.to_str().unwrap(), "FILE");
    insta::assert_snapshot!(shown, @r"
    amy
    bob
    carla
    --- stderr
    presencectl: warning: the fixture's users have read-only fields, which are ignored: banned, blocked_user_ids, channel_mutes, devices, mutes, shadow_banned, total_unread_count, unread_channels, unread_count, unread_threads, updated_at
    --- exit Some(0)
    ");
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
            .at_url(url, "mock-key", "hush")
            .run()
    };
    let users = client("query-users --jq .status").stdout_of_success();
    assert_eq!(users, "at lunch\n");
    assert_eq!(client("mock health").stdout_of_success(), "");
    let _ = client("mock status").ended_with(5);
    server.signal("TERM");
    let _ = server.end();
    let _ = client("mock health").ended_with(7);

    insta::assert_snapshot!(start("[1]").run(), @r"
    --- stderr
    presencectl: PRESENCECTL_MOCK_FIXTURE is not a valid fixture: invalid type: integer `1`, expected a sequence at line 1 column 2
    --- exit Some(13)
    ");
    insta::assert_snapshot!(start("none.json").run(), @r"
    --- stderr
    presencectl: cannot read none.json: No such file or directory (os error 2)
    --- exit Some(13)
    ");
}
