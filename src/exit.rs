//! Exit codes: the part of the contract that scripts branch on.
//!
//! Codes are never reused. [`code_of`] is the one place where an error becomes a number; it looks for the types that
//! carry a meaning anywhere in the chain of causes, so that context can be added freely on the way up.

use std::fmt;
use std::io;

use serde::Serialize;

use crate::api::retry::error_chain;
use crate::api::{ApiError, TransportKind};
use crate::events::WatchError;

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
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
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

/// How a run ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With a code of ours.
    With(Code),
    /// As a command that was run ended, with its code.
    Like(u8),
}

impl Ended {
    /// The number that the process ends with.
    pub const fn number(self) -> u8 {
        match self {
            Self::With(code) => code.number(),
            Self::Like(number) => number,
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

/// An error as it is told: the JSON form's fields; `Display` is the prose form, lines included.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The code's meaning as one word.
    pub kind: &'static str,
    /// What went wrong, with its causes.
    pub message: String,
    /// The number that the process ends with.
    pub exit_code: u8,
    /// The service's own error code, where it gave one.
    pub api_code: Option<i32>,
    /// What to type.
    pub hint: Option<String>,
}

impl Report {
    /// Collects what is to be told about an error.
    pub fn of(error: &anyhow::Error) -> Self {
        let code = code_of(error);
        Self {
            kind: code.kind(),
            message: error_chain(error.as_ref()),
            exit_code: code.number(),
            api_code: error
                .chain()
                .find_map(|cause| cause.downcast_ref::<ApiError>())
                .and_then(ApiError::api_code),
            hint: hint_of(error),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "presencectl: {}", self.message)?;
        if let Some(hint) = &self.hint {
            writeln!(f, "hint: {hint}")?;
        }
        Ok(())
    }
}

/// The exit code of an error.
///
/// A broken pipe anywhere in the chain is a reader who has seen enough: that is 0.
pub fn code_of(error: &anyhow::Error) -> Code {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.code;
        }
        if let Some(error) = cause.downcast_ref::<ApiError>() {
            return code_of_api(error);
        }
        if let Some(WatchError::Lost(_)) = cause.downcast_ref::<WatchError>() {
            return Code::StreamLost;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return Code::Ok;
        }
    }
    Code::Unexpected
}

/// The exit code of an error of the API layer.
fn code_of_api(error: &ApiError) -> Code {
    match error {
        ApiError::Refused(refusal) => match refusal.code {
            2 | 3 | 5 | 40..=43 => Code::NotAuthenticated,
            9 => Code::RateLimited,
            _ => Code::Refused,
        },
        ApiError::RateLimited { .. } => Code::RateLimited,
        ApiError::Unreadable { .. } => Code::Refused,
        ApiError::Insecure { .. } => Code::Usage,
        ApiError::Transport { kind, .. } => match kind {
            TransportKind::Connect => Code::CannotConnect,
            TransportKind::Timeout => Code::TimedOut,
            TransportKind::Broken => Code::CannotConnect,
        },
    }
}

/// What the user can type about an error, if anything.
pub fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            failure.hint.clone()
        } else {
            cause.downcast_ref::<ApiError>().and_then(hint_of_api)
        }
    })
}

fn hint_of_api(error: &ApiError) -> Option<String> {
    let hint = match error {
        ApiError::Refused(refusal) => match refusal.code {
            2 => "check the API key: STREAM_API_KEY, or --profile",
            5 | 43 => {
                "check that the secret belongs to the API key: STREAM_API_SECRET, or --profile"
            }
            40 => {
                "get a fresh token: presencectl token create ID --ttl 1h; where they are signed here, look for a clock \
                 that is wrong (presencectl doctor) or tokens that were revoked"
            }
            16 => "see what exists: presencectl query-users, presencectl query-channels",
            17 => "use an API secret instead of a user token, or act as a user who may: --as USER",
            _ => return None,
        },
        ApiError::RateLimited { .. } => {
            "wait a minute, or allow more patience: --retry 10 --timeout 5m"
        }
        ApiError::Unreadable { .. } => {
            "check the address: --base-url or STREAM_CHAT_URL; a proxy may have answered"
        }
        ApiError::Insecure { .. } => "write https:// in --base-url or STREAM_CHAT_URL",
        ApiError::Transport { .. } => {
            "check the address (--base-url or STREAM_CHAT_URL) and the network; to try without either: --mock"
        }
    };
    Some(hint.to_owned())
}
