//! The endpoints of the mock's control API for scenarios that run inside the server.

use serde_json::{Value, json};

use super::mock_endpoints::{Endpoint, closed, in_path, in_query, list_of, reference};
use super::mock_shapes;
use super::shapes::{count_of, object, time};

/// The endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let id = || in_path("id", &json!({ "type": "string" }));
    vec![
        Endpoint::new(
            "GET",
            "/_mock/scenarios",
            "listScenarios",
            "List the last runs of scenarios, the newest first",
            object(
                "the runs",
                &["scenarios"],
                &json!({ "scenarios": list_of("ScenarioRun") }),
            ),
        ),
        Endpoint::new(
            "POST",
            "/_mock/scenarios",
            "runScenario",
            "Run a scenario on the application, or check it; 409 if one is running",
            json!({ "oneOf": [reference("ScenarioRun"), check()] }),
        )
        .reads(request()),
        Endpoint::new(
            "GET",
            "/_mock/scenarios/{id}",
            "getScenario",
            "Get a run and the records of its steps after a number; with `wait`, wait for them",
            run_with_steps(),
        )
        .with([
            id(),
            in_query("after", "the number of a step; 0 for all", &number()),
            in_query(
                "limit",
                "maximum number of records (default 1000)",
                &number(),
            ),
            in_query(
                "wait",
                "how long to wait for a record or the end, at most 30s",
                &json!({ "type": "string" }),
            ),
        ]),
        Endpoint::new(
            "DELETE",
            "/_mock/scenarios/{id}",
            "stopScenario",
            "Stop a run before its next step",
            reference("ScenarioRun"),
        )
        .with([id()]),
        Endpoint::new(
            "GET",
            "/_mock/examples",
            "listExamples",
            "List the scenarios that are part of the program",
            object(
                "the examples",
                &["examples"],
                &json!({ "examples": { "type": "array", "items": object(
                    "a scenario",
                    &["name", "summary", "text"],
                    &json!({
                        "name": { "type": "string" },
                        "summary": { "type": "string" },
                        "text": { "type": "string", "description": "the file" },
                    }),
                ) } }),
            ),
        )
        .for_server(),
    ]
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn request() -> Value {
    let mut shape = closed(object(
        "a scenario, and how to run it. It cannot name files. Its `options` must be those of the server",
        &[],
        &json!({
            "scenario": { "type": "string", "description": "the text in YAML or JSON, at most 16 MiB" },
            "example": { "type": "string", "description": "the name of an example, in place of a text" },
            "seed": { "type": "integer", "minimum": 0, "description": "in place of the scenario's" },
            "speed": {
                "description": "multiple of the normal speed, or `max`; by default `max` if the clock is frozen, else 1",
                "oneOf": [{ "type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000 }, { "type": "string" }],
            },
            "variables": {
                "type": "object",
                "additionalProperties": { "type": ["string", "number", "boolean"] },
                "description": "values for ${NAME} in the text",
            },
            "check": { "type": "boolean", "description": "only check the scenario" },
        }),
    ));
    shape["oneOf"] = json!([{ "required": ["scenario"] }, { "required": ["example"] }]);
    shape
}

fn check() -> Value {
    let valid = object(
        "what a valid scenario would do",
        &["valid", "name", "steps", "duration", "users", "channels"],
        &json!({
            "valid": { "const": true },
            "name": { "type": ["string", "null"] },
            "steps": count_of("number of steps with all repetitions"),
            "duration": { "type": "string", "description": "how long they take on the mock's clock" },
            "users": count_of("number of users at the start"),
            "channels": count_of("number of channels at the start"),
        }),
    );
    let invalid = object(
        "a mistake in a scenario",
        &["valid", "line", "column", "message"],
        &json!({
            "valid": { "const": false },
            "line": count_of("line in the text, from 1; 0 if it is not known"),
            "column": count_of("column in the line, from 1"),
            "message": { "type": "string" },
        }),
    );
    json!({ "oneOf": [valid, invalid] })
}

/// A run without its steps.
pub(super) fn run_shape() -> Value {
    object(
        "a run of a scenario",
        &[
            "id",
            "name",
            "state",
            "steps",
            "done",
            "failed",
            "skipped",
            "duration",
            "seed",
            "speed",
            "started_at",
            "ended_at",
            "error",
        ],
        &json!({
            "id": { "type": "string" },
            "name": { "type": ["string", "null"] },
            "state": { "enum": ["running", "passed", "failed", "stopped"] },
            "steps": count_of("number of steps with all repetitions"),
            "done": count_of("how many steps have run"),
            "failed": count_of("how many of them failed"),
            "skipped": count_of("how many steps of the file were skipped, at least in some rounds"),
            "duration": { "type": "string", "description": "how long the steps take on the mock's clock" },
            "seed": { "type": "integer", "minimum": 0 },
            "speed": { "type": "string" },
            "started_at": time(),
            "ended_at": { "type": ["string", "null"], "format": "date-time" },
            "error": { "type": ["string", "null"], "description": "why the run ended before its last step" },
        }),
    )
}

fn run_with_steps() -> Value {
    let mut shape = run_shape();
    shape["description"] = "a run of a scenario with records of its steps".into();
    let records = |schema: Value, what: &str| json!({ "type": "array", "items": schema, "description": what });
    for (name, property) in [
        (
            "records",
            records(
                mock_shapes::step(),
                "steps that have run; the last 1000 are kept",
            ),
        ),
        ("next", count_of("the number after which to continue")),
        (
            "lost",
            count_of("how many of the requested records are no longer kept"),
        ),
        (
            "failures",
            records(mock_shapes::step(), "the first 100 steps that failed"),
        ),
        (
            "skipped_steps",
            records(
                mock_shapes::skipped_step(),
                "the first 100 steps that were skipped",
            ),
        ),
    ] {
        shape["properties"][name] = property;
        if let Some(required) = shape["required"].as_array_mut() {
            required.push(name.into());
        }
    }
    shape
}
