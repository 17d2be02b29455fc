//! `mock fault`: trouble made to order.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::control::{ask, call, change, list};
use crate::app::App;
use crate::domain::time::parse_duration;
use crate::exit::Code;
use crate::output::Column;

/// What to do with faults.
#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// Let something go wrong
    Add(Box<FaultAddArgs>),
    /// Show the faults in force, and how often each has struck
    List,
    /// End all faults, or one
    Clear {
        /// The fault's id; without it, all
        id: Option<String>,
    },
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultKindArg {
    /// A request is answered with an error.
    Status,
    /// A request is answered late.
    Delay,
    /// A request's connection is reset.
    Reset,
    /// A request is answered with a page of HTML.
    Html,
    /// A request's answer breaks off in the middle.
    Truncate,
    /// A socket is reset.
    Drop,
    /// A socket is closed with a code.
    Close,
    /// A socket falls silent and stays open.
    HalfOpen,
    /// A socket's pings are not answered any more.
    Mute,
    /// A frame is sent twice.
    Duplicate,
    /// A frame is sent after the next one.
    Reorder,
    /// A frame, and all behind it, are sent late.
    Late,
    /// A frame arrives as nonsense.
    Garbage,
    /// A socket's token expires.
    Expire,
    /// Every frame of a socket takes a while, until its queue is full.
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
A fault strikes every request, or every frame about to be sent, that fits, until it is cleared or its count is used up.
What ends a socket ends it in front of the frame, which is lost. The first fault that fits wins; those after it do not
see the request or frame. The control API itself is never struck.

Examples:
  presencectl mock fault add status --status 429 --retry-after 2 --path /users --count 1
  presencectl mock fault add close --code 4000 --user john --now
  presencectl mock fault add drop --event 'user.presence.*' --after 10 --count 1
  presencectl mock fault add late --delay 2s --probability 0.1 --seed 7")]
pub struct FaultAddArgs {
    /// What goes wrong
    #[arg(value_enum)]
    pub kind: FaultKindArg,

    /// Only requests with this method
    #[arg(long)]
    pub method: Option<String>,

    /// Only requests with this path; * stands for any text
    #[arg(long)]
    pub path: Option<String>,

    /// Only requests and sockets of this user; * stands for any text
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,

    /// Only frames with an event of this type; * stands for any text
    #[arg(long, value_name = "GLOB")]
    pub event: Option<String>,

    /// Strike this often, and then no more
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// Spare this many first
    #[arg(long, value_name = "N")]
    pub after: Option<u64>,

    /// Strike with this probability, from 0 to 1
    #[arg(long, value_name = "P", value_parser = parse_probability)]
    pub probability: Option<f64>,

    /// Draw the probability from this seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Strike the sockets that are open now, instead of frames to come
    #[arg(long)]
    pub now: bool,

    /// The HTTP status of status and html
    #[arg(long)]
    pub status: Option<u16>,

    /// The error code of status, or the close code of close
    #[arg(long)]
    pub code: Option<i32>,

    /// The error's message, or the reason of close
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,

    /// The Retry-After of status, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub retry_after: Option<u64>,

    /// How long delay, late and slow take, and how long reorder waits for the next frame
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub delay: Option<Duration>,

    /// Carry the request out all the same, so that only its answer is lost
    #[arg(long)]
    pub applied: bool,

    /// What garbage looks like; without it, the first half of the frame
    #[arg(long)]
    pub text: Option<String>,
}

/// Adds, lists or clears faults.
///
/// # Errors
///
/// There is no server, or it is no mock, or what was asked for makes no sense.
pub(super) async fn run(app: &App, command: &FaultCommand) -> anyhow::Result<Code> {
    match command {
        FaultCommand::Add(args) => {
            match change(app, "POST", "faults", Some(args.spec().into())).await? {
                Some(answer) => {
                    if args.now && struck(&answer) == 0 {
                        app.output()
                            .warn("no socket that is open now fits, so nothing was struck");
                    }
                    show(app, answer, false)
                }
                None => Ok(Code::Ok),
            }
        }
        FaultCommand::List => show(app, ask(app, "GET", "faults", &[], None).await?, true),
        FaultCommand::Clear { id: None } => call(app, "DELETE", "faults", None).await,
        FaultCommand::Clear { id: Some(id) } => {
            call(app, "DELETE", &format!("faults/{id}"), None).await
        }
    }
}

/// How often the faults that were added have struck already.
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

/// JSON cannot carry what is no number, so it has to be noticed here.
fn parse_probability(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|probability| (0.0..=1.0).contains(probability))
        .ok_or_else(|| "write a number from 0 to 1, such as 0.25".to_owned())
}

impl FaultAddArgs {
    /// The fault as the server reads it, with nothing in it that was not said.
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
