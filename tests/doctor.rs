//! `doctor`: each failure is reported by its own check, and the users that it creates are deleted.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::support::literal::json as answer;
use crate::support::world::{presencectl, small_world};
use crate::support::{Presencectl, Run, private_file};

/// The results by step, such as `dns=ok`.
fn results(run: &Run) -> Vec<String> {
    run.records()
        .iter()
        .map(|row| {
            format!(
                "{}={}",
                row["check"].as_str().unwrap(),
                row["result"].as_str().unwrap()
            )
        })
        .collect()
}

fn row(run: &Run, check: &str) -> Value {
    run.records()
        .into_iter()
        .find(|row| row["check"] == check)
        .unwrap_or_else(|| panic!("no {check} in {run}"))
}

fn doctor(url: &str) -> Presencectl {
    Presencectl::line("doctor --connect-timeout 5s --retry 0")
        .env("STREAM_CHAT_URL", url)
        .env("STREAM_API_KEY", "k")
        .env("STREAM_API_SECRET", "s")
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
    let before = presencectl(&mock, "query-users --all")
        .run()
        .stdout_of_success();
    let run = presencectl(&mock, "doctor").run().ended_with(0);
    assert_eq!(
        results(&run),
        [
            "configuration=ok",
            "dns=ok",
            "tcp=ok",
            "tls=skipped",
            "http=ok",
            "clock=ok",
            "credentials=ok",
            "token=ok",
            "socket=ok",
            "presence=ok",
            "cleanup=ok"
        ],
        "{run}"
    );
    assert!(run.stderr.contains("all checks passed"), "{run}");
    let after = presencectl(&mock, "query-users --all")
        .run()
        .stdout_of_success();
    assert_eq!(before, after);
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
            crate::support::mock::API_KEY,
            mock.address
        ),
    );
    let protected = |line: &str| {
        Presencectl::line(line)
            .env("PRESENCECTL_CONFIG", config.to_str().unwrap())
            .env("S", crate::support::mock::SECRET)
            .run()
            .ended_with(0)
    };
    for run in [
        presencectl(&mock, "doctor --no-changes")
            .run()
            .ended_with(0),
        presencectl(&mock, "doctor --dry-run").run().ended_with(0),
        protected("doctor"),
    ] {
        assert_eq!(row(&run, "credentials")["result"], "ok", "{run}");
        assert_eq!(row(&run, "token")["result"], "skipped", "{run}");
        assert_eq!(row(&run, "presence")["result"], "skipped", "{run}");
    }
    let run = protected("doctor --yes");
    assert_eq!(row(&run, "presence")["result"], "ok", "{run}");
}

#[test]
fn each_failure_is_reported_by_its_check() {
    let mock = small_world();
    let run = Presencectl::line("doctor")
        .env("STREAM_CHAT_URL", &mock.url())
        .run()
        .ended_with(4);
    for check in ["dns", "tcp", "http", "clock"] {
        assert_eq!(row(&run, check)["result"], "ok", "{run}");
    }
    assert_eq!(row(&run, "credentials")["result"], "skipped", "{run}");
    assert_eq!(row(&run, "configuration")["result"], "failed");
    assert!(
        row(&run, "configuration")["hint"]
            .as_str()
            .unwrap()
            .contains("--mock")
    );
    assert_eq!(run.records().len(), 11, "what was not tried is told too");

    let run = doctor("https://presencectl.invalid").run().ended_with(7);
    assert_eq!(row(&run, "dns")["result"], "failed", "{run}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let run = doctor(&format!("http://{nobody}")).run().ended_with(7);
    assert_eq!(row(&run, "tcp")["result"], "failed", "{run}");
    assert_eq!(row(&run, "dns")["result"], "ok");

    let mock = small_world();
    let run = doctor(&format!("https://{}", mock.address))
        .run()
        .ended_with(7);
    assert_eq!(row(&run, "tls")["result"], "failed", "{run}");

    let run = presencectl(&mock, "doctor")
        .env("STREAM_API_SECRET", "wrong")
        .run()
        .ended_with(4);
    assert_eq!(row(&run, "credentials")["result"], "failed", "{run}");
    assert_eq!(row(&run, "socket")["result"], "skipped", "{run}");
}

#[test]
fn a_wrong_clock_is_reported_before_token_errors() {
    let date = "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
    let refusal = r#"{"code":5,"message":"no","StatusCode":401}"#;
    let url = serve(vec![
        answer("200 OK", date, "{}"),
        answer("401 Unauthorized", "", refusal),
    ]);
    let run = doctor(&url).run().ended_with(1);
    assert_eq!(row(&run, "clock")["result"], "failed", "{run}");
    assert!(
        row(&run, "clock")["detail"]
            .as_str()
            .unwrap()
            .contains("ahead of"),
        "{run}"
    );
    assert_eq!(row(&run, "credentials")["result"], "failed", "{run}");
    assert!(run.stderr.contains("2 of 11"), "{run}");
}

#[test]
fn a_user_token_skips_the_checks_that_need_the_secret() {
    let mock = small_world();
    let run = presencectl(&mock, "doctor")
        .env("STREAM_API_SECRET", "")
        .env(
            "PRESENCECTL_USER_TOKEN",
            &crate::support::mock::user_token("john"),
        )
        .run()
        .ended_with(0);
    assert_eq!(row(&run, "http")["result"], "ok", "{run}");
    assert_eq!(row(&run, "presence")["result"], "skipped", "{run}");
}
