//! The schemas of the records that `mock` commands print.

use serde_json::{Value, json};

use super::shapes::{count_of, object, time};

pub(super) fn status() -> Value {
    object(
        "what a running mock holds",
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
            "users": count_of("how many users there are"),
            "online": count_of("how many of them are online, as others see it"),
            "channels": count_of("how many channels there are"),
            "connections": count_of("how many connections are open"),
            "virtual": count_of("how many of them have no client"),
            "subscriptions": count_of("pairs of a connection and a user whose presence it hears"),
            "watches": count_of("pairs of a connection and a channel that it watches"),
            "faults": count_of("faults that can still strike"),
            "log": count_of("the number of the last note in the log"),
        }),
    )
}

fn clock_words() -> Value {
    json!({ "type": "string", "description": "how the clock goes: system, moved, frozen, or running so many times as fast" })
}

pub(super) fn clock() -> Value {
    object(
        "the time on a running mock's clock, after what was done to it",
        &["now", "clock"],
        &json!({ "now": time(), "clock": clock_words() }),
    )
}

pub(super) fn user() -> Value {
    object(
        "what became of a user of a running mock; after mock user ID set, the user",
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
        "an event that nothing has caused",
        &["sent"],
        &json!({ "sent": count_of("to how many connections it was sent") }),
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
            "subscriptions": count_of("how many users' presence it hears"),
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
            "count": count_of("how often it strikes at most"),
            "after": count_of("how many it spares first"),
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
            "matched": count_of("requests or frames that fitted"),
            "fired": count_of("those of them that were struck"),
            "active": { "type": "boolean", "description": "whether it can still strike" },
        }),
    )
}

pub(super) fn cleared() -> Value {
    object(
        "faults that strike no more",
        &["cleared"],
        &json!({ "cleared": count_of("how many there were") }),
    )
}

pub(super) fn world() -> Value {
    let objects = json!({ "type": "array", "items": { "type": "object" } });
    object(
        "a world, as fixtures hold it",
        &["users", "channels"],
        &json!({
            "users": objects,
            "channels": objects,
            "demo": { "type": ["object", "null"], "description": "a schedule by which users come and go" },
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
        "a request to a running mock, and its answer",
        &["method", "path", "user", "status", "query", "took_ms"],
        &json!({
            "method": { "type": "string" },
            "path": { "type": "string" },
            "user": { "type": ["string", "null"], "description": "who asks, as far as the request says" },
            "status": { "type": ["integer", "null"], "description": "null where nothing was answered" },
            "error": { "type": "object", "description": "code and message of a refusal" },
            "query": { "type": "object" },
            "body": {},
            "took_ms": { "type": "number", "minimum": 0 },
            "fault": { "type": "string", "description": "the fault that struck it" },
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
    on_socket("mock.socket.open", "a socket opened", &[], json!({}))
}

pub(super) fn socket_end() -> Value {
    on_socket(
        "mock.socket.end",
        "a socket ended",
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
            "frame": { "description": "JSON, or a text that is none" },
            "fault": { "type": "string", "description": "the fault that struck it" },
        }),
    )
}

pub(super) fn frame_heard() -> Value {
    on_socket(
        "mock.frame.heard",
        "a frame came from a client",
        &["frame"],
        json!({ "frame": { "description": "JSON, or a text that is none" } }),
    )
}

pub(super) fn log_lost() -> Value {
    object(
        "notes of the log that were dropped before they could be read",
        &["type", "count"],
        &json!({ "type": { "const": "mock.log.lost" }, "count": count_of("how many") }),
    )
}
