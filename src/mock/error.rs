//! API errors of the mock, and the JSON body that every failure has.
//!
//! A rule knows why it refuses but not which operation was requested. The name of the operation is added here, in the
//! service's form `<Operation> failed with error: "<detail>"`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::ApiErrorCode;

/// An error that the mock returns for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The service's error code.
    pub(crate) code: i32,
    /// The reason, in the service's words if they are known.
    pub(crate) detail: String,
    /// Reasons by field.
    pub(crate) exception_fields: BTreeMap<String, String>,
}

impl Rejection {
    fn new(status: u16, code: i32, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            exception_fields: BTreeMap::new(),
        }
    }

    /// An error about an invalid parameter.
    pub(crate) fn input(detail: impl Into<String>) -> Self {
        Self::new(400, ApiErrorCode::InvalidInput.number(), detail)
    }

    /// An error about an invalid field. The reason is repeated under the name of the field.
    pub(crate) fn field(field: impl Into<String>, reason: &str) -> Self {
        let field = field.into();
        let detail = format!("{field} {reason}");
        let mut reject = Self::input(detail.clone());
        reject.exception_fields.insert(field, detail);
        reject
    }

    /// An error about an object that does not exist.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, ApiErrorCode::NotFound.number(), detail)
    }

    /// A 409 error: the request conflicts with the current state.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(409, ApiErrorCode::InvalidInput.number(), detail)
    }

    /// An error about a missing permission.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, ApiErrorCode::NotAllowed.number(), detail)
    }

    /// An authentication error, with one of the codes for it.
    pub(crate) fn unauthorized(code: i32, detail: impl Into<String>) -> Self {
        Self::new(401, code, detail)
    }

    /// An error whose code is an option of the mock.
    pub(crate) fn with_code(status: u16, code: i32, detail: impl Into<String>) -> Self {
        Self::new(status, code, detail)
    }

    /// An error about a body that is too large.
    pub(crate) fn too_big(limit: usize) -> Self {
        Self::new(
            413,
            ApiErrorCode::PayloadTooLarge.number(),
            format!("the request body is larger than {limit} bytes"),
        )
    }

    /// A rate limit error. The hub, which knows the clock, adds how long to wait.
    pub(crate) fn rate_limited(detail: impl Into<String>) -> Self {
        Self::new(429, ApiErrorCode::RateLimited.number(), detail)
    }

    /// The response body for this operation.
    pub(crate) fn body<'a>(&'a self, operation: &str, duration: &'a str) -> ErrorBody<'a> {
        ErrorBody {
            code: self.code,
            message: format!("{operation} failed with error: \"{}\"", self.detail),
            exception_fields: &self.exception_fields,
            status: self.status,
            duration,
            more_info: "https://getstream.io/chat/docs/api_errors_response",
            details: [],
        }
    }
}

/// How many unknown fields of a request an error names.
const UNKNOWN_FIELDS_SHOWN: usize = 10;

/// Checks that a control request has no other fields than the known ones.
///
/// # Errors
///
/// It has; the error names them, and the known ones.
pub(crate) fn check_fields(body: &Map<String, Value>, known: &[&str]) -> Result<(), Rejection> {
    check_names("field", body.keys().map(String::as_str), known)
}

/// Checks that a control request has no other query parameters than the known ones.
///
/// # Errors
///
/// It has; the error names them, and the known ones.
pub(crate) fn check_parameters<'a>(
    names: impl Iterator<Item = &'a str>,
    known: &[&str],
) -> Result<(), Rejection> {
    check_names("query parameter", names, known)
}

fn check_names<'a>(
    noun: &str,
    names: impl Iterator<Item = &'a str>,
    known: &[&str],
) -> Result<(), Rejection> {
    let list = |names: &[&str]| {
        let quoted: Vec<String> = names
            .iter()
            .map(|name| format!("`{}`", shortened(name)))
            .collect();
        quoted.join(", ")
    };
    let unknown: Vec<&str> = names.filter(|name| !known.contains(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let ending = if unknown.len() == 1 { "" } else { "s" };
    let unknown = list(&unknown[..unknown.len().min(UNKNOWN_FIELDS_SHOWN)]);
    let expected = match known {
        [] => format!("this endpoint takes no {noun}s"),
        [known] => format!("expected `{known}`"),
        known => format!("expected one of {}", list(known)),
    };
    Err(Rejection::input(format!(
        "unknown {noun}{ending} {unknown}; {expected}"
    )))
}

/// A name from a request, shortened for an error message.
pub(crate) fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.detail, self.code)
    }
}

impl std::error::Error for Rejection {}

/// The service's error object, used in bodies and in `connection.error` frames.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exception_fields: &'a BTreeMap<String, String>,
    #[serde(rename = "StatusCode")]
    status: u16,
    duration: &'a str,
    more_info: &'static str,
    details: [i32; 0],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_the_services() {
        let reject = Rejection::field("users[john].online", "is a reserved field");
        assert_eq!(
            serde_json::to_string(&reject.body("UpdateUsers", "0.10ms")).unwrap(),
            concat!(
                r#"{"code":4,"message":"UpdateUsers failed with error: \"users[john].online is a reserved field\"","#,
                r#""exception_fields":{"users[john].online":"users[john].online is a reserved field"},"#,
                r#""StatusCode":400,"duration":"0.10ms","#,
                r#""more_info":"https://getstream.io/chat/docs/api_errors_response","details":[]}"#
            )
        );
    }
}
