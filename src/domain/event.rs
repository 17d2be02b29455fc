//! An event of the service, looked at without being taken apart.
//!
//! A watcher prints what it was sent, so an event stays the text it arrived as; [`Event::parse`] borrows from that text
//! the few fields that decisions need. Types that this program has never heard of go the same way as the ones it
//! knows: nothing is dropped for being new, and numbers, unknown fields and key order survive byte for byte.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::fingerprint::Fingerprint;
use super::presence::Presence;
use super::user::User;
use crate::json::scanner::{Json, Malformed, Text};

/// `user.presence.changed`: a user came online or went offline, as the viewer may see it.
pub const USER_PRESENCE_CHANGED: &str = "user.presence.changed";
/// `user.updated`: any stored field of a user changed, the status text among them.
pub const USER_UPDATED: &str = "user.updated";
/// `user.deleted`: a user is gone.
pub const USER_DELETED: &str = "user.deleted";
/// `user.watching.start`: a user opened a channel.
pub const USER_WATCHING_START: &str = "user.watching.start";
/// `user.watching.stop`: a user closed a channel.
pub const USER_WATCHING_STOP: &str = "user.watching.stop";
/// `member.added`: the user in `user` joined the channel in `cid`.
pub const MEMBER_ADDED: &str = "member.added";
/// `member.removed`: the user in `user` left the channel in `cid`.
pub const MEMBER_REMOVED: &str = "member.removed";
/// `health.check`: the heartbeat; the first one of a connection carries its id.
pub const HEALTH_CHECK: &str = "health.check";
/// `connection.error`: the service refuses the connection and says why.
pub const CONNECTION_ERROR: &str = "connection.error";

/// One event, borrowed from the text of the frame that brought it.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// The event's JSON object, exactly as received.
    pub raw: &'a str,
    /// The value of `type`.
    pub kind: Cow<'a, str>,
    /// The channel concerned, for channel events.
    pub cid: Option<Cow<'a, str>>,
    /// The connection that the service speaks to; in `health.check` and `connection.error`.
    pub connection_id: Option<Cow<'a, str>>,
    /// When it happened, by the server's clock (RFC 3339).
    pub created_at: Option<Cow<'a, str>>,
    /// The user concerned. In member events that is the member, not the one who acted.
    pub user: Option<EventUser<'a>>,
    /// The `error` object of a `connection.error`, as JSON text.
    pub error: Option<&'a str>,
    /// Where in the text the fields stand, name and value, whose names records add: `seq`, `received_at`, `source`,
    /// `changed`, `previous`, `shadowed`. Custom events may have them; a record must not have a name twice.
    pub reserved_fields: Vec<Range<usize>>,
    /// Whether the text surely has no control character of any kind and no line feed, so that it can be copied blindly.
    pub is_plain: bool,
}

/// The `user` of an event, or any other user object, looked at without being taken apart.
#[derive(Debug, Clone)]
pub struct EventUser<'a> {
    /// The user object as JSON text. For an event's user it lies within [`Event::raw`].
    pub raw: &'a str,
    /// The user's id.
    pub id: Cow<'a, str>,
    /// `online`, where the object has it.
    pub online: Option<bool>,
    /// `invisible`, where the object has it. Presence events usually do not.
    pub invisible: Option<bool>,
    /// `status`, where the object has it as a string.
    pub status: Option<Cow<'a, str>>,
    /// `last_active`, where the object has it.
    pub last_active: Option<Cow<'a, str>>,
    /// The names among `online`, `status`, `last_active` and `invisible` that the object does not have at all.
    pub missing: MissingFields,
    /// A fingerprint of all other fields.
    pub fingerprint: Fingerprint,
}

/// Which of the promised presence fields a user object lacks, so that a record can add them as `null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one flag per promised field is what this type is"
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

/// Why a text is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAnEvent {
    /// It is not JSON.
    Malformed(Malformed),
    /// It is not an object.
    NotAnObject,
    /// It has no `type`, or one that is no text.
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
    /// Looks into the text of a frame, once and from front to back. Of a field that comes twice the last one counts, as
    /// it does for those who read the text after us.
    ///
    /// # Errors
    ///
    /// The text is not a JSON object, or has no string `type`.
    pub fn parse(raw: &'a str) -> Result<Self, NotAnEvent> {
        let (json, is_plain) = Json::look_at(raw);
        let start = json.blanks(0);
        if json.peek(start) != Some(b'{') {
            return Err(NotAnEvent::NotAnObject);
        }
        let (mut kind, mut cid, mut connection_id, mut created_at) = (None, None, None, None);
        let (mut user, mut error, mut reserved_fields) = (None, None, Vec::new());
        let end = json.object(start, |name, at| {
            let field = match name.len() {
                4 if name == b"type" => &mut kind,
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
                3 | 6..=8 | 11 if RESERVED_NAMES.contains(&name) => {
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
        Ok(Self {
            raw,
            kind: kind.and_then(Text::read).ok_or(NotAnEvent::NoType)?,
            cid: cid.and_then(Text::read),
            connection_id: connection_id.and_then(Text::read),
            created_at: created_at.and_then(Text::read),
            user,
            error,
            reserved_fields,
            is_plain,
        })
    }

    /// Whether this is `kind`.
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }
}

impl<'a> EventUser<'a> {
    /// Looks into the text of a user object; `None` when it is not an object with an `id`.
    pub fn parse(raw: &'a str) -> Option<Self> {
        let json = Json::new(raw);
        let (end, user) = Self::scan(json, json.blanks(0)).ok()?;
        json.end(end).ok()?;
        user
    }

    /// Passes a value that should be a user object.
    #[inline(never)]
    fn scan(json: Json<'a>, start: usize) -> Result<(usize, Option<Self>), Malformed> {
        if json.peek(start) != Some(b'{') {
            return Ok((json.value(start)?, None));
        }
        let (mut id, mut status, mut last_active) = (None, None, None);
        let (mut online, mut invisible) = (None, None);
        let mut fingerprint = Fingerprint::default();
        let mut missing = MissingFields {
            online: true,
            status: true,
            last_active: true,
            invisible: true,
        };
        let end = json.object(start, |name, at| {
            let field = match name.len() {
                2 if name == b"id" => &mut id,
                6 if name == b"status" => {
                    missing.status = false;
                    &mut status
                }
                11 if name == b"last_active" => {
                    missing.last_active = false;
                    &mut last_active
                }
                6 if name == b"online" => {
                    let end = json.value(at)?;
                    missing.online = false;
                    online = flag(json.slice(at, end));
                    return Ok(end);
                }
                9 if name == b"invisible" => {
                    let end = json.value(at)?;
                    missing.invisible = false;
                    invisible = flag(json.slice(at, end));
                    return Ok(end);
                }
                _ => return fingerprint.add_field(name, json, at),
            };
            let end;
            (end, *field) = json.text(at)?;
            Ok(end)
        })?;
        let user = id.and_then(Text::read).map(|id| Self {
            raw: json.slice(start, end),
            id,
            online,
            invisible,
            status: status.and_then(Text::read),
            last_active: last_active.and_then(Text::read),
            missing,
            fingerprint,
        });
        Ok((end, user))
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
    /// Never for an object that came from [`EventUser::parse`], short of the parser's own depth limit.
    pub fn to_user(&self) -> Result<User, serde_json::Error> {
        serde_json::from_str(self.raw)
    }
}

/// Where the name of the field begins whose value begins at `value`. The name must be one of [`RESERVED_NAMES`]: however those are
/// written, there is no quote in them.
#[cold]
fn name_start(raw: &str, value: usize) -> usize {
    let end = raw[..value].rfind('"').unwrap_or_default();
    raw[..end].rfind('"').unwrap_or_default()
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The names that records add.
const RESERVED_NAMES: [&[u8]; 6] = [
    b"seq",
    b"received_at",
    b"source",
    b"changed",
    b"previous",
    b"shadowed",
];

#[cfg(test)]
mod tests {
    use super::*;
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
    fn presence_fields_are_borrowed_and_the_missing_are_known() {
        let raw = r#"{"type":"user.presence.changed","user":{"id":"jack","online":true,"status":7,"last_active":"2026-01-05T10:00:00.1Z"}}"#;
        let event = Event::parse(raw).unwrap();
        let user = event.user.unwrap();
        assert_eq!(user.online, Some(true));
        assert_eq!(user.status, None, "a status that is no text has no text");
        assert!(!user.missing.status, "but the field is there");
        assert!(user.missing.invisible);
        assert!(matches!(user.last_active, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn a_null_is_there() {
        let user = EventUser::parse(r#"{"id":"a","status":null,"online":null}"#).unwrap();
        assert_eq!((user.status.clone(), user.online), (None, None));
        assert!(!user.missing.status && !user.missing.online && user.missing.invisible);
    }

    #[test]
    fn fields_that_records_add_are_noticed() {
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
    fn what_is_no_event_is_refused() {
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
    fn fields_of_another_kind_than_expected_are_no_reason_to_drop_an_event() {
        let raw = r#"{"type":"x","cid":7,"created_at":null,"connection_id":[],"user":"amy","error":null}"#;
        let event = Event::parse(raw).unwrap();
        assert_eq!((&event.cid, &event.created_at), (&None, &None));
        assert!(event.connection_id.is_none() && event.user.is_none() && event.error.is_none());
    }

    #[test]
    fn the_last_of_two_counts_and_names_may_be_escaped() {
        let raw = r#"{"type":"a","\u0074ype":"b","user":{"id":"x"},"user":{"id":"y","online":1,"online":true}}"#;
        let event = Event::parse(raw).unwrap();
        let user = event.user.unwrap();
        assert_eq!((&*event.kind, &*user.id), ("b", "y"));
        assert_eq!(user.online, Some(true));
        assert_eq!(user.raw, r#"{"id":"y","online":1,"online":true}"#);
    }

    proptest! {
        /// Whatever a general parser makes of a text, looking into it comes to the same.
        #[test]
        fn looking_into_a_text_agrees_with_reading_it_whole(raw in testing::event()) {
            let Value::Object(fields) = serde_json::from_str(&raw).unwrap() else {
                unreachable!("an event is an object");
            };
            let text = |fields: &Map<String, Value>, name: &str| {
                fields.get(name).and_then(Value::as_str).map(str::to_owned)
            };
            let Some(kind) = text(&fields, "type") else {
                prop_assert!(Event::parse(&raw).is_err());
                return Ok(());
            };
            let event = Event::parse(&raw).unwrap();
            prop_assert_eq!(&*event.kind, kind);
            prop_assert_eq!(event.cid.as_deref().map(str::to_owned), text(&fields, "cid"));
            let error = event.error.map(|error| serde_json::from_str::<Value>(error).unwrap());
            prop_assert_eq!(error.as_ref(), fields.get("error").filter(|error| !error.is_null()));
            let clash = ["seq", "received_at", "source", "changed", "previous", "shadowed"]
                .iter()
                .any(|name| fields.contains_key(*name));
            prop_assert_eq!(!event.reserved_fields.is_empty(), clash);
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
