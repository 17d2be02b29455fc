//! The one place that signs, sends, retries and decodes.
//!
//! A [`Client`] is credentials over a shared connection pool. Nothing is set up before the first call: a program that
//! never calls pays for nothing, and one that speaks plain http to loopback never reads a certificate.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Method, Upgraded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use url::{Host, Url};

use crate::api::error::{ApiError, Refusal, TransportKind, beginning_of};
use crate::api::limits::{self, RateLimit};
use crate::api::retry::{Policy, Repeatable, Retry, RetryObserver, Trouble, error_chain};
use crate::api::tls;
use crate::domain::token::{self, Claims};
use crate::domain::{ApiErrorCode, SecretString, UserId};

/// What this program calls itself on the wire.
pub const CLIENT_NAME: &str = concat!("presencectl-v", env!("CARGO_PKG_VERSION"));

const STREAM_AUTH_TYPE: HeaderName = HeaderName::from_static("stream-auth-type");
const STREAM_CLIENT: HeaderName = HeaderName::from_static("x-stream-client");

/// How calls authenticate.
#[derive(Debug, Clone)]
pub enum Auth {
    /// As the application's server: everything is allowed, nobody is acting.
    Server {
        /// The API secret.
        secret: SecretString,
    },
    /// As a user, with a token signed from the secret, anew for each connection.
    Minted {
        /// Who.
        user: UserId,
        /// The API secret.
        secret: SecretString,
    },
    /// As a user, with a token that somebody else signed.
    Token {
        /// Who; the token's `user_id`.
        user: UserId,
        /// The token.
        token: SecretString,
    },
}

impl Auth {
    /// Who is acting, unless it is the server.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Server { .. } => None,
            Self::Minted { user, .. } | Self::Token { user, .. } => Some(user),
        }
    }

    /// The token to send, signed now where the secret is ours.
    pub fn token(&self) -> SecretString {
        match self {
            Self::Server { secret } => {
                SecretString::new(token::sign(secret.reveal(), &Claims::server()))
            }
            // Without `iat`: the service refuses a token from the future, and laptops and CI containers run ahead.
            Self::Minted { user, secret } => {
                SecretString::new(token::sign(secret.reveal(), &Claims::user(user.as_str())))
            }
            Self::Token { token, .. } => token.clone(),
        }
    }
}

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The service, such as `https://chat.stream-io-api.com`.
    pub base_url: Url,
    /// The application's public key.
    pub api_key: String,
    /// How calls authenticate.
    pub auth: Auth,
    /// The bound on one call with its retries.
    pub timeout: Duration,
    /// The bound on making a connection.
    pub connect_timeout: Duration,
    /// How often a safe call is repeated; 0 for never.
    pub retries: u32,
    /// Who is told about each repetition.
    pub on_retry: RetryObserver,
}

/// A connection pool to the service with credentials. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    settings: Settings,
    pool: Arc<Pool>,
}

/// What all clones share.
#[derive(Default)]
struct Pool {
    http: OnceLock<reqwest::Client>,
    limits: Mutex<HashMap<&'static str, (RateLimit, Instant)>>,
}

/// A call as an endpoint method describes it.
pub(super) struct Call<'a> {
    /// The endpoint's name for rate limits, as the service's own list spells it.
    pub(super) endpoint: &'static str,
    pub(super) method: Method,
    /// Path segments, not yet encoded.
    pub(super) path: &'a [&'a str],
    pub(super) repeatable: Repeatable,
    pub(super) connection_id: Option<&'a str>,
    /// Further query parameters.
    pub(super) query: &'a [(&'a str, &'a str)],
}

impl<'a> Call<'a> {
    /// A call that may be repeated and needs neither connection nor further parameters.
    pub(super) const fn new(endpoint: &'static str, method: Method, path: &'a [&'a str]) -> Self {
        Self {
            endpoint,
            method,
            path,
            repeatable: Repeatable::Yes,
            connection_id: None,
            query: &[],
        }
    }
}

/// An answer nobody has looked into.
#[derive(Debug, Clone)]
pub struct RawResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case, values as far as they are text.
    pub headers: Vec<(String, String)>,
    /// The body as received, decompressed.
    pub body: Bytes,
    request: String,
    wait: Option<Duration>,
}

impl RawResponse {
    /// The error that this answer is, if it is one.
    pub fn error(&self) -> Option<ApiError> {
        if (200..300).contains(&self.status) {
            return None;
        }
        let refusal = Refusal::read(&self.body, self.status);
        Some(match (refusal, self.status) {
            (Some(refusal), status)
                if status == 429 || refusal.code == ApiErrorCode::RateLimited =>
            {
                ApiError::RateLimited {
                    refusal,
                    retry_after: self.wait,
                }
            }
            (Some(refusal), _) => ApiError::Refused(refusal),
            // Rate limits by address are kept by machines in front of the service, which answer in their own words.
            (None, 429) => ApiError::RateLimited {
                refusal: Refusal {
                    code: ApiErrorCode::RateLimited,
                    status: 429,
                    message: beginning_of(&self.body),
                    ..Refusal::default()
                },
                retry_after: self.wait,
            },
            (None, _) => self.unreadable(),
        })
    }

    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|_| self.unreadable())
    }

    pub(super) fn unreadable(&self) -> ApiError {
        ApiError::Unreadable {
            status: self.status,
            request: self.request.clone(),
            start: beginning_of(&self.body),
        }
    }
}

impl Client {
    /// Sets up a client; nothing is sent yet, and nothing is built that only sending needs.
    ///
    /// # Errors
    ///
    /// [`ApiError::Insecure`] where credentials would travel in clear text over a network.
    pub fn new(settings: Settings) -> Result<Self, ApiError> {
        if settings.base_url.scheme() != "https" && !is_loopback(&settings.base_url) {
            return Err(ApiError::Insecure {
                to: settings.base_url.origin().ascii_serialization(),
            });
        }
        Ok(Self {
            settings,
            pool: Arc::default(),
        })
    }

    /// The same connection pool, acting as a user.
    ///
    /// With the secret at hand the user's token is signed here. A token that somebody else signed cannot be exchanged,
    /// so a client that has nothing else goes on acting as its own user.
    #[must_use]
    pub fn acting_as(&self, user: &UserId) -> Self {
        let mut client = self.clone();
        if let Auth::Server { secret } | Auth::Minted { secret, .. } = &self.settings.auth {
            client.settings.auth = Auth::Minted {
                user: user.clone(),
                secret: secret.clone(),
            };
        }
        client
    }

    /// The same connection pool and credentials, with another bound on each call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let mut client = self.clone();
        client.settings.timeout = timeout;
        client
    }

    /// The same connection pool and credentials, for a caller who repeats by himself.
    #[must_use]
    pub fn without_retries(&self) -> Self {
        let mut client = self.clone();
        client.settings.retries = 0;
        client
    }

    /// What the client was made with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The budget of an endpoint by the service's name for it (`QueryUsers`, `UpdateUsersPartial`, …), as the last
    /// answer told it: with the end of its window counted from now.
    pub fn rate_limit(&self, endpoint: &str) -> Option<RateLimit> {
        let limits = self
            .pool
            .limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        limits.get(endpoint).map(|(limit, at)| RateLimit {
            reset_in: limit.reset_in.saturating_sub(at.elapsed()),
            ..*limit
        })
    }

    /// Sends any request and hands back whatever was answered, refusals included.
    ///
    /// `path` is relative to the service's address and may be written with or without its leading slash.
    ///
    /// # Errors
    ///
    /// Only where there is no answer: [`ApiError::Transport`].
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<RawResponse, ApiError> {
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|_| {
            ApiError::Refused(Refusal {
                code: ApiErrorCode::InvalidInput,
                status: 400,
                message: format!("`{method}` is not an HTTP method"),
                ..Refusal::default()
            })
        })?;
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let call = Call {
            repeatable: if method.is_idempotent() {
                Repeatable::Yes
            } else {
                Repeatable::No
            },
            query,
            ..Call::new("Raw", method, &segments)
        };
        let body = body.map(encode);
        self.answer(&call, body).await
    }

    /// Sends a call whose payload travels in the query, and decodes the answer.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        payload: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.get_raw(call, payload).await?.decode()
    }

    /// Sends a call whose payload travels in the query, and hands over what was answered unless it is a refusal.
    pub(super) async fn get_raw(
        &self,
        call: &Call<'_>,
        payload: &impl Serialize,
    ) -> Result<RawResponse, ApiError> {
        let payload = serde_json::to_string(payload)
            .expect("request types have string keys and nothing that cannot be serialized");
        let mut query = call.query.to_vec();
        query.push(("payload", &payload));
        let call = Call {
            query: &query,
            method: call.method.clone(),
            ..*call
        };
        self.accepted(&call, None).await
    }

    /// Sends a call with a body, and decodes the answer. Where there is nothing to say, the body is `{}`: the service
    /// wants one.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.send_raw(call, body).await?.decode()
    }

    /// Sends a call with a body, and hands over what was answered unless it is a refusal.
    pub(super) async fn send_raw(
        &self,
        call: &Call<'_>,
        body: &impl Serialize,
    ) -> Result<RawResponse, ApiError> {
        self.accepted(call, Some(encode(body))).await
    }

    /// Sends a call without body or payload, and decodes the answer.
    pub(super) async fn plain<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, ApiError> {
        self.accepted(call, None).await?.decode()
    }

    async fn accepted(
        &self,
        call: &Call<'_>,
        body: Option<Bytes>,
    ) -> Result<RawResponse, ApiError> {
        let answer = self.answer(call, body).await?;
        answer.error().map_or(Ok(answer), Err)
    }

    /// The send loop: the only place that repeats, and the only one that waits.
    async fn answer(&self, call: &Call<'_>, body: Option<Bytes>) -> Result<RawResponse, ApiError> {
        let policy = Policy {
            retries: self.settings.retries,
            total: self.settings.timeout,
        };
        let start = Instant::now();
        let mut past = 0;
        loop {
            let left = self.settings.timeout.saturating_sub(start.elapsed());
            let result = tokio::time::timeout(left, self.once(call, body.clone()))
                .await
                .unwrap_or_else(|elapsed| Err(self.transport(TransportKind::Timeout, elapsed)));
            let Some(trouble) = trouble_of(&result) else {
                return result;
            };
            let Some(wait) = policy.wait(trouble, call.repeatable, past, start.elapsed()) else {
                return result;
            };
            past += 1;
            self.settings.on_retry.tell(&Retry {
                request: describe(call),
                attempt: past,
                of: policy.retries,
                wait,
                why: match &result {
                    Ok(answer) => answer
                        .error()
                        .map_or_else(String::new, |error| error.to_string()),
                    Err(error) => error_chain(error),
                },
            });
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(&self, call: &Call<'_>, body: Option<Bytes>) -> Result<RawResponse, ApiError> {
        let mut request = self
            .http()?
            .request(call.method.clone(), self.url(call))
            .headers(self.headers());
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body);
        }
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status().as_u16();
        let now = Utc::now();
        if let Some(limit) = RateLimit::of(response.headers(), now) {
            self.pool
                .limits
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(call.endpoint, (limit, Instant::now()));
        }
        let wait = limits::wait_asked(response.headers(), now);
        // Only a plumbing command looks at headers; nobody else pays for copying them.
        let headers = if call.endpoint == "Raw" {
            texts(response.headers())
        } else {
            Vec::new()
        };
        let body = response.bytes().await.map_err(|error| self.broken(error))?;
        Ok(RawResponse {
            status,
            headers,
            body,
            request: describe(call),
            wait,
        })
    }

    /// Opens a WebSocket and hands over the bare stream. The credentials travel in the address, as the service's own
    /// JavaScript client sends them.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]: an answer that is no upgrade is decoded like any other refusal.
    pub(crate) async fn upgrade(&self, path: &str, json: &str) -> Result<Upgraded, ApiError> {
        let mut url = self.settings.base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(path);
        }
        url.query_pairs_mut()
            .append_pair("json", json)
            .append_pair("api_key", &self.settings.api_key)
            .append_pair("authorization", self.settings.auth.token().reveal())
            .append_pair("stream-auth-type", "jwt")
            .append_pair("X-Stream-Client", CLIENT_NAME);
        let key = generate_key();
        let response = self
            .http()?
            .get(url)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .send()
            .await
            .map_err(|error| self.broken(error))?;
        let status = response.status().as_u16();
        let accepted = response
            .headers()
            .get(SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|accept| {
                accept.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes()
            });
        if status == 101 && accepted {
            return response.upgrade().await.map_err(|error| self.broken(error));
        }
        let wait = limits::wait_asked(response.headers(), Utc::now());
        let body = if status == 101 {
            Bytes::from_static(b"an upgrade to something that is no WebSocket")
        } else {
            response.bytes().await.map_err(|error| self.broken(error))?
        };
        let answer = RawResponse {
            status,
            headers: Vec::new(),
            body,
            request: format!("GET /{path}"),
            wait,
        };
        Err(answer.error().unwrap_or_else(|| answer.unreadable()))
    }

    /// The connection pool, built at the first call.
    pub(super) fn http(&self) -> Result<&reqwest::Client, ApiError> {
        if let Some(http) = self.pool.http.get() {
            return Ok(http);
        }
        let base = &self.settings.base_url;
        let tls = if base.scheme() == "https" {
            tls::system_roots(&self.peer())?
        } else {
            tls::no_roots()
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(self.settings.connect_timeout)
            // The service does not redirect, and whoever does is not to be told a token.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(base) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| self.transport(TransportKind::Connect, error.without_url()))?;
        Ok(self.pool.http.get_or_init(|| http))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(3);
        // A token with bytes that no header takes is a token that nobody signed; the service says so in its words.
        if let Ok(mut value) = HeaderValue::from_str(self.settings.auth.token().reveal()) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers.insert(STREAM_AUTH_TYPE, HeaderValue::from_static("jwt"));
        headers.insert(STREAM_CLIENT, HeaderValue::from_static(CLIENT_NAME));
        headers
    }

    /// The address of a call, with everything that every call carries.
    fn url(&self, call: &Call<'_>) -> Url {
        let mut url = self.settings.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(call.path);
        }
        let mut query = url.query_pairs_mut();
        query.append_pair("api_key", &self.settings.api_key);
        if let Some(user) = self.settings.auth.user() {
            query.append_pair("user_id", user.as_str());
        }
        if let Some(id) = call.connection_id {
            query.append_pair("connection_id", id);
        }
        query.extend_pairs(call.query);
        drop(query);
        url
    }

    /// Where this client speaks to, as `host:port`.
    pub(super) fn peer(&self) -> String {
        let base = &self.settings.base_url;
        let host = base.host_str().unwrap_or_default();
        match base.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    fn broken(&self, error: reqwest::Error) -> ApiError {
        let kind = if error.is_connect() {
            TransportKind::Connect
        } else if error.is_timeout() {
            TransportKind::Timeout
        } else {
            TransportKind::Broken
        };
        // The address holds the key and what was asked; the message needs neither.
        self.transport(kind, error.without_url())
    }

    pub(crate) fn transport(
        &self,
        kind: TransportKind,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> ApiError {
        ApiError::Transport {
            kind,
            to: self.peer(),
            source: Box::new(source),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Whether an address is this very machine, so that nothing sent to it passes a network.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn encode(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body)
        .expect("request types have string keys and nothing that cannot be serialized")
        .into()
}

fn describe(call: &Call<'_>) -> String {
    format!("{} /{}", call.method, call.path.join("/"))
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// What may make a result worth another attempt.
fn trouble_of(result: &Result<RawResponse, ApiError>) -> Option<Trouble> {
    match result {
        Ok(answer) if (200..300).contains(&answer.status) => None,
        Ok(answer) => Some(Trouble::Status {
            status: answer.status,
            wait: answer.wait,
            unrecoverable: Refusal::read(&answer.body, answer.status)
                .is_some_and(|refusal| refusal.unrecoverable),
        }),
        Err(ApiError::Transport { kind, .. }) => match kind {
            TransportKind::Connect => Some(Trouble::NotSent),
            TransportKind::Broken => Some(Trouble::Broken),
            TransportKind::Timeout => None,
        },
        Err(
            ApiError::Refused(_)
            | ApiError::RateLimited { .. }
            | ApiError::Unreadable { .. }
            | ApiError::Insecure { .. },
        ) => None,
    }
}
