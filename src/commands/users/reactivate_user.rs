//! `reactivate-user`: lets deactivated users connect again.

use anyhow::Context;
use serde_json::json;

use crate::app::App;
use crate::commands::dry_run::{self, PlannedRequest};
use crate::commands::user_lookup::user_with_id_only;
use crate::domain::UserId;
use crate::exit::Code;

/// Flags of `reactivate-user`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  presencectl reactivate-user john")]
pub struct ReactivateUserArgs {
    /// The users
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<UserId>,
}

/// Reactivates the users, one after the other, and prints each.
///
/// # Errors
///
/// The service refuses; users before that one are reactivated and printed.
pub async fn run(app: &App, args: &ReactivateUserArgs) -> anyhow::Result<Code> {
    let dry_run = app.is_dry_run();
    let mut rows = if dry_run {
        dry_run::rows(app)?
    } else {
        app.output().users(app.now())?
    };
    if args.ids.len() == 1 {
        rows = rows.one();
    }
    app.confirm_change("reactivate users")?;
    let client = app.client().await?;
    for id in &args.ids {
        if dry_run {
            rows.push(&PlannedRequest {
                method: "POST",
                path: format!("/users/{id}/reactivate"),
                body: json!({}),
            })?;
            continue;
        }
        let user = client
            .reactivate_user(id)
            .await
            .with_context(|| format!("cannot reactivate {id}"))?;
        rows.push_user(&user.unwrap_or_else(|| user_with_id_only(id)))?;
        rows.flush()?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}
