//! The schemas of what `mock record` prints and writes.

use serde_json::{Value, json};

use super::shapes::{count_of, object, time};

pub(super) fn ready() -> Value {
    object(
        "the recording proxy can be used",
        &["type", "url", "upstream", "file", "pid"],
        &json!({
            "type": { "const": "mock.record.ready" },
            "url": { "type": "string", "pattern": "^http://", "description": "the base URL for clients" },
            "upstream": { "type": "string", "description": "the server whose traffic is recorded" },
            "file": file(),
            "pid": { "type": "integer", "minimum": 1 },
        }),
    )
}

pub(super) fn end() -> Value {
    object(
        "the recording is complete",
        &["type", "file", "requests", "sockets", "frames"],
        &json!({
            "type": { "const": "mock.record.end" },
            "file": file(),
            "requests": count_of("number of recorded requests"),
            "sockets": count_of("number of recorded WebSockets"),
            "frames": count_of("number of recorded frames"),
        }),
    )
}

fn file() -> Value {
    json!({ "type": ["string", "null"], "description": "the recording; null with --dry-run" })
}

/// A type of line and the fields that it has.
fn variant(kind: &str, required: &[&str]) -> Value {
    json!({ "properties": { "type": { "const": kind } }, "required": required })
}

pub(super) fn line() -> Value {
    let json_or_null = |description: &str| json!({ "description": description });
    let reason =
        |of: &str| json!({ "type": "string", "description": format!("why {of} is not recorded") });
    let mut shape = object(
        "a line of a recording: a header, requests with their responses, what happened on WebSockets, and an end",
        &["type"],
        &json!({
            "type": { "enum": [
                "recording.start", "recording.request", "recording.socket.open", "recording.frame",
                "recording.socket.end", "recording.end",
            ] },
            "version": { "const": 1, "description": "the version of the format" },
            "recorded_at": time(),
            "program": { "type": "string", "description": "name and version of the program that wrote it" },
            "ids": { "enum": ["kept", "pseudonyms"] },
            "kept": { "type": "array", "items": { "type": "string" }, "description": "the fields of --keep" },
            "at_ms": count_of("milliseconds from the start of the recording"),
            "took_ms": count_of("milliseconds until the response was complete"),
            "method": { "type": "string" },
            "path": { "type": "string", "description": "below the base URL, percent-encoded" },
            "query": { "type": "object", "description": "without credentials; JSON in a parameter is JSON" },
            "user": { "type": ["string", "null"], "description": "the user of the token; null for the server side, and for a WebSocket whose first frame names the user" },
            "body": json_or_null("the JSON of the request"),
            "body_omitted": reason("the body of the request"),
            "status": { "type": "integer", "minimum": 100, "maximum": 999 },
            "headers": { "type": "object", "additionalProperties": { "type": "string" } },
            "response": json_or_null("the JSON of the response"),
            "response_omitted": reason("the body of the response"),
            "socket": { "type": "integer", "minimum": 1, "description": "the number of the WebSocket" },
            "from": { "enum": ["client", "server"], "description": "who sent the frame" },
            "data": json_or_null("the JSON of the frame"),
            "data_omitted": reason("the frame"),
            "by": { "enum": ["client", "server"], "description": "who ended the WebSocket" },
            "code": { "type": ["integer", "null"], "description": "the close code; null if the connection broke" },
            "requests": count_of("number of recorded requests"),
            "sockets": count_of("number of recorded WebSockets"),
            "frames": count_of("number of recorded frames"),
        }),
    );
    shape["oneOf"] = json!([
        variant(
            "recording.start",
            &["version", "recorded_at", "program", "ids", "kept"]
        ),
        variant(
            "recording.request",
            &[
                "at_ms", "took_ms", "method", "path", "query", "user", "body", "status", "headers",
                "response",
            ]
        ),
        variant(
            "recording.socket.open",
            &["at_ms", "socket", "path", "query", "user"]
        ),
        variant("recording.frame", &["at_ms", "socket", "from", "data"]),
        variant("recording.socket.end", &["at_ms", "socket", "by", "code"]),
        variant("recording.end", &["at_ms", "requests", "sockets", "frames"]),
    ]);
    shape
}
