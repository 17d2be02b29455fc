//! An asynchronous stream as the WebSocket library wants it: one that reads and writes at once or says that it would
//! block.
//!
//! The library's own adapter looks after two wakers for each frame, whether or not the socket is touched for it, which
//! on a busy stream costs as much as looking into the frame. Here there is one waker, since one task both reads and
//! writes, and it is looked at only when the socket is. What passes through is not known here, only when it came.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use chrono::{DateTime, Utc};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// When bytes came: by the clock that cannot be set, and by the one that people read.
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

/// The stream, and whom to wake when it is ready.
#[derive(Debug)]
pub(super) struct SyncStream<S> {
    stream: S,
    waker: Waker,
    last: Arrival,
}

impl<S> SyncStream<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            waker: Waker::noop().clone(),
            last: Arrival::now(),
        }
    }

    /// Whom to wake from here on. To be called before each attempt that may find that it would block.
    #[inline]
    pub(super) fn wakes(&mut self, cx: &Context<'_>) {
        if !self.waker.will_wake(cx.waker()) {
            self.waker.clone_from(cx.waker());
        }
    }

    /// When bytes came last. All frames in them came then, however long it takes until they are looked at.
    #[inline]
    pub(super) const fn last(&self) -> Arrival {
        self.last
    }
}

fn at_once<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin> Read for SyncStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let mut cx = Context::from_waker(&self.waker);
        at_once(Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer))?;
        self.last = Arrival::now();
        Ok(buffer.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> Write for SyncStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(&self.waker);
        at_once(Pin::new(&mut self.stream).poll_write(&mut cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(&self.waker);
        at_once(Pin::new(&mut self.stream).poll_flush(&mut cx))
    }
}
