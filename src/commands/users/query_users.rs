//! `query-users`: finds users with the service's filters and with filters that only this program can apply.
//!
//! The service cannot filter by `online`. So pages are read and filtered locally until enough users match.

use std::collections::HashSet;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};
use tokio::task::yield_now;

use super::user_pages::{DEFAULT_PAGE_SIZE, OFFSET_MAX, PAGE_SIZE_MAX, PageSource};
use crate::api::{Client, QUERY_USERS, QueryUsers, UserPage};
use crate::commands::filters::{all_of, parse_user_filter};
use crate::commands::follow;
use crate::commands::ids;
use crate::commands::rate_limiter::CallLimiters;
use crate::commands::recent_ids::{IdKind, RecentIds};
use crate::commands::sort::SortKeys;
use crate::domain::event::EventUser;
use crate::domain::time::parse_time;
use crate::domain::{IdList, User, UserId};
use crate::events::{WatchTarget, WatcherOptions};
use crate::exit::{Code, Failure};
use crate::output::{Column, Rows};
use crate::settings::App;
use crate::stream::StreamOptions;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --in, -n or --all, prints one page of 30. --online, --offline and --invisible-only are filtered by presencectl,
because the service cannot: users are read in the order of their ids until 30, or -n, match. --all prints all users in the order of their
ids. With --sort, presencectl sorts users that it filters or that come from several pages.

Examples:
  presencectl query-users --in john,jack --presence
  presencectl query-users --online --all --columns id,status,last_active
  presencectl query-users --role admin --active-since 15m --sort -last_active -n 10
  presencectl query-users --filter '{\"color\":\"green\"}' --all -o csv
  presencectl query-users --online --count-only --jq .count")]
pub struct QueryUsersArgs {
    /// Ids, which belong to get-user or --in; accepted only to say so
    #[arg(value_name = "ID", hide = true)]
    pub ids: Vec<String>,

    /// Only these users: a,b,c or @FILE (one id per line, or NDJSON) or - (stdin)
    #[arg(long = "in", value_name = "LIST")]
    pub list: Option<IdList>,

    /// Only users that match this filter, in Stream's filter syntax
    #[arg(long, value_name = "JSON", value_parser = parse_user_filter)]
    pub filter: Option<Map<String, Value>>,

    /// Only users whose name starts with this, ignoring case
    #[arg(long, value_name = "TEXT")]
    pub name_prefix: Option<String>,

    /// Only users with this role
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,

    /// Only users of this team (multi-tenant applications)
    #[arg(long, value_name = "TEAM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub team: Option<String>,

    /// Only users active since this time, or since this long ago
    #[arg(long, value_name = "DUR|TIME")]
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

    /// Include deactivated users
    #[arg(long)]
    pub include_deactivated: bool,

    /// Show all presence columns
    #[arg(long)]
    pub presence: bool,

    /// Sort by these fields, descending with a leading -
    #[arg(long, value_name = "FIELDS", allow_hyphen_values = true)]
    pub sort: Option<SortKeys>,

    /// Print at most N users
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,

    /// Skip the first N users
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub offset: Option<u32>,

    /// Print all users
    #[arg(long, conflicts_with_all = ["count", "offset"])]
    pub all: bool,

    /// Print only the number of users
    #[arg(long)]
    pub count_only: bool,

    /// Exit with code 3 if no user matches
    #[arg(long)]
    pub fail_empty: bool,

    /// Then stream the presence of the found users, as `watch users` does
    #[arg(long, conflicts_with = "count_only")]
    pub watch: bool,
}

impl QueryUsersArgs {
    /// Whether there are client-side filters.
    const fn filters_by_state(&self) -> bool {
        self.online || self.offline || self.invisible_only
    }

    /// Whether a user passes the client-side filters.
    fn keeps(&self, user: &EventUser<'_>) -> bool {
        (!self.online || user.online == Some(true))
            && (!self.offline || user.online == Some(false))
            && (!self.invisible_only || user.invisible == Some(true))
    }

    /// Whether all matching users are requested.
    const fn wants_all(&self) -> bool {
        self.all || (self.count_only && self.count.is_none() && self.offset.is_none())
    }

    /// How many users are requested.
    fn wanted(&self) -> u64 {
        match self.count {
            Some(count) => u64::from(count),
            None if self.filters_by_state() && self.list.is_none() && !self.wants_all() => {
                u64::from(DEFAULT_PAGE_SIZE)
            }
            None => u64::MAX,
        }
    }
}

/// Finds users and prints them.
///
/// # Errors
///
/// The flags cannot be combined, the service refuses the request, or no user matches and `--fail-empty` is given.
pub async fn run(app: &App, args: &QueryUsersArgs) -> anyhow::Result<Code> {
    if !args.ids.is_empty() {
        let ids = args.ids.join(" ");
        return Err(
            Failure::new(Code::Usage, "query-users takes no ids as arguments")
                .hinted(format!(
                    "presencectl get-user {ids}; or presencectl query-users --in {}",
                    args.ids.join(",")
                ))
                .into(),
        );
    }
    let sink = ResultSink::new(app, args)?;
    let mut query = QueryUsers {
        filter_conditions: filter(args, app.now())?,
        sort: args
            .sort
            .as_ref()
            .map(|sort| sort.keys().to_vec())
            .unwrap_or_default(),
        include_deactivated_users: args.include_deactivated,
        ..QueryUsers::default()
    };
    let ids = check_paging(args)?;
    let client = app.client().await?;
    let all_users = query.clone();
    let source = match ids {
        Some(ids) => PageSource::named(client.clone(), query, &ids),
        None if args.wants_all() || (args.filters_by_state() && args.sort.is_none()) => {
            PageSource::by_id(client.clone(), query)
        }
        None => {
            // With client-side filters, the offset counts matching users.
            query.offset = args.offset.filter(|_| !args.filters_by_state());
            let once = args.count.is_none() && !args.filters_by_state();
            PageSource::by_offset(client.clone(), query, once)
        }
    };
    let mut search = Search {
        args,
        client,
        limiter: CallLimiters::default(),
        progress: progress(app, args),
        seen: 0,
        matched: 0,
        sink,
    };
    let source = search.run(source, &HashSet::new()).await?;
    let source = if source.is_truncated() && args.filters_by_state() && search.is_hungry() {
        // The service limits the offset. The remaining users are found by reading all users by id.
        let shown = std::mem::take(&mut search.sink.shown);
        let all_users = PageSource::by_id(search.client.clone(), all_users);
        search.matched = 0;
        search.run(all_users, &shown).await?
    } else {
        source
    };
    search.progress.finish_and_clear();
    advise(app, args, &source, &search);
    let (found, watched) = search.sink.finish()?;
    if found == 0 && args.fail_empty {
        return Err(Failure::new(Code::NothingMatched, "no user matches").into());
    }
    if args.watch && found > 0 {
        let target = WatchTarget {
            users: watched.iter().collect(),
            team: args.team.clone(),
            ..WatchTarget::default()
        };
        return follow::follow(app, StreamOptions::default(), target, WatcherOptions::new).await;
    }
    Ok(Code::Ok)
}

/// Checks that the flags can be combined, and reads the ids of `--in`.
fn check_paging(args: &QueryUsersArgs) -> Result<Option<Vec<UserId>>, Failure> {
    if let Some(list) = &args.list {
        if args.offset.is_some() {
            return Err(Failure::new(
                Code::Usage,
                "--offset cannot be used with --in: omit it",
            ));
        }
        return ids::read_all(list).map(Some);
    }
    let offset = args.offset.unwrap_or(0);
    if let Some(count) = args.count
        && !args.filters_by_state()
        && offset + (count - 1) / PAGE_SIZE_MAX * PAGE_SIZE_MAX > OFFSET_MAX
    {
        return Err(Failure::new(
            Code::Usage,
            format!(
                "-n {count} is beyond the {} users that the service pages by offset",
                OFFSET_MAX + PAGE_SIZE_MAX
            ),
        )
        .hinted("print all users: --all"));
    }
    Ok(None)
}

/// Reads pages and passes on matching users, until there are enough.
struct Search<'a> {
    args: &'a QueryUsersArgs,
    client: Client,
    limiter: CallLimiters,
    progress: ProgressBar,
    /// How many users were read.
    seen: usize,
    /// How many of them matched.
    matched: u64,
    sink: ResultSink<'a>,
}

impl Search<'_> {
    /// Whether more users are needed.
    fn is_hungry(&self) -> bool {
        self.sink.found < self.args.wanted()
    }

    /// Passes on the users of a source, except those in `skip`. Returns the source in its final state.
    async fn run(
        &mut self,
        mut source: PageSource,
        skip: &HashSet<String>,
    ) -> anyhow::Result<PageSource> {
        let args = self.args;
        let wanted = args.wanted();
        let sort = args.sort.as_ref().filter(|_| !source.is_sorted());
        let mut gathered = Vec::new();
        let mut page = source.next(self.page_size()).await?;
        while let Some(users) = page {
            page = if wanted == u64::MAX {
                self.limiter.before(&self.client, QUERY_USERS).await;
                // The next page is requested while this one is written. A received page is written even if the next
                // request fails.
                let size = self.page_size();
                let write = async {
                    yield_now().await;
                    self.take(&users, skip, sort.is_some().then_some(&mut gathered))
                };
                let (next, written) = tokio::join!(source.next(size), write);
                written?;
                next?
            } else {
                self.take(&users, skip, sort.is_some().then_some(&mut gathered))?;
                if (sort.is_none() && !self.is_hungry()) || source.is_done() {
                    None
                } else {
                    self.limiter.before(&self.client, QUERY_USERS).await;
                    source.next(self.page_size()).await?
                }
            };
        }
        if let Some(sort) = sort {
            gathered.sort_by(|a: &User, b| sort.compare(a.fields(), b.fields()));
            let to_skip = self.to_skip();
            for user in gathered.iter().skip(to_skip) {
                if !self.is_hungry() {
                    break;
                }
                self.sink.take_built(user)?;
            }
        }
        Ok(source)
    }

    /// How many matching users `--offset` still skips.
    fn to_skip(&self) -> usize {
        match self.args.offset {
            Some(offset) if self.args.filters_by_state() => offset as usize,
            Some(_) | None => 0,
        }
    }

    /// The size of the next page.
    fn page_size(&self) -> u64 {
        if self.args.filters_by_state() {
            return u64::from(PAGE_SIZE_MAX);
        }
        self.args.wanted().saturating_sub(self.sink.found)
    }

    /// Passes on the matching users of a page, or collects them.
    fn take(
        &mut self,
        users: &UserPage,
        skip: &HashSet<String>,
        mut gathered: Option<&mut Vec<User>>,
    ) -> anyhow::Result<()> {
        self.seen += users.len();
        let to_skip = self.to_skip() as u64;
        let wanted = self.args.wanted();
        let (sink, matched, args) = (&mut self.sink, &mut self.matched, self.args);
        let progress = &self.progress;
        let mut pass_on = || -> anyhow::Result<()> {
            for user in users.iter().filter(|user| args.keeps(user)) {
                *matched += 1;
                if let Some(gathered) = gathered.as_deref_mut() {
                    if !skip.contains(user.id.as_ref()) {
                        gathered.push(user.to_user().context("cannot read a user")?);
                    }
                } else if *matched > to_skip && sink.found < wanted {
                    sink.take(&user)?;
                }
            }
            sink.flush()
        };
        if progress.is_hidden() {
            return pass_on();
        }
        progress.suspend(pass_on)?;
        progress.set_message(format!("{} users read, {matched} match", self.seen));
        progress.tick();
        Ok(())
    }
}

/// A progress line of a long search, for a terminal.
fn progress(app: &App, args: &QueryUsersArgs) -> ProgressBar {
    if !args.filters_by_state() || app.output().settings().quiet > 0 {
        return ProgressBar::hidden();
    }
    // The library hides it where stderr is not a terminal.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.with_style(style)
}

/// Prints hints and warnings about the results on stderr.
fn advise(app: &App, args: &QueryUsersArgs, source: &PageSource, search: &Search<'_>) {
    let (seen, found) = (search.seen, search.sink.found);
    let one_page = u64::from(DEFAULT_PAGE_SIZE);
    if let PageSource::ByOffset { once: true, .. } = source
        && seen as u64 == one_page
    {
        app.output()
            .hint("this is one page of 30 and there may be more: add -n N, or --all");
    } else if source.is_truncated() && search.is_hungry() {
        app.output().warn(&format!(
            "read only the first {seen} users, the most that the service's offset allows; use --all to read all"
        ));
    } else if args.filters_by_state()
        && args.wanted() == one_page
        && args.count.is_none()
        && found == one_page
        && !source.is_done()
    {
        app.output()
            .hint("these are the first 30 users that match: add -n N, or --all");
    }
    if found == 0 && !args.fail_empty && !args.count_only {
        app.output().status("no user matches.");
    }
}

/// Prints the found users, counts them, or collects them for `--watch`.
struct ResultSink<'a> {
    rows: Rows<'a>,
    recent: RecentIds,
    count_only: bool,
    /// The users to watch, with `--watch`. They are not printed, because the stream shows their state.
    watched: Option<Vec<UserId>>,
    found: u64,
    /// The ids of the users so far, if a second search may follow.
    shown: HashSet<String>,
    remembers_shown: bool,
}

impl<'a> ResultSink<'a> {
    fn new(app: &'a App, args: &QueryUsersArgs) -> anyhow::Result<Self> {
        let rows = if args.count_only {
            app.output().row(&[Column::plain("count")])?
        } else {
            let columns = [
                ("invisible", args.presence),
                ("deactivated_at", args.include_deactivated),
            ];
            let columns: Vec<&str> = columns
                .into_iter()
                .filter_map(|(name, is_shown)| is_shown.then_some(name))
                .collect();
            let mut rows = app.output().users_with(app.now(), &columns)?;
            if let Some(sort) = &args.sort {
                rows.expect_fields(sort.unknown_fields());
            }
            rows
        };
        Ok(Self {
            rows,
            recent: RecentIds::new(IdKind::Users, app),
            count_only: args.count_only,
            watched: args.watch.then(Vec::new),
            found: 0,
            shown: HashSet::new(),
            remembers_shown: args.filters_by_state() && args.sort.is_some(),
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

    /// Counts a user and adds them to those to watch. Returns whether to print the user.
    fn is_shown(&mut self, id: &str) -> anyhow::Result<bool> {
        self.found += 1;
        if self.remembers_shown {
            self.shown.insert(id.to_owned());
        }
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

/// The server-side filters, combined into one.
fn filter(args: &QueryUsersArgs, now: DateTime<Utc>) -> Result<Map<String, Value>, Failure> {
    let since = match &args.active_since {
        None => None,
        Some(since) => {
            let since = parse_time(since, now)
                .map_err(|reason| Failure::new(Code::Usage, format!("--active-since: {reason}")))?;
            Some(since.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        }
    };
    let condition =
        |value: &Option<String>, to_filter: fn(&str) -> Value| value.as_deref().map(to_filter);
    Ok(all_of([
        args.filter.clone().map(Value::Object),
        condition(
            &args.name_prefix,
            |prefix| json!({ "name": { "$autocomplete": prefix } }),
        ),
        condition(&args.role, |role| json!({ "role": { "$eq": role } })),
        condition(&args.team, |team| json!({ "teams": { "$contains": team } })),
        condition(&since, |since| json!({ "last_active": { "$gte": since } })),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: QueryUsersArgs,
    }

    fn args(line: &str) -> Result<QueryUsersArgs, clap::Error> {
        let words = std::iter::once("query-users").chain(line.split(' ').filter(|w| !w.is_empty()));
        CommandLine::try_parse_from(words).map(|line| line.args)
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
            let keeps = [&online, &hidden, &unknown].map(|user| args.keeps(user));
            assert_eq!(keeps, kept, "{line}");
        }
    }
}
