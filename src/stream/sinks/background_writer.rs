//! A writer that never blocks its caller: a thread writes what is handed over, and may block.
//!
//! The caller checks [`WriterStatus::buffered_bytes`] and holds back when it grows.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::Notify;

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

/// The writing end. Dropping it ends the thread once everything is written.
#[derive(Debug)]
pub(crate) struct BackgroundWriter(Arc<Shared>);

impl BackgroundWriter {
    /// Starts the thread, which writes with `write`.
    ///
    /// # Errors
    ///
    /// The system does not allow another thread.
    pub(crate) fn start(
        name: &str,
        write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        // It may be blocked by a reader when the program ends; nobody joins it.
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || drain(&for_thread, write))?;
        Ok(Self(shared))
    }

    /// The state, for callers that must apply backpressure or stop.
    pub(crate) fn status(&self) -> WriterStatus {
        WriterStatus(Arc::clone(&self.0))
    }

    /// Whether everything is written that was handed over.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub(crate) fn is_idle(&self) -> io::Result<bool> {
        let state = self.0.lock();
        match state.failed {
            Some(kind) => Err(kind.into()),
            None => Ok(state.pending.is_empty() && state.writing == 0),
        }
    }

    /// Checks that writing has not failed.
    ///
    /// # Errors
    ///
    /// It has.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.is_idle().map(drop)
    }

    /// Hands over bytes, and leaves an empty buffer.
    pub(crate) fn push(&self, bytes: &mut Vec<u8>) {
        let mut state = self.0.lock();
        self.0
            .buffered_bytes
            .fetch_add(bytes.len(), Ordering::Relaxed);
        if state.pending.is_empty() {
            std::mem::swap(&mut state.pending, bytes);
        } else {
            state.pending.append(bytes);
        }
        drop(state);
        self.0.work.notify_one();
    }
}

impl Drop for BackgroundWriter {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_one();
    }
}

/// The state of the writer, for callers that must apply backpressure or stop.
#[derive(Debug, Clone)]
pub(crate) struct WriterStatus(Arc<Shared>);

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

    /// Returns when nobody reads any more; never for a file. Cancel safe.
    pub(crate) async fn hung_up(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.lock().failed == Some(io::ErrorKind::BrokenPipe) {
                return;
            }
            changed.await;
        }
    }

    /// Returns when writing has failed. Cancel safe.
    pub(crate) async fn failed(&self) -> io::ErrorKind {
        loop {
            let changed = self.0.changed.notified();
            let failed = self.0.lock().failed;
            match failed {
                Some(kind) => return kind,
                None => changed.await,
            }
        }
    }

    /// Records from outside that writing is useless.
    pub(crate) fn fail(&self, kind: io::ErrorKind) {
        self.0.lock().failed = Some(kind);
        self.0.changed.notify_waiters();
        self.0.work.notify_one();
    }
}

fn drain(shared: &Shared, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
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
            write(part)?;
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
