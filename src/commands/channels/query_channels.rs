//! `query-channels`: which channels there are, and on request who of their members is online.

use anyhow::Context;
use serde_json::Value;

use super::with_people;
use crate::api::QueryChannels;
use crate::api::paging::{CHANNELS_A_PAGE, ChannelPages};
use crate::app::App;
use crate::commands::filters::ChannelFilterArgs;
use crate::commands::recent_ids::{IdKind, RecentIds};
use crate::commands::sort::SortKeys;
use crate::commands::watch::StreamArgs;
use crate::events::WatchTarget;
use crate::exit::Code;
use crate::stream::follow;

/// How many members of each channel are shown with `--presence`; the service sends no more.
const MEMBERS_SHOWN: u32 = 100;

/// Flags of `query-channels`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without -n or --all this asks for one page of 30. With --presence each channel comes with its first 100 members and
whether they are online; get-channel --members shows all of one channel.

Examples:
  presencectl query-channels --filter '{\"color\":\"green\"}' --sort -last_message_at --presence
  presencectl query-channels --type livestream --member john
  presencectl query-channels --all --jq .cid")]
pub struct QueryChannelsArgs {
    /// Which channels
    #[command(flatten)]
    pub channels: ChannelFilterArgs,

    /// Sort by these fields, descending with a - in front
    #[arg(long, value_name = "F,-G", allow_hyphen_values = true)]
    pub sort: Option<SortKeys>,

    /// Show this many channels
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,

    /// Show all channels, as far as the service lets us read: 1030
    #[arg(long, conflicts_with = "count")]
    pub all: bool,

    /// Show the members and whether they are online
    #[arg(long)]
    pub presence: bool,

    /// Follow the members of the channels found from then on, as `watch channel` does
    #[arg(long)]
    pub watch: bool,
}

/// Finds channels and prints them.
///
/// # Errors
///
/// The service refuses.
pub async fn run(app: &App, args: &QueryChannelsArgs) -> anyhow::Result<Code> {
    let also: &[&str] = if args.presence { &["members"] } else { &[] };
    let mut rows = app.output().channels(app.now(), also)?;
    let client = app.client().await?;
    let query = QueryChannels {
        filter_conditions: args.channels.to_filter(),
        sort: args
            .sort
            .as_ref()
            .map(|sort| sort.keys().to_vec())
            .unwrap_or_default(),
        limit: Some(args.count.unwrap_or(CHANNELS_A_PAGE).min(CHANNELS_A_PAGE)),
        member_limit: Some(if args.presence { MEMBERS_SHOWN } else { 0 }),
        state: true,
        ..QueryChannels::default()
    };
    let wanted = match (args.all, args.count) {
        (true, _) => u64::MAX,
        (false, Some(count)) => u64::from(count),
        (false, None) => u64::from(CHANNELS_A_PAGE),
    };
    let mut recent = RecentIds::new(IdKind::Channels, app.terminal());
    let mut pages = ChannelPages::new(client, query);
    let (mut found, mut watched) = (0, Vec::new());
    'pages: while let Some(page) = pages.next_page().await.context("cannot query channels")? {
        for state in page {
            recent.add(state.channel.get("cid").and_then(Value::as_str));
            found += 1;
            if args.watch {
                let cid = state.channel.get("cid").and_then(Value::as_str);
                watched.push(cid.unwrap_or_default().parse()?);
            } else {
                let members = args.presence.then_some(state.members);
                rows.push(&with_people(
                    state.channel,
                    members,
                    None,
                    state.watcher_count,
                ))?;
            }
            if found == wanted {
                break 'pages;
            }
        }
        rows.flush()?;
    }
    if !args.watch {
        rows.finish()?;
    }
    if found == 0 {
        app.output().status("no channel matches.");
    } else if found == u64::from(CHANNELS_A_PAGE) && args.count.is_none() && !args.all {
        app.output()
            .hint("this is one page of 30 and there may be more: add -n N, or --all");
    } else if pages.truncated() && found < wanted {
        app.output().warn(&format!(
            "these are the first {found} channels, as far as the service's offset goes; narrow the filter to see others"
        ));
    }
    if args.watch && found > 0 {
        let target = WatchTarget {
            channels: watched,
            ..WatchTarget::default()
        };
        return follow(app, &StreamArgs::default(), target).await;
    }
    Ok(Code::Ok)
}
