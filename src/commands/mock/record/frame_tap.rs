//! Reads the frames of one direction of a WebSocket from a copy of its bytes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::capture::RECORDED_BODY_MAX_BYTES;
use crate::mock::recording::FrameSender;

/// The buffer of a parser. Most frames are small.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A frame that matters to a recording.
#[derive(Debug, PartialEq)]
pub(super) enum TappedFrame {
    /// Text.
    Text(String),
    /// Binary data, which no client of the service sends.
    Binary,
    /// The end, with its code.
    Close(Option<u16>),
    /// The bytes are not those of a WebSocket.
    Broken,
}

/// A parser of frames.
#[derive(Debug)]
pub(super) struct FrameTap {
    socket: WebSocket<CopiedBytes>,
    is_broken: bool,
}

/// Bytes to be read. What the parser wants to answer is dropped: the real peers answer each other.
#[derive(Debug, Default)]
struct CopiedBytes(VecDeque<u8>);

impl Read for CopiedBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}

impl Write for CopiedBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FrameTap {
    /// A parser for what this side sends.
    pub(super) fn new(sender: FrameSender) -> Self {
        // The parser takes the place of the receiver.
        let role = match sender {
            FrameSender::Client => Role::Server,
            FrameSender::Server => Role::Client,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(RECORDED_BODY_MAX_BYTES))
            .max_frame_size(Some(RECORDED_BODY_MAX_BYTES));
        Self {
            socket: WebSocket::from_raw_socket(CopiedBytes::default(), role, Some(config)),
            is_broken: false,
        }
    }

    /// Reads more bytes, and returns the frames that are complete with them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<TappedFrame> {
        let mut frames = Vec::new();
        if self.is_broken {
            return frames;
        }
        self.socket.get_mut().0.extend(bytes);
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => frames.push(TappedFrame::Text(text.to_string())),
                Ok(Message::Binary(_)) => frames.push(TappedFrame::Binary),
                Ok(Message::Close(close)) => {
                    frames.push(TappedFrame::Close(close.map(|close| close.code.into())));
                    self.is_broken = true;
                    return frames;
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return frames;
                }
                Err(_) => {
                    self.is_broken = true;
                    frames.push(TappedFrame::Broken);
                    return frames;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text frame of a server.
    fn frame(text: &str) -> Vec<u8> {
        let mut bytes = vec![0x81, u8::try_from(text.len()).unwrap()];
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn frames_are_read_from_bytes_in_any_portions() {
        let mut bytes = frame("one");
        // A ping, which nobody records.
        bytes.extend([0x89, 0]);
        bytes.extend(frame("two"));
        bytes.extend([0x88, 2, 0x03, 0xe9]);
        let mut tap = FrameTap::new(FrameSender::Server);
        let read: Vec<_> = bytes.iter().flat_map(|byte| tap.push(&[*byte])).collect();
        let text = |text: &str| TappedFrame::Text(text.to_owned());
        assert_eq!(
            read,
            [text("one"), text("two"), TappedFrame::Close(Some(1001))]
        );
        assert_eq!(tap.push(&frame("late")), []);
    }

    #[test]
    fn a_clients_frames_are_masked() {
        let mut tap = FrameTap::new(FrameSender::Client);
        let masked = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        assert_eq!(tap.push(&masked), [TappedFrame::Text("hi".to_owned())]);
        assert_eq!(tap.push(&frame("x")), [TappedFrame::Broken]);
    }
}
