//! Asking before something is done that cannot be undone.
//!
//! `-y` answers in advance. Otherwise there must be a person at a terminal: without one the command ends, rather than
//! waiting for ever in a job that nobody watches.

use std::io::{self, BufRead, Write};

use crate::app::App;
use crate::exit::{Code, Failure};
use crate::text;

/// Returns when `what` may be done: an infinitive with its object, such as `delete the users john, jack`.
///
/// # Errors
///
/// The answer is no, or there is nobody to ask.
pub fn confirm(app: &App, what: &str) -> anyhow::Result<()> {
    if app.assumes_yes() || app.is_dry_run() {
        return Ok(());
    }
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !(app.terminal().stdin && app.terminal().stderr) {
        return Err(Failure::new(
            Code::Usage,
            format!("to {what} needs a confirmation, and there is no terminal to ask at"),
        )
        .hinted("say yes in advance: -y")
        .into());
    }
    write!(stderr, "presencectl: {}? [y/N] ", text::message(what))?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new(Code::Usage, "not confirmed; nothing was done").into())
    }
}
