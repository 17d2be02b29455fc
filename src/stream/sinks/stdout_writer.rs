//! stdout for a stream: writing never blocks, and a reader who leaves is noticed even while nothing is written.
//!
//! The socket must be read and pinged whether or not somebody reads our output, and a signal must end the program while
//! the pipe is full. So what cannot be written at once goes to a thread that may block. A file never blocks, so it is
//! written directly. The caller checks [`WriterStatus::buffered_bytes`] and holds back when it grows.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::Notify;

use crate::output::LineSink;

/// How many bytes are collected before they go to the thread. Waking it is expensive.
const THREAD_BATCH_BYTES: usize = 256 * 1024;
/// How many bytes are collected before they are written to a file.
const FILE_BATCH_BYTES: usize = 64 * 1024;
/// How many bytes a writable pipe takes without blocking: `PIPE_BUF`.
const PIPE_ATOMIC_BYTES: usize = 4096;
/// How many bytes the thread writes before it reports progress: the size of a pipe, so that a slow reader is seen to
/// move.
const PROGRESS_BYTES: usize = 64 * 1024;
/// The largest buffer that is kept for later lines.
const KEPT_CAPACITY_BYTES: usize = 512 * 1024;

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// Bytes that were handed over and are not written yet. Readable without the lock.
    buffered_bytes: AtomicUsize,
    /// Something was written, or writing failed: wakes everybody who waits at that moment.
    changed: Notify,
    /// The same for one waiter. The notification is kept until they look.
    progress: Notify,
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

/// The writing end.
#[derive(Debug)]
pub(crate) struct StdoutWriter {
    shared: Arc<Shared>,
    /// Whether the system says that a write will not block.
    can_poll: bool,
    /// Whether stdout is a file, for which no write waits.
    is_file: bool,
}

/// The state of the writer, for those who must hold back or end.
#[derive(Debug, Clone)]
pub(crate) struct WriterStatus(Arc<Shared>);

/// Opens stdout.
pub(crate) fn open() -> io::Result<(StdoutWriter, WriterStatus)> {
    let shared = Arc::new(Shared::default());
    // The threads may be blocked by a reader when the program ends; nobody joins them.
    let (for_writer, for_hang_up) = (Arc::clone(&shared), Arc::clone(&shared));
    thread::Builder::new()
        .name("stdout".to_owned())
        .spawn(move || drain(&for_writer))?;
    thread::Builder::new()
        .name("hang-up".to_owned())
        .spawn(move || wait_for_hang_up(&for_hang_up))?;
    let writer = StdoutWriter {
        shared: Arc::clone(&shared),
        can_poll: cfg!(unix),
        is_file: is_file(),
    };
    Ok((writer, WriterStatus(shared)))
}

impl LineSink for StdoutWriter {
    fn write_lines(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
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
        // Waking the thread costs more than writing a line, so what is certain to fit is written here.
        if idle && self.can_poll && lines.len() <= PIPE_ATOMIC_BYTES && is_writable() {
            write_out(lines)?;
            lines.clear();
            return Ok(());
        }
        self.shared
            .buffered_bytes
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

    fn batch_bytes(&self) -> usize {
        if self.is_file {
            FILE_BATCH_BYTES
        } else {
            THREAD_BATCH_BYTES
        }
    }
}

impl Drop for StdoutWriter {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

impl WriterStatus {
    /// How many bytes wait for the reader.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.0.buffered_bytes.load(Ordering::Relaxed)
    }

    /// Waits until the reader has taken something, or has left. Cancel safe.
    pub(crate) async fn progress(&self) {
        self.0.progress.notified().await;
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

    /// Returns when nobody reads stdout any more; never for a file. Cancel safe.
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
        // The memory of one burst is not kept for ever.
        if batch.capacity() > KEPT_CAPACITY_BYTES {
            batch = Vec::new();
        }
        std::mem::swap(&mut batch, &mut state.pending);
        state.writing = batch.len();
        drop(state);
        let written = batch.chunks(PROGRESS_BYTES).try_for_each(|part| {
            write_out(part)?;
            shared
                .buffered_bytes
                .fetch_sub(part.len(), Ordering::Relaxed);
            shared.progress.notify_one();
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
            shared.progress.notify_one();
            return;
        }
    }
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Whether stdout is a file, or a device such as `/dev/null`, for which no write waits.
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

/// Whether stdout takes [`PIPE_ATOMIC_BYTES`] now without blocking.
#[cfg(unix)]
fn is_writable() -> bool {
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
fn is_writable() -> bool {
    false
}

/// Blocks until the other end of stdout is closed. A file has no other end.
#[cfg(unix)]
fn wait_for_hang_up(shared: &Shared) {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdout = io::stdout();
    loop {
        // With no events requested, the system reports only errors and hang-ups.
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
