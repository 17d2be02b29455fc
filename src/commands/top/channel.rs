//! `top channel`: all members of channels.

use super::{LiveArgs, show};
use crate::domain::Cid;
use crate::events::WatchTarget;
use crate::exit::Code;
use crate::settings::App;

/// Flags of `top channel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  presencectl --mock top channel my-conversation-123
  presencectl top channel support livestream:talk")]
pub struct TopChannelArgs {
    /// The channels, type:id; a bare id means messaging:id
    #[arg(value_name = "CID", required = true)]
    pub cids: Vec<Cid>,

    /// The flags of every live `top`
    #[command(flatten)]
    pub live: LiveArgs,
}

/// Shows the members.
///
/// # Errors
///
/// As for [`super::run`].
pub async fn run(app: &App, args: TopChannelArgs) -> anyhow::Result<Code> {
    let title = match args.cids.as_slice() {
        [cid] => cid.to_string(),
        cids => format!("{} channels", cids.len()),
    };
    let target = WatchTarget {
        channels: args.cids,
        ..WatchTarget::default()
    };
    show(app, &args.live, title, target).await
}
