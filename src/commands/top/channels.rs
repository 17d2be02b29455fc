//! `top channels`: all members of the channels that a filter finds.

use super::{LiveArgs, show};
use crate::commands::filters::ChannelFilterArgs;
use crate::events::WatchTarget;
use crate::exit::Code;
use crate::settings::App;

/// Flags of `top channels`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The filter runs at the start and after every reconnect. Channels that start to match in between are not noticed.

Examples:
  presencectl top channels --filter '{\"color\":\"green\"}'
  presencectl top channels --member john")]
pub struct TopChannelsArgs {
    /// Which channels
    #[command(flatten)]
    pub channels: ChannelFilterArgs,

    /// The flags of every live `top`
    #[command(flatten)]
    pub live: LiveArgs,
}

/// Shows the members.
///
/// # Errors
///
/// As for [`super::run`].
pub async fn run(app: &App, args: &TopChannelsArgs) -> anyhow::Result<Code> {
    let target = WatchTarget {
        matching: Some(args.channels.to_filter()),
        team: args.channels.team.clone(),
        ..WatchTarget::default()
    };
    show(app, &args.live, "matching channels".to_owned(), target).await
}
