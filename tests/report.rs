//! `report`, as a process: what it reads, what it prints in each format, and how it ends.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::mock::Mock;
use crate::support::recording::{Plan, TrueSession, time};
use crate::support::{Presencectl, Run};

/// Amy goes offline and online again, with a gap in between in which Bob changes; then the watcher ends. Cem never exists.
const RECORDING: &str = r#"{"type":"presence.snapshot","user":{"id":"amy","name":"Amy","online":true,"status":"at lunch"},"seq":1,"received_at":"2026-03-29T00:00:00.000Z","source":"query"}
{"type":"presence.snapshot","user":{"id":"bob","online":false},"seq":2,"received_at":"2026-03-29T00:00:00.000Z","source":"query"}
{"type":"presence.coverage","requested":3,"subscribed":2,"missing":["cem"],"seq":3,"received_at":"2026-03-29T00:00:00.010Z","source":"local"}
{"type":"user.presence.changed","user":{"id":"amy","name":"Amy","online":false},"seq":4,"received_at":"2026-03-29T00:30:00.000Z","source":"ws","changed":["online"],"previous":{"online":true}}
this line is not a record
{"type":"presence.gap","from":"2026-03-29T00:59:59.000Z","to":"2026-03-29T01:15:00.000Z","repaired":["bob"],"note":"reconnected","seq":5,"received_at":"2026-03-29T01:15:00.000Z","source":"local"}
{"type":"user.presence.changed","user":{"id":"bob","online":true},"seq":6,"received_at":"2026-03-29T01:15:00.000Z","source":"resync","changed":["online"],"previous":{"online":false}}
{"type":"user.presence.changed","user":{"id":"amy","name":"Amy B","online":true},"seq":7,"received_at":"2026-03-29T02:00:00.500Z","source":"ws","changed":["online"],"previous":{"online":false}}
{"type":"stream.end","reason":"timeout","events":3,"gaps":1,"reconnects":1,"exit_code":0,"seq":8,"received_at":"2026-03-29T03:00:00.000Z","source":"local"}
"#;

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs with `@name` replaced by the path of a file.
    fn run(&self, line: &str) -> Run {
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).display().to_string(),
            None => word.to_owned(),
        });
        Presencectl::new(words).run()
    }
}

fn folder() -> Folder {
    Folder::new(&[("day", RECORDING.as_bytes())])
}

#[test]
fn sessions() {
    insta::assert_snapshot!(folder().run("report sessions @day"), @r#"
    {"user_id":"amy","name":"Amy","from":"2026-03-29T00:00:00.000Z","to":"2026-03-29T00:30:00.000Z","duration_s":1800,"start":"data_start","end":"observed","status":"at lunch"}
    {"user_id":"amy","name":"Amy B","from":"2026-03-29T02:00:00.500Z","to":null,"duration_s":3599.5,"start":"observed","end":"data_end","status":null}
    {"user_id":"bob","name":null,"from":"2026-03-29T01:15:00.000Z","to":null,"duration_s":6300,"start":"gap","end":"data_end","status":null}
    --- stderr
    presencectl: warning: 1 line is not a record and was skipped
    --- exit Some(0)
    "#);
    insta::assert_snapshot!(folder().run("report sessions @day -q -o table --tz Europe/Berlin").stdout, @r#"
    USER ID  NAME   FROM                 TO                   DURATION  START       END       STATUS
    amy      Amy    2026-03-29 01:00:00  2026-03-29 01:30:00  30m       data_start  observed  at lunch
    amy      Amy B  2026-03-29 04:00:00  still online         59m 59s   observed    data_end  -
    bob      -      2026-03-29 03:15:00  still online         1h 45m    gap         data_end  -
    "#);
}

/// Amy goes offline while the query is under way that repairs a gap: the answer still shows her online.
const OVERTAKEN: &str = r#"{"type":"presence.snapshot","user":{"id":"amy","online":false},"seq":1,"received_at":"2026-03-29T00:00:00.000Z","source":"query"}
{"type":"presence.gap","from":"2026-03-29T00:10:00.000Z","to":"2026-03-29T00:20:01.000Z","repaired":["amy"],"note":"reconnected","seq":2,"received_at":"2026-03-29T00:20:01.000Z","source":"local"}
{"type":"user.presence.changed","created_at":"2026-03-29T00:20:01.000Z","user":{"id":"amy","online":true},"seq":3,"received_at":"2026-03-29T00:20:01.000Z","source":"resync","changed":["online"],"previous":{"online":false}}
{"type":"user.presence.changed","created_at":"2026-03-29T00:20:00.985Z","user":{"id":"amy","online":false},"seq":4,"received_at":"2026-03-29T00:20:00.990Z","source":"ws","changed":["online"],"previous":{"online":true}}
{"type":"user.presence.changed","created_at":"2026-03-29T00:20:00.995Z","user":{"id":"amy","online":true},"seq":5,"received_at":"2026-03-29T00:30:00.000Z","source":"ws","changed":["online"],"previous":{"online":false}}
{"type":"stream.end","reason":"timeout","events":2,"gaps":1,"reconnects":1,"exit_code":0,"seq":6,"received_at":"2026-03-29T00:40:00.000Z","source":"local"}
"#;

#[test]
fn an_event_that_overtook_the_answer_of_a_query_is_newer() {
    let folder = Folder::new(&[("day", OVERTAKEN.as_bytes())]);
    insta::assert_snapshot!(folder.run("report sessions @day"), @r#"
    {"user_id":"amy","name":null,"from":"2026-03-29T00:30:00.000Z","to":null,"duration_s":600,"start":"observed","end":"data_end","status":null}
    --- stderr
    --- exit Some(0)
    "#);
}

/// The query after the gap finds the user online, but they leave before its answer arrives: no moment was observed.
#[test]
fn a_user_seen_online_only_inside_a_gap_has_no_session() {
    let folder = Folder::new(&[("day", OVERTAKEN.as_bytes())]);
    let run = |report: &str| folder.run(&format!("report {report} @day --to 2026-03-29T00:25:00Z"));
    insta::assert_snapshot!(run("sessions"), @r#"
    --- stderr
    --- exit Some(0)
    "#);
    insta::assert_snapshot!(run("uptime"), @r#"
    {"user_id":"amy","observed_s":899,"online_s":0,"offline_s":899,"unknown_s":601,"online_ratio":0.0,"sessions":0,"longest_s":0,"last_online":"2026-03-29T00:20:01.000Z"}
    --- stderr
    --- exit Some(0)
    "#);
    insta::assert_snapshot!(run("flaps"), @r#"
    {"user_id":"amy","changes":1,"window_s":600,"max_in_window":1,"median_online_s":null}
    --- stderr
    --- exit Some(0)
    "#);
    let _ = run("timeline -q --jq empty --svg @picture.svg").ended_with(0);
    let picture = fs::read_to_string(folder.path("picture.svg")).unwrap();
    assert!(!picture.contains("<path class=\"online\""), "{picture}");
}

/// Nothing came after the record that shows them online.
#[test]
fn somebody_whom_the_last_record_shows_online_has_a_session() {
    let line = r#"{"type":"presence.snapshot","user":{"id":"amy","online":true},"seq":1,"received_at":"2026-03-29T00:00:00.000Z","source":"query"}"#;
    let folder = Folder::new(&[("day", line.as_bytes())]);
    insta::assert_snapshot!(folder.run("report sessions @day"), @r#"
    {"user_id":"amy","name":null,"from":"2026-03-29T00:00:00.000Z","to":null,"duration_s":0,"start":"data_start","end":"data_end","status":null}
    --- stderr
    --- exit Some(0)
    "#);
}

/// Both changes were observed, in the same millisecond. And one began with the last event before a gap.
#[test]
fn a_session_whose_start_was_observed_counts_whatever_its_length() {
    let line = |online: bool, at: &str| {
        format!(
            "{{\"type\":\"user.presence.changed\",\"user\":{{\"id\":\"amy\",\"online\":{online}}},\"received_at\":\"2026-03-29T00:{at}Z\",\"source\":\"ws\"}}\n"
        )
    };
    let gap = "{\"type\":\"presence.gap\",\"from\":\"2026-03-29T00:20:00.000Z\",\"to\":\"2026-03-29T00:30:00.000Z\",\"repaired\":[\"amy\"],\"received_at\":\"2026-03-29T00:30:00.000Z\"}\n";
    let text = [
        line(false, "00:00.000"),
        line(true, "10:00.000"),
        line(false, "10:00.000"),
        line(true, "20:00.000"),
        gap.to_owned(),
        line(false, "30:00.000"),
    ]
    .concat();
    let folder = Folder::new(&[("day", text.as_bytes())]);
    insta::assert_snapshot!(folder.run("report sessions @day"), @r#"
    {"user_id":"amy","name":null,"from":"2026-03-29T00:10:00.000Z","to":"2026-03-29T00:10:00.000Z","duration_s":0,"start":"observed","end":"observed","status":null}
    {"user_id":"amy","name":null,"from":"2026-03-29T00:20:00.000Z","to":"2026-03-29T00:20:00.000Z","duration_s":0,"start":"observed","end":"gap","status":null}
    --- stderr
    --- exit Some(0)
    "#);
}

/// A recording of the other kind, which `mock record` writes.
const TRAFFIC: &str = r#"{"type":"recording.start","version":1,"recorded_at":"2026-03-29T00:00:00Z","program":"presencectl","ids":"kept","kept":[]}
{"type":"recording.end","at_ms":5,"requests":0,"sockets":0,"frames":0}
"#;

#[test]
fn a_recording_of_requests_is_reported_as_such() {
    let folder = Folder::new(&[("day", RECORDING.as_bytes()), ("calls", TRAFFIC.as_bytes())]);
    let named = |run: Run| {
        run.to_string()
            .replace(&folder.path("").display().to_string(), "")
    };
    insta::assert_snapshot!(named(folder.run("report uptime @calls @day --jq empty")), @r"
    --- stderr
    presencectl: warning: 3 lines are not records and were skipped
    presencectl: warning: calls is a recording of `mock record` (requests and responses), not of `watch --tee`
    hint: record a stream with `watch --tee FILE`; `mock start --replay FILE` answers from recorded requests
    --- exit Some(0)
    ");
    insta::assert_snapshot!(named(Presencectl::line("report uptime -").run_with(TRAFFIC)), @r"
    --- stderr
    presencectl: warning: 2 lines are not records and were skipped
    presencectl: warning: standard input is a recording of `mock record` (requests and responses), not of `watch --tee`
    hint: record a stream with `watch --tee FILE`; `mock start --replay FILE` answers from recorded requests
    presencectl: warning: the input has no records
    --- exit Some(0)
    ");
    insta::assert_snapshot!(named(folder.run("mock start --replay @day")), @r"
    --- stderr
    presencectl: day: line 1: expected the header of a recording, as `mock record` writes it
    hint: this is a stream recorded by `watch`; analyse it: presencectl report uptime FILE; replay it: presencectl top --replay FILE
    --- exit Some(13)
    ");
    for target in ["--to-fixture", "--to-scenario"] {
        let run = folder
            .run(&format!("mock record {target} @day"))
            .ended_with(2);
        assert!(
            run.stderr
                .contains("hint: this is a stream recorded by `watch`"),
            "{run}"
        );
    }
}

#[test]
fn uptime() {
    insta::assert_snapshot!(folder().run("report uptime @day -qq").stdout, @r#"
    {"user_id":"amy","observed_s":9899,"online_s":5399.5,"offline_s":4499.5,"unknown_s":901,"online_ratio":0.545459,"sessions":2,"longest_s":3599.5,"last_online":"2026-03-29T03:00:00.000Z"}
    {"user_id":"bob","observed_s":9899,"online_s":6300,"offline_s":3599,"unknown_s":901,"online_ratio":0.636428,"sessions":1,"longest_s":6300,"last_online":"2026-03-29T03:00:00.000Z"}
    {"user_id":"cem","observed_s":0,"online_s":0,"offline_s":0,"unknown_s":10800,"online_ratio":null,"sessions":0,"longest_s":0,"last_online":null}
    "#);
    insta::assert_snapshot!(folder().run("report uptime @day -qq -o table --tz UTC").stdout, @r#"
    USER ID  UPTIME  BAR                   ONLINE  OFFLINE  UNKNOWN  SESSIONS  LONGEST  LAST ONLINE
    amy      54.55%  ██████████········░░  1h 29m  1h 14m   15m 1s   2         59m 59s  2026-03-29 03:00:00
    bob      63.64%  ████████████······░░  1h 45m  59m 59s  15m 1s   1         1h 45m   2026-03-29 03:00:00
    cem      -       ░░░░░░░░░░░░░░░░░░░░  0s      0s       3h       0         0s       -
    "#);
    insta::assert_snapshot!(folder().run("report uptime @day -qq -o csv --columns user_id,online_s,online_ratio").stdout, @r#"
    user_id,online_s,online_ratio
    amy,5399.5,0.545459
    bob,6300,0.636428
    cem,0,
    "#);
}

#[test]
fn flaps() {
    insta::assert_snapshot!(folder().run("report flaps @day -qq").stdout, @r#"
    {"user_id":"amy","changes":2,"window_s":600,"max_in_window":1,"median_online_s":2699.75}
    {"user_id":"bob","changes":0,"window_s":600,"max_in_window":0,"median_online_s":6300}
    {"user_id":"cem","changes":0,"window_s":600,"max_in_window":0,"median_online_s":null}
    "#);
    insta::assert_snapshot!(folder().run("report flaps @day -qq -o table").stdout, @r#"
    USER ID  CHANGES  BAR                   MAX IN WINDOW  WINDOW  MEDIAN ONLINE
    amy      2        ████████████████████  1              10m     44m 59s
    bob      0                              0              10m     1h 45m
    cem      0                              0              10m     -
    "#);
}

#[test]
fn timeline() {
    insta::assert_snapshot!(folder().run("report timeline @day -qq --bucket 2h --tz Europe/Berlin").stdout, @r#"
    {"user_id":"amy","from":"2026-03-29T00:00:00.000Z","to":"2026-03-29T01:00:00.000Z","online_s":1800,"unknown_s":1}
    {"user_id":"bob","from":"2026-03-29T00:00:00.000Z","to":"2026-03-29T01:00:00.000Z","online_s":0,"unknown_s":1}
    {"user_id":"cem","from":"2026-03-29T00:00:00.000Z","to":"2026-03-29T01:00:00.000Z","online_s":0,"unknown_s":3600}
    {"user_id":null,"from":"2026-03-29T00:00:00.000Z","to":"2026-03-29T01:00:00.000Z","online_s":1800,"unknown_s":3602,"mean_online":0.5,"peak_online":1}
    {"user_id":"amy","from":"2026-03-29T01:00:00.000Z","to":"2026-03-29T03:00:00.000Z","online_s":3599.5,"unknown_s":900}
    {"user_id":"bob","from":"2026-03-29T01:00:00.000Z","to":"2026-03-29T03:00:00.000Z","online_s":6300,"unknown_s":900}
    {"user_id":"cem","from":"2026-03-29T01:00:00.000Z","to":"2026-03-29T03:00:00.000Z","online_s":0,"unknown_s":7200}
    {"user_id":null,"from":"2026-03-29T01:00:00.000Z","to":"2026-03-29T03:00:00.000Z","online_s":9899.5,"unknown_s":9000,"mean_online":1.375,"peak_online":2}
    "#);
    insta::assert_snapshot!(folder().run("report timeline @day -qq -o table --tz Europe/Berlin --color never").stdout, @r#"
           01:00          01:30           03:00          03:30           04:00          04:30
           ┴──────────────┴───────────────┴──────────────┴───────────────┴──────────────┴──────────────┴
    Amy B  ███████████████▄···············░░░░░░░░·······················███████████████████████████████
    bob    ·······························░░░░░░░░██████████████████████████████████████████████████████
    cem    ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
    online ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▂···············░░░░░░░▁▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄███████████████████████████████
           2 of 3 users online at most, 1.1 on average; ░ not observed; times in Europe/Berlin
    "#);
}

#[test]
fn a_window_narrows_and_never_widens() {
    let run = |line: &str| {
        folder()
            .run(format!("report uptime @day -qq --user amy {line}").trim_end())
            .stdout
    };
    insta::assert_snapshot!(run("--from 2026-03-29T00:15:00Z --to 2026-03-29T00:45:00Z"), @r#"{"user_id":"amy","observed_s":1800,"online_s":900,"offline_s":900,"unknown_s":0,"online_ratio":0.5,"sessions":1,"longest_s":900,"last_online":"2026-03-29T00:30:00.000Z"}"#);
    assert_eq!(
        run("--from 2020-01-01T00:00:00Z --to 2030-01-01T00:00:00Z"),
        run("")
    );
    let run = folder().run("report uptime @day -q --from 2027-01-01T00:00:00Z");
    assert!(run.stderr.contains("no record lies in the window"), "{run}");
}

#[test]
fn checks_name_the_users() {
    insta::assert_snapshot!(folder().run("report uptime @day -q --min 0.99 --jq empty"), @r#"
    --- stderr
    presencectl: warning: 1 line is not a record and was skipped
    presencectl: warning: never observed, so not checked: cem
    presencectl: 2 users are below an uptime of 0.99: amy (0.545459), bob (0.636428)
    --- exit Some(3)
    "#);
    let _ = folder()
        .run("report uptime @day -q --min 0.1")
        .ended_with(0);
    insta::assert_snapshot!(folder().run("report flaps @day -qq --threshold 1/2h --jq empty"), @r#"
    --- stderr
    presencectl: 1 user is above 1 change in 2h: amy (2)
    --- exit Some(3)
    "#);
    let _ = folder()
        .run("report flaps @day -qq --threshold 2/2h")
        .ended_with(0);
    let _ = folder()
        .run("report flaps @day -qq --threshold 1/1h")
        .ended_with(0);
}

#[test]
fn bad_usage() {
    for (line, expected) in [
        ("report uptime", "or - to read standard input"),
        ("report uptime @none", "No such file"),
        ("report uptime @day --from noon", "in --from"),
        (
            "report uptime @day --from 1h --to 2h",
            "the window is empty",
        ),
        ("report uptime - -", "named twice"),
        ("report uptime - --in -", "named twice"),
        ("report uptime @day --min 2", "from 0 to 1"),
        ("report uptime @day --tz Nowhere", "no time zone"),
        ("report flaps @day --threshold 5", "such as 5/10m"),
        ("report timeline @day --bucket 1ms", "at least 1s"),
    ] {
        let run = folder().run(line).ended_with(2);
        assert!(run.stderr.contains(expected), "{run}");
    }
}

#[test]
fn compressed_files_and_standard_input_read_the_same() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(RECORDING.as_bytes()).unwrap();
    let folder = Folder::new(&[
        ("day", RECORDING.as_bytes()),
        ("day.gz", &gzip.finish().unwrap()),
        (
            "day.zst",
            &compress_to_vec(RECORDING.as_bytes(), CompressionLevel::Fastest),
        ),
        (
            "bom",
            &[b"\xef\xbb\xbf", RECORDING.replace('\n', "\r\n").as_bytes()].concat(),
        ),
    ]);
    let plain = folder.run("report sessions @day");
    for file in ["@day.gz", "@day.zst", "@bom"] {
        assert_eq!(
            folder.run(&format!("report sessions {file}")).to_string(),
            plain.to_string()
        );
    }
    let piped = Presencectl::line("report sessions -").run_with(RECORDING);
    assert_eq!(piped.to_string(), plain.to_string());
    // Named four times, in any order: nothing changes but the count of lines that are not records.
    let again = folder.run("report sessions @day.zst @day @bom @day.gz");
    assert_eq!(again.stdout, plain.stdout);
    assert!(again.stderr.contains("4 lines are not records"), "{again}");
}

#[test]
fn a_truncated_last_line_is_counted_once() {
    let cut = &RECORDING[..RECORDING.len() - 30];
    let folder = Folder::new(&[("day", cut.as_bytes())]);
    let run = folder.run("report uptime @day --user amy");
    assert!(run.stderr.contains("2 lines are not records"), "{run}");
    // What it knew ends with the last whole line.
    assert!(
        run.stdout
            .contains("\"last_online\":\"2026-03-29T02:00:00.500Z\""),
        "{run}"
    );
}

#[test]
fn pseudonyms_replace_ids_and_names_everywhere() {
    let folder = folder();
    for command in [
        "sessions",
        "uptime --min 1",
        "flaps --threshold 0/1h",
        "timeline",
        "timeline -o table",
    ] {
        let run = folder.run(&format!(
            "report {command} @day --pseudonymize --html @page.html --svg @picture.svg"
        ));
        let written = [
            run.to_string(),
            fs::read_to_string(folder.path("page.html")).unwrap(),
            fs::read_to_string(folder.path("picture.svg")).unwrap(),
        ];
        for text in written {
            for secret in ["amy", "Amy", "bob", "cem", "lunch"] {
                assert!(!text.contains(secret), "{command}: {secret}\n{text}");
            }
        }
    }
}

#[test]
fn users_asked_for_are_reported_even_if_nobody_saw_them() {
    let run =
        folder().run("report uptime @day -q --in bob,zoe --min 0.5 --jq [.user_id,.unknown_s]");
    assert_eq!(run.stdout, "[\"bob\",901]\n[\"zoe\",10800]\n", "{run}");
    assert!(
        run.stderr.contains("never observed, so not checked: zoe"),
        "{run}"
    );
}

#[test]
fn the_svg_is_an_image_of_text_and_shapes() {
    let folder = Folder::new(&[(
        "day",
        RECORDING
            .replace("\"Amy B\"", r#""<b>&\"\u0007""#)
            .as_bytes(),
    )]);
    let _ = folder
        .run("report timeline @day -q --jq empty --tz UTC --svg @picture.svg")
        .ended_with(0);
    insta::assert_snapshot!(fs::read_to_string(folder.path("picture.svg")).unwrap(), @r#"
    <svg aria-labelledby="title desc" height="166" role="img" viewBox="0 0 1200 166" width="1200" xmlns="http://www.w3.org/2000/svg">
    <title id="title">Presence of 3 users from 2026-03-29 00:00 to 2026-03-29 03:00, times in UTC</title>
    <desc id="desc">One row per user. Filled: online. Hatched: not observed.</desc>
    <style>
    text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#24292f}.faint{fill:#57606a}.page{fill:#fff}.track{fill:#eef1f4}.online{fill:#1a7f37}.unknown{fill:url(#hatch)}.grid{stroke:#d0d7de}.hatch{stroke:#7d8590}.hatched{fill:#e6e9ed}@media (prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.page{fill:#0d1117}.track{fill:#1c2129}.online{fill:#3fb950}.grid{stroke:#30363d}.hatch{stroke:#656c76}.hatched{fill:#262c36}}
    </style>
    <defs>
    <pattern height="6" id="hatch" patternTransform="rotate(45)" patternUnits="userSpaceOnUse" width="6">
    <rect class="hatched" height="6" width="6" x="0" y="0"/>
    <line class="hatch" stroke-width="3" y2="6"/>
    </pattern>
    </defs>
    <rect class="page" height="166" width="1200"/>
    <text class="faint" text-anchor="start" x="16" y="28">
    Presence of 3 users from 2026-03-29 00:00 to 2026-03-29 03:00, times in UTC
    </text>
    <line class="grid" x1="180" x2="180" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="180" y="44">
    Mar 29
    </text>
    <line class="grid" x1="262.3" x2="262.3" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="262.3" y="44">
    00:15
    </text>
    <line class="grid" x1="344.6" x2="344.6" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="344.6" y="44">
    00:30
    </text>
    <line class="grid" x1="427" x2="427" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="427" y="44">
    00:45
    </text>
    <line class="grid" x1="509.3" x2="509.3" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="509.3" y="44">
    01:00
    </text>
    <line class="grid" x1="591.6" x2="591.6" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="591.6" y="44">
    01:15
    </text>
    <line class="grid" x1="674" x2="674" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="674" y="44">
    01:30
    </text>
    <line class="grid" x1="756.3" x2="756.3" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="756.3" y="44">
    01:45
    </text>
    <line class="grid" x1="838.6" x2="838.6" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="838.6" y="44">
    02:00
    </text>
    <line class="grid" x1="921" x2="921" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="921" y="44">
    02:15
    </text>
    <line class="grid" x1="1003.3" x2="1003.3" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="1003.3" y="44">
    02:30
    </text>
    <line class="grid" x1="1085.6" x2="1085.6" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="1085.6" y="44">
    02:45
    </text>
    <line class="grid" x1="1167.9" x2="1167.9" y1="48" y2="116"/>
    <text class="faint" text-anchor="middle" x="1167.9" y="44">
    03:00
    </text>
    <g>
    <title>&lt;b&gt;&amp;"\u{7}</title>
    <text text-anchor="start" x="16" y="65">
    &lt;b&gt;&amp;"\u{7}
    </text>
    <rect class="track" height="14" width="988" x="180" y="54"/>
    <path class="unknown" d="M509.2,54 h82.5 v14 h-82.5 z"/>
    <path class="online" d="M180,54 h164.7 v14 h-164.7 z M838.7,54 h329.3 v14 h-329.3 z"/>
    </g>
    <g>
    <title>bob</title>
    <text text-anchor="start" x="16" y="87">
    bob
    </text>
    <rect class="track" height="14" width="988" x="180" y="76"/>
    <path class="unknown" d="M509.2,76 h82.5 v14 h-82.5 z"/>
    <path class="online" d="M591.6,76 h576.4 v14 h-576.4 z"/>
    </g>
    <g>
    <title>cem</title>
    <text text-anchor="start" x="16" y="109">
    cem
    </text>
    <rect class="track" height="14" width="988" x="180" y="98"/>
    <path class="unknown" d="M180,98 h988 v14 h-988 z"/>
    </g>
    <rect class="online" height="12" width="24" x="180" y="128"/>
    <text class="faint" text-anchor="start" x="210" y="138">
    online
    </text>
    <rect class="track" height="12" width="24" x="270" y="128"/>
    <text class="faint" text-anchor="start" x="300" y="138">
    offline
    </text>
    <rect class="unknown" height="12" width="24" x="360" y="128"/>
    <text class="faint" text-anchor="start" x="390" y="138">
    not observed
    </text>
    </svg>
    "#);
}

/// A day on which the clocks change, of 500 users, three shards with two watchers each, gaps, restarts, deleted and
/// renamed users: sessions and uptime agree with the truth, outside of unknown time and in it.
#[test]
fn a_day_of_500_users() {
    let recorded = Plan {
        seed: 2026,
        users: 500,
        start: 1_774_735_200_000,
        length: 86_400_000,
        shards: 3,
        copies: 2,
        stay: 3_600_000,
        gaps: 4,
        restarts: 2,
        oddities: true,
    }
    .make();
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<String> = recorded
        .files
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let path = folder.path().join(format!("{number}.ndjson"));
            fs::write(&path, text).unwrap();
            path.display().to_string()
        })
        .collect();
    let run = |command: &str| -> Vec<Value> {
        let words = [
            "report",
            command,
            "-qq",
            "-o",
            "ndjson",
            "--tz",
            "Europe/Berlin",
        ];
        let run = Presencectl::new(words.into_iter().chain(files.iter().map(String::as_str))).run();
        run.stdout_of_success()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };

    let mut expected: Vec<TrueSession> = recorded
        .users
        .iter()
        .flat_map(|user| user.sessions(recorded.window))
        .collect();
    expected.sort();
    let sessions = run("sessions");
    let mut reported: Vec<TrueSession> = sessions
        .iter()
        .filter(|session| session["duration_s"] != 0)
        .map(|session| {
            let at = |field: &str| -> Option<i64> {
                let text = session[field].as_str()?;
                Some(
                    chrono::DateTime::parse_from_rfc3339(text)
                        .unwrap()
                        .timestamp_millis(),
                )
            };
            let edge = |field: &str| {
                ["observed", "gap", "data_start", "data_end"]
                    .into_iter()
                    .find(|edge| session[field] == *edge)
                    .unwrap()
            };
            TrueSession {
                user: session["user_id"].as_str().unwrap().to_owned(),
                from: at("from").unwrap(),
                to: at("to").unwrap_or(recorded.window.1),
                start: edge("start"),
                end: edge("end"),
            }
        })
        .collect();
    reported.sort();
    assert!(expected.len() > 3000);
    assert_eq!(reported.len(), expected.len());
    for (reported, expected) in reported.iter().zip(&expected) {
        assert_eq!(reported, expected);
    }

    let seconds = |value: &Value| (value.as_f64().unwrap() * 1000.0).round() as i64;
    let uptime = run("uptime");
    assert_eq!(uptime.len(), 500);
    for record in &uptime {
        let user = recorded
            .users
            .iter()
            .find(|user| record["user_id"] == user.id.as_str())
            .unwrap();
        let total = |wanted: Option<bool>| -> i64 {
            let states = user.reported(recorded.window);
            let of = states.iter().filter(|(_, _, state)| *state == wanted);
            of.map(|(from, to, _)| to - from).sum()
        };
        assert_eq!(seconds(&record["online_s"]), total(Some(true)), "{record}");
        assert_eq!(
            seconds(&record["offline_s"]),
            total(Some(false)),
            "{record}"
        );
        assert_eq!(seconds(&record["unknown_s"]), total(None), "{record}");
    }

    // The buckets of all users, and of each user, add up to the same; the first and last records bound them.
    let timeline = run("timeline");
    let online: i64 = uptime
        .iter()
        .map(|record| seconds(&record["online_s"]))
        .sum();
    for all in [true, false] {
        let of = timeline
            .iter()
            .filter(|record| record["user_id"].is_null() == all);
        assert_eq!(
            of.map(|record| seconds(&record["online_s"])).sum::<i64>(),
            online
        );
    }
    assert_eq!(timeline[0]["from"], time(recorded.window.0));
    assert_eq!(timeline[timeline.len() - 1]["to"], time(recorded.window.1));
}

/// A watcher that is killed and started again, with the same file: the time in between is unknown, and nothing else.
#[test]
fn a_killed_watcher_leaves_unknown_time() {
    let mock = Mock::start();
    let _ = Presencectl::line("set-user john")
        .at(&mock)
        .run()
        .ended_with(0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("day.ndjson").display().to_string();
    let watch = || {
        let words = ["watch", "users", "john", "--tee", &file, "-o", "ndjson"];
        Presencectl::new(words).at(&mock).stream()
    };
    for run in 1..=2 {
        let mut stream = watch();
        while stream.record()["type"] != "presence.coverage" {}
        // The copy may be written a moment after the record.
        let start = std::time::Instant::now();
        while fs::read_to_string(&file)
            .is_ok_and(|text| text.matches("presence.coverage").count() < run)
        {
            assert!(start.elapsed().as_secs() < 60, "the copy is not written");
            std::thread::yield_now();
        }
        stream.signal("KILL");
        let _ = stream.end();
    }
    let lines: Vec<Value> = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let at = |line: &Value| {
        let text = line["received_at"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_millis()
    };
    let restart = lines.iter().rposition(|line| line["seq"] == 1).unwrap();
    assert!(restart > 0 && lines.iter().all(|line| line["type"] != "stream.end"));
    let run = Presencectl::new(["report", "uptime", "-o", "ndjson", &file]).run();
    let record: Value = serde_json::from_str(&run.stdout_of_success()).unwrap();
    let unknown = (record["unknown_s"].as_f64().unwrap() * 1000.0).round() as i64;
    assert_eq!(
        unknown,
        at(&lines[restart]) - at(&lines[restart - 1]),
        "{record}"
    );
    let observed = (record["observed_s"].as_f64().unwrap() * 1000.0).round() as i64;
    assert_eq!(
        observed + unknown,
        at(&lines[lines.len() - 1]) - at(&lines[0]),
        "{record}"
    );
}
