//! The guard of `mock exec`: this program again, which kills the command's process group if `mock exec` is killed.
//!
//! The death signal of the launcher ends the command itself, but not the processes that the command has started. The
//! guard's stdin is a pipe from `mock exec`. It ends however `mock exec` ends.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// The name that a guard has as its first argument, by which it knows what it is.
const GUARD_NAME: &str = "presencectl mock exec: guard";
/// What a guard reads if it is not needed any more.
const DISMISSAL: &[u8] = b".";

/// A running guard. Dropping it kills the group.
#[derive(Debug)]
pub(super) struct GroupGuard(Child);

impl GroupGuard {
    /// Starts the guard of a process group.
    ///
    /// # Errors
    ///
    /// The process cannot be started.
    pub(super) fn start(group: Pid) -> io::Result<Self> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command
            .arg0(GUARD_NAME)
            .arg(group.as_raw_nonzero().to_string())
            // A signal that ends the group of `mock exec` must not end the guard before.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(Command::from(command).spawn()?))
    }

    /// Ends the guard. Its group is gone, and another one may get the same number.
    pub(super) async fn dismiss(mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            // An error means that the guard has ended already.
            let _ = stdin.write_all(DISMISSAL).await;
        }
        let _ = self.0.wait().await;
    }
}

/// Guards a process group if this process is a guard. Returns whether it is one.
pub fn guard(arguments: &[OsString]) -> bool {
    let [name, group] = arguments else {
        return false;
    };
    if name != GUARD_NAME {
        return false;
    }
    let group = group
        .to_str()
        .and_then(|group| group.parse().ok())
        .and_then(Pid::from_raw);
    if let Some(group) = group
        && io::stdin().read(&mut [0]).unwrap_or(0) == 0
    {
        // The processes may have ended by themselves.
        let _ = kill_process_group(group, Signal::KILL);
    }
    true
}
