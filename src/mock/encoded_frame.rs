//! Events as WebSocket frames, encoded once for all their receivers.
//!
//! A server masks nothing, so an event is the same bytes for every client. Encoding it for each of a thousand
//! connections would copy it a thousand times, and check each copy.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A text frame as it goes over the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EncodedFrame {
    bytes: Vec<u8>,
    /// Where the text begins.
    text_start: usize,
}

impl EncodedFrame {
    /// Encodes a text.
    pub(crate) fn new(text: Bytes) -> Arc<Self> {
        let length = text.len();
        let frame = Frame::message(text, OpCode::Data(Data::Text), true);
        let mut bytes = Vec::with_capacity(frame.len());
        frame
            .format(&mut bytes)
            .expect("a vector takes everything that is written");
        let text_start = bytes.len() - length;
        Arc::new(Self { bytes, text_start })
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[self.text_start..]
    }
}

/// Frames in order, which are written together.
#[derive(Debug, Clone, Default)]
pub(crate) struct FrameBatch {
    frames: VecDeque<Arc<EncodedFrame>>,
    /// How many bytes of the first frame are written already.
    written: usize,
}

/// A batch that had more frames gives its memory back once it is empty. Most connections are idle most of the time.
const KEPT_FRAMES_MAX: usize = 64;

impl From<Arc<EncodedFrame>> for FrameBatch {
    fn from(frame: Arc<EncodedFrame>) -> Self {
        Self {
            frames: VecDeque::from([frame]),
            written: 0,
        }
    }
}

impl FrameBatch {
    /// Adds a frame at the end.
    pub(crate) fn push(&mut self, frame: Arc<EncodedFrame>) {
        self.frames.push_back(frame);
    }

    /// Moves all frames of another batch, of which nothing is written, to the end.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.frames.is_empty() {
            std::mem::swap(self, other);
        } else {
            self.frames.append(&mut other.frames);
        }
        other.release_memory();
    }

    /// Takes the first frame out.
    pub(crate) fn pop(&mut self) -> Option<Arc<EncodedFrame>> {
        self.written = 0;
        self.frames.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<EncodedFrame>> {
        self.frames.iter()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn release_memory(&mut self) {
        if self.frames.is_empty() && self.frames.capacity() > KEPT_FRAMES_MAX {
            self.frames = VecDeque::new();
        }
    }
}

impl Buf for FrameBatch {
    fn remaining(&self) -> usize {
        let all: usize = self.frames.iter().map(|frame| frame.bytes.len()).sum();
        all - self.written
    }

    fn has_remaining(&self) -> bool {
        !self.frames.is_empty()
    }

    fn chunk(&self) -> &[u8] {
        match self.frames.front() {
            Some(frame) => &frame.bytes[self.written..],
            None => &[],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut written = self.written;
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(&frame.bytes[std::mem::take(&mut written)..]);
            count += 1;
        }
        count
    }

    fn advance(&mut self, count: usize) {
        self.written += count;
        while let Some(frame) = self.frames.front()
            && self.written >= frame.bytes.len()
        {
            self.written -= frame.bytes.len();
            self.frames.pop_front();
        }
        self.release_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(texts: &[&'static str]) -> FrameBatch {
        let mut batch = FrameBatch::default();
        for text in texts {
            batch.push(EncodedFrame::new(Bytes::from_static(text.as_bytes())));
        }
        batch
    }

    #[test]
    fn a_frame_has_a_header_for_its_length() {
        let lengths_and_headers: [(usize, &[u8]); 4] = [
            (3, &[0x81, 3]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (70_000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ];
        for (length, header) in lengths_and_headers {
            let text = "é".repeat(length / 2) + &"e".repeat(length % 2);
            let frame = EncodedFrame::new(Bytes::from(text.clone()));
            assert_eq!(frame.text(), text.as_bytes());
            assert_eq!(&frame.bytes[..header.len()], header);
            assert_eq!(frame.bytes.len(), header.len() + length);
        }
    }

    #[test]
    fn a_batch_continues_in_the_middle_of_a_frame() {
        let whole = b"\x81\x01a\x81\x02bc\x81\x00\x81\x03def";
        for piece in 1..=whole.len() {
            let mut batch = batch(&["a", "bc", "", "def"]);
            let mut read = Vec::new();
            while batch.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = batch.chunks_vectored(&mut slices);
                let offered: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                assert!(offered.starts_with(batch.chunk()));
                let taken = piece.min(offered.len());
                read.extend_from_slice(&offered[..taken]);
                batch.advance(taken);
                assert_eq!(batch.remaining(), whole.len() - read.len());
            }
            assert_eq!(read, whole, "in pieces of {piece}");
        }
    }
}
