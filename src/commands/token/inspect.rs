//! `token inspect`: prints the claims of a token without verifying it.

use serde_json::Map;

use super::{read_token, show};
use crate::domain::token;
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Flags of `token inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The token, or - to read it from stdin (default: PRESENCECTL_USER_TOKEN)
    pub token: Option<String>,
}

/// Decodes the token and prints its claims.
///
/// # Errors
///
/// There is no token, or it cannot be decoded (exit code 2).
pub(super) fn run(app: &App, args: &InspectArgs) -> anyhow::Result<Code> {
    let token = read_token(args.token.as_deref())?;
    let claims = token::inspect(&token).map_err(|error| {
        Failure::new(Code::Usage, error.to_string()).hinted(
            "a token is what `presencectl token create ID` prints; - reads one from standard input",
        )
    })?;
    show(app, &claims, Map::new())?;
    Ok(Code::Ok)
}
