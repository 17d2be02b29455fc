//! TSV and CSV output: one line per row, with exact values.
//!
//! CSV follows RFC 4180: quotes where they are needed, and CR LF at the end of each line. TSV always has one line per
//! row: tab, line feed, carriage return and backslash are written as `\t`, `\n`, `\r` and `\\`. In both formats, `null`
//! and a missing field are empty cells, strings have no quotes of their own, and lists and objects are JSON text. On a
//! terminal, control characters are escaped.

use std::borrow::Cow;
use std::io;

use super::Format;
use super::OutputSettings;
use super::columns::Selection;
use crate::escape;
use crate::json::select;

/// A writer of delimited rows: the format, and whether cells are escaped for a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delimited {
    format: DelimitedFormat,
    /// Whether the rows go to a terminal.
    to_terminal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DelimitedFormat {
    Tsv,
    Csv,
}

impl Delimited {
    /// The writer for these settings; `None` if their format is neither TSV nor CSV.
    pub(super) const fn of(settings: &OutputSettings) -> Option<Self> {
        let format = match settings.format {
            Format::Tsv => DelimitedFormat::Tsv,
            Format::Csv => DelimitedFormat::Csv,
            Format::Table | Format::Json | Format::Ndjson => return None,
        };
        Some(Self {
            format,
            to_terminal: settings.terminal.stdout,
        })
    }

    /// Appends the line with the column names.
    pub(super) fn header(self, selection: &Selection, out: &mut Vec<u8>) -> io::Result<()> {
        self.line(selection.names().map(Cow::Borrowed), out)
    }

    /// Appends a row. The row is JSON text.
    pub(super) fn row(
        self,
        selection: &Selection,
        json: &str,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let columns = selection.columns.iter();
        self.line(
            columns.map(|column| select::plain_text(column.value(json))),
            out,
        )
    }

    fn line<'c>(
        self,
        cells: impl Iterator<Item = Cow<'c, str>>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        match self.format {
            DelimitedFormat::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .terminator(csv::Terminator::CRLF)
                    .buffer_capacity(256)
                    .from_writer(out);
                writer
                    .write_record(cells.map(|cell| self.safe(&cell).into_owned().into_bytes()))?;
                writer.flush()
            }
            DelimitedFormat::Tsv => {
                for (index, cell) in cells.enumerate() {
                    if index > 0 {
                        out.push(b'\t');
                    }
                    out.extend_from_slice(self.safe(&escape_tsv(&cell)).as_bytes());
                }
                out.push(b'\n');
                Ok(())
            }
        }
    }

    fn safe(self, cell: &str) -> Cow<'_, str> {
        if self.to_terminal {
            escape::escape(cell)
        } else {
            Cow::Borrowed(cell)
        }
    }
}

fn escape_tsv(cell: &str) -> Cow<'_, str> {
    if !cell.contains(['\t', '\n', '\r', '\\']) {
        return Cow::Borrowed(cell);
    }
    let mut escaped = String::with_capacity(cell.len() + 8);
    for c in cell.chars() {
        match c {
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\\' => escaped.push_str("\\\\"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Column;

    fn delimited(format: DelimitedFormat, to_terminal: bool, json: &str) -> String {
        let delimited = Delimited {
            format,
            to_terminal,
        };
        let offered = ["id", "status", "x"].map(Column::plain);
        let selection = Selection::default_of(&offered, false, &[]);
        let mut out = Vec::new();
        delimited.header(&selection, &mut out).unwrap();
        delimited.row(&selection, json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_by_the_rfc() {
        assert_eq!(
            delimited(
                DelimitedFormat::Csv,
                false,
                r#"{"id":"a","status":"say \"hi\",\nplease","x":{"k":[1]}}"#
            ),
            "id,status,x\r\na,\"say \"\"hi\"\",\nplease\",\"{\"\"k\"\":[1]}\"\r\n"
        );
    }

    #[test]
    fn tsv_keeps_a_row_on_a_line() {
        assert_eq!(
            delimited(
                DelimitedFormat::Tsv,
                false,
                r#"{"id":"a\\b","status":"1\t2\r\n3\u0000","x":null}"#
            ),
            "id\tstatus\tx\na\\\\b\t1\\t2\\r\\n3\0\t\n"
        );
    }

    #[test]
    fn csv_reads_back_what_was_written() {
        let text = delimited(
            DelimitedFormat::Csv,
            false,
            r#"{"id":"","status":"é, \u001b[31m\r","x":1.50}"#,
        );
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!(
            row.iter().collect::<Vec<_>>(),
            ["", "é, \u{1b}[31m\r", "1.50"]
        );
    }

    #[test]
    fn a_terminal_gets_safe_cells() {
        let json = r#"{"id":"a\tb","status":"\u001b[31m\n\u202e","x":{"y":"\u009b"}}"#;
        assert_eq!(
            delimited(DelimitedFormat::Tsv, true, json),
            "id\tstatus\tx\na\\tb\t\\u{1b}[31m\\n\\u{202e}\t{\"y\":\"\\\\u009b\"}\n"
        );
        assert_eq!(
            delimited(DelimitedFormat::Csv, true, json),
            "id,status,x\r\na\\tb,\\u{1b}[31m\\n\\u{202e},\"{\"\"y\"\":\"\"\\u009b\"\"}\"\r\n"
        );
    }
}
