//! The table: a row is a job, with our figure, the limit's, the peers' and what was aimed at.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

/// The rows so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// One job.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    what: String,
    unit: Unit,
    ours: Option<f64>,
    limit: Option<f64>,
    peers: Vec<(&'static str, f64)>,
    aims: Vec<String>,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Microseconds,
    /// Events or deliveries a second.
    PerSecond,
    Mebibytes,
    Bytes,
    Instructions,
    Allocations,
    Percent,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Microseconds => format!("{value:.1} µs"),
            Self::PerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Self::PerSecond => format!("{:.0} k/s", value / 1e3),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Bytes => format!("{value:.0} B"),
            Self::Instructions => format!("{value:.0} instructions"),
            Self::Allocations => format!("{value:.2} allocations"),
            Self::Percent => format!("{value:.1} %"),
        }
    }
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: Unit) -> Self {
        Self {
            what: what.into(),
            unit,
            ours: None,
            limit: None,
            peers: Vec::new(),
            aims: Vec::new(),
        }
    }

    pub(crate) fn ours(mut self, value: f64) -> Self {
        self.ours = Some(value);
        self
    }

    pub(crate) fn limit(mut self, value: f64) -> Self {
        self.limit = Some(value);
        self
    }

    pub(crate) fn peer(mut self, name: &'static str, value: Option<f64>) -> Self {
        self.peers.extend(value.map(|value| (name, value)));
        self
    }

    /// States an aim: the ratio of our figure to another, or a bound on it, and whether it is met.
    pub(crate) fn aim(mut self, what: &str, value: f64, bound: Bound) -> Self {
        let (met, sign, bound) = match bound {
            Bound::AtMost(bound) => (value <= bound, '≤', bound),
            Bound::AtLeast(bound) => (value >= bound, '≥', bound),
        };
        let verdict = if met { "" } else { " MISSED" };
        self.aims
            .push(format!("{} {what} ({sign} {bound}){verdict}", short(value)));
        self
    }

    /// The same as a ratio to a peer that may be missing.
    pub(crate) fn ratio(self, to: &str, other: Option<f64>, bound: Bound) -> Self {
        match (self.ours, other) {
            (Some(ours), Some(other)) if other > 0.0 => {
                self.aim(&format!("× {to}"), ours / other, bound)
            }
            _ => self,
        }
    }
}

/// A bound on a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

impl Report {
    /// Takes a row, and says it at once: the whole table takes minutes.
    pub(crate) fn row(&mut self, row: Row) {
        say(&line(&row));
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, text: &str) {
        say(text);
        self.notes.push(text.to_owned());
    }

    /// A peer's figure; one that cannot be had is said and left out.
    pub(crate) fn figure(&mut self, peer: &str, figure: Option<io::Result<f64>>) -> Option<f64> {
        figure?
            .inspect_err(|error| self.note(&format!("{peer} is left out: {error}")))
            .ok()
    }

    /// Prints the table, in Markdown.
    pub(crate) fn end(&self) {
        let mut text =
            String::from("\n| | presencectl | limit | peers | aims |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        let _ = writeln!(text, "\n{}", machine());
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        say(&text);
    }
}

fn line(row: &Row) -> String {
    let show =
        |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| row.unit.show(value));
    let peers: Vec<String> = row
        .peers
        .iter()
        .map(|(name, value)| format!("{name} {}", row.unit.show(*value)))
        .collect();
    format!(
        "| {} | {} | {} | {} | {} |",
        row.what,
        show(row.ours),
        show(row.limit),
        peers.join(", "),
        row.aims.join(", ")
    )
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(
            || "unknown processor".to_owned(),
            |(_, name)| name.to_owned(),
        );
    let memory: f64 = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap_or_default();
    format!(
        "machine: {} cores of {model}, {:.0} GiB; load before: {}; {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        memory / 1048576.0,
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        chrono::Utc::now().format("%Y-%m-%d")
    )
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(
    clippy::print_stdout,
    reason = "a benchmark's result is what it prints"
)]
fn say(text: &str) {
    println!("{text}");
}
