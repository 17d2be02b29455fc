//! Handles the signals that end a run cleanly: SIGHUP, SIGINT and SIGTERM.

use std::io;

use crate::exit::Code;

/// A listener for signals, active from its creation on.
#[derive(Debug)]
pub(crate) struct Signals {
    /// `None` if SIGHUP was ignored at the start (`nohup`), so that it stays ignored.
    #[cfg(unix)]
    hang_up: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Starts listening.
    ///
    /// # Errors
    ///
    /// The system refuses the signal handler.
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // With a handler, writing beyond the limit of a file's size is an error and does not kill the process. The
        // handler stays when this listener is dropped.
        drop(signal(SignalKind::from_raw(
            rustix::process::Signal::XFSZ.as_raw(),
        ))?);
        let hang_up = if is_hang_up_ignored() {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Self {
            hang_up,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal and returns its exit code. Cancel safe.
    pub(crate) async fn next(&mut self) -> Code {
        let Self {
            hang_up,
            interrupt,
            terminate,
        } = self;
        let hung_up = async {
            match hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hung_up => Code::HungUp,
            _ = interrupt.recv() => Code::Interrupted,
            _ = terminate.recv() => Code::Terminated,
        }
    }
}

/// Whether this process ignores SIGHUP. If the system cannot tell, `true`, so that SIGHUP is left alone.
#[cfg(unix)]
fn is_hang_up_ignored() -> bool {
    const SIGHUP_BIT: u64 = 1;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return true;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask & SIGHUP_BIT != 0)
}

#[cfg(not(unix))]
impl Signals {
    /// Starts listening.
    ///
    /// # Errors
    ///
    /// Never fails on this platform.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the signature is that of platforms where this can fail"
    )]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal and returns its exit code. Cancel safe.
    pub(crate) async fn next(&mut self) -> Code {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Code::Interrupted,
            Err(_) => std::future::pending().await,
        }
    }
}
