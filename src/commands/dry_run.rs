//! `--dry-run`: prints the requests that would change something, instead of sending them.
//!
//! Requests that only read are sent, because what would change depends on the current state.

use crate::api::Request;
use crate::app::App;
use crate::output::{Column, Rows};

/// Where requests that are not sent are written.
///
/// # Errors
///
/// `--columns` names a column that does not exist, or asked for the list of columns.
pub fn rows(app: &App) -> anyhow::Result<Rows<'_>> {
    app.output()
        .rows(&["method", "path", "endpoint", "body"].map(Column::plain))
}

/// Prints requests.
///
/// # Errors
///
/// As [`rows`], or writing fails.
pub fn print(app: &App, requests: impl IntoIterator<Item = Request>) -> anyhow::Result<()> {
    let mut rows = rows(app)?;
    for request in requests {
        rows.push(&request)?;
    }
    rows.finish()
}

/// Prints a request that is the only one there can be: `-o json` shows an object and not an array.
///
/// # Errors
///
/// As [`print`].
pub fn print_one(app: &App, request: &Request) -> anyhow::Result<()> {
    let mut rows = rows(app)?.one();
    rows.push(request)?;
    rows.finish()
}
