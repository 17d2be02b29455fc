//! `mock fault`: inject faults into the requests and sockets of a running mock.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::control::{FAULTS_HINT, ask, call, change, check_segment, list};
use crate::domain::time::parse_duration;
use crate::exit::Code;
use crate::output::Column;
use crate::settings::App;

/// The commands of `mock fault`.
#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// Add a fault
    Add(Box<FaultAddArgs>),
    /// List active faults and how often each was applied
    List,
    /// Remove all faults, or one
    Clear {
        /// Remove only the fault with this id
        id: Option<String>,
    },
}

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultKindArg {
    /// Answer a request with an error.
    Status,
    /// Answer a request late.
    Delay,
    /// Reset the connection of a request.
    Reset,
    /// Answer a request with an HTML page.
    Html,
    /// Cut off the response to a request in the middle.
    Truncate,
    /// Reset a socket.
    Drop,
    /// Close a socket with a code.
    Close,
    /// Stop sending on a socket but keep it open.
    HalfOpen,
    /// Stop answering the pings of a socket.
    Mute,
    /// Send a frame twice.
    Duplicate,
    /// Send a frame after the next one.
    Reorder,
    /// Send a frame, and all frames behind it, late.
    Late,
    /// Send garbage in place of a frame.
    Garbage,
    /// Let the token of a socket expire.
    Expire,
    /// Send every frame of a socket slowly, until its queue is full.
    Slow,
}

impl FaultKindArg {
    const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Delay => "delay",
            Self::Reset => "reset",
            Self::Html => "html",
            Self::Truncate => "truncate",
            Self::Drop => "drop",
            Self::Close => "close",
            Self::HalfOpen => "half-open",
            Self::Mute => "mute",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Late => "late",
            Self::Garbage => "garbage",
            Self::Expire => "expire",
            Self::Slow => "slow",
        }
    }
}

/// Flags of `mock fault add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A fault applies to every request, or every frame about to be sent, that matches, until it is cleared or its count is
used up. A fault that ends a socket does so before the frame is sent; the frame is lost. The first fault that matches
wins; later ones do not see the request or frame. Requests to the control API are never affected.

Examples:
  presencectl mock fault add status --status 429 --retry-after 2 --path /users --count 1
  presencectl mock fault add close --code 4000 --user john --now
  presencectl mock fault add drop --event 'user.presence.*' --after 10 --count 1
  presencectl mock fault add late --delay 2s --probability 0.1 --seed 7")]
pub struct FaultAddArgs {
    /// Inject this kind of fault
    #[arg(value_enum)]
    pub kind: FaultKindArg,

    /// Match only requests with this method
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,

    /// Match only requests with this path; * matches any text
    #[arg(long, value_name = "GLOB")]
    pub path: Option<String>,

    /// Match only requests and sockets of this user; * matches any text
    #[arg(long, value_name = "GLOB")]
    pub user: Option<String>,

    /// Match only frames with this event type; * matches any text
    #[arg(long, value_name = "GLOB")]
    pub event: Option<String>,

    /// Apply the fault at most N times
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// Skip the first N matches
    #[arg(long, value_name = "N")]
    pub after: Option<u64>,

    /// Apply the fault with this probability, from 0 to 1
    #[arg(long, value_name = "NUMBER", value_parser = parse_probability)]
    pub probability: Option<f64>,

    /// Seed the random numbers for --probability [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Apply to sockets that are open now instead of future frames
    #[arg(long)]
    pub now: bool,

    /// status, html: respond with this HTTP status
    #[arg(long, value_name = "N")]
    pub status: Option<u16>,

    /// status: the error code; close: the close code
    #[arg(long, value_name = "N")]
    pub code: Option<i32>,

    /// status: the error message; close: the reason
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,

    /// status: the Retry-After header, in seconds
    #[arg(long, value_name = "N")]
    pub retry_after: Option<u64>,

    /// delay, late, slow: how long; reorder: how long to wait for the next frame
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub delay: Option<Duration>,

    /// Carry the request out anyway, so that only the response is lost
    #[arg(long)]
    pub applied: bool,

    /// garbage: send this text [default: the first half of the frame]
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
}

/// Adds, lists or clears faults.
///
/// # Errors
///
/// The server cannot be reached, is not a mock, or rejects the fault.
pub(super) async fn run(app: &App, command: &FaultCommand) -> anyhow::Result<Code> {
    match command {
        FaultCommand::Add(args) => {
            match change(app, "POST", "faults", Some(args.spec().into())).await? {
                Some(answer) => {
                    if args.now && struck(&answer) == 0 {
                        app.output()
                            .warn("no open socket matches, so the fault was not applied");
                    }
                    show(app, answer, false)
                }
                None => Ok(Code::Ok),
            }
        }
        FaultCommand::List => show(app, ask(app, "GET", "faults", &[], None).await?, true),
        FaultCommand::Clear { id: None } => call(app, "DELETE", "faults", None, &["cleared"]).await,
        FaultCommand::Clear { id: Some(id) } => {
            check_segment("fault", id, FAULTS_HINT)?;
            call(app, "DELETE", &format!("faults/{id}"), None, &["cleared"]).await
        }
    }
}

/// How often the added faults were applied already.
fn struck(answer: &Map<String, Value>) -> u64 {
    let faults = answer.get("faults").and_then(Value::as_array);
    faults
        .into_iter()
        .flatten()
        .filter_map(|fault| fault["fired"].as_u64())
        .sum()
}

fn show(app: &App, answer: Map<String, Value>, many: bool) -> anyhow::Result<Code> {
    let columns = [
        "id", "kind", "method", "path", "user", "event", "count", "matched", "fired", "active",
    ]
    .map(Column::plain);
    let mut rows = app.output().rows(&columns)?;
    if !many {
        rows = rows.one();
    }
    for fault in list(answer, "faults") {
        rows.push(&fault)?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}

/// Parses a probability. JSON cannot carry NaN or infinity, so they are rejected here.
fn parse_probability(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|probability| (0.0..=1.0).contains(probability))
        .ok_or_else(|| "expected a number from 0 to 1, such as 0.25".to_owned())
}

impl FaultAddArgs {
    /// The fault as the server reads it, with only the fields that were given.
    fn spec(&self) -> Map<String, Value> {
        let delay = self
            .delay
            .map(|delay| humantime::format_duration(delay).to_string());
        let spec = json!({
            "kind": self.kind.name(),
            "method": self.method,
            "path": self.path,
            "user": self.user,
            "event": self.event,
            "count": self.count,
            "after": self.after,
            "probability": self.probability,
            "seed": self.seed,
            "now": self.now.then_some(true),
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "retry_after": self.retry_after,
            "delay": delay,
            "applied": self.applied.then_some(true),
            "text": self.text,
        });
        match spec {
            Value::Object(fields) => fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_a_number_from_0_to_1() {
        assert_eq!(parse_probability("0.25"), Ok(0.25));
        assert_eq!(parse_probability("1"), Ok(1.0));
        for text in ["nan", "inf", "1.01", "-0.1", "x", ""] {
            assert!(parse_probability(text).is_err(), "{text}");
        }
    }
}
