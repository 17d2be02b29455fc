//! The error codes of the service.
//!
//! The service puts one into every error body and into every `connection.error` frame. A code that is not listed here
//! keeps its number, so nothing is lost between the service and the person who reads the message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines the enum and both conversions from one list.
macro_rules! api_error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// An error code of the service. In JSON it is the plain number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "i32", into = "i32")]
        #[non_exhaustive]
        pub enum ApiErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that is not listed above.
            Other(i32),
        }

        impl From<i32> for ApiErrorCode {
            fn from(number: i32) -> Self {
                match number {
                    $($number => Self::$name,)*
                    number => Self::Other(number),
                }
            }
        }

        impl ApiErrorCode {
            /// The number that stands in error bodies.
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$name => $number,)*
                    Self::Other(number) => number,
                }
            }
        }
    };
}

api_error_codes! {
    /// The service itself failed (HTTP 500).
    Internal = -1,
    /// The API key is missing or unknown (HTTP 401).
    InvalidApiKey = 2,
    /// The general authentication error of the JavaScript SDK's list. The documentation has 5 instead.
    AuthenticationFailed = 3,
    /// A parameter is invalid (HTTP 400).
    InvalidInput = 4,
    /// Authentication failed: the token is missing, malformed or of the wrong type (HTTP 401).
    Unauthenticated = 5,
    /// A rate limit is exceeded (HTTP 429).
    RateLimited = 9,
    /// The user, channel or other object does not exist (HTTP 404).
    NotFound = 16,
    /// The caller does not have the permission (HTTP 403).
    NotAllowed = 17,
    /// The request body is too large (HTTP 413).
    PayloadTooLarge = 22,
    /// The service did not finish in time (HTTP 408).
    RequestTimeout = 23,
    /// The token has expired (HTTP 401).
    TokenExpired = 40,
    /// The token is not valid yet: its `nbf` is in the future (HTTP 401).
    TokenNotYetValid = 41,
    /// The token is used before it was issued: its `iat` is in the future (HTTP 401).
    TokenIssuedInFuture = 42,
    /// The token's signature is invalid (HTTP 401).
    TokenSignatureInvalid = 43,
    /// The service could not reach an application's custom command endpoint (HTTP 400).
    CustomCommandFailed = 45,
    /// The connection id is unknown: that connection is gone.
    ConnectionIdNotFound = 46,
    /// The user has to wait before they send again (HTTP 403).
    CoolDown = 60,
    /// The user has too many connections.
    TooManyConnections = 71,
}

impl ApiErrorCode {
    /// Whether the API key or the token is refused. Trying again with the same credentials is useless.
    pub const fn is_authentication(self) -> bool {
        matches!(
            self,
            Self::InvalidApiKey
                | Self::AuthenticationFailed
                | Self::Unauthenticated
                | Self::TokenExpired
                | Self::TokenNotYetValid
                | Self::TokenIssuedInFuture
                | Self::TokenSignatureInvalid
        )
    }
}

impl Default for ApiErrorCode {
    /// 0, which the service never uses.
    fn default() -> Self {
        Self::Other(0)
    }
}

impl From<ApiErrorCode> for i32 {
    fn from(code: ApiErrorCode) -> Self {
        code.number()
    }
}

impl PartialEq<i32> for ApiErrorCode {
    fn eq(&self, number: &i32) -> bool {
        self.number() == *number
    }
}

impl fmt::Display for ApiErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_conversion() {
        for number in -2..200 {
            let code = ApiErrorCode::from(number);
            assert_eq!(code.number(), number);
            assert_eq!(code.to_string(), number.to_string());
            assert_eq!(serde_json::to_string(&code).unwrap(), number.to_string());
            assert_eq!(
                serde_json::from_str::<ApiErrorCode>(&number.to_string()).unwrap(),
                code
            );
        }
        assert_eq!(ApiErrorCode::from(16), ApiErrorCode::NotFound);
        assert_eq!(ApiErrorCode::from(999), ApiErrorCode::Other(999));
    }

    #[test]
    fn authentication_errors_are_the_ones_of_exit_code_4() {
        let numbers: Vec<i32> = (-1..200)
            .filter(|number| ApiErrorCode::from(*number).is_authentication())
            .collect();
        assert_eq!(numbers, [2, 3, 5, 40, 41, 42, 43]);
    }
}
