//! The recorder: redacts what the proxy has seen, checks it, and writes it line by line.
//!
//! Nothing is written before it is redacted and checked. Lines go to `FILE.part`, readable for its owner only. At the
//! end the whole file is checked again, because a credential may be seen after a text that contains it, and is then
//! renamed to `FILE`. The recorder locks `FILE.part`, so that a second recorder does not delete it. A recorder that is
//! killed, or cannot write, leaves `FILE` unchanged and a `FILE.part` of valid lines.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::capture::BodyContent;
use super::frame_tap::TappedFrame;
use crate::config_file::{create_locked, link_target};
use crate::domain::{time, token};
use crate::exit::{Code, Failure};
use crate::mock::recording::{
    FrameSender, IdHandling, RECORDING_VERSION, RecordedFrame, RecordedRequest, RecordingEnd,
    RecordingLine, RecordingRedactor, RecordingStart, SocketEnding, SocketOpening, SuspectedSecret,
    scan_line,
};
use crate::output::Output;

/// Where lines go.
#[derive(Debug)]
pub(super) enum RecordingSink {
    /// To a file.
    File {
        /// The file that grows.
        file: File,
        /// Its name.
        part: PathBuf,
        /// Its name once it is complete.
        path: PathBuf,
    },
    /// To stdout: `--dry-run`.
    Output(Arc<Output>),
}

impl RecordingSink {
    /// Creates `FILE.part` for its owner alone, and locks it. Removes a leftover of a recorder that was
    /// killed.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or another recorder writes it.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        // A symbolic link stays, and its target is replaced.
        let path = link_target(path);
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = create_locked(&part).map_err(|error| -> anyhow::Error {
            if error.kind() == ErrorKind::WouldBlock {
                let message = format!("another process is recording to {}", path.display());
                return Failure::new(Code::Usage, message)
                    .hinted("name another file: --out FILE")
                    .into();
            }
            anyhow::Error::new(error).context(format!("cannot create {}", part.display()))
        })?;
        Ok(Self::File { file, part, path })
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        match self {
            Self::File { file, .. } => file.write_all(line.as_bytes()),
            Self::Output(output) => output.print(line),
        }
    }
}

/// What a client asked for: a request, or the upgrade to a WebSocket.
#[derive(Debug, Clone)]
pub(super) struct SeenRequest {
    pub(super) at: Instant,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// The values of headers with credentials.
    pub(super) credentials: Vec<String>,
}

impl SeenRequest {
    /// The user that the request claims to come from.
    fn user(&self) -> Option<String> {
        let parameter = |wanted: &str| {
            url::form_urlencoded::parse(self.query.as_bytes())
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        self.credentials
            .iter()
            .cloned()
            .chain(parameter("authorization"))
            .filter_map(|token| token::inspect(token.trim_start_matches("Bearer ")).ok())
            .find_map(|claims| claims.user_id)
            .or_else(|| parameter("user_id"))
    }
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct SeenResponse {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) request_body: BodyContent,
    pub(super) body: BodyContent,
}

/// Writes a recording.
pub(super) struct Recorder {
    started: Instant,
    state: Mutex<RecorderState>,
    warn: Box<dyn Fn(&str) + Send + Sync>,
    failed: Notify,
}

struct RecorderState {
    redactor: RecordingRedactor,
    sink: RecordingSink,
    counts: RecordingEnd,
    lines: usize,
    failure: Option<RecordingFailure>,
    is_finished: bool,
}

/// Why a recording cannot be completed.
#[derive(Debug)]
enum RecordingFailure {
    Write(std::io::Error),
    Secret(SuspectedSecret),
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder that starts now. `warn` says what is left out.
    pub(super) fn new(
        redactor: RecordingRedactor,
        sink: RecordingSink,
        warn: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            started: Instant::now(),
            state: Mutex::new(RecorderState {
                redactor,
                sink,
                counts: RecordingEnd::default(),
                lines: 0,
                failure: None,
                is_finished: false,
            }),
            warn: Box::new(warn),
            failed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, RecorderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_ms(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.started))
    }

    /// Completes once a line cannot be written, or looks as if it contained a secret.
    pub(super) async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Says what the recording leaves out, or what the proxy could not do.
    pub(super) fn warn(&self, text: &str) {
        let redacted = {
            let state = self.state();
            // An error text of a library may quote what it could not read.
            state
                .redactor
                .secrets()
                .iter()
                .any(|secret| text.contains(secret))
        };
        (self.warn)(if redacted {
            "a message was left out, because it contains a credential"
        } else {
            text
        });
    }

    /// Writes the header.
    pub(super) fn start(&self, now: DateTime<Utc>, has_pseudonyms_for_ids: bool, kept: &[String]) {
        let start = RecordingStart {
            version: RECORDING_VERSION,
            recorded_at: time::millis(now),
            program: concat!("presencectl ", env!("CARGO_PKG_VERSION")).to_owned(),
            ids: if has_pseudonyms_for_ids {
                IdHandling::Pseudonyms
            } else {
                IdHandling::Kept
            },
            kept: kept.to_vec(),
        };
        self.write(&mut self.state(), &RecordingLine::Start(start));
    }

    /// Records a request and its response.
    pub(super) fn request(&self, request: &SeenRequest, response: SeenResponse) {
        let at_ms = self.at_ms(request.at);
        let took_ms = millis(request.at.elapsed());
        let mut state = self.state();
        learn(&mut state.redactor, request);
        for body in [&response.request_body, &response.body] {
            if let Some(json) = &body.json {
                state.redactor.learn_json("", json);
            }
        }
        let redactor = &state.redactor;
        let line = RecordedRequest {
            at_ms,
            took_ms,
            method: request.method.clone(),
            path: redactor.path(&request.path),
            query: redactor.query(&request.path, &request.query),
            user: request.user().map(|user| redactor.user(&user)),
            body: response.request_body.json.map(|json| redactor.json(&json)),
            body_omitted: response.request_body.omitted,
            status: response.status,
            headers: response.headers,
            response: response.body.json.map(|json| redactor.json(&json)),
            response_omitted: response.body.omitted,
            line: 0,
        };
        let omitted: Vec<String> = [
            ("the body of the request", &line.body_omitted),
            ("the body of the response", &line.response_omitted),
        ]
        .into_iter()
        .filter_map(|(what, reason)| {
            let reason = reason.as_ref()?;
            let RecordedRequest { method, path, .. } = &line;
            Some(format!(
                "{what} to {method} {path} was not recorded: {reason}"
            ))
        })
        .collect();
        state.counts.requests += 1;
        self.write(&mut state, &RecordingLine::Request(Box::new(line)));
        drop(state);
        for text in omitted {
            self.warn(&text);
        }
    }

    /// Records that a socket was opened, and gives it a number.
    pub(super) fn open_socket(&self, request: &SeenRequest) -> u64 {
        let at_ms = self.at_ms(request.at);
        let mut state = self.state();
        learn(&mut state.redactor, request);
        state.counts.sockets += 1;
        let socket = state.counts.sockets;
        let opening = SocketOpening {
            at_ms,
            socket,
            path: state.redactor.path(&request.path),
            query: state.redactor.query(&request.path, &request.query),
            user: request.user().map(|user| state.redactor.user(&user)),
        };
        self.write(&mut state, &RecordingLine::SocketOpen(opening));
        socket
    }

    /// Records a frame.
    pub(super) fn frame(&self, socket: u64, from: FrameSender, frame: &TappedFrame) {
        let (data, data_omitted) = match frame {
            TappedFrame::Text(text) => match serde_json::from_str::<Value>(text) {
                Ok(json) => (Some(json), None),
                Err(_) => (None, Some("it is not JSON")),
            },
            TappedFrame::Binary => (None, Some("it is binary")),
            TappedFrame::Broken => (None, Some("it breaks the WebSocket protocol")),
            TappedFrame::Close(_) => return,
        };
        let at_ms = self.at_ms(Instant::now());
        let mut state = self.state();
        if let Some(json) = &data {
            state.redactor.learn_json("", json);
        }
        let line = RecordedFrame {
            at_ms,
            socket,
            from,
            data: data.map(|json| state.redactor.json(&json)),
            data_omitted: data_omitted.map(str::to_owned),
        };
        state.counts.frames += 1;
        self.write(&mut state, &RecordingLine::Frame(line));
        drop(state);
        if let Some(reason) = data_omitted {
            self.warn(&format!(
                "a frame of socket {socket} was not recorded: {reason}"
            ));
        }
    }

    /// Records the end of a socket.
    pub(super) fn end_socket(&self, socket: u64, by: FrameSender, code: Option<u16>) {
        let ending = SocketEnding {
            at_ms: self.at_ms(Instant::now()),
            socket,
            by,
            code,
        };
        self.write(&mut self.state(), &RecordingLine::SocketEnd(ending));
    }

    /// Checks a line and writes it.
    fn write(&self, state: &mut RecorderState, line: &RecordingLine) {
        // A response that ends late is not recorded.
        if state.failure.is_some() || state.is_finished {
            return;
        }
        if let Err(failure) = state.write(line) {
            state.failure = Some(failure);
            self.failed.notify_one();
        }
    }

    /// Completes the recording. `None` if nobody reads it any more.
    ///
    /// # Errors
    ///
    /// A line could not be written, or something looks like a secret. Only then the file is removed.
    pub(super) fn finish(&self) -> anyhow::Result<Option<RecordingEnd>> {
        let mut state = self.state();
        let end = RecordingEnd {
            at_ms: self.at_ms(Instant::now()),
            ..state.counts
        };
        self.write(&mut state, &RecordingLine::End(end));
        state.is_finished = true;
        let RecorderState {
            redactor,
            sink,
            failure,
            ..
        } = &mut *state;
        let result = match failure.take() {
            Some(failure) => Err(failure),
            None => match sink {
                RecordingSink::File { file, .. } => scan_file(file, redactor)
                    .and_then(|()| file.sync_all().map_err(RecordingFailure::Write)),
                RecordingSink::Output(_) => Ok(()),
            },
        };
        let RecordingSink::File { part, path, .. } = sink else {
            return match result {
                Ok(()) => Ok(Some(end)),
                Err(RecordingFailure::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
                    Ok(None)
                }
                Err(failure) => Err(failure.into_error("the recording")),
            };
        };
        let keep_part = |error: std::io::Error| -> anyhow::Error {
            let message = format!("cannot write {}: {error}", path.display());
            let hint = format!("the lines before the error are in {}", part.display());
            Failure::new(Code::Unexpected, message).hinted(hint).into()
        };
        match result {
            Ok(()) => {
                fs::rename(&*part, &*path).map_err(keep_part)?;
                Ok(Some(end))
            }
            Err(RecordingFailure::Write(error)) => Err(keep_part(error)),
            Err(failure @ RecordingFailure::Secret(_)) => {
                // Whatever is left, the error below is what matters.
                let _ = fs::remove_file(part);
                Err(failure.into_error(&path.display().to_string()))
            }
        }
    }
}

impl RecorderState {
    fn write(&mut self, line: &RecordingLine) -> Result<(), RecordingFailure> {
        self.lines += 1;
        let value = serde_json::to_value(line)
            .map_err(|error| RecordingFailure::Write(std::io::Error::other(error)))?;
        scan_line(self.lines, &value, self.redactor.secrets()).map_err(RecordingFailure::Secret)?;
        let mut text = value.to_string();
        text.push('\n');
        self.sink.write(&text).map_err(RecordingFailure::Write)
    }
}

impl RecordingFailure {
    fn into_error(self, name: &str) -> anyhow::Error {
        match self {
            Self::Write(error) => anyhow::Error::new(error).context(format!("cannot write {name}")),
            Self::Secret(found) => Failure::new(
                Code::Unexpected,
                format!(
                    "{name} was not written, because something in it looks like a secret: {found}"
                ),
            )
            .hinted("leave the field out of --keep, or add --pseudonymize-ids if it is an id")
            .into(),
        }
    }
}

/// Checks a whole file again: by now all credentials of the session are known.
fn scan_file(mut file: &File, redactor: &RecordingRedactor) -> Result<(), RecordingFailure> {
    // Through the same handle: where locks bind every reader, another one could not read the file.
    file.rewind().map_err(RecordingFailure::Write)?;
    for (place, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(RecordingFailure::Write)?;
        let value: Value = serde_json::from_str(&line)
            .map_err(|error| RecordingFailure::Write(std::io::Error::other(error)))?;
        scan_line(place + 1, &value, redactor.secrets()).map_err(RecordingFailure::Secret)?;
    }
    Ok(())
}

fn learn(redactor: &mut RecordingRedactor, request: &SeenRequest) {
    redactor.learn_query(&request.query);
    for credential in &request.credentials {
        redactor.learn(credential);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
