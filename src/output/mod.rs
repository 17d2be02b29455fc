//! Output: tables for people; NDJSON, JSON, TSV and CSV for programs.
//!
//! stdout carries records only. Status, hints, warnings and traces go to stderr. [`Rows`] writes the results of one-shot
//! commands, [`Records`] the records of a stream. Both first render a value as JSON text, then convert that text to the
//! selected format. This module uses the domain types and knows nothing about the network.

mod columns;
mod delimited;
mod human_line;
pub mod human_time;
pub mod record;
mod records;
mod rows;
mod table;

use crate::escape;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::exit::{Code, Failure};
use crate::json::expression::Expr;
use crate::json::printing::{Printed, StringForm};
use crate::terminal::Terminal;
use columns::Selection;
use delimited::Delimited;

pub use columns::{Column, ColumnKind};
pub use records::{Prepared, Records};
pub use rows::Rows;

/// The output format, with `auto` already resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people; for streams, one line per event.
    Table,
    /// One JSON document: an object, or an array.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// Tab-separated values.
    Tsv,
    /// Comma-separated values.
    Csv,
}

/// The settings of output, resolved from flags and the terminal.
#[derive(Debug)]
pub struct OutputSettings {
    /// The format.
    pub format: Format,
    /// Whether `-o json` or `-o ndjson` was given explicitly. Then errors are JSON, too.
    pub explicit_machine: bool,
    /// The names of `--columns`; empty for the default columns.
    pub columns: Vec<String>,
    /// Whether tables, TSV and CSV have a header.
    pub headers: bool,
    /// The expression of `--jq`. Its results are written instead of the record, one per line, in every format.
    pub jq: Option<Expr>,
    /// Whether tables are coloured.
    pub colour: bool,
    /// The properties of the terminal.
    pub terminal: Terminal,
    /// The width of the terminal in cells; `None` if stdout is not a terminal.
    pub width: Option<usize>,
    /// How often `--quiet` was given.
    pub quiet: u8,
    /// How often `--verbose` was given.
    pub verbose: u8,
    /// Whether times of day are shown in UTC instead of local time.
    pub utc: bool,
}

/// How a text is emphasised on a terminal with colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emphasis {
    Plain,
    Positive,
    Dim,
    Warning,
}

impl Emphasis {
    /// The escape sequence that turns the emphasis on.
    const fn ansi_code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Positive => "\u{1b}[32m",
            Self::Dim => "\u{1b}[2m",
            Self::Warning => "\u{1b}[33m",
        }
    }
}

/// The result of `--columns list`: the columns were printed, and the command ends with success.
///
/// It travels as an error, so that it ends the command early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnsListed;

impl fmt::Display for ColumnsListed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the columns are listed")
    }
}

impl std::error::Error for ColumnsListed {}

impl OutputSettings {
    /// How `--jq` writes strings: like `jq -r`, unless JSON was requested explicitly.
    const fn jq_strings(&self) -> StringForm {
        if self.explicit_machine {
            StringForm::Quoted
        } else {
            StringForm::Raw
        }
    }

    /// Appends a result of `--jq` and a line feed.
    fn write_result(&self, result: &Printed, out: &mut Vec<u8>) {
        let line = match result {
            Printed::Text(text) | Printed::Json(text) if !self.terminal.stdout => {
                Cow::Borrowed(text.as_str())
            }
            // `@tsv` writes tabs, and they are harmless on a terminal.
            Printed::Text(text) => {
                let cells: Vec<_> = text.split('\t').map(escape::escape).collect();
                Cow::Owned(cells.join("\t"))
            }
            Printed::Json(json) => escape::escape_json(json),
        };
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}

/// The output of a run: stdout for results, stderr for messages.
pub struct Output {
    settings: OutputSettings,
    out: SharedWriter,
    err: SharedWriter,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// An output that writes to the stdout and stderr of this process.
    pub fn new(settings: OutputSettings) -> Self {
        Self::with_writers(settings, io::stdout(), io::stderr())
    }

    /// An output that writes to the given writers.
    pub fn with_writers(
        settings: OutputSettings,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        Self {
            settings,
            out: SharedWriter::new(out),
            err: SharedWriter::new(err),
        }
    }

    /// The resolved settings.
    pub const fn settings(&self) -> &OutputSettings {
        &self.settings
    }

    /// Writes a status message to stderr. `-q` turns it off.
    pub fn status(&self, text: &str) {
        if self.settings.quiet == 0 {
            self.write_untrusted("presencectl: ", text);
        }
    }

    /// Writes a hint to stderr: something to type. `-q` turns it off.
    pub fn hint(&self, text: &str) {
        if self.settings.quiet == 0 {
            self.write_untrusted("hint: ", text);
        }
    }

    /// Writes a warning to stderr. `-qq` turns it off.
    pub fn warn(&self, text: &str) {
        if self.settings.quiet < 2 {
            self.write_untrusted("presencectl: warning: ", text);
        }
    }

    /// Writes a line about a request or a connection to stderr, with `-v` only.
    pub fn trace(&self, line: &str) {
        if self.settings.verbose > 0 {
            self.write_message("", &escape::escape(line));
        }
    }

    /// A writer for rows of users. `now` is the reference for relative times.
    ///
    /// Call it before the first request, because it checks `--columns`.
    ///
    /// # Errors
    ///
    /// `--columns` names an unknown column. With `--columns list` the columns are printed, and the error is
    /// [`ColumnsListed`].
    pub fn users(&self, now: DateTime<Utc>) -> anyhow::Result<Rows<'_>> {
        self.users_with(now, &[])
    }

    /// Like [`Output::users`], with `also` as additional default columns.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn users_with(&self, now: DateTime<Utc>, also: &[&str]) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(columns::USER, true, also)?;
        Ok(Rows::new(self, selection, Some(now), true))
    }

    /// A writer for rows of channels. `also` are additional default columns.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn channels(&self, now: DateTime<Utc>, also: &[&str]) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(columns::CHANNEL, true, also)?;
        Ok(Rows::new(self, selection, Some(now), true))
    }

    /// A writer for rows that have exactly these columns. Times are shown unchanged.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn rows(&self, columns: &[Column]) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(columns, false, &[])?;
        Ok(Rows::new(self, selection, None, true))
    }

    /// A writer for the single row of a command: `-o json` prints an object instead of an array.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn row(&self, columns: &[Column]) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(columns, false, &[])?;
        Ok(Rows::new(self, selection, None, false))
    }

    /// A writer for objects of unknown shape. `--columns` can name any of their fields; without it, the table format
    /// prints JSON. With `many`, `-o json` prints an array.
    ///
    /// # Errors
    ///
    /// As [`Output::users`]; also, TSV and CSV need `--columns`.
    pub fn documents(&self, many: bool) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(&[], true, &[])?;
        let settings = &self.settings;
        if selection.columns.is_empty()
            && settings.jq.is_none()
            && Delimited::of(settings).is_some()
        {
            return Err(Failure::new(
                Code::Usage,
                "this result has no columns of its own, which TSV and CSV need",
            )
            .hinted(
                "name columns, with dots for nested fields: --columns id,user.name; or use -o json",
            )
            .into());
        }
        Ok(Rows::new(self, selection, None, many))
    }

    /// A writer for the records of a stream.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn records(&self) -> anyhow::Result<Records<'_>> {
        let selection = self.selection(columns::RECORD, true, &[])?;
        Ok(Records::new(self, selection))
    }

    fn selection(
        &self,
        offered: &[Column],
        open: bool,
        also: &[&str],
    ) -> anyhow::Result<Selection> {
        let names = &self.settings.columns;
        if matches!(names.as_slice(), [only] if only == "list") {
            self.list(offered, open)?;
            return Err(ColumnsListed.into());
        }
        if names.is_empty() {
            let table = self.settings.format == Format::Table;
            Ok(Selection::default_of(offered, table, also))
        } else {
            Ok(Selection::named(names, offered, open)?)
        }
    }

    /// Prints the columns for `--columns list`, one name per line.
    fn list(&self, offered: &[Column], open: bool) -> io::Result<()> {
        let mut text = String::new();
        for column in offered {
            text.push_str(column.name());
            text.push('\n');
        }
        self.write(text.as_bytes())?;
        if open {
            self.hint("any other field works too, custom ones and paths into objects: --columns id,color,a.b");
        }
        Ok(())
    }

    /// Writes text that is not a record to stdout, such as a picture or a manual page.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn print(&self, text: &str) -> io::Result<()> {
        self.write(text.as_bytes())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    fn write_untrusted(&self, prefix: &str, text: &str) {
        self.write_message(prefix, &escape::message(text));
    }

    fn write_message(&self, prefix: &str, safe: &str) {
        let line = format!("{prefix}{safe}\n");
        // If stderr is closed, there is nowhere to report it.
        let _ = self.err.write_all(line.as_bytes());
    }
}

/// Escapes control characters in JSON text, from byte `start` on.
fn escape_for_terminal(out: &mut Vec<u8>, start: usize) {
    if let Ok(Cow::Owned(safe)) = str::from_utf8(&out[start..]).map(escape::escape_json) {
        out.truncate(start);
        out.extend_from_slice(safe.as_bytes());
    }
}

/// A writer shared between threads. Each call writes its bytes in one piece and flushes.
struct SharedWriter(Mutex<Box<dyn Write + Send>>);

impl SharedWriter {
    fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(writer)))
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.lock();
        writer.write_all(bytes)?;
        writer.flush()
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        // A panic elsewhere does not make the writer unusable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer of lines for stdout, so that many lines cost one call.
struct LineBuffer<'a> {
    output: &'a Output,
    pending: Vec<u8>,
    /// Replaces stdout.
    sink: Option<Box<dyn LineSink>>,
}

/// A destination of lines other than stdout.
pub trait LineSink: Send {
    /// Writes whole lines and leaves `lines` empty.
    ///
    /// It may swap `lines` for an empty vector with spare capacity, so that lines move without a copy.
    ///
    /// # Errors
    ///
    /// The lines cannot be written.
    fn write_lines(&mut self, lines: &mut Vec<u8>) -> io::Result<()>;

    /// How many bytes to buffer before [`LineSink::write_lines`] is called without a flush.
    fn batch_bytes(&self) -> usize;
}

/// How many bytes to buffer before they are written to stdout without a flush.
const STDOUT_BATCH_BYTES: usize = 64 * 1024;

impl<'a> LineBuffer<'a> {
    const fn new(output: &'a Output) -> Self {
        Self {
            output,
            pending: Vec::new(),
            sink: None,
        }
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        let batch_bytes = match &self.sink {
            Some(sink) => sink.batch_bytes(),
            None => STDOUT_BATCH_BYTES,
        };
        if self.pending.len() >= batch_bytes {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = match &mut self.sink {
            Some(sink) => sink.write_lines(&mut self.pending),
            None => self.output.write(&self.pending),
        };
        self.pending.clear();
        written
    }
}

impl fmt::Debug for LineBuffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineBuffer")
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Drop for LineBuffer<'_> {
    /// Flushes buffered lines, so that they are printed if the command fails.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Format, Output, OutputSettings};
    use crate::terminal::Terminal;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    /// A writer that keeps what was written.
    #[derive(Debug, Clone, Default)]
    pub(super) struct Capture(Arc<Mutex<Vec<u8>>>);

    impl Capture {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Capture {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Default settings with the given format.
    pub(crate) fn settings(format: Format) -> OutputSettings {
        OutputSettings {
            format,
            explicit_machine: false,
            columns: Vec::new(),
            headers: true,
            jq: None,
            colour: false,
            terminal: Terminal::default(),
            width: None,
            quiet: 0,
            verbose: 0,
            utc: true,
        }
    }

    /// An output and its captured stdout and stderr.
    pub(super) fn output(settings: OutputSettings) -> (Output, Capture, Capture) {
        let (out, err) = (Capture::default(), Capture::default());
        let output = Output::with_writers(settings, out.clone(), err.clone());
        (output, out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{output, settings};
    use super::*;

    fn messages(quiet: u8, verbose: u8) -> String {
        let (output, _, err) = output(OutputSettings {
            quiet,
            verbose,
            ..settings(Format::Ndjson)
        });
        output.status("working.");
        output.hint("type this");
        output.warn("odd \u{1b}[2J");
        output.trace("> GET /users 200 4 ms");
        err.text()
    }

    #[test]
    fn messages_obey_quiet_and_verbose() {
        insta::assert_snapshot!(messages(0, 1), @r"
        presencectl: working.
        hint: type this
        presencectl: warning: odd \u{1b}[2J
        > GET /users 200 4 ms
        ");
        insta::assert_snapshot!(messages(1, 0), @r"presencectl: warning: odd \u{1b}[2J");
        insta::assert_snapshot!(messages(2, 0), @"");
    }

    #[test]
    fn documents_are_json_for_people_too_unless_columns_are_named() {
        let shown = |format, columns: &[&str]| {
            let (output, out, _) = output(OutputSettings {
                columns: columns.iter().map(|&name| name.to_owned()).collect(),
                ..settings(format)
            });
            let mut rows = output.documents(false)?;
            rows.push(&serde_json::json!({"a": {"b": 1}, "c": []}))
                .unwrap();
            rows.finish().unwrap();
            anyhow::Ok(out.text())
        };
        let json = "{\n  \"a\": {\n    \"b\": 1\n  },\n  \"c\": []\n}\n";
        assert_eq!(shown(Format::Table, &[]).unwrap(), json);
        assert_eq!(shown(Format::Json, &[]).unwrap(), json);
        assert_eq!(
            shown(Format::Ndjson, &[]).unwrap(),
            "{\"a\":{\"b\":1},\"c\":[]}\n"
        );
        assert_eq!(shown(Format::Tsv, &["a.b"]).unwrap(), "a.b\n1\n");
        let error = shown(Format::Csv, &[]).unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().code, Code::Usage);
    }

    #[test]
    fn columns_are_listed_without_a_row() {
        let (output, out, err) = output(OutputSettings {
            columns: vec!["list".into()],
            ..settings(Format::Table)
        });
        let ended = output.rows(&[Column::plain("url"), Column::plain("pid")]);
        assert!(ended.unwrap_err().is::<ColumnsListed>());
        assert_eq!(out.text(), "url\npid\n");
        assert_eq!(err.text(), "");
        assert!(output.records().unwrap_err().is::<ColumnsListed>());
        assert!(err.text().contains("any other field works too"));
    }
}
