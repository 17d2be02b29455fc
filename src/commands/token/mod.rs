//! `token`: creates, inspects and verifies tokens locally, without a call to the service.

mod create;
mod inspect;
mod verify;

use std::io::Read;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Map, Value};

use crate::domain::time::millis;
use crate::domain::token::Claims;
use crate::environment;
use crate::exit::{Code, Failure};
use crate::output::Column;
use crate::settings::App;

/// The commands of `token`.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum TokenCommand {
    /// Sign a token for a user
    Create(create::CreateArgs),
    /// Show the claims of a token without verifying it
    Inspect(inspect::InspectArgs),
    /// Verify the signature and the times of a token with the API secret
    Verify(verify::VerifyArgs),
}

/// Runs a command of `token`.
///
/// # Errors
///
/// The command fails.
pub async fn run(app: &App, command: &TokenCommand) -> anyhow::Result<Code> {
    match command {
        TokenCommand::Create(args) => create::run(app, args).await,
        TokenCommand::Inspect(args) => inspect::run(app, args),
        TokenCommand::Verify(args) => verify::run(app, args).await,
    }
}

/// The token: the argument, the first line of stdin for `-`, or the environment variable.
fn read_token(argument: Option<&str>) -> anyhow::Result<String> {
    match argument {
        Some("-") => {}
        Some(token) => return Ok(token.trim().to_owned()),
        None => {
            return environment::variable("PRESENCECTL_USER_TOKEN").ok_or_else(|| {
                Failure::new(Code::Usage, "there is no token")
                    .hinted("name it, pipe it in with -, or set PRESENCECTL_USER_TOKEN")
                    .into()
            });
        }
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(1 << 20)
        .read_to_string(&mut text)
        .context("cannot read the token from stdin")?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Prints claims as a record. Times are RFC 3339.
fn show(app: &App, claims: &Claims, extra: Map<String, Value>) -> anyhow::Result<()> {
    let mut row = Map::new();
    row.insert("user_id".into(), Value::from(claims.user_id.clone()));
    row.insert("server".into(), Value::from(claims.server.unwrap_or(false)));
    for (name, seconds) in [
        ("issued_at", claims.iat),
        ("not_before", claims.nbf),
        ("expires_at", claims.exp),
    ] {
        let time = seconds.and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
        row.insert(name.into(), Value::from(time.map(millis)));
    }
    for (name, value) in &claims.other {
        row.entry(name.clone()).or_insert_with(|| value.clone());
    }
    row.extend(extra);
    let columns = ["user_id", "server", "issued_at", "expires_at", "valid"].map(Column::plain);
    let mut rows = app.output().row(&columns)?;
    rows.push(&row)?;
    rows.finish()?;
    Ok(())
}

/// Whether the result is printed as a bare value: none of `--output`, `--jq` and `--columns` was given.
fn is_bare(app: &App) -> bool {
    app.has_default_output()
}
