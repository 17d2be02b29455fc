//! The queue between the rules and one connection: frames in the order of the state, bounded, taken in batches.
//!
//! A reader that is too slow must neither hold up anybody else nor fill the memory, so pushing never waits: beyond the
//! bound the queue reports that it is full, and the connection is closed with a reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::faults::SocketFault;

/// What a queue holds at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Frames.
    pub(crate) frames: usize,
    /// Bytes of frames.
    pub(crate) bytes: usize,
}

/// Why and how a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// A WebSocket close code.
    pub(crate) code: u16,
    /// The reason, for the close frame.
    pub(crate) reason: Arc<str>,
}

/// The close code that means that there is no close frame: what carries the connection is gone.
pub(crate) const ABNORMAL: u16 = 1006;

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The reader has been told before.
    Queued,
    /// The reader is to be woken.
    Wake,
    /// The bound is reached; the frame is dropped.
    Full,
    /// The connection has ended; the frame is dropped.
    Ended,
}

/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    bounds: Bounds,
    wake: Notify,
    ended: Notify,
    struck: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Vec<Bytes>,
    bytes: usize,
    farewell: Option<Farewell>,
    /// Whether what is not delivered yet never will be.
    at_once: bool,
    strikes: Vec<SocketFault>,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            queue: Mutex::default(),
            bounds,
            wake: Notify::new(),
            ended: Notify::new(),
            struck: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a frame in. [`Pushed::Wake`] leaves the waking to the caller, who may hold a lock now.
    pub(crate) fn push(&self, frame: Bytes) -> Pushed {
        let mut queue = self.queue();
        if queue.farewell.is_some() {
            return Pushed::Ended;
        }
        if queue.frames.len() >= self.bounds.frames || queue.bytes + frame.len() > self.bounds.bytes
        {
            return Pushed::Full;
        }
        queue.bytes += frame.len();
        queue.frames.push(frame);
        if queue.frames.len() == 1 {
            Pushed::Wake
        } else {
            Pushed::Queued
        }
    }

    /// Ends the queue. What is in it is still delivered, unless `now` says that nobody will read it.
    pub(crate) fn end(&self, farewell: Farewell, now: bool) {
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

    /// Waits for frames or the end and takes all there is. Loses nothing when it is dropped while waiting.
    pub(crate) async fn take(&self, frames: &mut Vec<Bytes>) -> Option<Farewell> {
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

    /// Lets a fault strike the connection, ahead of what is queued.
    pub(crate) fn strike(&self, fault: SocketFault) {
        self.queue().strikes.push(fault);
        self.struck.notify_one();
    }

    /// Waits for a fault. Loses nothing when it is dropped while waiting.
    pub(crate) async fn struck(&self) -> SocketFault {
        loop {
            let struck = {
                let mut queue = self.queue();
                (!queue.strikes.is_empty()).then(|| queue.strikes.remove(0))
            };
            match struck {
                Some(fault) => return fault,
                None => self.struck.notified().await,
            }
        }
    }

    /// Whether it has ended without waiting for anything to be delivered.
    pub(crate) fn is_over(&self) -> bool {
        self.queue().at_once
    }

    /// Waits for the end, for a writer that is stuck with what it has taken.
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

    fn outbox(frames: usize, bytes: usize) -> Outbox {
        Outbox::new(Bounds { frames, bytes })
    }

    #[tokio::test]
    async fn frames_come_in_order_and_in_batches() {
        let outbox = outbox(10, 100);
        assert_eq!(outbox.push("a".into()), Pushed::Wake);
        assert_eq!(outbox.push("b".into()), Pushed::Queued);
        let mut frames = Vec::new();
        assert_eq!(outbox.take(&mut frames).await, None);
        assert_eq!(frames, ["a", "b"]);
        assert_eq!(outbox.push("c".into()), Pushed::Wake);
    }

    #[tokio::test]
    async fn both_bounds_hold_and_taking_makes_room() {
        let outbox = outbox(2, 5);
        assert_eq!(outbox.push("123".into()), Pushed::Wake);
        assert_eq!(outbox.push("456".into()), Pushed::Full);
        assert_eq!(outbox.push("45".into()), Pushed::Queued);
        assert_eq!(outbox.push("".into()), Pushed::Full);
        outbox.take(&mut Vec::new()).await;
        assert_eq!(outbox.push("12345".into()), Pushed::Wake);
    }

    #[tokio::test]
    async fn the_end_comes_after_the_frames() {
        let outbox = outbox(10, 100);
        let farewell = Farewell {
            code: 1001,
            reason: "bye".into(),
        };
        outbox.push("last".into());
        outbox.end(farewell.clone(), false);
        assert_eq!(outbox.push("late".into()), Pushed::Ended);
        outbox.ended().await;
        let mut frames = Vec::new();
        assert_eq!(outbox.take(&mut frames).await, Some(farewell));
        assert_eq!(frames, ["last"]);
    }
}
