//! `mock expect`: check that the server got certain requests, or wait for them.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::control::{ask_as, call};
use super::filters::FilterArgs;
use super::log_lines;
use crate::domain::time::parse_duration;
use crate::exit::{Code, Failure};
use crate::output::Output;
use crate::settings::{App, DEFAULT_TIMEOUT};
use crate::timer::sleep_until;

/// Flags of `mock expect`.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("times").args(["count", "at_least", "never"])),
    after_help = "\
Without --within, the requests so far decide. With it, the command waits until the answer is certain: --count and
--at-least end as soon as there are enough requests, --never ends early only if there is one. DUR is real time, also
while the mock's clock is frozen. `mock reset` forgets all requests.

The record says whether the expectation is met. If it is not, the exit code is 3, and the record has the three nearest
requests and how each differs.

Examples:
  presencectl mock expect --method PATCH --path '/users*' --within 10s
  presencectl mock expect --path /users --body '.users[0].set.status == \"busy\"' --count 1
  presencectl mock expect --user john --status 5xx --never"
)]
pub struct ExpectArgs {
    /// The filters
    #[command(flatten)]
    pub filters: FilterArgs,

    /// Expect exactly N matching requests
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// Expect at least N matching requests [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub at_least: Option<u64>,

    /// Expect no matching request
    #[arg(long)]
    pub never: bool,

    /// Wait up to this long
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub within: Option<Duration>,
}

impl ExpectArgs {
    /// The expectation as the control API reads it.
    fn spec(&self) -> Value {
        let mut spec: Map<String, Value> = self
            .filters
            .parameters()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let mut set = |name: &str, value: Option<Value>| {
            spec.extend(value.map(|value| (name.to_owned(), value)));
        };
        set("count", self.count.map(Value::from));
        set("at_least", self.at_least.map(Value::from));
        set("never", self.never.then_some(json!(true)));
        let within = self.within.map(humantime::format_duration);
        set("within", within.map(|within| within.to_string().into()));
        spec.into()
    }
}

/// Checks an expectation.
///
/// # Errors
///
/// The expectation is not met (exit code 3) or invalid, or the server cannot be reached or is not a mock.
pub(super) async fn run(app: &App, args: &ExpectArgs) -> anyhow::Result<Code> {
    if app.is_dry_run() {
        return call(app, "POST", "expect", Some(args.spec()), &[]).await;
    }
    let mut rows = app.output().row(&log_lines::EXPECTATION_COLUMNS)?;
    // `--timeout` bounds the whole run here, and not the time until the response.
    let limit = args.within.unwrap_or_default() + DEFAULT_TIMEOUT;
    let client = app.mock_client()?.with_timeout(limit);
    let deadline = app.timeout().map(|timeout| Instant::now() + timeout);
    let result = tokio::select! {
        result = ask_as(&client, "POST", "expect", &[], Some(args.spec())) => result?,
        () = sleep_until(deadline) => {
            let message = "the time ran out before the expectation was decided";
            return Err(Failure::new(Code::TimedOut, message).into());
        }
    };
    rows.push(&result)?;
    rows.finish()?;
    if result.get("met") == Some(&Value::Bool(true)) {
        return Ok(Code::Ok);
    }
    show_requests(app.output(), &result);
    Err(Failure::new(Code::NothingMatched, failure_message(&result))
        .hinted("see every request: presencectl mock log")
        .into())
}

/// Names the requests that came nearest, or that should not have come, on stderr.
fn show_requests(output: &Output, result: &Map<String, Value>) {
    if output.settings().explicit_machine {
        return;
    }
    for line in log_lines::requests_of_expectation(result) {
        output.status(&line);
    }
}

/// What is wrong, in one line.
fn failure_message(result: &Map<String, Value>) -> String {
    let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| result.get(name).and_then(Value::as_u64).unwrap_or_default();
    let lost = match number("lost") {
        0 => String::new(),
        lost => format!(", and {lost} older entries are no longer in the log"),
    };
    format!(
        "expected {}; {} of {} requests match{lost}",
        text("expected"),
        number("matched"),
        number("compared"),
    )
}
