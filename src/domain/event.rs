//! An event of the service: the received text, with the few fields that decisions need.
//!
//! A watcher prints what the service sent, so an event stays the text it arrived as, and [`Event::parse`] borrows fields
//! from it. Unknown event types are handled like known ones, and numbers, unknown fields and key order are preserved
//! byte for byte.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memrchr;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::presence::Presence;
use super::user::User;
use crate::json::scanner::{Json, Malformed, Text};

/// `user.presence.changed`: a user went online or offline, as far as the receiver may see it.
pub const USER_PRESENCE_CHANGED: &str = "user.presence.changed";
/// `user.updated`: a stored field of a user changed, such as the status text.
pub const USER_UPDATED: &str = "user.updated";
/// `user.deleted`: a user was deleted.
pub const USER_DELETED: &str = "user.deleted";
/// `user.watching.start`: a user opened a channel.
pub const USER_WATCHING_START: &str = "user.watching.start";
/// `user.watching.stop`: a user closed a channel.
pub const USER_WATCHING_STOP: &str = "user.watching.stop";
/// `member.added`: the user in `user` joined the channel in `cid`.
pub const MEMBER_ADDED: &str = "member.added";
/// `member.removed`: the user in `user` left the channel in `cid`.
pub const MEMBER_REMOVED: &str = "member.removed";
/// `channel.deleted`: the channel in `cid` was deleted. Sent to its watchers.
pub const CHANNEL_DELETED: &str = "channel.deleted";
/// `notification.channel_deleted`: the same, sent to members who do not watch it.
pub const NOTIFICATION_CHANNEL_DELETED: &str = "notification.channel_deleted";
/// `health.check`: the heartbeat. The first one of a connection has the connection's id.
pub const HEALTH_CHECK: &str = "health.check";
/// `connection.error`: the service refuses the connection, with an error object.
pub const CONNECTION_ERROR: &str = "connection.error";

/// One event, borrowed from the text of its frame.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// The event's JSON object, exactly as received.
    pub raw: &'a str,
    /// The value of `type`. An error frame without one counts as `connection.error`.
    pub kind: Cow<'a, str>,
    /// The channel of a channel event.
    pub cid: Option<Cow<'a, str>>,
    /// The receiver's connection id, in `health.check` and `connection.error`.
    pub connection_id: Option<Cow<'a, str>>,
    /// When it happened, by the server's clock (RFC 3339).
    pub created_at: Option<Cow<'a, str>>,
    /// The user that the event is about. In member events this is the member, not the user who made the change.
    pub user: Option<EventUser<'a>>,
    /// The `error` object of a `connection.error`, as JSON text.
    pub error: Option<&'a str>,
    /// The byte ranges, name and value, of fields with a name that records add: `seq`, `received_at`, `source`,
    /// `changed`, `previous` and `shadowed`. Custom events may have them, and a record must not have a name twice.
    pub reserved_fields: SmallVec<[Range<usize>; 2]>,
    /// Whether the text has no control characters and no line feed for certain, so that it can be copied as it is.
    pub is_plain: bool,
}

/// A user object, of an event or elsewhere: its text, with the fields that decisions need.
#[derive(Debug, Clone)]
pub struct EventUser<'a> {
    /// The object as JSON text. For the user of an event, this is a part of [`Event::raw`].
    pub raw: &'a str,
    /// The user's id.
    pub id: Cow<'a, str>,
    /// `online`, if the object has it.
    pub online: Option<bool>,
    /// `invisible`, if the object has it. Presence events usually do not.
    pub invisible: Option<bool>,
    /// `status`, if the object has it as a string.
    pub status: Option<Cow<'a, str>>,
    /// `last_active`, if the object has it.
    pub last_active: Option<Cow<'a, str>>,
    /// Which of the promised presence fields the object does not have.
    pub missing: MissingFields,
    /// `updated_at`, if the object has it, as JSON text.
    pub(crate) updated_at: Option<&'a str>,
    /// Where the other fields are in `raw`.
    other_text: OtherText,
}

/// The promised presence fields that a user object does not have. A record adds them as `null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the type is one flag for each promised field"
)]
pub struct MissingFields {
    /// No `online`.
    pub online: bool,
    /// No `status`.
    pub status: bool,
    /// No `last_active`.
    pub last_active: bool,
    /// No `invisible`.
    pub invisible: bool,
}

/// Why a text is not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAnEvent {
    /// It is not JSON.
    Malformed(Malformed),
    /// It is not an object.
    NotAnObject,
    /// It has no `type`, or one that is not a string.
    NoType,
}

impl fmt::Display for NotAnEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::NotAnObject => f.write_str("it is not a JSON object"),
            Self::NoType => f.write_str("it has no `type`"),
        }
    }
}

impl std::error::Error for NotAnEvent {}

impl From<Malformed> for NotAnEvent {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl<'a> Event<'a> {
    /// Parses the text of a frame in one pass. If a field occurs twice, the last one counts, as it does for every reader
    /// of our output.
    ///
    /// # Errors
    ///
    /// - [`NotAnEvent::Malformed`]: the text is not JSON.
    /// - [`NotAnEvent::NotAnObject`]: it is not a JSON object.
    /// - [`NotAnEvent::NoType`]: it has no string `type`, and no `error` either.
    pub fn parse(raw: &'a str) -> Result<Self, NotAnEvent> {
        let (json, is_plain) = Json::with_plain_flag(raw);
        let start = json.blanks(0);
        if json.peek(start) != Some(b'{') {
            return Err(NotAnEvent::NotAnObject);
        }
        let (mut kind, mut cid, mut connection_id, mut created_at) = (None, None, None, None);
        let (mut user, mut error, mut reserved_fields) = (None, None, SmallVec::new());
        let mut has_type = false;
        let end = json.object(start, |name, at| {
            let field = match name.len() {
                4 if name == b"type" => {
                    has_type = true;
                    &mut kind
                }
                3 if name == b"cid" => &mut cid,
                13 if name == b"connection_id" => &mut connection_id,
                10 if name == b"created_at" => &mut created_at,
                4 if name == b"user" => {
                    let end;
                    (end, user) = EventUser::scan(json, at)?;
                    return Ok(end);
                }
                5 if name == b"error" => {
                    let end = json.value(at)?;
                    error = Some(json.slice(at, end)).filter(|error| *error != "null");
                    return Ok(end);
                }
                3 | 6..=8 | 11 if is_reserved_name(name) => {
                    let end = json.value(at)?;
                    reserved_fields.push(name_start(raw, at)..end);
                    return Ok(end);
                }
                _ => return json.value(at),
            };
            let end;
            (end, *field) = json.text(at)?;
            Ok(end)
        })?;
        json.end(end)?;
        let kind = match kind {
            // The service sends some errors as `{"error":{…}}`.
            None if error.is_some() && !has_type => Some(Cow::Borrowed(CONNECTION_ERROR)),
            kind => kind.and_then(Text::read),
        };
        Ok(Self {
            raw,
            kind: kind.ok_or(NotAnEvent::NoType)?,
            cid: cid.and_then(Text::read),
            connection_id: connection_id.and_then(Text::read),
            created_at: created_at.and_then(Text::read),
            user,
            error,
            reserved_fields,
            is_plain,
        })
    }

    /// Whether the event has this type.
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }
}

impl<'a> EventUser<'a> {
    /// Parses the text of a user object. `None` if it is not an object with a string `id`.
    pub fn parse(raw: &'a str) -> Option<Self> {
        let json = Json::new(raw);
        let (end, user) = Self::scan(json, json.blanks(0)).ok()?;
        json.end(end).ok()?;
        user
    }

    /// Parses the value that begins at `start` and should be a user object. Returns where it ends.
    #[inline(never)]
    fn scan(json: Json<'a>, start: usize) -> Result<(usize, Option<Self>), Malformed> {
        if json.peek(start) != Some(b'{') {
            return Ok((json.value(start)?, None));
        }
        let (mut id, mut status, mut last_active) = (None, None, None);
        let (mut online, mut invisible, mut updated_at) = (None, None, None);
        let mut missing = MissingFields {
            online: true,
            status: true,
            last_active: true,
            invisible: true,
        };
        let mut other = OtherText::default();
        let (mut part_start, mut part_end) = (start, start);
        let end = json.object(start, |name, at| {
            let end;
            match name.len() {
                6 if name == b"online" => {
                    end = json.value(at)?;
                    missing.online = false;
                    online = flag(json.slice(at, end));
                }
                6 if name == b"status" => {
                    (end, status) = json.text(at)?;
                    missing.status = false;
                }
                9 if name == b"invisible" => {
                    end = json.value(at)?;
                    missing.invisible = false;
                    invisible = flag(json.slice(at, end));
                }
                11 if name == b"last_active" => {
                    (end, last_active) = json.text(at)?;
                    missing.last_active = false;
                }
                10 if name == b"updated_at" => {
                    end = json.value(at)?;
                    updated_at = Some(json.slice(at, end));
                }
                2 if name == b"id" => {
                    (end, id) = json.text(at)?;
                    part_end = end;
                    return Ok(end);
                }
                _ => {
                    end = json.value(at)?;
                    part_end = end;
                    return Ok(end);
                }
            }
            other.push(part_start - start..part_end - start);
            (part_start, part_end) = (end, end);
            Ok(end)
        })?;
        other.push(part_start - start..part_end - start);
        let user = id.and_then(Text::read).map(|id| Self {
            raw: json.slice(start, end),
            id,
            online,
            invisible,
            status: status.and_then(Text::read),
            last_active: last_active.and_then(Text::read),
            missing,
            updated_at,
            other_text: other,
        });
        Ok((end, user))
    }

    /// A hash of the text of all fields but presence and `updated_at`, in their order. While it stays the same, so does
    /// the sum of the [`Fingerprint`](super::Fingerprint), which takes longer to compute. `None` if the fields are in too
    /// many places.
    pub(crate) fn other_text_hash(&self) -> Option<u32> {
        let parts = self.other_text.parts.get(..self.other_text.count)?;
        let mut hash = 0_u64;
        for &(start, end) in parts {
            let part = self.raw.as_bytes().get(start as usize..end as usize)?;
            hash = hash.rotate_left(17) ^ xxh3_64(part);
        }
        Some(hash as u32)
    }

    /// The presence fields, owned.
    pub fn presence(&self) -> Presence {
        Presence {
            online: self.online,
            invisible: self.invisible,
            status: self.status.as_deref().map(str::to_owned),
            last_active: self.last_active.as_deref().map(str::to_owned),
        }
    }

    /// The whole user object.
    ///
    /// # Errors
    ///
    /// The object is nested more deeply than `serde_json` allows.
    pub fn to_user(&self) -> Result<User, serde_json::Error> {
        serde_json::from_str(self.raw)
    }
}

/// The parts of a user's text that have neither presence nor `updated_at`.
#[derive(Debug, Clone, Copy, Default)]
struct OtherText {
    parts: [(u32, u32); OTHER_TEXT_PARTS_MAX],
    /// How many there are; more than fit if some were left out.
    count: usize,
}

/// Five fields divide a text into six parts, unless one of them occurs twice.
const OTHER_TEXT_PARTS_MAX: usize = 6;

impl OtherText {
    fn push(&mut self, part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        if let Some(free) = self.parts.get_mut(self.count) {
            // A frame is far shorter than 4 GiB. A part that does not fit has no text.
            *free = (
                u32::try_from(part.start).unwrap_or(u32::MAX),
                u32::try_from(part.end).unwrap_or(u32::MAX),
            );
        }
        self.count += 1;
    }
}

/// Where the name of the field begins whose value begins at `value`. The name must be reserved: however
/// those are written, there is no quote in them.
fn name_start(raw: &str, value: usize) -> usize {
    let before = &raw.as_bytes()[..value];
    let end = memrchr(b'"', before).unwrap_or_default();
    memrchr(b'"', &before[..end]).unwrap_or_default()
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Whether records add a field with this name to an event.
pub(crate) fn is_reserved_name(name: &[u8]) -> bool {
    match name.len() {
        3 => name == b"seq",
        6 => name == b"source",
        7 => name == b"changed",
        8 => name == b"previous" || name == b"shadowed",
        11 => name == b"received_at",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Fingerprint;
    use crate::json::testing;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    #[test]
    fn an_unknown_type_survives_verbatim() {
        let raw = r#"{"type":"some.future.thing","n":1.10,"user":null}"#;
        let event = Event::parse(raw).unwrap();
        assert_eq!(event.kind, "some.future.thing");
        assert_eq!(event.raw, raw);
        assert!(event.user.is_none());
    }

    #[test]
    fn presence_fields_are_borrowed_and_absent_ones_are_known() {
        let raw = r#"{"type":"user.presence.changed","user":{"id":"jack","online":true,"status":7,"last_active":"2026-01-05T10:00:00.1Z"}}"#;
        let event = Event::parse(raw).unwrap();
        let user = event.user.unwrap();
        assert_eq!(user.online, Some(true));
        assert_eq!(user.status, None, "only a string is a status");
        assert!(!user.missing.status, "but the field is there");
        assert!(user.missing.invisible);
        assert!(matches!(user.last_active, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn presence_and_update_times_are_not_part_of_the_other_text() {
        let hash = |raw| EventUser::parse(raw).unwrap().other_text_hash().unwrap();
        let known = hash(r#"{"id":"a","online":true,"name":"A","status":"x","updated_at":"y"}"#);
        for same in [
            r#"{"id":"a","online":false,"name":"A","status":"","updated_at":null}"#,
            r#"{"id":"a","onlin\u0065":false,"name":"A"}"#,
        ] {
            assert_eq!(hash(same), known, "{same}");
        }
        assert_ne!(
            hash(r#"{"id":"a","online":true,"name":"B","status":"x"}"#),
            known
        );
    }

    #[test]
    fn a_null_is_not_absent() {
        let user = EventUser::parse(r#"{"id":"a","status":null,"online":null}"#).unwrap();
        assert_eq!((user.status.clone(), user.online), (None, None));
        assert!(!user.missing.status && !user.missing.online && user.missing.invisible);
    }

    #[test]
    fn fields_with_reserved_names_are_found() {
        let reserved_fields = |raw: &'static str| -> Vec<&str> {
            let reserved_fields = Event::parse(raw).unwrap().reserved_fields;
            reserved_fields
                .into_iter()
                .map(|clash| &raw[clash])
                .collect()
        };
        assert_eq!(
            reserved_fields(r#"{"\u0073eq" : 1 , "type":"deploy","source":null}"#),
            [r#""\u0073eq" : 1"#, r#""source":null"#]
        );
        assert_eq!(
            reserved_fields(r#"{"type":"x","user":{"id":"a","source":"b"},"text":"seq"}"#),
            [""; 0]
        );
    }

    #[test]
    fn escapes_are_read_as_text() {
        let user = EventUser::parse(r#"{"id":"a","status":"line\nbreak \u00e9"}"#).unwrap();
        assert_eq!(user.status.as_deref(), Some("line\nbreak é"));
    }

    #[test]
    fn an_error_without_a_type_is_a_connection_error() {
        let event = Event::parse(r#"{"error":{"code":43}}"#).unwrap();
        assert!(event.is(CONNECTION_ERROR));
        assert_eq!(event.error, Some(r#"{"code":43}"#));
        for text in [r#"{"error":null}"#, r#"{"type":7,"error":{"code":43}}"#] {
            assert_eq!(
                Event::parse(text).unwrap_err(),
                NotAnEvent::NoType,
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"\ud800"}"#,
            r#"{"type":"x"}{}"#,
            r#"{"type":"x","user":{"id":"a",}}"#,
            "not json",
        ] {
            assert!(Event::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_of_an_unexpected_type_counts_as_absent() {
        let raw = r#"{"type":"x","cid":7,"created_at":null,"connection_id":[],"user":"amy","error":null}"#;
        let event = Event::parse(raw).unwrap();
        assert_eq!((&event.cid, &event.created_at), (&None, &None));
        assert!(event.connection_id.is_none() && event.user.is_none() && event.error.is_none());
    }

    #[test]
    fn the_last_of_two_fields_counts_and_names_may_be_escaped() {
        let raw = r#"{"type":"a","\u0074ype":"b","user":{"id":"x"},"user":{"id":"y","online":1,"online":true}}"#;
        let event = Event::parse(raw).unwrap();
        let user = event.user.unwrap();
        assert_eq!((&*event.kind, &*user.id), ("b", "y"));
        assert_eq!(user.online, Some(true));
        assert_eq!(user.raw, r#"{"id":"y","online":1,"online":true}"#);
    }

    proptest! {
        /// Events with the same hash of the other text have the same fingerprint, but for `updated_at`.
        #[test]
        fn the_same_other_text_has_the_same_fingerprint(
            raw in testing::event(),
            at in any::<proptest::sample::Index>(),
            byte in proptest::sample::select(b"\"\\{}[]:,0-.eu \x01".as_slice()),
        ) {
            let mut damaged = raw.clone().into_bytes();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let damaged = String::from_utf8(damaged).unwrap_or_default();
            let user = |text| Event::parse(text).ok()?.user;
            if let (Some(one), Some(other)) = (user(&raw), user(&damaged))
                && one.other_text_hash() == other.other_text_hash()
                && one.other_text_hash().is_some()
            {
                let of = |user: &EventUser<'_>| Fingerprint::of_text(user.raw).with_updated_at(None);
                prop_assert_eq!(of(&one), of(&other));
                let updated = of(&one).with_updated_at(other.updated_at);
                prop_assert_eq!(updated, Fingerprint::of_text(other.raw));
            }
        }

        /// Compares the parser with `serde_json`.
        #[test]
        fn the_parser_agrees_with_a_general_one(raw in testing::event()) {
            let Value::Object(fields) = serde_json::from_str(&raw).unwrap() else {
                unreachable!("an event is an object");
            };
            let text = |fields: &Map<String, Value>, name: &str| {
                fields.get(name).and_then(Value::as_str).map(str::to_owned)
            };
            let error_only = !fields.contains_key("type")
                && fields.get("error").is_some_and(|error| !error.is_null());
            let kind = text(&fields, "type").or(error_only.then(|| CONNECTION_ERROR.to_owned()));
            let Some(kind) = kind else {
                prop_assert!(Event::parse(&raw).is_err());
                return Ok(());
            };
            let event = Event::parse(&raw).unwrap();
            prop_assert_eq!(&*event.kind, kind);
            prop_assert_eq!(event.cid.as_deref().map(str::to_owned), text(&fields, "cid"));
            let error = event.error.map(|error| serde_json::from_str::<Value>(error).unwrap());
            prop_assert_eq!(error.as_ref(), fields.get("error").filter(|error| !error.is_null()));
            let has_reserved_name = ["seq", "received_at", "source", "changed", "previous", "shadowed"]
                .iter()
                .any(|name| fields.contains_key(*name));
            prop_assert_eq!(!event.reserved_fields.is_empty(), has_reserved_name);
            let user = fields
                .get("user")
                .and_then(Value::as_object)
                .filter(|user| text(user, "id").is_some());
            prop_assert_eq!(event.user.is_some(), user.is_some());
            if let (Some(ours), Some(theirs)) = (event.user, user) {
                prop_assert_eq!(&ours.id, theirs["id"].as_str().unwrap());
                let whole = ours.to_user().unwrap();
                prop_assert_eq!(ours.presence(), whole.presence());
                prop_assert_eq!(whole.fields(), theirs);
                prop_assert_eq!(ours.missing.status, !theirs.contains_key("status"));
                prop_assert_eq!(ours.missing.invisible, !theirs.contains_key("invisible"));
            }
        }
    }
}
