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
