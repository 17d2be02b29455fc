//! A stream of records: followed, filtered, debounced, and written to stdout, to a file and to hooks.

mod cursor;
mod debounce;
mod filter;
mod overflow;
mod pipeline;
mod run;
pub(crate) mod sinks;
mod slow_reader;
mod stderr_report;

pub use filter::Glob;
pub use run::follow;
pub(crate) use run::observer;
pub(crate) use stderr_report::{LinkWas, remark};
