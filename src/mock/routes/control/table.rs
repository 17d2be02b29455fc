//! The table of the control API's endpoints. Requests are routed by it, and its published description is compared with
//! it.

use self::ApplicationEndpoint::{
    AddFaults, ChangeUser, ClearFaults, Clock, Expect, GetConnection, GetScenario, ListConnections,
    ListFaults, ListScenarios, ListUsers, Log, PostScenario, RemoveFault, Reset, Restore, Snapshot,
    Status, StopScenario, Trigger,
};
use self::ServerEndpoint::{
    CreateApplication, Credentials, DeleteApplication, Health, ListApplications, ListExamples, Stop,
};

/// A route of the control API.
#[derive(Debug, Clone, Copy)]
pub struct ControlRoute {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, whose parameters are in braces.
    pub path: &'static str,
    /// The query parameters that it reads, besides those that any request may have.
    pub query: &'static [&'static str],
    pub(super) endpoint: ControlEndpoint,
}

impl ControlRoute {
    const fn with_query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }
}

/// What a control request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlEndpoint {
    /// Something about the server, whatever API key the request has.
    Server(ServerEndpoint),
    /// Something about the application of the request's API key.
    Application(ApplicationEndpoint),
}

impl ControlEndpoint {
    /// Whether the endpoint reads the body of its requests, and checks its fields.
    pub(super) const fn reads_body(self) -> bool {
        matches!(
            self,
            Self::Application(
                ChangeUser | Expect | AddFaults | Clock | Trigger | PostScenario | Restore
            )
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerEndpoint {
    ListApplications,
    CreateApplication,
    DeleteApplication,
    Stop,
    Health,
    Credentials,
    ListExamples,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApplicationEndpoint {
    Status,
    ListConnections,
    GetConnection,
    ListUsers,
    ChangeUser,
    Log,
    Expect,
    Snapshot,
    Restore,
    Reset,
    Clock,
    Trigger,
    ListFaults,
    AddFaults,
    ClearFaults,
    RemoveFault,
    ListScenarios,
    PostScenario,
    GetScenario,
    StopScenario,
}

const fn server(
    method: &'static str,
    path: &'static str,
    endpoint: ServerEndpoint,
) -> ControlRoute {
    ControlRoute {
        method,
        path,
        query: &[],
        endpoint: ControlEndpoint::Server(endpoint),
    }
}

const fn application(
    method: &'static str,
    path: &'static str,
    endpoint: ApplicationEndpoint,
) -> ControlRoute {
    ControlRoute {
        method,
        path,
        query: &[],
        endpoint: ControlEndpoint::Application(endpoint),
    }
}

/// All routes of the control API.
pub const CONTROL_ROUTES: &[ControlRoute] = &[
    server("GET", "/_mock/apps", ListApplications),
    server("POST", "/_mock/apps", CreateApplication),
    server("DELETE", "/_mock/apps/{api_key}", DeleteApplication),
    server("GET", "/_mock/health", Health),
    server("GET", "/_mock/credentials", Credentials),
    server("POST", "/_mock/stop", Stop),
    application("GET", "/_mock/status", Status),
    application("GET", "/_mock/connections", ListConnections),
    application("GET", "/_mock/connections/{connection_id}", GetConnection),
    application("GET", "/_mock/users", ListUsers).with_query(&["search", "limit", "offset"]),
    application("POST", "/_mock/users/{id}/{action}", ChangeUser),
    application("GET", "/_mock/log", Log).with_query(&[
        "after", "limit", "wait", "method", "path", "user", "status", "since", "body",
    ]),
    application("POST", "/_mock/expect", Expect),
    application("GET", "/_mock/faults", ListFaults),
    application("POST", "/_mock/faults", AddFaults),
    application("DELETE", "/_mock/faults", ClearFaults),
    application("DELETE", "/_mock/faults/{id}", RemoveFault),
    application("POST", "/_mock/clock/{action}", Clock),
    application("POST", "/_mock/trigger", Trigger),
    application("GET", "/_mock/scenarios", ListScenarios),
    application("POST", "/_mock/scenarios", PostScenario),
    application("GET", "/_mock/scenarios/{id}", GetScenario)
        .with_query(&["after", "limit", "wait"]),
    application("DELETE", "/_mock/scenarios/{id}", StopScenario),
    server("GET", "/_mock/examples", ListExamples),
    application("GET", "/_mock/snapshot", Snapshot),
    application("POST", "/_mock/restore", Restore),
    application("POST", "/_mock/reset", Reset),
];

/// The route of a path after `/_mock/`, and the values of its parameters as they stand in the path.
pub(super) fn find_route<'a>(
    method: &str,
    path: &'a str,
) -> Option<(&'static ControlRoute, Vec<&'a str>)> {
    let path = path.trim_end_matches('/');
    CONTROL_ROUTES
        .iter()
        .filter(|route| route.method == method)
        .find_map(|route| Some((route, values(route.path, path)?)))
}

/// The values of a pattern's parameters in a path.
fn values<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut expected = pattern.trim_start_matches("/_mock/").split('/');
    let mut values = Vec::new();
    for segment in path.split('/') {
        let name = expected.next()?;
        if name.starts_with('{') {
            values.push(segment);
        } else if name != segment {
            return None;
        }
    }
    expected.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_found_with_its_values() {
        let status = ControlEndpoint::Application(ApplicationEndpoint::Status);
        let user = ControlEndpoint::Application(ApplicationEndpoint::ChangeUser);
        for (method, path, expected) in [
            ("GET", "status", Some((status, vec![]))),
            ("GET", "status/", Some((status, vec![]))),
            (
                "POST",
                "users/a%2Fb/connect",
                Some((user, vec!["a%2Fb", "connect"])),
            ),
            ("PUT", "status", None),
            ("GET", "status/more", None),
            ("POST", "users/amy", None),
            ("GET", "", None),
        ] {
            let found = find_route(method, path).map(|(route, values)| (route.endpoint, values));
            assert_eq!(found, expected, "{method} {path}");
        }
    }
}
