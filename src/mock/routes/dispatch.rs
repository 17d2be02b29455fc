//! Dispatches a request to the service: authentication, rate limits, and the operation itself.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use serde_json::{Map, Value};

use super::super::api_version::ApiVersion;
use super::super::auth::{self, CallerIdentity};
use super::super::engine::{
    Authentication, Caller, DEFAULT_REQUESTS_PER_MINUTE, Handler, OPERATIONS, Operation,
    OperationRequest, TransportHandler,
};
use super::super::error::Rejection;
use super::super::hub::Hub;
use super::super::rate_limits::{ClientPlatform, RateLimitBucket};
use super::super::url_path::path_segments;
use super::body::read_body;
use super::connect;
use super::context::RouteContext;
use super::longpoll;
use super::params::Params;
use super::replay;
use super::response::{self, RateLimitHeaders};
use crate::domain::token::{self, Claims};

/// The limit that responses report which belong to no operation.
pub(super) const NO_OPERATION: RateLimitBucket = RateLimitBucket {
    platform: ClientPlatform::Web,
    operation: "Request",
    default_limit: DEFAULT_REQUESTS_PER_MINUTE,
};

/// Responds as the service does.
pub(super) async fn handle(
    Extension(context): Extension<RouteContext>,
    Extension(params): Extension<Arc<Params>>,
    request: Request<Body>,
) -> Response<Body> {
    let started = Instant::now();
    let hub = &context.hub;
    let (mut parts, body) = request.into_parts();
    if let Some(replay) = &hub.replay {
        return replay::answer(&context, replay, &params, parts, body).await;
    }
    let Some((request, version)) = find_operation(&parts) else {
        let unknown = Rejection::not_found(format!(
            "there is no {} {}",
            parts.method,
            parts.uri.path().chars().take(200).collect::<String>()
        ));
        let limits = RateLimitHeaders::of(hub.rate_limit_status(NO_OPERATION), &hub.clock);
        return response::answer("Request", Err(unknown), &limits, started.elapsed());
    };
    let operation = request.operation;
    let identity = identify(hub, &params, authentication(operation, version));
    let user = match identity.as_ref().map(|identity| &identity.caller) {
        Ok(Caller::User { id, .. }) => Some(id.as_str()),
        _ => None,
    };
    let bucket = RateLimitBucket {
        platform: platform(&params, identity.as_ref().ok()),
        operation: operation.name,
        default_limit: operation.requests_per_minute,
    };
    let (status, allowed) = hub.count_request(bucket, user);
    let identity = allowed.and(identity);
    let result = match operation.handler {
        Handler::Transport(TransportHandler::Connect) => {
            let upgraded = match version {
                ApiVersion::V1 => {
                    let request =
                        identity.and_then(|identity| connect::from_query(&params, identity));
                    connect::accept(&context, &mut parts, request)
                }
                ApiVersion::V2 => {
                    let params = identity.map(|_| params);
                    connect::accept_v2(&context, &mut parts, params)
                }
            };
            match upgraded {
                Ok(upgrade) => return upgrade,
                Err(reject) => Err(reject),
            }
        }
        Handler::State(_) | Handler::Transport(_) => match identity {
            Ok(identity) => carry_out(hub, &parts, &params, body, request, version, identity).await,
            Err(reject) => Err(reject),
        },
    };
    let limits = RateLimitHeaders::of(status, &hub.clock);
    response::answer(operation.name, result, &limits, started.elapsed())
}

fn find_operation(parts: &Parts) -> Option<(OperationRequest, ApiVersion)> {
    let segments = path_segments(parts.uri.path())?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (segments, version) = match segments.as_slice() {
        ["api", "v2", "chat", rest @ ..] | ["api", "v2", rest @ ..] => (rest, ApiVersion::V2),
        all => (all, ApiVersion::V1),
    };
    let request = OperationRequest::find(parts.method.as_str(), segments)?;
    Some((request, version))
}

/// How the caller of an operation proves who they are. Under `/api/v2`, the token of a socket is in its first frame.
fn authentication(operation: &Operation, version: ApiVersion) -> Authentication {
    match operation.handler {
        Handler::Transport(TransportHandler::Connect) if version == ApiVersion::V2 => {
            Authentication::ApiKey
        }
        _ => operation.authentication,
    }
}

/// Finds out who calls.
fn identify(
    hub: &Hub,
    params: &Params,
    authentication: Authentication,
) -> Result<CallerIdentity, Rejection> {
    let credentials = params.credentials();
    let anonymous = CallerIdentity {
        caller: Caller::Anonymous { id: None },
        expires: None,
    };
    match authentication {
        Authentication::None => Ok(anonymous),
        Authentication::ApiKey => auth::check_key(&hub.options, &credentials).map(|()| anonymous),
        Authentication::Token => connect::authenticate(hub, &credentials),
    }
}

fn platform(params: &Params, identity: Option<&CallerIdentity>) -> ClientPlatform {
    if identity.is_some_and(|identity| identity.caller == Caller::Server) {
        return ClientPlatform::Server;
    }
    params
        .header("x-stream-client")
        .or_else(|| params.get("X-Stream-Client"))
        .map_or(ClientPlatform::Web, ClientPlatform::of_client)
}

/// Carries out an operation other than a WebSocket upgrade.
async fn carry_out(
    hub: &Hub,
    parts: &Parts,
    params: &Params,
    body: Body,
    request: OperationRequest,
    version: ApiVersion,
    identity: CallerIdentity,
) -> Result<response::SuccessResponse, Rejection> {
    let created = matches!(parts.method, Method::POST | Method::PUT);
    let fields = read_body(parts, params, body, hub.options.rules.body_limit).await?;
    let fields = version.request(fields, request.operation.v2_defaults);
    let body = match request.operation.handler {
        Handler::Transport(TransportHandler::RateLimits) => {
            rate_limits(hub, params, &identity.caller)?
        }
        Handler::Transport(TransportHandler::LongPoll) => {
            longpoll::answer(hub, params, fields, identity).await?
        }
        Handler::Transport(TransportHandler::Hello | TransportHandler::Connect) => "{}".to_owned(),
        Handler::State(_) => {
            let request = request.with(params.query(), fields);
            let mut reply = hub.apply(&identity.caller, request)?;
            if let Some(user) = &reply.token_for {
                add_token(&mut reply.body, user, hub);
            }
            reply.body
        }
    };
    Ok(response::SuccessResponse {
        created,
        body: version.answer(body),
    })
}

/// `GET /rate_limits`.
fn rate_limits(hub: &Hub, params: &Params, caller: &Caller) -> Result<String, Rejection> {
    if *caller != Caller::Server {
        return Err(Rejection::forbidden(
            "this endpoint can only be called server side",
        ));
    }
    let asked = |name: &str| matches!(params.get(name), Some("true" | "1"));
    let any = ClientPlatform::ALL.iter().any(|(name, _)| asked(name));
    let named: Vec<&str> = params
        .get("endpoints")
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.is_empty())
        .collect();
    let mut answer = Map::new();
    for (name, platform) in ClientPlatform::ALL {
        if any && !asked(name) {
            continue;
        }
        let mut limits = Map::new();
        for operation in OPERATIONS {
            if named.is_empty() || named.contains(&operation.name) {
                let status = hub.rate_limit_status(RateLimitBucket {
                    platform,
                    operation: operation.name,
                    default_limit: operation.requests_per_minute,
                });
                let mut status = status;
                if platform == ClientPlatform::Server {
                    // The service counts this call against every limit that it reports to its caller.
                    status.remaining = status.remaining.min(status.limit.saturating_sub(1));
                }
                let status = RateLimitHeaders::of(status, &hub.clock);
                limits.insert(operation.name.to_owned(), status.to_json());
            }
        }
        answer.insert(name.to_owned(), limits.into());
    }
    Ok(Value::from(answer).to_string())
}

/// Adds a user's token to a response.
fn add_token(body: &mut String, user: &str, hub: &Hub) {
    let token = token::sign(hub.options.secret.reveal(), &Claims::user(user));
    body.pop();
    body.push_str(",\"access_token\":\"");
    body.push_str(&token);
    body.push_str("\"}");
}
