//! The launcher of `mock exec`: this program again, for a moment, in the process that becomes the command.
//!
//! Linux kills a process when its parent dies if the process itself asks for that, and keeps the wish across `exec`. So
//! the launcher asks and then replaces itself by the command.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

use crate::exit::{Code, Failure};
use crate::settings::App;

/// The name that a launcher has as its first argument, by which it knows what it is.
const LAUNCHER_NAME: &str = "presencectl mock exec: launcher";
/// How the launcher reports that the command cannot be run.
const REPORT_AS_JSON: &str = "json";
const REPORT_AS_TEXT: &str = "text";

/// The launcher of a command, to be spawned.
///
/// # Errors
///
/// The system does not tell where this program is.
pub(super) fn command(app: &App, words: &[OsString]) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command
        .arg0(LAUNCHER_NAME)
        .arg(std::process::id().to_string())
        .arg(if app.output().settings().explicit_machine {
            REPORT_AS_JSON
        } else {
            REPORT_AS_TEXT
        })
        .args(words);
    Ok(command)
}

/// What went wrong in a launcher.
#[derive(Debug)]
pub struct LaunchError {
    /// Why the command cannot be run.
    pub error: anyhow::Error,
    /// Whether to report it as JSON.
    pub as_json: bool,
}

/// Replaces this process by the command if it is a launcher, and returns only if that fails. `None` if it is none.
pub fn launch(arguments: &[OsString]) -> Option<LaunchError> {
    let [name, parent, report, program, rest @ ..] = arguments else {
        return None;
    };
    if name != LAUNCHER_NAME {
        return None;
    }
    let as_json = report == REPORT_AS_JSON;
    let error = match die_with_parent(parent) {
        Ok(()) => Command::new(program).args(rest).exec(),
        Err(error) => error,
    };
    let code = if error.kind() == io::ErrorKind::NotFound {
        Code::CommandNotFound
    } else {
        Code::CannotRun
    };
    let failure = Failure::new(code, format!("cannot run {}: {error}", program.display()));
    Some(LaunchError {
        error: failure.into(),
        as_json,
    })
}

#[cfg(target_os = "linux")]
fn die_with_parent(parent: &OsStr) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the wish was heard.
    let living = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if living.as_deref().map(OsStr::new) != Some(parent) {
        return Err(io::Error::other("`presencectl mock exec` has ended"));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of the system that can fail"
)]
fn die_with_parent(_parent: &OsStr) -> io::Result<()> {
    Ok(())
}
