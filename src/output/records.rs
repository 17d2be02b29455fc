//! Writes the records of a stream, numbered, in the selected output format.
//!
//! A record gets its number (`seq`) when it is written. So the numbers on stdout have no holes, even if filters drop
//! records. [`Records::prepare`] renders a record so that filters can examine it. The text is then written or discarded.

use crate::escape;
use std::borrow::Cow;
use std::fmt;
use std::io;

use super::columns::{ColumnKind, Selection};
use super::delimited::Delimited;
use super::human_line::{LineFormatter, LineStyle};
use super::record::{self, Renderer};
use super::{Format, LineBuffer, LineSink, Output, escape_for_terminal, human_time, table};
use crate::domain::event::{Event, is_reserved_name};
use crate::domain::record::{Record, RecordBody};
use crate::json::expression::{EvalError, Expr};
use crate::json::printing::{Printed, StringForm};
use crate::json::select;

/// A writer of records. [`Records::finish`] completes the output.
pub struct Records<'a> {
    lines: LineBuffer<'a>,
    selection: Selection,
    renderer: Renderer,
    formatter: LineFormatter,
    raw: bool,
    /// Whether `--jq` reads only fields that records copy from events.
    jq_reads_copies: bool,
    written: u64,
    row: Vec<u8>,
    widths: Vec<usize>,
    failed: u64,
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

/// A record that is rendered but not yet written.
#[derive(Debug)]
pub struct Prepared<'p, 'a, 'r> {
    records: &'p mut Records<'a>,
    record: &'p Record<'r>,
}

impl<'a> Records<'a> {
    pub(super) fn new(output: &'a Output, selection: Selection) -> Self {
        let jq = output.settings().jq.as_ref();
        Self {
            jq_reads_copies: jq.and_then(Expr::fields).is_some_and(are_copied),
            lines: LineBuffer::new(output),
            selection,
            renderer: Renderer::default(),
            formatter: LineFormatter::default(),
            raw: false,
            written: 0,
            row: Vec::new(),
            widths: Vec::new(),
            failed: 0,
        }
    }

    /// With `true`, writes only what the service sent, unchanged, in every format.
    #[must_use]
    pub const fn raw(mut self, raw: bool) -> Self {
        self.raw = raw;
        self
    }

    /// Writes lines to `sink` instead of stdout.
    #[must_use]
    pub fn with_sink(mut self, sink: impl LineSink + 'static) -> Self {
        self.lines.sink = Some(Box::new(sink));
        self
    }

    /// Renders a record as JSON, with the number that it gets if it is written.
    pub fn prepare<'p, 'r>(&'p mut self, record: &'p Record<'r>) -> Prepared<'p, 'a, 'r> {
        self.row.clear();
        self.renderer
            .render(record, self.written + 1, &mut self.row);
        Prepared {
            records: self,
            record,
        }
    }

    /// Writes a record and flushes.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.push(record)?;
        self.flush()
    }

    /// Adds a record to the buffer. It is written at the next [`Records::flush`], or when the buffer is full.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn push(&mut self, record: &Record<'_>) -> io::Result<()> {
        if self.is_plain() {
            self.renderer
                .render(record, self.written + 1, &mut self.lines.pending);
            return self.count();
        }
        if self.raw {
            return self.push_row(record);
        }
        if let RecordBody::Event { event, .. } = &record.body
            && let Some(jq) = self.jq_over_event(event)
        {
            if self.push_field(jq, event) {
                return self.count();
            }
            let strings = self.lines.output.settings().jq_strings();
            if let Some(results) = jq.results_of_fields(event.raw.as_bytes(), strings) {
                return self.push_results(results);
            }
        }
        self.prepare(record).push()
    }

    /// The expression of `--jq`, if it reads only fields that a record copies from this event.
    fn jq_over_event(&self, event: &Event<'_>) -> Option<&'a Expr> {
        let is_copied = event.is_plain && event.reserved_fields.is_empty();
        let jq = self.lines.output.settings().jq.as_ref();
        jq.filter(|_| is_copied && self.jq_reads_copies)
    }

    /// Adds the result of `--jq`, if it is the text of a field. Returns whether it is.
    fn push_field(&mut self, jq: &Expr, event: &Event<'_>) -> bool {
        let settings = self.lines.output.settings();
        let json = event.raw.as_bytes();
        let Some(names) = jq.path_in(json).filter(|_| !settings.terminal.stdout) else {
            return false;
        };
        let out = &mut self.lines.pending;
        let is_quoted = settings.jq_strings() == StringForm::Quoted;
        let mut push_text = |text: &str| {
            let quote: &[u8] = if is_quoted { b"\"" } else { b"" };
            for part in [quote, text.as_bytes(), quote] {
                out.extend_from_slice(part);
            }
        };
        if let Some(text) = known_text(event, names) {
            push_text(text);
            return true;
        }
        let Some(value) = jq.read_field(json) else {
            return false;
        };
        match value
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
        {
            Some(text) => push_text(text),
            None => out.extend_from_slice(value.as_bytes()),
        }
        true
    }

    /// Writes the buffered lines.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }

    /// Ends the output: flushes, and closes the array of `-o json`.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        let settings = self.lines.output.settings();
        if settings.format == Format::Json && settings.jq.is_none() && !self.raw {
            let end: &[u8] = if self.written == 0 { b"[]\n" } else { b"\n]\n" };
            self.lines.pending.extend_from_slice(end);
        }
        if self.failed > 1 {
            let failed = self.failed;
            self.lines.output.warn(&format!(
                "--jq failed on {failed} records, which are not shown"
            ));
        }
        self.flush()
    }

    /// Whether the rendered JSON is written without changes.
    fn is_plain(&self) -> bool {
        let settings = self.lines.output.settings();
        settings.format == Format::Ndjson
            && settings.jq.is_none()
            && !self.selection.chosen
            && !self.raw
            && !settings.terminal.stdout
    }

    /// Ends the line of a record and counts the record.
    fn count(&mut self) -> io::Result<()> {
        self.lines.pending.push(b'\n');
        self.count_without_end()
    }

    fn count_without_end(&mut self) -> io::Result<()> {
        self.written += 1;
        self.lines.flush_if_full()?;
        Ok(())
    }

    fn push_row(&mut self, record: &Record<'_>) -> io::Result<()> {
        let settings = self.lines.output.settings();
        if self.raw && settings.jq.is_none() {
            return self.push_verbatim(record);
        }
        if let Some(jq) = &settings.jq {
            if self.raw {
                self.row.clear();
                if !record::write_verbatim(record, &mut self.row) {
                    return Ok(());
                }
            }
            let row = std::mem::take(&mut self.row);
            let pushed = self.push_results(jq.results(&row, settings.jq_strings()));
            self.row = row;
            return pushed;
        }
        if settings.terminal.stdout {
            escape_for_terminal(&mut self.row, 0);
        }
        // The renderer writes only UTF-8.
        let row = std::mem::take(&mut self.row);
        let json = str::from_utf8(&row).map_err(io::Error::other)?;
        let first = self.written == 0;
        let out = &mut self.lines.pending;
        let written = match settings.format {
            Format::Ndjson | Format::Json => {
                if settings.format == Format::Json {
                    out.extend_from_slice(if first { b"[\n" } else { b",\n" });
                }
                if self.selection.chosen {
                    self.selection.project(json, out);
                } else {
                    out.extend_from_slice(&row);
                }
                if settings.format == Format::Json {
                    self.count_without_end()
                } else {
                    self.count()
                }
            }
            Format::Tsv | Format::Csv => {
                if let Some(delimited) = Delimited::of(settings) {
                    if first && settings.headers {
                        delimited.header(&self.selection, out)?;
                    }
                    delimited.row(&self.selection, json, out)?;
                }
                self.count_without_end()
            }
            Format::Table if self.selection.chosen => {
                self.push_cells(json, first);
                self.count()
            }
            Format::Table => {
                let style = LineStyle {
                    colour: settings.colour,
                    width: settings.width,
                    utc: settings.utc,
                };
                let line = self.formatter.line(record, style);
                self.lines.pending.extend_from_slice(line.as_bytes());
                self.count()
            }
        };
        self.row = row;
        written
    }

    fn push_verbatim(&mut self, record: &Record<'_>) -> io::Result<()> {
        let start = self.lines.pending.len();
        if record::write_verbatim(record, &mut self.lines.pending) {
            if self.lines.output.settings().terminal.stdout {
                escape_for_terminal(&mut self.lines.pending, start);
            }
            self.count()
        } else {
            Ok(())
        }
    }

    /// Adds the results of `--jq` for one record.
    fn push_results(
        &mut self,
        results: impl Iterator<Item = Result<Printed, EvalError>>,
    ) -> io::Result<()> {
        let output = self.lines.output;
        let settings = output.settings();
        let mut has_written = false;
        for result in results {
            match result {
                Ok(result) => {
                    settings.write_result(&result, &mut self.lines.pending);
                    has_written = true;
                    self.lines.flush_if_full()?;
                }
                Err(error) => {
                    // One unusual record must not end a stream that has run for weeks. Only the first failure is
                    // reported at once; `finish` reports how many there were.
                    if self.failed == 0 {
                        output.warn(&format!("--jq: {error}"));
                    }
                    self.failed += 1;
                    break;
                }
            }
        }
        if !has_written {
            return Ok(());
        }
        self.count_without_end()
    }

    /// Writes selected columns for people. Each column is as wide as its widest cell so far.
    fn push_cells(&mut self, json: &str, first: bool) {
        let settings = self.lines.output.settings();
        let columns = &self.selection.columns;
        if first {
            self.widths = columns
                .iter()
                .map(|column| match column.kind {
                    ColumnKind::Online => escape::width("○ offline"),
                    ColumnKind::Time => 8,
                    ColumnKind::Id | ColumnKind::Text | ColumnKind::Flag | ColumnKind::People => 0,
                })
                .collect();
        }
        let cells: Vec<String> = columns
            .iter()
            .map(|column| {
                let value = select::plain_text(column.value(json));
                if column.kind == ColumnKind::Time && !value.is_empty() {
                    let clock = human_time::clock_of(&value, settings.utc);
                    return escape::truncate(&escape::escape(&clock), 40).into_owned();
                }
                table::cell(column, json, None).text
            })
            .collect();
        let titles = (first && settings.headers)
            .then(|| self.selection.names().map(table::title).collect::<Vec<_>>());
        for (index, cells) in titles.iter().chain([&cells]).enumerate() {
            if index > 0 {
                self.lines.pending.push(b'\n');
            }
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(&mut self.widths) {
                let cells = escape::width(cell);
                *width = (*width).max(cells.min(40));
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cells) + 2));
            }
            let line = escape::truncate(line.trim_end(), settings.width.unwrap_or(usize::MAX));
            self.lines.pending.extend_from_slice(line.as_bytes());
        }
    }
}

/// Whether records copy all these fields from events as they are. A record adds fields of its own, and completes the user.
fn are_copied(fields: &[Vec<String>]) -> bool {
    fields.iter().all(|names| match names.as_slice() {
        [] => false,
        [name] if name == "user" => false,
        [name, ..] => !is_reserved_name(name.as_bytes()),
    })
}

/// A string at a path that parsing the event has found already, if it contains no escapes.
fn known_text<'e>(event: &'e Event<'_>, names: &[String]) -> Option<&'e str> {
    let text = match names {
        // An error may come without a type.
        [name] if name == "type" && event.error.is_none() => &event.kind,
        [user, field] if user == "user" => {
            let user = event.user.as_ref()?;
            match field.as_str() {
                "id" => &user.id,
                "status" => user.status.as_ref()?,
                "last_active" => user.last_active.as_ref()?,
                _ => return None,
            }
        }
        _ => return None,
    };
    match text {
        Cow::Borrowed(text) => Some(text),
        Cow::Owned(_) => None,
    }
}

impl Prepared<'_, '_, '_> {
    /// The record as JSON.
    pub fn json(&self) -> &[u8] {
        &self.records.row
    }

    /// Adds the record to the buffer; see [`Records::push`].
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn push(self) -> io::Result<()> {
        self.records.push_row(self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::OutputSettings;
    use super::super::testing::{Capture, output, settings};
    use super::*;
    use crate::domain::record::{EndReason, RecordSource, StreamEnd};
    use crate::json::testing;
    use crate::terminal::Terminal;
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;
    use serde_json::Value;

    const ONLINE: &str = r#"{"type":"user.presence.changed","user":{"id":"john","online":true}}"#;
    const OFFLINE: &str =
        r#"{"type":"user.presence.changed","user":{"id":"jack","online":false,"status":"a\tb"}}"#;

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_770_000_000, 5_000_000).unwrap()
    }

    fn event(raw: &str) -> Record<'_> {
        Record {
            received_at: at(),
            source: RecordSource::Ws,
            body: RecordBody::Event {
                event: Event::parse(raw).unwrap(),
                change: None,
            },
        }
    }

    fn end() -> Record<'static> {
        Record {
            received_at: at(),
            source: RecordSource::Local,
            body: RecordBody::End(StreamEnd {
                reason: EndReason::Count,
                events: 2,
                gaps: 0,
                reconnects: 0,
                exit_code: 0,
            }),
        }
    }

    fn stream(settings: OutputSettings, raw: bool) -> (String, String) {
        let (output, out, err) = output(settings);
        let mut records = output.records().unwrap().raw(raw);
        for record in [event(ONLINE), event(OFFLINE), end()] {
            records.write(&record).unwrap();
        }
        records.finish().unwrap();
        (out.text(), err.text())
    }

    #[test]
    fn each_format() {
        insta::assert_snapshot!(stream(settings(Format::Ndjson), false).0, @r#"
        {"type":"user.presence.changed","user":{"id":"john","online":true,"status":null,"last_active":null,"invisible":null},"seq":1,"received_at":"2026-02-02T02:40:00.005Z","source":"ws","changed":[],"previous":{}}
        {"type":"user.presence.changed","user":{"id":"jack","online":false,"status":"a\tb","last_active":null,"invisible":null},"seq":2,"received_at":"2026-02-02T02:40:00.005Z","source":"ws","changed":[],"previous":{}}
        {"type":"stream.end","reason":"count","events":2,"gaps":0,"reconnects":0,"exit_code":0,"seq":3,"received_at":"2026-02-02T02:40:00.005Z","source":"local"}
        "#);
        insta::assert_snapshot!(stream(settings(Format::Json), false).0, @r#"
        [
        {"type":"user.presence.changed","user":{"id":"john","online":true,"status":null,"last_active":null,"invisible":null},"seq":1,"received_at":"2026-02-02T02:40:00.005Z","source":"ws","changed":[],"previous":{}},
        {"type":"user.presence.changed","user":{"id":"jack","online":false,"status":"a\tb","last_active":null,"invisible":null},"seq":2,"received_at":"2026-02-02T02:40:00.005Z","source":"ws","changed":[],"previous":{}},
        {"type":"stream.end","reason":"count","events":2,"gaps":0,"reconnects":0,"exit_code":0,"seq":3,"received_at":"2026-02-02T02:40:00.005Z","source":"local"}
        ]
        "#);
        insta::assert_snapshot!(stream(settings(Format::Tsv), false).0, @r"
        seq	received_at	type	user.id	user.online	user.status	user.last_active	user.invisible	changed	cid	source
        1	2026-02-02T02:40:00.005Z	user.presence.changed	john	true				[]		ws
        2	2026-02-02T02:40:00.005Z	user.presence.changed	jack	false	a\tb			[]		ws
        3	2026-02-02T02:40:00.005Z	stream.end								local
        ");
        insta::assert_snapshot!(stream(settings(Format::Table), false).0, @"
        02:40:00  ● john is online
        02:40:00  ○ jack went offline
        02:40:00  · end: count, 2 events, 0 gaps
        ");
        let json: Value = serde_json::from_str(&stream(settings(Format::Json), false).0).unwrap();
        assert_eq!(json.as_array().unwrap().len(), 3);
        let csv = stream(settings(Format::Csv), false).0;
        assert_eq!(csv.matches("\r\n").count(), 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

        /// What is read from the event is what the rendered record has.
        #[test]
        fn a_field_of_an_event_is_that_of_the_record(
            raw in testing::event(),
            source in prop::sample::select(vec![
                ".type", ".cid", ".seq", ".previous.online", ".user", ".user.id", ".user.status", ".user.online",
                ".user.last_active", ".user.status.a", ".user.a", "{type, user: .user.id}", ".user | [.id, .invisible]",
                "select(.user.online) | .user.id, .seq", ".a + .b", ".user[]", "(.user // .a), .type",
            ]),
            explicit_machine in any::<bool>(),
        ) {
            if Event::parse(&raw).is_err() {
                return Ok(());
            }
            let shown = |is_fast: bool| {
                let (output, out, err) = output(OutputSettings {
                    jq: Some(Expr::compile(source).unwrap()),
                    explicit_machine,
                    ..settings(Format::Ndjson)
                });
                let mut records = output.records().unwrap();
                let record = event(&raw);
                match is_fast {
                    true => records.push(&record).unwrap(),
                    false => records.prepare(&record).push().unwrap(),
                }
                records.finish().unwrap();
                (out.text(), err.text())
            };
            prop_assert_eq!(shown(true), shown(false));
        }
    }

    #[test]
    fn an_empty_json_stream_is_an_empty_array() {
        let (output, out, _) = output(settings(Format::Json));
        output.records().unwrap().finish().unwrap();
        assert_eq!(out.text(), "[]\n");
    }

    #[test]
    fn chosen_columns() {
        let chosen = |format| OutputSettings {
            columns: vec![
                "received_at".into(),
                "user.id".into(),
                "user.online".into(),
                "color".into(),
            ],
            ..settings(format)
        };
        insta::assert_snapshot!(stream(chosen(Format::Ndjson), false).0, @r#"
        {"received_at":"2026-02-02T02:40:00.005Z","user":{"id":"john","online":true},"color":null}
        {"received_at":"2026-02-02T02:40:00.005Z","user":{"id":"jack","online":false},"color":null}
        {"received_at":"2026-02-02T02:40:00.005Z","user":{"id":null,"online":null},"color":null}
        "#);
        insta::assert_snapshot!(stream(chosen(Format::Table), false).0, @"
        RECEIVED AT  USER ID  USER ONLINE  COLOR
        02:40:00     john     ● online     -
        02:40:00     jack     ○ offline    -
        02:40:00     -        ?            -
        ");
    }

    #[test]
    fn raw_is_untouched_and_alone() {
        for format in [Format::Table, Format::Json, Format::Ndjson] {
            assert_eq!(
                stream(settings(format), true).0,
                format!("{ONLINE}\n{OFFLINE}\n")
            );
        }
    }

    #[test]
    fn raw_and_ndjson_are_escaped_on_a_terminal() {
        let event = "{\"type\":\"x\",\t\"a\":\"\u{9b}\u{202e}\"}";
        for (raw, expected) in [
            (true, "{\"type\":\"x\", \"a\":\"\\u009b\\u202e\"}\n"),
            (
                false,
                "{\"type\":\"x\", \"a\":\"\\u009b\\u202e\",\"seq\":1,",
            ),
        ] {
            let terminal = Terminal {
                stdout: true,
                ..Terminal::default()
            };
            let (output, out, _) = output(OutputSettings {
                terminal,
                ..settings(Format::Ndjson)
            });
            let mut records = output.records().unwrap().raw(raw);
            let body = RecordBody::Event {
                event: Event::parse(event).unwrap(),
                change: None,
            };
            let record = Record {
                received_at: DateTime::UNIX_EPOCH,
                source: RecordSource::Ws,
                body,
            };
            records.write(&record).unwrap();
            drop(records);
            assert!(out.text().starts_with(expected), "{}", out.text());
        }
    }

    #[test]
    fn numbers_count_what_is_written() {
        let jq = |raw, expr: &str| {
            let settings = OutputSettings {
                jq: Some(Expr::compile(expr).unwrap()),
                ..settings(Format::Table)
            };
            stream(settings, raw)
        };
        assert_eq!(
            jq(false, "select(.user.id != \"john\") | [.seq, .type]").0,
            "[1,\"user.presence.changed\"]\n[2,\"stream.end\"]\n"
        );
        assert_eq!(jq(true, ".seq, .user.id").0, "null\njohn\nnull\njack\n");
        let (out, err) = jq(false, ".user.status | length, startswith(\"a\")");
        assert_eq!(out, "0\n3\ntrue\n0\n");
        assert_eq!(
            err.lines().count(),
            2,
            "the first failure and how many: {err}"
        );
    }

    #[test]
    fn what_a_filter_refuses_takes_no_number() {
        let (output, out, _) = output(settings(Format::Ndjson));
        let mut records = output.records().unwrap();
        let filter = Expr::compile(".user.online == false").unwrap();
        for raw in [ONLINE, OFFLINE] {
            let record = event(raw);
            let prepared = records.prepare(&record);
            if filter.is_true(prepared.json()).unwrap() {
                prepared.push().unwrap();
            }
        }
        assert_eq!(records.written, 1);
        records.flush().unwrap();
        assert_eq!(out.text().lines().count(), 1);
    }

    #[test]
    fn what_is_pushed_waits_and_what_is_written_does_not() {
        let (output, out, _) = output(settings(Format::Ndjson));
        let mut records = output.records().unwrap();
        records.push(&event(ONLINE)).unwrap();
        assert_eq!(out.text(), "");
        records.write(&event(OFFLINE)).unwrap();
        assert_eq!(out.text().lines().count(), 2);
        for _ in 0..2000 {
            records.push(&event(ONLINE)).unwrap();
        }
        assert!(out.text().lines().count() > 500, "and not for ever");
    }

    #[test]
    fn a_reader_who_left_is_a_broken_pipe() {
        #[derive(Debug)]
        struct Closed;
        impl io::Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let output = Output::with_writers(settings(Format::Ndjson), Closed, Capture::default());
        let error = output.records().unwrap().write(&event(ONLINE)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
