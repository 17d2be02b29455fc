//! Every command of the tree, in an environment with nothing but a home: it ends by itself, asks nobody, and says what
//! to do next. And no secret is ever shown.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::CommandFactory;
use presencectl::cli::Cli;
use presencectl::domain::token::{self, Claims};

use crate::support::mock::{API_KEY, SECRET};
use crate::support::world::{presencectl, small_world};
use crate::support::{Presencectl, binary, private_file};

/// A deadline that only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Commands that serve until somebody ends them: with nothing to wait for there is nothing wrong with waiting.
const SERVERS: [&str; 1] = ["mock start"];

/// Command lines for every leaf of the tree, with a word for each argument that is wanted.
fn lines() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, path: &[String], lines: &mut Vec<Vec<String>>) {
        let mut path = path.to_vec();
        path.push(command.get_name().to_owned());
        if command.has_subcommands() {
            for sub in command.get_subcommands() {
                walk(sub, &path, lines);
            }
            return;
        }
        let mut line = path[1..].to_vec();
        if SERVERS.contains(&line.join(" ").as_str()) {
            return;
        }
        for argument in command.get_arguments().filter(|a| a.is_required_set()) {
            if let Some(long) = argument.get_long() {
                line.push(format!("--{long}"));
            }
            line.push(word_for(argument));
        }
        lines.push(line);
    }
    let mut root = Cli::command();
    root.build();
    let mut lines = Vec::new();
    for command in root.get_subcommands() {
        walk(command, &["presencectl".to_owned()], &mut lines);
    }
    lines
}

/// Something that an argument takes.
fn word_for(argument: &clap::Arg) -> String {
    if let Some(value) = argument.get_possible_values().first() {
        return value.get_name().to_owned();
    }
    let name = argument
        .get_value_names()
        .and_then(|names| names.first())
        .map(|name| name.to_string());
    match name.as_deref().or(Some(argument.get_id().as_str())) {
        Some("DUR" | "by") => "1s".to_owned(),
        Some("method" | "METHOD") => "GET".to_owned(),
        Some("EXPR" | "STATE") => "online".to_owned(),
        Some("FILE") => "nothing.json".to_owned(),
        _ => "x".to_owned(),
    }
}

/// Runs a line with this stdin and an otherwise empty environment.
fn run(line: &[String], home: &std::path::Path, stdin: Stdio) -> (Option<i32>, String, String) {
    let mut child = Command::new(binary())
        .args(line)
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // Kept open and never written to, which is what a silent pipe is.
    let _silent = child.stdin.take();
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().unwrap()));
    let stderr = read(Box::new(child.stderr.take().unwrap()));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("`{}` hangs", line.join(" "));
        }
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    };
    (
        status.code(),
        stdout.join().unwrap(),
        stderr.join().unwrap(),
    )
}

#[test]
fn every_command_ends_by_itself_and_says_what_to_do() {
    let lines = lines();
    assert!(lines.len() > 20, "{lines:?}");
    let mut lost: Vec<String> = Vec::new();
    for line in &lines {
        let shown = line.join(" ");
        for silent in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let stdin = if silent {
                Stdio::piped()
            } else {
                Stdio::null()
            };
            let (code, stdout, stderr) = run(line, home.path(), stdin);
            let code = code.unwrap_or_else(|| panic!("`{shown}` was killed\n{stderr}"));
            if code == 0 {
                continue;
            }
            assert_ne!(code, 101, "`{shown}` panicked\n{stderr}");
            assert_eq!(
                stdout
                    .lines()
                    .filter(|l| l.starts_with("presencectl:"))
                    .count(),
                0
            );
            let helps = stderr.contains("\nhint: ") || stderr.contains("--help");
            if !helps {
                lost.push(format!(
                    "`{shown}` ends with {code}:
{stderr}"
                ));
            }
            assert!(!stderr.contains("[y/N]"), "`{shown}` asks\n{stderr}");
        }
    }
    assert!(
        lost.is_empty(),
        "errors without a way out:\n{}",
        lost.join("\n")
    );
}

#[test]
fn no_secret_is_shown_however_much_is_said() {
    let mock = small_world();
    let server = token::sign(SECRET, &Claims::server());
    let john = token::sign(SECRET, &Claims::user("john"));
    let secret_part = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let hidden = [SECRET.to_owned(), secret_part(&server), secret_part(&john)];
    for line in [
        "query-users -vv",
        "get-user nobody -vv -o json",
        "set-user john --status x -vv --verify",
        "set-user john --status x -vv --dry-run",
        "set-user john --set online=1 -vv",
        "delete-user john --dry-run -vv",
        "set-channel fun --add-member zoe -vv --dry-run",
        "get-channel nope -vv",
        "query-channels -vv --as john",
        "api GET users -vv",
        "api POST users -F users=1 -vv --dry-run",
        "api GET nowhere -vv -o json",
        "limits -vv",
        "doctor -vv",
        "watch channel fun -n 1 --timeout 200ms -vv",
        "watch users --in john --timeout 200ms -vv --as john",
        "profile list -vv",
    ] {
        let run = presencectl(&mock, line).run();
        for secret in &hidden {
            assert!(
                !run.stdout.contains(secret) && !run.stderr.contains(secret),
                "{line} shows a secret: {run}"
            );
        }
    }
    for (name, value) in [
        ("STREAM_CHAT_URL", "http://example.com"),
        ("STREAM_CHAT_URL", "http://127.0.0.1:1"),
        ("STREAM_CHAT_URL", "not an address"),
        ("PRESENCECTL_USER_TOKEN", john.as_str()),
        ("PRESENCECTL_USER_TOKEN", "nonsense-nonsense"),
    ] {
        let run = presencectl(&mock, "query-users -vv --retry 0")
            .env(name, value)
            .run();
        for secret in hidden
            .iter()
            .map(String::as_str)
            .chain(["nonsense-nonsense"])
        {
            assert!(
                !run.stdout.contains(secret) && !run.stderr.contains(secret),
                "{name}={value} shows a secret: {run}"
            );
        }
    }
}

#[test]
fn a_protected_profile_wants_yes_for_every_change() {
    let mock = small_world();
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    private_file(
        &config,
        &format!(
            "default_profile = 'p'\n[profiles.p]\napi_key = '{API_KEY}'\napi_secret = '{SECRET}'\nbase_url = 'http://{}'\nprotected = true\n",
            mock.address
        ),
    );
    let at = |line: &str| {
        Presencectl::line(line)
            .env("PRESENCECTL_CONFIG", config.to_str().unwrap())
            .run()
    };
    let all = at("query-users --all").stdout_of_success();
    for line in [
        "set-user john --status x",
        "deactivate-user john",
        "reactivate-user john",
        "delete-user john",
        "set-channel fun --set color=red",
        "set-channel new --member john",
        "watch channel new --member john --timeout 1s",
        "watch users john --snapshot only",
        "query-users --watch --timeout 1s",
        "wait user john --for exists",
        "wait channel fun --for true",
        "hold jack --for 1ms",
        "hold jack --for 1ms --status x",
        "api PATCH users -F users=[]",
    ] {
        let run = at(line).ended_with(2);
        assert!(run.stderr.contains("--yes"), "{line}: {run}");
    }
    assert_eq!(
        at("query-users --all").stdout_of_success(),
        all,
        "nothing changed"
    );
    let run = at("doctor").ended_with(0);
    assert!(run.stdout.contains("--yes allows the changes"), "{run}");
    assert_eq!(at("query-users --all").stdout_of_success(), all);
    // Looking is no change, once there is somebody to look with.
    let _ = at("watch users john --snapshot only --yes").ended_with(0);
    let _ = at("watch users john --snapshot only").ended_with(0);
    let _ = at("wait user john --for exists").ended_with(0);
    let _ = at("set-user john --status x --yes").ended_with(0);
    let _ = at("set-user john --status y --dry-run").ended_with(0);
}
