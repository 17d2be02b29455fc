//! The report of `doctor`: the list of steps, their results, and the exit code.

use std::time::Instant;

use serde::Serialize;

use crate::error_to_exit::{code_of, hint_of};
use crate::exit::Code;
use crate::output::{Column, Rows};
use crate::settings::App;

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    Configuration,
    Dns,
    Tcp,
    Tls,
    Http,
    Clock,
    Credentials,
    Token,
    Socket,
    Presence,
    Cleanup,
}

impl Step {
    pub(super) const ALL: [Self; 11] = [
        Self::Configuration,
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Http,
        Self::Clock,
        Self::Credentials,
        Self::Token,
        Self::Socket,
        Self::Presence,
        Self::Cleanup,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Failed,
    Skipped,
}

#[derive(Debug, Serialize)]
struct StepRow<'a> {
    check: Step,
    result: Outcome,
    detail: &'a str,
    hint: Option<&'a str>,
    ms: Option<u64>,
}

/// Collects the results of the steps and prints them.
pub(super) struct DoctorReport<'a> {
    app: &'a App,
    rows: Rows<'a>,
    done: Vec<Step>,
    failed: Vec<Step>,
    skipped: usize,
    code: Code,
    /// The hint for the first failure.
    hint: Option<String>,
    since: Instant,
}

impl<'a> DoctorReport<'a> {
    pub(super) fn new(app: &'a App) -> anyhow::Result<Self> {
        let columns = ["check", "result", "ms", "detail", "hint"].map(Column::plain);
        Ok(Self {
            app,
            rows: app.output().rows(&columns)?,
            done: Vec::new(),
            failed: Vec::new(),
            skipped: 0,
            code: Code::Ok,
            hint: None,
            since: Instant::now(),
        })
    }

    pub(super) fn ok(&mut self, step: Step, detail: impl AsRef<str>) -> anyhow::Result<()> {
        self.push(step, Outcome::Ok, detail.as_ref(), None)
    }

    pub(super) fn failed(&mut self, step: Step, error: &anyhow::Error) -> anyhow::Result<()> {
        if self.failed.is_empty() {
            self.code = code_of(error);
            self.hint = hint_of(error);
        }
        self.failed.push(step);
        let detail = format!("{error:#}");
        self.push(step, Outcome::Failed, &detail, hint_of(error).as_deref())
    }

    pub(super) fn skipped(&mut self, step: Step, why: &str) -> anyhow::Result<()> {
        self.skipped += 1;
        self.push(step, Outcome::Skipped, why, None)
    }

    /// Records all remaining steps as skipped.
    pub(super) fn skip_rest(&mut self, why: &str) -> anyhow::Result<()> {
        for step in Step::ALL {
            if !self.done.contains(&step) {
                self.skipped(step, why)?;
            }
        }
        Ok(())
    }

    pub(super) const fn end_with(&mut self, code: Code) {
        self.code = code;
    }

    /// Completes the list and prints a summary.
    pub(super) fn finish(mut self) -> anyhow::Result<Code> {
        self.skip_rest("an earlier step failed")?;
        self.rows.finish()?;
        let of = self.done.len();
        self.app.output().status(&match self.failed.len() {
            0 => "all checks passed.".to_owned(),
            failed => format!(
                "{failed} of {of} steps failed, and {} were skipped.",
                self.skipped
            ),
        });
        if let Some(hint) = &self.hint {
            self.app.output().hint(hint);
        }
        Ok(self.code)
    }

    fn push(
        &mut self,
        check: Step,
        result: Outcome,
        detail: &str,
        hint: Option<&str>,
    ) -> anyhow::Result<()> {
        let took = self.since.elapsed().as_millis();
        self.done.push(check);
        self.rows.push(&StepRow {
            check,
            result,
            detail,
            hint,
            ms: (result != Outcome::Skipped).then(|| u64::try_from(took).unwrap_or(u64::MAX)),
        })?;
        self.rows.flush()?;
        self.since = Instant::now();
        Ok(())
    }
}
