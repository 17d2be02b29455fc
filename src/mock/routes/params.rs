//! The parameters of a request: its path segments, its query, and the headers that matter.

use std::borrow::Cow;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use url::form_urlencoded;

use super::super::auth::RequestCredentials;
use crate::domain::token;

/// Where a request has its API key.
const API_KEY_PARAMETER: &str = "api_key";
const API_KEY_HEADER: &str = "x-api-key";

/// What clients may send with any request, whether it is read or not.
const COMMON_PARAMETERS: [&str; 8] = [
    API_KEY_PARAMETER,
    "authorization",
    "stream-auth-type",
    "x-stream-client",
    "user_id",
    "connection_id",
    "payload",
    "json",
];

/// Query and headers of one request.
#[derive(Debug)]
pub(super) struct Params {
    query: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Params {
    /// Reads the query and the headers of a request.
    pub(super) fn of(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self {
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers: parts.headers.clone(),
        }
    }

    /// The first query parameter of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The query parameters that an operation may read.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        self.query
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "payload" | "json" | "authorization"))
            .cloned()
            .collect()
    }

    /// The names of the query parameters, without those that any request may have.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.query
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !COMMON_PARAMETERS.contains(name))
    }

    /// All query parameters, each cut to a length at which it can still be recognised.
    pub(super) fn shown(&self) -> Vec<(String, String)> {
        let cut = |text: &String| text.chars().take(4096).collect();
        self.query
            .iter()
            .take(32)
            .map(|(name, value)| (cut(name), cut(value)))
            .collect()
    }

    /// A header, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The credentials, from the query or from headers.
    pub(super) fn credentials(&self) -> RequestCredentials<'_> {
        RequestCredentials {
            api_key: self
                .get(API_KEY_PARAMETER)
                .or_else(|| self.header(API_KEY_HEADER)),
            auth_type: self
                .header("stream-auth-type")
                .or_else(|| self.get("stream-auth-type")),
            token: self
                .header("authorization")
                .or_else(|| self.get("authorization")),
            user_id: self.get("user_id"),
        }
    }

    /// The user that the request claims to come from. Nothing has been verified yet.
    pub(super) fn claimed_user(&self) -> Option<String> {
        self.credentials()
            .token
            .and_then(|token| token::inspect(token).ok())
            .and_then(|claims| claims.user_id)
            .or_else(|| self.get("user_id").map(str::to_owned))
    }
}

/// The API key of a request, as in its [`Params`].
pub(super) fn api_key<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find(|(name, _)| name == API_KEY_PARAMETER)
        .map(|(_, value)| value)
        .or_else(|| headers.get(API_KEY_HEADER)?.to_str().ok().map(Cow::from))
}
