//! Writes the results of a one-shot command in the selected output format.
//!
//! Rows are written as they arrive, so that a hundred thousand of them need no more memory than one page. Tables are
//! written a thousand rows at a time, because their columns are aligned.

use std::fmt;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::columns::{ColumnKind, SelectedColumn, Selection};
use super::delimited::Delimited;
use super::record::{write_user, write_user_text};
use super::table::{self, TableCell};
use super::{Format, LineBuffer, Output, escape_for_terminal};
use crate::domain::User;
use crate::domain::event::EventUser;
use crate::exit::Failure;
use crate::json::scanner::{StringState, escape_controls};
use crate::json::select;

/// How many rows of a table are laid out and written together.
const TABLE_BATCH_ROWS: usize = 1000;

/// A writer of rows. [`Rows::finish`] completes the output. Without it a JSON array stays open, so that an incomplete
/// result is not valid JSON.
pub struct Rows<'a> {
    lines: LineBuffer<'a>,
    selection: Selection,
    /// The expected custom fields that no row had so far.
    unseen: Vec<SelectedColumn>,
    now: Option<DateTime<Utc>>,
    many: bool,
    written: u64,
    row: Vec<u8>,
    table: Vec<Vec<TableCell>>,
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        output: &'a Output,
        selection: Selection,
        now: Option<DateTime<Utc>>,
        many: bool,
    ) -> Self {
        Self {
            lines: LineBuffer::new(output),
            unseen: selection.guesses(),
            selection,
            now,
            many,
            written: 0,
            row: Vec::new(),
            table: Vec::new(),
        }
    }

    /// Expects a row with each of these fields. If none has it, [`Rows::finish`] warns of a possible typing error.
    pub fn expect_fields<'f>(&mut self, names: impl Iterator<Item = &'f str>) {
        let fields = names.map(|name| SelectedColumn::new(name, ColumnKind::Text));
        self.unseen.extend(fields);
    }

    /// For a command with exactly one result: `-o json` prints an object instead of an array.
    #[must_use]
    pub fn one(mut self) -> Self {
        self.many = false;
        self
    }

    /// Starts with an empty line, for a table below another one.
    #[must_use]
    pub fn after_blank_line(mut self) -> Self {
        self.lines.pending.push(b'\n');
        self
    }

    /// The number of rows written so far.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Writes a row: any value that serialises to a JSON object.
    ///
    /// # Errors
    ///
    /// The output cannot be written, or `--jq` fails on the row.
    pub fn push<T: Serialize + ?Sized>(&mut self, row: &T) -> anyhow::Result<()> {
        self.row.clear();
        serde_json::to_writer(&mut self.row, row).context("cannot write a row as JSON")?;
        self.write_row()
    }

    /// Writes a user. Presence fields that are unknown are `null`.
    ///
    /// # Errors
    ///
    /// As [`Rows::push`].
    pub fn push_user(&mut self, user: &User) -> anyhow::Result<()> {
        self.row.clear();
        write_user(user, &mut self.row);
        self.write_row()
    }

    /// Writes a user given as JSON text, like [`Rows::push_user`].
    ///
    /// # Errors
    ///
    /// As [`Rows::push`].
    pub fn push_user_text(&mut self, user: &EventUser<'_>) -> anyhow::Result<()> {
        self.row.clear();
        write_user_text(user, &mut self.row);
        self.write_row()
    }

    /// Writes the buffered rows. Called at the end of a page, so that they appear while the next page is fetched.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.lines.flush()?)
    }

    /// Ends the output: closes a JSON array, and writes the header if there were no rows.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let settings = self.lines.output.settings();
        if settings.jq.is_none() {
            if settings.format == Format::Json && self.many {
                let end: &[u8] = if self.written == 0 { b"[]\n" } else { b"\n]\n" };
                self.lines.pending.extend_from_slice(end);
            }
            if self.written == 0
                && settings.headers
                && let Some(delimited) = Delimited::of(settings)
            {
                delimited.header(&self.selection, &mut self.lines.pending)?;
            }
        }
        self.write_table();
        self.flush()?;
        // With --jq the rows are not searched.
        if self.written > 0 && self.lines.output.settings().jq.is_none() {
            let output = self.lines.output;
            for column in &self.unseen {
                output.warn(&format!("no result has the field `{}`", column.name));
            }
            if !self.unseen.is_empty() {
                output.hint("known columns: --columns list");
            }
        }
        Ok(())
    }

    fn write_row(&mut self) -> anyhow::Result<()> {
        escape_controls(&mut self.row, 0);
        let settings = self.lines.output.settings();
        if settings.terminal.stdout {
            escape_for_terminal(&mut self.row, 0);
        }
        let first = self.written == 0;
        let out = &mut self.lines.pending;
        if let Some(jq) = &settings.jq {
            for result in jq.results(&self.row, settings.jq_strings()) {
                let result = result.map_err(Failure::from)?;
                settings.write_result(&result, &mut self.lines.pending);
                self.lines.flush_if_full()?;
            }
        } else {
            let json = std::str::from_utf8(&self.row).context("a row is not text")?;
            self.unseen
                .retain(|column| select::at(json, &column.path).is_none());
            match settings.format {
                Format::Ndjson => {
                    if self.selection.chosen {
                        self.selection.project(json, out);
                    } else {
                        out.extend_from_slice(&self.row);
                    }
                    out.push(b'\n');
                }
                Format::Json => {
                    let mut projected = Vec::new();
                    let json = if self.selection.chosen {
                        self.selection.project(json, &mut projected);
                        &projected
                    } else {
                        &self.row
                    };
                    if self.many {
                        out.extend_from_slice(if first { b"[\n  " } else { b",\n  " });
                        indent(json, 1, out);
                    } else {
                        indent(json, 0, out);
                        out.push(b'\n');
                    }
                }
                Format::Tsv | Format::Csv => {
                    if let Some(delimited) = Delimited::of(settings) {
                        if first && settings.headers {
                            delimited.header(&self.selection, out)?;
                        }
                        delimited.row(&self.selection, json, out)?;
                    }
                }
                Format::Table if self.selection.columns.is_empty() => {
                    indent(&self.row, 0, out);
                    out.push(b'\n');
                }
                Format::Table => {
                    let cells = self.selection.columns.iter();
                    self.table.push(
                        cells
                            .map(|column| table::cell(column, json, self.now))
                            .collect(),
                    );
                    if self.table.len() >= TABLE_BATCH_ROWS {
                        self.write_table();
                    }
                }
            }
        }
        self.written += 1;
        self.lines.flush_if_full()?;
        Ok(())
    }

    fn write_table(&mut self) {
        if self.table.is_empty() {
            return;
        }
        let settings = self.lines.output.settings();
        let text = table::render(
            &self.selection,
            &self.table,
            settings.headers,
            settings.colour,
            settings.width,
        );
        self.lines.pending.extend_from_slice(text.as_bytes());
        self.table.clear();
    }
}

impl Drop for Rows<'_> {
    /// Writes the rows so far, so that a command that fails half-way shows them.
    fn drop(&mut self) {
        self.write_table();
    }
}

/// Appends compact JSON text with line breaks and indentation. Values are copied unchanged.
fn indent(json: &[u8], level: usize, out: &mut Vec<u8>) {
    let mut depth = level;
    let mut strings = StringState::default();
    let new_line = |depth: usize, out: &mut Vec<u8>| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    };
    for (index, byte) in json.iter().copied().enumerate() {
        if strings.is_in_string(byte) {
            out.push(byte);
            continue;
        }
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                if !matches!(json.get(index + 1), Some(b'}' | b']')) {
                    new_line(depth, out);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(
                    index.checked_sub(1).and_then(|before| json.get(before)),
                    Some(b'{' | b'[')
                ) {
                    new_line(depth, out);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(depth, out);
            }
            b':' => out.extend_from_slice(b": "),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{output, settings};
    use super::super::{Column, OutputSettings};
    use super::*;
    use crate::json::expression::Expr;
    use crate::terminal::Terminal;
    use serde_json::{Value, json};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_770_000_000, 0).unwrap()
    }

    fn users() -> Vec<User> {
        [
            json!({"id": "john", "online": true, "status": "a,\"b\"\n", "tags": [], "deep": {"n": 1.5}}),
            json!({"id": "jack"}),
        ]
        .map(|user| serde_json::from_value(user).unwrap())
        .to_vec()
    }

    fn written(settings: OutputSettings, users: &[User]) -> String {
        let (output, out, _) = output(settings);
        let mut rows = output.users(now()).unwrap();
        for user in users {
            rows.push_user(user).unwrap();
        }
        rows.finish().unwrap();
        out.text()
    }

    #[test]
    fn each_format() {
        insta::assert_snapshot!(written(settings(Format::Ndjson), &users()), @r#"
        {"id":"john","online":true,"status":"a,\"b\"\n","tags":[],"deep":{"n":1.5},"last_active":null,"invisible":null}
        {"id":"jack","online":null,"status":null,"last_active":null,"invisible":null}
        "#);
        insta::assert_snapshot!(written(settings(Format::Json), &users()), @r#"
        [
          {
            "id": "john",
            "online": true,
            "status": "a,\"b\"\n",
            "tags": [],
            "deep": {
              "n": 1.5
            },
            "last_active": null,
            "invisible": null
          },
          {
            "id": "jack",
            "online": null,
            "status": null,
            "last_active": null,
            "invisible": null
          }
        ]
        "#);
        insta::assert_snapshot!(written(settings(Format::Tsv), &users()), @r#"
        id	name	online	status	last_active	invisible
        john		true	a,"b"\n		
        jack
        "#);
        insta::assert_snapshot!(written(settings(Format::Csv), &users()).escape_debug(), @r#"id,name,online,status,last_active,invisible\r\njohn,,true,\"a,\"\"b\"\"\n\",,\r\njack,,,,,\r\n"#);
        insta::assert_snapshot!(written(settings(Format::Table), &users()), @r#"
        ID    NAME  ONLINE    STATUS   LAST ACTIVE
        john  -     ● online  a,"b"\n  -
        jack  -     ?         -        -
        "#);
    }

    #[test]
    fn each_format_without_a_row() {
        assert_eq!(written(settings(Format::Ndjson), &[]), "");
        assert_eq!(written(settings(Format::Json), &[]), "[]\n");
        assert_eq!(
            written(settings(Format::Tsv), &[]),
            "id\tname\tonline\tstatus\tlast_active\tinvisible\n"
        );
        assert_eq!(written(settings(Format::Table), &[]), "");
    }

    #[test]
    fn chosen_columns_rule_every_format() {
        let chosen = |format| OutputSettings {
            columns: vec!["id".into(), "deep.n".into()],
            ..settings(format)
        };
        insta::assert_snapshot!(written(chosen(Format::Ndjson), &users()), @r#"
        {"id":"john","deep":{"n":1.5}}
        {"id":"jack","deep":{"n":null}}
        "#);
        insta::assert_snapshot!(written(chosen(Format::Json), &users()), @r#"
        [
          {
            "id": "john",
            "deep": {
              "n": 1.5
            }
          },
          {
            "id": "jack",
            "deep": {
              "n": null
            }
          }
        ]
        "#);
        insta::assert_snapshot!(written(chosen(Format::Tsv), &users()), @"
        id	deep.n
        john	1.5
        jack
        ");
        insta::assert_snapshot!(written(chosen(Format::Table), &users()), @"
        ID    DEEP N
        john  1.5
        jack  -
        ");
        let bare = OutputSettings {
            headers: false,
            ..chosen(Format::Table)
        };
        insta::assert_snapshot!(written(bare, &users()), @"
        john  1.5
        jack  -
        ");
    }

    #[test]
    fn jq_rules_every_format() {
        for format in [
            Format::Table,
            Format::Json,
            Format::Ndjson,
            Format::Tsv,
            Format::Csv,
        ] {
            let jq = OutputSettings {
                jq: Some(Expr::compile(".id, (.tags // empty)").unwrap()),
                ..settings(format)
            };
            assert_eq!(written(jq, &users()), "john\n[]\njack\n");
        }
    }

    #[test]
    fn jq_strings_are_quoted_on_request_and_escaped_on_a_terminal() {
        let jq = |explicit_machine, stdout| OutputSettings {
            jq: Some(
                Expr::compile(r#""a\tb\u001b\n\u202e", ["\u202e"], @csv "\([null])""#).unwrap(),
            ),
            explicit_machine,
            terminal: Terminal {
                stdout,
                ..Terminal::default()
            },
            ..settings(Format::Ndjson)
        };
        let users = &users()[1..];
        assert_eq!(
            written(jq(false, false), users),
            "a\tb\u{1b}\n\u{202e}\n[\"\u{202e}\"]\n\n"
        );
        assert_eq!(
            written(jq(true, false), users),
            "\"a\\tb\\u001b\\n\u{202e}\"\n[\"\u{202e}\"]\n\"\"\n"
        );
        assert_eq!(
            written(jq(false, true), users),
            "a\tb\\u{1b}\\n\\u{202e}\n[\"\\u202e\"]\n\n"
        );
        assert_eq!(
            written(jq(true, true), users),
            "\"a\\tb\\u001b\\n\\u202e\"\n[\"\\u202e\"]\n\"\"\n"
        );
    }

    #[test]
    fn results_are_written_as_they_are_made() {
        let (output, out, _) = output(OutputSettings {
            jq: Some(Expr::compile("repeat(.)").unwrap()),
            ..settings(Format::Ndjson)
        });
        let mut rows = output.users(now()).unwrap();
        let error = rows.push_user(&users()[0]).unwrap_err().to_string();
        assert!(error.contains("ran for more than 1 s"), "{error}");
        assert!(rows.lines.pending.len() < 2 * super::super::STDOUT_BATCH_BYTES);
        assert!(out.text().len() > super::super::STDOUT_BATCH_BYTES);
    }

    #[test]
    fn a_failing_expression_is_an_error_and_what_came_before_is_shown() {
        let (output, out, _) = output(OutputSettings {
            jq: Some(Expr::compile(".status | startswith(\"a\")").unwrap()),
            ..settings(Format::Ndjson)
        });
        let mut rows = output.users(now()).unwrap();
        let users = users();
        rows.push_user(&users[0]).unwrap();
        assert!(rows.push_user(&users[1]).is_err());
        drop(rows);
        assert_eq!(out.text(), "true\n");
    }

    #[test]
    fn one_result_is_an_object() {
        let (output, out, _) = output(settings(Format::Json));
        let mut rows = output.row(&[Column::plain("url")]).unwrap();
        rows.push(&json!({"url": "http://x/{[\\\"]}", "none": {}, "list": [1, [], "a"]}))
            .unwrap();
        rows.finish().unwrap();
        insta::assert_snapshot!(out.text(), @r#"
        {
          "url": "http://x/{[\\\"]}",
          "none": {},
          "list": [
            1,
            [],
            "a"
          ]
        }
        "#);
    }

    #[test]
    fn half_an_array_is_no_array() {
        let (output, out, _) = output(settings(Format::Json));
        let mut rows = output.users(now()).unwrap();
        rows.push_user(&users()[1]).unwrap();
        drop(rows);
        assert!(serde_json::from_str::<Value>(&out.text()).is_err());
    }

    #[test]
    fn many_rows_do_not_gather() {
        for format in [Format::Table, Format::Ndjson, Format::Csv, Format::Json] {
            let (output, out, _) = output(settings(format));
            let mut rows = output.users(now()).unwrap();
            for _ in 0..5000 {
                rows.push_user(&users()[0]).unwrap();
                assert!(rows.lines.pending.len() < 2 * super::super::STDOUT_BATCH_BYTES);
                assert!(rows.table.len() < TABLE_BATCH_ROWS);
            }
            assert!(!out.text().is_empty());
        }
    }
}
