//! The launcher of `mock exec`: this program again, for a moment, in the process that becomes the command.
//!
//! Linux kills a process when its parent dies if the process itself asks for that, and keeps the wish across `exec`. So
//! the launcher asks and then replaces itself by the command. Elsewhere than on Unix a process cannot replace itself, and
//! the command is spawned directly.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Command;

use crate::exit::{Code, Failure};
use crate::settings::App;

/// The name that a launcher has as its first argument, by which it knows what it is.
#[cfg(unix)]
const LAUNCHER_NAME: &str = "presencectl mock exec: launcher";
/// How the launcher reports that the command cannot be run.
#[cfg(unix)]
const REPORT_AS_JSON: &str = "json";
#[cfg(unix)]
const REPORT_AS_TEXT: &str = "text";

/// The launcher of a command, to be spawned.
///
/// # Errors
///
/// The system does not tell where this program is.
#[cfg(unix)]
pub(super) fn command(app: &App, words: &[OsString]) -> anyhow::Result<Command> {
    use std::os::unix::process::CommandExt;

    use anyhow::Context;
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

/// The command itself.
///
/// # Errors
///
/// There are no words.
#[cfg(not(unix))]
pub(super) fn command(_: &App, words: &[OsString]) -> anyhow::Result<Command> {
    let [program, rest @ ..] = words else {
        anyhow::bail!("no command was given");
    };
    let mut command = Command::new(program);
    command.args(rest);
    Ok(command)
}

/// Why nothing could be spawned. On Unix that is the launcher, which reports a wrong command itself.
pub(super) fn spawn_error(words: &[OsString], error: &io::Error) -> anyhow::Error {
    if cfg!(unix) {
        return anyhow::anyhow!("cannot start a process: {error}");
    }
    cannot_run(
        words.first().map_or(OsStr::new(""), OsString::as_os_str),
        error,
    )
    .into()
}

/// Why a command does not run.
fn cannot_run(program: &OsStr, error: &io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::NotFound {
        Code::CommandNotFound
    } else {
        Code::CannotRun
    };
    Failure::new(code, format!("cannot run {}: {error}", program.display()))
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
#[cfg(unix)]
pub fn launch(arguments: &[OsString]) -> Option<LaunchError> {
    use std::os::unix::process::CommandExt;
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
    Some(LaunchError {
        error: cannot_run(program, &error).into(),
        as_json,
    })
}

/// `None`: this system has no launchers.
#[cfg(not(unix))]
pub const fn launch(_: &[OsString]) -> Option<LaunchError> {
    None
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

#[cfg(all(unix, not(target_os = "linux")))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of the system that can fail"
)]
fn die_with_parent(_parent: &OsStr) -> io::Result<()> {
    Ok(())
}
