//! The parameters of a request: its query, decoded, and the few headers that matter.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use url::form_urlencoded;

/// Query and headers of one request.
#[derive(Debug, Clone)]
pub(super) struct Params {
    query: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Params {
    /// Reads them.
    pub(super) fn of(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self {
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers: parts.headers.clone(),
        }
    }

    /// A query parameter; the first of its name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All query parameters, each cut to a length that is enough to recognise it.
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
}
