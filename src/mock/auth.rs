//! Authentication of requests: checks the API key, the kind of authentication and the token, in the service's order.

use chrono::{DateTime, Utc};

use super::engine::Caller;
use super::error::Rejection;
use super::options::MockOptions;
use crate::domain::ApiErrorCode;
use crate::domain::token::{self, Claims, TokenError};

/// The credentials in a request.
#[derive(Debug, Default)]
pub(crate) struct RequestCredentials<'a> {
    /// `api_key`.
    pub(crate) api_key: Option<&'a str>,
    /// `stream-auth-type`.
    pub(crate) auth_type: Option<&'a str>,
    /// `Authorization`, bare.
    pub(crate) token: Option<&'a str>,
    /// The query parameter `user_id`, which names an anonymous caller.
    pub(crate) user_id: Option<&'a str>,
}

/// An authenticated caller, and when their token expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallerIdentity {
    /// The caller.
    pub(crate) caller: Caller,
    /// When the token expires, if it has an expiry.
    pub(crate) expires: Option<DateTime<Utc>>,
}

/// Refuses a missing or unknown API key.
pub(crate) fn check_key(
    options: &MockOptions,
    credentials: &RequestCredentials<'_>,
) -> Result<(), Rejection> {
    match credentials.api_key {
        Some(key) if key == options.api_key => Ok(()),
        None | Some("") => Err(Rejection::unauthorized(
            ApiErrorCode::InvalidApiKey.number(),
            "api_key is missing",
        )),
        Some(_) => Err(unknown_key()),
    }
}

/// The error for an API key that belongs to no application.
pub(crate) fn unknown_key() -> Rejection {
    Rejection::unauthorized(ApiErrorCode::InvalidApiKey.number(), "api_key not valid")
}

/// Authenticates a request.
pub(crate) fn authenticate(
    options: &MockOptions,
    credentials: &RequestCredentials<'_>,
    now: DateTime<Utc>,
    system_now: DateTime<Utc>,
    accepts_development_tokens: impl FnOnce() -> bool,
) -> Result<CallerIdentity, Rejection> {
    check_key(options, credentials)?;
    let unauthenticated =
        |detail| Rejection::unauthorized(ApiErrorCode::Unauthenticated.number(), detail);
    match credentials.auth_type {
        Some(kind) if kind.eq_ignore_ascii_case("jwt") => {}
        Some(kind) if kind.eq_ignore_ascii_case("anonymous") => {
            let id = credentials.user_id.filter(|id| !id.is_empty());
            return Ok(CallerIdentity {
                caller: Caller::Anonymous {
                    id: id.map(str::to_owned),
                },
                expires: None,
            });
        }
        _ => return Err(unauthenticated("stream-auth-type missing or invalid")),
    }
    let token = credentials
        .token
        .filter(|token| !token.is_empty() && *token != "undefined")
        .ok_or_else(|| unauthenticated("the token is missing"))?;
    let claims = if token.ends_with(".devtoken") {
        development(accepts_development_tokens(), token)?
    } else {
        // Clients sign by the system's time, also if a test has set the mock's clock to the past.
        let latest_issue = now.max(system_now);
        token::verify_issued_until(options.secret.reveal(), token, now, latest_issue)
            .map_err(|error| bad_token(options, &error))?
    };
    let expires = claims.exp.and_then(|exp| DateTime::from_timestamp(exp, 0));
    let caller = caller_of(claims).ok_or_else(|| unauthenticated("the token names no user"))?;
    Ok(CallerIdentity { caller, expires })
}

/// The rejection for a token that is not valid.
fn bad_token(options: &MockOptions, error: &TokenError) -> Rejection {
    let (code, detail) = match error {
        TokenError::Malformed(_) => (
            ApiErrorCode::Unauthenticated.number(),
            "token contains an invalid number of segments".to_owned(),
        ),
        TokenError::BadSignature => (
            options.rules.bad_signature_code,
            "signature is not valid".to_owned(),
        ),
        TokenError::Expired { .. } => (ApiErrorCode::TokenExpired.number(), error.to_string()),
        TokenError::NotYetValid => (ApiErrorCode::TokenNotYetValid.number(), error.to_string()),
        TokenError::IssuedInFuture => (
            ApiErrorCode::TokenIssuedInFuture.number(),
            "JWTAuth error: token used before issue at (iat)".to_owned(),
        ),
    };
    Rejection::unauthorized(code, detail)
}

/// Who the claims are about: the server, or a user.
fn caller_of(claims: Claims) -> Option<Caller> {
    match claims {
        // Newer server SDKs sign a token without claims. A caller that can sign has the secret.
        Claims {
            server: Some(true), ..
        }
        | Claims {
            server: None,
            user_id: None,
            ..
        } => Some(Caller::Server),
        Claims {
            user_id: Some(id),
            iat,
            ..
        } if !id.is_empty() => Some(Caller::User { id, issued_at: iat }),
        _ => None,
    }
}

/// Parses an unsigned development token. Clients pad its middle part.
fn development(allowed: bool, token: &str) -> Result<Claims, Rejection> {
    use base64::Engine;
    use base64::alphabet::{STANDARD, URL_SAFE};
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

    if !allowed {
        return Err(Rejection::unauthorized(
            ApiErrorCode::Unauthenticated.number(),
            "development tokens are not allowed for this application",
        ));
    }
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let payload = token.split('.').nth(1).unwrap_or_default();
    [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(payload).ok())
        .and_then(|bytes| serde_json::from_slice::<Claims>(&bytes).ok())
        // An unsigned token proves nothing, so it can name a user but not a server.
        .filter(|claims| claims.user_id.is_some())
        .map(|claims| Claims {
            server: None,
            ..claims
        })
        .ok_or_else(|| {
            Rejection::unauthorized(
                ApiErrorCode::Unauthenticated.number(),
                "the token is malformed",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SecretString;

    fn options() -> MockOptions {
        MockOptions {
            api_key: "key".into(),
            secret: SecretString::new("secret"),
            ..MockOptions::default()
        }
    }

    fn ask(development: bool, kind: &str, token: &str) -> Result<Caller, (u16, i32)> {
        let credentials = RequestCredentials {
            api_key: Some("key"),
            auth_type: Some(kind),
            token: Some(token),
            user_id: None,
        };
        let now = DateTime::from_timestamp(1000, 0).unwrap();
        authenticate(&options(), &credentials, now, now, || development)
            .map(|identity| identity.caller)
            .map_err(|reject| (reject.status, reject.code))
    }

    #[test]
    fn the_services_codes() {
        let user = |id: &str| {
            Ok(Caller::User {
                id: id.into(),
                issued_at: None,
            })
        };
        let sign = |claims: &Claims| token::sign("secret", claims);
        let claims = Claims::user("amy");
        assert_eq!(ask(false, "jwt", &sign(&claims)), user("amy"));
        assert_eq!(
            ask(false, "JWT", &sign(&Claims::server())),
            Ok(Caller::Server)
        );
        assert_eq!(ask(false, "", &sign(&claims)), Err((401, 5)));
        assert_eq!(ask(false, "basic", &sign(&claims)), Err((401, 5)));
        assert_eq!(ask(false, "jwt", ""), Err((401, 5)));
        assert_eq!(ask(false, "jwt", "nonsense"), Err((401, 5)));
        assert_eq!(
            ask(false, "jwt", &token::sign("other", &claims)),
            Err((401, 43))
        );
        let with = |change: fn(&mut Claims)| {
            let mut claims = Claims::user("amy");
            change(&mut claims);
            sign(&claims)
        };
        assert_eq!(
            ask(false, "jwt", &with(|c| c.exp = Some(1000))),
            Err((401, 40))
        );
        assert_eq!(
            ask(false, "jwt", &with(|c| c.nbf = Some(1001))),
            Err((401, 41))
        );
        assert_eq!(
            ask(false, "jwt", &with(|c| c.iat = Some(1001))),
            Err((401, 42))
        );
        assert_eq!(
            ask(false, "jwt", &with(|c| c.user_id = None)),
            Ok(Caller::Server)
        );
        assert_eq!(
            ask(false, "jwt", &with(|c| c.user_id = Some(String::new()))),
            Err((401, 5))
        );
    }

    #[test]
    fn tokens_of_today_are_accepted_on_a_clock_that_was_set_to_the_past() {
        let (past, today) = (
            DateTime::UNIX_EPOCH,
            DateTime::from_timestamp(1000, 0).unwrap(),
        );
        for (issued, accepted) in [(1000, true), (1001, false)] {
            let claims = Claims {
                iat: Some(issued),
                ..Claims::user("amy")
            };
            let token = token::sign("secret", &claims);
            let credentials = RequestCredentials {
                api_key: Some("key"),
                auth_type: Some("jwt"),
                token: Some(&token),
                user_id: None,
            };
            let identity = authenticate(&options(), &credentials, past, today, || false);
            assert_eq!(identity.is_ok(), accepted, "{identity:?}");
        }
    }

    #[test]
    fn the_key_comes_first() {
        let now = DateTime::UNIX_EPOCH;
        for (key, code) in [(None, 2), (Some("other"), 2), (Some("key"), 5)] {
            let credentials = RequestCredentials {
                api_key: key,
                ..RequestCredentials::default()
            };
            let reject = authenticate(&options(), &credentials, now, now, || false);
            assert_eq!(reject.unwrap_err().code, code);
        }
    }

    #[test]
    fn nobody_becomes_the_server_without_a_signature() {
        for claims in [
            "{}",
            r#"{"server":true}"#,
            r#"{"server":true,"user_id":"amy"}"#,
        ] {
            use base64::Engine;
            let claims = base64::engine::general_purpose::STANDARD.encode(claims);
            let token = format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{claims}.devtoken");
            assert_ne!(ask(true, "jwt", &token), Ok(Caller::Server));
        }
    }

    #[test]
    fn development_tokens_only_where_allowed() {
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoiYW15In0=.devtoken";
        assert_eq!(ask(false, "jwt", token), Err((401, 5)));
        assert_eq!(
            ask(true, "jwt", token),
            Ok(Caller::User {
                id: "amy".into(),
                issued_at: None
            })
        );
    }
}
