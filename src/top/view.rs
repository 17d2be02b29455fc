//! Draws the screen into a buffer of cells. Reads no clock and writes nowhere.
//!
//! Names and statuses are untrusted: they are escaped here, where they become cells.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::history::{EntryKind, HISTORY_SPAN, OnlineState, SparkCell};
use super::keys::{Choices, ViewMode};
use super::state::{CHANGES_SPAN, ConnectionStatus, TopState, TrackedUser};
use crate::domain::time::Millis;
use crate::escape;
use crate::output::human_time;

/// Below this height, the second line of the header and the line of keys are left out.
const HEIGHT_FULL: u16 = 8;
/// Parts of a whole, in eighths.
const BLOCKS: [&str; 9] = ["·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// Time that nobody observed.
const UNKNOWN: &str = "░";

/// The fewest cells that are worth using for a part of a text.
const PART_CELLS_MIN: u16 = 24;

const KEYS: &[(&str, &str)] = &[
    ("q", "quit"),
    ("/", "filter by part of a name, id or status; Esc clears it"),
    ("s", "sort by online, name, changes, or the latest change"),
    ("o", "list only users who are online"),
    ("space", "pause the display; a replay stops"),
    ("enter", "show what happened to the selected user"),
    ("c", "copy the selected user's id to the clipboard"),
    ("↑ ↓ PgUp PgDn", "select a user; also j, k, Home, End"),
    ("Ctrl-Z", "stop the process; the shell's `fg` continues it"),
    ("?", "show this help; any key closes it"),
];

const LEGEND: &[&str] = &[
    "● online  ○ offline  ? not observed (●? ○? as last known)  × deleted or left",
    "FOR          since when; > if it began before the user was first observed",
    "10M          how often the user went online or offline in the last 10 minutes",
    "LAST 30 MIN  the part of the time online; · is offline, ░ was not observed",
];

/// What is drawn besides the state and the choices.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Whom the state is about, such as the channel.
    pub title: &'a str,
    /// The time: now, or that of a replay.
    pub now: DateTime<Utc>,
    /// The time that the table shows: that of the start of a pause, else `now`.
    pub table_now: DateTime<Utc>,
    /// The speed of a replay, and whether it is over.
    pub replay: Option<(f64, bool)>,
    /// Whether colours may be used.
    pub has_colour: bool,
    /// Whether times are shown in UTC and not in the local time zone.
    pub is_utc: bool,
}

/// How many rows of users fit into a screen of this height.
pub fn table_height(height: u16) -> usize {
    let others = if height < HEIGHT_FULL { 2 } else { 4 };
    usize::from(height.saturating_sub(others))
}

/// Draws the screen. `state` is what the table shows; `live` is the same, or what has become of it during a pause.
pub fn draw(
    state: &TopState,
    live: &TopState,
    choices: &Choices,
    context: &Context<'_>,
    buffer: &mut Buffer,
) {
    let area = buffer.area;
    if area.width == 0 || area.height == 0 {
        return;
    }
    let mut painter = Painter {
        buffer,
        area,
        has_colour: context.has_colour,
    };
    let is_full = area.height >= HEIGHT_FULL;
    painter.connection(live, context);
    let mut top = 1;
    if is_full {
        painter.summary(live, choices, context);
        top = 2;
    }
    let bottom = area.height - u16::from(is_full);
    match choices.mode {
        ViewMode::Table | ViewMode::Filter => painter.table(state, choices, context, top, bottom),
        ViewMode::History { user, offset } => {
            if let Some(user) = state.users().get(user) {
                painter.history(user, offset, context, top, bottom);
            }
        }
        ViewMode::Help => painter.help(top, bottom),
    }
    // On a low screen, a message or the filter takes the place of the last row.
    let has_prompt = choices.message.is_some() || choices.mode == ViewMode::Filter;
    if is_full || has_prompt {
        painter.last_line(choices, area.height - 1);
    }
}

/// The columns of the table and how many cells each takes; 0: left out.
struct Columns {
    name: u16,
    id: u16,
    status: u16,
    spark: u16,
}

impl Columns {
    /// The mark, the duration, the changes, and the spaces between them.
    const FIXED: u16 = 3 + 6 + 4;

    fn of(width: u16) -> Self {
        let spark = match width {
            ..34 => 0,
            34..60 => 10,
            60..120 => 30,
            _ => 60,
        };
        let spark_space = if spark == 0 { 0 } else { spark + 1 };
        let rest = width.saturating_sub(Self::FIXED + spark_space);
        let (id, rest) = if width >= 120 {
            (24, rest.saturating_sub(25))
        } else {
            (0, rest)
        };
        let (name, status) = if width < 72 {
            (rest, 0)
        } else {
            let name = (rest / 2).min(32);
            (name, rest - name - 1)
        };
        Self {
            name,
            id,
            status,
            spark,
        }
    }
}

/// Writes text into the buffer.
struct Painter<'b> {
    buffer: &'b mut Buffer,
    area: Rect,
    has_colour: bool,
}

impl Painter<'_> {
    fn style(&self, colour: Color) -> Style {
        if self.has_colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// Writes text into at most `width` cells. Returns the column after it.
    fn put(&mut self, x: u16, y: u16, text: &str, width: u16, style: Style) -> u16 {
        let width = width.min(self.area.width.saturating_sub(x));
        if width == 0 || y >= self.area.height {
            return x;
        }
        let text = fit(text, width);
        let (end, _) = self
            .buffer
            .set_stringn(x, y, &text, usize::from(width), style);
        end
    }

    /// Writes text that ends at the right edge. Returns its first column.
    fn put_right(&mut self, y: u16, text: &str, style: Style) -> u16 {
        let width = cells(text).min(self.area.width);
        let x = self.area.width - width;
        self.put(x, y, text, width, style);
        x
    }

    fn fill(&mut self, y: u16, style: Style) {
        if y < self.area.height {
            let row = Rect::new(0, y, self.area.width, 1);
            self.buffer.set_style(row, style);
        }
    }

    /// The first line: the connection, the title, and how many users are online.
    fn connection(&mut self, state: &TopState, context: &Context<'_>) {
        let age = state.latest.map(|at| {
            let age = context.now.timestamp_millis() - at;
            human_time::short(TimeDelta::milliseconds(age.max(0)))
        });
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let alarm = bold
            .patch(self.style(Color::Red))
            .add_modifier(Modifier::REVERSED);
        let (mark, text, style) = match (&state.connection, context.replay) {
            (_, Some((speed, true))) => {
                ("■", format!("end of the recording, played {speed}x"), bold)
            }
            (ConnectionStatus::Lost { .. }, Some((speed, _))) => {
                ("▶", format!("replay {speed}x, connection lost"), alarm)
            }
            (_, Some((speed, _))) => {
                let time = human_time::clock(context.now, context.is_utc);
                ("▶", format!("replay {speed}x at {time}"), bold)
            }
            (ConnectionStatus::Connecting, None) => ("…", "connecting".to_owned(), bold),
            (ConnectionStatus::Subscribing { answered, queries }, None) => {
                let text = match queries {
                    0 => "connected, subscribing".to_owned(),
                    _ => format!("subscribing, {answered} of {queries} queries"),
                };
                ("…", text, bold)
            }
            (ConnectionStatus::Connected, None) => (
                "●",
                "connected".to_owned(),
                bold.patch(self.style(Color::Green)),
            ),
            (ConnectionStatus::Lost { attempt, .. }, None) => {
                let attempt = match attempt {
                    0 => String::new(),
                    n => format!(", attempt {n}"),
                };
                let age = age.map_or(String::new(), |age| format!(", data {age} old"));
                ("○", format!("reconnecting{attempt}{age}"), alarm)
            }
            (ConnectionStatus::Ended(reason), None) => {
                ("■", format!("ended: {}", reason.name()), bold)
            }
        };
        let x = self.put(0, 0, &format!(" {mark} {text} "), self.area.width, style);
        let counts = state.counts();
        let mut summary = format!("{} online, {} offline", counts.online, counts.offline);
        if counts.unknown > 0 {
            summary.push_str(&format_unknown(counts.unknown));
        }
        if self.area.width <= x + cells(&summary) + 1 {
            summary = format!("{} online", counts.online);
        }
        let right = cells(&summary) + 1;
        if self.area.width > x + right {
            self.put_right(0, &format!("{summary} "), Style::new());
            let space = self.area.width - right - x;
            let title = escape::escape(context.title).into_owned();
            if space > cells(&title) + 1 || space > PART_CELLS_MIN {
                self.put(x + 1, 0, &title, space - 2, Style::new());
            }
        }
    }

    /// The second line: coverage, gaps and delay; what is chosen.
    fn summary(&mut self, state: &TopState, choices: &Choices, context: &Context<'_>) {
        let mut parts: Vec<(String, Style)> = Vec::new();
        let plain = Style::new();
        let warning = self.style(Color::Yellow).add_modifier(Modifier::BOLD);
        if let Some(coverage) = &state.coverage {
            let is_partial = coverage.subscribed < coverage.requested;
            parts.push((
                format!("coverage {}/{}", coverage.subscribed, coverage.requested),
                if is_partial { warning } else { plain },
            ));
        }
        parts.push((
            format!("gaps {}", state.gaps),
            if state.gaps > 0 { warning } else { plain },
        ));
        if let Some(delay) = state.delay {
            parts.push((format!("delay {}", delay_text(delay)), plain));
        }
        // Last, because it may be long.
        if let (ConnectionStatus::Lost { reason, .. }, None) = (&state.connection, context.replay) {
            parts.push((escape::message(reason), self.style(Color::Red)));
        }
        let mut chosen = format!("sort {}", choices.list.sort.name());
        if choices.list.is_online_only {
            chosen.push_str(", online only");
        }
        if !choices.list.filter.is_empty() {
            let filter = escape::quote(&choices.list.filter);
            chosen = format!("{chosen}, filter {}", escape::truncate(&filter, 20));
        }
        if choices.is_paused {
            chosen.push_str(", PAUSED");
        }
        let (first, last, listed) = choices.list.place();
        if last - first < listed {
            chosen = format!("{chosen}, {}-{last} of {listed}", first + 1);
        }
        let right = self.put_right(1, &format!("{chosen} "), plain);
        let mut x = 1;
        for (part, style) in &parts {
            let width = right.saturating_sub(x + 1);
            // Part of a number would be a wrong number; part of a long text still says something.
            if cells(part) <= width || width >= PART_CELLS_MIN {
                x = self.put(x, 1, part, width, *style) + 2;
            }
        }
    }

    fn table(
        &mut self,
        state: &TopState,
        choices: &Choices,
        context: &Context<'_>,
        top: u16,
        bottom: u16,
    ) {
        let columns = Columns::of(self.area.width);
        let heading = Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED);
        self.fill(top, heading);
        self.row(top, &columns, heading, |column| match column {
            TableColumn::Name => Cow::Borrowed("USER"),
            TableColumn::Id => Cow::Borrowed("ID"),
            TableColumn::For => Cow::Borrowed("  FOR"),
            TableColumn::Changes => Cow::Borrowed("10M"),
            TableColumn::Status => Cow::Borrowed("STATUS"),
        });
        if columns.spark > 0 {
            let x = self.area.width - columns.spark;
            let label = if columns.spark < 30 {
                "LAST 30 M"
            } else {
                "LAST 30 MIN"
            };
            self.put(x, top, label, columns.spark, heading);
        }
        for (y, (index, is_selected)) in (top + 1..bottom).zip(choices.list.visible()) {
            let user = &state.users()[index];
            self.user(y, &columns, user, is_selected, state, context);
        }
        if choices.list.place().2 == 0 {
            let text = match (state.users().len(), &state.connection) {
                (0, ConnectionStatus::Connecting | ConnectionStatus::Subscribing { .. }) => "",
                (0, _) => "there are no users",
                (_, _) => "no user matches the filters; Esc clears the filter, o lists everybody",
            };
            self.put(3, top + 1, text, self.area.width, Style::new());
        }
    }

    fn row<'t>(
        &mut self,
        y: u16,
        columns: &Columns,
        style: Style,
        text: impl Fn(TableColumn) -> Cow<'t, str>,
    ) {
        let mut x = 3;
        self.put(x, y, &text(TableColumn::Name), columns.name, style);
        x += columns.name + 1;
        if columns.id > 0 {
            self.put(x, y, &text(TableColumn::Id), columns.id, style);
            x += columns.id + 1;
        }
        self.put(x, y, &text(TableColumn::For), 5, style);
        x += 6;
        self.put(x, y, &text(TableColumn::Changes), 3, style);
        x += 4;
        if columns.status > 0 {
            self.put(x, y, &text(TableColumn::Status), columns.status, style);
        }
    }

    fn user(
        &mut self,
        y: u16,
        columns: &Columns,
        user: &TrackedUser,
        is_selected: bool,
        state: &TopState,
        context: &Context<'_>,
    ) {
        let now = context.table_now.timestamp_millis();
        let is_observed = state.lost_at.is_none();
        let row = match user.state {
            OnlineState::Online if is_observed => Style::new(),
            OnlineState::Online
            | OnlineState::Offline
            | OnlineState::Unknown
            | OnlineState::Gone => Style::new().add_modifier(Modifier::DIM),
        };
        self.row(y, columns, row, |column| match column {
            TableColumn::Name => escape::escape(user.label()),
            TableColumn::Id => escape::escape(&user.id),
            TableColumn::For => Cow::Owned(format!(
                "{:>5}",
                duration(user, state.lost_at.unwrap_or(now))
            )),
            TableColumn::Changes => match user.history.changes_since(now - CHANGES_SPAN) {
                0 => Cow::Borrowed("  ·"),
                changes => Cow::Owned(format!("{changes:>3}")),
            },
            TableColumn::Status => status_text(user),
        });
        let (mark, mark_style) = match user.state {
            OnlineState::Online if is_observed => ("●", self.style(Color::Green)),
            OnlineState::Online => ("●", row),
            OnlineState::Offline => ("○", row),
            OnlineState::Unknown => ("?", self.style(Color::Yellow)),
            OnlineState::Gone => ("×", row),
        };
        self.put(1, y, mark, 1, mark_style);
        // Beside what was last known.
        if !is_observed && matches!(user.state, OnlineState::Online | OnlineState::Offline) {
            self.put(2, y, "?", 1, self.style(Color::Yellow));
        }
        if columns.spark > 0 {
            let cell = HISTORY_SPAN / Millis::from(columns.spark);
            let line = user
                .history
                .sparkline(now, cell, usize::from(columns.spark), state.lost_at);
            for (x, cell) in (self.area.width - columns.spark..).zip(line) {
                let (symbol, style) = match cell {
                    SparkCell::Before => (" ", Style::new()),
                    SparkCell::Unknown => (UNKNOWN, self.style(Color::Yellow)),
                    SparkCell::Online(0) => (BLOCKS[0], Style::new().add_modifier(Modifier::DIM)),
                    SparkCell::Online(eighths) => {
                        (BLOCKS[usize::from(eighths)], self.style(Color::Green))
                    }
                };
                self.put(x, y, symbol, 1, style);
            }
        }
        if is_selected {
            self.fill(y, Style::new().add_modifier(Modifier::REVERSED));
        }
    }

    fn history(
        &mut self,
        user: &TrackedUser,
        offset: usize,
        context: &Context<'_>,
        top: u16,
        bottom: u16,
    ) {
        let bold = Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED);
        self.fill(top, bold);
        let title = match &user.name {
            Some(name) => format!("{} ({})", escape::escape(name), escape::escape(&user.id)),
            None => escape::escape(&user.id).into_owned(),
        };
        self.put(1, top, &title, self.area.width, bold);
        let now = context.table_now.timestamp_millis();
        let entries: Vec<_> = user.history.entries().collect();
        // A state lasts until the next one.
        let mut ends = vec![now; entries.len()];
        let mut end = now;
        for (index, entry) in entries.iter().enumerate().rev() {
            ends[index] = end;
            if matches!(entry.kind, EntryKind::State { .. }) {
                end = entry.at;
            }
        }
        let rows = entries.iter().zip(ends).enumerate().rev().skip(offset);
        for (y, (index, (entry, end))) in (top + 1..bottom).zip(rows) {
            let time = DateTime::from_timestamp_millis(entry.at)
                .map_or(String::new(), |at| human_time::clock(at, context.is_utc));
            let (what, style) = match &entry.kind {
                EntryKind::State { state, is_change } => {
                    let length =
                        human_time::short(TimeDelta::milliseconds((end - entry.at).max(0)));
                    let begin = match (is_change, state) {
                        (true, _) | (_, OnlineState::Unknown | OnlineState::Gone) => "",
                        (false, _) if index == 0 => " (already when first observed)",
                        (false, _) => " (already when observed again)",
                    };
                    let (name, style) = match state {
                        OnlineState::Online => ("● online", self.style(Color::Green)),
                        OnlineState::Offline => ("○ offline", Style::new()),
                        OnlineState::Unknown => ("? not observed", self.style(Color::Yellow)),
                        OnlineState::Gone => ("× gone", Style::new()),
                    };
                    (format!("{name} for {length}{begin}"), style)
                }
                EntryKind::Status(Some(status)) => (
                    format!("  status: {}", escape::escape(status)),
                    Style::new(),
                ),
                EntryKind::Status(None) => ("  status removed".to_owned(), Style::new()),
            };
            let x = self.put(1, y, &time, 10, Style::new());
            self.put(x + 2, y, &what, self.area.width, style);
        }
    }

    fn help(&mut self, top: u16, bottom: u16) {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mut y = top;
        for (key, meaning) in KEYS {
            if y < bottom {
                self.put(1, y, key, 14, bold);
                self.put(16, y, meaning, self.area.width, Style::new());
            }
            y += 1;
        }
        for line in LEGEND {
            y += u16::from(*line == LEGEND[0]);
            if y < bottom {
                self.put(1, y, line, self.area.width, Style::new());
            }
            y += 1;
        }
    }

    fn last_line(&mut self, choices: &Choices, y: u16) {
        let width = self.area.width;
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let blank = " ".repeat(usize::from(width));
        self.put(0, y, &blank, width, Style::reset());
        if let Some(message) = &choices.message {
            self.put(1, y, &escape::message(message), width, bold);
            return;
        }
        let keys: &[(&str, &str)] = match choices.mode {
            ViewMode::Filter => {
                let filter = escape::escape(&choices.list.filter).into_owned();
                // The end of a long filter is what is being typed.
                let skip = cells(&filter).saturating_sub(width.saturating_sub(4));
                let shown: String = filter.chars().skip(usize::from(skip)).collect();
                let x = self.put(1, y, &format!("/{shown}"), width, bold);
                let cursor = Style::new().add_modifier(Modifier::REVERSED);
                let x = self.put(x, y, " ", 1, cursor);
                if width > x + 34 {
                    self.put_right(y, "enter keeps it, esc clears it ", Style::new());
                }
                return;
            }
            ViewMode::Table => &[
                ("q", "quit"),
                ("/", "filter"),
                ("s", "sort"),
                ("o", "online"),
                ("space", "pause"),
                ("enter", "history"),
                ("c", "copy"),
                ("?", "help"),
            ],
            ViewMode::History { .. } => &[
                ("esc", "back"),
                ("↑ ↓", "scroll"),
                ("c", "copy the id"),
                ("q", "quit"),
            ],
            ViewMode::Help => &[("any key", "back")],
        };
        let mut x = 1;
        for (key, meaning) in keys {
            let needed = cells(key) + 1 + cells(meaning);
            if x + needed > width {
                break;
            }
            x = self.put(x, y, key, width, bold);
            x = self.put(x + 1, y, meaning, width, Style::new()) + 2;
        }
    }
}

/// A column of text in the table.
#[derive(Debug, Clone, Copy)]
enum TableColumn {
    Name,
    Id,
    For,
    Changes,
    Status,
}

/// How long the user has been what they are, such as `12m`, or `>12m` if they were so before they were observed.
fn duration(user: &TrackedUser, now: Millis) -> String {
    match user.state {
        OnlineState::Unknown | OnlineState::Gone => String::new(),
        OnlineState::Online | OnlineState::Offline => {
            let span = TimeDelta::milliseconds((now - user.since).max(0));
            let more = if user.is_since_exact { "" } else { ">" };
            format!("{more}{}", human_time::short(span))
        }
    }
}

fn status_text(user: &TrackedUser) -> Cow<'_, str> {
    match (&user.status, user.is_invisible) {
        (Some(status), false) => escape::escape(status),
        (Some(status), true) => format!("(invisible) {}", escape::escape(status)).into(),
        (None, true) => "(invisible)".into(),
        (None, false) => "".into(),
    }
}

fn format_unknown(unknown: usize) -> String {
    format!(", {unknown} unknown")
}

/// How long an event was under way. Two clocks that differ can make it negative.
fn delay_text(delay: Millis) -> String {
    match delay {
        ..=-1000 => "unknown (the clocks differ)".to_owned(),
        -999..1 => "<1ms".to_owned(),
        1..1000 => format!("{delay}ms"),
        1000..10_000 => format!("{:.1}s", delay as f64 / 1000.0),
        _ => human_time::short(TimeDelta::milliseconds(delay)),
    }
}

fn cells(text: &str) -> u16 {
    u16::try_from(escape::width(text)).unwrap_or(u16::MAX)
}

/// The text, shortened to this many cells.
fn fit(text: &str, width: u16) -> Cow<'_, str> {
    escape::truncate(text, usize::from(width))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;
    use serde_json::{Value, json};

    use super::super::testing::{apply, at};
    use super::*;

    /// Amy flaps, Bob's name and status are hostile, Cem does not exist, Dana is invisible.
    fn state() -> TopState {
        let snapshot = |user: Value| json!({"type": "presence.snapshot", "received_at": at(0), "source": "query", "user": user});
        let amy = |second: i64, online: bool| {
            json!({"type": "user.presence.changed", "received_at": at(second), "created_at": at(second), "source": "ws",
                   "user": {"id": "amy", "name": "Amy Adams", "online": online, "status": "at lunch"}})
        };
        let mut state = TopState::default();
        apply(
            &mut state,
            &[
                snapshot(
                    json!({"id": "amy", "name": "Amy Adams", "online": false, "status": "at lunch"}),
                ),
                snapshot(
                    json!({"id": "bob", "name": "Bob\u{1b}[31m", "online": true, "status": "회의 중 \u{202e}very long text"}),
                ),
                snapshot(json!({"id": "dana", "online": false, "invisible": true})),
                json!({"type": "presence.coverage", "received_at": at(0), "source": "local",
                       "requested": 4, "subscribed": 3, "missing": ["cem"]}),
                amy(600, true),
                amy(615, false),
                amy(1320, true),
                amy(1350, false),
                amy(1380, true),
            ],
        );
        state
    }

    fn lose(state: &mut TopState) {
        let lost = json!({"type": "connection.changed", "received_at": at(1440), "source": "local", "online": false,
                          "reason": "cannot connect to 127.0.0.1:3030: connection refused", "attempt": 3});
        apply(state, &[lost]);
    }

    /// The screen as text. Blank lines in a row are counted.
    fn screen((width, height): (u16, u16), state: &TopState, choices: &mut Choices) -> String {
        let buffer = buffer((width, height), state, choices, false);
        let cells: Vec<_> = buffer
            .content()
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        let mut text = String::new();
        let mut blank = 0;
        for row in cells.chunks(usize::from(width)) {
            // A wide character takes two cells, of which the second one is blank.
            let after_wide = |x: usize| x > 0 && escape::width(row[x - 1]) == 2;
            let row: String = (0..row.len())
                .filter(|x| !after_wide(*x))
                .map(|x| row[x])
                .collect();
            if row.trim().is_empty() {
                blank += 1;
                continue;
            }
            if std::mem::take(&mut blank) > 0 {
                text.push_str("(blank)\n");
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }

    fn buffer(
        (width, height): (u16, u16),
        state: &TopState,
        choices: &mut Choices,
        has_colour: bool,
    ) -> Buffer {
        let now = DateTime::from_timestamp(1500, 0).unwrap();
        let context = Context {
            title: "messaging:team",
            now,
            table_now: now,
            replay: None,
            has_colour,
            is_utc: true,
        };
        choices.list.refresh(state, now.timestamp_millis());
        choices.list.set_height(table_height(height));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(state, state, choices, &context, frame.buffer_mut()))
            .unwrap();
        terminal.backend().buffer().clone()
    }

    fn press(choices: &mut Choices, state: &TopState, keys: &[KeyCode]) {
        for key in keys {
            let _ = choices.press((*key).into(), state, 1_500_000);
        }
    }

    #[test]
    fn at_80_by_24() {
        insta::assert_snapshot!(screen((80, 24), &state(), &mut Choices::default()), @r"
         ● connected  messaging:team                     2 online, 1 offline, 1 unknown
         coverage 3/4  gaps 0  delay <1ms                                   sort online
           USER                 FOR 10M STATUS            LAST 30 MIN
         ● Amy Adams             2m   3 at lunch              ··········▂···········▄██
         ● Bob\u{1b}[31m       >25m   · 회의 중 \u{202e}…     █████████████████████████
         ○ dana                >25m   · (invisible)           ·························
         ? cem                        ·                       ░░░░░░░░░░░░░░░░░░░░░░░░░
        (blank)
         q quit  / filter  s sort  o online  space pause  enter history  c copy  ? help
        ");
    }

    #[test]
    fn at_40_by_10_with_a_filter() {
        let (state, mut choices) = (state(), Choices::default());
        let keys = [KeyCode::Char('/'), KeyCode::Char('A'), KeyCode::Char('M')];
        press(&mut choices, &state, &keys);
        insta::assert_snapshot!(screen((40, 10), &state, &mut choices), @r"
         ● connected  messaging:team   2 online
         coverage 3/4    sort online, filter AM
           USER               FOR 10M LAST 30 M
         ● Amy Adams           2m   3  ···▁···▄█
        (blank)
         /AM      enter keeps it, esc clears it
        ");
    }

    #[test]
    fn at_200_by_50() {
        insta::assert_snapshot!(screen((200, 50), &state(), &mut Choices::default()), @r"
         ● connected  messaging:team                                                                                                                                             2 online, 1 offline, 1 unknown
         coverage 3/4  gaps 0  delay <1ms                                                                                                                                                           sort online
           USER                             ID                         FOR 10M STATUS                                                               LAST 30 MIN
         ● Amy Adams                        amy                         2m   3 at lunch                                                                      ····················▄·······················█·████
         ● Bob\u{1b}[31m                    bob                       >25m   · 회의 중 \u{202e}very long text                                                ██████████████████████████████████████████████████
         ○ dana                             dana                      >25m   · (invisible)                                                                   ··················································
         ? cem                              cem                              ·                                                                               ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
        (blank)
         q quit  / filter  s sort  o online  space pause  enter history  c copy  ? help
        ");
    }

    #[test]
    fn a_lost_connection() {
        let mut state = state();
        lose(&mut state);
        insta::assert_snapshot!(screen((80, 24), &state, &mut Choices::default()), @r"
         ○ reconnecting, attempt 3, data 2m old          2 online, 1 offline, 1 unknown
         coverage 3/4  gaps 0  delay <1ms  cannot connect to 127.0.0.1:303… sort online
           USER                 FOR 10M STATUS            LAST 30 MIN
         ●?Amy Adams             1m   3 at lunch              ··········▂···········▄█░
         ●?Bob\u{1b}[31m       >24m   · 회의 중 \u{202e}…     ████████████████████████░
         ○?dana                >24m   · (invisible)           ························░
         ? cem                        ·                       ░░░░░░░░░░░░░░░░░░░░░░░░░
        (blank)
         q quit  / filter  s sort  o online  space pause  enter history  c copy  ? help
        ");
        insta::assert_snapshot!(screen((40, 10), &state, &mut Choices::default()), @r"
         ○ reconnecting, attempt 3, data 2m old
         coverage 3/4  gaps 0       sort online
           USER               FOR 10M LAST 30 M
         ●?Amy Adams           1m   3  ···▁···▄░
         ●?Bob\u{1b}[31m     >24m   ·  ████████░
         ○?dana              >24m   ·  ········░
         ? cem                      ·  ░░░░░░░░░
        (blank)
         q quit  / filter  s sort  o online
        ");
    }

    #[test]
    fn the_history_of_a_user() {
        let (state, mut choices) = (state(), Choices::default());
        let _ = buffer((80, 24), &state, &mut choices, false);
        press(&mut choices, &state, &[KeyCode::Enter]);
        insta::assert_snapshot!(screen((80, 24), &state, &mut choices), @r"
         ● connected  messaging:team                     2 online, 1 offline, 1 unknown
         coverage 3/4  gaps 0  delay <1ms                                   sort online
         Amy Adams (amy)
         00:23:00  ● online for 2m
         00:22:30  ○ offline for 30s
         00:22:00  ● online for 30s
         00:10:15  ○ offline for 11m
         00:10:00  ● online for 15s
         00:00:00    status: at lunch
         00:00:00  ○ offline for 10m (already when first observed)
        (blank)
         esc back  ↑ ↓ scroll  c copy the id  q quit
        ");
    }

    #[test]
    fn help_explains_keys_and_marks() {
        let (state, mut choices) = (state(), Choices::default());
        press(&mut choices, &state, &[KeyCode::Char('?')]);
        let text = screen((80, 24), &state, &mut choices);
        assert!(!text.contains('…'), "{text}");
        for (key, _) in KEYS {
            assert!(text.contains(key), "{key}: {text}");
        }
    }

    #[test]
    fn ten_thousand_users_are_drawn_as_far_as_they_are_visible() {
        let mut state = TopState::default();
        for n in 0..10_000 {
            let user = json!({"id": format!("user-{n:04}"), "online": n % 2 == 0});
            apply(
                &mut state,
                &[
                    json!({"type": "presence.snapshot", "received_at": at(0), "source": "query", "user": user}),
                ],
            );
        }
        let mut choices = Choices::default();
        let _ = buffer((60, 7), &state, &mut choices, false);
        press(&mut choices, &state, &[KeyCode::End]);
        insta::assert_snapshot!(screen((60, 9), &state, &mut choices), @r"
        … connecting  messaging:team     5000 online, 5000 offline
        gaps 0                    sort online, 9996-10000 of 10000
          USER               FOR 10M LAST 30 MIN
        ○ user-9991         >25m   ·     ·························
        ○ user-9993         >25m   ·     ·························
        ○ user-9995         >25m   ·     ·························
        ○ user-9997         >25m   ·     ·························
        ○ user-9999         >25m   ·     ·························
        q quit  / filter  s sort  o online  space pause
        ");
    }

    #[test]
    fn any_size_can_be_drawn_and_colour_can_be_off() {
        let mut state = state();
        lose(&mut state);
        let pages = [
            KeyCode::Char('/'),
            KeyCode::Enter,
            KeyCode::Enter,
            KeyCode::Char('?'),
        ];
        for width in [1, 2, 5, 20, 33, 34, 59, 60, 119, 120, 300] {
            for height in [1, 2, 3, 7, 8, 30] {
                let mut choices = Choices::default();
                for page in pages {
                    press(&mut choices, &state, &[page]);
                    let drawn = buffer((width, height), &state, &mut choices, false);
                    let is_plain = |cell: &ratatui::buffer::Cell| {
                        (cell.fg, cell.bg) == (Color::Reset, Color::Reset)
                    };
                    assert!(drawn.content().iter().all(is_plain));
                }
            }
        }
        let coloured = buffer((80, 24), &state, &mut Choices::default(), true);
        assert!(coloured.content().iter().any(|cell| cell.fg == Color::Red));
    }
}
