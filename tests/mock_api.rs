//! The OpenAPI document of the control API: it has exactly the routes of the server, and the server keeps to it.

use std::collections::BTreeSet;

use boon::{Compiler, Schemas};
use presencectl::mock::CONTROL_ROUTES;
use serde_json::{Value, json};

use crate::support::Presencectl;
use crate::support::mock::Mock;
use crate::support::wire::Answer;
use crate::support::world::{presencectl, small_world};

const ADDRESS: &str = "https://presencectl.test/mock.api";

fn document() -> Value {
    let text = Presencectl::line("schema mock.api")
        .run()
        .stdout_of_success();
    serde_json::from_str(&text).unwrap()
}

/// The operations of the document: method, path and definition.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
        })
        .collect()
}

#[test]
fn it_has_the_routes_of_the_server() {
    let document = document();
    let documented: BTreeSet<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    let routes: BTreeSet<(String, String)> = CONTROL_ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    assert_eq!(documented, routes);
}

#[test]
fn it_has_the_query_parameters_of_the_server() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let documented: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let route = CONTROL_ROUTES
            .iter()
            .find(|route| route.method == method && route.path == path)
            .unwrap();
        let read: BTreeSet<&str> = route.query.iter().copied().collect();
        assert_eq!(documented, read, "{method} {path}");
    }
}

#[test]
fn every_operation_is_complete() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        assert!(operation["summary"].is_string(), "{method} {path}");
        let expected: BTreeSet<&str> = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let declared: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(declared, expected, "{method} {path}");
    }
}

/// Calls operations and validates what they are sent and what they answer.
struct Validator<'a> {
    mock: &'a Mock,
    document: &'a Value,
    compiler: Compiler,
    schemas: Schemas,
    called: BTreeSet<String>,
}

impl Validator<'_> {
    /// Calls an operation at a path with values for its parameters. Returns the answer.
    fn call(&mut self, id: &str, target: &str, body: Option<&Value>) -> Value {
        let (method, path, operation) = operations(self.document)
            .into_iter()
            .find(|(_, _, operation)| operation["operationId"] == id)
            .unwrap_or_else(|| panic!("there is no {id}"));
        let pointer = format!(
            "#/paths/{}/{}",
            path.replace('~', "~0")
                .replace('/', "~1")
                .replace('{', "%7B")
                .replace('}', "%7D"),
            method.to_lowercase()
        );
        if let Some(body) = body {
            assert!(operation["requestBody"].is_object(), "{id} reads no body");
            let schema = "requestBody/content/application~1json/schema";
            self.validate(&format!("{pointer}/{schema}"), body);
        }
        let answer: Answer = self
            .mock
            .call(&method, target, "", body.unwrap_or(&json!({})));
        assert_eq!(answer.status, 200, "{id}: {}", answer.body);
        let schema = "responses/200/content/application~1json/schema";
        self.validate(&format!("{pointer}/{schema}"), &answer.body);
        self.called.insert(id.to_owned());
        answer.body
    }

    fn validate(&mut self, pointer: &str, value: &Value) {
        let index = self
            .compiler
            .compile(&format!("{ADDRESS}{pointer}"), &mut self.schemas)
            .unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
        if let Err(error) = self.schemas.validate(value, index) {
            panic!("{pointer}: {error:#}\n{value}");
        }
    }
}

#[test]
fn the_server_answers_as_it_says() {
    let mock = small_world();
    let document = document();
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource(ADDRESS, document.clone()).unwrap();
    let mut api = Validator {
        mock: &mock,
        document: &document,
        compiler,
        schemas: Schemas::new(),
        called: BTreeSet::new(),
    };
    let mut watch = presencectl(&mock, "watch users john").stream();
    watch.records_until("presence.coverage");

    api.call("getHealth", "/_mock/health", None);
    api.call("getStatus", "/_mock/status", None);
    api.call("getCredentials", "/_mock/credentials", None);
    let listed = api.call("listUsers", "/_mock/users?search=J&limit=1&offset=1", None);
    assert_eq!(listed["total"], 2);
    assert_eq!(
        listed["users"],
        json!([{
            "id": "john", "name": "John", "online": true, "invisible": false, "status": "Eating a veggie burger...",
            "last_active": listed["users"][0]["last_active"], "connections": 1, "virtual": 1, "deactivated": false,
            "deleted": false,
        }])
    );
    let connections = api.call("listConnections", "/_mock/connections", None);
    let client = connections["connections"]
        .as_array()
        .unwrap()
        .iter()
        .find(|connection| connection["carrier"] == "socket")
        .unwrap();
    let target = format!(
        "/_mock/connections/{}",
        client["connection_id"].as_str().unwrap()
    );
    let details = api.call("getConnection", &target, None);
    assert_eq!(details["users"], json!(["john"]));
    for (action, body) in [
        ("connect", None),
        (
            "set",
            Some(json!({"set": {"status": "busy"}, "unset": ["name"]})),
        ),
        ("disconnect", None),
        ("toggle", None),
        ("drop", None),
    ] {
        let target = format!("/_mock/users/jack/{action}");
        api.call("changeUser", &target, body.as_ref());
    }
    let event = json!({"event": {"type": "custom"}, "subscribers": "john"});
    let sent = api.call("trigger", "/_mock/trigger", Some(&event));
    assert_eq!(sent["sent"], 1);
    let faults = json!({"faults": [{"kind": "late", "delay": "0s"}, {"kind": "mute"}]});
    api.call("addFaults", "/_mock/faults", Some(&faults));
    api.call(
        "addFaults",
        "/_mock/faults",
        Some(&json!({"kind": "drop", "user": "nobody"})),
    );
    api.call("listFaults", "/_mock/faults", None);
    api.call("removeFault", "/_mock/faults/f1", None);
    api.call("clearFaults", "/_mock/faults", None);
    for (action, body) in [
        ("freeze", json!({"to": "2030-01-31T08:00:00Z"})),
        ("advance", json!({"by": "90s"})),
        ("set", json!({"to": "2031-01-31T08:00:00Z"})),
        ("run", json!({"rate": 2.5})),
        ("reset", json!({})),
    ] {
        api.call(
            "changeClock",
            &format!("/_mock/clock/{action}"),
            Some(&body),
        );
    }
    let log = api.call("readLog", "/_mock/log?after=0&limit=100", None);
    assert!(!log["entries"].as_array().unwrap().is_empty());
    let expectation = json!({"method": "GET", "path": "/nowhere", "status": "2xx", "at_least": 1});
    let missed = api.call("expect", "/_mock/expect", Some(&expectation));
    assert_eq!(missed["met"], false);
    let created = api.call("createApplication", "/_mock/apps", None);
    api.call("listApplications", "/_mock/apps", None);
    let target = format!("/_mock/apps/{}", created["api_key"].as_str().unwrap());
    api.call("deleteApplication", &target, None);
    let examples = api.call("listExamples", "/_mock/examples", None);
    assert_eq!(examples["examples"][0]["name"], "busy-day");
    for check in [
        json!({"example": "on-call", "check": true}),
        json!({"scenario": "steps: 5", "check": true}),
    ] {
        api.call("runScenario", "/_mock/scenarios", Some(&check));
    }
    let waiting =
        "steps: [{wait_for: {connection: zoe, within: 1h}}, {user: {id: zoe, connect: true}}]";
    let body = json!({"scenario": waiting, "speed": 2.5, "seed": 7, "variables": {"A": 1}});
    let run = api.call("runScenario", "/_mock/scenarios", Some(&body));
    let target = format!("/_mock/scenarios/{}", run["id"].as_str().unwrap());
    let stopped = api.call("stopScenario", &target, None);
    assert_eq!(stopped["state"], "stopped");
    let run = api.call("getScenario", &format!("{target}?wait=10s"), None);
    assert_eq!(run["skipped"], 2);
    let failing = "steps: [{expect: {count: 1}}]";
    api.call(
        "runScenario",
        "/_mock/scenarios",
        Some(&json!({"scenario": failing})),
    );
    let run = api.call("getScenario", "/_mock/scenarios/s2?wait=10s", None);
    assert_eq!(run["records"][0]["ok"], false);
    api.call("listScenarios", "/_mock/scenarios", None);
    let snapshot = api.call("getSnapshot", "/_mock/snapshot", None);
    api.call("restore", "/_mock/restore", Some(&snapshot));
    api.call("reset", "/_mock/reset", None);

    let refused = mock.call("POST", "/_mock/faults", "", &json!({"kind": "flood"}));
    api.validate("#/components/schemas/Error", &refused.body);
    let message = refused.body["message"].as_str().unwrap();
    for kind in document["components"]["schemas"]["FaultSpec"]["properties"]["kind"]["enum"]
        .as_array()
        .unwrap()
    {
        assert!(
            message.contains(kind.as_str().unwrap()),
            "{kind}: {message}"
        );
    }
    api.call("stop", "/_mock/stop", None);
    let all: BTreeSet<String> = operations(&document)
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(api.called, all, "every operation is called");
}

#[test]
fn unknown_fields_are_refused_by_every_endpoint() {
    let mock = small_world();
    let document = document();
    let mut shown = Vec::new();
    for (method, path, operation) in operations(&document) {
        if operation["operationId"] == "getHealth" {
            // It answers everybody, whatever they send.
            continue;
        }
        let action = if path.contains("clock") { "run" } else { "set" };
        let target = path.replace("{id}", "john").replace("{action}", action);
        let answer = mock.call(&method, &target, "", &json!({"nonsense": 1}));
        let message = answer.body["message"].as_str().unwrap();
        let expected = message.split_once("unknown field `nonsense`; ").unwrap().1;
        let expected = expected.strip_suffix('"').unwrap();
        assert_eq!(answer.status, 400, "{message}");
        shown.push(format!("{method} {path}: {expected}"));
    }
    insta::assert_snapshot!(shown.join("\n"), @r"
    GET /_mock/apps: this endpoint takes no fields
    POST /_mock/apps: this endpoint takes no fields
    DELETE /_mock/apps/{api_key}: this endpoint takes no fields
    POST /_mock/stop: this endpoint takes no fields
    GET /_mock/credentials: this endpoint takes no fields
    GET /_mock/status: this endpoint takes no fields
    GET /_mock/snapshot: this endpoint takes no fields
    POST /_mock/restore: expected one of `users`, `channels`, `demo`
    POST /_mock/reset: this endpoint takes no fields
    GET /_mock/users: this endpoint takes no fields
    POST /_mock/users/{id}/{action}: expected one of `set`, `unset`
    GET /_mock/connections: this endpoint takes no fields
    GET /_mock/connections/{connection_id}: this endpoint takes no fields
    POST /_mock/trigger: expected one of `event`, `text`, `connection`, `user`, `subscribers`, `channel`
    GET /_mock/log: this endpoint takes no fields
    POST /_mock/expect: expected one of `method`, `path`, `user`, `status`, `since`, `body`, `count`, `at_least`, `never`, `within`
    GET /_mock/faults: this endpoint takes no fields
    POST /_mock/faults: expected one of `kind`, `method`, `path`, `user`, `event`, `count`, `after`, `probability`, `seed`, `now`, `status`, `code`, `message`, `retry_after`, `delay`, `applied`, `text`
    DELETE /_mock/faults: this endpoint takes no fields
    DELETE /_mock/faults/{id}: this endpoint takes no fields
    POST /_mock/clock/{action}: expected `rate`
    GET /_mock/scenarios: this endpoint takes no fields
    POST /_mock/scenarios: expected one of `scenario`, `example`, `seed`, `speed`, `variables`, `check`
    GET /_mock/scenarios/{id}: this endpoint takes no fields
    DELETE /_mock/scenarios/{id}: this endpoint takes no fields
    GET /_mock/examples: this endpoint takes no fields
    ");
}

#[test]
fn unknown_query_parameters_are_refused_by_every_endpoint() {
    let mock = small_world();
    let mut shown = Vec::new();
    for route in CONTROL_ROUTES {
        if route.path == "/_mock/health" {
            continue;
        }
        let target = route
            .path
            .replace("{id}", "john")
            .replace("{action}", "run");
        let target = format!("{target}?limt=5&user_id=john");
        let answer = mock.call(route.method, &target, "", &json!({}));
        let message = answer.body["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{} {target}: {message}", route.method);
        if route.query.is_empty() {
            let expected =
                "unknown query parameter `limt`; this endpoint takes no query parameters";
            assert_eq!(
                message,
                format!("Control failed with error: \"{expected}\"")
            );
        } else {
            shown.push(message);
        }
    }
    insta::assert_snapshot!(shown.join("\n"), @r#"
    Control failed with error: "unknown query parameter `limt`; expected one of `search`, `limit`, `offset`"
    Control failed with error: "unknown query parameter `limt`; expected one of `after`, `limit`, `wait`, `method`, `path`, `user`, `status`, `since`, `body`"
    Control failed with error: "unknown query parameter `limt`; expected one of `after`, `limit`, `wait`"
    "#);
}
