//! Tables for people: aligned columns that fit the terminal, and cells without control characters.
//!
//! Tables have no lines and no boxes, so that they are easy to read and to copy. The time and the width are arguments.

use crate::escape;
use std::borrow::Cow;

use chrono::{DateTime, Utc};
use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets,
};

use super::Emphasis;
use super::columns::{ColumnKind, SelectedColumn, Selection};
use super::human_time;
use crate::json::select;

/// The largest width of a cell, in terminal cells, where the terminal sets no limit.
const CELL_WIDTH_MAX: usize = 120;

/// One cell: its text and its emphasis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableCell {
    pub(super) text: String,
    pub(super) emphasis: Emphasis,
}

impl TableCell {
    fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            emphasis: Emphasis::Plain,
        }
    }

    fn dim(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            emphasis: Emphasis::Dim,
        }
    }
}

/// The cell of a column in a row. The row is JSON text.
pub(super) fn cell(column: &SelectedColumn, json: &str, now: Option<DateTime<Utc>>) -> TableCell {
    let value = column.value(json);
    match (column.kind, value) {
        (ColumnKind::Online, "true") => TableCell {
            text: "● online".to_owned(),
            emphasis: Emphasis::Positive,
        },
        (ColumnKind::Online, "false") => TableCell::dim("○ offline"),
        (ColumnKind::Online, "null") => TableCell::dim("?"),
        (_, "null") => TableCell::dim("-"),
        (ColumnKind::Flag, "true") => TableCell::plain("yes"),
        (ColumnKind::Flag, "false") => TableCell::dim("no"),
        (ColumnKind::Id, value) => TableCell::plain(escape::escape(&select::plain_text(value))),
        (ColumnKind::Time, value) => {
            let time = select::plain_text(value);
            let time = match now {
                Some(now) => Cow::Owned(human_time::ago(&time, now)),
                None => time,
            };
            TableCell::plain(escape::truncate(&escape::escape(&time), CELL_WIDTH_MAX))
        }
        (ColumnKind::People, value) => {
            TableCell::plain(escape::truncate(&people(value), CELL_WIDTH_MAX))
        }
        (ColumnKind::Text | ColumnKind::Online | ColumnKind::Flag, value) => {
            // Truncating first saves work: a hostile value can be a megabyte long, and escaping makes it longer.
            let value = select::plain_text(value);
            let start = escape::truncate(&value, CELL_WIDTH_MAX + 1);
            TableCell::plain(escape::truncate(&escape::escape(&start), CELL_WIDTH_MAX))
        }
    }
}

/// A list of users, or of members, as text: `john ●, jack ○`.
fn people(json: &str) -> String {
    let step = |name: &str| [name.to_owned()];
    let people: Vec<String> = select::items(json)
        .into_iter()
        // More users do not fit into a cell.
        .take(CELL_WIDTH_MAX / 4)
        .map(|item| {
            let user = select::at(item, &step("user")).unwrap_or(item);
            let id = select::at(user, &step("id"))
                .or_else(|| select::at(item, &step("user_id")))
                .map(select::plain_text)
                .unwrap_or_default();
            let id = escape::escape(&id).into_owned();
            match select::at(user, &step("online")) {
                Some("true") => format!("{id} ●"),
                Some("false") => format!("{id} ○"),
                _ => id,
            }
        })
        .collect();
    people.join(", ")
}

/// Renders rows as the lines of a table.
pub(super) fn render(
    selection: &Selection,
    rows: &[Vec<TableCell>],
    headers: bool,
    colour: bool,
    width: Option<usize>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_truncation_indicator("…");
    // Without this, the library queries the terminal itself.
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
        let cells = row.iter().map(|cell| styled(cell, colour));
        let mut row = Row::from(cells.collect::<Vec<_>>());
        if width.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    for (index, column) in selection.columns.iter().enumerate() {
        if let Some(laid_out) = table.column_mut(index) {
            laid_out.set_padding((0, 2));
            if matches!(column.kind, ColumnKind::Id | ColumnKind::Online) {
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

/// The title of a column: `LAST ACTIVE` for `last_active`.
pub(super) fn title(name: &str) -> String {
    escape::escape(name).replace(['_', '.'], " ").to_uppercase()
}

fn styled(cell: &TableCell, colour: bool) -> Cell {
    let styled = Cell::new(&cell.text);
    if !colour {
        return styled;
    }
    match cell.emphasis {
        Emphasis::Plain => styled,
        Emphasis::Positive => styled.fg(Color::Green),
        Emphasis::Dim => styled.add_attribute(Attribute::Dim),
        Emphasis::Warning => styled.fg(Color::Yellow),
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
        let rows: Vec<Vec<TableCell>> = rows
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
        assert!(text.lines().all(|line| escape::width(line) <= 60), "{text}");
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
