//! The HTTP client: signs requests, sends and retries them, and decodes responses.
//!
//! A [`Client`] is a set of credentials and a shared connection pool. Nothing is set up before the first call, so a
//! command without calls pays nothing, and plain http to loopback never reads a certificate.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{StatusCode, Upgraded};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use url::Url;

use crate::api::error::{ApiError, NoTls, Refusal, TransportKind, beginning_of};
use crate::api::limits::{self, RateLimit};
use crate::api::proxy::ProxyServer;
use crate::api::redact::Redactor;
use crate::api::request::Request;
use crate::api::retry::{AttemptFailure, Retry, RetryObserver, RetryPolicy, error_chain};
use crate::api::trace::{Received, Sent, Tracer};
use crate::api::{address, pass_through};
use crate::domain::token::{self, Claims};
use crate::domain::{ApiErrorCode, SecretString, UserId};

/// The name and version that this program sends with every request.
pub const CLIENT_NAME: &str = concat!("presencectl-v", env!("CARGO_PKG_VERSION"));

/// The default limit of a response body, after decompression.
pub const RESPONSE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// The longest URL that is sent. Servers and proxies refuse longer ones.
pub const URL_MAX_BYTES: usize = 8 * 1024;
/// The time limit of a call in the first attempt to restore a connection.
const RECONNECT_CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept for reuse: shorter than NATs and load balancers keep their side.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

const STREAM_AUTH_TYPE: HeaderName = HeaderName::from_static("stream-auth-type");
const STREAM_CLIENT: HeaderName = HeaderName::from_static("x-stream-client");

/// How calls authenticate.
#[derive(Debug, Clone)]
pub enum Auth {
    /// As the application's server, which may do everything and is not a user.
    Server {
        /// The API secret.
        secret: SecretString,
    },
    /// As a user, with a token that is signed with the secret for each request.
    Minted {
        /// The user.
        user: UserId,
        /// The API secret.
        secret: SecretString,
    },
    /// As a user, with a given token.
    Token {
        /// The user, from the token's `user_id`.
        user: UserId,
        /// The token.
        token: SecretString,
    },
}

impl Auth {
    /// The acting user; `None` for the server.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Server { .. } => None,
            Self::Minted { user, .. } | Self::Token { user, .. } => Some(user),
        }
    }

    /// The API secret, if it is known.
    pub const fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::Server { secret } | Self::Minted { secret, .. } => Some(secret),
            Self::Token { .. } => None,
        }
    }

    /// The token to send. It is signed at this time if the secret is known.
    pub fn token(&self, now: DateTime<Utc>) -> SecretString {
        match self {
            Self::Server { secret } => {
                SecretString::new(token::sign(secret.reveal(), &Claims::server()))
            }
            Self::Minted { user, secret } => {
                let claims = Claims::user(user.as_str()).with_backdated_issue(now);
                SecretString::new(token::sign(secret.reveal(), &claims))
            }
            Self::Token { token, .. } => token.clone(),
        }
    }
}

/// The settings of a client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The address of the service, such as `https://chat.stream-io-api.com`.
    pub base_url: Url,
    /// The application's public key.
    pub api_key: String,
    /// How calls authenticate.
    pub auth: Auth,
    /// Whether credentials may cross a network in clear text.
    pub allow_http: bool,
    /// The time limit of a call with its retries.
    pub timeout: Duration,
    /// The time limit of connecting.
    pub connect_timeout: Duration,
    /// How often an idempotent call is retried; 0 for no retries.
    pub retries: u32,
    /// Called before each retry.
    pub on_retry: RetryObserver,
}

/// A connection pool to the service with credentials. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    settings: ClientSettings,
    pool: Arc<Pool>,
    tracer: Tracer,
    proxy: Option<ProxyServer>,
    ca_file: Option<PathBuf>,
    response_limit: usize,
}

/// The state shared by all clones.
#[derive(Default)]
struct Pool {
    /// Built by the first call.
    http: Mutex<Option<reqwest::Client>>,
    limits: Mutex<HashMap<&'static str, (RateLimit, Instant)>>,
}

/// A response that is not decoded yet.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as received, decompressed.
    pub body: Bytes,
    request: String,
    retry_after: Option<Duration>,
}

impl Response {
    /// The error in this response, if there is one.
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
                    retry_after: self.retry_after,
                }
            }
            (Some(refusal), _) => ApiError::Refused(refusal),
            // Proxies in front of the service enforce rate limits per address. Their responses have other bodies.
            (None, 429) => ApiError::RateLimited {
                refusal: Refusal {
                    code: ApiErrorCode::RateLimited,
                    status: 429,
                    message: beginning_of(&self.body),
                    ..Refusal::default()
                },
                retry_after: self.retry_after,
            },
            (None, _) => self.unreadable(),
        })
    }

    /// What a trace shows of it.
    fn received(&self) -> Received<'_> {
        Received {
            status: self.status,
            headers: &self.headers,
            body: &self.body,
        }
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

impl Pool {
    fn http(&self) -> MutexGuard<'_, Option<reqwest::Client>> {
        self.http.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> MutexGuard<'_, HashMap<&'static str, (RateLimit, Instant)>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Creates a client. It sends nothing, and builds only what the first call does not need to build.
    ///
    /// # Errors
    ///
    /// [`ApiError::Insecure`] if credentials would cross a network in clear text.
    pub fn new(settings: ClientSettings) -> Result<Self, ApiError> {
        address::check_private(&settings.base_url, settings.allow_http)?;
        Ok(Self {
            settings,
            pool: Arc::default(),
            tracer: Tracer::default(),
            proxy: None,
            ca_file: None,
            response_limit: RESPONSE_MAX_BYTES,
        })
    }

    /// A client with the same connection pool that acts as a user.
    ///
    /// If the secret is known, the user's token is signed here. A client that has only a token keeps its user.
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

    /// A client with the same connection pool and credentials, and another time limit per call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let mut client = self.clone();
        client.settings.timeout = timeout;
        client
    }

    /// A client with the same connection pool and credentials that does not retry, for a caller that repeats calls
    /// itself.
    #[must_use]
    pub fn without_retries(&self) -> Self {
        let mut client = self.clone();
        client.settings.retries = 0;
        client
    }

    /// A client with the same connection pool and credentials that reports retries to `observer`.
    #[must_use]
    pub fn with_retry_observer(mut self, observer: RetryObserver) -> Self {
        self.settings.on_retry = observer;
        self
    }

    /// A client with the same connection pool and credentials that traces every call.
    #[must_use]
    pub fn with_tracer(mut self, tracer: Tracer) -> Self {
        self.tracer = tracer;
        self
    }

    /// A client with the same connection pool and credentials, and another limit of response bodies after
    /// decompression.
    #[must_use]
    pub const fn with_response_limit(mut self, bytes: usize) -> Self {
        self.response_limit = bytes;
        self
    }

    /// The same credentials, with calls and WebSockets through a proxy. Call it before the first request.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Option<ProxyServer>) -> Self {
        self.proxy = proxy;
        self
    }

    /// The same credentials, with the certificate roots of a file instead of the system's. Call it before the first
    /// request.
    #[must_use]
    pub fn with_ca_file(mut self, ca_file: Option<PathBuf>) -> Self {
        self.ca_file = ca_file;
        self
    }

    /// The proxy that calls and WebSockets go through, if any.
    pub const fn proxy(&self) -> Option<&ProxyServer> {
        self.proxy.as_ref()
    }

    /// The tracer, for changes of a connection such as a lost WebSocket.
    pub const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// The settings of this client.
    pub const fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// The rate limit of an endpoint (`QueryUsers`, `UpdateUsersPartial`, …) in its last response. The end of its
    /// window is relative to now.
    pub fn rate_limit(&self, endpoint: &str) -> Option<RateLimit> {
        let limits = self.pool.limits();
        limits.get(endpoint).map(|(limit, at)| RateLimit {
            reset_in: limit.reset_in.saturating_sub(at.elapsed()),
            ..*limit
        })
    }

    /// Sends a custom request and returns the response, including error responses.
    ///
    /// `path` is relative to the service's address, with or without a leading slash.
    ///
    /// # Errors
    ///
    /// `method` is not an HTTP method, or there is no answer: [`ApiError::Transport`].
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Response, ApiError> {
        let request = Request::custom(method, path, query, body)?;
        self.exchange(&request).await
    }

    /// Sends a request. An error response is an error.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn send(&self, request: &Request) -> Result<Response, ApiError> {
        let response = self.exchange(request).await?;
        response.error().map_or(Ok(response), Err)
    }

    /// Sends a request and decodes the response. An error response is an error.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<T, ApiError> {
        self.send(request).await?.decode()
    }

    /// Sends a request and returns the response, including error responses. No other function repeats calls, or waits
    /// between attempts.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]; never an error response.
    pub async fn exchange(&self, request: &Request) -> Result<Response, ApiError> {
        let policy = RetryPolicy {
            retries: self.settings.retries,
            total: self.settings.timeout,
        };
        let start = Instant::now();
        let mut past_retries = 0;
        loop {
            let attempt_start = Instant::now();
            let left = self.settings.timeout.saturating_sub(start.elapsed());
            let token = self.settings.auth.token(Utc::now());
            let result = tokio::time::timeout(left, self.attempt(request, &token))
                .await
                .unwrap_or_else(|elapsed| Err(self.transport(TransportKind::Timeout, elapsed)));
            let received = result.as_ref().map(Response::received);
            self.trace(request, &token, attempt_start.elapsed(), received);
            let Some(failure) = failure_of(&result) else {
                return result;
            };
            let wait = policy.wait(
                failure,
                request.is_idempotent(),
                past_retries,
                start.elapsed(),
            );
            let Some(wait) = wait else {
                return result;
            };
            past_retries += 1;
            self.settings.on_retry.notify(&Retry {
                request: request.summary(),
                attempt: past_retries,
                of: policy.retries,
                wait,
                reason: match &result {
                    Ok(response) => response
                        .error()
                        .map_or_else(String::new, |error| error.to_string()),
                    Err(error) => error_chain(error),
                },
            });
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, request: &Request, token: &SecretString) -> Result<Response, ApiError> {
        let mut builder = self
            .http()?
            .request(request.method().clone(), self.url(request)?)
            .headers(headers(request, token));
        if let Some(body) = request.body() {
            builder = builder.body(body.to_owned());
        }
        let response = builder.send().await.map_err(|error| self.broken(error))?;
        if let Some(endpoint) = request.endpoint()
            && let Some(limit) = RateLimit::of(response.headers(), Utc::now())
        {
            let mut limits = self.pool.limits();
            limits.insert(endpoint, (limit, Instant::now()));
        }
        self.read(request.summary(), response).await
    }

    /// Reads a response body completely, up to the limit of [`Client::with_response_limit`].
    async fn read(
        &self,
        request: String,
        mut response: reqwest::Response,
    ) -> Result<Response, ApiError> {
        let limit = self.response_limit;
        let mut body = BytesMut::new();
        // The limit applies after decompression, because a small body can unpack to more than the memory holds.
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            if body.len() + chunk.len() > limit {
                return Err(ApiError::ResponseTooLarge { request, limit });
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Response {
            status: response.status().as_u16(),
            retry_after: limits::retry_after(&headers, Utc::now()),
            headers,
            body: body.freeze(),
            request,
        })
    }

    fn trace(
        &self,
        request: &Request,
        token: &SecretString,
        took: Duration,
        result: Result<Received<'_>, &ApiError>,
    ) {
        if !self.tracer.is_enabled() {
            return;
        }
        let secret = self.settings.auth.secret().map(SecretString::reveal);
        let redactor = Redactor::new(secret.into_iter().chain([token.reveal()]));
        let query = self.url(request).map_or_else(
            |_| Vec::new(),
            |url| url.query_pairs().into_owned().collect(),
        );
        let sent = Sent {
            summary: request.summary(),
            query,
            headers: &headers(request, token),
            body: request.body(),
        };
        self.tracer.call(&redactor, &sent, took, result);
    }

    /// Opens a WebSocket and returns the bare stream. Credentials are query parameters, as in the service's JavaScript
    /// client.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]. A response that is not an upgrade is decoded like other error responses.
    pub(crate) async fn upgrade(&self, request: &Request) -> Result<Upgraded, ApiError> {
        let start = Instant::now();
        let token = self.settings.auth.token(Utc::now());
        let result = self.try_upgrade(request, &token).await;
        let no_headers = HeaderMap::new();
        let traced = result.as_ref().map(|_| Received {
            status: StatusCode::SWITCHING_PROTOCOLS.as_u16(),
            headers: &no_headers,
            body: &[],
        });
        self.trace(request, &token, start.elapsed(), traced);
        result
    }

    async fn try_upgrade(
        &self,
        request: &Request,
        token: &SecretString,
    ) -> Result<Upgraded, ApiError> {
        let mut url = self.settings.base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(request.path());
        }
        url.query_pairs_mut()
            .extend_pairs(request.query())
            .append_pair("api_key", &self.settings.api_key)
            .append_pair("authorization", token.reveal())
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
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let accepted = response
                .headers()
                .get(SEC_WEBSOCKET_ACCEPT)
                .is_some_and(|accept| {
                    accept.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes()
                });
            if accepted {
                return response.upgrade().await.map_err(|error| self.broken(error));
            }
            return Err(ApiError::Unreadable {
                status: response.status().as_u16(),
                request: request.summary(),
                start: "an upgrade to something that is not a WebSocket".to_owned(),
            });
        }
        let response = self.read(request.summary(), response).await?;
        Err(response.error().unwrap_or_else(|| response.unreadable()))
    }

    /// Drops all pooled HTTP connections of all clones, so that the next call opens a new one. Used after a network
    /// loss, when a pooled connection may be dead without either side knowing.
    pub fn reset_connections(&self) {
        *self.pool.http() = None;
    }

    /// A client with a time limit of a few seconds per call, for calls during a reconnect. One lost response then costs
    /// seconds instead of the whole timeout. The limit doubles with each failed attempt, for a server that is slow.
    #[must_use]
    pub fn for_reconnect(&self, failed_attempts: u32) -> Self {
        let limit = RECONNECT_CALL_TIMEOUT.saturating_mul(1 << failed_attempts.min(16));
        self.with_timeout(self.settings.timeout.min(limit))
    }

    /// The connection pool, built by the first call.
    fn http(&self) -> Result<reqwest::Client, ApiError> {
        if let Some(http) = self.pool.http().as_ref() {
            return Ok(http.clone());
        }
        let settings = &self.settings;
        let http = pass_through::builder(
            &settings.base_url,
            self.ca_file.as_deref(),
            self.proxy.as_ref(),
            settings.connect_timeout,
        )?
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build()
        .map_err(|error| self.transport(TransportKind::Connect, error.without_url()))?;
        Ok(self.pool.http().get_or_insert(http).clone())
    }

    /// The URL of a request, with the query parameters that every request has.
    fn url(&self, request: &Request) -> Result<Url, ApiError> {
        let mut url = self.settings.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(request.path());
        }
        let mut query = url.query_pairs_mut();
        query.append_pair("api_key", &self.settings.api_key);
        if let Some(user) = self.settings.auth.user() {
            query.append_pair("user_id", user.as_str());
        }
        query.extend_pairs(request.query());
        drop(query);
        if url.as_str().len() > URL_MAX_BYTES {
            return Err(ApiError::UrlTooLong {
                request: request.summary(),
                limit: URL_MAX_BYTES,
            });
        }
        Ok(url)
    }

    /// The service's `host:port`.
    pub(super) fn peer(&self) -> String {
        address::peer(&self.settings.base_url)
    }

    fn broken(&self, error: reqwest::Error) -> ApiError {
        let kind = if error.is_connect() {
            TransportKind::Connect
        } else if error.is_timeout() {
            TransportKind::Timeout
        } else {
            TransportKind::Broken
        };
        // The URL contains the API key and the query, which the message does not need.
        self.transport(kind, error.without_url())
    }

    pub(crate) fn transport(
        &self,
        kind: TransportKind,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> ApiError {
        let source: Box<dyn std::error::Error + Send + Sync> = Box::new(source);
        let source = if NoTls::is_cause_of(source.as_ref()) {
            Box::new(NoTls)
        } else {
            source
        };
        ApiError::Transport {
            kind,
            to: self.peer(),
            source,
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

/// The headers of a request.
fn headers(request: &Request, token: &SecretString) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    // A token that does not fit into a header is invalid. It is left out, and the service reports the missing
    // token.
    if let Ok(mut value) = HeaderValue::from_str(token.reveal()) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers.insert(STREAM_AUTH_TYPE, HeaderValue::from_static("jwt"));
    headers.insert(STREAM_CLIENT, HeaderValue::from_static(CLIENT_NAME));
    if request.body().is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers
}

/// The failure of an attempt that may be worth a retry.
fn failure_of(result: &Result<Response, ApiError>) -> Option<AttemptFailure> {
    match result {
        Ok(response) if (200..300).contains(&response.status) => None,
        Ok(response) => Some(AttemptFailure::Status {
            status: response.status,
            retry_after: response.retry_after,
            unrecoverable: Refusal::read(&response.body, response.status)
                .is_some_and(|refusal| refusal.unrecoverable),
        }),
        Err(error @ ApiError::Transport { kind, .. }) => match kind {
            TransportKind::Connect if error.is_certificate_refused() => None,
            TransportKind::Connect => Some(AttemptFailure::NotSent),
            TransportKind::Broken => Some(AttemptFailure::ConnectionBroken),
            TransportKind::Timeout => None,
        },
        Err(
            ApiError::Refused(_)
            | ApiError::RateLimited { .. }
            | ApiError::Unreadable { .. }
            | ApiError::ResponseTooLarge { .. }
            | ApiError::UrlTooLong { .. }
            | ApiError::Insecure { .. },
        ) => None,
    }
}
