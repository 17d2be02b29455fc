//! stdout for a stream: writing never blocks, and a reader who leaves is noticed even when nothing is written.
//!
//! A socket must be read and pinged whether or not somebody reads our output, and a signal must end the program in the
//! middle of a full pipe. So what cannot be written at once goes to a thread that may block; a file takes what it is
//! given, and is written here. Whoever writes looks at [`Gauge::waiting`] and holds back when it grows.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::Notify;

use crate::output::TakesLines;

/// How much is gathered before it is handed to the other thread, which takes waking it.
const A_HOP: usize = 256 * 1024;
/// How much is gathered before it is written here.
const A_WRITE: usize = 64 * 1024;
/// The most that a writable pipe is certain to take without blocking.
const AT_ONCE: usize = 4096;
/// How much is written before it counts as taken: what a pipe holds, so that a slow reader is seen to move.
const A_PART: usize = 64 * 1024;
/// How much room is kept for the next lines.
const KEPT: usize = 512 * 1024;

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// Bytes that were handed over and are not written, to be looked at without the lock.
    waiting: AtomicUsize,
    /// Something was written out, or failed: wakes everybody who waits just then.
    changed: Notify,
    /// The same for the one who is behind: remembered until he looks.
    moved: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Bytes that the thread is writing now.
    writing: usize,
    failed: Option<io::ErrorKind>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that is written to.
#[derive(Debug)]
pub(crate) struct Outlet {
    shared: Arc<Shared>,
    /// Whether a write can be known not to block.
    can_tell: bool,
    /// Whether no write waits for a reader, because there is none.
    is_file: bool,
}

/// The end that tells what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct Gauge(Arc<Shared>);

/// Opens stdout.
pub(crate) fn open() -> io::Result<(Outlet, Gauge)> {
    let shared = Arc::new(Shared::default());
    // The threads may be blocked by a reader when the program ends; nobody joins them.
    let (writer, waiter) = (Arc::clone(&shared), Arc::clone(&shared));
    thread::Builder::new()
        .name("stdout".to_owned())
        .spawn(move || drain(&writer))?;
    thread::Builder::new()
        .name("hang-up".to_owned())
        .spawn(move || wait_for_hang_up(&waiter))?;
    let outlet = Outlet {
        shared: Arc::clone(&shared),
        can_tell: cfg!(unix),
        is_file: is_file(),
    };
    Ok((outlet, Gauge(shared)))
}

impl TakesLines for Outlet {
    fn take(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        if self.is_file {
            write_out(lines)?;
            lines.clear();
            return Ok(());
        }
        let mut state = self.shared.lock();
        if let Some(kind) = state.failed {
            return Err(kind.into());
        }
        let idle = state.pending.is_empty() && state.writing == 0;
        // A hop to the other thread costs more than a line: what is certain to fit is written here.
        if idle && self.can_tell && lines.len() <= AT_ONCE && takes_a_line() {
            write_out(lines)?;
            lines.clear();
            return Ok(());
        }
        self.shared
            .waiting
            .fetch_add(lines.len(), Ordering::Relaxed);
        if state.pending.is_empty() {
            std::mem::swap(&mut state.pending, lines);
        } else {
            state.pending.append(lines);
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    fn enough(&self) -> usize {
        if self.is_file { A_WRITE } else { A_HOP }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

impl Gauge {
    /// How many bytes wait for the reader.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Waits until the reader has taken something, or has left. Safe to drop and call again.
    pub(crate) async fn moved(&self) {
        self.0.moved.notified().await;
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub(crate) async fn drained(&self) -> io::Result<()> {
        loop {
            let changed = self.0.changed.notified();
            {
                let state = self.0.lock();
                if let Some(kind) = state.failed {
                    return Err(kind.into());
                }
                if state.pending.is_empty() && state.writing == 0 {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Ends when nobody reads stdout any more. Never for a file. Safe to drop and call again.
    pub(crate) async fn hung_up(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.lock().failed == Some(io::ErrorKind::BrokenPipe) {
                return;
            }
            changed.await;
        }
    }
}

fn drain(shared: &Shared) {
    let mut batch = Vec::new();
    loop {
        let mut state = shared.lock();
        while state.pending.is_empty() && !state.closed && state.failed.is_none() {
            state = shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.pending.is_empty() || state.failed.is_some() {
            return;
        }
        batch.clear();
        // What one burst needed is not kept for ever.
        if batch.capacity() > KEPT {
            batch = Vec::new();
        }
        std::mem::swap(&mut batch, &mut state.pending);
        state.writing = batch.len();
        drop(state);
        let written = batch.chunks(A_PART).try_for_each(|part| {
            write_out(part)?;
            shared.waiting.fetch_sub(part.len(), Ordering::Relaxed);
            shared.moved.notify_one();
            Ok::<_, io::Error>(())
        });
        let mut state = shared.lock();
        state.writing = 0;
        if let Err(error) = written {
            state.failed = Some(error.kind());
            state.pending = Vec::new();
        }
        let failed = state.failed.is_some();
        drop(state);
        shared.changed.notify_waiters();
        if failed {
            shared.moved.notify_one();
            return;
        }
    }
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Whether stdout is a file, or something like `/dev/null`, that takes what it is given.
#[cfg(unix)]
fn is_file() -> bool {
    use std::fs::File;
    use std::io::IsTerminal;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return false;
    }
    let metadata = stdout
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stdout| File::from(stdout).metadata());
    metadata.is_ok_and(|metadata| {
        let kind = metadata.file_type();
        kind.is_file() || kind.is_char_device()
    })
}

#[cfg(not(unix))]
fn is_file() -> bool {
    false
}

/// Whether stdout takes a line now without blocking.
#[cfg(unix)]
fn takes_a_line() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(not(unix))]
fn takes_a_line() -> bool {
    false
}

/// Waits, for as long as it takes, until the other end of stdout is closed. A file has no such end.
#[cfg(unix)]
fn wait_for_hang_up(shared: &Shared) {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdout = io::stdout();
    loop {
        // Errors and hang-ups are told without being asked for, and nothing else is.
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().is_empty() => {}
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
    shared.lock().failed = Some(io::ErrorKind::BrokenPipe);
    shared.changed.notify_waiters();
    shared.work.notify_one();
}

#[cfg(not(unix))]
fn wait_for_hang_up(_: &Shared) {}
