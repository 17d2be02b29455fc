//! Profiles and secrets: where they are kept, what is refused, and that no secret is ever shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::documents::document;
use crate::support::{Presencectl, private_file};

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
    let add = format!("profile add c --api-key K --secret-command echo --secret-command {SECRET}");
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
            .find(|line| line.contains(&format!("--secret-command {name} ")))
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
