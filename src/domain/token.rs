//! User and server tokens: signed, read and verified. Both the client and the mock server use it.
//!
//! A token is a JWT with HS256 over the API secret's UTF-8 bytes. A user token carries `user_id`, the server token
//! exactly `{"server": true}`; `iat` and `exp` are unix seconds and optional. Times are checked against the caller's
//! `now`, so the library's own check, which reads the clock, is off.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signature::{Error as SignatureError, Signer, Verifier};

/// How far in the past the time of issue of a new token is. A server whose clock is behind refuses a token from its
/// future.
const ISSUE_BACKDATE: TimeDelta = TimeDelta::seconds(60);

/// The claims of a token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// The user that the token is for; absent in a server token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Whether it is a server token. The PHP SDK writes it as text.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bool_or_text"
    )]
    pub server: Option<bool>,
    /// Issued at, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Not valid before, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Expires at, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// All other claims, such as `role` or `channel_cids`.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Reads `true`, `false`, and the same as text.
fn bool_or_text<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<bool>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(Value::String(text)) if text == "true" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" => Ok(Some(false)),
        Some(_) => Err(serde::de::Error::custom("server must be a boolean")),
    }
}

impl Claims {
    /// Claims of a server token.
    pub fn server() -> Self {
        Self {
            server: Some(true),
            ..Self::default()
        }
    }

    /// Claims of a user token that does not expire.
    pub fn user(id: &str) -> Self {
        Self {
            user_id: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// The same claims, issued a minute ago. If a user's tokens were revoked, those without a time of issue fail.
    #[must_use]
    pub fn with_backdated_issue(self, now: DateTime<Utc>) -> Self {
        Self {
            iat: Some((now - ISSUE_BACKDATE).timestamp()),
            ..self
        }
    }
}

/// Why a token is not accepted. There is a variant for each error code of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// It is not a JWT with HS256 and the claims of a token. Contains what is wrong.
    Malformed(String),
    /// The signature was made with another secret (code 43).
    BadSignature,
    /// `exp` has passed (code 40).
    Expired {
        /// When it expired.
        at: DateTime<Utc>,
    },
    /// `nbf` is in the future (code 41).
    NotYetValid,
    /// `iat` is in the future (code 42).
    IssuedInFuture,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "not a token: {why}"),
            Self::BadSignature => f.write_str("the token's signature does not match the secret"),
            Self::Expired { at } => {
                write!(f, "the token expired at {}", super::time::millis(*at))
            }
            Self::NotYetValid => f.write_str("the token is not valid yet"),
            Self::IssuedInFuture => f.write_str("the token was issued in the future"),
        }
    }
}

impl std::error::Error for TokenError {}

/// Signs claims with the API secret.
pub fn sign(secret: &str, claims: &Claims) -> String {
    install_provider();
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .expect("HS256 over a byte key and plain JSON claims has nothing that can fail")
}

/// Reads a token's claims without verifying its signature.
///
/// # Errors
///
/// [`TokenError::Malformed`].
pub fn inspect(token: &str) -> Result<Claims, TokenError> {
    jsonwebtoken::dangerous::insecure_decode::<Claims>(token.as_bytes())
        .map(|data| data.claims)
        .map_err(|error| malformed(&error))
}

/// Says in plain words why the library refuses a token.
fn malformed(error: &jsonwebtoken::errors::Error) -> TokenError {
    let why = match error.kind() {
        ErrorKind::InvalidToken => "expected three parts separated by dots",
        ErrorKind::Base64(_) => "a part is not valid base64url",
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => "a part is not JSON with the fields of a token",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "it is not signed with HS256"
        }
        _ => "expected a JWT signed with HS256",
    };
    TokenError::Malformed(why.to_owned())
}

/// Verifies a token's signature and times, and returns its claims.
///
/// # Errors
///
/// [`TokenError`], checked in the order of the service: malformed, bad signature, expired, not valid yet, issued in the
/// future.
pub fn verify(secret: &str, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenError> {
    verify_issued_until(secret, token, now, now)
}

/// Like [`verify`], with another time up to which the token may have been issued.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_issued_until(
    secret: &str,
    token: &str,
    now: DateTime<Utc>,
    latest_issue: DateTime<Utc>,
) -> Result<Claims, TokenError> {
    install_provider();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_secret(secret.as_bytes());
    let claims = jsonwebtoken::decode::<Claims>(token.as_bytes(), &key, &validation)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenError::BadSignature,
            _ => malformed(&error),
        })?
        .claims;
    if let Some(exp) = claims.exp
        && exp <= now.timestamp()
    {
        return Err(TokenError::Expired {
            at: DateTime::from_timestamp(exp, 0).unwrap_or_default(),
        });
    }
    let latest_issue = latest_issue.timestamp();
    if claims.nbf.is_some_and(|nbf| nbf > latest_issue) {
        return Err(TokenError::NotYetValid);
    }
    if claims.iat.is_some_and(|iat| iat > latest_issue) {
        return Err(TokenError::IssuedInFuture);
    }
    Ok(claims)
}

/// HS256 by `ring`, which TLS needs anyway. The JWT library's own back ends would add RSA and three curves.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(
            hmac::HMAC_SHA256,
            key.as_bytes(),
        )))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(
            hmac::HMAC_SHA256,
            key.try_get_as_bytes()?,
        )))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn install_provider() {
    // Fails only if this function has installed it already.
    let _ = PROVIDER.install_default();
}

struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), SignatureError> {
        hmac::verify(&self.0, message, tag).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// The check values that the vendor's own SDK tests use, for the secret `secret`.
    #[test]
    fn known_tokens() {
        let theirs = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoidG9tbWFzbyJ9.\
                      v-x-jt3ZnBXXbQ0GoWloIZtVnat2IE74U1a4Yuxd63M";
        assert_eq!(
            verify("secret", theirs, at(0)).unwrap(),
            Claims::user("tommaso")
        );
        assert_eq!(
            verify("Secret", theirs, at(0)),
            Err(TokenError::BadSignature)
        );
        let server = sign("secret", &Claims::server());
        assert_eq!(verify("secret", &server, at(0)).unwrap().server, Some(true));
    }

    #[test]
    fn times_are_checked_against_the_given_now() {
        let claims = Claims {
            iat: Some(100),
            nbf: Some(110),
            exp: Some(200),
            ..Claims::user("a")
        };
        let token = sign("s", &claims);
        assert_eq!(verify("s", &token, at(150)).unwrap(), claims);
        assert_eq!(
            verify("s", &token, at(200)),
            Err(TokenError::Expired { at: at(200) })
        );
        assert_eq!(verify("s", &token, at(105)), Err(TokenError::NotYetValid));
        let early = sign(
            "s",
            &Claims {
                iat: Some(100),
                ..Claims::user("a")
            },
        );
        assert_eq!(verify("s", &early, at(99)), Err(TokenError::IssuedInFuture));
    }

    #[test]
    fn another_algorithm_is_malformed() {
        let none = "eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjoiYSJ9.";
        assert!(matches!(
            verify("s", none, at(0)),
            Err(TokenError::Malformed(_))
        ));
        assert!(matches!(inspect("nonsense"), Err(TokenError::Malformed(_))));
    }
}
