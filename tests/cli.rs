//! The command line itself: usage errors, help, and what happens without credentials.

use crate::support::{Presencectl, search_path, transcript};

fn run(line: &str) -> crate::support::Run {
    Presencectl::line(line).run()
}

#[test]
fn bad_usage_exits_with_2_and_names_the_flag() {
    let lines = ["token create --nope", "token create --nope -o json"];
    insta::assert_snapshot!(transcript(lines, run), @r#"
    $ token create --nope
    2> error: unexpected argument '--nope' found
    2> 
    2>   tip: to pass '--nope' as a value, use '-- --nope'
    2> 
    2> Usage: presencectl token create [OPTIONS] <ID>
    2> 
    2> For more information, try '--help'.
    exit 2
    $ token create --nope -o json
    2> {"error":{"kind":"usage","message":"unexpected argument '--nope' found","exit_code":2,"api_code":null,"hint":"to pass '--nope' as a value, use '-- --nope'"}}
    exit 2
    "#);
}

#[test]
fn help_goes_to_stdout() {
    assert!(run("--help").stdout_of_success().contains("--mock"));
}

#[test]
fn without_a_command_the_first_page_is_shown() {
    let page = run("").stdout_of_success();
    assert_eq!(page, run("-h").stdout_of_success());
    assert_eq!(page.matches("\n  presencectl ").count(), 5, "{page}");
    for page in ["help", "--help"] {
        let long = run(page).stdout_of_success();
        assert!(long.contains("PRESENCECTL_PROFILE"), "{long}");
    }
}

#[test]
fn a_word_that_is_no_flag_after_a_flag_is_no_crash() {
    let lines = ["mock log -f ''", "token create bob é --columns é"];
    insta::assert_snapshot!(transcript(lines, run), @r"
    $ mock log -f ''
    2> error: unexpected argument '' found
    2> 
    2> Usage: presencectl mock log [OPTIONS]
    2> 
    2> For more information, try '--help'.
    exit 2
    $ token create bob é --columns é
    2> error: unexpected argument 'é' found
    2> 
    2> Usage: presencectl token create [OPTIONS] <ID>
    2> 
    2> For more information, try '--help'.
    exit 2
    ");
}

#[test]
fn what_people_type_first_gets_a_tip() {
    let tips = [
        "users",
        "login",
        "version",
        "config",
        "query-users --json",
        "query-users --api-key k",
        "query-users --secret=s",
        "watch john",
        "wait john",
    ]
    .map(|line| {
        let people = run(line).ended_with(2);
        let json = run(&format!("{line} -o json")).ended_with(2);
        let (_, tip) = people.stderr.split_once("  tip: ").expect("a tip");
        let tip = tip.lines().next().unwrap();
        let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
        assert_eq!(error["error"]["hint"], tip, "{line}");
        format!("{line}: {tip}")
    });
    insta::assert_snapshot!(tips.join("\n"), @r"
    users: use presencectl query-users
    login: use presencectl profile add
    version: use presencectl --version
    config: use presencectl profile list, presencectl help environment
    query-users --json: use -o json, or -o ndjson
    query-users --api-key k: use the variable STREAM_API_KEY, or presencectl profile add NAME --api-key KEY
    query-users --secret=s: use the variable STREAM_API_SECRET, or presencectl profile add; a secret is never an argument
    watch john: use presencectl watch users john, or presencectl watch channel john
    wait john: use presencectl wait user john --for online
    ");
}

#[test]
fn man_shows_a_page_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("man");
    let path = search_path(folder.path()).into_string().unwrap();
    let page_with = |script: &str| {
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let run = Presencectl::line("man profile add").env("PATH", &path);
        run.run_on_terminal().ended_with(0).stdout
    };
    let page = page_with("echo shown with $1; head -n 1 $2");
    assert!(
        page.starts_with("shown with -l\r\n.TH \"presencectl-profile-add\""),
        "{page}"
    );
    let page = page_with("exit 1");
    assert!(
        page.contains("--secret-command") && !page.contains(".TH"),
        "{page}"
    );
}
