//! The command line itself: usage errors, help, and what happens without credentials.

use crate::support::Presencectl;

#[test]
fn bad_usage_exits_with_2_and_names_the_flag() {
    let run = Presencectl::line("token create --nope").run().ended_with(2);
    assert!(run.stderr.contains("--nope"), "{run}");
    assert_eq!(run.stdout, "");
}

#[test]
fn bad_usage_is_json_where_json_was_asked_for() {
    let run = Presencectl::line("token create --nope -o json")
        .run()
        .ended_with(2);
    let error: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
    assert_eq!(error["error"]["exit_code"], 2);
}

#[test]
fn help_goes_to_stdout() {
    let run = Presencectl::line("--help").run();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.contains("--mock"), "{run}");
}

#[test]
fn without_a_command_the_first_page_is_shown() {
    let run = Presencectl::new(Vec::<&str>::new()).run();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        run.stdout,
        Presencectl::line("-h").run().stdout_of_success()
    );
    assert_eq!(run.stdout.matches("\n  presencectl ").count(), 5, "{run}");
    for page in ["help", "--help"] {
        let long = Presencectl::line(page).run().stdout_of_success();
        assert!(long.contains("PRESENCECTL_PROFILE"), "{long}");
    }
}

#[test]
fn a_word_that_is_no_flag_after_a_flag_is_no_crash() {
    for line in [
        &["mock", "log", "-f", ""][..],
        &["token", "create", "bob", "é", "--columns", "é"],
    ] {
        let _ = Presencectl::new(line).run().ended_with(2);
    }
}

#[test]
fn what_people_type_first_gets_a_tip() {
    for (line, tip) in [
        ("users", "presencectl query-users"),
        ("login", "presencectl profile add"),
        ("version", "presencectl --version"),
        ("config", "presencectl profile list"),
        ("query-users --json", "-o json"),
        ("query-users --api-key k", "STREAM_API_KEY"),
        ("query-users --secret=s", "STREAM_API_SECRET"),
        (
            "watch john",
            "presencectl watch users john, or presencectl watch channel john",
        ),
        ("wait john", "presencectl wait user john --for online"),
    ] {
        let run = Presencectl::line(line).run().ended_with(2);
        assert!(
            run.stderr.contains("  tip: use ") && run.stderr.contains(tip),
            "{run}"
        );
        let run = Presencectl::line(&format!("{line} -o json"))
            .run()
            .ended_with(2);
        let error: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
        assert!(
            error["error"]["hint"].as_str().unwrap().contains(tip),
            "{run}"
        );
    }
}

#[test]
fn man_shows_a_page_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("man");
    std::fs::write(&program, "#!/bin/sh\necho shown with $1; head -n 1 $2\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let path = std::env::var("PATH").unwrap();
    let run = Presencectl::line("man profile add")
        .env("PATH", &format!("{}:{path}", folder.path().display()))
        .run_on_terminal();
    assert!(run.stdout.contains("shown with -l"), "{run}");
    assert!(
        run.stdout.contains(".TH \"presencectl-profile-add\""),
        "{run}"
    );
    std::fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    let run = Presencectl::line("man profile add")
        .env("PATH", &format!("{}:{path}", folder.path().display()))
        .run_on_terminal();
    assert!(run.stdout.contains("--secret-command"), "{run}");
    assert!(!run.stdout.contains(".TH"), "{run}");
}
