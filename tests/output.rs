//! Formats, columns and expressions, as processes: what the unit tests of the output cannot see.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::mock::Mock;
use crate::support::world::{presencectl, presencectl_of, small_world, world};
use crate::support::{Presencectl, shell, transcript};

pub(crate) const HOSTILE: &str =
    "\u{1b}[2J\u{1b}[31mred\u{7}\u{202e}evil\u{2066}\nline\ttab\r\u{0}\u{9b}5m";

fn hostile_world() -> (Mock, String) {
    let status = format!("{HOSTILE}{}", "x".repeat(4000));
    let mock = world(
        &[json!({"id": "eve", "name": "\u{1b}]0;owned\u{7}", "status": status, "online": true})],
        &[],
    );
    (mock, status)
}

#[test]
fn machine_formats_keep_a_hostile_status_exactly() {
    let (mock, status) = hostile_world();
    let run = presencectl(&mock, "get-user eve").run();
    assert_eq!(run.records()[0]["status"], status);
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(
        run.stdout.chars().all(|c| c == '\n' || !c.is_control()),
        "control characters are JSON escapes: {:?}",
        run.stdout
    );

    let run = presencectl(&mock, "query-users -o csv --columns id,status").run();
    let text = run.stdout_of_success();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let row = reader.records().next().unwrap().unwrap();
    assert_eq!(&row[1], status);

    let run = presencectl(&mock, "query-users -o tsv --columns status --no-headers").run();
    let text = run.stdout_of_success();
    let back = text
        .strip_suffix('\n')
        .unwrap()
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\r", "\r");
    assert_eq!(back, status);

    let run = presencectl(&mock, "get-user eve --jq .status").run();
    assert_eq!(run.stdout_of_success(), format!("{status}\n"));

    let run = presencectl(&mock, "get-user eve --jq .status -o json").run();
    let text: String = serde_json::from_str(&run.stdout_of_success()).unwrap();
    assert_eq!(text, status);
}

#[test]
fn human_formats_escape_a_hostile_status() {
    let (mock, _) = hostile_world();
    for line in [
        "query-users -o table",
        "get-user eve -o table --columns id,status,name",
        "query-users -o table --color always",
    ] {
        let text = presencectl(&mock, line).run().stdout_of_success();
        assert_eq!(text.lines().count(), 2, "{text:?}");
        // Our own colours are set and reset; nothing else may be left of the escapes.
        let plain = text
            .split('\u{1b}')
            .enumerate()
            .map(|(index, part)| match part.split_once('m') {
                Some((code, rest))
                    if index > 0
                        && code.starts_with('[')
                        && code[1..].chars().all(|c| c.is_ascii_digit() || c == ';') =>
                {
                    rest
                }
                _ if index == 0 => part,
                _ => panic!("an escape that is no colour in {text:?}"),
            })
            .collect::<String>();
        assert!(
            plain.chars().all(|c| c == '\n' || !c.is_control()),
            "{plain:?}"
        );
        assert!(!plain.contains(['\u{202e}', '\u{2066}']), "{plain:?}");
        assert!(plain.contains(r"\u{1b}[2J"), "and it can be seen: {plain}");
    }
}

#[test]
fn colour_is_for_terminals_and_color_always() {
    let mock = small_world();
    let coloured = |line: &str| presencectl(&mock, line).run().stdout.contains('\u{1b}');
    assert!(!coloured("query-users -o table"));
    assert!(coloured("query-users -o table --color always"));
    assert!(!coloured("query-users -o json --color always"));
    let run = presencectl(&mock, "query-users -o table --color always")
        .env("NO_COLOR", "1")
        .run();
    assert!(
        run.stdout.contains('\u{1b}'),
        "a flag wins over the environment"
    );
}

#[test]
fn without_a_terminal_records_are_ndjson() {
    let mock = small_world();
    for line in [
        "query-users",
        "get-user john",
        "get-channel fun",
        "query-channels",
    ] {
        let run = presencectl(&mock, line).run().ended_with(0);
        assert!(run.records().iter().all(Value::is_object), "{line}");
    }
}

#[test]
fn json_is_one_document_also_for_all() {
    let users: Vec<Value> = (0..250)
        .map(|n| json!({"id": format!("u{n:03}")}))
        .collect();
    let mock = world(&users, &[]);
    let text = presencectl(&mock, "query-users --all -o json")
        .run()
        .stdout_of_success();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(all.len(), 250);
    let text = presencectl(&mock, "query-channels -o json -q")
        .run()
        .stdout_of_success();
    assert_eq!(text, "[]\n");
}

#[test]
fn columns_in_every_format() {
    let mock = small_world();
    let show = |format: &str| {
        let words = [
            "query-users",
            "--sort",
            "id",
            "--columns",
            "id,color,online",
            "-o",
            format,
        ];
        presencectl_of(&mock, words).run().stdout_of_success()
    };
    insta::assert_snapshot!(show("table"), @"
    ID    COLOR  ONLINE
    jack  -      ○ offline
    john  green  ● online
    zoe   -      ○ offline
    ");
    insta::assert_snapshot!(show("tsv"), @"
    id	color	online
    jack		false
    john	green	true
    zoe		false
    ");
    insta::assert_snapshot!(show("ndjson"), @r#"
    {"id":"jack","color":null,"online":false}
    {"id":"john","color":"green","online":true}
    {"id":"zoe","color":null,"online":false}
    "#);
    assert_eq!(
        show("csv"),
        "id,color,online\r\njack,,false\r\njohn,green,true\r\nzoe,,false\r\n"
    );
    let json: Value = serde_json::from_str(&show("json")).unwrap();
    assert_eq!(
        json[1],
        json!({"id": "john", "color": "green", "online": true})
    );
}

#[test]
fn columns_are_listed_without_credentials() {
    for line in [
        "query-users --columns list",
        "get-channel fun --columns list -o json",
        "set-user x --columns list",
    ] {
        let run = Presencectl::line(line).run().ended_with(0);
        assert!(run.stdout.lines().count() > 5, "{run}");
        assert!(run.stderr.starts_with("hint: "), "{run}");
    }
}

#[test]
fn an_unknown_column_exits_with_2_and_names_the_nearest() {
    let mock = small_world();
    let run = presencectl(&mock, "query-users --columns id,last_activ").run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: there is no column `last_activ`; the nearest is `last_active`
    hint: see what there is: --columns list; for a custom field of that name: --columns .last_activ
    --- exit Some(2)
    ");
}

#[test]
fn expressions_on_every_command() {
    let mock = small_world();
    for (line, printed) in [
        ("get-user john --jq .id", "john\n"),
        ("get-user john --jq .id -o ndjson", "\"john\"\n"),
        ("get-user john -o table --jq '.id, .online'", "john\ntrue\n"),
        (
            "query-users --sort id --jq '[.id, .invisible]' -o json",
            "[\"jack\",false]\n[\"john\",false]\n[\"zoe\",true]\n",
        ),
        ("query-users --count-only --jq .count -o csv", "3\n"),
        ("query-channels --jq .cid", "messaging:fun\n"),
        (
            "get-channel fun --members --jq '.members | length' -o table",
            "2\n",
        ),
        ("set-user john --status x --jq .status", "x\n"),
        ("delete-user john --dry-run --jq .method", "DELETE\n"),
    ] {
        assert_eq!(
            presencectl(&mock, line).run().stdout_of_success(),
            printed,
            "{line}"
        );
    }
}

#[test]
fn a_broken_expression_exits_with_2_and_shows_the_position() {
    let mock = small_world();
    let lines = [
        "query-users --jq '.id | frob'",
        "query-users --jq env",
        "query-users --jq '.id + 1'",
    ];
    insta::assert_snapshot!(transcript(lines, |line| presencectl(&mock, line).run()), @r#"
    $ query-users --jq '.id | frob'
    2> presencectl: in --jq: `.id | frob` does not compile: there is no filter `frob` at column 7, `frob`
    2> hint: the language is jq's: presencectl help expressions
    exit 2
    $ query-users --jq env
    2> presencectl: in --jq: `env` does not compile: `env` is not available: an expression can read only the record at column 1, `env`
    2> hint: the language is jq's: presencectl help expressions
    exit 2
    $ query-users --jq '.id + 1'
    2> presencectl: the expression `.id + 1` fails on a record: cannot calculate "zoe" + 1
    2> hint: try the expression on one record first: presencectl query-users -n 1 --jq EXPR
    exit 2
    "#);
}

#[test]
fn a_closed_stdout_ends_the_program_quietly() {
    let users: Vec<Value> = (0..1000)
        .map(|n| json!({"id": format!("u{n:04}"), "filler": "x".repeat(500)}))
        .collect();
    let mock = world(&users, &[]);
    for format in ["ndjson", "json", "table", "csv"] {
        let mut child = shell(
            &mock,
            &format!("exec presencectl query-users --all -o {format}"),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    }
}

#[test]
fn an_expression_without_end_ends() {
    let mock = small_world();
    let run = presencectl(&mock, "query-users --jq 'repeat(.)'")
        .run()
        .ended_with(2);
    // A fast machine builds 256 MiB of results before 1 s is over.
    let message = "on one record and is not evaluated again";
    assert!(run.stderr.contains(message), "{}", run.stderr);
    assert!(run.stdout.lines().count() > 100, "what was made is written");

    let script = "presencectl query-users --jq 'repeat(.)' | head -c 100 | wc -c";
    let output = shell(&mock, script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "100");

    for source in ["def f: f; f", "last(repeat(1))", "def f: 1+f; f"] {
        let line = format!("watch users john jack zoe --snapshot only --where '{source}'");
        let run = presencectl(&mock, &line).run().ended_with(0);
        assert!(run.stderr.contains("is not evaluated again"), "{run}");
    }
    let nested = "[".repeat(20_000);
    let run = presencectl_of(&mock, ["query-users", "--jq", &nested]).run();
    insta::assert_snapshot!(run.to_string().replace(&nested, "[…"), @r"
    --- stderr
    presencectl: in --jq: `[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…` does not compile: an expression has at most 16384 bytes and 200 levels of brackets
    --- exit Some(2)
    ");
}

#[test]
fn an_expression_that_builds_too_much_is_an_error() {
    let mock = small_world();
    let lines = [
        "query-users -n 1 --jq 'reduce range(1000000) as $i (0; [.]) | length'",
        r#"query-users -n 1 --jq '"abc" * 10000000000 | length'"#,
        "query-users -n 1 --jq 'reduce range(60) as $i (.id; . + .) | length'",
        "query-users -n 1 --jq 'reduce range(60) as $i (.; [., .])'",
        "query-users -n 1 --jq 'reduce range(60) as $i (3; . * .)'",
    ];
    insta::assert_snapshot!(transcript(lines, |line| presencectl(&mock, line).run()), @r#"
    $ query-users -n 1 --jq 'reduce range(1000000) as $i (0; [.]) | length'
    2> presencectl: the expression `reduce range(1000000) as $i (0; [.]) | length` fails on a record: it builds a value that is nested more than 256 levels deep
    2> hint: try the expression on one record first: presencectl query-users -n 1 --jq EXPR
    exit 2
    $ query-users -n 1 --jq '"abc" * 10000000000 | length'
    2> presencectl: `"abc" * 10000000000 | length` builds more than 256 MiB on one record and is not evaluated again
    2> hint: try the expression on one record first: presencectl query-users -n 1 --jq EXPR
    exit 2
    $ query-users -n 1 --jq 'reduce range(60) as $i (.id; . + .) | length'
    2> presencectl: `reduce range(60) as $i (.id; . + .) | length` builds more than 256 MiB on one record and is not evaluated again
    2> hint: try the expression on one record first: presencectl query-users -n 1 --jq EXPR
    exit 2
    $ query-users -n 1 --jq 'reduce range(60) as $i (.; [., .])'
    2> presencectl: the expression `reduce range(60) as $i (.; [., .])` fails on a record: it builds a value of more than 64 MiB
    2> hint: try the expression on one record first: presencectl query-users -n 1 --jq EXPR
    exit 2
    $ query-users -n 1 --jq 'reduce range(60) as $i (3; . * .)'
    2> presencectl: the expression `reduce range(60) as $i (3; . * .)` fails on a record: it computes an integer of more than 65536 bits
    2> hint: try the expression on one record first: presencectl query-users -n 1 --jq EXPR
    exit 2
    "#);
}

#[test]
fn a_stream_with_a_hanging_expression_ends_on_a_signal() {
    let mock = small_world();
    let line = "watch users john -q --tee /dev/stdout --where 'def f: f; f'";
    let mut stream = presencectl(&mock, line).stream();
    stream.line();
    stream.signal("TERM");
    let (_, status) = stream.end();
    assert_eq!(status.code(), Some(143));
}

#[test]
fn printed_ids_are_a_list() {
    let mock = small_world();
    let ids = presencectl(&mock, "query-users --jq .id")
        .run()
        .stdout_of_success();
    let run = presencectl(&mock, "set-user --in - --status here --jq .status").run_with(&ids);
    assert_eq!(run.stdout, "here\nhere\nhere\n", "{run}");
}

#[test]
fn a_user_field_beside_the_user_is_warned_of_once() {
    let mock = small_world();
    for line in [
        "watch users john jack --snapshot only --where .online",
        "wait user john --for .online --timeout 0",
    ] {
        let run = presencectl(&mock, line).run();
        let warned = run.stderr.matches("`.user.online`, not `.online`").count();
        assert_eq!(warned, 1, "{run}");
    }
}

#[test]
fn a_dumb_terminal_gets_no_escapes() {
    let run = |line: &str| {
        let run = Presencectl::line(line)
            .env("TERM", "dumb")
            .run_on_terminal();
        let escape = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        assert!(!run.stdout.contains(escape), "{line}: {:?}", run.stdout);
        run.stdout
    };
    // A table, a search with progress, lines for people, an error, help.
    assert!(run("--mock query-users --presence").contains("john"));
    assert!(run("--mock query-users --online --all").contains("ONLINE"));
    assert!(run("--mock watch users john jack --snapshot only").contains("john"));
    assert!(run("--mock get-user nobody").contains("nobody"));
    assert!(run("watch -h").contains("Usage"));
    // The same on a terminal that has colours, to show that the test can fail.
    let coloured = Presencectl::line("--mock query-users --presence")
        .env("TERM", "xterm")
        .run_on_terminal();
    assert!(coloured.stdout.contains('\u{1b}'), "{coloured}");
}

#[test]
fn a_table_in_a_file_is_not_cut() {
    let mock = Mock::start();
    let status = "long ".repeat(20);
    let set = Presencectl::new(["set-user", "amy", "--status", &status]);
    let _ = set.at(&mock).run().ended_with(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.txt");
    let _ = Presencectl::line("get-user amy -o table")
        .env("COLUMNS", "40")
        .at(&mock)
        .into_file(std::fs::File::create(&path).unwrap())
        .run()
        .ended_with(0);
    let table = std::fs::read_to_string(&path).unwrap();
    assert!(table.contains(status.trim_end()), "{table}");
}
