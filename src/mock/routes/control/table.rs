//! The table of the control API's endpoints. Requests are routed by it, and its published description is compared with
//! it.

/// A route of the control API.
#[derive(Debug, Clone, Copy)]
pub struct ControlRoute {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, whose parameters are in braces.
    pub path: &'static str,
    endpoint: ControlEndpoint,
}

/// What a control request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlEndpoint {
    /// Something about the server, whatever API key the request has.
    Server(ServerEndpoint),
    /// Something about the application of the request's API key.
    Application(ApplicationEndpoint),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerEndpoint {
    ListApplications,
    CreateApplication,
    DeleteApplication,
    Stop,
    Health,
    Credentials,
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
}

const fn server(
    method: &'static str,
    path: &'static str,
    endpoint: ServerEndpoint,
) -> ControlRoute {
    ControlRoute {
        method,
        path,
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
        endpoint: ControlEndpoint::Application(endpoint),
    }
}

/// All routes of the control API.
pub const CONTROL_ROUTES: &[ControlRoute] = &[
    server("GET", "/_mock/apps", ServerEndpoint::ListApplications),
    server("POST", "/_mock/apps", ServerEndpoint::CreateApplication),
    server(
        "DELETE",
        "/_mock/apps/{api_key}",
        ServerEndpoint::DeleteApplication,
    ),
    server("GET", "/_mock/health", ServerEndpoint::Health),
    application("GET", "/_mock/status", ApplicationEndpoint::Status),
    server("GET", "/_mock/credentials", ServerEndpoint::Credentials),
    application(
        "GET",
        "/_mock/connections",
        ApplicationEndpoint::ListConnections,
    ),
    application(
        "GET",
        "/_mock/connections/{connection_id}",
        ApplicationEndpoint::GetConnection,
    ),
    application("GET", "/_mock/users", ApplicationEndpoint::ListUsers),
    application(
        "POST",
        "/_mock/users/{id}/{action}",
        ApplicationEndpoint::ChangeUser,
    ),
    application("GET", "/_mock/log", ApplicationEndpoint::Log),
    application("POST", "/_mock/expect", ApplicationEndpoint::Expect),
    application("GET", "/_mock/faults", ApplicationEndpoint::ListFaults),
    application("POST", "/_mock/faults", ApplicationEndpoint::AddFaults),
    application("DELETE", "/_mock/faults", ApplicationEndpoint::ClearFaults),
    application(
        "DELETE",
        "/_mock/faults/{id}",
        ApplicationEndpoint::RemoveFault,
    ),
    application("POST", "/_mock/clock/{action}", ApplicationEndpoint::Clock),
    application("POST", "/_mock/trigger", ApplicationEndpoint::Trigger),
    application("GET", "/_mock/snapshot", ApplicationEndpoint::Snapshot),
    application("POST", "/_mock/restore", ApplicationEndpoint::Restore),
    application("POST", "/_mock/reset", ApplicationEndpoint::Reset),
    server("POST", "/_mock/stop", ServerEndpoint::Stop),
];

/// The endpoint of a path after `/_mock/`, and the values of its parameters as they stand in the path.
pub(super) fn find_route<'a>(
    method: &str,
    path: &'a str,
) -> Option<(ControlEndpoint, Vec<&'a str>)> {
    let path = path.trim_end_matches('/');
    CONTROL_ROUTES
        .iter()
        .filter(|route| route.method == method)
        .find_map(|route| Some((route.endpoint, values(route.path, path)?)))
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
            assert_eq!(find_route(method, path), expected, "{method} {path}");
        }
    }
}
