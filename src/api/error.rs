//! The error type of API calls. Callers branch on its variants.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::retry::error_chain;
use crate::domain::ApiErrorCode;
use crate::escape;

/// An error reported by the service, in an error body or in a `connection.error` frame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The service's error code.
    pub code: ApiErrorCode,
    /// The HTTP status, as repeated in the body.
    #[serde(rename = "StatusCode")]
    pub status: u16,
    /// The service's message.
    pub message: String,
    /// Messages per field, for validation errors.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exception_fields: BTreeMap<String, String>,
    /// Whether the service says that a retry is useless.
    pub unrecoverable: bool,
}

impl Refusal {
    /// Parses an error body, or the `error` of a `connection.error`. `None` if it has no `code`.
    ///
    /// Parts of the service differ in the other keys and their types, so all of them are optional. `status` is used if
    /// the body does not contain it.
    pub fn read(body: &[u8], status: u16) -> Option<Self> {
        let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
        Some(Self {
            code: i32::try_from(body.get("code")?.as_i64()?).ok()?.into(),
            status: body
                .get("StatusCode")
                .and_then(Value::as_u64)
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(status),
            message: body.get("message").map(text_of).unwrap_or_default(),
            exception_fields: body
                .get("exception_fields")
                .and_then(Value::as_object)
                .map(|fields| {
                    fields
                        .iter()
                        .map(|(field, why)| (field.clone(), text_of(why)))
                        .collect()
                })
                .unwrap_or_default(),
            unrecoverable: body.get("unrecoverable") == Some(&Value::Bool(true)),
        })
    }
}

fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The first characters of an unreadable body, escaped.
pub(super) fn beginning_of(body: &[u8]) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 120;
    let body = String::from_utf8_lossy(body);
    let body = body.trim();
    let mut shown =
        escape::escape(&body.chars().take(SHOWN_CHARACTERS_MAX).collect::<String>()).into_owned();
    if body.chars().nth(SHOWN_CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The phase in which a call failed before a response arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// Name resolution, TCP or TLS failed: there was no connection.
    Connect,
    /// There was a connection, but no response in time.
    Timeout,
    /// The connection broke, or the response was not HTTP.
    Broken,
}

/// The TLS handshake got something that is not TLS, as from a port for plain http.
#[derive(Debug)]
pub struct NoTls;

impl NoTls {
    /// Whether this is why a call failed.
    pub(crate) fn is_cause_of(error: &(dyn Error + 'static)) -> bool {
        error_chain(error).contains("InvalidContentType")
    }
}

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server does not speak TLS there, so this is not an https port")
    }
}

impl Error for NoTls {}

/// Why a call failed.
#[derive(Debug)]
pub enum ApiError {
    /// The service reported an error.
    Refused(Refusal),
    /// The service asked to wait, and all retries are used up.
    RateLimited {
        /// The error that the service reported.
        refusal: Refusal,
        /// How long it asked to wait, if it said.
        retry_after: Option<Duration>,
    },
    /// The response does not come from the service: an HTML page of a proxy, or incomplete JSON.
    Unreadable {
        /// The HTTP status.
        status: u16,
        /// The request, as `METHOD /path`.
        request: String,
        /// The first bytes of the body, with control characters escaped.
        start: String,
    },
    /// The service could not be reached, or did not answer.
    Transport {
        /// The phase that failed.
        kind: TransportKind,
        /// The service's `host:port`.
        to: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The response body exceeds its limit.
    ResponseTooLarge {
        /// The request, as `METHOD /path`.
        request: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The URL is longer than servers accept, so nothing was sent.
    UrlTooLong {
        /// The request, as `METHOD /path`.
        request: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// Credentials would cross a network in clear text, so nothing was sent.
    Insecure {
        /// The service's `scheme://host:port`.
        to: String,
    },
}

impl ApiError {
    /// Whether the server's certificate was refused. Then another attempt is of no use.
    pub fn is_certificate_refused(&self) -> bool {
        self.has_cause("invalid peer certificate")
    }

    /// Whether nobody who is trusted has signed the server's certificate.
    pub fn is_issuer_unknown(&self) -> bool {
        self.has_cause("invalid peer certificate: UnknownIssuer")
    }

    /// Whether the answer was not HTTP, as from a port for https.
    pub fn is_answer_not_http(&self) -> bool {
        self.has_cause("invalid HTTP version")
    }

    /// Whether a transport error has a cause with this text. The HTTP library has no types for these causes.
    fn has_cause(&self, text: &str) -> bool {
        matches!(self, Self::Transport { source, .. } if error_chain(source.as_ref()).contains(text))
    }

    /// The service's error code, if there is one.
    pub const fn api_code(&self) -> Option<ApiErrorCode> {
        match self {
            Self::Refused(refusal) | Self::RateLimited { refusal, .. } => Some(refusal.code),
            Self::Unreadable { .. }
            | Self::Transport { .. }
            | Self::ResponseTooLarge { .. }
            | Self::UrlTooLong { .. }
            | Self::Insecure { .. } => None,
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
                    escape::escape(&refusal.message)
                )?;
                for (field, why) in &refusal.exception_fields {
                    if !refusal.message.contains(why.as_str()) {
                        write!(f, "; {}: {}", escape::escape(field), escape::escape(why))?;
                    }
                }
                Ok(())
            }
            Self::RateLimited { refusal, .. } => write!(
                f,
                "rate limited (code {}): {}",
                refusal.code,
                escape::escape(&refusal.message)
            ),
            Self::Unreadable {
                status,
                request,
                start,
            } => write!(
                f,
                "the answer to {request} (HTTP {status}) is not what the API speaks; it starts with `{start}`"
            ),
            Self::Transport { kind, to, .. } => match kind {
                TransportKind::Connect => write!(f, "cannot connect to {to}"),
                TransportKind::Timeout => write!(f, "no answer from {to} in time"),
                TransportKind::Broken => write!(f, "the connection to {to} broke"),
            },
            Self::ResponseTooLarge { request, limit } => write!(
                f,
                "the response to {request} is larger than {}",
                HumanSize(*limit)
            ),
            Self::UrlTooLong { request, limit } => write!(
                f,
                "the URL of {request} would be longer than {}",
                HumanSize(*limit)
            ),
            Self::Insecure { to } => write!(
                f,
                "not sending credentials to {to}: it is neither https nor this machine"
            ),
        }
    }
}

/// A number of bytes in the largest unit that divides it.
struct HumanSize(usize);

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: usize = 1024;
        const MIB: usize = KIB * KIB;
        match self.0 {
            bytes if bytes > 0 && bytes % MIB == 0 => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes > 0 && bytes % KIB == 0 => write!(f, "{} KiB", bytes / KIB),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The layers of the HTTP library say nothing to people. The innermost cause says what happened.
            Self::Transport { source, .. } => Some(innermost(source.as_ref())),
            Self::Refused(_)
            | Self::RateLimited { .. }
            | Self::Unreadable { .. }
            | Self::ResponseTooLarge { .. }
            | Self::UrlTooLong { .. }
            | Self::Insecure { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_is_read_whole() {
        let body = br#"{"code":4,"message":"UpdateUsers failed with error: \"users[a].online is a reserved field\"",
            "exception_fields":{"users[a].online":"users[a].online is a reserved field"},
            "StatusCode":400,"duration":"0.00ms","more_info":"https://x","details":{"any":[1]}}"#;
        let refusal = Refusal::read(body, 500).unwrap();
        assert_eq!(refusal.code, 4);
        assert_eq!(refusal.status, 400);
        assert_eq!(
            refusal.exception_fields["users[a].online"],
            "users[a].online is a reserved field"
        );
        assert_eq!(
            ApiError::Refused(refusal).to_string(),
            r#"the API refused (HTTP 400, code 4): UpdateUsers failed with error: "users[a].online is a reserved field""#
        );
    }

    #[test]
    fn odd_keys_do_not_spoil_the_reading() {
        let body =
            br#"{"code":-1,"message":null,"exception_fields":{"a":{"b":1}},"unrecoverable":true}"#;
        let refusal = Refusal::read(body, 500).unwrap();
        assert_eq!(
            (refusal.code, refusal.status),
            (ApiErrorCode::Internal, 500)
        );
        assert_eq!(refusal.exception_fields["a"], r#"{"b":1}"#);
        assert!(refusal.unrecoverable);
    }

    #[test]
    fn what_is_no_error_body_is_none() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"code":"4"}"#,
            r#"{"message":"x"}"#,
        ] {
            assert_eq!(Refusal::read(body.as_bytes(), 502), None, "{body}");
        }
    }

    #[test]
    fn unreadable_bodies_are_shown_harmless_and_short() {
        assert_eq!(beginning_of(b"  \x1b[31mred\n "), "\\u{1b}[31mred");
        let long = beginning_of("x".repeat(5000).as_bytes());
        assert_eq!(long.chars().count(), 121);
        assert_eq!(beginning_of(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
