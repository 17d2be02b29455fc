//! The queue of frames for one socket, whose order and timing faults can change.
//!
//! Frames go in; the next action comes out. The time is an argument. Other effects of faults, such as closing, are
//! returned to the owner of the socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::fault::SocketFault;
use crate::mock::encoded_frame::{EncodedFrame, FrameBatch};

/// The next action.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameAction {
    /// Send this frame. If a fault applies to it, the fault is named.
    Send(Arc<EncodedFrame>, Option<String>),
    /// Wait until this time.
    Wait(Instant),
    /// The queue is empty.
    Idle,
    /// Apply this effect to the connection; the frame is lost.
    End(SocketFault, String),
}

/// The frames of one socket that are not sent yet.
#[derive(Debug, Default)]
pub(crate) struct FrameQueue {
    queue: VecDeque<QueuedFrame>,
    held: Option<(QueuedFrame, Instant)>,
    not_before: Option<Instant>,
    pause: Duration,
    muted: bool,
    ending: Option<(SocketFault, String)>,
    begun: bool,
}

#[derive(Debug)]
struct QueuedFrame {
    frame: Arc<EncodedFrame>,
    /// The fault that already applies to this frame; no other is looked up.
    faulty: Option<String>,
}

impl FrameQueue {
    /// Whether frames can bypass the queue.
    pub(crate) fn is_pass_through(&self) -> bool {
        self.is_empty()
            && self.not_before.is_none()
            && self.pause.is_zero()
            && !self.muted
            && self.ending.is_none()
    }

    /// Whether the queue is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.held.is_none()
    }

    /// Whether further frames can be sent at all, instead of only waiting.
    pub(crate) fn accepts_more(&self) -> bool {
        self.queue.is_empty() && self.not_before.is_none()
    }

    /// Removes all frames.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds frames.
    pub(crate) fn take(&mut self, frames: &mut FrameBatch) {
        while let Some(frame) = frames.pop() {
            self.queue.push_back(QueuedFrame {
                frame,
                faulty: None,
            });
        }
    }

    /// Records that the first frame was sent without this queue.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    /// Applies a fault that needs no frame, if it is about order or time.
    pub(crate) fn apply(&mut self, fault: &SocketFault) {
        match fault {
            SocketFault::Mute => self.muted = true,
            SocketFault::Slow { pause } => self.pause = *pause,
            _ => {}
        }
    }

    /// The next action. `find_fault` returns the fault that applies to a frame, given its type and whether it is the first.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        mut find_fault: impl FnMut(&str, bool) -> Option<(String, SocketFault)>,
    ) -> FrameAction {
        loop {
            if let Some((fault, id)) = self.ending.take() {
                self.queue.clear();
                return FrameAction::End(fault, id);
            }
            match self.not_before {
                Some(then) if then > now => return FrameAction::Wait(then),
                _ => self.not_before = None,
            }
            let Some(waiting) = self.queue.pop_front() else {
                return match self.held.take() {
                    Some((held, due)) if due <= now => self.send(held, now),
                    Some((held, due)) => {
                        self.held = Some((held, due));
                        FrameAction::Wait(due)
                    }
                    None => FrameAction::Idle,
                };
            };
            let first = !std::mem::replace(&mut self.begun, true);
            let event = event_type(waiting.frame.text());
            if self.muted && event == "health.check" && !first {
                continue;
            }
            if waiting.faulty.is_some() {
                return self.send(waiting, now);
            }
            let Some((id, fault)) = find_fault(event, first) else {
                let sent = self.send(waiting, now);
                self.release();
                return sent;
            };
            let faulty = QueuedFrame {
                faulty: Some(id.clone()),
                ..waiting
            };
            match fault {
                SocketFault::Duplicate => {
                    let twice = QueuedFrame {
                        frame: faulty.frame.clone(),
                        faulty: Some(id),
                    };
                    let sent = self.send(faulty, now);
                    self.release();
                    self.queue.push_front(twice);
                    return sent;
                }
                SocketFault::Reorder { wait } if self.held.is_none() => {
                    self.held = Some((faulty, now + wait));
                }
                SocketFault::Reorder { .. } => {
                    let sent = self.send(faulty, now);
                    self.release();
                    return sent;
                }
                SocketFault::Late { by } => {
                    self.not_before = Some(now + by);
                    self.queue.push_front(faulty);
                }
                SocketFault::Slow { pause } => {
                    self.pause = pause;
                    self.queue.push_front(faulty);
                }
                SocketFault::Garbage { text } => {
                    let text = text.map_or_else(|| half(faulty.frame.text()), Bytes::from);
                    let frame = EncodedFrame::new(text);
                    let sent = self.send(QueuedFrame { frame, ..faulty }, now);
                    self.release();
                    return sent;
                }
                SocketFault::Mute => self.muted = true,
                ending @ (SocketFault::Drop
                | SocketFault::Close { .. }
                | SocketFault::HalfOpen
                | SocketFault::Expire) => {
                    self.ending = Some((ending, id));
                    // A frame that was only reordered is not lost with the others.
                    if let Some((held, _)) = self.held.take() {
                        return self.send(held, now);
                    }
                }
            }
        }
    }

    fn send(&mut self, waiting: QueuedFrame, now: Instant) -> FrameAction {
        if !self.pause.is_zero() {
            self.not_before = Some(now + self.pause);
        }
        FrameAction::Send(waiting.frame, waiting.faulty)
    }

    /// Puts the frame that was held back for reordering next.
    fn release(&mut self) {
        if let Some((held, _)) = self.held.take() {
            self.queue.push_front(held);
        }
    }
}

/// The type of an event in the form in which this server writes it, with `type` first. Empty for other text.
pub(crate) fn event_type(frame: &[u8]) -> &str {
    frame
        .strip_prefix(br#"{"type":""#)
        .and_then(|rest| {
            let end = memchr::memchr(b'"', rest)?;
            std::str::from_utf8(&rest[..end]).ok()
        })
        .unwrap_or_default()
}

/// The first half of a frame, as text.
pub(crate) fn half(frame: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(frame);
    let mut end = text.len() / 2;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Bytes::from(text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_SECOND: Duration = Duration::from_secs(1);

    /// Frames of these types.
    fn batch(types: &[&str]) -> FrameBatch {
        let mut batch = FrameBatch::default();
        for kind in types {
            let text = format!(r#"{{"type":"{kind}"}}"#);
            batch.push(EncodedFrame::new(text.into()));
        }
        batch
    }

    /// Runs frames through a queue with faults by event type, and returns what is sent and when, in seconds.
    fn run(frames: &[&str], faults: &[(&str, SocketFault)]) -> Vec<String> {
        let mut frame_queue = FrameQueue::default();
        frame_queue.take(&mut batch(frames));
        let start = Instant::now();
        let (mut now, mut told) = (start, Vec::new());
        loop {
            let next = frame_queue.next(now, |event, _| {
                let (_, fault) = faults.iter().find(|(kind, _)| *kind == event)?;
                Some(("f1".to_owned(), fault.clone()))
            });
            match next {
                FrameAction::Send(frame, _) => {
                    let name = match event_type(frame.text()) {
                        "" => String::from_utf8_lossy(frame.text()).into_owned(),
                        name => name.to_owned(),
                    };
                    told.push(format!("{name}@{}", (now - start).as_secs()));
                }
                FrameAction::Wait(then) => now = then,
                FrameAction::Idle => return told,
                FrameAction::End(fault, _) => {
                    told.push(format!("{fault:?}"));
                    assert!(frame_queue.is_empty());
                    return told;
                }
            }
        }
    }

    #[test]
    fn frames_change_places() {
        let reorder = || SocketFault::Reorder { wait: ONE_SECOND };
        assert_eq!(
            run(&["a", "b", "c"], &[("a", reorder())]),
            ["b@0", "a@0", "c@0"]
        );
        assert_eq!(run(&["a"], &[("a", reorder())]), ["a@1"]);
        assert_eq!(
            run(&["a", "b", "c"], &[("a", reorder()), ("b", reorder())]),
            ["b@0", "a@0", "c@0"]
        );
        assert_eq!(
            run(
                &["a", "b", "c"],
                &[("a", reorder()), ("b", SocketFault::Drop)]
            ),
            ["a@0", "Drop"]
        );
    }

    #[test]
    fn frames_double_wait_and_break() {
        assert_eq!(
            run(&["a", "b"], &[("a", SocketFault::Duplicate)]),
            ["a@0", "a@0", "b@0"]
        );
        assert_eq!(
            run(&["a", "b"], &[("a", SocketFault::Late { by: ONE_SECOND })]),
            ["a@1", "b@1"]
        );
        assert_eq!(
            run(
                &["a", "b", "c"],
                &[("b", SocketFault::Slow { pause: ONE_SECOND })]
            ),
            ["a@0", "b@0", "c@1"]
        );
        assert_eq!(
            run(&["a", "b"], &[("a", SocketFault::Garbage { text: None })]),
            [r#"{"type@0"#, "b@0"]
        );
        let garbage = SocketFault::Garbage {
            text: Some("nonsense".into()),
        };
        assert_eq!(run(&["a"], &[("a", garbage)]), ["nonsense@0"]);
    }

    #[test]
    fn what_ends_the_connection_takes_its_frame_along() {
        assert_eq!(
            run(&["a", "b", "c"], &[("b", SocketFault::HalfOpen)]),
            ["a@0", "HalfOpen"]
        );
    }

    #[test]
    fn muting_lets_everything_else_through() {
        let frames = ["health.check", "a", "health.check", "b", "health.check"];
        let mut frame_queue = FrameQueue::default();
        frame_queue.apply(&SocketFault::Mute);
        assert!(!frame_queue.is_pass_through());
        frame_queue.take(&mut batch(&frames));
        let mut left = Vec::new();
        while let FrameAction::Send(frame, _) = frame_queue.next(Instant::now(), |_, _| None) {
            left.push(event_type(frame.text()).to_owned());
        }
        assert_eq!(left, ["health.check", "a", "b"]);
    }
}
