//! `watch channel`: follow all members of channels.

use crate::commands::fields::{FieldArgs, FieldChanges, TextField};
use crate::commands::ids;
use crate::commands::watch::{StreamArgs, follow_target};
use crate::domain::{Cid, IdList};
use crate::events::{ChannelSpec, WatchTarget};
use crate::exit::Code;
use crate::settings::App;

/// Flags of `watch channel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
All members are followed, however many, and users who join later as well. With --member or --set the first channel is
created if it does not exist. An existing channel is not changed.

Examples:
  presencectl --mock watch channel my-conversation-123
  presencectl watch channel livestream:talk -e user.presence.changed -o ndjson
  presencectl watch channel greenroom --member john,jack --set color=green
  presencectl watch channel support --until '.user.id == \"carla\" and .user.online' --timeout 10m")]
pub struct WatchChannelArgs {
    /// The channels, type:id; a bare id means messaging:id
    #[arg(value_name = "CID", required = true)]
    pub cids: Vec<Cid>,

    /// Create a missing channel with these members: a,b,c or @FILE or -
    #[arg(long = "member", value_name = "LIST")]
    pub members: Option<IdList>,

    /// Create the channel with this field if it does not exist (repeatable)
    #[arg(long, value_name = "K=TEXT")]
    pub set: Vec<TextField>,

    /// Only channels and users of this team (multi-tenant applications)
    #[arg(long, value_name = "TEAM", value_parser = clap::builder::NonEmptyStringValueParser::new(), hide_short_help = true)]
    pub team: Option<String>,

    /// The flags of all streams
    #[command(flatten)]
    pub stream: StreamArgs,
}

/// Follows the channels.
///
/// # Errors
///
/// The stream cannot start, or is lost.
pub async fn run(app: &App, args: WatchChannelArgs) -> anyhow::Result<Code> {
    let create = if args.members.is_some() || !args.set.is_empty() {
        app.confirm_change("create a channel")?;
        let mut changes = FieldChanges::default();
        changes.add(&FieldArgs {
            set: args.set,
            ..FieldArgs::default()
        })?;
        Some(ChannelSpec {
            members: args
                .members
                .as_ref()
                .map(ids::read_all)
                .transpose()?
                .unwrap_or_default(),
            data: changes.set,
        })
    } else {
        None
    };
    let target = WatchTarget {
        channels: args.cids,
        create,
        team: args.team,
        ..WatchTarget::default()
    };
    follow_target(app, &args.stream, target).await
}
