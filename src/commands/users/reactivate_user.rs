//! `reactivate-user`: allows deactivated users to connect again.

use super::each_user::EachUser;
use crate::api::Request;
use crate::domain::UserId;
use crate::exit::Code;
use crate::settings::App;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  presencectl reactivate-user john
  presencectl query-users --include-deactivated --all --jq 'select(.deactivated_at) | .id'")]
pub struct ReactivateUserArgs {
    /// Users to reactivate
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<UserId>,
}

/// Reactivates the users in sequence and prints each.
///
/// # Errors
///
/// The service refuses a user. Earlier users are already reactivated and printed.
pub async fn run(app: &App, args: &ReactivateUserArgs) -> anyhow::Result<Code> {
    let change = EachUser {
        verb: "reactivate",
        ids: &args.ids,
        asks_first: false,
        columns: &[],
        reads_back: false,
    };
    change.run(app, Request::reactivate_user).await
}
