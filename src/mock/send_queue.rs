//! The send queue of one connection: frames in order, with a limited size, taken in batches.
//!
//! A slow reader must not delay others or fill the memory. So pushing never waits. When the queue is full, it says so,
//! and the connection is closed with a reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::api_version::ApiVersion;
use super::encoded_frame::{EncodedFrame, FrameBatch};
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

/// Which events wake the reader of a queue. Faults always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueInterest {
    /// New frames and the end of the connection.
    Frames,
    /// Only the end of the connection: the reader takes no frames now.
    End,
    /// Only faults: the reader already knows that the connection has ended.
    Faults,
}

/// What a reader receives from a queue.
#[derive(Debug)]
pub(crate) enum QueueEvent {
    /// All frames were taken. With a reason, they are the last ones.
    Taken(Option<CloseReason>),
    /// A fault applies to the connection.
    Fault(SocketFault),
}

/// The queue of one connection. It has one reader at a time, but several may wait for its end.
#[derive(Debug)]
pub(crate) struct SendQueue {
    queue: Mutex<QueueState>,
    bounds: QueueLimits,
    /// The dialect of the frames.
    pub(crate) version: ApiVersion,
    /// Wakes the reader, whatever it waits for.
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    frames: FrameBatch,
    bytes: usize,
    farewell: Option<CloseReason>,
    /// Whether undelivered frames are dropped.
    at_once: bool,
    faults: Vec<SocketFault>,
}

impl QueueState {
    fn take(&mut self, frames: &mut FrameBatch) -> Option<CloseReason> {
        self.bytes = 0;
        frames.append(&mut self.frames);
        self.farewell.clone()
    }
}

impl SendQueue {
    pub(crate) fn new(bounds: QueueLimits, version: ApiVersion) -> Self {
        Self {
            queue: Mutex::default(),
            bounds,
            version,
            changed: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, QueueState> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame. [`PushOutcome::Wake`] leaves waking to the caller, who may hold a lock now.
    pub(crate) fn push(&self, frame: Arc<EncodedFrame>) -> PushOutcome {
        let length = frame.text().len();
        let mut queue = self.queue();
        if queue.farewell.is_some() {
            return PushOutcome::Ended;
        }
        if queue.frames.len() >= self.bounds.frames || queue.bytes + length > self.bounds.bytes {
            return PushOutcome::Full;
        }
        queue.bytes += length;
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
            queue.frames.clear();
            queue.bytes = 0;
            queue.at_once = true;
        }
        queue.farewell.get_or_insert(farewell);
    }

    /// Wakes the reader. The end wakes all of them: two long polls may have named the same connection.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
        if self.queue().farewell.is_some() {
            self.changed.notify_waiters();
        }
    }

    /// Applies a fault to the connection, ahead of the queued frames.
    pub(crate) fn inject_fault(&self, fault: SocketFault) {
        self.queue().faults.push(fault);
        self.wake();
    }

    /// Waits until `look` finds something. Loses nothing if it is dropped while waiting.
    async fn wait_for<R>(&self, mut look: impl FnMut(&mut QueueState) -> Option<R>) -> R {
        loop {
            // Created before the look, so that an end in between is not missed.
            let changed = self.changed.notified();
            let found = look(&mut self.queue());
            match found {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }

    /// Waits for what the reader is interested in, and for faults, which come first.
    pub(crate) async fn next(
        &self,
        interest: QueueInterest,
        frames: &mut FrameBatch,
    ) -> QueueEvent {
        self.wait_for(|queue| {
            if !queue.faults.is_empty() {
                return Some(QueueEvent::Fault(queue.faults.remove(0)));
            }
            let is_due = match interest {
                QueueInterest::Frames => !queue.frames.is_empty() || queue.farewell.is_some(),
                QueueInterest::End => queue.farewell.is_some(),
                QueueInterest::Faults => false,
            };
            is_due.then(|| QueueEvent::Taken(queue.take(frames)))
        })
        .await
    }

    /// Waits for frames or the end, and takes all frames.
    pub(crate) async fn take(&self, frames: &mut FrameBatch) -> Option<CloseReason> {
        self.wait_for(|queue| {
            let is_due = !queue.frames.is_empty() || queue.farewell.is_some();
            is_due.then(|| queue.take(frames))
        })
        .await
    }

    /// Takes the first frame, if there is one.
    pub(crate) fn take_first(&self) -> Option<Arc<EncodedFrame>> {
        let mut queue = self.queue();
        let first = queue.frames.pop()?;
        queue.bytes -= first.text().len();
        Some(first)
    }

    /// Whether the queue has ended and undelivered frames are dropped.
    pub(crate) fn is_ended_now(&self) -> bool {
        self.queue().at_once
    }

    /// Waits for the end, for a writer that is blocked. The end may be known already.
    pub(crate) async fn ended(&self) -> CloseReason {
        self.wait_for(|queue| queue.farewell.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send_queue(frames: usize, bytes: usize) -> SendQueue {
        SendQueue::new(QueueLimits { frames, bytes }, ApiVersion::V1)
    }

    fn frame(text: &'static str) -> Arc<EncodedFrame> {
        EncodedFrame::new(text.into())
    }

    fn texts(frames: &FrameBatch) -> Vec<&str> {
        frames
            .iter()
            .map(|frame| std::str::from_utf8(frame.text()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn frames_come_in_order_and_in_batches() {
        let send_queue = send_queue(10, 100);
        assert_eq!(send_queue.push(frame("a")), PushOutcome::Wake);
        assert_eq!(send_queue.push(frame("b")), PushOutcome::Queued);
        let mut frames = FrameBatch::default();
        assert_eq!(send_queue.take(&mut frames).await, None);
        assert_eq!(texts(&frames), ["a", "b"]);
        assert_eq!(send_queue.push(frame("c")), PushOutcome::Wake);
    }

    #[tokio::test]
    async fn both_bounds_hold_and_taking_makes_room() {
        let send_queue = send_queue(2, 5);
        assert_eq!(send_queue.push(frame("123")), PushOutcome::Wake);
        assert_eq!(send_queue.push(frame("456")), PushOutcome::Full);
        assert_eq!(send_queue.push(frame("45")), PushOutcome::Queued);
        assert_eq!(send_queue.push(frame("")), PushOutcome::Full);
        send_queue.take(&mut FrameBatch::default()).await;
        assert_eq!(send_queue.push(frame("12345")), PushOutcome::Wake);
    }

    #[tokio::test]
    async fn the_end_comes_after_the_frames() {
        let send_queue = send_queue(10, 100);
        let farewell = CloseReason {
            code: 1001,
            reason: "bye".into(),
        };
        send_queue.push(frame("last"));
        send_queue.end(farewell.clone(), false);
        assert_eq!(send_queue.push(frame("late")), PushOutcome::Ended);
        assert_eq!(send_queue.ended().await, farewell);
        let mut frames = FrameBatch::default();
        assert_eq!(send_queue.take(&mut frames).await, Some(farewell));
        assert_eq!(texts(&frames), ["last"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_wakes_all_readers() {
        let send_queue = send_queue(10, 100);
        let poll = async || send_queue.take(&mut FrameBatch::default()).await;
        let farewell = CloseReason {
            code: CLOSE_NORMAL,
            reason: "bye".into(),
        };
        let end = async {
            send_queue.end(farewell.clone(), false);
            send_queue.wake();
        };
        let all = async { tokio::join!(biased; poll(), poll(), end) };
        let woken = tokio::time::timeout(std::time::Duration::from_secs(1), all).await;
        let (first, second, ()) = woken.expect("both readers are woken");
        assert_eq!(
            (first.as_ref(), second.as_ref()),
            (Some(&farewell), Some(&farewell))
        );
    }
}
