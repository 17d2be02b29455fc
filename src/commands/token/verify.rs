//! `token verify`: checks a token's signature and times, as the service does.

use serde_json::{Map, Value};

use super::{read_token, show};
use crate::domain::token::{self, TokenError};
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Flags of `token verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The token, or - to read it from stdin (default: PRESENCECTL_USER_TOKEN)
    pub token: Option<String>,
}

/// Verifies the token and prints its claims.
///
/// # Errors
///
/// The token or the secret is missing, or the service would refuse the token (exit code 4).
pub(super) async fn run(app: &App, args: &VerifyArgs) -> anyhow::Result<Code> {
    let token = read_token(args.token.as_deref())?;
    let secret = app.secret().await?;
    let claims = token::verify(secret.reveal(), &token, app.now()).map_err(|error| {
        let hint = match &error {
            TokenError::IssuedInFuture | TokenError::NotYetValid => {
                "compare this machine's clock with that of the machine that signed it: presencectl doctor"
            }
            TokenError::Malformed(_) | TokenError::BadSignature | TokenError::Expired { .. } => {
                "make a good one: presencectl token create ID --ttl 1h"
            }
        };
        Failure::new(Code::NotAuthenticated, error.to_string()).hinted(hint)
    })?;
    show(
        app,
        &claims,
        Map::from_iter([("valid".to_owned(), Value::Bool(true))]),
    )?;
    Ok(Code::Ok)
}
