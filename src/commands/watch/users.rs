//! `watch users`: follow users by id.

use crate::commands::ids::IdArgs;
use crate::commands::watch::{StreamArgs, follow_target};
use crate::events::WatchTarget;
use crate::exit::Code;
use crate::settings::App;

/// Flags of `watch users`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Users who do not exist are listed in presence.coverage, and are followed as soon as they are created.

Examples:
  presencectl watch users john jack
  presencectl watch users --in @team.txt --changed online -o ndjson
  presencectl watch users john -n 1 --changed online --timeout 5m --snapshot none
  presencectl watch users --in @everybody.txt --shard 2/4")]
pub struct WatchUsersArgs {
    /// The users to follow
    #[command(flatten)]
    pub users: IdArgs,

    /// Only users of this team (multi-tenant applications)
    #[arg(long, value_name = "TEAM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub team: Option<String>,

    /// The flags of all streams
    #[command(flatten)]
    pub stream: StreamArgs,
}

/// Follows the users.
///
/// # Errors
///
/// The stream cannot start, or is lost.
pub async fn run(app: &App, args: WatchUsersArgs) -> anyhow::Result<Code> {
    let users = args.users.read_set()?;
    let shard = args.stream.shard;
    if !users.iter().any(|user| shard.contains(user)) {
        app.output()
            .warn(&format!("none of the users is in shard {shard}"));
    }
    let target = WatchTarget {
        users,
        team: args.team,
        ..WatchTarget::default()
    };
    follow_target(app, &args.stream, target).await
}
