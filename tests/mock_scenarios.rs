//! Scenarios that run inside the server, by raw control requests.

use std::fs;
use std::sync::Arc;

use presencectl::mock::ReplaySource;
use presencectl::mock::recording::RecordingReader;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::Presencectl;
use crate::support::mock::Mock;
use crate::support::wire::Answer;

const DAY: &str = "
name: a day
seed: 7
fixture: {users: [{id: amy, name: Amy}, {id: bob}], channels: [{type: messaging, id: lounge, members: [amy]}]}
clock: {freeze: 2026-01-31T08:00:00Z}
steps:
  - {at: 0s, user: {id: amy, connect: true}}
  - {at: 5s, user: {id: amy, set: {status: '${STATUS:-busy}'}}}
  - {at: 8s, fault: {kind: drop, user: amy}}
  - {trigger: {event: {type: custom.ping}, user: amy}}
  - expect: {method: GET, path: /users, never: true}
  - repeat: {at: 20s, every: 2s, times: 3, jitter: 50%, steps: [{user: {any: '*', toggle: true}}]}
  - expect: {path: /users}
  - {after: 1s, clear_faults: true}
";
/// Waits until it is stopped.
const ENDLESS: &str = "steps: [{clear_faults: true}, {wait_for: {connection: zoe, within: 1d}}, {clear_faults: true}]";

fn post(mock: &Mock, body: &Value) -> Answer {
    mock.call("POST", "/_mock/scenarios", "", body)
}

fn start(mock: &Mock, text: &str) -> String {
    let answer = post(mock, &json!({ "scenario": text }));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["id"].as_str().unwrap().to_owned()
}

fn get(mock: &Mock, target: &str) -> Value {
    let answer = mock.call("GET", target, "", &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// The run once it has ended, and all records of its steps.
fn ended(mock: &Mock, id: &str) -> (Value, Vec<Value>) {
    let mut records = Vec::new();
    let mut after = 0;
    loop {
        let target = format!("/_mock/scenarios/{id}?after={after}&wait=30s");
        let mut run = get(mock, &target);
        records.append(run["records"].as_array_mut().unwrap());
        after = run["next"].as_u64().unwrap();
        if run["state"] != "running" {
            return (run, records);
        }
    }
}

/// The message of a refused request.
fn refusal(answer: &Answer) -> String {
    let message = answer.body["message"].as_str().unwrap();
    let message = message.strip_prefix("Control failed with error: \"");
    let message = message.and_then(|message| message.strip_suffix('"'));
    format!("{} {}", answer.status, message.unwrap())
}

#[test]
fn a_run_does_what_mock_run_does() {
    let mock = Mock::start();
    let (run, records) = ended(&mock, &start(&mock, DAY));
    let summary: Vec<&Value> = [
        "name", "state", "steps", "done", "failed", "skipped", "speed", "duration",
    ]
    .iter()
    .map(|field| &run[*field])
    .collect();
    assert_eq!(
        json!(summary),
        json!(["a day", "failed", 10, 10, 1, 0, "max", "27s"])
    );
    assert_eq!(run["failures"], json!([records[8]]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("day.yaml");
    fs::write(&file, DAY).unwrap();
    let command = Presencectl::new(["mock", "run", file.to_str().unwrap(), "-q"]).run();
    assert_eq!(
        command.clone().ended_with(3).records(),
        records,
        "{command}"
    );
    let users = get(&mock, "/_mock/users");
    assert_eq!(users["users"][0]["status"], "busy");
    assert_eq!(get(&mock, "/_mock/status")["channels"], 1);
}

#[test]
fn seed_speed_variables_and_examples_are_options() {
    let mock = Mock::start();
    let body = json!({"scenario": DAY, "seed": 8, "speed": 1000, "variables": {"STATUS": 5}});
    let id = post(&mock, &body).body["id"].clone();
    let (other, records) = ended(&mock, id.as_str().unwrap());
    assert_eq!(json!([other["seed"], other["speed"]]), json!([8, "1000"]));
    assert_eq!(get(&mock, "/_mock/users")["users"][0]["status"], "5");
    let (_, again) = ended(&mock, &start(&mock, DAY));
    assert_ne!(
        records[5]["at"], again[5]["at"],
        "another seed, other times"
    );
    let run = post(&mock, &json!({"example": "on-call"})).body;
    let (run, _) = ended(&mock, run["id"].as_str().unwrap());
    assert_eq!(
        json!([run["name"], run["state"], run["done"]]),
        json!(["on call", "passed", 28])
    );
    let texts = get(&mock, "/_mock/examples");
    for example in texts["examples"].as_array().unwrap() {
        let check = json!({"scenario": example["text"], "check": true});
        assert_eq!(post(&mock, &check).body["valid"], true, "{example}");
    }
    let ids: Vec<Value> = get(&mock, "/_mock/scenarios")["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["id"].clone())
        .collect();
    assert_eq!(json!(ids), json!(["s3", "s2", "s1"]));
}

#[test]
fn a_check_says_where_a_mistake_is_and_runs_nothing() {
    let mock = Mock::start();
    let check = |text: &str| post(&mock, &json!({"scenario": text, "check": true})).body;
    assert_eq!(
        check("steps:\n- user: {id: amy, conect: true}\n"),
        json!({
            "valid": false, "line": 2, "column": 19,
            "message": "unknown field `conect`, expected one of id, any, connect, disconnect, drop, toggle, set, unset",
        })
    );
    assert_eq!(
        check("# ${A:-x}\nfixture: world.json\nsteps: []"),
        json!({
            "valid": false, "line": 2, "column": 10,
            "message": "a scenario in a request cannot read files; write the users and channels here instead of naming a file",
        })
    );
    assert_eq!(
        check(DAY),
        json!({"valid": true, "name": "a day", "steps": 10, "duration": "27s", "users": 2, "channels": 1})
    );
    assert_eq!(get(&mock, "/_mock/scenarios"), json!({"scenarios": []}));
    assert_eq!(get(&mock, "/_mock/status")["users"], 0);
}

#[test]
fn invalid_scenarios_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.json");
    fs::write(&secret, r#"{"users":[{"id":"hush"}]}"#).unwrap();
    let mock = Mock::start();
    let mut shown = String::new();
    for body in [
        json!({}),
        json!({"scenario": "steps: []", "example": "on-call"}),
        json!({"example": "quiet-day"}),
        json!({"scenario": 5}),
        json!({"scenario": "steps: []", "sped": "max"}),
        json!({"scenario": "steps: []", "speed": "fast"}),
        json!({"scenario": "steps: []", "seed": -1}),
        json!({"scenario": "steps: []", "variables": {"A": []}}),
        json!({"scenario": "steps: [{clear_faults: '${HOME}'}]"}),
        json!({"scenario": "hello"}),
        json!({"scenario": format!("fixture: {}\nsteps: []", secret.display())}),
        json!({"scenario": "options: {idle-timeout: 5s}\nsteps: []"}),
        json!({"scenario": "#".repeat(17 * 1024 * 1024)}),
    ] {
        shown.push_str(&refusal(&post(&mock, &body)));
        shown.push('\n');
    }
    insta::assert_snapshot!(shown, @r#"
    400 exactly one of `scenario` and `example` is required
    400 exactly one of `scenario` and `example` is required
    400 example must be one of busy-day, flaky-network, on-call, not "quiet-day"
    400 scenario: invalid type: integer `5`, expected a string
    400 unknown field `sped`; expected one of `scenario`, `example`, `seed`, `speed`, `variables`, `check`
    400 speed must be max, or a number above 0, at most 1000000
    400 seed: invalid value: integer `-1`, expected a whole number, 0 or more
    400 variables.A must be a string, a number or a boolean
    400 scenario:1:24: the variable `HOME` is not set
    400 scenario:1:1: expected an object, such as {name: value}
    400 scenario:1:10: a scenario in a request cannot read files; write the users and channels here instead of naming a file
    400 scenario:1:25: the server runs with another value of idle-timeout, which cannot change while it runs; restart it with --idle-timeout 5s
    400 scenario must not be larger than 16 MiB
    "#);
    // The value that the server has is no change.
    let same = json!({"scenario": "options: {idle-timeout: 1m}\nsteps: []", "check": true});
    assert_eq!(post(&mock, &same).body["valid"], true);
    assert_eq!(get(&mock, "/_mock/scenarios"), json!({"scenarios": []}));
    for method in ["GET", "DELETE"] {
        let answer = mock.call(method, "/_mock/scenarios/s1", "", &Value::Null);
        assert_eq!(refusal(&answer), "404 run \"s1\" was not found");
    }
}

#[test]
fn one_scenario_runs_at_a_time_until_it_is_stopped() {
    let mock = Mock::start();
    let id = start(&mock, ENDLESS);
    let second = post(&mock, &json!({"example": "on-call"}));
    insta::assert_snapshot!(refusal(&second), @"409 run s1 is still in progress; stop it first: DELETE /_mock/scenarios/s1");
    let other = mock.call("POST", "/_mock/apps", "", &Value::Null).body;
    let target = format!(
        "/_mock/scenarios?api_key={}",
        other["api_key"].as_str().unwrap()
    );
    let elsewhere = mock.call("POST", &target, "", &json!({"scenario": ENDLESS}));
    assert_eq!(elsewhere.status, 200, "{}", elsewhere.body);

    let target = format!("/_mock/scenarios/{id}");
    // The first step has happened.
    assert_eq!(
        get(&mock, &format!("{target}?wait=30s"))["records"][0]["number"],
        1
    );
    for _ in 0..2 {
        let stopped = mock.call("DELETE", &target, "", &Value::Null).body;
        assert_eq!(
            json!([stopped["state"], stopped["done"]]),
            json!(["stopped", 1])
        );
        assert_eq!(stopped["error"], "a request stopped the run");
    }
    let run = get(&mock, &target);
    assert_eq!(
        run["skipped_steps"],
        json!([
            {"type": "mock.step.skipped", "line": 1, "action": "wait_for", "user": "zoe", "ok": false,
             "error": "did not run: a request stopped the run", "count": 1},
            {"type": "mock.step.skipped", "line": 1, "action": "clear_faults", "ok": false,
             "error": "did not run: a request stopped the run", "count": 1},
        ])
    );
    start(&mock, "steps: []");
}

#[test]
fn a_reset_and_the_end_of_the_application_stop_a_run() {
    let mock = Mock::start();
    let id = start(&mock, ENDLESS);
    let answer = mock.call("POST", "/_mock/reset", "", &Value::Null);
    assert_eq!(answer.status, 200);
    let (run, _) = ended(&mock, &id);
    assert_eq!(
        json!([run["state"], run["error"]]),
        json!(["stopped", "the application was reset"])
    );
    let other = mock.call("POST", "/_mock/apps", "", &Value::Null).body;
    let key = other["api_key"].as_str().unwrap();
    let body = json!({"scenario": "steps: [{wait_for: {connection: zoe, within: 1d}}]"});
    let target = format!("/_mock/scenarios?api_key={key}");
    assert_eq!(mock.call("POST", &target, "", &body).status, 200);
    let deleted = mock.call("DELETE", &format!("/_mock/apps/{key}"), "", &Value::Null);
    assert_eq!(deleted.status, 200);
    // The server can end while a scenario runs.
    start(&mock, ENDLESS);
}

#[test]
fn records_and_runs_are_bounded() {
    let mock = Mock::start();
    let busy = "clock: {freeze: 2026-01-31T08:00:00Z}\nsteps: [{repeat: {every: 1s, times: 3000, steps: [{expect: {count: 1}}]}}]";
    let id = start(&mock, busy);
    ended(&mock, &id);
    let run = get(&mock, &format!("/_mock/scenarios/{id}?limit=2"));
    assert_eq!(
        json!([run["done"], run["failed"], run["lost"], run["next"]]),
        json!([3000, 3000, 2000, 2002])
    );
    assert_eq!(run["records"][0]["number"], 2001);
    assert_eq!(run["failures"].as_array().unwrap().len(), 100);
    let rest = get(&mock, &format!("/_mock/scenarios/{id}?after=2999"));
    assert_eq!(rest["records"].as_array().unwrap().len(), 1);
    for _ in 0..20 {
        ended(&mock, &start(&mock, "steps: []"));
    }
    let runs = get(&mock, "/_mock/scenarios");
    assert_eq!(runs["scenarios"].as_array().unwrap().len(), 20);
    assert_eq!(runs["scenarios"][19]["id"], "s2");
}

#[test]
fn steps_run_at_the_speed_of_the_clock() {
    let mock = Mock::start();
    let text = "steps: [{at: 1h, user: {id: amy, set: {status: late}}}]";
    let answer = post(&mock, &json!({"scenario": text, "speed": "1000000"}));
    let (run, records) = ended(&mock, answer.body["id"].as_str().unwrap());
    assert_eq!(run["state"], "passed");
    assert_eq!(records[0]["user"], "amy");
}

#[test]
fn a_server_that_replays_runs_no_scenarios() {
    let text = include_str!("corpus/recordings/session.ndjson");
    let recording = Arc::new(RecordingReader::read(text).unwrap());
    let (reporter, _unmatched) = mpsc::unbounded_channel();
    let mock = Mock::with(|options| {
        options.replay = Some(ReplaySource {
            recording,
            reporter,
        });
    });
    let answer = post(&mock, &json!({"example": "on-call"}));
    assert_eq!(
        refusal(&answer),
        "400 a server that answers from a recording runs no scenarios"
    );
}
