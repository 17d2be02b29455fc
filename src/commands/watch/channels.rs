//! `watch channels`: follow all members of the channels that a filter finds.

use crate::commands::filters::ChannelFilterArgs;
use crate::commands::watch::{StreamArgs, follow_target};
use crate::events::WatchTarget;
use crate::exit::Code;
use crate::settings::App;

/// Flags of `watch channels`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The filter runs at the start and after every reconnect. Channels that start to match in between are not noticed.

Examples:
  presencectl watch channels --filter '{\"color\":\"green\"}'
  presencectl watch channels --member john -e 'user.watching.*'")]
pub struct WatchChannelsArgs {
    /// Which channels
    #[command(flatten)]
    pub channels: ChannelFilterArgs,

    /// The flags of all streams
    #[command(flatten)]
    pub stream: StreamArgs,
}

/// Follows the channels.
///
/// # Errors
///
/// The stream cannot start, or is lost.
pub async fn run(app: &App, args: WatchChannelsArgs) -> anyhow::Result<Code> {
    let target = WatchTarget {
        matching: Some(args.channels.to_filter()),
        team: args.channels.team.clone(),
        ..WatchTarget::default()
    };
    follow_target(app, &args.stream, target).await
}
