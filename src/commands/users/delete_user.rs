//! `delete-user`: users are marked as deleted, or removed for good.

use anyhow::Context;
use serde_json::json;

use crate::api::users::DeleteUser;
use crate::app::App;
use crate::commands::confirm::confirm;
use crate::commands::dry_run::{self, PlannedRequest};
use crate::commands::ids::summarize_ids;
use crate::commands::user_lookup::user_with_id_only;
use crate::domain::UserId;
use crate::exit::Code;

/// Flags of `delete-user`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks at a terminal; elsewhere it needs -y.

Examples:
  presencectl delete-user john -y
  presencectl delete-user john --hard -y")]
pub struct DeleteUserArgs {
    /// The users
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<UserId>,

    /// Remove the users for good instead of marking them as deleted
    #[arg(long)]
    pub hard: bool,
}

/// Deletes the users, one after the other, and prints each as the service last shows it.
///
/// # Errors
///
/// Not confirmed, or the service refuses; users before that one are deleted and printed.
pub async fn run(app: &App, args: &DeleteUserArgs) -> anyhow::Result<Code> {
    let dry_run = app.is_dry_run();
    let mut rows = if dry_run {
        dry_run::rows(app)?
    } else {
        app.output().users_with(app.now(), &["deleted_at"])?
    };
    if args.ids.len() == 1 {
        rows = rows.one();
    }
    let ids = summarize_ids(&args.ids);
    let what = if args.hard {
        format!("delete {ids} for good")
    } else {
        format!("delete {ids}")
    };
    app.confirm_change("delete users")?;
    confirm(app, &what)?;
    let client = app.client().await?;
    for id in &args.ids {
        if dry_run {
            let query = if args.hard { "?hard_delete=true" } else { "" };
            rows.push(&PlannedRequest {
                method: "DELETE",
                path: format!("/users/{id}{query}"),
                body: json!(null),
            })?;
            continue;
        }
        let how = DeleteUser {
            hard: args.hard,
            ..DeleteUser::default()
        };
        let user = client
            .delete_user(id, how)
            .await
            .with_context(|| format!("cannot delete {id}"))?;
        rows.push_user(&user.unwrap_or_else(|| user_with_id_only(id)))?;
        rows.flush()?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}
