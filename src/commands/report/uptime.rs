//! `report uptime`: shows for how much of the time each user was online.

use serde::Serialize;

use super::{ReportArgs, check_failed, is_for_people, length, moment};
use crate::exit::{Code, Failure};
use crate::output::{Column, ColumnKind};
use crate::report::blocks::bar;
use crate::report::units::Seconds;
use crate::report::uptime::{Uptime, UptimeRecord};
use crate::report::zone::Zone;
use crate::settings::App;

/// The width of a user's bar, in terminal cells.
const BAR_CELLS: usize = 20;

/// Flags of `report uptime`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Time that nobody observed is unknown and never counts as offline: online_s + offline_s + unknown_s is the window, and
online_ratio is online_s / (online_s + offline_s).

Examples:
  presencectl report uptime day.ndjson
  presencectl report uptime --min 0.99 --from 24h --in @oncall.txt watch.ndjson
  presencectl report uptime shard-1.ndjson shard-2.ndjson --jq '[.user_id, .online_ratio] | @tsv'")]
pub struct UptimeArgs {
    /// What is read
    #[command(flatten)]
    pub report: ReportArgs,

    /// Exit with code 3 if a user is below this ratio (0 to 1), or nobody was observed
    #[arg(long, value_name = "RATIO", value_parser = parse_ratio)]
    pub min: Option<f64>,
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio
        .ok_or_else(|| format!("`{text}` is not a ratio; write a number from 0 to 1, such as 0.99"))
}

/// The row of a user in the table: their uptime, beside the fields of the record.
#[derive(Serialize)]
struct UptimeRow<'a> {
    #[serde(flatten)]
    record: &'a UptimeRecord,
    uptime: String,
    online: String,
    offline: String,
    unknown: String,
    longest: String,
    last_online: Option<String>,
    bar: String,
}

/// Numbers of the record. The table hides them, since it shows them in another form.
const FIELDS_FOR_PROGRAMS: [&str; 5] = [
    "observed_s",
    "online_s",
    "offline_s",
    "unknown_s",
    "online_ratio",
];
/// What the table shows after the id.
const TABLE_COLUMNS: [&str; 8] = [
    "uptime",
    "bar",
    "online",
    "offline",
    "unknown",
    "sessions",
    "longest",
    "last_online",
];

/// Prints a record for each user.
///
/// # Errors
///
/// As [`super::run`].
pub fn run(app: &App, args: &UptimeArgs) -> anyhow::Result<Code> {
    let for_people = is_for_people(app.output().settings());
    let mut rows = app.output().rows(&columns(for_people))?;
    let mut uptime = Uptime::default();
    let reading = args.report.read(app, false, &mut uptime)?;
    let names = args.report.names();
    let records = reading.map_or_else(Vec::new, |reading| {
        uptime.records(reading.timelines.people(), names)
    });
    for record in &records {
        if for_people {
            rows.push(&row(record, &args.report.tz))?;
        } else {
            rows.push(record)?;
        }
    }
    rows.finish()?;
    if let Some(min) = args.min {
        check(app, &records, min)?;
    }
    Ok(Code::Ok)
}

fn columns(for_people: bool) -> Vec<Column> {
    let mut columns = vec![Column::new("user_id", ColumnKind::Id)];
    if for_people {
        columns.extend(TABLE_COLUMNS.map(Column::plain));
        columns.extend(FIELDS_FOR_PROGRAMS.map(|name| Column::plain(name).hidden()));
        columns.push(Column::plain("longest_s").hidden());
    } else {
        columns.extend(FIELDS_FOR_PROGRAMS.map(Column::plain));
        columns.extend(["sessions", "longest_s", "last_online"].map(Column::plain));
    }
    columns
}

fn row<'a>(record: &'a UptimeRecord, zone: &Zone) -> UptimeRow<'a> {
    let (Seconds(online), Seconds(offline)) = (record.online_s, record.offline_s);
    let Seconds(unknown) = record.unknown_s;
    UptimeRow {
        uptime: record
            .online_ratio
            .map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}%", ratio * 100.0)),
        online: length(online),
        offline: length(offline),
        unknown: length(unknown),
        longest: length(record.longest_s.0),
        last_online: record.last_online.map(|at| moment(zone, at.0)),
        bar: bar(online, offline, unknown, BAR_CELLS),
        record,
    }
}

/// Fails if a user is below this uptime, or if nobody was observed. Warns about users who were not observed.
fn check(app: &App, records: &[UptimeRecord], min: f64) -> Result<(), Failure> {
    let unobserved: Vec<&str> = records
        .iter()
        .filter(|record| record.online_ratio.is_none())
        .map(|record| &*record.user_id)
        .collect();
    if unobserved.len() == records.len() {
        let message = format!("no user was observed, so an uptime of {min} cannot be confirmed");
        return Err(Failure::new(Code::NothingMatched, message));
    }
    if !unobserved.is_empty() {
        app.output().warn(&format!(
            "never observed, so not checked: {}",
            unobserved.join(", ")
        ));
    }
    let below: Vec<String> = Uptime::below(records, min)
        .into_iter()
        .map(|record| {
            let ratio = record.online_ratio.unwrap_or_default();
            format!("{} ({ratio})", record.user_id)
        })
        .collect();
    if below.is_empty() {
        return Ok(());
    }
    Err(check_failed(&format!("below an uptime of {min}"), &below))
}
