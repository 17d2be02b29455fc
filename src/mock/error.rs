//! API errors of the mock, and the JSON body that every failure has.
//!
//! A rule knows why it refuses but not which operation was requested. The name of the operation is added here, in the
//! service's form `<Operation> failed with error: "<detail>"`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::domain::ApiErrorCode;

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The service's error code.
    pub(crate) code: i32,
    /// The reason, in the service's words where they are known.
    pub(crate) detail: String,
    /// Reasons per field.
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

    /// A parameter is wrong.
    pub(crate) fn input(detail: impl Into<String>) -> Self {
        Self::new(400, ApiErrorCode::InvalidInput.number(), detail)
    }

    /// A field is wrong: the reason is repeated under the field's name.
    pub(crate) fn field(field: impl Into<String>, reason: &str) -> Self {
        let field = field.into();
        let detail = format!("{field} {reason}");
        let mut reject = Self::input(detail.clone());
        reject.exception_fields.insert(field, detail);
        reject
    }

    /// There is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, ApiErrorCode::NotFound.number(), detail)
    }

    /// The caller may not.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, ApiErrorCode::NotAllowed.number(), detail)
    }

    /// Not authenticated, with one of the codes for that.
    pub(crate) fn unauthorized(code: i32, detail: impl Into<String>) -> Self {
        Self::new(401, code, detail)
    }

    /// A refusal whose code is an option.
    pub(crate) fn with_code(status: u16, code: i32, detail: impl Into<String>) -> Self {
        Self::new(status, code, detail)
    }

    /// The body is too big.
    pub(crate) fn too_big(limit: usize) -> Self {
        Self::new(
            413,
            ApiErrorCode::PayloadTooLarge.number(),
            format!("the request body is larger than {limit} bytes"),
        )
    }

    /// The budget is spent. How long to wait is said where the clock is.
    pub(crate) fn rate_limited(detail: impl Into<String>) -> Self {
        Self::new(429, ApiErrorCode::RateLimited.number(), detail)
    }

    /// The body of the answer to `operation`.
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

/// A client's name for something, short enough for an error message.
pub(crate) fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.detail, self.code)
    }
}

impl std::error::Error for Rejection {}

/// The service's error object, in bodies and in `connection.error` frames.
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
