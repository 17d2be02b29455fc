//! `query-users`: who there is, by the service's filters and by those that it does not have.
//!
//! The service filters by stored fields and pages by offset up to 1000. Whether a user is online it cannot filter by,
//! so that is done here, on whatever the pages bring; and to reach everybody, pages are asked for by id.

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use tokio::task::yield_now;

use crate::api::paging::UserPages;
use crate::api::{Client, QueryUsers, UserPage};
use crate::app::App;
use crate::commands::ids::{self, BATCH};
use crate::commands::recent_ids::{IdKind, RecentIds};
use crate::commands::sort::SortKeys;
use crate::commands::user_lookup::ids_filter;
use crate::commands::watch::StreamArgs;
use crate::domain::event::EventUser;
use crate::domain::time::parse_time;
use crate::domain::{IdList, User, UserId};
use crate::events::WatchTarget;
use crate::exit::{Code, Failure};
use crate::output::{Column, Rows};
use crate::stream::follow;

/// What a page holds when nobody says how many: the service's own default.
const PAGE: u32 = 30;
/// The most that a page may hold.
const LARGEST_PAGE: u32 = 100;
/// The largest offset that the service takes.
const LARGEST_OFFSET: u32 = 1000;

/// Flags of `query-users`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --in, -n or --all this asks for one page of 30. --online, --offline and --invisible-only are filtered here, because
the service cannot; with -n they look on until enough are found. --all comes in the order of ids, unless --sort says
otherwise; then the users are gathered and sorted here.

Examples:
  presencectl query-users --in john,jack --presence
  presencectl query-users --online --all --columns id,status,last_active
  presencectl query-users --role admin --active-since 15m --sort -last_active -n 10
  presencectl query-users --filter '{\"color\":\"green\"}' --all -o csv
  presencectl query-users --online --count-only --jq .count")]
pub struct QueryUsersArgs {
    /// Only these users: a,b,c or @FILE (one id a line) or - (standard input)
    #[arg(long = "in", value_name = "LIST")]
    pub list: Option<IdList>,

    /// Only users that match this filter, in the service's language
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub filter: Option<Map<String, Value>>,

    /// Only users whose name starts with this, upper or lower case
    #[arg(long, value_name = "S")]
    pub name_prefix: Option<String>,

    /// Only users with this role
    #[arg(long, value_name = "R")]
    pub role: Option<String>,

    /// Only users who were active since this long ago, or since this time
    #[arg(long, value_name = "DUR")]
    pub active_since: Option<String>,

    /// Only users who are online
    #[arg(long, group = "state")]
    pub online: bool,

    /// Only users who are offline
    #[arg(long, group = "state")]
    pub offline: bool,

    /// Only users who are invisible
    #[arg(long, group = "state")]
    pub invisible_only: bool,

    /// Show all presence columns
    #[arg(long)]
    pub presence: bool,

    /// Sort by these fields, descending with a - in front
    #[arg(long, value_name = "F,-G", allow_hyphen_values = true)]
    pub sort: Option<SortKeys>,

    /// Show this many users
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,

    /// Leave out this many users in front
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub offset: Option<u32>,

    /// Show all users, however many
    #[arg(long, conflicts_with_all = ["count", "offset"])]
    pub all: bool,

    /// Show only how many there are
    #[arg(long)]
    pub count_only: bool,

    /// End with code 3 if nobody matches
    #[arg(long)]
    pub fail_empty: bool,

    /// Follow the users found from then on, as `watch users` does
    #[arg(long, conflicts_with = "count_only")]
    pub watch: bool,
}

fn parse_filter(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("not a JSON object: {error}; an example is '{{\"role\":\"admin\"}}'")
    })
}

/// Finds users and prints them.
///
/// # Errors
///
/// The flags ask for what the service cannot do, the service refuses, or nobody matches and `--fail-empty` was given.
pub async fn run(app: &App, args: &QueryUsersArgs) -> anyhow::Result<Code> {
    let mut sink = Sink::new(app, args)?;
    let filter = filter(args, app.now())?;
    let mut source = Source::new(app, args, filter).await?;
    let gather = args.sort.is_some() && !source.is_sorted();
    let mut gathered = Vec::new();
    let wanted = args.count.map_or(u64::MAX, u64::from);
    let mut seen = 0;
    let mut page = source.next(args, wanted).await?;
    while let Some(users) = page {
        seen += users.len();
        let mut take = || -> anyhow::Result<()> {
            for user in users.iter().filter(|user| keeps(args, user)) {
                if gather {
                    gathered.push(user.to_user().context("cannot read a user")?);
                } else if sink.found < wanted {
                    sink.take(&user)?;
                }
            }
            sink.flush()
        };
        page = if args.count.is_none() {
            // The service works on the next page while this one is written. A page that came is written whatever
            // becomes of the next.
            let write = async {
                yield_now().await;
                take()
            };
            let (next, written) = tokio::join!(source.next(args, wanted), write);
            written?;
            next?
        } else {
            take()?;
            match wanted - sink.found {
                0 => None,
                left => source.next(args, left).await?,
            }
        };
    }
    if let Some(sort) = args.sort.as_ref().filter(|_| gather) {
        gathered.sort_by(|a, b| sort.compare(a.fields(), b.fields()));
        let few = usize::try_from(wanted).unwrap_or(usize::MAX);
        for user in gathered.iter().take(few) {
            sink.take_built(user)?;
        }
    }
    let (found, watched) = sink.finish()?;
    advise(app, args, &source, seen, found);
    if found == 0 && args.fail_empty {
        return Err(Failure::new(Code::NothingMatched, "no user matches").into());
    }
    if args.watch && found > 0 {
        let target = WatchTarget {
            users: watched,
            ..WatchTarget::default()
        };
        return follow(app, &StreamArgs::default(), target).await;
    }
    Ok(Code::Ok)
}

/// Says on stderr what the reader of the results should know about them.
fn advise(app: &App, args: &QueryUsersArgs, source: &Source, seen: usize, found: u64) {
    if let Source::ByOffset {
        once, truncated, ..
    } = source
    {
        if *once && seen == PAGE as usize {
            app.output()
                .hint("this is one page of 30 and there may be more: add -n N, or --all");
        }
        if *truncated {
            app.output().warn(&format!(
                "looked at the first {seen} users only, as far as the service's offset goes; --all looks at everybody"
            ));
        }
    }
    if found == 0 && !args.fail_empty && !args.count_only {
        app.output().status("no user matches.");
    }
}

/// Where users that are found go.
struct Sink<'a> {
    rows: Rows<'a>,
    recent: RecentIds,
    count_only: bool,
    /// Where the users are to be watched, the stream shows their state and this only remembers who they are.
    watched: Option<Vec<UserId>>,
    found: u64,
}

impl<'a> Sink<'a> {
    fn new(app: &'a App, args: &QueryUsersArgs) -> anyhow::Result<Self> {
        let rows = if args.count_only {
            app.output().row(&[Column::plain("count")])?
        } else if args.presence {
            app.output().users_with(app.now(), &["invisible"])?
        } else {
            app.output().users(app.now())?
        };
        Ok(Self {
            rows,
            recent: RecentIds::new(IdKind::Users, app.terminal()),
            count_only: args.count_only,
            watched: args.watch.then(Vec::new),
            found: 0,
        })
    }

    fn take(&mut self, user: &EventUser<'_>) -> anyhow::Result<()> {
        if self.is_shown(&user.id)? {
            self.rows.push_user_text(user)?;
        }
        Ok(())
    }

    fn take_built(&mut self, user: &User) -> anyhow::Result<()> {
        if self.is_shown(user.id())? {
            self.rows.push_user(user)?;
        }
        Ok(())
    }

    /// Counts a user and remembers whom to watch. Whether the user is to be shown, too.
    fn is_shown(&mut self, id: &str) -> anyhow::Result<bool> {
        self.found += 1;
        if self.count_only {
            return Ok(false);
        }
        self.recent.add(id);
        if let Some(watched) = &mut self.watched {
            watched.push(id.parse()?);
            return Ok(false);
        }
        Ok(true)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.rows.flush()
    }

    fn finish(mut self) -> anyhow::Result<(u64, Vec<UserId>)> {
        if let Some(watched) = self.watched {
            return Ok((self.found, watched));
        }
        if self.count_only {
            self.rows.push(&json!({ "count": self.found }))?;
        }
        self.rows.finish()?;
        Ok((self.found, Vec::new()))
    }
}

/// Whether a user passes the filters that the service does not have.
fn keeps(args: &QueryUsersArgs, user: &EventUser<'_>) -> bool {
    (!args.online || user.online == Some(true))
        && (!args.offline || user.online == Some(false))
        && (!args.invisible_only || user.invisible == Some(true))
}

const fn filters_here(args: &QueryUsersArgs) -> bool {
    args.online || args.offline || args.invisible_only
}

/// The filters that the service has, as one; `--in` apart.
fn filter(args: &QueryUsersArgs, now: DateTime<Utc>) -> Result<Map<String, Value>, Failure> {
    let mut parts: Vec<Value> = Vec::new();
    if let Some(filter) = args.filter.as_ref().filter(|filter| !filter.is_empty()) {
        parts.push(Value::Object(filter.clone()));
    }
    if let Some(prefix) = &args.name_prefix {
        parts.push(json!({ "name": { "$autocomplete": prefix } }));
    }
    if let Some(role) = &args.role {
        parts.push(json!({ "role": { "$eq": role } }));
    }
    if let Some(since) = &args.active_since {
        let since = parse_time(since, now)
            .map_err(|why| Failure::new(Code::Usage, format!("--active-since: {why}")))?;
        let since = since.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        parts.push(json!({ "last_active": { "$gte": since } }));
    }
    Ok(all_of(parts))
}

fn all_of(mut parts: Vec<Value>) -> Map<String, Value> {
    match (parts.len(), parts.pop()) {
        (0 | 1, None) => Map::new(),
        (1, Some(Value::Object(only))) => only,
        (_, last) => {
            parts.extend(last);
            Map::from_iter([("$and".to_owned(), Value::Array(parts))])
        }
    }
}

/// Where pages come from.
enum Source {
    /// A page for each batch of ids that were named.
    Named {
        client: Client,
        query: QueryUsers,
        ids: Vec<UserId>,
        at: usize,
    },
    /// Everybody, by id.
    ById(UserPages),
    /// In the service's order, by offset.
    ByOffset {
        client: Client,
        query: QueryUsers,
        /// Whether one page is all that was asked for.
        once: bool,
        done: bool,
        /// Whether the service's bound on offsets ended it.
        truncated: bool,
    },
}

impl Source {
    async fn new(
        app: &App,
        args: &QueryUsersArgs,
        filter: Map<String, Value>,
    ) -> anyhow::Result<Self> {
        let mut query = QueryUsers {
            filter_conditions: filter,
            sort: args
                .sort
                .as_ref()
                .map(|sort| sort.keys().to_vec())
                .unwrap_or_default(),
            ..QueryUsers::default()
        };
        if let Some(list) = &args.list {
            if args.offset.is_some() {
                return Err(Failure::new(
                    Code::Usage,
                    "--offset has no meaning among users that are named: leave it out",
                )
                .into());
            }
            let ids = ids::read_all(list)?;
            let client = app.client().await?;
            return Ok(Self::Named {
                client,
                query,
                ids,
                at: 0,
            });
        }
        if args.all || (args.count_only && args.count.is_none() && args.offset.is_none()) {
            let client = app.client().await?;
            return Ok(Self::ById(UserPages::new(client, query)));
        }
        let offset = args.offset.unwrap_or(0);
        if let Some(count) = args.count
            && !filters_here(args)
            && offset + (count - 1) / LARGEST_PAGE * LARGEST_PAGE > LARGEST_OFFSET
        {
            return Err(Failure::new(
                Code::Usage,
                format!(
                    "-n {count} is more than the service's offset reaches, which is {}",
                    LARGEST_OFFSET + LARGEST_PAGE
                ),
            )
            .hinted("ask for everybody: --all")
            .into());
        }
        query.offset = args.offset;
        let client = app.client().await?;
        Ok(Self::ByOffset {
            client,
            query,
            once: args.count.is_none(),
            done: false,
            truncated: false,
        })
    }

    /// Whether pages come in the order that was asked for, so that they can be printed as they come.
    fn is_sorted(&self) -> bool {
        match self {
            Self::Named { ids, .. } => ids.len() <= BATCH,
            Self::ById(_) => false,
            Self::ByOffset { .. } => true,
        }
    }

    /// The next page, when `wanted` users are still to be found.
    async fn next(
        &mut self,
        args: &QueryUsersArgs,
        wanted: u64,
    ) -> anyhow::Result<Option<UserPage>> {
        match self {
            Self::ById(pages) => pages.next_page().await.context("cannot query users"),
            Self::Named {
                client,
                query,
                ids,
                at,
            } => {
                let batch = &ids[*at..ids.len().min(*at + BATCH)];
                if batch.is_empty() {
                    return Ok(None);
                }
                *at += batch.len();
                let named = Value::Object(ids_filter(batch));
                let mut parts = vec![named];
                if !query.filter_conditions.is_empty() {
                    parts.push(Value::Object(query.filter_conditions.clone()));
                }
                let query = QueryUsers {
                    filter_conditions: all_of(parts),
                    limit: u32::try_from(batch.len()).ok(),
                    ..query.clone()
                };
                let users = client.query_user_page(&query).await;
                Ok(Some(users.context("cannot query users")?))
            }
            Self::ByOffset {
                client,
                query,
                once,
                done,
                truncated,
            } => {
                if *done {
                    return Ok(None);
                }
                let limit = if *once {
                    PAGE
                } else if filters_here(args) {
                    LARGEST_PAGE
                } else {
                    u32::try_from(wanted).map_or(LARGEST_PAGE, |wanted| wanted.min(LARGEST_PAGE))
                };
                query.limit = Some(limit);
                let users = client.query_user_page(query).await;
                let users = users.context("cannot query users")?;
                let full = users.len() >= limit as usize;
                let next = query.offset.unwrap_or(0) + limit;
                *truncated = full && !*once && next > LARGEST_OFFSET;
                *done = *once || !full || *truncated;
                query.offset = Some(next);
                Ok(Some(users))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: QueryUsersArgs,
    }

    fn args(line: &str) -> Result<QueryUsersArgs, clap::Error> {
        let words = std::iter::once("query-users").chain(line.split(' ').filter(|w| !w.is_empty()));
        Line::try_parse_from(words).map(|line| line.args)
    }

    fn filter_of(line: &str) -> Value {
        let now = DateTime::from_timestamp(1_770_000_000, 0).unwrap();
        Value::Object(filter(&args(line).unwrap(), now).unwrap())
    }

    #[test]
    fn filters_are_joined() {
        assert_eq!(filter_of(""), json!({}));
        assert_eq!(filter_of("--filter {}"), json!({}));
        assert_eq!(filter_of("--role admin"), json!({"role": {"$eq": "admin"}}));
        assert_eq!(
            filter_of(
                r#"--filter {"color":"green"} --name-prefix jo --active-since 15m --role user"#
            ),
            json!({"$and": [
                {"color": "green"},
                {"name": {"$autocomplete": "jo"}},
                {"role": {"$eq": "user"}},
                {"last_active": {"$gte": "2026-02-02T02:25:00Z"}},
            ]})
        );
    }

    #[test]
    fn flags_that_make_no_sense_are_refused() {
        for line in [
            "--online --offline",
            "--all -n 5",
            "--all --offset 5",
            "-n 0",
            "--offset 1001",
            "--filter []",
            "--filter {",
            "--sort ,",
        ] {
            assert!(args(line).is_err(), "{line}");
        }
        assert!(args("--sort -id,name").is_ok());
        let args = args("--active-since yesterday").unwrap();
        assert_eq!(
            filter(&args, DateTime::default()).unwrap_err().code,
            Code::Usage
        );
    }

    #[test]
    fn state_is_filtered_here() {
        let user = |text| EventUser::parse(text).unwrap();
        let online = user(r#"{"id":"a","online":true,"invisible":false}"#);
        let hidden = user(r#"{"id":"b","online":false,"invisible":true}"#);
        let unknown = user(r#"{"id":"c"}"#);
        for (line, kept) in [
            ("", [true, true, true]),
            ("--online", [true, false, false]),
            ("--offline", [false, true, false]),
            ("--invisible-only", [false, true, false]),
        ] {
            let args = args(line).unwrap();
            let keeps = [&online, &hidden, &unknown].map(|user| keeps(&args, user));
            assert_eq!(keeps, kept, "{line}");
        }
    }
}
