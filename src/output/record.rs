//! Renders a record as one line of JSON.
//!
//! An event of the service is not parsed and serialised again. Its text is copied, and the fields that records add are
//! inserted. So numbers, unknown fields and the order of keys stay as they are, and rendering costs little more than a
//! copy. Records of our own are serialised.
//!
//! No key appears twice in a record. A custom event can have a field with the name of one that records add, such as
//! `seq`. Then the record keeps its own value, because readers rely on it, and the event's value moves into an object
//! `shadowed`.

use chrono::{DateTime, Utc};
use memchr::memchr2;
use serde::Serialize;

use std::ops::Range;

use crate::domain::event::{Event, EventUser, MissingFields};
use crate::domain::presence::{Change, Presence, PresenceField, PresenceFields};
use crate::domain::record::{Record, RecordBody, RecordSource};
use crate::domain::user::User;
use crate::json::scanner::{escape_controls, needs_no_escape};

/// Renders records as JSON. It caches the formatted time between records.
#[derive(Debug, Default)]
pub struct Renderer {
    received_at: ReceivedAtFormatter,
}

impl Renderer {
    /// Appends a record as a JSON object to `out`, on one line and without a line feed.
    pub fn render(&mut self, record: &Record<'_>, seq: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let mut plain = false;
        let change = match &record.body {
            RecordBody::Event { event, change } => {
                out.reserve(event.raw.len() + ADDED_FIELDS_BYTES);
                plain = event.is_plain;
                begin_event(event, out);
                match change {
                    Some(change) => Some(change),
                    None if is_user_event(event) => Some(const { &NO_CHANGE }),
                    None => None,
                }
            }
            RecordBody::Snapshot(user) => {
                begin_record(record.body.kind(), out);
                out.extend_from_slice(b",\"user\":");
                write_user(user, out);
                None
            }
            RecordBody::ConnectionChanged(body) => begin_own_record(record.body.kind(), body, out),
            RecordBody::ConnectionRecovered => {
                begin_record(record.body.kind(), out);
                None
            }
            RecordBody::Gap(body) => begin_own_record(record.body.kind(), body, out),
            RecordBody::Coverage(body) => begin_own_record(record.body.kind(), body, out),
            RecordBody::End(body) => begin_own_record(record.body.kind(), body, out),
        };
        if !plain {
            escape_controls(out, start);
        }
        out.extend_from_slice(b",\"seq\":");
        write_json(&seq, out);
        self.received_at.write(record.received_at, out);
        out.extend_from_slice(match record.source {
            RecordSource::Ws => b"\",\"source\":\"ws\"",
            RecordSource::Query => b"\",\"source\":\"query\"",
            RecordSource::Resync => b"\",\"source\":\"resync\"",
            RecordSource::Local => b"\",\"source\":\"local\"",
        });
        if let Some(change) = change {
            write_change(change, out);
        }
        out.push(b'}');
    }
}

/// Roughly how many bytes the added fields of an event take.
const ADDED_FIELDS_BYTES: usize = 512;

/// The change that is reported for a user whose earlier state is not known: none.
const NO_CHANGE: Change = Change {
    changed: PresenceFields::NONE,
    previous: Presence {
        online: None,
        invisible: None,
        status: None,
        last_active: None,
    },
    other_fields_delta: 0,
};

/// Appends the text that the service sent, on one line. Returns `false` for records that the service did not send.
pub fn write_verbatim(record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    let RecordBody::Event { event, .. } = &record.body else {
        return false;
    };
    copy_event_text(event, event.raw, out);
    true
}

/// Appends a user, given as JSON text, with `null` for missing presence fields.
pub fn write_user_text(user: &EventUser<'_>, out: &mut Vec<u8>) {
    copy_on_one_line(user.raw, out);
    out.pop();
    write_missing_fields(user.missing, out);
    out.push(b'}');
}

/// Appends a user as a JSON object, with `null` for missing presence fields.
pub fn write_user(user: &User, out: &mut Vec<u8>) {
    let first = out.len() + 1;
    write_json(user.fields(), out);
    let has = |field: PresenceField| user.get(field.name()).is_some();
    let missing = MissingFields {
        online: !has(PresenceField::Online),
        status: !has(PresenceField::Status),
        last_active: !has(PresenceField::LastActive),
        invisible: !has(PresenceField::Invisible),
    };
    out.pop();
    write_missing_fields(missing, out);
    out.push(b'}');
    if user.fields().is_empty() {
        out.remove(first);
    }
}

fn is_user_event(event: &Event<'_>) -> bool {
    event.user.is_some() && event.kind.starts_with("user.")
}

/// Appends an event without its closing brace. Fields with reserved names move into `shadowed`, and missing presence
/// fields of the user are added as `null`.
fn begin_event(event: &Event<'_>, out: &mut Vec<u8>) {
    let raw = event.raw.trim_ascii_end();
    let end = raw.strip_suffix('}').unwrap_or(raw).len();
    let user = event
        .user
        .as_ref()
        .filter(|user| user.missing != MissingFields::default())
        .and_then(|user| Some((closing_brace(raw, user)?, user.missing)));
    let mut copy_part = |part: Range<usize>| match user {
        Some((brace, missing)) if part.contains(&brace) => {
            copy_event_text(event, &raw[part.start..brace], out);
            write_missing_fields(missing, out);
            copy_event_text(event, &raw[brace..part.end], out);
        }
        _ => copy_event_text(event, &raw[part], out),
    };
    let start = raw.len() - raw.trim_ascii_start().len();
    if event.reserved_fields.is_empty() {
        copy_part(start..end);
        return;
    }
    let mut copied = start;
    for reserved in &event.reserved_fields {
        copy_part(copied..reserved.start);
        let rest = &raw[reserved.end..end];
        let behind_comma = rest
            .trim_ascii_start()
            .strip_prefix(',')
            .unwrap_or_default();
        copied = end - behind_comma.len();
    }
    copy_part(copied..end);
    let kept = out.trim_ascii_end();
    let kept = kept.strip_suffix(b",").unwrap_or(kept).len();
    out.truncate(kept);
    for (index, reserved) in event.reserved_fields.iter().enumerate() {
        let before: &[u8] = if index == 0 { b",\"shadowed\":{" } else { b"," };
        out.extend_from_slice(before);
        copy_event_text(event, &raw[reserved.clone()], out);
    }
    out.push(b'}');
}

/// The position of the closing brace of the user object in the event's text. `None` if the user is not part of the text.
fn closing_brace(raw: &str, user: &EventUser<'_>) -> Option<usize> {
    let start = (user.raw.as_ptr() as usize).checked_sub(raw.as_ptr() as usize)?;
    let brace = start.checked_add(user.raw.len())?.checked_sub(1)?;
    (raw.as_bytes().get(brace) == Some(&b'}')).then_some(brace)
}

/// Appends a part of an event's text.
fn copy_event_text(event: &Event<'_>, text: &str, out: &mut Vec<u8>) {
    if event.is_plain {
        out.extend_from_slice(text.as_bytes());
    } else {
        copy_on_one_line(text, out);
    }
}

/// Appends JSON text and replaces line breaks between its tokens by spaces, so that the record stays on one line.
fn copy_on_one_line(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    if memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

fn begin_record(kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":");
    write_json(kind, out);
}

/// Appends a record of our own without its closing brace. Such records have no `changed` field.
fn begin_own_record<'c>(
    kind: &str,
    body: &impl Serialize,
    out: &mut Vec<u8>,
) -> Option<&'c Change> {
    begin_record(kind, out);
    out.push(b',');
    let brace = out.len();
    write_json(body, out);
    out.remove(brace);
    out.pop();
    None
}

/// Appends missing presence fields as `null`. The object must already contain a field, such as `id`.
fn write_missing_fields(missing: MissingFields, out: &mut Vec<u8>) {
    for (is_missing, text) in [
        (missing.online, &b",\"online\":null"[..]),
        (missing.status, b",\"status\":null"),
        (missing.last_active, b",\"last_active\":null"),
        (missing.invisible, b",\"invisible\":null"),
    ] {
        if is_missing {
            out.extend_from_slice(text);
        }
    }
}

fn write_change(change: &Change, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"changed\":[");
    for (index, field) in change.changed.iter().enumerate() {
        let comma = usize::from(index == 0);
        let name: &[u8] = match field {
            PresenceField::Online => b",\"online\"",
            PresenceField::Invisible => b",\"invisible\"",
            PresenceField::Status => b",\"status\"",
            PresenceField::LastActive => b",\"last_active\"",
        };
        out.extend_from_slice(&name[comma..]);
    }
    out.extend_from_slice(b"],\"previous\":{");
    let previous = &change.previous;
    for (index, field) in change.changed.iter().enumerate() {
        let comma = usize::from(index == 0);
        let (name, value): (&[u8], _) = match field {
            PresenceField::Online => (b",\"online\":", PreviousValue::Flag(previous.online)),
            PresenceField::Invisible => {
                (b",\"invisible\":", PreviousValue::Flag(previous.invisible))
            }
            PresenceField::Status => (
                b",\"status\":",
                PreviousValue::Text(previous.status.as_deref()),
            ),
            PresenceField::LastActive => (
                b",\"last_active\":",
                PreviousValue::Text(previous.last_active.as_deref()),
            ),
        };
        out.extend_from_slice(&name[comma..]);
        match value {
            PreviousValue::Flag(Some(true)) => out.extend_from_slice(b"true"),
            PreviousValue::Flag(Some(false)) => out.extend_from_slice(b"false"),
            PreviousValue::Flag(None) | PreviousValue::Text(None) => out.extend_from_slice(b"null"),
            PreviousValue::Text(Some(text)) => write_string(text, out),
        }
    }
    out.push(b'}');
}

/// The earlier value of a presence field.
enum PreviousValue<'a> {
    Flag(Option<bool>),
    Text(Option<&'a str>),
}

/// Appends a JSON string. Most strings need no escapes, so they are copied without serialising.
fn write_string(text: &str, out: &mut Vec<u8>) {
    if needs_no_escape(text) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        let start = out.len();
        write_json(text, out);
        escape_controls(out, start);
    }
}

fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("plain values always serialise to memory");
}

/// Formats `received_at` as RFC 3339 in UTC with milliseconds. The last text is cached: events that arrive together
/// have the same time.
///
/// The closing quote is not written: the caller's next text starts with it.
#[derive(Debug)]
struct ReceivedAtFormatter {
    millis: i64,
    /// The field up to the second, for all times in that second.
    second: i64,
    second_len: usize,
    text: String,
}

impl Default for ReceivedAtFormatter {
    fn default() -> Self {
        Self {
            millis: i64::MIN,
            second: i64::MIN,
            second_len: 0,
            text: String::new(),
        }
    }
}

impl ReceivedAtFormatter {
    fn write(&mut self, time: DateTime<Utc>, out: &mut Vec<u8>) {
        let millis = time.timestamp_millis();
        if millis != self.millis {
            self.millis = millis;
            self.format(time);
        }
        out.extend_from_slice(self.text.as_bytes());
    }

    fn format(&mut self, time: DateTime<Utc>) {
        let second = time.timestamp();
        if second != self.second {
            self.second = second;
            self.text = time
                .format(",\"received_at\":\"%Y-%m-%dT%H:%M:%S.")
                .to_string();
            self.second_len = self.text.len();
        }
        // In a leap second, chrono counts more than 1000 milliseconds.
        let millis = time.timestamp_subsec_millis().min(999);
        let digit = |number: u32| char::from(b'0' + (number % 10) as u8);
        self.text.truncate(self.second_len);
        self.text
            .extend([digit(millis / 100), digit(millis / 10), digit(millis), 'Z']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::{ConnectionChanged, Coverage, EndReason, Gap, StreamEnd};
    use crate::fuzz::{self, FuzzTarget};
    use crate::json::scanner::Json;
    use crate::json::testing;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::{Map, Value};

    fn at() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-01-05T10:00:00.0079Z")
            .unwrap()
            .to_utc()
    }

    fn line(body: RecordBody<'_>, source: RecordSource) -> String {
        let record = Record {
            received_at: at(),
            source,
            body,
        };
        let mut out = Vec::new();
        Renderer::default().render(&record, 7, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn event(raw: &str, change: Option<Change>) -> String {
        let event = Event::parse(raw).unwrap();
        line(RecordBody::Event { event, change }, RecordSource::Ws)
    }

    fn online_changed() -> Change {
        Change {
            changed: [PresenceField::Online, PresenceField::Status].into(),
            previous: Presence {
                online: Some(false),
                status: Some("a \"b\"\n".into()),
                ..Presence::default()
            },
            ..Change::default()
        }
    }

    #[test]
    fn an_event_is_copied_and_completed() {
        insta::assert_snapshot!(
            event(
                r#"{"type":"user.presence.changed","n":1.10,"user":{"id":"john","online":true},"created_at":"x"}"#,
                Some(online_changed())
            ),
            @r#"{"type":"user.presence.changed","n":1.10,"user":{"id":"john","online":true,"status":null,"last_active":null,"invisible":null},"created_at":"x","seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"ws","changed":["online","status"],"previous":{"online":false,"status":"a \"b\"\n"}}"#
        );
    }

    #[test]
    fn a_user_event_without_a_known_past_changed_nothing() {
        insta::assert_snapshot!(
            event(r#"{"type":"user.updated","user":{"id":"a","online":true,"status":"","last_active":null,"invisible":false}}"#, None),
            @r#"{"type":"user.updated","user":{"id":"a","online":true,"status":"","last_active":null,"invisible":false},"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"ws","changed":[],"previous":{}}"#
        );
        insta::assert_snapshot!(
            event(r#"{"type":"channel.updated","cid":"messaging:fun"}"#, None),
            @r#"{"type":"channel.updated","cid":"messaging:fun","seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"ws"}"#
        );
    }

    #[test]
    fn odd_spacing_stays_json_on_one_line() {
        let raw = " \n{ \"type\" : \"user.updated\" ,\r\n \"user\" : { \"id\" : \"a\" \n } \n }\n ";
        let line = event(raw, None);
        assert!(!line.contains('\n') && !line.contains('\r'));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["user"]["invisible"], Value::Null);
        assert_eq!(value["user"].as_object().unwrap().len(), 5);
        assert_eq!(value["seq"], 7);
    }

    #[test]
    fn names_of_the_service_give_way_to_ours_and_are_kept() {
        insta::assert_snapshot!(
            event(r#"{"type":"deploy","source":"ci","user":{"id":"a"},"seq":null,"x":1}"#, None),
            @r#"{"type":"deploy","user":{"id":"a","online":null,"status":null,"last_active":null,"invisible":null},"x":1,"shadowed":{"source":"ci","seq":null},"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"ws"}"#
        );
    }

    #[test]
    fn a_snapshot_keeps_the_order_of_the_user() {
        let user: User =
            serde_json::from_str(r#"{"online":true,"id":"john","color":"green"}"#).unwrap();
        insta::assert_snapshot!(
            line(RecordBody::Snapshot(&user), RecordSource::Query),
            @r#"{"type":"presence.snapshot","user":{"online":true,"id":"john","color":"green","status":null,"last_active":null,"invisible":null},"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"query"}"#
        );
        let nobody = User::new(Map::new());
        assert!(
            line(RecordBody::Snapshot(&nobody), RecordSource::Query)
                .contains(r#""user":{"online":null,"#),
            "no comma in front of the first field"
        );
    }

    #[test]
    fn records_of_our_own() {
        let all = [
            RecordBody::ConnectionChanged(ConnectionChanged {
                online: false,
                reason: "closed \"1006\"".into(),
                attempt: 0,
            }),
            RecordBody::ConnectionRecovered,
            RecordBody::Gap(Gap {
                from: "a".into(),
                to: "b".into(),
                repaired: vec!["john".into()],
                note: "reconnected".into(),
            }),
            RecordBody::Coverage(Coverage::default()),
            RecordBody::End(StreamEnd {
                reason: EndReason::Count,
                events: 5,
                gaps: 0,
                reconnects: 0,
                exit_code: 0,
            }),
        ]
        .map(|body| line(body, RecordSource::Local))
        .join("\n");
        insta::assert_snapshot!(all, @r#"
        {"type":"connection.changed","online":false,"reason":"closed \"1006\"","attempt":0,"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"local"}
        {"type":"connection.recovered","seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"local"}
        {"type":"presence.gap","from":"a","to":"b","repaired":["john"],"note":"reconnected","seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"local"}
        {"type":"presence.coverage","requested":0,"subscribed":0,"missing":[],"missing_reasons":{},"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"local"}
        {"type":"stream.end","reason":"count","events":5,"gaps":0,"reconnects":0,"exit_code":0,"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"local"}
        "#);
    }

    #[test]
    fn every_control_character_is_an_escape() {
        let text = "a\u{7f}\u{80}\u{9b}2J\u{9f}\u{a0}©é°\u{c2}";
        let line = event(&format!(r#"{{"type":"x","text":"{text}"}}"#), None);
        assert!(line.contains(r"a\u007f\u0080\u009b2J\u009f"), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["text"], text);
        let plain = event(r#"{"type":"x","text":"©é°"}"#, None);
        assert!(plain.contains("©é°"));
    }

    #[test]
    fn verbatim_is_what_the_service_sent() {
        let raw = r#"{"type":"x", "source":1.0 }"#;
        let record = |body| Record {
            received_at: at(),
            source: RecordSource::Ws,
            body,
        };
        let mut out = Vec::new();
        let event = Event::parse(raw).unwrap();
        assert!(write_verbatim(
            &record(RecordBody::Event {
                event,
                change: None
            }),
            &mut out
        ));
        assert_eq!(out, raw.as_bytes());
        assert!(!write_verbatim(
            &record(RecordBody::ConnectionRecovered),
            &mut out
        ));
    }

    #[test]
    fn the_time_is_written_anew_each_second() {
        let mut received_at = ReceivedAtFormatter::default();
        let mut out = Vec::new();
        for text in [
            "2026-01-05T10:00:00.999Z",
            "2026-01-05T10:00:01.000Z",
            "2026-01-05T09:59:59.010Z",
            "1969-12-31T23:59:59.500Z",
        ] {
            out.clear();
            let time = DateTime::parse_from_rfc3339(text).unwrap().to_utc();
            received_at.write(time, &mut out);
            let written = std::str::from_utf8(&out).unwrap();
            assert_eq!(written, format!(",\"received_at\":\"{text}"));
        }
    }

    /// The fields of an object in their order. A name that is no text, for half a surrogate pair in it, is empty.
    fn fields(object: &str) -> Vec<(String, String)> {
        let json = Json::new(object);
        let mut fields = Vec::new();
        let end = json
            .object(json.blanks(0), |name, at| {
                let end = json.value(at)?;
                let name = String::from_utf8(name.to_vec()).unwrap();
                // A line feed between tokens becomes a blank, and a control character an escape.
                let value = json.slice(at, end).chars().map(|c| match c {
                    '\n' | '\r' => " ".to_owned(),
                    '\u{7f}'..='\u{9f}' => format!("\\u{:04x}", u32::from(c)),
                    c => c.to_string(),
                });
                let value = value.collect();
                fields.push((name, value));
                Ok(end)
            })
            .unwrap();
        json.end(end).unwrap();
        fields
    }

    /// A field whose name is ours or not quite text, or is as good as any other.
    fn odd_field() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            r#""seq""#,
            r#""\u0073eq""#,
            r#""received_at""#,
            r#""source""#,
            r#""shadowed""#,
            r#""changed""#,
            r#""\ud800""#,
            r#""x\"}{,""#,
            r#""user""#,
            r#""type""#,
        ]);
        let value = prop_oneof![3 => testing::json(), 1 => Just(r#""\ud800""#.to_owned())];
        (name, value).prop_map(|(name, value)| format!("{name}:{value}"))
    }

    const ADDED: [&str; 6] = [
        "seq",
        "received_at",
        "source",
        "changed",
        "previous",
        "shadowed",
    ];

    proptest! {
        /// Whatever the service sends, the line is one line of JSON, holds all that was sent, and all that records
        /// promise.
        #[test]
        fn any_event_becomes_a_record(
            event_text in testing::event(),
            more in prop::collection::vec(odd_field(), 0..5),
            more_in_front in any::<bool>(),
        ) {
            let body = event_text.trim_ascii();
            let body = body[1..body.len() - 1].trim_ascii();
            let mut parts = more;
            if !body.is_empty() {
                let place = if more_in_front { parts.len() } else { 0 };
                parts.insert(place, body.to_owned());
            }
            let raw = format!(" {{{} }}\n", parts.join(" , "));
            assert_record_is_complete(&raw);
        }
    }

    /// Asserts that the record of an event is one line of JSON, holds all that was sent, and all that records promise.
    fn assert_record_is_complete(raw: &str) {
        let Ok(parsed) = Event::parse(raw) else {
            return;
        };
        let user = parsed.user.clone();

        let line = event(raw, None);

        assert!(!line.contains(['\n', '\r']));
        serde_json::from_str::<IgnoredAny>(&line).unwrap();
        let (ours, sent): (Vec<_>, Vec<_>) = fields(raw)
            .into_iter()
            .partition(|(name, _)| ADDED.contains(&name.as_str()));
        let got = fields(&line);
        let (kept, added) = got.split_at(sent.len());
        for (kept, sent) in kept.iter().zip(&sent).filter(|(_, sent)| sent.0 != "user") {
            assert_eq!(kept, sent);
        }
        let mut names: Vec<_> = added.iter().map(|(name, _)| name.as_str()).collect();
        if ours.is_empty() {
            assert!(!names.contains(&"shadowed"));
        } else {
            assert_eq!(names.remove(0), "shadowed");
            let shadowed = fields(&added[0].1);
            let last = |of: &[(String, String)], name: &str| {
                of.iter().rfind(|(own, _)| own == name).cloned()
            };
            for (name, _) in &ours {
                assert_eq!(last(&shadowed, name), last(&ours, name));
            }
        }
        assert!(
            names.starts_with(&["seq", "received_at", "source"]),
            "{names:?}"
        );
        if let Some(user) = user {
            let at = sent.iter().rposition(|(name, _)| name == "user").unwrap();
            let got: Map<String, Value> = match serde_json::from_str(&kept[at].1) {
                Ok(got) => got,
                Err(_) => return,
            };
            for promised in ["id", "online", "status", "last_active", "invisible"] {
                assert!(got.contains_key(promised));
            }
            for (name, value) in serde_json::from_str::<Map<String, Value>>(user.raw).unwrap() {
                assert_eq!(&got[&name], &value);
            }
        }
    }

    #[test]
    fn fuzz_records() {
        const FIELDS: &[(&str, &str)] = &[
            ("type", r#""user.presence.changed""#),
            ("type", r#""x.y""#),
            ("user", r#"{"id":"amy","online":true}"#),
            (
                "user",
                r#"{"id":"amy","status":"x","last_active":null,"invisible":false,"a":[1]}"#,
            ),
            ("seq", "5"),
            ("received_at", "null"),
            ("source", r#"{"a":"b"}"#),
            ("changed", "[]"),
            ("previous", "{}"),
            ("shadowed", r#"{"seq":1}"#),
            ("cid", r#""messaging:a""#),
            ("error", r#"{"code":1}"#),
            ("\\ud800", r#""\ud800""#),
        ];
        const WORDS: &[&str] = &[
            "type", "user", "seq", "source", "shadowed", "id", "online", "\\ud800",
        ];
        let target = FuzzTarget {
            name: "records",
            inputs: 3000,
            generate: |rng| fuzz::object(rng, WORDS, FIELDS),
            words: WORDS,
        };
        target.run(assert_record_is_complete);
    }

    #[test]
    fn names_that_are_no_text_and_users_that_are_none_stay_json() {
        insta::assert_snapshot!(
            [
                r#"{"type":"x.y","seq":5,"\ud800":1}"#,
                r#"{"type":"x.y","seq":1,"user":5,"user":{"id":"ann"}}"#,
                r#"{ "seq" : 1 , "type" : "x.y" , "source" : 2 }"#,
            ]
            .map(|raw| event(raw, None))
            .join("\n"),
            @r#"
        {"type":"x.y","\ud800":1,"shadowed":{"seq":5},"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"ws"}
        {"type":"x.y","user":5,"user":{"id":"ann","online":null,"status":null,"last_active":null,"invisible":null},"shadowed":{"seq":1},"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"ws"}
        {  "type" : "x.y" ,"shadowed":{"seq" : 1,"source" : 2},"seq":7,"received_at":"2026-01-05T10:00:00.007Z","source":"ws"}
        "#
        );
    }
}
