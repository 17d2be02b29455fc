//! User tokens, signed here and not by the code under test.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// A token as the vendor's server SDKs make it: `user_id` and nothing else.
pub(crate) fn user_token(secret: &str, user: &str) -> String {
    signed(secret, &format!(r#"{{"user_id":"{user}"}}"#))
}

/// The token of a server: `server` and nothing else.
pub(crate) fn server_token(secret: &str) -> String {
    signed(secret, r#"{"server":true}"#)
}

/// A user's token that ended long ago.
pub(crate) fn expired_token(secret: &str, user: &str) -> String {
    signed(
        secret,
        &format!(r#"{{"user_id":"{user}","exp":1566941272}}"#),
    )
}

fn signed(secret: &str, claims: &str) -> String {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let body = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, body.as_bytes());
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn the_vendors_check_value() {
    assert_eq!(
        user_token("secret", "tommaso"),
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoidG9tbWFzbyJ9.v-x-jt3ZnBXXbQ0GoWloIZtVnat2IE74U1a4Yuxd63M"
    );
}
