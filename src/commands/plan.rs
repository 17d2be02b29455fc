//! `--dry-run`: what would be sent, as records, instead of sending it.
//!
//! Reading is done for real, since what would be changed depends on what is there. A plan holds method, path and body;
//! credentials are no part of it.

use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::exit::Failure;
use crate::output::{Column, Rows};

/// A request that is not sent.
#[derive(Debug, Serialize)]
pub struct Planned {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with its query where it has one.
    pub path: String,
    /// The body.
    pub body: Value,
}

/// Where planned requests are written.
///
/// # Errors
///
/// `--columns` names no column, or asked for the list of them.
pub fn rows(app: &App) -> Result<Rows<'_>, Failure> {
    app.output()
        .rows(&["method", "path", "body"].map(Column::plain))
}
