//! The schema of a scenario file, which `mock run` reads.

use serde_json::{Map, Value, json};

/// The JSON Schema of a scenario. Unlike those of records it is closed: an unknown field is a mistake.
pub(super) fn scenario() -> Value {
    let mut schema = closed(
        "a scenario: what happens on a mock server, and what is expected",
        &["steps"],
        &json!({
            "version": { "const": 1 },
            "name": { "type": "string" },
            "seed": { "type": "integer", "minimum": 0, "description": "seed of all random numbers; 0 by default" },
            "fixture": { "description": "users and channels at the start, or the name of a file with them", "oneOf": [
                { "type": "string" },
                closed("users and channels", &[], &json!({ "users": objects(), "channels": objects() })),
            ] },
            "generate": closed("many users that are alike", &["users", "id"], &json!({
                "users": { "type": "integer", "minimum": 0, "maximum": 1_000_000 },
                "id": { "type": "string", "pattern": "\\{n\\}", "description": "{n} is replaced by a number from 1 on" },
                "set": { "type": "object", "description": "fields; {n} in a text is replaced too" },
            })),
            "options": { "type": "object", "description": "rule options, as the flags of mock start are named" },
            "clock": closed("the clock at the start", &["freeze"], &json!({ "freeze": time() })),
            "steps": steps(),
        }),
    );
    if let Value::Object(schema) = &mut schema {
        schema.insert("$defs".to_owned(), json!({ "step": step() }));
    }
    schema
}

fn closed(description: &str, required: &[&str], properties: &Value) -> Value {
    json!({
        "type": "object",
        "description": description,
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

fn objects() -> Value {
    json!({ "type": "array", "items": { "type": "object" } })
}

fn steps() -> Value {
    json!({ "type": "array", "items": { "$ref": "#/$defs/step" } })
}

fn duration(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// A step: a time, and one action.
fn step() -> Value {
    let after_start = || duration("how long after the start of the scenario, or of the round");
    let after_previous = || duration("how long after the step before");
    let actions = json!({
        "user": user(),
        "fault": { "type": "object", "required": ["kind"], "description": "a fault, with the fields of the record mock.fault" },
        "clear_faults": { "const": true },
        "clock": one_of("a change of the clock", &json!({
            "advance": duration("how far to move it"),
            "set": time(),
            "freeze": { "description": "stops the clock: true, or at this time" },
            "run": { "type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000 },
        })),
        "trigger": closed("an event of your own", &[], &json!({
            "event": { "type": "object" },
            "text": { "type": "string" },
            "user": { "type": "string" },
            "subscribers": { "type": "string" },
            "channel": { "type": "string" },
            "connection": { "type": "string" },
        })),
        "wait_for": closed("waits for a request or for a client to connect; 30s by default", &[], &json!({
            "request": expectation(),
            "connection": { "type": "string", "description": "id of the user" },
            "within": duration("how long, in real time"),
        })),
        "expect": expectation(),
        "repeat": closed("steps that are repeated", &["every", "steps"], &json!({
            "at": after_start(),
            "after": after_previous(),
            "every": duration("the time from one round to the next"),
            "times": { "type": "integer", "minimum": 0, "maximum": 10_000_000 },
            "for": duration("repeats for this long, instead of times"),
            "jitter": { "type": "string", "pattern": "%$", "description": "delays each round by up to this share of every" },
            "steps": steps(),
        })),
    });
    let one_action = required_one(&actions);
    let mut properties = Map::from_iter([
        ("at".to_owned(), after_start()),
        ("after".to_owned(), after_previous()),
    ]);
    if let Value::Object(actions) = actions {
        properties.extend(actions);
    }
    let mut step = closed("a step", &[], &Value::Object(properties));
    step["oneOf"] = one_action;
    step
}

fn user() -> Value {
    let changes = json!({ "type": "object" });
    closed(
        "what a user does",
        &[],
        &json!({
            "id": { "type": "string" },
            "any": { "type": "string", "description": "a glob; the seed chooses one of the users whose id matches" },
            "connect": { "const": true },
            "disconnect": { "const": true },
            "drop": { "const": true },
            "toggle": { "const": true, "description": "connects, or disconnects" },
            "set": { "description": "fields, or a list of which the seed chooses one", "oneOf": [
                changes, { "type": "array", "items": changes, "minItems": 1 },
            ] },
            "unset": { "type": "array", "items": { "type": "string" } },
        }),
    )
}

fn expectation() -> Value {
    closed(
        "how many requests match; at least one by default",
        &[],
        &json!({
            "method": { "type": "string" },
            "path": { "type": "string", "description": "a glob" },
            "user": { "type": "string", "description": "a glob" },
            "status": { "type": ["integer", "string"], "description": "a status, or a class such as 4xx" },
            "since": { "type": "string", "description": "a time on the mock's clock, or a duration ago" },
            "body": { "type": "string", "description": "a jq expression" },
            "count": { "type": "integer", "minimum": 0 },
            "at_least": { "type": "integer", "minimum": 1 },
            "never": { "type": "boolean" },
            "within": duration("how long to wait, in real time"),
        }),
    )
}

/// An object that has exactly one of these properties.
fn one_of(description: &str, properties: &Value) -> Value {
    let mut object = closed(description, &[], properties);
    object["oneOf"] = required_one(properties);
    object
}

fn required_one(properties: &Value) -> Value {
    let names = properties.as_object().into_iter().flat_map(Map::keys);
    names.map(|name| json!({ "required": [name] })).collect()
}
