//! Runs the real binary in an environment of its own, isolated from the developer's.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use assert_cmd::cargo::cargo_bin;
use regex::Regex;
use tempfile::TempDir;

use super::Stream;
use super::contract::Contract;
use super::mock::{API_KEY, Mock, SECRET};

/// A command line to run.
#[must_use = "call run() or stream()"]
pub(crate) struct Presencectl {
    /// Kept until the run has ended.
    home: TempDir,
    command: Command,
}

impl Presencectl {
    /// `presencectl` with these arguments, without credentials.
    pub(crate) fn new<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(binary());
        command
            .env_clear()
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", home.path().join(".config"))
            .env("TZ", "UTC")
            .env("COLUMNS", "100")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(home.path())
            .stdin(Stdio::null());
        for argument in arguments {
            command.arg(argument.as_ref());
        }
        Self { home, command }
    }

    /// The arguments as one line, split at spaces; single quotes keep words together.
    pub(crate) fn line(line: &str) -> Self {
        Self::new(split(line))
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Lets stdout go to a file, which the run then does not show.
    pub(crate) fn into_file(mut self, file: std::fs::File) -> Self {
        self.command.stdout(file);
        self
    }

    /// Runs to the end with nothing on stdin.
    pub(crate) fn run(mut self) -> Run {
        let output = self.command.output().expect("the binary runs");
        Run::of(&output).checked_against(&contract(&self.command))
    }

    /// Runs to the end on a terminal, which puts stdout and stderr together.
    pub(crate) fn run_on_terminal(self) -> Run {
        self.run_on_terminal_with("")
    }

    /// The same, with this typed in.
    pub(crate) fn run_on_terminal_with(self, typed: &str) -> Run {
        let line: Vec<String> = std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
            .collect();
        let mut command = Command::new("script");
        command.env_clear();
        for (name, value) in self.command.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let mut child = command
            .args(["-qfec", &line.join(" "), "/dev/null"])
            .stdin(if typed.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("script, of util-linux, runs");
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(typed.as_bytes()).expect("script reads");
        }
        Run::of(&child.wait_with_output().expect("script ends"))
    }

    /// Runs to the end with this on stdin.
    pub(crate) fn run_with(mut self, stdin: &str) -> Run {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut pipe = child.stdin.take().expect("a pipe");
        // A command that does not read its stdin is free to close it.
        let _ = pipe.write_all(stdin.as_bytes());
        drop(pipe);
        Run::of(&child.wait_with_output().expect("the binary ends"))
            .checked_against(&contract(&self.command))
    }

    /// Points the command at a mock, with its key and secret.
    pub(crate) fn at(self, mock: &Mock) -> Self {
        self.at_url(&mock.url(), API_KEY, SECRET)
    }

    /// Points the command at a server, with the key and secret of an application there.
    pub(crate) fn at_url(self, url: &str, api_key: &str, secret: &str) -> Self {
        self.env("STREAM_CHAT_URL", url)
            .env("STREAM_API_KEY", api_key)
            .env("STREAM_API_SECRET", secret)
    }

    /// Starts it, to be read line by line.
    pub(crate) fn stream(self) -> Stream {
        let contract = contract(&self.command);
        Stream::start(self.command, self.home, contract)
    }
}

/// Which schema the lines of a command are validated against.
fn contract(command: &Command) -> Contract {
    let words: Vec<String> = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    Contract::of(&words)
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    cargo_bin!("presencectl").to_path_buf()
}

/// The search path for programs, with this folder before all others.
pub(crate) fn search_path(first: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("folders without a colon")
}

/// A shell script in which `presencectl` is the binary under test, with the key and secret of a mock.
pub(crate) fn shell(mock: &Mock, script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .env_clear()
        .env("PATH", search_path(binary().parent().expect("a folder")))
        .env("STREAM_CHAT_URL", mock.url())
        .env("STREAM_API_KEY", API_KEY)
        .env("STREAM_API_SECRET", SECRET)
        .stdin(Stdio::null());
    command
}

fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    assert!(!quoted, "a quote is not closed: {line}");
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// How a run ended and what it printed.
#[must_use = "look at the code, stdout or stderr"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// stdout.
    pub(crate) stdout: String,
    /// stderr.
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    fn checked_against(self, contract: &Contract) -> Self {
        for line in self.stdout.lines() {
            contract.check(line);
        }
        for line in self.stderr.lines() {
            contract.check_error(line);
        }
        self
    }

    /// Asserts exit code 0 and an empty stderr, and returns stdout.
    #[track_caller]
    pub(crate) fn stdout_of_success(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self}");
        self.stdout
    }

    /// stdout as NDJSON.
    #[track_caller]
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{self}"))
            })
            .collect()
    }

    /// The one record of a run that succeeded.
    #[track_caller]
    pub(crate) fn record(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{self}");
        let mut records = self.records();
        assert_eq!(records.len(), 1, "{self}");
        records.remove(0)
    }

    /// The run as text for a snapshot. What differs from run to run has a fixed name in it: times, ports, UUIDs and
    /// names of temporary files.
    pub(crate) fn masked(&self) -> String {
        static MASKS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
            [
                (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
                (r"\b(127\.0\.0\.1|localhost):\d+", "$1:PORT"),
                (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
                (r"\bpresencectl-mock-ca-\w+", "presencectl-mock-ca-RANDOM"),
            ]
            .map(|(pattern, name)| (Regex::new(pattern).expect("a valid pattern"), name))
        });
        MASKS.iter().fold(self.to_string(), |text, (mask, name)| {
            mask.replace_all(&text, *name).into_owned()
        })
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stdout)?;
        writeln!(f, "--- stderr")?;
        write!(f, "{}", self.stderr)?;
        write!(f, "--- exit {:?}", self.code)
    }
}

/// Runs command lines one after the other, and shows each with what it printed: lines of stderr after `2> `, and the exit
/// code unless it is 0.
pub(crate) fn transcript<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    run: impl Fn(&str) -> Run,
) -> String {
    let shown = |line: &str| {
        let run = run(line);
        let errors: String = run
            .stderr
            .lines()
            .map(|line| format!("2> {line}\n"))
            .collect();
        let end = match run.code {
            Some(0) => String::new(),
            Some(code) => format!("exit {code}\n"),
            None => "ended by a signal\n".to_owned(),
        };
        format!("$ {line}\n{}{errors}{end}", run.stdout)
    };
    lines.into_iter().map(shown).collect()
}

/// Runs command lines that are bad usage, and shows the first line of each one's error, once for lines that have the same.
pub(crate) fn usage_errors<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    run: impl Fn(&str) -> Run,
) -> String {
    let mut shown = Vec::new();
    for line in lines {
        let run = run(line).ended_with(2);
        assert_eq!(run.stdout, "", "{line}");
        let error = format!("  {}", run.stderr.lines().next().expect("an error"));
        if shown.last() == Some(&error) {
            shown.pop();
        }
        shown.extend([line.to_owned(), error]);
    }
    shown.join("\n")
}

/// Writes a file that only its owner can read.
pub(crate) fn private_file(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("a file");
}
