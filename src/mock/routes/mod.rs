//! The HTTP edge: which request is which operation, and one pipeline for all of them.
//!
//! Authenticate, read, ask the hub, answer. Every failure on the way, an unknown route or a broken body included, leaves
//! in the same envelope. No rule of the service is decided here.

mod control;
mod endpoints;
mod fault_layer;
mod longpoll;
mod params;
mod response;
mod v2_bodies;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use self::endpoints::Endpoint;
use self::params::Params;
use self::v2_bodies::ApiVersion;
use super::auth::{self, CallerIdentity, RequestCredentials};
use super::engine::{Caller, Connect, JsonObject, Transport};
use super::error::Rejection;
use super::hub::Hub;
use super::rate_limits::ClientPlatform;
use super::tcp::{Peer, TcpHandle};
use super::ws;
use crate::domain::token::{self, Claims};

/// What a request handler shares with the server.
#[derive(Debug, Clone)]
pub(crate) struct RouteContext {
    /// The service.
    pub(crate) hub: Arc<Hub>,
    /// Held by every session, so that the server can wait for the last one.
    pub(crate) alive: mpsc::Sender<()>,
}

/// All routes. There is one handler, because there is one way to fail.
pub(crate) fn router(context: RouteContext) -> Router {
    Router::new().fallback(handle).with_state(context)
}

async fn handle(
    State(context): State<RouteContext>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request<Body>,
) -> Response<Body> {
    if request.method() == Method::OPTIONS {
        return response::preflight();
    }
    if let Some(path) = request.uri().path().strip_prefix("/_mock/") {
        let path = path.to_owned();
        let (parts, body) = request.into_parts();
        return control::handle(&context.hub, peer.address, &parts, &path, body).await;
    }
    fault_layer::pass(&context, &peer.tcp, request).await
}

/// Answers a request as the service does.
async fn serve(context: &RouteContext, tcp: &TcpHandle, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let params = Params::of(&parts);
    let Some((endpoint, dialect)) = Endpoint::find(&parts.method, parts.uri.path()) else {
        let unknown = Rejection::not_found(format!(
            "there is no {} {}",
            parts.method,
            parts.uri.path().chars().take(200).collect::<String>()
        ));
        let limits = response::RateLimitHeaders::of(
            context
                .hub
                .rate_limit_status(ClientPlatform::Web, "Request"),
            &context.hub.clock,
        );
        return response::answer("Request", Err(unknown), &limits, started.elapsed());
    };
    let name = endpoint.name();
    let identity = identify(&context.hub, &params, &endpoint);
    let platform = platform(&params, identity.as_ref().ok());
    let user = match identity.as_ref().map(|identity| &identity.caller) {
        Ok(Caller::User { id, .. }) => Some(id.as_str()),
        _ => None,
    };
    let (rate_limit_status, allowed) = context.hub.spend(platform, name, user);
    if endpoint == Endpoint::Connect {
        // Whatever speaks against a connection is said on it.
        let wish = allowed
            .and(identity)
            .and_then(|identity| wish(&params, identity));
        match connect(context, tcp, &mut parts, wish).await {
            Ok(upgrade) => return upgrade,
            Err(reject) => {
                let limits = response::RateLimitHeaders::of(rate_limit_status, &context.hub.clock);
                return response::answer(name, Err(reject), &limits, started.elapsed());
            }
        }
    }
    let answer = match allowed.and(identity) {
        Ok(identity) => call(context, &parts, &params, body, endpoint, dialect, identity).await,
        Err(reject) => Err(reject),
    };
    let limits = response::RateLimitHeaders::of(rate_limit_status, &context.hub.clock);
    response::answer(name, answer, &limits, started.elapsed())
}

/// Who calls. A guest has no token yet: his call is how he gets one. A greeting needs no name.
fn identify(hub: &Hub, params: &Params, endpoint: &Endpoint) -> Result<CallerIdentity, Rejection> {
    let credentials = params.credentials();
    let nobody = CallerIdentity {
        caller: Caller::Anonymous { id: None },
        expires: None,
    };
    match endpoint {
        Endpoint::Hi => Ok(nobody),
        Endpoint::CreateGuest => auth::check_key(&hub.options, &credentials).map(|()| nobody),
        _ => auth::authenticate(&hub.options, &credentials, hub.clock.now(), || {
            hub.accepts_development_tokens()
        }),
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

/// One call, from its body to the answer.
async fn call(
    context: &RouteContext,
    parts: &Parts,
    params: &Params,
    body: Body,
    endpoint: Endpoint,
    dialect: ApiVersion,
    identity: CallerIdentity,
) -> Result<response::SuccessResponse, Rejection> {
    let hub = &context.hub;
    let created = matches!(parts.method, Method::POST | Method::PUT);
    let fields = read_body(parts, params, body, hub.options.rules.body_limit).await?;
    let fields = dialect.request(fields);
    let body = match endpoint {
        Endpoint::Hi => "{}".to_owned(),
        Endpoint::GetRateLimits => rate_limits(hub, params, &identity.caller)?,
        Endpoint::LongPoll => longpoll::answer(hub, params, fields, identity).await?,
        Endpoint::CreateGuest => {
            let mut body = hub.apply(&identity.caller, endpoint.op(params, fields)?)?.0;
            add_token(&mut body, hub);
            body
        }
        endpoint => hub.apply(&identity.caller, endpoint.op(params, fields)?)?.0,
    };
    Ok(response::SuccessResponse {
        created,
        body: dialect.answer(body),
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
        let mut endpoints = Map::new();
        for operation in endpoints::OPERATIONS {
            if named.is_empty() || named.contains(operation) {
                let limits = response::RateLimitHeaders::of(
                    hub.rate_limit_status(platform, operation),
                    &hub.clock,
                );
                endpoints.insert((*operation).to_owned(), limits.to_json());
            }
        }
        answer.insert(name.to_owned(), endpoints.into());
    }
    Ok(Value::from(answer).to_string())
}

/// Adds the guest's token to the answer that names him.
fn add_token(body: &mut String, hub: &Hub) {
    let id = serde_json::from_str::<Value>(body)
        .ok()
        .and_then(|answer| Some(answer.get("user")?.get("id")?.as_str()?.to_owned()))
        .expect("the answer to a guest names the guest");
    let token = token::sign(hub.options.secret.reveal(), &Claims::user(&id));
    body.pop();
    body.push_str(",\"access_token\":\"");
    body.push_str(&token);
    body.push_str("\"}");
}

/// Bytes of an oversized body that are read for the sake of being able to answer.
const THROWN_AWAY_AT_MOST: usize = 64 * 1024 * 1024;

/// The body of a request as an object: JSON of any content type, or the `payload` of a query; nothing is `{}`.
async fn read_body(
    parts: &Parts,
    params: &Params,
    body: Body,
    limit: usize,
) -> Result<JsonObject, Rejection> {
    let bytes = collect(body, limit).await?;
    let text = if bytes.iter().all(u8::is_ascii_whitespace) {
        params.get("payload").unwrap_or_default().as_bytes()
    } else if parts.method == Method::GET && params.get("payload").is_some() {
        // SDKs send a content type and an empty object along with a GET; the payload is what they mean.
        params.get("payload").unwrap_or_default().as_bytes()
    } else {
        &bytes
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Rejection::input("the request must be a JSON object")),
        Err(error) => Err(Rejection::input(format!(
            "the request is not JSON: {error}"
        ))),
    }
}

/// The bytes of a body up to a limit. What is too much is read and thrown away, since a client that is still writing
/// when the connection closes never gets to read why.
async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Rejection> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut thrown_away = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Rejection::input("the request body was cut short"))?;
        if thrown_away == 0 && bytes.len() + chunk.len() <= limit {
            bytes.extend_from_slice(&chunk);
            continue;
        }
        thrown_away += chunk.len();
        if thrown_away > THROWN_AWAY_AT_MOST {
            break;
        }
    }
    if thrown_away == 0 {
        Ok(bytes)
    } else {
        Err(Rejection::too_big(limit))
    }
}

/// Accepts a socket, whatever the credentials; what is wrong with them is said on it.
async fn connect(
    context: &RouteContext,
    tcp: &TcpHandle,
    parts: &mut Parts,
    wish: Result<(Caller, Connect), Rejection>,
) -> Result<Response<Body>, Rejection> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
        .await
        .map_err(|error| {
            Rejection::input(format!("this endpoint takes WebSocket upgrades: {error}"))
        })?;
    let hub = context.hub.clone();
    let alive = context.alive.clone();
    let tcp = tcp.clone();
    let limit = hub.options.rules.frame_limit;
    Ok(upgrade
        // Clients send pings and little else; the default buffers would cost a quarter of a megabyte each.
        .read_buffer_size(1024)
        .write_buffer_size(4096)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| async move {
            ws::run(socket, tcp, hub, wish).await;
            drop(alive);
        }))
}

/// What the query of a connect asks for.
fn wish(params: &Params, identity: CallerIdentity) -> Result<(Caller, Connect), Rejection> {
    let json = match params.get("json") {
        None | Some("") => Map::new(),
        Some(json) => match serde_json::from_str(json) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(Rejection::input("json must be an object")),
            Err(error) => return Err(Rejection::input(format!("json is not JSON: {error}"))),
        },
    };
    connect_request(identity, json, Transport::Socket)
}

fn connect_request(
    identity: CallerIdentity,
    mut json: JsonObject,
    carrier: Transport,
) -> Result<(Caller, Connect), Rejection> {
    let details = match json.shift_remove("user_details") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(details)) => details,
        Some(_) => return Err(Rejection::field("user_details", "must be an object")),
    };
    let user_id = match json.shift_remove("user_id") {
        Some(Value::String(id)) if !id.is_empty() => Some(id),
        _ => None,
    };
    Ok((
        identity.caller,
        Connect {
            user_id,
            details,
            carrier,
            token_expires: identity.expires,
        },
    ))
}

impl Params {
    /// What the request shows of itself, in the query or in headers.
    fn credentials(&self) -> RequestCredentials<'_> {
        RequestCredentials {
            api_key: self.get("api_key").or_else(|| self.header("x-api-key")),
            auth_type: self
                .header("stream-auth-type")
                .or_else(|| self.get("stream-auth-type")),
            token: self
                .header("authorization")
                .or_else(|| self.get("authorization")),
            user_id: self.get("user_id"),
        }
    }
}
