//! The endpoints of the mock's control API, with what they read and answer.

use serde_json::{Value, json};

use super::mock_shapes;
use super::shapes::{count_of, object};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestScope {
    /// One application: the first, or that of the parameter `api_key`.
    Application,
    /// The whole server.
    Server,
}

/// An endpoint.
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Its name, which is unique.
    id: &'static str,
    summary: &'static str,
    scope: RequestScope,
    /// Parameters of its own.
    parameters: Vec<Value>,
    /// The schema of its body, if it reads one.
    body: Option<Value>,
    /// The schema of its response.
    response: Value,
}

impl Endpoint {
    pub(super) const fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        response: Value,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            scope: RequestScope::Application,
            parameters: Vec::new(),
            body: None,
            response,
        }
    }

    pub(super) const fn for_server(mut self) -> Self {
        self.scope = RequestScope::Server;
        self
    }

    pub(super) fn with(mut self, parameters: impl IntoIterator<Item = Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    pub(super) fn reads(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The OpenAPI operation.
    pub(super) fn operation(self) -> Value {
        let mut parameters = self.parameters;
        if self.scope == RequestScope::Application {
            parameters.push(json!({ "$ref": "#/components/parameters/api_key" }));
        }
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": parameters,
            "responses": {
                "200": {
                    "description": "done",
                    "content": { "application/json": { "schema": self.response } },
                },
                "default": { "$ref": "#/components/responses/Error" },
            },
        });
        if let (Some(body), Some(operation)) = (self.body, operation.as_object_mut()) {
            let body = json!({ "content": { "application/json": { "schema": body } } });
            operation.insert("requestBody".to_owned(), body);
        }
        operation
    }
}

/// All endpoints.
pub(super) fn endpoints() -> impl Iterator<Item = Endpoint> {
    let topics = [
        about_applications,
        about_the_server,
        about_data,
        about_clients,
        about_the_log,
        about_faults,
        about_the_clock,
    ];
    topics.into_iter().flat_map(|endpoints| endpoints())
}

fn about_applications() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            "GET",
            "/_mock/apps",
            "listApplications",
            "List the applications; the default one comes first",
            object(
                "the applications",
                &["apps"],
                &json!({ "apps": list_of("Application") }),
            ),
        )
        .for_server(),
        Endpoint::new(
            "POST",
            "/_mock/apps",
            "createApplication",
            "Create an empty application",
            mock_shapes::application_created(),
        )
        .for_server(),
        Endpoint::new(
            "DELETE",
            "/_mock/apps/{api_key}",
            "deleteApplication",
            "Delete an application and close its connections",
            mock_shapes::application_deleted(),
        )
        .for_server()
        .with([in_path("api_key", &json!({ "type": "string" }))]),
    ]
}

fn about_the_server() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            "GET",
            "/_mock/health",
            "getHealth",
            "Check that the server answers; needs no control token",
            object(
                "the server answers",
                &["healthy"],
                &json!({ "healthy": { "const": true } }),
            ),
        )
        .for_server(),
        Endpoint::new(
            "POST",
            "/_mock/stop",
            "stop",
            "Stop the server",
            json!({ "type": "object" }),
        )
        .for_server(),
        Endpoint::new(
            "GET",
            "/_mock/credentials",
            "getCredentials",
            "Get the key and the secret of an application",
            object(
                "what a client needs",
                &["api_key", "api_secret", "pid", "ca_file", "console"],
                &json!({
                    "api_key": { "type": "string" },
                    "api_secret": { "type": "string" },
                    "pid": { "type": "integer", "minimum": 1, "description": "process of the server" },
                    "ca_file": {
                        "type": ["string", "null"],
                        "description": "a PEM file with the certificate to trust; with --tls only",
                    },
                    "console": { "type": ["string", "null"], "description": "path of the console" },
                }),
            ),
        ),
    ]
}

fn about_data() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            "GET",
            "/_mock/status",
            "getStatus",
            "Get counts and the time",
            reference("Status"),
        ),
        Endpoint::new(
            "GET",
            "/_mock/snapshot",
            "getSnapshot",
            "Get the users and channels as a fixture",
            reference("Fixture"),
        ),
        Endpoint::new(
            "POST",
            "/_mock/restore",
            "restore",
            "Replace the users and channels with those of a fixture",
            reference("Status"),
        )
        .reads(object(
            "a fixture: users and channels",
            &[],
            &json!({
                "users": { "type": "array", "items": { "type": "object" } },
                "channels": { "type": "array", "items": { "type": "object" } },
                "demo": { "type": ["object", "null"] },
            }),
        )),
        Endpoint::new(
            "POST",
            "/_mock/reset",
            "reset",
            "Restore the data, clock, faults and log of the start",
            json!({ "type": "object" }),
        ),
    ]
}

fn about_clients() -> Vec<Endpoint> {
    let number =
        |name, meaning| in_query(name, meaning, &json!({ "type": "integer", "minimum": 0 }));
    vec![
        Endpoint::new(
            "GET",
            "/_mock/users",
            "listUsers",
            "List users by id",
            object(
                "a part of the users",
                &["users", "total"],
                &json!({
                    "users": list_of("User"),
                    "total": count_of("how many users match in all"),
                }),
            ),
        )
        .with([
            in_query(
                "search",
                "a part of the id, the name or the status",
                &json!({ "type": "string" }),
            ),
            number("limit", "maximum number of users (default 100, at most 1000)"),
            number("offset", "how many users to skip"),
        ]),
        Endpoint::new(
            "POST",
            "/_mock/users/{id}/{action}",
            "changeUser",
            "Connect a user without a client, disconnect or toggle them, lose their connections, or set their fields",
            mock_shapes::user(),
        )
        .with([
            in_path("id", &json!({ "type": "string" })),
            in_path("action", &json!({ "enum": ["connect", "disconnect", "drop", "toggle", "set"] }),
            ),
        ])
        .reads(object(
            "for `set`: the fields; the user is created if there is none",
            &[],
            &json!({
                "set": { "type": "object", "description": "new values by field" },
                "unset": {
                    "type": "array",
                    "items": { "type": "string" },
                    "description": "fields to remove",
                },
            }),
        )),
        Endpoint::new(
            "GET",
            "/_mock/connections",
            "listConnections",
            "List the connections, the oldest first",
            object(
                "the connections",
                &["connections"],
                &json!({ "connections": list_of("Connection") }),
            ),
        ),
        Endpoint::new(
            "GET",
            "/_mock/connections/{connection_id}",
            "getConnection",
            "Get a connection and the users to whose presence it is subscribed",
            connection_details(),
        )
        .with([in_path("connection_id", &json!({ "type": "string" }))]),
        Endpoint::new(
            "POST",
            "/_mock/trigger",
            "trigger",
            "Send an event or a text to connections",
            mock_shapes::trigger(),
        )
        .reads(trigger()),
    ]
}

fn about_the_log() -> Vec<Endpoint> {
    let text = json!({ "type": "string" });
    let number =
        |name, meaning| in_query(name, meaning, &json!({ "type": "integer", "minimum": 0 }));
    vec![
        Endpoint::new(
            "GET",
            "/_mock/log",
            "readLog",
            "Read requests, frames and sockets after an entry; with `wait`, wait for them",
            object(
                "a part of the log",
                &["entries", "next", "lost"],
                &json!({
                    "entries": list_of("LogEntry"),
                    "next": count_of("the entry after which to continue"),
                    "lost": count_of("how many of the requested entries are no longer in the log"),
                }),
            ),
        )
        .with([
            number("after", "the number of an entry; 0 for all"),
            number("limit", "maximum number of entries (default 1000)"),
            in_query("wait", "how long to wait for an entry, at most 30s", &text),
            in_query("method", "an HTTP method", &text),
            in_query("path", "a glob for the path", &text),
            in_query("user", "a glob for the id of the user", &text),
            in_query("status", "an HTTP status, or a class such as 4xx", &text),
            in_query(
                "since",
                "the earliest time on the mock's clock, or a duration ago",
                &text,
            ),
            in_query("body", "a jq expression that is true for the body", &text),
        ]),
        Endpoint::new(
            "POST",
            "/_mock/expect",
            "expect",
            "Check that requests came, or wait for them",
            reference("Expectation"),
        )
        .reads(expectation_spec()),
    ]
}

fn about_faults() -> Vec<Endpoint> {
    let faults = || {
        object(
            "faults",
            &["faults"],
            &json!({ "faults": list_of("Fault") }),
        )
    };
    vec![
        Endpoint::new(
            "GET",
            "/_mock/faults",
            "listFaults",
            "List the faults",
            faults(),
        ),
        Endpoint::new(
            "POST",
            "/_mock/faults",
            "addFaults",
            "Add a fault, or several",
            faults(),
        )
        .reads(json!({
            "oneOf": [
                reference("FaultSpec"),
                object(
                    "several faults",
                    &["faults"],
                    &json!({ "faults": list_of("FaultSpec") }),
                ),
            ],
        })),
        Endpoint::new(
            "DELETE",
            "/_mock/faults",
            "clearFaults",
            "Remove all faults",
            mock_shapes::cleared(),
        ),
        Endpoint::new(
            "DELETE",
            "/_mock/faults/{id}",
            "removeFault",
            "Remove a fault",
            mock_shapes::cleared(),
        )
        .with([in_path("id", &json!({ "type": "string" }))]),
    ]
}

fn about_the_clock() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            "POST",
            "/_mock/clock/{action}",
            "changeClock",
            "Freeze, advance, set, run or reset the clock",
            reference("Clock"),
        )
        .with([in_path("action", &json!({ "enum": ["freeze", "advance", "set", "run", "reset"] }),
        )])
        .reads(object(
            "what the action needs",
            &[],
            &json!({
                "by": { "type": "string", "description": "advance: a duration, such as 90s" },
                "to": {
                    "type": "string",
                    "description": "set, and optional for freeze: RFC 3339, unix seconds, or a duration ago",
                },
                "rate": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": 1_000_000,
                    "description": "run: multiple of the normal speed (default 1)",
                },
            }),
        )),
    ]
}

pub(super) fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

pub(super) fn list_of(schema: &str) -> Value {
    json!({ "type": "array", "items": reference(schema) })
}

pub(super) fn in_path(name: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

pub(super) fn in_query(name: &str, meaning: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": meaning, "schema": schema })
}

/// An object that has no other properties, as the server refuses them.
pub(super) fn closed(mut object: Value) -> Value {
    object["additionalProperties"] = false.into();
    object
}

pub(super) fn user() -> Value {
    object(
        "a user, as the control API lists them",
        &[
            "id",
            "name",
            "online",
            "invisible",
            "status",
            "last_active",
            "connections",
            "virtual",
            "deactivated",
            "deleted",
        ],
        &json!({
            "id": { "type": "string" },
            "name": { "type": ["string", "null"] },
            "online": { "type": "boolean", "description": "whether they are online to others" },
            "invisible": { "type": "boolean" },
            "status": { "description": "the status text, or null; any value if a client set one" },
            "last_active": { "type": ["string", "null"], "format": "date-time" },
            "connections": count_of("number of open connections"),
            "virtual": count_of("number of connections without a client"),
            "deactivated": { "type": "boolean" },
            "deleted": { "type": "boolean" },
        }),
    )
}

fn connection_details() -> Value {
    let mut shape = mock_shapes::connection();
    shape["description"] = "a connection, and the users to whose presence it is subscribed".into();
    shape["properties"]["users"] =
        json!({ "type": "array", "items": { "type": "string" }, "description": "ids of users" });
    if let Some(required) = shape["required"].as_array_mut() {
        required.push("users".into());
    }
    shape
}

pub(super) fn log_entry() -> Value {
    json!({
        "oneOf": [
            mock_shapes::request(),
            mock_shapes::socket_open(),
            mock_shapes::socket_end(),
            mock_shapes::frame_sent(),
            mock_shapes::frame_heard(),
        ],
    })
}

fn trigger() -> Value {
    closed(object(
        "an event or a text, and who gets it: a connection, a user, those who are subscribed to a user, or those who \
         watch a channel",
        &[],
        &json!({
            "event": { "type": "object", "required": ["type"], "properties": { "type": { "type": "string" } } },
            "text": { "type": "string", "description": "a frame that need not be an event" },
            "connection": { "type": "string" },
            "user": { "type": "string" },
            "subscribers": { "type": "string", "description": "id of a user" },
            "channel": { "type": "string", "description": "type:id" },
        }),
    ))
}

fn expectation_spec() -> Value {
    closed(object(
        "conditions of requests, and how many requests must meet them: at least one if no number is given",
        &[],
        &json!({
            "method": { "type": "string" },
            "path": { "type": "string", "description": "a glob" },
            "user": { "type": "string", "description": "a glob for the id of the user" },
            "status": {
                "type": ["integer", "string"],
                "description": "an HTTP status, or a class such as 4xx",
            },
            "since": { "type": "string", "description": "a time on the mock's clock, or a duration ago" },
            "body": { "type": "string", "description": "a jq expression that is true for the body" },
            "count": count_of("exactly this many requests"),
            "at_least": { "type": "integer", "minimum": 1 },
            "never": { "type": "boolean", "description": "no request" },
            "within": { "type": "string", "description": "how long to wait, in real time" },
        }),
    ))
}

/// The properties of a fault without what the server counts.
pub(super) fn fault_spec() -> Value {
    let mut shape = mock_shapes::fault();
    if let Some(properties) = shape["properties"].as_object_mut() {
        properties
            .retain(|name, _| !matches!(name.as_str(), "id" | "matched" | "fired" | "active"));
    }
    shape["properties"]["kind"] = json!({
        "enum": [
            "status", "delay", "reset", "html", "truncate", "drop", "close", "half-open", "mute", "duplicate", "reorder",
            "late", "garbage", "expire", "slow",
        ],
    });
    shape["description"] = "a fault to add".into();
    shape["required"] = json!(["kind"]);
    closed(shape)
}

pub(super) fn error() -> Value {
    object(
        "an error in the service's format",
        &["code", "message", "StatusCode"],
        &json!({
            "code": { "type": "integer" },
            "message": { "type": "string" },
            "StatusCode": { "type": "integer" },
            "duration": { "type": "string" },
            "more_info": { "type": "string" },
            "details": { "type": "array" },
            "exception_fields": { "type": "object", "description": "reasons by field" },
        }),
    )
}
