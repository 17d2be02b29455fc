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
