//! The state of a replay: which recorded requests and sockets were used, and when.
//!
//! Each recorded response is given once, in the recorded order; the last one that matches is then repeated. A frame is
//! due at its recorded distance from the last recorded request before it that this session has made as well, or else
//! from the opening of its socket. A frame also waits for the recorded requests before it, if their user takes part in
//! this session: what a request causes must not arrive before the request.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::bindings::Bindings;
use super::matching::{Comparison, LiveRequest, Recorded};
use crate::mock::recording::{
    DROPPED, FrameSender, RecordedFrame, RecordedSocket, TrafficRecording,
};

/// How long a frame waits for requests before it, beyond its recorded distance.
const REQUEST_WAIT_MAX: TimeDelta = TimeDelta::seconds(5);

/// Where to report requests that match nothing.
pub type ReplayReporter = mpsc::UnboundedSender<String>;

/// The recording of a replaying mock.
#[derive(Debug, Clone)]
pub struct ReplaySource {
    /// The recording.
    pub recording: Arc<TrafficRecording>,
    /// Receives a line for each request that matches nothing.
    pub reporter: ReplayReporter,
}

/// A running replay.
#[derive(Debug)]
pub(crate) struct TrafficReplay {
    source: ReplaySource,
    progress: Mutex<ReplayProgress>,
    changed: Notify,
}

#[derive(Debug, Clone, Default)]
struct ReplayProgress {
    /// When each request was made last.
    matched_at: Vec<Option<DateTime<Utc>>>,
    /// Whether each socket was used.
    used_sockets: Vec<bool>,
    /// The users who take part; `None` is the server side.
    present: BTreeSet<Option<String>>,
    bindings: Bindings,
    /// Grows with each reset.
    generation: u64,
}

/// A recorded response for this session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReplayedResponse {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The JSON of the body.
    pub(crate) body: Option<Value>,
    /// Why there is no body.
    pub(crate) omitted: Option<String>,
    /// Whether the response was given before.
    pub(crate) is_repeated: bool,
    /// How long the recorded response took.
    pub(crate) took_ms: u64,
}

/// A socket that plays the frames of a recorded one.
#[derive(Debug)]
pub(crate) struct SocketPlayback {
    socket: usize,
    next: usize,
    opened_at: DateTime<Utc>,
    generation: u64,
    /// The user of the socket.
    pub(crate) user: String,
    /// The recorded id of the connection.
    pub(crate) connection_id: String,
}

/// What a playing socket does next.
#[derive(Debug, PartialEq)]
pub(crate) enum NextFrame {
    /// Send this frame now.
    Send(Bytes),
    /// Wait until this time, or until something changes.
    Wait(DateTime<Utc>),
    /// Nothing more was recorded.
    Idle,
    /// Close the socket with this code; without a code, break the connection.
    Close(Option<u16>),
    /// Close the socket, because the replay starts again.
    Reset,
}

impl TrafficReplay {
    /// A replay at its start.
    pub(crate) fn new(source: ReplaySource) -> Self {
        let progress = ReplayProgress {
            matched_at: vec![None; source.recording.requests.len()],
            used_sockets: vec![false; source.recording.sockets.len()],
            ..ReplayProgress::default()
        };
        Self {
            source,
            progress: Mutex::new(progress),
            changed: Notify::new(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, ReplayProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts again from the beginning of the recording. Sockets close.
    pub(crate) fn reset(&self) {
        let mut progress = self.progress();
        progress.generation += 1;
        progress.matched_at.fill(None);
        progress.used_sockets.fill(false);
        progress.present.clear();
        progress.bindings = Bindings::default();
        drop(progress);
        self.wake();
    }

    /// Lets playing sockets look again at what is due: the clock has changed.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Completes when something has changed that playing sockets wait for.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// It matches no recorded request. The text names the nearest one and how it differs, and is reported.
    pub(crate) fn answer(
        &self,
        now: DateTime<Utc>,
        live: &LiveRequest,
    ) -> Result<ReplayedResponse, String> {
        let requests = &self.source.recording.requests;
        let mut progress = self.progress();
        let found = find(
            requests.iter().map(Recorded::from),
            live,
            &progress.bindings,
            |index| progress.matched_at[index].is_some(),
        );
        let (index, comparison) = match found {
            Ok(found) => found,
            Err(nearest) => {
                drop(progress);
                let nearest = nearest.map(|(index, comparison)| {
                    let request = &requests[index];
                    let name = format!("{} {}", request.method, request.path);
                    (request.line, name, comparison)
                });
                return Err(self.report_unmatched("request", live, nearest));
            }
        };
        let request = &requests[index];
        let is_repeated = progress.matched_at[index].is_some();
        progress.matched_at[index] = Some(now);
        progress.present.insert(request.user.clone());
        for (recorded, live) in &comparison.pairs {
            progress.bindings.bind(recorded, live);
        }
        let body = request
            .response
            .as_ref()
            .map(|body| progress.bindings.apply(body));
        drop(progress);
        self.wake();
        Ok(ReplayedResponse {
            status: request.status,
            headers: request.headers.clone().into_iter().collect(),
            body,
            omitted: request.response_omitted.clone(),
            is_repeated,
            took_ms: request.took_ms,
        })
    }

    /// Opens a socket. A frame with which the client authenticates is the body of the request.
    ///
    /// # Errors
    ///
    /// It matches no recorded socket, as with [`TrafficReplay::answer`].
    pub(crate) fn open_socket(
        &self,
        now: DateTime<Utc>,
        live: &LiveRequest,
    ) -> Result<SocketPlayback, String> {
        let sockets = &self.source.recording.sockets;
        let mut progress = self.progress();
        let found = find(
            sockets.iter().map(|socket| Recorded {
                method: "GET",
                path: &socket.opening.path,
                query: &socket.opening.query,
                user: socket.opening.user.as_deref(),
                body: socket.auth_frame(),
            }),
            live,
            &progress.bindings,
            |index| progress.used_sockets[index],
        );
        let (index, comparison) = match found {
            Ok(found) => found,
            Err(nearest) => {
                drop(progress);
                let nearest = nearest.map(|(index, comparison)| {
                    let socket = &sockets[index];
                    (socket.line, socket.opening.path.clone(), comparison)
                });
                return Err(self.report_unmatched("WebSocket", live, nearest));
            }
        };
        let socket = &sockets[index];
        progress.used_sockets[index] = true;
        progress.present.insert(socket.opening.user.clone());
        for (recorded, live) in &comparison.pairs {
            progress.bindings.bind(recorded, live);
        }
        let generation = progress.generation;
        drop(progress);
        self.wake();
        Ok(SocketPlayback {
            socket: index,
            next: 0,
            opened_at: now,
            generation,
            user: live.user.clone().unwrap_or_default(),
            connection_id: connection_id(socket),
        })
    }

    /// What a playing socket does now.
    pub(crate) fn next_frame(
        &self,
        now: DateTime<Utc>,
        playback: &mut SocketPlayback,
    ) -> NextFrame {
        let progress = self.progress();
        if progress.generation != playback.generation {
            return NextFrame::Reset;
        }
        let socket = &self.source.recording.sockets[playback.socket];
        while let Some(frame) = socket.frames.get(playback.next) {
            if is_played(frame, playback.next) {
                break;
            }
            playback.next += 1;
        }
        let frame = socket.frames.get(playback.next);
        let at_ms = match (frame, &socket.ending) {
            (Some(frame), _) => frame.at_ms,
            (None, Some(ending)) if ending.by == FrameSender::Server => ending.at_ms,
            (None, _) => return NextFrame::Idle,
        };
        let (due, is_blocked) = self.due(&progress, playback, at_ms);
        let due = if is_blocked {
            later(due, REQUEST_WAIT_MAX)
        } else {
            due
        };
        if now < due {
            return NextFrame::Wait(due);
        }
        match frame {
            Some(frame) => {
                playback.next += 1;
                let data = frame
                    .data
                    .as_ref()
                    .map(|data| progress.bindings.apply(data));
                NextFrame::Send(Bytes::from(data.unwrap_or_default().to_string()))
            }
            None => NextFrame::Close(socket.ending.and_then(|ending| ending.code)),
        }
    }

    /// When something on a socket is due, and whether a request before it is still missing.
    fn due(
        &self,
        progress: &ReplayProgress,
        playback: &SocketPlayback,
        at_ms: u64,
    ) -> (DateTime<Utc>, bool) {
        let recording = &self.source.recording;
        let opened_ms = recording.sockets[playback.socket].opening.at_ms;
        let place = |at_ms| {
            recording
                .requests
                .partition_point(|request| request.at_ms < at_ms)
        };
        let range = place(opened_ms)..place(at_ms.saturating_add(1)).max(place(opened_ms));
        let mut due = later(playback.opened_at, distance(opened_ms, at_ms));
        let mut is_blocked = false;
        let mut is_anchored = false;
        for index in range.rev() {
            let request = &recording.requests[index];
            match progress.matched_at[index] {
                Some(matched_at) if !is_anchored && matched_at >= playback.opened_at => {
                    due = later(matched_at, distance(request.at_ms, at_ms));
                    is_anchored = true;
                }
                Some(_) => {}
                None => is_blocked |= progress.present.contains(&request.user),
            }
        }
        (due, is_blocked)
    }

    /// Reports a request that matches nothing, and returns the text.
    fn report_unmatched(
        &self,
        what: &str,
        live: &LiveRequest,
        nearest: Option<(usize, String, Comparison)>,
    ) -> String {
        let live_name = match what {
            "WebSocket" => live.path.clone(),
            _ => format!("{} {}", live.method, live.path),
        };
        let live_name = crate::mock::redaction::without_tokens(&live_name);
        let text = match nearest {
            Some((line, name, comparison)) => format!(
                "no recorded {what} matches {live_name}; the nearest is {name} in line {line}; {}",
                comparison.describe()
            ),
            None => format!("no recorded {what} matches {live_name}; the recording has none"),
        };
        // Without a receiver nobody wants to know.
        let _ = self.source.reporter.send(text.clone());
        text
    }
}

/// Finds the recorded request that matches: the one that contradicts least what is known, then one that was not used,
/// then the first of those, or the last that was used.
///
/// # Errors
///
/// None matches. The error is the nearest one.
fn find<'a>(
    all: impl Iterator<Item = Recorded<'a>>,
    live: &LiveRequest,
    bindings: &Bindings,
    is_used: impl Fn(usize) -> bool,
) -> Result<(usize, Comparison), Option<(usize, Comparison)>> {
    let mut best: Option<(usize, Comparison)> = None;
    let mut nearest: Option<(usize, Comparison)> = None;
    for (index, recorded) in all.enumerate() {
        let comparison = Comparison::of(recorded, live, bindings);
        if comparison.is_match() {
            let is_better = best.as_ref().is_none_or(|(other, known)| {
                let rank = |index, contradictions| (contradictions, is_used(index));
                let (new, old) = (
                    rank(index, comparison.contradictions),
                    rank(*other, known.contradictions),
                );
                new < old || (new == old && is_used(index))
            });
            if is_better {
                best = Some((index, comparison));
            }
        } else if nearest
            .as_ref()
            .is_none_or(|(_, known)| comparison.weight < known.weight)
        {
            nearest = Some((index, comparison));
        }
    }
    best.ok_or(nearest)
}

/// Whether a recorded frame is sent: those of the server, except answers to pings, which are given to the pings of this
/// session.
fn is_played(frame: &RecordedFrame, place: usize) -> bool {
    let Some(data) = &frame.data else {
        return false;
    };
    let is_answer = place > 0 && data["type"] == "health.check";
    frame.from == FrameSender::Server && !is_answer
}

fn connection_id(socket: &RecordedSocket) -> String {
    socket
        .frames
        .iter()
        .filter_map(|frame| frame.data.as_ref()?["connection_id"].as_str())
        .find(|id| *id != DROPPED)
        .unwrap_or_default()
        .to_owned()
}

fn distance(from_ms: u64, to_ms: u64) -> TimeDelta {
    let ms = i64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(i64::MAX);
    TimeDelta::try_milliseconds(ms).unwrap_or(TimeDelta::MAX)
}

fn later(time: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    time.checked_add_signed(by)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::mock::recording::RecordingReader;

    const HEADER: &str = r#"{"type":"recording.start","version":1,"recorded_at":"2026-01-05T10:00:00.000Z","program":"presencectl","ids":"kept","kept":[]}"#;

    fn replay(lines: &[Value]) -> (TrafficReplay, mpsc::UnboundedReceiver<String>) {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let text = format!("{HEADER}\n{}\n", lines.join("\n"));
        let (reporter, reported) = mpsc::unbounded_channel();
        let recording = Arc::new(RecordingReader::read(&text).unwrap());
        (
            TrafficReplay::new(ReplaySource {
                recording,
                reporter,
            }),
            reported,
        )
    }

    fn request(at_ms: u64, user: Option<&str>, body: &Value, response: &Value) -> Value {
        json!({
            "type": "recording.request", "at_ms": at_ms, "took_ms": 1, "method": "POST",
            "path": "/users", "query": {}, "user": user, "body": body, "status": 201,
            "headers": {}, "response": response,
        })
    }

    fn live(user: Option<&str>, body: Value) -> LiveRequest {
        LiveRequest {
            method: "POST".to_owned(),
            path: "/users".to_owned(),
            query: Map::new(),
            user: user.map(str::to_owned),
            body: Some(body),
        }
    }

    fn open(at_ms: u64, user: &str) -> Value {
        json!({"type": "recording.socket.open", "at_ms": at_ms, "socket": 1, "path": "/connect", "query": {}, "user": user})
    }

    fn frame(at_ms: u64, kind: &str) -> Value {
        json!({"type": "recording.frame", "at_ms": at_ms, "socket": 1, "from": "server", "data": {"type": kind, "connection_id": "c1"}})
    }

    fn connect(user: &str) -> LiveRequest {
        LiveRequest {
            method: "GET".to_owned(),
            path: "/connect".to_owned(),
            query: Map::new(),
            user: Some(user.to_owned()),
            body: None,
        }
    }

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_767_614_400_000 + ms).unwrap()
    }

    #[test]
    fn responses_come_in_order_and_the_last_one_repeats() {
        let body = json!({"a": 1});
        let (replay, _) = replay(&[
            request(1, None, &body, &json!({"n": 1})),
            request(2, None, &body, &json!({"n": 2})),
        ]);
        let n = || {
            let response = replay.answer(at(0), &live(None, body.clone())).unwrap();
            response.body.unwrap()["n"].as_u64().unwrap()
        };
        assert_eq!([n(), n(), n(), n()], [1, 2, 2, 2]);
        replay.reset();
        assert_eq!(n(), 1);
    }

    #[test]
    fn a_pseudonym_is_bound_to_what_this_session_sends() {
        let (one, two) = ("p-0000000000000001", "p-0000000000000002");
        let (replay, _) = replay(&[
            request(1, None, &json!({"name": one}), &json!({"name": one})),
            request(
                2,
                None,
                &json!({"name": two}),
                &json!({"name": two, "before": one}),
            ),
        ]);
        let ask = |name: &str| {
            let live = live(None, json!({"name": name}));
            replay.answer(at(0), &live).unwrap().body.unwrap()
        };
        assert_eq!(ask("Amy"), json!({"name": "Amy"}));
        // Not the second one, which is of another name.
        assert_eq!(ask("Amy"), json!({"name": "Amy"}));
        assert_eq!(ask("Bob"), json!({"name": "Bob", "before": "Amy"}));
    }

    #[test]
    fn an_unmatched_request_names_the_nearest_one_and_is_reported() {
        let (replay, mut reported) = replay(&[
            request(1, None, &json!({"a": 1, "b": 1}), &json!({})),
            request(2, Some("amy"), &json!({"a": 2, "b": 2}), &json!({})),
        ]);
        let error = replay
            .answer(at(0), &live(None, json!({"a": 1, "b": 3})))
            .unwrap_err();
        assert_eq!(
            error,
            "no recorded request matches POST /users; the nearest is POST /users in line 2; body.b: recorded 1, got 3"
        );
        assert_eq!(reported.try_recv().unwrap(), error);
        let error = replay.open_socket(at(0), &connect("amy")).unwrap_err();
        assert_eq!(
            error,
            "no recorded WebSocket matches /connect; the recording has none"
        );
    }

    #[test]
    fn frames_keep_their_distances_and_wait_for_the_requests_of_users_who_take_part() {
        let (replay, _) = replay(&[
            open(100, "amy"),
            frame(110, "health.check"),
            request(200, Some("bob"), &json!({}), &json!({})),
            frame(250, "user.updated"),
            frame(260, "health.check"),
            json!({"type": "recording.socket.end", "at_ms": 300, "socket": 1, "by": "server", "code": 1001}),
        ]);
        let kind = |frame: NextFrame| match frame {
            NextFrame::Send(frame) => {
                let frame: Value = serde_json::from_slice(&frame).unwrap();
                frame["type"].as_str().unwrap().to_owned()
            }
            other => panic!("{other:?}"),
        };
        // Without bob, the frame comes at its distance from the opening.
        let mut alone = replay.open_socket(at(0), &connect("amy")).unwrap();
        assert_eq!(alone.connection_id, "c1");
        assert_eq!(
            replay.next_frame(at(9), &mut alone),
            NextFrame::Wait(at(10))
        );
        assert_eq!(kind(replay.next_frame(at(10), &mut alone)), "health.check");
        assert_eq!(
            replay.next_frame(at(10), &mut alone),
            NextFrame::Wait(at(150))
        );
        assert_eq!(kind(replay.next_frame(at(150), &mut alone)), "user.updated");
        // With bob, it comes at its distance from bob's request.
        replay.progress().present.insert(Some("bob".to_owned()));
        let mut both = replay.open_socket(at(1000), &connect("amy")).unwrap();
        assert_eq!(kind(replay.next_frame(at(1010), &mut both)), "health.check");
        assert_eq!(
            replay.next_frame(at(1500), &mut both),
            NextFrame::Wait(at(1150 + 5000))
        );
        replay
            .answer(at(2000), &live(Some("bob"), json!({})))
            .unwrap();
        assert_eq!(
            replay.next_frame(at(2000), &mut both),
            NextFrame::Wait(at(2050))
        );
        assert_eq!(kind(replay.next_frame(at(2050), &mut both)), "user.updated");
        // The answer to a ping is not played, and the server's end is.
        assert_eq!(
            replay.next_frame(at(2100), &mut both),
            NextFrame::Close(Some(1001))
        );
        replay.reset();
        assert_eq!(replay.next_frame(at(2100), &mut both), NextFrame::Reset);
    }
}
