//! The results of a scenario as JUnit XML, which CI systems show.

use std::path::Path;

use anyhow::Context;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::Value;

use super::log_lines;
use crate::mock::StepRecord;

/// A report with one test case for each expectation, each wait, and each step that the mock refused.
#[derive(Debug)]
pub(super) struct JunitReport {
    suite: TestSuite,
    file: String,
}

impl JunitReport {
    /// An empty report about the scenario of a file.
    pub(super) fn new(scenario: &str, file: &str) -> Self {
        Self {
            suite: TestSuite::new(scenario),
            file: file.to_owned(),
        }
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
        let mut case = TestCase::new(name.trim_end(), status);
        case.set_classname(&*self.file);
        self.suite.add_test_case(case);
    }

    /// The report as XML. A scenario without expectations is one test case.
    ///
    /// # Errors
    ///
    /// The report cannot be written as XML.
    fn render(mut self) -> anyhow::Result<String> {
        if self.suite.tests == 0 {
            let mut case = TestCase::new("all steps", TestCaseStatus::success());
            case.set_classname(&*self.file);
            self.suite.add_test_case(case);
        }
        let mut report = Report::new("presencectl mock run");
        report.add_test_suite(self.suite);
        report.to_string().context("cannot write the JUnit report")
    }

    /// Writes the report to a file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn write(self, path: &Path) -> anyhow::Result<()> {
        let text = self.render()?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
