//! An event of the service, looked at without being taken apart.
//!
//! A watcher prints what it was sent, so an event stays the text it arrived as; [`Event::parse`] borrows from that text
//! the few fields that decisions need. Types that this program has never heard of go the same way as the ones it
//! knows: nothing is dropped for being new, and numbers, unknown fields and key order survive byte for byte.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::presence::Presence;
use super::user::User;

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
    /// Whether the object has a field of a name that records add: `seq`, `received_at`, `source`, `changed`,
    /// `previous`, `shadowed`. Custom events may; a record must not have a name twice.
    pub clashes: bool,
}

/// The `user` of an event.
#[derive(Debug, Clone)]
pub struct EventUser<'a> {
    /// The user object as JSON text. It lies within [`Event::raw`].
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
    pub missing: Missing,
}

/// Which of the promised presence fields a user object lacks, so that a record can add them as `null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one flag per promised field is what this type is"
)]
pub struct Missing {
    /// No `online`.
    pub online: bool,
    /// No `status`.
    pub status: bool,
    /// No `last_active`.
    pub last_active: bool,
    /// No `invisible`.
    pub invisible: bool,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    cid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    connection_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    created_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    user: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    seq: Present,
    #[serde(default)]
    received_at: Present,
    #[serde(default)]
    source: Present,
    #[serde(default)]
    changed: Present,
    #[serde(default)]
    previous: Present,
    #[serde(default)]
    shadowed: Present,
}

/// Whether a field is there, whatever its value.
#[derive(Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

#[derive(Deserialize)]
struct UserHead<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    online: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    invisible: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    status: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    last_active: Option<&'a RawValue>,
}

/// A field that is there, `null` included, which an `Option` alone would take for absent.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Event<'a> {
    /// Looks into the text of a frame.
    ///
    /// # Errors
    ///
    /// The text is not a JSON object, or has no string `type`.
    pub fn parse(raw: &'a str) -> Result<Self, serde_json::Error> {
        let head: Head<'a> = serde_json::from_str(raw)?;
        Ok(Self {
            raw,
            kind: head.kind,
            cid: head.cid,
            connection_id: head.connection_id,
            created_at: head.created_at,
            user: head.user.and_then(|user| EventUser::parse(user.get())),
            error: head.error.map(RawValue::get),
            clashes: head.seq.0
                || head.received_at.0
                || head.source.0
                || head.changed.0
                || head.previous.0
                || head.shadowed.0,
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
        let head: UserHead<'a> = serde_json::from_str(raw).ok()?;
        Some(Self {
            raw,
            id: head.id,
            online: head.online.and_then(|v| serde_json::from_str(v.get()).ok()),
            invisible: head
                .invisible
                .and_then(|v| serde_json::from_str(v.get()).ok()),
            status: head.status.and_then(borrowed_text),
            last_active: head.last_active.and_then(borrowed_text),
            missing: Missing {
                online: head.online.is_none(),
                status: head.status.is_none(),
                last_active: head.last_active.is_none(),
                invisible: head.invisible.is_none(),
            },
        })
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

/// A JSON string's text, without a copy unless it holds escapes. `None` for any other value.
fn borrowed_text(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(value.get())
        .ok()
        .map(|text| text.0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let clashes = |raw| Event::parse(raw).unwrap().clashes;
        assert!(clashes(r#"{"type":"deploy","source":null}"#));
        assert!(clashes(
            r#"{"received_at":"2026-01-01T00:00:00Z","type":"x"}"#
        ));
        assert!(!clashes(
            r#"{"type":"x","user":{"id":"a","source":"b"},"text":"seq"}"#
        ));
    }

    #[test]
    fn escapes_are_read_as_text() {
        let user = EventUser::parse(r#"{"id":"a","status":"line\nbreak \u00e9"}"#).unwrap();
        assert_eq!(user.status.as_deref(), Some("line\nbreak é"));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for text in ["", "1", "[]", "{}", r#"{"type":1}"#, "not json"] {
            assert!(Event::parse(text).is_err(), "{text}");
        }
    }
}
