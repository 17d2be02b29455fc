//! `report flaps`: lists the users who change most often between online and offline.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::{ReportArgs, check_failed, count, is_for_people, length};
use crate::domain::time::Millis;
use crate::domain::time::parse_duration;
use crate::exit::Code;
use crate::output::{Column, ColumnKind};
use crate::report::blocks::bar;
use crate::report::flaps::{Flaps, FlapsRecord};
use crate::settings::App;

/// The length of the sliding window without `--threshold`.
const WINDOW_DEFAULT: Duration = Duration::from_secs(600);
/// The width of the longest bar, in terminal cells.
const BAR_CELLS: usize = 20;

/// Flags of `report flaps`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A change is counted where it was observed; what happened in a gap is not known. max_in_window is the most changes in any
sliding window of the length in --threshold (10m without it).

Examples:
  presencectl report flaps day.ndjson
  presencectl report flaps --threshold 5/10m day.ndjson
  presencectl report flaps day.ndjson --jq 'select(.changes > 100) | .user_id'")]
pub struct FlapsArgs {
    /// Which recordings to read
    #[command(flatten)]
    pub report: ReportArgs,

    /// Exit with code 3 if a user changes more than N times in DUR, such as 5/10m
    #[arg(long, value_name = "N/DUR")]
    pub threshold: Option<Threshold>,
}

/// A threshold: more than a number of changes within a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    changes: u64,
    window: Duration,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a threshold; write a number and a duration, such as 5/10m");
        let (changes, window) = text.split_once('/').ok_or_else(wrong)?;
        let window = parse_duration(window)?;
        if window < Duration::from_millis(1) {
            return Err(format!("in `{text}`, the duration must be at least 1ms"));
        }
        let changes = changes.parse().map_err(|_| wrong())?;
        Ok(Self { changes, window })
    }
}

/// The row of a user in the table: their changes, beside the fields of the record.
#[derive(Serialize)]
struct FlapsRow<'a> {
    #[serde(flatten)]
    record: &'a FlapsRecord,
    bar: String,
    median_online: Option<String>,
    window: String,
}

/// Prints a record for each user.
///
/// # Errors
///
/// As [`super::run`].
pub fn run(app: &App, args: &FlapsArgs) -> anyhow::Result<Code> {
    let people = is_for_people(app.output().settings());
    let mut columns = vec![
        Column::new("user_id", ColumnKind::Id),
        Column::plain("changes"),
    ];
    if people {
        columns.extend(["bar", "max_in_window", "window", "median_online"].map(Column::plain));
        columns.extend(["window_s", "median_online_s"].map(|name| Column::plain(name).hidden()));
    } else {
        columns.extend(["window_s", "max_in_window", "median_online_s"].map(Column::plain));
    }
    let mut rows = app.output().rows(&columns)?;
    let window = args
        .threshold
        .map_or(WINDOW_DEFAULT, |threshold| threshold.window);
    let mut flaps = Flaps::new(Millis::try_from(window.as_millis()).unwrap_or(Millis::MAX));
    let reading = args.report.read(app, false, &mut flaps)?;
    let names = args.report.names();
    let records = reading.map_or_else(Vec::new, |reading| {
        flaps.records(reading.timelines.people(), names)
    });
    let most = records
        .iter()
        .map(|record| record.changes)
        .max()
        .unwrap_or(0);
    for record in &records {
        if !people {
            rows.push(record)?;
            continue;
        }
        let part = |number: u64| Millis::try_from(number).unwrap_or(Millis::MAX);
        rows.push(&FlapsRow {
            bar: bar(
                part(record.changes),
                0,
                part(most - record.changes),
                BAR_CELLS,
            )
            .trim_end_matches('░')
            .to_owned(),
            median_online: record.median_online_s.map(|median| length(median.0)),
            window: length(record.window_s.0),
            record,
        })?;
    }
    rows.finish()?;
    let Some(threshold) = args.threshold else {
        return Ok(Code::Ok);
    };
    let above: Vec<String> = records
        .iter()
        .filter(|record| record.max_in_window > threshold.changes)
        .map(|record| format!("{} ({})", record.user_id, record.max_in_window))
        .collect();
    if above.is_empty() {
        return Ok(Code::Ok);
    }
    let window = length(Millis::try_from(threshold.window.as_millis()).unwrap_or(Millis::MAX));
    let what = format!(
        "above {} in {window}",
        count(threshold.changes, "change", "changes")
    );
    Err(check_failed(&what, &above).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let threshold = |changes, seconds| Threshold {
            changes,
            window: Duration::from_secs(seconds),
        };
        assert_eq!("5/10m".parse(), Ok(threshold(5, 600)));
        assert_eq!("0/1h30m".parse(), Ok(threshold(0, 5400)));
        for wrong in ["5", "5/", "/10m", "x/10m", "-1/10m", "5/10", "5/0s"] {
            assert!(wrong.parse::<Threshold>().is_err(), "{wrong}");
        }
    }
}
