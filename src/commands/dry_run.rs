//! `--dry-run`: prints the requests that would change something, instead of sending them.
//!
//! Requests that only read are sent, because what would change depends on the current state.

use crate::api::Request;
use crate::output::{Column, Rows};
use crate::settings::App;

/// A writer for requests that are not sent.
///
/// # Errors
///
/// `--columns` names an unknown column, or is `list`.
pub fn rows(app: &App) -> anyhow::Result<Rows<'_>> {
    app.output()
        .rows(&["method", "path", "endpoint", "body"].map(Column::plain))
}

/// Prints requests.
///
/// # Errors
///
/// As [`rows`]; also, the output cannot be written.
pub fn print(app: &App, requests: impl IntoIterator<Item = Request>) -> anyhow::Result<()> {
    let mut rows = rows(app)?;
    for request in requests {
        rows.push(&request)?;
    }
    rows.finish()
}

/// Prints a request of a command that makes exactly one: `-o json` prints an object instead of an array.
///
/// # Errors
///
/// As [`print()`].
pub fn print_one(app: &App, request: &Request) -> anyhow::Result<()> {
    let mut rows = rows(app)?.one();
    rows.push(request)?;
    rows.finish()
}
