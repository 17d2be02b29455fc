//! `doctor`: each failure is reported by its own check, and the users that it creates are deleted.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::support::literal::json as answer;
use crate::support::mock::{API_KEY, SECRET, user_token};
use crate::support::world::{presencectl, small_world};
use crate::support::{CLOSED_URL, Presencectl, Run, private_file};

/// The results by check, such as `dns=ok`, and what stderr has.
fn results(run: &Run) -> String {
    let mut results = String::new();
    for row in run.records() {
        results += &format!("{}={} ", row["check"], row["result"]).replace('"', "");
    }
    format!(
        "{}\n{}exit {}",
        results.trim_end(),
        run.stderr,
        run.code.unwrap()
    )
}

fn row(run: &Run, check: &str) -> Value {
    run.records()
        .into_iter()
        .find(|row| row["check"] == check)
        .unwrap_or_else(|| panic!("no {check} in {run}"))
}

fn doctor(url: &str) -> Run {
    Presencectl::line("doctor --connect-timeout 5s --retry 0")
        .at_url(url, "k", "s")
        .run()
}

/// A server that gives these answers in turn, and none to a connection on which nothing is asked.
fn serve(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        while answers.len() > 0 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                let answer = answers.next().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    url
}

#[test]
fn a_healthy_service_passes_every_check_unchanged() {
    let mock = small_world();
    let users = || {
        let run = presencectl(&mock, "query-users --all").run();
        run.stdout_of_success()
    };
    let before = users();
    insta::assert_snapshot!(results(&presencectl(&mock, "doctor").run()), @r"
    configuration=ok dns=ok tcp=ok tls=skipped http=ok clock=ok credentials=ok token=ok socket=ok presence=ok cleanup=ok
    presencectl: all checks passed.
    exit 0
    ");
    assert_eq!(before, users());
}

#[test]
fn no_changes_leaves_the_application_unchanged() {
    let mock = small_world();
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    private_file(
        &config,
        &format!(
            "default_profile = 'p'\n[profiles.p]\napi_key = '{}'\napi_secret_env = 'S'\nbase_url = 'http://{}'\nprotected = true\n",
            API_KEY, mock.address
        ),
    );
    let protected = |line: &str| {
        Presencectl::line(line)
            .env("PRESENCECTL_CONFIG", config.to_str().unwrap())
            .env("S", SECRET)
            .run()
            .ended_with(0)
    };
    let unchanged = results(&presencectl(&mock, "doctor --no-changes").run());
    insta::assert_snapshot!(unchanged, @r"
    configuration=ok dns=ok tcp=ok tls=skipped http=ok clock=ok credentials=ok token=skipped socket=skipped presence=skipped cleanup=skipped
    presencectl: all checks passed.
    exit 0
    ");
    assert_eq!(
        results(&presencectl(&mock, "doctor --dry-run").run()),
        unchanged
    );
    assert_eq!(results(&protected("doctor")), unchanged);
    let run = protected("doctor --yes");
    assert_eq!(row(&run, "presence")["result"], "ok", "{run}");
}

#[test]
fn each_failure_is_reported_by_its_check() {
    let mock = small_world();
    let run = Presencectl::line("doctor")
        .env("STREAM_CHAT_URL", &mock.url())
        .run();
    insta::assert_snapshot!(results(&run), @r"
    configuration=failed dns=ok tcp=ok tls=skipped http=ok clock=ok credentials=skipped token=skipped socket=skipped presence=skipped cleanup=skipped
    presencectl: 1 of 11 steps failed, and 6 were skipped.
    hint: try it without an account by adding --mock; or set STREAM_API_KEY and STREAM_API_SECRET (from the Stream dashboard), or STREAM_API_KEY and PRESENCECTL_USER_TOKEN
    exit 4
    ");
    insta::assert_snapshot!(results(&doctor("https://presencectl.invalid")), @r"
    configuration=ok dns=failed tcp=skipped tls=skipped http=skipped clock=skipped credentials=skipped token=skipped socket=skipped presence=skipped cleanup=skipped
    presencectl: 1 of 11 steps failed, and 9 were skipped.
    hint: check the address (--base-url or STREAM_CHAT_URL) and the network; to try without either: --mock
    exit 7
    ");

    insta::assert_snapshot!(results(&doctor(CLOSED_URL)), @r"
    configuration=ok dns=ok tcp=failed tls=skipped http=skipped clock=skipped credentials=skipped token=skipped socket=skipped presence=skipped cleanup=skipped
    presencectl: 1 of 11 steps failed, and 8 were skipped.
    hint: check the address (--base-url or STREAM_CHAT_URL) and the network; to try without either: --mock
    exit 7
    ");

    insta::assert_snapshot!(results(&doctor(&format!("https://{}", mock.address))), @r"
    configuration=ok dns=ok tcp=ok tls=failed http=skipped clock=skipped credentials=skipped token=skipped socket=skipped presence=skipped cleanup=skipped
    presencectl: 1 of 11 steps failed, and 7 were skipped.
    hint: write http:// instead of https:// in --base-url or STREAM_CHAT_URL, or name the https port
    exit 7
    ");

    let wrong = presencectl(&mock, "doctor").env("STREAM_API_SECRET", "wrong");
    insta::assert_snapshot!(results(&wrong.run()), @r"
    configuration=ok dns=ok tcp=ok tls=skipped http=ok clock=ok credentials=failed token=skipped socket=skipped presence=skipped cleanup=skipped
    presencectl: 1 of 11 steps failed, and 5 were skipped.
    hint: check that the secret belongs to the API key: STREAM_API_SECRET, or --profile
    exit 4
    ");
}

#[test]
fn a_wrong_clock_is_reported_before_token_errors() {
    let date = "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
    let refusal = r#"{"code":5,"message":"no","StatusCode":401}"#;
    let url = serve(vec![
        answer("200 OK", date, "{}"),
        answer("401 Unauthorized", "", refusal),
    ]);
    let run = doctor(&url);
    insta::assert_snapshot!(results(&run), @r"
    configuration=ok dns=ok tcp=ok tls=skipped http=ok clock=failed credentials=failed token=skipped socket=skipped presence=skipped cleanup=skipped
    presencectl: 2 of 11 steps failed, and 5 were skipped.
    hint: set the clock: timedatectl set-ntp true
    exit 1
    ");
    let detail = row(&run, "clock")["detail"].to_string();
    assert!(detail.contains("ahead of"), "{detail}");
}

#[test]
fn a_user_token_skips_the_checks_that_need_the_secret() {
    let run = presencectl(&small_world(), "doctor")
        .env("STREAM_API_SECRET", "")
        .env("PRESENCECTL_USER_TOKEN", &user_token("john"))
        .run();
    insta::assert_snapshot!(results(&run), @r"
    configuration=ok dns=ok tcp=ok tls=skipped http=ok clock=ok credentials=skipped token=skipped socket=skipped presence=skipped cleanup=skipped
    presencectl: all checks passed.
    exit 0
    ");
}
