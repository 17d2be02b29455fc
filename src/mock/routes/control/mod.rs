//! `/_mock/…`: the control API, by which a test changes the server. Only this machine may use it.

mod applications;
mod clock;
#[cfg(test)]
mod fuzz;
mod scenarios;
mod status;
mod table;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::table::{ApplicationEndpoint, ControlEndpoint, ServerEndpoint, find_route};
pub use self::table::{CONTROL_ROUTES, ControlRoute};
use super::super::applications::ApplicationRegistry;
use super::super::auth;
use super::super::control_actions::{act_for_user, trigger};
use super::super::engine::JsonObject;
use super::super::error::{Rejection, check_fields, check_parameters};
use super::super::expectation::ExpectationSpec;
use super::super::faults::FaultSpec;
use super::super::hub::Hub;
use super::super::tcp::Peer;
use super::super::url_path::decode_segment;
use super::body::read_body;
use super::context::RouteContext;
use super::origin;
use super::params::Params;
use super::response::json_response;
use crate::domain::SecretString;

/// Maximum size of the body of a control request.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// The longest `wait` of a request.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Answers a control request.
pub(super) async fn handle(
    Extension(context): Extension<RouteContext>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let params = Params::of(&parts);
    let path = parts.uri.path().trim_start_matches("/_mock/");
    let origin = check_access(
        &parts,
        &params,
        &context.peer,
        context.hub.options.control_token.as_ref(),
    );
    let answer = match &origin {
        // Open to every caller, because it says nothing: the health check of a container has no token.
        _ if is_health_check(parts.method.as_str(), path) => Ok(health()),
        Ok(_) => match read_body(&parts, &params, body, BODY_LIMIT).await {
            Ok(fields) => {
                control(
                    &context.applications,
                    parts.method.as_str(),
                    path,
                    &params,
                    fields,
                )
                .await
            }
            Err(reject) => Err(reject),
        },
        Err(reject) => Err(reject.clone()),
    };
    respond(answer, origin.ok().flatten())
}

/// The response to a control request from this origin.
pub(super) fn respond(
    answer: Result<Value, Rejection>,
    origin: Option<HeaderValue>,
) -> Response<Body> {
    let (status, body) = match answer {
        Ok(body) => (200, body.to_string()),
        Err(reject) => (
            reject.status,
            serde_json::to_string(&reject.body("Control", ""))
                .expect("an error body has string keys and no fallible parts"),
        ),
    };
    let mut response = json_response(status, body);
    if let Some(origin) = origin {
        origin::allow(response.headers_mut(), origin);
    }
    response
}

/// Checks who may control the server: programs and pages on its own machine or, if there is a control token, callers that
/// send it.
pub(super) fn check_access(
    parts: &Parts,
    params: &Params,
    peer: &Peer,
    control_token: Option<&SecretString>,
) -> Result<Option<HeaderValue>, Rejection> {
    if let Some(expected) = control_token {
        let shown = params.header("authorization").unwrap_or_default();
        let shown = shown.strip_prefix("Bearer ").unwrap_or(shown);
        if !is_equal(shown, expected.reveal()) {
            return Err(Rejection::forbidden(
                "the control API of this server needs its control token: PRESENCECTL_MOCK_TOKEN",
            ));
        }
    } else if !peer.address.ip().to_canonical().is_loopback() {
        return Err(Rejection::forbidden(
            "the control API is open to the server's own machine only",
        ));
    }
    origin::check_control(parts, control_token.is_some())
}

/// Compares by digest, so that the time it takes says nothing about the secret.
fn is_equal(shown: &str, expected: &str) -> bool {
    let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest(shown).as_ref() == digest(expected).as_ref()
}

/// Carries out a control request: for the whole server, or for the application of its API key.
async fn control(
    applications: &ApplicationRegistry,
    method: &str,
    path: &str,
    params: &Params,
    body: JsonObject,
) -> Result<Value, Rejection> {
    let hub = addressed(applications, params);
    let Some((route, values)) = find_route(method, path) else {
        hub?;
        return Err(Rejection::not_found(format!(
            "there is no {method} /_mock/{}",
            path.chars().take(200).collect::<String>()
        )));
    };
    check_parameters(params.names(), route.query)?;
    if !route.endpoint.reads_body() {
        check_fields(&body, &[])?;
    }
    match route.endpoint {
        ControlEndpoint::Server(endpoint) => match endpoint {
            ServerEndpoint::ListApplications => Ok(applications::list(applications)),
            ServerEndpoint::CreateApplication => applications::create(applications),
            ServerEndpoint::DeleteApplication => applications::delete(applications, values[0]),
            ServerEndpoint::Stop => {
                applications.stop.notify_one();
                Ok(json!({}))
            }
            ServerEndpoint::Health => Ok(health()),
            ServerEndpoint::ListExamples => Ok(scenarios::examples()),
            // Who asks for a key may know none, or one of another server.
            ServerEndpoint::Credentials => Ok(status::credentials(
                hub.as_deref().unwrap_or_else(|_| applications.first()),
            )),
        },
        ControlEndpoint::Application(endpoint) => {
            control_application(&hub?, endpoint, &values, params, body).await
        }
    }
}

fn is_health_check(method: &str, path: &str) -> bool {
    find_route(method, path)
        .is_some_and(|(route, _)| route.endpoint == ControlEndpoint::Server(ServerEndpoint::Health))
}

/// `GET /_mock/health`.
fn health() -> Value {
    json!({ "healthy": true })
}

/// The application that a control request is for: that of its API key, or the first.
fn addressed(applications: &ApplicationRegistry, params: &Params) -> Result<Arc<Hub>, Rejection> {
    match params.credentials().api_key {
        None | Some("") => Ok(applications.first().clone()),
        Some(api_key) => applications.find(api_key).ok_or_else(auth::unknown_key),
    }
}

async fn control_application(
    hub: &Arc<Hub>,
    endpoint: ApplicationEndpoint,
    values: &[&str],
    params: &Params,
    body: JsonObject,
) -> Result<Value, Rejection> {
    match endpoint {
        ApplicationEndpoint::Status => Ok(status::status(hub)),
        ApplicationEndpoint::ListConnections => Ok(status::connections(hub)),
        ApplicationEndpoint::GetConnection => status::connection(hub, values[0]),
        ApplicationEndpoint::ListUsers => status::users(hub, params),
        ApplicationEndpoint::Log => status::log(hub, params).await,
        ApplicationEndpoint::Expect => expect(hub, &read(body)?).await,
        ApplicationEndpoint::Snapshot => Ok(status::snapshot(hub)),
        ApplicationEndpoint::Restore => {
            let world = read(body)?;
            hub.restore(&world)
                .map_err(|error| Rejection::input(error.to_string()))?;
            Ok(status::status(hub))
        }
        ApplicationEndpoint::Reset => {
            let runs = &hub.scenario_runs;
            runs.stop_then("the application was reset", || hub.reset())
                .await;
            Ok(json!({}))
        }
        ApplicationEndpoint::ListScenarios => Ok(scenarios::list(hub)),
        ApplicationEndpoint::PostScenario => scenarios::post(hub, body).await,
        ApplicationEndpoint::GetScenario => scenarios::show(hub, values[0], params).await,
        ApplicationEndpoint::StopScenario => {
            let reason = "a request stopped the run";
            hub.scenario_runs.stop(values[0], reason).await
        }
        ApplicationEndpoint::Clock => clock::set(hub, values[0], &body),
        ApplicationEndpoint::ChangeUser => {
            act_for_user(hub, &decode_segment(values[0]), values[1], body)
        }
        ApplicationEndpoint::Trigger => trigger(hub, read(body)?),
        ApplicationEndpoint::ListFaults => Ok(json!({ "faults": hub.faults.list() })),
        ApplicationEndpoint::AddFaults => add_faults(hub, body),
        ApplicationEndpoint::ClearFaults => Ok(json!({ "cleared": hub.faults.clear() })),
        ApplicationEndpoint::RemoveFault => {
            let id = values[0];
            if hub.faults.remove(id) {
                Ok(json!({ "cleared": 1 }))
            } else {
                Err(Rejection::not_found(format!("fault {id:?} was not found")))
            }
        }
    }
}

/// The fields of a body, or of a part of one, in their types. An error names the field.
fn read<T: DeserializeOwned>(body: impl Into<Value>) -> Result<T, Rejection> {
    serde_path_to_error::deserialize(body.into()).map_err(|error| {
        let path = error.path().to_string();
        let why = error.inner().to_string();
        // In the words of those who write JSON.
        let mut why = why.replace("expected u64", "expected a whole number, 0 or more");
        if why.starts_with("unknown field") {
            why = why.replacen("`, expected ", "`; expected ", 1);
        }
        let is_named = path == "." || why.contains(&format!("`{path}`"));
        Rejection::input(if is_named {
            why
        } else {
            format!("{path}: {why}")
        })
    })
}

/// `POST /_mock/expect`: whether requests match, answered as soon as that is certain, at the latest after `within`.
async fn expect(hub: &Hub, spec: &ExpectationSpec) -> Result<Value, Rejection> {
    let expectation = spec.compile(hub.clock.now())?;
    match expectation.judge(&hub.traffic_log, 0).await {
        Some(result) => Ok(json!(result)),
        None => Err(Rejection::with_code(503, -1, "the server is shutting down")),
    }
}

/// `POST /_mock/faults`: one fault, or `faults`, a list of them.
fn add_faults(hub: &Hub, mut body: JsonObject) -> Result<Value, Rejection> {
    let specs: Vec<FaultSpec> = match body.shift_remove("faults") {
        Some(list) => {
            check_fields(&body, &["faults"])?;
            read(list)?
        }
        None => vec![read(body)?],
    };
    let added = hub.add_faults(specs)?;
    let listed: Vec<_> = added
        .iter()
        .filter_map(|id| hub.faults.listed(id))
        .collect();
    Ok(json!({ "faults": listed }))
}
