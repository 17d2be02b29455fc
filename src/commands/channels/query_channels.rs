//! `query-channels`: finds channels, and on request shows which of their members are online.

use anyhow::Context;
use serde_json::{Map, Value};

use super::with_people;
use crate::api::paging::{AllChannelPages, CHANNELS_PER_PAGE, ChannelPages};
use crate::api::{ChannelState, Client, QueryChannels};
use crate::commands::filters::ChannelFilterArgs;
use crate::commands::follow;
use crate::commands::recent_ids::{IdKind, RecentIds};
use crate::commands::sort::SortKeys;
use crate::domain::Cid;
use crate::events::{WatchTarget, WatcherOptions};
use crate::exit::{Code, Failure};
use crate::output::Rows;
use crate::settings::App;
use crate::stream::StreamOptions;

/// How many members of each channel `--presence` shows; the service sends no more.
const SHOWN_MEMBERS_MAX: u32 = 100;
/// Fields that the service can sort by but does not return.
const SORT_FIELDS_NOT_IN_RESPONSES: [&str; 3] = ["has_unread", "unread_count", "pinned_at"];

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without -n or --all, prints one page of 30. --all prints the oldest channel first, unless --sort is given; then
presencectl sorts the channels. With --presence, each channel has its first 100 members and whether they are online;
get-channel --members shows all members of one channel.

Examples:
  presencectl query-channels --filter '{\"color\":\"green\"}' --sort -last_message_at --presence
  presencectl query-channels --type livestream --member john
  presencectl query-channels --all --jq .cid")]
pub struct QueryChannelsArgs {
    /// Which channels
    #[command(flatten)]
    pub channels: ChannelFilterArgs,

    /// Sort by these fields, descending with a leading -
    #[arg(long, value_name = "FIELDS", allow_hyphen_values = true)]
    pub sort: Option<SortKeys>,

    /// Print at most N channels
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,

    /// Print all channels
    #[arg(long, conflicts_with = "count")]
    pub all: bool,

    /// Show the members and whether they are online
    #[arg(long)]
    pub presence: bool,

    /// Then stream the presence of the members, as `watch channel` does
    #[arg(long)]
    pub watch: bool,
}

/// Finds channels and prints them.
///
/// # Errors
///
/// A combination of flags is not supported by the service, or the service refuses the request.
pub async fn run(app: &App, args: &QueryChannelsArgs) -> anyhow::Result<Code> {
    let also: &[&str] = if args.presence { &["members"] } else { &[] };
    let mut rows = app.output().channels(app.now(), also)?;
    if let Some(sort) = &args.sort {
        rows.expect_fields(sort.unknown_fields());
    }
    let client = app.client().await?;
    let query = QueryChannels {
        filter_conditions: args.channels.to_filter(),
        limit: Some(
            args.count
                .unwrap_or(CHANNELS_PER_PAGE)
                .min(CHANNELS_PER_PAGE),
        ),
        member_limit: Some(if args.presence { SHOWN_MEMBERS_MAX } else { 0 }),
        state: true,
        ..QueryChannels::default()
    };
    let mut printer = Printer {
        rows,
        recent: RecentIds::new(IdKind::Channels, app),
        shows_members: args.presence,
        watched: args.watch.then(Vec::new),
        found: 0,
    };
    if args.all {
        print_all(client, query, args.sort.as_ref(), &mut printer).await?;
    } else {
        print_first(app, client, query, args, &mut printer).await?;
    }
    if printer.found == 0 {
        app.output().status("no channel matches.");
    }
    match printer.watched {
        None => printer.rows.finish()?,
        Some(channels) if channels.is_empty() => {}
        Some(channels) => {
            let target = WatchTarget {
                channels,
                team: args.channels.team.clone(),
                ..WatchTarget::default()
            };
            return follow::follow(app, StreamOptions::default(), target, WatcherOptions::new)
                .await;
        }
    }
    Ok(Code::Ok)
}

/// Prints all channels: as they arrive, or sorted at the end, because the pages have their own order.
async fn print_all(
    client: Client,
    query: QueryChannels,
    sort: Option<&SortKeys>,
    printer: &mut Printer<'_>,
) -> anyhow::Result<()> {
    if let Some(field) = sort.and_then(field_that_is_not_shown) {
        return Err(Failure::new(
            Code::Usage,
            format!("cannot sort by `{field}` with --all: responses do not contain it"),
        )
        .hinted("sort by a field of the channel, or use -n N instead of --all")
        .into());
    }
    let mut pages = AllChannelPages::new(client, query);
    let mut gathered = Vec::new();
    while let Some(page) = pages.next_page().await.context("cannot query channels")? {
        if sort.is_some() {
            gathered.extend(page);
        } else {
            printer.print(page)?;
        }
    }
    if let Some(sort) = sort {
        gathered.sort_by(|a, b| sort.compare(&sortable(&a.channel), &sortable(&b.channel)));
        printer.print(gathered)?;
    }
    Ok(())
}

/// Prints as many channels as `-n` says, or one page, and says if there may be more.
async fn print_first(
    app: &App,
    client: Client,
    query: QueryChannels,
    args: &QueryChannelsArgs,
    printer: &mut Printer<'_>,
) -> anyhow::Result<()> {
    let wanted = args.count.unwrap_or(CHANNELS_PER_PAGE) as usize;
    let sort = args.sort.as_ref().map(|sort| sort.keys().to_vec());
    let query = QueryChannels {
        sort: sort.unwrap_or_default(),
        ..query
    };
    let mut pages = ChannelPages::new(client, query);
    while printer.found < wanted
        && let Some(mut page) = pages.next_page().await.context("cannot query channels")?
    {
        page.truncate(wanted - printer.found);
        printer.print(page)?;
    }
    if printer.found == CHANNELS_PER_PAGE as usize && args.count.is_none() {
        app.output()
            .hint("this is one page of 30 and there may be more: add -n N, or --all");
    } else if pages.truncated() && printer.found < wanted {
        app.output().warn(&format!(
            "read only the first {} channels, the most that the service's offset allows; use --all to read all",
            printer.found
        ));
    }
    Ok(())
}

/// Prints channels, or collects them for `--watch`.
struct Printer<'a> {
    rows: Rows<'a>,
    recent: RecentIds,
    shows_members: bool,
    watched: Option<Vec<Cid>>,
    found: usize,
}

impl Printer<'_> {
    fn print(&mut self, channels: Vec<ChannelState>) -> anyhow::Result<()> {
        for state in channels {
            self.found += 1;
            self.recent.add(state.cid());
            if let Some(watched) = &mut self.watched {
                watched.push(state.cid().unwrap_or_default().parse()?);
                continue;
            }
            let members = self.shows_members.then_some(state.members);
            let channel = with_people(state.channel, members, None, state.watcher_count);
            self.rows.push(&channel)?;
        }
        self.rows.flush()
    }
}

/// The first sort key that the service knows but no response contains.
fn field_that_is_not_shown(sort: &SortKeys) -> Option<&str> {
    let mut fields = sort.keys().iter().map(|key| key.field.as_str());
    fields.find(|field| SORT_FIELDS_NOT_IN_RESPONSES.contains(field))
}

/// Adds `last_updated` to a channel. The service sorts by it but does not return it. It is the time of the last
/// message, or of the creation if there is none.
fn sortable(channel: &Map<String, Value>) -> Map<String, Value> {
    let mut channel = channel.clone();
    let time = |name| channel.get(name).filter(|time| !time.is_null()).cloned();
    if let Some(time) = time("last_message_at").or_else(|| time("created_at")) {
        channel.entry("last_updated").or_insert(time);
    }
    channel
}
