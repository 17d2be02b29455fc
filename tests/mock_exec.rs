//! `mock exec` as a process: its command's environment, signals, exit code and process group.

use std::fs;
use std::path::Path;

use crate::sdk_suites::install_node_modules;
use crate::support::{Presencectl, binary, skip_outside_ci, wait_until};

fn exec(words: &[&str]) -> Presencectl {
    Presencectl::new(["mock", "exec", "--"].iter().chain(words))
}

/// Whether a process is running: a zombie, which nobody may have waited for in a container, is not.
fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat[stat.rfind(')').unwrap_or(0)..].starts_with(") Z"))
}

#[track_caller]
fn ends(pid: &str) {
    wait_until(&format!("process {pid} has ended"), || !is_alive(pid));
}

#[test]
fn a_command_runs_against_a_server_and_its_exit_code_is_passed_on() {
    let script = "presencectl() { \"$0\" \"$@\"; }; presencectl set-user john >/dev/null && presencectl query-users --jq .id; exit 7";
    let run = exec(&["sh", "-c", script, binary().to_str().unwrap()])
        .run()
        .ended_with(7);
    assert_eq!(run.stdout, "john\n", "{run}");
    let killed = exec(&["sh", "-c", "kill -KILL $$"]).run();
    assert_eq!(killed.code, Some(137), "{killed}");
}

#[test]
fn a_command_that_is_missing_or_not_executable_has_an_exit_code_of_its_own() {
    let run = exec(&["no-such-program"]).run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: cannot run no-such-program: No such file or directory (os error 2)
    --- exit Some(127)
    ");
    let run = exec(&["/etc/passwd"]).run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: cannot run /etc/passwd: Permission denied (os error 13)
    --- exit Some(126)
    ");
    let run = Presencectl::line("mock exec -o json -- no-such-program").run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    {"error":{"kind":"command_not_found","message":"cannot run no-such-program: No such file or directory (os error 2)","exit_code":127,"api_code":null,"hint":null}}
    --- exit Some(127)
    "#);
}

#[test]
fn timeout_ends_the_command_and_what_it_has_started() {
    // `sleep` holds stdout open: the output ends when it is dead.
    let script = "sleep 6000 & wait";
    let words = "mock exec --timeout 300ms -- sh -c".split(' ');
    insta::assert_snapshot!(Presencectl::new(words.chain([script])).run(), @r"
    --- stderr
    presencectl: the command did not end in time
    hint: give it more time with --timeout
    --- exit Some(124)
    ");
}

#[test]
fn a_command_without_two_dashes_has_a_hint() {
    let run = Presencectl::line("mock exec --port 0 sh -c 'exit 3'").run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    error: unexpected argument 'sh' found

      tip: write -- before the command: presencectl mock exec [OPTIONS] -- sh

    For more information, try '--help'.
    --- exit Some(2)
    ");
    insta::assert_snapshot!(Presencectl::line("mock exec").run(), @r"
    --- stderr
    error: the following required arguments were not provided:
      <COMMAND>...

    Usage: presencectl mock exec [OPTIONS] -- COMMAND...

    For more information, try '--help'.
    --- exit Some(2)
    ");
}

#[test]
fn signals_reach_the_whole_command_which_may_clean_up() {
    for (signal, code) in [("TERM", 3), ("INT", 4), ("HUP", 5)] {
        let script = format!("trap 'echo bye; exit {code}' {signal}; sleep 600 & echo $!; wait");
        let mut server = exec(&["sh", "-c", &script]).stream();
        let sleep = server.line();
        server.signal(signal);
        let (rest, status) = server.end();
        assert_eq!(rest, ["bye"], "{signal}");
        assert_eq!(status.code(), Some(code), "{signal}");
        ends(&sleep);
    }
}

#[test]
fn what_the_command_leaves_behind_is_killed() {
    // It ignores what would end it politely, and holds none of our pipes.
    let script = "(trap '' TERM HUP INT; exec sleep 600) >/dev/null 2>&1 </dev/null & echo $!";
    let run = exec(&["sh", "-c", script]).run().ended_with(0);
    ends(run.stdout.trim());
}

#[cfg(target_os = "linux")]
#[test]
fn the_command_does_not_survive_a_killed_exec() {
    // A process of the command holds none of our pipes, so that nothing else ends it.
    let script = "sleep 600 >/dev/null 2>&1 </dev/null & echo $!; echo $$; exec sleep 600";
    let mut server = exec(&["sh", "-c", script]).stream();
    let processes = [server.line(), server.line()];
    for process in &processes {
        assert!(is_alive(process));
    }
    server.signal("KILL");
    let _ = server.end();
    for process in &processes {
        ends(process);
    }
}

#[test]
fn on_a_terminal_the_command_stays_in_the_foreground() {
    // A process in a background group that opens the terminal for reading would be stopped.
    let run = exec(&["sh", "-c", "ps -o pgid= -p $$; ps -o tpgid= -p $$"]).run_on_terminal();
    let groups: Vec<&str> = run.stdout.split_whitespace().collect();
    assert!(
        matches!(groups[..], [own, foreground] if own == foreground),
        "{run}"
    );
    let run = exec(&["sh", "-c", "ps -o pgid= -p $$; echo $$"])
        .run()
        .ended_with(0);
    let groups: Vec<&str> = run.stdout.split_whitespace().collect();
    assert!(matches!(groups[..], [group, pid] if group == pid), "{run}");
}

#[test]
fn proxies_are_not_used_for_the_server() {
    let run = exec(&["sh", "-c", "echo $NO_PROXY $no_proxy"])
        .env("no_proxy", "corp.example")
        .env("http_proxy", "http://127.0.0.1:1")
        .run()
        .ended_with(0);
    let list = "corp.example,127.0.0.1,localhost,::1";
    assert_eq!(run.stdout, format!("{list} {list}\n"), "{run}");
    if cfg!(target_os = "linux") {
        // Another address of loopback, which other systems do not answer on.
        let words = "mock exec --host 127.0.0.2 -- sh -c".split(' ');
        let run = Presencectl::new(words.chain(["echo $NO_PROXY"]))
            .run()
            .ended_with(0);
        assert_eq!(run.stdout, "127.0.0.1,localhost,::1,127.0.0.2\n", "{run}");
    }
}

#[test]
fn an_unchanged_script_with_the_javascript_client_reaches_the_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/js");
    if let Err(missing) = install_node_modules(&folder) {
        return skip_outside_ci("the script with stream-chat", missing);
    }
    let load = format!(
        "const {{ StreamChat }} = require('module').createRequire({:?})('stream-chat');",
        folder.join("any.js")
    );
    let server_side = format!(
        "{load}
        const client = StreamChat.getInstance(process.env.STREAM_API_KEY, process.env.STREAM_API_SECRET);
        client.upsertUser({{ id: 'john' }}).then(({{ users }}) => console.log(Object.keys(users)[0]));"
    );
    let run = exec(&["node", "-e", &server_side]).run().ended_with(0);
    assert_eq!(run.stdout, "john\n", "{run}");
    let client_side = format!(
        "{load}
        const client = StreamChat.getInstance(process.env.STREAM_API_KEY);
        client.connectUser({{ id: 'amy' }}, client.devToken('amy')).then(({{ me }}) => {{
            console.log(me.id, me.online);
            return client.disconnectUser();
        }});"
    );
    let words = [
        "mock",
        "exec",
        "--development-tokens=true",
        "--",
        "node",
        "-e",
    ];
    let run = Presencectl::new(words.into_iter().chain([client_side.as_str()]))
        .run()
        .ended_with(0);
    assert_eq!(run.stdout, "amy true\n", "{run}");
}
