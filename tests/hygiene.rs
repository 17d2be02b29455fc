//! Rules for every command, in an environment with nothing but a home: it ends by itself, does not prompt, and prints a
//! result or a hint. No output contains a secret.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use clap::CommandFactory;
use presencectl::cli::Cli;
use presencectl::domain::token::{self, Claims};

use crate::support::literal;
use crate::support::mock::{API_KEY, SECRET};
use crate::support::world::{presencectl, small_world};
use crate::support::{PATIENCE, Presencectl, Run, binary, private_file, signal};

/// The one command that runs until it is stopped. It is stopped once it has printed something.
const ENDLESS: &str = "mock start";

/// Command lines for every node of the tree: alone, and with a word for each argument that is
/// wanted or has a place of its own.
fn lines() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, path: &[String], lines: &mut Vec<Vec<String>>) {
        let mut path = path.to_vec();
        path.push(command.get_name().to_owned());
        let alone = path[1..].to_vec();
        for sub in command.get_subcommands() {
            walk(sub, &path, lines);
        }
        let one_of_each_group = command
            .get_groups()
            .filter(|group| group.is_required_set())
            .filter_map(|group| group.get_args().next().cloned());
        let wanted: Vec<_> = command
            .get_arguments()
            .filter(|argument| argument.is_required_set() || argument.is_positional())
            .map(|argument| argument.get_id().clone())
            .chain(one_of_each_group)
            .collect();
        let mut line = alone.clone();
        for argument in command
            .get_arguments()
            .filter(|argument| wanted.contains(argument.get_id()))
        {
            if let Some(long) = argument.get_long() {
                line.push(format!("--{long}"));
            }
            line.push(word_for(argument));
        }
        if line != alone {
            lines.push(line);
        }
        lines.push(alone);
    }
    let mut root = Cli::command();
    root.build();
    let mut lines = Vec::new();
    walk(&root, &[], &mut lines);
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

/// A pipe that a thread reads.
struct Pipe {
    chunks: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Pipe {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 1 << 12];
            while let Ok(size @ 1..) = pipe.read(&mut chunk) {
                if sender.send(chunk[..size].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            chunks,
            seen: Vec::new(),
        }
    }

    fn wait_for_a_byte(&mut self) {
        self.seen
            .extend(self.chunks.recv_timeout(PATIENCE).expect("it is at work"));
    }

    fn text(mut self) -> String {
        self.seen.extend(self.chunks.iter().flatten());
        String::from_utf8_lossy(&self.seen).into_owned()
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
    let mut stdout = Pipe::of(child.stdout.take().unwrap());
    let stderr = Pipe::of(child.stderr.take().unwrap());
    if line.join(" ").contains(ENDLESS) {
        stdout.wait_for_a_byte();
        signal(child.id(), "TERM");
    }
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("`{}` hangs", line.join(" "));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    (status.code(), stdout.text(), stderr.text())
}

/// What is wrong with how a line ended, if anything is.
fn complaint(line: &[String], stdin: Stdio) -> Option<String> {
    let home = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(line, home.path(), stdin);
    let why = match code {
        None => "was killed",
        Some(101) => "panicked",
        _ if stderr.contains("[y/N]") => "asks",
        _ if stdout.lines().any(|line| line.starts_with("presencectl:")) => {
            "complains where results belong"
        }
        Some(0 | 143) if stdout.is_empty() && stderr.is_empty() => "says nothing",
        // The last is an answer, too: what was waited for did not come.
        Some(0 | 143 | 124) => return None,
        Some(_) if stderr.contains("\nhint: ") || stderr.contains("--help") => return None,
        // A page of help is more than the next thing to type.
        Some(2) if stderr.contains("Usage: ") => return None,
        Some(_) => "gives no way out",
    };
    Some(format!(
        "`{}` {why} ({code:?}):\n{stdout}{stderr}",
        line.join(" ")
    ))
}

#[test]
fn every_command_prints_its_result_or_a_hint() {
    let nowhere = lines();
    assert!(nowhere.len() > 80, "{nowhere:?}");
    // Somewhere to work, and no time to wait for what does not come.
    let somewhere = nowhere.iter().map(|line| {
        let mut line = line.clone();
        line.splice(0..0, ["--mock", "--timeout", "1s"].map(str::to_owned));
        line
    });
    let all: Vec<_> = nowhere.iter().cloned().chain(somewhere).collect();
    let next = AtomicUsize::new(0);
    let complaints = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(line) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = [Stdio::null(), Stdio::piped()].map(|stdin| complaint(line, stdin));
                    complaints
                        .lock()
                        .unwrap()
                        .extend(found.into_iter().flatten());
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Everything that must never be shown: the secret, and the signatures of tokens that are made from it.
fn hidden() -> Vec<String> {
    let signature = |claims: &Claims| {
        let token = token::sign(SECRET, claims);
        token.rsplit('.').next().unwrap().to_owned()
    };
    vec![
        SECRET.to_owned(),
        signature(&Claims::server()),
        signature(&Claims::user("john")),
    ]
}

#[track_caller]
fn assert_shows_none(run: &Run, hidden: &[String], line: &str) {
    for secret in hidden {
        assert!(
            !run.stdout.contains(secret) && !run.stderr.contains(secret),
            "{line} shows `{secret}`: {run}"
        );
    }
}

#[test]
fn no_secret_is_shown_at_any_verbosity() {
    let mock = small_world();
    let hidden = hidden();
    for line in [
        "query-users",
        "get-user nobody -o json",
        "set-user john --status x --verify",
        "set-user john --set online=1",
        "get-channel nope",
        "query-channels --as john",
        "api GET users",
        "api GET nowhere -o json",
        "limits",
        "watch channel fun --snapshot only",
        "watch users --in john --as john --snapshot only",
        "hold john --status x --for 1ms",
    ] {
        for verbosity in ["-v", "-vv"] {
            let run = presencectl(&mock, &format!("{line} {verbosity}")).run();
            assert_shows_none(&run, &hidden, line);
            let requests = run
                .stderr
                .lines()
                .filter(|line| line.starts_with("> "))
                .count();
            assert!(
                requests > 0,
                "{line} {verbosity} traces its requests: {run}"
            );
            let bodies = run.stderr.lines().any(|line| line.starts_with("<   {"));
            assert_eq!(bodies, verbosity == "-vv", "{line} {verbosity}: {run}");
            assert!(!run.stderr.contains(API_KEY), "{line} {verbosity}: {run}");
        }
    }
    for line in [
        "set-user john --status x --dry-run",
        "delete-user john --dry-run",
        "set-channel fun --add-member zoe --dry-run",
        "api POST users -F users=1 --dry-run",
        "doctor",
        "profile list",
    ] {
        let run = presencectl(&mock, &format!("{line} -vv")).run();
        assert_shows_none(&run, &hidden, line);
    }
    let john = token::sign(SECRET, &Claims::user("john"));
    let mut hidden = hidden;
    hidden.push("nonsense-nonsense".to_owned());
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
        assert_shows_none(&run, &hidden, name);
    }
}

#[test]
fn a_trace_shows_each_request_and_connection_change_and_then_headers_and_bodies() {
    let mock = small_world();
    // Times and what the mock chooses differ from run to run.
    let trace = |line: &str| -> Vec<String> {
        let run = presencectl(&mock, line).run().ended_with(0);
        let is_stable = |line: &&str| !line.starts_with("<   ") || line.contains("content-type");
        let without_time = |line: &str| match line.strip_suffix(" ms") {
            Some(rest) => format!("{} T ms", rest.rsplit_once(' ').unwrap().0),
            None => line.replace(env!("CARGO_PKG_VERSION"), "VERSION"),
        };
        run.stderr
            .lines()
            .filter(is_stable)
            .map(without_time)
            .collect()
    };
    insta::assert_snapshot!(trace("set-user john --status x -v").join("\n"), @"> PATCH /users 200 T ms");
    insta::assert_snapshot!(trace("watch users john --as john --snapshot only -v").join("\n"), @r"
    presencectl: watching as john; this user is online until the command ends.
    > GET /connect 101 T ms
    * john connected
    > GET /users 200 T ms
    ");
    insta::assert_snapshot!(trace("set-user john --status x -vv").join("\n"), @r#"
    > PATCH /users 200 T ms
    >   ?api_key=[redacted]
    >   authorization: [redacted]
    >   stream-auth-type: jwt
    >   x-stream-client: presencectl-vVERSION
    >   content-type: application/json
    >   {"users":[{"id":"john","set":{"status":"x"}}]}
    <   content-type: application/json
    "#);
}

#[test]
fn what_the_service_answers_is_redacted_too() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let token = token::sign("another secret", &Claims::user("guest-1"));
    let body = format!(
        r#"{{"user":{{"id":"guest-1"}},"access_token":"opaque-token","note":"a {token} inside","echo":"{SECRET}","devices":[{{"push_secret":"p4ss"}}]}}"#
    );
    let set_cookie = "Set-Cookie: session=c00kie\r\n";
    let (url, _requests) = runtime.block_on(literal::serve(vec![literal::json(
        "201 Created",
        set_cookie,
        &body,
    )]));
    let run = Presencectl::line("api POST guest -f 'user[id]=1' -f password=hunter2 -F 'nested={\"api_secret\":\"n3st\"}' -vv --jq .user.id")
        .at_url(url.as_str(), API_KEY, SECRET)
        .run()
        .ended_with(0);
    for secret in [
        "opaque-token",
        token.as_str(),
        SECRET,
        "p4ss",
        "c00kie",
        "hunter2",
        "n3st",
    ] {
        assert!(!run.stderr.contains(secret), "`{secret}` is shown: {run}");
    }
    assert!(
        run.stderr.contains(r#""note":"a [redacted] inside""#),
        "{run}"
    );
}

#[test]
fn a_protected_profile_needs_yes_for_every_change() {
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
