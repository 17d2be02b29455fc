//! `token create`: signs a user token locally with the API secret.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Map, Value};

use super::{is_bare, show};
use crate::domain::UserId;
use crate::domain::time::parse_duration;
use crate::domain::token::{self, Claims};
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Flags of `token create`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints only the token, for use in $(…). With -o it prints a record.
With --ttl, `iat` lies a minute in the past, so that a server whose clock is behind accepts the token.

Examples:
  PRESENCECTL_USER_TOKEN=$(presencectl token create john --ttl 1h)
  presencectl token create john --ttl 1h -o json"
)]
pub struct CreateArgs {
    /// The user that the token is for
    pub id: UserId,

    /// Make the token valid for this long (default: forever)
    #[arg(long, value_parser = parse_duration, value_name = "DUR")]
    pub ttl: Option<Duration>,
}

/// Signs the token and prints it.
///
/// # Errors
///
/// The API secret is missing.
pub(super) async fn run(app: &App, args: &CreateArgs) -> anyhow::Result<Code> {
    let secret = app.secret().await?;
    let mut claims = Claims::user(args.id.as_str());
    if let Some(ttl) = args.ttl {
        let now = app.now();
        let end = i64::try_from(ttl.as_secs())
            .ok()
            .filter(|seconds| *seconds > 0)
            .and_then(|seconds| now.timestamp().checked_add(seconds))
            .ok_or_else(|| {
                Failure::new(
                    Code::Usage,
                    "--ttl must be between one second and a few thousand years",
                )
            })?;
        claims = claims.with_backdated_issue(now);
        claims.exp = Some(end);
    }
    let token = token::sign(secret.reveal(), &claims);
    if is_bare(app) {
        writeln!(io::stdout().lock(), "{token}")?;
    } else {
        let extra = Map::from_iter([("token".to_owned(), Value::from(token))]);
        show(app, &claims, extra)?;
    }
    Ok(Code::Ok)
}
