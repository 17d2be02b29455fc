//! `top users`: users by id.

use super::{LiveArgs, show};
use crate::commands::ids::IdArgs;
use crate::events::WatchTarget;
use crate::exit::Code;
use crate::settings::App;

/// Flags of `top users`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Users who do not exist are shown as not observed, and are followed as soon as they are created. With --in -, the keys
are read from the terminal.

Examples:
  presencectl top users john jack
  presencectl top users --in @team.txt
  presencectl query-users --role moderator --all --jq .id | presencectl top users --in -")]
pub struct TopUsersArgs {
    /// The users to show
    #[command(flatten)]
    pub users: IdArgs,

    /// The flags of every live `top`
    #[command(flatten)]
    pub live: LiveArgs,
}

/// Shows the users.
///
/// # Errors
///
/// As for [`super::run`].
pub async fn run(app: &App, args: &TopUsersArgs) -> anyhow::Result<Code> {
    let users = args.users.read_set()?;
    let title = match users.len() {
        1 => users.id(0).to_owned(),
        count => format!("{count} users"),
    };
    let target = WatchTarget {
        users,
        ..WatchTarget::default()
    };
    show(app, &args.live, title, target).await
}
