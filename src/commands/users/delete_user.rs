//! `delete-user`: marks users as deleted, or deletes them permanently.

use super::each_user::EachUser;
use crate::api::Request;
use crate::domain::UserId;
use crate::exit::Code;
use crate::settings::App;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks for confirmation at a terminal; elsewhere it needs -y.

Examples:
  presencectl delete-user john -y
  presencectl delete-user john --hard -y")]
pub struct DeleteUserArgs {
    /// Users to delete
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<UserId>,

    /// Delete the users permanently instead of marking them as deleted
    #[arg(long)]
    pub hard: bool,
}

/// Deletes the users in sequence and prints each as the service last returned it.
///
/// # Errors
///
/// The confirmation is missing, or the service refuses a user. Earlier users are already deleted and printed.
pub async fn run(app: &App, args: &DeleteUserArgs) -> anyhow::Result<Code> {
    let change = EachUser {
        verb: if args.hard {
            "delete for good"
        } else {
            "delete"
        },
        ids: &args.ids,
        asks_first: true,
        columns: &["deleted_at"],
        reads_back: false,
    };
    change
        .run(app, |id| Request::delete_user(id, args.hard))
        .await
}
