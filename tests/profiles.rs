//! Profiles and secrets: where they are kept, what is refused, and that no secret is ever shown.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::documents::document;
use crate::support::{Presencectl, Run, binary, private_file};

const SECRET: &str = "hush-hush-4711";

/// A command that shares one home with the others of its test.
fn at(home: &Path, line: &str) -> Presencectl {
    Presencectl::line(line)
        .env("HOME", home.to_str().unwrap())
        .env("XDG_CONFIG_HOME", home.join("config").to_str().unwrap())
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
    assert_eq!(run.records()[0]["default"], true, "{run}");
    assert!(
        !run.stdout.contains(SECRET) && !run.stderr.contains(SECRET),
        "{run}"
    );
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
        assert!(
            run.stdout.contains('K') && !run.stdout.contains(SECRET),
            "{run}"
        );
        assert!(!run.stderr.contains(SECRET), "{run}");
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
    let run = at(home.path(), "token create john").run().ended_with(4);
    assert!(run.stderr.contains("chmod 600"), "{run}");
    assert!(!run.stderr.contains(SECRET), "{run}");
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
    for line in ["query-users", "token create john"] {
        let run = at(home.path(), line).run().ended_with(4);
        assert!(
            run.stderr.contains("the profile `bare`")
                && run.stderr.contains("profile add bare --api-key"),
            "{run}"
        );
    }
}

#[test]
fn a_world_writable_configuration_causes_a_warning() {
    let home = tempfile::tempdir().unwrap();
    let line = "profile add v --api-key K --secret-env MY_SECRET";
    let _ = at(home.path(), line).run().ended_with(0);
    let config = home.path().join("config/presencectl/config.toml");
    for (mode, warned) in [(0o644, false), (0o666, true)] {
        fs::set_permissions(&config, fs::Permissions::from_mode(mode)).unwrap();
        let run = at(home.path(), "token create john")
            .env("MY_SECRET", SECRET)
            .run()
            .ended_with(0);
        assert_eq!(run.stderr.contains("chmod 600"), warned, "{run}");
    }
}

#[test]
fn a_secret_can_come_from_a_command_or_a_variable() {
    let home = tempfile::tempdir().unwrap();
    let add = format!("profile add c --api-key K --secret-command 'echo {SECRET}'");
    let run = at(home.path(), &add).run().ended_with(0);
    assert!(!run.stdout.contains(SECRET), "{run}");
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
    let run = at(home.path(), "-p v token create john")
        .run()
        .ended_with(4);
    assert!(run.stderr.contains("MY_SECRET"), "{run}");
}

/// Runs the lines of the recipe. The keyrings' commands are replaced by scripts that know one secret each.
#[test]
fn a_secret_can_come_from_the_systems_keyring() {
    let home = tempfile::tempdir().unwrap();
    let recipes = document("docs/recipes.md");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", home.path().display());
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
    let run = at(home.path(), &import).run().ended_with(0);
    let records = run.records();
    assert_eq!(records.len(), 2, "{run}");
    assert_eq!(records[1]["default"], true);
    assert_eq!(records[1]["base_url"], "http://127.0.0.1:9");
    assert!(!run.stdout.contains(SECRET), "{run}");
    let again = at(home.path(), &import).run().ended_with(2);
    assert!(again.stderr.contains("--force"), "{again}");
    fs::write(&yaml, format!("apps: [{SECRET}")).unwrap();
    let broken = at(home.path(), &import).run().ended_with(2);
    assert!(!broken.stderr.contains(SECRET), "{broken}");
}

#[test]
fn a_broken_configuration_names_the_line_and_not_its_text() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config/presencectl/config.toml");
    private_file(
        &file,
        &format!("[profiles.a]\napi_key = 'k'\napi_secret = '{SECRET}\n"),
    );
    let run = at(home.path(), "profile list").run().ended_with(2);
    assert!(
        run.stderr.contains("line 3") && !run.stderr.contains(SECRET),
        "{run}"
    );
}

#[test]
fn remove_deletes_the_profile() {
    let home = tempfile::tempdir().unwrap();
    let _ = at(home.path(), "profile add a --api-key K --secret-env X")
        .run()
        .ended_with(0);
    let _ = at(home.path(), "profile remove a").run().ended_with(0);
    let run = at(home.path(), "profile show a").run().ended_with(2);
    assert!(run.stderr.contains("`a`"), "{run}");
}

/// Adds the profile `c` with this secret command, and returns what was said and what `token create` then does.
fn with_secret_command(command: &str, flags: &str) -> (Run, Run) {
    let home = tempfile::tempdir().unwrap();
    let add = at_words(
        home.path(),
        &[
            "profile",
            "add",
            "c",
            "--api-key",
            "K",
            "--secret-command",
            command,
        ],
        flags,
    )
    .run();
    let used = at_words(home.path(), &["token", "create", "john"], flags).run();
    (add, used)
}

fn at_words(home: &Path, words: &[&str], flags: &str) -> Presencectl {
    let words = words.iter().copied().chain(flags.split_whitespace());
    Presencectl::new(words)
        .env("HOME", home.to_str().unwrap())
        .env("XDG_CONFIG_HOME", home.join("config").to_str().unwrap())
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
    let (add, _) = with_secret_command("pass 'show", "");
    let add = add.ended_with(2);
    assert!(add.stderr.contains("a quote that is not closed"), "{add}");
}

#[test]
fn a_secret_command_that_fails_is_a_warning_at_first_and_then_code_4() {
    for (command, problem) in [
        (
            "false",
            "secret command `false` exited with status 1 and printed nothing",
        ),
        ("true", "secret command `true` printed nothing"),
        (
            "no-such-program show x",
            "secret command `no-such-program` cannot run: No such file",
        ),
        (
            "/etc/passwd",
            "secret command `/etc/passwd` cannot run: Permission denied",
        ),
        // It would print for ever.
        (
            "yes hush-hush-4711",
            "secret command `yes` printed more than 64 KiB",
        ),
        ("sleep 600", "secret command `sleep` did not end within 1s"),
        // The command has ended, and what it printed is complete.
        (
            "sh -c 'sleep 60 2>/dev/null & exit 3'",
            "secret command `sh` exited with status 3",
        ),
    ] {
        let (add, used) = with_secret_command(command, "--timeout 1s");
        let add = add.ended_with(0);
        assert!(add.stderr.contains(&format!("warning: {problem}")), "{add}");
        assert!(add.stderr.contains("saved all the same"), "{add}");
        let used = used.ended_with(4);
        assert!(used.stderr.contains(problem), "{used}");
        assert!(!used.to_string().contains(SECRET), "{used}");
    }
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
    let run =
        at(home.path(), "profile add").run_on_terminal_with(&format!("prod\nKEY\n{SECRET}\n"));
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
    let run = at(home.path(), "profile add").run().ended_with(2);
    assert_eq!(
        run.stderr,
        "presencectl: missing argument: NAME\n\
         hint: presencectl profile add NAME --api-key KEY --secret-file FILE\n"
    );
}

/// In a user namespace of its own, where this process may mount, and is root.
fn in_a_namespace(script: &str) -> Option<std::process::Output> {
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec", script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PRESENCECTL", crate::support::binary())
        .output();
    let allowed = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        crate::support::skip("mounted secrets: unshare is not allowed here");
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
