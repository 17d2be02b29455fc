//! Every example of the README and of `docs/` is run, against the program as it is.
//!
//! A block marked `console` shows commands after `$ ` and what they print, both streams together. The exit code must be
//! 0. In the shown output `…` stands for anything within a line, and a line of `…` alone for any number of lines. Times
//! and ages (`14:03:22`, `3m ago`) match any other time or age. A block marked `sh` is run for its exit code alone,
//! which must be 0. Blocks in other languages are files, which `recipes` tests.
//!
//! All blocks of one section (`##`) run in one shell, in order, with a home of their own. `cargo run --` stands for the
//! binary under test, and `--for 1h` for one second. [`ON_A_TERMINAL`] lists the commands that a person runs on a
//! terminal and ends with Ctrl-C.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{binary, search_path};

/// Commands as documents show them, and what runs instead: on a terminal the output is a table, and Ctrl-C ends it.
const ON_A_TERMINAL: [(&str, &str); 2] = [
    (
        "cargo run -- --mock watch channel my-conversation-123",
        "presencectl --mock watch channel my-conversation-123 -o table -n 3",
    ),
    (
        "cargo run -- --mock query-users --in john,jack",
        "presencectl --mock query-users --in john,jack -o table",
    ),
];

/// The README and the documents of `docs/`, by name.
pub(crate) fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = fs::read_dir(root.join("docs"))
        .expect("the folder docs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    paths.insert(0, root.join("README.md"));
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).expect("below the root");
            let text = fs::read_to_string(&path).expect("a document");
            (name.display().to_string(), text)
        })
        .collect()
}

/// The text of one document.
pub(crate) fn document(name: &str) -> String {
    let found = documents().into_iter().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("no document {name}")).1
}

#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    line: usize,
    pub(crate) section: String,
    pub(crate) language: String,
    pub(crate) text: String,
}

/// The code blocks of a document.
pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section = String::new();
    let mut open: Option<Block> = None;
    for (number, line) in document.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    line: number + 1,
                    section: section.clone(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    heading.clone_into(&mut section);
                }
            }
        }
    }
    blocks
}

/// The commands of a console block, each with the output shown under it.
fn steps(block: &Block) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block.text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push((command.to_owned(), String::new()));
        } else if let Some((command, output)) = steps.last_mut() {
            if command.ends_with('\\') && output.is_empty() {
                command.pop();
                command.push_str(line.trim_start());
            } else {
                output.push_str(line);
                output.push('\n');
            }
        }
    }
    steps
}

/// Runs the steps in one shell; after each, a line that no program prints says where the next begins.
fn run(home: &Path, steps: &[(String, String)]) -> Vec<(String, i32)> {
    const MARK: &str = "\u{1}end of step\u{1}";
    let folder = home.join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join("presencectl");
    if !link.exists() {
        std::os::unix::fs::symlink(binary(), &link).unwrap();
    }
    let mut script = String::from("set -o pipefail\n");
    for (command, _) in steps {
        let interactive = ON_A_TERMINAL.iter().find(|(shown, _)| shown == command);
        let command = interactive
            .map_or(command.as_str(), |(_, run)| run)
            .replace("cargo run --", "presencectl")
            .replace("--for 1h", "--for 1s");
        writeln!(
            script,
            "{{ {command}\n}} </dev/null\nprintf '{MARK}%s\\n' $?"
        )
        .unwrap();
    }
    let output = Command::new("bash")
        .args([
            "-c",
            &format!("exec 2>&1\n{script}kill $(jobs -p) 2>/dev/null; wait 2>/dev/null"),
        ])
        .env_clear()
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("COLUMNS", "100")
        .env("PATH", search_path(&folder))
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut outcomes = Vec::new();
    let mut rest = text.as_str();
    while let Some((printed, after)) = rest.split_once(MARK) {
        let (code, after) = after.split_once('\n').unwrap_or((after, ""));
        outcomes.push((printed.to_owned(), code.parse().unwrap_or(-1)));
        rest = after;
    }
    outcomes
}

/// The line with every time of day, timestamp and age replaced by the same word.
fn without_times(line: &str) -> String {
    /// The length of the longest of these shapes at the start of the text: `0` is a digit.
    fn time_length(text: &[u8]) -> Option<usize> {
        let matches = |shape: &str| {
            text.len() >= shape.len()
                && shape.bytes().zip(text).all(|(shape, c)| match shape {
                    b'0' => c.is_ascii_digit(),
                    shape => shape == *c,
                })
        };
        let timestamp = ["0000-00-00T00:00:00", "00:00:00"]
            .into_iter()
            .find(|shape| matches(shape));
        if let Some(shape) = timestamp {
            let rest = &text[shape.len()..];
            let end = rest.iter().position(|c| !matches!(c, b'.' | b'0'..=b'9'));
            let end = end.unwrap_or(rest.len());
            let zone = usize::from(rest.get(end) == Some(&b'Z'));
            return Some(shape.len() + end + zone);
        }
        let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
        let age = [" ago", "m ago", "s ago", "h ago", "d ago"];
        let unit = age
            .into_iter()
            .find(|unit| text[digits..].starts_with(unit.as_bytes()))?;
        (digits > 0).then_some(digits + unit.len())
    }
    let mut masked = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = time_length(rest.as_bytes()) {
            masked.push_str("TIME");
            rest = &rest[length..];
        } else {
            masked.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    masked
}

/// Whether a printed line fits a shown one, in which `…` stands for anything.
fn fits(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (&without_times(shown), without_times(printed));
    let printed = printed.as_str();
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    match last {
        None => rest.is_empty(),
        Some(part) => part.is_empty() || rest.is_empty() || printed.ends_with(part),
    }
}

fn all_fit(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|skip| all_fit(rest, &printed[skip..])),
        Some((line, rest)) => printed.split_first().is_some_and(|(first, others)| {
            fits(line.trim_end(), first.trim_end()) && all_fit(rest, others)
        }),
    }
}

#[test]
fn every_example_prints_what_it_shows() {
    let missing: Vec<_> = ["bash", "jq"]
        .into_iter()
        .filter(|tool| {
            Command::new(tool)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_err()
        })
        .collect();
    if !missing.is_empty() {
        return crate::support::skip_outside_ci(
            "the examples of the documents",
            format!("{missing:?} not installed"),
        );
    }
    let mut wrong = Vec::new();
    for (name, text) in documents() {
        let blocks = blocks(&text);
        for section in blocks.chunk_by(|one, next| one.section == next.section) {
            wrong.extend(mistakes(section).map(|mistake| format!("{name}:{mistake}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Runs the examples of a section and describes those that do not print what they show.
fn mistakes(section: &[Block]) -> impl Iterator<Item = String> {
    let mut examples = Vec::new();
    for block in section {
        match block.language.as_str() {
            "console" => examples.extend(
                steps(block)
                    .into_iter()
                    .map(|(command, shown)| (block.line, command, Some(shown))),
            ),
            "sh" => examples.push((block.line, block.text.clone(), None)),
            _ => {}
        }
    }
    let home = tempfile::tempdir().unwrap();
    let commands: Vec<_> = examples
        .iter()
        .map(|(_, command, _)| (command.clone(), String::new()))
        .collect();
    let mut outcomes = run(home.path(), &commands).into_iter();
    examples
        .into_iter()
        .filter_map(move |(line, command, shown)| {
            let Some((printed, code)) = outcomes.next() else {
                return Some(format!("{line}: did not run: {command}"));
            };
            if code != 0 {
                return Some(format!("{line}: exit code {code}\n$ {command}\n{printed}"));
            }
            let shown = shown?;
            let lines: Vec<_> = printed.lines().collect();
            (!all_fit(&shown.lines().collect::<Vec<_>>(), &lines))
                .then(|| format!("{line}: $ {command}\nshown:\n{shown}\nprinted:\n{printed}"))
        })
}

#[test]
fn a_wrong_example_is_noticed() {
    let example = |text: &str| blocks(&format!("```console\n{text}\n```\n"));
    assert_eq!(mistakes(&example("$ echo 1; echo 2\n1\n2")).count(), 0);
    assert_eq!(mistakes(&example("$ echo 1; echo 2\n1")).count(), 1);
    assert_eq!(mistakes(&example("$ echo 1; exit 3\n1")).count(), 1);
    assert!(fits("a … c", "a b c"));
    assert!(!fits("a … c", "a b d"));
    assert!(fits("a …", "a anything"));
    assert!(!fits("a", "a b"));
    assert!(fits("10:00:00 amy, 3m ago", "23:59:59 amy, 59s ago"));
    assert!(fits(
        "at 2026-01-05T10:00:00.123Z",
        "at 2027-01-05T10:00:00Z"
    ));
    assert!(!fits("10:00:00 amy", "10:00:00 bob"));
    assert!(all_fit(&["x", "…", "y"], &["x", "1", "2", "y"]));
    assert!(!all_fit(&["x", "y"], &["x", "1", "y"]));
}

#[test]
fn the_exit_codes_are_the_programs() {
    let readme = document("README.md");
    for code in presencectl::exit::Code::ALL {
        let row = format!("| {} | {} |", code.number(), code.meaning());
        assert!(readme.contains(&row), "the README lacks: {row}");
    }
}

#[test]
fn every_rule_option_of_the_mock_is_listed_with_its_default() {
    let document = document("docs/mock.md");
    let missing: Vec<String> = presencectl::mock::RULE_OPTIONS
        .iter()
        .map(|option| {
            format!(
                "| {} | `{}` | `--{}` |",
                option.point,
                option.default(),
                option.name
            )
        })
        .filter(|row| !document.contains(row))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/mock.md lacks:\n{}",
        missing.join("\n")
    );
}

#[test]
fn the_readme_is_short_and_lists_every_command() {
    let readme = document("README.md");
    assert!(readme.lines().count() <= 150, "{}", readme.lines().count());
    let table = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next())
        .collect::<Vec<_>>()
        .join(" `");
    let cli = <presencectl::cli::Cli as clap::CommandFactory>::command();
    let missing: Vec<_> = cli
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name)
        .filter(|name| {
            !table
                .split('`')
                .any(|code| code.split(' ').next() == Some(name))
        })
        .collect();
    assert_eq!(missing, [] as [&str; 0], "{table}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let anchor = |heading: &str| {
        heading
            .to_lowercase()
            .replace(' ', "-")
            .replace(|c: char| !c.is_alphanumeric() && c != '-', "")
    };
    let mut broken = Vec::new();
    for (name, text) in documents() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        let folder = folder.parent().expect("a folder");
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let Ok(linked) = fs::read_to_string(folder.join(file)) else {
                broken.push(format!("{name}: {target}"));
                continue;
            };
            let mut headings = linked.lines().filter_map(|line| line.strip_prefix("## "));
            if !fragment.is_empty() && !headings.any(|heading| anchor(heading) == fragment) {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert_eq!(broken, [] as [String; 0]);
}
