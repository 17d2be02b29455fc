//! A mistake in a scenario, and where it is.

use std::fmt;

use serde_saphyr::Location;

use crate::escape;
use crate::mock::error::Rejection;

/// A mistake in a scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// The line, from 1; 0 if it is not known.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    pub(super) message: String,
    /// The variable that is not set, if that is the mistake.
    pub unset_variable: Option<String>,
}

impl ScenarioError {
    pub(super) fn at(location: Location, message: impl fmt::Display) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
            message: message.to_string(),
            unset_variable: None,
        }
    }

    /// What the mock does not accept at a place.
    pub(super) fn rejected(location: Location, rejection: &Rejection) -> Self {
        Self::at(location, &rejection.detail)
    }

    /// The mistake without its place.
    pub fn message(&self) -> String {
        escape::escape(&self.message).into_owned()
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message())
    }
}

impl std::error::Error for ScenarioError {}
