//! Parses one line of a recorded stream for what it says about presence.
//!
//! A line is a record if it is a JSON object with a `type` and a `received_at`. Everything else in it is validated as
//! JSON and dropped.

use std::borrow::Cow;

use chrono::DateTime;

use super::shape::{LineField, LineShapes, RecordType, flag, text};
use crate::domain::time::Millis;
use crate::json::scanner::{Json, Text};

/// The parts of a record that reports need.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RecordedLine<'a> {
    /// `received_at`.
    pub(super) at: Millis,
    /// `seq`, if there is one.
    pub(super) seq: Option<u64>,
    /// The content.
    pub(super) body: LineBody<'a>,
}

/// The content of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineBody<'a> {
    /// Nothing about presence.
    Other,
    /// The state of a user who is subscribed.
    Observed {
        user: UserText<'a>,
        online: bool,
        /// When the event happened on the service's clock. Answers to queries (snapshots and resyncs) have no such
        /// time: a resync shows the watcher's own time as `created_at`.
        happened: Option<Millis>,
    },
    /// The state of a user who may only visit the channel.
    Visited { user: UserText<'a>, online: bool },
    /// The user was deleted, or is no longer followed.
    Gone { id: Cow<'a, str> },
    /// The connection was lost.
    ConnectionLost,
    /// The connection is established; subscriptions are still missing.
    ConnectionMade,
    /// All subscriptions are restored.
    ConnectionRecovered,
    /// Events may be missing between two times.
    Gap {
        from: Millis,
        to: Millis,
        repaired: Vec<Cow<'a, str>>,
    },
    /// These users are not subscribed.
    Coverage { missing: Vec<Cow<'a, str>> },
    /// The stream ended.
    End,
}

/// What a record says about a user, except presence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserText<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) status: Option<Cow<'a, str>>,
}

/// Whether a line is the first of a recording of requests, which `mock record` writes. It says nothing about presence.
pub fn starts_traffic_recording(line: &[u8]) -> bool {
    line.starts_with(br#"{"type":"recording.start","#)
}

/// Whether a line is a record of a stream, as `watch` writes it.
pub fn is_record(line: &str) -> bool {
    LineReader::new(false).read(line).is_some()
}

/// A parser of lines. It remembers the shapes of lines, and the latest minute: most times of a stream are in the same
/// one.
#[derive(Debug)]
pub(super) struct LineReader {
    shapes: LineShapes,
    minute: Option<Minute>,
}

/// A time up to the minute, as it is written (`2026-01-05T10:00:`), and as milliseconds.
#[derive(Debug)]
struct Minute {
    text: [u8; 17],
    start: Millis,
}

impl LineReader {
    /// `texts` says whether names and status texts are read.
    pub(super) const fn new(texts: bool) -> Self {
        Self {
            shapes: LineShapes::new(texts),
            minute: None,
        }
    }

    /// Parses a line. `None` if it is not a record.
    pub(super) fn read<'a>(&mut self, line: &'a str) -> Option<RecordedLine<'a>> {
        let json = Json::new(line);
        let (common, fields) = self.shapes.find(line, json)?;
        let at = self.time(json, fields.of(LineField::ReceivedAt))?;
        let of_user = || {
            Some(UserText {
                id: text(json, fields.of(LineField::UserId)?)?,
                name: fields.of(LineField::UserName).and_then(|at| text(json, at)),
                status: fields
                    .of(LineField::UserStatus)
                    .and_then(|at| text(json, at)),
            })
        };
        let online = fields
            .of(LineField::UserOnline)
            .and_then(|at| flag(json, at));
        let body = match (common.record_type?, online) {
            (RecordType::UserChanged, Some(online)) => LineBody::Observed {
                user: of_user()?,
                online,
                happened: if common.is_resync {
                    None
                } else {
                    self.time(json, fields.of(LineField::CreatedAt))
                },
            },
            (RecordType::UserChanged, None) if common.is_deleted || common.is_resync => {
                LineBody::Gone { id: of_user()?.id }
            }
            (RecordType::Snapshot, Some(online)) => LineBody::Observed {
                user: of_user()?,
                online,
                happened: None,
            },
            (RecordType::UserRemoved, _) => match of_user() {
                Some(user) => LineBody::Gone { id: user.id },
                None => LineBody::Other,
            },
            (RecordType::UserWatching, Some(online)) => LineBody::Visited {
                user: of_user()?,
                online,
            },
            (RecordType::ConnectionChanged, _) if common.connected == Some(false) => {
                LineBody::ConnectionLost
            }
            (RecordType::ConnectionChanged, _) => LineBody::ConnectionMade,
            (RecordType::ConnectionRecovered, _) => LineBody::ConnectionRecovered,
            (RecordType::Gap, _) => LineBody::Gap {
                from: self.time(json, fields.of(LineField::From))?,
                to: self.time(json, fields.of(LineField::To))?,
                repaired: strings(json, fields.of(LineField::Ids)),
            },
            (RecordType::Coverage, _) => LineBody::Coverage {
                missing: strings(json, fields.of(LineField::Ids)),
            },
            (RecordType::End, _) => LineBody::End,
            _ => LineBody::Other,
        };
        let seq = fields
            .of(LineField::Seq)
            .and_then(|at| whole_number(json, at));
        Some(RecordedLine { at, seq, body })
    }

    /// Parses an RFC 3339 time, as milliseconds.
    #[inline]
    fn time(&mut self, json: Json<'_>, at: Option<usize>) -> Option<Millis> {
        let text = text(json, at?)?;
        let (minute, rest) = text.as_bytes().split_first_chunk()?;
        let within = millis_of_minute(rest);
        match (within, &self.minute) {
            (Some(within), Some(known)) if known.text == *minute => Some(known.start + within),
            _ => {
                let at = DateTime::parse_from_rfc3339(&text).ok()?.timestamp_millis();
                if let Some(within) = within {
                    let (text, start) = (*minute, at - within);
                    self.minute = Some(Minute { text, start });
                }
                Some(at)
            }
        }
    }
}

/// The number at a position of valid JSON. `None` for any other value, and for a number that is negative, too large, or
/// written with a fraction or an exponent.
fn whole_number(json: Json<'_>, at: usize) -> Option<u64> {
    let (mut end, mut number) = (at, 0_u64);
    while let Some(digit @ b'0'..=b'9') = json.peek(end) {
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        end += 1;
    }
    let is_whole = !matches!(json.peek(end), Some(b'.' | b'e' | b'E'));
    (is_whole && end > at).then_some(number)
}

/// The milliseconds in the usual end of a time: `ss.mmm`, perhaps with more digits, and `Z`.
fn millis_of_minute(text: &[u8]) -> Option<Millis> {
    let [a, b, b'.', c, d, e, more @ .., b'Z'] = text else {
        return None;
    };
    if !more.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = [a, b, c, d, e].map(|digit| digit.wrapping_sub(b'0'));
    let millis = digits
        .iter()
        .fold(0, |millis, digit| millis * 10 + Millis::from(*digit));
    (millis < 60_000 && digits.iter().all(|digit| *digit <= 9)).then_some(millis)
}

/// The strings of a valid JSON array.
fn strings<'a>(json: Json<'a>, at: Option<usize>) -> Vec<Cow<'a, str>> {
    let mut strings = Vec::new();
    if let Some(at) = at.filter(|at| json.peek(*at) == Some(b'[')) {
        let _ = json.array(at, |at| {
            let (end, text) = json.text(at)?;
            strings.extend(text.and_then(Text::read));
            Ok(end)
        });
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{self, FuzzTarget};
    use serde_json::Value;

    fn read(line: &str) -> Option<RecordedLine<'_>> {
        LineReader::new(false).read(line)
    }

    #[test]
    fn times_are_read_like_the_library_reads_them() {
        let mut reader = LineReader::new(false);
        for text in [
            "2026-11-26T13:54:32.975Z",
            "2026-11-26T13:54:32.974997909Z",
            "2026-11-26T13:54:02.1Z",
            "2026-11-26T13:54:02Z",
            "2026-11-26T14:54:32.975+01:00",
            "2026-11-26T13:54:59.999Z",
            "2026-11-26T13:55:00.000Z",
            "2026-11-26T13:55:0x.000Z",
            "2026-11-26T13:55:61.000Z",
            "2026-11-26T13:55:01.00aZ",
            "2026-11-26T13:55:01.000aZ",
            "yesterday",
            "",
        ] {
            let line = format!(r#"{{"type":"x","received_at":"{text}"}}"#);
            let expected = DateTime::parse_from_rfc3339(text).ok();
            assert_eq!(
                reader.read(&line).map(|line| line.at),
                expected.map(|time| time.timestamp_millis()),
                "{text}"
            );
        }
    }

    #[test]
    fn fuzz_lines() {
        const FIELDS: &[(&str, &str)] = &[
            ("type", r#""user.presence.changed""#),
            ("type", r#""presence.snapshot""#),
            ("type", r#""presence.gap""#),
            ("type", r#""presence.coverage""#),
            ("received_at", r#""2026-01-05T10:00:00.007Z""#),
            ("received_at", r#""2026-01-05T10:00:59.999999Z""#),
            ("received_at", r#""2026-01-05T10:01:00Z""#),
            ("from", r#""2026-01-05T10:00:00.1Z""#),
            ("to", r#""2026-01-05T10:00:00+14:00""#),
            ("user", r#"{"id":"amy","online":true,"name":"Amy"}"#),
            ("seq", "7"),
            ("source", r#""resync""#),
            ("deleted", "true"),
            ("repaired", r#"["amy","bob"]"#),
            ("missing", r#"["amy",7]"#),
        ];
        const WORDS: &[&str] = &[
            "type",
            "received_at",
            "user",
            "id",
            "seq",
            "60",
            ":59",
            ".9",
            "T",
            "Z",
        ];
        let target = FuzzTarget {
            name: "lines",
            inputs: 1500,
            generate: |rng| {
                let lines =
                    [(); 3].map(|()| fuzz::object(rng, WORDS, FIELDS).replace(['\n', '\r'], " "));
                lines.join("\n")
            },
            words: WORDS,
        };
        target.run(|text| {
            let mut reader = LineReader::new(false);
            for line in text.lines() {
                let got = reader.read(line);
                assert_eq!(got, read(line), "what was read before changes nothing");
                let (Some(got), Ok(value)) = (got, serde_json::from_str::<Value>(line)) else {
                    continue;
                };
                let received_at = value["received_at"].as_str().unwrap();
                let time = DateTime::parse_from_rfc3339(received_at).unwrap();
                assert_eq!(got.at, time.timestamp_millis());
                assert_eq!(got.seq, value["seq"].as_u64());
            }
        });
    }

    /// Every line that differs from a known one in one place reads as it does without a known one.
    #[test]
    fn known_shapes_change_nothing() {
        let known = [
            r#"{"type":"user.presence.changed","created_at":"2026-01-05T10:00:00.123456Z","user":{"id":"amy","name":"Amy","online":true,"n":[1,{"a":"b"}],"status":null},"changed":["online"],"previous":{"online":false},"seq":7,"received_at":"2026-01-05T10:00:00.200Z","source":"ws"}"#,
            r#" {"user":{"online":true,"id":"a\u006dy"},"user":{"id":"bob","online":false},"seq":1.5,"type":"presence.snapshot", "received_at":"2026-01-05T10:00:00Z"} "#,
            r#"{"type":"user.updated","deleted":true,"user":{"id":"amy"},"received_at":"2026-01-05T10:00:00.007Z","source":"resync"}"#,
            r#"{"type":"presence.gap","from":"2026-01-05T10:00:00.007Z","to":"2026-01-05T10:00:01Z","repaired":["amy"],"received_at":"2026-01-05T10:00:00.007Z"}"#,
            r#"{"type":"connection.changed","online":false,"user":7,"received_at":"2026-01-05T10:00:00.007Z"}"#,
        ];
        for line in known {
            let mut reader = LineReader::new(true);
            let mut check = |text: &[u8]| {
                let Ok(text) = std::str::from_utf8(text) else {
                    return;
                };
                assert!(reader.read(line).is_some());
                let fresh = LineReader::new(true).read(text);
                assert_eq!(reader.read(text), fresh, "{text}");
            };
            let line = line.as_bytes();
            for at in 0..line.len() {
                let (before, after) = (&line[..at], &line[at + 1..]);
                check(&[before, after].concat());
                check(before);
                for byte in *b"\"\\{}[]:, 7-.eatfZ\t\x01" {
                    check(&[before, &[byte], after].concat());
                    check(&[before, &[byte], &line[at..]].concat());
                }
            }
        }
    }

    #[test]
    fn a_user_who_is_no_object_does_not_hide_later_users() {
        let line = |user: &str| {
            format!(
                r#"{{"type":"user.presence.changed","user":{user},"received_at":"2026-01-05T10:00:00.200Z","source":"ws"}}"#
            )
        };
        let amy = line(r#"{"id":"amy","online":true}"#);
        for user in ["null", "7", "true", r#""amy""#, "[]", "{}"] {
            let mut reader = LineReader::new(true);
            let _ = reader.read(&line(user));
            assert_eq!(
                reader.read(&amy),
                LineReader::new(true).read(&amy),
                "{user}"
            );
        }
    }

    #[test]
    fn lines_that_are_not_records() {
        for line in [
            "",
            "text",
            "[]",
            "{}",
            r#"{"type":"x"}"#,
            r#"{"received_at":"2026-11-26T13:54:32.975Z"}"#,
            r#"{"type":"user.presence.changed","user":{"id":"a","online":true},"received_at":"2026-11-26T13:5"#,
            r#"{"type":"user.presence.changed","user":{"online":true},"received_at":"2026-11-26T13:54:32.975Z"}"#,
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn a_user_without_a_state_is_gone_only_if_a_resync_says_so() {
        let line = |source: &str| {
            format!(
                r#"{{"type":"user.updated","user":{{"id":"a","online":null}},"received_at":"2026-11-26T13:54:32.975Z","source":"{source}"}}"#
            )
        };
        assert_eq!(read(&line("ws")).unwrap().body, LineBody::Other);
        assert_eq!(
            read(&line("resync")).unwrap().body,
            LineBody::Gone { id: "a".into() }
        );
    }
}
