//! The schemas of the records that `mock` commands print.

use serde_json::{Value, json};

use super::shapes::{count_of, object, time};

pub(super) fn status() -> Value {
    object(
        "the state of a running mock",
        &[
            "now",
            "clock",
            "users",
            "online",
            "channels",
            "connections",
            "virtual",
            "subscriptions",
            "watches",
            "faults",
            "log",
        ],
        &json!({
            "now": time(),
            "clock": clock_words(),
            "users": count_of("number of users"),
            "online": count_of("number of users who are online to others"),
            "channels": count_of("number of channels"),
            "connections": count_of("number of open connections"),
            "virtual": count_of("number of connections without a client"),
            "subscriptions": count_of("number of presence subscriptions: pairs of a connection and a user"),
            "watches": count_of("number of watches: pairs of a connection and a channel"),
            "faults": count_of("number of faults that can still apply"),
            "log": count_of("number of the last entry in the log"),
        }),
    )
}

fn clock_words() -> Value {
    json!({ "type": "string", "description": "mode of the clock: system, moved (set to another time), frozen, or running at a multiple of normal speed" })
}

pub(super) fn clock() -> Value {
    object(
        "the time on a running mock's clock, after the command",
        &["now", "clock"],
        &json!({ "now": time(), "clock": clock_words() }),
    )
}

pub(super) fn user() -> Value {
    object(
        "the result of an action on a user of a running mock; the user object after mock user ID set",
        &[],
        &json!({
            "connection_id": { "type": "string", "description": "mock user ID connect" },
            "closed": count_of("how many connections were closed: mock user ID disconnect"),
            "lost": count_of("how many connections were lost: mock user ID drop"),
        }),
    )
}

pub(super) fn trigger() -> Value {
    object(
        "a custom event injected by the tester",
        &["sent"],
        &json!({ "sent": count_of("number of connections that it was sent to") }),
    )
}

pub(super) fn connection() -> Value {
    object(
        "a connection of a running mock",
        &[
            "connection_id",
            "user",
            "carrier",
            "last_seen",
            "subscriptions",
            "watching",
        ],
        &json!({
            "connection_id": { "type": "string" },
            "user": { "type": "string" },
            "carrier": { "enum": ["socket", "long poll", "virtual"] },
            "last_seen": time(),
            "subscriptions": count_of("number of users to whose presence it is subscribed"),
            "watching": { "type": "array", "items": { "type": "string" } },
        }),
    )
}

pub(super) fn fault() -> Value {
    object(
        "a fault of a running mock",
        &["id", "kind", "matched", "fired", "active"],
        &json!({
            "id": { "type": "string" },
            "kind": { "type": "string" },
            "method": { "type": "string" },
            "path": { "type": "string" },
            "user": { "type": "string" },
            "event": { "type": "string" },
            "count": count_of("how often it applies at most"),
            "after": count_of("how many matches it skips first"),
            "probability": { "type": "number", "minimum": 0, "maximum": 1 },
            "seed": { "type": "integer", "minimum": 0 },
            "now": { "type": "boolean" },
            "status": { "type": "integer" },
            "code": { "type": "integer" },
            "message": { "type": "string" },
            "retry_after": count_of("seconds"),
            "delay": { "type": "string" },
            "applied": { "type": "boolean" },
            "text": { "type": "string" },
            "matched": count_of("number of requests or frames that matched"),
            "fired": count_of("how often the fault was applied"),
            "active": { "type": "boolean", "description": "whether it can still apply" },
        }),
    )
}

pub(super) fn cleared() -> Value {
    object(
        "removed faults",
        &["cleared"],
        &json!({ "cleared": count_of("how many there were") }),
    )
}

pub(super) fn application_created() -> Value {
    object(
        "a new application of a running mock",
        &["api_key", "api_secret"],
        &json!({ "api_key": { "type": "string" }, "api_secret": { "type": "string" } }),
    )
}

pub(super) fn application() -> Value {
    object(
        "an application of a running mock",
        &["api_key", "first", "users", "channels", "connections"],
        &json!({
            "api_key": { "type": "string" },
            "first": { "type": "boolean", "description": "whether it exists from the start of the server" },
            "users": count_of("number of users"),
            "channels": count_of("number of channels"),
            "connections": count_of("number of open connections"),
        }),
    )
}

pub(super) fn application_deleted() -> Value {
    object(
        "a deleted application of a running mock",
        &["api_key", "closed"],
        &json!({ "api_key": { "type": "string" }, "closed": count_of("how many connections were closed") }),
    )
}

pub(super) fn world() -> Value {
    let objects = json!({ "type": "array", "items": { "type": "object" } });
    object(
        "a fixture: users and channels",
        &["users", "channels"],
        &json!({
            "users": objects,
            "channels": objects,
            "demo": { "type": ["object", "null"], "description": "a schedule by which users come and go" },
        }),
    )
}

/// A request that an expectation names.
fn compared_request(meaning: &str, own: Value) -> Value {
    let mut properties = json!({
        "number": { "type": "integer", "minimum": 1 },
        "at": time(),
        "method": { "type": "string" },
        "path": { "type": "string" },
        "user": { "type": ["string", "null"] },
        "status": { "type": ["integer", "null"] },
    });
    if let (Some(all), Value::Object(own)) = (properties.as_object_mut(), own) {
        all.extend(own);
    }
    let required = ["number", "at", "method", "path", "user", "status"];
    json!({ "type": "array", "items": object(meaning, &required, &properties) })
}

pub(super) fn expectation() -> Value {
    let differences = json!({
        "differences": { "type": "array", "items": object(
            "a filter that the request does not pass",
            &["filter", "expected", "actual"],
            &json!({
                "filter": { "enum": ["method", "path", "user", "status", "since", "body"] },
                "expected": { "type": "string" },
                "actual": {},
                "error": { "type": "string", "description": "why the expression has no result" },
            }),
        ) },
    });
    object(
        "the result of an expectation",
        &["type", "met", "expected", "matched", "compared", "lost"],
        &json!({
            "type": { "const": "mock.expectation" },
            "met": { "type": "boolean" },
            "expected": { "type": "string", "description": "the expectation in words" },
            "matched": count_of("how many requests matched"),
            "compared": count_of("how many requests were compared"),
            "lost": count_of("how many entries of the log were dropped before they could be compared"),
            "unexpected": compared_request("a request that should not have come", json!({})),
            "nearest": compared_request("a request that nearly matches", differences),
        }),
    )
}

pub(super) fn step() -> Value {
    object(
        "a step of a scenario that has run",
        &["type", "number", "at", "line", "action", "ok"],
        &json!({
            "type": { "const": "mock.step" },
            "number": { "type": "integer", "minimum": 1 },
            "at": { "type": "string", "format": "date-time", "description": "the time on the mock's clock" },
            "line": { "type": "integer", "minimum": 1, "description": "line of the step in the file" },
            "action": actions(),
            "user": { "type": "string", "description": "the user whom the step concerns" },
            "ok": { "type": "boolean", "description": "false if an expectation is not met, or the mock refuses the step" },
            "error": { "type": "string" },
            "fault": { "type": "string", "description": "id of the new fault" },
            "sent": count_of("number of connections that an event was sent to"),
            "expectation": expectation(),
        }),
    )
}

pub(super) fn skipped_step() -> Value {
    object(
        "a step of a scenario that did not run, or not in each round, because the run ended before; in the order of the \
         file, after the other records",
        &["type", "line", "action", "ok", "error", "count"],
        &json!({
            "type": { "const": "mock.step.skipped" },
            "line": { "type": "integer", "minimum": 1, "description": "line of the step in the file" },
            "action": actions(),
            "user": { "type": "string", "description": "the user whom the step concerns" },
            "ok": { "const": false },
            "error": { "type": "string", "description": "why it did not run" },
            "count": { "type": "integer", "minimum": 1, "description": "how often it did not run" },
            "expected": { "type": "string", "description": "the expectation in words" },
        }),
    )
}

/// What a step does.
fn actions() -> Value {
    json!({ "enum": [
        "connect", "disconnect", "drop", "toggle", "set", "fault", "clear_faults", "clock", "trigger", "wait_for", "expect",
    ] })
}

pub(super) fn check() -> Value {
    object(
        "what a valid scenario would do: mock run --check",
        &["type", "file", "steps", "duration", "users", "channels"],
        &json!({
            "type": { "const": "mock.check" },
            "file": { "type": "string" },
            "steps": count_of("number of steps with all repetitions"),
            "duration": { "type": "string", "description": "how long they take on the mock's clock" },
            "users": count_of("number of users at the start"),
            "channels": count_of("number of channels at the start"),
        }),
    )
}

/// An entry of the traffic log: number and time, and its own fields.
fn note(kind: &str, meaning: &str, required: &[&str], own: &Value) -> Value {
    let mut properties = json!({
        "type": { "const": kind },
        "number": { "type": "integer", "minimum": 1 },
        "at": time(),
    });
    if let (Some(all), Some(own)) = (properties.as_object_mut(), own.as_object()) {
        all.extend(own.clone());
    }
    let required: Vec<&str> = ["type", "number", "at"]
        .into_iter()
        .chain(required.iter().copied())
        .collect();
    object(meaning, &required, &properties)
}

pub(super) fn request() -> Value {
    note(
        "mock.request",
        "a request to a running mock, and its response",
        &["method", "path", "user", "status", "query", "took_ms"],
        &json!({
            "method": { "type": "string" },
            "path": { "type": "string" },
            "user": { "type": ["string", "null"], "description": "the user of the request, if it names one" },
            "status": { "type": ["integer", "null"], "description": "null if there was no response" },
            "error": { "type": "object", "description": "code and message of an error response" },
            "query": { "type": "object" },
            "body": {},
            "took_ms": { "type": "number", "minimum": 0 },
            "fault": { "type": "string", "description": "the fault that was applied to it" },
        }),
    )
}

/// The fields of all entries about a socket.
fn on_socket(kind: &str, meaning: &str, required: &[&str], own: Value) -> Value {
    let mut properties =
        json!({ "user": { "type": "string" }, "connection_id": { "type": "string" } });
    if let (Some(all), Value::Object(own)) = (properties.as_object_mut(), own) {
        all.extend(own);
    }
    let required: Vec<&str> = ["user", "connection_id"]
        .into_iter()
        .chain(required.iter().copied())
        .collect();
    note(kind, meaning, &required, &properties)
}

pub(super) fn socket_open() -> Value {
    on_socket(
        "mock.socket.open",
        "a WebSocket connection was opened",
        &[],
        json!({}),
    )
}

pub(super) fn socket_end() -> Value {
    on_socket(
        "mock.socket.end",
        "a WebSocket connection ended",
        &["reason"],
        json!({ "reason": { "type": "string" } }),
    )
}

pub(super) fn frame_sent() -> Value {
    on_socket(
        "mock.frame.sent",
        "a frame was sent to a client",
        &["frame"],
        json!({
            "frame": { "description": "a JSON value, or a string if the frame is not JSON" },
            "fault": { "type": "string", "description": "the fault that was applied to it" },
        }),
    )
}

pub(super) fn frame_heard() -> Value {
    on_socket(
        "mock.frame.heard",
        "a frame was received from a client",
        &["frame"],
        json!({ "frame": { "description": "a JSON value, or a string if the frame is not JSON" } }),
    )
}

pub(super) fn log_lost() -> Value {
    object(
        "entries of the log that were dropped before they could be read",
        &["type", "count"],
        &json!({ "type": { "const": "mock.log.lost" }, "count": count_of("how many") }),
    )
}
