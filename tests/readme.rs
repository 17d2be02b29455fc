//! Every example of the README is run, against the program as it is.
//!
//! A block marked `console` shows commands after `$ ` and what they print, both streams together. `…` in the shown
//! output stands for anything within a line, a line of `…` alone for any number of lines; the exit code must be 0. Times read as they are
//! written, so examples avoid them or use `…`. All blocks of one section (`##`) run in one shell, in order, with a home
//! of their own; `cargo run --release --` stands for the binary under test, and an hour (`--for 1h`) passes in a second.
//! A block marked `sh` is run for its exit code alone, which must be 0. Blocks in other languages, which are files, are
//! `recipes`' business.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::binary;

pub(crate) const README: &str = include_str!("../README.md");

#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
}

pub(crate) fn sections(readme: &str) -> BTreeMap<String, Vec<Block>> {
    let mut sections: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    let mut title = String::new();
    let mut open: Option<Block> = None;
    for (number, line) in readme.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    line: number + 1,
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => {
                let block = open.take().expect("matched just now");
                sections.entry(title.clone()).or_default().push(block);
            }
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    title = heading.to_owned();
                }
            }
        }
    }
    sections
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
        let command = command
            .replace("cargo run --release --", "presencectl")
            .replace("--for 1h", "--for 1s");
        writeln!(
            script,
            "{{ {command}\n}} </dev/null\nprintf '{MARK}%s\\n' $?"
        )
        .unwrap();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args([
            "-c",
            &format!("exec 2>&1\n{script}kill $(jobs -p) 2>/dev/null; wait 2>/dev/null"),
        ])
        .env_clear()
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("COLUMNS", "100")
        .env("PATH", format!("{}:{path}", folder.display()))
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

/// Whether a printed line fits a shown one, in which `…` stands for anything.
fn fits(shown: &str, printed: &str) -> bool {
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
fn every_example_does_what_it_shows() {
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
        assert!(
            std::env::var_os("CI").is_none(),
            "CI lacks {missing:?}, which the README's examples need"
        );
        crate::support::skip(&format!("README examples: {missing:?} not installed"));
        return;
    }
    let mut wrong = Vec::new();
    let mut count = 0;
    for (title, blocks) in sections(README) {
        let home = tempfile::tempdir().unwrap();
        let mut plan = Vec::new();
        for block in &blocks {
            match block.language.as_str() {
                "console" => plan.extend(
                    steps(block)
                        .into_iter()
                        .map(|(command, shown)| (block.line, command, Some(shown))),
                ),
                "sh" => plan.push((block.line, block.text.clone(), None)),
                _ => {}
            }
        }
        let commands: Vec<_> = plan
            .iter()
            .map(|(_, command, _)| (command.clone(), String::new()))
            .collect();
        let outcomes = run(home.path(), &commands);
        count += plan.len();
        for (index, (line, command, shown)) in plan.iter().enumerate() {
            let Some((printed, code)) = outcomes.get(index) else {
                wrong.push(format!("{title}, line {line}: did not run: {command}"));
                continue;
            };
            match shown {
                _ if *code != 0 => wrong.push(format!(
                    "{title}, line {line}: exit code {code}\n$ {command}\n{printed}"
                )),
                Some(shown)
                    if !all_fit(
                        &shown.lines().collect::<Vec<_>>(),
                        &printed.lines().collect::<Vec<_>>(),
                    ) =>
                {
                    wrong.push(format!(
                        "{title}, line {line}: $ {command}\nshown:\n{shown}\nprinted:\n{printed}"
                    ));
                }
                None | Some(_) => {}
            }
        }
    }
    assert!(count > 0, "the README has no examples");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_wrong_example_is_noticed() {
    assert!(fits("a … c", "a b c"));
    assert!(!fits("a … c", "a b d"));
    assert!(fits("a …", "a anything"));
    assert!(!fits("a", "a b"));
    assert!(all_fit(&["x", "…", "y"], &["x", "1", "2", "y"]));
    assert!(!all_fit(&["x", "y"], &["x", "1", "y"]));
}

#[test]
fn the_exit_codes_are_the_programs() {
    for code in presencectl::exit::Code::ALL {
        let row = format!("| {} | {} |", code.number(), code.meaning());
        assert!(README.contains(&row), "the README lacks: {row}");
    }
}

#[test]
fn every_option_of_the_mock_is_listed_with_its_default() {
    let missing: Vec<String> = presencectl::mock::RULE_OPTIONS
        .iter()
        .map(|knob| {
            format!(
                "| {} | `{}` | `--{}` |",
                knob.point,
                knob.default(),
                knob.name
            )
        })
        .filter(|row| !README.contains(row))
        .collect();
    assert!(
        missing.is_empty(),
        "the README lacks:\n{}",
        missing.join("\n")
    );
}
