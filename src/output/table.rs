//! Tables for people: columns that fit the terminal, and cells that cannot harm it.
//!
//! No lines and no boxes, so that a table reads and copies well. Nothing reads a clock or asks the terminal here.

use crate::text;
use std::borrow::Cow;

use chrono::{DateTime, Utc};
use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets,
};

use super::columns::{Kind, Picked, Selection};
use super::human_time;
use crate::json::select;

/// The widest a cell gets where no terminal sets a bound.
const WIDEST: usize = 120;

/// What a cell says, and whether it says it in colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// How a text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Faint,
}

impl Shown {
    fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Plain,
        }
    }

    fn faint(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Faint,
        }
    }
}

/// The cell of a column in a row, given as JSON text.
pub(super) fn cell(column: &Picked, json: &str, now: Option<DateTime<Utc>>) -> Shown {
    let value = column.value(json);
    match (column.kind, value) {
        (Kind::Online, "true") => Shown {
            text: "● online".to_owned(),
            tone: Tone::Good,
        },
        (Kind::Online, "false") => Shown::faint("○ offline"),
        (Kind::Online, "null") => Shown::faint("?"),
        (_, "null") => Shown::faint("-"),
        (Kind::Flag, "true") => Shown::plain("yes"),
        (Kind::Flag, "false") => Shown::faint("no"),
        (Kind::Id, value) => Shown::plain(text::escape(&select::plain(value))),
        (Kind::Time, value) => {
            let time = select::plain(value);
            let time = match now {
                Some(now) => Cow::Owned(human_time::ago(&time, now)),
                None => time,
            };
            Shown::plain(text::truncate(&text::escape(&time), WIDEST))
        }
        (Kind::People, value) => Shown::plain(text::truncate(&people(value), WIDEST)),
        (Kind::Text | Kind::Online | Kind::Flag, value) => {
            // An escape takes up to ten cells, so a cut before escaping saves work on a hostile megabyte.
            let value = select::plain(value);
            let start = text::truncate(&value, WIDEST + 1);
            Shown::plain(text::truncate(&text::escape(&start), WIDEST))
        }
    }
}

/// `john ●, jack ○`: users, or members with their users.
fn people(json: &str) -> String {
    let step = |name: &str| [name.to_owned()];
    let people: Vec<String> = select::items(json)
        .into_iter()
        // No cell has room for more.
        .take(WIDEST / 4)
        .map(|item| {
            let user = select::at(item, &step("user")).unwrap_or(item);
            let id = select::at(user, &step("id"))
                .or_else(|| select::at(item, &step("user_id")))
                .map(select::plain)
                .unwrap_or_default();
            let id = text::escape(&id).into_owned();
            match select::at(user, &step("online")) {
                Some("true") => format!("{id} ●"),
                Some("false") => format!("{id} ○"),
                _ => id,
            }
        })
        .collect();
    people.join(", ")
}

/// Lays rows out as lines of text.
pub(super) fn render(
    selection: &Selection,
    rows: &[Vec<Shown>],
    headers: bool,
    colour: bool,
    width: Option<usize>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_truncation_indicator("…");
    // The library would ask the terminal by itself; what is known about it comes in.
    table.force_no_tty();
    if colour {
        table.enforce_styling();
        table.style_text_only();
    }
    if let Some(width) = width {
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    if headers {
        let titles = selection.names().map(|name| {
            let cell = Cell::new(title(name));
            if colour {
                cell.add_attribute(Attribute::Bold)
            } else {
                cell
            }
        });
        let mut header = Row::from(titles.collect::<Vec<_>>());
        if width.is_some() {
            header.max_height(1);
        }
        table.set_header(header);
    }
    for row in rows {
        let cells = row.iter().map(|shown| styled(shown, colour));
        let mut row = Row::from(cells.collect::<Vec<_>>());
        if width.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    for (index, column) in selection.columns.iter().enumerate() {
        if let Some(laid_out) = table.column_mut(index) {
            laid_out.set_padding((0, 2));
            if matches!(column.kind, Kind::Id | Kind::Online) {
                laid_out.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `last_active` as `LAST ACTIVE`.
pub(super) fn title(name: &str) -> String {
    text::escape(name).replace(['_', '.'], " ").to_uppercase()
}

fn styled(shown: &Shown, colour: bool) -> Cell {
    let cell = Cell::new(&shown.text);
    if !colour {
        return cell;
    }
    match shown.tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Faint => cell.add_attribute(Attribute::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::columns::USER;

    const JOHN: &str = r#"{"id":"john","name":"John","online":true,"status":"Eating a veggie burger...","last_active":"2026-03-01T11:57:00.1Z"}"#;
    const JACK: &str = r#"{"id":"jack","name":"日本語 👩‍👧","online":false,"status":null,"last_active":"2026-01-01T00:00:00Z"}"#;
    const ZOE: &str = r#"{"id":"zoe","name":"Zoë","status":"plain"}"#;

    fn table(rows: &[&str], width: Option<usize>, colour: bool) -> String {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z")
            .unwrap()
            .to_utc();
        let selection = Selection::default_of(USER, true, &[]);
        let rows: Vec<Vec<Shown>> = rows
            .iter()
            .map(|row| {
                selection
                    .columns
                    .iter()
                    .map(|column| cell(column, row, Some(now)))
                    .collect()
            })
            .collect();
        render(&selection, &rows, true, colour, width)
    }

    #[test]
    fn columns_align_by_cells() {
        insta::assert_snapshot!(table(&[JOHN, JACK, ZOE], None, false), @"
        ID    NAME       ONLINE     STATUS                     LAST ACTIVE
        john  John       ● online   Eating a veggie burger...  2m ago
        jack  日本語 👩‍👧  ○ offline  -                          2026-01-01
        zoe   Zoë        ?          plain                      -
        ");
    }

    #[test]
    fn a_narrow_terminal_shortens_text_and_no_id() {
        let text = table(&[JOHN, JACK], Some(60), false);
        insta::assert_snapshot!(text, @"
        ID    NAME       ONLINE     STATUS             LAST ACTIVE
        john  John       ● online   Eating a veggie…   2m ago
        jack  日本語 👩‍👧  ○ offline  -                  2026-01-01
        ");
        assert!(text.lines().all(|line| text::width(line) <= 60), "{text}");
    }

    #[test]
    fn people_in_a_cell() {
        assert_eq!(
            people(
                r#"[{"user":{"id":"john","online":true}},{"user_id":"ghost"},{"id":"ja\u0007ck","online":false}]"#
            ),
            r"john ●, ghost, ja\u{7}ck ○"
        );
        assert_eq!(people("[]"), "");
        assert_eq!(people("{}"), "");
    }

    #[test]
    fn colour_marks_who_is_online() {
        insta::assert_snapshot!(table(&[JOHN, JACK], None, true).escape_debug(), @r"\u{1b}[1mID\u{1b}[0m    \u{1b}[1mNAME\u{1b}[0m       \u{1b}[1mONLINE\u{1b}[0m     \u{1b}[1mSTATUS\u{1b}[0m                     \u{1b}[1mLAST ACTIVE\u{1b}[0m\njohn  John       \u{1b}[38;5;10m● online\u{1b}[39m   Eating a veggie burger...  2m ago\njack  日本語 👩\u{200d}👧  \u{1b}[2m○ offline\u{1b}[0m  \u{1b}[2m-\u{1b}[0m                          2026-01-01\n");
    }

    #[test]
    fn a_hostile_status_is_harmless() {
        let status = format!(
            "\\u001b[2J\\u001b[31mred\\u0007\\u202e\\n\\u0000\\r{}",
            "x".repeat(4096)
        );
        let row = format!(
            r#"{{"id":"eve","name":"\u001b]0;title\u0007","online":true,"status":"{status}","last_active":"\u001b[5m"}}"#
        );
        for width in [None, Some(80), Some(20), Some(1)] {
            let text = table(&[&row], width, false);
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(
                text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'),
                "{text:?}"
            );
            assert!(text.len() < 1000, "{}", text.len());
        }
        insta::assert_snapshot!(table(&[&row], Some(100), false), @r"
        ID   NAME                 ONLINE    STATUS                                             LAST ACTIVE
        eve  \u{1b}]0;title\u{7}  ● online  \u{1b}[2J\u{1b}[31mred\u{7}\u{202e}\n\u{0}\rxxxx…  \u{1b}[5m
        ");
    }
}
