//! Seeded fuzzing: random inputs for the parsers, from generators and from mutated files of `tests/corpus`.
//!
//! The input of an iteration depends only on the target, the seed and the number of the iteration, so that a failure is
//! repeated without the iterations before it. `docs/testing.md` says how to run the targets for longer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// The longest part of a failing input that is printed.
const SHOWN_INPUT_MAX_CHARS: usize = 2000;
/// An input that takes longer is reported as a hang.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

/// The parser under test, and what its inputs are made of.
pub(crate) struct FuzzTarget {
    /// The name of the target, and of its folder in `tests/corpus`.
    pub(crate) name: &'static str,
    /// How many inputs are tried, unless the environment sets a number or a time.
    pub(crate) inputs: u64,
    /// Makes an input.
    pub(crate) generate: fn(&mut SmallRng) -> String,
    /// Texts that mutations insert.
    pub(crate) words: &'static [&'static str],
}

impl FuzzTarget {
    /// Tries inputs. `check` panics for an input that is handled wrongly.
    pub(crate) fn run(&self, mut check: impl FnMut(&str)) {
        let corpus = read_corpus(self.name);
        let seed = setting("PRESENCECTL_FUZZ_SEED").unwrap_or(0);
        if let Some(iteration) = setting("PRESENCECTL_FUZZ_ITERATION") {
            return self.check_one(&corpus, seed, iteration, &mut check);
        }
        let started = Instant::now();
        let inputs = setting("PRESENCECTL_FUZZ_INPUTS").unwrap_or(self.inputs);
        let time = setting("PRESENCECTL_FUZZ_SECONDS").map(Duration::from_secs);
        let current = AtomicU64::new(0);
        let mut iterations = 0;
        std::thread::scope(|scope| {
            // Dropped at the end, also by a panic.
            let (_running, ended) = mpsc::channel::<()>();
            let current = &current;
            scope.spawn(move || self.report_hangs(seed, current, &ended));
            loop {
                let is_over = match time {
                    Some(time) => iterations % 16 == 0 && started.elapsed() >= time,
                    None => iterations == inputs,
                };
                if is_over {
                    break;
                }
                current.store(iterations, Ordering::Relaxed);
                self.check_one(&corpus, seed, iterations, &mut check);
                iterations += 1;
            }
        });
        let seconds = started.elapsed().as_secs_f64();
        print(&format!(
            "fuzz {}: {iterations} inputs in {seconds:.1} s ({:.0} per second), seed {seed}",
            self.name,
            iterations as f64 / seconds
        ));
    }

    fn check_one(
        &self,
        corpus: &[Vec<u8>],
        seed: u64,
        iteration: u64,
        check: &mut impl FnMut(&str),
    ) {
        let input = self.input(corpus, seed, iteration);
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) else {
            return;
        };
        let shown: String = input.chars().take(SHOWN_INPUT_MAX_CHARS).collect();
        panic!(
            "fuzz {}: seed {seed}, iteration {iteration}: {}\ninput ({} bytes): {shown:?}\n{}",
            self.name,
            message_of(&*panic),
            input.len(),
            self.how_to_repeat(seed, iteration),
        );
    }

    fn how_to_repeat(&self, seed: u64, iteration: u64) -> String {
        format!(
            "repeat it: PRESENCECTL_FUZZ_SEED={seed} PRESENCECTL_FUZZ_ITERATION={iteration} cargo test --lib fuzz_{}",
            self.name
        )
    }

    /// Prints which input takes too long. The test itself cannot be ended from outside.
    fn report_hangs(&self, seed: u64, current: &AtomicU64, ended: &mpsc::Receiver<()>) {
        let mut last = u64::MAX;
        while ended.recv_timeout(HANG_TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let iteration = current.load(Ordering::Relaxed);
            if iteration == last {
                let how = self.how_to_repeat(seed, iteration);
                print(&format!(
                    "fuzz {}: an input takes too long; {how}",
                    self.name
                ));
            }
            last = iteration;
        }
    }

    /// The input of an iteration: first the files of the corpus, then generated and mutated texts.
    fn input(&self, corpus: &[Vec<u8>], seed: u64, iteration: u64) -> String {
        let file = usize::try_from(iteration).ok().and_then(|i| corpus.get(i));
        if let Some(file) = file {
            return String::from_utf8_lossy(file).into_owned();
        }
        let mut rng = SmallRng::seed_from_u64(seed.rotate_left(32) ^ iteration);
        let mut bytes = match corpus.choose(&mut rng) {
            Some(file) if rng.random_bool(0.3) => file.clone(),
            _ => (self.generate)(&mut rng).into_bytes(),
        };
        if rng.random_bool(0.6) {
            for _ in 0..rng.random_range(1..=4) {
                self.mutate(&mut bytes, corpus, &mut rng);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn mutate(&self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut SmallRng) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(0..=16)).min(bytes.len());
        match rng.random_range(0..8) {
            0 => {
                bytes.drain(at..end);
            }
            1 => {
                let part = bytes[at..end].to_vec();
                for _ in 0..rng.random_range(1..4) {
                    bytes.splice(at..at, part.iter().copied());
                }
            }
            2 => bytes.truncate(at),
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.random_range(0..8);
                }
            }
            4 => {
                let word = self.words.choose(rng).copied().unwrap_or_default();
                bytes.splice(at..end, word.bytes());
            }
            5 => {
                let word = ODD_TEXTS.choose(rng).copied().unwrap_or_default();
                bytes.splice(at..at, word.bytes());
            }
            6 => {
                if let Some(other) = corpus.choose(rng) {
                    let from = rng.random_range(0..=other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
            }
            _ => bytes.insert(at, rng.random()),
        }
    }
}

/// Texts that parsers often mistake.
const ODD_TEXTS: &[&str] = &[
    "",
    " ",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{9b}",
    "é",
    "😀",
    "\u{202e}",
    "\u{2028}",
    "\u{feff}",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\ud83d\\ude00",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "null",
    "true",
    "-",
    "-0",
    "1e999",
    "0.1e-7",
    "18446744073709551616",
    "9223372036854775807",
    "-9223372036854775808",
    "NaN",
    "0x1",
    "1.",
    "2026-01-05T10:00:00.215772568Z",
    "9999-12-31T23:59:60Z",
    "-262144-01-01T00:00:00Z",
    "99999999999h",
];

/// Any JSON text. `words` are names and strings that mean something to the parser.
pub(crate) fn json(rng: &mut SmallRng, words: &[&str]) -> String {
    let mut out = String::new();
    write_json(rng, words, 4, &mut out);
    out
}

/// A JSON object whose fields are mostly `fields`, each with its value or any other.
pub(crate) fn object(rng: &mut SmallRng, words: &[&str], fields: &[(&str, &str)]) -> String {
    let mut out = String::from("{");
    for index in 0..rng.random_range(0..=fields.len() + 1) {
        if index > 0 {
            out.push(',');
        }
        write_blank(rng, &mut out);
        match fields.choose(rng) {
            Some((name, value)) if rng.random_bool(0.9) => {
                write_string(rng, name, &mut out);
                write_blank(rng, &mut out);
                out.push(':');
                write_blank(rng, &mut out);
                if rng.random_bool(0.75) {
                    out.push_str(value);
                } else {
                    write_json(rng, words, 2, &mut out);
                }
            }
            _ => {
                write_name(rng, words, &mut out);
                out.push(':');
                write_json(rng, words, 3, &mut out);
            }
        }
        write_blank(rng, &mut out);
    }
    out.push('}');
    out
}

fn write_json(rng: &mut SmallRng, words: &[&str], depth: usize, out: &mut String) {
    match rng.random_range(0..if depth == 0 { 6 } else { 9 }) {
        0 => out.push_str(["null", "true", "false"].choose(rng).expect("a choice")),
        1 => out.push_str(&rng.random::<i64>().to_string()),
        2 => out.push_str(
            [
                "0",
                "-0",
                "1",
                "1.10",
                "-12e-3",
                "1E300",
                "1e999",
                "123456789012345678901234567890",
            ]
            .choose(rng)
            .expect("a choice"),
        ),
        3 | 4 => write_name(rng, words, out),
        5 => {
            let text = ODD_TEXTS.choose(rng).expect("a choice");
            write_string(rng, text, out);
        }
        6 => {
            out.push('[');
            for index in 0..rng.random_range(0..4) {
                if index > 0 {
                    out.push(',');
                }
                write_blank(rng, out);
                write_json(rng, words, depth - 1, out);
                write_blank(rng, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            for index in 0..rng.random_range(0..4) {
                if index > 0 {
                    out.push(',');
                }
                write_blank(rng, out);
                write_name(rng, words, out);
                write_blank(rng, out);
                out.push(':');
                write_json(rng, words, depth - 1, out);
                write_blank(rng, out);
            }
            out.push('}');
        }
    }
}

fn write_blank(rng: &mut SmallRng, out: &mut String) {
    if rng.random_bool(0.05) {
        out.push_str([" ", "\n", " \r\n\t "].choose(rng).expect("a choice"));
    }
}

fn write_name(rng: &mut SmallRng, words: &[&str], out: &mut String) {
    let word = words.choose(rng).copied().unwrap_or("a");
    write_string(rng, word, out);
}

/// Writes a JSON string, now and then with escapes that it does not need.
fn write_string(rng: &mut SmallRng, text: &str, out: &mut String) {
    if text.starts_with("\\u") {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    if rng.random_bool(0.05)
        && let Some(first) = text.chars().next().filter(char::is_ascii)
    {
        let rest = serde_json::to_string(&text[1..]).expect("strings are JSON");
        out.push_str(&["\"\\u", &format!("{:04x}", u32::from(first)), &rest[1..]].concat());
        return;
    }
    out.push_str(&serde_json::to_string(text).expect("strings are JSON"));
}

/// The files of a target, in the order of their names.
fn read_corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).expect("a readable file"))
        .collect()
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic")
        .to_owned()
}

#[expect(
    clippy::print_stdout,
    reason = "a test reports what it did on its captured output"
)]
fn print(text: &str) {
    println!("{text}");
}

#[test]
fn an_input_depends_only_on_seed_and_iteration() {
    let target = FuzzTarget {
        name: "scanner",
        inputs: 0,
        generate: |rng| json(rng, &["a"]),
        words: &[],
    };
    let corpus = read_corpus(target.name);
    let inputs = |seed| {
        (0..200)
            .map(|i| target.input(&corpus, seed, i))
            .collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
}

#[test]
fn a_failure_says_how_to_repeat_it() {
    let target = FuzzTarget {
        name: "scanner",
        inputs: 10,
        generate: |_| String::new(),
        words: &[],
    };
    let panic =
        catch_unwind(|| target.run(|input| assert!(input.is_empty(), "not empty"))).unwrap_err();
    let message = message_of(&*panic);
    assert!(
        message.starts_with("fuzz scanner: seed 0, iteration 0: not empty\ninput ("),
        "{message}"
    );
    assert!(
        message.ends_with("repeat it: PRESENCECTL_FUZZ_SEED=0 PRESENCECTL_FUZZ_ITERATION=0 cargo test --lib fuzz_scanner"),
        "{message}"
    );
}
