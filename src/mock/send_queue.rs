//! The send queue of one connection: frames in order, with a limited size, taken in batches.
//!
//! A slow reader must not delay others or fill the memory. So pushing never waits. When the queue is full, it says so,
//! and the connection is closed with a reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::api_version::ApiVersion;
use super::faults::SocketFault;

/// The limits of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    /// The number of frames.
    pub(crate) frames: usize,
    /// The number of bytes of all frames.
    pub(crate) bytes: usize,
}

/// How a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloseReason {
    /// A WebSocket close code.
    pub(crate) code: u16,
    /// The reason in the close frame.
    pub(crate) reason: Arc<str>,
}

/// The close code for a normal end, after which clients do not reconnect.
pub(crate) const CLOSE_NORMAL: u16 = 1000;
/// The close code that stands for no close frame, because the transport is gone.
pub(crate) const CLOSE_ABNORMAL: u16 = 1006;

/// The result of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// The reader is already woken.
    Queued,
    /// The caller must wake the reader.
    Wake,
    /// The queue is full; the frame is dropped.
    Full,
    /// The connection has ended; the frame is dropped.
    Ended,
}

/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct SendQueue {
    queue: Mutex<QueueState>,
    bounds: QueueLimits,
    /// The dialect of the frames.
    pub(crate) version: ApiVersion,
    wake: Notify,
    ended: Notify,
    next_fault: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    frames: Vec<Bytes>,
    bytes: usize,
    farewell: Option<CloseReason>,
    /// Whether undelivered frames are dropped.
    at_once: bool,
    faults: Vec<SocketFault>,
}

impl SendQueue {
    pub(crate) fn new(bounds: QueueLimits, version: ApiVersion) -> Self {
        Self {
            queue: Mutex::default(),
            bounds,
            version,
            wake: Notify::new(),
            ended: Notify::new(),
            next_fault: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, QueueState> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame. [`PushOutcome::Wake`] leaves waking to the caller, who may hold a lock now.
    pub(crate) fn push(&self, frame: Bytes) -> PushOutcome {
        let mut queue = self.queue();
        if queue.farewell.is_some() {
            return PushOutcome::Ended;
        }
        if queue.frames.len() >= self.bounds.frames || queue.bytes + frame.len() > self.bounds.bytes
        {
            return PushOutcome::Full;
        }
        queue.bytes += frame.len();
        queue.frames.push(frame);
        if queue.frames.len() == 1 {
            PushOutcome::Wake
        } else {
            PushOutcome::Queued
        }
    }

    /// Ends the queue. Queued frames are still delivered, unless `now` is set because nobody reads them.
    pub(crate) fn end(&self, farewell: CloseReason, now: bool) {
        let mut queue = self.queue();
        if now {
            queue.frames = Vec::new();
            queue.bytes = 0;
            queue.at_once = true;
        }
        queue.farewell.get_or_insert(farewell);
    }

    /// Wakes the reader.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
        if self.queue().farewell.is_some() {
            self.ended.notify_waiters();
        }
    }

    /// Waits for frames or the end, and takes all frames. Loses nothing if it is dropped while waiting.
    pub(crate) async fn take(&self, frames: &mut Vec<Bytes>) -> Option<CloseReason> {
        loop {
            {
                let mut queue = self.queue();
                if !queue.frames.is_empty() || queue.farewell.is_some() {
                    queue.bytes = 0;
                    frames.append(&mut queue.frames);
                    if queue.frames.capacity() > 64 {
                        queue.frames = Vec::new();
                    }
                    return queue.farewell.clone();
                }
            }
            self.wake.notified().await;
        }
    }

    /// Takes the first frame, if there is one.
    pub(crate) fn take_first(&self, frames: &mut Vec<Bytes>) {
        let mut queue = self.queue();
        if !queue.frames.is_empty() {
            let first = queue.frames.remove(0);
            queue.bytes -= first.len();
            frames.push(first);
        }
    }

    /// Applies a fault to the connection, ahead of the queued frames.
    pub(crate) fn inject_fault(&self, fault: SocketFault) {
        self.queue().faults.push(fault);
        self.next_fault.notify_one();
    }

    /// Waits for a fault. Loses nothing if it is dropped while waiting.
    pub(crate) async fn next_fault(&self) -> SocketFault {
        loop {
            let next_fault = {
                let mut queue = self.queue();
                (!queue.faults.is_empty()).then(|| queue.faults.remove(0))
            };
            match next_fault {
                Some(fault) => return fault,
                None => self.next_fault.notified().await,
            }
        }
    }

    /// Whether the queue has ended and undelivered frames are dropped.
    pub(crate) fn is_ended_now(&self) -> bool {
        self.queue().at_once
    }

    /// Waits for the end, for a writer that is blocked.
    pub(crate) async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.queue().farewell.is_some() {
                return;
            }
            ended.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send_queue(frames: usize, bytes: usize) -> SendQueue {
        SendQueue::new(QueueLimits { frames, bytes }, ApiVersion::V1)
    }

    #[tokio::test]
    async fn frames_come_in_order_and_in_batches() {
        let send_queue = send_queue(10, 100);
        assert_eq!(send_queue.push("a".into()), PushOutcome::Wake);
        assert_eq!(send_queue.push("b".into()), PushOutcome::Queued);
        let mut frames = Vec::new();
        assert_eq!(send_queue.take(&mut frames).await, None);
        assert_eq!(frames, ["a", "b"]);
        assert_eq!(send_queue.push("c".into()), PushOutcome::Wake);
    }

    #[tokio::test]
    async fn both_bounds_hold_and_taking_makes_room() {
        let send_queue = send_queue(2, 5);
        assert_eq!(send_queue.push("123".into()), PushOutcome::Wake);
        assert_eq!(send_queue.push("456".into()), PushOutcome::Full);
        assert_eq!(send_queue.push("45".into()), PushOutcome::Queued);
        assert_eq!(send_queue.push("".into()), PushOutcome::Full);
        send_queue.take(&mut Vec::new()).await;
        assert_eq!(send_queue.push("12345".into()), PushOutcome::Wake);
    }

    #[tokio::test]
    async fn the_end_comes_after_the_frames() {
        let send_queue = send_queue(10, 100);
        let farewell = CloseReason {
            code: 1001,
            reason: "bye".into(),
        };
        send_queue.push("last".into());
        send_queue.end(farewell.clone(), false);
        assert_eq!(send_queue.push("late".into()), PushOutcome::Ended);
        send_queue.ended().await;
        let mut frames = Vec::new();
        assert_eq!(send_queue.take(&mut frames).await, Some(farewell));
        assert_eq!(frames, ["last"]);
    }
}
