//! The command of `mock exec` as a process: its group, the signals that it gets, and its exit code.
//!
//! Elsewhere than on Unix there are no process groups and no signals to forward. Ctrl-C reaches every process of a
//! console by itself, and processes that the command leaves behind go on.

use std::io;
use std::process::ExitStatus;

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

#[cfg(unix)]
use super::group_guard::GroupGuard;
use crate::exit::Code;

/// The running command.
#[derive(Debug)]
pub(super) struct ChildProcess {
    #[cfg(unix)]
    pid: Option<Pid>,
    #[cfg(unix)]
    has_own_group: bool,
    #[cfg(unix)]
    guard: Option<GroupGuard>,
}

#[cfg(unix)]
impl ChildProcess {
    /// Spawns the command, in a process group of its own if asked for.
    pub(super) fn spawn(command: &mut Command, has_own_group: bool) -> io::Result<(Child, Self)> {
        if has_own_group {
            command.process_group(0);
        }
        let child = command.spawn()?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let process = Self {
            pid,
            has_own_group,
            guard: None,
        };
        Ok((child, process))
    }

    /// Has the command's own group killed if this process is killed.
    pub(super) fn guard_group(&mut self) -> io::Result<()> {
        self.guard = self
            .pid
            .filter(|_| self.has_own_group)
            .map(GroupGuard::start)
            .transpose()?;
        Ok(())
    }

    /// Sends the signal that an exit code stands for to the command's group, or to the command where it shares ours.
    pub(super) fn forward(&self, code: Code) -> io::Result<()> {
        let Some(pid) = self.pid else { return Ok(()) };
        let signal = match code {
            Code::HungUp => Signal::HUP,
            Code::Interrupted => Signal::INT,
            _ => Signal::TERM,
        };
        if self.has_own_group {
            return ignore_missing(kill_process_group(pid, signal));
        }
        // Ctrl-C reaches every process of the terminal's foreground group. A second SIGINT would make many programs give
        // up without cleaning up.
        if signal == Signal::INT && is_in_foreground() {
            return Ok(());
        }
        ignore_missing(kill_process(pid, signal))
    }

    /// Kills what is left of the command's own group.
    pub(super) async fn kill_group(self) -> io::Result<()> {
        if let Some(group) = self.pid.filter(|_| self.has_own_group) {
            ignore_missing(kill_process_group(group, Signal::KILL))?;
        }
        if let Some(guard) = self.guard {
            guard.dismiss().await;
        }
        Ok(())
    }
}

#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    clippy::unused_async,
    clippy::unused_self,
    reason = "the signatures of systems with process groups"
)]
impl ChildProcess {
    /// Spawns the command.
    pub(super) fn spawn(command: &mut Command, _: bool) -> io::Result<(Child, Self)> {
        Ok((command.spawn()?, Self {}))
    }

    /// Does nothing: there are no signals to forward.
    pub(super) fn forward(&self, _: Code) -> io::Result<()> {
        Ok(())
    }

    /// Does nothing: there are no process groups.
    pub(super) fn guard_group(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Does nothing: there are no process groups.
    pub(super) async fn kill_group(self) -> io::Result<()> {
        Ok(())
    }
}

/// The exit code as a shell reports it: a signal is 128 and its number.
#[cfg(unix)]
pub(super) fn exit_code(status: ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
}

/// The exit code.
#[cfg(not(unix))]
pub(super) fn exit_code(status: ExitStatus) -> Option<i32> {
    status.code()
}

#[cfg(unix)]
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stdin())
        .is_ok_and(|foreground| foreground == rustix::process::getpgrp())
}

/// Ignores a missing process: it has ended meanwhile and needs no signal.
#[cfg(unix)]
fn ignore_missing(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}
