//! What packages, images and workflows install and run: every file that they name is there or is made by the binary, and
//! lands where it is looked for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::larger::tool;
use crate::recipes::{Machine, assert_success, which};
use crate::support::{Presencectl, binary, skip};

/// Where things are looked for, by the file that goes there.
const PLACES: [(&str, &str); 5] = [
    ("target/release/presencectl", "usr/bin/"),
    ("target/man/*.1", "usr/share/man/man1/"),
    (
        "completions/presencectl.bash",
        "usr/share/bash-completion/completions/presencectl",
    ),
    (
        "completions/_presencectl",
        "usr/share/zsh/vendor-completions/_presencectl",
    ),
    (
        "completions/presencectl.fish",
        "usr/share/fish/vendor_completions.d/presencectl.fish",
    ),
];

fn manifest() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn the_debian_package_has_everything_in_its_place() {
    let manifest = manifest();
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets: Vec<Vec<&str>> = deb["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| {
            let words = asset.as_array().unwrap().iter();
            words.map(|word| word.as_str().unwrap()).collect()
        })
        .collect();
    for (file, place) in PLACES {
        assert!(
            assets
                .iter()
                .any(|asset| asset[0] == file && asset[1] == place),
            "{file} does not go to {place}"
        );
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for asset in assets
        .iter()
        .filter(|asset| !asset[0].starts_with("target/"))
    {
        let path = root.join(asset[0].trim_end_matches("*.md").trim_end_matches('*'));
        assert!(path.exists(), "{} is missing", asset[0]);
    }
    assert!(
        root.join(deb["license-file"][0].as_str().unwrap())
            .is_file()
    );
}

#[test]
fn a_packed_crate_has_what_the_build_reads() {
    let manifest = manifest();
    let include: Vec<&str> = manifest["package"]["include"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| path.as_str().unwrap())
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in include.iter().filter(|path| !path.starts_with('!')) {
        assert!(root.join(path.trim_start_matches('/')).exists(), "{path}");
    }
    for needed in ["/src", "/build.rs", "/LICENSE", "/README.md"] {
        assert!(include.contains(&needed), "{needed}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("man --dir {}/new/man1", folder.path().display());
    let dry = Presencectl::line(&format!("{line} --dry-run"))
        .run()
        .ended_with(0);
    assert!(dry.stderr.contains("new/man1 is left as it is"), "{dry}");
    assert!(!folder.path().join("new").exists());
    let _ = Presencectl::line(&line).run().ended_with(0);
    let page = |name: &str| {
        let path = folder.path().join("new/man1").join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    assert!(page("presencectl.1").contains(".SH \"EXIT STATUS\""));
    for name in [
        "presencectl-set-user.1",
        "presencectl-profile-add.1",
        "presencectl-mock-start.1",
        "presencectl-man.1",
    ] {
        assert!(page(name).contains(".SH SYNOPSIS"), "{name}");
    }
    let one = Presencectl::line("man profile add")
        .run()
        .stdout_of_success();
    assert_eq!(one, page("presencectl-profile-add.1"));
    let _ = Presencectl::line("man profile ad").run().ended_with(2);
}

#[test]
fn the_version_is_the_packages_with_the_commit_if_the_build_knows_it() {
    // The build script sets this variable where it knows the commit.
    let known = option_env!("PRESENCECTL_VERSION").unwrap_or(env!("CARGO_PKG_VERSION"));
    let version = Presencectl::line("--version").run().stdout_of_success();
    assert_eq!(version, format!("presencectl {known}\n"));
}

/// A file of the project.
fn project_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&project_file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The arguments of an instruction of the Dockerfile that has a JSON array.
fn instruction(name: &str) -> Vec<String> {
    let text = project_file("Dockerfile");
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap()
}

/// What the image starts, and its health check, with the binary under test.
#[test]
fn the_image_starts_a_server_that_is_healthy() {
    let text = project_file("Dockerfile");
    assert!(text.contains("\nFROM scratch\n") && text.contains("\nUSER 65534:65534\n"));
    let program = instruction("ENTRYPOINT");
    assert_eq!(program, ["/presencectl"]);
    let mut words = instruction("CMD");
    let port = words.last_mut().unwrap();
    assert!(text.contains(&format!("\nEXPOSE {port}\n")), "{port}");
    assert!(text.contains(&format!("PRESENCECTL_BASE_URL=http://127.0.0.1:{port}\n")));
    *port = "0".to_owned();
    let mut server = Presencectl::new(&words).stream();
    let url = server.record()["url"].as_str().unwrap().to_owned();
    let check = instruction("HEALTHCHECK");
    assert_eq!(check[0], program[0]);
    let _ = Presencectl::new(&check[1..])
        .env("PRESENCECTL_BASE_URL", &url)
        .run()
        .ended_with(0);
    server.signal("TERM");
    let _ = server.end();
}

/// The build sees the folders and files that the crate is built from, and nothing else.
#[test]
fn the_images_context_is_what_the_build_reads() {
    let ignored = project_file(".dockerignore");
    let lines: Vec<_> = ignored
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(
        lines,
        ["*", "!build.rs", "!Cargo.lock", "!Cargo.toml", "!src"]
    );
}

#[test]
fn the_versions_agree() {
    let version = env!("CARGO_PKG_VERSION");
    let pods = project_file("docs/examples/kubernetes.yaml");
    let images: Vec<_> = pods
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "))
        .collect();
    let image = format!("presencectl:{version}");
    assert_eq!(images, [&image, &image]);
    let repository = manifest()["package"]["repository"]
        .as_str()
        .unwrap()
        .to_owned();
    let formula = project_file("Formula/presencectl.rb");
    assert!(formula.contains(&format!("homepage \"{repository}\"")));
    assert!(formula.contains(&format!("head \"{repository}.git\"")));
}

/// The shell scripts of a workflow or an action, with the names of their steps.
fn scripts(file: &Value) -> Vec<String> {
    let mut scripts = Vec::new();
    match file {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(script) if name == "run" => scripts.push(script.to_owned()),
                    _ => scripts.extend(self::scripts(value)),
                }
            }
        }
        Value::Array(values) => scripts.extend(values.iter().flat_map(self::scripts)),
        _ => {}
    }
    scripts
}

#[test]
fn the_scripts_of_workflows_are_scripts() {
    for (name, count) in [
        ("action.yml", 2),
        (".github/workflows/ci.yml", 2),
        (".github/workflows/release.yml", 10),
    ] {
        let scripts = scripts(&yaml(name));
        assert_eq!(scripts.len(), count, "{name}");
        for script in scripts {
            // Values reach a script by its environment: an expression in it would be run as code.
            assert!(!script.contains("${{"), "{name}: {script}");
            let output = Command::new("bash")
                .args(["-n", "-c", &script])
                .output()
                .unwrap();
            assert!(output.status.success(), "{name}: {script}\n{output:?}");
        }
    }
}

/// Runs the steps of the action as a runner does. `gh` and `cargo` have stand-ins: the one has a release or not, the other
/// takes exactly the words of the action.
#[test]
fn the_action_installs_and_starts_the_mock() {
    let action = yaml("action.yml");
    let steps = action["runs"]["steps"].as_array().unwrap();
    for has_release in [false, true] {
        let machine = Machine::new();
        let runner = machine.path("runner");
        fs::create_dir(&runner).unwrap();
        fs::write(machine.path("world.json"), r#"{"users": [{"id": "amy"}]}"#).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let archive = format!("presencectl-{version}-x86_64-unknown-linux-musl");
        let release = machine.path(&archive);
        fs::create_dir(&release).unwrap();
        symlink(binary(), release.join("presencectl")).unwrap();
        let root = env!("CARGO_MANIFEST_DIR");
        machine.program(
            "cargo",
            &format!(
                "[ \"$*\" = 'install --locked --path {root} --root {runner}/presencectl' ] && ln -s {binary} {runner}/presencectl/bin/presencectl",
                runner = runner.display(),
                binary = binary().display()
            ),
        );
        machine.program(
            "gh",
            &format!(
                "[ \"$*\" = 'release download v{version} --repo o/r --dir {runner}/presencectl --pattern {archive}.tar.gz --pattern SHA256SUMS' ] || exit 1
                cd {home} && tar -czf {runner}/presencectl/{archive}.tar.gz {archive}
                cd {runner}/presencectl && sha256sum {archive}.tar.gz > SHA256SUMS",
                runner = runner.display(),
                home = machine.path(".").display()
            ),
        );
        let inputs = |name: &str| match name {
            "fixture" => "world.json",
            "port" => "0",
            "api-key" => "test-key",
            _ => panic!("{name}"),
        };
        let reference = if has_release {
            format!("v{version}")
        } else {
            "main".to_owned()
        };
        let mut path = std::env::var("PATH").unwrap();
        for step in steps {
            let mut shell = machine.shell(&path);
            for (name, value) in step["env"].as_object().unwrap() {
                let expression = value.as_str().unwrap();
                let expression = expression
                    .trim_start_matches("${{ ")
                    .trim_end_matches(" }}");
                let value = match expression.split_once('.').unwrap() {
                    ("github", "token") => "token",
                    ("github", "action_path") => root,
                    ("github", "action_ref") => &reference,
                    ("github", "action_repository") => "o/r",
                    ("inputs", name) => inputs(name),
                    other => panic!("{other:?}"),
                };
                shell.env(name, value);
            }
            let output = shell
                .envs([("RUNNER_OS", "Linux"), ("RUNNER_ARCH", "X64")])
                .env("RUNNER_TEMP", &runner)
                .env("GITHUB_PATH", machine.path("path"))
                .env("GITHUB_ENV", machine.path("env"))
                .env("GITHUB_OUTPUT", machine.path("output"))
                .args([
                    "-c",
                    "exec bash -e -c \"$0\"",
                    step["run"].as_str().unwrap(),
                ])
                .output()
                .unwrap();
            let _ = assert_success("a step of the action", &output);
            let added = fs::read_to_string(machine.path("path")).unwrap();
            path = format!("{}:{path}", added.trim());
        }
        let variables = fs::read_to_string(machine.path("env")).unwrap();
        let output = fs::read_to_string(machine.path("output")).unwrap();
        let url = output.trim().strip_prefix("url=").unwrap();
        let mut shell = machine.shell(&path);
        for line in variables.lines() {
            let (name, value) = line.split_once('=').unwrap();
            shell.env(name, value);
        }
        let use_it = format!(
            "test $STREAM_CHAT_URL = {url} && test $STREAM_API_KEY = test-key && presencectl get-user amy --jq .id; presencectl mock stop"
        );
        let output = shell.args(["-c", &use_it]).output().unwrap();
        assert_eq!(assert_success("the next step", &output), "amy\n");
    }
}

/// What other tools read, checked by the linter of each tool, where it can be installed.
#[test]
fn linters_accept_the_files_of_other_tools() {
    let checks: [(&str, &[&str]); 4] = [
        ("hadolint", &["Dockerfile"]),
        (
            "check-jsonschema",
            &["--builtin-schema", "vendor.github-actions", "action.yml"],
        ),
        (
            "check-jsonschema",
            &[
                "--builtin-schema",
                "vendor.github-workflows",
                ".github/workflows/ci.yml",
                ".github/workflows/release.yml",
            ],
        ),
        (
            "check-jsonschema",
            &[
                "--builtin-schema",
                "vendor.compose-spec",
                "docs/examples/compose.yaml",
            ],
        ),
    ];
    for (name, arguments) in checks {
        let Some(program) = tool(name) else { return };
        let output = Command::new(program)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let _ = assert_success(name, &output);
    }
    if which("ruby").is_some() {
        let output = Command::new("ruby")
            .args(["-c", "Formula/presencectl.rb"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let _ = assert_success("ruby -c", &output);
    } else {
        skip("the syntax of the Homebrew formula: ruby is not installed");
    }
}

/// The containers of the examples belong together: the one that is checked is the one that others wait for.
#[test]
fn the_examples_fit_together() {
    let compose = yaml("docs/examples/compose.yaml");
    let server = &compose["services"]["presence"];
    let tests = &compose["services"]["tests"];
    let secret = &server["environment"]["PRESENCECTL_MOCK_SECRET"];
    assert_eq!(*secret, tests["environment"]["STREAM_API_SECRET"]);
    assert_eq!(
        tests["environment"]["STREAM_CHAT_URL"],
        "http://presence:8800"
    );
    assert_eq!(
        tests["depends_on"]["presence"]["condition"],
        "service_healthy"
    );
    let folder = tempfile::tempdir().unwrap();
    let fixture = folder.path().join("world.json");
    fs::write(&fixture, r#"{"users": [{"id": "amy"}]}"#).unwrap();
    let words: Vec<String> = server["command"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| match word.as_str().unwrap() {
            "/world.json" => fixture.display().to_string(),
            "8800" => "0".to_owned(),
            word => word.to_owned(),
        })
        .collect();
    let mut started = Presencectl::new(&words)
        .env("PRESENCECTL_MOCK_SECRET", secret.as_str().unwrap())
        .stream();
    let url = started.record()["url"].as_str().unwrap().to_owned();
    let variable = |name: &str| tests["environment"][name].as_str().unwrap();
    let user = Presencectl::line("get-user amy --jq .id")
        .env("STREAM_API_KEY", variable("STREAM_API_KEY"))
        .env("STREAM_API_SECRET", variable("STREAM_API_SECRET"))
        .env("STREAM_CHAT_URL", &url)
        .run();
    assert_eq!(user.stdout_of_success(), "amy\n");
    started.signal("TERM");
    let _ = started.end();

    let container: Value =
        serde_json::from_str(&project_file("docs/examples/devcontainer.json")).unwrap();
    assert_eq!(container["dockerComposeFile"], "compose.yaml");
    for name in [&container["service"], &container["runServices"][0]] {
        assert!(compose["services"][name.as_str().unwrap()].is_object());
    }
    assert_eq!(container["workspaceFolder"], tests["working_dir"]);
}
