//! An adapter from an asynchronous stream to the non-blocking `Read` and `Write` that the WebSocket library uses.
//!
//! The library's own adapter manages two wakers for each frame, even without a system call, which on a busy stream costs
//! as much as parsing the frame. This one has a single waker, because one task both reads and writes, and uses it only
//! for system calls. It also records when bytes arrived.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use chrono::{DateTime, Utc};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// When bytes arrived, by the monotonic clock and by the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) instant: Instant,
    pub(super) at: DateTime<Utc>,
}

impl Arrival {
    pub(super) fn now() -> Self {
        Self {
            instant: Instant::now(),
            at: Utc::now(),
        }
    }
}

/// The stream, and the waker for when it is ready.
#[derive(Debug)]
pub(super) struct SyncStream<S> {
    stream: S,
    waker: Waker,
    last_arrival: Arrival,
}

impl<S> SyncStream<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            waker: Waker::noop().clone(),
            last_arrival: Arrival::now(),
        }
    }

    /// Sets the task to wake. Call this before each operation that may return `WouldBlock`.
    #[inline]
    pub(super) fn set_waker(&mut self, cx: &Context<'_>) {
        if !self.waker.will_wake(cx.waker()) {
            self.waker.clone_from(cx.waker());
        }
    }

    /// When the last bytes arrived. All frames in them arrived then, even if they are parsed later.
    #[inline]
    pub(super) const fn last_arrival(&self) -> Arrival {
        self.last_arrival
    }
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin> Read for SyncStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let mut cx = Context::from_waker(&self.waker);
        or_would_block(Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer))?;
        self.last_arrival = Arrival::now();
        Ok(buffer.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> Write for SyncStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(&self.waker);
        or_would_block(Pin::new(&mut self.stream).poll_write(&mut cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(&self.waker);
        or_would_block(Pin::new(&mut self.stream).poll_flush(&mut cx))
    }
}
