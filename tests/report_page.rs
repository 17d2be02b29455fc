//! The HTML page of `report`, in a real browser: `tests/browser/timeline.test.mjs`, run by Node.
//!
//! Without Node or Chromium the test is skipped with a message; in CI (`CI=true`) that is a failure.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::Presencectl;
use crate::support::browser::{in_chromium, run_node_tests};
use crate::support::recording::time;

const START: i64 = 1_774_735_200_000;
const HOUR: i64 = 3_600_000;

#[test]
fn the_page_works_in_chromium() {
    in_chromium(run);
}

fn run(folder: &Path, chromium: &Path) {
    let pages = tempfile::tempdir().unwrap();
    let page = |name: &str, recording: String| {
        let (input, output) = (
            pages.path().join(format!("{name}.ndjson")),
            pages.path().join(format!("{name}.html")),
        );
        fs::write(&input, recording).unwrap();
        let _ = Presencectl::new([
            "report",
            "timeline",
            "--jq",
            "empty",
            "--tz",
            "Europe/Berlin",
            "--html",
            output.to_str().unwrap(),
            input.to_str().unwrap(),
        ])
        .run()
        .ended_with(0);
        output
    };
    let small = page("small", recording(12, 8));
    let big = page("big", recording(500, 200));
    run_node_tests(
        Command::new("node")
            .env("PAGE_SMALL", small)
            .env("PAGE_BIG", big),
        folder,
        chromium,
        "timeline.test.mjs",
    );
}

/// A day with a gap and a change of the clocks, one user of which has a hostile name.
fn recording(users: i64, sessions: i64) -> String {
    let mut text = String::new();
    let mut line = |at: i64, kind: &str, source: &str, fields: serde_json::Value| {
        let mut line = json!({"type": kind, "received_at": time(at), "source": source});
        line.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        writeln!(text, "{line}").unwrap();
    };
    let user = |user: i64, online: bool| {
        let name = if user == 3 {
            "</script><script>window.hacked = 1</script><img src=x onerror=\"window.hacked = 1\">"
                .to_owned()
        } else {
            format!("User {user}")
        };
        json!({"user": {"id": format!("u{user}"), "name": name, "status": "<i>busy</i>", "online": online}})
    };
    for number in 0..users {
        line(START, "presence.snapshot", "query", user(number, false));
    }
    let length = 24 * HOUR / sessions;
    let gap = (START + 10 * HOUR, START + 12 * HOUR);
    let mut is_over = false;
    for session in 0..sessions {
        for (part, online) in [(4, true), (2, false)] {
            for number in 0..users {
                let at = START + session * length + length / part + number;
                if (gap.0..gap.1).contains(&at) {
                    continue;
                }
                if at >= gap.1 && !std::mem::replace(&mut is_over, true) {
                    line(
                        gap.1,
                        "presence.gap",
                        "local",
                        json!({"from": time(gap.0), "to": time(gap.1), "repaired": [], "note": "reconnected"}),
                    );
                }
                line(at, "user.presence.changed", "ws", user(number, online));
            }
        }
    }
    line(
        START + 24 * HOUR,
        "stream.end",
        "local",
        json!({"reason": "timeout"}),
    );
    text
}
