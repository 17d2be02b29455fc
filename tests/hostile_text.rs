//! Hostile text, such as terminal escapes, in streams, hooks, files and errors. Tables and the
//! formats of one-shot commands are looked at beside the other outputs.

use std::fs;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::output::HOSTILE;
use crate::support::Presencectl;
use crate::support::mock::Mock;
use crate::support::world::{presencectl, presencectl_of, world};

/// eve's name and status are hostile from the start.
fn hostile_world() -> (Mock, String) {
    let status = format!("{HOSTILE}{}", "x".repeat(4096));
    let eve = json!({"id": "eve", "name": HOSTILE, "status": status});
    let channel = json!({"type": "messaging", "id": "den", "members": ["eve"], "name": HOSTILE});
    (world(&[eve], &[channel]), status)
}

#[track_caller]
fn assert_harmless(text: &str) {
    let acts = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{202e}' | '\u{2066}'));
    assert!(!text.contains(acts), "{text:?}");
}

/// Sends a status, exactly, as a change of the server's.
fn set_status(mock: &Mock, status: &str) {
    let field = format!("status={}", json!(status));
    let run = presencectl_of(mock, ["set-user", "eve", "--set-json", &field]).run();
    assert_eq!(run.records()[0]["status"], status);
}

/// Sends an event of a hostile type to whoever follows eve.
fn trigger(mock: &Mock, kind: &str) {
    let event = json!({"type": kind, "cid": HOSTILE, "user": {"id": "eve", "name": HOSTILE}});
    let words = ["mock", "trigger", "--subscribers", "eve", "--event"];
    let event = event.to_string();
    let run = Presencectl::new(words.into_iter().chain([event.as_str()]))
        .env("PRESENCECTL_BASE_URL", &mock.url())
        .run();
    assert_eq!(run.records()[0]["sent"], 1, "{run}");
}

#[test]
fn human_lines_are_escaped_and_machine_copies_exact() {
    let (mock, status) = hostile_world();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (tee, took) = (path("tee"), path("took"));
    let hook = format!(
        "cat >> {took}; printf '%s\\n' \"$PRESENCECTL_TYPE $PRESENCECTL_USER_ID\" >> {took}; echo \"$PRESENCECTL_TYPE\""
    );
    let words = [
        "watch",
        "users",
        "eve",
        "-o",
        "table",
        "-n",
        "2",
        "--tee",
        &tee,
        "--exec",
        &hook,
        "--exec-fail",
        "--exec-jobs",
        "1",
    ];
    let mut stream = presencectl_of(&mock, words).stream();
    let mut lines = vec![stream.line(), stream.line()];
    assert!(lines[1].contains("following 1 of 1 user"), "{lines:?}");
    let sent = format!("now {status}");
    set_status(&mock, &sent);
    lines.push(stream.line());
    let kind = "made\0up\u{1b}[2J";
    trigger(&mock, kind);
    let (rest, ended) = stream.end();
    assert_eq!(ended.code(), Some(0), "no hook failed: {rest:?}");
    lines.extend(rest);
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in &lines {
        assert_harmless(line);
        assert!(line.width() < 500, "{line}");
    }
    assert!(
        lines[2].contains(r"now \u{1b}[2J\u{1b}[31mred"),
        "{lines:?}"
    );
    assert!(lines[3].contains(r"made\u{0}up"), "{lines:?}");

    let records: Vec<Value> = fs::read_to_string(&tee)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 5);
    assert_eq!(records[0]["user"]["status"], status);
    assert_eq!(records[2]["user"]["status"], sent);
    assert_eq!(records[3]["type"], kind);
    assert_eq!(records[3]["cid"], HOSTILE);

    let took = fs::read_to_string(&took).unwrap();
    let took: Vec<&str> = took.lines().collect();
    let hooked: Value = serde_json::from_str(took[0]).unwrap();
    assert_eq!(hooked["user"]["status"], sent);
    assert_eq!(took[1], "user.updated eve");
    let hooked: Value = serde_json::from_str(took[2]).unwrap();
    assert_eq!(hooked["type"], kind);
    // The environment cannot hold NUL.
    assert_eq!(took[3], "made\u{fffd}up\u{1b}[2J eve");
}

#[test]
fn every_stream_format_has_one_line_per_record() {
    let (mock, status) = hostile_world();
    let at = |format: &str| {
        let line = format!("watch channel den --snapshot only -o {format}");
        presencectl(&mock, &line).run().ended_with(0)
    };
    assert_harmless(&at("table").stdout);
    let run = at("ndjson");
    assert_harmless(&run.stdout.replace(['\u{202e}', '\u{2066}'], ""));
    assert_eq!(run.records()[0]["user"]["status"], status);
    let run = at("csv");
    let mut reader = csv::Reader::from_reader(run.stdout.as_bytes());
    let column = reader
        .headers()
        .unwrap()
        .iter()
        .position(|name| name == "user.status");
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(&rows[0][column.unwrap()], status);
    let run = at("tsv");
    assert_eq!(
        run.stdout.split('\n').count(),
        5,
        "a header, three rows, the end: {run}"
    );
}

#[test]
fn every_format_is_escaped_on_a_terminal() {
    let (mock, _) = hostile_world();
    for format in ["table", "json", "ndjson", "tsv", "csv"] {
        for line in ["get-user eve", "watch channel den --snapshot only"] {
            let run = presencectl(&mock, &format!("{line} -o {format}")).run_on_terminal();
            assert_eq!(run.code, Some(0), "{run}");
            let shown = run
                .stdout
                .replace("\r\r\n", "\n")
                .replace("\r\n", "\n")
                .replace('\t', " ");
            let shown = match format {
                // Its lines are coloured, which is ours.
                "table" => without_colour(&shown),
                _ => shown,
            };
            assert_harmless(&shown);
            assert!(shown.contains("202"), "{format}: {shown}");
        }
    }
}

/// The text without the escapes that set colours.
fn without_colour(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (code, rest) = part.split_once('m').expect("a colour");
        assert!(
            code.bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b';')
        );
        text + rest
    })
}

#[test]
fn errors_about_arguments_are_escaped_and_short() {
    let (mock, _) = hostile_world();
    let hostile = HOSTILE.replace('\0', "");
    let long = format!("{hostile}{}", "x".repeat(100_000));
    for value in [&hostile, &long] {
        for words in [
            vec!["get-user", value],
            vec!["get-user", "eve", "--jq", value],
            vec!["query-users", "--filter", value],
            vec!["query-users", "--sort", value],
            vec!["query-users", "--active-since", value],
            vec!["watch", "users", "eve", "-n", value],
            vec!["watch", "users", "eve", "--where", value],
            vec!["wait", "user", "eve", "--for", value, "--timeout", "0"],
            vec!["help", value],
            vec!["get-user", "eve", "-p", value],
            vec!["get-user", "eve", "--base-url", value],
            vec![value],
        ] {
            let run = presencectl_of(&mock, words.clone()).run();
            assert_ne!(run.code, Some(0), "{words:?}");
            assert_harmless(&run.stderr);
            assert!(run.stderr.len() < 3000, "{words:?}: {}", run.stderr.len());
            let run = presencectl_of(&mock, words.iter().copied().chain(["-o", "json"])).run();
            assert_harmless(&run.stderr);
        }
    }
}

#[test]
fn wait_and_error_messages_are_escaped() {
    let (mock, _) = hostile_world();
    for (line, code) in [
        ("wait user eve --for exists -o table", 0),
        ("wait channel den --for .channel.name -o table", 0),
        ("wait user eve --for '.user.status | error' --timeout 1m", 2),
        ("get-user eve --jq '.name | error'", 2),
        ("get-channel den -o table", 0),
        ("query-channels -o table", 0),
    ] {
        let run = presencectl(&mock, line).run().ended_with(code);
        assert_harmless(&run.stdout);
        assert_harmless(&run.stderr);
    }
    let add = [
        "mock",
        "fault",
        "add",
        "status",
        "--status",
        "403",
        "--code",
        "17",
        "--message",
        "\u{1b}[2Jno\u{7}\u{202e}",
    ];
    let run = Presencectl::new(add)
        .env("PRESENCECTL_BASE_URL", &mock.url())
        .run();
    assert_eq!(run.code, Some(0), "{run}");
    for line in [
        "query-users",
        "set-user eve --status x",
        "watch users eve",
        "api GET users",
    ] {
        let run = presencectl(&mock, line).run().ended_with(5);
        assert_harmless(&run.stderr);
        assert!(run.stderr.contains(r"\u{1b}[2Jno\u{7}\u{202e}"), "{run}");
        let run = presencectl(&mock, &format!("{line} -o json"))
            .run()
            .ended_with(5);
        assert_harmless(&run.stderr);
    }
}

#[test]
fn columns_are_aligned_for_wide_and_zero_width_text() {
    let names = [
        "John",
        "日本語",
        "👩‍👩‍👧‍👦",
        "e\u{301}\u{302}ve",
        "🇨🇭",
        "ｆｕｌｌ",
        "👍🏽",
        "\u{200b}zero",
        "अनुच्छेद",
    ];
    let users: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(n, name)| json!({"id": format!("u{n}"), "name": name, "status": "here"}))
        .collect();
    let mock = world(&users, &[]);
    let text = presencectl(&mock, "query-users --sort id -o table")
        .run()
        .stdout_of_success();
    let cells: Vec<usize> = text
        .lines()
        .skip(1)
        .map(|line| line[..line.find("here").unwrap()].width())
        .collect();
    assert_eq!(cells.len(), names.len());
    assert!(
        cells.iter().all(|cell| *cell == cells[0]),
        "{cells:?}\n{text}"
    );
}
