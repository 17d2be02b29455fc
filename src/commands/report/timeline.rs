//! `report timeline`: shows who was online when, as a picture for people and as numbers for programs.

use std::time::Duration;

use super::{ReportArgs, is_for_people};
use crate::domain::time::Millis;
use crate::domain::time::parse_duration;
use crate::exit::Code;
use crate::output::{Column, ColumnKind};
use crate::report::blocks::{self, TerminalLook};
use crate::report::picture::PictureData;
use crate::report::timeline::{Buckets, Timeline, TimelineRecord};
use crate::settings::App;

/// The length of a bucket without `--bucket`.
const BUCKET_DEFAULT: Duration = Duration::from_secs(3600);
/// The width of a picture that is written to a file, in cells.
const WIDTH_DEFAULT: usize = 100;

/// Flags of `report timeline`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal, and with -o table, this draws one line per user: the height of a block shows the share of its time that
the user was online, · is offline, ░ was not observed. Other formats have one record per user and bucket, and one for all
users (user_id null) with mean_online and peak_online. Buckets start at midnight in --tz; a day has 23 or 25 hours where
the clocks change.

Examples:
  presencectl report timeline day.ndjson
  presencectl report timeline day.ndjson --tz Europe/Berlin --html day.html
  presencectl report timeline --bucket 1d -o csv *.ndjson.gz")]
pub struct TimelineArgs {
    /// What is read
    #[command(flatten)]
    pub report: ReportArgs,

    /// Divide time into buckets of this length, for records; at least 1s (default 1h)
    #[arg(long, value_name = "DUR", value_parser = parse_bucket)]
    pub bucket: Option<Duration>,
}

/// Draws the picture, or prints a record for each user and bucket.
///
/// # Errors
///
/// As [`super::run`].
pub fn run(app: &App, args: &TimelineArgs) -> anyhow::Result<Code> {
    let settings = app.output().settings();
    if is_for_people(settings) && settings.columns.is_empty() {
        return draw(app, args);
    }
    let bucket = args.bucket.unwrap_or(BUCKET_DEFAULT);
    let mut columns = vec![Column::new("user_id", ColumnKind::Id)];
    columns.extend(
        [
            "from",
            "to",
            "online_s",
            "unknown_s",
            "mean_online",
            "peak_online",
        ]
        .map(Column::plain),
    );
    let mut rows = app.output().rows(&columns)?;
    let buckets = Buckets::new(
        args.report.tz.clone(),
        Millis::try_from(bucket.as_millis()).unwrap_or(Millis::MAX),
    );
    let mut timeline = Timeline::new(buckets, args.report.names(), |record: &TimelineRecord| {
        rows.push(record)
    });
    if let Some(reading) = args.report.read(app, false, &mut timeline)?
        && let Some((_, to)) = reading.window
    {
        timeline.finish(to, reading.timelines.people())?;
    }
    drop(timeline);
    rows.finish()?;
    Ok(Code::Ok)
}

fn parse_bucket(text: &str) -> Result<Duration, String> {
    parse_duration(text).and_then(|bucket| match bucket < Duration::from_secs(1) {
        true => Err("must be at least 1s".to_owned()),
        false => Ok(bucket),
    })
}

fn draw(app: &App, args: &TimelineArgs) -> anyhow::Result<Code> {
    let settings = app.output().settings();
    let mut data = PictureData::new(args.report.names());
    let Some(reading) = args.report.read(app, true, &mut data)? else {
        return Ok(Code::Ok);
    };
    let Some(window) = reading.window else {
        return Ok(Code::Ok);
    };
    let picture = data.picture(reading.timelines.people(), window, args.report.tz.clone());
    let look = TerminalLook {
        width: settings.width.unwrap_or(WIDTH_DEFAULT),
        colour: settings.colour,
    };
    app.output().print(&blocks::draw(&picture, look))?;
    Ok(Code::Ok)
}
