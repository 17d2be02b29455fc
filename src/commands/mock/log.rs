//! `mock log`: show recent requests and frames of a running mock, and follow new ones with `-f`.

use std::convert::Infallible;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::control::{ask_as, list};
use crate::api::Client;
use crate::error_to_exit::code_of;
use crate::exit::{Code, Failure};
use crate::output::Rows;
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
Prints one JSON object for each entry: mock.request, mock.socket.open, mock.socket.end, mock.frame.sent and
mock.frame.heard. The server keeps the last 10,000 entries, at most 8 MiB. With -f, mock.log.lost says how many entries
were dropped before they were read. Tokens and secrets are never logged.

Examples:
  presencectl mock log | jq -c 'select(.type == \"mock.request\") | [.method, .path, .status]'
  presencectl mock log -f --jq 'select(.user == \"john\") | .frame.type'")]
pub struct LogArgs {
    /// Keep printing new entries
    #[arg(short, long)]
    pub follow: bool,

    /// Start with the last N entries [default: all; with -f: 0]
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
}

/// Prints the log.
///
/// # Errors
///
/// There is no server, or it is no mock; or it went away.
pub(super) async fn run(app: &App, args: &LogArgs) -> anyhow::Result<Code> {
    let mut rows = app.output().documents(true)?;
    let mut client = app.mock_client()?;
    if args.follow {
        // `--timeout` bounds the whole run here, and not each call.
        client = client.with_timeout(DEFAULT_TIMEOUT);
    }
    let status = ask_as(&client, "GET", "status", &[], None).await?;
    let last = number(&status, "log");
    if args.follow {
        let deadline = app.timeout().map(|timeout| Instant::now() + timeout);
        let (_, writer_status) = stdout_writer::open()?;
        let start = last.saturating_sub(args.count.unwrap_or(0));
        tokio::select! {
            biased;
            // A reader who leaves ends the run even while nothing happens.
            () = writer_status.hung_up() => return Ok(Code::Ok),
            () = sleep_until(deadline) => {}
            end = follow(&client, &mut rows, start) => match end? {},
        }
        rows.finish()?;
        return Ok(Code::Ok);
    }
    let mut since = last.saturating_sub(args.count.unwrap_or(last));
    while since < last {
        let page = page(&client, since, None).await?;
        let next = number(&page, "next");
        // The server may have forgotten everything meanwhile.
        if next <= since {
            break;
        }
        since = next;
        for note in list(page, "entries") {
            rows.push(&note)?;
        }
        rows.flush()?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}

/// Prints new entries until something fails.
async fn follow(
    client: &Client,
    rows: &mut Rows<'_>,
    mut since: u64,
) -> anyhow::Result<Infallible> {
    loop {
        let page = page(client, since, Some(POLL_WAIT))
            .await
            .map_err(|error| {
                if code_of(&error) == Code::CannotConnect {
                    Failure::new(Code::StreamLost, "the mock server has ended").into()
                } else {
                    error
                }
            })?;
        since = number(&page, "next");
        let lost = number(&page, "lost");
        if lost > 0 {
            let mut note = Map::new();
            note.insert("type".to_owned(), "mock.log.lost".into());
            note.insert("count".to_owned(), lost.into());
            rows.push(&note)?;
        }
        for note in list(page, "entries") {
            rows.push(&note)?;
        }
        rows.flush()?;
    }
}

/// The log entries after a sequence number. With `wait`, the server waits for new ones (long poll).
async fn page(
    client: &Client,
    since: u64,
    wait: Option<&str>,
) -> anyhow::Result<Map<String, Value>> {
    let (since, limit) = (since.to_string(), ENTRIES_PER_PAGE.to_string());
    let mut query = vec![("since", since.as_str()), ("limit", limit.as_str())];
    query.extend(wait.map(|wait| ("wait", wait)));
    ask_as(client, "GET", "log", &query, None).await
}

fn number(answer: &Map<String, Value>, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or(0)
}
