//! Exit codes: the part of the contract that scripts branch on.
//!
//! The meaning of a code never changes. A [`Failure`] is an error that knows its code. Which code any other error gets is
//! decided further up, in `error_to_exit`. This module imports nothing of ours, so that every layer can use it.

use std::fmt;

/// An exit code with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done; the condition was met; the count was reached; `--timeout` ended a stream that had no goal; the reader closed
    /// stdout.
    Ok = 0,
    /// Unexpected error.
    Unexpected = 1,
    /// Bad usage, a confirmation answered with no or needed without a terminal, a configuration that cannot be read.
    Usage = 2,
    /// Nothing matched (`--fail-empty`), or a check failed (`mock expect`, `mock run`, `report uptime
    /// --min`, `report flaps --threshold`).
    NothingMatched = 3,
    /// Not authenticated: no credentials, or a token refused (API codes 2, 5, 40-43).
    NotAuthenticated = 4,
    /// The API refused: not found, not permitted, invalid.
    Refused = 5,
    /// Rate limited, and all retries failed.
    RateLimited = 6,
    /// Cannot connect: DNS, TCP, TLS.
    CannotConnect = 7,
    /// The condition is false now (`wait --timeout 0`).
    ConditionFalse = 8,
    /// The stream was lost, and reconnecting failed or was forbidden.
    StreamLost = 9,
    /// A gap happened and `--fail-on-gap` was given.
    Gap = 10,
    /// Coverage is incomplete and `--strict-coverage` was given.
    Coverage = 11,
    /// A hook failed.
    Hook = 12,
    /// The mock cannot start: port taken, fixture or scenario invalid.
    MockCannotStart = 13,
    /// The time ran out before the count, condition or state that was asked for.
    TimedOut = 124,
    /// `mock exec`, `mock run`: the command cannot be run.
    CannotRun = 126,
    /// `mock exec`, `mock run`: the command is not found.
    CommandNotFound = 127,
    /// Ended by SIGHUP.
    HungUp = 129,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Code {
    /// All codes, in order, for help and documentation.
    pub const ALL: [Self; 20] = [
        Self::Ok,
        Self::Unexpected,
        Self::Usage,
        Self::NothingMatched,
        Self::NotAuthenticated,
        Self::Refused,
        Self::RateLimited,
        Self::CannotConnect,
        Self::ConditionFalse,
        Self::StreamLost,
        Self::Gap,
        Self::Coverage,
        Self::Hook,
        Self::MockCannotStart,
        Self::TimedOut,
        Self::CannotRun,
        Self::CommandNotFound,
        Self::HungUp,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number of the exit code.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name of the code, for the JSON form of an error.
    pub const fn kind(self) -> &'static str {
        self.words().0
    }

    /// The meaning as a sentence.
    pub const fn meaning(self) -> &'static str {
        self.words().1
    }

    /// The name of the code and its meaning.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Ok => (
                "ok",
                "done; the condition was met; the count was reached; --timeout ended a stream that had no goal; the reader closed stdout",
            ),
            Self::Unexpected => ("unexpected", "unexpected error"),
            Self::Usage => (
                "usage",
                "bad usage, a confirmation answered with no or needed without a terminal, a configuration that cannot be read",
            ),
            Self::NothingMatched => (
                "nothing_matched",
                "nothing matched (--fail-empty), or a check failed (mock expect, mock run, report uptime --min, report flaps --threshold)",
            ),
            Self::NotAuthenticated => (
                "not_authenticated",
                "not authenticated: no credentials, or a token refused (API codes 2, 5, 40-43)",
            ),
            Self::Refused => (
                "refused",
                "the API refused: not found, not permitted, invalid",
            ),
            Self::RateLimited => ("rate_limited", "rate limited, and all retries failed"),
            Self::CannotConnect => ("cannot_connect", "cannot connect: DNS, TCP, TLS"),
            Self::ConditionFalse => (
                "condition_false",
                "the condition is false now (wait --timeout 0)",
            ),
            Self::StreamLost => (
                "stream_lost",
                "the stream was lost, and reconnecting failed or was forbidden",
            ),
            Self::Gap => ("gap", "a gap happened and --fail-on-gap was given"),
            Self::Coverage => (
                "coverage",
                "coverage is incomplete and --strict-coverage was given",
            ),
            Self::Hook => ("hook", "a hook failed"),
            Self::MockCannotStart => (
                "mock_cannot_start",
                "the mock cannot start: port taken, fixture or scenario invalid",
            ),
            Self::TimedOut => (
                "timed_out",
                "the time ran out before the count, condition or state that was asked for",
            ),
            Self::CannotRun => (
                "cannot_run",
                "mock exec, mock run: the command cannot be run",
            ),
            Self::CommandNotFound => (
                "command_not_found",
                "mock exec, mock run: the command is not found",
            ),
            Self::HungUp => ("hung_up", "ended by SIGHUP"),
            Self::Interrupted => ("interrupted", "ended by SIGINT"),
            Self::Terminated => ("terminated", "ended by SIGTERM"),
        }
    }
}

/// The exit status of a run without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// One of our exit codes.
    Own(Code),
    /// The status of the child process that the run was for.
    Child(u8),
}

impl ExitStatus {
    /// The number of the exit code.
    pub const fn number(self) -> u8 {
        match self {
            Self::Own(code) => code.number(),
            Self::Child(number) => number,
        }
    }
}

/// An error with its exit code and a hint.
///
/// Commands use it if no typed error of a lower layer fits.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// The message: a lower-case fragment.
    pub message: String,
    /// What to type, if there is a hint.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error with a more specific hint. Its message is that of the error itself.
#[derive(Debug)]
pub struct HintedError {
    error: Box<dyn std::error::Error + Send + Sync>,
    /// What to type.
    pub hint: String,
}

impl HintedError {
    /// Adds a hint to an error.
    pub fn new(
        error: impl std::error::Error + Send + Sync + 'static,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            error: Box::new(error),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for HintedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for HintedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The text repeats the error's own, so it is not printed again. Only the type matters.
        Some(self.error.as_ref())
    }
}
