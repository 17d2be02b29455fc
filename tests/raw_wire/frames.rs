//! A WebSocket made of bytes: the upgrade request as text, frames masked and unmasked by hand.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::http::{lines_of, read_head};

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// One frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Pong(Vec<u8>),
    /// With the close code, if there was one.
    Close(Option<u16>),
    /// The connection ended without a close frame.
    End,
}

/// A client's end of a WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    reader: BufReader<TcpStream>,
    /// Everything of the server's that was read as JSON and passed over while waiting.
    pub(crate) seen: Vec<Value>,
}

impl Socket {
    /// Sends the upgrade request, whose first lines are written out, and expects the server to agree.
    #[track_caller]
    pub(crate) fn open(url: &str, head: &str) -> Self {
        let mut stream = super::connect(url);
        let mut request = lines_of(head);
        // The key and its answer are the example of RFC 6455.
        request.push_str(
            "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        stream
            .write_all(request.as_bytes())
            .expect("the server reads the upgrade");
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        assert_eq!(
            status, 101,
            "an upgrade is never refused by HTTP status: {headers:?}"
        );
        let accept = headers
            .iter()
            .find(|(name, _)| name == "sec-websocket-accept");
        assert_eq!(
            accept.map(|(_, value)| value.as_str()),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert!(
            !headers
                .iter()
                .any(|(name, _)| name == "sec-websocket-protocol"),
            "no subprotocol was asked for"
        );
        Self {
            reader,
            seen: Vec::new(),
        }
    }

    /// Sends a text frame.
    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    /// Sends a protocol-level ping.
    pub(crate) fn send_ping(&mut self, payload: &[u8]) {
        self.send(PING, payload);
    }

    /// Says goodbye properly, and waits for the server to do so too.
    #[track_caller]
    pub(crate) fn close(mut self) {
        self.send(CLOSE, &1000_u16.to_be_bytes());
        loop {
            match self.frame() {
                Frame::Close(code) => {
                    assert_eq!(code, Some(1000), "the server answers with the same code");
                    return;
                }
                Frame::Text(_) | Frame::Pong(_) => {}
                Frame::End => panic!("the server hung up without a close frame"),
            }
        }
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ ..126 => frame.push(0x80 | u8::try_from(length).expect("below 126")),
            length => {
                frame.push(0x80 | 126);
                let length = u16::try_from(length).expect("tests send less than 64 KiB");
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
        self.send_bytes(&frame);
    }

    /// Sends bytes that need not be a frame.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.reader
            .get_mut()
            .write_all(bytes)
            .expect("the server reads the frame");
    }

    /// The next frame; the server's pings are answered on the way.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        loop {
            let mut head = [0; 2];
            if self.reader.read_exact(&mut head).is_err() {
                return Frame::End;
            }
            assert_eq!(
                head[0] & 0xF0,
                0x80,
                "one event is one unfragmented frame, and no extension was agreed on"
            );
            assert_eq!(head[1] & 0x80, 0, "a server does not mask");
            let length = match head[1] {
                126 => u64::from(u16::from_be_bytes(self.bytes())),
                127 => u64::from_be_bytes(self.bytes()),
                short => u64::from(short),
            };
            let mut payload =
                vec![0; usize::try_from(length).expect("a frame that fits in memory")];
            self.reader.read_exact(&mut payload).expect("a whole frame");
            match head[0] & 0x0F {
                TEXT => return Frame::Text(String::from_utf8(payload).expect("text in UTF-8")),
                PONG => return Frame::Pong(payload),
                PING => self.send(PONG, &payload),
                CLOSE => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Frame::Close(code);
                }
                other => panic!("a frame of kind {other:#x}: {payload:?}"),
            }
        }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).expect("a whole frame");
        bytes
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Value {
        match self.frame() {
            Frame::Text(text) => {
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
            }
            other => panic!("{other:?} instead of an event; seen {:?}", self.seen),
        }
    }

    /// The next event of this type; those before it are kept in `seen`.
    #[track_caller]
    pub(crate) fn event_of(&mut self, event_type: &str) -> Value {
        loop {
            let event = self.event();
            if event["type"] == event_type {
                return event;
            }
            self.seen.push(event);
        }
    }
}
