//! Exit codes: the part of the contract that scripts branch on.
//!
//! Codes are never reused. A [`Failure`] is an error that knows its code. Which code any other error gets is decided
//! further up, in `error_report`. This module imports nothing of ours, so that every layer can use it.

use std::fmt;

/// An exit code with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done; the condition was met; the count was reached; an unbounded window ended; the reader closed stdout.
    Ok = 0,
    /// Unexpected error.
    Unexpected = 1,
    /// Bad usage, or a confirmation was needed and there is no terminal.
    Usage = 2,
    /// Nothing matched (`--fail-empty`, a failed mock expectation).
    NothingMatched = 3,
    /// Not authenticated: no credentials, or a token refused (API codes 2, 5, 40 to 43).
    NotAuthenticated = 4,
    /// The API refused: not found, not permitted, invalid.
    Refused = 5,
    /// Rate limited, and the retries are spent.
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
    /// ExitStatus by SIGINT.
    Interrupted = 130,
    /// ExitStatus by SIGTERM.
    Terminated = 143,
}

impl Code {
    /// All codes, in order, for help and documentation.
    pub const ALL: [Self; 17] = [
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
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number that the process ends with.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The meaning as one word, for the JSON form of an error.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::NothingMatched => "nothing_matched",
            Self::NotAuthenticated => "not_authenticated",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::CannotConnect => "cannot_connect",
            Self::ConditionFalse => "condition_false",
            Self::StreamLost => "stream_lost",
            Self::Gap => "gap",
            Self::Coverage => "coverage",
            Self::Hook => "hook",
            Self::MockCannotStart => "mock_cannot_start",
            Self::TimedOut => "timed_out",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// The meaning in a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => {
                "done; the condition was met; the count was reached; an unbounded window ended; the reader closed stdout"
            }
            Self::Unexpected => "unexpected error",
            Self::Usage => "bad usage, or a confirmation was needed and there is no terminal",
            Self::NothingMatched => "nothing matched (--fail-empty, a failed mock expectation)",
            Self::NotAuthenticated => {
                "not authenticated: no credentials, or a token refused (API codes 2, 5, 40-43)"
            }
            Self::Refused => "the API refused: not found, not permitted, invalid",
            Self::RateLimited => "rate limited, and the retries are spent",
            Self::CannotConnect => "cannot connect: DNS, TCP, TLS",
            Self::ConditionFalse => "the condition is false now (wait --timeout 0)",
            Self::StreamLost => "the stream was lost, and reconnecting failed or was forbidden",
            Self::Gap => "a gap happened and --fail-on-gap was given",
            Self::Coverage => "coverage is incomplete and --strict-coverage was given",
            Self::Hook => "a hook failed",
            Self::MockCannotStart => {
                "the mock cannot start: port taken, fixture or scenario invalid"
            }
            Self::TimedOut => {
                "the time ran out before the count, condition or state that was asked for"
            }
            Self::Interrupted => "ended by SIGINT",
            Self::Terminated => "ended by SIGTERM",
        }
    }
}

/// The exit status of a run that ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// A code of our own.
    Own(Code),
    /// The status of the child process that the run was about, passed on.
    Child(u8),
}

impl ExitStatus {
    /// The number that the process ends with.
    pub const fn number(self) -> u8 {
        match self {
            Self::Own(code) => code.number(),
            Self::Child(number) => number,
        }
    }
}

/// An error that knows its exit code and what the user can type about it.
///
/// Commands raise it where no typed error of a lower layer says enough.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What went wrong, a lower-case fragment.
    pub message: String,
    /// What to type, if there is something to type.
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

    /// The same with a hint.
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
