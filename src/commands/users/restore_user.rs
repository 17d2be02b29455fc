//! `restore-user`: restores users that are marked as deleted.

use super::each_user::EachUser;
use crate::api::Request;
use crate::domain::UserId;
use crate::exit::Code;
use crate::settings::App;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A user that was deleted with --hard cannot be restored.

Examples:
  presencectl restore-user john")]
pub struct RestoreUserArgs {
    /// Deleted users to restore
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<UserId>,
}

/// Restores the users in sequence and prints each.
///
/// # Errors
///
/// The service refuses a user. Earlier users are already restored and printed.
pub async fn run(app: &App, args: &RestoreUserArgs) -> anyhow::Result<Code> {
    let change = EachUser {
        verb: "restore",
        ids: &args.ids,
        asks_first: false,
        columns: &[],
        reads_back: true,
    };
    change
        .run(app, |id| Request::restore_users(std::slice::from_ref(id)))
        .await
}
