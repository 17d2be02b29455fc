//! How results look: tables for people, NDJSON, JSON, TSV and CSV for programs.
//!
//! Knows the domain and nothing of the network. stdout carries records and nothing else; what is said beside them goes
//! to stderr. [`Rows`] writes the results of one-shot commands, [`Records`] the lines of a stream; both bring every
//! value through the same two steps: the row as JSON text, and that text in the format asked for.

mod columns;
mod delimited;
mod human_line;
pub mod human_time;
pub mod record;
mod records;
mod rows;
mod table;

use crate::text;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::exit::{Code, Failure};
use crate::json::expression::{Expr, Printed, StringForm};
use crate::terminal::Terminal;
use columns::Selection;
use delimited::Delimited;

pub use columns::{Column, Kind};
pub use records::{Prepared, Records};
pub use rows::Rows;

/// How results are written, `auto` already resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people; for streams a line per event.
    Table,
    /// One JSON document: an object, or an array.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Tab-separated values.
    Tsv,
    /// Comma-separated values.
    Csv,
}

/// What the flags and the terminal mean for output.
#[derive(Debug)]
pub struct Settings {
    /// The format.
    pub format: Format,
    /// Whether JSON was asked for by name; then errors are JSON too.
    pub explicit_machine: bool,
    /// `--columns`; empty for the default ones.
    pub columns: Vec<String>,
    /// Whether tables, TSV and CSV have a header.
    pub headers: bool,
    /// `--jq`. What it makes of a record is written instead of it, a line of JSON each, whatever the format.
    pub jq: Option<Expr>,
    /// Whether tables are coloured.
    pub colour: bool,
    /// What the terminal is and can do.
    pub terminal: Terminal,
    /// How many cells a terminal line has; `None` where output is no terminal.
    pub width: Option<usize>,
    /// How often `--quiet` was given.
    pub quiet: u8,
    /// How often `--verbose` was given.
    pub verbose: u8,
    /// Whether people see times of day in UTC rather than here.
    pub utc: bool,
}

/// What ends a run after `--columns list`: the columns are on stdout, and nothing is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnsListed;

impl fmt::Display for ColumnsListed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the columns are listed")
    }
}

impl std::error::Error for ColumnsListed {}

impl Settings {
    /// How `--jq` writes strings: as `jq -r` does, unless JSON was asked for by name.
    const fn jq_strings(&self) -> StringForm {
        if self.explicit_machine {
            StringForm::Quoted
        } else {
            StringForm::Raw
        }
    }

    /// Appends a result of `--jq` and ends its line.
    fn write_result(&self, result: &Printed, out: &mut Vec<u8>) {
        let line = match result {
            Printed::Text(text) | Printed::Json(text) if !self.terminal.stdout => {
                Cow::Borrowed(text.as_str())
            }
            // Tabs harm nobody, and `@tsv` is made of them.
            Printed::Text(text) => {
                let cells: Vec<_> = text.split('\t').map(text::escape).collect();
                Cow::Owned(cells.join("\t"))
            }
            Printed::Json(json) => text::escape_json(json),
        };
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}

/// Where results and messages go. Shared by reference.
pub struct Output {
    settings: Settings,
    out: Sink,
    err: Sink,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Writes to this process's stdout and stderr.
    pub fn new(settings: Settings) -> Self {
        Self::with_writers(settings, io::stdout(), io::stderr())
    }

    /// Writes elsewhere.
    pub fn with_writers(
        settings: Settings,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        Self {
            settings,
            out: Sink::new(out),
            err: Sink::new(err),
        }
    }

    /// What the flags mean.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Says what is going on, a sentence. Silent with `-q`.
    pub fn status(&self, text: &str) {
        if self.settings.quiet == 0 {
            self.say("presencectl: ", text);
        }
    }

    /// Says what there is to type. Silent with `-q`.
    pub fn hint(&self, text: &str) {
        if self.settings.quiet == 0 {
            self.say("hint: ", text);
        }
    }

    /// Says what the user should know although the run goes on. Silent with `-qq`.
    pub fn warn(&self, text: &str) {
        if self.settings.quiet < 2 {
            self.say("presencectl: warning: ", text);
        }
    }

    /// Writes a line about a request or a connection, for `-v`.
    pub fn trace(&self, line: &str) {
        if self.settings.verbose > 0 {
            self.write_message("", &text::escape(line));
        }
    }

    /// Rows of users, completed to what every record promises about a user. `now` is for relative times.
    ///
    /// # Errors
    ///
    /// `--columns` names no column; or it was `list`, which is answered here, and [`ColumnsListed`] ends the run. So
    /// ask for the rows before asking the service.
    pub fn users(&self, now: DateTime<Utc>) -> anyhow::Result<Rows<'_>> {
        self.users_with(now, &[])
    }

    /// The same, with these columns shown in tables although they usually are not.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn users_with(&self, now: DateTime<Utc>, also: &[&str]) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(columns::USER, true, also)?;
        Ok(Rows::new(self, selection, Some(now), true))
    }

    /// Rows of channels. `also` are columns to show in tables although they usually are not.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn channels(&self, now: DateTime<Utc>, also: &[&str]) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(columns::CHANNEL, true, also)?;
        Ok(Rows::new(self, selection, Some(now), true))
    }

    /// Rows of a kind of their own, with these columns and no others. Times are shown as they are.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn rows(&self, columns: &[Column]) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(columns, false, &[])?;
        Ok(Rows::new(self, selection, None, true))
    }

    /// The one row of a command that has one result: with `-o json` an object, not an array.
    ///
    /// # Errors
    ///
    /// As [`Output::users`].
    pub fn row(&self, columns: &[Column]) -> anyhow::Result<Rows<'_>> {
        let selection = self.selection(columns, false, &[])?;
        Ok(Rows::new(self, selection, None, false))
    }

    /// Objects of a shape that is not known here: their fields are columns when they are named, and without names people
    /// see them as JSON too. With `-o json` they are an array if there may be `many`.
    ///
    /// # Errors
    ///
    /// As [`Output::users`]; or TSV or CSV was asked for, and no columns were named.
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
            .hinted("name them, dots reach inside: --columns id,user.name; or use -o json")
            .into());
        }
        Ok(Rows::new(self, selection, None, many))
    }

    /// The lines of a stream.
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

    /// Answers `--columns list`: a name a line, those of the default first to be seen.
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

    /// Writes text that is not made of records: a picture, a page.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub fn print(&self, text: &str) -> io::Result<()> {
        self.write(text.as_bytes())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    fn say(&self, prefix: &str, text: &str) {
        self.write_message(prefix, &text::message(text));
    }

    fn write_message(&self, prefix: &str, safe: &str) {
        let line = format!("{prefix}{safe}\n");
        // There is nowhere left to say that stderr is gone.
        let _ = self.err.write_all(line.as_bytes());
    }
}

/// Makes JSON text safe for a terminal, from `start` on.
fn escape_for_terminal(out: &mut Vec<u8>, start: usize) {
    if let Ok(Cow::Owned(safe)) = str::from_utf8(&out[start..]).map(text::escape_json) {
        out.truncate(start);
        out.extend_from_slice(safe.as_bytes());
    }
}

/// A writer that several may hold. Everything handed to it arrives at once and in one piece.
struct Sink(Mutex<Box<dyn Write + Send>>);

impl Sink {
    fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(writer)))
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.lock();
        writer.write_all(bytes)?;
        writer.flush()
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        // A writer whose last user panicked is a writer all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines on their way to stdout: gathered here, so that many of them cost one call.
struct Lines<'a> {
    output: &'a Output,
    pending: Vec<u8>,
    /// Where lines go instead of stdout.
    elsewhere: Option<Box<dyn TakesLines>>,
}

/// Somebody who takes lines off our hands.
pub trait TakesLines: Send {
    /// Takes whole lines out of `lines`, which is empty afterwards, and may put in an empty vector with room in return:
    /// so many lines change hands without being copied.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    fn take(&mut self, lines: &mut Vec<u8>) -> io::Result<()>;

    /// How much is worth a call, in bytes: what has gathered is handed over then, whether or not anybody asks.
    fn enough(&self) -> usize;
}

/// How much is gathered before it is written whether or not anybody asks.
const ENOUGH: usize = 64 * 1024;

impl<'a> Lines<'a> {
    const fn new(output: &'a Output) -> Self {
        Self {
            output,
            pending: Vec::new(),
            elsewhere: None,
        }
    }

    fn flush_if_enough(&mut self) -> io::Result<()> {
        let enough = match &self.elsewhere {
            Some(taker) => taker.enough(),
            None => ENOUGH,
        };
        if self.pending.len() >= enough {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = match &mut self.elsewhere {
            Some(taker) => taker.take(&mut self.pending),
            None => self.output.write(&self.pending),
        };
        self.pending.clear();
        written
    }
}

impl fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Lines<'_> {
    /// A run that fails half-way still shows what it had.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

#[cfg(test)]
mod testing {
    use super::{Format, Output, Settings};
    use crate::terminal::Terminal;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    /// A writer whose bytes can be looked at.
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

    /// Settings of a format, with nothing special asked for.
    pub(super) fn settings(format: Format) -> Settings {
        Settings {
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

    /// An output with both of its ends.
    pub(super) fn output(settings: Settings) -> (Output, Capture, Capture) {
        let (out, err) = (Capture::default(), Capture::default());
        let output = Output::with_writers(settings, out.clone(), err.clone());
        (output, out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{output, settings};
    use super::*;

    fn said(quiet: u8, verbose: u8) -> String {
        let (output, _, err) = output(Settings {
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
        insta::assert_snapshot!(said(0, 1), @r"
        presencectl: working.
        hint: type this
        presencectl: warning: odd \u{1b}[2J
        > GET /users 200 4 ms
        ");
        insta::assert_snapshot!(said(1, 0), @r"presencectl: warning: odd \u{1b}[2J");
        insta::assert_snapshot!(said(2, 0), @"");
    }

    #[test]
    fn documents_are_json_for_people_too_unless_columns_are_named() {
        let shown = |format, columns: &[&str]| {
            let (output, out, _) = output(Settings {
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
        let (output, out, err) = output(Settings {
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
