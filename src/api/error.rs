//! Everything that can go wrong between a method call and a typed answer, as one type that callers branch on.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A refusal in the service's own words, from an error body or a `connection.error` frame.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Refusal {
    /// The service's error code; 4 is invalid input, 9 rate limited, 16 not found, 17 not allowed, 40 token expired.
    pub code: i32,
    /// The HTTP status, which the body repeats.
    #[serde(rename = "StatusCode", default)]
    pub status: u16,
    /// The service's message.
    #[serde(default)]
    pub message: String,
    /// Messages per field, for validation errors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exception_fields: BTreeMap<String, String>,
    /// Whether the service says that repeating is useless.
    #[serde(default)]
    pub unrecoverable: bool,
}

/// Which part of reaching the service failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// Name resolution, TCP or TLS: there was no connection.
    Connect,
    /// The connection stood, and no answer came in time.
    Timeout,
    /// The connection broke, or what came was no HTTP.
    Broken,
}

/// Why a call failed.
#[derive(Debug)]
pub enum ApiError {
    /// The service answered with an error.
    Refused(Refusal),
    /// The service asked for patience, and the retries are spent.
    RateLimited {
        /// The service's words.
        refusal: Refusal,
        /// How long it asked to wait, if it said so.
        retry_after: Option<Duration>,
    },
    /// The answer was not what the service speaks: an HTML page of a proxy, or cut short.
    Unreadable {
        /// The HTTP status of the answer.
        status: u16,
        /// What was asked, as `METHOD /path`.
        request: String,
        /// The first bytes of the body, control characters escaped.
        start: String,
    },
    /// The service could not be reached, or did not answer.
    Transport {
        /// Which part failed.
        kind: TransportKind,
        /// Where to, as `host:port`.
        to: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ApiError {
    /// The service's error code, where it gave one.
    pub const fn api_code(&self) -> Option<i32> {
        match self {
            Self::Refused(refusal) | Self::RateLimited { refusal, .. } => Some(refusal.code),
            Self::Unreadable { .. } | Self::Transport { .. } => None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => {
                write!(
                    f,
                    "the API refused (HTTP {}, code {}): {}",
                    refusal.status,
                    refusal.code,
                    refusal.message.escape_debug()
                )?;
                for (field, why) in &refusal.exception_fields {
                    if !refusal.message.contains(why.as_str()) {
                        write!(f, "; {}: {}", field.escape_debug(), why.escape_debug())?;
                    }
                }
                Ok(())
            }
            Self::RateLimited { refusal, .. } => write!(
                f,
                "rate limited (code {}): {}",
                refusal.code,
                refusal.message.escape_debug()
            ),
            Self::Unreadable {
                status,
                request,
                start,
            } => write!(
                f,
                "the answer to {request} (HTTP {status}) is not JSON of the API; it starts with `{start}`"
            ),
            Self::Transport { kind, to, .. } => match kind {
                TransportKind::Connect => write!(f, "cannot connect to {to}"),
                TransportKind::Timeout => write!(f, "no answer from {to} in time"),
                TransportKind::Broken => write!(f, "the connection to {to} broke"),
            },
        }
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Transport { source, .. } => Some(source.as_ref()),
            Self::Refused(_) | Self::RateLimited { .. } | Self::Unreadable { .. } => None,
        }
    }
}
