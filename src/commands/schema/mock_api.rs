//! The OpenAPI document of the mock's control API, `/_mock`. The tests compare it with the server's table of routes, and
//! validate requests and responses against it.

use serde_json::{Map, Value, json};

use super::mock_endpoints::{self, endpoints};
use super::{mock_shapes, scenario_endpoints};

/// The name of the document among the records.
pub(super) const NAME: &str = "mock.api";

/// The document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints().chain(scenario_endpoints::endpoints()) {
        let (path, method) = (endpoint.path.to_owned(), endpoint.method.to_lowercase());
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(method, endpoint.operation());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Control API of the mock server of presencectl",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Changes and observes a running mock server. It is open to programs and pages on the server's \
                own machine; with `--host` it requires the control token instead.",
        },
        "servers": [{ "url": "/", "description": "the address of the mock, as in `url` of the ready record" }],
        "security": [{}, { "control_token": [] }],
        "paths": paths,
        "components": components(),
    })
}

fn components() -> Value {
    json!({
        "securitySchemes": {
            "control_token": {
                "type": "http",
                "scheme": "bearer",
                "description": "`control_token` of the ready record; required if the server was started with `--host`",
            },
        },
        "parameters": {
            "api_key": {
                "name": "api_key",
                "in": "query",
                "description": "the API key of the application (default: that of the first one)",
                "schema": { "type": "string" },
            },
        },
        "responses": {
            "Error": {
                "description": "400: invalid; 401: no application has this API key; 403: the caller may not control the \
                    server; 404: not found; 409: a scenario is running",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            },
        },
        "schemas": {
            "Application": mock_shapes::application(),
            "Clock": mock_shapes::clock(),
            "Connection": mock_shapes::connection(),
            "Error": mock_endpoints::error(),
            "Expectation": mock_shapes::expectation(),
            "Fault": mock_shapes::fault(),
            "FaultSpec": mock_endpoints::fault_spec(),
            "Fixture": mock_shapes::world(),
            "LogEntry": mock_endpoints::log_entry(),
            "ScenarioRun": scenario_endpoints::run_shape(),
            "Status": mock_shapes::status(),
            "User": mock_endpoints::user(),
        },
    })
}
