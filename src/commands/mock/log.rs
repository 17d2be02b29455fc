//! `mock log`: show recent requests and frames of a running mock, and follow new ones with `-f`.

use std::collections::VecDeque;
use std::convert::Infallible;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::control::{ask_as, list};
use super::filters::FilterArgs;
use super::log_lines;
use crate::api::Client;
use crate::error_to_exit::code_of;
use crate::exit::{Code, Failure};
use crate::output::{Format, Output, Rows};
use crate::settings::{App, DEFAULT_TIMEOUT};
use crate::stream::sinks::stdout_writer;
use crate::timer::sleep_until;

/// How long the server holds a request without new entries.
const POLL_WAIT: &str = "5s";
/// Notes of one request.
const ENTRIES_PER_PAGE: u64 = 1000;

/// Flags of `mock log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints one line for each entry on a terminal, and one JSON object otherwise: mock.request, mock.socket.open,
mock.socket.end, mock.frame.sent and mock.frame.heard. --method, --path, --status and --body leave only requests. The server keeps the last 10,000 entries, at most 8 MiB. With -f, mock.log.lost says how many entries
were dropped before they were read. Tokens and secrets are never logged.

Examples:
  presencectl mock log --path '/users*' --status 4xx
  presencectl mock log -f --jq 'select(.user == \"john\") | .frame.type'")]
pub struct LogArgs {
    /// Keep printing new entries
    #[arg(short, long)]
    pub follow: bool,

    /// Start with the last N entries [default: all; with -f: 0]
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,

    /// The filters
    #[command(flatten)]
    pub filters: FilterArgs,
}

/// Writes entries: as lines for a person, or as records.
struct EntryWriter<'a> {
    output: &'a Output,
    /// `None` for lines.
    rows: Option<Rows<'a>>,
}

impl<'a> EntryWriter<'a> {
    fn new(app: &'a App) -> anyhow::Result<Self> {
        let output = app.output();
        let settings = output.settings();
        let has_lines = settings.format == Format::Table
            && settings.jq.is_none()
            && settings.columns.is_empty();
        let rows = (!has_lines).then(|| output.documents(true)).transpose()?;
        Ok(Self { output, rows })
    }

    fn write(&mut self, entries: &[Value]) -> anyhow::Result<()> {
        let Some(rows) = &mut self.rows else {
            let width = self.output.settings().width;
            let lines = entries
                .iter()
                .map(|entry| log_lines::entry(entry, width) + "\n");
            return Ok(self.output.print(&lines.collect::<String>())?);
        };
        for entry in entries {
            rows.push(entry)?;
        }
        rows.flush()
    }

    fn finish(self) -> anyhow::Result<()> {
        self.rows.map_or(Ok(()), Rows::finish)
    }
}

/// Prints the log.
///
/// # Errors
///
/// There is no server, or it is no mock; or it went away.
pub(super) async fn run(app: &App, args: &LogArgs) -> anyhow::Result<Code> {
    let mut writer = EntryWriter::new(app)?;
    let mut client = app.mock_client()?;
    if args.follow {
        // `--timeout` bounds the whole run here, and not each call.
        client = client.with_timeout(DEFAULT_TIMEOUT);
    }
    let filters = args.filters.parameters();
    let log = LogReader {
        client: &client,
        filters: &filters,
    };
    let status = ask_as(&client, "GET", "status", &[], None).await?;
    let last = number(&status, "log");
    let deadline = app
        .timeout()
        .filter(|_| args.follow)
        .map(|timeout| Instant::now() + timeout);
    if !filters.is_empty() {
        // Reports a mistake in a filter, also while the log is empty.
        log.page(last, None).await?;
    }
    match args.count.or(args.follow.then_some(0)) {
        None => log.copy(0, last, &mut writer).await?,
        Some(count) if filters.is_empty() => {
            log.copy(last.saturating_sub(count), last, &mut writer)
                .await?;
        }
        Some(count) => {
            let entries = log.last_matching(count, last).await?;
            writer.write(&entries)?;
        }
    }
    if args.follow {
        let (_, writer_status) = stdout_writer::open()?;
        tokio::select! {
            biased;
            // A reader who leaves ends the run even while nothing happens.
            () = writer_status.hung_up() => return Ok(Code::Ok),
            () = sleep_until(deadline) => {}
            end = log.follow(last, &mut writer) => match end? {},
        }
    }
    writer.finish()?;
    Ok(Code::Ok)
}

/// Reads the entries that match the filters.
struct LogReader<'a> {
    client: &'a Client,
    filters: &'a [(&'static str, &'a str)],
}

impl LogReader<'_> {
    /// Writes the entries from one number to another.
    async fn copy(
        &self,
        mut since: u64,
        last: u64,
        writer: &mut EntryWriter<'_>,
    ) -> anyhow::Result<()> {
        while since < last {
            let page = self.page(since, None).await?;
            let next = number(&page, "next");
            // The server may have forgotten everything meanwhile.
            if next <= since {
                break;
            }
            since = next;
            writer.write(&list(page, "entries"))?;
        }
        Ok(())
    }

    /// The last entries that match, of those up to a number.
    async fn last_matching(&self, count: u64, last: u64) -> anyhow::Result<Vec<Value>> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut kept = VecDeque::new();
        let mut since = 0;
        while since < last {
            let page = self.page(since, None).await?;
            let next = number(&page, "next");
            if next <= since {
                break;
            }
            since = next;
            kept.extend(list(page, "entries"));
            kept.drain(..kept.len().saturating_sub(count));
        }
        Ok(kept.into())
    }

    /// Writes new entries until something fails.
    async fn follow(
        &self,
        mut since: u64,
        writer: &mut EntryWriter<'_>,
    ) -> anyhow::Result<Infallible> {
        loop {
            let page = self.page(since, Some(POLL_WAIT)).await.map_err(|error| {
                if code_of(&error) == Code::CannotConnect {
                    Failure::new(Code::StreamLost, "the mock server has ended").into()
                } else {
                    error
                }
            })?;
            since = number(&page, "next");
            let lost = number(&page, "lost");
            if lost > 0 {
                writer.write(&[json!({"type": "mock.log.lost", "count": lost})])?;
            }
            writer.write(&list(page, "entries"))?;
        }
    }

    /// The matching entries after a number. With `wait`, the server waits for new ones (long poll).
    async fn page(&self, after: u64, wait: Option<&str>) -> anyhow::Result<Map<String, Value>> {
        let (after, limit) = (after.to_string(), ENTRIES_PER_PAGE.to_string());
        let mut query = vec![("after", after.as_str()), ("limit", limit.as_str())];
        query.extend(wait.map(|wait| ("wait", wait)));
        query.extend(self.filters);
        ask_as(self.client, "GET", "log", &query, None).await
    }
}

fn number(answer: &Map<String, Value>, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or(0)
}
