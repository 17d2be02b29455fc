//! The recipes of the documents that are files: jobs of CI services, a line of a crontab, a unit of systemd. Each is
//! parsed, and its commands run against a mock.
//!
//! What would fetch from elsewhere (`cargo install`, `npm ci`, `apt-get`) has a stand-in that takes exactly the words of
//! the recipe and puts what is on this machine already in place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::documents::{blocks, document};
use crate::sdk_suites::{install_node_modules, suite};
use crate::support::mock::{API_KEY, Mock, SECRET};
use crate::support::world::{presencectl, world};
use crate::support::{binary, private_file, signal, skip_outside_ci, wait_until};

/// The recipes in this language.
fn recipes(language: &str) -> Vec<String> {
    ["README.md", "docs/recipes.md"]
        .iter()
        .flat_map(|name| blocks(&document(name)))
        .filter(|block| block.language == language)
        .map(|block| block.text)
        .collect()
}

fn recipe(language: &str) -> String {
    let mut found = recipes(language);
    assert_eq!(found.len(), 1, "{language}");
    found.remove(0)
}

/// A machine to run recipes on: a home, and a folder of programs that comes first.
pub(crate) struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Self {
            home: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(machine.path("bin")).unwrap();
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn with_presencectl(self) -> Self {
        symlink(binary(), self.path("bin/presencectl")).unwrap();
        self
    }

    /// A program that is a shell script.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A shell in which nothing of the developer's is left, with these folders after our own.
    pub(crate) fn shell(&self, folders: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", format!("{}:{folders}", self.path("bin").display()))
            .env("SHELL", "/bin/sh")
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        shell
    }
}

#[track_caller]
pub(crate) fn assert_success(what: &str, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what}: {}\n{text}{errors}",
        output.status
    );
    text
}

/// The steps of a CI file, from wherever its service looks for them.
fn ci_steps(text: &str) -> Vec<String> {
    let file: Value =
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.map(|step| step.as_str().expect("a command").to_owned())
            .collect()
    };
    if text.starts_with("# .github/workflows/") {
        assert_eq!(file["on"], json!(["push"]));
        let job = &file["jobs"]["test"];
        assert!(job["runs-on"].is_string());
        let steps = job["steps"].as_array().expect("steps");
        for step in steps {
            let uses = step["uses"].as_str();
            assert!(
                step["run"].is_string() != uses.is_some_and(|uses| uses.contains('@')),
                "{step}"
            );
        }
        let runs = steps.iter().filter_map(|step| step["run"].as_str());
        runs.map(str::to_owned).collect()
    } else {
        assert!(text.starts_with("# .gitlab-ci.yml\n"), "{text}");
        let job = &file["test"];
        assert!(job["image"].is_string());
        [texts(&job["before_script"]), texts(&job["script"])].concat()
    }
}

#[test]
fn the_jobs_of_ci_services_run() {
    let modules = suite("js");
    if let Err(missing) = install_node_modules(&modules) {
        return skip_outside_ci("the recipes for CI", missing);
    }
    let jobs = recipes("yaml");
    assert_eq!(jobs.len(), 2);
    let path = std::env::var("PATH").unwrap();
    let npm = which("npm").expect("npm came with the modules");
    for job in jobs {
        let machine = Machine::new();
        let bin = machine.path("bin");
        machine.program(
            "cargo",
            &format!(
                "[ \"$*\" = 'install --locked --path vendor/presencectl' ] && ln -s {} {}/presencectl",
                binary().display(),
                bin.display()
            ),
        );
        machine.program("apt-get", "case $1 in update|install) ;; *) exit 1 ;; esac");
        machine.program(
            "npm",
            &format!(
                "if [ \"$*\" = ci ]; then ln -s {}/node_modules .; else exec {} \"$@\"; fi",
                modules.display(),
                npm.display()
            ),
        );
        fs::create_dir(machine.path("tests")).unwrap();
        fs::write(machine.path("tests/world.json"), recipe("json")).unwrap();
        fs::write(machine.path("tests/bot.test.mjs"), recipe("js")).unwrap();
        // The script that the recipe names.
        let script = "node --test tests/";
        assert!(document("docs/recipes.md").contains(&format!("`\"test\": \"{script}\"`")));
        let package = json!({"private": true, "scripts": {"test": script}});
        fs::write(machine.path("package.json"), package.to_string()).unwrap();
        let mut printed = String::new();
        let steps = ci_steps(&job);
        assert!(steps.len() >= 3, "{steps:?}");
        for step in steps {
            let output = machine
                .shell(&path)
                .args(["-e", "-c", &step])
                .output()
                .unwrap();
            printed.push_str(&assert_success(&step, &output));
        }
        assert!(printed.contains("pass 1\n"), "{printed}");
    }
}

/// Where a program is on the search path.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[test]
fn the_crontab_line_prints_something_only_when_the_bot_is_offline() {
    let machine = Machine::new().with_presencectl();
    let mock = world(&[json!({"id": "support-bot", "online": true})], &[]);
    private_file(
        &machine.path(".config/presencectl/config.toml"),
        &format!(
            "[profiles.prod]\napi_key = '{API_KEY}'\napi_secret = '{SECRET}'\nbase_url = '{}'\n",
            mock.url()
        ),
    );
    let text = recipe("crontab");
    let (to, line) = text.trim_end().split_once('\n').unwrap();
    assert!(to.starts_with("MAILTO=") && !line.contains('\n'), "{text}");
    let fields: Vec<&str> = line.split_whitespace().take(5).collect();
    assert!(fields.iter().all(|field| *field == "*"), "{fields:?}");
    let command = line.splitn(6, ' ').nth(5).unwrap();
    // In a crontab this ends the command.
    assert!(!command.contains('%'), "{command}");
    // What cron mails is what is printed, on both streams.
    let tick = || {
        // Cron's own search path.
        let mut shell = machine.shell("/usr/bin:/bin");
        let output = shell.args(["-c", command]).output().unwrap();
        let mail = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), mail)
    };
    assert_eq!(tick(), (Some(0), String::new()), "the bot is there");
    let _ = presencectl(&mock, "mock user support-bot disconnect")
        .run()
        .ended_with(0);
    let (code, mail) = tick();
    assert_eq!(code, Some(8), "{mail}");
    assert!(
        mail.contains("support-bot") && mail.lines().count() == 1,
        "{mail}"
    );
    fs::remove_file(machine.path(".config/presencectl/config.toml")).unwrap();
    let (code, mail) = tick();
    assert!(code > Some(0) && mail.contains("prod"), "{code:?} {mail}");
}

/// A unit file by section and key.
fn unit() -> BTreeMap<String, Vec<(String, String)>> {
    let mut sections: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut section = String::new();
    for line in recipe("ini").lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let pair = (key.to_owned(), value.to_owned());
            sections.entry(section.clone()).or_default().push(pair);
        }
    }
    sections
}

fn service(key: &str) -> String {
    let found = unit()["Service"]
        .iter()
        .find(|(name, _)| name == key)
        .cloned();
    found.unwrap_or_else(|| panic!("no {key}")).1
}

#[test]
fn systemd_accepts_the_unit() {
    if which("systemd-analyze").is_none() {
        return skip_outside_ci("the recipe's unit", "systemd-analyze is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("presence.service");
    // It wants the programs to be there.
    let text = recipe("ini").replace("/usr/bin/presencectl", binary().to_str().unwrap());
    fs::write(&file, text).unwrap();
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("presence.service"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

/// Starts what the unit starts, as systemd does: no shell, no home, the variables of its files and folders.
fn start(mock: &Mock, state: &Path) -> Child {
    let variables = [
        ("STATE_DIRECTORY", state.display().to_string()),
        ("LOGS_DIRECTORY", state.display().to_string()),
        // What the environment file of the recipe says, and where the mock is.
        ("STREAM_API_KEY", API_KEY.to_owned()),
        ("STREAM_API_SECRET", SECRET.to_owned()),
        ("STREAM_CHAT_URL", mock.url()),
    ];
    let command = service("ExecStart");
    let mut words = command.split(' ').map(|word| {
        variables
            .iter()
            .fold(word.to_owned(), |word, (name, value)| {
                word.replace(&format!("${{{name}}}"), value)
            })
    });
    assert_eq!(words.next().as_deref(), Some("/usr/bin/presencectl"));
    Command::new(binary())
        .args(words)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(variables)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the log has a line of this type that was not there before, and gives its lines.
fn lines_with(log: &Path, kind: &str, before: usize) -> Vec<Value> {
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(log).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().skip(before);
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    wait_until(&format!("the log has {kind}"), || {
        lines().iter().any(|line| line["type"] == kind)
    });
    lines()
}

/// Ends it as `systemctl stop` does; the unit must call the exit a success.
fn stop(mut child: Child) {
    signal(child.id(), "TERM");
    let code = child.wait().unwrap().code().map(|code| code.to_string());
    assert_eq!(code, Some(service("SuccessExitStatus")));
}

#[test]
fn the_service_resumes_where_it_was_stopped() {
    let mock = world(
        &[json!({"id": "ann"}), json!({"id": "bob"})],
        &[
            json!({"type": "messaging", "id": "support", "members": ["ann", "bob"], "created_by_id": "ann"}),
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("support.ndjson");
    let child = start(&mock, folder.path());
    let lines = lines_with(&log, "presence.coverage", 0);
    assert_eq!(lines.last().unwrap()["missing"], json!([]));
    stop(child);
    let all = lines_with(&log, "stream.end", 0);
    assert!(folder.path().join("cursor").is_file());

    let _ = presencectl(&mock, "mock user bob connect")
        .run()
        .ended_with(0);
    let child = start(&mock, folder.path());
    let lines = lines_with(&log, "presence.coverage", all.len());
    let of = |kind: &str| lines.iter().find(|line| line["type"] == kind).cloned();
    let gap = of("presence.gap").unwrap_or_else(|| panic!("{lines:#?}"));
    assert_eq!(gap["repaired"], json!(["bob"]), "{lines:#?}");
    stop(child);
}
