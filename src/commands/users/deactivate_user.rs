//! `deactivate-user`: prevents users from connecting without deleting them.

use super::each_user::EachUser;
use crate::api::Request;
use crate::domain::UserId;
use crate::exit::Code;
use crate::settings::App;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks for confirmation at a terminal; elsewhere it needs -y. Undo it with reactivate-user.

Examples:
  presencectl deactivate-user john -y")]
pub struct DeactivateUserArgs {
    /// Users to deactivate
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<UserId>,
}

/// Deactivates the users in sequence and prints each.
///
/// # Errors
///
/// The confirmation is missing, or the service refuses a user. Earlier users are already deactivated and printed.
pub async fn run(app: &App, args: &DeactivateUserArgs) -> anyhow::Result<Code> {
    let change = EachUser {
        verb: "deactivate",
        ids: &args.ids,
        asks_first: true,
        columns: &[],
        reads_back: false,
    };
    change.run(app, Request::deactivate_user).await
}
