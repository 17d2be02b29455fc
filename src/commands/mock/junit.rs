//! The results of a scenario as JUnit XML, which CI systems show.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::Value;

use super::log_lines;
use crate::exit::{Code, Failure};
use crate::mock::{SkippedStep, StepRecord};

/// A report with one test case for each expectation, each wait, and each step that the mock refused.
#[derive(Debug)]
pub(super) struct JunitReport {
    suite: TestSuite,
    /// The file of the scenario.
    scenario_file: String,
    path: PathBuf,
    output: File,
}

impl JunitReport {
    /// Creates the file of a report about the scenario of a file: before the run, whose results would be lost otherwise.
    ///
    /// # Errors
    ///
    /// The file cannot be created (exit code 2).
    pub(super) fn create(
        path: &Path,
        scenario: &str,
        scenario_file: &str,
    ) -> Result<Self, Failure> {
        let output = File::create(path).map_err(|error| {
            let message = format!("cannot write {}: {error}", path.display());
            Failure::new(Code::Usage, message)
        })?;
        Ok(Self {
            suite: TestSuite::new(scenario),
            scenario_file: scenario_file.to_owned(),
            path: path.to_owned(),
            output,
        })
    }

    /// Adds a step, if it can fail.
    pub(super) fn add(&mut self, record: &StepRecord) {
        if record.ok && !record.is_check() {
            return;
        }
        let result = record.expectation.as_ref().and_then(Value::as_object);
        let what = result
            .and_then(|result| result.get("expected"))
            .and_then(Value::as_str)
            .or(record.user.as_deref())
            .unwrap_or_default();
        let name = format!("line {}: {} {what}", record.line, record.action);
        let mut status = TestCaseStatus::success();
        if let Some(error) = &record.error {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(error);
            let requests = result.map(log_lines::requests_of_expectation);
            status.set_description(requests.unwrap_or_default().join("\n"));
        }
        self.add_case(name.trim_end(), status);
    }

    /// Adds a step that did not run, if it would check something.
    pub(super) fn add_skipped(&mut self, step: &SkippedStep) {
        if !step.is_check() {
            return;
        }
        let what = step.expected.as_deref().or(step.user.as_deref());
        let what = what.unwrap_or_default();
        let mut status = TestCaseStatus::skipped();
        status.set_message(&step.error);
        self.add_case(
            &format!("line {}: {} {what}", step.line, step.action),
            status,
        );
    }

    /// Adds that the run ended before its last step, as an error.
    pub(super) fn add_interruption(&mut self, reason: &str) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(reason);
        self.add_case("all steps", status);
    }

    fn add_case(&mut self, name: &str, status: TestCaseStatus) {
        let mut case = TestCase::new(name, status);
        case.set_classname(&*self.scenario_file);
        self.suite.add_test_case(case);
    }

    /// Writes the report. A scenario without expectations is one test case.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn write(mut self) -> anyhow::Result<()> {
        if self.suite.tests == 0 {
            self.add_case("all steps", TestCaseStatus::success());
        }
        let mut report = Report::new("presencectl mock run");
        report.add_test_suite(self.suite);
        let text = report.to_string()?;
        self.output
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
