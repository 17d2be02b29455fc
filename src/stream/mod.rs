//! Streams: records from the service, filtered and written to stdout, to a file and to hooks.
//!
//! | Stage | File | Task |
//! |---|---|---|
//! | source | `source` | follow users on the service |
//! | debounce | `debounce` | leave out users who go and come back |
//! | filter | `filter` | choose records |
//! | overflow | `overflow` | coalesce events for a slow reader |
//! | sinks | `sinks` | write to stdout, to the file of `--tee`, to hooks |
//!
//! `pipeline` connects the stages, `run` drives them, `outcome` decides when to end. Commands resolve [`StreamOptions`]
//! and [`SourceOptions`]; nothing here reads flags, profiles or the environment.

mod cursor;
mod debounce;
mod filter;
mod outcome;
mod overflow;
mod pipeline;
mod run;
pub(crate) mod sinks;
mod slow_reader;
pub(crate) mod source;
mod stderr_report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::json::expression::Expr;

pub use filter::{Filter, TypeGlob};
pub use outcome::EndOptions;
pub use run::Stream;
pub use sinks::hooks::HookOptions;
pub use source::SourceOptions;
pub(crate) use stderr_report::StderrReport;

/// What a stream does with the records of its source.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// Which records go to stdout and to hooks.
    pub filter: Filter,
    /// The expression that ends the stream with the first record it is true of.
    pub until: Option<Arc<Expr>>,
    /// How long a change of `online` must hold before it is written.
    pub debounce: Option<Duration>,
    /// Whether stdout gets what the service sent and nothing else.
    pub raw: bool,
    /// When the stream ends.
    pub end: EndOptions,
    /// What runs for each event.
    pub hooks: Option<HookOptions>,
    /// The file that gets the complete stream.
    pub tee: Option<PathBuf>,
    /// The file that keeps the last known state for the next run.
    pub cursor_file: Option<PathBuf>,
    /// The team whose users are watched, for the text about missing ones.
    pub team: Option<String>,
}
