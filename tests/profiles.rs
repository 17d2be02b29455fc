//! Profiles and secrets: where they are kept, what is refused, and that no secret is ever shown.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::documents::document;
use crate::support::{Presencectl, Run, binary, private_file, search_path, skip, transcript};

const SECRET: &str = "hush-hush-4711";

/// A command that shares one home with the others of its test.
fn at(home: &Path, line: &str) -> Presencectl {
    in_home(home, Presencectl::line(line))
}

fn in_home(home: &Path, command: Presencectl) -> Presencectl {
    command
        .env("HOME", home.to_str().unwrap())
        .env("XDG_CONFIG_HOME", home.join("config").to_str().unwrap())
}

/// What a run showed, with another name for the folder of the test. No secret is in it.
#[track_caller]
fn shown(home: &Path, run: &Run) -> String {
    let text = run.to_string();
    assert!(!text.contains(SECRET), "{text}");
    text.replace(home.to_str().unwrap(), "HOME")
}

#[test]
fn a_profile_signs_tokens_and_never_shows_its_secret() {
    let home = tempfile::tempdir().unwrap();
    let run = at(
        home.path(),
        "profile add prod --api-key K --secret-stdin --observer eye",
    )
    .run_with(&format!("{SECRET}\n"))
    .ended_with(0);
    insta::assert_snapshot!(shown(home.path(), &run), @r#"
    {"name":"prod","default":true,"api_key":"K","secret":"in the configuration file","base_url":"https://chat.stream-io-api.com","observer":"eye","protected":false}
    --- stderr
    presencectl: profile `prod` written to HOME/config/presencectl/config.toml
    --- exit Some(0)
    "#);
    let file = home.path().join("config/presencectl/config.toml");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let token = at(home.path(), "token create john")
        .run()
        .stdout_of_success();
    let verified = at(home.path(), "token verify -")
        .run_with(&token)
        .ended_with(0);
    assert_eq!(verified.records()[0]["user_id"], "john");
    for line in [
        "profile show",
        "profile list",
        "profile show prod -o table",
        "profile list -vv -o json",
    ] {
        let run = at(home.path(), line).run().ended_with(0);
        assert!(shown(home.path(), &run).contains('K'), "{run}");
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let secret = home.path().join("secret");
    private_file(&secret, SECRET);
    let add = format!(
        "profile add p --api-key K --secret-file {}",
        secret.display()
    );
    let _ = at(home.path(), &add).run().ended_with(0);
    let _ = at(home.path(), "token create john").run().ended_with(0);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let run = at(home.path(), "token create john").run();
    insta::assert_snapshot!(shown(home.path(), &run), @r"
    --- stderr
    presencectl: HOME/secret has a secret, and others can read it (mode 0644)
    hint: chmod 600 HOME/secret
    --- exit Some(4)
    ");
}

#[test]
fn a_profile_without_a_secret_is_named() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config/presencectl/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    private_file(
        &config,
        "default_profile = 'bare'\n[profiles.bare]\napi_key = 'K'\n",
    );
    let lines = ["query-users", "token create john"];
    insta::assert_snapshot!(transcript(lines, |line| at(home.path(), line).run()), @r"
    $ query-users
    2> presencectl: the profile `bare` has no API secret
    2> hint: presencectl profile add bare --api-key K --secret-file FILE --force; or act as a user: set PRESENCECTL_USER_TOKEN
    exit 4
    $ token create john
    2> presencectl: the profile `bare` has no API secret
    2> hint: presencectl profile add bare --api-key K --secret-file FILE --force; or act as a user: set PRESENCECTL_USER_TOKEN
    exit 4
    ");
}

#[test]
fn a_world_writable_configuration_causes_a_warning() {
    let home = tempfile::tempdir().unwrap();
    let line = "profile add v --api-key K --secret-env MY_SECRET";
    let _ = at(home.path(), line).run().ended_with(0);
    let config = home.path().join("config/presencectl/config.toml");
    let warning_at = |mode: u32| {
        fs::set_permissions(&config, fs::Permissions::from_mode(mode)).unwrap();
        let create = at(home.path(), "token create john").env("MY_SECRET", SECRET);
        let run = create.run().ended_with(0);
        run.stderr.replace(home.path().to_str().unwrap(), "HOME")
    };
    assert_eq!(warning_at(0o644), "");
    insta::assert_snapshot!(warning_at(0o666), @"presencectl: warning: anybody on this machine may write the configuration HOME/config/presencectl/config.toml, and so run commands as you: chmod 600 HOME/config/presencectl/config.toml");
}

#[test]
fn a_secret_can_come_from_a_command_or_a_variable() {
    let home = tempfile::tempdir().unwrap();
    let add = format!("profile add c --api-key K --secret-command 'echo {SECRET}'");
    insta::assert_snapshot!(shown(home.path(), &at(home.path(), &add).run()), @r#"
    {"name":"c","default":true,"api_key":"K","secret":"by the command echo","base_url":"https://chat.stream-io-api.com","observer":null,"protected":false}
    --- stderr
    presencectl: profile `c` written to HOME/config/presencectl/config.toml
    --- exit Some(0)
    "#);
    let _ = at(
        home.path(),
        "profile add v --api-key K --secret-env MY_SECRET",
    )
    .run()
    .ended_with(0);
    let by_command = at(home.path(), "-p c token create john")
        .run()
        .stdout_of_success();
    let by_variable = at(home.path(), "-p v token create john")
        .env("MY_SECRET", SECRET)
        .run()
        .stdout_of_success();
    assert_eq!(by_command, by_variable);
    insta::assert_snapshot!(at(home.path(), "-p v token create john").run(), @r"
    --- stderr
    presencectl: the variable MY_SECRET, which has the profile's secret, is not set
    --- exit Some(4)
    ");
}

/// Runs the lines of the recipe. The keyrings' commands are replaced by scripts that know one secret each.
#[test]
fn a_secret_can_come_from_the_systems_keyring() {
    let home = tempfile::tempdir().unwrap();
    let recipes = document("docs/recipes.md");
    let path = search_path(home.path()).into_string().unwrap();
    for (name, words, profile) in [
        ("secret-tool", "lookup stream prod", "prod"),
        ("security", "find-generic-password -w -s stream", "mac"),
    ] {
        let program = home.path().join(name);
        let script = format!("#!/bin/sh\n[ \"$*\" = '{words}' ] && echo {SECRET}\n");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let line = recipes
            .lines()
            .filter_map(|line| line.strip_prefix("presencectl "))
            .find(|line| line.contains(&format!("--secret-command '{name} ")))
            .unwrap();
        let run = at(home.path(), line).env("PATH", &path).run().ended_with(0);
        assert!(!run.to_string().contains(SECRET), "{run}");
        let token = at(home.path(), &format!("-p {profile} token create john"))
            .env("PATH", &path)
            .run()
            .stdout_of_success();
        let signed = Presencectl::line("token create john")
            .env("STREAM_API_SECRET", SECRET)
            .run()
            .stdout_of_success();
        assert_eq!(token, signed);
    }
}

#[test]
fn the_vendors_configuration_is_imported_completely_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let yaml = home.path().join("config.yml");
    fs::write(
        &yaml,
        format!(
            "apps:\n- access-key: k1\n  access-secret-key: {SECRET}\n  chat-url: https://chat.stream-io-api.com\n  name: one\n\
             - access-key: k2\n  access-secret-key: s2\n  chat-url: http://127.0.0.1:9\n  name: two\ndefault: two\n"
        ),
    )
    .unwrap();
    let import = format!("profile import {}", yaml.display());
    let run = || shown(home.path(), &at(home.path(), &import).run());
    insta::assert_snapshot!(run(), @r#"
    {"name":"one","default":false,"api_key":"k1","secret":"in the configuration file","base_url":"https://chat.stream-io-api.com","observer":null,"protected":false}
    {"name":"two","default":true,"api_key":"k2","secret":"in the configuration file","base_url":"http://127.0.0.1:9","observer":null,"protected":false}
    --- stderr
    --- exit Some(0)
    "#);
    insta::assert_snapshot!(run(), @r"
    --- stderr
    presencectl: there is a profile `one` already
    hint: replace it with --force
    --- exit Some(2)
    ");
    fs::write(&yaml, format!("apps: [{SECRET}")).unwrap();
    insta::assert_snapshot!(run(), @r"
    --- stderr
    presencectl: HOME/config.yml is not a configuration of stream-cli
    hint: expected a list `apps:` whose items have name, access-key and access-secret-key
    --- exit Some(2)
    ");
}

#[test]
fn a_broken_configuration_names_the_line_and_not_its_text() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config/presencectl/config.toml");
    private_file(
        &file,
        &format!("[profiles.a]\napi_key = 'k'\napi_secret = '{SECRET}\n"),
    );
    let run = at(home.path(), "profile list").run();
    insta::assert_snapshot!(shown(home.path(), &run), @r"
    --- stderr
    presencectl: the configuration HOME/config/presencectl/config.toml is invalid at line 3: invalid literal string, expected `'`
    --- exit Some(2)
    ");
}

#[test]
fn remove_deletes_the_profile() {
    let home = tempfile::tempdir().unwrap();
    let _ = at(home.path(), "profile add a --api-key K --secret-env X")
        .run()
        .ended_with(0);
    let _ = at(home.path(), "profile remove a").run().ended_with(0);
    insta::assert_snapshot!(at(home.path(), "profile show a").run(), @r"
    --- stderr
    presencectl: there is no profile `a`
    hint: add one: presencectl profile add NAME --api-key KEY --secret-file FILE
    --- exit Some(2)
    ");
}

/// Adds the profile `c` with this secret command, and returns what was said and what `token create` then does.
fn with_secret_command(command: &str, flags: &str) -> (Run, Run) {
    let home = tempfile::tempdir().unwrap();
    let add = "profile add c --api-key K --secret-command".split(' ');
    let run = |words: Vec<&str>| {
        let words = words.into_iter().chain(flags.split_whitespace());
        in_home(home.path(), Presencectl::new(words)).run()
    };
    let add = run(add.chain([command]).collect());
    (add, run(vec!["token", "create", "john"]))
}

#[test]
fn a_secret_command_is_split_like_a_shell_does() {
    for command in [
        &format!("echo {SECRET}"),
        &format!("sh -c 'echo \"$0\"; echo more' {SECRET}"),
        &format!("printf '%s\\r\\n' \"{SECRET}\""),
    ] {
        let (add, used) = with_secret_command(command, "");
        assert!(!add.ended_with(0).stderr.contains("warning"), "{command}");
        let signed = Presencectl::line("token create john")
            .env("STREAM_API_SECRET", SECRET)
            .run();
        assert_eq!(used.stdout_of_success(), signed.stdout, "{command}");
    }
    insta::assert_snapshot!(with_secret_command("pass 'show", "").0, @r"
    --- stderr
    presencectl: the secret command has a quote that is not closed
    --- exit Some(2)
    ");
}

#[test]
fn a_secret_command_that_fails_is_a_warning_at_first_and_then_code_4() {
    let mut problems = Vec::new();
    for (command, flags) in [
        ("false", ""),
        ("true", ""),
        ("no-such-program show x", ""),
        ("/etc/passwd", ""),
        // It would print for ever.
        ("yes hush-hush-4711", ""),
        ("sleep 600", "--timeout 100ms"),
        // The command has ended, and what it printed is complete, although its child keeps the pipe open.
        ("sh -c 'sleep 120 2>/dev/null & exit 3'", "--timeout 1m"),
    ] {
        let (add, used) = with_secret_command(command, flags);
        let (add, used) = (add.ended_with(0), used.ended_with(4));
        assert!(!format!("{add}{used}").contains(SECRET), "{add}\n{used}");
        let problem = used.stderr.lines().next().unwrap();
        let problem = problem.strip_prefix("presencectl: ").unwrap().to_owned();
        let warning = add.stderr.replace(&problem, "PROBLEM");
        assert!(
            warning.contains("warning: PROBLEM") && warning.contains("saved all the same"),
            "{add}"
        );
        problems.push(problem);
    }
    insta::assert_snapshot!(problems.join("\n"), @r"
    secret command `false` exited with status 1 and printed nothing
    secret command `true` printed nothing
    secret command `no-such-program` cannot run: No such file or directory (os error 2)
    secret command `/etc/passwd` cannot run: Permission denied (os error 13)
    secret command `yes` printed more than 64 KiB
    secret command `sleep` did not end within 100ms
    secret command `sh` exited with status 3 and printed nothing
    ");
}

#[test]
fn a_secret_is_read_although_another_process_keeps_the_pipe_open() {
    let home = tempfile::tempdir().unwrap();
    let command = format!(
        "sh -c 'sleep 60 2>/dev/null & echo {SECRET}; echo $! > {}'",
        home.path().join("pid").display()
    );
    let (add, used) = with_secret_command(&command, "");
    assert!(!add.ended_with(0).stderr.contains("warning"));
    let _ = used.stdout_of_success();
    let pid = fs::read_to_string(home.path().join("pid")).unwrap();
    // The one of the second run; that of the first ends by itself.
    let _ = std::process::Command::new("kill").arg(pid.trim()).status();
}

#[test]
fn a_profile_that_stores_the_command_as_a_list_still_loads() {
    let home = tempfile::tempdir().unwrap();
    private_file(
        &home.path().join("config/presencectl/config.toml"),
        &format!(
            "default_profile = 'a'\n[profiles.a]\napi_key = 'k'\napi_secret_command = ['echo', '{SECRET}']\n"
        ),
    );
    let _ = at(home.path(), "token create john")
        .run()
        .stdout_of_success();
    let _ = at(home.path(), "profile add b --api-key k")
        .run()
        .ended_with(0);
    let _ = at(home.path(), "token create john")
        .run()
        .stdout_of_success();
}

#[test]
fn on_a_terminal_profile_add_asks_for_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let asked = at(home.path(), "profile add");
    let run = asked.run_on_terminal_with(&format!("prod\nKEY\n{SECRET}\n"));
    for prompt in [
        "Name of the profile: ",
        "API key: ",
        "API secret (not shown; Enter for none): ",
    ] {
        assert!(run.stdout.contains(prompt), "{run}");
    }
    assert_eq!(run.code, Some(0), "{run}");
    let shown = at(home.path(), "profile show prod").run().ended_with(0);
    assert_eq!(shown.records()[0]["api_key"], "KEY", "{shown}");
    let signed = Presencectl::line("token create john")
        .env("STREAM_API_SECRET", SECRET)
        .run();
    let token = at(home.path(), "token create john").run();
    assert_eq!(token.stdout_of_success(), signed.stdout);
    insta::assert_snapshot!(at(home.path(), "profile add").run(), @r"
    --- stderr
    presencectl: missing argument: NAME
    hint: presencectl profile add NAME --api-key KEY --secret-file FILE
    --- exit Some(2)
    ");
}

/// In a user namespace of its own, where this process may mount, and is root.
fn in_a_namespace(script: &str) -> Option<std::process::Output> {
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec", script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PRESENCECTL", binary())
        .output();
    let allowed = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        skip("mounted secrets: unshare is not allowed here");
        return None;
    }
    output.ok()
}

#[test]
fn secrets_that_a_container_mounts_are_accepted_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}
        mkdir mounted writable
        mount -t tmpfs tmpfs mounted
        echo s > mounted/secret; echo s > writable/secret
        chmod 0440 mounted/secret writable/secret
        mount -o remount,ro mounted
        for file in mounted writable; do
            $PRESENCECTL --config $file.toml profile add p --api-key K --secret-file $file/secret >/dev/null 2>&1 || true
            $PRESENCECTL --config $file.toml token create john > /dev/null || echo \"code $?\" >&2
        done",
        folder.path().display()
    );
    let Some(output) = in_a_namespace(&script) else {
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr = stderr.replace(folder.path().to_str().unwrap(), "");
    insta::assert_snapshot!(stderr, @r"
    presencectl: warning: /mounted/secret has a secret, and others can read it (mode 0440); mount it with mode 0400
    presencectl: /writable/secret has a secret, and others can read it (mode 0440)
    hint: chmod 600 /writable/secret
    code 4
    ");
}

#[test]
fn a_killed_profile_add_leaves_nothing_that_the_next_one_does_not_remove() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("config/presencectl");
    let (file, temporary) = (folder.join("config.toml"), folder.join(".config.toml.tmp"));
    let add = |name: &str| format!("profile add {name} --api-key K --secret-env S");
    let _ = at(home.path(), &add("first")).run().ended_with(0);
    // A long file takes long to write.
    let mut text = fs::read_to_string(&file).unwrap();
    for n in 0..20_000 {
        writeln!(text, "[profiles.p{n}]\napi_key = \"K\"").unwrap();
    }
    fs::write(&file, text).unwrap();
    for attempt in 0..3 {
        let mut command = std::process::Command::new(binary());
        let mut child = command
            .env_clear()
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", home.path().join("config"))
            .args(add(&format!("killed{attempt}")).split(' '))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            if temporary.exists() {
                child.kill().unwrap();
            }
        }
    }
    let _ = at(home.path(), &add("last")).run().ended_with(0);
    let names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["config.toml"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("[profiles.first]") && text.contains("[profiles.last]"));
}
