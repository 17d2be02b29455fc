//! The schemas of stream records, users and channels: name, type and meaning of each field.

use serde_json::{Map, Value, json};

use crate::domain::presence::PresenceField;
use crate::domain::record::{EndReason, MissingReason};
use crate::exit::Code;

/// An object with these properties, of which the given ones are required. Other properties are allowed.
pub(super) fn object(description: &str, required: &[&str], properties: &Value) -> Value {
    json!({
        "type": "object",
        "description": description,
        "required": required,
        "properties": properties,
    })
}

/// The fields that every line of a stream has, followed by the record's own.
fn line(kind: Option<&str>, description: &str, required: &[&str], own: &Value) -> Value {
    let kind = match kind {
        Some(kind) => json!({ "const": kind }),
        // An event of the service can have any type except ours.
        None => json!({ "type": "string", "not": { "enum": OWN_RECORD_TYPES } }),
    };
    let mut properties = Map::from_iter([
        ("type".to_owned(), kind),
        (
            "seq".to_owned(),
            json!({ "type": "integer", "minimum": 1, "description": "consecutive numbers from 1" }),
        ),
        (
            "received_at".to_owned(),
            json!({ "type": "string", "format": "date-time", "description": "when presencectl received or created the record" }),
        ),
        (
            "source".to_owned(),
            json!({ "enum": ["ws", "query", "resync", "local"] }),
        ),
    ]);
    if let Value::Object(own) = own {
        properties.extend(own.clone());
    }
    let required: Vec<&str> = ["type", "seq", "received_at", "source"]
        .iter()
        .chain(required)
        .copied()
        .collect();
    object(description, &required, &Value::Object(properties))
}

/// The types of our own records, which events of the service cannot have.
const OWN_RECORD_TYPES: [&str; 6] = [
    "presence.snapshot",
    "connection.changed",
    "connection.recovered",
    "presence.gap",
    "presence.coverage",
    "stream.end",
];

pub(super) fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

pub(super) fn count_of(what: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": what })
}

fn ids(what: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": what })
}

/// A user object with the guaranteed presence fields.
pub(super) fn user() -> Value {
    object(
        "a user as sent by the service; custom fields are additional properties",
        &["id", "online", "status", "last_active", "invisible"],
        &json!({
            "id": { "type": "string" },
            "online": { "type": ["boolean", "null"] },
            "status": { "description": "a custom field by convention: a string, or any other value that the application stores" },
            "last_active": { "type": ["string", "null"], "format": "date-time" },
            "invisible": { "type": ["boolean", "null"] },
            "name": { "type": ["string", "null"] },
            "role": { "type": ["string", "null"] },
        }),
    )
}

fn member() -> Value {
    object(
        "a member of a channel",
        &["user_id"],
        &json!({ "user_id": { "type": "string" }, "user": user() }),
    )
}

pub(super) fn channel() -> Value {
    object(
        "a channel as sent by the service; custom fields are additional properties",
        &["cid", "type", "id"],
        &json!({
            "cid": { "type": "string", "pattern": "^[^:]+:[^:]+$" },
            "type": { "type": "string" },
            "id": { "type": "string" },
            "member_count": count_of("how many members it has"),
            "watcher_count": count_of("how many users watch it now"),
            "members": { "type": "array", "items": member() },
            "watchers": { "type": "array", "items": user() },
        }),
    )
}

pub(super) fn snapshot() -> Value {
    line(
        Some("presence.snapshot"),
        "the state of one subscribed user at the start, or after a gap if asked",
        &["user"],
        &json!({ "user": user() }),
    )
}

pub(super) fn event() -> Value {
    let fields = PresenceField::ALL.map(PresenceField::name);
    let mut event = line(
        None,
        "an event of the service, its own fields untouched",
        &[],
        &json!({
            "user": user(),
            "changed": {
                "type": "array",
                "items": { "enum": fields },
                "uniqueItems": true,
                "description": "the presence fields that changed, in events about a user; empty if only other fields changed, such as the name",
            },
            "previous": {
                "type": "object",
                "propertyNames": { "enum": fields },
                "description": "the old values of the fields that changed",
            },
            "shadowed": {
                "type": "object",
                "description": "event fields whose names are reserved for the record's own fields",
            },
        }),
    );
    // Only events about a user have `changed` and `previous`.
    event["if"] = json!({
        "properties": { "type": { "pattern": "^user\\." } },
        "required": ["user"],
    });
    event["then"] = json!({ "required": ["changed", "previous"] });
    event
}

pub(super) fn connection_changed() -> Value {
    line(
        Some("connection.changed"),
        "the connection to the service was lost or restored",
        &["online", "reason", "attempt"],
        &json!({
            "online": { "type": "boolean" },
            "reason": { "type": "string" },
            "attempt": count_of("number of attempts since the last healthy connection; 0 for the loss itself"),
        }),
    )
}

pub(super) fn connection_recovered() -> Value {
    line(
        Some("connection.recovered"),
        "all subscriptions restored",
        &[],
        &json!({}),
    )
}

pub(super) fn gap() -> Value {
    line(
        Some("presence.gap"),
        "an interval in which events may have been lost",
        &["from", "to", "repaired", "note"],
        &json!({
            "from": time(),
            "to": time(),
            "repaired": ids("users whose presence or other fields differed; each follows as an event with source resync"),
            "note": { "type": "string" },
        }),
    )
}

pub(super) fn coverage() -> Value {
    line(
        Some("presence.coverage"),
        "how many of the requested users are subscribed",
        &["requested", "subscribed", "missing", "missing_reasons"],
        &json!({
            "requested": count_of("how many users were asked for"),
            "subscribed": count_of("how many of them are subscribed"),
            "missing": ids("the others"),
            "missing_reasons": {
                "type": "object",
                "additionalProperties": { "enum": MissingReason::ALL },
                "description": "why each of the others is missing, by id; with --team, users who are not in that team are not found",
            },
        }),
    )
}

pub(super) fn end() -> Value {
    line(
        Some("stream.end"),
        "the last line",
        &["reason", "events", "gaps", "reconnects", "exit_code"],
        &json!({
            "reason": { "enum": EndReason::ALL.map(EndReason::name) },
            "events": count_of("how many events were written"),
            "gaps": count_of("how many gaps there were"),
            "reconnects": count_of("number of reconnects"),
            "exit_code": exit_code(),
        }),
    )
}

fn exit_code() -> Value {
    json!({ "enum": Code::ALL.map(Code::number) })
}

pub(super) fn count() -> Value {
    object(
        "how many there are: query-users --count-only",
        &["count"],
        &json!({ "count": count_of("how many") }),
    )
}

pub(super) fn request() -> Value {
    object(
        "a request that --dry-run did not send",
        &["method", "path", "endpoint", "body"],
        &json!({
            "endpoint": { "type": ["string", "null"], "description": "the endpoint whose rate limit it counts against, as named by `limits`" },
            "method": { "enum": ["POST", "PUT", "PATCH", "DELETE", "GET"] },
            "path": { "type": "string", "pattern": "^/" },
            "body": {},
        }),
    )
}

pub(super) fn profile() -> Value {
    object(
        "a profile; its secret is never part of it",
        &[
            "name",
            "default",
            "api_key",
            "secret",
            "base_url",
            "observer",
            "protected",
        ],
        &json!({
            "name": { "type": "string" },
            "default": { "type": "boolean" },
            "api_key": { "type": "string" },
            "secret": { "type": "string", "description": "where the secret is kept, in words" },
            "base_url": { "type": "string" },
            "observer": { "type": ["string", "null"] },
            "protected": { "type": "boolean" },
        }),
    )
}

pub(super) fn token() -> Value {
    let time = || json!({ "type": ["string", "null"], "format": "date-time" });
    object(
        "the claims of a token; other claims are additional properties",
        &["user_id", "server", "issued_at", "not_before", "expires_at"],
        &json!({
            "user_id": { "type": ["string", "null"] },
            "server": { "type": "boolean" },
            "issued_at": time(),
            "not_before": time(),
            "expires_at": time(),
            "valid": { "const": true, "description": "token verify" },
            "token": { "type": "string", "description": "token create" },
        }),
    )
}

pub(super) fn check() -> Value {
    object(
        "a step of doctor",
        &["check", "result", "detail", "hint", "ms"],
        &json!({
            "check": { "enum": [
                "configuration", "dns", "tcp", "tls", "http", "clock", "credentials", "token", "socket", "presence", "cleanup",
            ] },
            "result": { "enum": ["ok", "failed", "skipped"] },
            "detail": { "type": "string" },
            "hint": { "type": ["string", "null"], "description": "what to do about a failure" },
            "ms": { "type": ["integer", "null"], "minimum": 0, "description": "how long the step took" },
        }),
    )
}

pub(super) fn limit() -> Value {
    object(
        "the rate limit of an endpoint on a platform",
        &["platform", "endpoint", "limit", "remaining", "reset"],
        &json!({
            "platform": { "enum": ["server", "web", "ios", "android"] },
            "endpoint": { "type": "string" },
            "limit": count_of("calls a minute"),
            "remaining": count_of("calls left in this window"),
            "reset": { "type": ["string", "null"], "format": "date-time", "description": "when the window ends" },
        }),
    )
}

pub(super) fn mock_ready() -> Value {
    object(
        "the mock server can be used",
        &["type", "url", "api_key", "secret_from", "pid"],
        &json!({
            "type": { "const": "mock.ready" },
            "url": { "type": "string", "pattern": "^https?://" },
            "api_key": { "type": "string" },
            "secret_from": { "type": "string", "description": "where the secret is, in words" },
            "pid": { "type": "integer", "minimum": 1 },
            "control_token": { "type": "string", "description": "what the control API asks for; with --host only" },
            "ca_file": { "type": "string", "description": "a PEM file with the certificate to trust; with --tls only" },
            "console": { "type": "string", "description": "address of the console; not with --no-console" },
        }),
    )
}

pub(super) fn error() -> Value {
    let kinds = Code::ALL.map(Code::kind);
    object(
        "the error, on stderr, if the output format is set to json or ndjson",
        &["error"],
        &json!({
            "error": {
                "type": "object",
                "required": ["kind", "message", "exit_code", "api_code", "hint"],
                "properties": {
                    "kind": { "enum": kinds },
                    "message": { "type": "string", "minLength": 1 },
                    "exit_code": exit_code(),
                    "api_code": { "type": ["integer", "null"] },
                    "hint": { "type": ["string", "null"] },
                },
            },
        }),
    )
}
