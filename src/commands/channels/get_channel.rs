//! `get-channel`: prints a channel, and on request its members and watchers.

use anyhow::Context;

use super::with_people;
use crate::api::paging::MemberPages;
use crate::api::{Client, GetOrCreate, Member, Page};
use crate::domain::{Cid, User};
use crate::exit::Code;
use crate::output::Format;
use crate::settings::App;

/// How many watchers one page has.
const WATCHERS_PER_PAGE: u32 = 100;
/// The largest offset of the service into a channel's watchers.
const WATCHER_OFFSET_MAX: u32 = 10_000;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Members and watchers are fields of the channel's record; in a table they follow as a table of their own.

Examples:
  presencectl get-channel my-conversation-123
  presencectl get-channel messaging:fun --members --watchers
  presencectl get-channel fun --members --jq '.members[].user | select(.online) | .id'")]
pub struct GetChannelArgs {
    /// Channel, as type:id; a bare id means messaging:id
    #[arg(value_name = "CID")]
    pub cid: Cid,

    /// Show all members
    #[arg(long)]
    pub members: bool,

    /// Show all users who watch the channel now
    #[arg(long)]
    pub watchers: bool,
}

/// Prints the channel.
///
/// # Errors
///
/// The service refuses the request, or the channel does not exist.
pub async fn run(app: &App, args: &GetChannelArgs) -> anyhow::Result<Code> {
    let output = app.output();
    let lists: Vec<&str> = [("members", args.members), ("watchers", args.watchers)]
        .into_iter()
        .filter_map(|(name, wanted)| wanted.then_some(name))
        .collect();
    // Lists of users do not fit into a cell. They are printed as separate tables, unless `--columns` is given.
    let settings = output.settings();
    let as_tables = settings.format == Format::Table && settings.columns.is_empty();
    let also: &[&str] = if as_tables { &[] } else { &lists };
    let mut rows = output.channels(app.now(), also)?.one();
    let client = app.client().await?;

    let state = client
        .get_channel(&args.cid)
        .await
        .with_context(|| format!("cannot read the channel {}", args.cid))?;
    let members = match args.members {
        true => Some(all_members(app, &client, &args.cid).await?),
        false => None,
    };
    let (watchers, count) = match args.watchers {
        true => {
            let (watchers, count) = all_watchers(app, &client, &args.cid).await?;
            (Some(watchers), count)
        }
        false => (None, state.watcher_count),
    };
    let people: Vec<User> = members
        .iter()
        .flatten()
        .filter_map(|member| member.user.clone())
        .chain(watchers.iter().flatten().cloned())
        .collect();
    rows.push(&with_people(state.channel, members, watchers, count))?;
    rows.finish()?;
    if as_tables && !lists.is_empty() && settings.jq.is_none() {
        show_people(app, &lists, people)?;
    }
    Ok(Code::Ok)
}

fn show_people(app: &App, lists: &[&str], people: Vec<User>) -> anyhow::Result<()> {
    if people.is_empty() {
        app.output().status(&format!("no {}.", lists.join(" or ")));
        return Ok(());
    }
    let mut seen = std::collections::HashSet::new();
    let mut rows = app.output().users(app.now())?.after_blank_line();
    for user in people {
        if seen.insert(user.id().to_owned()) {
            rows.push_user(&user)?;
        }
    }
    rows.finish()
}

async fn all_members(app: &App, client: &Client, cid: &Cid) -> anyhow::Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut pages = MemberPages::new(client.clone(), cid.clone(), 0);
    while let Some(page) = pages
        .next_page()
        .await
        .with_context(|| format!("cannot read the members of {cid}"))?
    {
        members.extend(page);
    }
    if pages.truncated() {
        app.output().warn(&format!(
            "{cid} has more members than the {} that the service lets us read",
            members.len()
        ));
    }
    Ok(members)
}

async fn all_watchers(
    app: &App,
    client: &Client,
    cid: &Cid,
) -> anyhow::Result<(Vec<User>, Option<u64>)> {
    let mut watchers = Vec::new();
    let mut offset = 0;
    loop {
        let request = GetOrCreate {
            state: true,
            messages: Some(Page {
                limit: 0,
                offset: 0,
            }),
            watchers: Some(Page {
                limit: WATCHERS_PER_PAGE,
                offset,
            }),
            ..GetOrCreate::default()
        };
        let state = client
            .get_or_create_channel(cid, &request)
            .await
            .with_context(|| format!("cannot read the watchers of {cid}"))?;
        let page = state.watchers.unwrap_or_default();
        let full = page.len() >= WATCHERS_PER_PAGE as usize;
        watchers.extend(page);
        offset += WATCHERS_PER_PAGE;
        if full && offset > WATCHER_OFFSET_MAX {
            app.output().warn(&format!(
                "{cid} has more watchers than the {} that the service lets us read",
                watchers.len()
            ));
        }
        if !full || offset > WATCHER_OFFSET_MAX {
            return Ok((watchers, state.watcher_count));
        }
    }
}
