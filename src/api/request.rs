//! A request to the service as a value: method, path, query and payload.
//!
//! Each endpoint's request is built in one place, next to the endpoint's types, and is then either sent by the client
//! or printed by `--dry-run`. Credentials are no part of it; the client adds them when it sends.

use reqwest::Method;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::api::{ApiError, Refusal};
use crate::domain::{ApiErrorCode, UserId};

/// A request that has not been sent.
#[derive(Debug, Clone)]
pub struct Request {
    endpoint: Option<&'static str>,
    method: Method,
    /// Path segments, not yet percent-encoded.
    path: Vec<String>,
    query: Vec<(String, String)>,
    payload: Option<Payload>,
    idempotent: bool,
}

/// The JSON of a request.
#[derive(Debug, Clone)]
enum Payload {
    Body(Box<RawValue>),
    /// The value of the query parameter with this name.
    Parameter(&'static str, Box<RawValue>),
}

impl Request {
    /// A request to an endpoint, with the endpoint's name in the service's list of rate limits. It has no payload yet
    /// and counts as idempotent.
    pub(super) fn new(
        endpoint: &'static str,
        method: Method,
        path: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            endpoint: Some(endpoint),
            method,
            path: path.into_iter().map(Into::into).collect(),
            query: Vec::new(),
            payload: None,
            idempotent: true,
        }
    }

    /// A custom request. `path` is relative to the service's address, with or without a leading slash.
    ///
    /// # Errors
    ///
    /// `method` is not an HTTP method.
    pub fn custom(
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Self, ApiError> {
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|_| {
            ApiError::Refused(Refusal {
                code: ApiErrorCode::InvalidInput,
                status: 400,
                message: format!("`{method}` is not an HTTP method"),
                ..Refusal::default()
            })
        })?;
        let pairs = query.iter();
        Ok(Self {
            endpoint: None,
            idempotent: method.is_idempotent(),
            method,
            path: path
                .split('/')
                .filter(|segment| !segment.is_empty())
                .map(str::to_owned)
                .collect(),
            query: pairs
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            payload: body.map(|body| Payload::Body(raw(body))),
        })
    }

    /// The WebSocket upgrade of a user. `user_details` are the user fields that connecting sets.
    pub fn connect(user: &UserId, user_details: &Map<String, Value>) -> Self {
        let hello = json!({ "user_id": user, "user_details": user_details });
        Self::new("Connect", Method::GET, ["connect"]).with_parameter("json", &hello)
    }

    /// Adds a query parameter.
    #[must_use]
    pub(super) fn with_query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a connection id, if there is one.
    #[must_use]
    pub(super) fn with_connection(self, connection_id: Option<&str>) -> Self {
        match connection_id {
            Some(id) => self.with_query("connection_id", id),
            None => self,
        }
    }

    /// Adds a body. The service requires a body even if it is empty: `{}`.
    #[must_use]
    pub(super) fn with_body(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        self.payload = Some(Payload::Body(raw(body)));
        self
    }

    /// Adds a query parameter whose value is JSON.
    #[must_use]
    pub(super) fn with_parameter(
        mut self,
        name: &'static str,
        value: &(impl Serialize + ?Sized),
    ) -> Self {
        self.payload = Some(Payload::Parameter(name, raw(value)));
        self
    }

    /// Marks the request as not idempotent: if it may have been carried out, it is not repeated, because a second
    /// response would mislead.
    #[must_use]
    pub(super) const fn not_idempotent(mut self) -> Self {
        self.idempotent = false;
        self
    }

    /// The endpoint whose rate limit counts the request, as `limits` names it. `None` for a custom request.
    pub const fn endpoint(&self) -> Option<&'static str> {
        self.endpoint
    }

    /// The HTTP method.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn path(&self) -> &[String] {
        &self.path
    }

    pub(super) fn body(&self) -> Option<&str> {
        match &self.payload {
            Some(Payload::Body(json)) => Some(json.get()),
            Some(Payload::Parameter(..)) | None => None,
        }
    }

    /// The query parameters in the order in which they are sent.
    pub(super) fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        let parameter = match &self.payload {
            Some(Payload::Parameter(name, json)) => Some((*name, json.get())),
            Some(Payload::Body(_)) | None => None,
        };
        let pairs = self.query.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(parameter)
    }

    pub(super) const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Method and path, for messages: `GET /users`.
    pub fn summary(&self) -> String {
        format!("{} /{}", self.method, self.path.join("/"))
    }
}

/// The record that `--dry-run` prints.
impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut path = format!("/{}", self.path.join("/"));
        if !self.query.is_empty() {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(&self.query);
            path = format!("{path}?{}", query.finish());
        }
        let payload = match &self.payload {
            Some(Payload::Body(json) | Payload::Parameter(_, json)) => Some(json),
            None => None,
        };
        let mut fields = serializer.serialize_struct("Request", 4)?;
        fields.serialize_field("method", self.method.as_str())?;
        fields.serialize_field("path", &path)?;
        fields.serialize_field("endpoint", &self.endpoint)?;
        fields.serialize_field("body", &payload)?;
        fields.end()
    }
}

fn raw(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    serde_json::value::to_raw_value(value)
        .expect("request types have string keys and nothing that cannot be serialized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_prints_as_what_would_be_sent() {
        let request = Request::new("DeleteUser", Method::DELETE, ["users", "john"])
            .with_query("hard_delete", "true");
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"method":"DELETE","path":"/users/john?hard_delete=true","endpoint":"DeleteUser","body":null}"#
        );
        let details = Map::from_iter([("id".to_owned(), json!("amy"))]);
        let request = Request::connect(&"amy".parse().unwrap(), &details);
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"method":"GET","path":"/connect","endpoint":"Connect","body":{"user_id":"amy","user_details":{"id":"amy"}}}"#
        );
        assert_eq!(request.query().count(), 1);
    }

    #[test]
    fn a_custom_request_needs_a_method_and_forgives_slashes() {
        let request = Request::custom("get", "/tasks//1/", &[("full", "true")], None).unwrap();
        assert_eq!(request.summary(), "GET /tasks/1");
        assert!(request.is_idempotent());
        assert!(Request::custom("G ET", "users", &[], None).is_err());
    }
}
