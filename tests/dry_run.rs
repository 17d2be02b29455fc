//! `--dry-run` changes nothing, and prints exactly the requests that the same command sends without it.

use std::fs;

use serde_json::{Value, json};

use crate::support::Presencectl;
use crate::support::mock::Mock;
use crate::support::world::{presencectl, small_world};

/// Commands that change something, and how many requests each sends that `--dry-run` cannot know.
const LINES: [(&str, usize); 18] = [
    ("set-user john fresh --status x --invisible", 0),
    ("set-user john --clear-status --if-changed", 0),
    // Restores the old value.
    ("set-user john --status x --for 1ms", 1),
    ("deactivate-user john", 0),
    ("delete-user john --hard", 0),
    ("set-channel fun --set color=red --add-member zoe", 0),
    ("set-channel new --member john,jack", 0),
    ("api PATCH users --input patch.json", 0),
    ("api DELETE users/jack", 0),
    ("hold john", 0),
    ("hold john --status x", 1),
    ("watch users john --snapshot only", 0),
    ("watch users john --as jack --snapshot only", 0),
    ("watch channels --snapshot only", 0),
    (
        "watch channel new --member john --set color=red --snapshot only",
        0,
    ),
    ("wait user john --for exists", 0),
    ("wait channel fun --for true", 0),
    ("query-users --watch", 0),
];

/// The requests in the server's log that may change something.
fn changes(mock: &Mock) -> Vec<Value> {
    let log = control(mock, "mock log");
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|note| note["type"] == "mock.request")
        .filter(|note| {
            let (method, path) = (note["method"].as_str(), note["path"].as_str());
            path == Some("/connect")
                // What is refused changes nothing: asking for users that turn out to be missing.
                || (note["status"].as_u64() < Some(400)
                    && method != Some("GET")
                    && path != Some("/channels")
                    // Opening a channel as a watcher that exists already.
                    && note["body"]["watch"] != true)
        })
        .collect()
}

fn control(mock: &Mock, line: &str) -> String {
    Presencectl::line(line)
        .env("PRESENCECTL_BASE_URL", &mock.url())
        .run()
        .stdout_of_success()
}

/// Whether what was sent contains everything of the plan.
fn contains(plan: &Value, sent: &Value) -> bool {
    match (plan, sent) {
        (Value::Object(plan), Value::Object(sent)) => plan
            .iter()
            .all(|(name, value)| sent.get(name).is_some_and(|sent| contains(value, sent))),
        (plan, sent) => plan == sent,
    }
}

fn is_sent(plan: &Value, note: &Value) -> bool {
    let said = if note["path"] == "/connect" {
        &note["query"]["json"]
    } else if note["method"] == "DELETE" {
        &Value::Null
    } else {
        &note["body"]
    };
    let path = plan["path"].as_str().unwrap().split('?').next();
    note["path"].as_str() == path
        && note["method"] == plan["method"]
        && contains(&plan["body"], said)
}

#[test]
fn dry_run_prints_what_the_command_sends_and_sends_nothing() {
    for (line, unforeseen) in LINES {
        let mock = small_world();
        let folder = tempfile::tempdir().unwrap();
        let patch = folder.path().join("patch.json");
        fs::write(&patch, r#"{"users":[{"id":"jack","set":{"color":"red"}}]}"#).unwrap();
        let line = line.replace("patch.json", patch.to_str().unwrap());
        let before = control(&mock, "mock snapshot");
        let plan = presencectl(&mock, &format!("{line} --dry-run -o ndjson"))
            .run()
            .ended_with(0)
            .records();
        assert!(!plan.is_empty(), "{line} has a plan");
        assert_eq!(changes(&mock), [] as [Value; 0], "{line} --dry-run");
        assert_eq!(control(&mock, "mock snapshot"), before, "{line} --dry-run");

        let command = presencectl(&mock, &format!("{line} --yes"));
        // These run until they are ended, which is possible once they have printed these records.
        let ready = match line.split(' ').next() {
            Some("hold") => Some("presence.snapshot"),
            _ if line.ends_with("--watch") => Some("presence.coverage"),
            _ => None,
        };
        if let Some(ready) = ready {
            let mut stream = command.stream();
            stream.records_until(ready);
            stream.signal("INT");
            let _ = stream.finish().ended_with(130);
        } else {
            let run = command.run();
            assert_eq!(run.code, Some(0), "{line}: {run}");
        }
        let sent = changes(&mock);
        for request in &plan {
            assert!(
                sent.iter().any(|note| is_sent(request, note)),
                "{line} shows {request}, and sends {sent:#?}"
            );
        }
        assert_eq!(
            sent.len(),
            plan.len() + unforeseen,
            "{line} shows {plan:#?}, and sends {sent:#?}"
        );
    }
}

#[test]
fn users_that_need_no_change_are_not_in_the_plan() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let line = format!(
        "set-user john jack --status x --journal {}",
        journal.display()
    );
    let plan = |line: &str| {
        presencectl(&mock, &format!("{line} --dry-run"))
            .run()
            .ended_with(0)
            .records()
    };
    assert_eq!(plan(&line).len(), 1);
    assert!(!journal.exists(), "a plan starts no journal");
    let _ = presencectl(&mock, &line).run().ended_with(0);
    assert_eq!(plan(&line), [] as [Value; 0], "both are done");
    assert_eq!(
        plan("set-user john --status x --if-changed"),
        [] as [Value; 0]
    );
    let other = presencectl(&mock, &format!("{line} --name y --dry-run")).run();
    let shown = other
        .to_string()
        .replace(journal.to_str().unwrap(), "JOURNAL");
    insta::assert_snapshot!(shown, @r"
    --- stderr
    presencectl: the journal JOURNAL belongs to another change
    hint: name another file, or delete this one
    --- exit Some(2)
    ");
}

#[test]
fn dry_run_does_not_control_the_mock() {
    let mock = small_world();
    let before = control(&mock, "mock snapshot");
    for (line, path) in [
        ("mock reset", "/_mock/reset"),
        ("mock stop", "/_mock/stop"),
        ("mock clock advance 1h", "/_mock/clock/advance"),
        ("mock user john set status=x", "/_mock/users/john/set"),
        ("mock user john connect", "/_mock/users/john/connect"),
        ("mock trigger x --subscribers john", "/_mock/trigger"),
        ("mock fault add delay --delay 1h", "/_mock/faults"),
        ("mock fault clear", "/_mock/faults"),
        ("mock app create", "/_mock/apps"),
        ("mock app delete K", "/_mock/apps/K"),
    ] {
        let shown = control(&mock, &format!("{line} --dry-run"));
        let plan: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(plan["path"], path, "{line}");
    }
    assert_eq!(control(&mock, "mock fault list"), "");
    assert_eq!(control(&mock, "mock snapshot"), before);
}

#[test]
fn dry_run_prints_a_profile_and_does_not_write_it() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    let at = |line: &str| {
        Presencectl::line(line)
            .env("PRESENCECTL_CONFIG", config.to_str().unwrap())
            .run()
            .ended_with(0)
    };
    let add = "profile add p --api-key K --secret-env X";
    let run = at(&format!("{add} --dry-run"));
    assert_eq!(run.records()[0]["name"], json!("p"), "{run}");
    assert!(!config.exists());
    let _ = at(add);
    let before = fs::read_to_string(&config).unwrap();
    let _ = at("profile remove p --dry-run");
    let _ = at("profile add q --api-key K --default --dry-run");
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
}
