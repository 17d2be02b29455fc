//! Changes of very many users: rate limited, interrupted, resumed, refused and restored.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use presencectl::mock::RateLimitMode;
use serde_json::{Value, json};

use crate::support::mock::Mock;
use crate::support::wait_until;
use crate::support::world::{presencectl, small_world, world};

fn users(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| json!({"id": format!("u{n:06}"), "status": "was", "n": n}))
        .collect()
}

fn write_ids(path: &Path, count: usize) {
    let ids: Vec<String> = (0..count).map(|n| format!("u{n:06}")).collect();
    fs::write(path, ids.join("\n")).unwrap();
}

fn ids_in(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .map(|line| {
            let user: Value = serde_json::from_str(line).unwrap();
            assert_eq!(user["status"], "x");
            user["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// How many requests the mock has taken, and how many it has turned away for their rate. It remembers more than such a
/// run makes.
fn taken_and_refused(mock: &Mock) -> (usize, usize) {
    let log = presencectl(mock, "mock log").run().stdout_of_success();
    let statuses: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .inspect(|note| assert_ne!(note["type"], "mock.log.lost", "{note}"))
        .map(|note| note["status"].clone())
        .collect();
    let count = |code: u16| statuses.iter().filter(|status| **status == code).count();
    (count(200), count(429))
}

#[test]
fn a_hundred_thousand_users_are_changed_once_each_across_an_interruption_and_never_refused() {
    const COUNT: usize = 100_000;
    let mock = Mock::with(|options| {
        let as_object = |user: Value| user.as_object().unwrap().clone();
        options.fixture.users = users(COUNT).into_iter().map(as_object).collect();
        options.rules.rate_limit = RateLimitMode::PerMinute(300);
    });
    // A minute of the mock's is a second and a half of ours.
    let _ = presencectl(&mock, "mock clock run 40").run().ended_with(0);
    let folder = tempfile::tempdir().unwrap();
    let (list, journal) = (
        folder.path().join("100k.txt"),
        folder.path().join("done.txt"),
    );
    write_ids(&list, COUNT);
    let line = format!(
        "set-user --in @{} --status x --journal {}",
        list.display(),
        journal.display()
    );

    let mut first = presencectl(&mock, &line).stream();
    let mut printed: Vec<String> = (0..20_000).map(|_| first.line()).collect();
    first.signal("INT");
    let (rest, status) = first.end();
    assert_eq!(status.code(), Some(130));
    printed.extend(rest);
    let before = ids_in(&printed);
    assert!(before.len() < COUNT, "it was interrupted");
    let (taken, refused) = taken_and_refused(&mock);
    assert!(
        taken >= before.len() / 100 && refused == 0,
        "{taken}, {refused}"
    );
    let noted = fs::read_to_string(&journal).unwrap();
    assert_eq!(
        noted.lines().count() - 1,
        before.len(),
        "what was printed is what is noted"
    );

    let run = presencectl(&mock, &line).run().ended_with(0);
    let (taken, refused) = taken_and_refused(&mock);
    assert!(taken >= COUNT / 100 && refused == 0, "{taken}, {refused}");
    let after = ids_in(&run.stdout.lines().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(before.len() + after.len(), COUNT, "nobody twice");
    let all: HashSet<&String> = before.iter().chain(&after).collect();
    assert_eq!(all.len(), COUNT, "and everybody");

    insta::assert_snapshot!(presencectl(&mock, &line).run(), @r"
    --- stderr
    presencectl: skipped 100000 users that the journal lists as finished.
    --- exit Some(0)
    ");
    let other = presencectl(&mock, &line.replace("status x", "status y")).run();
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
fn refused_users_are_listed_and_the_others_are_changed() {
    let mock = world(&users(250), &[]);
    let folder = tempfile::tempdir().unwrap();
    let (list, failed) = (
        folder.path().join("ids.txt"),
        folder.path().join("failed.txt"),
    );
    write_ids(&list, 250);
    let text = fs::read_to_string(&list)
        .unwrap()
        .replace("u000007\n", "u000007\nghost\n")
        + "\nphantom\n";
    fs::write(&list, text).unwrap();
    let line = format!(
        "set-user --in @{} --status x --must-exist --continue-on-error --failed {}",
        list.display(),
        failed.display()
    );
    let run = presencectl(&mock, &line).run().ended_with(5);
    assert_eq!(run.records().len(), 250, "{}", run.stderr);
    let shown = run.stderr.replace(failed.to_str().unwrap(), "FAILED");
    insta::assert_snapshot!(shown, @r"
    presencectl: warning: the user ghost does not exist, and --must-exist forbids creating the user
    presencectl: warning: the user phantom does not exist, and --must-exist forbids creating the user
    presencectl: 2 users could not be changed
    hint: retry them: --in @FAILED
    ");
    insta::assert_snapshot!(fs::read_to_string(&failed).unwrap(), @r"
    # the user ghost does not exist, and --must-exist forbids creating the user
    ghost
    # the user phantom does not exist, and --must-exist forbids creating the user
    phantom
    ");
    // The list is read and written anew by one run.
    let line = format!(
        "set-user --in @{0} --status x --continue-on-error --failed {0}",
        failed.display()
    );
    let run = presencectl(&mock, &line).run().ended_with(0);
    assert_eq!(run.records().len(), 2);
    assert_eq!(fs::read_to_string(&failed).unwrap(), "");
}

#[test]
fn a_list_that_never_comes_can_be_interrupted() {
    let mock = small_world();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("done.txt");
    let line = format!(
        "set-user john --in - --status x --journal {}",
        journal.display()
    );
    let run = presencectl(&mock, &line).stream();
    wait_until("the run listens, which the journal shows", || {
        journal.exists()
    });
    run.signal("TERM");
    let (lines, status) = run.end_with_open_stdin();
    assert_eq!(status.code(), Some(143), "{lines:?}");
}

#[test]
fn if_changed_skips_users_that_need_no_change() {
    let mock = small_world();
    let _ = presencectl(&mock, "set-user john --status x")
        .run()
        .ended_with(0);
    let line = "set-user john jack --status x --if-changed --jq .id";
    insta::assert_snapshot!(presencectl(&mock, line).run(), @r"
    jack
    --- stderr
    presencectl: skipped 1 user that had the wanted values already.
    --- exit Some(0)
    ");
}

#[test]
fn old_values_are_restored_after_the_duration_and_on_ctrl_c() {
    let mock = small_world();
    let look = || {
        presencectl(&mock, "get-user john jack")
            .run()
            .stdout_of_success()
    };
    let before = look();
    let without_times = |text: &str| -> Vec<Value> {
        text.lines()
            .map(|line| {
                let mut user: Value = serde_json::from_str(line).unwrap();
                user.as_object_mut().unwrap().shift_remove("updated_at");
                user
            })
            .collect()
    };
    let change = "set-user john jack new --status busy --invisible --unset color --set a.b=c";
    let mut run = presencectl(&mock, &format!("{change} --for 1h")).stream();
    for _ in 0..3 {
        assert_eq!(run.record()["status"], "busy");
    }
    assert_ne!(without_times(&look()), without_times(&before));
    run.signal("INT");
    assert_eq!(run.end().1.code(), Some(130));
    assert_eq!(without_times(&look()), without_times(&before));
    let new = presencectl(&mock, "get-user new").run().ended_with(0);
    assert_eq!(new.records()[0]["status"], Value::Null, "{new}");

    let line = "set-user john --status busy --for 10ms --jq .status";
    insta::assert_snapshot!(presencectl(&mock, line).run(), @r#"
    busy
    --- stderr
    presencectl: old values of john: {"status":"Eating a veggie burger..."}
    presencectl: the old values will be restored in 10ms, or on Ctrl-C.
    presencectl: the old values of 1 user are restored.
    --- exit Some(0)
    "#);
    assert_eq!(without_times(&look()), without_times(&before));
}
