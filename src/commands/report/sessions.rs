//! `report sessions`: lists when each user was online, like `last` does for logins.

use serde::Serialize;

use super::{ReportArgs, is_for_people, length, moment};
use crate::exit::Code;
use crate::output::{Column, ColumnKind};
use crate::report::sessions::{SessionRecord, Sessions};
use crate::settings::App;

/// Flags of `report sessions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sessions come in the order of their ends. `start` and `end` say why a session starts and ends where it does: observed
(the change was seen), gap (observation was interrupted), data_start and data_end (the window starts or ends). A session
without an end (`to` null) lasts until the end of the window.

Examples:
  presencectl report sessions day.ndjson
  presencectl report sessions --from 24h --user john shard-*.ndjson.zst
  presencectl report sessions day.ndjson --jq 'select(.duration_s < 5) | .user_id'")]
pub struct SessionsArgs {
    /// What is read
    #[command(flatten)]
    pub report: ReportArgs,
}

/// The row of a session in the table.
#[derive(Serialize)]
struct SessionRow<'a> {
    user_id: &'a str,
    name: Option<&'a str>,
    from: String,
    to: String,
    duration_s: &'a crate::report::units::Seconds,
    duration: String,
    start: &'a str,
    end: &'a str,
    status: Option<&'a str>,
}

/// Prints a record for each session.
///
/// # Errors
///
/// As [`super::run`].
pub fn run(app: &App, args: &SessionsArgs) -> anyhow::Result<Code> {
    let people = is_for_people(app.output().settings());
    let mut columns = vec![
        Column::new("user_id", ColumnKind::Id),
        Column::plain("name"),
        Column::plain("from"),
        Column::plain("to"),
    ];
    columns.extend(if people {
        vec![
            Column::plain("duration"),
            Column::plain("duration_s").hidden(),
        ]
    } else {
        vec![Column::plain("duration_s")]
    });
    columns.extend(["start", "end", "status"].map(Column::plain));
    let mut rows = app.output().rows(&columns)?;
    let zone = &args.report.tz;
    let mut sessions = Sessions::new(args.report.names(), |session: &SessionRecord| {
        if !people {
            return rows.push(session);
        }
        rows.push(&SessionRow {
            user_id: &session.user_id,
            name: session.name.as_deref(),
            from: moment(zone, session.from.0),
            to: session
                .to
                .map_or_else(|| "still online".to_owned(), |to| moment(zone, to.0)),
            duration_s: &session.duration_s,
            duration: length(session.duration_s.0),
            start: session.start,
            end: session.end,
            status: session.status.as_deref(),
        })
    });
    args.report.read(app, true, &mut sessions)?;
    sessions.flush()?;
    drop(sessions);
    rows.finish()?;
    Ok(Code::Ok)
}
