//! `report`: computes sessions, uptime, flaps and timelines from recorded streams.
//!
//! Each subcommand decides what is computed and how it is written. This file has what they share: which recordings are
//! read, which period, and which users.

pub mod flaps;
pub mod sessions;
pub mod timeline;
pub mod uptime;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use crate::commands::ids;
use crate::domain::time::Millis;
use crate::domain::time::parse_time;
use crate::domain::{IdList, UserId};
use crate::exit::{Code, Failure};
use crate::output::{Format, OutputSettings};
use crate::report::input::InputSource;
use crate::report::intervals::Analysis;
use crate::report::names::Names;
use crate::report::picture::{Picture, PictureData};
use crate::report::zone::Zone;
use crate::report::{self, Reading, ReportRequest};
use crate::settings::App;

/// The report to compute.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum ReportCommand {
    /// List when each user was online, one record per session
    Sessions(sessions::SessionsArgs),

    /// Show how much of the time each user was online
    Uptime(uptime::UptimeArgs),

    /// Show who changes often between online and offline
    Flaps(flaps::FlapsArgs),

    /// Show who was online when: a picture, or one record per user and bucket
    Timeline(timeline::TimelineArgs),
}

/// Runs a `report`.
///
/// # Errors
///
/// A recording cannot be read, the results cannot be written, or a check fails.
pub fn run(app: &App, command: ReportCommand) -> anyhow::Result<Code> {
    match command {
        ReportCommand::Sessions(args) => sessions::run(app, &args),
        ReportCommand::Uptime(args) => uptime::run(app, &args),
        ReportCommand::Flaps(args) => flaps::run(app, &args),
        ReportCommand::Timeline(args) => timeline::run(app, &args),
    }
}

/// Flags of every report.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Recorded streams: NDJSON of `watch`, plain, gzip or zstd; - is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Ignore time before this; the default is the first record
    ///
    /// RFC 3339, Unix seconds, or a duration ago, such as 24h.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,

    /// End the window here, if earlier than the last record
    ///
    /// RFC 3339, Unix seconds, or a duration ago, such as 1h.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,

    /// Report only on this user (repeatable)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub user: Vec<UserId>,

    /// Report only on these users: a,b,c or @FILE (one id per line) or - (stdin)
    #[arg(long = "in", id = "in_list", value_name = "LIST")]
    pub list: Option<IdList>,

    /// Show times in this zone: Europe/Berlin, +02:00, UTC or local (the default)
    #[arg(long, value_name = "ZONE", value_parser = Zone::parse, default_value = "local", hide_default_value = true)]
    pub tz: Zone,

    /// Write a picture as a self-contained HTML page to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Write a picture as SVG to this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Replace ids and names with pseudonyms, and leave out status texts
    #[arg(long)]
    pub pseudonymize: bool,
}

impl ReportArgs {
    /// How users are named in the report.
    pub const fn names(&self) -> Names {
        Names {
            pseudonymize: self.pseudonymize,
        }
    }

    fn request(&self, now: DateTime<Utc>) -> Result<ReportRequest, Failure> {
        let time = |flag: &str, text: &Option<String>| -> Result<Option<Millis>, Failure> {
            let Some(text) = text else { return Ok(None) };
            match parse_time(text, now) {
                Ok(time) => Ok(Some(time.timestamp_millis())),
                Err(error) => Err(Failure::new(Code::Usage, format!("in {flag}: {error}"))),
            }
        };
        let (from, to) = (time("--from", &self.from)?, time("--to", &self.to)?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(Failure::new(
                Code::Usage,
                "--from is not before --to, so the window is empty",
            ));
        }
        if self.files.is_empty() {
            return Err(Failure::new(Code::Usage, "no recorded stream is named")
                .hinted("name the files that `watch --tee` wrote, or - to read standard input"));
        }
        let inputs: Vec<InputSource> = self
            .files
            .iter()
            .map(|path| InputSource::from_argument(path))
            .collect();
        let from_stdin = inputs
            .iter()
            .filter(|input| **input == InputSource::Stdin)
            .count();
        if from_stdin + usize::from(self.list == Some(IdList::Stdin)) > 1 {
            return Err(Failure::new(
                Code::Usage,
                "standard input is named twice, and can be read once",
            ));
        }
        if inputs.len() > usize::from(u16::MAX) {
            return Err(Failure::new(
                Code::Usage,
                "more than 65535 files are named; join some of them in the order of their time",
            ));
        }
        Ok(ReportRequest {
            inputs,
            from,
            to,
            users: self.users()?,
            texts: true,
        })
    }

    /// The selected users; `None` for all.
    fn users(&self) -> Result<Option<Vec<String>>, Failure> {
        if self.user.is_empty() && self.list.is_none() {
            return Ok(None);
        }
        let mut users: Vec<String> = self.user.iter().map(ToString::to_string).collect();
        if let Some(list) = &self.list {
            users.extend(ids::read_all(list)?.iter().map(ToString::to_string));
        }
        Ok(Some(users))
    }

    /// Reads the recordings, draws the requested pictures, and reports problems in the recordings on stderr. `None` if
    /// no record is in the window.
    fn read<A: Analysis>(
        &self,
        app: &App,
        texts: bool,
        analysis: &mut A,
    ) -> anyhow::Result<Option<Reading>> {
        let mut request = self.request(app.now())?;
        let draws = self.html.is_some() || self.svg.is_some();
        request.texts = texts || draws;
        let mut both = (analysis, draws.then(|| PictureData::new(self.names())));
        let reading = report::analyse(&request, &mut both)?;
        let output = app.output();
        if reading.foreign_lines > 0 {
            let what = count(
                reading.foreign_lines,
                "line is not a record and was skipped",
                "lines are not records and were skipped",
            );
            output.warn(&what);
        }
        for name in &reading.traffic_recordings {
            output.warn(&format!(
                "{name} is a recording of `mock record` (requests and responses), not of `watch --tee`"
            ));
            output.hint("record a stream with `watch --tee FILE`; `mock start --replay FILE` answers from recorded requests");
        }
        if reading.late_lines > 0 {
            let what = count(
                reading.late_lines,
                "line is more than a minute out of order and was skipped",
                "lines are more than a minute out of order and were skipped",
            );
            output.warn(&what);
            output.hint("name each recording as a file of its own, in any order");
        }
        for name in &reading.truncated {
            output.warn(&format!("{name} ends in the middle of its compressed data"));
        }
        let Some(window) = reading.window else {
            output.warn(match (&self.from, &self.to) {
                (None, None) => "the input has no records",
                _ => "no record lies in the window",
            });
            return Ok(None);
        };
        if let Some(data) = &both.1 {
            let picture = data.picture(reading.timelines.people(), window, self.tz.clone());
            self.draw(app, &picture)?;
        }
        Ok(Some(reading))
    }

    fn draw(&self, app: &App, picture: &Picture<'_>) -> anyhow::Result<()> {
        if let Some(path) = &self.svg {
            write_file(app, path, &report::svg::draw(picture))?;
        }
        if let Some(path) = &self.html {
            write_file(app, path, &report::html::draw(picture)?)?;
        }
        Ok(())
    }
}

fn write_file(app: &App, path: &Path, text: &str) -> anyhow::Result<()> {
    let name = path.display();
    if app.is_dry_run() {
        app.output().status(&format!("would write {name}"));
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {name}"))?;
    app.output().status(&format!("wrote {name}"));
    Ok(())
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Whether results are printed as a table for people.
fn is_for_people(settings: &OutputSettings) -> bool {
    settings.format == Format::Table && settings.jq.is_none()
}

/// A duration for people: `2h 5m`, `1m 30s`, `250ms`.
fn length(millis: Millis) -> String {
    const UNITS: [(Millis, &str); 4] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    if millis < 1000 {
        return match millis {
            0 => "0s".to_owned(),
            _ => format!("{millis}ms"),
        };
    }
    let mut rest = millis;
    let parts = UNITS.into_iter().filter_map(|(unit, name)| {
        let number = rest / unit;
        rest %= unit;
        (number > 0).then(|| format!("{number}{name}"))
    });
    parts.take(2).collect::<Vec<_>>().join(" ")
}

/// A time for people.
fn moment(zone: &Zone, at: Millis) -> String {
    zone.time(at).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The error of a failed check. It names the users that failed.
fn check_failed(what: &str, users: &[String]) -> Failure {
    let number = users.len();
    let noun = if number == 1 { "user is" } else { "users are" };
    Failure::new(
        Code::NothingMatched,
        format!("{number} {noun} {what}: {}", users.join(", ")),
    )
}
