//! Commands about users, as processes against the mock.

use serde_json::{Value, json};

use crate::support::literal::{json as answer, run_against};
use crate::support::mock::SECRET;
use crate::support::world::{presencectl, presencectl_of, small_world, world};
use crate::support::{Presencectl, Run, transcript, usage_errors};

/// The ids of the records on stdout.
fn ids(run: &Run) -> Vec<String> {
    run.records()
        .iter()
        .map(|user| user["id"].as_str().unwrap().to_owned())
        .collect()
}

/// A world of so many users, `u000` and on; every tenth is online.
fn crowd(size: usize) -> crate::support::mock::Mock {
    let users: Vec<Value> = (0..size)
        .map(|n| json!({"id": format!("u{n:03}"), "online": n % 10 == 0, "n": n}))
        .collect();
    world(&users, &[])
}

#[test]
fn set_user_changes_the_given_fields_and_creates_missing_users() {
    let mock = small_world();
    let run = presencectl(
        &mock,
        "set-user amy john --status hi --invisible --set a.b=c --set-json n=1 --verify",
    )
    .run()
    .ended_with(0);
    assert_eq!(
        ids(&run),
        ["amy", "john"],
        "in the order of the command line"
    );
    let [amy, john] = run.records().try_into().unwrap();
    for user in [&amy, &john] {
        assert_eq!(user["status"], "hi");
        assert_eq!(user["invisible"], true);
        assert_eq!(user["a"], json!({"b": "c"}));
        assert_eq!(user["n"], 1);
    }
    assert_eq!(john["color"], "green", "what is not named stays");
    assert_eq!(john["name"], "John");
    assert_eq!(amy["last_active"], Value::Null);

    let run = presencectl(
        &mock,
        "set-user john --visible --clear-status --unset a.b --verify",
    )
    .run()
    .ended_with(0);
    let john = &run.records()[0];
    assert_eq!(john["status"], Value::Null);
    assert_eq!(john["online"], true);
    assert_eq!(john["a"], json!({}));
}

#[test]
fn set_user_without_changes_creates_and_changes_nobody() {
    let mock = small_world();
    let before = presencectl(&mock, "get-user john").run();
    let run = presencectl(&mock, "set-user john bob").run().ended_with(0);
    assert_eq!(ids(&run), ["john", "bob"]);
    assert_eq!(run.records()[0], before.records()[0]);
}

#[test]
fn must_exist_changes_nobody_when_one_is_missing() {
    let mock = small_world();
    let lines = [
        "set-user john nobody --status x --must-exist",
        "get-user john --jq .status",
    ];
    insta::assert_snapshot!(transcript(lines, |line| presencectl(&mock, line).run()), @r"
    $ set-user john nobody --status x --must-exist
    2> presencectl: the user nobody does not exist, and --must-exist forbids creating the user
    2> hint: omit --must-exist to create the user
    exit 5
    $ get-user john --jq .status
    Eating a veggie burger...
    ");
}

#[test]
fn a_refused_field_creates_nobody() {
    let mock = small_world();
    let lines = ["set-user carl --set online=true", "get-user carl"];
    insta::assert_snapshot!(transcript(lines, |line| presencectl(&mock, line).run()), @r#"
    $ set-user carl --set online=true
    2> presencectl: cannot create carl: the API refused (HTTP 400, code 4): UpdateUsers failed with error: "users[carl].online is a reserved field"
    exit 5
    $ get-user carl
    2> presencectl: the user carl does not exist
    2> hint: list users: presencectl query-users; create one: presencectl set-user carl
    exit 5
    "#);
}

#[test]
fn contradictions_are_usage_errors() {
    let mock = small_world();
    let lines = [
        "set-user",
        "set-user john --invisible --visible",
        "set-user john --status x --clear-status",
        "set-user john --status x --set status=y",
        "set-user john --set a=1 --unset a",
        "set-user john --set-json a={",
        "set-user john --set a",
        "set-user 'john doe'",
        "set-user --in @nowhere.txt",
        "query-users --online --offline",
        "query-users --in john --offset 1",
        "query-users -n 1101",
        "query-users --active-since yesterday",
        "query-users --filter [1]",
        "query-users --filter '{\"online\":true}'",
    ];
    insta::assert_snapshot!(usage_errors(lines, |line| presencectl(&mock, line).run()), @r#"
    set-user
      error: users are missing
    set-user john --invisible --visible
      error: the argument '--invisible' cannot be used with '--visible'
    set-user john --status x --clear-status
      error: the argument '--status <TEXT>' cannot be used with '--clear-status'
    set-user john --status x --set status=y
      presencectl: the field `status` is given twice
    set-user john --set a=1 --unset a
      presencectl: the field `a` is given twice
    set-user john --set-json a={
      error: invalid value 'a={' for '--set-json <K=JSON>': the value of a is not JSON (EOF while parsing an object at line 1 column 1); for a text, use --set a=TEXT
    set-user john --set a
      error: invalid value 'a' for '--set <K=TEXT>': expected NAME=VALUE
    set-user 'john doe'
      error: invalid value 'john doe' for '[ID]...': `john doe` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them
    set-user --in @nowhere.txt
      presencectl: cannot open nowhere.txt (from --in): No such file or directory (os error 2)
    query-users --online --offline
      error: the argument '--online' cannot be used with '--offline'
    query-users --in john --offset 1
      presencectl: --offset cannot be used with --in: omit it
    query-users -n 1101
      presencectl: -n 1101 is beyond the 1100 users that the service pages by offset
    query-users --active-since yesterday
      presencectl: --active-since: `yesterday` is not a time; write RFC 3339 (2026-01-31T08:00:00Z), unix seconds, or a duration ago (15m)
    query-users --filter [1]
      error: invalid value '[1]' for '--filter <JSON>': not a JSON object: invalid type: sequence, expected a map at line 1 column 0; an example is '{"role":"admin"}'
    query-users --filter '{"online":true}'
      error: invalid value '{"online":true}' for '--filter <JSON>': the service cannot filter by `online`; use --online or --offline
    "#);
}

#[test]
fn a_list_is_sent_in_batches() {
    let mock = crowd(120);
    let list: String = (0..250).map(|n| format!("u{n:03}\n")).collect();
    let run = presencectl(&mock, "set-user first --in - --status x --verify")
        .run_with(&format!("# the team\n\n{list}u001\n"))
        .ended_with(0);
    let users = run.records();
    assert_eq!(users.len(), 251, "each once");
    assert_eq!(users[0]["id"], "first");
    assert!(users.iter().all(|user| user["status"] == "x"));
    assert_eq!(users[6]["n"], 5, "existing users keep their fields");

    let run = presencectl(&mock, "get-user --in -")
        .run_with(&list)
        .ended_with(0);
    assert_eq!(run.records().len(), 250);
}

#[test]
fn a_bad_line_of_a_list_is_named() {
    let mock = small_world();
    let run = presencectl(&mock, "set-user --in - --status x").run_with("john\n\nja ck\n");
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: standard input, line 3: `ja ck` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them
    --- exit Some(2)
    ");
    let john = presencectl(&mock, "get-user john --jq .status").run();
    assert_eq!(john.stdout, "Eating a veggie burger...\n");
}

#[test]
fn dry_run_shows_requests_and_sends_none() {
    let mock = small_world();
    let run = presencectl(&mock, "set-user dora john --status x --dry-run")
        .run()
        .ended_with(0);
    assert_eq!(
        run.records(),
        [
            json!({"method": "POST", "path": "/users", "endpoint": "UpdateUsers", "body": {"users": {"dora": {"id": "dora", "status": "x"}}}}),
            json!({"method": "PATCH", "path": "/users", "endpoint": "UpdateUsersPartial", "body": {"users": [{"id": "john", "set": {"status": "x"}}]}}),
        ]
    );
    for line in [
        "delete-user john --dry-run",
        "deactivate-user john --dry-run",
        "reactivate-user john --dry-run",
    ] {
        let run = presencectl(&mock, line).run().ended_with(0);
        assert_eq!(run.records().len(), 1, "{run}");
        assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET));
    }
    let run = presencectl(&mock, "get-user john dora").run().ended_with(5);
    assert_eq!(run.records()[0]["status"], "Eating a veggie burger...");
}

#[test]
fn verify_fails_when_the_change_had_no_effect() {
    let john = |status: &str| format!(r#"{{"id":"john","status":"{status}"}}"#);
    let written = format!(r#"{{"users":{{"john":{}}}}}"#, john("new"));
    let read = format!(r#"{{"users":[{}]}}"#, john("old"));
    let (run, requests) = run_against(
        Presencectl::line("set-user john --status new --verify"),
        "",
        [written, read]
            .map(|body| answer("200 OK", "", &body))
            .to_vec(),
    );
    insta::assert_snapshot!(run, @r#"
    --- stderr
    presencectl: the service accepted the change of john, but reading it back shows: `status` is "old", expected "new"
    hint: read it again in a moment: presencectl get-user john
    --- exit Some(1)
    "#);
    assert!(requests[0].starts_with("PATCH /users?"), "{}", requests[0]);
}

#[test]
fn get_user_prints_existing_users_and_names_missing_ones() {
    let mock = small_world();
    let lines = [
        "get-user zoe nobody john zoe nowhere --jq .id",
        "get-user nobody -o json",
    ];
    insta::assert_snapshot!(transcript(lines, |line| presencectl(&mock, line).run()), @r#"
    $ get-user zoe nobody john zoe nowhere --jq .id
    zoe
    john
    2> presencectl: the users nobody, nowhere do not exist
    2> hint: list users: presencectl query-users; create one: presencectl set-user nobody
    exit 5
    $ get-user nobody -o json
    2> {"error":{"kind":"refused","message":"the user nobody does not exist","exit_code":5,"api_code":null,"hint":"list users: presencectl query-users; create one: presencectl set-user nobody"}}
    exit 5
    "#);
}

#[test]
fn one_user_is_an_object_and_several_are_an_array() {
    let mock = small_world();
    let json = |line: &str| -> Value {
        let text = presencectl(&mock, line).run().stdout_of_success();
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(json("get-user john -o json")["id"], "john");
    assert_eq!(
        json("get-user john jack -o json").as_array().unwrap().len(),
        2
    );
    assert_eq!(
        json("get-user --in john -o json").as_array().unwrap().len(),
        1
    );
    assert_eq!(json("set-user john -o json")["id"], "john");
}

#[test]
fn a_query_is_one_page_with_a_hint_that_there_is_more() {
    let mock = crowd(35);
    let run = presencectl(&mock, "query-users").run().ended_with(0);
    assert_eq!(run.records().len(), 30);
    insta::assert_snapshot!(run.stderr, @"hint: this is one page of 30 and there may be more: add -n N, or --all");
    let run = presencectl(&mock, "query-users -q").run();
    assert_eq!(run.stderr, "");
    for (line, count) in [
        ("query-users -n 35", 35),
        ("query-users -n 7", 7),
        ("query-users --offset 30", 5),
        ("query-users -n 10 --offset 30", 5),
        ("query-users --all", 35),
    ] {
        let run = presencectl(&mock, line).run();
        assert_eq!(run.records().len(), count, "{line}");
        assert_eq!(run.stderr, "", "{line}");
    }
}

#[test]
fn all_pages_are_read_in_order() {
    let mock = crowd(230);
    let run = presencectl(&mock, "query-users --all").run().ended_with(0);
    let ids = ids(&run);
    assert_eq!(ids.len(), 230);
    assert!(ids.is_sorted());
    let run = presencectl(&mock, "query-users --all --sort -n --jq .n").run();
    let sorted = run.stdout_of_success();
    assert!(sorted.starts_with("229\n228\n"), "{sorted}");
    assert!(sorted.ends_with("\n1\n0\n"));
    let run = presencectl(&mock, "query-users -n 150 --sort n --jq .n").run();
    assert!(run.stdout_of_success().ends_with("\n148\n149\n"));
}

#[test]
fn online_filters_continue_over_pages() {
    let mock = crowd(230);
    let run = presencectl(&mock, "query-users --online -n 15 --sort n").run();
    let online = ids(&run);
    assert_eq!(online.len(), 15);
    assert_eq!(online[14], "u140");
    assert_eq!(run.stderr, "");
    for (line, count) in [
        ("query-users --online --count-only", 23),
        ("query-users --offline --count-only", 207),
        ("query-users --invisible-only --count-only", 0),
        (
            "query-users --filter '{\"n\":{\"$lt\":15}}' --online --count-only",
            2,
        ),
        ("query-users --count-only -n 120", 120),
    ] {
        let run = presencectl(&mock, line).run().ended_with(0);
        assert_eq!(run.records(), [json!({ "count": count })], "{line}");
    }
    let mock = small_world();
    let run = presencectl(&mock, "query-users --invisible-only --presence").run();
    assert_eq!(ids(&run), ["zoe"]);
    assert_eq!(run.records()[0]["online"], false);
}

#[test]
fn a_filter_of_ours_reads_until_enough_users_match() {
    let users: Vec<Value> = (0..300)
        .map(|n| json!({"id": format!("u{n:03}"), "online": n == 299}))
        .collect();
    let mock = world(&users, &[]);
    let run = presencectl(&mock, "query-users --online --fail-empty").run();
    assert_eq!(ids(&run.ended_with(0)), ["u299"]);
    let run = presencectl(&mock, "query-users --invisible-only --fail-empty").run();
    insta::assert_snapshot!(run.ended_with(3), @r"
    --- stderr
    presencectl: no user matches
    --- exit Some(3)
    ");
    let run = presencectl(&mock, "query-users --offline")
        .run()
        .ended_with(0);
    assert_eq!(ids(&run).len(), 30);
    assert_eq!(
        run.stderr,
        "hint: these are the first 30 users that match: add -n N, or --all\n"
    );
    let run = presencectl(&mock, "query-users --offline --offset 250 -n 2").run();
    assert_eq!(ids(&run), ["u250", "u251"]);
}

#[test]
fn a_sorted_search_goes_on_where_the_services_offset_ends() {
    let users: Vec<Value> = (0..1150)
        .map(|n| json!({"id": format!("u{n:04}"), "online": n == 7 || n >= 1130, "n": n}))
        .collect();
    let mock = world(&users, &[]);
    let line = "query-users --online --sort n -n 4 --jq .n";
    let run = presencectl(&mock, line).run();
    assert_eq!(run.stdout_of_success(), "7\n1130\n1131\n1132\n");
    let run = presencectl(&mock, &format!("{line} --offset 2")).run();
    assert_eq!(run.stdout_of_success(), "1131\n1132\n1133\n1134\n");
}

#[test]
fn no_url_is_longer_than_8_kib() {
    let ids: Vec<String> = (0..60).map(|n| format!("{n:@>255}")).collect();
    let users: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let mock = world(&users, &[]);
    let list = ids.join("\n");
    for line in [
        "get-user --in -",
        "query-users --in -",
        "set-user --in - --status x --verify",
    ] {
        let run = presencectl(&mock, line).run_with(&list).ended_with(0);
        assert_eq!(run.records().len(), 60, "{line}");
    }
    let run = presencectl(
        &mock,
        &format!("watch users {} --snapshot only", ids.join(" ")),
    )
    .run()
    .ended_with(0);
    let snapshots = run
        .records()
        .iter()
        .filter(|record| record["type"] == "presence.snapshot")
        .count();
    assert_eq!(snapshots, 60);

    let filter = format!("{{\"name\":\"{}\"}}", "x".repeat(9000));
    let run = presencectl_of(&mock, ["query-users", "--filter", &filter]).run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: cannot query users: the URL of GET /users would be longer than 8 KiB
    hint: shorten the filter, or name fewer ids in it
    --- exit Some(2)
    ");
}

#[test]
fn teams_and_deactivated_users() {
    let mock = world(
        &[
            json!({"id": "amy", "teams": ["red", "blue"]}),
            json!({"id": "bob", "teams": ["blue"]}),
            json!({"id": "carl"}),
        ],
        &[],
    );
    let run = presencectl(&mock, "query-users --team red")
        .run()
        .ended_with(0);
    assert_eq!(ids(&run), ["amy"]);
    let _ = presencectl(&mock, "deactivate-user bob -y")
        .run()
        .ended_with(0);
    let run = presencectl(&mock, "query-users --sort id")
        .run()
        .ended_with(0);
    assert_eq!(ids(&run), ["amy", "carl"]);
    let run = presencectl(&mock, "query-users --sort id --include-deactivated").run();
    assert_eq!(ids(&run), ["amy", "bob", "carl"]);
}

#[test]
fn a_deleted_user_is_restored() {
    let mock = small_world();
    let shown = presencectl(&mock, "restore-user john --dry-run").run();
    assert_eq!(
        shown.records(),
        [
            json!({"method": "POST", "path": "/users/restore", "endpoint": "RestoreUsers", "body": {"user_ids": ["john"]}})
        ]
    );
    let _ = presencectl(&mock, "delete-user john -y")
        .run()
        .ended_with(0);
    let run = presencectl(&mock, "restore-user john").run().ended_with(0);
    assert_eq!(run.records()[0]["name"], "John");
    let _ = presencectl(&mock, "get-user john").run().ended_with(0);
}

#[test]
fn what_people_type_first_has_a_hint() {
    let mock = small_world();
    let run = presencectl(&mock, "query-users john jack").run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: query-users takes no ids as arguments
    hint: presencectl get-user john jack; or presencectl query-users --in john,jack
    --- exit Some(2)
    ");
}

#[test]
fn the_output_of_a_query_is_a_list() {
    let mock = small_world();
    let users = presencectl(&mock, "query-users --sort id -o ndjson")
        .run()
        .stdout_of_success();
    for list in [users, "\u{feff}\"jack\"\r\n\"john\"\r\nzoe\r\n".to_owned()] {
        let run = presencectl(&mock, "set-user --in - --status x --must-exist")
            .run_with(&list)
            .ended_with(0);
        assert_eq!(ids(&run), ["jack", "john", "zoe"]);
    }
}

#[test]
fn named_users_are_found_however_many() {
    let mock = crowd(230);
    let list: String = (0..230).rev().map(|n| format!("u{n:03}\n")).collect();
    let run = presencectl(&mock, "query-users --in -").run_with(&list);
    assert_eq!(run.records().len(), 230);
    assert_eq!(run.stderr, "");
    let run = presencectl(&mock, "query-users --in - --sort -n -n 3 --jq .n").run_with(&list);
    assert_eq!(run.stdout, "229\n228\n227\n");
    let run = presencectl(&mock, "query-users --in u001,u000,nobody --sort -id").run();
    assert_eq!(ids(&run), ["u001", "u000"]);
}

#[test]
fn the_services_own_filters() {
    let mock = small_world();
    for (line, found) in [
        ("query-users --role admin", vec!["zoe"]),
        ("query-users --name-prefix jo", vec!["john"]),
        ("query-users --filter '{\"color\":\"green\"}'", vec!["john"]),
        (
            "query-users --active-since 1h --sort id",
            vec!["john", "zoe"],
        ),
        (
            "query-users --active-since 2026-01-05T10:00:00Z --role user --sort id",
            vec!["jack", "john"],
        ),
    ] {
        let run = presencectl(&mock, line).run().ended_with(0);
        assert_eq!(ids(&run), found, "{line}");
    }
}

#[test]
fn fail_empty_exits_with_3_in_every_format() {
    let mock = small_world();
    let mut lines = Vec::new();
    for format in ["table", "json", "ndjson", "tsv", "csv"] {
        let line = format!("query-users --role ghost -o {format}");
        let _ = presencectl(&mock, &line).run().ended_with(0);
        lines.push(format!("{line} --fail-empty"));
        lines.push(format!("{line} --fail-empty --count-only"));
    }
    let lines = lines.iter().map(String::as_str);
    insta::assert_snapshot!(transcript(lines, |line| presencectl(&mock, line).run()), @r#"
    $ query-users --role ghost -o table --fail-empty
    2> presencectl: no user matches
    exit 3
    $ query-users --role ghost -o table --fail-empty --count-only
    COUNT
    0
    2> presencectl: no user matches
    exit 3
    $ query-users --role ghost -o json --fail-empty
    []
    2> {"error":{"kind":"nothing_matched","message":"no user matches","exit_code":3,"api_code":null,"hint":null}}
    exit 3
    $ query-users --role ghost -o json --fail-empty --count-only
    {
      "count": 0
    }
    2> {"error":{"kind":"nothing_matched","message":"no user matches","exit_code":3,"api_code":null,"hint":null}}
    exit 3
    $ query-users --role ghost -o ndjson --fail-empty
    2> {"error":{"kind":"nothing_matched","message":"no user matches","exit_code":3,"api_code":null,"hint":null}}
    exit 3
    $ query-users --role ghost -o ndjson --fail-empty --count-only
    {"count":0}
    2> {"error":{"kind":"nothing_matched","message":"no user matches","exit_code":3,"api_code":null,"hint":null}}
    exit 3
    $ query-users --role ghost -o tsv --fail-empty
    id	name	online	status	last_active	invisible
    2> presencectl: no user matches
    exit 3
    $ query-users --role ghost -o tsv --fail-empty --count-only
    count
    0
    2> presencectl: no user matches
    exit 3
    $ query-users --role ghost -o csv --fail-empty
    id,name,online,status,last_active,invisible
    2> presencectl: no user matches
    exit 3
    $ query-users --role ghost -o csv --fail-empty --count-only
    count
    0
    2> presencectl: no user matches
    exit 3
    "#);
}

#[test]
fn a_filter_that_the_service_refuses_exits_with_5_and_the_reason() {
    let mock = small_world();
    let run = presencectl(&mock, "query-users --filter '{\"x\":{\"$bad\":1}}'").run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    presencectl: cannot query users: the API refused (HTTP 400, code 4): QueryUsers failed with error: "filter_conditions: unknown operator "$bad" on field "x""
    --- exit Some(5)
    "#);
}

#[test]
fn a_temporary_change_that_is_refused_has_nothing_to_restore() {
    let mock = small_world();
    let line = "set-user nope --must-exist --status x --for 1h";
    insta::assert_snapshot!(presencectl(&mock, line).run(), @r"
    --- stderr
    presencectl: nope does not exist yet
    presencectl: the user nope does not exist, and --must-exist forbids creating the user
    hint: omit --must-exist to create the user
    --- exit Some(5)
    ");
}

#[test]
fn a_user_who_is_named_twice_is_changed_once() {
    let mock = small_world();
    let run = presencectl(&mock, "delete-user john john -y --jq .id")
        .run()
        .ended_with(0);
    assert_eq!(run.stdout, "john\n", "{run}");
}

#[test]
fn deleting_needs_a_confirmation() {
    let mock = small_world();
    let lines = ["delete-user john", "deactivate-user john jack"];
    let shown = transcript(lines, |line| presencectl(&mock, line).run());
    insta::assert_snapshot!(shown, @r"
    $ delete-user john
    2> presencectl: cannot delete john without confirmation: stdin is not a terminal
    2> hint: confirm with -y
    exit 2
    $ deactivate-user john jack
    2> presencectl: cannot deactivate john, jack without confirmation: stdin is not a terminal
    2> hint: confirm with -y
    exit 2
    ");
    // A pipe is no terminal, whatever it says.
    let piped = transcript(lines, |line| presencectl(&mock, line).run_with("y\n"));
    assert_eq!(piped, shown);
    let _ = presencectl(&mock, "get-user john jack").run().ended_with(0);
}

#[test]
fn each_user_deleted_or_deactivated_is_printed() {
    for (line, requests, second) in [
        (
            "deactivate-user john jack -y",
            ["POST /users/john/deactivate", "POST /users/jack/deactivate"],
            r#"{"user":{"id":"jack","deactivated_at":"2026-01-05T10:00:00Z"}}"#,
        ),
        (
            "reactivate-user john jack",
            ["POST /users/john/reactivate", "POST /users/jack/reactivate"],
            r#"{"duration":"1ms"}"#,
        ),
        (
            "delete-user john jack --hard -y",
            ["DELETE /users/john", "DELETE /users/jack"],
            r#"{"user":{"id":"jack"},"task_id":""}"#,
        ),
    ] {
        let refused = r#"{"code":16,"message":"there is no jack","StatusCode":404}"#;
        for (second, code, printed) in [
            (answer("200 OK", "", second), 0, vec!["john", "jack"]),
            (answer("404 Not Found", "", refused), 5, vec!["john"]),
        ] {
            let first = answer("200 OK", "", r#"{"user":{"id":"john","online":false}}"#);
            let (run, sent) = run_against(Presencectl::line(line), "", vec![first, second]);
            let run = run.ended_with(code);
            assert_eq!(ids(&run), printed, "{line}");
            assert_eq!(run.stderr.contains("there is no jack"), code != 0, "{run}");
            let targets = sent
                .iter()
                .map(|request| request.split('?').next().unwrap());
            assert_eq!(targets.collect::<Vec<_>>(), requests);
            let is_hard = sent[0].contains("hard_delete=true");
            assert_eq!(is_hard, line.contains("--hard"), "{}", sent[0]);
        }
    }
}
