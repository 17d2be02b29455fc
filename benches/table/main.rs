//! Whole processes beside what a user would pick instead, and beside what the machine allows: `cargo bench --bench table`.
//!
//! Everything is measured in one run, and each figure stands with its peers' and its limit's from that same run, since
//! ratios travel and absolute figures do not. Peers take part when they are installed; which are missing is said. The
//! limits are programs that do the least that the job needs: this same executable, started again in another role.
//!
//! `cargo bench --bench table -- stream` runs only the sections whose names contain `stream`.

mod analysis;
mod broadcast;
mod certificate;
mod commands;
mod crowd;
mod growth;
mod installed;
mod limits;
mod oneshot;
mod pages;
mod peers;
mod processes;
mod report;
mod scaling;
mod start;
mod stream;
mod stub;
mod watchers;

use std::io;
use std::process::ExitCode;

use peers::Peers;
use report::Report;

/// A section: its name, and what measures it.
type Section = (&'static str, fn(&Peers, &mut Report) -> io::Result<()>);

const SECTIONS: [Section; 19] = [
    ("binary", start::binary),
    ("completion", start::completion),
    ("oneshot-http", oneshot::http),
    ("oneshot-https", oneshot::https),
    ("pages", pages::run),
    ("stream", stream::rates),
    ("stream-tls", stream::tls_rates),
    ("latency", stream::latency),
    ("instructions", stream::instructions),
    ("idle", watchers::idle),
    ("watch-100000", watchers::many),
    ("crowd", crowd::run),
    ("growth", growth::run),
    ("growth-watch", scaling::watch),
    ("growth-query-users", scaling::query_users),
    ("growth-report", scaling::report_lines),
    ("growth-hold", scaling::hold),
    ("report-uptime", analysis::report_uptime),
    ("top", analysis::top),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((role, rest)) = arguments.split_first()
        && let Some(role) = role.strip_prefix("role=")
    {
        return limits::play(role, rest);
    }
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let peers = Peers::find();
    let mut report = Report::default();
    report.note(&peers.to_string());
    let mut failed = false;
    for (name, run) in SECTIONS {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        if let Err(error) = run(&peers, &mut report) {
            failed = true;
            report.note(&format!("{name} failed: {error}"));
        }
    }
    report.end();
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
