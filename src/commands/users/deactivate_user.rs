//! `deactivate-user`: users stay, and can no longer connect.

use anyhow::Context;
use serde_json::json;

use crate::app::App;
use crate::commands::confirm::confirm;
use crate::commands::dry_run::{self, PlannedRequest};
use crate::commands::ids::summarize_ids;
use crate::commands::user_lookup::user_with_id_only;
use crate::domain::UserId;
use crate::exit::Code;

/// Flags of `deactivate-user`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks at a terminal; elsewhere it needs -y. Undone by reactivate-user.

Examples:
  presencectl deactivate-user john -y")]
pub struct DeactivateUserArgs {
    /// The users
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<UserId>,
}

/// Deactivates the users, one after the other, and prints each.
///
/// # Errors
///
/// Not confirmed, or the service refuses; users before that one are deactivated and printed.
pub async fn run(app: &App, args: &DeactivateUserArgs) -> anyhow::Result<Code> {
    let dry_run = app.is_dry_run();
    let mut rows = if dry_run {
        dry_run::rows(app)?
    } else {
        app.output().users(app.now())?
    };
    if args.ids.len() == 1 {
        rows = rows.one();
    }
    app.confirm_change("deactivate users")?;
    confirm(app, &format!("deactivate {}", summarize_ids(&args.ids)))?;
    let client = app.client().await?;
    for id in &args.ids {
        if dry_run {
            rows.push(&PlannedRequest {
                method: "POST",
                path: format!("/users/{id}/deactivate"),
                body: json!({}),
            })?;
            continue;
        }
        let user = client
            .deactivate_user(id, false)
            .await
            .with_context(|| format!("cannot deactivate {id}"))?;
        rows.push_user(&user.unwrap_or_else(|| user_with_id_only(id)))?;
        rows.flush()?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}
