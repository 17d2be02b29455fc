//! The vendor's own clients against the real binary: `tests/sdk/js` by Node, `tests/sdk/python` by Python,
//! `tests/sdk/java` by Maven, each in processes of their own, against one `presencectl mock start`.
//!
//! Beside them, two projects of `tests/projects` test a chat application as users of the mock do: one server, and an
//! application for each worker.
//!
//! What a suite needs is installed on the first run, from its lock file: Node modules beside the suite, where every
//! tool looks for them, a Python environment and Java classes under the target folder. A machine without Node, Python,
//! Java or a package registry skips the suite with a line that nobody captures; in CI (`CI=true`) that is a failure.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// How many cases each suite has at least: a suite that silently lost some fails.
const JS_CASES: usize = 190;
const STREAM_CHAT_CASES: usize = 48;
const GETSTREAM_CASES: usize = 38;
const JS_VERSIONS_CASES: usize = 20;
const JS_BESIDE_PYTHON_CASES: usize = 2;
const JAVA_CASES: usize = 37;
/// The same in both projects.
const PROJECT_CASES: usize = 5;

const API_KEY: &str = "sdk-suites";
const SECRET: &str = "a secret that only the suites of the SDKs and their mock know";

#[test]
fn the_javascript_client() {
    node_suite("js", JS_CASES);
}

#[test]
fn a_javascript_client_sees_what_the_python_clients_change() {
    let folder = suite("js");
    run_or_skip("the Node suite beside Python", || {
        install_node_modules(&folder)?;
        let python = python_environment(&suite("python"), "sdk-python")?;
        let mut node = node_tests(&folder);
        node.arg("beside_python.mjs")
            .env("PRESENCECTL_SDK_PYTHON", python)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(node_outcome(&mut node, JS_BESIDE_PYTHON_CASES))
    });
}

#[test]
fn older_javascript_clients_and_the_v2_server_client() {
    node_suite("js-versions", JS_VERSIONS_CASES);
}

/// The projects of `tests/projects`: with one command each, as their users run them.
#[test]
fn a_node_project_with_an_application_for_each_worker() {
    run_or_skip("the Node project", || {
        let folder = project("node");
        install_node_modules(&folder)?;
        let output = run_project(Command::new("npm").arg("test"), &folder, None);
        Ok(Outcome {
            passed: output.matches("\nok ").count(),
            other: output.matches("\nnot ok ").count(),
            expected: PROJECT_CASES,
            output,
        })
    });
}

#[test]
fn a_python_project_with_an_application_for_each_worker() {
    run_or_skip("the Python project", || {
        let folder = project("python");
        let requirements = |folder: &Path| fs::read(folder.join("requirements.txt")).unwrap();
        assert_eq!(
            requirements(&folder),
            requirements(&suite("python")),
            "the project uses the environment of the suites, and names the same versions"
        );
        let python = python_environment(&suite("python"), "sdk-python")?;
        let output = run_project(Command::new("sh").arg("test.sh"), &folder, python.parent());
        // Each worker ends with a line such as `2 passed in 0.5s`. The dots of other workers may stand before it.
        let passed = output
            .lines()
            .filter_map(|line| line.split_once(" passed in "))
            .filter_map(|(before, _)| before.rsplit(|c: char| !c.is_ascii_digit()).next())
            .filter_map(|count| count.parse::<usize>().ok())
            .sum();
        Ok(Outcome {
            passed,
            other: usize::from(output.contains(" failed") || output.contains(" error")),
            expected: PROJECT_CASES,
            output,
        })
    });
}

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/projects")
        .join(name)
}

/// Runs a project's tests with `presencectl` in the PATH, and gives all that they printed.
fn run_project(command: &mut Command, folder: &Path, programs: Option<&Path>) -> String {
    let binary = assert_cmd::cargo::cargo_bin!("presencectl");
    let own = [binary.parent(), programs].into_iter().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = own.map(Path::to_owned).chain(std::env::split_paths(&path));
    forget_settings(command);
    let output = command
        .current_dir(folder)
        .env("PATH", std::env::join_paths(folders).unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTEST_ADDOPTS", "-p no:cacheprovider --tb=short")
        .stdin(Stdio::null())
        .output()
        .expect("the project's tests start");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{}\n{text}", output.status);
    text
}

fn node_suite(name: &str, expected: usize) {
    let folder = suite(name);
    run_or_skip(&format!("the Node suite {name}"), || {
        install_node_modules(&folder)?;
        Ok(node_outcome(&mut node_tests(&folder), expected))
    });
}

/// Node's test runner in a folder: all files named like tests, unless arguments follow.
fn node_tests(folder: &Path) -> Command {
    let mut node = Command::new("node");
    node.current_dir(folder).args([
        "--test",
        "--test-concurrency=4",
        "--test-timeout=120000",
        "--test-reporter=tap",
    ]);
    node
}

fn node_outcome(node: &mut Command, expected: usize) -> Outcome {
    let output = MockProcess::start().run(node);
    let count = |what: &str| {
        output
            .lines()
            .rev()
            .find_map(|line| {
                line.strip_prefix("# ")?
                    .strip_prefix(what)?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or_else(|| panic!("no count of {what}in\n{output}"))
    };
    Outcome {
        passed: count("pass "),
        other: count("tests ") - count("pass "),
        expected,
        output: output.clone(),
    }
}

#[test]
fn the_python_client() {
    python_suite("test_stream_chat.py", STREAM_CHAT_CASES);
}

#[test]
fn the_newer_python_client() {
    python_suite("test_getstream.py", GETSTREAM_CASES);
}

#[test]
fn the_java_client() {
    let folder = suite("java");
    run_or_skip("the Java client's suite", || {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-java");
        let maven = |goal: &str| {
            let mut maven = Command::new("mvn");
            maven
                .current_dir(&folder)
                .args(["--batch-mode", "--no-transfer-progress"])
                .arg(format!("-Dsdk.target={}", target.display()))
                .arg(goal);
            maven
        };
        prepare(Command::new("javac").arg("-version"))?;
        // Downloads what is missing. A failure in here is no failure of a case.
        prepare(&mut maven("test-compile"))?;
        let mock = MockProcess::start();
        let output = mock.run(&mut maven("test"));
        // The last line of this kind sums up all classes.
        let summary = output
            .lines()
            .rev()
            .find_map(|line| Some(line.split_once("Tests run: ")?.1))
            .unwrap_or_else(|| panic!("no count of tests in\n{output}"));
        let counts: Vec<usize> = summary
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .take(4)
            .collect();
        let other = counts[1..].iter().sum();
        Ok(Outcome {
            passed: counts[0] - other,
            other,
            expected: JAVA_CASES,
            output: output.clone(),
        })
    });
}

fn python_suite(file: &str, expected: usize) {
    let folder = suite("python");
    run_or_skip(&format!("the Python suite {file}"), || {
        let python = python_environment(&folder, "sdk-python")?;
        let mock = MockProcess::start();
        let mut pytest = Command::new(python);
        pytest
            .current_dir(&folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args([
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "-q",
                "-rA",
                "--tb=short",
            ])
            .arg(file);
        let output = mock.run(&mut pytest);
        let lines = |word: &str| output.lines().filter(|line| line.starts_with(word)).count();
        Ok(Outcome {
            passed: lines("PASSED "),
            other: lines("FAILED ") + lines("ERROR ") + lines("SKIPPED "),
            expected,
            output: output.clone(),
        })
    });
}

pub(crate) fn suite(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdk")
        .join(name)
}

/// The result of a suite.
struct Outcome {
    passed: usize,
    other: usize,
    expected: usize,
    output: String,
}

/// Prints a line that the test harness does not capture.
fn say(line: &str) {
    // Without a stderr nothing can be printed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Why a suite cannot run on this machine.
pub(crate) struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn run_or_skip(what: &str, run: impl FnOnce() -> Result<Outcome, Missing>) {
    match run() {
        Ok(outcome) => {
            assert!(
                outcome.other == 0 && outcome.passed >= outcome.expected,
                "{what}: {} cases passed, {} did not, {} were expected to pass\n{}",
                outcome.passed,
                outcome.other,
                outcome.expected,
                outcome.output
            );
            say(&format!("{what}: {} cases passed", outcome.passed));
        }
        Err(missing) => crate::support::skip_outside_ci(what, missing),
    }
}

/// Runs a preparation to its end.
fn prepare(command: &mut Command) -> Result<String, Missing> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Missing(format!("{:?} does not start: {e}", command.get_program())))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Missing(format!(
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// The first Node whose test runner takes the options used here.
const NODE: (u32, u32) = (20, 10);

pub(crate) fn install_node_modules(folder: &Path) -> Result<(), Missing> {
    // Several tests need them, and run side by side.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let version = prepare(Command::new("node").arg("--version"))?;
    let mut parts = version.trim_start_matches('v').split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Err(Missing(format!("Node's version is {version:?}")));
    };
    if (major, minor) < NODE {
        return Err(Missing(format!(
            "Node {}.{} or newer is needed, and this is {}",
            NODE.0,
            NODE.1,
            version.trim()
        )));
    }
    if node_modules_match(folder) {
        return Ok(());
    }
    prepare(Command::new("npm").current_dir(folder).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]))?;
    Ok(())
}

/// Whether every package of the lock file is there, in its version.
fn node_modules_match(folder: &Path) -> bool {
    let read = |path: &Path| -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    };
    let lock =
        read(&folder.join("package-lock.json")).expect("the lock file is part of the project");
    let packages = lock["packages"]
        .as_object()
        .expect("a lock file of version 3");
    packages
        .iter()
        .filter(|(path, _)| !path.is_empty())
        .all(|(path, locked)| {
            read(&folder.join(path).join("package.json"))
                .is_some_and(|installed| installed["version"] == locked["version"])
        })
}

/// The interpreter of an environment of this name that holds exactly what `requirements.txt` names.
pub(crate) fn python_environment(folder: &Path, name: &str) -> Result<PathBuf, Missing> {
    // Several tests share one, and run side by side.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();

    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = environment.join("bin/python");
    let stamp = environment.join("requirements.txt");
    let wanted = fs::read_to_string(folder.join("requirements.txt")).expect("part of the project");
    let current = fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted);
    if current && prepare(Command::new(&python).arg("--version")).is_ok() {
        return Ok(python);
    }
    prepare(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    prepare(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(folder.join("requirements.txt")),
    )?;
    fs::write(&stamp, wanted).expect("the environment is ours");
    Ok(python)
}

/// Removes settings of the developer's shell that would send the clients elsewhere.
fn forget_settings(command: &mut Command) {
    for variable in [
        "STREAM_LOCAL_TEST_RUN",
        "STREAM_LOCAL_TEST_HOST",
        "STREAM_CHAT_URL",
        "STREAM_CHAT_TIMEOUT",
        "STREAM_BASE_URL",
        "STREAM_TIMEOUT",
        "STREAM_REQUEST_TIMEOUT",
        "STREAM_API_KEY",
        "STREAM_API_SECRET",
        "PRESENCECTL_PROFILE",
        "PRESENCECTL_BASE_URL",
        "PRESENCECTL_MOCK",
        "PRESENCECTL_AS",
        "PRESENCECTL_OUTPUT",
        "PRESENCECTL_COLUMNS",
        "NODE_OPTIONS",
        "NODE_TEST_CONTEXT",
        "PYTEST_ADDOPTS",
    ] {
        command.env_remove(variable);
    }
}

/// `presencectl mock start` as users start it.
struct MockProcess {
    child: Child,
    url: String,
}

impl MockProcess {
    fn start() -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("presencectl"))
            .args(["mock", "start", "--port", "0", "--api-key", API_KEY])
            .env("PRESENCECTL_MOCK_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("the mock says that it is ready");
        let ready: Value = serde_json::from_str(&line).expect("one record");
        assert_eq!(ready["type"], "mock.ready", "{line}");
        assert_eq!(ready["api_key"], API_KEY);
        assert_eq!(ready["pid"], child.id());
        let url = ready["url"].as_str().expect("an address").to_owned();
        Self { child, url }
    }

    /// Runs a suite against this server, and gives all that it printed.
    fn run(&self, suite: &mut Command) -> String {
        forget_settings(suite);
        let output = suite
            .env("PRESENCECTL_MOCK_URL", &self.url)
            .env("PRESENCECTL_MOCK_API_KEY", API_KEY)
            .env("PRESENCECTL_MOCK_SECRET", SECRET)
            .env(
                "PRESENCECTL_BIN",
                assert_cmd::cargo::cargo_bin!("presencectl"),
            )
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost")
            .stdin(Stdio::null())
            .output()
            .expect("the suite starts");
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }
}

impl Drop for MockProcess {
    fn drop(&mut self) {
        // A server that a case brought down is a failure already; there is nothing more to say here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
