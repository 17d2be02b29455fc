//! Commands about channels, as processes against the mock.

use serde_json::{Value, json};

use crate::support::literal::{json as answer, run_against};
use crate::support::world::{presencectl, small_world, world};
use crate::support::{Presencectl, Run, usage_errors};

fn members(record: &Value) -> Vec<&str> {
    record["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["user_id"].as_str().unwrap())
        .collect()
}

#[test]
fn set_channel_creates_with_members_and_fields() {
    let mock = small_world();
    let run = presencectl(
        &mock,
        "set-channel my-conversation-123 --member john,zoe --set color=blue --set-json n=1",
    )
    .run()
    .ended_with(0);
    let [channel] = run.records().try_into().unwrap();
    assert_eq!(channel["cid"], "messaging:my-conversation-123");
    assert_eq!(channel["color"], "blue");
    assert_eq!(channel["member_count"], 2);
    assert_eq!(channel["created_by"]["id"], "presencectl-observer");
    assert_eq!(
        channel["created_by"]["invisible"], true,
        "the creator is the invisible observer"
    );
    let run = presencectl(&mock, "get-channel my-conversation-123 --members").run();
    assert_eq!(members(&run.records()[0]), ["john", "zoe"]);
}

#[test]
fn set_channel_changes_the_given_fields() {
    let mock = small_world();
    let run = presencectl(
        &mock,
        "set-channel fun --add-member zoe --remove-member john --set-json n=1 --unset color",
    )
    .run()
    .ended_with(0);
    let channel = &run.records()[0];
    assert_eq!(channel["n"], 1);
    assert_eq!(channel.get("color"), None);
    assert_eq!(channel["created_by"]["id"], "zoe", "the creator stays");
    let run = presencectl(&mock, "get-channel messaging:fun --members").run();
    assert_eq!(members(&run.records()[0]), ["jack", "zoe"]);

    let run = presencectl(&mock, "set-channel fun --member jack,john").run();
    assert_eq!(
        run.records()[0]["member_count"],
        3,
        "--member takes nobody away"
    );
}

#[test]
fn members_are_added_in_batches() {
    let users: Vec<Value> = (0..250).map(|n| json!({"id": format!("u{n}")})).collect();
    let mock = world(&users, &[]);
    let list: String = (0..250).map(|n| format!("u{n}\n")).collect();
    let run = presencectl(&mock, "set-channel big --member -")
        .run_with(&list)
        .ended_with(0);
    assert_eq!(run.records()[0]["member_count"], 250);
    let run = presencectl(&mock, "get-channel big --members").run();
    assert_eq!(members(&run.records()[0]).len(), 250);
    let run = presencectl(&mock, "set-channel big --remove-member -")
        .run_with(&list)
        .ended_with(0);
    assert_eq!(run.records()[0]["member_count"], 0);
}

#[test]
fn contradictions_are_usage_errors() {
    let mock = small_world();
    let lines = [
        "set-channel fun --member john --remove-member john",
        "set-channel fun --member - --remove-member -",
        "set-channel a:b:c",
        "set-channel fun --set a=1 --set a=2",
        "query-channels --all -n 3",
        "query-channels --filter {",
        "query-channels --all --sort has_unread",
    ];
    insta::assert_snapshot!(usage_errors(lines, |line| presencectl(&mock, line).run()), @r#"
    set-channel fun --member john --remove-member john
      presencectl: john is named both to be added and to be removed
    set-channel fun --member - --remove-member -
      presencectl: only one list can be read from standard input
    set-channel a:b:c
      error: invalid value 'a:b:c' for '<CID>': `b:c` is not a channel id: it takes letters, digits, `_`, `-` and `!`, at most 64 of them
    set-channel fun --set a=1 --set a=2
      presencectl: the field `a` is given twice
    query-channels --all -n 3
      error: the argument '--all' cannot be used with '--count <N>'
    query-channels --filter {
      error: invalid value '{' for '--filter <JSON>': not a JSON object: EOF while parsing an object at line 1 column 1; an example is '{"type":"messaging"}'
    query-channels --all --sort has_unread
      presencectl: cannot sort by `has_unread` with --all: responses do not contain it
    "#);
}

#[test]
fn an_unknown_member_is_refused_by_name() {
    let run = presencectl(&small_world(), "set-channel fun --add-member nobody").run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    presencectl: cannot change the members of messaging:fun: the API refused (HTTP 400, code 4): UpdateChannel failed with error: "the following users are named in add_members, but don't exist: [nobody]. Please create the user objects before setting up the channel."
    --- exit Some(5)
    "#);
}

#[test]
fn get_channel_shows_members_and_watchers_on_request() {
    let mock = small_world();
    let channel = presencectl(&mock, "get-channel fun").run().record();
    assert_eq!(channel["cid"], "messaging:fun");
    assert!(channel.get("members").is_none());

    let run = presencectl(&mock, "get-channel fun --members --watchers -o json").run();
    let channel: Value = serde_json::from_str(&run.stdout_of_success()).unwrap();
    assert_eq!(members(&channel), ["john", "jack"]);
    assert_eq!(channel["members"][0]["user"]["online"], true);
    assert_eq!(channel["members"][1]["user"]["status"], Value::Null);
    assert_eq!(channel["watchers"], json!([]));

    insta::assert_snapshot!(presencectl(&mock, "get-channel nope").run(), @r#"
    --- stderr
    presencectl: cannot read the channel messaging:nope: the API refused (HTTP 404, code 16): GetChannel failed with error: "Can't find channel with id messaging:nope"
    hint: list channels: presencectl query-channels
    --- exit Some(5)
    "#);
}

#[test]
fn get_channel_in_tables() {
    let line = "get-channel fun --members -o table";
    let run = presencectl(&small_world(), line).run();
    insta::assert_snapshot!(run.masked(), @r"
    CID            NAME  MEMBER COUNT  LAST MESSAGE AT  CREATED AT
    messaging:fun  -     2             -                now

    ID    NAME  ONLINE     STATUS                     LAST ACTIVE
    john  John  ● online   Eating a veggie burger...  now
    jack  Jack  ○ offline  -                          2026-01-05
    --- stderr
    --- exit Some(0)
    ");
}

#[test]
fn query_channels_filters_and_pages() {
    let channels: Vec<Value> = (0..70)
        .map(|n| json!({"type": if n % 2 == 0 { "messaging" } else { "livestream" }, "id": format!("c{n:02}"), "members": ["john"], "created_by_id": "john", "n": n}))
        .collect();
    let mock = world(
        &[json!({"id": "john", "online": true}), json!({"id": "jack"})],
        &channels,
    );
    for (line, count) in [
        ("query-channels", 30),
        ("query-channels -n 45", 45),
        ("query-channels -n 5", 5),
        ("query-channels --all", 70),
        ("query-channels --all --type livestream", 35),
        ("query-channels --all --member john", 70),
        ("query-channels --member jack", 0),
        (
            "query-channels --filter '{\"n\":{\"$gte\":60}}' --type messaging",
            5,
        ),
    ] {
        let run = presencectl(&mock, line).run().ended_with(0);
        assert_eq!(run.records().len(), count, "{line}");
        let is_a_page = run.stderr.starts_with("hint: this is one page of 30");
        assert_eq!(is_a_page, count == 30, "{run}");
    }
    let run = presencectl(&mock, "query-channels --sort -n -n 2 --presence").run();
    let [first, second] = run.records().try_into().unwrap();
    assert_eq!([&first["n"], &second["n"]], [69, 68]);
    assert_eq!(first["members"][0]["user"]["online"], true);
}

#[test]
fn dry_run_shows_requests_and_sends_none() {
    let mock = small_world();
    let run = presencectl(
        &mock,
        "set-channel other --member john --set color=red --dry-run",
    )
    .run()
    .ended_with(0);
    let requests = run.records();
    assert_eq!(requests.len(), 2, "{run}");
    assert_eq!(requests[0]["path"], "/users");
    assert_eq!(requests[1]["path"], "/channels/messaging/other/query");
    assert_eq!(
        requests[1]["body"]["data"],
        json!({"color": "red", "members": ["john"], "created_by_id": "presencectl-observer"})
    );
    let _ = presencectl(&mock, "get-channel other").run().ended_with(5);
    let _ = presencectl(&mock, "get-user presencectl-observer")
        .run()
        .ended_with(5);

    let run = presencectl(
        &mock,
        "set-channel fun --remove-member john --set color=red --dry-run",
    )
    .run();
    let methods: Vec<_> = run
        .records()
        .iter()
        .map(|r| {
            format!(
                "{} {}",
                r["method"].as_str().unwrap(),
                r["path"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        methods,
        [
            "POST /channels/messaging/fun",
            "PATCH /channels/messaging/fun"
        ]
    );
}

/// The cids that a command prints with `--jq .cid`, whether or not strings are quoted.
fn cids(run: &Run) -> Vec<String> {
    run.stdout
        .lines()
        .map(|line| line.trim_matches('"').to_owned())
        .collect()
}

#[test]
fn all_channels_are_paged_by_creation_and_sorted_here() {
    let users = [json!({"id": "john"})];
    // Channels of one fixture are created at the same instant, so that every page ends within a tie.
    let channels: Vec<Value> = (0..95)
        .map(|n| json!({"type": "messaging", "id": format!("c{n:02}"), "created_by_id": "john", "team": if n % 2 == 0 { "red" } else { "blue" }, "n": 95 - n}))
        .collect();
    let mock = world(&users, &channels);
    let run = presencectl(&mock, "query-channels --all --jq .cid")
        .run()
        .ended_with(0);
    let mut found = cids(&run);
    assert_eq!(found.len(), 95);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 95, "each once");
    let run = presencectl(&mock, "query-channels --all --sort n --jq .cid").run();
    let sorted = cids(&run);
    assert_eq!(
        (sorted.len(), sorted[0].as_str(), sorted[94].as_str()),
        (95, "messaging:c94", "messaging:c00")
    );
    let run = presencectl(&mock, "query-channels --all --team blue --jq .cid").run();
    assert_eq!(cids(&run).len(), 47);
}

#[test]
fn pages_of_all_channels_ask_for_what_is_not_older_and_skip_ties() {
    let page = |channels: &[(usize, u32)]| {
        let channels: Vec<Value> = channels
            .iter()
            .map(|(id, second)| json!({"channel": {"cid": format!("messaging:c{id}"), "created_at": format!("2026-01-01T00:00:{second:02}Z")}}))
            .collect();
        answer("200 OK", "", &json!({ "channels": channels }).to_string())
    };
    let first: Vec<(usize, u32)> = (0..30).map(|n| (n, if n < 28 { 1 } else { 2 })).collect();
    // The service repeats one channel of the tie, and a new one has appeared in it.
    let second = [(29, 2), (30, 2), (31, 3)];
    let command = Presencectl::line("query-channels --all --jq .cid");
    let (run, requests) = run_against(command, "", vec![page(&first), page(&second)]);
    assert_eq!(cids(&run.ended_with(0)).len(), 32);
    let body: Value = serde_json::from_str(requests[1].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        body["filter_conditions"],
        json!({"created_at": {"$gte": "2026-01-01T00:00:02Z"}})
    );
    assert_eq!(
        body["sort"],
        json!([{"field": "created_at", "direction": 1}])
    );
    assert_eq!(body["offset"], 2);
}
