//! The traffic log: recent requests and frames in a bounded ring buffer, for debugging a client.
//!
//! Logging an entry costs a lock and a reference to existing bytes. Everything else, such as hiding secrets, happens
//! when entries are read. Entries that fall out of the buffer are counted, so that a reader knows how many are missing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::encoded_frame::{EncodedFrame, FrameBatch};
use super::engine::Rfc3339;
use super::redaction::{hidden, json_in, without_tokens};

/// How many entries are kept.
const MAX_ENTRIES: usize = 10_000;
/// How many bytes of memory the kept entries take, roughly: their contents and what it costs to hold them.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// How many bytes one allocation takes beyond its contents, roughly.
const ALLOCATION_OVERHEAD_BYTES: usize = 16;
/// How many bytes of one request or frame are shown.
const SHOWN_MAX_BYTES: usize = 16 * 1024;

/// A connection and its user.
#[derive(Debug, Clone)]
pub(crate) struct SocketIdentity {
    /// The connection's id.
    pub(crate) connection: Arc<str>,
    /// The user's id.
    pub(crate) user: Arc<str>,
}

/// An entry: something that happened on the wire.
#[derive(Debug, Clone)]
pub(crate) enum TrafficEvent {
    /// A request and its response.
    Request(Box<LoggedRequest>),
    /// A socket opened.
    Opened(SocketIdentity),
    /// A socket closed.
    Closed(SocketIdentity, String),
    /// A frame was sent to a client.
    Sent(SocketIdentity, Arc<EncodedFrame>, Option<String>),
    /// A frame was received from a client.
    Heard(SocketIdentity, Bytes),
}

/// A request and its response.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoggedRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Parameters by name.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) user: Option<String>,
    /// The start of the body.
    pub(crate) body: Bytes,
    /// The response status; `None` if there was no response.
    pub(crate) status: Option<u16>,
    /// The body of an error response.
    pub(crate) refusal: Option<Bytes>,
    pub(crate) took: Duration,
    /// The fault that applied to it.
    pub(crate) fault: Option<String>,
}

impl LoggedRequest {
    /// The body for display, without secrets: JSON if it parses, else text; `null` if there is none.
    pub(crate) fn shown_body(&self) -> Value {
        if self.body.is_empty() {
            Value::Null
        } else {
            shown(&self.body)
        }
    }
}

impl TrafficEvent {
    /// Bytes of memory that the entry takes, roughly. A frame that several connections receive is counted for each.
    fn size(&self) -> usize {
        let contents = match self {
            Self::Request(request) => {
                let query: usize = request
                    .query
                    .iter()
                    .map(|(name, value)| {
                        size_of::<(String, String)>() + heap(name.len()) + heap(value.len())
                    })
                    .sum();
                heap(size_of::<LoggedRequest>())
                    + heap(query)
                    + heap(request.method.len())
                    + heap(request.path.len())
                    + heap(request.body.len())
                    + heap(request.user.as_ref().map_or(0, String::len))
                    + heap(request.fault.as_ref().map_or(0, String::len))
                    + heap(request.refusal.as_ref().map_or(0, Bytes::len))
            }
            Self::Sent(_, frame, fault) => {
                return sent_size(frame) + fault.as_ref().map_or(0, String::len);
            }
            Self::Heard(_, frame) => heap(frame.len()),
            Self::Opened(_) => 0,
            Self::Closed(_, how) => heap(how.len()),
        };
        size_of::<LogRecord>() + contents
    }

    /// The entry as JSON, without secrets.
    fn to_json(&self) -> Map<String, Value> {
        let mut told = Map::new();
        let mut tell = |name: &str, value: Value| told.insert(name.to_owned(), value);
        match self {
            Self::Request(request) => {
                tell("type", "mock.request".into());
                tell("method", request.method.clone().into());
                tell("path", without_tokens(&request.path).into());
                tell("user", request.user.as_deref().map(without_tokens).into());
                tell("status", request.status.into());
                if let Some(refusal) = &request.refusal {
                    let refusal = shown(refusal);
                    tell(
                        "error",
                        json!({"code": refusal.get("code"), "message": refusal.get("message")}),
                    );
                }
                let mut query = Map::new();
                for (name, value) in &request.query {
                    // The API key is public and the same in every request. Other parameters are shown by name, without
                    // secrets.
                    if name != "api_key" {
                        query.insert(without_tokens(name), hidden(name, json_in(value)));
                    }
                }
                tell("query", query.into());
                if !request.body.is_empty() {
                    tell("body", request.shown_body());
                }
                let took = request.took.as_secs_f64() * 1000.0;
                tell("took_ms", json!((took * 100.0).round() / 100.0));
                if let Some(fault) = &request.fault {
                    tell("fault", fault.clone().into());
                }
            }
            Self::Opened(socket_identity) => {
                tell("type", "mock.socket.open".into());
                told.extend(socket_identity.to_json());
            }
            Self::Closed(socket_identity, how) => {
                tell("type", "mock.socket.end".into());
                tell("reason", without_tokens(how).into());
                told.extend(socket_identity.to_json());
            }
            Self::Sent(socket_identity, frame, fault) => {
                tell("type", "mock.frame.sent".into());
                if let Some(fault) = fault {
                    tell("fault", fault.clone().into());
                }
                told.extend(socket_identity.to_json());
                told.insert("frame".to_owned(), shown(frame.text()));
            }
            Self::Heard(socket_identity, frame) => {
                tell("type", "mock.frame.heard".into());
                told.extend(socket_identity.to_json());
                told.insert("frame".to_owned(), shown(frame));
            }
        }
        told
    }
}

impl SocketIdentity {
    fn to_json(&self) -> [(String, Value); 2] {
        [
            ("user".to_owned(), without_tokens(&self.user).into()),
            ("connection_id".to_owned(), (*self.connection).into()),
        ]
    }
}

/// Bytes for display: JSON if they parse, else text, shortened.
fn shown(bytes: &[u8]) -> Value {
    if bytes.len() <= SHOWN_MAX_BYTES {
        let text = String::from_utf8_lossy(bytes);
        return hidden("", json_in(&text));
    }
    let start = String::from_utf8_lossy(&bytes[..SHOWN_MAX_BYTES / 8]);
    json!(format!(
        "{}… ({} bytes)",
        without_tokens(&start),
        bytes.len()
    ))
}

/// Bytes of memory that an allocation takes, roughly.
const fn heap(length: usize) -> usize {
    length + ALLOCATION_OVERHEAD_BYTES
}

/// Bytes of memory that a sent frame takes, roughly.
fn sent_size(frame: &EncodedFrame) -> usize {
    size_of::<LogRecord>() + heap(frame.text().len()) + ALLOCATION_OVERHEAD_BYTES
}

/// What happened at a time: one entry, or several.
#[derive(Debug)]
struct LogRecord {
    /// The number of its first entry.
    first: u64,
    at: DateTime<Utc>,
    happening: Happening,
}

#[derive(Debug)]
enum Happening {
    One(TrafficEvent),
    /// Frames that were sent together to a client. Each is an entry.
    Frames(SocketIdentity, FrameBatch),
}

impl Happening {
    /// How many entries it is.
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Frames(_, frames) => frames.len(),
        }
    }

    /// Its entries from a position on.
    fn entries(&self, from: usize) -> impl Iterator<Item = TrafficEvent> {
        let (one, frames) = match self {
            Self::One(event) => (Some(event.clone()), None),
            Self::Frames(identity, frames) => (None, Some((identity, frames))),
        };
        let frames = frames.into_iter().flat_map(move |(identity, frames)| {
            let frames = frames.iter().skip(from);
            frames.map(|frame| TrafficEvent::Sent(identity.clone(), frame.clone(), None))
        });
        one.into_iter().chain(frames)
    }

    /// Removes the first entry. Returns its size.
    fn remove_first(&mut self) -> usize {
        match self {
            Self::One(event) => event.size(),
            Self::Frames(_, frames) => frames.pop().map_or(0, |frame| sent_size(&frame)),
        }
    }
}

#[derive(Debug, Default)]
struct LogBuffer {
    records: VecDeque<LogRecord>,
    /// The number of entries.
    count: usize,
    bytes: usize,
    /// The number of the last entry.
    last: u64,
    closed: bool,
}

impl LogBuffer {
    /// Adds a record of this size, and removes the oldest entries for which there is no room.
    fn push(&mut self, at: DateTime<Utc>, happening: Happening, bytes: usize) {
        let count = happening.count();
        let first = self.last + 1;
        self.bytes += bytes;
        self.count += count;
        self.last += count as u64;
        self.records.push_back(LogRecord {
            first,
            at,
            happening,
        });
        while self.count > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.records.front_mut() else {
                break;
            };
            let is_last = oldest.happening.count() == 1;
            self.bytes -= oldest.happening.remove_first();
            oldest.first += 1;
            self.count -= 1;
            if is_last {
                self.records.pop_front();
            }
        }
    }
}

/// The traffic log.
#[derive(Debug, Default)]
pub(crate) struct TrafficLog {
    ring: Mutex<LogBuffer>,
    more: Notify,
}

/// An entry as the log keeps it, with its number.
#[derive(Debug, Clone)]
pub(crate) struct NumberedEvent {
    pub(crate) number: u64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) event: TrafficEvent,
}

impl NumberedEvent {
    /// The entry as JSON, without secrets.
    fn to_json(&self) -> Value {
        let mut told = Map::new();
        let mut content = self.event.to_json();
        if let Some(kind) = content.shift_remove("type") {
            told.insert("type".to_owned(), kind);
        }
        told.insert("number".to_owned(), self.number.into());
        told.insert("at".to_owned(), Rfc3339(self.at).to_string().into());
        told.extend(content);
        Value::Object(told)
    }
}

/// A part of the traffic log, as it is kept.
#[derive(Debug)]
pub(crate) struct LogEntries {
    /// The entries, oldest first.
    pub(crate) entries: Vec<NumberedEvent>,
    /// The number from which to continue reading.
    pub(crate) next: u64,
    /// How many of the requested entries are no longer in the log.
    pub(crate) lost: u64,
}

/// A part of the traffic log as JSON.
#[derive(Debug)]
pub(crate) struct LogPage {
    /// The entries, oldest first.
    pub(crate) notes: Vec<Value>,
    /// The number from which to continue reading.
    pub(crate) next: u64,
    /// How many of the requested entries are no longer in the log.
    pub(crate) lost: u64,
}

impl TrafficLog {
    fn ring(&self) -> MutexGuard<'_, LogBuffer> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry.
    pub(crate) fn record(&self, at: DateTime<Utc>, event: TrafficEvent) {
        let bytes = event.size();
        let happening = Happening::One(event);
        self.ring().push(at, happening, bytes);
        self.more.notify_waiters();
    }

    /// Adds an entry for each of the frames that are sent together to a client.
    pub(crate) fn record_frames(
        &self,
        at: DateTime<Utc>,
        identity: &SocketIdentity,
        frames: &FrameBatch,
    ) {
        let bytes = frames.iter().map(|frame| sent_size(frame)).sum();
        let happening = Happening::Frames(identity.clone(), frames.clone());
        self.ring().push(at, happening, bytes);
        self.more.notify_waiters();
    }

    /// Removes all entries. The numbers continue.
    pub(crate) fn clear(&self) {
        let mut ring = self.ring();
        ring.records.clear();
        ring.count = 0;
        ring.bytes = 0;
    }

    /// Ends all waits.
    pub(crate) fn close(&self) {
        self.ring().closed = true;
        self.more.notify_waiters();
    }

    /// The number of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.ring().last
    }

    /// The entries after a number that a filter passes, as JSON, up to a limit.
    pub(crate) fn after(
        &self,
        since: u64,
        limit: usize,
        passes: impl Fn(DateTime<Utc>, &TrafficEvent) -> bool,
    ) -> LogPage {
        let mut page = LogPage {
            notes: Vec::new(),
            next: since,
            lost: 0,
        };
        loop {
            let missing = limit - page.notes.len();
            let read = self.entries_after(page.next, missing);
            page.next = read.next;
            page.lost += read.lost;
            let is_end = read.entries.is_empty();
            let matching = read
                .entries
                .iter()
                .filter(|entry| passes(entry.at, &entry.event));
            page.notes.extend(matching.map(NumberedEvent::to_json));
            if is_end || page.notes.len() >= limit {
                return page;
            }
        }
    }

    /// The entries after a number, up to a limit.
    pub(crate) fn entries_after(&self, since: u64, limit: usize) -> LogEntries {
        let ring = self.ring();
        let first = ring.last - ring.count as u64;
        let start = since.max(first);
        let mut entries = Vec::new();
        // Found by its number: the log is long, and senders wait meanwhile.
        let next_record = ring
            .records
            .partition_point(|record| record.first - 1 + record.happening.count() as u64 <= start);
        for record in ring.records.range(next_record..) {
            let room = limit - entries.len();
            if room == 0 {
                break;
            }
            let first_number = start + 1 + entries.len() as u64;
            let from = usize::try_from(first_number - record.first).unwrap_or(usize::MAX);
            let events = record.happening.entries(from).take(room);
            entries.extend((first_number..).zip(events).map(|(number, event)| {
                let at = record.at;
                NumberedEvent { number, at, event }
            }));
        }
        let last = ring.last;
        drop(ring);
        // A larger number than the last one comes from another server's log.
        let next = entries.last().map_or(start.min(last), |entry| entry.number);
        LogEntries {
            entries,
            next,
            lost: start.saturating_sub(since),
        }
    }

    /// Whether the log has ended, because the server stops.
    pub(crate) fn is_closed(&self) -> bool {
        self.ring().closed
    }

    /// Waits until there is an entry after a number.
    pub(crate) async fn wait_after(&self, since: u64) {
        loop {
            let more = self.more.notified();
            {
                let ring = self.ring();
                if ring.last != since || ring.closed {
                    return;
                }
            }
            more.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket_identity() -> SocketIdentity {
        SocketIdentity {
            connection: "c1".into(),
            user: "john".into(),
        }
    }

    fn sent(text: &str) -> TrafficEvent {
        TrafficEvent::Sent(
            socket_identity(),
            EncodedFrame::new(text.to_owned().into()),
            None,
        )
    }

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzZXJ2ZXIiOnRydWV9.DHnfQolWsEGFcTR7ZwVBbIVUFAvxzDJXzB6UlyU-7JQ";

    #[test]
    fn no_secret_is_ever_shown() {
        let traffic_log = TrafficLog::default();
        let query = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        traffic_log.record(
            DateTime::UNIX_EPOCH,
            TrafficEvent::Request(Box::new(LoggedRequest {
                query: vec![
                    query("api_key", "the-key"),
                    query("authorization", "hush"),
                    query("json", &format!(r#"{{"user_details":{{"id":"a","note":"my {TOKEN}!"}},"user_token":"hush"}}"#)),
                ],
                body: Bytes::from(format!(r#"{{"password":"hush","deep":[{{"api_secret":"hush"}}],"text":"{TOKEN}"}}"#)),
                refusal: Some(Bytes::from(format!(r#"{{"code":5,"message":"bad {TOKEN}","access_token":"hush"}}"#))),
                ..LoggedRequest::default()
            })),
        );
        traffic_log.record(DateTime::UNIX_EPOCH, sent(&format!("garbage {TOKEN}")));
        let long = format!("{TOKEN}{}", " ".repeat(SHOWN_MAX_BYTES));
        traffic_log.record(DateTime::UNIX_EPOCH, sent(&long));
        let page = traffic_log.after(0, 100, |_, _| true);
        let text = serde_json::to_string(&page.notes).unwrap();
        assert!(!text.contains("hush") && !text.contains("eyJ"), "{text}");
        assert!(!text.contains("the-key"), "{text}");
        assert_eq!(
            page.notes[0]["query"]["json"]["user_details"]["note"],
            "my (hidden)!"
        );
        assert_eq!(page.notes[0]["error"]["code"], 5);
    }

    #[test]
    fn the_ring_is_bounded_and_says_what_is_gone() {
        let traffic_log = TrafficLog::default();
        for number in 0..MAX_ENTRIES + 5 {
            traffic_log.record(DateTime::UNIX_EPOCH, sent(&format!(r#"{{"n":{number}}}"#)));
        }
        let page = traffic_log.after(0, 2, |_, _| true);
        assert_eq!((page.lost, page.next), (5, 7));
        assert_eq!(page.notes[0]["frame"]["n"], 5);
        assert_eq!(page.notes[0]["number"], 6);
        let rest = traffic_log.after(page.next, usize::MAX, |_, _| true);
        assert_eq!((rest.notes.len(), rest.lost), (MAX_ENTRIES - 2, 0));
        assert_eq!(rest.next, traffic_log.last());
        assert!(
            traffic_log
                .after(rest.next, 10, |_, _| true)
                .notes
                .is_empty()
        );

        let big = "x".repeat(MAX_BYTES / 4);
        for _ in 0..8 {
            traffic_log.record(DateTime::UNIX_EPOCH, sent(&big));
        }
        assert!(traffic_log.ring().count <= 4);
        assert!(traffic_log.ring().bytes <= MAX_BYTES);
        traffic_log.clear();
        let page = traffic_log.after(0, 10, |_, _| true);
        assert_eq!((page.notes.len(), page.next), (0, traffic_log.last()));
    }

    #[test]
    fn frames_that_are_sent_together_are_entries_of_their_own() {
        let traffic_log = TrafficLog::default();
        let send = |from: usize, count: usize| {
            let mut frames = FrameBatch::default();
            for number in from..from + count {
                frames.push(EncodedFrame::new(format!(r#"{{"n":{number}}}"#).into()));
            }
            traffic_log.record_frames(DateTime::UNIX_EPOCH, &socket_identity(), &frames);
        };
        send(0, 3);
        traffic_log.record(DateTime::UNIX_EPOCH, sent(r#"{"n":3}"#));
        send(4, MAX_ENTRIES - 2);
        // Two of the first three have no room.
        let read = |since, limit| {
            let read = traffic_log.entries_after(since, limit);
            let numbers: Vec<u64> = read.entries.iter().map(|entry| entry.number).collect();
            for entry in &read.entries {
                let TrafficEvent::Sent(_, frame, None) = &entry.event else {
                    panic!("{entry:?}");
                };
                let text = format!(r#"{{"n":{}}}"#, entry.number - 1);
                assert_eq!(frame.text(), text.as_bytes());
            }
            (numbers, read.next, read.lost)
        };
        assert_eq!(read(0, 4), (vec![3, 4, 5, 6], 6, 2));
        assert_eq!(read(6, 2), (vec![7, 8], 8, 0));
        let (rest, next, lost) = read(8, usize::MAX);
        assert_eq!((rest.len(), lost), (MAX_ENTRIES - 6, 0));
        assert_eq!(next, traffic_log.last());
        assert_eq!(read(next, 5), (vec![], next, 0));
        // From each number on, in the middle of a record as well.
        for since in 2..next {
            assert_eq!(read(since, 1), (vec![since + 1], since + 1, 0));
        }
        assert_eq!(read(u64::MAX, 5), (vec![], next, 0));
    }

    #[tokio::test]
    async fn a_reader_waits_for_the_next_note_or_the_end() {
        let traffic_log = Arc::new(TrafficLog::default());
        let reader = tokio::spawn({
            let traffic_log = traffic_log.clone();
            async move {
                traffic_log.wait_after(0).await;
                traffic_log.wait_after(1).await;
                traffic_log.after(0, 10, |_, _| true).notes.len()
            }
        });
        tokio::task::yield_now().await;
        traffic_log.record(DateTime::UNIX_EPOCH, sent("{}"));
        tokio::task::yield_now().await;
        assert!(!reader.is_finished());
        traffic_log.close();
        assert_eq!(reader.await.unwrap(), 1);
    }
}
