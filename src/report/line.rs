//! Parses one line of a recorded stream for what it says about presence.
//!
//! A line is a record if it is a JSON object with a `type` and a `received_at`. Everything else in it is validated as
//! JSON and dropped.

use std::borrow::Cow;

use chrono::DateTime;

use crate::domain::event::{
    MEMBER_REMOVED, USER_DELETED, USER_PRESENCE_CHANGED, USER_UPDATED, USER_WATCHING_START,
    USER_WATCHING_STOP,
};
use crate::domain::time::Millis;
use crate::json::scanner::{Json, Malformed, Text};

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

#[derive(Default)]
struct RecordedUser<'a> {
    id: Option<Text<'a>>,
    name: Option<Text<'a>>,
    status: Option<Text<'a>>,
    online: Option<bool>,
}

/// A parser of lines. It caches the latest minute, because most times of a stream are in the same one.
#[derive(Debug, Default)]
pub(super) struct LineReader {
    minute: Option<([u8; 17], Millis)>,
}

impl LineReader {
    /// Parses a line. `None` if it is not a record.
    pub(super) fn read<'a>(&mut self, line: &'a str) -> Option<RecordedLine<'a>> {
        let json = Json::new(line);
        let start = json.blanks(0);
        let mut user = RecordedUser::default();
        let (mut kind, mut received_at, mut created_at, mut source) = (None, None, None, None);
        let (mut from, mut to, mut ids) = (None, None, None);
        let (mut seq, mut online, mut deleted) = (None, None, false);
        let end = json
            .object(start, |name, at| {
                let text = match name {
                    b"type" => &mut kind,
                    b"received_at" => &mut received_at,
                    b"created_at" => &mut created_at,
                    b"source" => &mut source,
                    b"from" => &mut from,
                    b"to" => &mut to,
                    b"user" => return user_fields(json, at, &mut user),
                    b"seq" => {
                        let end = json.value(at)?;
                        seq = json.slice(at, end).parse().ok();
                        return Ok(end);
                    }
                    b"online" => {
                        let end = json.value(at)?;
                        online = flag(json.slice(at, end));
                        return Ok(end);
                    }
                    b"deleted" => {
                        let end = json.value(at)?;
                        deleted = flag(json.slice(at, end)) == Some(true);
                        return Ok(end);
                    }
                    b"repaired" | b"missing" => {
                        ids = Some(at);
                        return json.value(at);
                    }
                    _ => return json.value(at),
                };
                let end;
                (end, *text) = json.text(at)?;
                Ok(end)
            })
            .ok()?;
        json.end(end).ok()?;
        let at = self.time(received_at)?;
        let kind = kind?.read()?;
        let of_user = || {
            Some(UserText {
                id: user.id?.read()?,
                name: user.name.and_then(Text::read),
                status: user.status.and_then(Text::read),
            })
        };
        let is_resync = source.and_then(Text::read).as_deref() == Some("resync");
        let body = match (&*kind, user.online) {
            ("presence.snapshot", Some(online)) => LineBody::Observed {
                user: of_user()?,
                online,
                happened: None,
            },
            (USER_PRESENCE_CHANGED | USER_UPDATED, None) if deleted || is_resync => {
                LineBody::Gone { id: of_user()?.id }
            }
            (USER_DELETED | MEMBER_REMOVED, _) => match of_user() {
                Some(user) => LineBody::Gone { id: user.id },
                None => LineBody::Other,
            },
            (USER_PRESENCE_CHANGED | USER_UPDATED, Some(online)) => LineBody::Observed {
                user: of_user()?,
                online,
                happened: (!is_resync).then(|| self.time(created_at)).flatten(),
            },
            (USER_WATCHING_START | USER_WATCHING_STOP, Some(online)) => LineBody::Visited {
                user: of_user()?,
                online,
            },
            ("connection.changed", _) if online == Some(false) => LineBody::ConnectionLost,
            ("connection.changed", _) => LineBody::ConnectionMade,
            ("connection.recovered", _) => LineBody::ConnectionRecovered,
            ("presence.gap", _) => LineBody::Gap {
                from: self.time(from)?,
                to: self.time(to)?,
                repaired: strings(json, ids),
            },
            ("presence.coverage", _) => LineBody::Coverage {
                missing: strings(json, ids),
            },
            ("stream.end", _) => LineBody::End,
            _ => LineBody::Other,
        };
        Some(RecordedLine { at, seq, body })
    }

    /// Parses an RFC 3339 time, as milliseconds.
    fn time(&mut self, text: Option<Text<'_>>) -> Option<Millis> {
        let text = text?.read()?;
        let bytes = text.as_bytes();
        let digit = |at: usize| {
            let digit = bytes.get(at)?.wrapping_sub(b'0');
            (digit < 10).then_some(Millis::from(digit))
        };
        let (prefix, rest) = bytes.split_first_chunk::<17>()?;
        // The usual form of times: `ss.mmm`, perhaps more digits, then `Z`.
        let usual = rest.len() >= 7 && rest[2] == b'.' && rest.last() == Some(&b'Z');
        let seconds = usual
            .then(|| Some(digit(17)? * 10_000 + digit(18)? * 1000))
            .flatten();
        let within = seconds
            .and_then(|seconds| Some(seconds + digit(20)? * 100 + digit(21)? * 10 + digit(22)?));
        if let (Some(within), Some((minute, base))) = (within, &self.minute)
            && prefix == minute
            && within < 60_000
            && rest[3..rest.len() - 1].iter().all(u8::is_ascii_digit)
        {
            return Some(base + within);
        }
        let at = DateTime::parse_from_rfc3339(&text).ok()?.timestamp_millis();
        if let Some(within) = within.filter(|within| *within < 60_000) {
            self.minute = Some((*prefix, at - within));
        }
        Some(at)
    }
}

fn user_fields<'a>(
    json: Json<'a>,
    at: usize,
    fields: &mut RecordedUser<'a>,
) -> Result<usize, Malformed> {
    *fields = RecordedUser::default();
    if json.peek(at) != Some(b'{') {
        return json.value(at);
    }
    json.object(at, |name, at| {
        let text = match name {
            b"id" => &mut fields.id,
            b"name" => &mut fields.name,
            b"status" => &mut fields.status,
            b"online" => {
                let end = json.value(at)?;
                fields.online = flag(json.slice(at, end));
                return Ok(end);
            }
            _ => return json.value(at),
        };
        let end;
        (end, *text) = json.text(at)?;
        Ok(end)
    })
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
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
        LineReader::default().read(line)
    }

    #[test]
    fn times_are_read_like_the_library_reads_them() {
        let mut reader = LineReader::default();
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
            let mut reader = LineReader::default();
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
