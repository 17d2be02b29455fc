//! Writes the records of a scenario's steps: to stdout, as lines for a person or as records, and to a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::log_lines;
use crate::escape::escape;
use crate::exit::{Code, Failure};
use crate::mock::{SkippedStep, StepRecord};
use crate::output::{Column, Format, Output, Rows, human_time};
use crate::settings::App;

/// Writes each step as soon as it has happened.
pub(super) struct StepWriter<'a> {
    output: &'a Output,
    stdout: StepFormat<'a>,
    tee: Option<BufWriter<File>>,
}

/// How steps are written to stdout.
enum StepFormat<'a> {
    /// Not at all: stdout belongs to a command.
    Hidden,
    Lines,
    Records(Box<Rows<'a>>),
}

impl<'a> StepWriter<'a> {
    /// A writer to stdout, if it is free, and to a file.
    ///
    /// # Errors
    ///
    /// `--columns` names an unknown column, or the file cannot be created.
    pub(super) fn new(
        app: &'a App,
        is_stdout_free: bool,
        tee: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let output = app.output();
        let settings = output.settings();
        let is_default = settings.jq.is_none() && settings.columns.is_empty();
        let stdout = if !is_stdout_free {
            StepFormat::Hidden
        } else if settings.format == Format::Table && is_default {
            StepFormat::Lines
        } else {
            let columns =
                ["number", "at", "line", "action", "user", "ok", "error"].map(Column::plain);
            StepFormat::Records(Box::new(output.rows(&columns)?))
        };
        let tee = tee
            .map(|path| {
                File::create(path).map(BufWriter::new).map_err(|error| {
                    let message = format!("cannot write {}: {error}", path.display());
                    Failure::new(Code::Usage, message)
                })
            })
            .transpose()?;
        Ok(Self {
            output,
            stdout,
            tee,
        })
    }

    /// Writes a step. A failed one is also reported on stderr.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub(super) fn write(&mut self, record: &StepRecord) -> anyhow::Result<()> {
        self.write_record(record, line)?;
        if let Some(error) = &record.error
            && !self.output.settings().explicit_machine
        {
            self.output
                .status(&format!("line {}: {error}", record.line));
            let result = record
                .expectation
                .as_ref()
                .and_then(|result| result.as_object());
            for request in result
                .map(log_lines::requests_of_expectation)
                .unwrap_or_default()
            {
                self.output.status(&request);
            }
        }
        Ok(())
    }

    /// Writes the steps that did not run. They are also counted on stderr.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub(super) fn write_skipped(&mut self, skipped: &[SkippedStep]) -> anyhow::Result<()> {
        for step in skipped {
            self.write_record(step, skipped_line)?;
        }
        let Some(first) = skipped.first() else {
            return Ok(());
        };
        if !self.output.settings().explicit_machine {
            let steps = match skipped.len() {
                1 => "1 step".to_owned(),
                count => format!("{count} steps"),
            };
            self.output.status(&format!("{steps} {}", first.error));
        }
        Ok(())
    }

    /// Writes a record, or its line for a person.
    fn write_record<R: Serialize>(
        &mut self,
        record: &R,
        line: fn(&R) -> String,
    ) -> anyhow::Result<()> {
        match &mut self.stdout {
            StepFormat::Hidden => {}
            StepFormat::Lines => self.output.print(&line(record))?,
            StepFormat::Records(rows) => {
                rows.push(record)?;
                rows.flush()?;
            }
        }
        if let Some(tee) = &mut self.tee {
            serde_json::to_writer(&mut *tee, record)?;
            tee.write_all(b"\n")
                .context("cannot write the file of --tee")?;
        }
        Ok(())
    }

    /// Completes the output.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        if let Some(mut tee) = self.tee {
            tee.flush().context("cannot write the file of --tee")?;
        }
        match self.stdout {
            StepFormat::Records(rows) => rows.finish(),
            StepFormat::Hidden | StepFormat::Lines => Ok(()),
        }
    }
}

/// A step as one line for a person.
fn line(record: &StepRecord) -> String {
    let clock = human_time::clock_of(&record.at, true);
    let mark = if record.ok { '✓' } else { '✗' };
    let user = record.user.as_deref().unwrap_or_default();
    let expected = record
        .expectation
        .as_ref()
        .and_then(|result| result["expected"].as_str());
    let what = words(&[record.action, user, expected.unwrap_or_default()]);
    format!("{clock}  {mark} line {}: {}\n", record.line, escape(&what))
}

/// A step that did not run as one line for a person.
fn skipped_line(step: &SkippedStep) -> String {
    let user = step.user.as_deref().unwrap_or_default();
    let expected = step.expected.as_deref().unwrap_or_default();
    let what = words(&[step.action, user, expected]);
    let times = match step.count {
        1 => String::new(),
        count => format!(" ({count} times)"),
    };
    // As wide as a time of the clock.
    format!("{:8}  - line {}: {}{times}\n", "", step.line, escape(&what))
}

fn words(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(" ")
}
