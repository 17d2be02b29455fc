//! Confirmation of changes that cannot be undone.
//!
//! `-y` skips the question. Without `-y` and without a terminal the command fails, because a job would wait for an
//! answer for ever.

use std::io::{self, BufRead, Write};

use crate::escape;
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Asks for confirmation of `what`, an infinitive with its object such as `delete john, jack`. Returns if the answer is
/// yes.
///
/// # Errors
///
/// The answer is no, or no terminal is available to ask.
pub fn confirm(app: &App, what: &str) -> anyhow::Result<()> {
    if app.assumes_yes() || app.is_dry_run() {
        return Ok(());
    }
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !(app.terminal().stdin && app.terminal().stderr) {
        return Err(Failure::new(
            Code::Usage,
            format!("cannot {what} without confirmation: stdin is not a terminal"),
        )
        .hinted("confirm with -y")
        .into());
    }
    write!(stderr, "presencectl: {}? [y/N] ", escape::message(what))?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new(Code::Usage, "not confirmed; nothing was changed").into())
    }
}
