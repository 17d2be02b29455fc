//! `watch` as a process: what it prints, when it ends, and with which code.

use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::mock::{API_KEY, Mock, SECRET, server_token, user_token};
use crate::support::world::{presencectl, presencectl_of, small_world, world};
use crate::support::{CLOSED_URL, Presencectl, Run, Stream, shell, usage_errors};

/// Opens a connection of a user, or closes all of them.
fn control_user(mock: &Mock, id: &str, action: &str) {
    mock.control("POST", &format!("users/{id}/{action}"), &json!({}));
}

fn types(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["type"].as_str().unwrap())
        .collect()
}

/// A watch whose users are subscribed, with its records read up to the coverage record.
fn subscribed_stream(mock: &Mock, line: &str) -> Stream {
    let mut stream = presencectl(mock, line).stream();
    stream.records_until("presence.coverage");
    stream
}

/// Runs a stream until everybody is covered, which is after everything that happened before it, and ends it.
fn run_until_covered(mock: &Mock, line: &str) -> Vec<Value> {
    let mut stream = presencectl(mock, line).stream();
    let mut records = stream.records_until("presence.coverage");
    stream.signal("INT");
    let run = stream.finish().ended_with(130);
    records.extend(run.records());
    records
}

fn last(lines: &[String]) -> Value {
    serde_json::from_str(lines.last().expect("a last line")).unwrap()
}

#[test]
fn a_watched_channel_from_snapshot_to_count() {
    let mock = small_world();
    let mut stream = presencectl(&mock, "watch channel fun -n 2").stream();
    let start = stream.records_until("presence.coverage");
    assert_eq!(
        types(&start),
        [
            "presence.snapshot",
            "presence.snapshot",
            "presence.coverage"
        ]
    );
    assert_eq!(start[0]["user"]["status"], "Eating a veggie burger...");
    control_user(&mock, "jack", "connect");
    control_user(&mock, "jack", "disconnect");
    let (lines, status) = stream.end();
    let records: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        types(&records),
        [
            "user.presence.changed",
            "user.presence.changed",
            "stream.end"
        ]
    );
    assert_eq!(records[0]["changed"], json!(["online", "last_active"]));
    assert_eq!(records[0]["previous"]["online"], false);
    assert_eq!(records[1]["changed"], json!(["online"]));
    assert_eq!(
        (&records[2]["reason"], &records[2]["events"]),
        (&json!("count"), &json!(2))
    );
    assert_eq!(status.code(), Some(0));
    let seqs: Vec<u64> = start
        .iter()
        .chain(&records)
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn every_bound_works_in_every_format() {
    let mock = small_world();
    let bounds = [
        ("--snapshot only", 0, "snapshot"),
        ("--until .user.online", 0, "until"),
        ("--timeout 1ms", 0, "timeout"),
        ("--timeout 1ms -n 1", 124, "timeout"),
        ("--timeout 1ms --until false", 124, "timeout"),
        ("--idle 1ms", 0, "idle"),
        ("--idle 1ms -n 5", 124, "idle"),
    ];
    for format in ["ndjson", "json", "table", "tsv", "csv"] {
        for (bound, code, reason) in bounds {
            let line = format!("watch users john jack -o {format} {bound}");
            let run = presencectl(&mock, &line).run();
            assert_eq!(run.code, Some(code), "{line}: {run}");
            match format {
                "ndjson" => {
                    let records = run.records();
                    let end = records.last().unwrap();
                    assert_eq!(end["type"], "stream.end", "{line}: {run}");
                    assert_eq!(end["reason"], reason, "{line}: {run}");
                    assert_eq!(end["exit_code"], code, "{line}: {run}");
                }
                "json" => {
                    let records: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
                    assert_eq!(records.last().unwrap()["reason"], reason, "{line}");
                }
                "table" => assert!(
                    run.stdout
                        .lines()
                        .last()
                        .unwrap()
                        .contains(&format!("end: {reason}")),
                    "{line}: {run}"
                ),
                _ => assert!(
                    run.stdout.lines().last().unwrap().contains("stream.end"),
                    "{line}: {run}"
                ),
            }
        }
    }
}

#[test]
fn signals_end_a_stream_in_every_format_with_its_last_line() {
    let mock = small_world();
    let mut signals = vec![("INT", 130, "interrupted"), ("TERM", 143, "terminated")];
    if cfg!(target_os = "linux") {
        signals.push(("HUP", 129, "hung_up"));
    }
    for (signal, code, reason) in signals {
        for (format, last) in [
            ("ndjson", format!(r#""reason":"{reason}""#)),
            ("json", format!(r#""reason":"{reason}""#)),
            ("table", format!("end: {reason}")),
            (
                "csv --columns type,user.id,reason",
                format!("stream.end,,{reason}"),
            ),
        ] {
            let mut stream = presencectl(&mock, &format!("watch users john -o {format}")).stream();
            // The snapshot, in whatever format.
            while !stream.line().contains("john") {}
            stream.signal(signal);
            let (lines, status) = stream.end();
            assert_eq!(status.code(), Some(code), "{format}");
            let rest = lines.join("\n");
            let end = rest.trim_end_matches(['\n', ']']).lines().last().unwrap();
            assert!(end.contains(&last), "{format}: {rest}");
        }
    }
}

#[test]
fn a_hang_up_that_was_ignored_at_the_start_stays_ignored() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let script = format!(
        "trap '' HUP; presencectl watch users john -o ndjson > {0} & pid=$!; \
         while kill -0 $pid && ! grep -q coverage {0} 2>/dev/null; do :; done; \
         kill -HUP $pid; kill -TERM $pid; wait $pid; echo \"code $?\" >&2",
        path.display()
    );
    let output = shell(&mock, &script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "code 143\n");
}

#[test]
fn a_closed_stdout_ends_a_silent_stream() {
    let mock = small_world();
    let script = "presencectl watch users john -o ndjson; echo \"code $?\" >&2";
    let mut child = shell(&mock, script)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("presence.coverage") {
        let mut buffer = [0; 4096];
        let n = stdout.read(&mut buffer).unwrap();
        assert_ne!(n, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "code 0\n");
}

#[test]
fn count_includes_only_events_that_pass_the_filters() {
    let mock = small_world();
    let mut stream = subscribed_stream(
        &mock,
        "watch channel fun --user jack --changed online --where '.user.online != false' -n 1 -o ndjson",
    );
    control_user(&mock, "john", "disconnect");
    control_user(&mock, "jack", "connect");
    control_user(&mock, "jack", "disconnect");
    control_user(&mock, "jack", "connect");
    let record = stream.record();
    assert_eq!(record["user"]["id"], "jack");
    assert_eq!(record["user"]["online"], true);
    let (lines, status) = stream.end();
    assert_eq!(last(&lines)["reason"], "count");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn event_types_are_selected_by_glob() {
    let mock = small_world();
    let run = presencectl(
        &mock,
        "watch users john -e presence.snap* --snapshot only -o ndjson",
    )
    .run();
    assert_eq!(types(&run.records()), ["presence.snapshot"]);
    let run = presencectl(&mock, "watch users john -e user.presense.* --snapshot only").run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    hint: `user.presense.*` matches no type that this version knows; the types of presence are user.presence.changed, user.updated, user.watching.start and user.watching.stop
    --- exit Some(0)
    ");
}

#[test]
fn raw_is_what_the_service_sent() {
    let mock = small_world();
    let mut stream =
        presencectl(&mock, "watch users jack --raw -n 1 -e user.*,health.check").stream();
    // A raw stream has no record that says when it is subscribed.
    mock.await_subscription();
    control_user(&mock, "jack", "connect");
    let line = stream.line();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["type"], "user.presence.changed");
    assert!(event.get("seq").is_none(), "{line}");
    let (rest, status) = stream.end();
    assert_eq!((rest.len(), status.code()), (0, Some(0)));
}

#[test]
fn users_without_a_subscription_are_named_and_can_be_an_error() {
    let mock = small_world();
    let run = presencectl(&mock, "watch users john ghost --snapshot only -o ndjson").run();
    let records = run.records();
    assert_eq!(records[1]["missing"], json!(["ghost"]));
    assert_eq!(run.code, Some(0));
    insta::assert_snapshot!(run.stderr, @"presencectl: warning: 1 of 2 users are subscribed; missing: ghost");
    let run = presencectl(&mock, "watch users john ghost --strict-coverage -o ndjson")
        .run()
        .ended_with(11);
    assert_eq!(run.records().last().unwrap()["reason"], "coverage");
}

#[test]
fn a_lost_stream_without_reconnect_exits_with_9() {
    let mut mock = small_world();
    let stream = subscribed_stream(&mock, "watch users john --no-reconnect -o ndjson");
    mock.stop();
    let (lines, status) = stream.end();
    assert_eq!(status.code(), Some(9));
    let end = last(&lines);
    assert_eq!(
        (&end["reason"], &end["exit_code"]),
        (&json!("lost"), &json!(9))
    );
}

#[test]
fn a_stream_that_cannot_start_fails_at_once_and_prints_nothing() {
    let mock = small_world();
    insta::assert_snapshot!(presencectl(&mock, "watch channel nope").run(), @r#"
    --- stderr
    presencectl: cannot watch: the API refused (HTTP 404, code 16): GetChannel failed with error: "Can't find channel with id messaging:nope"
    hint: list channels: presencectl query-channels
    --- exit Some(5)
    "#);
    insta::assert_snapshot!(Presencectl::line("watch users john").run(), @r"
    --- stderr
    presencectl: there are no credentials for Stream Chat
    hint: try it without an account by adding --mock; or set STREAM_API_KEY and STREAM_API_SECRET (from the Stream dashboard), or STREAM_API_KEY and PRESENCECTL_USER_TOKEN
    --- exit Some(4)
    ");
    let wrong = presencectl(&mock, "watch users john").env("STREAM_API_SECRET", "wrong");
    insta::assert_snapshot!(wrong.run(), @r#"
    --- stderr
    presencectl: cannot watch: the API refused (HTTP 401, code 43): QueryUsers failed with error: "signature is not valid"
    hint: check that the secret belongs to the API key: STREAM_API_SECRET, or --profile
    --- exit Some(4)
    "#);
    let closed = Presencectl::line("watch users john --retry 0");
    insta::assert_snapshot!(closed.at_url(CLOSED_URL, "k", "s").run(), @r"
    --- stderr
    presencectl: cannot watch: cannot connect to 127.0.0.1:1: Connection refused (os error 111)
    hint: check the address (--base-url or STREAM_CHAT_URL) and the network; to try without either: --mock
    --- exit Some(7)
    ");
}

#[test]
fn a_user_token_can_watch_what_its_user_may_read() {
    let mock = small_world();
    let as_user = |id: &str| {
        presencectl(&mock, "watch channel fun --snapshot only -o ndjson")
            .env("STREAM_API_SECRET", "")
            .env("PRESENCECTL_USER_TOKEN", &user_token(id))
            .run()
    };
    let run = as_user("jack").ended_with(0);
    assert_eq!(run.records().len(), 4, "{run}");
    insta::assert_snapshot!(run.stderr, @"presencectl: watching as jack; this user is online until the command ends.");
    insta::assert_snapshot!(as_user("stranger"), @r#"
    --- stderr
    presencectl: watching as stranger; this user is online until the command ends.
    {"error":{"kind":"refused","message":"cannot watch: the API refused (HTTP 403, code 17): GetChannel failed with error: \"User 'stranger' with role user is not allowed to perform action ReadChannel in scope 'messaging'\"","exit_code":5,"api_code":17,"hint":"use the API secret instead of a user token or --as, or act as another user: --as USER"}}
    --- exit Some(5)
    "#);
}

#[test]
fn clients_of_a_multi_tenant_application_name_their_team() {
    let mock = Mock::start();
    let users = json!({"users": {"a": {"id": "a", "teams": ["red"]}, "b": {"id": "b", "teams": ["red", "blue"]}, "c": {"id": "c", "teams": ["blue"]}}});
    let server = |method: &str, target: &str, body: &Value| {
        let answer = mock.call(method, target, &server_token(), body);
        assert!(answer.status < 300, "{}", answer.body);
    };
    server("POST", "/users", &users);
    for (id, team) in [("x", "red"), ("y", "blue")] {
        let data = json!({"created_by_id": "a", "members": ["a", "b", "c"], "team": team});
        let target = format!("/channels/messaging/{id}/query");
        server("POST", &target, &json!({ "data": data }));
    }
    let set = json!({"multi_tenant_enabled": true});
    server("PATCH", "/app", &set);
    let as_a = |line: &str| {
        presencectl(&mock, line)
            .env("STREAM_API_SECRET", "")
            .env("PRESENCECTL_USER_TOKEN", &user_token("a"))
            .run()
    };
    let watched = |run: &Run| -> Vec<String> {
        let snapshots = run
            .records()
            .into_iter()
            .filter(|record| record["type"] == "presence.snapshot");
        snapshots
            .map(|record| record["user"]["id"].as_str().unwrap().to_owned())
            .collect()
    };
    for (selector, expected) in [
        ("users a b c", &["a", "b"][..]),
        // The members of a channel of the team, whatever their own teams are.
        ("channel x y", &["a", "b", "c"]),
        ("channels --type messaging", &["a", "b", "c"]),
    ] {
        let line = format!("watch {selector} --team red --snapshot only -o ndjson");
        let run = as_a(&line).ended_with(0);
        assert_eq!(watched(&run), expected, "{run}");
    }
    insta::assert_snapshot!(as_a("watch users a --snapshot only"), @r#"
    --- stderr
    presencectl: watching as a; this user is online until the command ends.
    presencectl: cannot watch: the API refused (HTTP 403, code 17): QueryUsers failed with error: "you must include a team filter to use this endpoint client-side"
    hint: name the team: --team TEAM
    --- exit Some(5)
    "#);
    // The service does not say whether a user does not exist or is not in the team.
    let run = as_a("watch users a c --team red --snapshot only").ended_with(0);
    insta::assert_snapshot!(run.stderr, @"
    presencectl: watching as a; this user is online until the command ends.
    presencectl: warning: 1 of 2 users are subscribed; missing: c; users who are not found do not exist, or are not in team red
    ");
    let run = as_a("wait user c --team red --for online --timeout 0").ended_with(8);
    insta::assert_snapshot!(run.stderr, @"
    presencectl: watching as a; this user is online until the command ends.
    presencectl: warning: 0 of 1 users are subscribed; missing: c; users who are not found do not exist, or are not in team red
    presencectl: c was not found in team red: they do not exist, or are not in that team
    ");
    let _ = as_a("wait user a --team red --for exists --timeout 0").ended_with(0);
    let _ =
        as_a("wait channel x --team red --for '.members | length == 3' --timeout 1m").ended_with(0);
}

#[test]
fn a_channel_of_another_team_is_not_watched() {
    let run = presencectl(
        &small_world(),
        "watch channel fun --team red --snapshot only",
    )
    .run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: cannot watch: the API refused (HTTP 404, code 16): the channel is not in team red
    hint: list channels: presencectl query-channels
    --- exit Some(5)
    ");
}

#[test]
fn a_channel_is_created_with_the_members_and_fields_that_are_given() {
    let mock = small_world();
    let line = "watch channel green --member john,jack --set color=green --snapshot only -o ndjson";
    let run = presencectl(&mock, line).run().ended_with(0);
    assert_eq!(run.records()[2]["subscribed"], 2, "{run}");
    let run = presencectl(&mock, "get-channel green -o ndjson").run();
    assert_eq!(run.records()[0]["color"], "green");
    let run = presencectl(&mock, line).run().ended_with(0);
    insta::assert_snapshot!(run.stderr, @"presencectl: warning: messaging:green exists already and is not changed; use `set-channel` to change members and fields");
}

#[test]
fn settle_drops_a_change_that_is_undone() {
    let mock = small_world();
    let mut stream = subscribed_stream(&mock, "watch users john jack --settle 2h -o ndjson -n 1");
    control_user(&mock, "jack", "connect");
    control_user(&mock, "jack", "disconnect");
    // Jack came and went, which is dropped. John's status comes next.
    let run = presencectl(&mock, "set-user john --status back").run();
    assert_eq!(run.code, Some(0), "{run}");
    let record = stream.record();
    assert_eq!(
        (&record["type"], &record["user"]["id"]),
        (&json!("user.updated"), &json!("john"))
    );
    let mut stream = subscribed_stream(&mock, "watch users jack --settle 1ms -o ndjson -n 1");
    control_user(&mock, "jack", "connect");
    let record = stream.record();
    assert_eq!(record["changed"], json!(["online", "last_active"]));
}

/// Sets the status of many users at once.
fn set_status(mock: &Mock, ids: &[String], status: &str) {
    let users: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "set": {"status": status}}))
        .collect();
    let body = json!({ "users": users });
    let answer = mock.call("PATCH", "/users", &server_token(), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn a_slow_reader_gets_a_gap_and_then_the_latest_state() {
    let ids: Vec<String> = (0..100).map(|n| format!("u{n:02}")).collect();
    let users: Vec<Value> = ids
        .iter()
        .map(String::as_str)
        .chain(["late"])
        .map(|id| json!({"id": id}))
        .collect();
    let crowd =
        json!({"type": "messaging", "id": "crowd", "members": ids, "created_by_id": "late"});
    let mock = world(&users, &[crowd]);
    let until = "--until '.user.status == \"the end\"'";
    let mut child = shell(
        &mock,
        &format!("exec presencectl watch channel crowd -o ndjson {until}"),
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        serde_json::from_str::<Value>(&line).ok()
    };
    let mut seq = 0;
    let mut gaps = 0;
    let mut table: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    let mut take = |record: &Value| {
        seq += 1;
        assert_eq!(record["seq"], seq, "{record}");
        if record["type"] == "presence.gap" {
            gaps += 1;
            assert!(record["note"].as_str().unwrap().contains("reader too slow"));
        }
        let (id, status) = (&record["user"]["id"], &record["user"]["status"]);
        if let (Some(id), Some(status)) = (id.as_str(), status.as_str()) {
            table.insert(id.to_owned(), status.to_owned());
        }
        (gaps, table.clone())
    };
    loop {
        let record = next().unwrap();
        take(&record);
        if record["type"] == "presence.coverage" {
            break;
        }
    }
    // Nobody reads these 13 MB. That is more than the pipe and the program's own buffer hold together.
    for round in 0..32 {
        set_status(&mock, &ids, &format!("{round:02}{}", "x".repeat(4000)));
    }
    // The events of one socket are in order. So when the program asks for the new member, it has read all of the above,
    // and the reader may go on.
    let status = mock.call("GET", "/_mock/status", &server_token(), &Value::Null);
    let before = status.body["log"].as_u64().unwrap();
    let add = json!({"add_members": ["late"]});
    let answer = mock.call("POST", "/channels/messaging/crowd", &server_token(), &add);
    assert_eq!(answer.status, 201, "{}", answer.body);
    mock.await_request(before, |entry| {
        entry["path"] == "/users" && entry["query"].to_string().contains("late")
    });
    set_status(&mock, &ids, "the last");
    set_status(&mock, &["late".to_owned()], "the end");
    let mut last = (0, std::collections::BTreeMap::new());
    while let Some(record) = next() {
        last = take(&record);
    }
    let (gaps, table) = last;
    assert!(gaps > 0);
    assert_eq!(table["late"], "the end");
    for id in &ids {
        assert!(table[id] == "the last", "{id}: {:.20}", table[id]);
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_hook_runs_for_every_event_and_its_failure_can_end_the_stream() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let words = |command: &str, flags: &[&str]| {
        let mut words: Vec<String> = ["watch", "users", "jack", "-o", "ndjson", "--exec", command]
            .map(str::to_owned)
            .to_vec();
        words.extend(flags.iter().map(|flag| (*flag).to_owned()));
        words
    };
    let hook = format!(
        "cat >> {0}; echo \"$PRESENCECTL_TYPE $PRESENCECTL_USER_ID $PRESENCECTL_ONLINE\" >> {0}; echo chatter",
        log.display()
    );
    let mut stream = presencectl_of(&mock, words(&hook, &["-n", "2"])).stream();
    stream.records_until("presence.coverage");
    control_user(&mock, "jack", "connect");
    control_user(&mock, "jack", "disconnect");
    let (lines, status) = stream.end();
    assert_eq!(status.code(), Some(0));
    let log = std::fs::read_to_string(log).unwrap();
    let log: Vec<&str> = log.lines().collect();
    assert_eq!(
        [log[0], log[2]],
        [lines[0].as_str(), lines[1].as_str()],
        "the record is the input, one user's hooks in order"
    );
    assert_eq!(log[1], "user.presence.changed jack true");
    assert_eq!(log[3], "user.presence.changed jack false");
    assert!(lines.iter().all(|line| line.starts_with('{')), "{lines:?}");

    let mut stream = presencectl_of(&mock, words("exit 3", &["--exec-fail"])).stream();
    stream.records_until("presence.coverage");
    control_user(&mock, "jack", "connect");
    let (lines, status) = stream.end();
    assert_eq!(last(&lines)["reason"], "hook");
    assert_eq!(status.code(), Some(12));
}

#[test]
fn a_dropped_first_connection_is_retried() {
    let mock = small_world();
    let drop = "mock fault add reset --path /connect --count";
    let fault = |count: u8| {
        let run = presencectl(&mock, &format!("{drop} {count}")).run();
        assert_eq!(run.code, Some(0), "{run}");
    };
    fault(1);
    let run = presencectl(&mock, "watch users john --snapshot only").run();
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.stderr.contains("GET /connect again in"), "{run}");
    assert!(run.stderr.contains("(1 of 3)"), "{run}");

    fault(2);
    let line = "watch users john --snapshot only --retry 1";
    let run = presencectl(&mock, line).run();
    assert_eq!(run.code, Some(7), "{run}");
    assert!(run.stdout.is_empty(), "{run}");
}

#[test]
fn a_stream_without_any_time_is_refused() {
    let mock = small_world();
    let lines = [
        "watch users john --timeout 0",
        "watch channels --timeout 0s -n 1",
        "watch users john --idle 0",
    ];
    insta::assert_snapshot!(usage_errors(lines, |line| presencectl(&mock, line).run()), @r"
    watch users john --timeout 0
    watch channels --timeout 0s -n 1
      presencectl: --timeout 0 leaves no time to watch anything
    watch users john --idle 0
      error: invalid value '0' for '--idle <DUR>': must be greater than zero
    ");
}

#[test]
fn stdout_can_be_a_file() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream.ndjson");
    let file = std::fs::File::create(&path).unwrap();
    let watch = || presencectl(&mock, "watch users john --snapshot only -o ndjson");
    let run = watch().into_file(file).run();
    assert_eq!(run.code, Some(0), "{run}");
    let lines = std::fs::read_to_string(&path).unwrap();
    let records: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = ["presence.snapshot", "presence.coverage", "stream.end"];
    assert_eq!(types(&records), told, "{lines}");
    if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
        insta::assert_snapshot!(watch().into_file(full).run(), @r#"
        --- stderr
        {"error":{"kind":"unexpected","message":"No space left on device (os error 28)","exit_code":1,"api_code":null,"hint":"free some space on the device, or write to another one"}}
        --- exit Some(1)
        "#);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_tee_file_that_cannot_be_written_ends_the_stream_with_its_last_record() {
    let mock = small_world();
    for bound in ["", "--snapshot only"] {
        let line = format!("watch users john {bound} --tee /dev/full");
        let run = presencectl(&mock, &line).run();
        assert_eq!(run.code, Some(1), "{run}");
        assert!(run.stderr.contains("cannot append to /dev/full"), "{run}");
        let records = run.records();
        let told = ["presence.snapshot", "presence.coverage", "stream.end"];
        assert_eq!(types(&records), told, "{run}");
        assert_eq!(records[2]["reason"], "tee");
        assert_eq!(records[2]["exit_code"], 1);
    }
}

/// The records of a file of `--tee`.
fn teed(path: &std::path::Path) -> Vec<Value> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_tee_gets_the_complete_stream_whatever_stdout_gets() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let once = [
        "presence.snapshot",
        "presence.snapshot",
        "presence.coverage",
        "stream.end",
    ];
    for (flags, written) in [
        ("-o table", 4),
        ("-o ndjson --jq .type", 4),
        ("-o ndjson -e user.*", 0),
        ("-o ndjson -e presence.*", 3),
        ("-o ndjson --user jack", 3),
        ("-o ndjson --where .user.online", 2),
        ("-o ndjson --raw", 0),
    ] {
        let path = folder.path().join("log.ndjson");
        let line = format!(
            "watch users john jack {flags} --snapshot only --tee {}",
            path.display()
        );
        for _ in 0..2 {
            let run = presencectl(&mock, &line).run().ended_with(0);
            assert_eq!(run.stdout.lines().count(), written, "{flags}: {run}");
        }
        let records = teed(&path);
        assert_eq!(types(&records), [once, once].concat(), "{flags}");
        let seqs: Vec<_> = records
            .iter()
            .map(|record| record["seq"].as_u64())
            .collect();
        assert_eq!(seqs, [1, 2, 3, 4, 1, 2, 3, 4].map(Some), "{flags}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_tee_gets_what_is_debounced() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson");
    let line = format!(
        "watch users john jack --settle 2h -o ndjson -n 1 --snapshot none --tee {}",
        path.display()
    );
    let stream = subscribed_stream(&mock, &line);
    control_user(&mock, "jack", "connect");
    control_user(&mock, "jack", "disconnect");
    let _ = presencectl(&mock, "set-user john --status back")
        .run()
        .ended_with(0);
    let (lines, _) = stream.end();
    let written: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(types(&written), ["user.updated", "stream.end"]);
    let users: Vec<String> = teed(&path)
        .iter()
        .filter(|record| record["source"] == "ws")
        .map(|record| format!("{} {}", record["user"]["id"], record["user"]["online"]))
        .collect();
    assert_eq!(
        users,
        [r#""jack" true"#, r#""jack" false"#, r#""john" true"#]
    );
}

#[test]
fn a_tee_ends_with_stream_end_when_the_reader_of_stdout_leaves() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson");
    let script = format!(
        "{{ presencectl watch users john -o ndjson --tee {}; echo \"code $?\" >&2; }} | head -n 1",
        path.display()
    );
    let output = shell(&mock, &script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "code 0\n");
    let records = teed(&path);
    let end = records.last().unwrap();
    assert_eq!(
        (&end["type"], &end["reason"], &end["exit_code"]),
        (&json!("stream.end"), &json!("reader_left"), &json!(0))
    );
}

#[test]
fn a_cursor_reports_each_change_once() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursor.json");
    let line = format!(
        "watch users john jack -o ndjson --cursor-file {}",
        path.display()
    );
    let resynced = |records: &[Value]| -> Vec<String> {
        records
            .iter()
            .filter(|record| record["source"] == "resync")
            .map(|record| format!("{} {}", record["user"]["id"], record["user"]["status"]))
            .collect()
    };
    let next = || {
        let run = presencectl(&mock, &format!("{line} -n 1")).run();
        resynced(&run.ended_with(0).records())
    };
    let none = [] as [String; 0];
    assert_eq!(resynced(&run_until_covered(&mock, &line)), none);
    let run = presencectl(&mock, "set-user john jack --status back").run();
    assert_eq!(run.code, Some(0), "{run}");
    let mut changes = [next(), next()].concat();
    changes.sort();
    assert_eq!(changes, [r#""jack" "back""#, r#""john" "back""#]);
    assert_eq!(resynced(&run_until_covered(&mock, &line)), none);
}

#[test]
fn changes_held_back_by_settle_are_not_lost_at_the_end() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursor.json");
    let settling = format!(
        "watch users jack john -o ndjson --settle 2h --cursor-file {}",
        path.display()
    );
    // With `-n 1`, the other change is reported by the next run.
    let stream = subscribed_stream(&mock, &format!("{settling} -n 1"));
    control_user(&mock, "jack", "connect");
    let run = presencectl(&mock, "set-user john --status back").run();
    assert_eq!(run.code, Some(0), "{run}");
    let (lines, status) = stream.end();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("jack")), "{lines:?}");
    // A signal ends the stream, and the change is reported.
    let stream = subscribed_stream(&mock, &settling);
    stream.signal("INT");
    let (lines, _) = stream.end();
    let records: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            format!(
                "{} {} {}",
                record["type"], record["user"]["id"], record["changed"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            r#""user.presence.changed" "jack" ["online","last_active"]"#,
            r#""stream.end" null null"#,
        ]
    );
}

#[test]
fn the_event_that_fulfils_until_is_counted() {
    let mock = small_world();
    let line = "watch users jack -o ndjson --until .user.online";
    let stream = subscribed_stream(&mock, line);
    control_user(&mock, "jack", "connect");
    let (lines, status) = stream.end();
    let end = last(&lines);
    assert_eq!(
        (status.code(), &end["reason"], &end["events"]),
        (Some(0), &json!("until"), &json!(1))
    );
}

#[test]
fn a_failing_expression_is_reported_once() {
    let mock = small_world();
    let line = "watch users john --snapshot only --where '.user.online | explode'";
    insta::assert_snapshot!(presencectl(&mock, line).run().masked(), @r#"
    {"type":"stream.end","reason":"snapshot","events":0,"gaps":0,"reconnects":0,"exit_code":0,"seq":1,"received_at":"TIME","source":"local"}
    --- stderr
    presencectl: warning: an expression cannot be evaluated for a record, which counts as false: the expression `.user.online | explode` fails on a record: cannot use true as string
    presencectl: warning: an expression could not be evaluated for 2 records
    --- exit Some(0)
    "#);
}

#[test]
fn a_cursor_reports_what_changed_between_two_runs() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursor.json");
    let line = format!(
        "watch channel fun -o ndjson --cursor-file {}",
        path.display()
    );
    let run = || run_until_covered(&mock, &line);
    assert_eq!(
        types(&run()),
        [
            "presence.snapshot",
            "presence.snapshot",
            "presence.coverage",
            "stream.end"
        ]
    );
    control_user(&mock, "jack", "connect");
    let records = run();
    assert_eq!(
        types(&records),
        [
            "presence.gap",
            "user.presence.changed",
            "presence.coverage",
            "stream.end"
        ],
        "{records:#?}"
    );
    assert_eq!(records[0]["repaired"], json!(["jack"]));
    assert_eq!(records[1]["source"], "resync");
    assert_eq!(records[1]["changed"], json!(["online", "last_active"]));
    let records = run();
    assert_eq!(records[0]["repaired"], json!([]), "{records:#?}");
    let _ = presencectl(&mock, "set-user john --name Johnny")
        .run()
        .ended_with(0);
    let records = run();
    let [gap, updated, ..] = &records[..] else {
        panic!("{records:#?}");
    };
    assert_eq!(gap["repaired"], json!(["john"]), "{records:#?}");
    assert_eq!(
        (&updated["type"], &updated["source"], &updated["changed"]),
        (&json!("user.updated"), &json!("resync"), &json!([])),
        "{records:#?}"
    );
    assert_eq!(updated["user"]["name"], "Johnny");
}

#[test]
fn a_cursor_with_fingerprints_of_the_first_version_reports_no_false_change() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursor.json");
    let line = format!(
        "watch channel fun -o ndjson --cursor-file {}",
        path.display()
    );
    let _ = run_until_covered(&mock, &line);
    let mut cursor: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let fields = cursor.as_object_mut().unwrap();
    assert_eq!(fields.remove("fingerprint_version"), Some(json!(2)));
    fields.insert("rest".to_owned(), json!(1));
    for (_, user) in cursor["users"].as_object_mut().unwrap() {
        let user = user.as_object_mut().unwrap();
        assert!(user.remove("fingerprint").is_some());
        let old = json!({"view": "user", "fields": 2_104_423_516_u32, "updated": 889_888_434});
        user.insert("rest".to_owned(), old);
    }
    std::fs::write(&path, cursor.to_string()).unwrap();
    let records = run_until_covered(&mock, &line);
    assert_eq!(
        types(&records),
        ["presence.gap", "presence.coverage", "stream.end"],
        "{records:#?}"
    );
    assert_eq!(records[0]["repaired"], json!([]));
}

/// Sends something to everybody who is subscribed to a user.
fn trigger(mock: &Mock, subscribers: &str, body: &Value) {
    let mut body = body.clone();
    body["subscribers"] = subscribers.into();
    let answer = mock.control("POST", "trigger", &body);
    assert_eq!(answer.body["sent"], 1, "{}", answer.body);
}

#[test]
fn last_active_changes_only_when_a_later_instant_arrives() {
    let mock = small_world();
    let mut stream = subscribed_stream(&mock, "watch users john -o ndjson");
    let times = [
        ("2030-01-05T10:00:00.123456Z", json!(["last_active"])),
        ("2030-01-05T10:00:00.123456000Z", json!([])),
        ("2030-01-05T09:59:59Z", json!([])),
        ("2030-01-05T10:00:00.123456789Z", json!([])),
        ("2030-01-05T10:00:00.123457Z", json!(["last_active"])),
    ];
    for (time, changed) in times {
        let user = json!({"id": "john", "online": false, "last_active": time});
        let event = json!({"type": "user.updated", "user": user});
        trigger(&mock, "john", &json!({ "event": event }));
        let record = stream.record();
        assert_eq!(record["user"]["last_active"], time, "{record}");
        let changed_fields: Vec<&Value> = record["changed"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|field| *field == "last_active")
            .collect();
        assert_eq!(json!(changed_fields), changed, "{record}");
    }
    stream.signal("INT");
    let _ = stream.finish().ended_with(130);
}

#[test]
fn an_error_frame_without_a_type_ends_the_watch_at_once() {
    let mock = small_world();
    let stream = subscribed_stream(&mock, "watch users john -o ndjson");
    let error = json!({"error": {"code": 43, "message": "signature is not valid"}});
    trigger(&mock, "john", &json!({ "text": error.to_string() }));
    insta::assert_snapshot!(stream.finish().ended_with(4).stderr, @r#"
    presencectl: warning: connection lost: the service refused the connection (code 43): signature is not valid; reconnecting
    {"error":{"kind":"not_authenticated","message":"cannot watch: the API refused (HTTP 0, code 43): signature is not valid","exit_code":4,"api_code":43,"hint":"check that the secret belongs to the API key: STREAM_API_SECRET, or --profile"}}
    "#);
}

#[test]
fn channels_are_watched_by_filter() {
    let mock = world(
        &[json!({"id": "a"}), json!({"id": "b"}), json!({"id": "c"})],
        &[
            json!({"type": "messaging", "id": "x", "members": ["a"], "created_by_id": "a", "color": "green"}),
            json!({"type": "team", "id": "y", "members": ["b"], "created_by_id": "a", "color": "green"}),
            json!({"type": "messaging", "id": "z", "members": ["c"], "created_by_id": "a"}),
        ],
    );
    let ids = |line: &str| -> Vec<String> {
        let run = presencectl(&mock, line).run().ended_with(0);
        let mut ids: Vec<String> = run
            .records()
            .iter()
            .filter_map(|record| Some(record["user"]["id"].as_str()?.to_owned()))
            .collect();
        ids.sort();
        ids
    };
    let watch = |flags: &str| ids(&format!("watch channels --snapshot only -o ndjson {flags}"));
    assert_eq!(watch(r#"--filter '{"color":"green"}'"#), ["a", "b"]);
    assert_eq!(watch(r#"--filter '{"color":"green"}' --type team"#), ["b"]);
    assert_eq!(watch("--member c"), ["c"]);
    assert_eq!(watch(""), ["a", "b", "c"]);
}

#[test]
fn the_environment_chooses_a_shard() {
    let mock = world(&[json!({"id": "amy"}), json!({"id": "bob"})], &[]);
    let line = "watch users amy bob --shard env --snapshot only -q --jq .user.id//empty";
    let of = |index: &str| {
        presencectl(&mock, line)
            .env("PRESENCECTL_SHARDS", "3")
            .env("JOB_COMPLETION_INDEX", index)
            .run()
    };
    assert_eq!(of("0").stdout_of_success(), "bob\n");
    assert_eq!(of("1").stdout_of_success(), "amy\n");
    insta::assert_snapshot!(of("3"), @r"
    --- stderr
    error: invalid value 'env' for '--shard <I/N|env>': JOB_COMPLETION_INDEX is `3`, but the 3 shards of PRESENCECTL_SHARDS have the numbers from 0 to 2

    For more information, try '--help'.
    --- exit Some(2)
    ");
}

#[test]
fn shards_cover_every_user_once() {
    let users: Vec<Value> = (0..20).map(|n| json!({"id": format!("u{n}")})).collect();
    let mock = world(&users, &[]);
    let all: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
    let mut seen = Vec::new();
    for part in ["1/3", "2/3", "3/3"] {
        let line = format!(
            "watch users {} --shard {part} --snapshot only -o ndjson",
            all.join(" ")
        );
        let run = presencectl(&mock, &line).run().ended_with(0);
        seen.extend(
            run.records()
                .iter()
                .filter_map(|record| Some(record["user"]["id"].as_str()?.to_owned())),
        );
    }
    seen.sort();
    let mut all = all;
    all.sort();
    assert_eq!(seen, all);
}

#[cfg(unix)]
#[test]
fn a_timeout_holds_while_nobody_reads_stdout_or_the_pipe_of_tee() {
    let users: Vec<Value> = (0..600)
        .map(|n| json!({"id": format!("u{n:03}"), "name": "x".repeat(200)}))
        .collect();
    let mock = world(&users, &[]);
    let ids: Vec<&str> = users
        .iter()
        .map(|user| user["id"].as_str().unwrap())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // A pipe is full after a quarter of the snapshots. On a machine so busy that they have not come within the time,
    // nothing is held back; then with more time.
    let warnings = ["2s", "20s", "2m"].into_iter().find_map(|time| {
        let (ids, pipe) = (ids.join(" "), pipe.display());
        let script =
            format!("exec presencectl watch users {ids} -o ndjson --timeout {time} --tee {pipe}");
        let child = shell(&mock, &script)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        // Nobody reads it.
        let stdout = child.stdout.take();
        let mut errors = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{errors}");
        drop(stdout);
        let errors = errors.replace(folder.path().to_str().unwrap(), "FOLDER");
        let mut lines: Vec<&str> = errors.lines().collect();
        lines.sort_unstable();
        (lines.len() > 1).then(|| lines.join("\n"))
    });
    insta::assert_snapshot!(warnings.expect("both readers are too slow"), @r"
    presencectl: warning: the reader of FOLDER/pipe has not taken the last records
    presencectl: warning: the reader of stdout has not taken the last records
    ");
}

#[test]
fn a_timeout_holds_while_a_proxy_is_silent() {
    // It accepts connections, as the kernel does for it, and never answers.
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", proxy.local_addr().unwrap());
    let run = |line: &str| {
        Presencectl::line(line)
            .at_url("https://chat.example", API_KEY, SECRET)
            .env("https_proxy", &proxy)
            .run()
    };
    for (line, code) in [
        ("watch users john -o ndjson --timeout 100ms", 0),
        ("watch users john -o ndjson -n 1 --timeout 100ms", 124),
        ("hold john -o ndjson --status x --timeout 100ms", 0),
        ("hold john -o ndjson --channel fun --timeout 100ms", 0),
    ] {
        let run = run(line).ended_with(code);
        let [end] = &run.records()[..] else {
            panic!("{run}")
        };
        assert_eq!(end["reason"], "timeout", "{run}");
    }
    for line in [
        "wait user john --for online --timeout 100ms",
        "wait channel fun --for .x --timeout 100ms",
    ] {
        let _ = run(line).ended_with(124);
    }
}

#[test]
fn coverage_says_why_users_are_missing() {
    let mock = small_world();
    let _ = presencectl(&mock, "deactivate-user jack --yes")
        .run()
        .ended_with(0);
    let line = "watch users john jack nobody --snapshot only -o ndjson";
    let run = presencectl(&mock, line).run().ended_with(0);
    let coverage = &run.records()[1];
    assert_eq!(
        (&coverage["missing"], &coverage["missing_reasons"]),
        (
            &json!(["jack", "nobody"]),
            &json!({"jack": "deactivated", "nobody": "not_found"})
        )
    );
    insta::assert_snapshot!(run.stderr, @"presencectl: warning: 1 of 3 users are subscribed; missing: jack, nobody; deactivated: jack");
    let line = "wait user john jack nobody --for offline --timeout 0";
    insta::assert_snapshot!(presencectl(&mock, line).run(), @r"
    --- stderr
    presencectl: warning: 1 of 3 users are subscribed; missing: jack, nobody; deactivated: jack
    presencectl: deactivated: jack; online: john; does not exist: nobody
    --- exit Some(8)
    ");
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_on_file_sizes_ends_a_stream_with_its_last_record() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let script = "ulimit -f 0; exec presencectl watch users john -o ndjson --tee tee";
    let output = shell(&mock, script)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (output.status.code(), &last["reason"]),
        (Some(1), &json!("tee")),
        "{stdout}"
    );
}
