//! A record of a stream as one line for a person: the time, the user and what changed.
//!
//! Each line starts with the time and a symbol (`●` online, `○` offline, `!` warning). Text from the service is escaped and
//! shortened, as in tables. A line contains only what the record contains, with one exception: how long a user was
//! online, which is counted from the earlier lines.

use crate::escape;
use std::collections::HashMap;
use std::fmt::Write;

use chrono::{DateTime, Utc};

use super::Emphasis;
use super::human_time;
use crate::domain::event::{
    Event, EventUser, MEMBER_ADDED, MEMBER_REMOVED, USER_DELETED, USER_WATCHING_START,
    USER_WATCHING_STOP,
};
use crate::domain::presence::{Change, PresenceField};
use crate::domain::record::{Coverage, Gap, Record, RecordBody, RecordSource};
use crate::domain::user::User;
use crate::json::select;

/// The width of a line, in terminal cells, where the terminal sets no limit.
const DEFAULT_LINE_WIDTH: usize = 200;
/// How many ids of a list are shown.
const LISTED_IDS_MAX: usize = 5;

/// Formats records as lines. It remembers since when each user has been online.
#[derive(Debug, Default)]
pub(super) struct LineFormatter {
    since: HashMap<String, DateTime<Utc>>,
}

/// The style of lines: colour, width in terminal cells, and whether times are in UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineStyle {
    pub(super) colour: bool,
    pub(super) width: Option<usize>,
    pub(super) utc: bool,
}

impl LineFormatter {
    /// The line of a record, without the line feed.
    pub(super) fn line(&mut self, record: &Record<'_>, style: LineStyle) -> String {
        let at = record.received_at;
        let (mark, emphasis, what) = match &record.body {
            RecordBody::Event { event, change } => {
                self.event(event, change.as_ref(), record, style)
            }
            RecordBody::Snapshot(user) => self.snapshot(user, at),
            RecordBody::ConnectionChanged(body) if body.online => {
                let reason = escape::escape(&body.reason).into_owned();
                ('✓', Emphasis::Dim, format!("connected: {reason}"))
            }
            RecordBody::ConnectionChanged(body) => {
                let reason = escape::escape(&body.reason).into_owned();
                let attempt = match body.attempt {
                    0 => String::new(),
                    attempt => format!(" (attempt {attempt})"),
                };
                (
                    '!',
                    Emphasis::Warning,
                    format!("connection lost: {reason}{attempt}"),
                )
            }
            RecordBody::ConnectionRecovered => {
                ('✓', Emphasis::Dim, "all subscriptions restored".to_owned())
            }
            RecordBody::Gap(gap) => ('!', Emphasis::Warning, gap_text(gap, style.utc)),
            RecordBody::Coverage(coverage) => coverage_text(coverage),
            RecordBody::End(end) => {
                let what = format!(
                    "end: {}, {} {}, {} {}",
                    end.reason.name(),
                    end.events,
                    plural(end.events, "event"),
                    end.gaps,
                    plural(end.gaps, "gap"),
                );
                ('·', Emphasis::Dim, what)
            }
        };
        let clock = human_time::clock(at, style.utc);
        let room = style
            .width
            .unwrap_or(DEFAULT_LINE_WIDTH)
            .saturating_sub(clock.len() + 4);
        let what = escape::truncate(&what, room);
        if style.colour && emphasis != Emphasis::Plain {
            let (on, off) = (emphasis.ansi_code(), "\u{1b}[0m");
            format!("\u{1b}[2m{clock}{off}  {on}{mark}{off} {what}")
        } else if style.colour {
            format!("\u{1b}[2m{clock}\u{1b}[0m  {mark} {what}")
        } else {
            format!("{clock}  {mark} {what}")
        }
    }

    fn snapshot(&mut self, user: &User, at: DateTime<Utc>) -> (char, Emphasis, String) {
        let presence = user.presence();
        let mut what = display_name(user.id(), user.name());
        let (mark, emphasis) = match presence.online {
            Some(true) => {
                what.push_str(" is online");
                ('●', Emphasis::Positive)
            }
            Some(false) => {
                what.push_str(" is offline");
                ('○', Emphasis::Dim)
            }
            None => {
                what.push_str(" is in an unknown state");
                ('?', Emphasis::Dim)
            }
        };
        if presence.invisible == Some(true) {
            what.push_str(", invisible");
        }
        if let Some(last_active) = &presence.last_active {
            let ago = human_time::ago(last_active, at);
            write!(what, ", active {}", escape::escape(&ago))
                .expect("writing to a String does not fail");
        }
        if let Some(status) = presence
            .status
            .as_deref()
            .filter(|status| !status.is_empty())
        {
            write!(what, " — {}", escape::escape(status))
                .expect("writing to a String does not fail");
        }
        (mark, emphasis, what)
    }

    fn event(
        &mut self,
        event: &Event<'_>,
        change: Option<&Change>,
        record: &Record<'_>,
        style: LineStyle,
    ) -> (char, Emphasis, String) {
        let Some(user) = &event.user else {
            return ('·', Emphasis::Plain, type_and_channel(event));
        };
        let who = display_name(&user.id, user_name(user).as_deref());
        let cid = event.cid.as_deref().map(escape::escape).unwrap_or_default();
        let (mark, emphasis, mut what) = match &*event.kind {
            USER_WATCHING_START => ('→', Emphasis::Plain, format!("{who} opened {cid}")),
            USER_WATCHING_STOP => ('←', Emphasis::Plain, format!("{who} closed {cid}")),
            MEMBER_ADDED => ('+', Emphasis::Plain, format!("{who} joined {cid}")),
            MEMBER_REMOVED => ('−', Emphasis::Plain, format!("{who} left {cid}")),
            USER_DELETED => ('×', Emphasis::Warning, format!("{who} was deleted")),
            kind if kind.starts_with("user.presence") || kind.starts_with("user.updated") => {
                self.presence(user, &who, change, record.received_at, style)
            }
            _ => (
                '·',
                Emphasis::Plain,
                format!("{} {who}", type_and_channel(event)),
            ),
        };
        if record.source == RecordSource::Resync {
            what.push_str(" (found after a gap)");
        }
        (mark, emphasis, what)
    }

    fn presence(
        &mut self,
        user: &EventUser<'_>,
        who: &str,
        change: Option<&Change>,
        at: DateTime<Utc>,
        style: LineStyle,
    ) -> (char, Emphasis, String) {
        let has_changed = |field| change.is_none_or(|change| change.changed.contains(field));
        let mut parts = Vec::new();
        let (mut mark, mut emphasis) = ('·', Emphasis::Plain);
        if has_changed(PresenceField::Online) {
            match user.online {
                Some(true) => {
                    (mark, emphasis) = ('●', Emphasis::Positive);
                    self.since.insert(user.id.clone().into_owned(), at);
                    parts.push("is online".to_owned());
                }
                Some(false) => {
                    (mark, emphasis) = ('○', Emphasis::Dim);
                    let was = self.since.remove(&*user.id).map(|since| at - since);
                    parts.push(match was {
                        Some(was) => {
                            format!("went offline (was online {})", human_time::short(was))
                        }
                        None => "went offline".to_owned(),
                    });
                }
                None => {}
            }
        }
        // If the earlier state is unknown, only `online` counts as a change: the other fields may be old.
        if let Some(change) = change {
            if has_changed(PresenceField::Invisible) {
                parts.push(match user.invisible {
                    Some(true) => "is invisible".to_owned(),
                    Some(false) => "is visible".to_owned(),
                    None => "may be visible or not".to_owned(),
                });
            }
            if has_changed(PresenceField::Status) {
                parts.push(status_text(
                    user.status.as_deref(),
                    change.previous.status.as_deref(),
                ));
            }
            if has_changed(PresenceField::LastActive)
                && parts.is_empty()
                && let Some(last_active) = &user.last_active
            {
                let clock = human_time::clock_of(last_active, style.utc);
                parts.push(format!("was active at {}", escape::escape(&clock)));
            }
        }
        if parts.is_empty() {
            parts.push("was updated".to_owned());
        }
        (mark, emphasis, format!("{who} {}", parts.join(", ")))
    }
}

fn status_text(now: Option<&str>, before: Option<&str>) -> String {
    match (now, before.filter(|before| !before.is_empty())) {
        (Some(now), Some(before)) if !now.is_empty() => format!(
            "status: {} (was: {})",
            escape::escape(now),
            escape::truncate(&escape::escape(before), 40)
        ),
        (Some(now), None) if !now.is_empty() => format!("status: {}", escape::escape(now)),
        (_, Some(before)) => format!(
            "has no status now (was: {})",
            escape::truncate(&escape::escape(before), 40)
        ),
        (_, None) => "has no status".to_owned(),
    }
}

/// How a user is shown: `John (john)`, or the id if they have no name.
fn display_name(id: &str, name: Option<&str>) -> String {
    let id = escape::escape(id);
    match name.filter(|name| !name.is_empty() && *name != id) {
        Some(name) => format!("{} ({id})", escape::truncate(&escape::escape(name), 40)),
        None => id.into_owned(),
    }
}

fn user_name(user: &EventUser<'_>) -> Option<String> {
    let name = select::at(user.raw, &["name".to_owned()])?;
    Some(select::plain_text(name).into_owned())
}

fn type_and_channel(event: &Event<'_>) -> String {
    let kind = escape::escape(&event.kind);
    match &event.cid {
        Some(cid) => format!("{kind} {}", escape::escape(cid)),
        None => kind.into_owned(),
    }
}

fn gap_text(gap: &Gap, utc: bool) -> String {
    let mut what = format!(
        "gap from {} to {}: {}",
        escape::escape(&human_time::clock_of(&gap.from, utc)),
        escape::escape(&human_time::clock_of(&gap.to, utc)),
        escape::escape(&gap.note),
    );
    if !gap.repaired.is_empty() {
        write!(what, "; changed meanwhile: {}", listed_ids(&gap.repaired))
            .expect("writing to a String does not fail");
    }
    what
}

fn coverage_text(coverage: &Coverage) -> (char, Emphasis, String) {
    let Coverage {
        requested,
        subscribed,
        missing,
        missing_reasons: _,
    } = coverage;
    let users = plural(*requested as u64, "user");
    if missing.is_empty() {
        let what = format!("following {subscribed} of {requested} {users}");
        ('✓', Emphasis::Dim, what)
    } else {
        let missing = listed_ids(missing);
        let what = format!("following {subscribed} of {requested} {users}, not {missing}");
        ('!', Emphasis::Warning, what)
    }
}

fn listed_ids(ids: &[String]) -> String {
    let mut names: Vec<_> = ids
        .iter()
        .take(LISTED_IDS_MAX)
        .map(|id| escape::escape(id).into_owned())
        .collect();
    if ids.len() > LISTED_IDS_MAX {
        names.push(format!("and {} more", ids.len() - LISTED_IDS_MAX));
    }
    names.join(", ")
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 {
        word.to_owned()
    } else {
        format!("{word}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::presence::Presence;
    use crate::domain::record::{ConnectionChanged, EndReason, StreamEnd};
    use chrono::TimeDelta;

    const PLAIN: LineStyle = LineStyle {
        colour: false,
        width: None,
        utc: true,
    };

    fn noon() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z")
            .unwrap()
            .to_utc()
    }

    fn local(body: RecordBody<'_>) -> String {
        let record = Record {
            received_at: noon(),
            source: RecordSource::Local,
            body,
        };
        LineFormatter::default().line(&record, PLAIN)
    }

    fn event(lines: &mut LineFormatter, seconds: i64, raw: &str, change: Option<Change>) -> String {
        let record = Record {
            received_at: noon() + TimeDelta::seconds(seconds),
            source: RecordSource::Ws,
            body: RecordBody::Event {
                event: Event::parse(raw).unwrap(),
                change,
            },
        };
        lines.line(&record, PLAIN)
    }

    fn has_changed(changed: &[PresenceField], status: Option<&str>) -> Option<Change> {
        Some(Change {
            changed: changed.iter().copied().collect(),
            previous: Presence {
                status: status.map(str::to_owned),
                ..Presence::default()
            },
            ..Change::default()
        })
    }

    #[test]
    fn presence_in_words() {
        let mut lines = LineFormatter::default();
        let mut said = String::new();
        for (seconds, raw, change) in [
            (
                0,
                r#"{"type":"user.presence.changed","user":{"id":"jack","name":"Jack","online":true}}"#,
                has_changed(&[PresenceField::Online, PresenceField::LastActive], None),
            ),
            (
                185,
                r#"{"type":"user.presence.changed","user":{"id":"jack","name":"jack","online":false}}"#,
                has_changed(&[PresenceField::Online], None),
            ),
            (
                186,
                r#"{"type":"user.presence.changed","user":{"id":"zoe","online":false}}"#,
                None,
            ),
            (
                187,
                r#"{"type":"user.updated","user":{"id":"zoe","online":true,"status":"in\u001b[2J a meeting"}}"#,
                has_changed(&[PresenceField::Status], Some("at lunch")),
            ),
            (
                188,
                r#"{"type":"user.updated","user":{"id":"zoe"}}"#,
                has_changed(&[PresenceField::Status], Some("x")),
            ),
            (
                188,
                r#"{"type":"user.updated","user":{"id":"zoe","invisible":true,"online":false}}"#,
                has_changed(&[PresenceField::Online, PresenceField::Invisible], None),
            ),
            (
                188,
                r#"{"type":"user.updated","user":{"id":"zoe","last_active":"2026-03-01T11:59:00Z"}}"#,
                has_changed(&[PresenceField::LastActive], None),
            ),
            (
                188,
                r#"{"type":"user.updated","user":{"id":"zoe","color":"green"}}"#,
                has_changed(&[], None),
            ),
            (
                189,
                r#"{"type":"user.watching.start","cid":"messaging:fun","user":{"id":"zoe"},"watcher_count":2}"#,
                None,
            ),
            (
                189,
                r#"{"type":"member.removed","cid":"messaging:fun","user":{"id":"zoe"}}"#,
                None,
            ),
            (
                190,
                r#"{"type":"some.future\u0007.thing","cid":"messaging:fun"}"#,
                None,
            ),
            (190, r#"{"type":"user.banned","user":{"id":"zoe"}}"#, None),
        ] {
            said.push_str(&event(&mut lines, seconds, raw, change));
            said.push('\n');
        }
        insta::assert_snapshot!(said, @r"
        12:00:00  ● Jack (jack) is online
        12:03:05  ○ jack went offline (was online 3m)
        12:03:06  ○ zoe went offline
        12:03:07  · zoe status: in\u{1b}[2J a meeting (was: at lunch)
        12:03:08  · zoe has no status now (was: x)
        12:03:08  ○ zoe went offline, is invisible
        12:03:08  · zoe was active at 11:59:00
        12:03:08  · zoe was updated
        12:03:09  → zoe opened messaging:fun
        12:03:09  − zoe left messaging:fun
        12:03:10  · some.future\u{7}.thing messaging:fun
        12:03:10  · user.banned zoe
        ");
    }

    #[test]
    fn the_stream_in_words() {
        let user: User = serde_json::from_str(
            r#"{"id":"john","name":"John","online":true,"invisible":false,"status":"Eating a veggie burger...","last_active":"2026-03-01T11:57:00Z"}"#,
        )
        .unwrap();
        let ids: Vec<String> = (1..=7).map(|n| format!("u{n}")).collect();
        let said = [
            local(RecordBody::Snapshot(&user)),
            local(RecordBody::Coverage(Coverage {
                requested: 3,
                subscribed: 3,
                ..Coverage::default()
            })),
            local(RecordBody::Coverage(Coverage {
                requested: 8,
                subscribed: 1,
                missing: ids.clone(),
                ..Coverage::default()
            })),
            local(RecordBody::ConnectionChanged(ConnectionChanged {
                online: false,
                reason: "closed with code 1006".into(),
                attempt: 2,
            })),
            local(RecordBody::ConnectionRecovered),
            local(RecordBody::Gap(Gap {
                from: "2026-03-01T11:57:00Z".into(),
                to: "2026-03-01T11:58:00Z".into(),
                repaired: vec!["john".into()],
                note: "reconnected".into(),
            })),
            local(RecordBody::End(StreamEnd {
                reason: EndReason::Count,
                events: 1,
                gaps: 2,
                reconnects: 2,
                exit_code: 0,
            })),
        ]
        .join("\n");
        insta::assert_snapshot!(said, @"
        12:00:00  ● John (john) is online, active 3m ago — Eating a veggie burger...
        12:00:00  ✓ following 3 of 3 users
        12:00:00  ! following 1 of 8 users, not u1, u2, u3, u4, u5, and 2 more
        12:00:00  ! connection lost: closed with code 1006 (attempt 2)
        12:00:00  ✓ all subscriptions restored
        12:00:00  ! gap from 11:57:00 to 11:58:00: reconnected; changed meanwhile: john
        12:00:00  · end: count, 1 event, 2 gaps
        ");
    }

    #[test]
    fn a_line_fits_its_terminal_and_cannot_harm_it() {
        let status = format!("\\u001b[31m\\n\\u202e{}", "x".repeat(4096));
        let raw = format!(r#"{{"type":"user.updated","user":{{"id":"eve","status":"{status}"}}}}"#);
        let record = |change| Record {
            received_at: noon(),
            source: RecordSource::Resync,
            body: RecordBody::Event {
                event: Event::parse(&raw).unwrap(),
                change,
            },
        };
        for width in [None, Some(80), Some(10)] {
            let line = LineFormatter::default().line(
                &record(has_changed(&[PresenceField::Status], None)),
                LineStyle { width, ..PLAIN },
            );
            assert!(
                escape::width(&line) <= width.unwrap_or(DEFAULT_LINE_WIDTH).max(13),
                "{line}"
            );
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'));
        }
    }

    #[test]
    fn colour_marks_the_mark() {
        let mut lines = LineFormatter::default();
        let raw = r#"{"type":"user.presence.changed","user":{"id":"a","online":true}}"#;
        let record = Record {
            received_at: noon(),
            source: RecordSource::Ws,
            body: RecordBody::Event {
                event: Event::parse(raw).unwrap(),
                change: None,
            },
        };
        let style = LineStyle {
            colour: true,
            ..PLAIN
        };
        assert_eq!(
            lines.line(&record, style),
            "\u{1b}[2m12:00:00\u{1b}[0m  \u{1b}[32m●\u{1b}[0m a is online"
        );
    }
}
