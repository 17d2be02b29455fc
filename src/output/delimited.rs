//! TSV and CSV: a row of cells as a line, exact and without any decoration.
//!
//! CSV is RFC 4180's: quotes where needed, lines ended by CR LF. TSV has one line a row whatever the text: tab, line
//! feed, carriage return and backslash are written `\t`, `\n`, `\r`, `\\`. In both, `null` and an absent field are
//! empty, a string stands for itself, and lists and objects are JSON text.

use std::io;

use super::Format;
use super::columns::Selection;
use crate::json::select;

/// One of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sheet {
    Tsv,
    Csv,
}

impl Sheet {
    /// The sheet that a format is, if it is one.
    pub(super) const fn of(format: Format) -> Option<Self> {
        match format {
            Format::Tsv => Some(Self::Tsv),
            Format::Csv => Some(Self::Csv),
            Format::Table | Format::Json | Format::Ndjson => None,
        }
    }

    /// Appends the header.
    pub(super) fn header(self, selection: &Selection, out: &mut Vec<u8>) -> io::Result<()> {
        self.line(selection.names().map(|name| name.to_owned().into()), out)
    }

    /// Appends a row, given as JSON text.
    pub(super) fn row(
        self,
        selection: &Selection,
        json: &str,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let cells = selection
            .columns
            .iter()
            .map(|column| select::plain(column.value(json)));
        self.line(cells, out)
    }

    fn line<'c>(
        self,
        cells: impl Iterator<Item = std::borrow::Cow<'c, str>>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        match self {
            Self::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .terminator(csv::Terminator::CRLF)
                    .buffer_capacity(256)
                    .from_writer(out);
                writer.write_record(cells.map(|cell| cell.into_owned().into_bytes()))?;
                writer.flush()
            }
            Self::Tsv => {
                for (index, cell) in cells.enumerate() {
                    if index > 0 {
                        out.push(b'\t');
                    }
                    for byte in cell.bytes() {
                        match byte {
                            b'\t' => out.extend_from_slice(b"\\t"),
                            b'\n' => out.extend_from_slice(b"\\n"),
                            b'\r' => out.extend_from_slice(b"\\r"),
                            b'\\' => out.extend_from_slice(b"\\\\"),
                            other => out.push(other),
                        }
                    }
                }
                out.push(b'\n');
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Column;

    fn sheet(sheet: Sheet, json: &str) -> String {
        let offered = ["id", "status", "x"].map(Column::plain);
        let selection = Selection::default_of(&offered, false, &[]);
        let mut out = Vec::new();
        sheet.header(&selection, &mut out).unwrap();
        sheet.row(&selection, json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_by_the_rfc() {
        assert_eq!(
            sheet(
                Sheet::Csv,
                r#"{"id":"a","status":"say \"hi\",\nplease","x":{"k":[1]}}"#
            ),
            "id,status,x\r\na,\"say \"\"hi\"\",\nplease\",\"{\"\"k\"\":[1]}\"\r\n"
        );
    }

    #[test]
    fn tsv_keeps_a_row_on_a_line() {
        assert_eq!(
            sheet(
                Sheet::Tsv,
                r#"{"id":"a\\b","status":"1\t2\r\n3\u0000","x":null}"#
            ),
            "id\tstatus\tx\na\\\\b\t1\\t2\\r\\n3\0\t\n"
        );
    }

    #[test]
    fn csv_reads_back_what_was_written() {
        let text = sheet(
            Sheet::Csv,
            r#"{"id":"","status":"é, \u001b[31m\r","x":1.50}"#,
        );
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!(
            row.iter().collect::<Vec<_>>(),
            ["", "é, \u{1b}[31m\r", "1.50"]
        );
    }
}
