//! The lines of a recording, and how they are read.
//!
//! Lines are written when something is complete, so a request may follow a later one. `at_ms` has the order: the
//! milliseconds from the start of the recording to the start of the request, or to the frame.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the format. A reader refuses recordings of a later one.
pub const RECORDING_VERSION: u32 = 1;

/// A line of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum RecordingLine {
    /// The header.
    #[serde(rename = "recording.start")]
    Start(RecordingStart),
    /// A request and its response.
    #[serde(rename = "recording.request")]
    Request(Box<RecordedRequest>),
    /// A WebSocket was opened.
    #[serde(rename = "recording.socket.open")]
    SocketOpen(SocketOpening),
    /// A frame of a WebSocket.
    #[serde(rename = "recording.frame")]
    Frame(RecordedFrame),
    /// A WebSocket ended.
    #[serde(rename = "recording.socket.end")]
    SocketEnd(SocketEnding),
    /// The recording is complete.
    #[serde(rename = "recording.end")]
    End(RecordingEnd),
}

/// What a recording does with the ids of users, channels and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdHandling {
    /// Ids stay.
    Kept,
    /// Ids are replaced by pseudonyms.
    Pseudonyms,
}

/// The header of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingStart {
    /// The version of the format.
    pub version: u32,
    /// When the recording began, RFC 3339.
    pub recorded_at: String,
    /// The program and version that wrote it.
    pub program: String,
    /// What happened to ids.
    pub ids: IdHandling,
    /// The fields whose values are kept.
    pub kept: Vec<String>,
}

/// A request and its response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// When it was made, in milliseconds from the start.
    pub at_ms: u64,
    /// How long the response took, in milliseconds.
    pub took_ms: u64,
    /// The method.
    pub method: String,
    /// The path below the base URL, percent-encoded.
    pub path: String,
    /// The query, without credentials. JSON in a parameter is JSON here.
    pub query: Map<String, Value>,
    /// The user of the token; `null` for the server side.
    pub user: Option<String>,
    /// The JSON of the request's body.
    pub body: Option<Value>,
    /// Why there is no body, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_omitted: Option<String>,
    /// The status of the response.
    pub status: u16,
    /// The headers of the response that matter to clients.
    pub headers: BTreeMap<String, String>,
    /// The JSON of the response's body.
    pub response: Option<Value>,
    /// Why there is no response body, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_omitted: Option<String>,
    /// The number of the line in the file.
    #[serde(skip)]
    pub line: usize,
}

/// A WebSocket was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SocketOpening {
    /// When, in milliseconds from the start.
    pub at_ms: u64,
    /// The number of the socket in this recording.
    pub socket: u64,
    /// The path below the base URL, percent-encoded.
    pub path: String,
    /// The query, without credentials.
    pub query: Map<String, Value>,
    /// The user of the token. On `/api/v2/connect` the client's first frame names them, so a reader takes it from there.
    pub user: Option<String>,
}

/// Whether clients that open a WebSocket at a path authenticate with their first frame.
pub fn has_auth_frame(path: &str) -> bool {
    path.ends_with("/api/v2/connect")
}

/// The user whom a client's first frame names.
pub fn user_of_auth_frame(frame: &Value) -> Option<&str> {
    frame.get("user_details")?.get("id")?.as_str()
}

/// Who sent a frame, or ended a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameSender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A frame of a WebSocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedFrame {
    /// When, in milliseconds from the start.
    pub at_ms: u64,
    /// The number of the socket.
    pub socket: u64,
    /// Who sent it.
    pub from: FrameSender,
    /// Its JSON.
    pub data: Option<Value>,
    /// Why there is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_omitted: Option<String>,
}

/// A WebSocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketEnding {
    /// When, in milliseconds from the start.
    pub at_ms: u64,
    /// The number of the socket.
    pub socket: u64,
    /// Who ended it.
    pub by: FrameSender,
    /// The close code; `null` if the connection broke.
    pub code: Option<u16>,
}

/// The last line of a complete recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingEnd {
    /// When, in milliseconds from the start.
    pub at_ms: u64,
    /// How many requests were recorded.
    pub requests: u64,
    /// How many sockets were recorded.
    pub sockets: u64,
    /// How many frames were recorded.
    pub frames: u64,
}

/// A WebSocket from its opening to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedSocket {
    /// The number of the line that opens it.
    pub line: usize,
    /// Its opening.
    pub opening: SocketOpening,
    /// Its frames in order.
    pub frames: Vec<RecordedFrame>,
    /// Its end, if it ended while it was recorded.
    pub ending: Option<SocketEnding>,
}

impl RecordedSocket {
    /// The frame with which the client authenticated, if it did so. Its token is dropped.
    pub fn auth_frame(&self) -> Option<&Value> {
        self.frames
            .iter()
            .find(|frame| frame.from == FrameSender::Client)
            .filter(|_| has_auth_frame(&self.opening.path))?
            .data
            .as_ref()
    }
}

/// A recording.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficRecording {
    /// The header.
    pub start: RecordingStart,
    /// The requests, in the order in which they were made.
    pub requests: Vec<RecordedRequest>,
    /// The sockets, in the order in which they were opened.
    pub sockets: Vec<RecordedSocket>,
    /// Whether the last line is there. Otherwise the recorder was killed, and this is the beginning of a recording.
    pub is_complete: bool,
}

/// Why a recording cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingError {
    /// The number of the line.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for RecordingError {}

/// Reads a recording line by line.
#[derive(Debug, Default)]
pub struct RecordingReader {
    lines: usize,
    start: Option<RecordingStart>,
    requests: Vec<RecordedRequest>,
    sockets: Vec<RecordedSocket>,
    /// The places of sockets by their numbers.
    places: BTreeMap<u64, usize>,
    is_complete: bool,
}

impl RecordingReader {
    /// Reads a whole text. An incomplete last line is left out: it is what a killed recorder leaves.
    ///
    /// # Errors
    ///
    /// A line is not one of a recording.
    pub fn read(text: &str) -> Result<TrafficRecording, RecordingError> {
        let mut reader = Self::default();
        for line in text.split_inclusive('\n') {
            reader.push(line)?;
        }
        reader.finish()
    }

    /// Reads the next line, with its line break.
    ///
    /// # Errors
    ///
    /// It is not a line of a recording.
    pub fn push(&mut self, line: &str) -> Result<(), RecordingError> {
        self.lines += 1;
        let is_whole = line.ends_with('\n');
        let mut text = line.trim();
        if self.lines == 1 {
            text = text.trim_start_matches('\u{feff}');
        }
        if text.is_empty() {
            return Ok(());
        }
        match serde_json::from_str(text) {
            Ok(line) => self.add(line),
            Err(_) if !is_whole && self.start.is_some() => Ok(()),
            Err(error) => Err(self.error(match &self.start {
                None => "expected the header of a recording, as `mock record` writes it".to_owned(),
                Some(_) => format!("not a line of a recording: {error}"),
            })),
        }
    }

    fn add(&mut self, line: RecordingLine) -> Result<(), RecordingError> {
        if self.start.is_none() {
            let RecordingLine::Start(start) = line else {
                return Err(self.error("expected the header of a recording: recording.start"));
            };
            if start.version == 0 || start.version > RECORDING_VERSION {
                return Err(self.error(format!(
                    "the recording has version {}; expected {RECORDING_VERSION}, or a newer presencectl",
                    start.version
                )));
            }
            self.start = Some(start);
            return Ok(());
        }
        if self.is_complete {
            return Err(self.error("there is a line after recording.end"));
        }
        match line {
            RecordingLine::Start(_) => return Err(self.error("there is a second header")),
            RecordingLine::Request(mut request) => {
                if !(100..=999).contains(&request.status) {
                    let status = request.status;
                    return Err(self.error(format!("{status} is not a status")));
                }
                request.line = self.lines;
                self.requests.push(*request);
            }
            RecordingLine::SocketOpen(opening) => {
                let place = self.sockets.len();
                if self.places.insert(opening.socket, place).is_some() {
                    let socket = opening.socket;
                    return Err(self.error(format!("socket {socket} is opened twice")));
                }
                self.sockets.push(RecordedSocket {
                    line: self.lines,
                    opening,
                    frames: Vec::new(),
                    ending: None,
                });
            }
            RecordingLine::Frame(frame) => self.socket(frame.socket)?.frames.push(frame),
            RecordingLine::SocketEnd(ending) => {
                self.socket(ending.socket)?.ending = Some(ending);
            }
            RecordingLine::End(_) => self.is_complete = true,
        }
        Ok(())
    }

    fn socket(&mut self, number: u64) -> Result<&mut RecordedSocket, RecordingError> {
        let error = self.error(format!("socket {number} is not open"));
        let place = self.places.get(&number).ok_or(error)?;
        Ok(&mut self.sockets[*place])
    }

    fn error(&self, reason: impl Into<String>) -> RecordingError {
        RecordingError {
            line: self.lines,
            reason: reason.into(),
        }
    }

    /// The recording.
    ///
    /// # Errors
    ///
    /// There is no header.
    pub fn finish(self) -> Result<TrafficRecording, RecordingError> {
        let Some(start) = self.start else {
            return Err(RecordingError {
                line: 1,
                reason: "the recording is empty".to_owned(),
            });
        };
        let (mut requests, mut sockets) = (self.requests, self.sockets);
        requests.sort_by_key(|request| request.at_ms);
        sockets.sort_by_key(|socket| socket.opening.at_ms);
        for socket in &mut sockets {
            socket.frames.sort_by_key(|frame| frame.at_ms);
            if socket.opening.user.is_none() {
                let user = socket.auth_frame().and_then(user_of_auth_frame);
                socket.opening.user = user.map(str::to_owned);
            }
        }
        Ok(TrafficRecording {
            start,
            requests,
            sockets,
            is_complete: self.is_complete,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{self, FuzzTarget};

    const HEADER: &str = r#"{"type":"recording.start","version":1,"recorded_at":"2026-01-05T10:00:00.000Z","program":"presencectl 0.1.0","ids":"kept","kept":[]}"#;
    const OPEN: &str = r#"{"type":"recording.socket.open","at_ms":1,"socket":1,"path":"/connect","query":{},"user":"amy"}"#;

    fn read(lines: &[&str]) -> Result<TrafficRecording, String> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        RecordingReader::read(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_sorted_by_their_time_and_frames_belong_to_sockets() {
        let request = |at: u64| {
            format!(
                r#"{{"type":"recording.request","at_ms":{at},"took_ms":1,"method":"GET","path":"/users","query":{{}},"user":null,"body":null,"status":200,"headers":{{}},"response":{{}}}}"#
            )
        };
        let recording = read(&[
            HEADER,
            &request(9),
            OPEN,
            &request(3),
            r#"{"type":"recording.frame","at_ms":5,"socket":1,"from":"server","data":{"type":"health.check"}}"#,
            r#"{"type":"recording.socket.end","at_ms":6,"socket":1,"by":"client","code":1000}"#,
            r#"{"type":"recording.end","at_ms":7,"requests":2,"sockets":1,"frames":1}"#,
        ])
        .unwrap();
        let order: Vec<_> = recording
            .requests
            .iter()
            .map(|request| (request.at_ms, request.line))
            .collect();
        assert_eq!(order, [(3, 4), (9, 2)]);
        assert_eq!(recording.sockets[0].frames.len(), 1);
        assert!(recording.is_complete);
    }

    #[test]
    fn the_user_of_a_socket_without_a_token_in_its_address_is_in_its_first_frame() {
        let user = |path: &str, from: &str| {
            let open = OPEN.replace("/connect", path).replace(r#""amy""#, "null");
            let frame = format!(
                r#"{{"type":"recording.frame","at_ms":5,"socket":1,"from":"{from}","data":{{"token":"(dropped)","user_details":{{"id":"bob"}}}}}}"#
            );
            let recording = read(&[HEADER, &open, &frame]).unwrap();
            recording.sockets[0].opening.user.clone()
        };
        assert_eq!(user("/api/v2/connect", "client").as_deref(), Some("bob"));
        assert_eq!(
            user("/proxy/api/v2/connect", "client").as_deref(),
            Some("bob")
        );
        assert_eq!(user("/api/v2/connect", "server"), None);
        assert_eq!(user("/connect", "client"), None);
    }

    #[test]
    fn the_beginning_of_a_recording_is_a_recording() {
        let text = format!("\u{feff}{HEADER}\r\n{OPEN}\r\n{{\"type\":\"recording.fr");
        let recording = RecordingReader::read(&text).unwrap();
        assert!(!recording.is_complete);
        assert_eq!(recording.sockets.len(), 1);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let later = HEADER.replace(r#""version":1"#, r#""version":2"#);
        let frame =
            r#"{"type":"recording.frame","at_ms":5,"socket":4,"from":"server","data":null}"#;
        for (lines, error) in [
            (
                &["{}"][..],
                "line 1: expected the header of a recording, as `mock record` writes it",
            ),
            (
                &[OPEN],
                "line 1: expected the header of a recording: recording.start",
            ),
            (
                &[&later],
                "line 1: the recording has version 2; expected 1, or a newer presencectl",
            ),
            (&[HEADER, OPEN, OPEN], "line 3: socket 1 is opened twice"),
            (&[HEADER, frame], "line 2: socket 4 is not open"),
            (&[], "line 1: the recording is empty"),
        ] {
            assert_eq!(read(lines).unwrap_err(), error);
        }
        assert!(
            read(&[HEADER, "{"])
                .unwrap_err()
                .starts_with("line 2: not a line")
        );
    }

    #[test]
    fn fuzz_recordings() {
        const WORDS: &[&str] = &[
            HEADER,
            OPEN,
            "\n",
            "type",
            "recording.start",
            "recording.request",
            "recording.socket.open",
            "recording.frame",
            "recording.socket.end",
            "recording.end",
            "at_ms",
            "socket",
            "version",
        ];
        const FIELDS: &[(&str, &str)] = &[
            ("type", r#""recording.frame""#),
            ("type", r#""recording.socket.end""#),
            ("type", r#""recording.request""#),
            ("at_ms", "5"),
            ("socket", "1"),
            ("from", r#""server""#),
            ("by", r#""client""#),
            ("code", "1000"),
            ("data", r#"{"type":"health.check"}"#),
        ];
        let target = FuzzTarget {
            name: "recordings",
            inputs: 1500,
            generate: |rng| {
                let line = fuzz::object(rng, WORDS, FIELDS);
                format!("{HEADER}\n{OPEN}\n{line}\n")
            },
            words: WORDS,
        };
        target.run(|text| match RecordingReader::read(text) {
            // What was read can be used.
            Ok(recording) => {
                let _ = crate::mock::recording::fixture_of(&recording);
                let _ = crate::mock::recording::scenario_of(&recording);
            }
            Err(error) => assert!(error.line > 0 && !error.reason.is_empty()),
        });
    }
}
