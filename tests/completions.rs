//! Completion: the committed scripts are current, and the program answers a shell's completion requests. Whether real
//! shells load and use the scripts is tested beside this, in `shells`.

use std::fs;
use std::path::Path;

use crate::support::world::{presencectl, presencectl_of, small_world};
use crate::support::{Presencectl, private_file};

/// The shells with the files that packages install.
const FILES: [(&str, &str); 5] = [
    ("bash", "presencectl.bash"),
    ("zsh", "_presencectl"),
    ("fish", "presencectl.fish"),
    ("powershell", "_presencectl.ps1"),
    ("elvish", "presencectl.elv"),
];

/// What is offered for the last of these words, the first of them left out.
fn offered(home: &Path, words: &[&str]) -> Vec<String> {
    let mut line = vec!["--", "presencectl"];
    line.extend(words);
    offered_by(Presencectl::new(line), home)
}

fn offered_by(command: Presencectl, home: &Path) -> Vec<String> {
    let out = command
        .env("HOME", home.to_str().unwrap())
        .env("XDG_CONFIG_HOME", home.join("config").to_str().unwrap())
        .env("XDG_CACHE_HOME", home.join("cache").to_str().unwrap())
        .env("PRESENCECTL_COMPLETE", "fish")
        .run()
        .stdout_of_success();
    out.lines()
        .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
        .collect()
}

/// The application of the profile `prod`: its key and address.
const PROD: &str = "k https://chat.stream-io-api.com/";

/// Where the ids of an application are kept.
fn cache_file(kind: &str, application: &str) -> String {
    let hash = xxhash_rust::xxh3::xxh3_64(application.as_bytes());
    format!("cache/presencectl/{kind}-{hash:016x}")
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    private_file(
        &home.path().join("config/presencectl/config.toml"),
        "default_profile = 'prod'\n[profiles.prod]\napi_key = 'k'\n[profiles.staging]\napi_key = 'other'\n",
    );
    private_file(
        &home.path().join(cache_file("users", PROD)),
        "john\njack\nno id\x1b[2J\njane@x",
    );
    private_file(
        &home.path().join(cache_file("channels", PROD)),
        "messaging:fun\nlivestream:a",
    );
    home
}

#[test]
fn the_committed_scripts_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    let update = std::env::var("UPDATE_COMPLETIONS").is_ok_and(|value| value == "1");
    for (shell, file) in FILES {
        let script = Presencectl::line(&format!("completions {shell}"))
            .run()
            .stdout_of_success();
        let path = folder.join(file);
        if update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &script).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == script,
            "completions/{file} is stale; write it anew: UPDATE_COMPLETIONS=1 cargo test completions::"
        );
    }
}

#[test]
fn flags_are_offered_after_a_dash_and_where_nothing_else_fits() {
    let home = home();
    let commands = offered(home.path(), &[""]);
    assert!(commands.contains(&"profile".to_owned()), "{commands:?}");
    assert!(
        commands.iter().all(|word| !word.starts_with('-')),
        "{commands:?}"
    );
    assert_eq!(
        offered(home.path(), &["profile", "add", "--sec"]),
        [
            "--secret-file",
            "--secret-command",
            "--secret-env",
            "--secret-stdin"
        ]
    );
    let leaf = offered(home.path(), &["profile", "list", ""]);
    assert!(leaf.contains(&"--output".to_owned()), "{leaf:?}");
}

#[test]
fn profile_names_are_offered_wherever_one_is_expected() {
    let home = home();
    for words in [
        &["-p", ""][..],
        &["--profile", ""],
        &["token", "create", "x", "-p", ""],
        &["profile", "show", ""],
        &["profile", "use", ""],
        &["profile", "remove", ""],
    ] {
        assert_eq!(
            offered(home.path(), words),
            ["prod", "staging"],
            "{words:?}"
        );
    }
    assert_eq!(
        offered(home.path(), &["--profile=st"]),
        ["--profile=staging"]
    );
}

#[test]
fn users_of_the_last_query_are_offered_if_they_are_users() {
    let home = home();
    assert_eq!(
        offered(home.path(), &["token", "create", ""]),
        ["john", "jack", "jane@x"]
    );
    assert_eq!(offered(home.path(), &["--as", "jac"]), ["jack"]);
    assert_eq!(
        offered(home.path(), &["query-users", "--in", "john,j"]),
        ["john,jack", "john,jane@x"],
        "in a list, and nobody twice"
    );
    assert_eq!(
        offered(home.path(), &["get-channel", "l"]),
        ["livestream:a"]
    );
    private_file(&home.path().join("ids.txt"), "john\n");
    let listed = format!("@{}/id", home.path().display());
    assert_eq!(
        offered(home.path(), &["set-user", "--in", &listed]),
        [format!("@{}/ids.txt", home.path().display())]
    );
}

#[test]
fn only_queries_on_a_terminal_are_remembered() {
    let mock = small_world();
    let home = tempfile::tempdir().unwrap();
    let at = |line: &str| {
        presencectl(&mock, line)
            .env("HOME", home.path().to_str().unwrap())
            .env(
                "XDG_CACHE_HOME",
                home.path().join("cache").to_str().unwrap(),
            )
    };
    let _ = at("query-users").run().ended_with(0);
    assert!(!home.path().join("cache").exists(), "in a script");
    for (line, shown) in [
        ("query-users --sort id", "john"),
        ("query-channels", "fun"),
        ("get-user john", "john"),
    ] {
        let run = at(line).run_on_terminal().ended_with(0);
        assert!(run.stdout.contains(shown), "{run}");
    }
    let offered_at_mock = |command: &str| {
        let line = ["--", "presencectl", command, ""];
        offered_by(presencectl_of(&mock, line), home.path())
    };
    assert_eq!(offered_at_mock("get-user"), ["jack", "john", "zoe"]);
    assert_eq!(offered_at_mock("get-channel"), ["messaging:fun"]);
}

#[test]
fn enum_values_are_offered() {
    let home = home();
    assert_eq!(
        offered(home.path(), &["help", "ex"]),
        ["exit-codes", "expressions"]
    );
    assert_eq!(
        offered(home.path(), &["profile", "list", "--output=t"]),
        ["--output=table", "--output=tsv"]
    );
}

#[test]
fn a_completion_request_never_runs_a_command() {
    let home = home();
    let run = Presencectl::line("-- presencectl token create john")
        .env("HOME", home.path().to_str().unwrap())
        .env("PRESENCECTL_COMPLETE", "tcsh")
        .run()
        .ended_with(1);
    assert_eq!(run.stdout, "", "{run}");
    assert!(run.stderr.contains("tcsh"), "{run}");
}

#[test]
fn ids_of_another_application_are_not_offered() {
    let home = home();
    private_file(
        &home
            .path()
            .join(cache_file("users", "other https://chat.stream-io-api.com/")),
        "stacy",
    );
    assert_eq!(
        offered(home.path(), &["get-user", "-p", "staging", ""]),
        ["stacy"]
    );
    assert_eq!(
        offered(home.path(), &["-p", "prod", "get-user", "ja"]),
        ["jack", "jane@x"]
    );
    assert!(!offered(home.path(), &["--mock", "get-user", ""]).contains(&"john".to_owned()));
    assert!(
        !offered(
            home.path(),
            &["--base-url=http://127.0.0.1:1", "get-user", ""]
        )
        .contains(&"john".to_owned())
    );
}

#[test]
fn values_of_flags_are_offered() {
    let home = home();
    for (words, expected) in [
        (
            &["wait", "user", "john", "--for", "o"][..],
            &["online", "offline"][..],
        ),
        (&["query-users", "--sort", "last"], &["last_active"]),
        (&["query-users", "--sort", "id,-cr"], &["id,-created_at"]),
        (&["query-channels", "--sort", "last"], &["last_message_at"]),
        (
            &["query-users", "--columns", "id,la"],
            &["id,last_active", "id,last_message_at"],
        ),
        (&["watch", "users", "--changed", "st"], &["status"]),
        (
            &["watch", "channel", "fun", "-e", "presence."],
            &["presence.snapshot", "presence.gap", "presence.coverage"],
        ),
    ] {
        assert_eq!(offered(home.path(), words), expected, "{words:?}");
    }
}
